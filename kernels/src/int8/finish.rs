//! What becomes of finished sums on their way to memory: themselves, numbers, or codes again.

use super::codes::Code;
use super::quantize::round;
use crate::Isa;
use crate::elementwise::{Unary, unary_on};
use crate::gemm::Bias;
use crate::simd::Operand;

/// What one step of the sums is worth, or one step of them in steps of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Factors<'a> {
    /// One for all.
    All(f32),
    /// One for each row.
    PerRow(&'a [f32]),
    /// One for each column.
    PerColumn(&'a [f32]),
}

impl Default for Factors<'_> {
    fn default() -> Self {
        Factors::All(1.0)
    }
}

impl Factors<'_> {
    /// The factor of a row, where it is one for all columns.
    #[inline(always)]
    fn of_row(&self, row: usize) -> f32 {
        match self {
            Factors::All(factor) => *factor,
            Factors::PerRow(factors) => factors[row],
            Factors::PerColumn(_) => f32::NAN,
        }
    }

    fn fits(&self, rows: usize, columns: usize) -> bool {
        match self {
            Factors::All(_) => true,
            Factors::PerRow(factors) => factors.len() == rows,
            Factors::PerColumn(factors) => factors.len() == columns,
        }
    }
}

/// What is added to sums before they are scaled.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Addends<'a> {
    /// Nothing.
    #[default]
    None,
    /// One number for each row.
    PerRow(&'a [i32]),
    /// One number for each column.
    PerColumn(&'a [i32]),
}

impl Addends<'_> {
    fn fits(&self, rows: usize, columns: usize) -> bool {
        match self {
            Addends::None => true,
            Addends::PerRow(addends) => addends.len() == rows,
            Addends::PerColumn(addends) => addends.len() == columns,
        }
    }
}

/// What a product's sums become.
pub trait Finish: Sync {
    /// The type of its elements.
    type Out: Send + Sync;

    /// Whether there is what is needed for each of `rows` × `columns` sums.
    fn fits(&self, rows: usize, columns: usize) -> bool;

    /// Finishes a piece of a row of sums that begins at `column`.
    fn finish(&self, isa: Isa, row: usize, column: usize, sums: &[i32], y: &mut [Self::Out]);
}

/// The sums themselves.
#[derive(Debug, Clone, Copy)]
pub struct Sums32;

/// `activation((sum + addend) · factor + bias)`, added to what is there where `is_added`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToFloat<'a> {
    /// What is added to sums.
    pub addends: Addends<'a>,
    /// What they are multiplied by.
    pub factors: Factors<'a>,
    /// What is added to the products.
    pub bias: Bias<'a>,
    /// Whether the result is added to what is there, before the activation.
    pub is_added: bool,
    /// What is applied last.
    pub activation: Option<Unary>,
}

/// `round((sum + addend) · factor) + zero`, ties to even, bounded.
#[derive(Debug, Clone, Copy)]
pub struct ToCodes<'a, T> {
    /// What is added to sums.
    pub addends: Addends<'a>,
    /// What they are multiplied by.
    pub factors: Factors<'a>,
    /// The code of 0.
    pub zero: T,
}

impl Finish for Sums32 {
    type Out = i32;

    fn fits(&self, _: usize, _: usize) -> bool {
        true
    }

    #[inline(always)]
    fn finish(&self, _: Isa, _: usize, _: usize, sums: &[i32], y: &mut [i32]) {
        y.copy_from_slice(sums);
    }
}

/// `$y = $value` for each sum of a piece, `$sum` being the sum and its addend and `$factor` what it is multiplied by. What is
/// chosen once for a row is no matter of its elements. All is written out here, since closures are not always inlined.
macro_rules! each {
    ($self:ident, $row:ident, $column:ident, $sums:ident, $y:ident, |$sum:ident, $factor:ident, $to:ident| $value:expr) => {{
        let len = $y.len();
        let (addend, addends) = match $self.addends {
            Addends::None => (0, None),
            Addends::PerRow(addends) => (addends[$row], None),
            Addends::PerColumn(addends) => (0, Some(&addends[$column..][..len])),
        };
        match (addends, $self.factors) {
            (None, Factors::PerColumn(factors)) => {
                for (($to, sum), $factor) in $y.iter_mut().zip($sums).zip(&factors[$column..][..len]) {
                    let $sum = sum.wrapping_add(addend) as f32;
                    *$to = $value;
                }
            }
            (Some(addends), Factors::PerColumn(factors)) => {
                for ((($to, sum), $factor), addend) in $y.iter_mut().zip($sums).zip(&factors[$column..]).zip(addends) {
                    let $sum = sum.wrapping_add(*addend) as f32;
                    *$to = $value;
                }
            }
            (None, factors) => {
                let $factor = &factors.of_row($row);
                for ($to, sum) in $y.iter_mut().zip($sums) {
                    let $sum = sum.wrapping_add(addend) as f32;
                    *$to = $value;
                }
            }
            (Some(addends), factors) => {
                let $factor = &factors.of_row($row);
                for (($to, sum), addend) in $y.iter_mut().zip($sums).zip(addends) {
                    let $sum = sum.wrapping_add(*addend) as f32;
                    *$to = $value;
                }
            }
        }
    }};
}

impl Finish for ToFloat<'_> {
    type Out = f32;

    fn fits(&self, rows: usize, columns: usize) -> bool {
        self.addends.fits(rows, columns) && self.factors.fits(rows, columns) && self.bias.fits(rows, columns)
    }

    #[inline(always)]
    fn finish(&self, isa: Isa, row: usize, column: usize, sums: &[i32], y: &mut [f32]) {
        if self.is_added {
            each!(self, row, column, sums, y, |sum, factor, y| *y + sum * factor);
        } else {
            each!(self, row, column, sums, y, |sum, factor, y| sum * factor);
        }
        match self.bias {
            Bias::None => {}
            Bias::PerColumn(bias) => {
                for (y, bias) in y.iter_mut().zip(&bias[column..]) {
                    *y += bias;
                }
            }
            Bias::PerRow(bias) => add(bias[row], y),
            Bias::Scalar(bias) => add(bias, y),
        }
        if let Some(activation) = self.activation {
            unary_on(isa, activation, Operand::Output, y);
        }
    }
}

#[inline(always)]
fn add(bias: f32, y: &mut [f32]) {
    for y in y {
        *y += bias;
    }
}

impl<T: Code> Finish for ToCodes<'_, T> {
    type Out = T;

    fn fits(&self, rows: usize, columns: usize) -> bool {
        self.addends.fits(rows, columns) && self.factors.fits(rows, columns)
    }

    #[inline(always)]
    fn finish(&self, _: Isa, row: usize, column: usize, sums: &[i32], y: &mut [T]) {
        let zero = f32::from(self.zero.value());
        each!(self, row, column, sums, y, |sum, factor, y| round(sum * factor, zero));
    }
}
