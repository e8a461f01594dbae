//! `MatMulIntegerToFloat`: ((A − a_zero_point) · a_scale) · ((B − b_zero_point) · b_scale) + bias, the product being exact.

use super::DOMAIN;
use super::scaled_product::{Factor, Weights, scaled_product};
use crate::Define;
use crate::dtypes::{from_f32, to_f32};
use crate::matmul::{product_dims, product_macs};
use crate::quantized::product::{BYTES, Codes};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared, Schema,
    Types, arg, opt,
};
use planish_tensor::{DType, Tensor};
use std::sync::Arc;

const REAL: Types = Types::of(&[DType::F32, DType::F16]);

/// `MatMulIntegerToFloat`.
#[derive(Debug)]
pub struct MatMulIntegerToFloat {
    /// Whether B may have zero points: later inputs are there.
    has_zero: bool,
    /// B and its zero points, where they are constant.
    weights: Option<Weights>,
}

impl Define for MatMulIntegerToFloat {
    const SCHEMA: Schema = Schema::new("MatMulIntegerToFloat", 1)
        .domain(DOMAIN)
        .inputs(&[
            arg("A", BYTES).var("T1"),
            arg("B", BYTES).var("T2"),
            arg("a_scale", REAL).var("T3"),
            arg("b_scale", REAL).var("T3"),
            opt("a_zero_point", BYTES).var("T1"),
            opt("b_zero_point", BYTES).var("T2"),
            opt("bias", REAL).var("T3"),
        ])
        .outputs(&[arg("Y", REAL).var("T3")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(MatMulIntegerToFloat { has_zero: node.num_inputs > 5, weights: None })
    }
}

impl Op for MatMulIntegerToFloat {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = x.dtype(2).or(x.dtype(3));
        let (Some(a), Some(b)) = (x.shape(0), x.shape(1)) else { return Ok(vec![Fact::tensor(dtype)]) };
        Ok(vec![Fact::shaped(dtype, product_dims(a, b)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let a = Codes { codes: inputs.tensor(0)?, zero: inputs.opt_tensor(4)? };
        let b = match &self.weights {
            Some(weights) => Factor::Weights(weights),
            None => Factor::Codes(Codes { codes: inputs.tensor(1)?, zero: inputs.opt_tensor(5)? }),
        };
        let dtype = inputs.tensor(2)?.dtype();
        let (a_scale, b_scale) = (to_f32(cx, inputs.tensor(2)?)?, to_f32(cx, inputs.tensor(3)?)?);
        let bias = inputs.opt_tensor(6)?.map(|bias| to_f32(cx, bias)).transpose()?;
        let bias = bias.as_ref().map(Tensor::as_slice::<f32>).transpose()?;
        let &[a_scale] = a_scale.as_slice::<f32>()? else {
            return Err(OpError::unsupported(format!("{} scales of the left operand", a_scale.num_elements())));
        };
        let y = scaled_product(cx, a, a_scale, b, b_scale.as_slice()?, bias)?;
        Ok(from_f32(cx, y, dtype)?.into())
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        product_macs(x.shape(0), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let constant = |index: usize| x.constant(index);
        let (Some(codes), zero) = (constant(1), constant(5)) else { return Ok(None) };
        if self.has_zero && zero.is_none() {
            return Ok(None);
        }
        let Some(weights) = Weights::pack(cx, Codes { codes, zero })? else { return Ok(None) };
        let op = MatMulIntegerToFloat { has_zero: self.has_zero, weights: Some(weights) };
        Ok(Some(Prepared { op: Arc::new(op), dropped: vec![1, 5] }))
    }
}
