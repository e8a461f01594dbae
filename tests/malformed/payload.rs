//! Tensors that do not hold what they say they hold, wherever a tensor can hang.

use super::Answer::{Import, Runs};
use super::build::{Net, body, call, floats, function, ints, op, opset, raw, sparse, tensor};
use super::{Case, case};
use planish::DType::{self, Bool, F32, F64, I4, I8, I64, String as Text, U8, U64};
use planish::ImportErrorKind::{self, External, Invalid, Limit, Memory};
use planish::onnx::proto::tensor_proto::DataLocation;
use planish::onnx::proto::{StringStringEntryProto, TensorProto};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (fault, kind, tensor) in faults() {
        for (place, build) in PLACES {
            cases.push(case(format!("payload_{fault}_in_{place}"), Import(kind), build(tensor.clone()).bytes()));
        }
    }
    cases.extend(sparse_cases());
    cases
}

/// Tensors called `w` that no place may accept.
fn faults() -> Vec<(&'static str, ImportErrorKind, TensorProto)> {
    let w = |dtype, dims: &[i64]| tensor("w", dtype, dims);
    vec![
        ("raw_short", Invalid, raw("w", F32, &[110], 12)),
        ("raw_long", Invalid, raw("w", F32, &[2], 12)),
        ("raw_of_odd_length", Invalid, raw("w", F32, &[2], 7)),
        ("raw_for_nothing", Invalid, raw("w", F32, &[0], 4)),
        ("raw_int4_short", Invalid, raw("w", I4, &[5], 2)),
        ("raw_strings", Invalid, raw("w", Text, &[2], 2)),
        ("nothing", Invalid, w(F32, &[1_000_000])),
        ("floats_short", Invalid, floats("w", &[3], &[1.0, 2.0])),
        ("ints_long", Invalid, ints("w", &[1], &[1, 2])),
        ("doubles_short", Invalid, TensorProto { double_data: vec![1.0], ..w(F64, &[2]) }),
        ("unsigned_short", Invalid, TensorProto { uint64_data: vec![1], ..w(U64, &[2]) }),
        ("strings_short", Invalid, TensorProto { string_data: vec!["a".into()], ..w(Text, &[2]) }),
        ("strings_not_utf8", Invalid, TensorProto { string_data: vec![vec![0xff].into()], ..w(Text, &[1]) }),
        ("int4_unpacked", Invalid, TensorProto { int32_data: vec![1, 2, 3, 4], ..w(I4, &[4]) }),
        ("int8_out_of_range", Invalid, TensorProto { int32_data: vec![300], ..w(I8, &[1]) }),
        ("uint8_negative", Invalid, TensorProto { int32_data: vec![-1], ..w(U8, &[1]) }),
        ("wrong_field", Invalid, TensorProto { int64_data: vec![1], ..w(F32, &[1]) }),
        ("two_fields", Invalid, TensorProto { float_data: vec![1.0], ..raw("w", F32, &[1], 4) }),
        ("dims_negative", Invalid, raw("w", F32, &[-1], 4)),
        ("dims_overflowing", Invalid, raw("w", F32, &[1 << 40, 1 << 40], 4)),
        ("dims_overflowing_past_zero", Invalid, raw("w", F32, &[1 << 40, 1 << 40, 0], 4)),
        ("dims_times_size_overflowing", Invalid, raw("w", F64, &[i64::MAX / 4], 8)),
        ("dims_without_end", Invalid, raw("w", F32, &[1; 5000], 4)),
        ("dtype_absent", Invalid, TensorProto { data_type: 0, ..raw("w", F32, &[1], 4) }),
        ("dtype_unknown", Invalid, TensorProto { data_type: 99, ..raw("w", F32, &[1], 4) }),
        ("file_of_a_model_in_memory", External, in_file("/etc/passwd")),
    ]
}

fn in_file(location: &str) -> TensorProto {
    TensorProto {
        data_location: DataLocation::External.into(),
        external_data: vec![StringStringEntryProto { key: "location".into(), value: location.into() }],
        ..tensor("w", F32, &[1])
    }
}

