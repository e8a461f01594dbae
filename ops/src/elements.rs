//! `GatherElements`, `ScatterElements`: one index an element, along one axis.
//!
//! gather: y\[i, j, k\] = x\[index\[i, j, k\], j, k\] for axis 0; scatter: y = x, then y\[index\[i, j, k\], j, k\] ⊕= u\[i, j, k\].
//!
//! Opsets: `GatherElements` 11, 13 adds dtypes. `ScatterElements` 11; 13 adds dtypes; 16 adds `reduction` none, add, mul;
//! 18 adds max and min. `Scatter` of opset 9 is `ScatterElements` by another name.

use crate::Define;
use crate::dtypes::{Number, for_dtypes};
use crate::movement::{Movement, move_elements};
use planish_ir::{
    ALL_TENSORS, AttributeError, Axis, BOOL, EvalCx, Fact, Facts, INDICES, InferError, Inputs, NUMERIC, NodeView, Op,
    OpError, Outputs, Schema, Types, arg, int, string,
};
use planish_tensor::{DType, Element, Shape, Tensor};

/// `GatherElements`.
#[derive(Debug)]
pub struct GatherElements {
    axis: Axis,
}

impl Define for GatherElements {
    const SCHEMA: Schema = Schema::new("GatherElements", 13)
        .inputs(&[arg("data", ALL_TENSORS).var("T"), arg("indices", INDICES)])
        .outputs(&[arg("output", ALL_TENSORS).var("T")])
        .attributes(&[int("axis", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(GatherElements { axis: Axis::new(node.int("axis")?) })
    }
}

impl Op for GatherElements {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let Some(rank) = x.rank(0) {
            self.axis.resolve(rank)?;
        }
        Ok(vec![match x.shape(1) {
            Some(shape) => Fact::shaped(x.dtype(0), shape.to_vec()),
            None => Fact::tensor(x.dtype(0)),
        }])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let positions = Positions::new(x, indices, &inputs.ints(1)?, self.axis)?;
        Ok(move_elements(cx, &[x], indices.shape().clone(), &positions)?.into())
    }
}

/// For each element of the indices, the position in the data that it names.
pub struct Positions(Vec<usize>);

impl Positions {
    fn new(x: &Tensor, indices: &Tensor, given: &[i64], axis: Axis) -> Result<Positions, OpError> {
        let axis = axis.resolve(x.rank())?;
        let fits = indices.rank() == x.rank()
            && indices.shape().iter().zip(x.shape().iter()).enumerate().all(|(a, (i, d))| a == axis || i <= d);
        if !fits {
            let message = format!("indices of shape {} do not fit data of shape {}", indices.shape(), x.shape());
            return Err(OpError::Invalid(message));
        }
        let strides = x.shape().strides();
        let mut positions = Vec::with_capacity(given.len());
        let mut walk = Odometer::new(indices.shape());
        for &index in given {
            let along = in_range(index, x.shape()[axis])?;
            let place = walk.index.iter().zip(&strides).enumerate();
            positions.push(place.map(|(a, (&i, &stride))| stride * if a == axis { along } else { i }).sum());
            walk.advance();
        }
        Ok(Positions(positions))
    }
}

/// An index counted from the front, or from the back if negative, of an axis of `dim` elements.
pub fn in_range(index: i64, dim: usize) -> Result<usize, OpError> {
    let counted = if index < 0 { index.checked_add(dim as i64) } else { Some(index) };
    let found = counted.and_then(|i| usize::try_from(i).ok()).filter(|&i| i < dim);
    found.ok_or_else(|| OpError::invalid(format!("index {index} is out of range for an axis of {dim} elements")))
}

/// All indices of a shape, last axis fastest.
pub struct Odometer<'a> {
    dims: &'a [usize],
    /// The index it stands at.
    pub index: Vec<usize>,
}

impl<'a> Odometer<'a> {
    /// At the first index.
    pub fn new(dims: &'a [usize]) -> Odometer<'a> {
        Odometer { dims, index: vec![0; dims.len()] }
    }

    /// One index on.
    pub fn advance(&mut self) {
        for (index, &dim) in self.index.iter_mut().zip(self.dims).rev() {
            *index += 1;
            if *index < dim {
                return;
            }
            *index = 0;
        }
    }
}

impl Movement for Positions {
    fn apply<T: Clone + Send + Sync>(
        &self,
        _cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        for (y, &position) in target.iter_mut().zip(&self.0) {
            y.clone_from(&sources[0][position]);
        }
        Ok(())
    }
}

/// How an update meets what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// It takes its place; of several updates of one element, the last.
    None,
    /// The sum.
    Add,
    /// The product.
    Mul,
    /// The greater.
    Max,
    /// The smaller.
    Min,
}

/// What has sums and an order; of bools, these are "or" and "and".
const REDUCED: Types = NUMERIC.or(BOOL);

impl Reduction {
    /// The reduction that the attribute `reduction` names.
    pub fn parse(node: &NodeView<'_>) -> Result<Reduction, AttributeError> {
        let choices = [
            ("none", Reduction::None),
            ("add", Reduction::Add),
            ("mul", Reduction::Mul),
            ("max", Reduction::Max),
            ("min", Reduction::Min),
        ];
        node.choice("reduction", &choices)
    }

    /// An error where elements of a dtype cannot be reduced.
    pub fn check(self, dtype: Option<DType>) -> Result<(), InferError> {
        match dtype.filter(|&dtype| self != Reduction::None && !REDUCED.contains(dtype)) {
            Some(dtype) => Err(InferError(format!("attribute \"reduction\": elements of {dtype} cannot be reduced"))),
            None => Ok(()),
        }
    }

