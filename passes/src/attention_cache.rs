//! key = Concat(past key, k), value = Concat(past value, v), y = Attention(q, key, value, mask)
//! ⇒   y, key, value = Attention(q, k, v, mask, past key, past value)
//!
//! when: both are joined along positions; nothing that key or value goes into comes back into this attention; it is not
//! causal, for with a cache the positions of queries begin behind it.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{NodeId, ValueId};
use std::collections::HashSet;

/// Moves the cache inside.
pub static RULE: Rule = Rule::matching(
    "fuse-attention-cache",
    "key = &Concat(past_key, k)
     value = &Concat(past_value, v)
     y = Attention(q, key, value, mask?)",
    rewrite,
);

/// Nodes that are looked at to see whether anything comes back.
const MAX_NODES_BETWEEN: usize = 1000;

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let node = found.root();
    let operator = cx.operator(node).ok_or(No::SILENT)?;
    must(cx.int(node, "is_causal") == Some(0), "it is causal")?;
    let is_open = |side: &str| cx.int(node, side) == Some(-1);
    must(is_open("left_window_size") && is_open("right_window_size"), "it has a window")?;
    must(cx.graph.node(node).num_outputs() == 1, "it gives out more than its result")?;
    let (key, value) = (found["key"], found["value"]);
    for joined in [key, value] {
        must(cx.rank(joined) == Some(4), "keys or values are not known to be of rank 4")?;
        must(cx.axis(joined.node, "axis", 4) == Some(2), "the cache does not grow along positions")?;
        must(!comes_back(cx, joined, node), "the mask or the queries are made from keys or values with the cache")?;
    }
    let (past_key, past_value) = (found["past_key"], found["past_value"]);
    let mask = found.get("mask").map_or(Operand::Absent, Operand::Value);
    let inputs = [found["q"].into(), found["k"].into(), found["v"].into(), mask, past_key.into(), past_value.into()];
    let mut patch = Patch::new();
    let new = patch.operators("Attention", operator.attributes.clone(), &inputs, 3);
    Ok(patch.replace(cx.output(node), new[0]).replace(key, new[1]).replace(value, new[2]))
}

/// Whether a value reaches `node` by another way than straight, or nobody knows.
fn comes_back(cx: &Cx<'_>, value: ValueId, node: NodeId) -> bool {
    let mut seen = HashSet::new();
    let mut pending: Vec<NodeId> = cx.graph.readers(value).map(|r| r.node).filter(|&n| n != node).collect();
    if cx.graph.readers(value).filter(|r| r.node == node).count() > 1 {
        return true;
    }
    while let Some(next) = pending.pop() {
        if next == node || seen.len() > MAX_NODES_BETWEEN {
            return true;
        }
        if seen.insert(next) {
            let outputs: Vec<ValueId> = cx.graph.node_outputs(next).collect();
            pending.extend(outputs.iter().flat_map(|&v| cx.graph.readers(v)).map(|r| r.node));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(axis: i64, attention: &str) -> String {
        format!(
            "g (float[N, 6, S, 4] q, float[N, 2, S, 4] k, float[N, 2, S, 4] v, float[N, 2, P, 4] pk, float[N, 2, P, 4] pv, float[N, 2, 3, 4] w) \
             => (float[] y, float[] key, float[] value) {{ key = Concat <axis: int = {axis}> (pk, k) value = Concat <axis: int = -2> (pv, v) {attention} }}"
        )
    }

    #[test]
    fn a_cache_moves_inside() {
        Proof::of("fuse-attention-cache")
            .before(&text(2, "y = Attention (q, key, value)"))
            .after("y, key, value = Attention (q, k, v, \"\", pk, pv)")
            .within(1e-6);
    }

    #[test]
    fn other_caches_stay_outside() {
        for (graph, reason) in [
            (text(2, "y = Attention <is_causal: int = 1> (q, key, value)"), "causal"),
            (text(2, "m = ReduceMax <keepdims: int = 0> (key) y = Attention (q, key, value, m)"), "made from keys"),
            (text(0, "y = Attention (q, w, value)"), ""),
        ] {
            Proof::of("fuse-attention-cache").before(&graph).does_not_fire(reason);
        }
    }
}
