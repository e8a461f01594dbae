//! `Equal`, `Greater`, `GreaterOrEqual`, `Less`, `LessOrEqual` of corresponding elements, with multidirectional broadcasting.
//!
//! Any comparison with NaN is false.
//!
//! Opsets: 1 broadcasts by the attributes `broadcast` and `axis`, which the importer writes as an Unsqueeze; 7 broadcasts
//! as here; later ones add dtypes, 19 strings (`Equal`).

use crate::Define;
use crate::broadcast::{Walk, broadcast_inputs};
use crate::dtypes::{for_dtypes, for_numeric};
use crate::elementwise::{binary_to, zip_contents};
use planish_ir::{
    AttributeError, BOOL, Dim, EvalCx, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op, OpError, Outputs,
    STRING, Schema, Types, arg,
};
use planish_tensor::{DType, Shape, Tensor};
use std::marker::PhantomData;

/// `Equal`.
pub type Equal = Comparison<IsEqual>;
/// `Greater`.
pub type Greater = Comparison<IsGreater>;
/// `GreaterOrEqual`.
pub type GreaterOrEqual = Comparison<IsGreaterOrEqual>;
/// `Less`.
pub type Less = Comparison<IsLess>;
/// `LessOrEqual`.
pub type LessOrEqual = Comparison<IsLessOrEqual>;

/// A comparison of one kind.
#[derive(Debug)]
pub struct Comparison<K>(PhantomData<K>);

/// What sets one comparison apart.
pub trait Kind: std::fmt::Debug + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// The opset version of the newest form.
    const SINCE: u32;
    /// The dtypes compared.
    const TYPES: Types;
    /// The comparison.
    fn holds<T: PartialOrd>(a: &T, b: &T) -> bool;
    /// The comparison of symbolic elements, where it can be decided.
    fn of_dims(a: &Dim, b: &Dim) -> Option<bool>;
}

macro_rules! kinds {
    ($($kind:ident, $name:literal, $since:literal, $types:expr, $operator:tt, $dims:expr;)*) => {$(
        #[doc = concat!("`", $name, "`'s comparison.")]
        #[derive(Debug)]
        pub struct $kind;

        impl Kind for $kind {
            const NAME: &'static str = $name;
            const SINCE: u32 = $since;
            const TYPES: Types = $types;
            #[inline(always)]
            fn holds<T: PartialOrd>(a: &T, b: &T) -> bool {
                a $operator b
            }
            fn of_dims(a: &Dim, b: &Dim) -> Option<bool> {
                $dims(a, b)
            }
        }
    )*};
}

kinds! {
    IsEqual, "Equal", 19, NUMERIC.or(BOOL).or(STRING), ==, decide_equal;
    IsGreater, "Greater", 13, NUMERIC, >, |a, b| decide_less(b, a);
    IsGreaterOrEqual, "GreaterOrEqual", 16, NUMERIC, >=, |a, b| decide_less(a, b).map(|less| !less);
    IsLess, "Less", 13, NUMERIC, <, decide_less;
    IsLessOrEqual, "LessOrEqual", 16, NUMERIC, <=, |a, b| decide_less(b, a).map(|less| !less);
}

fn decide_equal(a: &Dim, b: &Dim) -> Option<bool> {
    if Dim::provably_equal(a, b) {
        return Some(true);
    }
    Dim::provably_different(a, b).then_some(false)
}

fn decide_less(a: &Dim, b: &Dim) -> Option<bool> {
    if let (Some(a), Some(b)) = (a.as_known(), b.as_known()) {
        return Some(a < b);
    }
    if (b - a).at_least() >= Some(1) {
        return Some(true);
    }
    ((a - b).at_least() >= Some(0)).then_some(false)
}

impl<K: Kind> Define for Comparison<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, K::SINCE)
        .inputs(&[arg("A", K::TYPES).var("T"), arg("B", K::TYPES).var("T")])
        .outputs(&[arg("C", BOOL)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Comparison(PhantomData))
    }
}

