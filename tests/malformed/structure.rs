//! Graphs that do not hang together.

use super::Answer::{Import, Runs, Session};
use super::Refusal;
use super::build::{Net, floats, ints, op, opset, sparse, tensor_type, value};
use super::{Case, case};
use planish::DType::{F32, I64};
use planish::ImportErrorKind::{Invalid, Unsupported};

pub fn cases() -> Vec<Case> {
    let x = || Net::new().input("x", F32, &[2]);
    let relu = || x().node(op("Relu", "x", "y")).outputs("y");
    vec![
        case("graph_absent", Import(Invalid), Net::new().model(|m| m.graph = None).bytes()),
        case("graph_empty", Runs, Net::new().bytes()),
        case("graph_format_of_2017", Import(Unsupported), relu().model(|m| m.ir_version = 2).bytes()),
        case("graph_format_negative", Import(Unsupported), relu().model(|m| m.ir_version = i64::MIN).bytes()),
        case("graph_no_opset", Import(Invalid), relu().model(|m| m.opset_import.clear()).bytes()),
        case("graph_opset_zero", Import(Invalid), relu().model(|m| m.opset_import = vec![opset("", 0)]).bytes()),
        case("graph_opset_far_ahead", Import(Unsupported), {
            relu().model(|m| m.opset_import = vec![opset("", i64::MAX)]).bytes()
        }),
        case("graph_two_opsets", Import(Invalid), relu().model(|m| m.opset_import.push(opset("ai.onnx", 17))).bytes()),
        case("graph_domain_not_imported", Session(Refusal::Unsupported), {
            let mut node = op("Thing", "x", "y");
            node.0.domain = "elsewhere".into();
            x().node(node).outputs("y").bytes()
        }),
        case("graph_operator_unknown", Session(Refusal::Unsupported), {
            x().node(op("Frobnicate", "x", "y")).outputs("y").bytes()
        }),
        case("graph_operator_without_name", Session(Refusal::Unsupported), {
            x().node(op("", "x", "y")).outputs("y").bytes()
        }),
        case("graph_input_of_nobody", Import(Invalid), x().node(op("Relu", "z", "y")).outputs("y").bytes()),
        case("graph_output_of_nobody", Import(Invalid), relu().outputs("z").bytes()),
        case("graph_output_without_name", Import(Invalid), {
            relu().graph(|g| g.output.push(value("", tensor_type(F32, &[2])))).bytes()
        }),
        case("graph_output_twice", Import(Invalid), relu().outputs("y").bytes()),
        case("graph_node_reads_itself", Import(Invalid), x().node(op("Add", "x y", "y")).outputs("y").bytes()),
        case("graph_nodes_in_a_circle", Import(Invalid), {
            x().node(op("Add", "x b", "a")).node(op("Relu", "a", "b")).outputs("b").bytes()
        }),
        case("graph_node_without_inputs", Import(Invalid), x().node(op("Relu", "", "y")).outputs("y").bytes()),
        case("graph_node_without_first_input", Import(Invalid), x().node(op("Sub", "_ x", "y")).outputs("y").bytes()),
        case("graph_node_with_too_many_inputs", Import(Invalid), x().node(op("Relu", "x x", "y")).outputs("y").bytes()),
        case(
            "graph_node_with_too_many_outputs",
            Import(Invalid),
            x().node(op("Relu", "x", "y z")).outputs("y").bytes(),
        ),
        case("graph_node_without_outputs", Import(Invalid), relu().node(op("Relu", "x", "")).bytes()),
        case("graph_two_nodes_make_one_value", Import(Invalid), relu().node(op("Sigmoid", "x", "y")).bytes()),
        case(
            "graph_node_makes_one_value_twice",
            Import(Invalid),
            x().node(op("Split", "x", "y y")).outputs("y").bytes(),
        ),
        case("graph_node_makes_an_input", Import(Invalid), relu().node(op("Relu", "y", "x")).bytes()),
        case("graph_node_makes_an_initializer", Import(Invalid), relu().floats("y", &[2], &[0.0; 2]).bytes()),
        case("graph_input_twice", Import(Invalid), relu().input("x", F32, &[2]).bytes()),
        case("graph_input_without_name", Import(Invalid), relu().input("", F32, &[2]).bytes()),
        case("graph_initializer_twice", Import(Invalid), {
            relu().floats("w", &[1], &[0.0]).floats("w", &[1], &[1.0]).bytes()
        }),
        case("graph_initializer_without_name", Import(Invalid), relu().floats("", &[1], &[0.0]).bytes()),
        case("graph_initializer_also_sparse", Import(Invalid), {
            let also = sparse("w", &[1], ints("", &[1], &[0]), &[1.0]);
            relu().initializer(floats("w", &[1], &[0.0])).graph(|g| g.sparse_initializer.push(also)).bytes()
        }),
        case("graph_initializer_of_another_type_than_its_input", Import(Invalid), {
            relu().input("w", I64, &[3]).floats("w", &[1], &[0.0]).bytes()
        }),
        case("graph_attribute_twice", Import(Invalid), {
            x().node(op("Softmax", "x", "y").int("axis", 0).int("axis", 0)).outputs("y").bytes()
        }),
    ]
}
