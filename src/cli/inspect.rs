//! `planish inspect`: what is in a model.

use super::args::{Common, parse_bindings, print, print_json};
use super::failure::Failure;
use super::format::{Align, Table, bold, bytes, faint, formula, grouped, red};
use crate::cost::{GraphCost, graph_cost};
use crate::model::Model;
use crate::peak::{Peak, planned_peak};
use clap::Args;
use planish_ir::{Dim, Graph, NodeKind, Type, ValueId};
use planish_passes::bind_symbols;
use planish_runtime::unsupported;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

/// Look into a model: inputs, outputs, weights, operators, cost
#[derive(Args)]
#[command(
    after_help = "Examples:\n  planish inspect model.onnx\n  planish inspect model.onnx --cost --dim batch=1\n  \
    planish inspect model.onnx --text | less\n  planish inspect model.onnx --dot graph.dot"
)]
pub struct Inspect {
    model: PathBuf,
    /// Every node: operator, inputs, outputs
    #[arg(long)]
    nodes: bool,
    /// Every weight: type, shape, bytes
    #[arg(long)]
    weights: bool,
    /// MACs, parameters and output bytes of every node, and what a run takes at most
    #[arg(long)]
    cost: bool,
    /// Make a symbolic dimension this number, such as batch=1
    #[arg(long, value_name = "NAME=N")]
    dim: Vec<String>,
    /// What is known of the type and shape of every value
    #[arg(long)]
    shapes: bool,
    /// The whole graph in ONNX's textual syntax
    #[arg(long)]
    text: bool,
    /// Write the graph for Graphviz
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Inspect {
    pub fn run(&self) -> Result<(), Failure> {
        let mut model = self.common.load(&self.model)?;
        let bindings = parse_bindings(&self.dim)?;
        if !bindings.is_empty() {
            bind_symbols(&mut model.graph, &bindings);
        }
        if let Some(path) = &self.dot {
            std::fs::write(path, dot(&model.graph)).map_err(|e| Failure::bad(format!("{}: {e}", path.display())))?;
            self.common.note(&format!("wrote {}", path.display()));
        }
        if self.text {
            return print(&model.to_text());
        }
        let cost = graph_cost(&model.graph);
        let peak = self.cost.then(|| self.peak(&model));
        if self.common.json {
            return print_json(&self.document(&model, &cost, peak.as_ref()));
        }
        let mut text = summary(&model, &cost);
        for (is_asked, section) in [
            (self.nodes, nodes as fn(&Model, &GraphCost) -> String),
            (self.weights, weights),
            (self.cost, costs),
            (self.shapes, shapes),
        ] {
            if is_asked {
                text.push('\n');
                text.push_str(&section(&model, &cost));
            }
        }
        text.push_str(&peak.map_or(String::new(), |peak| render_peak(&peak)));
        print(&text)
    }

    /// What a run takes at most beside weights and inputs, of the graph that a session makes of the model; with the reason
    /// if that cannot be told.
    fn peak(&self, model: &Model) -> Result<Peak, String> {
        let mut model = model.clone();
        model.rewrite_to_run(&self.common.session_options()).map_err(|e| e.to_string())?;
        let peak = planned_peak(&model.graph);
        if peak.num_unknown == 0 {
            return Ok(peak);
        }
        let types = model.graph.inputs().map(|value| model.graph.fact(value).ty.clone()).collect::<Vec<_>>();
        let dims = types.iter().flat_map(|ty| ty.shape().unwrap_or_default());
        let symbols: BTreeSet<String> = dims.flat_map(Dim::symbols).map(|symbol| symbol.to_string()).collect();
        let names = symbols.into_iter().collect::<Vec<_>>().join(", ");
        let advice = if names.is_empty() { String::new() } else { format!("; bind {names} with --dim NAME=N") };
        Err(format!("the sizes of {} value(s) are not known{advice}", peak.num_unknown))
    }

    fn document(&self, model: &Model, cost: &GraphCost, peak: Option<&Result<Peak, String>>) -> Json {
        let graph = &model.graph;
        let slot = |name: &str, ty: &Type| json!({"name": name, "type": ty.to_string()});
        let by_dtype: BTreeMap<&str, Json> = cost
            .weights
            .iter()
            .map(|(dtype, (elements, bytes))| (dtype.name(), json!({"elements": elements, "bytes": bytes})))
            .collect();
        let opsets: BTreeMap<String, i64> =
            model.info.opset_imports.iter().map(|(domain, version)| (domain_name(domain), *version)).collect();
        let mut document = json!({
            "model": self.model.display().to_string(), "producer": model.info.producer_name,
            "producer_version": model.info.producer_version, "ir_version": model.info.ir_version, "opsets": opsets,
            "graph": graph.name,
            "inputs": graph.inputs().map(|v| slot(graph.value_name(v), &graph.fact(v).ty)).collect::<Vec<_>>(),
            "outputs": graph.outputs().iter().map(|o| slot(&o.name, &output_type(graph, o))).collect::<Vec<_>>(),
            "nodes": cost.nodes.len(), "operators": histogram(cost),
            "parameters": cost.num_parameters(), "weight_bytes": cost.weight_bytes(), "weights_by_type": by_dtype,
            "macs": number_or_formula(&cost.macs), "nodes_of_unknown_macs": cost.num_unknown_macs, "activation_bytes": number_or_formula(&cost.activation_bytes),
            "unsupported": unsupported(graph).iter().map(ToString::to_string).collect::<Vec<_>>(),
            "metadata": model.info.metadata.iter().cloned().collect::<BTreeMap<_, _>>(),
            "warnings": model.warnings,
        });
        if let Some(peak) = peak {
            document["planned_peak"] = match peak {
                Ok(peak) => json!({"bytes": peak.bytes, "node": peak.node}),
                Err(reason) => json!({"bytes": null, "error": reason}),
            };
        }
        if self.nodes || self.cost {
            document["node_list"] = json!(
                cost.nodes
                    .iter()
                    .map(|n| json!({
                        "name": n.node, "operator": n.operator, "macs": number_or_formula(&n.macs),
                        "parameters": n.parameters, "output_bytes": number_or_formula(&n.output_bytes), "output": n.output,
                    }))
                    .collect::<Vec<_>>()
            );
        }
        if self.weights {
            let list: Vec<Json> = constants(graph)
                .map(|(name, t)| json!({"name": name, "type": t.dtype().name(), "shape": t.shape().dims(), "bytes": t.num_bytes()}))
                .collect();
            document["weight_list"] = json!(list);
        }
        if self.shapes {
            let list: BTreeMap<&str, String> =
                values(graph).map(|v| (graph.value_name(v), graph.fact(v).ty.to_string())).collect();
            document["shapes"] = json!(list);
        }
        document
    }
}

fn output_type(graph: &Graph, output: &planish_ir::GraphOutput) -> Type {
    let known = &graph.fact(output.value).ty;
    known.unify(&output.declared).unwrap_or_else(|_| known.clone())
}

fn number_or_formula(dim: &Dim) -> Json {
    match dim.as_known() {
        Some(number) => json!(number),
        None if dim.is_unknown() => Json::Null,
        None => json!(dim.to_string()),
    }
}

fn size_formula(dim: &Dim) -> String {
    match dim.as_known() {
        Some(number) => bytes(u64::try_from(number).unwrap_or(0)),
        None if dim.is_unknown() => "?".to_owned(),
        None => format!("{} B", dim.fmt_si()),
    }
}

fn domain_name(domain: &str) -> String {
    if domain.is_empty() { "ai.onnx".to_owned() } else { domain.to_owned() }
}

fn histogram(cost: &GraphCost) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for node in &cost.nodes {
        *counts.entry(node.operator.as_str()).or_default() += 1;
    }
    counts
}

