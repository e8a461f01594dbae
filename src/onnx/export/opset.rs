//! Which opset can express a graph, and how nodes are written in it.
//!
//! Graphs hold the newest form of every operator. `history.tsv`, taken from ONNX's own schemas by `history.py`, tells
//! what each opset from 17 on accepts; where a newer form moved an attribute to an input or gave it another meaning, the
//! functions below know the way back.

use super::ExportError;
use crate::onnx::proto::AttributeProto;
use crate::onnx::proto::NodeProto;
use crate::onnx::proto::attribute_proto::AttributeType;
use planish_ir::{Attribute, Graph, NodeId, Operator, Schema};
use std::collections::HashMap;
use std::sync::OnceLock;

/// The opsets that models are written in.
const OLDEST: u32 = 17;
const NEWEST: u32 = 28;

/// The file format version that goes with an opset, as ONNX's releases paired them.
pub(super) fn ir_version(opset: u32) -> i64 {
    match opset {
        ..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        25..=27 => 13,
        _ => 14,
    }
}

/// The version of another domain that its operators are written for.
pub(super) fn newest_version(domain: &str) -> i64 {
    if domain == "ai.onnx.ml" { 5 } else { 1 }
}

/// One form of an operator.
struct Form {
    since: u32,
    most_inputs: Option<usize>,
    attributes: Vec<&'static str>,
    /// For each formal input the dtypes it takes, by ONNX's numbers; 0 where it is no tensor.
    input_types: Vec<u64>,
}

/// Every form of every operator from [`OLDEST`] on, oldest first.
fn history() -> &'static HashMap<&'static str, Vec<Form>> {
    static HISTORY: OnceLock<HashMap<&'static str, Vec<Form>>> = OnceLock::new();
    HISTORY.get_or_init(|| {
        let mut forms: HashMap<&'static str, Vec<Form>> = HashMap::new();
        for line in include_str!("history.tsv").lines() {
            let mut columns = line.split('\t');
            let mut column = || columns.next().unwrap_or_default();
            let (name, since, most, attributes, types) = (column(), column(), column(), column(), column());
            forms.entry(name).or_default().push(Form {
                since: since.parse().expect("history.tsv holds numbers here"),
                most_inputs: most.parse().ok(),
                attributes: attributes.split(',').filter(|a| !a.is_empty()).collect(),
                input_types: types.split(',').map(|t| u64::from_str_radix(t, 16).unwrap_or(0)).collect(),
            });
        }
        forms
    })
}

/// The opset to write: that asked for if every node fits, else the lowest in which every node fits as it is, so that
/// what is written comes back the same.
pub(super) fn choose(graph: &Graph, asked: Option<u32>) -> Result<u32, ExportError> {
    let candidates = match asked {
        Some(opset) if !(OLDEST..=NEWEST).contains(&opset) => {
            let why = format!("models are written in opsets {OLDEST} to {NEWEST}");
            return Err(ExportError::Inexpressible { opset, nodes: vec![why] });
        }
        Some(opset) => opset..=opset,
        None => OLDEST..=NEWEST,
    };
    let bodies = graph.bodies();
    let graphs: Vec<&Graph> = std::iter::once(graph).chain(bodies.iter().map(AsRef::as_ref)).collect();
    let mut opset = *candidates.start();
    let fits = |opset, graph: &Graph, id, operator: &Operator| {
        (asked.is_some() || !is_rewritten(&operator.name, opset)) && obstacle(graph, id, operator, opset).is_none()
    };
    let mut unfit = Vec::new();
    for graph in graphs {
        for (id, operator) in graph.operators().filter(|(_, o)| o.domain.is_empty()) {
            match (opset..=*candidates.end()).find(|&n| fits(n, graph, id, operator)) {
                Some(needed) => opset = needed,
                None => {
                    let why = obstacle(graph, id, operator, *candidates.end()).unwrap_or_default();
                    unfit.push(format!("node {:?} ({}): {why}", graph.describe(id), operator.name));
                }
            }
        }
    }
    if unfit.is_empty() {
        Ok(opset)
    } else {
        Err(ExportError::Inexpressible { opset: *candidates.end(), nodes: unfit })
    }
}

/// What keeps a node from being written in `opset`, or nothing.
fn obstacle(graph: &Graph, id: NodeId, operator: &Operator, opset: u32) -> Option<String> {
    let Some(forms) = history().get(operator.name.as_str()) else {
        // An operator the standard does not have is written as it came.
        return None;
    };
    let Some(form) = forms.iter().rev().find(|form| form.since <= opset) else {
        return Some(format!("the operator is new in opset {}", forms.first().map_or(0, |f| f.since)));
    };
    if is_rewritten(&operator.name, opset) {
        return rewrite_obstacle(graph, id, operator);
    }
    if let Some(needed) = meaning_since(operator).filter(|&needed| opset < needed) {
        return Some(format!("it means something else before opset {needed}"));
    }
    let node = graph.node(id);
    let own_inputs = node.num_inputs() - node.num_captures();
    let inputs = graph.node_inputs(id);
    let given = inputs[..own_inputs].iter().rposition(Option::is_some).map_or(0, |i| i + 1);
    if form.most_inputs.is_some_and(|most| given > most) {
        return Some(format!("it has {given} inputs"));
    }
    let schema = operator.schema();
    let newer = operator.attributes.iter().find(|(name, value)| {
        !form.attributes.contains(name) && !schema.is_some_and(|schema| is_default(schema, name, value))
    });
    if let Some((name, _)) = newer {
        return Some(format!("attribute {name:?} is newer"));
    }
    inputs[..own_inputs].iter().enumerate().find_map(|(i, value)| {
        let dtype = graph.fact((*value)?).dtype()?;
        let types = *form.input_types.get(i).or(form.input_types.last())?;
        (types != 0 && types & (1 << dtype.to_onnx()) == 0).then(|| format!("input {i} of type {dtype} is newer"))
    })
}

