//! `Add`, `Sub`, `Mul`, `Div`: arithmetic on corresponding elements, with multidirectional broadcasting.
//!
//! Integers wrap; their quotient rounds towards zero, and dividing by zero is an error.
//!
//! Opsets: 1 and 6 broadcast by the attributes `broadcast` and `axis`, which the importer writes as an Unsqueeze; 7
//! broadcasts as here; 13 and 14 add dtypes.

use crate::Define;
use crate::dtypes::{Number, for_dtypes};
use crate::elementwise::{binary, common_dtype, in_f32, infer_broadcast, take_two, zip};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op, OpError, Outputs, Schema, arg,
};
use planish_kernels::elementwise as kernels;
use planish_tensor::{DType, Tensor, bf16, f16};
use std::marker::PhantomData;

/// `Add`.
pub type Add = Arithmetic<Sum>;
/// `Sub`.
pub type Sub = Arithmetic<Difference>;
/// `Mul`.
pub type Mul = Arithmetic<Product>;
/// `Div`.
pub type Div = Arithmetic<Quotient>;

/// An arithmetic operator of one kind.
#[derive(Debug)]
pub struct Arithmetic<K>(PhantomData<K>);

/// A function of two numbers of any dtype.
pub trait Function: std::fmt::Debug + Send + Sync + 'static {
    /// The kernel for `float`.
    const KERNEL: kernels::Binary;
    /// The function.
    fn apply<T: Number>(a: T, b: T) -> T;
}

/// What sets one arithmetic operator apart.
pub trait Kind: Function {
    /// The operator's name.
    const NAME: &'static str;
    /// Whether an integer 0 as the second operand is refused.
    const DIVIDES: bool = false;
    /// The function on symbolic elements.
    fn of_dims(a: &Dim, b: &Dim) -> Dim;
}

macro_rules! kinds {
    ($($kind:ident, $name:literal, $method:ident, $kernel:ident, $divides:literal, $dims:expr;)*) => {$(
        #[doc = concat!("`", $name, "`'s function.")]
        #[derive(Debug)]
        pub struct $kind;

        impl Function for $kind {
            const KERNEL: kernels::Binary = kernels::Binary::$kernel;
            #[inline(always)]
            fn apply<T: Number>(a: T, b: T) -> T {
                Number::$method(a, b)
            }
        }

        impl Kind for $kind {
            const NAME: &'static str = $name;
            const DIVIDES: bool = $divides;
            fn of_dims(a: &Dim, b: &Dim) -> Dim {
                $dims(a, b)
            }
        }
    )*};
}

kinds! {
    Sum, "Add", add, Add, false, |a: &Dim, b| a + b;
    Difference, "Sub", sub, Sub, false, |a: &Dim, b| a - b;
    Product, "Mul", mul, Mul, false, |a: &Dim, b| a * b;
    Quotient, "Div", div, Div, true, |a: &Dim, b| a.trunc_div(b);
}

impl<K: Kind> Define for Arithmetic<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, 14)
        .inputs(&[arg("A", NUMERIC).var("T"), arg("B", NUMERIC).var("T")])
        .outputs(&[arg("C", NUMERIC).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Arithmetic(PhantomData))
    }
}

impl<K: Kind> Op for Arithmetic<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        infer_broadcast(x, common_dtype(x), |elements| K::of_dims(&elements[0], &elements[1]))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let (a, b) = take_two(&mut inputs)?;
        if K::DIVIDES {
            refuse_integer_zero(&a, &b)?;
        }
        Ok(apply::<K>(cx, a, b)?.into())
    }
}

