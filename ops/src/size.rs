//! `Size`: the number of elements of a tensor, an `int64` scalar.
//!
//! Opsets: 1; 13, 19, 21, 23, 24, 25 add dtypes.

use crate::Define;
use planish_ir::{
    ALL_TENSORS, AttributeError, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg,
};
use planish_tensor::{DType, Shape};

/// `Size`.
#[derive(Debug)]
pub struct Size;

impl Define for Size {
    const SCHEMA: Schema =
        Schema::new("Size", 25).inputs(&[arg("data", ALL_TENSORS).var("T")]).outputs(&[arg("size", INT64)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Size)
    }
}

impl Op for Size {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![match x.shape(0) {
            Some(dims) => Fact::integers(DType::I64, true, vec![dims.iter().product()]),
            None => Fact::shaped(Some(DType::I64), Vec::new()),
        }])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(cx.tensor(Shape::scalar(), &[inputs.tensor(0)?.num_elements() as i64])?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn elements_are_counted() {
        for (dims, expected) in [(&[2usize, 3][..], 6i64), (&[0, 3], 0), (&[], 1)] {
            let x = tensor(dims, &vec![0f32; dims.iter().product()]);
            assert_eq!(eval("Size", Attributes::new(), &[x]).unwrap(), tensor(&[], &[expected]));
        }
    }
}
