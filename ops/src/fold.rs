//! Folding the elements along some axes to one: sums, products, extremes and what else is made of many elements.
//!
//! `float` goes through vectorised kernels, other types through the definition. The way a fold is cut into parts depends on
//! shapes alone, so results are the same for any number of threads.

use crate::dtypes::Number;
use crate::parallel;
use planish_ir::{Dim, EvalCx, OpError};
use planish_kernels::elementwise::{Binary, Unary, binary, unary};
use planish_kernels::reduce::{Reduction, reduce};
use planish_kernels::simd::Operand;
use planish_tensor::{Shape, Tensor, TensorMut};

/// What is made of many elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Σ x; 0 of nothing.
    Sum,
    /// Π x; 1 of nothing.
    Prod,
    /// The greatest, NaN where there is one; the lowest value of the type of nothing.
    Max,
    /// The least, NaN where there is one; the highest value of the type of nothing.
    Min,
    /// Σ x²; 0 of nothing.
    SumSquare,
    /// Σ |x|; 0 of nothing.
    L1,
    /// ln Σ eˣ; −∞ of nothing.
    LogSumExp,
}

impl Fold {
    /// What joins the results of parts.
    pub fn merge(self) -> Fold {
        match self {
            Fold::SumSquare | Fold::L1 => Fold::Sum,
            other => other,
        }
    }

    /// The fold of what two symbolic integers count as, where it can be said.
    pub fn of_dims(self, a: &Dim, b: &Dim) -> Dim {
        match self {
            Fold::Sum | Fold::SumSquare | Fold::L1 => a + b,
            Fold::Prod => a * b,
            Fold::Max => a.max(b),
            Fold::Min => a.min(b),
            Fold::LogSumExp => Dim::unknown(),
        }
    }

    /// What a symbolic integer counts as in a fold.
    pub fn of_dim(self, a: &Dim) -> Dim {
        match self {
            Fold::SumSquare => a * a,
            Fold::L1 => a.max(-a),
            _ => a.clone(),
        }
    }
}

/// A type whose elements can be folded.
pub trait Foldable: Number {
    /// What one element costs.
    const NS: f64 = 1.0;

    /// Folds the middle axis of `x`, which is `[outer, count, inner]`, into `y`, which is `[outer, inner]`.
    fn fold(fold: Fold, x: &[Self], count: usize, inner: usize, y: &mut [Self]) {
        definition(fold, x, count, inner, y);
    }
}

macro_rules! foldable {
    ($($t:ty)*) => {
        $(impl Foldable for $t {})*
    };
}

foldable! { f64 i8 i16 i32 i64 u8 u16 u32 u64 }

impl Foldable for f32 {
    const NS: f64 = 0.1;

    fn fold(fold: Fold, x: &[f32], count: usize, inner: usize, y: &mut [f32]) {
        let reduction = match fold {
            Fold::Sum => Reduction::Sum,
            Fold::Prod => Reduction::Prod,
            Fold::Max => Reduction::Max,
            Fold::Min => Reduction::Min,
            Fold::SumSquare => Reduction::SumSquare,
            Fold::L1 => Reduction::L1,
            Fold::LogSumExp => return log_sum_exp(x, count, inner, y),
        };
        reduce(reduction, x, count, inner, y);
    }
}

fn definition<T: Number>(fold: Fold, x: &[T], count: usize, inner: usize, y: &mut [T]) {
    match fold {
        Fold::Sum => fold_with(x, count, inner, y, T::ZERO, |a, v| a.add(v)),
        Fold::Prod => fold_with(x, count, inner, y, T::ONE, |a, v| a.mul(v)),
        Fold::Max => fold_with(x, count, inner, y, T::LOWEST, |a, v| a.max(v)),
        Fold::Min => fold_with(x, count, inner, y, T::HIGHEST, |a, v| a.min(v)),
        Fold::SumSquare => fold_with(x, count, inner, y, T::ZERO, |a, v| a.add(v.mul(v))),
        Fold::L1 => fold_with(x, count, inner, y, T::ZERO, |a, v| a.add(v.abs())),
        Fold::LogSumExp => {
            for (i, y) in y.iter_mut().enumerate() {
                let first = i / inner * count * inner + i % inner;
                let column = || (0..count).map(|k| x[first + k * inner].to_f64());
                let shift = shift_of(column().fold(f64::NEG_INFINITY, Number::max));
                *y = T::from_f64(column().map(|v| (v - shift).exp()).sum::<f64>().ln() + shift);
            }
        }
    }
}

fn fold_with<T: Copy>(x: &[T], count: usize, inner: usize, y: &mut [T], neutral: T, step: impl Fn(T, T) -> T) {
    y.fill(neutral);
    if count == 0 || y.is_empty() {
        return;
    }
    if inner == 1 {
        for (y, row) in y.iter_mut().zip(x.chunks_exact(count)) {
            *y = row.iter().fold(neutral, |a, &v| step(a, v));
        }
        return;
    }
    for (y, block) in y.chunks_exact_mut(inner).zip(x.chunks_exact(count * inner)) {
        for row in block.chunks_exact(inner) {
            y.iter_mut().zip(row).for_each(|(y, &v)| *y = step(*y, v));
        }
    }
}

