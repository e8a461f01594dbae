//! Exact sums of products of codes, scaled to numbers.

use crate::parallel;
use planish_ir::{EvalCx, OpError};

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.4;

/// y = sums · a · b, a matrix of `columns` columns; b is one scale, or one for each column.
pub fn scale_sums(
    cx: &EvalCx<'_>,
    sums: &[i32],
    columns: usize,
    a: f32,
    b: &[f32],
    y: &mut [f32],
) -> Result<(), OpError> {
    if ![1, columns].contains(&b.len()) {
        let got = b.len();
        return Err(OpError::invalid(format!("a product of {columns} columns cannot have {got} scales")));
    }
    if columns == 0 {
        return Ok(());
    }
    let factors: Vec<f32> = b.iter().map(|b| a * b).collect();
    parallel::fill_units(cx, y, columns, NS_PER_ELEMENT, |start, piece| {
        for (y, sums) in piece.chunks_exact_mut(columns).zip(sums[start..].chunks_exact(columns)) {
            let row = y.iter_mut().zip(sums);
            match factors.as_slice() {
                &[factor] => row.for_each(|(y, &sum)| *y = sum as f32 * factor),
                factors => row.zip(factors).for_each(|((y, &sum), factor)| *y = sum as f32 * factor),
            }
        }
    })
}
