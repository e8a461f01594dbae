//! Reductions of `f32`: sums, means, e/// A sum is within `(128 + count/64)·ε·Σ|x|`.tremes, over the middle axis of `[outer, count, inner]`.
//!
//! Long sums are taken in blocks, whose error grows with the block and not with the whole.

use crate::Isa;
use crate::simd::{self, Kernel, Operand, Simd, dispatch_on, map, zip};

/// What is made of many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// `Σ x`; 0 of nothing.
    Sum,
    /// `Σ x / count`; NaN of nothing.
    Mean,
    /// `Π x`; 1 of nothing.
    Prod,
    /// The greatest, NaN where there is one; `-∞` of nothing.
    Max,
    /// The least, NaN where there is one; `+∞` of nothing.
    Min,
    /// `Σ x²`; 0 of nothing.
    SumSquare,
    /// `Σ |x|`; 0 of nothing.
    L1,
    /// `√Σ x²`; 0 of nothing.
    L2,
}

/// Reduces the middle axis: `x` is `[outer, count, inner]`, `y` is `[outer, inner]`, and `outer` follows from the length of `y`.
///
/// Sums are within `2·√count·ε·Σ|x|` for all `count` in practice.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn reduce(op: Reduction, x: &[f32], count: usize, inner: usize, y: &mut [f32]) {
    reduce_on(Isa::current(), op, x, count, inner, y);
}

/// [`reduce`], with instructions of the caller's choice.
pub fn reduce_on(isa: Isa, op: Reduction, x: &[f32], count: usize, inner: usize, y: &mut [f32]) {
    let outer = y.len().checked_div(inner).unwrap_or(0);
    assert_eq!(outer * inner, y.len(), "the output is a whole number of rows");
    assert_eq!(y.len().checked_mul(count), Some(x.len()), "input and output belong together");
    dispatch_on(isa, Reduce { op, x, count, inner, y });
}

/// Values summed in `f32` before the sum goes on in `f64`.
const BLOCK: usize = 4096;
/// Rows summed before the sum is added to the total, and the width of the strip that is summed at a time.
const BLOCK_ROWS: usize = 64;
const STRIP: usize = 256;

struct Reduce<'a> {
    op: Reduction,
    x: &'a [f32],
    count: usize,
    inner: usize,
    y: &'a mut [f32],
}

impl Kernel for Reduce<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        /// Reduces with one step for values and one for partial results.
        macro_rules! with {
            ($neutral:expr, $step:expr, $merge:expr, $join:expr) => {
                self.steps(
                    s,
                    $neutral,
                    #[inline(always)]
                    $step,
                    #[inline(always)]
                    $merge,
                    $join,
                )
            };
        }
        let add = |a: f64, b| a + b;
        match self.op {
            Reduction::Sum | Reduction::Mean => with!(0.0, |a, v| s.add(a, v), |a, b| s.add(a, b), add),
            Reduction::Prod => with!(1.0, |a, v| s.mul(a, v), |a, b| s.mul(a, b), |a, b| a * b),
            Reduction::Max => with!(f32::NEG_INFINITY, |a, v| s.maximum(a, v), |a, b| s.maximum(a, b), f64_max),
            Reduction::Min => with!(f32::INFINITY, |a, v| s.minimum(a, v), |a, b| s.minimum(a, b), f64_min),
            Reduction::SumSquare | Reduction::L2 => with!(0.0, |a, v| s.mul_add(v, v, a), |a, b| s.add(a, b), add),
            Reduction::L1 => with!(0.0, |a, v| s.add(a, s.abs(v)), |a, b| s.add(a, b), add),
        }
    }
}

/// The greater, or NaN.
fn f64_max(a: f64, b: f64) -> f64 {
    if a > b || a.is_nan() { a } else { b }
}

/// The lesser, or NaN.
fn f64_min(a: f64, b: f64) -> f64 {
    if a < b || a.is_nan() { a } else { b }
}

impl Reduce<'_> {
    /// `step` takes in a value, `merge` joins vectors of partial results and `join` single ones.
    #[inline(always)]
    fn steps<S: Simd>(
        self,
        s: S,
        neutral: f32,
        step: impl Fn(S::F32, S::F32) -> S::F32,
        merge: impl Fn(S::F32, S::F32) -> S::F32,
        join: impl Fn(f64, f64) -> f64,
    ) {
        let Reduce { op, x, count, inner, y } = self;
        if count == 0 || y.is_empty() {
            y.fill(neutral);
        } else if inner == 1 {
            for (x, y) in x.chunks_exact(count).zip(y.iter_mut()) {
                *y = row(s, x, neutral, &step, &merge, &join);
            }
        } else {
            for (x, y) in x.chunks_exact(count * inner).zip(y.chunks_exact_mut(inner)) {
                columns(s, x, y, neutral, &step, &merge);
            }
        }
        finish(s, op, count, y);
    }
}

/// What remains to do once every value is taken in.
#[inline(always)]
fn finish<S: Simd>(s: S, op: Reduction, count: usize, y: &mut [f32]) {
    match op {
        Reduction::Mean => {
            let count = s.splat(count as f32);
            map(
                s,
                Operand::Output,
                y,
                #[inline(always)]
                |v| s.div(v, count),
            );
        }
        Reduction::L2 => map(
            s,
            Operand::Output,
            y,
            #[inline(always)]
            |v| s.sqrt(v),
        ),
        _ => {}
    }
}

