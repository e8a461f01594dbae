//! `Compress`: the slices along an axis, or the elements of the flattened input, for which a condition holds.
//!
//! Opsets: 9; 11 allows a negative `axis`; 28 adds dtypes.

use crate::Define;
use crate::gather::gather;
use planish_ir::{
    AttributeError, AttributeKind, Axis, BOOL, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView,
    Op, OpError, Outputs, Schema, arg, optional,
};
use planish_tensor::Shape;

/// `Compress`.
#[derive(Debug)]
pub struct Compress {
    axis: Option<Axis>,
}

impl Define for Compress {
    const SCHEMA: Schema = Schema::new("Compress", 28)
        .inputs(&[arg("input", CLASSIC_TENSORS).var("T"), arg("condition", BOOL)])
        .outputs(&[arg("output", CLASSIC_TENSORS).var("T")])
        .attributes(&[optional("axis", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Compress { axis: node.opt_int("axis").map(Axis::new) })
    }
}

impl Op for Compress {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let count = match x.constant(1).and_then(|c| c.as_slice::<bool>().ok()) {
            Some(condition) => Dim::known(condition.iter().filter(|&&holds| holds).count() as i64),
            None => Dim::unknown(),
        };
        let Some(axis) = self.axis else { return Ok(vec![Fact::shaped(x.dtype(0), vec![count])]) };
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let mut dims = shape.to_vec();
        dims[axis.resolve(shape.len())?] = count;
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let mut x = inputs.take_tensor(0)?;
        let condition = inputs.slice::<bool>(1)?;
        let rank = inputs.tensor(1)?.rank();
        if rank != 1 {
            return Err(OpError::invalid(format!("the condition: expected rank 1, got {rank}")));
        }
        let axis = match self.axis {
            Some(axis) => axis.resolve(x.rank())?,
            None => {
                x = x.reshaped(Shape::new(&[x.num_elements()])?)?;
                0
            }
        };
        let _charged = cx.memory.reserve(condition.len().saturating_mul(size_of::<usize>()))?;
        let chosen: Vec<usize> = (0..condition.len()).filter(|&i| condition[i]).collect();
        let length = x.shape()[axis];
        if chosen.last().is_some_and(|&last| last >= length) {
            return Err(OpError::invalid(format!("the condition holds beyond the axis' {length} elements")));
        }
        Ok(gather(cx, &x, axis, chosen)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn what_holds_is_kept() {
        let x = tensor(&[3, 2], &[1f32, 2., 3., 4., 5., 6.]);
        let rows =
            eval("Compress", Attributes::new().with("axis", 0i64), &[x.clone(), tensor(&[3], &[false, true, true])]);
        assert_eq!(rows.unwrap(), tensor(&[2, 2], &[3f32, 4., 5., 6.]));
        let columns =
            eval("Compress", Attributes::new().with("axis", -1i64), &[x.clone(), tensor(&[2], &[false, true])]);
        assert_eq!(columns.unwrap(), tensor(&[3, 1], &[2f32, 4., 6.]));
        let flat = eval("Compress", Attributes::new(), &[x.clone(), tensor(&[5], &[false, true, false, false, true])]);
        assert_eq!(flat.unwrap(), tensor(&[2], &[2f32, 5.]));
        let none = eval("Compress", Attributes::new(), &[x.clone(), tensor(&[0], &[false; 0])]);
        assert_eq!(none.unwrap().shape().dims(), [0]);
        assert!(eval("Compress", Attributes::new(), &[x, tensor(&[7], &[true; 7])]).is_err());
    }
}
