//! A few words to write models with, sound or not.

use bytes::Bytes;
use planish::DType;
use planish::onnx::proto::attribute_proto::AttributeType;
use planish::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use planish::onnx::proto::*;
use prost::Message;

/// A model under construction. Names are given in lists separated by spaces.
pub struct Net(ModelProto);

impl Net {
    /// A model of opset 21 with an empty graph.
    pub fn new() -> Net {
        let graph = GraphProto { name: "g".into(), ..GraphProto::default() };
        Net(ModelProto {
            ir_version: 10,
            opset_import: vec![opset("", 21)],
            graph: Some(graph),
            ..ModelProto::default()
        })
    }

    pub fn input(self, name: &str, dtype: DType, dims: &[i64]) -> Net {
        self.graph(|g| g.input.push(value(name, tensor_type(dtype, dims))))
    }

    pub fn initializer(self, tensor: TensorProto) -> Net {
        self.graph(|g| g.initializer.push(tensor))
    }

    pub fn ints(self, name: &str, dims: &[i64], values: &[i64]) -> Net {
        self.initializer(ints(name, dims, values))
    }

    pub fn floats(self, name: &str, dims: &[i64], values: &[f32]) -> Net {
        self.initializer(floats(name, dims, values))
    }

    pub fn node(self, node: Node) -> Net {
        self.graph(|g| g.node.push(node.0))
    }

    /// Outputs of no declared type.
    pub fn outputs(self, names: &str) -> Net {
        self.graph(|g| g.output.extend(names.split_whitespace().map(untyped)))
    }

    /// Changes the graph in a way that has no word of its own.
    pub fn graph(mut self, change: impl FnOnce(&mut GraphProto)) -> Net {
        change(self.0.graph.get_or_insert_default());
        self
    }

    /// Changes the model in a way that has no word of its own.
    pub fn model(mut self, change: impl FnOnce(&mut ModelProto)) -> Net {
        change(&mut self.0);
        self
    }

    pub fn function(self, function: FunctionProto) -> Net {
        self.model(|m| m.functions.push(function))
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.encode_to_vec()
    }
}

/// A node under construction.
pub struct Node(pub NodeProto);

/// A node of ONNX's own domain; `_` stands for an absent input or output.
pub fn op(op_type: &str, inputs: &str, outputs: &str) -> Node {
    let names = |list: &str| list.split_whitespace().map(|n| if n == "_" { String::new() } else { n.into() }).collect();
    Node(NodeProto { op_type: op_type.into(), input: names(inputs), output: names(outputs), ..NodeProto::default() })
}

/// A call of a function of the domain `local`.
pub fn call(function: &str, inputs: &str, outputs: &str) -> Node {
    let mut node = op(function, inputs, outputs);
    node.0.domain = "local".into();
    node
}

impl Node {
    pub fn attribute(mut self, attribute: AttributeProto) -> Node {
        self.0.attribute.push(attribute);
        self
    }

    pub fn int(self, name: &str, value: i64) -> Node {
        self.attribute(AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) })
    }

    pub fn ints(self, name: &str, values: &[i64]) -> Node {
        self.attribute(AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) })
    }

    pub fn float(self, name: &str, value: f32) -> Node {
        self.attribute(AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) })
    }

    pub fn string(self, name: &str, value: &str) -> Node {
        let text = Some(Bytes::copy_from_slice(value.as_bytes()));
        self.attribute(AttributeProto { s: text, ..attribute(name, AttributeType::String) })
    }

    pub fn tensor(self, name: &str, value: TensorProto) -> Node {
        self.attribute(AttributeProto { t: Some(value.into()), ..attribute(name, AttributeType::Tensor) })
    }

    pub fn sparse(self, name: &str, value: SparseTensorProto) -> Node {
        let sparse_tensor = Some(value.into());
        self.attribute(AttributeProto { sparse_tensor, ..attribute(name, AttributeType::SparseTensor) })
    }

    pub fn body(self, name: &str, value: GraphProto) -> Node {
        self.attribute(AttributeProto { g: Some(value.into()), ..attribute(name, AttributeType::Graph) })
    }
}

pub fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind.into(), ..AttributeProto::default() }
}

/// A graph for an attribute, with inputs and outputs of no declared type.
pub fn body(inputs: &str, nodes: Vec<Node>, outputs: &str) -> GraphProto {
    GraphProto {
        name: "body".into(),
        input: inputs.split_whitespace().map(untyped).collect(),
        node: nodes.into_iter().map(|node| node.0).collect(),
        output: outputs.split_whitespace().map(untyped).collect(),
        ..GraphProto::default()
    }
}

/// A function of the domain `local`.
pub fn function(name: &str, inputs: &str, nodes: Vec<Node>, outputs: &str) -> FunctionProto {
    let names = |list: &str| list.split_whitespace().map(str::to_owned).collect();
    FunctionProto {
        name: name.into(),
        domain: "local".into(),
        input: names(inputs),
        node: nodes.into_iter().map(|node| node.0).collect(),
        output: names(outputs),
        opset_import: vec![opset("", 21), opset("local", 1)],
        ..FunctionProto::default()
    }
}

pub fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: domain.into(), version }
}

pub fn value(name: &str, r#type: TypeProto) -> ValueInfoProto {
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..ValueInfoProto::default() }
}

pub fn untyped(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.into(), ..ValueInfoProto::default() }
}

pub fn tensor_type(dtype: DType, dims: &[i64]) -> TypeProto {
    let dim = |&length: &i64| Dimension { value: Some(dimension::Value::DimValue(length)), ..Dimension::default() };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: dtype.to_onnx(), shape };
    TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }
}

/// A tensor without elements, to be given some.
pub fn tensor(name: &str, dtype: DType, dims: &[i64]) -> TensorProto {
    TensorProto { name: name.into(), data_type: dtype.to_onnx(), dims: dims.to_vec(), ..TensorProto::default() }
}

pub fn ints(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    TensorProto { int64_data: values.to_vec(), ..tensor(name, DType::I64, dims) }
}

pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto { float_data: values.to_vec(), ..tensor(name, DType::F32, dims) }
}

pub fn raw(name: &str, dtype: DType, dims: &[i64], num_bytes: usize) -> TensorProto {
    TensorProto { raw_data: Some(vec![0; num_bytes].into()), ..tensor(name, dtype, dims) }
}

pub fn sparse(name: &str, dims: &[i64], indices: TensorProto, values: &[f32]) -> SparseTensorProto {
    let values = floats(name, &[i64::try_from(values.len()).expect("cases are small")], values);
    SparseTensorProto { values: Some(values.into()), indices: Some(indices.into()), dims: dims.to_vec() }
}
