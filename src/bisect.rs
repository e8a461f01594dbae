//! The smallest part of a model that one rewrite changed, cut out to be looked at and run alone.

use crate::data::DataSet;
use planish_ir::{Graph, GraphError, NodeId, NodeKind, Operator, Type, ValueId};
use planish_passes::{OptimizeOptions, optimize_with};
use planish_runtime::{RunOptions, Session, SessionOptions};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What one rewrite replaced, as a graph of its own, and what it put in its place.
#[derive(Debug)]
pub struct Site {
    /// The nodes that were replaced. Inputs are the values that they or their successors read.
    pub before: Graph,
    /// The nodes in their place, with the same inputs and outputs.
    pub after: Graph,
}

/// Cuts out what the `number`-th rewrite of `original` changed. `None` if there are not as many, or if it only removed
/// what nothing depends on.
pub fn site(original: &Graph, options: &OptimizeOptions, number: usize) -> Result<Option<Site>, GraphError> {
    let stopped = |number: usize| {
        let mut graph = original.clone();
        let report = optimize_with(&mut graph, &OptimizeOptions { stop_after: Some(number), ..options.clone() });
        (graph, report.rewrites.len())
    };
    let Some(previous) = number.checked_sub(1) else { return Ok(None) };
    let ((before, _), (after, count)) = (stopped(previous), stopped(number));
    if count < number {
        return Ok(None);
    }
    let pairs = replaced_values(&before, &after);
    if pairs.is_empty() {
        return Ok(None);
    }
    let is_old = |id: NodeId| is_changed(&before, &after, id);
    let is_new = |id: NodeId| is_changed(&after, &before, id);
    // Inputs are values of nodes that are in both graphs; they go by the names that they had before.
    let read = boundary(&before, pairs.iter().map(|p| p.1), is_old);
    let read = read.into_iter().chain(boundary(&after, pairs.iter().map(|p| p.2), is_new));
    let inputs: BTreeMap<ValueId, &str> = read.map(|value| (value, before.value_name(value))).collect();
    let part = |graph: &Graph, outputs: Vec<(String, ValueId)>| cut(graph, &inputs, &outputs);
    let of = |side: fn(&Replaced) -> ValueId| pairs.iter().map(|p| (p.0.clone(), side(p))).collect::<Vec<_>>();
    Ok(Some(Site { before: part(&before, of(|p| p.1))?, after: part(&after, of(|p| p.2))? }))
}

/// A value's name before the rewrite, the value, and the one that is read in its place.
type Replaced = (String, ValueId, ValueId);

/// Whether `graph` has this node but `other` has not, or has another operator there.
fn is_changed(graph: &Graph, other: &Graph, id: NodeId) -> bool {
    graph.contains(id) && (!other.contains(id) || graph.node(id).operator() != other.node(id).operator())
}

/// The values that are read, or given out, in place of others.
fn replaced_values(before: &Graph, after: &Graph) -> Vec<Replaced> {
    let mut replaced: Vec<Replaced> = Vec::new();
    let mut add = |old: ValueId, new: ValueId| {
        let is_same = old == new && !is_changed(before, after, old.node);
        if !is_same && !replaced.iter().any(|(_, known, _)| *known == old) {
            replaced.push((before.value_name(old).to_owned(), old, new));
        }
    };
    for (old, new) in before.outputs().iter().zip(after.outputs()) {
        add(old.value, new.value);
    }
    for (id, _) in before.nodes() {
        if after.contains(id) && !is_changed(before, after, id) {
            for (old, new) in before.node_inputs(id).into_iter().zip(after.node_inputs(id)) {
                if let (Some(old), Some(new)) = (old, new) {
                    add(old, new);
                }
            }
        }
    }
    replaced
}

