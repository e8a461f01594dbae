//! Splitting features into heads and joining them again goes into the operators that know heads:
//!
//! RotaryEmbedding(split(x), …)   ⇒   split(RotaryEmbedding(x, …, num_heads))
//! joined(Attention(split(q), split(k), split(v), …))   ⇒   Attention(q, k, v, …, q_num_heads, kv_num_heads)
//!
//! Transpose(Attention(rows(q), rows(k), rows(v), …), [1, 0, 2])   ⇒   Transpose(Attention(q', k', v', …, heads), [1, 0, 2]),
//! where rows(x) = Transpose(Reshape(x, [positions, batch · heads, features]), [1, 0, 2]) and x' = Transpose(x, [1, 0, 2])
//!
//! where split(x) = Transpose(Reshape(x, [batch, positions, heads, features])) and joined is its inverse.
//! when: the numbers of heads are known and shapes show that nothing else is reshaped.

use crate::heads::{operand, split};
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, Dim, ValueId};

/// Rotates before the split.
pub static ROTARY: Rule = Rule::on("split-heads-after-rotary-embedding", &["RotaryEmbedding"], rewrite_rotary);

/// Attends without split and join.
pub static ATTENTION: Rule = Rule::matching(
    "attention-of-joined-heads",
    "attended = &Attention(q, k, v, ...)
     y = Reshape(Transpose(attended), _)",
    rewrite_attention,
);

/// Tells heads from the batch.
pub static BATCHED: Rule = Rule::matching(
    "attention-of-batched-heads",
    "attended = Attention(q, k, v, mask?)
     y = Reshape(Transpose(attended), _)",
    rewrite_batched,
);

fn rewrite_batched(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (attended, y) = (found["attended"], cx.output(found.root()));
    let turned = cx.input(found.root(), 0).ok_or(No::SILENT)?;
    let node = attended.node;
    let swaps = |v: ValueId| cx.int_list(v.node, "perm").as_deref() == Some(&[1, 0, 2]);
    must(cx.int(node, "q_num_heads") == Some(1) && cx.int(node, "kv_num_heads") == Some(1), No::SILENT)?;
    must(swaps(turned) && cx.graph.node(node).num_outputs() == 1, No::SILENT)?;
    let is_for_all = |mask: ValueId| {
        let leading = cx.shape(mask).and_then(|shape| shape.get(..shape.len().checked_sub(2)?));
        leading.is_some_and(|leading| leading.iter().all(|d| d.as_known() == Some(1)))
    };
    must(found.get("mask").is_none_or(is_for_all), "the mask is not the same for the whole batch")?;
    let rows = |name: &str| -> Option<(ValueId, i64, Dim)> {
        let reshaped = operand(cx, found[name], "Transpose").filter(|_| swaps(found[name]))?;
        let x = operand(cx, reshaped, "Reshape")?;
        let ([positions, batch, hidden], [p, rows, features]) = (cx.shape(x)?, cx.shape(reshaped)?) else {
            return None;
        };
        let (hidden, features) = (hidden.as_known()?, features.as_known().filter(|&f| f > 0)?);
        let heads = hidden / features;
        let is_split = heads > 0 && hidden % features == 0 && Dim::provably_equal(&(batch * &Dim::known(heads)), rows);
        (is_split && Dim::provably_equal(positions, p)).then(|| (x, heads, batch.clone()))
    };
    let [Some((q, heads, batch)), Some((k, k_heads, k_batch)), Some((v, v_heads, v_batch))] = ["q", "k", "v"].map(rows)
    else {
        return Err("queries, keys or values are not known to be heads of one vector a position".into());
    };
    let is_same = heads == k_heads
        && heads == v_heads
        && Dim::provably_equal(&batch, &k_batch)
        && Dim::provably_equal(&batch, &v_batch);
    must(is_same, "queries, keys and values have different heads")?;
    let operator = cx.operator(node).ok_or(No::SILENT)?;
    let mut patch = Patch::new();
    let swap = Attributes::new().with("perm", vec![1i64, 0, 2]);
    let mut inputs: Vec<Operand> = cx.graph.node_inputs(node).iter().map(|&v| Operand::from(v)).collect();
    for (input, x) in inputs.iter_mut().zip([q, k, v]) {
        *input = patch.operator("Transpose", swap.clone(), &[x.into()]);
    }
    let attributes = operator.attributes.clone().with("q_num_heads", heads).with("kv_num_heads", heads);
    let new = patch.operator("Attention", attributes, &inputs);
    let new = patch.operator("Transpose", swap, &[new]);
    let shape = cx.input(found.root(), 1).ok_or(No::SILENT)?;
    let join = cx.operator(found.root()).ok_or(No::SILENT)?.attributes.clone();
    // A 0 of the shape stands for an extent of what was reshaped, which has one for each head of the batch no more.
    let zeros = cx.ints(shape).is_none_or(|dims| dims.iter().skip(1).any(|&d| d == 0));
    must(!zeros, "the shape of the result is not told by numbers")?;
    let new = patch.operator("Reshape", join, &[new, shape.into()]);
    Ok(patch.replace(y, new))
}

