//! `ArgMax`, `ArgMin`: where along an axis the greatest, or least, element is. NaN counts as either.
//!
//! Opsets: 1; 11 allows a negative axis; 12 adds `select_last_index`; 13 adds bfloat16.

use crate::Define;
use crate::dtypes::{for_dtypes, to_f32};
use crate::fold::{Fold, Foldable, fold_axis};
use crate::half::is_half;
use crate::parallel;
use planish_ir::{
    AttributeError, Axis, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NUMERIC, NodeView, Op, OpError, Outputs,
    Schema, arg, int,
};
use planish_tensor::{DType, Shape, Tensor, TensorMut};
use std::marker::PhantomData;

/// `ArgMax`.
pub type ArgMax = ArgReduce<Greatest>;
/// `ArgMin`.
pub type ArgMin = ArgReduce<Least>;

/// The place of an extreme of one kind.
#[derive(Debug)]
pub struct ArgReduce<K> {
    axis: Axis,
    keeps_dims: bool,
    which: Which,
    kind: PhantomData<K>,
}

/// What sets one such operator apart.
pub trait Kind: std::fmt::Debug + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// What finds the element that is looked for.
    const FOLD: Fold;
}

/// The greatest element.
#[derive(Debug)]
pub struct Greatest;

/// The least element.
#[derive(Debug)]
pub struct Least;

impl Kind for Greatest {
    const NAME: &'static str = "ArgMax";
    const FOLD: Fold = Fold::Max;
}

impl Kind for Least {
    const NAME: &'static str = "ArgMin";
    const FOLD: Fold = Fold::Min;
}

/// Which of several equal elements is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// That at the lowest index.
    First,
    /// That at the highest index.
    Last,
}

