//! Attention(q, k, v, Where(seen, 0, −∞), …)   ⇒   Attention(q, k, v, seen, …)
//! Attention(q, k, v, key ≤ query ∧ seen, …)   ⇒   Attention(q, k, v, seen, …, is_causal = 1)
//! Attention(q, k, v, Where(key ≤ query, 0, low), …)   ⇒   Attention(q, k, v, …, is_causal = 1)
//! where key and query count positions, the queries from behind the cache on, and key ≤ query may be a triangle of ones
//!
//! A number instead of −∞ is as good where the order alone hides keys: each query sees one at least.
//!
//! when: the mask is all that the operator has to choose keys by; queries and keys count as many as there are.

use crate::heads::with_rows;
use crate::order;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, ValueId};
use planish_tensor::DType;

/// Takes a mask of yes and no as it is.
pub static BOOLEAN: Rule = Rule::on("attention-of-boolean-mask", &["Attention"], |cx, found| {
    let node = found.root();
    let mask = cx.input(node, MASK).ok_or(No::SILENT)?;
    must(cx.operator(mask.node).is_some_and(|o| o.is("Where")), No::SILENT)?;
    let part = |index| cx.input(mask.node, index).ok_or(No::SILENT);
    let (seen, zero, low) = (part(0)?, part(1)?, part(2)?);
    must(cx.scalar(zero) == Some(0.0), "what is seen is not left as it is")?;
    must(cx.scalar(low) == Some(f64::NEG_INFINITY), "what is not seen is not wholly lost")?;
    must(cx.same_shape(seen, mask), "the numbers change the shape of the mask")?;
    rebuilt(cx, found, Some(seen.into()), false)
});

/// Leaves the order of positions, given as numbers that are added, to the operator.
pub static NUMBERS: Rule = Rule::on("causal-attention-of-numbers", &["Attention"], |cx, found| {
    let node = found.root();
    let mask = cx.input(node, MASK).filter(|&m| cx.dtype(m) != Some(DType::Bool)).ok_or(No::SILENT)?;
    let is_open = |side: &str| cx.int(node, side) == Some(-1);
    must(
        cx.int(node, "is_causal") == Some(0) && is_open("left_window_size") && is_open("right_window_size"),
        No::SILENT,
    )?;
    must(cx.input(node, VALID_KEYS).is_none(), "keys are counted")?;
    must(order::of_numbers(cx, node, mask), "the mask is not known to be the order of positions alone")?;
    rebuilt(cx, found, None, true)
});

/// Leaves the order of positions to the operator.
pub static CAUSAL: Rule = Rule::on("causal-attention", &["Attention"], |cx, found| {
    let node = found.root();
    let mask = cx.input(node, MASK).filter(|&m| cx.dtype(m) == Some(DType::Bool)).ok_or(No::SILENT)?;
    let is_open = |side: &str| cx.int(node, side) == Some(-1);
    must(
        cx.int(node, "is_causal") == Some(0) && is_open("left_window_size") && is_open("right_window_size"),
        No::SILENT,
    )?;
    must(cx.input(node, VALID_KEYS).is_none(), "keys are counted")?;
    let terms = conjunction(cx, mask);
    let is_causal: Vec<bool> = terms.iter().map(|&term| order::of_condition(cx, node, term) == Some(true)).collect();
    must(is_causal.contains(&true), "no part of the mask is known to be the order of positions")?;
    let rest: Vec<ValueId> = terms.iter().zip(&is_causal).filter(|(_, is)| !**is).map(|(&term, _)| term).collect();
    let Some((&first, others)) = rest.split_first() else { return rebuilt(cx, found, None, true) };
    let mut patch = Patch::new();
    let both = |patch: &mut Patch, a: Operand, b: ValueId| patch.operator("And", Attributes::new(), &[a, b.into()]);
    let seen = others.iter().fold(first.into(), |seen, &other| both(&mut patch, seen, other));
    let row =
        |&term: &ValueId| cx.shape(term).and_then(|s| s.iter().rev().nth(1)).is_some_and(|d| d.as_known() != Some(1));
    let queries = cx.input(node, 0).ok_or(No::SILENT)?;
    let seen = with_rows(cx, &mut patch, queries, seen, rest.iter().any(row));
    finish(cx, found, patch, Some(seen), true)
});

