//! y\[i₀, i₁, …\] = x\[p₀(i₀), p₁(i₁), …\]: along each axis, every output index picks an input index, or the fill value.
//!
//! Slicing, padding, repeating and reversing are all of this kind. What an axis picks is a list of [`Run`]s, so a long
//! axis takes little memory and its elements move in long copies.

use crate::movement::{Movement, move_elements};
use crate::parallel;
use planish_ir::{EvalCx, OpError};
use planish_tensor::{Shape, Tensor};

/// The estimated cost of moving one element.
const NS_PER_ELEMENT: f64 = 0.4;

/// Consecutive indices of an output axis and what they pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The input index that the first of them picks; `None` for the fill value.
    start: Option<usize>,
    /// From one output index to the next, the input index grows by this.
    step: isize,
    /// How many output indices there are.
    length: usize,
}

impl Run {
    /// `length` indices from `start` on.
    pub fn range(start: usize, length: usize) -> Run {
        Run::strided(start, 1, length)
    }

    /// `start`, `start + step`, `start + 2·step`, …
    pub fn strided(start: usize, step: isize, length: usize) -> Run {
        Run { start: Some(start), step, length }
    }

    /// `index`, `length` times.
    pub fn repeated(index: usize, length: usize) -> Run {
        Run::strided(index, 0, length)
    }

    /// The fill value, `length` times.
    pub fn fill(length: usize) -> Run {
        Run { start: None, step: 0, length }
    }

    /// The number of output indices.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether there are no output indices.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The input index that the run's output index `position` picks.
    fn at(&self, position: usize) -> Option<usize> {
        Some(self.start?.wrapping_add_signed(self.step.wrapping_mul(position as isize)))
    }

    /// Whether all that the run picks lies in an axis of `dim` elements.
    fn fits(&self, dim: usize) -> bool {
        let (Some(start), Some(last)) = (self.start, self.length.checked_sub(1)) else { return true };
        let travel = isize::try_from(last).ok().and_then(|last| self.step.checked_mul(last));
        let end = travel.and_then(|travel| start.checked_add_signed(travel));
        start < dim && end.is_some_and(|end| end < dim)
    }
}

/// For every axis of `shape`, all of its indices in order.
pub fn everything(shape: &Shape) -> Vec<Vec<Run>> {
    shape.iter().map(|&dim| vec![Run::range(0, dim)]).collect()
}

/// The tensor that picks `axes[a]` along each axis `a` of `x`. The fill value is the only element of `fill`, of `x`'s
/// dtype; zero, `false` or the empty string without it.
pub fn pick(cx: &EvalCx<'_>, x: &Tensor, axes: &[Vec<Run>], fill: Option<&Tensor>) -> Result<Tensor, OpError> {
    let is_sound = axes.len() == x.rank() && axes.iter().zip(x.shape().iter()).all(|(runs, &dim)| fit(runs, dim));
    if !is_sound {
        return Err(OpError::Internal(format!("{axes:?} does not lie in {}", x.shape())));
    }
    if axes.iter().zip(x.shape().iter()).all(|(runs, &dim)| is_everything(runs, dim)) {
        return Ok(x.clone());
    }
    let lengths = axes.iter().map(|runs| runs.iter().fold(0usize, |sum, run| sum.saturating_add(run.length)));
    let shape = Shape::new(&lengths.collect::<Vec<_>>())?;
    let zero = Tensor::zeros(&cx.memory, x.dtype(), Shape::scalar())?;
    let fill = fill.unwrap_or(&zero);
    if fill.num_elements() != 1 {
        return Err(OpError::invalid(format!("the fill value is one element, got shape {}", fill.shape())));
    }
    move_elements(cx, &[x, fill], shape, &Picks::new(x.shape(), axes))
}

fn fit(runs: &[Run], dim: usize) -> bool {
    runs.iter().all(|run| run.fits(dim))
}

fn is_everything(runs: &[Run], dim: usize) -> bool {
    matches!(runs, [run] if *run == Run::range(0, dim))
}

