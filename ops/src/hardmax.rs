//! `Hardmax`: 1 for the first greatest element along an axis, 0 for the others.
//!
//! Opsets: 1 and 11 flatten the input to two axes at `axis` (default 1); 13 works along one axis (default −1).

use crate::Define;
use crate::arg_reduce::{Which, positions};
use crate::dtypes::{Number, for_float};
use crate::fold::Fold;
use planish_ir::{
    AttributeError, Axis, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, arg,
    int,
};
use planish_tensor::Tensor;

/// `Hardmax`.
#[derive(Debug)]
pub struct Hardmax {
    axis: Axis,
}

impl Define for Hardmax {
    const SCHEMA: Schema = Schema::new("Hardmax", 13)
        .inputs(&[arg("input", FLOATS).var("T")])
        .outputs(&[arg("output", FLOATS).var("T")])
        .attributes(&[int("axis", -1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Hardmax { axis: Axis::new(node.int("axis")?) })
    }
}

impl Op for Hardmax {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let Some(rank) = x.rank(0) {
            self.axis.resolve(rank)?;
        }
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let axis = self.axis.resolve(x.rank())?;
        let y: Result<Tensor, OpError> = for_float!(x.dtype(), T => hardmax::<T>(cx, x, axis));
        Ok(y?.into())
    }
}

fn hardmax<T: Number>(cx: &EvalCx<'_>, x: &Tensor, axis: usize) -> Result<Tensor, OpError> {
    let mut y = cx.zeros::<T>(x.shape().clone())?;
    if y.is_empty() {
        return Ok(y.freeze());
    }
    let (length, inner) = (x.shape()[axis], x.shape().split_at(axis + 1).1);
    let greatest = positions(cx, Fold::Max, x, axis, Which::First)?;
    for (i, &k) in greatest.iter().enumerate() {
        y[(i / inner * length + k as usize) * inner + i % inner] = T::ONE;
    }
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn the_first_greatest_is_one() {
        let x = tensor(&[2, 3], &[3f32, 5., 5., 4., 1., 2.]);
        let y = eval("Hardmax", Attributes::new(), std::slice::from_ref(&x)).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[0f32, 1., 0., 1., 0., 0.]));
        let y = eval("Hardmax", Attributes::new().with("axis", 0i64), &[x]).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[0f32, 1., 1., 1., 0., 0.]));
        let empty = tensor::<f64>(&[2, 0], &[]);
        assert_eq!(eval("Hardmax", Attributes::new(), std::slice::from_ref(&empty)).unwrap(), empty);
    }
}
