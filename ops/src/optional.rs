//! `Optional`, `OptionalHasElement` and `OptionalGetElement`: a value or nothing.
//!
//! Opsets: 15; 18 lets the latter two take tensors and sequences; 28 adds dtypes.

use crate::Define;
use planish_ir::{
    ANY, Attribute, AttributeError, AttributeKind, BOOL, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, Type, Types, arg, opt, optional,
};
use planish_tensor::{DType, Shape, Value, ValueType};
use std::sync::Arc;

/// `Optional`.
#[derive(Debug)]
pub struct Optional {
    /// The type of what is not there, where the node has no input.
    element: Option<ValueType>,
}

/// `OptionalHasElement`.
#[derive(Debug)]
pub struct OptionalHasElement;

/// `OptionalGetElement`.
#[derive(Debug)]
pub struct OptionalGetElement;

impl Define for Optional {
    const SCHEMA: Schema = Schema::new("Optional", 28)
        .inputs(&[opt("input", ANY)])
        .outputs(&[arg("output", Types::OPTIONAL)])
        .attributes(&[optional("type", AttributeKind::Type)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let element = match node.get("type") {
            Some(Attribute::Type(ty)) => ty.value_type(),
            _ => None,
        };
        if node.num_inputs == 0 && element.is_none() {
            return Err(AttributeError::invalid("attribute \"type\" is required without an input"));
        }
        Ok(Optional { element })
    }
}

impl Op for Optional {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let element = match (x.get(0), &self.element) {
            (Some(fact), _) => fact.ty.clone(),
            (None, Some(element)) => Type::from(element),
            (None, None) => Type::Unknown,
        };
        Ok(vec![Fact::of_type(Type::Optional(Box::new(element)))])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        if inputs.has(0) {
            let value = inputs.take(0)?;
            return Ok(Value::Optional(value.value_type(), Some(Arc::new(value))).into());
        }
        let element = self.element.clone().ok_or_else(|| OpError::invalid("input 0 is missing"))?;
        Ok(Value::Optional(element, None).into())
    }
}

impl Define for OptionalHasElement {
    const SCHEMA: Schema =
        Schema::new("OptionalHasElement", 28).inputs(&[opt("input", ANY)]).outputs(&[arg("output", BOOL)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(OptionalHasElement)
    }
}

impl Op for OptionalHasElement {
    fn infer(&self, _x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![Fact::shaped(Some(DType::Bool), Vec::new())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let has_element = !matches!(inputs.get(0), None | Some(Value::Optional(_, None)));
        Ok(cx.tensor(Shape::scalar(), &[has_element])?.into())
    }
}

impl Define for OptionalGetElement {
    const SCHEMA: Schema =
        Schema::new("OptionalGetElement", 28).inputs(&[arg("input", ANY)]).outputs(&[arg("output", ANY)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(OptionalGetElement)
    }
}

impl Op for OptionalGetElement {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![match x.get(0) {
            Some(Fact { ty: Type::Optional(element), .. }) => Fact::of_type(element.as_ref().clone()),
            other => Fact::of_type(other.map(|fact| fact.ty.clone()).unwrap_or_default()),
        }])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        match inputs.take(0)? {
            Value::Optional(_, Some(value)) => Ok(Arc::unwrap_or_clone(value).into()),
            Value::Optional(element, None) => Err(OpError::invalid(format!("the optional {element} is empty"))),
            value => Ok(value.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::eval_values;
    use planish_ir::{Attribute, Attributes, OpError, Type};
    use planish_tensor::{DType, Tensor, Value};

    fn run(name: &str, attributes: Attributes, input: Option<&Value>) -> Result<Value, OpError> {
        let inputs: Vec<Option<Value>> = input.map(|v| Some(v.clone())).into_iter().collect();
        Ok(eval_values("", name, attributes, &inputs, 1)?.remove(0))
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let x = Value::Tensor(Tensor::scalar(3f32));
        let full = run("Optional", Attributes::new(), Some(&x)).unwrap();
        let ty = Attributes::new().with("type", Attribute::Type(Type::tensor(DType::F32)));
        let empty = run("Optional", ty, None).unwrap();
        assert_eq!(run("OptionalGetElement", Attributes::new(), Some(&full)).unwrap(), x);
        assert_eq!(run("OptionalGetElement", Attributes::new(), Some(&x)).unwrap(), x);
        assert!(run("OptionalGetElement", Attributes::new(), Some(&empty)).is_err());
        for (value, expected) in [(Some(&full), true), (Some(&x), true), (Some(&empty), false), (None, false)] {
            let has = run("OptionalHasElement", Attributes::new(), value).unwrap();
            assert_eq!(has, Value::Tensor(Tensor::scalar(expected)));
        }
        assert!(run("Optional", Attributes::new(), None).is_err());
    }
}