fn rewrite_rotary(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let node = found.root();
    let operator = cx.operator(node).ok_or(No::SILENT)?;
    let value = cx.input(node, 0).ok_or(No::SILENT)?;
    let (x, heads) = split(cx, value).ok_or(No::SILENT)?;
    let reshaped = operand(cx, value, "Transpose").ok_or(No::SILENT)?;
    must(cx.is_read_once(value) && cx.is_read_once(reshaped), "its input is read elsewhere too")?;
    let shape = cx.input(reshaped.node, 1).ok_or(No::SILENT)?;
    let (split, turned) = (cx.operator(reshaped.node), cx.operator(value.node));
    let (split, turned) = (split.ok_or(No::SILENT)?, turned.ok_or(No::SILENT)?);
    let mut inputs: Vec<Operand> = cx.graph.node_inputs(node).iter().map(|&v| Operand::from(v)).collect();
    inputs[0] = x.into();
    let mut patch = Patch::new();
    let attributes = operator.attributes.clone().with("num_heads", heads);
    let rotated = patch.operator("RotaryEmbedding", attributes, &inputs);
    let rotated = patch.operator("Reshape", split.attributes.clone(), &[rotated, shape.into()]);
    let y = patch.operator("Transpose", turned.attributes.clone(), &[rotated]);
    Ok(patch.replace(cx.output(node), y))
}

fn rewrite_attention(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (attended, y) = (found["attended"], cx.output(found.root()));
    let turned = cx.input(found.root(), 0).ok_or(No::SILENT)?;
    let perm = cx.int_list(turned.node, "perm");
    must(perm.as_deref() == Some(&[0, 2, 1, 3]), No::SILENT)?;
    must(attended.output == 0 && cx.is_read_once(attended), "its result is read elsewhere too")?;
    must(is_joined(cx, turned, y), "its result is not known to be joined to one vector a position")?;
    let parts = ["q", "k", "v"].map(|name| split(cx, found[name]));
    let [Some((q, q_heads)), Some((k, kv_heads)), Some((v, v_heads))] = parts else {
        return Err("queries, keys or values are not split from one vector a position".into());
    };
    must(kv_heads == v_heads, "keys and values have different numbers of heads")?;
    let node = attended.node;
    let operator = cx.operator(node).ok_or(No::SILENT)?;
    let attributes = operator.attributes.clone().with("q_num_heads", q_heads).with("kv_num_heads", kv_heads);
    let mut inputs: Vec<Operand> = cx.graph.node_inputs(node).iter().map(|&v| Operand::from(v)).collect();
    inputs[..3].copy_from_slice(&[q.into(), k.into(), v.into()]);
    let outputs: Vec<ValueId> = cx.graph.node_outputs(node).collect();
    let mut patch = Patch::new();
    let new = patch.operators("Attention", attributes, &inputs, outputs.len());
    let mut patch = patch.replace(y, new[0]);
    for (&old, &new) in outputs.iter().zip(&new).skip(1) {
        patch = patch.replace(old, new);
    }
    Ok(patch)
}