impl<K: Kind> Define for ArgReduce<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, 13)
        .inputs(&[arg("data", NUMERIC).var("T")])
        .outputs(&[arg("reduced", INT64)])
        .attributes(&[int("axis", 0), int("keepdims", 1), int("select_last_index", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let which = if node.flag("select_last_index")? { Which::Last } else { Which::First };
        let axis = Axis::new(node.int("axis")?);
        Ok(ArgReduce { axis, keeps_dims: node.flag("keepdims")?, which, kind: PhantomData })
    }
}

impl<K: Kind> Op for ArgReduce<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(Some(DType::I64))]) };
        let dims = self.remaining(shape, self.axis.resolve(shape.len())?, Dim::known(1));
        Ok(vec![Fact::shaped(Some(DType::I64), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.take_tensor(0)?;
        let axis = self.axis.resolve(x.rank())?;
        let shape = Shape::new(&self.remaining(x.shape(), axis, 1))?;
        Ok(positions(cx, K::FOLD, &x, axis, self.which)?.freeze_as(shape)?.into())
    }
}

impl<K> ArgReduce<K> {
    /// The dimensions of the result.
    fn remaining<D: Clone>(&self, dims: &[D], axis: usize, one: D) -> Vec<D> {
        let mut dims = dims.to_vec();
        if self.keeps_dims {
            dims[axis] = one;
        } else {
            dims.remove(axis);
        }
        dims
    }
}

/// Where along `axis` the extreme that `fold` finds is, for each place before and behind that axis.
pub fn positions(
    cx: &EvalCx<'_>,
    fold: Fold,
    x: &Tensor,
    axis: usize,
    which: Which,
) -> Result<TensorMut<i64>, OpError> {
    if is_half(x.dtype()) {
        return positions(cx, fold, &to_f32(cx, x)?, axis, which);
    }
    for_dtypes!(x.dtype(), T => positions_of::<T>(cx, fold, x, axis, which), [
        F32 = f32, F64 = f64, U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
    ])
}

fn positions_of<T: Foldable>(
    cx: &EvalCx<'_>,
    fold: Fold,
    x: &Tensor,
    axis: usize,
    which: Which,
) -> Result<TensorMut<i64>, OpError> {
    let length = x.shape()[axis];
    let (outer, inner) = (x.shape().split_at(axis).0, x.shape().split_at(axis + 1).1);
    if length == 0 && outer * inner > 0 {
        return Err(OpError::invalid(format!("axis {axis} of shape {} has no elements to choose from", x.shape())));
    }
    let x = x.as_slice::<T>()?;
    let extremes = fold_axis::<T>(cx, fold, x, [outer, length, inner])?;
    let mut y = cx.uninit::<i64>(Shape::new(&[outer, inner])?)?;
    parallel::fill_units(cx, &mut y, inner, length as f64, |start, y| {
        let blocks = x[start * length..].chunks_exact(length * inner);
        let extremes = extremes[start..].chunks_exact(inner);
        for ((y, block), extremes) in y.chunks_exact_mut(inner).zip(blocks).zip(extremes) {
            find(block, extremes, which, y);
        }
    })?;
    Ok(y)
}

/// Which row of `block` has each of `extremes` at its place.
fn find<T: Foldable>(block: &[T], extremes: &[T], which: Which, y: &mut [i64]) {
    let is_it = |value: T, extreme: T| value == extreme || (value.is_nan() && extreme.is_nan());
    if let ([extreme], [y]) = (extremes, &mut *y) {
        let is_it = |&value: &T| is_it(value, *extreme);
        let found = match which {
            Which::First => block.iter().position(is_it),
            Which::Last => block.iter().rposition(is_it),
        };
        *y = found.unwrap_or_default() as i64;
        return;
    }
    let mut note = |(k, row): (usize, &[T])| {
        for ((y, &value), &extreme) in y.iter_mut().zip(row).zip(extremes) {
            *y = if is_it(value, extreme) { k as i64 } else { *y };
        }
    };
    let rows = block.chunks_exact(extremes.len()).enumerate();
    match which {
        Which::First => rows.rev().for_each(&mut note),
        Which::Last => rows.for_each(&mut note),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, infer, shaped, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{DType, Tensor, f16};

    fn run(name: &str, x: Tensor, axis: i64, is_last: i64) -> Tensor {
        let attributes = Attributes::new().with("axis", axis).with("select_last_index", is_last).with("keepdims", 0i64);
        eval(name, attributes, &[x]).unwrap()
    }

    #[test]
    fn first_or_last_of_equal_elements_is_found() {
        let x = tensor(&[2, 3], &[2f32, 9., 9., 1., 1., 5.]);
        for (name, axis, is_last, expected) in [
            ("ArgMax", 1, 0, vec![1i64, 2]),
            ("ArgMax", 1, 1, vec![2, 2]),
            ("ArgMin", -1, 0, vec![0, 0]),
            ("ArgMin", -1, 1, vec![0, 1]),
            ("ArgMax", 0, 0, vec![0, 0, 0]),
            ("ArgMin", 0, 1, vec![1, 1, 1]),
        ] {
            let y = run(name, x.clone(), axis, is_last);
            assert_eq!(y, tensor(&[expected.len()], &expected), "{name} {axis} {is_last}");
        }
        let equal = tensor(&[2, 2], &[3i8; 4]);
        assert_eq!(run("ArgMax", equal.clone(), 0, 0), tensor(&[2], &[0i64, 0]));
        assert_eq!(run("ArgMax", equal, 0, 1), tensor(&[2], &[1i64, 1]));
    }

    #[test]
    fn nan_counts_as_extreme_and_infinities_are_found() {
        let infinity = f32::INFINITY;
        for (row, expected) in [([1., f32::NAN, 7.], 1), ([-infinity; 3], 0), ([0., 1., infinity], 2)] {
            assert_eq!(run("ArgMax", tensor(&[3], &row), 0, 0), tensor(&[], &[expected as i64]));
        }
        let halves = [f16::from_f32(3.0), f16::from_f32(-3.0)];
        assert_eq!(run("ArgMin", tensor(&[2], &halves), 0, 0), tensor(&[], &[1i64]));
    }

    #[test]
    fn an_axis_without_elements_is_refused_unless_nothing_is_asked() {
        assert!(eval("ArgMax", Attributes::new(), &[tensor::<f32>(&[0, 2], &[])]).is_err());
        let y = eval("ArgMax", Attributes::new(), &[tensor::<f32>(&[0, 0], &[])]).unwrap();
        assert_eq!(y.shape().dims(), [1, 0]);
    }

    #[test]
    fn the_axis_is_kept_or_dropped() {
        let x = shaped(DType::F32, "n, 3, s");
        let y = infer("ArgMax", Attributes::new().with("axis", 1i64), std::slice::from_ref(&x)).unwrap();
        assert_eq!(y, shaped(DType::I64, "n, 1, s"));
        assert!(infer("ArgMax", Attributes::new().with("axis", 3i64), &[x]).is_err());
    }
}
