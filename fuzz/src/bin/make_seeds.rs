//! Writes `seeds/decode/`: a few tiny files that between them use every message and every form a field can have.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use planish::onnx::proto::attribute_proto::AttributeType;
use planish::onnx::proto::tensor_proto::{DataLocation, DataType};
use planish::onnx::proto::*;
use prost::Message;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/decode");
    fs::create_dir_all(&folder)?;
    let seeds = [
        ("relu.onnx", relu().encode_to_vec()),
        ("if_with_bodies.onnx", if_with_bodies().encode_to_vec()),
        ("every_attribute.onnx", every_attribute().encode_to_vec()),
        ("function_training_devices.onnx", function_training_devices().encode_to_vec()),
        ("every_type.onnx", every_type().encode_to_vec()),
        ("raw.pb", raw().encode_to_vec()),
        ("typed_lists.pb", typed_lists().encode_to_vec()),
        ("external.pb", external().encode_to_vec()),
        ("sequence.pb", sequence().encode_to_vec()),
        ("optional.pb", optional().encode_to_vec()),
        ("empty_messages.onnx", field(7, &[0x0a, 0x00].repeat(200))),
        ("deep.pb", (0..120).fold(Vec::new(), |inner, _| field(5, &inner))),
        ("unknown_fields.onnx", b"\xa0\x3f\x05\xa1\x3f12345678\xa2\x3f\x02ab\xa5\x3f1234".to_vec()),
    ];
    for (name, bytes) in seeds {
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// A tag, a length and the bytes: one field of wire type 2 with a number below 16.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(payload.len(), &mut out).expect("a vector grows");
    out.extend_from_slice(payload);
    out
}

fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: 10,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 21 }],
        producer_name: "planish".into(),
        graph: Some(graph),
        metadata_props: vec![note()],
        ..Default::default()
    }
}

fn note() -> StringStringEntryProto {
    StringStringEntryProto { key: "key".into(), value: "wärt".into() }
}

fn node(op_type: &str, input: &[&str], output: &[&str]) -> NodeProto {
    NodeProto {
        op_type: op_type.into(),
        input: input.iter().map(|&name| name.into()).collect(),
        output: output.iter().map(|&name| name.into()).collect(),
        name: format!("{op_type}_0"),
        ..Default::default()
    }
}

fn tensor_type() -> TypeProto {
    use tensor_shape_proto::dimension::Value;
    let dim = |value, denotation: &str| tensor_shape_proto::Dimension { value, denotation: denotation.into() };
    let dims = vec![
        dim(Some(Value::DimParam("batch".into())), "DATA_BATCH"),
        dim(Some(Value::DimValue(3)), ""),
        dim(None, ""),
    ];
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim: dims }) };
    TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() }
}

fn value(name: &str, r#type: TypeProto) -> ValueInfoProto {
    ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}

fn relu() -> ModelProto {
    model(GraphProto {
        name: "relu".into(),
        node: vec![node("Relu", &["x"], &["y"])],
        input: vec![value("x", tensor_type())],
        output: vec![value("y", tensor_type())],
        ..Default::default()
    })
}

fn graph_attribute(name: &str, body: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Graph as i32,
        g: Some(Box::new(body)),
        ..Default::default()
    }
}

fn if_with_bodies() -> ModelProto {
    let body = |op_type| GraphProto {
        name: "body".into(),
        node: vec![node(op_type, &["x"], &["z"])],
        output: vec![value("z", tensor_type())],
        ..Default::default()
    };
    let mut choice = node("If", &["condition"], &["y"]);
    choice.attribute = vec![graph_attribute("then_branch", body("Neg")), graph_attribute("else_branch", body("Abs"))];
    let mut outer = relu();
    if let Some(graph) = &mut outer.graph {
        graph.node.push(choice);
        graph.initializer = vec![raw(), typed_lists()];
        graph.sparse_initializer = vec![sparse()];
        graph.quantization_annotation =
            vec![TensorAnnotation { tensor_name: "x".into(), quant_parameter_tensor_names: vec![note()] }];
    }
    outer
}

