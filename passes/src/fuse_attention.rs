//! y = MatMul(Softmax(scale · MatMul(q, kᵀ) + mask), v)   ⇒   y = Attention(q, k, v, mask, scale)
//!
//! when: all are of rank 4, `[batch, heads, positions, features]`, or of rank 3 without heads, and the mask broadcasts to the scores. The scale may be
//! spread over q, k and the scores, and may be a division. Where(seen, scores, low) becomes the mask Where(seen, 0, low).
//! A row that sees no key becomes zero, as exporters write with `IsNaN`, where the formula alone gives NaN.

use crate::heads::{operand, with_rows};
use crate::order::LOW;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must, scalar_of};
use planish_ir::{Attributes, Dim, ValueId};

/// The whole of it.
pub static RULE: Rule = Rule::matching(
    "fuse-attention",
    "product = MatMul(q, k)
     scores = product * $factor | product / $divisor | product
     seen = Where(condition, scores, $low) | Where(condition, $high, scores) | scores
     weights = Softmax(Cast?(seen + mask | seen))
     safe = Where(IsNaN(weights), 0, weights) | weights
     y = MatMul(Cast?(safe), v)",
    rewrite,
);

/// Nodes between which a scale is looked for.
const MAX_STEPS_UP: usize = 6;

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (product, v, y) = (found["product"], found["v"], cx.output(found.root()));
    let rank = cx
        .rank(product)
        .filter(|rank| (3..=4).contains(rank))
        .ok_or("the scores are not known to be of rank 3 or 4")?;
    must(cx.axis(found.node("weights"), "axis", rank) == Some(rank - 1), "the softmax is not over keys")?;
    let mut scale = 1.0;
    if let Some(factor) = found.get("factor") {
        scale *= cx.scalar(factor).ok_or("the scale is not one number")?;
    }
    if let Some(divisor) = found.get("divisor") {
        scale /= cx.scalar(divisor).ok_or("the scale is not one number")?;
    }
    let mut patch = Patch::new();
    let q = unscaled(cx, found["q"], &mut scale);
    let k = keys(cx, &mut patch, found["k"], &mut scale)?;
    check_shapes(cx, q, found["k"], v)?;
    must(cx.dtype(q).is_some() && cx.dtype(q) == cx.dtype(v) && cx.dtype(q) == cx.dtype(y), "dtypes differ")?;
    let mask = mask(cx, &mut patch, found, product)?;
    let mask = mask.map(|mask| with_rows(cx, &mut patch, q, mask, has_rows(cx, found)));
    let mut attributes = Attributes::new().with("scale", scale as f32);
    if rank == 3 {
        attributes = attributes.with("q_num_heads", 1i64).with("kv_num_heads", 1i64);
    }
    let mask = mask.map(|mask| if rank == 3 && is_batched(cx, found) { with_heads(&mut patch, mask) } else { mask });
    let mut inputs = vec![q.into(), k, v.into()];
    inputs.extend(mask);
    let new = patch.operator("Attention", attributes, &inputs);
    Ok(patch.replace(y, new))
}

/// Queries, transposed keys and values of one batch, whose heads go into each other.
fn check_shapes(cx: &Cx<'_>, q: ValueId, transposed: ValueId, v: ValueId) -> Result<(), No> {
    if let (Some([q, _, _]), Some([k, _, _]), Some([v, _, _])) = (cx.shape(q), cx.shape(transposed), cx.shape(v)) {
        let is_same = Dim::provably_equal(q, k) && Dim::provably_equal(k, v);
        return must(is_same, "the batches of queries, keys and values are not known to be the same");
    }
    let (Some([qb, qh, ..]), Some([kb, kh, ..]), Some([vb, vh, ..])) = (cx.shape(q), cx.shape(transposed), cx.shape(v))
    else {
        return Err("queries, keys and values are not known to be of rank 3 or 4".into());
    };
    let is_same = Dim::provably_equal(qb, kb) && Dim::provably_equal(kb, vb) && Dim::provably_equal(kh, vh);
    must(is_same, "batch or heads of queries, keys and values are not known to be the same")?;
    let divides = match (qh.as_known(), kh.as_known()) {
        (Some(q), Some(k)) => k > 0 && q % k == 0,
        _ => Dim::provably_equal(qh, kh),
    };
    must(divides, "the heads of queries and keys do not go into each other")
}

