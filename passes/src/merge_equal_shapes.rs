//! Two integer vectors of the same symbolic contents   ⇒   one of them.
//!
//! Exporters compute `batch`, or `[batch, seq, 64]`, anew for each layer, each time from another tensor. Inference knows
//! that they say the same; the first stays.

use crate::driver::Editor;
use crate::patch::Patch;
use crate::pipeline::Pass;
use planish_ir::{Dim, Graph, ValueId};
use planish_tensor::DType;
use std::collections::HashMap;

/// Merges computed shapes that are the same under every binding of symbols.
pub(crate) const PASS: Pass = Pass::Whole("merge-equal-shapes", run);

/// A dtype, a rank and what the elements are, as text: equal expressions print equally.
type Key = (DType, usize, String);

fn run(editor: &mut Editor<'_>) {
    let mut seen: HashMap<Key, ValueId> = HashMap::new();
    for id in editor.graph.topological_order().unwrap_or_default() {
        if editor.state.is_spent() {
            return;
        }
        for value in editor.graph.node_outputs(id) {
            // Applying a patch removes nodes.
            if !editor.graph.contains(id) {
                break;
            }
            let Some(key) = key(editor.graph, value) else { continue };
            match seen.get(&key) {
                Some(&first) if editor.graph.contains(first.node) => {
                    let _ = editor.apply("merge-equal-shapes", id, &[id], Patch::new().replace(value, first));
                }
                _ => {
                    seen.insert(key, value);
                }
            }
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
