//! `CumSum`, `CumProd`: sums and products of an element and all before it along an axis; `reverse` begins at the end,
//! `exclusive` leaves the element itself out. Integers wrap.
//!
//! Opsets: CumSum 11; 14 adds bfloat16 and float16. CumProd 26.

use crate::Define;
use crate::dtypes::{Number, for_dtypes};
use crate::half::widened;
use crate::parallel;
use planish_ir::{
    AttributeError, Axis, EvalCx, FLOATS, Fact, Facts, INDICES, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, int,
};
use planish_tensor::{DType, Tensor};
use std::marker::PhantomData;

/// `CumSum`.
pub type CumSum = Cumulative<Sum>;
/// `CumProd`.
pub type CumProd = Cumulative<Product>;

/// A running total of one kind.
#[derive(Debug)]
pub struct Cumulative<K> {
    direction: Direction,
    is_exclusive: bool,
    kind: PhantomData<K>,
}

/// Which end an axis is walked from.
#[derive(Clone, Copy, Debug)]
enum Direction {
    Forward,
    Reverse,
}

/// What sets one such operator apart.
pub trait Kind: std::fmt::Debug + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// The opset version of its newest form.
    const SINCE: u32;
    /// The total of nothing.
    fn neutral<T: Number>() -> T;
    /// The total with one more element.
    fn step<T: Number>(total: T, x: T) -> T;
}

/// Running sums.
#[derive(Debug)]
pub struct Sum;

/// Running products.
#[derive(Debug)]
pub struct Product;

impl Kind for Sum {
    const NAME: &'static str = "CumSum";
    const SINCE: u32 = 14;
    fn neutral<T: Number>() -> T {
        T::ZERO
    }
    #[inline(always)]
    fn step<T: Number>(total: T, x: T) -> T {
        total.add(x)
    }
}

impl Kind for Product {
    const NAME: &'static str = "CumProd";
    const SINCE: u32 = 26;
    fn neutral<T: Number>() -> T {
        T::ONE
    }
    #[inline(always)]
    fn step<T: Number>(total: T, x: T) -> T {
        total.mul(x)
    }
}

const TYPES: Types = FLOATS.or(Types::of(&[DType::I32, DType::I64, DType::U32, DType::U64]));

impl<K: Kind> Define for Cumulative<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, K::SINCE)
        .inputs(&[arg("x", TYPES).var("T"), arg("axis", INDICES).var("T2")])
        .outputs(&[arg("y", TYPES).var("T")])
        .attributes(&[int("exclusive", 0), int("reverse", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let direction = if node.flag("reverse")? { Direction::Reverse } else { Direction::Forward };
        Ok(Cumulative { direction, is_exclusive: node.flag("exclusive")?, kind: PhantomData })
    }
}

impl<K: Kind> Op for Cumulative<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let (Some(rank), Some([axis])) = (x.rank(0), x.known_ints(1).as_deref()) {
            Axis::new(*axis).resolve(rank)?;
        }
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, mut inputs| {
            let x = inputs.take_tensor(0)?;
            let axis = Axis::new(inputs.int(1)?).resolve(x.rank())?;
            let y: Result<Tensor, OpError> = for_dtypes!(x.dtype(), T => self.run::<T>(cx, x, axis), [
                F32 = f32, F64 = f64, I32 = i32, I64 = i64, U32 = u32, U64 = u64,
            ]);
            Ok(y?.into())
        })
    }
}

impl<K: Kind> Cumulative<K> {
    /// Works in place, of a copy where `x` is read again.
    fn run<T: Number>(&self, cx: &EvalCx<'_>, x: Tensor, axis: usize) -> Result<Tensor, OpError> {
        let (length, inner) = (x.shape()[axis], x.shape().split_at(axis + 1).1);
        let mut y = match x.try_into_mut::<T>() {
            Ok(y) => y,
            Err(shared) => {
                let mut y = cx.uninit::<T>(shared.shape().clone())?;
                y.copy_from_slice(shared.as_slice()?);
                y
            }
        };
        parallel::fill_units(cx, &mut y, length * inner, 1.0, |_, y| {
            for block in y.chunks_exact_mut(length * inner) {
                if self.is_exclusive {
                    self.shift(block, inner);
                }
                self.accumulate(block, inner);
            }
        })?;
        Ok(y.freeze())
    }