/// What a value is before a scale, which is taken into account.
fn unscaled(cx: &Cx<'_>, value: ValueId, scale: &mut f64) -> ValueId {
    let mut value = value;
    for _ in 0..MAX_STEPS_UP {
        let Some((inner, factor)) = scaled(cx, value) else { break };
        *scale *= factor;
        value = inner;
    }
    value
}

/// A value of the same rank times or by a number, as that value and the factor.
fn scaled(cx: &Cx<'_>, value: ValueId) -> Option<(ValueId, f64)> {
    let (node, rank) = (value.node, cx.rank(value)?);
    let number = |v: ValueId| cx.scalar(v).filter(|n| n.is_finite());
    let is_ranked = |v: ValueId| cx.rank(v) == Some(rank);
    if let Some(first) = operand(cx, value, "Div") {
        let divisor = number(cx.input(node, 1)?).filter(|n| *n != 0.0)?;
        return is_ranked(first).then_some((first, 1.0 / divisor));
    }
    let (a, b) = (operand(cx, value, "Mul")?, cx.input(node, 1)?);
    match (number(a), number(b)) {
        (_, Some(factor)) if is_ranked(a) => Some((a, factor)),
        (Some(factor), _) if is_ranked(b) => Some((b, factor)),
        _ => None,
    }
}

/// Keys as `[batch, heads, positions, features]`, or without heads, of which `transposed` has the last two axes exchanged.
fn keys(cx: &Cx<'_>, patch: &mut Patch, transposed: ValueId, scale: &mut f64) -> Result<Operand, No> {
    let transposed = unscaled(cx, transposed, scale);
    if let Some(keys) = through_rank_3(cx, transposed) {
        return Ok(unscaled(cx, keys, scale).into());
    }
    let rank = cx.rank(transposed).filter(|&rank| rank >= 2).ok_or(No::SILENT)?;
    let straight: Vec<i64> = (0..).take(rank).collect();
    let (mut perm, mut value) = (straight.clone(), transposed);
    if let Some(inner) = operand(cx, transposed, "Transpose") {
        perm = cx.int_list(transposed.node, "perm").filter(|p| p.len() == rank).ok_or(No::SILENT)?;
        value = unscaled(cx, inner, scale);
    }
    perm.swap(rank - 2, rank - 1);
    if perm == straight {
        return Ok(value.into());
    }
    Ok(patch.operator("Transpose", Attributes::new().with("perm", perm), &[value.into()]))
}

/// The keys of `Reshape(Transpose(Reshape(keys), [0, 2, 1]))`, which puts batch and heads into one axis meanwhile.
fn through_rank_3(cx: &Cx<'_>, transposed: ValueId) -> Option<ValueId> {
    let turned = operand(cx, transposed, "Reshape")?;
    let flat = operand(cx, turned, "Transpose")?;
    let keys = operand(cx, flat, "Reshape")?;
    let is_turned = cx.int_list(turned.node, "perm").as_deref() == Some(&[0, 2, 1]);
    let ([a, b, c, d], [x, y, z, w]) = (cx.shape(keys)?, cx.shape(transposed)?) else { return None };
    let [_, p, f] = cx.shape(flat)? else { return None };
    let pairs = [(a, x), (b, y), (c, w), (d, z), (c, p), (d, f)];
    (is_turned && pairs.iter().all(|(a, b)| Dim::provably_equal(a, b))).then_some(keys)
}

/// What is added to the scores, if anything is.
fn mask(cx: &Cx<'_>, patch: &mut Patch, found: &Match<'_>, product: ValueId) -> Result<Option<Operand>, No> {
    let added = found.get("mask");
    if let Some(mask) = added {
        must(cx.dtype(mask) == cx.dtype(product), "the mask is of another dtype than the scores")?;
        must(reaches(cx, mask, product), "the mask is not known to broadcast to the scores")?;
    }
    let Some(condition) = found.get("condition") else { return Ok(added.map(Operand::from)) };
    must(reaches(cx, condition, product), "the condition is not known to broadcast to the scores")?;
    let low = found.get("low").or(found.get("high")).ok_or(No::SILENT)?;
    let is_low = cx.scalar(low).is_some_and(|low| low <= LOW);
    must(is_low, "what stands for masked scores is not low enough to vanish")?;
    let zero = patch.constant(scalar_of(cx.dtype(product), 0.0).ok_or("the scores are no floats")?);
    let (a, b) = if found.get("low").is_some() { (zero, low.into()) } else { (low.into(), zero) };
    let seen = patch.operator("Where", Attributes::new(), &[condition.into(), a, b]);
    Ok(Some(match added {
        Some(mask) => patch.operator("Add", Attributes::new(), &[seen, mask.into()]),
        None => seen,
    }))
}

