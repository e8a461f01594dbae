//! `Expand`: a tensor repeated to the shape that it and the requested one broadcast to.
//!
//! Opsets: 8; 13 adds dtypes.

use crate::Define;
use crate::broadcast::broadcast_dims;
use crate::pick::{Run, pick};
use crate::symbolic::{elements, with_elements};
use planish_ir::{
    AttributeError, CLASSIC_TENSORS, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg,
};
use planish_tensor::{Shape, Tensor};

/// `Expand`.
#[derive(Debug)]
pub struct Expand;

impl Define for Expand {
    const SCHEMA: Schema = Schema::new("Expand", 13)
        .inputs(&[arg("input", CLASSIC_TENSORS).var("T"), arg("shape", INT64)])
        .outputs(&[arg("output", CLASSIC_TENSORS).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Expand)
    }
}

impl Op for Expand {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (Some(shape), Some(requested)) = (x.shape(0), elements(x, 1)) else {
            return Ok(vec![Fact::tensor(x.dtype(0))]);
        };
        let dims = broadcast_dims([shape, &requested])?;
        let count = match &dims[..] {
            [] => Some(1),
            [length] => length.as_known().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        let elements = x.elements(0).zip(count).map(|(elements, count)| match &elements[..] {
            [one] => vec![one.clone(); count.min(planish_ir::MAX_TRACKED_CONTENTS + 1)],
            _ => elements,
        });
        Ok(vec![with_elements(Fact::shaped(x.dtype(0), dims), elements)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, requested) = (inputs.tensor(0)?, Shape::from_i64(inputs.slice::<i64>(1)?)?);
        let shape = x.shape().broadcast(&requested);
        let shape =
            shape.ok_or_else(|| OpError::invalid(format!("shapes {} and {requested} do not broadcast", x.shape())))?;
        Ok(expand(cx, x, &shape)?.into())
    }
}

/// `x` repeated to `shape`, which it broadcasts to.
pub fn expand(cx: &EvalCx<'_>, x: &Tensor, shape: &Shape) -> Result<Tensor, OpError> {
    let missing = shape.rank().saturating_sub(x.rank());
    let dims = [&vec![1; missing][..], x.shape()].concat();
    let x = x.reshaped(Shape::new(&dims)?)?;
    let axes: Vec<Vec<Run>> = dims
        .iter()
        .zip(shape.iter())
        .map(|(&from, &to)| if from == to { vec![Run::range(0, to)] } else { vec![Run::repeated(0, to)] })
        .collect();
    pick(cx, &x, &axes, None)
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval, infer, shaped, tensor};
    use planish_ir::{Attributes, Fact};
    use planish_tensor::{DType, Tensor};

    #[test]
    fn tensors_are_repeated() {
        let x = tensor(&[2, 1], &[1u16, 2]);
        for (shape, expected) in [
            (&[3i64][..], tensor(&[2, 3], &[1u16, 1, 1, 2, 2, 2])),
            (&[1, 1], x.clone()),
            (&[2, 1, 2], tensor(&[2, 2, 2], &[1u16, 1, 2, 2, 1, 1, 2, 2])),
            (&[0], tensor(&[2, 0], &[0u16; 0])),
        ] {
            assert_eq!(eval("Expand", Attributes::new(), &[x.clone(), Tensor::vector(shape)]).unwrap(), expected);
        }
        for wrong in [&[3i64, 1][..], &[-1], &[i64::MAX, i64::MAX, 1, 1]] {
            assert!(eval("Expand", Attributes::new(), &[x.clone(), Tensor::vector(wrong)]).is_err());
        }
    }

    #[test]
    fn symbols_and_elements_are_repeated() {
        let facts = [shaped(DType::F32, "1, 1, s"), elements("b, 1, 1")];
        assert_eq!(infer("Expand", Attributes::new(), &facts).unwrap(), shaped(DType::F32, "b, 1, s"));
        let facts = [Fact::integers(DType::I64, true, vec![planish_ir::Dim::symbol("s")]), elements("2")];
        assert_eq!(infer("Expand", Attributes::new(), &facts).unwrap(), elements("s, s"));
    }
}
