//! Eight lanes of `f32` with AVX2, FMA and F16C.

use std::arch::x86_64::*;

use super::{Kernel, Simd, lanes_within};
use crate::Isa;

/// Runs code of these instructions.
macro_rules! have {
    ($code:expr) => {{
        // SAFETY: only `Avx2::detect` makes a `Avx2`, after `Isa::is_available` found AVX2, FMA and F16C. Code that takes a
        // pointer has checked the length of the slice behind it.
        unsafe { $code }
    }};
}

/// The proof that this CPU has AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, where this CPU has the instructions.
    #[inline]
    pub fn detect() -> Option<Self> {
        Isa::Avx2.is_available().then_some(Avx2(()))
    }

    /// Runs a kernel compiled for these instructions.
    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<K: Kernel>(s: Avx2, kernel: K) -> K::Output {
            kernel.run(s)
        }
        have!(compiled(self, kernel))
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    type F32 = __m256;
    type I32 = __m256i;
    type Mask = __m256;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        have!(_mm256_set1_ps(x))
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m256i {
        have!(_mm256_set1_epi32(x))
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> __m256 {
        assert!(x.len() >= Self::LANES);
        have!(_mm256_loadu_ps(x.as_ptr()))
    }

    #[inline(always)]
    fn store(self, y: &mut [f32], v: __m256) {
        assert!(y.len() >= Self::LANES);
        have!(_mm256_storeu_ps(y.as_mut_ptr(), v));
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        have!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn neg_mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        have!(_mm256_fnmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_min_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_max_ps(a, b))
    }

    #[inline(always)]
    fn minimum(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_or_ps(_mm256_min_ps(a, b), _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)))
    }

    #[inline(always)]
    fn maximum(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_or_ps(_mm256_max_ps(a, b), _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)))
    }

    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        have!(_mm256_sqrt_ps(a))
    }

    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        have!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }

    #[inline(always)]
    fn neg(self, a: __m256) -> __m256 {
        have!(_mm256_xor_ps(_mm256_set1_ps(-0.0), a))
    }

    #[inline(always)]
    fn copysign(self, a: __m256, sign: __m256) -> __m256 {
        have!({
            let bit = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_and_ps(bit, sign), _mm256_andnot_ps(bit, a))
        })
    }

    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        have!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn floor(self, a: __m256) -> __m256 {
        have!(_mm256_floor_ps(a))
    }

    #[inline(always)]
    fn ceil(self, a: __m256) -> __m256 {
        have!(_mm256_ceil_ps(a))
    }

    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
    }

    #[inline(always)]
    fn le(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_cmp_ps::<_CMP_LE_OQ>(a, b))
    }

    #[inline(always)]
    fn eq(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b))
    }

    #[inline(always)]
    fn ne(self, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_cmp_ps::<_CMP_NEQ_UQ>(a, b))
    }

    #[inline(always)]
    fn select(self, mask: __m256, a: __m256, b: __m256) -> __m256 {
        have!(_mm256_blendv_ps(b, a, mask))
    }

    #[inline(always)]
    fn any(self, mask: __m256) -> bool {
        have!(_mm256_movemask_ps(mask) != 0)
    }

    #[inline(always)]
    fn bits(self, a: __m256) -> __m256i {
        have!(_mm256_castps_si256(a))
    }

    #[inline(always)]
    fn with_bits(self, a: __m256i) -> __m256 {
        have!(_mm256_castsi256_ps(a))
    }

    #[inline(always)]
    fn to_i32(self, a: __m256) -> __m256i {
        have!(_mm256_cvtps_epi32(a))
    }

    #[inline(always)]
    fn to_f32(self, a: __m256i) -> __m256 {
        have!(_mm256_cvtepi32_ps(a))
    }

    #[inline(always)]
    fn add_i32(self, a: __m256i, b: __m256i) -> __m256i {
        have!(_mm256_add_epi32(a, b))
    }

    #[inline(always)]
    fn sub_i32(self, a: __m256i, b: __m256i) -> __m256i {
        have!(_mm256_sub_epi32(a, b))
    }

    #[inline(always)]
    fn and_i32(self, a: __m256i, b: __m256i) -> __m256i {
        have!(_mm256_and_si256(a, b))
    }

    #[inline(always)]
    fn xor_i32(self, a: __m256i, b: __m256i) -> __m256i {
        have!(_mm256_xor_si256(a, b))
    }

    #[inline(always)]
    fn shift_left<const BITS: i32>(self, a: __m256i) -> __m256i {
        have!(_mm256_slli_epi32::<BITS>(a))
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: __m256i) -> __m256i {
        have!(_mm256_srai_epi32::<BITS>(a))
    }

    #[inline(always)]
    fn reduce_add(self, a: __m256) -> f32 {
        have!({
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        have!({
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn reduce_min(self, a: __m256) -> f32 {
        have!({
            let four = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn unzip(self, a: __m256, b: __m256) -> [__m256; 2] {
        have!({
            // Within halves first: a0 a2 b0 b2 | a4 a6 b4 b6.
            let in_order = |x| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(x)));
            [in_order(_mm256_shuffle_ps::<0b10_00_10_00>(a, b)), in_order(_mm256_shuffle_ps::<0b11_01_11_01>(a, b))]
        })
    }

    #[inline(always)]
    fn zip(self, a: __m256, b: __m256) -> [__m256; 2] {
        have!({
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
        })
    }

    #[inline(always)]
    fn transpose(
        self,
        from: &[f32],
        from_stride: usize,
        [rows, columns]: [usize; 2],
        to: &mut [f32],
        to_stride: usize,
    ) {
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(rows <= Self::LANES && columns <= Self::LANES);
        assert!((rows - 1) * from_stride + columns <= from.len() && (columns - 1) * to_stride + rows <= to.len());
        have!(transpose(from.as_ptr(), from_stride, [rows, columns], to.as_mut_ptr(), to_stride));
    }

    #[inline(always)]
    fn load_partial(self, x: &[f32], count: usize, fill: f32) -> __m256 {
        let count = count.min(Self::LANES);
        assert!(x.len() >= count);
        have!({
            let mask = first_lanes(count);
            let loaded = _mm256_maskload_ps(x.as_ptr(), mask);
            _mm256_blendv_ps(_mm256_set1_ps(fill), loaded, _mm256_castsi256_ps(mask))
        })
    }

    #[inline(always)]
    fn prefetch(self, x: &[f32], at: usize) {
        // Any address may be asked for.
        have!(_mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(at).cast()));
    }

    #[inline(always)]
    fn load_around(self, x: &[f32], start: isize) -> __m256 {
        let (from, to) = lanes_within(x.len(), start, Self::LANES);
        // Only the lanes of the mask are read, and those lie in `x`.
        have!({
            let mask = _mm256_andnot_si256(first_lanes(from), first_lanes(to));
            _mm256_maskload_ps(x.as_ptr().wrapping_offset(start), mask)
        })
    }

    #[inline(always)]
    fn store_partial(self, y: &mut [f32], count: usize, v: __m256) {
        let count = count.min(Self::LANES);
        assert!(y.len() >= count);
        have!(_mm256_maskstore_ps(y.as_mut_ptr(), first_lanes(count), v));
    }
}

/// All bits set in the first `count` lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn first_lanes(count: usize) -> __m256i {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane)
}

/// `to[j · to_stride + i] = from[i · from_stride + j]`
///
/// # Safety
/// There are at most 8 rows and columns, and all of them may be read and written.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose(from: *const f32, from_stride: usize, [rows, columns]: [usize; 2], to: *mut f32, to_stride: usize) {
    let mut lines = [_mm256_setzero_ps(); 8];
    let mask = first_lanes(columns);
    for (i, line) in lines.iter_mut().enumerate().take(rows) {
        // SAFETY: the mask has the columns of a row that may be read.
        *line = unsafe { _mm256_maskload_ps(from.add(i * from_stride), mask) };
    }
    let mask = first_lanes(rows);
    for (j, column) in transposed(lines).iter().enumerate().take(columns) {
        // SAFETY: the mask has the rows of a column that may be written.
        unsafe { _mm256_maskstore_ps(to.add(j * to_stride), mask, *column) }
    }
}

/// The columns of eight rows.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
    // Of every four rows: part `c` holds, in half `h`, their elements of column `4h + c`.
    let parts: [[__m256; 4]; 2] = std::array::from_fn(|group| {
        let [a, b, c, d] = [rows[4 * group], rows[4 * group + 1], rows[4 * group + 2], rows[4 * group + 3]];
        let low = [_mm256_castps_pd(_mm256_unpacklo_ps(a, b)), _mm256_castps_pd(_mm256_unpacklo_ps(c, d))];
        let high = [_mm256_castps_pd(_mm256_unpackhi_ps(a, b)), _mm256_castps_pd(_mm256_unpackhi_ps(c, d))];
        [
            _mm256_castpd_ps(_mm256_unpacklo_pd(low[0], low[1])),
            _mm256_castpd_ps(_mm256_unpackhi_pd(low[0], low[1])),
            _mm256_castpd_ps(_mm256_unpacklo_pd(high[0], high[1])),
            _mm256_castpd_ps(_mm256_unpackhi_pd(high[0], high[1])),
        ]
    });
    let mut columns = [_mm256_setzero_ps(); 8];
    for c in 0..4 {
        columns[c] = _mm256_permute2f128_ps::<0x20>(parts[0][c], parts[1][c]);
        columns[4 + c] = _mm256_permute2f128_ps::<0x31>(parts[0][c], parts[1][c]);
    }
    columns
}
