//! y = Op(x…), z = Op(x…)   ⇒   y = Op(x…), z = y
//!
//! when: both have the same attributes and hold no bodies; equal inputs always give equal outputs. Also called common
//! subexpression elimination.

use crate::driver::Editor;
use crate::patch::Patch;
use crate::pipeline::Pass;
use planish_ir::{Graph, NodeId, ValueId};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Merges nodes that compute the same.
pub(crate) const PASS: Pass = Pass::Whole("merge-equal-nodes", run);

/// How many nodes of one operator and the same inputs, but other attributes, are compared with a new one.
const MAX_CANDIDATES: usize = 32;

/// Operator and inputs.
type Key = (String, String, SmallVec<[Option<ValueId>; 4]>);

fn run(editor: &mut Editor<'_>) {
    let mut seen: HashMap<Key, Vec<NodeId>> = HashMap::new();
    for id in editor.graph.topological_order().unwrap_or_default() {
        if editor.state.is_spent() {
            return;
        }
        let Some(key) = key(editor.graph, id) else { continue };
        let candidates = seen.entry(key).or_default();
        let twin = candidates.iter().copied().find(|&earlier| is_equal(editor.graph, earlier, id));
        match twin {
            Some(earlier) => {
                let _ = editor.apply("merge-equal-nodes", id, &[id], merged(editor.graph, earlier, id));
            }
            None if candidates.len() < MAX_CANDIDATES => candidates.push(id),
            None => {}
        }
    }
}

fn key(graph: &Graph, id: NodeId) -> Option<Key> {
    let operator = graph.node(id).operator()?;
    let can_merge = operator.op()?.is_deterministic() && operator.subgraphs().next().is_none();
    can_merge.then(|| (operator.domain.clone(), operator.name.clone(), graph.node_inputs(id)))
}

fn is_equal(graph: &Graph, earlier: NodeId, later: NodeId) -> bool {
    let (a, b) = (graph.node(earlier), graph.node(later));
    a.operator() == b.operator() && a.num_outputs() >= b.num_outputs() && wants_at_least(graph, earlier, later)
}

/// Whether the earlier node makes every output that the later one does.
fn wants_at_least(graph: &Graph, earlier: NodeId, later: NodeId) -> bool {
    graph
        .node_outputs(later)
        .zip(graph.node_outputs(earlier))
        .all(|(of_later, of_earlier)| graph.value_name(of_later).is_empty() || !graph.value_name(of_earlier).is_empty())
}

fn merged(graph: &Graph, earlier: NodeId, later: NodeId) -> Patch {
    let outputs = graph.node_outputs(later).filter(|&v| !graph.value_name(v).is_empty());
    outputs.fold(Patch::new(), |patch, value| patch.replace(value, ValueId { node: earlier, output: value.output }))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    #[test]
    fn equal_nodes_become_one() {
        Proof::of("merge-equal-nodes")
            .before(
                "g (float[2] x) => (float[2] y) { a = Relu (x) b = Relu (x) c = Neg (a) d = Neg (b) y = Add (c, d) }",
            )
            .after("a = Relu (x)  c = Neg (a)  y = Add (c, c)")
            .exact();
    }

    #[test]
    fn other_attributes_inputs_or_randomness_keep_nodes_apart() {
        for nodes in [
            "a = Elu (x) b = Elu (x) <alpha: float = 2.0> y = Add (a, b)",
            "a = Sub (x, z) b = Sub (z, x) y = Add (a, b)",
            "a = RandomNormalLike (x) b = RandomNormalLike (x) y = Add (a, b)",
        ] {
            let text = format!("g (float[2] x, float[2] z) => (float[2] y) {{ {nodes} }}");
            Proof::of("merge-equal-nodes").before(&text).does_not_fire("");
        }
    }
}
