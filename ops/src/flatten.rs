//! `Flatten`: the same elements under two axes, the product of the dimensions before `axis` and that of the others.
//!
//! Opsets: 1; 9 adds dtypes; 11 allows a negative `axis`; 13, 21, 23, 24, 25 add dtypes.

use crate::Define;
use crate::symbolic::regrouped;
use planish_ir::{
    ALL_TENSORS, AttributeError, Axis, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, int,
};
use planish_tensor::Shape;

/// `Flatten`.
#[derive(Debug)]
pub struct Flatten {
    axis: Axis,
}

impl Define for Flatten {
    const SCHEMA: Schema = Schema::new("Flatten", 25)
        .inputs(&[arg("input", ALL_TENSORS).var("T")])
        .outputs(&[arg("output", ALL_TENSORS).var("T")])
        .attributes(&[int("axis", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Flatten { axis: Axis::new(node.int("axis")?) })
    }
}

impl Op for Flatten {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else {
            return Ok(vec![Fact::shaped(x.dtype(0), vec![Dim::unknown(); 2])]);
        };
        let (outer, inner) = shape.split_at(self.axis.resolve_inclusive(shape.len())?);
        Ok(vec![regrouped(x.get(0), vec![outer.iter().product(), inner.iter().product()])])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.take_tensor(0)?;
        let (outer, inner) = x.shape().split_at(self.axis.resolve_inclusive(x.rank())?);
        Ok(x.reshaped(Shape::new(&[outer, inner])?)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn axes_are_merged_around_one() {
        for (axis, expected) in [(0i64, [1, 24]), (1, [2, 12]), (3, [24, 1]), (-1, [6, 4])] {
            let y = eval("Flatten", Attributes::new().with("axis", axis), &[tensor(&[2, 3, 4], &[0f32; 24])]).unwrap();
            assert_eq!(y.shape().dims(), expected);
        }
        assert_eq!(
            eval("Flatten", Attributes::new().with("axis", 0i64), &[tensor(&[], &[0f32])]).unwrap().shape().dims(),
            [1, 1]
        );
        assert!(eval("Flatten", Attributes::new().with("axis", 2i64), &[tensor(&[2], &[0f32; 2])]).is_err());
    }
}
