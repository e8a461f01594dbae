//! `ConcatFromSequence` and `SplitToSequence`: from a sequence to one tensor and back.
//!
//! Opsets: 11; `SplitToSequence` 24 adds dtypes.

use crate::Define;
use crate::concat::concat;
use crate::pick::{Run, everything, pick};
use crate::sequence::{item_type, take_sequence};
use crate::split::given_lengths;
use planish_ir::{
    AttributeError, AttributeKind, Axis, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, INDICES, InferError, Inputs,
    NodeView, Op, OpError, Outputs, Schema, Type, Types, arg, int, opt, required,
};
use planish_tensor::{Sequence, Shape, Tensor, Value, ValueType};
use std::sync::Arc;

/// `ConcatFromSequence`.
#[derive(Debug)]
pub struct ConcatFromSequence {
    axis: Axis,
    /// Whether the tensors are stacked along a new axis.
    is_new_axis: bool,
}

impl Define for ConcatFromSequence {
    const SCHEMA: Schema = Schema::new("ConcatFromSequence", 11)
        .inputs(&[arg("input_sequence", Types::SEQUENCE)])
        .outputs(&[arg("concat_result", CLASSIC_TENSORS)])
        .attributes(&[required("axis", AttributeKind::Int), int("new_axis", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(ConcatFromSequence { axis: Axis::new(node.int("axis")?), is_new_axis: node.flag("new_axis")? })
    }
}

impl Op for ConcatFromSequence {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let item = item_type(x, 0)?;
        let Some(shape) = item.shape() else { return Ok(vec![Fact::tensor(item.dtype())]) };
        let mut dims = shape.to_vec();
        if self.is_new_axis {
            dims.insert(self.axis.resolve_inclusive(shape.len() + 1)?.min(shape.len()), Dim::unknown());
        } else {
            dims[self.axis.resolve(shape.len())?] = Dim::unknown();
        }
        Ok(vec![Fact::shaped(item.dtype(), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let sequence = take_sequence(&mut inputs, 0)?;
        let tensors: Option<Vec<&Tensor>> = sequence.items.iter().map(Value::as_tensor).collect();
        let tensors = tensors.ok_or_else(|| OpError::invalid("the sequence does not hold tensors"))?;
        if !self.is_new_axis {
            return Ok(concat(cx, &tensors, self.axis)?.into());
        }
        let stacked = tensors.iter().map(|t| {
            let mut dims = t.shape().to_vec();
            dims.insert(self.axis.resolve(dims.len() + 1)?, 1);
            Ok(t.reshaped(Shape::new(&dims)?)?)
        });
        let stacked = stacked.collect::<Result<Vec<Tensor>, OpError>>()?;
        Ok(concat(cx, &stacked.iter().collect::<Vec<_>>(), self.axis)?.into())
    }
}

/// `SplitToSequence`.
#[derive(Debug)]
pub struct SplitToSequence {
    axis: Axis,
    keep_dims: bool,
}

impl Define for SplitToSequence {
    const SCHEMA: Schema = Schema::new("SplitToSequence", 24)
        .inputs(&[arg("input", CLASSIC_TENSORS), opt("split", INDICES)])
        .outputs(&[arg("output_sequence", Types::SEQUENCE)])
        .attributes(&[int("axis", 0), int("keepdims", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SplitToSequence { axis: Axis::new(node.int("axis")?), keep_dims: node.flag("keepdims")? })
    }
}

impl Op for SplitToSequence {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let item = match x.shape(0) {
            None => Fact::tensor(x.dtype(0)),
            Some(shape) => {
                let axis = self.axis.resolve(shape.len())?;
                let mut dims = shape.to_vec();
                if x.has(1) {
                    dims[axis] = Dim::unknown();
                } else if self.keep_dims {
                    dims[axis] = Dim::known(1);
                } else {
                    dims.remove(axis);
                }
                Fact::shaped(x.dtype(0), dims)
            }
        };
        Ok(vec![Fact::of_type(Type::Sequence(Box::new(item.ty)))])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let axis = self.axis.resolve(x.rank())?;
        let dim = x.shape()[axis];
        let (part, lengths) = match inputs.opt_tensor(1)?.map(Tensor::rank) {
            None => (Some(1), Vec::new()),
            Some(0) => (usize::try_from(inputs.int(1)?).ok().filter(|&part| part > 0), Vec::new()),
            Some(_) => (None, given_lengths(&inputs.ints(1)?, dim)?),
        };
        if part.is_none() && inputs.opt_tensor(1)?.is_some_and(|t| t.rank() == 0) {
            return Err(OpError::invalid("the length of each part is not positive"));
        }
        let count = part.map_or(lengths.len(), |part| dim.div_ceil(part));
        let _charged = cx.memory.reserve(count.saturating_mul(size_of::<Value>()))?;
        let lengths = part.map_or(lengths, |part| (0..count).map(|i| part.min(dim - i * part)).collect());
        let remove_axis = !self.keep_dims && !inputs.has(1);
        let items = parts(cx, x, axis, &lengths, remove_axis)?;
        Ok(Value::Sequence(Sequence { element: ValueType::Tensor(x.dtype()), items: Arc::new(items) }).into())
    }
}

/// The parts of `lengths` of the axis, one behind the other; without the axis, of one element then, if so asked.
fn parts(
    cx: &EvalCx<'_>,
    x: &Tensor,
    axis: usize,
    lengths: &[usize],
    remove_axis: bool,
) -> Result<Vec<Value>, OpError> {
    let mut runs = everything(x.shape());
    let mut start = 0;
    let mut items = Vec::with_capacity(lengths.len());
    for &length in lengths {
        cx.check()?;
        runs[axis] = vec![Run::range(start, length)];
        start += length;
        let mut part = pick(cx, x, &runs, None)?;
        if remove_axis {
            let mut dims = part.shape().to_vec();
            dims.remove(axis);
            part = part.reshaped(Shape::new(&dims)?)?;
        }
        items.push(Value::Tensor(part));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_values, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::{Tensor, Value};

    fn split(attributes: Attributes, x: &Tensor, split: Option<Tensor>) -> Result<Value, OpError> {
        let inputs = [Some(Value::Tensor(x.clone())), split.map(Value::Tensor)];
        Ok(eval_values("", "SplitToSequence", attributes, &inputs, 1)?.remove(0))
    }

    fn shapes(value: &Value) -> Vec<Vec<usize>> {
        let Value::Sequence(sequence) = value else { panic!("a sequence") };
        sequence.items.iter().map(|item| item.as_tensor().unwrap().shape().to_vec()).collect()
    }

    #[test]
    fn tensors_are_split_and_put_together() {
        let x = tensor(&[3, 2], &[1f32, 2., 3., 4., 5., 6.]);
        let rows = split(Attributes::new(), &x, None).unwrap();
        assert_eq!(shapes(&rows), [[1, 2], [1, 2], [1, 2]]);
        let bare = split(Attributes::new().with("keepdims", 0i64), &x, None).unwrap();
        assert_eq!(shapes(&bare), [[2], [2], [2]]);
        assert_eq!(shapes(&split(Attributes::new(), &x, Some(Tensor::scalar(2i64))).unwrap()), [[2, 2], [1, 2]]);
        let given = split(Attributes::new(), &x, Some(tensor(&[2], &[1i32, 2]))).unwrap();
        assert_eq!(shapes(&given), [[1, 2], [2, 2]]);
        for wrong in [Tensor::scalar(0i64), tensor(&[2], &[1i64, 1])] {
            assert!(split(Attributes::new(), &x, Some(wrong)).is_err());
        }
        let concat = |axis: i64, new: i64, sequence: &Value| {
            let attributes = Attributes::new().with("axis", axis).with("new_axis", new);
            eval_values("", "ConcatFromSequence", attributes, &[Some(sequence.clone())], 1).map(|mut y| y.remove(0))
        };
        assert_eq!(concat(0, 0, &given).unwrap(), Value::Tensor(x.clone()));
        assert_eq!(concat(-2, 1, &bare).unwrap(), Value::Tensor(x));
        assert!(concat(3, 1, &bare).is_err());
    }
}
