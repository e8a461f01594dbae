//! Arithmetic on every element type, and choosing a Rust type by a tensor's dtype.
//!
//! `for_numeric!` and its siblings run one generic body for the dtype at hand; [`Number`] is what such bodies may rely on.

use half::slice::HalfFloatSliceExt;
use planish_ir::{EvalCx, OpError};
use planish_tensor::{DType, Element, Tensor, bf16, f16};

/// Runs `$body` with `$T` standing for the Rust type of `$dtype`, which must be one of the listed variants. The body is a
/// `Result` whose error is made from an [`OpError`]; another dtype is `Unsupported`.
macro_rules! for_dtypes {
    ($dtype:expr, $T:ident => $body:expr, [$($variant:ident = $rust:ty),* $(,)?]) => {
        match $dtype {
            $(planish_tensor::DType::$variant => {
                type $T = $rust;
                $body
            })*
            other => Err(planish_ir::OpError::unsupported(format!("dtype {other}"))),
        }
    };
}

/// [`for_dtypes!`] over the floats of 16 bits and more.
macro_rules! for_float {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::dtypes::for_dtypes!($dtype, $T => $body, [
            F32 = f32, F64 = f64, F16 = planish_tensor::f16, BF16 = planish_tensor::bf16,
        ])
    };
}

/// [`for_dtypes!`] over the integers of 8 bits and more.
macro_rules! for_integer {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::dtypes::for_dtypes!($dtype, $T => $body, [
            U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
        ])
    };
}

/// [`for_dtypes!`] over all integers of 8 bits and more, and floats of 16 bits and more.
macro_rules! for_numeric {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::dtypes::for_dtypes!($dtype, $T => $body, [
            F32 = f32, F64 = f64, F16 = planish_tensor::f16, BF16 = planish_tensor::bf16,
            U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
        ])
    };
}

pub(crate) use {for_dtypes, for_float, for_integer, for_numeric};

/// Arithmetic as ONNX means it, the same in debug and release builds: integers wrap, 16-bit floats compute in `f32` and
/// round once.
pub trait Number: Element + PartialOrd {
    /// Whether this is an integer type.
    const IS_INTEGER: bool;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// −∞, or the least integer.
    const LOWEST: Self;
    /// ∞, or the greatest integer.
    const HIGHEST: Self;

    /// a + b.
    fn add(self, other: Self) -> Self;
    /// a − b.
    fn sub(self, other: Self) -> Self;
    /// a · b.
    fn mul(self, other: Self) -> Self;
    /// a / b, integers rounding towards zero. An integer by 0 is 0: whoever must refuse it looks before.
    fn div(self, other: Self) -> Self;
    /// What `div` leaves, with the sign of a. An integer by 0 is 0, as above.
    fn rem(self, other: Self) -> Self;
    /// What the quotient rounded down leaves, with the sign of b. An integer by 0 is 0, as above.
    fn modulo(self, other: Self) -> Self;
    /// |a|.
    fn abs(self) -> Self;
    /// −a.
    fn neg(self) -> Self {
        Self::ZERO.sub(self)
    }
    /// Whether this is not a number.
    fn is_nan(self) -> bool;
    /// The smaller, or NaN if either is.
    fn min(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
    /// The greater, or NaN if either is.
    fn max(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }
    /// The nearest `f64`.
    fn to_f64(self) -> f64;
    /// The nearest number of this type; integers round towards zero and saturate, NaN is 0.
    fn from_f64(value: f64) -> Self;
}

macro_rules! integers {
    ($($t:ty: $abs:expr),*) => {$(
        #[allow(unused_comparisons, reason = "unsigned types have no negative values")]
        impl Number for $t {
            const IS_INTEGER: bool = true;
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const LOWEST: Self = <$t>::MIN;
            const HIGHEST: Self = <$t>::MAX;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }
            #[inline(always)]
            fn rem(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_rem(other) }
            }
            #[inline(always)]
            fn modulo(self, other: Self) -> Self {
                let rest = Number::rem(self, other);
                if rest != 0 && (rest < 0) != (other < 0) { rest.wrapping_add(other) } else { rest }
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $abs(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
        }
    )*};
}

integers! {
    i8: i8::wrapping_abs, i16: i16::wrapping_abs, i32: i32::wrapping_abs, i64: i64::wrapping_abs,
    u8: std::convert::identity, u16: std::convert::identity, u32: std::convert::identity, u64: std::convert::identity
}

macro_rules! floats {
    ($($t:ty { zero: $zero:expr, one: $one:expr, infinity: $infinity:expr, wide: $wide:ty, widen: $widen:expr, narrow: $narrow:expr,
        from_f64: $from_f64:expr, }),*) => {$(
        impl Number for $t {
            const IS_INTEGER: bool = false;
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            const LOWEST: Self = $infinity.1;
            const HIGHEST: Self = $infinity.0;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                $narrow($widen(self) + $widen(other))
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                $narrow($widen(self) - $widen(other))
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                $narrow($widen(self) * $widen(other))
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                $narrow($widen(self) / $widen(other))
            }
            #[inline(always)]
            fn rem(self, other: Self) -> Self {
                $narrow($widen(self) % $widen(other))
            }
            #[inline(always)]
            fn modulo(self, other: Self) -> Self {
                let (a, b): ($wide, $wide) = ($widen(self), $widen(other));
                let rest = a % b;
                $narrow(if rest == 0.0 {
                    rest.copysign(b)
                } else if (rest < 0.0) != (b < 0.0) {
                    rest + b
                } else {
                    rest
                })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $narrow(<$wide>::abs($widen(self)))
            }
            #[inline(always)]
            fn neg(self) -> Self {
                -self
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                $from_f64(value)
            }
        }
    )*};
}

