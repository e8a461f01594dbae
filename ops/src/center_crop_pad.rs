//! `CenterCropPad`: axes cut or padded with zeros on both sides to a given length.
//!
//! Opsets: 18.

use crate::Define;
use crate::pick::{Run, everything, pick};
use crate::symbolic::elements;
use planish_ir::{
    AttributeError, AttributeKind, Axis, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, INDICES, InferError, Inputs,
    NodeView, Op, OpError, Outputs, Schema, arg, optional,
};
use planish_tensor::Shape;

/// `CenterCropPad`.
#[derive(Debug)]
pub struct CenterCropPad {
    axes: Option<Vec<Axis>>,
}

impl Define for CenterCropPad {
    const SCHEMA: Schema = Schema::new("CenterCropPad", 18)
        .inputs(&[arg("input_data", CLASSIC_TENSORS).var("T"), arg("shape", INDICES)])
        .outputs(&[arg("output_data", CLASSIC_TENSORS).var("T")])
        .attributes(&[optional("axes", AttributeKind::Ints)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(CenterCropPad { axes: node.opt_ints("axes").map(|axes| axes.iter().map(|&a| Axis::new(a)).collect()) })
    }
}

impl CenterCropPad {
    /// The axes that the `count` requested lengths belong to.
    fn axes(&self, rank: usize, count: usize) -> Result<Vec<usize>, InferError> {
        let axes = match &self.axes {
            Some(axes) => axes.iter().map(|axis| axis.resolve(rank)).collect::<Result<Vec<_>, _>>()?,
            None => (0..rank).collect(),
        };
        if axes.len() != count {
            return Err(InferError(format!("{count} lengths do not fit the {} axes", axes.len())));
        }
        Ok(axes)
    }
}

impl Op for CenterCropPad {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let Some(lengths) = elements(x, 1) else {
            return Ok(vec![Fact::shaped(x.dtype(0), vec![Dim::unknown(); shape.len()])]);
        };
        let mut dims = shape.to_vec();
        for (axis, length) in self.axes(shape.len(), lengths.len())?.into_iter().zip(lengths) {
            dims[axis] = length;
        }
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let lengths = Shape::from_i64(&inputs.ints(1)?)?;
        let mut runs = everything(x.shape());
        for (axis, &length) in self.axes(x.rank(), lengths.rank())?.into_iter().zip(lengths.iter()) {
            let dim = x.shape()[axis];
            runs[axis] = if length <= dim {
                vec![Run::range((dim - length) / 2, length)]
            } else {
                let before = (length - dim) / 2;
                vec![Run::fill(before), Run::range(0, dim), Run::fill(length - dim - before)]
            };
        }
        Ok(pick(cx, x, &runs, None)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn axes_are_cut_and_padded_around_the_middle() {
        let x = tensor(&[2, 3], &[1f32, 2., 3., 4., 5., 6.]);
        let y = eval("CenterCropPad", Attributes::new(), &[x.clone(), tensor(&[2], &[3i64, 2])]).unwrap();
        assert_eq!(y, tensor(&[3, 2], &[1f32, 2., 4., 5., 0., 0.]));
        let y = eval("CenterCropPad", Attributes::new().with("axes", vec![-1i64]), &[x.clone(), tensor(&[1], &[6i32])]);
        assert_eq!(y.unwrap(), tensor(&[2, 6], &[0f32, 1., 2., 3., 0., 0., 0., 4., 5., 6., 0., 0.]));
        assert!(eval("CenterCropPad", Attributes::new(), &[x.clone(), tensor(&[1], &[6i32])]).is_err());
        assert!(eval("CenterCropPad", Attributes::new(), &[x, tensor(&[2], &[6i64, -1])]).is_err());
    }
}