fn summary(model: &Model, cost: &GraphCost) -> String {
    let (graph, info) = (&model.graph, &model.info);
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "{} {value}", faint(&format!("{label:<12}")));
    };
    let producer = format!("{} {}", info.producer_name, info.producer_version);
    line("graph", bold(if graph.name.is_empty() { "(no name)" } else { &graph.name }));
    line("producer", if producer.trim().is_empty() { "unknown".to_owned() } else { producer.trim().to_owned() });
    let opsets: Vec<String> = info.opset_imports.iter().map(|(d, v)| format!("{} {v}", domain_name(d))).collect();
    line("opsets", format!("{}  (IR {})", opsets.join(", "), info.ir_version));
    line("nodes", grouped(cost.nodes.len() as u64));
    line("parameters", format!("{}  ({})", grouped(cost.num_parameters()), bytes(cost.weight_bytes())));
    let unknown = match cost.num_unknown_macs {
        0 => String::new(),
        n => faint(&format!("  and those of {n} node(s) whose shapes are not known")),
    };
    line("MACs", formula(&cost.macs) + &unknown);
    line("activations", format!("{} in all", size_formula(&cost.activation_bytes)));
    let mut slots = Table::new(&[("inputs", Align::Left), ("", Align::Left)]);
    graph.inputs().for_each(|v| slots.row(vec![graph.value_name(v).to_owned(), graph.fact(v).ty.to_string()]));
    text.push_str(&format!("\n{}", slots.render()));
    let mut slots = Table::new(&[("outputs", Align::Left), ("", Align::Left)]);
    graph.outputs().iter().for_each(|o| slots.row(vec![o.name.clone(), output_type(graph, o).to_string()]));
    text.push_str(&format!("\n{}", slots.render()));
    if !cost.weights.is_empty() {
        let mut table = Table::new(&[("weights", Align::Left), ("elements", Align::Right), ("size", Align::Right)]);
        for (dtype, &(elements, size)) in &cost.weights {
            table.row(vec![dtype.name().to_owned(), grouped(elements), bytes(size)]);
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    let mut operators: Vec<(&str, usize)> = histogram(cost).into_iter().collect();
    operators.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    let mut table = Table::new(&[("operator", Align::Left), ("count", Align::Right)]);
    operators.iter().for_each(|(name, count)| table.row(vec![(*name).to_owned(), count.to_string()]));
    text.push_str(&format!("\n{}", table.render()));
    let missing = unsupported(graph);
    if !missing.is_empty() {
        let _ = writeln!(text, "\n{}: {} node(s) cannot run; see `planish check`", red("unsupported"), missing.len());
        missing.iter().take(8).for_each(|item| {
            let _ = writeln!(text, "  {item}");
        });
    }
    text
}

fn nodes(model: &Model, _cost: &GraphCost) -> String {
    let graph = &model.graph;
    let mut table = Table::new(&[
        ("node", Align::Left),
        ("operator", Align::Left),
        ("inputs", Align::Left),
        ("outputs", Align::Left),
    ]);
    for id in graph.topological_order().unwrap_or_default() {
        if let Some(operator) = graph.node(id).operator() {
            let name = |v: Option<ValueId>| v.map_or("", |v| graph.value_name(v)).to_owned();
            let inputs: Vec<String> = graph.node_inputs(id).iter().map(|&v| name(v)).collect();
            let outputs: Vec<String> = graph.node_outputs(id).map(|v| name(Some(v))).collect();
            table.row(vec![graph.node(id).name.clone(), operator.full_name(), inputs.join(", "), outputs.join(", ")]);
        }
    }
    table.render()
}

fn constants(graph: &Graph) -> impl Iterator<Item = (&str, &planish_tensor::Tensor)> {
    graph.nodes().filter_map(|(id, node)| Some((graph.value_name(ValueId { node: id, output: 0 }), node.constant()?)))
}

fn weights(model: &Model, _cost: &GraphCost) -> String {
    let mut table =
        Table::new(&[("weight", Align::Left), ("type", Align::Left), ("shape", Align::Left), ("size", Align::Right)]);
    for (name, tensor) in constants(&model.graph) {
        let size = bytes(tensor.num_bytes() as u64);
        table.row(vec![name.to_owned(), tensor.dtype().name().to_owned(), tensor.shape().to_string(), size]);
    }
    table.render()
}

fn costs(_model: &Model, cost: &GraphCost) -> String {
    let mut table = Table::new(&[
        ("operator", Align::Left),
        ("node", Align::Left),
        ("MACs", Align::Right),
        ("parameters", Align::Right),
        ("output bytes", Align::Right),
        ("output", Align::Left),
    ]);
    for n in &cost.nodes {
        table.row(vec![
            n.operator.clone(),
            n.node.clone(),
            formula(&n.macs),
            grouped(n.parameters),
            size_formula(&n.output_bytes),
            n.output.clone(),
        ]);
    }
    table.render()
}

fn render_peak(peak: &Result<Peak, String>) -> String {
    match peak {
        Ok(peak) => format!(
            "\nplanned peak of a run: {} beside weights and inputs, while {} runs\n",
            bytes(peak.bytes),
            if peak.node.is_empty() { "no node" } else { &peak.node },
        ),
        Err(reason) => format!("\nplanned peak of a run: {reason}\n"),
    }
}

/// Values that nodes make, in topological order.
fn values(graph: &Graph) -> impl Iterator<Item = ValueId> {
    let order = graph.topological_order().unwrap_or_default();
    let made = order.into_iter().filter(|&id| !matches!(graph.node(id).kind, NodeKind::Constant(_)));
    made.flat_map(|id| graph.node_outputs(id)).filter(|&v| !graph.value_name(v).is_empty())
}

fn shapes(model: &Model, _cost: &GraphCost) -> String {
    let graph = &model.graph;
    let mut table = Table::new(&[("value", Align::Left), ("type", Align::Left)]);
    values(graph).for_each(|v| table.row(vec![graph.value_name(v).to_owned(), graph.fact(v).ty.to_string()]));
    table.render()
}

/// The graph in Graphviz's language: operators as boxes, values as arrows, constants left out.
fn dot(graph: &Graph) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = String::from("digraph model {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (id, node) in graph.nodes() {
        let label = match &node.kind {
            NodeKind::Constant(_) => continue,
            NodeKind::Input => graph.value_name(ValueId { node: id, output: 0 }).to_owned(),
            NodeKind::Operator(operator) => operator.full_name(),
        };
        let shape = if matches!(node.kind, NodeKind::Input) { ", shape=ellipse" } else { "" };
        let _ = writeln!(text, "  n{} [label={}{shape}];", id.index(), quote(&label));
        for value in graph.node_inputs(id).iter().flatten().filter(|v| graph.constant(**v).is_none()) {
            let ty = graph.fact(*value).ty.to_string();
            let _ = writeln!(text, "  n{} -> n{} [label={}];", value.node.index(), id.index(), quote(&ty));
        }
    }
    for (i, output) in graph.outputs().iter().enumerate() {
        let _ = writeln!(text, "  o{i} [label={}, shape=ellipse];", quote(&output.name));
        let _ = writeln!(text, "  n{} -> o{i};", output.value.node.index());
    }
    text + "}\n"
}
