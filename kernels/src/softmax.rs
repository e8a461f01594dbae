//! Softmax and its logarithm over contiguous rows.
//!
//! A row with NaN or `+∞` in it, or with nothing above `-∞`, becomes NaN throughout.

use crate::Isa;
use crate::rounding::Rounding;
use crate::simd::{Kernel, Operand, Pair, Simd, dispatch_on, map, reduce};
use crate::vecmath;

/// `y[i] = e^(x[i] - max x) / Σ e^(x[j] - max x)`, each run of `row` values by itself, within
/// `6 + |x[i] - max x|` ULP and 1e-38.
///
/// # Panics
/// Where `x` is a scalar, or a slice of another length than `y`.
pub fn softmax(x: Operand<'_>, y: &mut [f32], row: usize) {
    softmax_on(Isa::current(), x, y, row);
}

/// `y[i] = x[i] - max x - ln Σ e^(x[j] - max x)`, each run of `row` values by itself, within 2 ULP of the greatest
/// magnitude in the formula.
///
/// # Panics
/// Where `x` is a scalar, or a slice of another length than `y`.
pub fn log_softmax(x: Operand<'_>, y: &mut [f32], row: usize) {
    log_softmax_on(Isa::current(), x, y, row);
}

/// The softmax of a row of 16-bit floats: what it subtracts, raises, sums and divides is rounded each time, as in the
/// standard's function body.
pub fn softmax_rounded(row: &mut [f32], rounding: Rounding) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|x| *x = rounding.one(rounding.one(*x - max).exp()));
    let sum = rounding.sum(row);
    row.iter_mut().for_each(|x| *x = rounding.one(*x / sum));
}

/// [`softmax`], with instructions of the caller's choice.
pub fn softmax_on(isa: Isa, x: Operand<'_>, y: &mut [f32], row: usize) {
    dispatch_on(isa, Rows { x, y, row, form: Form::Softmax });
}

/// [`log_softmax`], with instructions of the caller's choice.
pub fn log_softmax_on(isa: Isa, x: Operand<'_>, y: &mut [f32], row: usize) {
    dispatch_on(isa, Rows { x, y, row, form: Form::LogSoftmax });
}

enum Form {
    Softmax,
    LogSoftmax,
}

struct Rows<'a> {
    x: Operand<'a>,
    y: &'a mut [f32],
    row: usize,
    form: Form,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Rows { x, y, row, form } = self;
        assert!(!matches!(x, Operand::Scalar(_)), "softmax is of a row");
        for (index, y) in y.chunks_mut(row.max(1)).enumerate() {
            let start = index * row;
            let x = x.part(start..start + y.len());
            match form {
                Form::Softmax => softmax_row(s, x, y),
                Form::LogSoftmax => log_softmax_row(s, x, y),
            }
        }
    }
}

#[inline(always)]
fn softmax_row<S: Simd>(s: S, x: Operand<'_>, y: &mut [f32]) {
    let max = max_of(s, x.values(y));
    exp_below(s, x, y, max);
    let add = |a, b| s.add(a, b);
    let sum = s.reduce_add(reduce(s, y, 0.0, 0.0, add, add));
    let scale = s.splat(1.0 / sum);
    map(
        s,
        Operand::Output,
        y,
        #[inline(always)]
        |v| s.mul(v, scale),
    );
}

/// `y[i] = e^(x[i] - max)`, where no `x[i]` is above `max`.
#[inline(always)]
pub(crate) fn exp_below<S: Simd>(s: S, x: Operand<'_>, y: &mut [f32], max: f32) {
    if Pair::<S>::FITS { exp_below_each(Pair::of(s), x, y, max) } else { exp_below_each(s, x, y, max) }
}

#[inline(always)]
fn exp_below_each<S: Simd>(s: S, x: Operand<'_>, y: &mut [f32], max: f32) {
    let max = s.splat(max);
    map(
        s,
        x,
        y,
        #[inline(always)]
        |v| vecmath::exp_nonpositive(s, s.sub(v, max)),
    );
}

#[inline(always)]
fn log_softmax_row<S: Simd>(s: S, x: Operand<'_>, y: &mut [f32]) {
    let values = x.values(y);
    let max = s.splat(max_of(s, values));
    let sums = reduce(
        s,
        values,
        0.0,
        f32::NEG_INFINITY,
        #[inline(always)]
        |sum, v| s.add(sum, vecmath::exp_nonpositive(s, s.sub(v, max))),
        |a, b| s.add(a, b),
    );
    let sum = s.reduce_add(sums);
    let log_sum = s.splat(sum.ln());
    map(
        s,
        x,
        y,
        #[inline(always)]
        |v| s.sub(s.sub(v, max), log_sum),
    );
}

#[inline(always)]
fn max_of<S: Simd>(s: S, x: &[f32]) -> f32 {
    let max = |a, b| s.max(a, b);
    s.reduce_max(reduce(s, x, f32::NEG_INFINITY, f32::NEG_INFINITY, max, max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{every_length, noise};

    fn softmax_reference(row: &[f32]) -> Vec<f64> {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let e: Vec<f64> = row.iter().map(|x| (f64::from(*x) - f64::from(max)).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(|e| e / sum).collect()
    }

    #[test]
    fn rows_of_every_length_equal_the_definition() {
        for isa in Isa::available() {
            for row in every_length() {
                let x = noise(3 * row, 4.0);
                let mut y = vec![0.0; x.len()];
                let mut log_y = x.clone();
                softmax_on(isa, Operand::Slice(&x), &mut y, row);
                log_softmax_on(isa, Operand::Output, &mut log_y, row);
                let truth: Vec<f64> = x.chunks(row).flat_map(softmax_reference).collect();
                for ((y, log_y), truth) in y.into_iter().zip(log_y).zip(truth) {
                    let error = (f64::from(y) - truth).abs();
                    assert!(error <= 1.6e-6 * truth, "{y} for {truth}, row of {row} on {isa}");
                    let error = (f64::from(log_y) - truth.ln()).abs();
                    assert!(error <= 4e-6, "{log_y} for {}, row of {row} on {isa}", truth.ln());
                }
            }
        }
    }

    #[test]
    fn a_row_without_an_answer_is_nan_and_its_neighbours_are_not() {
        for isa in Isa::available() {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut y = vec![1.0; 30];
                y[12] = bad;
                softmax_on(isa, Operand::Output, &mut y, 10);
                assert!(y[10..20].iter().all(|y| y.is_nan()), "{bad} on {isa}");
                assert!(y[..10].iter().chain(&y[20..]).all(|y| (y - 0.1).abs() < 1e-6));
            }
            let mut y = [f32::NEG_INFINITY; 9];
            softmax_on(isa, Operand::Output, &mut y, 9);
            assert!(y.iter().all(|y| y.is_nan()));
        }
    }

    #[test]
    fn masked_values_have_no_weight() {
        for isa in Isa::available() {
            let mut y = [f32::NEG_INFINITY, 3.0, f32::NEG_INFINITY, 3.0, -1e30];
            softmax_on(isa, Operand::Output, &mut y, 5);
            assert_eq!(y, [0.0, 0.5, 0.0, 0.5, 0.0]);
        }
    }
}
