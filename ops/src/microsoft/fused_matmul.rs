//! `FusedMatMul`: y = alpha · a' · b', where a' and b' are a and b or have their last two axes exchanged.
//!
//! The importer opens it into standard operators. It stands in graphs that were rewritten for ONNX Runtime.

use super::DOMAIN;
use super::fused::{first, standard};
use crate::Define;
use crate::matmul::{matmul, product_dims, product_macs};
use crate::transpose::permute;
use planish_ir::{
    AttributeError, Attributes, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema,
    Types, arg, float, int,
};
use planish_tensor::{DType, Tensor, Value};
use std::sync::Arc;

/// What ONNX Runtime multiplies.
const TYPES: Types = Types::of(&[DType::F32, DType::F64]);

/// `FusedMatMul`.
#[derive(Debug)]
pub struct FusedMatMul {
    /// Whether each operand's matrices are transposed.
    is_transposed: [bool; 2],
    alpha: f32,
    product: Arc<dyn Op>,
}

impl Define for FusedMatMul {
    const SCHEMA: Schema = Schema::new("FusedMatMul", 1)
        .domain(DOMAIN)
        .inputs(&[arg("A", TYPES).var("T"), arg("B", TYPES).var("T")])
        .outputs(&[arg("Y", TYPES).var("T")])
        .attributes(&[
            float("alpha", 1.0),
            int("transA", 0),
            int("transB", 0),
            int("transBatchA", 0),
            int("transBatchB", 0),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let has = |name| node.opt_int(name) == Some(1);
        if has("transBatchA") || has("transBatchB") {
            return Err(AttributeError::unsupported("transposed batches".to_owned()));
        }
        let product = standard("Mul", Attributes::new(), 2)?;
        let alpha = node.opt_float("alpha").unwrap_or(1.0);
        Ok(FusedMatMul { is_transposed: [has("transA"), has("transB")], alpha, product })
    }
}

impl Op for FusedMatMul {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = x.dtype(0).or(x.dtype(1));
        let dims = |index: usize| x.shape(index).map(|dims| self.exchanged(index, dims));
        let (Some(a), Some(b)) = (dims(0), dims(1)) else { return Ok(vec![Fact::tensor(dtype)]) };
        Ok(vec![Fact::shaped(dtype, product_dims(&a, &b)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let operand = |index: usize| -> Result<Tensor, OpError> {
            let x = inputs.tensor(index)?;
            let axes: Vec<usize> = (0..x.rank()).collect();
            let order = self.exchanged(index, &axes);
            if order == axes { Ok(x.clone()) } else { permute(cx, x, &order) }
        };
        let y = matmul(cx, &operand(0)?, &operand(1)?)?;
        if self.alpha.to_bits() == 1f32.to_bits() {
            return Ok(y.into());
        }
        let alpha = match y.dtype() {
            DType::F64 => Tensor::scalar(f64::from(self.alpha)),
            _ => Tensor::scalar(self.alpha),
        };
        let values = [first(y.into()), Some(Value::Tensor(alpha))];
        self.product.eval(cx, Inputs::new(values))
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        product_macs(x.shape(0).map(|dims| self.exchanged(0, dims)).as_deref(), outputs)
    }
}

impl FusedMatMul {
    /// What belongs to the axes of an operand, in the order in which they are multiplied.
    fn exchanged<T: Clone>(&self, index: usize, axes: &[T]) -> Vec<T> {
        let mut axes = axes.to_vec();
        let rank = axes.len();
        if self.is_transposed[index] && rank > 1 {
            axes.swap(rank - 2, rank - 1);
        }
        axes
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;

    #[test]
    fn operands_are_transposed_and_scaled() {
        let a = tensor(&[2, 1], &[1f32, 2.0]);
        let b = tensor(&[3, 2], &[1f32, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let attributes = Attributes::new().with("transA", 1i64).with("transB", 1i64).with("alpha", 2f32);
        let y = eval_all("com.microsoft", "FusedMatMul", attributes, &[Some(a), Some(b)], 1).unwrap();
        assert_eq!(y[0], tensor(&[1, 3], &[2f32, 4.0, 6.0]));
    }
}