floats! {
    f32 {
        zero: 0.0, one: 1.0, infinity: (f32::INFINITY, f32::NEG_INFINITY), wide: f32,
        widen: std::convert::identity, narrow: std::convert::identity, from_f64: |v| v as f32,
    },
    f64 {
        zero: 0.0, one: 1.0, infinity: (f64::INFINITY, f64::NEG_INFINITY), wide: f64,
        widen: std::convert::identity, narrow: std::convert::identity, from_f64: std::convert::identity,
    },
    f16 {
        zero: f16::ZERO, one: f16::ONE, infinity: (f16::INFINITY, f16::NEG_INFINITY), wide: f32,
        widen: f16::to_f32, narrow: f16::from_f32, from_f64: f16::from_f64,
    },
    bf16 {
        zero: bf16::ZERO, one: bf16::ONE, infinity: (bf16::INFINITY, bf16::NEG_INFINITY), wide: f32,
        widen: bf16::to_f32, narrow: bf16::from_f32, from_f64: bf16::from_f64,
    }
}

/// A float of 16 or 32 bits, which kernels compute with in `f32`.
pub trait Float32: Number {
    /// Writes `x` to `y` as `f32`. Both are of one length.
    fn widen(x: &[Self], y: &mut [f32]);
    /// Writes `x` to `y`, rounded. Both are of one length.
    fn narrow(x: &[f32], y: &mut [Self]);
}

impl Float32 for f32 {
    fn widen(x: &[f32], y: &mut [f32]) {
        y.copy_from_slice(x);
    }
    fn narrow(x: &[f32], y: &mut [f32]) {
        y.copy_from_slice(x);
    }
}

impl Float32 for f16 {
    fn widen(x: &[f16], y: &mut [f32]) {
        x.convert_to_f32_slice(y);
    }
    fn narrow(x: &[f32], y: &mut [f16]) {
        y.convert_from_f32_slice(x);
    }
}

impl Float32 for bf16 {
    fn widen(x: &[bf16], y: &mut [f32]) {
        x.convert_to_f32_slice(y);
    }
    fn narrow(x: &[f32], y: &mut [bf16]) {
        y.convert_from_f32_slice(x);
    }
}

/// A `float`, `float16` or `bfloat16` tensor as `float`; the tensor itself if it is one already.
pub fn to_f32(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    fn widen<T: Float32>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let mut y = cx.uninit::<f32>(x.shape().clone())?;
        T::widen(x.as_slice()?, &mut y);
        Ok(y.freeze())
    }
    match x.dtype() {
        DType::F32 => Ok(x.clone()),
        DType::F16 => widen::<f16>(cx, x),
        DType::BF16 => widen::<bf16>(cx, x),
        other => Err(OpError::unsupported(format!("dtype {other}"))),
    }
}

/// A `float` tensor rounded to `float`, `float16` or `bfloat16`.
pub fn from_f32(cx: &EvalCx<'_>, x: Tensor, dtype: DType) -> Result<Tensor, OpError> {
    fn narrow<T: Float32>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let mut y = cx.uninit::<T>(x.shape().clone())?;
        T::narrow(x.as_slice()?, &mut y);
        Ok(y.freeze())
    }
    match dtype {
        DType::F32 => Ok(x),
        DType::F16 => narrow::<f16>(cx, &x),
        DType::BF16 => narrow::<bf16>(cx, &x),
        other => Err(OpError::unsupported(format!("dtype {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::Interpreter;

    #[test]
    fn integers_wrap_and_never_trap() {
        assert_eq!(i64::MIN.div(-1), i64::MIN);
        assert_eq!(Number::neg(i8::MIN), i8::MIN);
        assert_eq!(Number::abs(i32::MIN), i32::MIN);
        assert_eq!(7u8.div(0), 0);
        assert_eq!(Number::add(250u8, 10), 4);
    }

    #[test]
    fn nan_wins_min_and_max() {
        for (a, b) in [(f32::NAN, 1.0), (1.0, f32::NAN)] {
            assert!(Number::min(a, b).is_nan() && Number::max(a, b).is_nan());
        }
        assert_eq!(Number::max(f16::ONE, f16::INFINITY), f16::INFINITY);
    }

    #[test]
    fn half_tensors_widen_and_narrow() {
        let cx = EvalCx::unlimited(&Interpreter);
        let x = Tensor::vector(&[f16::from_f32(1.5), f16::NEG_INFINITY]);
        let wide = to_f32(&cx, &x).unwrap();
        assert_eq!(wide.as_slice::<f32>().unwrap(), &[1.5, f32::NEG_INFINITY]);
        assert_eq!(from_f32(&cx, wide, DType::F16).unwrap(), x);
        assert!(to_f32(&cx, &Tensor::scalar(1i32)).is_err());
    }
}
