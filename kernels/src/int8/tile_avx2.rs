//! The 8-bit tile with AVX2.
//!
//! `vpmaddwd` multiplies sixteen pairs of 16-bit numbers and adds each pair into 32 bits, where nothing can saturate:
//! B's codes are widened as they are loaded, A was widened when it was packed.

use std::arch::x86_64::*;

use super::tile::{MR, NR, Sums, Tile};

const _: () = assert!(MR == 6 && NR == 16);

/// Computes one tile.
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn tile(tile: &Tile<'_>, sums: &mut Sums) {
    match tile.rows {
        1 => body::<1>(tile, sums),
        2 => body::<2>(tile, sums),
        3 => body::<3>(tile, sums),
        4 => body::<4>(tile, sums),
        5 => body::<5>(tile, sums),
        _ => body::<6>(tile, sums),
    }
}

#[target_feature(enable = "avx2")]
fn body<const ROWS: usize>(tile: &Tile<'_>, out: &mut Sums) {
    let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
    for (a, b) in tile.a.iter().zip(tile.b) {
        let (low, high) = widen(b);
        for (i, sums) in sums.iter_mut().enumerate() {
            let pair = _mm256_set1_epi32(pair_bits(a[2 * i], a[2 * i + 1]));
            sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, pair));
            sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, pair));
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        // SAFETY: a row of sums is sixteen 32-bit numbers, as two vectors are.
        unsafe {
            _mm256_storeu_si256(out.as_mut_ptr().cast(), sums[0]);
            _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), sums[1]);
        }
    }
}

/// Two 16-bit numbers side by side, the first one lower.
#[inline(always)]
fn pair_bits(even: i16, odd: i16) -> i32 {
    i32::from(even.cast_unsigned()) | i32::from(odd) << 16
}

/// The pairs of the first eight columns and of the last eight, each code as 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(b: &[i8; 2 * NR]) -> (__m256i, __m256i) {
    // SAFETY: the line is 32 bytes long, twice the sixteen that each load reads.
    unsafe {
        (
            _mm256_cvtepi8_epi16(_mm_loadu_si128(b.as_ptr().cast())),
            _mm256_cvtepi8_epi16(_mm_loadu_si128(b.as_ptr().add(16).cast())),
        )
    }
}
