//! The product of two matrices, with what comes before and after it: `c = activation(alpha · (a · b) + beta · c + bias)`.
//!
//! Operands come as strided [`MatRef`]s, so that transposing costs nothing, or packed once into panels ([`PackedA`],
//! [`PackedB`]), as weights are. The path of a call:
//! [`gemm`] → `drive` (blocks, threads) → `matrix` (panels) → `tile_*` (the innermost product, one file an instruction set).
//! Every term of every sum is formed, so NaN and infinities come through, and an empty depth leaves `beta · c + bias`.

mod buffer;
mod drive;
mod epilogue;
mod generic;
mod matrix;
mod tile;
#[cfg(target_arch = "x86_64")]
mod tile_avx2;
#[cfg(target_arch = "x86_64")]
mod tile_avx512;
mod tile_portable;

pub use epilogue::{Bias, Epilogue};
pub use generic::{Number, gemm_generic};
pub use matrix::{MatRef, PackedA, PackedB};

use crate::{Isa, Threads};

pub(crate) use drive::{Left, PlacedRows, Product, Right, even_step, share, steps};
pub(crate) use epilogue::{activate, bounds};
pub(crate) use matrix::Panels;
pub(crate) use tile::{MR, NR};

/// The left operand of [`gemm`].
#[derive(Clone, Copy)]
pub enum Lhs<'a> {
    /// As it lies in memory.
    Mat(MatRef<'a>),
    /// Packed before.
    Packed(&'a PackedA),
}

/// The right operand of [`gemm`].
#[derive(Clone, Copy)]
pub enum Rhs<'a> {
    /// As it lies in memory.
    Mat(MatRef<'a>),
    /// Packed before.
    Packed(&'a PackedB),
}

impl<'a> From<MatRef<'a>> for Lhs<'a> {
    fn from(a: MatRef<'a>) -> Self {
        Lhs::Mat(a)
    }
}

impl<'a> From<&'a PackedA> for Lhs<'a> {
    fn from(a: &'a PackedA) -> Self {
        Lhs::Packed(a)
    }
}

impl<'a> From<MatRef<'a>> for Rhs<'a> {
    fn from(b: MatRef<'a>) -> Self {
        Rhs::Mat(b)
    }
}

impl<'a> From<&'a PackedB> for Rhs<'a> {
    fn from(b: &'a PackedB) -> Self {
        Rhs::Packed(b)
    }
}

/// `c = activation(alpha · (a · b) + beta · c + bias)`, where the rows of `c` are `c_row_stride` apart.
///
/// With `beta` zero what `c` held is not looked at. The result does not depend on the number of threads.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm<'a>(
    threads: &Threads,
    alpha: f32,
    a: impl Into<Lhs<'a>>,
    b: impl Into<Rhs<'a>>,
    beta: f32,
    c: &mut [f32],
    c_row_stride: usize,
    epilogue: &Epilogue<'_>,
) {
    gemm_with(Isa::current(), threads, alpha, a.into(), b.into(), beta, c, c_row_stride, epilogue);
}

pub(crate) fn gemm_with(
    isa: Isa,
    threads: &Threads,
    alpha: f32,
    a: Lhs<'_>,
    b: Rhs<'_>,
    beta: f32,
    c: &mut [f32],
    c_row_stride: usize,
    epilogue: &Epilogue<'_>,
) {
    let (rows, left) = match a {
        Lhs::Mat(a) => (a.rows(), Left::Matrix(a)),
        Lhs::Packed(a) => (a.rows(), Left::Packed(a)),
    };
    let (depth, columns, right) = match b {
        Rhs::Mat(b) => (b.rows(), b.columns(), Right::Matrix(b)),
        Rhs::Packed(b) => (b.depth(), b.columns(), Right::Packed(b)),
    };
    let product = Product { rows, columns, depth, left, right, alpha, beta, epilogue: *epilogue };
    product.run(isa, threads, c, c_row_stride);
}

/// [`gemm`] by its definition.
///
/// # Panics
/// If the sizes do not fit together.
pub fn gemm_scalar(
    alpha: f32,
    a: MatRef<'_>,
    b: MatRef<'_>,
    beta: f32,
    c: &mut [f32],
    c_row_stride: usize,
    epilogue: &Epilogue<'_>,
) {
    for row in 0..a.rows() {
        for column in 0..b.columns() {
            let c = &mut c[row * c_row_stride + column];
            let sum: f32 = (0..a.columns()).map(|k| a.at(row, k) * b.at(k, column)).sum();
            let old = if beta == 0.0 { 0.0 } else { beta * *c };
            let mut x = [alpha * sum + old + epilogue.bias.at(row, column)];
            activate(Isa::Scalar, epilogue.activation, &mut x);
            [*c] = x;
        }
    }
}

#[cfg(test)]
mod tests;
