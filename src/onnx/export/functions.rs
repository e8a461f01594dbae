//! Operators of planish's own as calls of functions that the file brings along.
//!
//! Nodes of one operator with equal bodies call one function; bodies that differ are overloads of it.

use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto};
use planish_ops::planish::DOMAIN;
use std::collections::HashMap;

/// The oldest file format whose functions have overloads.
pub(super) const IR_VERSION: i64 = 10;

/// The functions that a model's nodes call.
#[derive(Debug, Default)]
pub(super) struct Functions {
    /// The overload for an operator and the text of its body.
    overloads: HashMap<(String, String), String>,
    count_by_operator: HashMap<String, usize>,
    written: Vec<FunctionProto>,
}

impl Functions {
    /// The overload that stands for this body, if a node called it before.
    pub(super) fn overload(&self, operator: &str, text: &str) -> Option<String> {
        self.overloads.get(&(operator.to_owned(), text.to_owned())).cloned()
    }

    /// Adds the function that `body` is; its overload.
    pub(super) fn add(&mut self, operator: &str, text: String, body: GraphProto, opset: u32) -> String {
        let count = self.count_by_operator.entry(operator.to_owned()).or_default();
        *count += 1;
        let overload = count.to_string();
        self.overloads.insert((operator.to_owned(), text), overload.clone());
        self.written.push(function(operator, &overload, body, opset));
        overload
    }

    /// All functions, in the order in which they were first called.
    pub(super) fn into_protos(self) -> Vec<FunctionProto> {
        self.written
    }
}

fn function(operator: &str, overload: &str, body: GraphProto, opset: u32) -> FunctionProto {
    let node = body.initializer.into_iter().map(constant).chain(body.node).collect();
    FunctionProto {
        name: operator.to_owned(),
        domain: DOMAIN.to_owned(),
        overload: overload.to_owned(),
        input: body.input.iter().map(|info| info.name.clone()).collect(),
        output: body.output.iter().map(|info| info.name.clone()).collect(),
        node,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: i64::from(opset) }],
        value_info: body.input.into_iter().chain(body.output).collect(),
        ..FunctionProto::default()
    }
}

/// Functions have no initializers; a node makes the constant instead.
fn constant(mut tensor: TensorProto) -> NodeProto {
    let output = vec![std::mem::take(&mut tensor.name)];
    let r#type = AttributeType::Tensor.into();
    let value =
        AttributeProto { name: "value".to_owned(), t: Some(Box::new(tensor)), r#type, ..AttributeProto::default() };
    NodeProto { op_type: "Constant".to_owned(), output, attribute: vec![value], ..NodeProto::default() }
}