/// What is taken from exponents so that the greatest is 1: their maximum, unless that would make NaN of infinities.
fn shift_of<T: num_traits::Float>(max: T) -> T {
    if max.is_infinite() { T::zero() } else { max }
}

/// Elements whose exponentials are taken at a time; they stay in the first-level cache.
const TILE: usize = 512;

/// [`Fold::LogSumExp`] in two passes: the maxima, then the sums of exponentials of what is left.
fn log_sum_exp(x: &[f32], count: usize, inner: usize, y: &mut [f32]) {
    reduce(Reduction::Max, x, count, inner, y);
    y.iter_mut().for_each(|max| *max = shift_of(*max));
    if count == 0 {
        y.fill(f32::NEG_INFINITY);
    } else if inner == 1 {
        y.iter_mut().zip(x.chunks_exact(count)).for_each(|(y, row)| *y += sum_exp(row, *y).ln() as f32);
    } else {
        for (y, block) in y.chunks_exact_mut(inner).zip(x.chunks_exact(count * inner)) {
            for (shift, start) in y.chunks_mut(TILE).zip((0..).step_by(TILE)) {
                let end = start + shift.len();
                add_log_sum_exp(block.chunks_exact(inner).map(|row| &row[start..end]), shift);
            }
        }
    }
}

/// Σ e^(x − shift).
fn sum_exp(x: &[f32], shift: f32) -> f64 {
    let mut tile = [0f32; TILE];
    let sum_of = |x: &[f32]| {
        let tile = &mut tile[..x.len()];
        unary(Unary::Affine { alpha: 1.0, beta: -shift }, Operand::Slice(x), tile);
        unary(Unary::Exp, Operand::Output, tile);
        let mut sum = [0f32];
        reduce(Reduction::Sum, tile, x.len(), 1, &mut sum);
        f64::from(sum[0])
    };
    x.chunks(TILE).map(sum_of).sum()
}

/// `shift[i] += ln Σ e^(row[i] − shift[i])` over all rows.
fn add_log_sum_exp<'a>(rows: impl Iterator<Item = &'a [f32]>, shift: &mut [f32]) {
    let (mut tile, mut sums) = ([0f32; TILE], [0f32; TILE]);
    let (tile, sums) = (&mut tile[..shift.len()], &mut sums[..shift.len()]);
    for row in rows {
        binary(Binary::Sub, Operand::Slice(row), Operand::Slice(shift), tile);
        unary(Unary::Exp, Operand::Output, tile);
        binary(Binary::Add, Operand::Output, Operand::Slice(tile), sums);
    }
    shift.iter_mut().zip(sums).for_each(|(shift, sum)| *shift += sum.ln());
}

/// A long axis is folded in parts of about so many elements, unless there are many folds to share out among threads.
const PART: usize = 1 << 16;
/// The least count of rows in a part, so that the parts' results are few against their elements.
const PART_ROWS: usize = 16;
/// So many folds need no parts.
const MANY: usize = 16;

/// The fold of the middle axis of `x`, which is `[outer, count, inner]`.
pub fn fold_axis<T: Foldable>(
    cx: &EvalCx<'_>,
    fold: Fold,
    x: &[T],
    [outer, count, inner]: [usize; 3],
) -> Result<TensorMut<T>, OpError> {
    let ns = if fold == Fold::LogSumExp { 1.0 + T::NS } else { T::NS };
    let parts = if outer < MANY { (count * inner / PART).min(count / PART_ROWS) } else { 0 };
    if parts < 2 {
        let mut y = cx.uninit::<T>(Shape::new(&[outer, inner])?)?;
        parallel::fill_units(cx, &mut y, inner, ns * count as f64, |start, y| {
            T::fold(fold, &x[start * count..][..y.len() * count], count, inner, y);
        })?;
        return Ok(y);
    }
    let rows = count.div_ceil(parts);
    let parts = count.div_ceil(rows);
    let mut partial = cx.uninit::<T>(Shape::new(&[outer, parts, inner])?)?;
    parallel::fill_units(cx, &mut partial, inner, ns * rows as f64, |start, piece| {
        for (y, unit) in piece.chunks_exact_mut(inner).zip(start / inner..) {
            let first = unit % parts * rows;
            let rows = rows.min(count - first);
            let x = &x[(unit / parts * count + first) * inner..][..rows * inner];
            T::fold(fold, x, rows, inner, y);
        }
    })?;
    fold_axis(cx, fold.merge(), &partial, [outer, parts, inner])
}

