//! Graphs in graphs and functions that call functions.

use super::Answer::{Import, Runs};
use super::build::{Net, Node, body, call, function, op, opset};
use super::{Case, case};
use planish::DType::{Bool, F32};
use planish::ImportErrorKind::{Invalid, Limit};

pub fn cases() -> Vec<Case> {
    let net = || {
        let net = Net::new().input("x", F32, &[2]).input("c", Bool, &[]);
        net.model(|m| m.opset_import.push(opset("local", 1)))
    };
    let calls = |name: &str| net().node(call(name, "x", "y")).outputs("y");
    let relu = || function("F", "a", vec![op("Relu", "a", "b")], "b");
    vec![
        case("nesting_33_graphs_deep", Import(Limit), net().node(nested_if(33, "y")).outputs("y").bytes()),
        case("nesting_20_graphs_deep", Runs, net().node(nested_if(20, "y")).outputs("y").bytes()),
        case("nesting_body_reads_what_nobody_makes", Import(Invalid), {
            let bad = body("", vec![op("Relu", "nobody", "t")], "t");
            let good = body("", vec![op("Relu", "x", "e")], "e");
            net().node(op("If", "c", "y").body("then_branch", bad).body("else_branch", good)).outputs("y").bytes()
        }),
        case("nesting_body_reads_its_own_node", Import(Invalid), {
            let branch = |name: &str| body("", vec![op("Relu", "y", name)], name);
            let node = op("If", "c", "y").body("then_branch", branch("t")).body("else_branch", branch("e"));
            net().node(node).outputs("y").bytes()
        }),
        case("nesting_body_is_absent", Import(Invalid), {
            net().node(op("If", "c", "y").body("then_branch", body("", vec![], "x"))).outputs("y").bytes()
        }),
        case("nesting_branches_of_different_length", Import(Invalid), {
            let one = body("", vec![op("Relu", "x", "t")], "t");
            let two = body("", vec![op("Relu", "x", "e"), op("Neg", "x", "f")], "e f");
            net().node(op("If", "c", "y").body("then_branch", one).body("else_branch", two)).outputs("y").bytes()
        }),
        case("nesting_function_calls_itself", Import(Invalid), {
            calls("F").function(function("F", "a", vec![call("F", "a", "b")], "b")).bytes()
        }),
        case("nesting_functions_call_each_other", Import(Invalid), {
            let f = function("F", "a", vec![call("G", "a", "b")], "b");
            calls("F").function(f).function(function("G", "a", vec![call("F", "a", "b")], "b")).bytes()
        }),
        case("nesting_function_calls_itself_in_a_branch", Import(Invalid), {
            let branch = |name: &str| body("", vec![call("F", "a", name)], name);
            let choice = op("If", "k", "b").body("then_branch", branch("t")).body("else_branch", branch("e"));
            let never = op("Equal", "a a", "k");
            calls("F").function(function("F", "a", vec![never, choice], "b")).bytes()
        }),
        case("nesting_33_functions_deep", Import(Limit), chain(33, 1).bytes()),
        case("nesting_functions_that_double", Import(Limit), chain(30, 2).bytes()),
        case(
            "nesting_two_functions_of_one_name",
            Import(Invalid),
            calls("F").function(relu()).function(relu()).bytes(),
        ),
        case("nesting_call_with_too_many_inputs", Import(Invalid), {
            net().node(call("F", "x x", "y")).outputs("y").function(relu()).bytes()
        }),
        case("nesting_call_with_too_many_outputs", Import(Invalid), {
            net().node(call("F", "x", "y z")).outputs("y").function(relu()).bytes()
        }),
        case("nesting_function_reads_its_caller", Import(Invalid), {
            calls("F").function(function("F", "a", vec![op("Add", "a x", "b")], "b")).bytes()
        }),
        case("nesting_function_without_its_result", Import(Invalid), {
            calls("F").function(function("F", "a", vec![op("Relu", "a", "c")], "b")).bytes()
        }),
        case("nesting_function_input_twice", Import(Invalid), {
            let twice = function("F", "a a", vec![op("Relu", "a", "b")], "b");
            net().node(call("F", "x x", "y")).outputs("y").function(twice).bytes()
        }),
        case("nesting_attribute_reference_outside_functions", Import(Invalid), {
            let mut node = op("Softmax", "x", "y").int("axis", 0);
            node.0.attribute.iter_mut().for_each(|a| a.ref_attr_name = "outer".into());
            net().node(node).outputs("y").bytes()
        }),
        case("nesting_function_of_an_opset_far_ahead", Import(planish::ImportErrorKind::Unsupported), {
            let mut ahead = relu();
            ahead.opset_import = vec![opset("", 999)];
            calls("F").function(ahead).bytes()
        }),
    ]
}

/// `If` in both branches of `If`, so many graphs deep in the first of them.
fn nested_if(levels: usize, output: &str) -> Node {
    let flat = |name: &str| body("", vec![op("Relu", "x", name)], name);
    let (inner, other) = (format!("{output}t"), format!("{output}e"));
    let nested = match levels {
        1 => flat(&inner),
        _ => body("", vec![nested_if(levels - 1, &inner)], &inner),
    };
    op("If", "c", output).body("then_branch", nested).body("else_branch", flat(&other))
}

/// Functions of which each calls the next so many times.
fn chain(length: usize, calls: usize) -> Net {
    let mut net = Net::new().input("x", F32, &[2]).model(|m| m.opset_import.push(opset("local", 1)));
    for level in 0..length {
        let names: Vec<String> = (0..=calls).map(|i| if i == 0 { "a".into() } else { format!("v{i}") }).collect();
        let next = format!("F{}", level + 1);
        let body = names.windows(2).map(|pair| call(&next, &pair[0], &pair[1])).collect();
        net = net.function(function(&format!("F{level}"), "a", body, &names[calls]));
    }
    let last = function(&format!("F{length}"), "a", vec![op("Relu", "a", "b")], "b");
    net.function(last).node(call("F0", "x", "y")).outputs("y")
}