fn every_attribute() -> ModelProto {
    let mut everything = node("Everything", &["x", ""], &["y"]);
    everything.domain = "example".into();
    everything.overload = "first".into();
    everything.doc_string = "all attributes".into();
    everything.metadata_props = vec![note()];
    everything.attribute = vec![
        AttributeProto {
            name: "float".into(),
            f: Some(0.0),
            r#type: AttributeType::Float as i32,
            ..Default::default()
        },
        AttributeProto { name: "int".into(), i: Some(-1), r#type: AttributeType::Int as i32, ..Default::default() },
        AttributeProto { name: "string".into(), s: Some(Bytes::from_static(b"\xff")), ..Default::default() },
        AttributeProto { name: "tensor".into(), t: Some(Box::new(raw())), ..Default::default() },
        AttributeProto { name: "sparse".into(), sparse_tensor: Some(Box::new(sparse())), ..Default::default() },
        AttributeProto { name: "type".into(), tp: Some(Box::new(tensor_type())), ..Default::default() },
        AttributeProto { name: "reference".into(), ref_attr_name: "outer".into(), ..Default::default() },
        AttributeProto { name: "floats".into(), floats: vec![1.5, f32::NAN], ..Default::default() },
        AttributeProto { name: "ints".into(), ints: vec![i64::MIN, 300], ..Default::default() },
        AttributeProto { name: "strings".into(), strings: vec![Bytes::from_static(b"a")], ..Default::default() },
        AttributeProto { name: "tensors".into(), tensors: vec![typed_lists()], ..Default::default() },
        AttributeProto { name: "graphs".into(), graphs: vec![GraphProto::default()], ..Default::default() },
        AttributeProto { name: "sparses".into(), sparse_tensors: vec![sparse()], ..Default::default() },
        AttributeProto { name: "types".into(), type_protos: vec![tensor_type()], ..Default::default() },
    ];
    model(GraphProto { node: vec![everything], ..Default::default() })
}

fn function_training_devices() -> ModelProto {
    let mut all = relu();
    all.functions = vec![FunctionProto {
        name: "Double".into(),
        domain: "example".into(),
        overload: "first".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        attribute: vec!["alpha".into()],
        attribute_proto: vec![AttributeProto { name: "beta".into(), i: Some(2), ..Default::default() }],
        node: vec![node("Add", &["a", "a"], &["b"])],
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 21 }],
        value_info: vec![value("b", tensor_type())],
        metadata_props: vec![note()],
        ..Default::default()
    }];
    all.training_info = vec![TrainingInfoProto {
        initialization: Some(GraphProto { name: "start".into(), ..Default::default() }),
        algorithm: Some(GraphProto { name: "step".into(), ..Default::default() }),
        initialization_binding: vec![note()],
        update_binding: vec![note()],
    }];
    all.configuration =
        vec![DeviceConfigurationProto { name: "two".into(), num_devices: 2, device: vec!["a".into(), "b".into()] }];
    let split = SimpleShardedDimProto {
        dim: Some(simple_sharded_dim_proto::Dim::DimParam("batch".into())),
        num_shards: Some(2),
    };
    let spread = NodeDeviceConfigurationProto {
        configuration_id: "two".into(),
        sharding_spec: vec![ShardingSpecProto {
            tensor_name: "x".into(),
            device: vec![0, -1],
            index_to_device_group_map: vec![IntIntListEntryProto { key: -1, value: vec![0, 1] }],
            sharded_dim: vec![ShardedDimProto { axis: Some(0), simple_sharding: vec![split] }],
        }],
        pipeline_stage: Some(0),
    };
    if let Some(first) = all.graph.iter_mut().flat_map(|graph| &mut graph.node).next() {
        first.device_configurations = vec![spread];
    }
    all
}

fn every_type() -> ModelProto {
    use type_proto::Value;
    let of = |value| TypeProto { value: Some(value), denotation: "IMAGE".into() };
    let boxed = || Some(Box::new(tensor_type()));
    let types = [
        tensor_type(),
        of(Value::SequenceType(Box::new(type_proto::Sequence { elem_type: boxed() }))),
        of(Value::MapType(Box::new(type_proto::Map { key_type: DataType::Int64 as i32, value_type: boxed() }))),
        of(Value::OptionalType(Box::new(type_proto::Optional { elem_type: boxed() }))),
        of(Value::SparseTensorType(type_proto::SparseTensor {
            elem_type: 1,
            shape: Some(TensorShapeProto::default()),
        })),
        of(Value::OpaqueType(type_proto::Opaque { domain: "example".into(), name: "thing".into() })),
    ];
    let input = types.into_iter().enumerate().map(|(i, r#type)| value(&format!("x{i}"), r#type)).collect();
    model(GraphProto { input, value_info: vec![value("h", tensor_type())], ..Default::default() })
}

fn raw() -> TensorProto {
    TensorProto {
        dims: vec![2],
        data_type: DataType::Float as i32,
        name: "raw".into(),
        raw_data: Some(Bytes::from_static(&[0, 0, 128, 63, 0, 0, 0, 64])),
        ..Default::default()
    }
}

fn typed_lists() -> TensorProto {
    TensorProto {
        dims: vec![1, 3],
        data_type: DataType::Int64 as i32,
        name: "lists".into(),
        doc_string: "every list at once".into(),
        segment: Some(Box::new(tensor_proto::Segment { begin: Some(0), end: Some(3) })),
        float_data: vec![0.5, f32::INFINITY],
        int32_data: vec![-1, 70_000],
        string_data: vec![Bytes::from_static(b"text"), Bytes::new()],
        int64_data: vec![-1, 0, 300],
        double_data: vec![0.25],
        uint64_data: vec![u64::MAX, 1],
        metadata_props: vec![note()],
        ..Default::default()
    }
}

fn external() -> TensorProto {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.into(), value: value.into() };
    TensorProto {
        dims: vec![1024],
        data_type: DataType::Float16 as i32,
        name: "external".into(),
        data_location: DataLocation::External as i32,
        external_data: vec![entry("location", "model.data"), entry("offset", "4096"), entry("length", "2048")],
        ..Default::default()
    }
}

fn sparse() -> SparseTensorProto {
    SparseTensorProto { values: Some(Box::new(raw())), indices: Some(Box::new(typed_lists())), dims: vec![4, 4] }
}

fn sequence() -> SequenceProto {
    let map = MapProto {
        name: "map".into(),
        key_type: DataType::String as i32,
        keys: vec![1],
        string_keys: vec![Bytes::from_static(b"key")],
        values: Some(SequenceProto { tensor_values: vec![raw()], ..Default::default() }),
    };
    SequenceProto {
        name: "sequence".into(),
        elem_type: sequence_proto::DataType::Tensor as i32,
        tensor_values: vec![raw(), typed_lists()],
        sparse_tensor_values: vec![sparse()],
        sequence_values: vec![SequenceProto::default()],
        map_values: vec![map],
        optional_values: vec![OptionalProto::default()],
    }
}

fn optional() -> OptionalProto {
    OptionalProto {
        name: "optional".into(),
        elem_type: optional_proto::DataType::Sequence as i32,
        sequence_value: Some(sequence()),
        sparse_tensor_value: Some(Box::new(sparse())),
        tensor_value: Some(Box::new(raw())),
        ..Default::default()
    }
}
