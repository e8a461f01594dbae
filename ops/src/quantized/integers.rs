//! Rounding numbers to integers of few bits, and what quantized tensors hold as numbers.

use crate::cast::{Rounding, cast};
use crate::dtypes::for_dtypes;
use num_traits::AsPrimitive;
use planish_ir::{EvalCx, OpError};
use planish_tensor::{DType, Element, Tensor};

/// An integer type that numbers are rounded to.
pub trait Quantum: Element + AsPrimitive<f32> {
    /// The least and the greatest.
    const RANGE: (f32, f32);
    /// The low bits of `value`.
    fn truncate(value: i32) -> Self;
}

macro_rules! quantum {
    ($($t:ty),*) => {$(
        impl Quantum for $t {
            const RANGE: (f32, f32) = (<$t>::MIN as f32, <$t>::MAX as f32);
            #[inline(always)]
            fn truncate(value: i32) -> Self {
                value as $t
            }
        }
    )*};
}

quantum!(u8, i8, u16, i16);

/// Added to a number below 2²² in magnitude, this leaves its nearest integer, ties to even, in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// The integer nearest to `value + zero`, ties to even, within `range`; its least for NaN. `zero` is an integer, all three
/// are below 2²¹ in magnitude.
#[inline(always)]
pub fn round_to<Q: Quantum>(value: f32, zero: f32, range: (f32, f32)) -> Q {
    let bounded = value.max(range.0 - zero).min(range.1 - zero);
    let rounded = (bounded + ROUNDER).to_bits().cast_signed().wrapping_sub(ROUNDER.to_bits().cast_signed());
    Q::truncate(rounded.wrapping_add(zero as i32))
}

/// The least and the greatest integer of a quantized dtype.
pub fn range(dtype: DType) -> Option<(f32, f32)> {
    Some(match dtype {
        DType::U8 => u8::RANGE,
        DType::I8 => i8::RANGE,
        DType::U16 => u16::RANGE,
        DType::I16 => i16::RANGE,
        DType::U4 => (0.0, 15.0),
        DType::I4 => (-8.0, 7.0),
        DType::U2 => (0.0, 3.0),
        DType::I2 => (-2.0, 1.0),
        _ => return None,
    })
}

/// A tensor's codes so that each is an element: 2- and 4-bit integers as `int8`, narrow floats as `float`, others as they are.
pub fn unpacked(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    if x.dtype().is_packed() && x.dtype().is_integer() {
        let _charge = cx.memory.reserve(x.num_elements())?;
        return cx.tensor(x.shape().clone(), &x.unpacked_codes().unwrap_or_default());
    }
    if x.dtype().is_integer() {
        return Ok(x.clone());
    }
    cast(cx, x.clone(), DType::F32, Rounding::new(true))
}

/// Scales or zero points as `float`.
pub fn as_floats(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    fn convert<T: Element + AsPrimitive<f32>>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let mut y = cx.uninit::<f32>(x.shape().clone())?;
        y.iter_mut().zip(x.as_slice::<T>()?).for_each(|(y, x)| *y = x.as_());
        Ok(y.freeze())
    }
    let x = unpacked(cx, x)?;
    match x.dtype() {
        DType::F32 => Ok(x),
        dtype => for_dtypes!(dtype, T => convert::<T>(cx, &x), [U8 = u8, I8 = i8, U16 = u16, I16 = i16, I32 = i32]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_even_and_saturates() {
        for (value, zero, expected) in [
            (0.5f32, 0f32, 0u8),
            (1.5, 0., 2),
            (2.5, 0., 2),
            (-3., 5., 2),
            (1e30, 3., 255),
            (-1e30, 3., 0),
            (f32::NAN, 9., 0),
        ] {
            assert_eq!(round_to::<u8>(value, zero, u8::RANGE), expected, "{value} + {zero}");
        }
        assert_eq!(round_to::<i16>(-40000.0, 1.0, i16::RANGE), i16::MIN);
        assert_eq!(round_to::<u16>(65534.5, 0.0, u16::RANGE), 65534);
        assert_eq!(round_to::<u8>(-9.0, 0.0, (-8.0, 7.0)), 0xf8);
    }
}