/// An error if integers are divided by a 0.
pub fn refuse_integer_zero(dividend: &Tensor, divisor: &Tensor) -> Result<(), OpError> {
    if dividend.num_elements() == 0 {
        return Ok(());
    }
    let has_zero = for_dtypes!(divisor.dtype(), T => Ok(divisor.as_slice::<T>()?.contains(&0)), [
        U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
    ]);
    match has_zero {
        Ok(true) => Err(OpError::invalid("integer division by zero")),
        Ok(false) | Err(OpError::Unsupported(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// y = f(a, b) with broadcasting; the dtypes are the same.
pub fn apply<F: Function>(cx: &EvalCx<'_>, a: Tensor, b: Tensor) -> Result<Tensor, OpError> {
    const NS: f64 = 0.3;
    let kernel = |a: crate::elementwise::Operand<'_, f32>, b: crate::elementwise::Operand<'_, f32>, y: &mut [f32]| {
        kernels::binary(F::KERNEL, a.into(), b.into(), y);
    };
    match a.dtype() {
        DType::F32 => binary::<f32>(cx, a, b, NS, kernel),
        DType::F16 => binary::<f16>(cx, a, b, NS, in_f32(kernel)),
        DType::BF16 => binary::<bf16>(cx, a, b, NS, in_f32(kernel)),
        other => for_dtypes!(other, T => binary::<T>(cx, a, b, NS, |a, b, y| zip(a, b, y, F::apply)), [
            F64 = f64, U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
        ]),
    }
}

#[cfg(test)]
mod tests {
    use crate::StandardRegistry;
    use crate::testing::{eval, tensor};
    use planish_ir::{Attributes, Dim, Fact, Facts, OpError, Registry};
    use planish_tensor::{DType, bf16, f16};

    #[test]
    fn operands_broadcast_both_ways() {
        let a = tensor(&[2, 1], &[10f32, 20.]);
        let b = tensor(&[3], &[1f32, 2., 4.]);
        for (name, expected) in [
            ("Add", [11f32, 12., 14., 21., 22., 24.]),
            ("Sub", [9., 8., 6., 19., 18., 16.]),
            ("Mul", [10., 20., 40., 20., 40., 80.]),
            ("Div", [10., 5., 2.5, 20., 10., 5.]),
        ] {
            let y = eval(name, Attributes::new(), &[a.clone(), b.clone()]).unwrap();
            assert_eq!(y, tensor(&[2, 3], &expected), "{name}");
        }
    }

    #[test]
    fn integers_wrap_and_round_towards_zero() {
        let y = eval("Div", Attributes::new(), &[tensor(&[3], &[-7i64, i64::MIN, 7]), tensor(&[3], &[2i64, -1, -2])]);
        assert_eq!(y.unwrap(), tensor(&[3], &[-3, i64::MIN, -3]));
        let y = eval("Mul", Attributes::new(), &[tensor(&[1], &[200u8]), tensor(&[], &[2u8])]).unwrap();
        assert_eq!(y, tensor(&[1], &[144u8]));
    }

    #[test]
    fn integer_division_by_zero_is_an_error() {
        let zero = tensor(&[2], &[1i32, 0]);
        assert!(matches!(eval("Div", Attributes::new(), &[zero.clone(), zero]), Err(OpError::Invalid(_))));
        let y = eval("Div", Attributes::new(), &[tensor(&[1], &[1f32]), tensor(&[1], &[0f32])]).unwrap();
        assert_eq!(y, tensor(&[1], &[f32::INFINITY]));
    }

    #[test]
    fn halves_round_once() {
        let (a, b): (Vec<f16>, Vec<f16>) =
            (0..1300).map(|i| (f16::from_f32(i as f32 / 7.0), f16::from_f32(3.0 - i as f32))).unzip();
        let expected: Vec<f16> = a.iter().zip(&b).map(|(a, b)| f16::from_f32(a.to_f32() * b.to_f32())).collect();
        let y = eval("Mul", Attributes::new(), &[tensor(&[1300], &a), tensor(&[1300], &b)]).unwrap();
        assert_eq!(y, tensor(&[1300], &expected));
        let half = tensor(&[], &[bf16::from_f32(0.5)]);
        assert_eq!(eval("Add", Attributes::new(), &[half.clone(), half]).unwrap(), tensor(&[], &[bf16::ONE]));
    }

    #[test]
    fn symbolic_contents_follow_the_arithmetic() {
        let contents = |dims: &[Dim]| Fact::integers(DType::I64, false, dims.to_vec());
        let (seq, two) = (contents(&[Dim::symbol("seq"), Dim::known(6)]), contents(&[Dim::known(2)]));
        for (name, expected) in [("Add", "seq + 2"), ("Sub", "seq - 2"), ("Mul", "2*seq"), ("Div", "seq//2")] {
            let operator = StandardRegistry.operator("", name, Attributes::new(), 2, 1).unwrap();
            let op = operator.op().unwrap();
            let fact = op.infer(&Facts::new(&[Some(&seq), Some(&two)], 1)).unwrap().remove(0);
            assert_eq!(fact.elements().unwrap()[0].to_string(), expected);
        }
    }

    #[test]
    fn shapes_that_do_not_broadcast_are_refused() {
        assert!(eval("Add", Attributes::new(), &[tensor(&[2], &[0f32; 2]), tensor(&[3], &[0f32; 3])]).is_err());
    }
}