/// The values, constants aside, that the changed nodes behind `outputs` read from unchanged ones.
fn boundary(
    graph: &Graph,
    outputs: impl Iterator<Item = ValueId>,
    is_changed: impl Fn(NodeId) -> bool,
) -> BTreeSet<ValueId> {
    let (mut inputs, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut pending: Vec<ValueId> = outputs.collect();
    while let Some(value) = pending.pop() {
        if !is_changed(value.node) {
            if graph.constant(value).is_none() {
                inputs.insert(value);
            }
        } else if seen.insert(value.node) {
            pending.extend(graph.node_inputs(value.node).into_iter().flatten());
        }
    }
    inputs
}

/// The part of `graph` between these inputs and these outputs.
fn cut(graph: &Graph, inputs: &BTreeMap<ValueId, &str>, outputs: &[(String, ValueId)]) -> Result<Graph, GraphError> {
    let mut part = Graph::new("site");
    let mut made: HashMap<ValueId, ValueId> = HashMap::new();
    for (&input, name) in inputs {
        made.insert(input, part.add_input(name, graph.fact(input).ty.clone())?);
    }
    let mut wanted: BTreeSet<NodeId> = BTreeSet::new();
    let mut pending: Vec<ValueId> = outputs.iter().map(|(_, value)| *value).collect();
    while let Some(value) = pending.pop() {
        if !made.contains_key(&value) && wanted.insert(value.node) {
            pending.extend(graph.node_inputs(value.node).into_iter().flatten());
        }
    }
    for id in graph.topological_order()?.into_iter().filter(|id| wanted.contains(id)) {
        let node = graph.node(id);
        let new = match &node.kind {
            NodeKind::Input => continue,
            NodeKind::Constant(tensor) => {
                let name = part.fresh_name(graph.value_name(ValueId { node: id, output: 0 }));
                part.add_constant(&name, tensor.clone())?.node
            }
            NodeKind::Operator(operator) => add_operator(&mut part, graph, id, operator, &made)?,
        };
        made.extend(graph.node_outputs(id).zip(part.node_outputs(new).collect::<Vec<_>>()));
    }
    for (name, value) in outputs {
        if let Some(&new) = made.get(value) {
            part.add_output(name, new, Type::Unknown)?;
        }
    }
    let _ = part.infer();
    Ok(part)
}

fn add_operator(
    part: &mut Graph,
    graph: &Graph,
    id: NodeId,
    operator: &Operator,
    made: &HashMap<ValueId, ValueId>,
) -> Result<NodeId, GraphError> {
    let node = graph.node(id);
    let read: Vec<Option<ValueId>> =
        graph.node_inputs(id).into_iter().map(|value| value.and_then(|v| made.get(&v).copied())).collect();
    let (own, captures) = read.split_at(read.len() - node.num_captures());
    let captures: Vec<ValueId> = captures.iter().flatten().copied().collect();
    // A name that an input has already is the input's.
    let names: Vec<String> = graph
        .node_outputs(id)
        .map(|value| match graph.value_name(value) {
            "" => String::new(),
            name => part.fresh_name(name),
        })
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    part.add_node(&node.name, operator.clone(), own, &captures, &names)
}

/// What a site reads when the original runs on `inputs`, and what it gives.
pub fn data_of(original: &Graph, site: &Site, set: &DataSet, options: &RunOptions) -> Result<DataSet, String> {
    let run = |graph: &Graph, inputs: &[(String, planish_tensor::Value)], names: Option<Vec<String>>| {
        let session_options = SessionOptions { only_outputs: names, ..SessionOptions::default() };
        let session = Session::new(graph.clone(), &session_options).map_err(|e| e.to_string())?;
        let given = inputs.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let outputs = session.run(given, options).map_err(|e| e.to_string())?;
        Ok::<_, String>(session.outputs().iter().map(|o| o.name.clone()).zip(outputs).collect::<Vec<_>>())
    };
    let names: Vec<String> = site.before.inputs().map(|v| site.before.value_name(v).to_owned()).collect();
    let inputs = run(original, &set.inputs, Some(names))?;
    let outputs = run(&site.before, &inputs, None)?;
    Ok(DataSet { inputs, outputs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ops::StandardRegistry;
    use planish_tensor::Tensor;

    fn sites(text: &str, rule: &str) -> (Graph, Option<Site>) {
        let graph = Graph::from_text(text, &StandardRegistry).unwrap();
        let options = OptimizeOptions { only: vec![rule.to_owned()], ..OptimizeOptions::default() };
        let site = site(&graph, &options, 1).unwrap();
        (graph, site)
    }

    #[test]
    fn a_site_is_what_the_rewrite_replaced() {
        let text = "g (float[2] x) => (float[2] y) { a = Exp (x) b = Identity (a) c = Neg (b) y = Relu (c) }";
        let (graph, site) = sites(text, "remove-noops");
        let site = site.unwrap();
        assert_eq!(site.before.operators().map(|(_, o)| o.name.as_str()).collect::<Vec<_>>(), ["Identity"]);
        assert_eq!(site.after.operators().count(), 0);
        let set = DataSet { inputs: vec![("x".to_owned(), Tensor::vector(&[0f32, 0.0]).into())], outputs: Vec::new() };
        let data = data_of(&graph, &site, &set, &RunOptions::default()).unwrap();
        assert_eq!(data.inputs[0].0, "a");
        assert_eq!(data.outputs[0].1.as_tensor().unwrap().as_slice::<f32>().unwrap(), [1.0, 1.0]);
    }

    #[test]
    fn equal_nodes_are_cut_with_what_they_share() {
        let text = "g (float[2] x) => (float[2] y) { a = Exp (x) b = Exp (x) y = Add (a, b) }";
        let site = sites(text, "merge-equal-nodes").1.unwrap();
        assert_eq!(site.before.operators().count(), 1);
        assert_eq!(site.before.inputs().len(), site.after.inputs().len());
    }

    #[test]
    fn there_is_no_site_of_a_rewrite_that_was_not_made() {
        assert!(sites("g (float[2] x) => (float[2] y) { y = Exp (x) }", "merge-equal-nodes").1.is_none());
    }
}