    fn meet<T: Number>(self, old: T, update: T) -> T {
        match self {
            Reduction::None => update,
            Reduction::Add => old.add(update),
            Reduction::Mul => old.mul(update),
            Reduction::Max => old.max(update),
            Reduction::Min => old.min(update),
        }
    }
}

/// Copies of `block` elements of the updates, met with the data at `positions`.
pub struct Scatter {
    /// Where in the data each block begins.
    pub positions: Vec<usize>,
    /// The elements of a block.
    pub block: usize,
}

impl Movement for Scatter {
    fn apply<T: Clone + Send + Sync>(
        &self,
        _cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        target.clone_from_slice(sources[0]);
        for (i, &position) in self.positions.iter().enumerate() {
            let update = &sources[1][i * self.block..(i + 1) * self.block];
            target[position..position + self.block].clone_from_slice(update);
        }
        Ok(())
    }
}

impl Scatter {
    /// The data with all updates met. `updates` holds one block for each position.
    pub fn eval(
        &self,
        cx: &EvalCx<'_>,
        data: Tensor,
        updates: &Tensor,
        reduction: Reduction,
    ) -> Result<Tensor, OpError> {
        if updates.dtype() != data.dtype() {
            let message = format!("updates of {} do not fit data of {}", updates.dtype(), data.dtype());
            return Err(OpError::Invalid(message));
        }
        if reduction == Reduction::None {
            let shape = data.shape().clone();
            return move_elements(cx, &[&data, updates], shape, self);
        }
        if data.dtype() == DType::Bool {
            return self.reduce::<bool>(cx, data, updates, |old, update| match reduction {
                Reduction::Add | Reduction::Max => old | update,
                _ => old & update,
            });
        }
        for_dtypes!(data.dtype(), T => self.reduce::<T>(cx, data, updates, |a, b| reduction.meet(a, b)), [
            F32 = f32, F64 = f64, F16 = planish_tensor::f16, BF16 = planish_tensor::bf16,
            U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
        ])
    }

    fn reduce<T: Element>(
        &self,
        cx: &EvalCx<'_>,
        data: Tensor,
        updates: &Tensor,
        meet: impl Fn(T, T) -> T,
    ) -> Result<Tensor, OpError> {
        let mut y = match data.try_into_mut::<T>() {
            Ok(y) => y,
            Err(data) => {
                let mut y = cx.uninit::<T>(data.shape().clone())?;
                y.copy_from_slice(data.as_slice()?);
                y
            }
        };
        let updates = updates.as_slice::<T>()?;
        for (i, &position) in self.positions.iter().enumerate() {
            let target = &mut y[position..position + self.block];
            let update = &updates[i * self.block..(i + 1) * self.block];
            target.iter_mut().zip(update).for_each(|(old, &u)| *old = meet(*old, u));
        }
        Ok(y.freeze())
    }
}

/// `ScatterElements`.
#[derive(Debug)]
pub struct ScatterElements {
    axis: Axis,
    reduction: Reduction,
}

impl Define for ScatterElements {
    const SCHEMA: Schema = Schema::new("ScatterElements", 18)
        .inputs(&[arg("data", ALL_TENSORS).var("T"), arg("indices", INDICES), arg("updates", ALL_TENSORS).var("T")])
        .outputs(&[arg("output", ALL_TENSORS).var("T")])
        .attributes(&[int("axis", 0), string("reduction", "none")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(ScatterElements { axis: Axis::new(node.int("axis")?), reduction: Reduction::parse(node)? })
    }
}

impl Op for ScatterElements {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.reduction.check(x.dtype(0))?;
        if let Some(rank) = x.rank(0) {
            self.axis.resolve(rank)?;
        }
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let data = inputs.take_tensor(0)?;
        let (indices, updates) = (inputs.tensor(1)?, inputs.tensor(2)?);
        same_shape(indices.shape(), updates.shape())?;
        let Positions(positions) = Positions::new(&data, indices, &inputs.ints(1)?, self.axis)?;
        Ok(Scatter { positions, block: 1 }.eval(cx, data, updates, self.reduction)?.into())
    }
}

fn same_shape(indices: &Shape, updates: &Shape) -> Result<(), OpError> {
    if indices == updates {
        return Ok(());
    }
    Err(OpError::invalid(format!("updates of shape {updates} do not fit indices of shape {indices}")))
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn elements_are_gathered_along_the_axis() {
        let x = tensor(&[2, 2], &[1f32, 2., 3., 4.]);
        let indices = tensor(&[2, 2], &[0i64, 0, -1, 0]);
        let y = eval("GatherElements", Attributes::new().with("axis", 1i64), &[x, indices]).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[1f32, 1., 4., 3.]));
    }

    #[test]
    fn updates_meet_what_is_there() {
        for (reduction, expected) in [("none", 5), ("add", 2 + 7 + 5), ("mul", 70), ("max", 7), ("min", 2)] {
            let inputs = [tensor(&[3], &[1i32, 2, 3]), tensor(&[2], &[1i64, 1]), tensor(&[2], &[7i32, 5])];
            let y = eval("ScatterElements", Attributes::new().with("reduction", reduction), &inputs).unwrap();
            assert_eq!(y.as_slice::<i32>().unwrap(), [1, expected, 3], "{reduction}");
        }
    }

    #[test]
    fn an_index_out_of_range_is_refused() {
        let inputs = [tensor(&[3], &[1i32, 2, 3]), tensor(&[1], &[3i64])];
        assert!(eval("GatherElements", Attributes::new(), &inputs).is_err());
    }
}
