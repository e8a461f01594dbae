//! `IsNaN`, `IsInf`: which elements are not numbers, and which are infinite.
//!
//! Opsets: `IsNaN` 9, 13 (bfloat16), 20 (float8); `IsInf` 10 (float and double), 20 (all floats).

use crate::Define;
use crate::dtypes::{Number, for_float};
use crate::elementwise::map_to;
use planish_ir::{
    AttributeError, BOOL, EvalCx, FLOAT8, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, int,
};
use planish_tensor::{DType, MiniFloat, Tensor};

const TYPES: Types = FLOATS.or(FLOAT8);

/// `IsNaN`.
#[derive(Debug)]
pub struct IsNaN;

/// `IsInf`.
#[derive(Debug)]
pub struct IsInf {
    detect_negative: bool,
    detect_positive: bool,
}

impl Define for IsNaN {
    const SCHEMA: Schema =
        Schema::new("IsNaN", 20).inputs(&[arg("X", TYPES).var("T1")]).outputs(&[arg("Y", BOOL).var("T2")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(IsNaN)
    }
}

impl Op for IsNaN {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(infer(x))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(classify(cx, inputs.tensor(0)?, f64::is_nan)?.into())
    }
}

impl Define for IsInf {
    const SCHEMA: Schema = Schema::new("IsInf", 20)
        .inputs(&[arg("X", TYPES).var("T1")])
        .outputs(&[arg("Y", BOOL).var("T2")])
        .attributes(&[int("detect_negative", 1), int("detect_positive", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(IsInf { detect_negative: node.flag("detect_negative")?, detect_positive: node.flag("detect_positive")? })
    }
}

impl Op for IsInf {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(infer(x))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (negative, positive) = (self.detect_negative, self.detect_positive);
        let is_detected = |v| positive && v == f64::INFINITY || negative && v == f64::NEG_INFINITY;
        Ok(classify(cx, inputs.tensor(0)?, is_detected)?.into())
    }
}

fn infer(x: &Facts<'_>) -> Vec<Fact> {
    vec![match x.shape(0) {
        Some(shape) => Fact::shaped(Some(DType::Bool), shape.to_vec()),
        None => Fact::tensor(Some(DType::Bool)),
    }]
}

/// `holds` of each element, all of which `f64` holds exactly.
fn classify(cx: &EvalCx<'_>, x: &Tensor, holds: impl Fn(f64) -> bool + Sync) -> Result<Tensor, OpError> {
    let Some(format) = MiniFloat::of(x.dtype()) else {
        return for_float!(x.dtype(), T => map_to::<T, bool>(cx, x, 0.5, |v| holds(v.to_f64())));
    };
    let mut y = cx.uninit::<bool>(x.shape().clone())?;
    for (y, &code) in y.iter_mut().zip(x.bytes()) {
        *y = holds(format.decode(code).into());
    }
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{F8E5M2, f16};

    const X: [f32; 4] = [1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

    #[test]
    fn every_float_is_classified() {
        let halves = X.map(f16::from_f32);
        let codes = [F8E5M2(0x3c), F8E5M2(0x7e), F8E5M2(0x7c), F8E5M2(0xfc)];
        for x in [tensor(&[4], &X), tensor(&[4], &halves), tensor(&[4], &codes)] {
            let y = eval("IsNaN", Attributes::new(), &[x.clone()]).unwrap();
            assert_eq!(y, tensor(&[4], &[false, true, false, false]));
            let y = eval("IsInf", Attributes::new(), &[x]).unwrap();
            assert_eq!(y, tensor(&[4], &[false, false, true, true]));
        }
    }

    #[test]
    fn one_sign_can_be_left_out() {
        let y = eval("IsInf", Attributes::new().with("detect_negative", 0i64), &[tensor(&[4], &X)]).unwrap();
        assert_eq!(y, tensor(&[4], &[false, false, true, false]));
    }
}
