//! Two integer vectors of the same symbolic contents   ⇒   one of them.
//!
//! Exporters compute `batch`, or `[batch, seq, 64]`, anew for each layer, each time from another tensor. Inference knows
//! that they say the same. The first stays that is computed from the shapes of inputs alone, so that nothing waits for what
//! a layer made; if there is none, the first.

use crate::driver::Editor;
use crate::patch::Patch;
use crate::pipeline::Pass;
use planish_ir::{Dim, Graph, NodeId, NodeKind, ValueId};
use planish_tensor::DType;
use std::collections::{HashMap, HashSet};

/// Merges computed shapes that are the same under every binding of symbols.
pub(crate) const PASS: Pass = Pass::Whole("merge-equal-shapes", run);

/// A dtype, a rank and what the elements are, as text: equal expressions print equally.
type Key = (DType, usize, String);

fn run(editor: &mut Editor<'_>) {
    let mut seen: HashMap<Key, ValueId> = HashMap::new();
    let mut of_inputs: HashSet<NodeId> = HashSet::new();
    for id in editor.graph.topological_order().unwrap_or_default() {
        if editor.state.is_spent() {
            return;
        }
        if is_of_inputs(editor.graph, id, &of_inputs) {
            of_inputs.insert(id);
        }
        for value in editor.graph.node_outputs(id) {
            // Applying a patch removes nodes.
            if !editor.graph.contains(id) {
                break;
            }
            let Some(key) = key(editor.graph, value) else { continue };
            match seen.get(&key) {
                Some(&first) if !editor.graph.contains(first.node) => {
                    seen.insert(key, value);
                }
                Some(&first) if of_inputs.contains(&id) && !of_inputs.contains(&first.node) => {
                    let replaced = Patch::new().replace(first, value);
                    let _ = editor.apply("merge-equal-shapes", first.node, &[first.node], replaced);
                    seen.insert(key, value);
                }
                Some(&first) => {
                    let _ = editor.apply("merge-equal-shapes", id, &[id], Patch::new().replace(value, first));
                }
                None => {
                    seen.insert(key, value);
                }
            }
        }
    }
}

/// Whether a node computes with nothing but the shapes of inputs and constants.
fn is_of_inputs(graph: &Graph, id: NodeId, of_inputs: &HashSet<NodeId>) -> bool {
    let node = graph.node(id);
    let is_input = |value: ValueId| matches!(graph.node(value.node).kind, NodeKind::Input);
    match &node.kind {
        NodeKind::Constant(_) => true,
        NodeKind::Input => false,
        NodeKind::Operator(operator) => {
            let is_shape = operator.is("Shape");
            graph.node_inputs(id).into_iter().flatten().all(|value| match is_shape {
                true => is_input(value) || of_inputs.contains(&value.node),
                false => of_inputs.contains(&value.node),
            })
        }
    }
}

fn key(graph: &Graph, value: ValueId) -> Option<Key> {
    graph.node(value.node).operator()?.op().filter(|op| op.is_deterministic())?;
    let is_read = graph.is_output(value) || graph.readers(value).next().is_some();
    let fact = graph.fact(value);
    let contents = fact.contents.as_ref().filter(|c| is_read && !c.is_empty() && !c.iter().any(Dim::is_unknown))?;
    let text: Vec<String> = contents.iter().map(Dim::to_string).collect();
    Some((fact.dtype()?, fact.rank()?, text.join(",")))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    #[test]
    fn the_same_extent_taken_from_two_tensors_is_computed_once() {
        Proof::of("merge-equal-shapes")
            .before(
                "g (float[N, S] x) => (int64[] y) <int64 zero = {0}> { a = Relu (x) s = Shape (x) n = Gather (s, zero) \
                 t = Shape (a) m = Gather (t, zero) y = Add (n, m) }",
            )
            .after("s = Shape (x)  n = Gather (s, zero)  y = Add (n, n)")
            .exact();
    }

    #[test]
    fn what_is_known_of_inputs_does_not_wait_for_anything_else() {
        Proof::of("merge-equal-shapes")
            .before(
                "g (float[N, S] x) => (int64[] y) <int64 zero = {0}> { a = Relu (x) s = Shape (a) n = Gather (s, zero) \
                 t = Shape (x) m = Gather (t, zero) y = Add (n, m) }",
            )
            .after("t = Shape (x)  m = Gather (t, zero)  y = Add (m, m)")
            .exact();
    }

    #[test]
    fn other_extents_ranks_and_unknown_ones_stay_apart() {
        for nodes in [
            "s = Shape (x) a = Gather (s, zero) b = Gather (s, one) y = Add (a, b)",
            "s = Shape (x) a = Gather (s, zero) b = Gather (s, first) y = Add (a, b)",
            "z = NonZero (x) w = NonZero (v) a = Shape (z) b = Shape (w) y = Add (a, b)",
        ] {
            let text = format!(
                "g (float[N, S] x, float[N, S] v) => (int64[] y) <int64 zero = {{0}}, int64 one = {{1}}, int64[1] first = {{0}}> {{ {nodes} }}"
            );
            Proof::of("merge-equal-shapes").before(&text).does_not_fire("");
        }
    }
}
