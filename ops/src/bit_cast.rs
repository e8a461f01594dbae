//! `BitCast`: the same bits read as another dtype of the same width.
//!
//! Opsets: 26.

use crate::Define;
use planish_ir::{
    ALL_TENSORS, AttributeError, AttributeKind, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError,
    Outputs, STRING, Schema, Types, arg, required,
};
use planish_tensor::DType;

const TYPES: Types = ALL_TENSORS.without(STRING).without(Types::of(&[DType::F6E2M3, DType::F6E3M2]));

/// `BitCast`.
#[derive(Debug)]
pub struct BitCast {
    to: DType,
}

impl Define for BitCast {
    const SCHEMA: Schema = Schema::new("BitCast", 26)
        .inputs(&[arg("input", TYPES).var("T1")])
        .outputs(&[arg("output", TYPES).var("T2")])
        .attributes(&[required("to", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let to = node.dtype("to")?;
        if !TYPES.contains(to) {
            return Err(AttributeError::invalid(format!("attribute \"to\": bits are not read as {to}")));
        }
        Ok(BitCast { to })
    }
}

impl Op for BitCast {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let Some(from) = x.dtype(0).filter(|from| from.bits() != self.to.bits()) {
            let (expected, got) = (self.to.bits(), from.bits());
            return Err(InferError(format!("expected elements of {expected} bits as {} has, got {got} bits", self.to)));
        }
        Ok(vec![match x.shape(0) {
            Some(shape) => Fact::shaped(Some(self.to), shape.to_vec()),
            None => Fact::tensor(Some(self.to)),
        }])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let cast = x.bit_cast(self.to);
        let cast = cast.ok_or_else(|| OpError::invalid(format!("{} and {} differ in width", x.dtype(), self.to)))?;
        Ok(cast.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{DType, Memory, Shape, Tensor};

    #[test]
    fn bits_stay() {
        let to = |dtype: DType| Attributes::new().with("to", i64::from(dtype.to_onnx()));
        let y = eval("BitCast", to(DType::I32), &[tensor(&[2], &[1f32, -0.0])]).unwrap();
        assert_eq!(y, tensor(&[2], &[0x3f80_0000, i32::MIN]));
        assert_eq!(eval("BitCast", to(DType::Bool), &[tensor(&[2], &[0u8, 7])]).unwrap(), tensor(&[2], &[false, true]));
        let shape = Shape::new(&[3]).unwrap();
        let codes = |dtype| Tensor::from_codes(Memory::global(), dtype, shape.clone(), &[1, 15, 8]).unwrap();
        assert_eq!(eval("BitCast", to(DType::I4), &[codes(DType::U4)]).unwrap(), codes(DType::I4));
        assert!(eval("BitCast", to(DType::I64), &[tensor(&[2], &[1f32, 2.])]).is_err());
    }
}