/// What is picked, with neighbouring axes that are taken whole merged.
struct Picks {
    /// All axes but the innermost that is not taken whole: the row's.
    outer: Vec<OuterAxis>,
    /// What a row consists of, in blocks.
    row: Vec<Run>,
    /// The elements of the row's axis' one index: the product of the axes within, which are taken whole.
    block: usize,
}

struct OuterAxis {
    runs: Vec<Run>,
    /// Elements of the source for one step along the axis.
    stride: usize,
    length: usize,
}

/// A place on an axis: a run and a position in it.
#[derive(Clone, Copy, Default)]
struct Cursor {
    run: usize,
    position: usize,
}

impl OuterAxis {
    fn cursor(&self, mut index: usize) -> Cursor {
        let mut run = 0;
        while let Some(current) = self.runs.get(run)
            && index >= current.length
        {
            index -= current.length;
            run += 1;
        }
        Cursor { run, position: index }
    }

    /// The offset in the source of what the place picks.
    fn offset(&self, cursor: Cursor) -> Option<usize> {
        Some(self.runs.get(cursor.run)?.at(cursor.position)? * self.stride)
    }

    /// Goes one step on; false, at the start again, after the last.
    fn advance(&self, cursor: &mut Cursor) -> bool {
        cursor.position += 1;
        while let Some(run) = self.runs.get(cursor.run) {
            if cursor.position < run.length {
                return true;
            }
            *cursor = Cursor { run: cursor.run + 1, position: 0 };
        }
        *cursor = self.cursor(0);
        false
    }
}

impl Picks {
    fn new(shape: &Shape, axes: &[Vec<Run>]) -> Picks {
        let mut outer: Vec<OuterAxis> = Vec::new();
        let mut previous_is_whole = false;
        for ((runs, &dim), stride) in axes.iter().zip(shape.iter()).zip(shape.strides()) {
            let is_whole = is_everything(runs, dim);
            match outer.last_mut() {
                Some(last) if is_whole && previous_is_whole => {
                    last.length *= dim;
                    last.runs = vec![Run::range(0, last.length)];
                    last.stride = stride;
                }
                _ => {
                    let length = runs.iter().map(|run| run.length).sum();
                    let runs = runs.iter().copied().filter(|run| run.length > 0).collect();
                    outer.push(OuterAxis { runs, stride, length });
                }
            }
            previous_is_whole = is_whole;
        }
        let block = match outer.pop_if(|_| previous_is_whole) {
            Some(inner) => inner.length,
            None => 1,
        };
        let row = outer.pop().map_or_else(Vec::new, |axis| axis.runs);
        Picks { outer, row, block }
    }

    /// Fills `rows`, which begin at row `first` of the output.
    fn fill_rows<T: Clone>(&self, source: &[T], fill: &T, first: usize, rows: &mut [T]) {
        let length = self.row_length();
        let mut rest = first;
        let mut cursors = vec![Cursor::default(); self.outer.len()];
        for (axis, cursor) in self.outer.iter().zip(&mut cursors).rev() {
            *cursor = axis.cursor(rest % axis.length);
            rest /= axis.length;
        }
        for row in rows.chunks_exact_mut(length) {
            let offset = self.outer.iter().zip(&cursors).try_fold(0, |sum, (axis, &c)| Some(sum + axis.offset(c)?));
            match offset {
                Some(offset) => self.fill_row(&source[offset..], fill, row),
                None => row.fill(fill.clone()),
            }
            for (axis, cursor) in self.outer.iter().zip(&mut cursors).rev() {
                if axis.advance(cursor) {
                    break;
                }
            }
        }
    }

    fn row_length(&self) -> usize {
        self.row.iter().map(|run| run.length).sum::<usize>() * self.block
    }

