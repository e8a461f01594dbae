//! What happens to a product's element on its way to memory: a bias and an activation.

use crate::Isa;
use crate::elementwise::{Unary, unary_on};
use crate::simd::Operand;

/// The bias that a product or a convolution adds to each element.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Bias<'a> {
    /// Nothing is added.
    #[default]
    None,
    /// `bias[column]`.
    PerColumn(&'a [f32]),
    /// `bias[row]`.
    PerRow(&'a [f32]),
    /// The same number everywhere.
    Scalar(f32),
}

impl<'a> Bias<'a> {
    /// The bias of the element at `row`, `column`.
    #[inline]
    pub fn at(self, row: usize, column: usize) -> f32 {
        match self {
            Bias::None => 0.0,
            Bias::PerColumn(bias) => bias[column],
            Bias::PerRow(bias) => bias[row],
            Bias::Scalar(bias) => bias,
        }
    }

    /// The bias of the block of `rows` × `columns` elements whose first is at `row`, `column`.
    #[inline]
    pub(crate) fn block(self, row: usize, rows: usize, column: usize, columns: usize) -> Bias<'a> {
        match self {
            Bias::PerColumn(bias) => Bias::PerColumn(&bias[column..column + columns]),
            Bias::PerRow(bias) => Bias::PerRow(&bias[row..row + rows]),
            other => other,
        }
    }

    /// Whether there is a number for each of `rows` × `columns` elements.
    pub(crate) fn fits(self, rows: usize, columns: usize) -> bool {
        match self {
            Bias::PerColumn(bias) => bias.len() == columns,
            Bias::PerRow(bias) => bias.len() == rows,
            Bias::None | Bias::Scalar(_) => true,
        }
    }
}

/// The bounds that `activation` is, where it is nothing else: they cost nothing in the store.
pub(crate) fn bounds(activation: Option<Unary>) -> Option<(f32, f32)> {
    match activation {
        None => Some((f32::NEG_INFINITY, f32::INFINITY)),
        Some(Unary::Relu) => Some((0.0, f32::INFINITY)),
        Some(Unary::Clip { min, max }) => Some((min, max)),
        Some(_) => None,
    }
}

/// Replaces each `x` by its activation.
pub(crate) fn activate(isa: Isa, activation: Option<Unary>, x: &mut [f32]) {
    if let Some(activation) = activation {
        unary_on(isa, activation, Operand::Output, x);
    }
}

/// Bounds `x`; NaN stays NaN.
#[inline]
pub(crate) fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// A product's bias and activation, applied while its elements are still in registers or cache:
/// `activation(alpha · (a · b) + beta · c + bias)`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Epilogue<'a> {
    /// Added to each element.
    pub bias: Bias<'a>,
    /// Applied to the sum.
    pub activation: Option<Unary>,
}
