//! Four lanes of `f32` with Advanced SIMD.

use std::arch::aarch64::*;

use super::{Kernel, Simd};
use crate::Isa;

/// Runs code of these instructions.
macro_rules! have {
    ($code:expr) => {{
        // SAFETY: only `Neon::detect` makes a `Neon`, after `Isa::is_available` found Advanced SIMD. Code that takes a
        // pointer has checked the length of the slice behind it.
        unsafe { $code }
    }};
}

/// The proof that this CPU has Advanced SIMD.
#[derive(Debug, Clone, Copy)]
pub struct Neon(());

impl Neon {
    /// The proof, where this CPU has the instructions.
    #[inline]
    pub fn detect() -> Option<Self> {
        Isa::Neon.is_available().then_some(Neon(()))
    }

    /// Runs a kernel compiled for these instructions.
    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        fn compiled<K: Kernel>(s: Neon, kernel: K) -> K::Output {
            kernel.run(s)
        }
        have!(compiled(self, kernel))
    }
}

impl Simd for Neon {
    const LANES: usize = 4;
    type F32 = float32x4_t;
    type I32 = int32x4_t;
    type Mask = uint32x4_t;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        have!(vdupq_n_f32(x))
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> int32x4_t {
        have!(vdupq_n_s32(x))
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> float32x4_t {
        assert!(x.len() >= Self::LANES);
        have!(vld1q_f32(x.as_ptr()))
    }

    #[inline(always)]
    fn store(self, y: &mut [f32], v: float32x4_t) {
        assert!(y.len() >= Self::LANES);
        have!(vst1q_f32(y.as_mut_ptr(), v));
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        have!(vaddq_f32(a, b))
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        have!(vsubq_f32(a, b))
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        have!(vmulq_f32(a, b))
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        have!(vdivq_f32(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        have!(vfmaq_f32(c, a, b))
    }

    #[inline(always)]
    fn neg_mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        have!(vfmsq_f32(c, a, b))
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        have!(vbslq_f32(vcltq_f32(a, b), a, b))
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        have!(vbslq_f32(vcgtq_f32(a, b), a, b))
    }

    #[inline(always)]
    fn minimum(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        have!(vminq_f32(a, b))
    }

    #[inline(always)]
    fn maximum(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        have!(vmaxq_f32(a, b))
    }

    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        have!(vsqrtq_f32(a))
    }

    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        have!(vabsq_f32(a))
    }

    #[inline(always)]
    fn neg(self, a: float32x4_t) -> float32x4_t {
        have!(vnegq_f32(a))
    }

    #[inline(always)]
    fn copysign(self, a: float32x4_t, sign: float32x4_t) -> float32x4_t {
        have!(vbslq_f32(vdupq_n_u32(1 << 31), sign, a))
    }

    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        have!(vrndnq_f32(a))
    }

    #[inline(always)]
    fn floor(self, a: float32x4_t) -> float32x4_t {
        have!(vrndmq_f32(a))
    }

    #[inline(always)]
    fn ceil(self, a: float32x4_t) -> float32x4_t {
        have!(vrndpq_f32(a))
    }

    #[inline(always)]
    fn lt(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        have!(vcltq_f32(a, b))
    }

    #[inline(always)]
    fn le(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        have!(vcleq_f32(a, b))
    }

    #[inline(always)]
    fn eq(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        have!(vceqq_f32(a, b))
    }

    #[inline(always)]
    fn ne(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        have!(vmvnq_u32(vceqq_f32(a, b)))
    }

    #[inline(always)]
    fn select(self, mask: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        have!(vbslq_f32(mask, a, b))
    }

    #[inline(always)]
    fn any(self, mask: uint32x4_t) -> bool {
        have!(vmaxvq_u32(mask) != 0)
    }

    #[inline(always)]
    fn bits(self, a: float32x4_t) -> int32x4_t {
        have!(vreinterpretq_s32_f32(a))
    }

    #[inline(always)]
    fn with_bits(self, a: int32x4_t) -> float32x4_t {
        have!(vreinterpretq_f32_s32(a))
    }

    #[inline(always)]
    fn to_i32(self, a: float32x4_t) -> int32x4_t {
        have!(vcvtnq_s32_f32(a))
    }

    #[inline(always)]
    fn to_f32(self, a: int32x4_t) -> float32x4_t {
        have!(vcvtq_f32_s32(a))
    }

    #[inline(always)]
    fn add_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        have!(vaddq_s32(a, b))
    }

    #[inline(always)]
    fn sub_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        have!(vsubq_s32(a, b))
    }

    #[inline(always)]
    fn and_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        have!(vandq_s32(a, b))
    }

    #[inline(always)]
    fn xor_i32(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        have!(veorq_s32(a, b))
    }

    #[inline(always)]
    fn shift_left<const BITS: i32>(self, a: int32x4_t) -> int32x4_t {
        have!(vshlq_s32(a, vdupq_n_s32(BITS)))
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: int32x4_t) -> int32x4_t {
        have!(vshlq_s32(a, vdupq_n_s32(-BITS)))
    }

    #[inline(always)]
    fn reduce_add(self, a: float32x4_t) -> f32 {
        have!(vaddvq_f32(a))
    }

    #[inline(always)]
    fn reduce_max(self, a: float32x4_t) -> f32 {
        have!(vmaxvq_f32(a))
    }

    #[inline(always)]
    fn reduce_min(self, a: float32x4_t) -> f32 {
        have!(vminvq_f32(a))
    }

    #[inline(always)]
    fn unzip(self, a: float32x4_t, b: float32x4_t) -> [float32x4_t; 2] {
        have!([vuzp1q_f32(a, b), vuzp2q_f32(a, b)])
    }

    #[inline(always)]
    fn zip(self, a: float32x4_t, b: float32x4_t) -> [float32x4_t; 2] {
        have!([vzip1q_f32(a, b), vzip2q_f32(a, b)])
    }
}
