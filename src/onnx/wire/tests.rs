//! Faults of every kind, each with its place; then bytes nobody chose.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::{
    MAX_ATTRIBUTES_PER_NODE, MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, Outline, WireError, WireErrorKind, WireMessage,
    decode, decode_model,
};
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, OptionalProto, SequenceProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, tensor_proto, tensor_shape_proto, type_proto,
};

/// A model with a bit of everything: strings, numbers packed and not, bytes, a subgraph, types.
fn small_model() -> ModelProto {
    let weight = TensorProto {
        dims: vec![2],
        data_type: tensor_proto::DataType::Float as i32,
        name: "w".into(),
        raw_data: Some(Bytes::from_static(&[0, 0, 128, 63, 0, 0, 0, 64])),
        ..Default::default()
    };
    let index = TensorProto {
        dims: vec![3],
        data_type: tensor_proto::DataType::Int64 as i32,
        int64_data: vec![-1, 0, 300],
        float_data: vec![0.5],
        double_data: vec![0.25],
        ..Default::default()
    };
    let body = GraphProto { name: "body".into(), node: vec![node("Neg", "y", "z")], ..Default::default() };
    let mut control = node("If", "x", "y");
    control.attribute = vec![
        AttributeProto { name: "then_branch".into(), g: Some(Box::new(body)), ..Default::default() },
        AttributeProto { name: "ints".into(), ints: vec![1, -2], floats: vec![1.5], ..Default::default() },
        AttributeProto { name: "value".into(), t: Some(Box::new(index)), ..Default::default() },
    ];
    ModelProto {
        ir_version: 10,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 21 }],
        producer_name: "größe".into(),
        graph: Some(GraphProto {
            node: vec![node("Relu", "x", "h"), control],
            initializer: vec![weight],
            input: vec![value("x")],
            output: vec![value("y")],
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn node(op_type: &str, input: &str, output: &str) -> NodeProto {
    NodeProto { op_type: op_type.into(), input: vec![input.into()], output: vec![output.into()], ..Default::default() }
}

fn value(name: &str) -> ValueInfoProto {
    let symbol = tensor_shape_proto::dimension::Value::DimParam("batch".into());
    let dim = tensor_shape_proto::Dimension { value: Some(symbol), ..Default::default() };
    let tensor = type_proto::Tensor { elem_type: 1, shape: Some(TensorShapeProto { dim: vec![dim] }) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() }),
        ..Default::default()
    }
}

/// A tag, a length and the bytes: one field of wire type 2 with a number below 16.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(payload.len(), &mut out).expect("a vector grows");
    out.extend_from_slice(payload);
    out
}

fn refused<M: WireMessage>(file: impl Into<Vec<u8>>) -> WireError {
    decode::<M>(Bytes::from(file.into())).err().expect("the file has a fault")
}

#[test]
fn a_sound_model_decodes_to_what_was_encoded() {
    let model = small_model();
    assert_eq!(decode_model(model.encode_to_vec().into()).expect("it is sound"), model);
}

#[test]
fn nothing_is_a_message_of_nothing() {
    assert_eq!(decode_model(Bytes::new()).expect("it is sound"), ModelProto::default());
}

#[test]
fn byte_fields_share_the_file() {
    let file = Bytes::from(small_model().encode_to_vec());
    let model = decode_model(file.clone()).expect("it is sound");
    let weight = model.graph.as_ref().and_then(|graph| graph.initializer.first()).expect("it has one");
    let raw = weight.raw_data.as_ref().expect("it is raw");
    assert!(file.as_ptr_range().contains(&raw.as_ptr()));
}

#[test]
fn numbers_are_read_packed_and_unpacked() {
    let unpacked = [0x38, 1, 0x38, 2]; // int64_data twice
    let packed = [0x0a, 2, 3, 4]; // dims
    let tensor: TensorProto = decode(Bytes::from([unpacked, packed].concat())).expect("it is sound");
    assert_eq!((tensor.int64_data, tensor.dims), (vec![1, 2], vec![3, 4]));
}

#[test]
fn unknown_fields_of_every_wire_type_are_passed_over() {
    let unknown = b"\xa0\x3f\x05\xa1\x3f12345678\xa2\x3f\x02ab\xa5\x3f1234";
    assert_eq!(decode_model(Bytes::from_static(unknown)).expect("it is sound"), ModelProto::default());
}

