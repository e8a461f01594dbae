//! The tile with AVX-512 VNNI.
//!
//! `vpdpbusd` adds four products of bytes to each of sixteen 32-bit sums, and nothing saturates on the way. A tile of six
//! rows and four panels keeps 24 sums in registers: for each group four loads and six broadcasts feed 24 products.

use std::arch::x86_64::*;

use super::tile::{GROUP, LEFT_STEP, MR, NR, Sums, Tile};

const _: () = assert!(MR == 6 && NR == 16);

/// Computes one tile.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) unsafe fn vnni<const IS_LEFT_SIGNED: bool>(tile: &Tile<'_>, sums: &mut Sums) {
    macro_rules! by_size {
        ($($rows:literal),*) => {
            match (tile.rows(), tile.panels()) {
                $(
                    ($rows, 1) => body::<$rows, 1, IS_LEFT_SIGNED>(tile, sums),
                    ($rows, 2) => body::<$rows, 2, IS_LEFT_SIGNED>(tile, sums),
                    ($rows, 3) => body::<$rows, 3, IS_LEFT_SIGNED>(tile, sums),
                    ($rows, _) => body::<$rows, 4, IS_LEFT_SIGNED>(tile, sums),
                )*
                _ => {}
            }
        };
    }
    by_size!(1, 2, 3, 4, 5, 6);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn body<const ROWS: usize, const WIDTH: usize, const IS_LEFT_SIGNED: bool>(tile: &Tile<'_>, out: &mut Sums) {
    let runs = tile.runs();
    let mut sums = [[_mm512_setzero_si512(); WIDTH]; ROWS];
    let mut a = tile.a().as_ptr();
    for &start in runs.starts {
        let mut b = tile.b().as_ptr().wrapping_add(start);
        for _ in 0..runs.groups {
            let mut columns = [_mm512_setzero_si512(); WIDTH];
            for (panel, columns) in columns.iter_mut().enumerate() {
                // SAFETY: `Tile::new` has compared the end of the last group of the last panel with the slice's length.
                *columns = unsafe { _mm512_loadu_si512(b.wrapping_add(panel * runs.panel_step).cast()) };
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                // SAFETY: a group of the left panel has `MR` times four bytes, and there are as many groups as are read.
                let row = unsafe { a.add(i * GROUP).cast::<i32>().read_unaligned() };
                let row = _mm512_set1_epi32(row);
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = if IS_LEFT_SIGNED {
                        _mm512_dpbusd_epi32(*sum, columns, row)
                    } else {
                        _mm512_dpbusd_epi32(*sum, row, columns)
                    };
                }
            }
            a = a.wrapping_add(LEFT_STEP);
            b = b.wrapping_add(runs.step);
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sum) in out.as_chunks_mut::<NR>().0.iter_mut().zip(sums) {
            // SAFETY: sixteen 32-bit numbers are as long as the vector.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
        }
    }
}
