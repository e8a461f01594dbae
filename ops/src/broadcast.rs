//! ONNX's multidirectional broadcasting: result shapes, and walking several operands in step.
//!
//! A [`Walk`] merges axes that all operands step through alike, so that work is done in long runs in which each operand is
//! either a slice or a single value repeated.

use planish_ir::{Dim, EvalCx, Facts, InferError, OpError};
use planish_tensor::Shape;
use smallvec::{SmallVec, smallvec};
use std::ops::Range;

use crate::parallel;

/// The shape that all of `shapes` broadcast to.
pub fn broadcast_shapes(shapes: &[&Shape]) -> Result<Shape, OpError> {
    let mut result = Shape::scalar();
    for shape in shapes {
        result = result.broadcast(shape).ok_or_else(|| {
            let list: Vec<String> = shapes.iter().map(|s| s.to_string()).collect();
            OpError::invalid(format!("shapes {} do not broadcast", list.join(" and ")))
        })?;
    }
    Ok(result)
}

/// The dimensions that `shapes` broadcast to.
pub fn broadcast_dims<'a>(shapes: impl IntoIterator<Item = &'a [Dim]>) -> Result<Vec<Dim>, InferError> {
    let mut result: Vec<Dim> = Vec::new();
    for shape in shapes {
        if shape.len() > result.len() {
            result.splice(0..0, std::iter::repeat_n(Dim::known(1), shape.len() - result.len()));
        }
        let offset = result.len() - shape.len();
        for (a, b) in result[offset..].iter_mut().zip(shape) {
            *a = Dim::broadcast(a, b).map_err(|conflict| InferError(format!("cannot broadcast: {conflict}")))?;
        }
    }
    Ok(result)
}

/// The dimensions that all inputs broadcast to, or `None` where a rank is unknown.
pub fn broadcast_inputs(x: &Facts<'_>) -> Result<Option<Vec<Dim>>, InferError> {
    let shapes: Option<Vec<&[Dim]>> = (0..x.len()).map(|i| x.shape(i)).collect();
    shapes.map(broadcast_dims).transpose()
}

/// An operand's part of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand<'a, T> {
    /// One element for each of the run.
    Slice(&'a [T]),
    /// The same element for all of the run.
    Repeated(T),
}

impl<'a, T: Copy> Operand<'a, T> {
    /// The operand's part in `length` elements from `start` on.
    pub fn part(self, start: usize, length: usize) -> Operand<'a, T> {
        match self {
            Operand::Slice(x) => Operand::Slice(&x[start..start + length]),
            Operand::Repeated(x) => Operand::Repeated(x),
        }
    }
}

/// Runs of fewer elements than this are not worth a call each.
const SHORT_RUN: usize = 128;

/// Elements that short runs are put together to.
const TILE: usize = 1024;

/// The part of one operand in a run, as indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    start: usize,
    is_repeated: bool,
}

impl Part {
    /// The part of `data` for a run of `length` elements.
    pub fn of<'a, T: Copy>(&self, data: &'a [T], length: usize) -> Operand<'a, T> {
        if self.is_repeated {
            Operand::Repeated(data[self.start])
        } else {
            Operand::Slice(&data[self.start..self.start + length])
        }
    }

    /// The element of `data` for the run's element `i`.
    pub fn at<'a, T>(&self, data: &'a [T], i: usize) -> &'a T {
        &data[if self.is_repeated { self.start } else { self.start + i }]
    }
}

/// How `N` operands are read while an output of the shape they broadcast to is written from front to back.
#[derive(Clone, Debug)]
pub struct Walk<const N: usize> {
    shape: Shape,
    /// The merged axes, innermost last; the last one is the run.
    dims: SmallVec<[usize; 6]>,
    /// Elements of each operand for one step along each merged axis.
    steps: [SmallVec<[usize; 6]>; N],
}

impl<const N: usize> Walk<N> {
    /// A walk over operands of these shapes.
    pub fn new(shapes: [&Shape; N]) -> Result<Walk<N>, OpError> {
        let shape = broadcast_shapes(&shapes)?;
        let mut dims: SmallVec<[usize; 6]> = SmallVec::new();
        let mut steps: [SmallVec<[usize; 6]>; N] = std::array::from_fn(|_| SmallVec::new());
        let expanded = shapes.map(|s| expanded_strides(s, &shape));
        for (axis, &dim) in shape.iter().enumerate().filter(|&(_, &dim)| dim != 1) {
            let goes_on = (0..N).all(|n| steps[n].last() == Some(&(expanded[n][axis] * dim)));
            match dims.last_mut() {
                Some(last) if goes_on => {
                    *last *= dim;
                    (0..N).for_each(|n| *steps[n].last_mut().expect("as long as dims") = expanded[n][axis]);
                }
                _ => {
                    dims.push(dim);
                    (0..N).for_each(|n| steps[n].push(expanded[n][axis]));
                }
            }
        }
        if dims.is_empty() {
            dims.push(1);
            steps = std::array::from_fn(|_| smallvec![0]);
        }
        Ok(Walk { shape, dims, steps })
    }