/// Whether what the mask is made of has a row for each query.
fn has_rows(cx: &Cx<'_>, found: &Match<'_>) -> bool {
    let has_rows = |part: ValueId| {
        let row = cx.shape(part).and_then(|shape| shape.get(shape.len().checked_sub(2)?));
        row.is_some_and(|extent| extent.as_known() != Some(1))
    };
    [found.get("mask"), found.get("condition")].into_iter().flatten().any(has_rows)
}

/// Whether some part of the mask is not the same for the whole batch.
fn is_batched(cx: &Cx<'_>, found: &Match<'_>) -> bool {
    let is_batched = |part: ValueId| {
        cx.shape(part).is_none_or(|shape| shape.len() > 2 && shape.first().and_then(Dim::as_known) != Some(1))
    };
    [found.get("mask"), found.get("condition")].into_iter().flatten().any(is_batched)
}

/// A mask of rank 3 with an axis for heads.
fn with_heads(patch: &mut Patch, mask: Operand) -> Operand {
    let axis = patch.ints(&[1]);
    patch.operator("Unsqueeze", Attributes::new(), &[mask, axis])
}

/// Whether a mask broadcasts to the scores without making them larger, and says itself what each key gets.
fn reaches(cx: &Cx<'_>, mask: ValueId, scores: ValueId) -> bool {
    let (Some(mask), Some(scores)) = (cx.shape(mask), cx.shape(scores)) else { return false };
    let is_one = |d: &Dim| d.as_known() == Some(1);
    let fits =
        |(m, s): (&Dim, &Dim)| is_one(m) || Dim::provably_equal(m, s) || !is_one(s) && !Dim::provably_different(m, s);
    let keys = (mask.last(), scores.last());
    let has_keys = matches!(keys, (Some(m), Some(s)) if !is_one(m) || is_one(s));
    (2..=scores.len()).contains(&mask.len()) && has_keys && mask.iter().rev().zip(scores.iter().rev()).all(fits)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 4, S, 2] q, float[N, 4, T, 2] k, float[N, 4, T, 3] v, float[N, 1, S, T] m, bool[S, T] c, float[N, 2, T, 2] w, float[N, 4, 2, T] x) \
             => (float[] y) <float half = {{0.5}}, float two = {{2}}, float zero = {{0}}, float low = {{-1e9}}, float minus = {{-10}}, int64[1] third = {{2}}> {{ {nodes} }}"
        )
    }

    fn attends(nodes: &str, after: &str) {
        Proof::of("fuse-attention").before(&text(nodes)).after(after).within(1e-5);
    }

    #[test]
    fn plain_scores_with_the_scale_anywhere() {
        let after = "y = Attention (q, k, v) <scale: float = 0.5>";
        for nodes in [
            "t = Transpose <perm = [0, 1, 3, 2]> (k) p = MatMul (q, t) s = Mul (p, half) w0 = Softmax (s) y = MatMul (w0, v)",
            "t = Transpose <perm = [0, 1, 3, 2]> (k) p = MatMul (q, t) s = Div (p, two) w0 = Softmax <axis: int = 3> (s) y = MatMul (w0, v)",
            "a = Mul (q, half) t = Transpose <perm = [0, 1, 3, 2]> (k) p = MatMul (a, t) w0 = Softmax (p) y = MatMul (w0, v)",
            "a = Mul (q, half) b = Mul (k, half) d = Mul (two, b) t = Transpose <perm = [0, 1, 3, 2]> (d) p = MatMul (a, t) w0 = Softmax (p) y = MatMul (w0, v)",
        ] {
            attends(nodes, after);
        }
    }

    #[test]
    fn masks_are_added_or_chosen() {
        let scores = "t = Transpose <perm = [0, 1, 3, 2]> (k) p = MatMul (q, t) s = Mul (p, half)";
        attends(
            &format!("{scores} a = Add (s, m) w0 = Softmax (a) y = MatMul (w0, v)"),
            "y = Attention (q, k, v, m) <scale: float = 0.5>",
        );
        attends(
            &format!(
                "{scores} a = Add (m, s) w0 = Softmax (a) n = IsNaN (w0) z = Where (n, zero, w0) y = MatMul (z, v)"
            ),
            "y = Attention (q, k, v, m) <scale: float = 0.5>",
        );
        attends(
            &format!("{scores} a = Where (c, s, low) w0 = Softmax (a) y = MatMul (w0, v)"),
            "y_where = Where (c, y_constant, low) y = Attention (q, k, v, y_where) <scale: float = 0.5>",
        );
        attends(
            &format!("{scores} a = Where (c, low, s) b = Add (a, m) w0 = Softmax (b) y = MatMul (w0, v)"),
            "y_where = Where (c, low, y_constant) y_add = Add (y_where, m) y = Attention (q, k, v, y_add) <scale: float = 0.5>",
        );
    }

    #[test]
    fn a_row_for_all_queries_is_repeated() {
        attends(
            "o = ReduceMax (m, third) t = Transpose <perm = [0, 1, 3, 2]> (k) p = MatMul (q, t) a = Add (p, o) w0 = Softmax (a) y = MatMul (w0, v)",
            "o = ReduceMax (m, third) y_shape = Shape (q) <end: int = 3, start: int = 2> y_concat = Concat (y_shape, y_constant) <axis: int = 0> \
             y_expand = Expand (o, y_concat) y = Attention (q, k, v, y_expand) <scale: float = 1.0>",
        );
    }

    #[test]
    fn keys_may_come_transposed() {
        attends(
            "p = MatMul (q, x) w0 = Softmax (p) y = MatMul (w0, v)",
            "y_transpose = Transpose (x) <perm: ints = [0, 1, 3, 2]> y = Attention (q, y_transpose, v) <scale: float = 1.0>",
        );
    }

    #[test]
    fn scores_may_have_no_heads() {
        let text = |nodes: &str| {
            format!(
                "g (float[B, S, 4] q, float[B, T, 4] k, float[B, T, 6] v, float[B, S, T] m, float[S, T] n) => (float[] y) {{ \
                 t = Transpose <perm = [0, 2, 1]> (k) p = MatMul (q, t) {nodes} w = Softmax (s) y = MatMul (w, v) }}"
            )
        };
        for (nodes, after) in [
            (
                "s = Add (p, n)",
                "y = Attention (q, k, v, n) <kv_num_heads: int = 1, q_num_heads: int = 1, scale: float = 1.0>",
            ),
            (
                "s = Add (p, m)",
                "y_unsqueeze = Unsqueeze (m, y_constant) \
                 y = Attention (q, k, v, y_unsqueeze) <kv_num_heads: int = 1, q_num_heads: int = 1, scale: float = 1.0>",
            ),
        ] {
            Proof::of("fuse-attention").before(&text(nodes)).after(after).within(1e-5);
        }
        let other = text("s = Add (p, n)").replace("float[B, T, 6] v", "float[1, T, 6] v");
        Proof::of("fuse-attention").before(&other).does_not_fire("batches");
    }

    #[test]
    fn other_axes_heads_and_masks_are_left_alone() {
        let scores = "t = Transpose <perm = [0, 1, 3, 2]> (k) p = MatMul (q, t)";
        for (nodes, reason) in [
            (format!("{scores} w0 = Softmax <axis: int = 2> (p) y = MatMul (w0, v)"), "not over keys"),
            (format!("{scores} a = Where (c, p, minus) w0 = Softmax (a) y = MatMul (w0, v)"), "low enough"),
            (format!("{scores} w0 = Softmax (p) z = MatMul (w0, v) o = Relu (w0) y = MatMul (o, v)"), "read by"),
        ] {
            Proof::of("fuse-attention").before(&text(&nodes)).does_not_fire(reason);
        }
    }
}
