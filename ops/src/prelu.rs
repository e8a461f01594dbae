//! `PRelu`: x where x ≥ 0, slope · x elsewhere; the slope broadcasts to the shape of x, not the other way.
//!
//! Opsets: 1 and 6 broadcast the slope along the second axis, which the importer writes as an Unsqueeze; 7 broadcasts as
//! here; 9 and 16 add dtypes.

use crate::Define;
use crate::arithmetic::{Function, apply};
use crate::broadcast::{broadcast_inputs, broadcast_shapes};
use crate::dtypes::Number;
use crate::elementwise::take_two;
use planish_ir::{
    AttributeError, EvalCx, FLOATS, Fact, Facts, INDICES, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema,
    Types, arg,
};
use planish_kernels::elementwise as kernels;
use planish_tensor::DType;

const TYPES: Types = FLOATS.or(INDICES).or(Types::of(&[DType::U32, DType::U64]));

/// `PRelu`.
#[derive(Debug)]
pub struct PRelu;

impl Function for PRelu {
    const KERNEL: kernels::Binary = kernels::Binary::PRelu;
    #[inline(always)]
    fn apply<T: Number>(x: T, slope: T) -> T {
        if x < T::ZERO { x.mul(slope) } else { x }
    }
}

impl Define for PRelu {
    const SCHEMA: Schema = Schema::new("PRelu", 16)
        .inputs(&[arg("X", TYPES).var("T"), arg("slope", TYPES).var("T")])
        .outputs(&[arg("Y", TYPES).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(PRelu)
    }
}

impl Op for PRelu {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        broadcast_inputs(x)?;
        if let (Some(rank), Some(slope_rank)) = (x.rank(0), x.rank(1))
            && slope_rank > rank
        {
            return Err(InferError(format!("expected a slope of at most rank {rank}, got rank {slope_rank}")));
        }
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, slope) = take_two(&mut inputs)?;
        if broadcast_shapes(&[x.shape(), slope.shape()])? != *x.shape() {
            let message = format!("a slope of shape {} does not broadcast to {}", slope.shape(), x.shape());
            return Err(OpError::invalid(message));
        }
        Ok(apply::<PRelu>(cx, x, slope)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn the_slope_broadcasts_to_x() {
        let x = tensor(&[2, 2], &[-1f32, 2., -3., 4.]);
        let y = eval("PRelu", Attributes::new(), &[x.clone(), tensor(&[2, 1], &[0.5f32, 2.])]).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[-0.5f32, 2., -6., 4.]));
        assert!(eval("PRelu", Attributes::new(), &[tensor(&[1], &[1f32]), x]).is_err());
    }

    #[test]
    fn integers_have_slopes_too() {
        let y = eval("PRelu", Attributes::new(), &[tensor(&[2], &[-3i64, 3]), tensor(&[], &[2i64])]).unwrap();
        assert_eq!(y, tensor(&[2], &[-6i64, 3]));
    }
}
