//! Queries, keys and values that are parts of one product, told apart by an axis of their own:
//!
//! t = Transpose(Reshape(x, [batch, positions, 3, heads, features]), [2, 0, 3, 1, 4])
//! joined(Attention(t[0], t[1], t[2], …))   ⇒   Attention(parts of Split(x), …, q_num_heads, kv_num_heads)
//!
//! t = Transpose(Reshape(x, [batch, positions, 3, features]), [2, 0, 1, 3]),   t[0], t[1], t[2]   ⇒   Split(x)
//!
//! where t[i] is Gather(t, i), or a part of Slice or Split whose first axis is squeezed out.
//! when: the numbers of parts, heads and features are known; nobody else reads t.

use crate::heads::operand;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, Dim, ValueId};

/// Leaves heads to the attention.
pub static ATTENTION: Rule = Rule::matching(
    "attention-of-unbound-heads",
    "attended = &Attention(q, k, v, ...)
     y = Reshape(Transpose(attended), _)",
    rewrite_attention,
);

/// Splits features where they lie.
pub static SPLIT: Rule = Rule::on("split-unbound-features", &["Transpose", "Squeeze"], rewrite_split);

fn rewrite_attention(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (attended, y) = (found["attended"], cx.output(found.root()));
    let turned = cx.input(found.root(), 0).ok_or(No::SILENT)?;
    must(cx.int_list(turned.node, "perm").as_deref() == Some(&[0, 2, 1, 3]), No::SILENT)?;
    must(attended.output == 0 && cx.is_read_once(attended), "its result is read elsewhere too")?;
    let parts = ["q", "k", "v"].map(|name| part(cx, found[name]));
    let [Some((t, q)), Some((of_k, k)), Some((of_v, v))] = parts else { return Err(No::SILENT) };
    must(t == of_k && t == of_v, "queries, keys and values are parts of different values")?;
    let is_own = ["q", "k", "v"].iter().all(|name| cx.is_read_once(found[*name]));
    must(is_own, "queries, keys or values are read elsewhere too")?;
    let reshaped = operand(cx, t, "Transpose").ok_or(No::SILENT)?;
    must(cx.int_list(t.node, "perm").as_deref() == Some(&[2, 0, 3, 1, 4]), "the axes lie otherwise")?;
    let x = operand(cx, reshaped, "Reshape").ok_or(No::SILENT)?;
    let (Some([batch, positions, hidden]), Some([b, p, count, heads, features])) = (cx.shape(x), cx.shape(reshaped))
    else {
        return Err("what is reshaped is not one vector a position".into());
    };
    let is_same = Dim::provably_equal(batch, b) && Dim::provably_equal(positions, p);
    must(is_same, "more than features is reshaped")?;
    let (count, heads) = (count.as_known().ok_or(No::SILENT)?, heads.as_known().ok_or("heads are not known")?);
    let size = features.as_known().and_then(|f| f.checked_mul(heads)).ok_or("features are not known")?;
    must(size.checked_mul(count) == hidden.as_known(), "more than features is reshaped")?;
    must(is_joined(cx, turned, y, size), "its result is not known to be joined to one vector a position")?;
    let mut patch = Patch::new();
    let parts = split(&mut patch, x, count, size).ok_or(No::SILENT)?;
    let node = attended.node;
    let operator = cx.operator(node).ok_or(No::SILENT)?;
    let attributes = operator.attributes.clone().with("q_num_heads", heads).with("kv_num_heads", heads);
    let mut inputs: Vec<Operand> = cx.graph.node_inputs(node).iter().map(|&v| Operand::from(v)).collect();
    for (input, index) in inputs.iter_mut().zip([q, k, v]) {
        *input = *parts.get(index).ok_or("there are fewer parts")?;
    }
    let outputs: Vec<ValueId> = cx.graph.node_outputs(node).collect();
    let new = patch.operators("Attention", attributes, &inputs, outputs.len());
    let mut patch = patch.replace(y, new[0]);
    for (&old, &new) in outputs.iter().zip(&new).skip(1) {
        patch = patch.replace(old, new);
    }
    Ok(patch)
}

fn rewrite_split(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let t = cx.output(found.root());
    let x = bound_features(cx, t).ok_or(No::SILENT)?;
    let shape = cx.shape(t).ok_or(No::SILENT)?;
    let known = |dim: Option<&Dim>| dim.and_then(Dim::as_known);
    let (Some(count), Some(size)) = (known(shape.first()), known(shape.last())) else {
        return Err("parts or features are not known".into());
    };
    must(!cx.graph.is_output(t), "it is a graph output")?;
    let readers: Vec<ValueId> = cx.graph.readers(t).map(|reader| cx.output(reader.node)).collect();
    must(!readers.is_empty(), No::SILENT)?;
    let mut patch = Patch::new();
    let parts = split(&mut patch, x, count, size).ok_or(No::SILENT)?;
    for value in readers {
        let (of, index) = part(cx, value).ok_or("it is read as a whole")?;
        must(of == t, No::SILENT)?;
        patch = patch.replace(value, *parts.get(index).ok_or("there are fewer parts")?);
    }
    Ok(patch)
}

