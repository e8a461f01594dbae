//! `Pow`: xʸ, with multidirectional broadcasting. The exponent may be of another dtype.
//!
//! An integer to an integer power wraps; to a negative power it is the true result rounded towards zero, where 0 to a negative
//! power is an error.
//!
//! Opsets: 1 broadcasts by attributes, which the importer writes as an Unsqueeze; 7 broadcasts as here; 12 allows integers
//! and mixed dtypes; 13 and 15 add dtypes.

use crate::Define;
use crate::cast::{Rounding, cast};
use crate::dtypes::{Number, for_dtypes, for_numeric};
use crate::elementwise::{binary_to, infer_broadcast, map_runs};
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, INDICES, InferError, Inputs, NUMERIC, NodeView, Op, OpError,
    Outputs, Schema, arg,
};
use planish_kernels::{elementwise as kernels, simd};
use planish_tensor::{DType, Tensor};

/// What one power costs.
const NS: f64 = 15.0;

/// `Pow`.
#[derive(Debug)]
pub struct Pow;

impl Define for Pow {
    const SCHEMA: Schema = Schema::new("Pow", 15)
        .inputs(&[arg("X", FLOATS.or(INDICES)).var("T"), arg("Y", NUMERIC).var("T1")])
        .outputs(&[arg("Z", FLOATS.or(INDICES)).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Pow)
    }
}

impl Op for Pow {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        infer_broadcast(x, x.dtype(0), |elements| match elements[1].as_known() {
            Some(exponent @ 0..=4) => (0..exponent).map(|_| &elements[0]).product(),
            _ => Dim::unknown(),
        })
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, y) = (inputs.take_tensor(0)?, inputs.take_tensor(1)?);
        if let Some(kernel) = kernel_for(&x, &y)? {
            let run = |from: Option<&[f32]>, to: &mut [f32]| {
                kernels::unary(kernel, from.map_or(simd::Operand::Output, simd::Operand::Slice), to);
            };
            return Ok(map_runs(cx, x, 0.5, run)?.into());
        }
        let y = wide_exponents(cx, y)?;
        refuse_negative_powers_of_zero(cx, &x, &y)?;
        Ok(for_dtypes!(y.dtype(), E => powers::<E>(cx, &x, &y), [F64 = f64, I64 = i64, U64 = u64])?.into())
    }
}

/// The kernel that computes the same: for squares, roots and reciprocals of `float`, by one exponent that does not make the
/// result larger than x.
fn kernel_for(x: &Tensor, y: &Tensor) -> Result<Option<kernels::Unary>, OpError> {
    if x.dtype() != DType::F32 || y.num_elements() != 1 || y.rank() > x.rank() {
        return Ok(None);
    }
    let exponent = for_numeric!(y.dtype(), E => Ok::<f64, OpError>(y.as_slice::<E>()?[0].to_f64()))?;
    Ok(kernel_for_exponent(exponent))
}

/// The kernel for this power of `float`, where there is one.
pub fn kernel_for_exponent(exponent: f64) -> Option<kernels::Unary> {
    match exponent {
        2.0 => Some(kernels::Unary::Square),
        -1.0 => Some(kernels::Unary::Reciprocal),
        _ => None,
    }
}

/// Exponents in the widest type of their kind, which holds each exactly.
fn wide_exponents(cx: &EvalCx<'_>, y: Tensor) -> Result<Tensor, OpError> {
    let wide = match y.dtype() {
        DType::U64 => DType::U64,
        dtype if dtype.is_float() => DType::F64,
        _ => DType::I64,
    };
    cast(cx, y, wide, Rounding::default())
}

fn powers<E: Power>(cx: &EvalCx<'_>, x: &Tensor, y: &Tensor) -> Result<Tensor, OpError> {
    for_dtypes!(x.dtype(), T => binary_to::<T, E, T>(cx, x, y, NS, E::power_of), [
        F32 = f32, F64 = f64, F16 = planish_tensor::f16, BF16 = planish_tensor::bf16, I32 = i32, I64 = i64,
    ])
}

