//! Exact sums of products of codes, scaled and rounded to codes again.

use super::integers::{Quantum, round_to};
use crate::dtypes::for_dtypes;
use crate::parallel;
use planish_ir::{EvalCx, OpError};
use planish_kernels::int8::Factors;
use planish_tensor::{Tensor, TensorMut};
use std::ops::Range;

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.6;

/// What a step of each operand's codes is worth.
#[derive(Clone, Copy)]
pub struct Scales<'a> {
    /// Of the left operand: one, or one for each row.
    pub a: &'a [f32],
    /// Of the right operand: one, or one for each column.
    pub b: &'a [f32],
    /// Of the result: one, or one for each row.
    pub y: &'a [f32],
}

impl Scales<'_> {
    fn check(&self, zeros: usize, rows: usize, each: usize, columns: usize) -> Result<(), OpError> {
        let fits = |count: usize| count == 1 || count == each || count == rows;
        if !fits(self.a.len()) || !fits(self.y.len()) || !fits(zeros) || ![1, columns].contains(&self.b.len()) {
            let (a, b, y) = (self.a.len(), self.b.len(), self.y.len());
            let got = format!("{a} and {b}, to {y} scales and {zeros} zero points");
            return Err(OpError::invalid(format!(
                "a product of {each} rows and {columns} columns cannot have scales {got}"
            )));
        }
        Ok(())
    }
}

/// One scale of the left operand, one of the result, and one zero point: what sums become codes by as they are stored.
pub struct Uniform {
    factors: Vec<f32>,
}

impl Scales<'_> {
    /// The factors of columns, or of output channels, where nothing but the right operand's scales differs within the result.
    pub fn uniform(&self, zero: &Tensor) -> Option<Uniform> {
        match (self.a, self.y, zero.num_elements()) {
            (&[a], &[y], 1) => Some(Uniform { factors: self.b.iter().map(|b| a * b / y).collect() }),
            _ => None,
        }
    }
}

impl Uniform {
    /// The factors of columns, if there is one for all or one for each.
    pub fn by_column(&self, columns: usize) -> Result<Factors<'_>, OpError> {
        match self.factors.as_slice() {
            &[factor] => Ok(Factors::All(factor)),
            factors if factors.len() == columns => Ok(Factors::PerColumn(factors)),
            factors => {
                let got = factors.len();
                Err(OpError::invalid(format!("a product of {columns} columns cannot have {got} scales")))
            }
        }
    }

    /// The factors of output channels, if there is one for all or one for each.
    pub fn by_channel<'a>(&'a self, channels: usize) -> Result<impl Fn(Range<usize>) -> Factors<'a>, OpError> {
        let factors = self.factors.as_slice();
        if ![1, channels].contains(&factors.len()) {
            let got = factors.len();
            return Err(OpError::invalid(format!("a convolution of {channels} channels cannot have {got} scales")));
        }
        Ok(move |rows: Range<usize>| match factors {
            &[factor] => Factors::All(factor),
            _ => Factors::PerRow(&factors[rows]),
        })
    }
}

/// y = saturate(round((sums + bias) · a · b / y) + zero), a matrix of `columns` columns whose scales repeat after `rows` rows. The
/// bias has one addend for each of these rows. The result is of the zero points' dtype.
pub fn requantize(
    cx: &EvalCx<'_>,
    sums: &TensorMut<i32>,
    rows: usize,
    columns: usize,
    scales: Scales<'_>,
    bias: Option<&[i32]>,
    zero: &Tensor,
) -> Result<Tensor, OpError> {
    let all_rows = sums.len().checked_div(columns).unwrap_or(0);
    scales.check(zero.num_elements(), all_rows, rows, columns)?;
    if let Some(bias) = bias.filter(|b| b.len() != rows) {
        return Err(OpError::invalid(format!("expected a bias of {rows} elements, got {}", bias.len())));
    }
    for_dtypes!(zero.dtype(), Q => {
        let zeros = zero.as_slice::<Q>()?;
        let mut y = cx.uninit::<Q>(sums.shape().clone())?;
        parallel::fill_units(cx, &mut y, columns.max(1), NS_PER_ELEMENT, |start, piece| {
            let mut factors = vec![0.0; scales.b.len()];
            let first = start / columns;
            for (i, y) in piece.chunks_exact_mut(columns).enumerate() {
                let row = first + i;
                let (a, to) = (scales.a[row % scales.a.len()], scales.y[row % scales.y.len()]);
                if i == 0 || scales.a.len() > 1 || scales.y.len() > 1 {
                    factors.iter_mut().zip(scales.b).for_each(|(factor, b)| *factor = a * b / to);
                }
                let sums = &sums[row * columns..][..columns];
                let addend = bias.map_or(0, |bias| bias[row % rows]);
                round_row::<Q>(sums, addend, &factors, f32::from(zeros[row % zeros.len()]), y);
            }
        })?;
        Ok(y.freeze())
    }, [U8 = u8, I8 = i8])
}

/// y = saturate(round((sums + addend) · factor) + zero), with one factor, or one for each column.
fn round_row<Q: Quantum>(sums: &[i32], addend: i32, factors: &[f32], zero: f32, y: &mut [Q]) {
    let scaled = |sum: i32, factor: f32| round_to(sum.wrapping_add(addend) as f32 * factor, zero, Q::RANGE);
    match factors {
        [factor] => y.iter_mut().zip(sums).for_each(|(y, &sum)| *y = scaled(sum, *factor)),
        _ => y.iter_mut().zip(sums).zip(factors).for_each(|((y, &sum), &factor)| *y = scaled(sum, factor)),
    }
}
