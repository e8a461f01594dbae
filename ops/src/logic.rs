//! `And`, `Or`, `Xor`, `Not` on `bool`, and `BitwiseAnd`, `BitwiseOr`, `BitwiseXor`, `BitwiseNot` on integers; two operands
//! broadcast multidirectionally.
//!
//! Opsets: `And`, `Or`, `Xor` 1 broadcast by the attributes `broadcast` and `axis`, which the importer writes as an Unsqueeze;
//! 7 broadcasts as here. `Not` 1. The bitwise ones 18.

use crate::Define;
use crate::dtypes::{for_dtypes, for_integer};
use crate::elementwise::{binary, common_dtype, infer_broadcast, map, take_two, zip};
use planish_ir::{
    AttributeError, BOOL, Dim, EvalCx, Fact, Facts, INTEGERS, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg,
};
use planish_tensor::Tensor;
use std::marker::PhantomData;
use std::ops::{BitAnd, BitOr, BitXor};

/// What one element costs.
const NS: f64 = 0.2;

/// `And`.
pub type And = Logic<Both, true>;
/// `Or`.
pub type Or = Logic<Either, true>;
/// `Xor`.
pub type Xor = Logic<OneOf, true>;
/// `BitwiseAnd`.
pub type BitwiseAnd = Logic<Both, false>;
/// `BitwiseOr`.
pub type BitwiseOr = Logic<Either, false>;
/// `BitwiseXor`.
pub type BitwiseXor = Logic<OneOf, false>;
/// `Not`.
pub type Not = Complement<true>;
/// `BitwiseNot`.
pub type BitwiseNot = Complement<false>;

/// A logical operator on two operands, `bool` or bits of integers.
#[derive(Debug)]
pub struct Logic<K, const IS_BOOL: bool>(PhantomData<K>);

/// A logical function.
pub trait Kind: std::fmt::Debug + Send + Sync + 'static {
    /// The operator's name, on `bool` and on integers.
    const NAMES: [&'static str; 2];
    /// The function.
    fn apply<T: BitAnd<Output = T> + BitOr<Output = T> + BitXor<Output = T>>(a: T, b: T) -> T;
}

macro_rules! kinds {
    ($($kind:ident, $name:literal, $bitwise:literal, $operator:tt;)*) => {$(
        #[doc = concat!("The function of `", $name, "`.")]
        #[derive(Debug)]
        pub struct $kind;

        impl Kind for $kind {
            const NAMES: [&'static str; 2] = [$name, $bitwise];
            #[inline(always)]
            fn apply<T: BitAnd<Output = T> + BitOr<Output = T> + BitXor<Output = T>>(a: T, b: T) -> T {
                a $operator b
            }
        }
    )*};
}

kinds! {
    Both, "And", "BitwiseAnd", &;
    Either, "Or", "BitwiseOr", |;
    OneOf, "Xor", "BitwiseXor", ^;
}

impl<K: Kind, const IS_BOOL: bool> Logic<K, IS_BOOL> {
    const NAME: &'static str = K::NAMES[if IS_BOOL { 0 } else { 1 }];
    const SINCE: u32 = if IS_BOOL { 7 } else { 18 };
    const TYPES: Types = if IS_BOOL { BOOL } else { INTEGERS };
}

impl<K: Kind, const IS_BOOL: bool> Define for Logic<K, IS_BOOL> {
    const SCHEMA: Schema = Schema::new(Self::NAME, Self::SINCE)
        .inputs(&[arg("A", Self::TYPES).var("T"), arg("B", Self::TYPES).var("T")])
        .outputs(&[arg("C", Self::TYPES).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Logic(PhantomData))
    }
}

impl<K: Kind, const IS_BOOL: bool> Op for Logic<K, IS_BOOL> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        infer_broadcast(x, common_dtype(x), |_| Dim::unknown())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let (a, b) = take_two(&mut inputs)?;
        let y = if IS_BOOL {
            binary::<bool>(cx, a, b, NS, |a, b, y| zip(a, b, y, K::apply))
        } else {
            for_integer!(a.dtype(), T => binary::<T>(cx, a, b, NS, |a, b, y| zip(a, b, y, K::apply)))
        };
        Ok(y?.into())
    }
}

/// `Not` and `BitwiseNot`.
#[derive(Debug)]
pub struct Complement<const IS_BOOL: bool>;

impl<const IS_BOOL: bool> Complement<IS_BOOL> {
    const NAME: &'static str = if IS_BOOL { "Not" } else { "BitwiseNot" };
    const SINCE: u32 = if IS_BOOL { 1 } else { 18 };
    const TYPES: Types = if IS_BOOL { BOOL } else { INTEGERS };
}

impl<const IS_BOOL: bool> Define for Complement<IS_BOOL> {
    const SCHEMA: Schema = Schema::new(Self::NAME, Self::SINCE)
        .inputs(&[arg("X", Self::TYPES).var("T")])
        .outputs(&[arg("Y", Self::TYPES).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Complement)
    }
}

impl<const IS_BOOL: bool> Op for Complement<IS_BOOL> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(complement(cx, inputs.take_tensor(0)?)?.into())
    }
}

fn complement(cx: &EvalCx<'_>, x: Tensor) -> Result<Tensor, OpError> {
    let dtype = x.dtype();
    for_dtypes!(dtype, T => map::<T>(cx, x, NS, |v| !v), [
        Bool = bool, U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
    ])
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn truth_tables() {
        let a = tensor(&[2, 1], &[false, true]);
        let b = tensor(&[2], &[false, true]);
        for (name, expected) in [
            ("And", [false, false, false, true]),
            ("Or", [false, true, true, true]),
            ("Xor", [false, true, true, false]),
        ] {
            let y = eval(name, Attributes::new(), &[a.clone(), b.clone()]).unwrap();
            assert_eq!(y, tensor(&[2, 2], &expected), "{name}");
        }
        assert_eq!(eval("Not", Attributes::new(), &[b]).unwrap(), tensor(&[2], &[true, false]));
    }

    #[test]
    fn bits_of_integers() {
        let (a, b) = (tensor(&[2], &[0b1100u8, 0xff]), tensor(&[1], &[0b1010u8]));
        for (name, expected) in
            [("BitwiseAnd", [0b1000u8, 0b1010]), ("BitwiseOr", [0b1110, 0xff]), ("BitwiseXor", [0b0110, 0xf5])]
        {
            assert_eq!(eval(name, Attributes::new(), &[a.clone(), b.clone()]).unwrap(), tensor(&[2], &expected));
        }
        assert_eq!(eval("BitwiseNot", Attributes::new(), &[tensor(&[1], &[5i64])]).unwrap(), tensor(&[1], &[-6i64]));
    }
}
