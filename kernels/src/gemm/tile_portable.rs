//! The tile in plain Rust: what every other body must agree with, and what the compiler turns into vector code where
//! vectors are part of the target's baseline (as on 64-bit Arm).

use super::epilogue::clamp;
use super::tile::{BRows, MR, NR, Tile};

/// Computes one tile.
///
/// # Safety
/// The tile keeps the promise that [`Tile`] states.
pub(crate) unsafe fn tile(tile: &Tile<'_>) {
    let mut sums = [[0.0f32; NR]; MR];
    for k in 0..tile.depth {
        let mut b = [0.0f32; NR];
        let columns = if tile.b_is_padded { NR } else { tile.columns };
        // SAFETY: `columns` elements of B's row `k` may be read, as the tile promises, and `b` has `NR` of them.
        unsafe {
            let row = tile.b.add(match tile.b_rows {
                BRows::Apart(stride) => k * stride,
                BRows::At(places) => places[k],
            });
            std::ptr::copy_nonoverlapping(row, b.as_mut_ptr(), columns);
        }
        for (row, sums) in sums.iter_mut().enumerate().take(tile.rows) {
            // SAFETY: `row < rows` and `k < depth`, so this element of A may be read, as the tile promises.
            let a = unsafe { *tile.a.add(row * tile.a_row_stride + k * tile.a_depth_stride) };
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = multiply_add(a, b, *sum);
            }
        }
    }
    let store = &tile.store;
    for (row, sums) in sums.iter().enumerate().take(tile.rows) {
        // SAFETY: this row of C is `columns` long and nobody else touches it, as the tile promises.
        let c = unsafe { std::slice::from_raw_parts_mut(tile.c.add(row * tile.c_row_stride), tile.columns) };
        for (column, (c, sum)) in c.iter_mut().zip(sums).enumerate() {
            let old = if store.beta == 0.0 { 0.0 } else { store.beta * *c };
            let x = store.alpha * sum + old + store.bias.at(row, column);
            *c = clamp(x, store.bounds.0, store.bounds.1);
        }
    }
}

/// One instruction where the target always has it, never a library call.
#[inline(always)]
fn multiply_add(a: f32, b: f32, sum: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, sum) } else { a * b + sum }
}