/// What `t` is features of, part by part: `Transpose(Reshape(x))`, of which `Squeeze` may leave out axes of 1.
fn bound_features(cx: &Cx<'_>, t: ValueId) -> Option<ValueId> {
    let turned = operand(cx, t, "Squeeze").filter(|&inner| cx.is_read_once(inner)).unwrap_or(t);
    let reshaped = operand(cx, turned, "Transpose").filter(|&r| cx.is_read_once(r))?;
    let x = operand(cx, reshaped, "Reshape")?;
    let (whole, bound, turned_dims) = (cx.shape(x)?, cx.shape(reshaped)?, cx.shape(turned)?);
    let perm = cx.int_list(turned.node, "perm")?;
    let last = bound.len().checked_sub(1)?;
    let is_one = |dim: &Dim| dim.as_known() == Some(1);
    let is_kept = |axis: usize| turned == t || !is_one(&turned_dims[axis]);
    let order: Vec<usize> = (0..perm.len()).filter(|&axis| is_kept(axis)).map(|axis| perm[axis] as usize).collect();
    // Squeeze has to leave out just the axes that are taken here to be gone.
    let is_told = turned == t || cx.rank(t) == Some(order.len());
    let (&first, rest) = order.split_first()?;
    let is_in_order = first + 1 == last && rest.windows(2).all(|w| w[0] < w[1]) && rest.last() == Some(&last);
    let (features, leading) = whole.split_last()?;
    let parts = bound[first].as_known()?.checked_mul(bound[last].as_known()?);
    let kept: Vec<&Dim> = rest.iter().filter(|&&axis| axis != last).map(|&axis| &bound[axis]).collect();
    let is_same = kept.len() == leading.len() && kept.iter().zip(leading).all(|(a, b)| Dim::provably_equal(a, b));
    (is_told && is_in_order && is_same && parts.is_some() && parts == features.as_known()).then_some(x)
}

/// Equal parts of the features of x.
fn split(patch: &mut Patch, x: ValueId, count: i64, size: i64) -> Option<Vec<Operand>> {
    let sizes = patch.ints(&vec![size; usize::try_from(count).ok().filter(|&n| (2..=MAX_PARTS).contains(&n))?]);
    let attributes = Attributes::new().with("axis", -1i64);
    Some(patch.operators("Split", attributes, &[x.into(), sizes], count as usize))
}

const MAX_PARTS: usize = 16;

/// What a value is a part of along the first axis, which it does not have any more, and which part.
fn part(cx: &Cx<'_>, value: ValueId) -> Option<(ValueId, usize)> {
    if let Some(whole) = operand(cx, value, "Gather") {
        let indices = cx.input(value.node, 1)?;
        let (rank, extent) = (cx.rank(whole)?, cx.shape(whole)?.first()?.as_known()?);
        let is_first = cx.axis(value.node, "axis", rank) == Some(0) && cx.rank(indices) == Some(0);
        let &[index] = &cx.ints(indices)?[..] else { return None };
        let index = if index < 0 { index + extent } else { index };
        return usize::try_from(index).ok().filter(|_| is_first && index < extent).map(|index| (whole, index));
    }
    let single = operand_of_any(cx, value, "Squeeze")?;
    let axes = cx.ints(cx.input(value.node, 1)?)?;
    let is_single = axes == [0] && cx.shape(single)?.first()?.as_known() == Some(1);
    let node = single.node;
    let whole = cx.input(node, 0)?;
    let operator = cx.operator(node).filter(|o| is_single && o.domain.is_empty())?;
    match operator.name.as_str() {
        "Slice" => {
            let ints = |index: usize| cx.input(node, index).and_then(|v| cx.ints(v));
            let start = usize::try_from(*ints(1)?.first()?).ok()?;
            let is_plain = ints(3)?.as_slice() == [0] && (cx.input(node, 4).is_none() || ints(4)?.as_slice() == [1]);
            is_plain.then_some((whole, start))
        }
        "Split" => {
            let rank = cx.rank(whole)?;
            let is_one = |v: ValueId| cx.shape(v).and_then(|s| s.first()?.as_known()) == Some(1);
            let is_even = cx.graph.node_outputs(node).all(is_one) && cx.axis(node, "axis", rank) == Some(0);
            is_even.then_some((whole, single.output))
        }
        _ => None,
    }
}

/// The input of the node of this operator that makes a value.
fn operand_of_any(cx: &Cx<'_>, value: ValueId, operator: &str) -> Option<ValueId> {
    cx.operator(value.node).filter(|o| o.is(operator)).and_then(|_| cx.input(value.node, 0))
}