/// An error where an integer 0 meets a negative exponent.
fn refuse_negative_powers_of_zero(cx: &EvalCx<'_>, x: &Tensor, y: &Tensor) -> Result<(), OpError> {
    fn meet<T: Number>(cx: &EvalCx<'_>, x: &Tensor, y: &Tensor) -> Result<bool, OpError> {
        if !x.as_slice::<T>()?.contains(&T::ZERO) || !y.as_slice::<i64>()?.iter().any(|&y| y < 0) {
            return Ok(false);
        }
        let met = binary_to::<T, i64, bool>(cx, x, y, NS, |x, y| x == T::ZERO && y < 0)?;
        Ok(met.as_slice::<bool>()?.contains(&true))
    }
    let is_undefined = match (x.dtype(), y.dtype()) {
        (DType::I32, DType::I64) => meet::<i32>(cx, x, y)?,
        (DType::I64, DType::I64) => meet::<i64>(cx, x, y)?,
        _ => false,
    };
    if is_undefined { Err(OpError::invalid("an integer 0 has no negative powers")) } else { Ok(()) }
}

/// A number as an exponent.
trait Power: Number {
    /// x to this power.
    fn power_of<T: Number>(x: T, exponent: Self) -> T;
}

macro_rules! float_powers {
    ($($t:ty),*) => {$(
        impl Power for $t {
            #[inline(always)]
            fn power_of<T: Number>(x: T, exponent: Self) -> T {
                T::from_f64(x.to_f64().powf(exponent.to_f64()))
            }
        }
    )*};
}

macro_rules! integer_powers {
    ($($t:ty),*) => {$(
        impl Power for $t {
            #[inline(always)]
            fn power_of<T: Number>(x: T, exponent: Self) -> T {
                if !T::IS_INTEGER {
                    return T::from_f64(x.to_f64().powf(exponent as f64));
                }
                match u64::try_from(exponent) {
                    Ok(exponent) => wrapping_power(x, exponent),
                    Err(_) if x == T::ONE => x,
                    Err(_) if x == T::ONE.neg() => if exponent % 2 == 0 { T::ONE } else { x },
                    Err(_) => T::ZERO,
                }
            }
        }
    )*};
}

float_powers!(f64);
integer_powers!(u64, i64);

fn wrapping_power<T: Number>(mut base: T, mut exponent: u64) -> T {
    let mut result = T::ONE;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result.mul(base);
        }
        base = base.mul(base);
        exponent /= 2;
    }
    result
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::f16;

    #[test]
    fn bases_and_exponents_of_many_dtypes() {
        let pow = |x, y| eval("Pow", Attributes::new(), &[x, y]).unwrap();
        assert_eq!(pow(tensor(&[3], &[1f32, 2., 3.]), tensor(&[], &[2i64])), tensor(&[3], &[1f32, 4., 9.]));
        assert_eq!(pow(tensor(&[2], &[4f32, 9.]), tensor(&[1, 1], &[0.5f64])), tensor(&[1, 2], &[2f32, 3.]));
        assert_eq!(pow(tensor(&[], &[2f64]), tensor(&[2], &[-1f32, 10.])), tensor(&[2], &[0.5f64, 1024.]));
        assert_eq!(pow(tensor(&[2], &[2i32, 3]), tensor(&[], &[0.5f32])), tensor(&[2], &[1i32, 1]));
        assert_eq!(pow(tensor(&[1], &[f16::from_f32(3.)]), tensor(&[], &[2u8])), tensor(&[1], &[f16::from_f32(9.)]));
    }

    #[test]
    fn integer_powers_wrap_and_round_towards_zero() {
        let x = tensor(&[4], &[2i64, -1, 1, -3]);
        let pow = |y: i64| eval("Pow", Attributes::new(), &[x.clone(), tensor(&[], &[y])]).unwrap();
        assert_eq!(pow(-3), tensor(&[4], &[0i64, -1, 1, 0]));
        assert_eq!(pow(64), tensor(&[4], &[0i64, 1, 1, (-3i64).wrapping_pow(64)]));
        assert!(eval("Pow", Attributes::new(), &[tensor(&[1], &[0i32]), tensor(&[1], &[-1i32])]).is_err());
    }

    #[test]
    fn a_zero_may_stand_beside_a_negative_exponent_of_another() {
        let y = eval("Pow", Attributes::new(), &[tensor(&[2], &[0i32, -2]), tensor(&[2], &[2i16, -1])]);
        assert_eq!(y.unwrap(), tensor(&[2], &[0i32, 0]));
    }
}
