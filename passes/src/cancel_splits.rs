//! Concat(every output of Split(x), in order)   ⇒   x
//! Split(Concat(a, b, c)) of the same parts   ⇒   a, b, c
//!
//! when: along the same axis.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Dim, ValueId};

/// Puts nothing asunder only to join it again.
pub static JOINED: Rule = Rule::on("cancel-split-concat", &["Concat"], joined);

/// Joins nothing only to put it asunder again.
pub static SPLIT: Rule = Rule::on("cancel-concat-split", &["Split"], split);

fn joined(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let parts: Vec<ValueId> = cx.graph.node_inputs(id).iter().flatten().copied().collect();
    let from = parts.first().map(|v| v.node).filter(|&n| cx.operator(n).is_some_and(|o| o.is("Split")));
    let from = from.ok_or(No::SILENT)?;
    let is_all = parts.len() == cx.graph.node(from).num_outputs()
        && parts.iter().enumerate().all(|(i, part)| part.node == from && part.output == i);
    must(is_all, "not every part is joined in order")?;
    let x = cx.input(from, 0).ok_or(No::SILENT)?;
    let rank = cx.rank(x).ok_or("the rank is not known")?;
    must(cx.axis(id, "axis", rank) == cx.axis(from, "axis", rank), "the axes differ")?;
    Ok(Patch::by_value(found, x))
}

fn split(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let whole = cx.input(id, 0).ok_or(No::SILENT)?;
    must(cx.operator(whole.node).is_some_and(|o| o.is("Concat")), No::SILENT)?;
    let rank = cx.rank(whole).ok_or("the rank is not known")?;
    let axis = cx.axis(id, "axis", rank).ok_or(No::SILENT)?;
    must(cx.axis(whole.node, "axis", rank) == Some(axis), "the axes differ")?;
    let parts: Vec<ValueId> = cx.graph.node_inputs(whole.node).iter().flatten().copied().collect();
    let outputs: Vec<ValueId> = cx.graph.node_outputs(id).collect();
    let same_extent = |(part, output): (&ValueId, &ValueId)| match (cx.shape(*part), cx.shape(*output)) {
        (Some(a), Some(b)) => a.len() == rank && b.len() == rank && Dim::provably_equal(&a[axis], &b[axis]),
        _ => false,
    };
    must(parts.len() == outputs.len() && parts.iter().zip(&outputs).all(same_extent), "the parts differ")?;
    let is_read = |v: &ValueId| cx.graph.is_output(*v) || cx.graph.readers(*v).next().is_some();
    let pairs = outputs.iter().zip(&parts).filter(|(output, _)| is_read(output));
    Ok(pairs.fold(Patch::new(), |patch, (&output, &part)| patch.replace(output, part)))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    #[test]
    fn split_and_concat_cancel() {
        Proof::of("cancel-split-concat")
            .before("g (float[N, 6] x) => (float[] y) { a, b = Split (x) <axis: int = 1, num_outputs: int = 2> c = Concat (a, b) <axis: int = -1> y = Neg (c) }")
            .after("y = Neg (x)")
            .exact();
        Proof::of("cancel-concat-split")
            .before("g (float[2] x, float[2] z) => (float[] y) { c = Concat (x, z) <axis: int = 0> a, b = Split (c) <num_outputs: int = 2> y = Sub (a, b) }")
            .after("y = Sub (x, z)")
            .exact();
    }

    #[test]
    fn other_orders_parts_or_axes_stay() {
        for join in ["Concat (b, a) <axis: int = 1>", "Concat (a, a) <axis: int = 1>", "Concat (a, b) <axis: int = 0>"]
        {
            let text = format!(
                "g (float[N, 6] x) => (float[] y) {{ a, b = Split (x) <axis: int = 1, num_outputs: int = 2> y = {join} }}"
            );
            Proof::of("cancel-split-concat").before(&text).does_not_fire("");
        }
        Proof::of("cancel-concat-split")
            .before("g (float[1] x, float[3] z) => (float[] y) { c = Concat (x, z) <axis: int = 0> a, b = Split (c) <num_outputs: int = 2> y = Sub (a, b) }")
            .does_not_fire("parts differ");
    }
}