/// Whether `y` is `[batch, positions, size]` of `[batch, positions, heads, features]`.
fn is_joined(cx: &Cx<'_>, turned: ValueId, y: ValueId, size: i64) -> bool {
    let (Some([batch, positions, _, _]), Some([b, p, hidden])) = (cx.shape(turned), cx.shape(y)) else { return false };
    hidden.as_known() == Some(size) && Dim::provably_equal(batch, b) && Dim::provably_equal(positions, p)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    const AFTER: &str = "y_split_0, y_split_1, y_split_2 = Split (x, y_constant) <axis: int = -1> \
        y = Attention (y_split_0, y_split_1, y_split_2) <kv_num_heads: int = 2, q_num_heads: int = 2>";

    fn text(perm: &str, nodes: &str) -> String {
        format!(
            "g (float[N, S, 24] x) => (float[] y) <int64[5] five = {{0, 0, 3, 2, 4}}, int64[3] joined = {{0, 0, 8}}, int64 i = {{0}}, int64 j = {{1}}, int64 k = {{-1}}, \
             int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}}> \
             {{ r = Reshape (x, five) t = Transpose <perm = {perm}> (r) {nodes} u = Transpose <perm = [0, 2, 1, 3]> (a) y = Reshape (u, joined) }}"
        )
    }

    const GATHERS: &str = "p = Gather (t, i) q = Gather (t, j) s = Gather (t, k) a = Attention (p, q, s)";

    #[test]
    fn attention_of_one_product_splits_it() {
        for nodes in [
            GATHERS,
            "b = Slice (t, zero, one, zero) c = Slice (t, one, two, zero) d = Slice (t, two, three, zero, one) \
             p = Squeeze (b, zero) q = Squeeze (c, zero) s = Squeeze (d, zero) a = Attention (p, q, s)",
            "b, c, d = Split <num_outputs = 3> (t) p = Squeeze (b, zero) q = Squeeze (c, zero) s = Squeeze (d, zero) a = Attention (p, q, s)",
        ] {
            Proof::of("attention-of-unbound-heads").before(&text("[2, 0, 3, 1, 4]", nodes)).after(AFTER).within(1e-6);
        }
    }

    #[test]
    fn other_axes_parts_and_readers_stay() {
        for (graph, reason) in [
            (
                text(
                    "[2, 0, 3, 1, 4]",
                    "p = Gather (t, i) q = Gather (t, j) m = Abs (q) s = Mul (q, m) a = Attention (p, q, s)",
                ),
                "",
            ),
            (
                text(
                    "[2, 0, 3, 1, 4]",
                    "p = Gather (t, i) q = Gather (t, j) s = Gather (x, k) a = Attention (p, q, p)",
                ),
                "elsewhere",
            ),
            (text("[2, 0, 3, 1, 4]", GATHERS).replace("{0, 0, 3, 2, 4}", "{1, -1, 3, 2, 4}"), "more than features"),
        ] {
            Proof::of("attention-of-unbound-heads").before(&graph).does_not_fire(reason);
        }
    }

    fn features(perm: &str, last: &str) -> String {
        format!(
            "g (float[S, N, 12] x) => (float[] y) <int64[5] five = {{1, 0, 0, 3, 4}}, int64[1] axis = {{-2}}, int64 i = {{0}}, int64 j = {{1}}, int64 k = {{2}}> \
             {{ o = Reshape (x, five) t = Transpose <perm = {perm}> (o) s = Squeeze (t, axis) a = Gather (s, i) b = Gather (s, j) {last} }}"
        )
    }

    #[test]
    fn features_are_split_where_they_lie() {
        let text = features("[3, 1, 2, 0, 4]", "c = Gather (s, k) d = Sub (a, b) y = Div (d, c)");
        let text =
            text.replace("float[S, N, 12] x", "float[2, N, 12] x").replace("{1, 0, 0, 3, 4}", "{1, 2, -1, 3, 4}");
        Proof::of("split-unbound-features")
            .before(&text)
            .after("a, b, c = Split (x, c_constant) <axis: int = -1> d = Sub (a, b) y = Div (d, c)")
            .exact();
    }

    #[test]
    fn features_in_another_order_or_read_whole_stay() {
        let text = |perm, last| {
            features(perm, last)
                .replace("float[S, N, 12] x", "float[2, N, 12] x")
                .replace("{1, 0, 0, 3, 4}", "{1, 2, -1, 3, 4}")
        };
        Proof::of("split-unbound-features").before(&text("[3, 2, 1, 0, 4]", "y = Sub (a, b)")).does_not_fire("");
        let whole = text("[3, 1, 2, 0, 4]", "c = Sub (a, b) y = Mul (c, s)");
        Proof::of("split-unbound-features").before(&whole).does_not_fire("as a whole");
    }
}