#[test]
fn each_fault_is_named_with_its_place() {
    struct Case {
        file: Vec<u8>,
        kind: WireErrorKind,
        offset: usize,
        message: &'static str,
    }
    let node = |payload: &[u8]| field(7, &field(1, payload));
    let cases = [
        Case {
            file: vec![0x80],
            kind: WireErrorKind::Truncated,
            offset: 0,
            message: "ModelProto: tag at byte 0 is cut off",
        },
        Case {
            file: vec![0x08, 0x80],
            kind: WireErrorKind::Truncated,
            offset: 1,
            message: "ir_version: value at byte 1 is cut off",
        },
        Case {
            file: [&[0x08][..], &[0xff; 9], &[0x02]].concat(),
            kind: WireErrorKind::BadVarint,
            offset: 1,
            message: "ir_version: value at byte 1 has more than 64 bits",
        },
        Case {
            file: vec![0x00, 0x00],
            kind: WireErrorKind::BadTag,
            offset: 0,
            message: "ModelProto: field number 0 at byte 0 does not exist",
        },
        Case {
            file: vec![0xf8, 0xff, 0xff, 0xff, 0x1f, 0x00],
            kind: WireErrorKind::BadTag,
            offset: 0,
            message: "ModelProto: field number 1073741823 at byte 0 does not exist",
        },
        Case {
            file: node(&[0x0e]),
            kind: WireErrorKind::BadTag,
            offset: 4,
            message: "graph.node[0]: wire type 6 at byte 4 does not exist",
        },
        Case {
            file: node(&[0x0b, 0x0c]),
            kind: WireErrorKind::BadTag,
            offset: 4,
            message: "graph.node[0]: group at byte 4; ONNX has none",
        },
        Case {
            file: node(&[0x08, 0x01]),
            kind: WireErrorKind::WrongWireType,
            offset: 4,
            message: "graph.node[0].input[0]: wire type 0 at byte 4 is not that of this field",
        },
        Case {
            file: [node(&[]), vec![0x3a, 0x00]].concat(),
            kind: WireErrorKind::Duplicate,
            offset: 4,
            message: "graph: appears again at byte 4",
        },
        Case {
            file: field(7, &[0x0a, 0x00, 0x0a, 0x06, 0x2a, 0x04, 0x2a, 0x90, 0x03, 0x00]),
            kind: WireErrorKind::Truncated,
            offset: 9,
            message: "graph.node[1].attribute[0].t: length 400 at byte 9 runs past the end (1 bytes left)",
        },
        Case {
            file: node(&[0x0a, 0x01, b'a', 0x0a, 0x03, b'a', 0xff, b'b']),
            kind: WireErrorKind::InvalidUtf8,
            offset: 10,
            message: "graph.node[0].input[1]: byte 10 is not UTF-8",
        },
        Case {
            file: field(7, &field(5, &field(4, &[0, 0, 0]))),
            kind: WireErrorKind::Truncated,
            offset: 9,
            message: "graph.initializer[0].float_data[0]: 3 bytes before byte 9 are no whole number of 4-byte values",
        },
        Case {
            file: field(7, &field(5, &field(7, &[0x01, 0x80]))),
            kind: WireErrorKind::Truncated,
            offset: 7,
            message: "graph.initializer[0].int64_data[0]: value at byte 7 is cut off",
        },
    ];
    for case in cases {
        let error = refused::<ModelProto>(case.file);
        assert_eq!(error.to_string(), case.message);
        assert_eq!((error.kind(), error.offset()), (case.kind, case.offset), "{error}");
    }
}

/// A node with a body whose node has a body and so on, `depth` messages deep.
fn nested_bodies(depth: usize) -> Vec<u8> {
    let way_in = [5, 6, 1]; // NodeProto.attribute, AttributeProto.g, GraphProto.node
    (1..depth).rev().fold(Vec::new(), |inner, level| field(way_in[(level - 1) % 3], &inner))
}

#[test]
fn nesting_ends_at_the_limit() {
    let file = Bytes::from(nested_bodies(MAX_DEPTH));
    let decoded = std::thread::Builder::new().stack_size(512 << 10).spawn(move || decode::<NodeProto>(file).map(drop));
    decoded.expect("a thread starts").join().expect("the stack suffices").expect("it is sound");

    let error = refused::<NodeProto>(nested_bodies(MAX_DEPTH + 1));
    assert_eq!(error.kind(), WireErrorKind::TooDeep);
    assert!(error.to_string().starts_with("attribute[0].g.node[0].attribute[0].g"), "{error}");
    assert!(error.to_string().ends_with("are nested deeper than 100"), "{error}");
}

#[test]
fn nesting_is_limited_before_prost_limits_it() {
    let unknown_innermost = (1..MAX_DEPTH).fold(vec![0x78, 0x00], |inner, _| field(5, &inner));
    decode::<SequenceProto>(unknown_innermost.into()).expect("it is sound");
}

#[test]
fn masses_of_empty_messages_are_refused() {
    let empty_nodes = field(7, &[0x0a, 0x00].repeat(100_000));
    let error = refused::<ModelProto>(empty_nodes);
    assert_eq!(error.kind(), WireErrorKind::TooMuchMemory);
    assert!(error.to_string().starts_with("graph.node["), "{error}");

    let empty_strings = [0x0a, 0x00].repeat((1 << 21) + 1);
    assert_eq!(refused::<NodeProto>(empty_strings).kind(), WireErrorKind::TooMuchMemory);
}

#[test]
fn small_numbers_in_masses_are_no_attack() {
    let zeros = field(7, &vec![0; (1 << 20) + 1]);
    let tensor: TensorProto = decode(zeros.into()).expect("it is sound");
    assert_eq!(tensor.int64_data.len(), (1 << 20) + 1);
}

