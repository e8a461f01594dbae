//! `Min`, `Max`, `Sum`, `Mean` of corresponding elements of any number of tensors, with multidirectional broadcasting.
//!
//! NaN anywhere makes `Min` and `Max` NaN.
//!
//! Opsets: 1 and 6 need equal shapes; 8 broadcasts; 12 (`Min`, `Max`) and 13 add dtypes.

use crate::Define;
use crate::arithmetic::{self, Function, apply};
use crate::dtypes::{Number, for_dtypes, from_f32, to_f32};
use crate::elementwise::{common_dtype, infer_broadcast, map};
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, variadic,
};
use planish_kernels::elementwise as kernels;
use planish_tensor::{DType, Tensor};
use std::marker::PhantomData;

/// `Min`.
pub type Min = Variadic<Least>;
/// `Max`.
pub type Max = Variadic<Greatest>;
/// `Sum`.
pub type Sum = Variadic<Total>;
/// `Mean`.
pub type Mean = Variadic<Average>;

/// An operator that folds its inputs.
#[derive(Debug)]
pub struct Variadic<K>(PhantomData<K>);

/// What sets one such operator apart.
pub trait Kind: std::fmt::Debug + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// The output's name.
    const OUTPUT: &'static str;
    /// The dtypes.
    const TYPES: Types;
    /// What folds two.
    type Function: Function;
    /// Whether the result is divided by the number of inputs.
    const AVERAGES: bool = false;
    /// The function on two symbolic elements.
    fn of_dims(a: &Dim, b: &Dim) -> Dim;
}

/// The smaller of two.
#[derive(Debug)]
pub struct Least;

/// The greater of two.
#[derive(Debug)]
pub struct Greatest;

/// The sum of two.
#[derive(Debug)]
pub struct Total;

/// The sum of two, to be divided.
#[derive(Debug)]
pub struct Average;

impl Function for Least {
    const KERNEL: kernels::Binary = kernels::Binary::Min;
    #[inline(always)]
    fn apply<T: Number>(a: T, b: T) -> T {
        a.min(b)
    }
}

impl Function for Greatest {
    const KERNEL: kernels::Binary = kernels::Binary::Max;
    #[inline(always)]
    fn apply<T: Number>(a: T, b: T) -> T {
        a.max(b)
    }
}

impl Kind for Least {
    const NAME: &'static str = "Min";
    const OUTPUT: &'static str = "min";
    const TYPES: Types = NUMERIC;
    type Function = Least;
    fn of_dims(a: &Dim, b: &Dim) -> Dim {
        a.min(b)
    }
}

impl Kind for Greatest {
    const NAME: &'static str = "Max";
    const OUTPUT: &'static str = "max";
    const TYPES: Types = NUMERIC;
    type Function = Greatest;
    fn of_dims(a: &Dim, b: &Dim) -> Dim {
        a.max(b)
    }
}

impl Kind for Total {
    const NAME: &'static str = "Sum";
    const OUTPUT: &'static str = "sum";
    const TYPES: Types = FLOATS;
    type Function = arithmetic::Sum;
    fn of_dims(a: &Dim, b: &Dim) -> Dim {
        a + b
    }
}

impl Kind for Average {
    const NAME: &'static str = "Mean";
    const OUTPUT: &'static str = "mean";
    const TYPES: Types = FLOATS;
    type Function = arithmetic::Sum;
    const AVERAGES: bool = true;
    fn of_dims(_a: &Dim, _b: &Dim) -> Dim {
        Dim::unknown()
    }
}

impl<K: Kind> Define for Variadic<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, 13)
        .inputs(&[variadic("data_0", K::TYPES, 1).var("T")])
        .outputs(&[arg(K::OUTPUT, K::TYPES).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Variadic(PhantomData))
    }
}

impl<K: Kind> Op for Variadic<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let fold =
            |elements: &[Dim]| elements.iter().cloned().reduce(|a, b| K::of_dims(&a, &b)).unwrap_or(Dim::unknown());
        infer_broadcast(x, common_dtype(x), fold)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let count = inputs.len();
        let mut tensors = inputs.into_values().into_iter().map(|value| {
            value.and_then(|v| v.into_tensor()).ok_or_else(|| OpError::invalid("expected a tensor at every input"))
        });
        let first = tensors.next().ok_or_else(|| OpError::invalid("expected at least one input"))??;
        let dtype = first.dtype();
        let is_half = matches!(dtype, DType::F16 | DType::BF16);
        let widen = |x: Tensor| if is_half { to_f32(cx, &x) } else { Ok(x) };
        let total = tensors.try_fold(widen(first)?, |y, x| apply::<K::Function>(cx, y, widen(x?)?))?;
        let result = if K::AVERAGES { divide(cx, total, count)? } else { total };
        Ok(if is_half { from_f32(cx, result, dtype)? } else { result }.into())
    }
}

fn divide(cx: &EvalCx<'_>, x: Tensor, count: usize) -> Result<Tensor, OpError> {
    for_dtypes!(x.dtype(), T => map::<T>(cx, x, 0.3, |x| x / count as T), [F32 = f32, F64 = f64])
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::f16;

    #[test]
    fn any_number_of_inputs_is_folded() {
        let inputs = [tensor(&[2], &[1f32, 8.]), tensor(&[1], &[3f32]), tensor(&[2, 1], &[5f32, 0.5])];
        for (name, expected) in [
            ("Min", [1f32, 3., 0.5, 0.5]),
            ("Max", [5., 8., 3., 8.]),
            ("Sum", [9., 16., 4.5, 11.5]),
            ("Mean", [3., 16. / 3., 1.5, 11.5 / 3.]),
        ] {
            let y = eval(name, Attributes::new(), &inputs).unwrap();
            assert_eq!(y, tensor(&[2, 2], &expected), "{name}");
            assert_eq!(eval(name, Attributes::new(), &inputs[..1]).unwrap(), inputs[0]);
        }
    }

    #[test]
    fn nan_wins() {
        for name in ["Min", "Max"] {
            for (a, b) in [(f32::NAN, 1.0), (1.0, f32::NAN)] {
                let y = eval(name, Attributes::new(), &[tensor(&[1], &[a]), tensor(&[1], &[b])]).unwrap();
                assert!(y.as_slice::<f32>().unwrap()[0].is_nan());
            }
        }
    }

    #[test]
    fn halves_are_summed_before_rounding() {
        let x = |v: f32| tensor(&[], &[f16::from_f32(v)]);
        let y = eval("Sum", Attributes::new(), &[x(2048.0), x(1.0), x(1.0)]).unwrap();
        assert_eq!(y, x(2050.0));
    }
}