    /// Moves each row of `inner` elements on by one place; the neutral value comes in.
    fn shift<T: Number>(&self, block: &mut [T], inner: usize) {
        let rest = block.len() - inner;
        match self.direction {
            Direction::Forward => {
                block.copy_within(..rest, inner);
                block[..inner].fill(K::neutral());
            }
            Direction::Reverse => {
                block.copy_within(inner.., 0);
                block[rest..].fill(K::neutral());
            }
        }
    }

    /// Adds each row of `inner` elements, as it then is, to the next.
    fn accumulate<T: Number>(&self, block: &mut [T], inner: usize) {
        let add = |totals: &[T], row: &mut [T]| row.iter_mut().zip(totals).for_each(|(y, &t)| *y = K::step(t, *y));
        let starts = (inner..block.len()).step_by(inner);
        match self.direction {
            Direction::Forward => starts.for_each(|start| {
                let (done, rest) = block.split_at_mut(start);
                add(&done[start - inner..], &mut rest[..inner]);
            }),
            Direction::Reverse => starts.rev().for_each(|start| {
                let (rest, done) = block.split_at_mut(start);
                add(&done[..inner], &mut rest[start - inner..]);
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::f16;

    #[test]
    fn totals_run_either_way_with_or_without_the_element() {
        let axis = tensor(&[], &[1i32]);
        for (is_exclusive, is_reverse, sums, products) in [
            (0i64, 0i64, [2f32, 5., 9.], [2f32, 6., 24.]),
            (1, 0, [0., 2., 5.], [1., 2., 6.]),
            (0, 1, [9., 7., 4.], [24., 12., 4.]),
            (1, 1, [7., 4., 0.], [12., 4., 1.]),
        ] {
            let attributes = || Attributes::new().with("exclusive", is_exclusive).with("reverse", is_reverse);
            let along_rows = [tensor(&[2, 3], &[2f32, 3., 4.].repeat(2)), axis.clone()];
            let y = eval("CumSum", attributes(), &along_rows).unwrap();
            assert_eq!(y, tensor(&[2, 3], &sums.repeat(2)));
            let y = eval("CumProd", attributes(), &along_rows).unwrap();
            assert_eq!(y, tensor(&[2, 3], &products.repeat(2)));
            let down_columns = [tensor(&[3, 2], &[2f32, 2., 3., 3., 4., 4.]), tensor(&[], &[-2i64])];
            let y = eval("CumSum", attributes(), &down_columns).unwrap();
            assert_eq!(y, tensor(&[3, 2], &sums.map(|v| [v, v]).concat()));
        }
    }

    #[test]
    fn integers_wrap_halves_round_once_and_nothing_stays_nothing() {
        let run = |x| eval("CumSum", Attributes::new(), &[x, tensor(&[], &[0i64])]).unwrap();
        assert_eq!(run(tensor(&[2], &[i32::MAX, 1])), tensor(&[2], &[i32::MAX, i32::MIN]));
        let halves = |values: &[f32]| values.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>();
        let y = run(tensor(&[3], &halves(&[2048., 1., 1.])));
        assert_eq!(y, tensor(&[3], &halves(&[2048., 2048., 2050.])));
        assert_eq!(run(tensor::<f32>(&[0, 2], &[])), tensor::<f32>(&[0, 2], &[]));
        assert_eq!(run(tensor::<f32>(&[2, 0], &[])), tensor::<f32>(&[2, 0], &[]));
    }

    #[test]
    fn an_axis_out_of_range_is_refused() {
        let wrong = [tensor(&[2], &[1f32, 2.]), tensor(&[], &[1i64])];
        assert!(eval("CumSum", Attributes::new(), &wrong).is_err());
    }
}
