//! `FusedConv`: a convolution, a residual added to it, an activation: one pass over the output.

use super::epilogue::Epilogue;
use super::{Definition, schema};
use crate::Define;
use crate::conv::{Conv, conv_macs};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared, Schema,
};
use planish_kernels::elementwise::Unary;
use planish_tensor::DType;
use std::sync::Arc;

/// `planish::FusedConv`.
#[derive(Debug)]
pub struct FusedConv {
    definition: Definition,
    fused: Option<Fused>,
}

/// `activation(conv(x, w, b) + residual)`.
#[derive(Clone, Debug)]
struct Fused {
    conv: Conv,
    has_bias: bool,
    /// The input that is added.
    residual: Option<usize>,
    activation: Option<Unary>,
}

impl Fused {
    fn parse(definition: &Definition) -> Option<Fused> {
        let body = &definition.body;
        let (first, num_inputs, epilogue) = Epilogue::parse(body, "Conv")?;
        let operator = body.node(first).operator()?;
        let node = NodeView::new(&Conv::SCHEMA, &operator.attributes, num_inputs, 1).ok()?;
        let residual = match epilogue.addends.as_slice() {
            [] => None,
            &[index] => Some(index),
            _ => return None,
        };
        let (conv, activation) = (Conv::parse(&node).ok()?, epilogue.activation);
        Some(Fused { conv, has_bias: num_inputs == 3, residual, activation })
    }
}

impl Define for FusedConv {
    const SCHEMA: Schema = schema("FusedConv");

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let definition = Definition::parse(node)?;
        let fused = Fused::parse(&definition);
        Ok(FusedConv { definition, fused })
    }
}

impl Op for FusedConv {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(self.definition.infer(x))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let Some(fused) = self.fused.as_ref().filter(|_| inputs.tensor(0).is_ok_and(|x| x.dtype() == DType::F32))
        else {
            return self.definition.eval(cx, inputs);
        };
        let bias = if fused.has_bias { inputs.opt_tensor(2)?.cloned() } else { None };
        let filters = inputs.opt_tensor(1)?.cloned();
        let x = inputs.tensor(0)?.clone();
        let residual = fused.residual.map(|index| inputs.take_tensor(index)).transpose()?;
        drop(inputs);
        Ok(fused.conv.convolve(cx, &x, filters.as_ref(), bias.as_ref(), residual, fused.activation)?.into())
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        conv_macs(x.shape(1), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let Some(fused) = &self.fused else { return Ok(None) };
        let Some(conv) = fused.conv.packed(cx, x)? else { return Ok(None) };
        let fused = Some(Fused { conv, ..fused.clone() });
        Ok(Some(Prepared { op: Arc::new(FusedConv { definition: self.definition.clone(), fused }), dropped: vec![1] }))
    }
}
