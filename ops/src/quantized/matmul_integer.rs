//! `MatMulInteger`: y = (a − a_zero_point) · (b − b_zero_point) of 8-bit codes, exact in `int32`, stacked as in `MatMul`.
//!
//! Opsets: 10.

use super::product::{BYTES, Codes, Right, pack, product};
use crate::Define;
use crate::matmul::{product_dims, product_macs};
use crate::packed::Packed;
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared, Schema,
    Types, arg, opt,
};
use planish_kernels::int8::PackedB8;
use planish_tensor::DType;
use std::sync::Arc;

/// `MatMulInteger`.
#[derive(Debug)]
pub struct MatMulInteger {
    /// Whether b has a zero point.
    has_right_zero: bool,
    /// b and its zero points, where they are constant.
    weights: Option<Packed<PackedB8>>,
}

impl Define for MatMulInteger {
    const SCHEMA: Schema = Schema::new("MatMulInteger", 10)
        .inputs(&[
            arg("A", BYTES).var("T1"),
            arg("B", BYTES).var("T2"),
            opt("a_zero_point", BYTES).var("T1"),
            opt("b_zero_point", BYTES).var("T2"),
        ])
        .outputs(&[arg("Y", Types::of(&[DType::I32]))]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(MatMulInteger { has_right_zero: node.num_inputs > 3, weights: None })
    }
}

impl Op for MatMulInteger {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (Some(a), Some(b)) = (x.shape(0), x.shape(1)) else { return Ok(vec![Fact::tensor(Some(DType::I32))]) };
        Ok(vec![Fact::shaped(Some(DType::I32), product_dims(a, b)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let a = Codes { codes: inputs.tensor(0)?, zero: inputs.opt_tensor(2)? };
        let b = match &self.weights {
            Some(weights) => Right::Packed(weights),
            None => Right::Codes(Codes { codes: inputs.tensor(1)?, zero: inputs.opt_tensor(3)? }),
        };
        Ok(product(cx, a, b)?.freeze().into())
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        product_macs(x.shape(0), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let constant = |index: usize| x.constant(index);
        let (Some(codes), zero) = (constant(1), constant(3)) else { return Ok(None) };
        if self.has_right_zero && zero.is_none() {
            return Ok(None);
        }
        let Some(weights) = pack(cx, Codes { codes, zero })? else { return Ok(None) };
        let op = MatMulInteger { has_right_zero: self.has_right_zero, weights: Some(weights) };
        Ok(Some(Prepared { op: Arc::new(op), dropped: vec![1, 3] }))
    }
}