/// The fold of `x` over the axes that `is_folded` marks, which are of one element in the result.
pub fn fold_axes<T: Foldable>(cx: &EvalCx<'_>, fold: Fold, x: &Tensor, is_folded: &[bool]) -> Result<Tensor, OpError> {
    let dims: Vec<usize> =
        x.shape().iter().zip(is_folded).map(|(&dim, &is_folded)| if is_folded { 1 } else { dim }).collect();
    let shape = Shape::new(&dims)?;
    let mut groups = groups(x.shape(), is_folded);
    let Some(last) = groups.iter().rposition(|group| group.is_folded) else {
        return match fold.merge() == fold {
            true => Ok(x.reshaped(shape)?),
            false => Ok(fold_axis::<T>(cx, fold, x.as_slice()?, [x.num_elements(), 1, 1])?.freeze_as(shape)?),
        };
    };
    let mut y = fold_axis::<T>(cx, fold, x.as_slice()?, take_group(&mut groups, last))?;
    while let Some(last) = groups.iter().rposition(|group| group.is_folded) {
        y = fold_axis::<T>(cx, fold.merge(), &y, take_group(&mut groups, last))?;
    }
    Ok(y.freeze_as(shape)?)
}

/// Neighbouring axes that are all folded, or all kept.
struct Group {
    is_folded: bool,
    length: usize,
}

fn groups(dims: &[usize], is_folded: &[bool]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::with_capacity(dims.len());
    for (&length, &is_folded) in dims.iter().zip(is_folded).filter(|&(&length, _)| length != 1) {
        match groups.last_mut() {
            Some(group) if group.is_folded == is_folded => group.length *= length,
            _ => groups.push(Group { is_folded, length }),
        }
    }
    groups
}

/// Removes a group; what is before it, the group itself and what is after it, each as one axis.
fn take_group(groups: &mut Vec<Group>, index: usize) -> [usize; 3] {
    let length = |groups: &[Group]| groups.iter().map(|group| group.length).product();
    let extents = [length(&groups[..index]), groups[index].length, length(&groups[index + 1..])];
    groups.remove(index);
    extents
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::Interpreter;
    use planish_kernels::Threads;

    const ALL: [Fold; 7] = [Fold::Sum, Fold::Prod, Fold::Max, Fold::Min, Fold::SumSquare, Fold::L1, Fold::LogSumExp];

    fn noise(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.7).sin() * 1.5).collect()
    }

    #[test]
    fn float_kernels_equal_the_definition() {
        for [outer, count, inner] in [[2, 5, 1], [3, 1, 1], [2, 7, 3], [1, 40, 700], [2, 0, 3], [1, 1300, 1]] {
            let x = noise(outer * count * inner);
            let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
            for fold in ALL {
                let mut y = vec![9f32; outer * inner];
                f32::fold(fold, &x, count, inner, &mut y);
                let mut truth = vec![9f64; outer * inner];
                f64::fold(fold, &wide, count, inner, &mut truth);
                for (y, truth) in y.iter().zip(truth) {
                    let is_near = (f64::from(*y) - truth).abs() <= 1e-5 * (truth.abs() + count as f64);
                    assert!(is_near || f64::from(*y) == truth, "{fold:?} {count} {inner}: {y} is not {truth}");
                }
            }
        }
    }

    #[test]
    fn log_sum_exp_survives_great_and_infinite_exponents() {
        let infinity = f32::INFINITY;
        for (row, expected) in [
            ([1000f32, 1000.0], 1000.0 + 2f32.ln()),
            ([-infinity, -infinity], -infinity),
            ([infinity, 0.0], infinity),
            ([-infinity, 3.0], 3.0),
        ] {
            for inner in [1, 2] {
                let x: Vec<f32> = row.iter().flat_map(|&v| vec![v; inner]).collect();
                let mut y = vec![0f32; inner];
                f32::fold(Fold::LogSumExp, &x, 2, inner, &mut y);
                assert_eq!(y, vec![expected; inner]);
            }
        }
        let mut y = [0f32];
        f32::fold(Fold::LogSumExp, &[f32::NAN, 1.0], 2, 1, &mut y);
        assert!(y[0].is_nan());
    }

    #[test]
    fn long_axes_are_folded_in_parts_alike_for_any_number_of_threads() {
        let mut cx = EvalCx::unlimited(&Interpreter);
        for extents in [[1, 300_000, 1], [2, 3000, 70]] {
            let x: Vec<i64> = (0..extents.iter().product::<usize>() as i64).map(|i| i % 101 - 50).collect();
            let floats: Vec<f32> = x.iter().map(|&v| v as f32).collect();
            for fold in ALL {
                let mut truth = vec![0i64; extents[0] * extents[2]];
                definition(fold, &x, extents[1], extents[2], &mut truth);
                assert!(fold == Fold::LogSumExp || fold_axis(&cx, fold, &x, extents).unwrap()[..] == truth);
                cx.threads = Threads::single();
                let alone = fold_axis(&cx, fold, &floats, extents).unwrap().freeze();
                cx.threads = Threads::new(3).unwrap();
                assert_eq!(alone, fold_axis(&cx, fold, &floats, extents).unwrap().freeze());
            }
        }
    }
}
