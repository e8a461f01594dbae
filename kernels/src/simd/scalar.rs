//! One lane, in portable Rust: the meaning of every [`Simd`] operation, and the fallback.

use super::Simd;

/// Vectors of one value.
#[derive(Debug, Clone, Copy)]
pub struct Scalar;

impl Simd for Scalar {
    const LANES: usize = 1;
    type F32 = f32;
    type I32 = i32;
    type Mask = bool;

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> i32 {
        x
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> f32 {
        x[0]
    }

    #[inline(always)]
    fn store(self, y: &mut [f32], v: f32) {
        y[0] = v;
    }

    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }

    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }

    /// Rounds twice: without FMA hardware a fused product is a slow library call.
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }

    #[inline(always)]
    fn neg_mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        c - a * b
    }

    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }

    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }

    #[inline(always)]
    fn minimum(self, a: f32, b: f32) -> f32 {
        if a < b || a.is_nan() { a } else { b }
    }

    #[inline(always)]
    fn maximum(self, a: f32, b: f32) -> f32 {
        if a > b || a.is_nan() { a } else { b }
    }

    #[inline(always)]
    fn sqrt(self, a: f32) -> f32 {
        a.sqrt()
    }

    #[inline(always)]
    fn abs(self, a: f32) -> f32 {
        a.abs()
    }

    #[inline(always)]
    fn neg(self, a: f32) -> f32 {
        -a
    }

    #[inline(always)]
    fn copysign(self, a: f32, sign: f32) -> f32 {
        a.copysign(sign)
    }

    #[inline(always)]
    fn round(self, a: f32) -> f32 {
        a.round_ties_even()
    }

    #[inline(always)]
    fn floor(self, a: f32) -> f32 {
        a.floor()
    }

    #[inline(always)]
    fn ceil(self, a: f32) -> f32 {
        a.ceil()
    }

    #[inline(always)]
    fn lt(self, a: f32, b: f32) -> bool {
        a < b
    }

    #[inline(always)]
    fn le(self, a: f32, b: f32) -> bool {
        a <= b
    }

    #[inline(always)]
    fn eq(self, a: f32, b: f32) -> bool {
        a == b
    }

    #[inline(always)]
    fn ne(self, a: f32, b: f32) -> bool {
        a != b
    }

    #[inline(always)]
    fn select(self, mask: bool, a: f32, b: f32) -> f32 {
        if mask { a } else { b }
    }

    #[inline(always)]
    fn any(self, mask: bool) -> bool {
        mask
    }

    #[inline(always)]
    fn bits(self, a: f32) -> i32 {
        a.to_bits().cast_signed()
    }

    #[inline(always)]
    fn with_bits(self, a: i32) -> f32 {
        f32::from_bits(a.cast_unsigned())
    }

    #[inline(always)]
    fn to_i32(self, a: f32) -> i32 {
        a.round_ties_even() as i32
    }

    #[inline(always)]
    fn to_f32(self, a: i32) -> f32 {
        a as f32
    }

    #[inline(always)]
    fn add_i32(self, a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }

    #[inline(always)]
    fn sub_i32(self, a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }

    #[inline(always)]
    fn and_i32(self, a: i32, b: i32) -> i32 {
        a & b
    }

    #[inline(always)]
    fn xor_i32(self, a: i32, b: i32) -> i32 {
        a ^ b
    }

    #[inline(always)]
    fn shift_left<const BITS: i32>(self, a: i32) -> i32 {
        a << BITS
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: i32) -> i32 {
        a >> BITS
    }

    #[inline(always)]
    fn reduce_add(self, a: f32) -> f32 {
        a
    }

    #[inline(always)]
    fn reduce_max(self, a: f32) -> f32 {
        a
    }

    #[inline(always)]
    fn reduce_min(self, a: f32) -> f32 {
        a
    }
}