/// Reduces contiguous values to one.
#[inline(always)]
fn row<S: Simd>(
    s: S,
    x: &[f32],
    neutral: f32,
    step: impl Fn(S::F32, S::F32) -> S::F32,
    merge: impl Fn(S::F32, S::F32) -> S::F32,
    join: impl Fn(f64, f64) -> f64,
) -> f32 {
    let mut total = f64::from(neutral);
    for block in x.chunks(BLOCK) {
        let mut lanes = [0.0; simd::MAX_LANES];
        s.store(&mut lanes, simd::reduce(s, block, neutral, neutral, &step, &merge));
        for &lane in &lanes[..S::LANES] {
            total = join(total, f64::from(lane));
        }
    }
    total as f32
}

/// Reduces the rows of `x`, each as long as `y`, into `y`.
#[inline(always)]
fn columns<S: Simd>(
    s: S,
    x: &[f32],
    y: &mut [f32],
    neutral: f32,
    step: impl Fn(S::F32, S::F32) -> S::F32,
    merge: impl Fn(S::F32, S::F32) -> S::F32,
) {
    let inner = y.len();
    y.fill(neutral);
    let mut block_result = [0.0; STRIP];
    for rows in x.chunks(BLOCK_ROWS * inner) {
        for (strip, y) in y.chunks_mut(STRIP).enumerate() {
            let result = &mut block_result[..y.len()];
            result.fill(neutral);
            for row in rows.chunks_exact(inner) {
                let values = &row[strip * STRIP..][..result.len()];
                zip(s, Operand::Output, Operand::Slice(values), result, &step);
            }
            zip(s, Operand::Output, Operand::Slice(result), y, &merge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{every_length, noise};

    const ALL: [Reduction; 8] = [
        Reduction::Sum,
        Reduction::Mean,
        Reduction::Prod,
        Reduction::Max,
        Reduction::Min,
        Reduction::SumSquare,
        Reduction::L1,
        Reduction::L2,
    ];

    fn definition(op: Reduction, x: &[f64]) -> f64 {
        match op {
            Reduction::Sum => x.iter().sum(),
            Reduction::Mean => x.iter().sum::<f64>() / x.len() as f64,
            Reduction::Prod => x.iter().product(),
            Reduction::Max => x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Reduction::Min => x.iter().copied().fold(f64::INFINITY, f64::min),
            Reduction::SumSquare => x.iter().map(|x| x * x).sum(),
            Reduction::L1 => x.iter().map(|x| x.abs()).sum(),
            Reduction::L2 => x.iter().map(|x| x * x).sum::<f64>().sqrt(),
        }
    }

    fn check(isa: Isa, op: Reduction, outer: usize, count: usize, inner: usize) {
        let x = noise(outer * count * inner, 1.5);
        let mut y = vec![f32::NAN; outer * inner];
        reduce_on(isa, op, &x, count, inner, &mut y);
        for (i, y) in y.iter().enumerate() {
            let first = i / inner * count * inner + i % inner;
            let column: Vec<f64> = (0..count).map(|k| f64::from(x[first + k * inner])).collect();
            let truth = definition(op, &column);
            let magnitude = match op {
                Reduction::Prod => truth.abs(),
                _ => definition(Reduction::L1, &column) * 2.0,
            };
            let bound = 3e-7 * (count as f64).sqrt() * magnitude + 1e-37;
            let is_near = (f64::from(*y) - truth).abs() <= bound || f64::from(*y) == truth;
            assert!(is_near, "{op:?} of [{outer}, {count}, {inner}] at {i} on {isa}: expected {truth}, got {y}");
        }
    }

    #[test]
    fn every_reduction_of_every_layout_equals_its_definition() {
        for isa in Isa::available() {
            for op in ALL {
                for length in every_length() {
                    check(isa, op, 2, length, 1);
                    check(isa, op, 2, length.min(200), 3);
                    check(isa, op, 1, 3, length);
                }
                check(isa, op, 1, 130, 300);
            }
        }
    }

    #[test]
    fn nothing_reduces_to_the_neutral_value() {
        let expected = [0.0, f32::NAN, 1.0, f32::NEG_INFINITY, f32::INFINITY, 0.0, 0.0, 0.0];
        for (op, expected) in ALL.into_iter().zip(expected) {
            let mut y = [7.0; 3];
            reduce(op, &[], 0, 3, &mut y);
            assert!(y.iter().all(|y| y == &expected || y.is_nan() && expected.is_nan()), "{op:?}: {y:?}");
        }
        reduce(Reduction::Sum, &[], 5, 0, &mut []);
    }

    #[test]
    fn extremes_do_not_lose_nan_wherever_it_stands() {
        for isa in Isa::available() {
            for at in 0..70 {
                let mut x = noise(70, 1.0);
                x[at] = f32::NAN;
                for op in [Reduction::Max, Reduction::Min] {
                    let mut y = [0.0; 7];
                    reduce_on(isa, op, &x, 70, 1, &mut y[..1]);
                    assert!(y[0].is_nan(), "{op:?} with NaN at {at} on {isa}");
                    reduce_on(isa, op, &x, 10, 7, &mut y);
                    assert!(y[at % 7].is_nan() && !y[(at + 1) % 7].is_nan());
                }
            }
        }
    }

    #[test]
    fn long_sums_keep_their_digits() {
        let x = vec![0.1; 3_000_000];
        let mut y = [0.0];
        reduce(Reduction::Sum, &x, x.len(), 1, &mut y);
        assert!((f64::from(y[0]) - 0.1_f32 as f64 * 3e6).abs() < 1.0, "{y:?}");
    }
}
