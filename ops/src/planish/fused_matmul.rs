//! `FusedMatMul`: a matrix product, what is added to it (a bias, a residual), an activation: one pass over the output.

use super::epilogue::Epilogue;
use super::{Definition, schema};
use crate::Define;
use crate::arithmetic::{Sum, apply};
use crate::elementwise::activated;
use crate::matmul::{matmul, packed_product_shape, product_macs, times_packed_into};
use crate::packed::{Packed, pack_right};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared, Schema,
};
use planish_kernels::gemm::{Bias, Epilogue as Store, PackedB};
use planish_tensor::{DType, Tensor};
use std::sync::Arc;

/// `planish::FusedMatMul`.
#[derive(Debug)]
pub struct FusedMatMul {
    definition: Definition,
    fused: Option<Epilogue>,
    /// B, where it is a constant matrix.
    weights: Option<Arc<Packed<PackedB>>>,
}

impl Define for FusedMatMul {
    const SCHEMA: Schema = schema("FusedMatMul");

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let definition = Definition::parse(node)?;
        let fused = Epilogue::parse(&definition.body, "MatMul").map(|(_, _, epilogue)| epilogue);
        Ok(FusedMatMul { definition, fused, weights: None })
    }
}

impl Op for FusedMatMul {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(self.definition.infer(x))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let Some(fused) = self.fused.as_ref().filter(|_| inputs.tensor(0).is_ok_and(|x| x.dtype() == DType::F32))
        else {
            return self.definition.eval(cx, inputs);
        };
        let a = inputs.tensor(0)?.clone();
        let b = inputs.opt_tensor(1)?.cloned();
        let addends = fused.addends.iter().map(|&index| inputs.take_tensor(index));
        let addends = addends.collect::<Result<Vec<Tensor>, OpError>>()?;
        drop(inputs);
        match (&self.weights, b) {
            (Some(weights), _) => Ok(product(cx, &a, weights, addends, fused)?.into()),
            (None, Some(b)) => Ok(added(cx, matmul(cx, &a, &b)?, addends, fused)?.into()),
            (None, None) => Err(OpError::invalid("input 1 is absent")),
        }
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        product_macs(x.shape(0), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        x.constant(1).map_or(Ok(None), |b| self.packed(cx, b, false))
    }

    fn prepare_transposed(&self, cx: &EvalCx<'_>, input: usize, b: &Tensor) -> Result<Option<Prepared>, OpError> {
        if input == 1 { self.packed(cx, b, true) } else { Ok(None) }
    }
}

impl FusedMatMul {
    fn packed(&self, cx: &EvalCx<'_>, b: &Tensor, is_transposed: bool) -> Result<Option<Prepared>, OpError> {
        let Some(fused) = self.fused.clone().filter(|_| b.dtype() == DType::F32) else { return Ok(None) };
        let Some(weights) = pack_right(cx, b, is_transposed)? else { return Ok(None) };
        let op =
            FusedMatMul { definition: self.definition.clone(), fused: Some(fused), weights: Some(Arc::new(weights)) };
        Ok(Some(Prepared { op: Arc::new(op), dropped: vec![1] }))
    }
}

/// The product with one bias and one residual taken into its store, where the addends are that.
fn product(
    cx: &EvalCx<'_>,
    a: &Tensor,
    b: &PackedB,
    mut addends: Vec<Tensor>,
    fused: &Epilogue,
) -> Result<Tensor, OpError> {
    let shape = packed_product_shape(a.shape(), b)?;
    let mut take = |is_it: &dyn Fn(&Tensor) -> bool| addends.iter().position(is_it).map(|i| addends.remove(i));
    let bias = take(&|t| t.shape().dims() == [b.columns()] && shape.rank() > 1);
    let residual = take(&|t| *t.shape() == shape);
    let is_complete = addends.is_empty();
    let bias = bias.as_ref().map(Tensor::as_slice::<f32>).transpose()?;
    let activation = fused.activation.filter(|_| is_complete);
    let store = Store { bias: bias.map_or(Bias::None, Bias::PerColumn), activation };
    let y = times_packed_into(cx, a, b, residual, &store)?;
    if is_complete { Ok(y) } else { added(cx, y, addends, fused) }
}

/// What is left to do after the product alone.
fn added(cx: &EvalCx<'_>, y: Tensor, addends: Vec<Tensor>, fused: &Epilogue) -> Result<Tensor, OpError> {
    let y = addends.into_iter().try_fold(y, |y, addend| apply::<Sum>(cx, y, addend))?;
    activated(cx, y, fused.activation)
}