impl<K: Kind> Op for Comparison<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(dims) = broadcast_inputs(x)? else { return Ok(vec![Fact::tensor(Some(DType::Bool))]) };
        let decided = zip_contents(x, |elements| K::of_dims(&elements[0], &elements[1]));
        let decided: Option<Vec<bool>> = decided.and_then(|elements| elements.into_iter().collect());
        Ok(vec![match decided.and_then(|elements| small_tensor(dims.len(), &elements)) {
            Some(tensor) => Fact::constant(tensor),
            None => Fact::shaped(Some(DType::Bool), dims),
        }])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        const NS: f64 = 0.3;
        let (a, b) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let holds = match a.dtype() {
            DType::String => return Ok(compare_strings::<K>(cx, a, b)?.into()),
            DType::Bool => {
                for_dtypes!(DType::Bool, T => binary_to::<T, T, bool>(cx, a, b, NS, |a, b| K::holds(&a, &b)), [Bool = bool])
            }
            other => for_numeric!(other, T => binary_to::<T, T, bool>(cx, a, b, NS, |a, b| K::holds(&a, &b))),
        };
        Ok(holds?.into())
    }
}

/// A scalar or rank-1 tensor of decided elements.
fn small_tensor(rank: usize, elements: &[bool]) -> Option<Tensor> {
    let shape = match rank {
        0 => Shape::scalar(),
        1 => Shape::new(&[elements.len()]).ok()?,
        _ => return None,
    };
    Tensor::new(shape, elements).ok()
}

fn compare_strings<K: Kind>(cx: &EvalCx<'_>, a: &Tensor, b: &Tensor) -> Result<Tensor, OpError> {
    let walk = Walk::new([a.shape(), b.shape()])?;
    let (a, b) = (a.as_strings()?, b.as_strings()?);
    let mut y = cx.uninit::<bool>(walk.shape().clone())?;
    walk.fill(cx, &mut y, 10.0, |y, [at_a, at_b]| {
        y.iter_mut().enumerate().for_each(|(i, y)| *y = K::holds(at_a.at(a, i), at_b.at(b, i)));
    })?;
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::StandardRegistry;
    use crate::testing::{eval, tensor};
    use planish_ir::{Attributes, Dim, Fact, Facts, Registry};
    use planish_tensor::{DType, Shape, Tensor};

    #[test]
    fn numbers_compare_and_nan_never_does() {
        let a = tensor(&[4], &[1f32, 2., 3., f32::NAN]);
        let b = tensor(&[1], &[2f32]);
        for (name, expected) in [
            ("Equal", [false, true, false, false]),
            ("Greater", [false, false, true, false]),
            ("GreaterOrEqual", [false, true, true, false]),
            ("Less", [true, false, false, false]),
            ("LessOrEqual", [true, true, false, false]),
        ] {
            let y = eval(name, Attributes::new(), &[a.clone(), b.clone()]).unwrap();
            assert_eq!(y, tensor(&[4], &expected), "{name}");
        }
        let y = eval("Less", Attributes::new(), &[tensor(&[2], &[u64::MAX, 1]), tensor(&[2], &[1u64, 2])]).unwrap();
        assert_eq!(y, tensor(&[2], &[false, true]));
    }

    #[test]
    fn bools_and_strings_can_be_equal() {
        let y = eval("Equal", Attributes::new(), &[tensor(&[2], &[true, false]), tensor(&[], &[true])]).unwrap();
        assert_eq!(y, tensor(&[2], &[true, false]));
        let words = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&w| w.to_owned()).collect();
            Tensor::from_strings(Shape::new(&[words.len()]).unwrap(), words).unwrap()
        };
        let y = eval("Equal", Attributes::new(), &[words(&["a", "b"]), words(&["b"])]).unwrap();
        assert_eq!(y, tensor(&[2], &[false, true]));
    }

    #[test]
    fn what_symbols_decide_is_constant() {
        let infer = |name: &str, a: Dim, b: Dim| {
            let (a, b) = (Fact::integers(DType::I64, false, vec![a]), Fact::integers(DType::I64, true, vec![b]));
            let operator = StandardRegistry.operator("", name, Attributes::new(), 2, 1).unwrap();
            let fact = operator.op().unwrap().infer(&Facts::new(&[Some(&a), Some(&b)], 1)).unwrap().remove(0);
            fact.constant.map(|tensor| tensor.as_slice::<bool>().unwrap().to_vec())
        };
        let seq = Dim::symbol("seq");
        assert_eq!(infer("Equal", seq.clone(), Dim::known(-1)), Some(vec![false]));
        assert_eq!(infer("Equal", seq.clone(), seq.clone()), Some(vec![true]));
        assert_eq!(infer("Equal", seq.clone(), Dim::known(1)), None);
        assert_eq!(infer("Greater", seq.clone(), Dim::known(-1)), Some(vec![true]));
        assert_eq!(infer("LessOrEqual", &seq + 1, seq), Some(vec![false]));
    }
}
