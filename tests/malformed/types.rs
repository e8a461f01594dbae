//! Values of a kind that an operator does not take.

use super::Answer::{Import, Run, Runs, Session};
use super::Refusal;
use super::build::{Net, Node, op, tensor, tensor_type, untyped, value};
use super::{Case, case};
use planish::DType::{Bool, Complex64, F8E4M3FN, F32, I64, String as Text};
use planish::ImportErrorKind::{Invalid, Limit};
use planish::RunErrorKind;
use planish::onnx::proto::{TensorProto, TypeProto, type_proto};

pub fn cases() -> Vec<Case> {
    let of = |dtype| Net::new().input("x", dtype, &[2]);
    let unary = |net: Net, name: &str| net.node(op(name, "x", "y")).outputs("y").bytes();
    let declared = |ty: TypeProto| {
        let relu = op("Relu", "x", "y");
        Net::new().floats("w", &[1], &[0.0]).graph(|g| g.input.push(value("x", ty))).node(relu).outputs("y").bytes()
    };
    let texts = || TensorProto { string_data: vec!["a".into()], ..tensor("w", Text, &[1]) };
    vec![
        case("type_relu_of_strings", Session(Refusal::Unsupported), unary(of(Text), "Relu")),
        case("type_relu_of_bools", Session(Refusal::Unsupported), unary(of(Bool), "Relu")),
        case("type_relu_of_complex_numbers", Session(Refusal::Unsupported), unary(of(Complex64), "Relu")),
        case("type_relu_of_8_bit_floats", Session(Refusal::Unsupported), unary(of(F8E4M3FN), "Relu")),
        case("type_not_of_floats", Session(Refusal::Unsupported), unary(of(F32), "Not")),
        case("type_sequence_length_of_a_tensor", Session(Refusal::Unsupported), unary(of(F32), "SequenceLength")),
        case("type_sum_of_two_dtypes", Session(Refusal::Unsupported), {
            of(F32).input("z", I64, &[2]).node(op("Add", "x z", "y")).outputs("y").bytes()
        }),
        case("type_where_of_number_conditions", Session(Refusal::Unsupported), {
            of(F32).node(op("Where", "x x x", "y")).outputs("y").bytes()
        }),
        case("type_reshape_to_a_float_shape", Session(Refusal::Unsupported), {
            of(F32).node(op("Reshape", "x x", "y")).outputs("y").bytes()
        }),
        case("type_if_on_a_float", Session(Refusal::Unsupported), {
            of(F32).floats("w", &[1], &[0.0]).node(if_on("x")).outputs("y").bytes()
        }),
        case("type_matmul_of_strings", Session(Refusal::Unsupported), {
            Net::new().initializer(texts()).node(op("MatMul", "w w", "y")).outputs("y").bytes()
        }),
        case("type_reshape_to_strings", Session(Refusal::Unsupported), {
            of(F32).initializer(texts()).node(op("Reshape", "x w", "y")).outputs("y").bytes()
        }),
        case("type_of_unknown_dtype", Import(Invalid), {
            let tensor = type_proto::Tensor { elem_type: 99, shape: None };
            declared(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() })
        }),
        case("type_map_of_floats", Import(Invalid), {
            let map = type_proto::Map { key_type: F32.to_onnx(), value_type: Some(tensor_type(F32, &[]).into()) };
            declared(TypeProto { value: Some(type_proto::Value::MapType(map.into())), ..TypeProto::default() })
        }),
        case("type_sequence_where_a_tensor_must_be", Session(Refusal::Unsupported), declared(sequences(1))),
        case("type_nested_40_deep", Import(Limit), declared(sequences(40))),
        case("type_contradicts_what_is_made", Runs, {
            of(F32).node(op("Relu", "x", "y")).graph(|g| g.output.push(value("y", tensor_type(I64, &[7])))).bytes()
        }),
        case("type_shapes_contradict", Run(RunErrorKind::Invalid), {
            of(F32).input("z", F32, &[3]).node(op("Add", "x z", "y")).outputs("y").bytes()
        }),
        case("type_shapes_contradict_in_a_product", Run(RunErrorKind::Invalid), {
            of(F32).input("z", F32, &[3, 3]).node(op("MatMul", "x z", "y")).outputs("y").bytes()
        }),
        case("type_input_of_2_to_60_bytes", Session(Refusal::Unsupported), {
            let huge = value("h", tensor_type(F32, &[1 << 30, 1 << 30]));
            of(F32)
                .graph(|g| g.value_info.extend([huge, untyped("nobody")]))
                .node(op("Frobnicate", "x", "y"))
                .outputs("y")
                .bytes()
        }),
    ]
}

/// An `If` that gives out `w` or `w`.
fn if_on(condition: &str) -> Node {
    let branch = |name: &str| super::build::body("", vec![op("Relu", "w", name)], name);
    op("If", condition, "y").body("then_branch", branch("t")).body("else_branch", branch("e"))
}

fn sequences(levels: usize) -> TypeProto {
    (0..levels).fold(tensor_type(F32, &[]), |inner, _| {
        let sequence = type_proto::Sequence { elem_type: Some(inner.into()) };
        TypeProto { value: Some(type_proto::Value::SequenceType(sequence.into())), ..TypeProto::default() }
    })
}