/// Whether `y` is `[batch, positions, heads · features]` of `[batch, positions, heads, features]`.
fn is_joined(cx: &Cx<'_>, turned: ValueId, y: ValueId) -> bool {
    let (Some([batch, positions, heads, features]), Some([b, p, hidden])) = (cx.shape(turned), cx.shape(y)) else {
        return false;
    };
    let size = heads.as_known().and_then(|h| features.as_known().and_then(|f| h.checked_mul(f)));
    size.is_some() && size == hidden.as_known() && Dim::provably_equal(batch, b) && Dim::provably_equal(positions, p)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(perm: &str, nodes: &str) -> String {
        let split =
            |x: &str, heads: &str| format!("{x}r = Reshape ({x}, {heads}) {x}t = Transpose <perm = {perm}> ({x}r)");
        format!(
            "g (float[N, S, 24] q, float[N, T, 8] k, float[N, T, 8] v, float[N, S, 2] c, float[N, S, 2] s) => (float[] y) \
             <int64[4] six = {{0, 0, 6, 4}}, int64[4] two = {{0, 0, 2, 4}}, int64[3] joined = {{0, 0, 24}}> {{ {} {} {} {nodes} }}",
            split("q", "six"),
            split("k", "two"),
            split("v", "two")
        )
    }

    const HEADS: &str = "[0, 2, 1, 3]";
    const JOIN: &str = "t = Transpose <perm = [0, 2, 1, 3]> (a) y = Reshape (t, joined)";

    #[test]
    fn attention_splits_and_joins_heads_itself() {
        Proof::of("attention-of-joined-heads")
            .before(&text(HEADS, &format!("a = Attention (qt, kt, vt) {JOIN}")))
            .after("y = Attention (q, k, v) <kv_num_heads: int = 2, q_num_heads: int = 6>")
            .within(1e-6);
    }

    #[test]
    fn rotation_comes_before_the_split() {
        Proof::of_all(&["attention-of-joined-heads", "split-heads-after-rotary-embedding"])
            .before(&text(HEADS, &format!("o = RotaryEmbedding (qt, c, s) a = Attention (o, kt, vt) {JOIN}")))
            .after(
                "o_rotaryembedding = RotaryEmbedding (q, c, s) <num_heads: int = 6> \
                 y = Attention (o_rotaryembedding, k, v) <kv_num_heads: int = 2, q_num_heads: int = 6>",
            )
            .within(1e-6);
    }

    fn rows(mask: &str, nodes: &str) -> String {
        let rows = |x: &str| format!("{x}r = Reshape ({x}, rows) {x}t = Transpose <perm = [1, 0, 2]> ({x}r)");
        format!(
            "g (float[S, 2, 12] q, float[S, 2, 12] k, float[S, 2, 12] v, {mask} m) => (float[] y) \
             <int64[3] rows = {{0, 6, 4}}, int64[3] joined = {{-1, 2, 12}}> {{ {} {} {} \
             a = Attention <q_num_heads = 1, kv_num_heads = 1> ({nodes}) t = Transpose <perm = [1, 0, 2]> (a) y = Reshape (t, joined) }}",
            rows("q"),
            rows("k"),
            rows("v")
        )
    }

    #[test]
    fn heads_are_told_from_the_batch() {
        Proof::of("attention-of-batched-heads")
            .before(&rows("float[S, S]", "qt, kt, vt, m"))
            .after(
                "y_transpose = Transpose (q) <perm: ints = [1, 0, 2]> y_transpose_1 = Transpose (k) <perm: ints = [1, 0, 2]> \
                 y_transpose_2 = Transpose (v) <perm: ints = [1, 0, 2]> \
                 y_attention = Attention (y_transpose, y_transpose_1, y_transpose_2, m) <kv_num_heads: int = 3, q_num_heads: int = 3> \
                 y_transpose_3 = Transpose (y_attention) <perm: ints = [1, 0, 2]> y = Reshape (y_transpose_3, joined)",
            )
            .within(1e-6);
        let masked = rows("float[6, 1, S, S]", "qt, kt, vt, m");
        Proof::of("attention-of-batched-heads").before(&masked).does_not_fire("whole batch");
        let square = rows("float[S, S]", "qt, kt, k, m");
        Proof::of("attention-of-batched-heads")
            .before(&square.replace("[S, 2, 12]", "[6, 6, 4]"))
            .does_not_fire("not known to be heads");
    }

    #[test]
    fn other_splits_are_left_alone() {
        let square = text(HEADS, &format!("a = Attention (qt, kt, kr) {JOIN}"));
        let square =
            square.replace("two = {0, 0, 2, 4}", "two = {0, 2, 2, 4}").replace("float[N, T, 8]", "float[N, 2, 8]");
        Proof::of("attention-of-joined-heads").before(&square).does_not_fire("not split");
    }
}
