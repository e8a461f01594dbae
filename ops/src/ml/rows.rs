//! Inputs as rows of features.

use super::labels::ClassLabels;
use crate::dtypes::{Number, for_dtypes};
use crate::parallel;
use planish_ir::{Dim, EvalCx, Facts, InferError, OpError, Outputs};
use planish_tensor::{Element, Shape, Tensor};

/// A core's time for one product of a sum of products.
const NS_PER_PRODUCT: f64 = 0.3;

/// Rows that one task takes at most.
const TILE_ROWS: usize = 64;

/// Sums that go side by side, so that none waits for the one before.
const LANES: usize = 8;

/// How many rows there are, and how many features in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<N = usize> {
    /// The number of rows.
    pub count: N,
    /// The number of features in each.
    pub width: N,
}

impl Rows {
    /// A matrix is its rows, a vector is one row.
    pub fn of(x: &Tensor) -> Result<Rows, OpError> {
        match x.shape()[..] {
            [width] => Ok(Rows { count: 1, width }),
            [count, width] => Ok(Rows { count, width }),
            _ => Err(OpError::invalid(format!("input 0: expected a matrix or a vector, got shape {}", x.shape()))),
        }
    }
}

impl Rows<Dim> {
    /// The same of what is known of input 0.
    pub fn infer(x: &Facts<'_>) -> Result<Rows<Dim>, InferError> {
        match x.shape(0) {
            None => Ok(Rows { count: Dim::unknown(), width: Dim::unknown() }),
            Some([width]) => Ok(Rows { count: Dim::known(1), width: width.clone() }),
            Some([count, width]) => Ok(Rows { count: count.clone(), width: width.clone() }),
            Some(shape) => Err(InferError(format!("input 0: expected a matrix or a vector, got rank {}", shape.len()))),
        }
    }
}

/// A tensor of any of the domain's feature types as one of `T`; the tensor itself if it is one already.
pub fn convert<T: Number>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    fn each<S: Number, T: Number>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let mut y = cx.uninit::<T>(x.shape().clone())?;
        y.iter_mut().zip(x.as_slice::<S>()?).for_each(|(y, x)| *y = T::from_f64(x.to_f64()));
        Ok(y.freeze())
    }
    if x.dtype() == <T as Element>::DTYPE {
        return Ok(x.clone());
    }
    for_dtypes!(x.dtype(), S => each::<S, T>(cx, x), [F32 = f32, F64 = f64, I64 = i64, I32 = i32])
}

/// Σ aᵢ·bᵢ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a, b, |a, b| a * b)
}

/// Σ (aᵢ − bᵢ)².
pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a, b, |a, b| (a - b) * (a - b))
}

#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(&a, &b)| term(a, b)).sum();
    for (a, b) in a.zip(b) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(a, b);
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// `num_scores` numbers for each row of `x`, by `score(row, scores)`, which takes about `products` products.
pub fn score_rows(
    cx: &EvalCx<'_>,
    x: &Tensor,
    num_scores: usize,
    products: usize,
    score: impl Fn(&[f32], &mut [f32]) + Sync,
) -> Result<Tensor, OpError> {
    let rows = Rows::of(x)?;
    let x = convert::<f32>(cx, x)?;
    let x = x.as_slice::<f32>()?;
    let mut y = cx.uninit::<f32>(Shape::new(&[rows.count, num_scores])?)?;
    let ns = NS_PER_PRODUCT * products as f64 / num_scores.max(1) as f64;
    parallel::fill_units(cx, &mut y, num_scores, ns, |start, y| {
        for (row, y) in (start / num_scores..).zip(y.chunks_exact_mut(num_scores)) {
            score(&x[row * rows.width..(row + 1) * rows.width], y);
        }
    })?;
    Ok(y.freeze())
}

/// The same with the label of the class that `score` answers, which comes first.
pub fn classify_rows(
    cx: &EvalCx<'_>,
    x: &Tensor,
    labels: &ClassLabels,
    num_scores: usize,
    products: usize,
    score: impl Fn(&[f32], &mut [f32]) -> u32 + Sync,
) -> Result<Outputs, OpError> {
    let rows = Rows::of(x)?;
    let x = convert::<f32>(cx, x)?;
    let x = x.as_slice::<f32>()?;
    let mut scores = cx.uninit::<f32>(Shape::new(&[rows.count, num_scores])?)?;
    let _charged = cx.memory.reserve(rows.count.saturating_mul(size_of::<u32>()))?;
    let mut winners = vec![0; rows.count];
    let tasks = cx.threads.split(rows.count, NS_PER_PRODUCT * products as f64);
    let tile = rows.count.div_ceil(tasks).clamp(1, TILE_ROWS);
    let tiles = scores.chunks_mut(tile * num_scores).zip(winners.chunks_mut(tile)).enumerate();
    cx.threads.for_each_item(tiles, |(index, (scores, winners))| {
        if cx.check().is_err() {
            return;
        }
        let rows_of_tile = (index * tile..).zip(scores.chunks_exact_mut(num_scores)).zip(winners);
        for ((row, scores), winner) in rows_of_tile {
            *winner = score(&x[row * rows.width..(row + 1) * rows.width], scores);
        }
    });
    cx.check()?;
    Ok([labels.pick(cx, &winners)?, scores.freeze()].into())
}
