//! `Abs`, `Neg`, `Sign` and `Relu` of each element, for integers too. Integers wrap: the absolute value and the negative of the
//! least one are itself.
//!
//! Opsets: `Abs`, `Neg` 1, 6 (in form only), 13 (bfloat16); `Sign` 9, 13; `Relu` 1, 6, 13, 14 (integers).

use crate::dtypes::{Number, for_dtypes, for_integer};
use crate::elementwise::map;
use crate::unary::{Unary, plain_functions};
use planish_ir::{Dim, EvalCx, FLOATS, NUMERIC, OpError, SIGNED};
use planish_kernels::elementwise::Unary as Kernel;
use planish_tensor::Tensor;

/// What one integer costs.
const NS: f64 = 0.3;

/// The operators.
pub mod operator {
    use super::{Unary, function};

    /// `Abs`.
    pub type Abs = Unary<function::Abs>;
    /// `Neg`.
    pub type Neg = Unary<function::Neg>;
    /// `Relu`.
    pub type Relu = Unary<function::Relu>;
    /// `Sign`.
    pub type Sign = Unary<function::Sign>;
}

/// The functions.
pub mod function {
    use super::*;

    plain_functions! {
        /// |x|.
        Abs(13, "X", "Y", NUMERIC, 0.3, Some(Kernel::Abs)) = |x| x.abs(), integers: abs, dims: |x: &Dim| x.max(-x);
        /// −x.
        Neg(13, "X", "Y", FLOATS.or(SIGNED), 0.3, Some(Kernel::Neg)) = |x| -x, integers: neg, dims: |x: &Dim| -x;
        /// x where positive, else 0; NaN stays.
        Relu(14, "X", "Y", FLOATS.or(SIGNED), 0.3, Some(Kernel::Relu))
            = |x| if x < T::zero() { T::zero() } else { x }, integers: relu, dims: |x: &Dim| x.max(0);
        /// −1, 0 or 1, as x is; NaN stays.
        Sign(13, "input", "output", NUMERIC, 0.3, Some(Kernel::Sign))
            = |x| if x == T::zero() || x.is_nan() { x } else { x.signum() },
            integers: sign, dims: |x: &Dim| x.max(-1).min(1);
    }
}

fn abs(cx: &EvalCx<'_>, x: Tensor) -> Result<Tensor, OpError> {
    for_integer!(x.dtype(), T => map::<T>(cx, x, NS, Number::abs))
}

fn neg(cx: &EvalCx<'_>, x: Tensor) -> Result<Tensor, OpError> {
    for_dtypes!(x.dtype(), T => map::<T>(cx, x, NS, Number::neg), [I8 = i8, I16 = i16, I32 = i32, I64 = i64])
}

fn relu(cx: &EvalCx<'_>, x: Tensor) -> Result<Tensor, OpError> {
    for_dtypes!(x.dtype(), T => map::<T>(cx, x, NS, |v| Number::max(v, 0)), [I8 = i8, I16 = i16, I32 = i32, I64 = i64])
}

fn sign(cx: &EvalCx<'_>, x: Tensor) -> Result<Tensor, OpError> {
    fn sign_of<T: Number>(x: T) -> T {
        if x > T::ZERO {
            T::ONE
        } else if x < T::ZERO {
            T::ONE.neg()
        } else {
            T::ZERO
        }
    }
    for_integer!(x.dtype(), T => map::<T>(cx, x, NS, sign_of))
}

#[cfg(test)]
mod tests {
    use crate::StandardRegistry;
    use crate::testing::{eval, tensor};
    use planish_ir::{Attributes, Dim, Fact, Facts, Registry};
    use planish_tensor::{DType, f16};

    #[test]
    fn integers_wrap() {
        let x = tensor(&[3], &[i32::MIN, -5, 7]);
        for (name, expected) in
            [("Abs", [i32::MIN, 5, 7]), ("Neg", [i32::MIN, 5, -7]), ("Relu", [0, 0, 7]), ("Sign", [-1, -1, 1])]
        {
            assert_eq!(eval(name, Attributes::new(), &[x.clone()]).unwrap(), tensor(&[3], &expected), "{name}");
        }
        let y = eval("Sign", Attributes::new(), &[tensor(&[2], &[0u8, 200])]).unwrap();
        assert_eq!(y, tensor(&[2], &[0u8, 1]));
    }

    #[test]
    fn floats_keep_nan() {
        let x = tensor(&[3], &[-1.5f64, 0.0, f64::NAN]);
        for (name, expected) in [("Abs", 1.5), ("Neg", 1.5), ("Relu", 0.0), ("Sign", -1.0)] {
            let y = eval(name, Attributes::new(), &[x.clone()]).unwrap();
            let y = y.as_slice::<f64>().unwrap();
            assert!(y[0] == expected && y[1] == 0.0 && y[2].is_nan(), "{name}: {y:?}");
        }
        let y = eval("Relu", Attributes::new(), &[tensor(&[1], &[f16::from_f32(-1.0)])]).unwrap();
        assert_eq!(y, tensor(&[1], &[f16::ZERO]));
    }

    #[test]
    fn contents_are_followed() {
        let fact = Fact::integers(DType::I64, true, vec![Dim::symbol("seq")]);
        let operator = StandardRegistry.operator("", "Neg", Attributes::new(), 1, 1).unwrap();
        let negative = operator.op().unwrap().infer(&Facts::new(&[Some(&fact)], 1)).unwrap().remove(0);
        assert_eq!(negative.elements(), Some(vec![-Dim::symbol("seq")]));
    }
}
