//! Products and convolutions of 8-bit codes, summed exactly in 32 bits: `Σ (a - a_zero) · (b - b_zero)`, wrapping.
//!
//! Codes may be signed or unsigned, mixed at will. Nothing saturates on the way, so that the same model gives the same numbers on every
//! CPU. Operands come as [`Quantized`] matrices or packed once ([`PackedB8`], [`PackedConv8`]). What sums become on their
//! way to memory is a [`Finish`]: [themselves](Sums32), [numbers](ToFloat), [codes](ToCodes).

mod bytes;
mod codes;
mod column;
mod conv;
mod finish;
mod pack;
mod planes;
mod product;
mod quantize;
mod spill;
mod tile;
#[cfg(target_arch = "x86_64")]
mod tile_avx2;
#[cfg(target_arch = "x86_64")]
mod tile_avx512;

pub use codes::{Code, Quantized, ZeroPoints};
pub use conv::{Image, PackedConv8, conv_int8, conv_int8_into, conv_int8_scalar};
pub use finish::{Addends, Factors, Finish, Sums32, ToCodes, ToFloat};
pub use pack::PackedB8;
pub use product::{Lhs8, Rhs8};
pub use quantize::{Quantization, dequantize, extremes, quantize};

pub(crate) use bytes::AlignedBytes;
pub(crate) use tile::{COLUMNS, GROUP, LEFT_STEP, Level, MR, NR, RIGHT_STEP, Runs, Sums, Tile, full_tile};

use crate::Threads;
use product::{Operands, Places, Product8};

/// `c = (a - a_zero) · (b - b_zero)`, where the rows of `c` are `c_row_stride` apart.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm_int8<'a>(
    threads: &Threads,
    a: impl Into<Lhs8<'a>>,
    b: impl Into<Rhs8<'a>>,
    c: &mut [i32],
    c_row_stride: usize,
) {
    gemm_int8_into(threads, a, b, Sums32, c, c_row_stride);
}

/// [`gemm_int8`] with what its sums become.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm_int8_into<'a, F: Finish>(
    threads: &Threads,
    a: impl Into<Lhs8<'a>>,
    b: impl Into<Rhs8<'a>>,
    finish: F,
    c: &mut [F::Out],
    c_row_stride: usize,
) {
    gemm_int8_with(Level::current(), threads, a.into(), b.into(), finish, c, c_row_stride);
}

fn gemm_int8_with<F: Finish>(
    level: Level,
    threads: &Threads,
    a: Lhs8<'_>,
    b: Rhs8<'_>,
    finish: F,
    c: &mut [F::Out],
    c_row_stride: usize,
) {
    let (rows, depth) = match a {
        Lhs8::U8(a) => (a.codes.rows(), a.codes.columns()),
        Lhs8::I8(a) => (a.codes.rows(), a.codes.columns()),
    };
    let columns = match &b {
        Rhs8::U8(b) => b.codes.columns(),
        Rhs8::I8(b) => b.codes.columns(),
        Rhs8::Packed(b) => b.columns(),
    };
    let operands = Operands::Matrices(a, b);
    let product = Product8 { rows, columns, depth, operands, finish, places: Places::Dense };
    product.run(level, threads, c, c_row_stride);
}

/// [`gemm_int8`] by its definition.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm_int8_scalar<A: Code, B: Code>(
    a: Quantized<'_, A>,
    b: Quantized<'_, B>,
    c: &mut [i32],
    c_row_stride: usize,
) {
    for row in 0..a.codes.rows() {
        for column in 0..b.codes.columns() {
            let a_zero = i32::from(a.zero_points.at(row).value());
            let b_zero = i32::from(b.zero_points.at(column).value());
            c[row * c_row_stride + column] = (0..a.codes.columns()).fold(0, |sum: i32, k| {
                let a = i32::from(a.codes.at(row, k).value()) - a_zero;
                let b = i32::from(b.codes.at(k, column).value()) - b_zero;
                sum.wrapping_add(a * b)
            });
        }
    }
}

#[cfg(test)]
mod tests;
