//! Equality of graphs, facts left aside.

use crate::{Graph, NodeId, NodeKind, ValueId};

/// Whether both graphs have the same nodes by the names of their values, read the same values by name, and give out the
/// same. Node ids and the order of nodes may differ.
pub(crate) fn same_graph(a: &Graph, b: &Graph) -> bool {
    (&a.name, &a.doc, &a.metadata) == (&b.name, &b.doc, &b.metadata)
        && a.num_nodes() == b.num_nodes()
        && same_sources(a, b, a.inputs(), b.inputs())
        && a.captures().map(|v| a.value_name(v)).eq(b.captures().map(|v| b.value_name(v)))
        && same_outputs(a, b)
        && a.nodes().all(|(id, _)| counterpart(a, id, b).is_some_and(|other| same_node(a, id, b, other)))
}

fn same_sources(
    a: &Graph,
    b: &Graph,
    left: impl ExactSizeIterator<Item = ValueId>,
    mut right: impl ExactSizeIterator<Item = ValueId>,
) -> bool {
    left.len() == right.len()
        && left
            .into_iter()
            .all(|v| right.next().is_some_and(|w| a.value_name(v) == b.value_name(w) && a.fact(v).ty == b.fact(w).ty))
}

fn same_outputs(a: &Graph, b: &Graph) -> bool {
    a.outputs().len() == b.outputs().len()
        && a.outputs().iter().zip(b.outputs()).all(|(p, q)| {
            p.name == q.name && p.declared == q.declared && a.value_name(p.value) == b.value_name(q.value)
        })
}

/// The node of `b` that makes the value which `id` makes first in `a`.
fn counterpart(a: &Graph, id: NodeId, b: &Graph) -> Option<NodeId> {
    let named = a.node_outputs(id).map(|v| a.value_name(v)).find(|name| !name.is_empty())?;
    Some(b.value(named)?.node)
}

fn same_node(a: &Graph, id: NodeId, b: &Graph, other: NodeId) -> bool {
    let (m, n) = (a.node(id), b.node(other));
    let same_kind = match (&m.kind, &n.kind) {
        (NodeKind::Input, NodeKind::Input) => true,
        (NodeKind::Constant(p), NodeKind::Constant(q)) => p == q,
        (NodeKind::Operator(p), NodeKind::Operator(q)) => p == q,
        _ => false,
    };
    let names = |g: &Graph, id| -> Vec<String> { g.node_outputs(id).map(|v| g.value_name(v).to_owned()).collect() };
    let reads = |g: &Graph, id| -> Vec<Option<String>> {
        g.node_inputs(id).iter().map(|v| v.map(|v| g.value_name(v).to_owned())).collect()
    };
    same_kind
        && (&m.name, &m.doc, &m.metadata, m.num_captures()) == (&n.name, &n.doc, &n.metadata, n.num_captures())
        && names(a, id) == names(b, other)
        && reads(a, id) == reads(b, other)
}
