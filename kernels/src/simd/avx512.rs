//! Sixteen lanes of `f32` with AVX-512 F, BW, DQ and VL.

use std::arch::x86_64::*;

use super::{Kernel, Simd, lanes_within};
use crate::Isa;

/// Runs code of these instructions.
macro_rules! have {
    ($code:expr) => {{
        // SAFETY: only `Avx512::detect` makes an `Avx512`, after `Isa::is_available` found its instructions. Code that takes a
        // pointer has checked the length of the slice behind it.
        unsafe { $code }
    }};
}

/// The proof that this CPU has AVX-512 F, BW, DQ and VL, and all that [`super::Avx2`] stands for.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// The proof, where this CPU has the instructions.
    #[inline]
    pub fn detect() -> Option<Self> {
        Isa::Avx512.is_available().then_some(Avx512(()))
    }

    /// Runs a kernel compiled for these instructions.
    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn compiled<K: Kernel>(s: Avx512, kernel: K) -> K::Output {
            kernel.run(s)
        }
        have!(compiled(self, kernel))
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    type F32 = __m512;
    type I32 = __m512i;
    type Mask = __mmask16;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        have!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m512i {
        have!(_mm512_set1_epi32(x))
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> __m512 {
        assert!(x.len() >= Self::LANES);
        have!(_mm512_loadu_ps(x.as_ptr()))
    }

    #[inline(always)]
    fn store(self, y: &mut [f32], v: __m512) {
        assert!(y.len() >= Self::LANES);
        have!(_mm512_storeu_ps(y.as_mut_ptr(), v));
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        have!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        have!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        have!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        have!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        have!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn neg_mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        have!(_mm512_fnmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        have!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        have!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn minimum(self, a: __m512, b: __m512) -> __m512 {
        have!(_mm512_mask_mov_ps(_mm512_min_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a))
    }

    #[inline(always)]
    fn maximum(self, a: __m512, b: __m512) -> __m512 {
        have!(_mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a))
    }

    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        have!(_mm512_sqrt_ps(a))
    }

    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        have!(_mm512_andnot_ps(_mm512_set1_ps(-0.0), a))
    }

    #[inline(always)]
    fn neg(self, a: __m512) -> __m512 {
        have!(_mm512_xor_ps(_mm512_set1_ps(-0.0), a))
    }

    #[inline(always)]
    fn copysign(self, a: __m512, sign: __m512) -> __m512 {
        have!({
            let bit = _mm512_set1_ps(-0.0);
            _mm512_or_ps(_mm512_and_ps(bit, sign), _mm512_andnot_ps(bit, a))
        })
    }

    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        have!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn floor(self, a: __m512) -> __m512 {
        have!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn ceil(self, a: __m512) -> __m512 {
        have!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(a))
    }

    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        have!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b))
    }

    #[inline(always)]
    fn le(self, a: __m512, b: __m512) -> __mmask16 {
        have!(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b))
    }

    #[inline(always)]
    fn eq(self, a: __m512, b: __m512) -> __mmask16 {
        have!(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b))
    }

    #[inline(always)]
    fn ne(self, a: __m512, b: __m512) -> __mmask16 {
        have!(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, b))
    }

    #[inline(always)]
    fn select(self, mask: __mmask16, a: __m512, b: __m512) -> __m512 {
        have!(_mm512_mask_blend_ps(mask, b, a))
    }

    #[inline(always)]
    fn any(self, mask: __mmask16) -> bool {
        mask != 0
    }

    #[inline(always)]
    fn bits(self, a: __m512) -> __m512i {
        have!(_mm512_castps_si512(a))
    }

    #[inline(always)]
    fn with_bits(self, a: __m512i) -> __m512 {
        have!(_mm512_castsi512_ps(a))
    }

    #[inline(always)]
    fn to_i32(self, a: __m512) -> __m512i {
        have!(_mm512_cvtps_epi32(a))
    }

    #[inline(always)]
    fn to_f32(self, a: __m512i) -> __m512 {
        have!(_mm512_cvtepi32_ps(a))
    }

    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        have!(_mm512_add_epi32(a, b))
    }

    #[inline(always)]
    fn sub_i32(self, a: __m512i, b: __m512i) -> __m512i {
        have!(_mm512_sub_epi32(a, b))
    }

    #[inline(always)]
    fn and_i32(self, a: __m512i, b: __m512i) -> __m512i {
        have!(_mm512_and_si512(a, b))
    }

    #[inline(always)]
    fn xor_i32(self, a: __m512i, b: __m512i) -> __m512i {
        have!(_mm512_xor_si512(a, b))
    }

    #[inline(always)]
    fn shift_left<const BITS: i32>(self, a: __m512i) -> __m512i {
        have!(_mm512_sllv_epi32(a, _mm512_set1_epi32(BITS)))
    }

    #[inline(always)]
    fn shift_right<const BITS: i32>(self, a: __m512i) -> __m512i {
        have!(_mm512_srav_epi32(a, _mm512_set1_epi32(BITS)))
    }

    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        have!(_mm512_reduce_add_ps(a))
    }

    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        have!(_mm512_reduce_max_ps(a))
    }

    #[inline(always)]
    fn reduce_min(self, a: __m512) -> f32 {
        have!(_mm512_reduce_min_ps(a))
    }

    #[inline(always)]
    fn unzip(self, a: __m512, b: __m512) -> [__m512; 2] {
        have!({
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
            [_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b)]
        })
    }

    #[inline(always)]
    fn zip(self, a: __m512, b: __m512) -> [__m512; 2] {
        have!({
            let first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
            [_mm512_permutex2var_ps(a, first, b), _mm512_permutex2var_ps(a, second, b)]
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
    fn load_partial(self, x: &[f32], count: usize, fill: f32) -> __m512 {
        let count = count.min(Self::LANES);
        assert!(x.len() >= count);
        have!(_mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(count), x.as_ptr()))
    }

    #[inline(always)]
    fn prefetch(self, x: &[f32], at: usize) {
        // Any address may be asked for.
        have!(_mm_prefetch::<_MM_HINT_T0>(x.as_ptr().wrapping_add(at).cast()));
    }

    #[inline(always)]
    fn load_around(self, x: &[f32], start: isize) -> __m512 {
        let (from, to) = lanes_within(x.len(), start, Self::LANES);
        let mask = first_lanes(to) & !first_lanes(from);
        // Only the lanes of the mask are read, and those lie in `x`.
        have!(_mm512_maskz_loadu_ps(mask, x.as_ptr().wrapping_offset(start)))
    }

    #[inline(always)]
    fn store_partial(self, y: &mut [f32], count: usize, v: __m512) {
        let count = count.min(Self::LANES);
        assert!(y.len() >= count);
        have!(_mm512_mask_storeu_ps(y.as_mut_ptr(), first_lanes(count), v));
    }
}

/// The bits of the first `count` lanes.
#[inline(always)]
fn first_lanes(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

/// `to[j · to_stride + i] = from[i · from_stride + j]`
///
/// # Safety
/// There are at most 16 rows and columns, and all of them may be read and written.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn transpose(from: *const f32, from_stride: usize, [rows, columns]: [usize; 2], to: *mut f32, to_stride: usize) {
    let mut lines = [_mm512_setzero_ps(); 16];
    let mask = first_lanes(columns);
    for (i, line) in lines.iter_mut().enumerate().take(rows) {
        // SAFETY: the mask has the columns of a row that may be read.
        *line = unsafe { _mm512_maskz_loadu_ps(mask, from.add(i * from_stride)) };
    }
    let mask = first_lanes(rows);
    for (j, column) in transposed(lines).iter().enumerate().take(columns) {
        // SAFETY: the mask has the rows of a column that may be written.
        unsafe { _mm512_mask_storeu_ps(to.add(j * to_stride), mask, *column) }
    }
}

/// The columns of sixteen rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(rows: [__m512; 16]) -> [__m512; 16] {
    // Of every four rows: part `c` holds, in quarter `q`, their elements of column `4q + c`.
    let parts: [[__m512; 4]; 4] = std::array::from_fn(|group| {
        let [a, b, c, d] = [rows[4 * group], rows[4 * group + 1], rows[4 * group + 2], rows[4 * group + 3]];
        let low = [_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d)].map(|x| _mm512_castps_pd(x));
        let high = [_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d)].map(|x| _mm512_castps_pd(x));
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1])),
            _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1])),
            _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1])),
            _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1])),
        ]
    });
    let mut columns = [_mm512_setzero_ps(); 16];
    for c in 0..4 {
        let even = [
            _mm512_shuffle_f32x4::<0x88>(parts[0][c], parts[1][c]),
            _mm512_shuffle_f32x4::<0x88>(parts[2][c], parts[3][c]),
        ];
        let odd = [
            _mm512_shuffle_f32x4::<0xdd>(parts[0][c], parts[1][c]),
            _mm512_shuffle_f32x4::<0xdd>(parts[2][c], parts[3][c]),
        ];
        columns[c] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
        columns[4 + c] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
        columns[8 + c] = _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]);
        columns[12 + c] = _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]);
    }
    columns
}