    fn fill_row<T: Clone>(&self, source: &[T], fill: &T, mut row: &mut [T]) {
        for run in &self.row {
            let (part, rest) = row.split_at_mut(run.length * self.block);
            row = rest;
            match run.start {
                None => part.fill(fill.clone()),
                Some(start) if run.step == 1 => {
                    let start = start * self.block;
                    part.clone_from_slice(&source[start..start + part.len()]);
                }
                Some(start) if self.block == 1 && run.step == 0 => part.fill(source[start].clone()),
                Some(_) => {
                    for (position, block) in part.chunks_exact_mut(self.block).enumerate() {
                        let start = run.at(position).map_or(0, |index| index * self.block);
                        block.clone_from_slice(&source[start..start + self.block]);
                    }
                }
            }
        }
    }
}

impl Movement for Picks {
    fn apply<T: Clone + Send + Sync>(
        &self,
        cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        let (source, fill) = (sources[0], &sources[1][0]);
        let length = self.row_length();
        if target.is_empty() {
            return Ok(());
        }
        if source.is_empty() {
            target.fill(fill.clone());
            return Ok(());
        }
        parallel::fill_units(cx, target, length, NS_PER_ELEMENT, |start, rows| {
            self.fill_rows(source, fill, start / length, rows);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::Interpreter;
    use planish_kernels::Threads;
    use proptest::prelude::*;

    fn runs(dim: usize) -> BoxedStrategy<Vec<Run>> {
        if dim == 0 {
            return prop::collection::vec((0usize..3).prop_map(Run::fill), 0..3).boxed();
        }
        let run = (0..dim, -2isize..3, 0usize..4, any::<bool>()).prop_map(move |(start, step, length, is_fill)| {
            let fitting = (0..=length).rev().find(|&n| Run::strided(start, step, n).fits(dim));
            if is_fill { Run::fill(length) } else { Run::strided(start, step, fitting.unwrap_or(0)) }
        });
        prop_oneof![Just(vec![Run::range(0, dim)]), prop::collection::vec(run, 0..4)].boxed()
    }

    fn cases() -> impl Strategy<Value = (Vec<usize>, Vec<Vec<Run>>)> {
        prop::collection::vec(0usize..4, 0..5).prop_flat_map(|dims| {
            let axes: Vec<_> = dims.iter().map(|&dim| runs(dim)).collect();
            (Just(dims), axes)
        })
    }

    /// The definition, index by index.
    fn picked(x: &[i32], shape: &Shape, axes: &[Vec<Run>]) -> Vec<i32> {
        let mut offsets = vec![Some(0)];
        for (runs, stride) in axes.iter().zip(shape.strides()) {
            let indices: Vec<Option<usize>> =
                runs.iter().flat_map(|run| (0..run.length).map(|position| run.at(position))).collect();
            offsets = offsets.iter().flat_map(|o| indices.iter().map(move |i| Some((*o)? + (*i)? * stride))).collect();
        }
        offsets.into_iter().map(|o| o.map_or(-1, |o| x[o])).collect()
    }

    proptest! {
        #[test]
        fn every_index_picks_as_its_axes_say((dims, axes) in cases(), threads in 1usize..3) {
            let shape = Shape::new(&dims).unwrap();
            let data: Vec<i32> = (0..shape.num_elements() as i32).collect();
            let x = Tensor::new(shape.clone(), &data).unwrap();
            let mut cx = EvalCx::unlimited(&Interpreter);
            cx.threads = Threads::new(threads).unwrap();
            let y = pick(&cx, &x, &axes, Some(&Tensor::scalar(-1i32))).unwrap();
            prop_assert_eq!(y.as_slice::<i32>().unwrap(), picked(&data, &shape, &axes));
        }
    }

    #[test]
    fn indices_outside_the_input_are_refused() {
        let cx = EvalCx::unlimited(&Interpreter);
        let x = Tensor::vector(&[1f32, 2.0]);
        for run in [Run::range(1, 2), Run::strided(0, -1, 2), Run::range(2, 1), Run::strided(1, isize::MAX, 3)] {
            assert!(matches!(pick(&cx, &x, &[vec![run]], None), Err(OpError::Internal(_))));
        }
    }
}
