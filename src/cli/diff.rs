//! `planish diff`: how two models differ, whatever their nodes and values are called.

use super::args::{Common, print, print_json};
use super::failure::Failure;
use crate::diff::{Difference, diff};
use clap::Args;
use planish_ir::{Graph, NodeId, NodeKind, ValueId};
use serde_json::{Value as Json, json};
use std::path::PathBuf;

/// Tell how two models differ in what their nodes compute, whatever they are called
#[derive(Args)]
#[command(after_help = "Examples:\n  planish diff model.onnx optimized.onnx\n  planish diff a.onnx b.onnx --json\n\n\
    Exit code 0 if the graphs are equal, 1 if they differ.")]
pub struct Diff {
    a: PathBuf,
    b: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Diff {
    pub fn run(&self) -> Result<(), Failure> {
        let (a, b) = (self.common.load(&self.a)?.graph, self.common.load(&self.b)?.graph);
        let found = diff(&a, &b).map_err(|e| Failure::bad(e.to_string()))?;
        let signatures = signature_changes(&a, &b);
        let is_equal = found.only_a.is_empty() && found.only_b.is_empty() && signatures.is_empty();
        if self.common.json {
            let nodes = |graph: &Graph, ids: &[NodeId]| ids.iter().map(|&id| node_json(graph, id)).collect::<Vec<_>>();
            print_json(&json!({
                "equal": is_equal, "equal_nodes": found.num_equal, "signature": signatures,
                "only_a": nodes(&a, &found.only_a), "only_b": nodes(&b, &found.only_b),
            }))?;
        } else {
            print(&render(&a, &b, &found, &signatures))?;
        }
        if is_equal { Ok(()) } else { Err(Failure::Reported) }
    }
}

/// Inputs and outputs that only one graph has, or that are of another type.
fn signature_changes(a: &Graph, b: &Graph) -> Vec<String> {
    let lines = |graph: &Graph| -> Vec<String> {
        let inputs = graph.inputs().map(|v| format!("input {} {}", graph.value_name(v), graph.fact(v).ty));
        let outputs = graph.outputs().iter().map(|o| format!("output {} {}", o.name, graph.fact(o.value).ty));
        inputs.chain(outputs).collect()
    };
    let (of_a, of_b) = (lines(a), lines(b));
    let only_a = of_a.iter().filter(|line| !of_b.contains(line)).map(|line| format!("- {line}"));
    let only_b = of_b.iter().filter(|line| !of_a.contains(line)).map(|line| format!("+ {line}"));
    only_a.chain(only_b).collect()
}

fn node_json(graph: &Graph, id: NodeId) -> Json {
    let operator = graph.node(id).operator().map(|o| o.full_name());
    let outputs: Vec<&str> = graph.node_outputs(id).map(|v| graph.value_name(v)).collect();
    json!({"operator": operator, "node": graph.describe(id), "outputs": outputs})
}

fn render(a: &Graph, b: &Graph, found: &Difference, signatures: &[String]) -> String {
    let mut text: String = signatures.iter().map(|line| format!("{line}\n")).collect();
    for (sign, graph, ids) in [("-", a, &found.only_a), ("+", b, &found.only_b)] {
        for &id in ids {
            text.push_str(&format!("{sign} {}\n", node_text(graph, id)));
        }
    }
    let (only_a, only_b) = (found.only_a.len(), found.only_b.len());
    text + &format!("{} equal nodes, {only_a} only in the first, {only_b} only in the second\n", found.num_equal)
}

/// A node as in the textual syntax, without attributes; constants by their type.
fn node_text(graph: &Graph, id: NodeId) -> String {
    let name = |value: ValueId| match &graph.node(value.node).kind {
        NodeKind::Constant(tensor) => format!("{tensor:?}"),
        _ => graph.value_name(value).to_owned(),
    };
    let outputs: Vec<&str> = graph.node_outputs(id).map(|v| graph.value_name(v)).collect();
    let inputs: Vec<String> = graph.node_inputs(id).iter().map(|v| v.map_or_else(String::new, name)).collect();
    let operator = graph.node(id).operator().map(|o| o.full_name()).unwrap_or_default();
    format!("{} = {operator} ({})", outputs.join(", "), inputs.join(", "))
}