    /// The shape of the output.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Fills `y`, the whole output, by calling `f(piece of y, operands' parts)` for each run or part of one.
    pub fn fill<Y: Send>(
        &self,
        cx: &EvalCx<'_>,
        y: &mut [Y],
        ns_per_element: f64,
        f: impl Fn(&mut [Y], [Part; N]) + Sync,
    ) -> Result<(), OpError> {
        parallel::fill(cx, y, ns_per_element, |start, piece| self.fill_from(start, piece, &f))
    }

    /// Fills `y`, the whole output, by calling `f(piece of y, operands)` for each run or part of one; short runs are put
    /// together, with what they repeat written out. An operand that has no `data` comes as an empty slice: it is the
    /// output itself.
    pub fn fill_from_data<T: Copy + Send + Sync, Y: Send>(
        &self,
        cx: &EvalCx<'_>,
        y: &mut [Y],
        data: [&[T]; N],
        ns_per_element: f64,
        f: &(dyn Fn(&mut [Y], [Operand<'_, T>; N]) + Sync),
    ) -> Result<(), OpError> {
        let total = y.len();
        let is_short = self.dims.len() > 1 && self.dims.last().is_some_and(|&run| run < SHORT_RUN);
        if !is_short {
            return self.fill(cx, y, ns_per_element, |y, parts| {
                let operand =
                    |n: usize| if data[n].is_empty() { Operand::Slice(data[n]) } else { parts[n].of(data[n], y.len()) };
                let operands = std::array::from_fn(operand);
                f(y, operands);
            });
        }
        let spread =
            |n: usize| Walk::<1> { shape: self.shape.clone(), dims: self.dims.clone(), steps: [self.steps[n].clone()] };
        let spread: [Walk<1>; N] = std::array::from_fn(spread);
        parallel::fill(cx, y, ns_per_element, |start, piece| {
            let mut written_out: [Vec<T>; N] = std::array::from_fn(|_| Vec::new());
            for (tile, start) in piece.chunks_mut(TILE).zip((start..).step_by(TILE)) {
                for ((data, walk), out) in data.iter().zip(&spread).zip(&mut written_out) {
                    if let [first, ..] = data
                        && data.len() < total
                        && data.len() > 1
                    {
                        out.resize(TILE, *first);
                        walk.fill_from(start, &mut out[..tile.len()], &|run, [part]| match part.of(data, run.len()) {
                            Operand::Slice(x) => run.copy_from_slice(x),
                            Operand::Repeated(x) => run.fill(x),
                        });
                    }
                }
                let operand = |n: usize| match data[n] {
                    [] => Operand::Slice(data[n]),
                    &[x] => Operand::Repeated(x),
                    data if data.len() == total => Operand::Slice(&data[start..start + tile.len()]),
                    _ => Operand::Slice(&written_out[n][..tile.len()]),
                };
                let operands = std::array::from_fn(operand);
                f(tile, operands);
            }
        })
    }

    /// Calls `f` for the runs, or parts of them, that lie in `piece`, which begins at the output's element `start`.
    fn fill_from<Y>(&self, start: usize, piece: &mut [Y], f: &dyn Fn(&mut [Y], [Part; N])) {
        self.for_each_run(start, piece.len(), &mut |run, parts| f(&mut piece[run], parts));
    }

    /// Calls `f` for the runs, or parts of them, that lie in `length` elements from the output's element `start` on.
    fn for_each_run(&self, start: usize, length: usize, f: &mut dyn FnMut(Range<usize>, [Part; N])) {
        let (&run, outer) = self.dims.split_last().expect("a walk has at least one axis");
        let mut index: SmallVec<[usize; 6]> = smallvec![0; outer.len()];
        let mut skipped = start % run;
        let mut rest = start / run;
        for (i, &dim) in index.iter_mut().zip(outer).rev() {
            *i = rest % dim;
            rest /= dim;
        }
        let mut offsets: [usize; N] =
            std::array::from_fn(|n| index.iter().zip(&self.steps[n]).map(|(i, step)| i * step).sum());
        let run_steps: [usize; N] = std::array::from_fn(|n| self.steps[n][outer.len()]);
        let mut done = 0;
        while done < length {
            let end = done + (run - skipped).min(length - done);
            let part = |n: usize| Part { start: offsets[n] + skipped * run_steps[n], is_repeated: run_steps[n] == 0 };
            f(done..end, std::array::from_fn(part));
            done = end;
            skipped = 0;
            for axis in (0..outer.len()).rev() {
                index[axis] += 1;
                (0..N).for_each(|n| offsets[n] += self.steps[n][axis]);
                if index[axis] < outer[axis] {
                    break;
                }
                (0..N).for_each(|n| offsets[n] -= self.steps[n][axis] * outer[axis]);
                index[axis] = 0;
            }
        }
    }
}

/// The strides of `shape` seen as the broader shape `target`: 0 along axes that it lacks or repeats.
pub fn expanded_strides(shape: &Shape, target: &Shape) -> SmallVec<[usize; 6]> {
    let strides = shape.strides();
    let missing = target.rank() - shape.rank();
    let stride = |axis: usize| match axis.checked_sub(missing) {
        Some(own) if shape[own] != 1 => strides[own],
        _ => 0,
    };
    (0..target.rank()).map(stride).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::Interpreter;
    use planish_kernels::Threads;
    use proptest::prelude::*;

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    /// The element of a tensor of shape `from` at the position of element `i` of the broader shape `to`.
    fn source_index(from: &Shape, to: &Shape, mut i: usize) -> usize {
        let mut index = vec![0; to.rank()];
        for axis in (0..to.rank()).rev() {
            index[axis] = i % to[axis];
            i /= to[axis];
        }
        let own = &index[to.rank() - from.rank()..];
        own.iter().zip(from.iter()).zip(from.strides()).map(|((&i, &dim), stride)| (i % dim) * stride).sum()
    }

    proptest! {
        #[test]
        fn a_walk_reads_what_broadcasting_says(
            dims in prop::collection::vec(0usize..5, 0..5),
            ones in prop::array::uniform2(prop::collection::vec(any::<bool>(), 5)),
            cut in prop::array::uniform2(0usize..5),
            threads in 1usize..4,
        ) {
            let narrow = |ones: &[bool], cut: usize| {
                let dims: Vec<usize> = dims.iter().zip(ones).map(|(&d, &one)| if one { 1 } else { d }).collect();
                shape(&dims[cut.min(dims.len())..])
            };
            let (a, b) = (narrow(&ones[0], cut[0]), narrow(&ones[1], cut[1]));
            let walk = Walk::new([&a, &b]).unwrap();
            let mut cx = EvalCx::unlimited(&Interpreter);
            cx.threads = Threads::new(threads).unwrap();
            let data: Vec<usize> = (0..625).collect();
            let mut y = vec![(0, 0); walk.shape().num_elements()];
            walk.fill(&cx, &mut y, 1e4, |run, [a, b]| {
                run.iter_mut().enumerate().for_each(|(i, y)| *y = (*a.at(&data, i), *b.at(&data, i)));
            }).unwrap();
            for (i, &got) in y.iter().enumerate() {
                let expected = (source_index(&a, walk.shape(), i), source_index(&b, walk.shape(), i));
                prop_assert_eq!(got, expected);
            }
        }
    }

    proptest! {
        #[test]
        fn data_is_read_as_broadcasting_says_whatever_the_length_of_a_run(
            dims in prop::collection::vec(prop_oneof![1usize..6, Just(40), Just(130)], 1..4),
            ones in prop::collection::vec(any::<bool>(), 3),
            threads in 1usize..3,
        ) {
            let narrow: Vec<usize> = dims.iter().zip(&ones).map(|(&d, &one)| if one { 1 } else { d }).collect();
            let (whole, narrow) = (shape(&dims), shape(&narrow));
            let walk = Walk::new([&whole, &narrow]).unwrap();
            let mut cx = EvalCx::unlimited(&Interpreter);
            cx.threads = Threads::new(threads).unwrap();
            let numbers: Vec<usize> = (0..narrow.num_elements()).collect();
            let mut y = vec![0; whole.num_elements()];
            walk.fill_from_data(&cx, &mut y, [&[], &numbers], 1e4, &|run, [nothing, x]| {
                assert_eq!(nothing, Operand::Slice(&[][..]));
                run.iter_mut().enumerate().for_each(|(i, y)| *y = match x {
                    Operand::Slice(x) => x[i],
                    Operand::Repeated(x) => x,
                });
            }).unwrap();
            for (i, &got) in y.iter().enumerate() {
                prop_assert_eq!(got, source_index(&narrow, &whole, i));
            }
        }
    }

    #[test]
    fn axes_walked_alike_are_one_run() {
        let walk = Walk::new([&shape(&[2, 3, 4, 5]), &shape(&[3, 1, 1])]).unwrap();
        assert_eq!(walk.dims.as_slice(), [2, 3, 20]);
        assert_eq!(walk.steps[1].as_slice(), [0, 1, 0]);
        assert_eq!(Walk::new([&shape(&[2, 3]), &shape(&[2, 3])]).unwrap().dims.as_slice(), [6]);
        assert!(Walk::new([&shape(&[2]), &shape(&[3])]).is_err());
    }

    #[test]
    fn dims_broadcast_symbolically() {
        let (b, three) = (Dim::symbol("b"), Dim::known(3));
        let dims = broadcast_dims([&[b.clone(), Dim::known(1)][..], &[three.clone()][..]]).unwrap();
        assert_eq!(dims, [b, three.clone()]);
        assert!(broadcast_dims([&[three][..], &[Dim::known(2)][..]]).is_err());
    }
}