const MASK: usize = 3;
const VALID_KEYS: usize = 6;

/// How many conditions of a mask are told apart.
const MAX_TERMS: usize = 4;

/// The conditions that a mask joins by `And`.
fn conjunction(cx: &Cx<'_>, mask: ValueId) -> Vec<ValueId> {
    let mut terms = vec![mask];
    while let Some(at) = terms.iter().position(|t| cx.operator(t.node).is_some_and(|o| o.is("And"))) {
        if terms.len() == MAX_TERMS {
            break;
        }
        let node = terms.remove(at).node;
        terms.splice(at..at, cx.graph.node_inputs(node).into_iter().flatten());
    }
    terms
}

fn rebuilt(cx: &Cx<'_>, found: &Match<'_>, mask: Option<Operand>, is_causal: bool) -> Outcome {
    finish(cx, found, Patch::new(), mask, is_causal)
}

/// The attention with another mask.
fn finish(cx: &Cx<'_>, found: &Match<'_>, mut patch: Patch, mask: Option<Operand>, is_causal: bool) -> Outcome {
    let node = found.root();
    let operator = cx.operator(node).ok_or(No::SILENT)?;
    let mut inputs: Vec<Operand> = cx.graph.node_inputs(node).iter().map(|&v| Operand::from(v)).collect();
    inputs[MASK] = mask.unwrap_or(Operand::Absent);
    let attributes = operator.attributes.clone();
    let attributes = if is_causal { attributes.with("is_causal", 1) } else { attributes };
    let outputs: Vec<ValueId> = cx.graph.node_outputs(node).collect();
    let made = patch.operators("Attention", attributes, &inputs, outputs.len());
    Ok(outputs.iter().zip(made).fold(patch, |patch, (&old, new)| patch.replace(old, new)))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    /// Attention behind a cache, its mask made of what `nodes` make of positions of keys `k` and of queries `q`.
    fn text(start: &str, nodes: &str) -> String {
        format!(
            "g (float[N, S, 8] x, float[N, S, 4] y, float[N, S, 4] z, float[N, 1, P, 4] pk, float[N, 1, P, 4] pv, bool[N, 1, 1, P] old, bool[N, 1, 1, S] new, bool[S, P] before, bool[S, S] now) \
             => (float[N, S, 8] r, float[] nk, float[] nv) <int64 zero = {{0}}, int64 one = {{1}}, int64[4] row = {{1, 1, 1, -1}}, int64[4] column = {{1, 1, -1, 1}}, \
             float none = {{0}}, float low = {{-inf}}, float some = {{-100}}> \
             {{ seen = Concat <axis: int = 3> (old, new) all = Concat <axis: int = 1> (before, now) s1 = Shape <start: int = 1, end: int = 2> (x) s = Squeeze (s1) p1 = Shape <start: int = 2, end: int = 3> (pk) p = Squeeze (p1) t = Add (p, s) \
             kr = Range (zero, t, one) k = Reshape (kr, row) a = Range ({start}, s, one) b = Add (a, p) q = Reshape (b, column) {nodes} \
             r, nk, nv = Attention <q_num_heads: int = 2, kv_num_heads: int = 1> (x, y, z, m, pk, pv) }}"
        )
    }

    #[test]
    fn a_mask_of_zero_and_nothing_is_yes_and_no() {
        Proof::of_all(&["attention-of-boolean-mask", "remove-dead-nodes"])
            .before(&text("zero", "m = Where (all, none, low)"))
            .after("all = Concat (before, now) <axis: int = 1> r, nk, nv = Attention (x, y, z, all, pk, pv) <kv_num_heads: int = 1, q_num_heads: int = 2>")
            .within(1e-6);
        Proof::of("attention-of-boolean-mask")
            .before(&text("zero", "m = Where (seen, none, some)"))
            .does_not_fire("lost");
    }

    #[test]
    fn order_is_left_to_the_operator() {
        Proof::of_all(&["causal-attention", "remove-dead-nodes"])
            .before(&text("zero", "m = LessOrEqual (k, q)"))
            .after("r, nk, nv = Attention (x, y, z, \"\", pk, pv) <is_causal: int = 1, kv_num_heads: int = 1, q_num_heads: int = 2>")
            .within(1e-6);
        Proof::of_all(&["causal-attention", "remove-dead-nodes"])
            .before(&text("zero", "o = GreaterOrEqual (q, k) m = And (o, seen)"))
            .after(
                "seen = Concat (old, new) <axis: int = 3> r_shape = Shape (x) <end: int = 2, start: int = 1> r_concat = Concat (r_shape, r_constant) <axis: int = 0> \
                 r_expand = Expand (seen, r_concat) \
                 r, nk, nv = Attention (x, y, z, r_expand, pk, pv) <is_causal: int = 1, kv_num_heads: int = 1, q_num_heads: int = 2>",
            )
            .within(1e-6);
    }

    fn triangle(nodes: &str) -> String {
        format!(
            "g (float[N, S, 4] x) => (float[N, S, 4] y) <int64 k = {{1}}, int64 two = {{2}}, float none = {{0}}, float one = {{1}}, float low = {{-1e9}}, float[1] lost = {{-inf}}, float some = {{-100}}> \
             {{ s = Shape <start: int = 1, end: int = 2> (x) b = Concat <axis: int = 0> (s, s) {nodes} \
             y = Attention <q_num_heads: int = 2, kv_num_heads: int = 2> (x, x, x, m) }}"
        )
    }

    #[test]
    fn a_triangle_is_the_order() {
        for nodes in [
            "e = Expand (one, b) t = Trilu <upper = 0> (e) z = Equal (t, none) m = Where (z, low, none)",
            "e = Expand (one, b) t = Trilu <upper = 0> (e) z = Cast <to = 9> (t) m = Where (z, none, low)",
            "e = Expand (one, b) t = Trilu <upper = 1> (e, k) z = Cast <to = 9> (t) n = Not (z) m = Where (n, none, low)",
            "e = Expand (lost, b) m = Trilu <upper = 1> (e, k)",
        ] {
            Proof::of_all(&["causal-attention-of-numbers", "remove-dead-nodes"])
                .before(&triangle(nodes))
                .after("y = Attention (x, x, x) <is_causal: int = 1, kv_num_heads: int = 2, q_num_heads: int = 2>")
                .within(1e-6);
        }
        let constant = "g (float[N, 2, 4] x) => (float[N, 2, 4] y) <float[2, 2] m = {0, -1e9, 0, 0}> { y = Attention <q_num_heads: int = 2, kv_num_heads: int = 2> (x, x, x, m) }";
        Proof::of("causal-attention-of-numbers")
            .before(constant)
            .after("y = Attention (x, x, x) <is_causal: int = 1, kv_num_heads: int = 2, q_num_heads: int = 2>")
            .within(1e-6);
    }

    #[test]
    fn other_triangles_stay_masks() {
        for nodes in [
            "e = Expand (one, b) t = Trilu <upper = 0> (e) z = Equal (t, none) m = Where (z, some, none)",
            "e = Expand (one, b) t = Trilu <upper = 0> (e) z = Equal (t, none) m = Where (z, none, low)",
            "e = Expand (one, b) t = Trilu <upper = 0> (e, k) z = Equal (t, none) m = Where (z, low, none)",
            "e = Expand (low, b) m = Trilu <upper = 1> (e, two)",
            "e = Expand (some, b) m = Trilu <upper = 1> (e, k)",
        ] {
            Proof::of("causal-attention-of-numbers").before(&triangle(nodes)).does_not_fire("order of positions alone");
        }
    }

    #[test]
    fn other_orders_stay_masks() {
        for (start, nodes) in
            [("one", "m = LessOrEqual (k, q)"), ("zero", "m = Less (k, q)"), ("zero", "m = LessOrEqual (q, k)")]
        {
            let text = text(start, nodes);
            let text = if start == "one" { text.replace("x, y, z, m", "x, y, z, seen") } else { text };
            Proof::of("causal-attention").before(&text).does_not_fire("order");
        }
    }
}