type Place = (&'static str, fn(TensorProto) -> Net);

/// Where a tensor can hang. The elements of sparse tensors have fewer forms, and cases of their own.
const PLACES: [Place; 5] = [
    ("initializer", |t| net().initializer(t).node(op("Shape", "w", "y"))),
    ("constant", |t| net().node(op("Constant", "", "w").tensor("value", t)).node(op("Shape", "w", "y"))),
    ("attribute", |t| net().node(op("Frobnicate", "x", "y").tensor("t", t))),
    ("function", |t| {
        let constant = op("Constant", "", "w").tensor("value", t);
        net().function(function("F", "a", vec![constant, op("Shape", "w", "b")], "b")).node(call("F", "x", "y"))
    }),
    ("body", |t| {
        let mut with = body("", vec![op("Shape", "w", "s")], "s");
        with.initializer.push(t);
        let without = body("", vec![op("Shape", "x", "r")], "r");
        net().node(op("If", "c", "y").body("then_branch", with).body("else_branch", without))
    }),
];

fn net() -> Net {
    let net = Net::new().input("x", F32, &[2]).input("c", Bool, &[]).outputs("y");
    net.model(|m| m.opset_import.push(opset("local", 1)))
}

fn sparse_cases() -> Vec<Case> {
    let dense_of = |dims: &[i64], indices: TensorProto, values: &[f32]| {
        let tensor = sparse("w", dims, indices, values);
        net().graph(|g| g.sparse_initializer.push(tensor)).node(op("Shape", "w", "y"))
    };
    let constant_of = |dims: &[i64], indices: TensorProto, values: &[f32]| {
        let tensor = sparse("", dims, indices, values);
        net().node(op("Constant", "", "w").sparse("sparse_value", tensor)).node(op("Shape", "w", "y"))
    };
    let hollow = |change: fn(&mut TensorProto)| {
        let mut tensor = sparse("w", &[4], ints("", &[1], &[0]), &[1.0]);
        change(tensor.values.as_mut().expect("it has values"));
        net().graph(|g| g.sparse_initializer.push(tensor)).node(op("Shape", "w", "y")).bytes()
    };
    let one = |index: i64| ints("", &[1], &[index]);
    vec![
        case("sparse_sound", Runs, dense_of(&[4], one(3), &[1.0]).bytes()),
        case("sparse_index_beyond_end", Import(Invalid), dense_of(&[4], one(4), &[1.0]).bytes()),
        case("sparse_index_negative", Import(Invalid), dense_of(&[4], one(-1), &[1.0]).bytes()),
        case("sparse_index_of_a_row_beyond_end", Import(Invalid), {
            dense_of(&[2, 2], ints("", &[1, 2], &[0, 3]), &[1.0]).bytes()
        }),
        case("sparse_indices_of_another_rank", Import(Invalid), {
            dense_of(&[2, 2], ints("", &[1, 3], &[0, 0, 0]), &[1.0]).bytes()
        }),
        case("sparse_indices_of_another_length", Import(Invalid), {
            dense_of(&[4], ints("", &[2], &[0, 1]), &[1.0]).bytes()
        }),
        case("sparse_indices_of_floats", Import(Invalid), dense_of(&[4], floats("", &[1], &[0.0]), &[1.0]).bytes()),
        case("sparse_of_no_shape", Import(Invalid), dense_of(&[-4], one(0), &[1.0]).bytes()),
        case("sparse_bomb", Import(Limit), dense_of(&[1 << 30], one(0), &[1.0]).bytes()),
        case("sparse_bomb_below_the_free_size", Import(Memory), dense_of(&[4 << 20], one(0), &[1.0]).bytes()),
        case("sparse_bomb_in_constant", Import(Limit), constant_of(&[1 << 20, 1 << 20], one(0), &[1.0]).bytes()),
        case("sparse_index_beyond_end_in_constant", Import(Invalid), constant_of(&[4], one(4), &[1.0]).bytes()),
        case("sparse_values_short", Import(Invalid), hollow(|values| values.float_data.clear())),
        case("sparse_values_in_file", Import(External), {
            hollow(|values| *values = TensorProto { name: "w".into(), ..in_file("/etc/passwd") })
        }),
        case("sparse_values_of_strings", Import(ImportErrorKind::Unsupported), {
            hollow(|values| {
                *values = TensorProto { string_data: vec!["a".into()], ..tensor("w", DType::String, &[1]) };
            })
        }),
        case("sparse_without_values", Import(Invalid), {
            let mut tensor = sparse("w", &[4], one(0), &[1.0]);
            tensor.values = None;
            net().graph(|g| g.sparse_initializer.push(tensor)).node(op("Shape", "w", "y")).bytes()
        }),
        case("sparse_without_indices", Import(Invalid), {
            let mut tensor = sparse("w", &[4], one(0), &[1.0]);
            tensor.indices = None;
            net().graph(|g| g.sparse_initializer.push(tensor)).node(op("Shape", "w", "y")).bytes()
        }),
        case("constant_without_value", Import(Invalid), net().node(op("Constant", "", "y")).bytes()),
        case("constant_with_two_values", Import(Invalid), {
            net().node(op("Constant", "", "y").int("value_int", 1).float("value_float", 1.0)).bytes()
        }),
        case(
            "constant_of_unknown_name",
            Import(Invalid),
            net().node(op("Constant", "", "y").int("value_long", 1)).bytes(),
        ),
        case(
            "constant_with_an_input",
            Import(Invalid),
            net().node(op("Constant", "x", "y").int("value_int", 1)).bytes(),
        ),
        case("constant_int_of_dtype_int64_given_as_floats", Import(Invalid), {
            net()
                .node(
                    op("Constant", "", "y")
                        .tensor("value", TensorProto { float_data: vec![1.0], ..tensor("", I64, &[1]) }),
                )
                .bytes()
        }),
    ]
}
