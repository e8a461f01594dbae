//! `DynamicQuantizeMatMul`: A · ((B − b_zero_point) · b_scale) + bias, where A is quantized as `DynamicQuantizeLinear` does.

use super::DOMAIN;
use super::scaled_product::{Factor, Weights, scaled_product};
use crate::Define;
use crate::matmul::{product_dims, product_macs};
use crate::quantized::dynamic_quantize_linear::{Dynamic, quantize_dynamically};
use crate::quantized::product::{BYTES, Codes};
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared,
    Schema, arg, opt,
};
use planish_tensor::{DType, Tensor};
use std::sync::Arc;

/// `DynamicQuantizeMatMul`.
#[derive(Debug)]
pub struct DynamicQuantizeMatMul {
    has_zero: bool,
    /// B and its zero points, where they are constant.
    weights: Option<Weights>,
}

impl Define for DynamicQuantizeMatMul {
    const SCHEMA: Schema = Schema::new("DynamicQuantizeMatMul", 1)
        .domain(DOMAIN)
        .inputs(&[
            arg("A", FLOAT).var("T1"),
            arg("B", BYTES).var("T2"),
            arg("b_scale", FLOAT).var("T1"),
            opt("b_zero_point", BYTES).var("T2"),
            opt("bias", FLOAT).var("T1"),
        ])
        .outputs(&[arg("Y", FLOAT).var("T1")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(DynamicQuantizeMatMul { has_zero: node.num_inputs > 3, weights: None })
    }
}

impl Op for DynamicQuantizeMatMul {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (Some(a), Some(b)) = (x.shape(0), x.shape(1)) else { return Ok(vec![Fact::tensor(Some(DType::F32))]) };
        Ok(vec![Fact::shaped(Some(DType::F32), product_dims(a, b)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let a = inputs.tensor(0)?;
        let Dynamic { codes, quantization } = quantize_dynamically(cx, a.as_slice()?, a.shape().clone())?;
        let (codes, zero) = (codes.freeze(), Tensor::scalar(quantization.zero));
        let b = match &self.weights {
            Some(weights) => Factor::Weights(weights),
            None => Factor::Codes(Codes { codes: inputs.tensor(1)?, zero: inputs.opt_tensor(3)? }),
        };
        let a = Codes { codes: &codes, zero: Some(&zero) };
        Ok(scaled_product(cx, a, quantization.scale, b, inputs.slice(2)?, inputs.opt_slice(4)?)?.into())
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        product_macs(x.shape(0), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let constant = |index: usize| x.constant(index);
        let (Some(codes), zero) = (constant(1), constant(3)) else { return Ok(None) };
        if self.has_zero && zero.is_none() {
            return Ok(None);
        }
        let Some(weights) = Weights::pack(cx, Codes { codes, zero })? else { return Ok(None) };
        let op = DynamicQuantizeMatMul { has_zero: self.has_zero, weights: Some(weights) };
        Ok(Some(Prepared { op: Arc::new(op), dropped: vec![1, 3] }))
    }
}
