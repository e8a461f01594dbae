//! Products and convolutions of 8-bit codes, summed exactly in 32 bits: `Σ (a - a_zero) · (b - b_zero)`, wrapping.
//!
//! Codes may be signed or unsigned, mixed at will. Nothing saturates on the way, so that the same model gives the same numbers on every
//! CPU. Operands come as [`Quantized`] matrices or packed once ([`PackedA8`], [`PackedB8`], [`PackedConv8`]).

mod codes;
mod conv;
mod pack;
mod product;
mod tile;
#[cfg(target_arch = "x86_64")]
mod tile_avx2;

pub use codes::{Code, Quantized, ZeroPoints};
pub use conv::{PackedConv8, conv_int8, conv_int8_scalar};
pub use pack::{PackedA8, PackedB8};
pub use product::{Lhs8, Rhs8};

use crate::{Isa, Threads};
use product::{Panels8, Product8, Right8};

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
    gemm_int8_with(Isa::current(), threads, a.into(), b.into(), c, c_row_stride);
}

fn gemm_int8_with(isa: Isa, threads: &Threads, a: Lhs8<'_>, b: Rhs8<'_>, c: &mut [i32], c_row_stride: usize) {
    let rows = match a {
        Lhs8::U8(a) => a.codes.rows(),
        Lhs8::I8(a) => a.codes.rows(),
        Lhs8::Packed(a) => a.rows(),
    };
    let (depth, columns, right) = match &b {
        Rhs8::U8(b) => (b.codes.rows(), b.codes.columns(), Right8::Panels(b as &dyn Panels8)),
        Rhs8::I8(b) => (b.codes.rows(), b.codes.columns(), Right8::Panels(b as &dyn Panels8)),
        Rhs8::Packed(b) => (b.depth(), b.columns(), Right8::Packed(b)),
    };
    Product8 { rows, columns, depth, left: a, right }.run(isa, threads, c, c_row_stride);
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
