//! The order in which nodes are imported: each after those whose values it reads, its bodies' reading included.

use crate::onnx::error::ImportError;
use crate::onnx::import::MAX_SUBGRAPH_DEPTH;
use crate::onnx::proto::{GraphProto, NodeProto};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// Indices of `nodes` so that each node comes after those it reads from, otherwise in their own order.
///
/// Refuses two values of one name, `is_taken` being those that no node makes.
pub(super) fn topological_order(
    nodes: &[NodeProto],
    is_taken: impl Fn(&str) -> bool,
) -> Result<Vec<usize>, ImportError> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if is_taken(name) || makers.insert(name, index).is_some() {
                let error = ImportError::invalid(format!("two values are named {name:?}"));
                let node_name = super::node_name(node);
                return Err(error.at_node(node_name, format_args!("node {node_name:?} ({})", node.op_type)));
            }
        }
    }
    let mut reads_from: Vec<Vec<usize>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut sources: Vec<usize> = node.input.iter().filter_map(|name| makers.get(name.as_str()).copied()).collect();
        for name in free_names_of_bodies(node, 0)? {
            sources.extend(makers.get(name));
        }
        sources.sort_unstable();
        sources.dedup();
        reads_from.push(sources);
    }
    let is_ordered = reads_from.iter().enumerate().all(|(index, sources)| sources.last().is_none_or(|&s| s < index));
    if is_ordered { Ok((0..nodes.len()).collect()) } else { sort(nodes, &reads_from) }
}

/// Kahn's algorithm, the first of the nodes that are ready coming first.
fn sort(nodes: &[NodeProto], reads_from: &[Vec<usize>]) -> Result<Vec<usize>, ImportError> {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut waiting_for: Vec<usize> = reads_from.iter().map(Vec::len).collect();
    for (index, sources) in reads_from.iter().enumerate() {
        for &source in sources {
            readers[source].push(index);
        }
    }
    let mut ready: BinaryHeap<_> = (0..nodes.len()).filter(|&i| waiting_for[i] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(index)) = ready.pop() {
        order.push(index);
        for &reader in &readers[index] {
            waiting_for[reader] -= 1;
            if waiting_for[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    if order.len() == nodes.len() {
        return Ok(order);
    }
    let stuck = nodes.iter().zip(&waiting_for).filter(|(_, count)| **count > 0).map(|(node, _)| node);
    let names: Vec<&str> = stuck.take(8).map(super::node_name).collect();
    Err(ImportError::invalid(format!("nodes {names:?} wait for each other's outputs, or for such nodes")))
}

/// Names that the bodies of a node read and do not define.
fn free_names_of_bodies(node: &NodeProto, depth: usize) -> Result<HashSet<&str>, ImportError> {
    let mut names = HashSet::new();
    for attribute in &node.attribute {
        for body in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
            names.extend(free_names(body, depth + 1)?);
        }
    }
    Ok(names)
}

/// Names that a graph reads and does not define.
pub(super) fn free_names(graph: &GraphProto, depth: usize) -> Result<HashSet<&str>, ImportError> {
    if depth > MAX_SUBGRAPH_DEPTH {
        return Err(ImportError::limit(format!("graphs are nested deeper than {MAX_SUBGRAPH_DEPTH}")));
    }
    let mut read: HashSet<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
    for node in &graph.node {
        read.extend(node.input.iter().map(String::as_str));
        read.extend(free_names_of_bodies(node, depth)?);
    }
    for name in super::graph::defined_names(graph) {
        read.remove(name);
    }
    Ok(read)
}
