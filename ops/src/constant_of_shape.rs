//! `ConstantOfShape`: a tensor of the given shape, all of whose elements are `value` (`float` 0 without it).
//!
//! Opsets: 9; 20, 21, 23, 24, 25 add dtypes.

use crate::Define;
use crate::movement::filled;
use crate::symbolic::{elements, with_elements};
use planish_ir::{
    ALL_TENSORS, AttributeError, AttributeKind, COMPLEX, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs,
    MAX_TRACKED_CONTENTS, NodeView, Op, OpError, Outputs, STRING, Schema, arg, optional,
};
use planish_tensor::{Shape, Tensor};

/// `ConstantOfShape`.
#[derive(Debug)]
pub struct ConstantOfShape {
    /// One element.
    value: Tensor,
}

impl Define for ConstantOfShape {
    const SCHEMA: Schema = Schema::new("ConstantOfShape", 25)
        .inputs(&[arg("input", INT64)])
        .outputs(&[arg("output", ALL_TENSORS.without(STRING.or(COMPLEX)))])
        .attributes(&[optional("value", AttributeKind::Tensor)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let value = node.opt_tensor("value").cloned().unwrap_or_else(|| Tensor::scalar(0f32));
        if value.num_elements() != 1 {
            let got = value.shape();
            return Err(AttributeError::invalid(format!("attribute \"value\": expected one element, got shape {got}")));
        }
        Ok(ConstantOfShape { value })
    }
}

impl Op for ConstantOfShape {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = Some(self.value.dtype());
        let Some(dims) = elements(x, 0) else { return Ok(vec![Fact::tensor(dtype)]) };
        let count = match &dims[..] {
            [] => Some(1),
            [length] => length.as_known().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        };
        let value = Fact::constant(self.value.reshaped(Shape::scalar()).map_err(|e| InferError(e.to_string()))?);
        let elements = count.filter(|&n| n <= MAX_TRACKED_CONTENTS).zip(value.elements());
        let elements = elements.map(|(n, value)| value.into_iter().cycle().take(n).collect::<Vec<Dim>>());
        Ok(vec![with_elements(Fact::shaped(dtype, dims), elements)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let shape = Shape::from_i64(inputs.slice::<i64>(0)?)?;
        Ok(filled(cx, &self.value, shape)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval, infer, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{DType, Memory, Shape, Tensor};

    #[test]
    fn every_element_is_the_value() {
        let shape = tensor(&[2], &[2i64, 3]);
        let y = eval("ConstantOfShape", Attributes::new(), &[shape.clone()]).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[0f32; 6]));
        let y = eval("ConstantOfShape", Attributes::new().with("value", tensor(&[1], &[-1i64])), &[shape.clone()]);
        assert_eq!(y.unwrap(), tensor(&[2, 3], &[-1i64; 6]));
        let codes = Tensor::from_codes(Memory::global(), DType::U4, Shape::new(&[1]).unwrap(), &[9]).unwrap();
        let y = eval("ConstantOfShape", Attributes::new().with("value", codes), &[shape]).unwrap();
        assert_eq!(y.unpacked_codes(), Some(vec![9; 6]));
        let scalar = eval("ConstantOfShape", Attributes::new(), &[tensor(&[0], &[0i64; 0])]).unwrap();
        assert_eq!(scalar, tensor(&[], &[0f32]));
    }

    #[test]
    fn absurd_shapes_are_refused() {
        for wrong in [&[-1i64][..], &[i64::MAX], &[1 << 40, 1 << 40]] {
            assert!(eval("ConstantOfShape", Attributes::new(), &[Tensor::vector(wrong)]).is_err());
        }
        let two = Attributes::new().with("value", tensor(&[2], &[0f32; 2]));
        assert!(eval("ConstantOfShape", two, &[Tensor::vector(&[1i64])]).is_err());
    }

    #[test]
    fn elements_are_known() {
        let y =
            infer("ConstantOfShape", Attributes::new().with("value", tensor(&[1], &[7i64])), &[elements("2")]).unwrap();
        assert_eq!(y, elements("7, 7"));
    }
}
