//! Graphs without operators of planish's own: each gives way to the nodes of its body.

use planish_ir::{Attribute, Attributes, Graph, GraphError, NodeId, NodeKind, Operator, Registry, ValueId};
use planish_ops::StandardRegistry;
use planish_ops::planish::DOMAIN;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// What an operator of planish's own is by definition.
pub(super) fn body_of(operator: &Operator) -> Option<&Arc<Graph>> {
    match operator.attributes.get("body") {
        Some(Attribute::Graph(body)) if operator.domain == DOMAIN => Some(body),
        _ => None,
    }
}

/// The graph with standard operators, and those that it came with.
pub(super) fn inlined(graph: &Graph) -> Result<Cow<'_, Graph>, GraphError> {
    if !has_own(graph) {
        return Ok(Cow::Borrowed(graph));
    }
    let mut graph = graph.clone();
    inline_all(&mut graph)?;
    Ok(Cow::Owned(graph))
}

fn has_own(graph: &Graph) -> bool {
    let bodies = graph.bodies();
    std::iter::once(graph)
        .chain(bodies.iter().map(AsRef::as_ref))
        .any(|g| g.operators().any(|(_, o)| body_of(o).is_some()))
}

/// Inlines in a graph and in the bodies of its nodes, which were read or made under a limit of depth.
fn inline_all(graph: &mut Graph) -> Result<(), GraphError> {
    let operators: Vec<(NodeId, Operator)> = graph.operators().map(|(id, o)| (id, o.clone())).collect();
    for (id, operator) in operators {
        match body_of(&operator) {
            Some(body) => inline(graph, id, body)?,
            None if operator.subgraphs().any(|body| has_own(body)) => inline_in_bodies(graph, id, &operator)?,
            None => {}
        }
    }
    Ok(())
}

fn inline_in_bodies(graph: &mut Graph, id: NodeId, operator: &Operator) -> Result<(), GraphError> {
    let inlined = |body: &Arc<Graph>| -> Result<Arc<Graph>, GraphError> {
        let mut body = Graph::clone(body);
        inline_all(&mut body)?;
        Ok(Arc::new(body))
    };
    let mut attributes = Attributes::new();
    for (name, attribute) in operator.attributes.iter() {
        let attribute = match attribute {
            Attribute::Graph(body) => Attribute::Graph(inlined(body)?),
            Attribute::Graphs(bodies) => Attribute::Graphs(bodies.iter().map(inlined).collect::<Result<_, _>>()?),
            other => other.clone(),
        };
        attributes.set(name, attribute);
    }
    let node = graph.node(id);
    let inputs = graph.node_inputs(id);
    let (own, captures) = inputs.split_at(inputs.len() - node.num_captures());
    let captures: Vec<ValueId> = captures.iter().flatten().copied().collect();
    let made = StandardRegistry.operator(&operator.domain, &operator.name, attributes, own.len(), node.num_outputs());
    if let Ok(operator) = made {
        graph.set_operator(id, operator, own, &captures);
    }
    Ok(())
}

/// Puts the nodes of `body` in place of node `id`; the last takes its name and its output's.
fn inline(graph: &mut Graph, id: NodeId, body: &Graph) -> Result<(), GraphError> {
    let old = ValueId { node: id, output: 0 };
    let stem = graph.value_name(old).to_owned();
    let (name, metadata) = (graph.node(id).name.clone(), graph.node(id).metadata.clone());
    let mut inside: HashMap<ValueId, Option<ValueId>> = body.inputs().zip(graph.node_inputs(id)).collect();
    for inner in body.topological_order()? {
        let own_name = |graph: &Graph, value| graph.fresh_name(&format!("{stem}_{}", body.value_name(value)));
        let made = match &body.node(inner).kind {
            NodeKind::Input => continue,
            NodeKind::Constant(tensor) => {
                let name = own_name(graph, ValueId { node: inner, output: 0 });
                graph.add_constant(&name, tensor.clone())?.node
            }
            NodeKind::Operator(operator) => {
                let read = body.node_inputs(inner);
                let read: Vec<Option<ValueId>> =
                    read.iter().map(|v| v.and_then(|v| inside.get(&v).copied().flatten())).collect();
                let (own, captures) = read.split_at(read.len() - body.node(inner).num_captures());
                let captures: Vec<ValueId> = captures.iter().flatten().copied().collect();
                let names: Vec<String> = body.node_outputs(inner).map(|v| own_name(graph, v)).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let made = graph.add_node("", operator.clone(), own, &captures, &names)?;
                graph.node_mut(made).metadata.clone_from(&metadata);
                graph.infer_node(made);
                made
            }
        };
        inside.extend(body.node_outputs(inner).zip(graph.node_outputs(made).map(Some)));
    }
    let made = body.outputs().first().and_then(|output| inside.get(&output.value).copied().flatten());
    let Some(new) = made.filter(|&v| v != old) else { return Ok(()) };
    let is_own = body.outputs().first().is_some_and(|o| body.node(o.value.node).operator().is_some());
    graph.replace_uses(old, new);
    graph.remove_node(id)?;
    if is_own {
        graph.rename_value(new, &stem)?;
        graph.node_mut(new.node).name = name;
    }
    Ok(())
}
