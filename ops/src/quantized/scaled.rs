//! Exact sums of products of codes, scaled to numbers.

use crate::parallel;
use planish_ir::{EvalCx, OpError};
use planish_kernels::gemm::Bias;

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.4;

/// What sums become: y = sums · a · b + bias, added to what y holds where `is_added`.
pub struct Scaling<'a> {
    /// What a step of the left operand's codes is worth.
    pub a: f32,
    /// What a step of the right operand's codes is worth: one, or one for each column.
    pub b: &'a [f32],
    /// What is added.
    pub bias: Bias<'a>,
    /// Whether the result is added to y.
    pub is_added: bool,
}

/// Scales a matrix of `columns` columns into y, whose rows are `stride` apart.
pub fn scale_sums(
    cx: &EvalCx<'_>,
    sums: &[i32],
    columns: usize,
    scaling: &Scaling<'_>,
    y: &mut [f32],
    stride: usize,
) -> Result<(), OpError> {
    if ![1, columns].contains(&scaling.b.len()) {
        let got = scaling.b.len();
        return Err(OpError::invalid(format!("a product of {columns} columns cannot have {got} scales")));
    }
    if columns == 0 {
        return Ok(());
    }
    let factors: Vec<f32> = scaling.b.iter().map(|b| scaling.a * b).collect();
    parallel::fill_units(cx, y, stride, NS_PER_ELEMENT, |start, piece| {
        let first = start / stride;
        for (row, (y, sums)) in piece.chunks_mut(stride).zip(sums[first * columns..].chunks_exact(columns)).enumerate()
        {
            let y = &mut y[..columns];
            scale_row(sums, &factors, scaling.is_added, y);
            match scaling.bias {
                Bias::None => {}
                Bias::PerColumn(bias) => y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias),
                Bias::PerRow(bias) => y.iter_mut().for_each(|y| *y += bias[first + row]),
                Bias::Scalar(bias) => y.iter_mut().for_each(|y| *y += bias),
            }
        }
    })
}

/// y = sums · factors, or y += sums · factors, with one factor, or one for each column.
fn scale_row(sums: &[i32], factors: &[f32], is_added: bool, y: &mut [f32]) {
    let rows = y.iter_mut().zip(sums);
    match (factors, is_added) {
        (&[factor], false) => rows.for_each(|(y, &sum)| *y = sum as f32 * factor),
        (&[factor], true) => rows.for_each(|(y, &sum)| *y += sum as f32 * factor),
        (_, false) => rows.zip(factors).for_each(|((y, &sum), factor)| *y = sum as f32 * factor),
        (_, true) => rows.zip(factors).for_each(|((y, &sum), factor)| *y += sum as f32 * factor),
    }
}