fn is_default(schema: &Schema, name: &str, value: &Attribute) -> bool {
    use planish_ir::AttributeDefault;
    match (schema.attribute(name).map(|def| def.default), value) {
        (Some(AttributeDefault::Int(default)), Attribute::Int(v)) => default == *v,
        (Some(AttributeDefault::Float(default)), Attribute::Float(v)) => default == *v,
        (Some(AttributeDefault::String(default)), Attribute::String(v)) => default == v,
        (Some(AttributeDefault::Ints(default)), Attribute::Ints(v)) => default == v.as_slice(),
        _ => false,
    }
}

/// The opset from which a node of unchanged signature means what the newest opset means by it.
fn meaning_since(operator: &Operator) -> Option<u32> {
    let string = |name: &str| match operator.attributes.get(name) {
        Some(Attribute::String(v)) => v.as_str(),
        _ => "",
    };
    match operator.name.as_str() {
        // Scale and bias are one a channel from 21 on, before that one a group.
        "GroupNormalization" => Some(21),
        // The modes were renamed.
        "GridSample" => Some(20),
        "Pad" if string("mode") == "wrap" => Some(19),
        "Resize" if string("coordinate_transformation_mode") == "half_pixel_symmetric" => Some(19),
        "ScatterElements" | "ScatterND" if matches!(string("reduction"), "max" | "min") => Some(18),
        "Attention" => Some(24),
        _ => None,
    }
}

/// Reductions whose axes were an attribute before opset 18.
const REDUCTIONS: &[&str] = &[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
];

/// Whether nodes of this operator are written in another form in `opset`.
fn is_rewritten(name: &str, opset: u32) -> bool {
    opset < 18 && (REDUCTIONS.contains(&name) || name == "Split")
}

fn rewrite_obstacle(graph: &Graph, id: NodeId, operator: &Operator) -> Option<String> {
    if operator.name == "Split" {
        let is_even = split_is_even(graph, id);
        return (!is_even).then(|| "it splits into unequal parts without naming them".to_owned());
    }
    let empty_is_noop = matches!(operator.attributes.get("noop_with_empty_axes"), Some(Attribute::Int(v)) if *v != 0);
    match graph.node_inputs(id).get(1).copied().flatten() {
        Some(axes) if graph.constant(axes).is_none() => Some("its axes are computed".to_owned()),
        None if empty_is_noop => Some("attribute \"noop_with_empty_axes\" is newer".to_owned()),
        _ => None,
    }
}

fn split_is_even(graph: &Graph, id: NodeId) -> bool {
    let inputs = graph.node_inputs(id);
    if inputs.get(1).copied().flatten().is_some() {
        return true;
    }
    let outputs = graph.node(id).num_outputs();
    let Some(operator) = graph.node(id).operator() else { return false };
    let axis = match operator.attributes.get("axis") {
        Some(Attribute::Int(axis)) => *axis,
        _ => 0,
    };
    let shape = inputs.first().copied().flatten().and_then(|v| graph.fact(v).shape());
    let length = shape.and_then(|shape| {
        let axis = planish_ir::Axis::new(axis).resolve(shape.len()).ok()?;
        usize::try_from(shape[axis].as_known()?).ok()
    });
    length.is_some_and(|length| outputs > 0 && length.is_multiple_of(outputs))
}

/// Brings a node that was written in the newest form into the form of `opset`.
pub(super) fn rewrite(graph: &Graph, id: NodeId, message: &mut NodeProto, opset: u32) {
    if !message.domain.is_empty() {
        return;
    }
    if let Some(form) = history().get(message.op_type.as_str()).and_then(|f| f.iter().rev().find(|f| f.since <= opset))
    {
        // Attributes that this opset does not know are at their defaults: `choose` saw to it.
        message.attribute.retain(|a| form.attributes.contains(&a.name.as_str()) || a.name == "axes");
    }
    if !is_rewritten(&message.op_type, opset) || message.op_type == "Split" {
        return;
    }
    let axes = graph.node_inputs(id).get(1).copied().flatten().and_then(|axes| graph.fact(axes).known_ints());
    message.input.truncate(1);
    if let Some(axes) = axes.filter(|axes| !axes.is_empty()) {
        let r#type = AttributeType::Ints.into();
        message.attribute.push(AttributeProto { name: "axes".to_owned(), ints: axes, r#type, ..Default::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_has_forms_in_order() {
        for (name, forms) in history() {
            assert!(forms.is_sorted_by(|a, b| a.since < b.since), "{name}");
        }
        assert!(history().len() > 180);
    }

    #[test]
    fn operators_of_planish_are_no_newer_than_the_history() {
        for entry in planish_ops::OPERATORS.iter().filter(|e| e.schema.domain.is_empty()) {
            let Some(forms) = history().get(entry.schema.name) else { continue };
            let newest = forms.last().map_or(0, |f| f.since);
            assert!(entry.schema.since <= newest, "{} since {}", entry.schema.name, entry.schema.since);
        }
    }
}
