//! `Squeeze` and `Unsqueeze`: the same elements with axes of one element taken out, or put in.
//!
//! Opsets: 1 has the axes as an attribute; 11 allows negative ones; 13 has them as an input; 21, 23, 24, 25 add dtypes.

use crate::Define;
use crate::indices::axes_mask;
use crate::symbolic::{elements, regrouped};
use planish_ir::{
    ALL_TENSORS, AttributeError, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, opt,
};
use planish_tensor::Shape;

/// `Squeeze`.
#[derive(Debug)]
pub struct Squeeze;

/// `Unsqueeze`.
#[derive(Debug)]
pub struct Unsqueeze;

impl Define for Squeeze {
    const SCHEMA: Schema = Schema::new("Squeeze", 25)
        .inputs(&[arg("data", ALL_TENSORS).var("T"), opt("axes", INT64)])
        .outputs(&[arg("squeezed", ALL_TENSORS).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Squeeze)
    }
}

impl Squeeze {
    /// For each axis, whether it is taken out; `None` where that depends on what is not known.
    fn infer_mask(x: &Facts<'_>, shape: &[Dim]) -> Result<Option<Vec<bool>>, InferError> {
        if x.has(1) {
            return x.known_ints(1).map(|axes| axes_mask(&axes, shape.len())).transpose();
        }
        let is_decided = |dim: &Dim| *dim == 1 || Dim::provably_different(dim, &Dim::known(1));
        let mask = || shape.iter().map(|dim| *dim == 1).collect();
        Ok(shape.iter().all(is_decided).then(mask))
    }
}

impl Op for Squeeze {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let Some(mask) = Squeeze::infer_mask(x, shape)? else {
            let count = elements(x, 1).map(|axes| axes.len());
            let rank = count.and_then(|count| shape.len().checked_sub(count));
            return Ok(vec![match rank {
                Some(rank) => regrouped(x.get(0), vec![Dim::unknown(); rank]),
                None => Fact::tensor(x.dtype(0)),
            }]);
        };
        let mut kept = Vec::new();
        for (axis, (dim, is_removed)) in shape.iter().zip(mask).enumerate() {
            if !is_removed {
                kept.push(dim.clone());
            } else if Dim::provably_different(dim, &Dim::known(1)) {
                return Err(InferError(format!("axis {axis} of shape {shape:?} is not of one element")));
            }
        }
        Ok(vec![regrouped(x.get(0), kept)])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let axes = inputs.opt_ints(1)?;
        let x = inputs.take_tensor(0)?;
        let mask = match axes {
            Some(axes) => axes_mask(&axes, x.rank())?,
            None => x.shape().iter().map(|&dim| dim == 1).collect(),
        };
        let kept: Vec<usize> =
            x.shape().iter().zip(mask).filter(|(_, is_removed)| !is_removed).map(|(&d, _)| d).collect();
        Ok(x.reshaped(Shape::new(&kept)?)?.into())
    }
}

impl Define for Unsqueeze {
    const SCHEMA: Schema = Schema::new("Unsqueeze", 25)
        .inputs(&[arg("data", ALL_TENSORS).var("T"), arg("axes", INT64)])
        .outputs(&[arg("expanded", ALL_TENSORS).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Unsqueeze)
    }
}

/// `dims` with a `one` wherever `axes`, counted in the result, says so.
fn unsqueezed<D: Clone>(dims: &[D], axes: &[i64], one: D) -> Result<Vec<D>, InferError> {
    let mut rest = dims.iter();
    let mask = axes_mask(axes, dims.len() + axes.len())?;
    Ok(mask.into_iter().map(|is_new| if is_new { one.clone() } else { rest.next().unwrap_or(&one).clone() }).collect())
}

impl Op for Unsqueeze {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        Ok(vec![match (x.known_ints(1), elements(x, 1)) {
            (Some(axes), _) => regrouped(x.get(0), unsqueezed(shape, &axes, Dim::known(1))?),
            (None, Some(axes)) => regrouped(x.get(0), vec![Dim::unknown(); shape.len() + axes.len()]),
            (None, None) => Fact::tensor(x.dtype(0)),
        }])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let axes = inputs.ints(1)?;
        let x = inputs.take_tensor(0)?;
        let dims = unsqueezed(x.shape(), &axes, 1)?;
        Ok(x.reshaped(Shape::new(&dims)?)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval, infer, shaped, tensor};
    use planish_ir::Attributes;
    use planish_tensor::DType;

    fn dims(name: &str, from: &[usize], axes: &[i64]) -> Option<Vec<usize>> {
        let x = tensor(from, &vec![0f32; from.iter().product()]);
        let y = eval(name, Attributes::new(), &[x, tensor(&[axes.len()], axes)]);
        y.ok().map(|y| y.shape().dims().to_vec())
    }

    #[test]
    fn axes_are_taken_out() {
        assert_eq!(dims("Squeeze", &[1, 3, 1, 5], &[0, -2]), Some(vec![3, 5]));
        assert_eq!(dims("Squeeze", &[1, 3, 1, 5], &[2]), Some(vec![1, 3, 5]));
        for wrong in [[1, 1], [0, 0], [0, 4], [0, -5]] {
            assert_eq!(dims("Squeeze", &[1, 3, 1, 5], &wrong), None, "{wrong:?}");
        }
        let y = eval("Squeeze", Attributes::new(), &[tensor(&[1, 3, 1], &[0f32; 3])]).unwrap();
        assert_eq!(y.shape().dims(), [3]);
    }

    #[test]
    fn axes_are_put_in() {
        assert_eq!(dims("Unsqueeze", &[3, 5], &[0, 3]), Some(vec![1, 3, 5, 1]));
        assert_eq!(dims("Unsqueeze", &[3, 5], &[-1, 1]), Some(vec![3, 1, 5, 1]));
        assert_eq!(dims("Unsqueeze", &[], &[0]), Some(vec![1]));
        for wrong in [[0, 0], [0, 4], [0, -5]] {
            assert_eq!(dims("Unsqueeze", &[3, 5], &wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn elements_and_symbols_are_passed_on() {
        let scalar = infer("Squeeze", Attributes::new(), &[elements("past + seq"), elements("0")]).unwrap();
        assert_eq!((scalar.rank(), scalar.elements()), (Some(0), elements("past + seq").elements()));
        let vector = infer("Unsqueeze", Attributes::new(), &[scalar, elements("0")]).unwrap();
        assert_eq!(vector, elements("past + seq"));
        let y = infer("Squeeze", Attributes::new(), &[shaped(DType::F32, "1, s, 3"), elements("?")]).unwrap();
        assert_eq!(y, shaped(DType::F32, "?, ?"));
        let y = infer("Squeeze", Attributes::new(), &[shaped(DType::F32, "1, s, 3")]).unwrap();
        assert_eq!(y.rank(), None);
    }
}
