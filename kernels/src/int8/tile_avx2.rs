//! The tile with AVX2, with and without the byte products of AVX-VNNI.
//!
//! Without them there are two ways. `vpmaddubsw` multiplies 32 pairs of bytes and adds each pair into 16 bits, which may
//! saturate: it is for codes that are known not to. Otherwise even and odd bytes are widened to 16 bits, and `vpmaddwd` adds
//! pairs of their products into 32 bits, where nothing can saturate.

use std::arch::x86_64::*;

use super::tile::{GROUP, LEFT_STEP, MR, NR, Sums, Tile};

const _: () = assert!(MR == 6 && NR == 16);

/// Bytes beside each other are multiplied and added by `vpmaddubsw`, which their codes allow.
const NARROW: u8 = 0;
/// Bytes are widened first.
const WIDE: u8 = 1;

/// Computes one tile.
///
/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn plain<const IS_LEFT_SIGNED: bool>(tile: &Tile<'_>, sums: &mut Sums) {
    macro_rules! by_rows {
        ($($rows:literal),*) => {
            match (tile.rows(), tile.is_narrow()) {
                $(
                    ($rows, true) => body::<$rows, NARROW, IS_LEFT_SIGNED>(tile, sums),
                    ($rows, false) => body::<$rows, WIDE, IS_LEFT_SIGNED>(tile, sums),
                )*
                _ => {}
            }
        };
    }
    by_rows!(1, 2, 3, 4, 5, 6);
}

/// Computes one tile.
///
/// # Safety
/// The CPU has AVX2 and AVX-VNNI.
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn vnni<const IS_LEFT_SIGNED: bool>(tile: &Tile<'_>, sums: &mut Sums) {
    match tile.rows() {
        1 => body_vnni::<1, IS_LEFT_SIGNED>(tile, sums),
        2 => body_vnni::<2, IS_LEFT_SIGNED>(tile, sums),
        3 => body_vnni::<3, IS_LEFT_SIGNED>(tile, sums),
        4 => body_vnni::<4, IS_LEFT_SIGNED>(tile, sums),
        5 => body_vnni::<5, IS_LEFT_SIGNED>(tile, sums),
        _ => body_vnni::<6, IS_LEFT_SIGNED>(tile, sums),
    }
}

/// The loops around one group of a tile, which both bodies share: `$group(sums, [low, high], a)` adds the products of a
/// group of two vectors of columns with the rows at `a`.
macro_rules! panels {
    ($tile:ident, $out:ident, $rows:ident, $group:expr) => {{
        let runs = $tile.runs();
        for panel in 0..$tile.panels() {
            let mut sums = [[_mm256_setzero_si256(); 2]; $rows];
            let mut a = $tile.a().as_ptr();
            for &start in runs.starts {
                let mut b = $tile.b().as_ptr().wrapping_add(start + panel * runs.panel_step);
                for _ in 0..runs.groups {
                    // SAFETY: `Tile::new` has compared the end of the last group of the last panel with the slice's length.
                    let columns = unsafe { [_mm256_loadu_si256(b.cast()), _mm256_loadu_si256(b.add(32).cast())] };
                    $group(&mut sums, columns, a);
                    a = a.wrapping_add(LEFT_STEP);
                    b = b.wrapping_add(runs.step);
                }
            }
            for (out, sums) in $out.iter_mut().zip(sums) {
                let out = &mut out.as_chunks_mut::<NR>().0[panel];
                // SAFETY: a panel's row of sums is sixteen 32-bit numbers, as two vectors are.
                unsafe {
                    _mm256_storeu_si256(out.as_mut_ptr().cast(), sums[0]);
                    _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), sums[1]);
                }
            }
        }
    }};
}

#[target_feature(enable = "avx2")]
fn body<const ROWS: usize, const WAY: u8, const IS_LEFT_SIGNED: bool>(tile: &Tile<'_>, out: &mut Sums) {
    if WAY == NARROW {
        panels!(tile, out, ROWS, add_narrow::<ROWS, IS_LEFT_SIGNED>);
    } else {
        panels!(tile, out, ROWS, add_wide::<ROWS, IS_LEFT_SIGNED>);
    }
}

#[target_feature(enable = "avx2,avxvnni")]
fn body_vnni<const ROWS: usize, const IS_LEFT_SIGNED: bool>(tile: &Tile<'_>, out: &mut Sums) {
    panels!(tile, out, ROWS, add_vnni::<ROWS, IS_LEFT_SIGNED>);
}

/// The group of row `i` at `a`, in every lane.
#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(a: *const u8, i: usize) -> __m256i {
    // SAFETY: a group of the left panel has `MR` times four bytes, and `Tile::new` has counted the groups.
    _mm256_set1_epi32(unsafe { a.add(i * GROUP).cast::<i32>().read_unaligned() })
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_narrow<const ROWS: usize, const IS_LEFT_SIGNED: bool>(
    sums: &mut [[__m256i; 2]; ROWS],
    columns: [__m256i; 2],
    a: *const u8,
) {
    let ones = _mm256_set1_epi16(1);
    for (i, sums) in sums.iter_mut().enumerate() {
        let row = broadcast(a, i);
        for (sum, columns) in sums.iter_mut().zip(columns) {
            let pairs =
                if IS_LEFT_SIGNED { _mm256_maddubs_epi16(columns, row) } else { _mm256_maddubs_epi16(row, columns) };
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_wide<const ROWS: usize, const IS_LEFT_SIGNED: bool>(
    sums: &mut [[__m256i; 2]; ROWS],
    columns: [__m256i; 2],
    a: *const u8,
) {
    let low = widened::<IS_LEFT_SIGNED>(columns[0]);
    let high = widened::<IS_LEFT_SIGNED>(columns[1]);
    for (i, sums) in sums.iter_mut().enumerate() {
        let row = broadcast(a, i);
        let [even, odd] = if IS_LEFT_SIGNED { signed_halves(row) } else { unsigned_halves(row) };
        for (sum, columns) in sums.iter_mut().zip([low, high]) {
            let products = _mm256_add_epi32(_mm256_madd_epi16(columns[0], even), _mm256_madd_epi16(columns[1], odd));
            *sum = _mm256_add_epi32(*sum, products);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn add_vnni<const ROWS: usize, const IS_LEFT_SIGNED: bool>(
    sums: &mut [[__m256i; 2]; ROWS],
    columns: [__m256i; 2],
    a: *const u8,
) {
    for (i, sums) in sums.iter_mut().enumerate() {
        let row = broadcast(a, i);
        for (sum, columns) in sums.iter_mut().zip(columns) {
            *sum = if IS_LEFT_SIGNED {
                _mm256_dpbusd_avx_epi32(*sum, columns, row)
            } else {
                _mm256_dpbusd_avx_epi32(*sum, row, columns)
            };
        }
    }
}

/// The even and the odd bytes of columns, in 16 bits each.
#[inline]
#[target_feature(enable = "avx2")]
fn widened<const IS_LEFT_SIGNED: bool>(bytes: __m256i) -> [__m256i; 2] {
    if IS_LEFT_SIGNED { unsigned_halves(bytes) } else { signed_halves(bytes) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn unsigned_halves(bytes: __m256i) -> [__m256i; 2] {
    [_mm256_and_si256(bytes, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(bytes)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn signed_halves(bytes: __m256i) -> [__m256i; 2] {
    [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes)]
}
