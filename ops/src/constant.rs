//! `Constant`: a value written into the node. Importers make constants of the graph of such nodes; this is for those that
//! come another way.
//!
//! Opsets: 1; 9 adds dtypes; 11 adds `sparse_value`; 12 adds numbers, strings and lists of them; 13 and later add dtypes.

use crate::Define;
use planish_ir::{
    ALL_TENSORS, Attribute, AttributeError, AttributeKind, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, arg, optional,
};
use planish_tensor::{Shape, Tensor};

/// `Constant`.
#[derive(Debug)]
pub struct Constant {
    value: Tensor,
}

impl Define for Constant {
    const SCHEMA: Schema = Schema::new("Constant", 25).outputs(&[arg("output", ALL_TENSORS)]).attributes(&[
        optional("value", AttributeKind::Tensor),
        optional("value_float", AttributeKind::Float),
        optional("value_floats", AttributeKind::Floats),
        optional("value_int", AttributeKind::Int),
        optional("value_ints", AttributeKind::Ints),
        optional("value_string", AttributeKind::String),
        optional("value_strings", AttributeKind::Strings),
    ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let names = Self::SCHEMA.attributes.iter().map(|def| def.name);
        let mut given = names.filter_map(|name| node.get(name));
        match (given.next().and_then(tensor), given.next()) {
            (Some(value), None) => Ok(Constant { value }),
            _ => Err(AttributeError::invalid("expected exactly one attribute, the value")),
        }
    }
}

/// The tensor that an attribute stands for.
fn tensor(attribute: &Attribute) -> Option<Tensor> {
    let strings = |shape, data: &[String]| Tensor::from_strings(shape, data.to_vec()).ok();
    match attribute {
        Attribute::Tensor(value) => Some(value.clone()),
        Attribute::Float(value) => Some(Tensor::scalar(*value)),
        Attribute::Floats(values) => Some(Tensor::vector(values)),
        Attribute::Int(value) => Some(Tensor::scalar(*value)),
        Attribute::Ints(values) => Some(Tensor::vector(values)),
        Attribute::String(value) => strings(Shape::scalar(), std::slice::from_ref(value)),
        Attribute::Strings(values) => strings(Shape::new(&[values.len()]).ok()?, values),
        _ => None,
    }
}

impl Op for Constant {
    fn infer(&self, _x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![Fact::constant(self.value.clone())])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, _inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(self.value.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::eval;
    use planish_ir::Attributes;
    use planish_tensor::Tensor;

    #[test]
    fn the_value_is_whatever_attribute_there_is() {
        for (attributes, expected) in [
            (Attributes::new().with("value_int", 3i64), Tensor::scalar(3i64)),
            (Attributes::new().with("value_floats", vec![1f32, 2.0]), Tensor::vector(&[1f32, 2.0])),
            (Attributes::new().with("value", Tensor::scalar(true)), Tensor::scalar(true)),
        ] {
            assert_eq!(eval("Constant", attributes, &[]).unwrap(), expected);
        }
        assert_eq!(
            eval("Constant", Attributes::new().with("value_string", "a"), &[]).unwrap().as_strings().unwrap(),
            ["a"]
        );
        assert!(eval("Constant", Attributes::new(), &[]).is_err());
        assert!(eval("Constant", Attributes::new().with("value_int", 3i64).with("value_float", 1f32), &[]).is_err());
    }
}