#[test]
fn attributes_of_a_node_are_limited() {
    let with = |count: usize| [0x2a, 0x00].repeat(count);
    decode::<NodeProto>(with(MAX_ATTRIBUTES_PER_NODE).into()).expect("it is sound");
    let error = refused::<NodeProto>(with(MAX_ATTRIBUTES_PER_NODE + 1));
    assert_eq!(error.to_string(), "attribute[256]: more than 256 attributes at byte 512");
}

#[test]
fn nodes_of_a_file_are_limited() {
    let room = [&[0xa2, 0x3f][..], &[0x80, 0x80, 0x80, 0x08], &vec![0; 1 << 24]].concat(); // an unknown field
    let nodes = [0x0a, 0x00].repeat(MAX_NODES + 1);
    let error = refused::<GraphProto>([room, nodes].concat());
    assert_eq!(error.kind(), WireErrorKind::TooMany);
    assert!(error.to_string().starts_with("node[1000000]: more than 1000000 nodes at byte "), "{error}");
}

#[test]
fn a_file_beyond_the_limit_is_refused_unread() {
    let error = refused::<ModelProto>(vec![0; MAX_FILE_BYTES + 1]);
    assert_eq!(error.to_string(), "ModelProto: 2147483648 bytes; a protobuf file holds at most 2147483647");
}

#[test]
fn every_cut_of_a_model_is_refused_within_it_or_sound() {
    let file = Bytes::from(small_model().encode_to_vec());
    let whole = decode_model(file.clone()).expect("it is sound");
    for length in 0..file.len() {
        match decode_model(file.slice(..length)) {
            Ok(model) => assert_ne!(model, whole, "cut at {length}"),
            Err(error) => assert!(error.offset() <= length, "cut at {length}: {error}"),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = Bytes::from(bytes);
        let _ = decode::<ModelProto>(bytes.clone());
        let _ = decode::<TensorProto>(bytes.clone());
        let _ = decode::<OptionalProto>(bytes);
    }

    #[test]
    fn a_mutated_model_is_answered(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut file = small_model().encode_to_vec();
        for (place, byte) in edits {
            *place.get_mut(&mut file) = byte;
        }
        let length = file.len();
        if let Err(error) = decode_model(file.into()) {
            prop_assert!(error.offset() <= length);
        }
    }
}

/// What an outline makes of a file of these bytes.
fn outline(name: &str, bytes: &[u8]) -> Outline {
    let path = std::env::temp_dir().join(format!("planish-outline-{name}-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("it is written");
    let mut file = std::fs::File::open(&path).expect("it is there");
    let outline = Outline::read(&mut file).expect("it is read");
    std::fs::remove_file(&path).expect("it is there");
    outline
}

#[test]
fn an_outline_leaves_out_long_payloads_and_nothing_else() {
    let payload: Bytes = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let mut model = small_model();
    let graph = model.graph.as_mut().expect("it has one");
    for i in 0..3 {
        let raw_data = Some(payload.slice(i..payload.len() - 7 * i));
        graph.initializer.push(TensorProto { name: format!("{i}"), raw_data, ..Default::default() });
    }
    let text = AttributeProto { name: "long".into(), s: Some(payload), ..Default::default() };
    graph.node[0].attribute.push(text);
    let bytes = model.encode_to_vec();

    let whole = outline("whole", &bytes);
    let mut decoded = decode_model(whole.bytes.clone()).expect("it is a model");
    let mut num_gaps = 0;
    for tensor in &mut decoded.graph.as_mut().expect("it has one").initializer {
        let raw = tensor.raw_data.take().expect("it is raw");
        match whole.gap(&raw) {
            Some(start) => {
                num_gaps += 1;
                tensor.raw_data = Some(Bytes::copy_from_slice(&bytes[start..start + raw.len()]));
            }
            None => tensor.raw_data = Some(raw),
        }
    }
    assert_eq!((num_gaps, decoded), (3, model));

    for end in (0..bytes.len()).step_by(997).chain([bytes.len() - 1]) {
        let cut = &bytes[..end];
        let error = |bytes: Bytes| decode_model(bytes).err().map(|e| e.to_string());
        assert_eq!(error(outline("cut", cut).bytes), error(Bytes::copy_from_slice(cut)), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn a_broken_file_has_the_same_fault_with_gaps(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut model = small_model();
        let raw_data = Some(vec![0; 70_000].into());
        let graph = model.graph.as_mut().expect("it has one");
        graph.initializer.push(TensorProto { name: "long".into(), raw_data, ..Default::default() });
        let mut bytes = model.encode_to_vec();
        let payload = bytes.windows(70_000).position(|w| w.iter().all(|&byte| byte == 0)).expect("it is in the file");
        for (index, byte) in changes {
            let at = index.index(bytes.len() - 70_000);
            bytes[if at < payload { at } else { at + 70_000 }] = byte;
        }
        let expected = decode_model(bytes.clone().into()).map_err(|e| e.to_string());
        let decoded = decode_model(outline("broken", &bytes).bytes).map_err(|e| e.to_string());
        // The payload is zeros in both.
        prop_assert_eq!(decoded, expected);
    }
}
