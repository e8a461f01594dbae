//! Operators that give out what they are given   ⇒   what they are given.
//!
//! when: Identity, always; Dropout, when it does not train and its mask is not read; Cast and CastLike to the dtype that
//! is there; Reshape, Flatten, Expand, Tile, Slice, Squeeze and Unsqueeze that are known to keep the shape; Transpose in
//! order; Pad by nothing; Concat, Sum, Max, Min and Mean of one; Resize by one; a reduction of no axis.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{NodeId, ValueId};

/// Removes operators that do nothing.
pub static RULE: Rule = Rule::on(
    "remove-noops",
    &[
        "Identity",
        "Dropout",
        "Cast",
        "CastLike",
        "Reshape",
        "Flatten",
        "Expand",
        "Tile",
        "Slice",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Pad",
        "Concat",
        "Sum",
        "Max",
        "Min",
        "Mean",
        "Split",
        "ReduceMean",
        "ReduceSum",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
    ],
    rewrite,
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let x = cx.input(id, 0).ok_or(No::SILENT)?;
    let does_nothing = match cx.operator(id).ok_or(No::SILENT)?.name.as_str() {
        "Identity" => true,
        "Dropout" => is_idle_dropout(cx, id),
        "Cast" | "CastLike" => cx.dtype(x).is_some() && cx.dtype(x) == cx.dtype(cx.output(id)),
        // These keep the order of elements: where the shape stays, everything does.
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Expand" | "Tile" => cx.same_shape(x, cx.output(id)),
        "Slice" => (cx.same_shape(x, cx.output(id)) || takes_all(cx, id)) && steps_are_positive(cx, id),
        "Transpose" => keeps_order(cx, id, x),
        "Pad" => cx.input(id, 1).and_then(|pads| cx.ints(pads)).is_some_and(|pads| pads.iter().all(|&p| p == 0)),
        "Concat" | "Sum" | "Max" | "Min" | "Mean" => cx.graph.node(id).num_inputs() == 1,
        "Split" => cx.graph.node(id).num_outputs() == 1,
        _ => cx.rank(x).and_then(|rank| cx.reduced_axes(id, rank)).is_some_and(|axes| axes.is_empty()),
    };
    must(does_nothing, No::SILENT)?;
    Ok(Patch::by_value(found, x))
}

fn is_idle_dropout(cx: &Cx<'_>, id: NodeId) -> bool {
    let trains = cx.input(id, 2).is_some_and(|training| cx.scalar(training) != Some(0.0));
    let mask = ValueId { node: id, output: 1 };
    let mask_is_read =
        cx.graph.node(id).num_outputs() > 1 && (cx.graph.is_output(mask) || cx.graph.readers(mask).next().is_some());
    !trains && !mask_is_read
}

fn steps_are_positive(cx: &Cx<'_>, id: NodeId) -> bool {
    cx.input(id, 4).is_none_or(|steps| cx.ints(steps).is_some_and(|steps| steps.iter().all(|&s| s > 0)))
}

/// Whether a Slice goes from the first element to beyond the last, of steps of 1, whatever the shape.
fn takes_all(cx: &Cx<'_>, id: NodeId) -> bool {
    let all = |index, is_it: fn(&i64) -> bool| {
        cx.input(id, index).and_then(|v| cx.ints(v)).is_some_and(|elements| elements.iter().all(is_it))
    };
    all(1, |&start| start == 0) && all(2, |&end| end == i64::MAX) && (cx.input(id, 4).is_none() || all(4, |&s| s == 1))
}

/// Whether the permutation moves nothing.
fn keeps_order(cx: &Cx<'_>, id: NodeId, x: ValueId) -> bool {
    let Some(shape) = cx.shape(x) else { return false };
    let permutation = cx.int_list(id, "perm").unwrap_or_else(|| (0..shape.len() as i64).rev().collect());
    permutation.iter().enumerate().all(|(to, &from)| from == to as i64)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 3] x) => (float[] y) \
             <int64[2] same = {{0, 3}}, int64[2] ones = {{1, 1}}, int64[4] none = {{0, 0, 0, 0}}, int64[1] zero = {{0}}, \
             int64[1] end = {{9223372036854775807}}, int64[1] start = {{-1}}, int64[1] far = {{-9999}}, int64[1] back = {{-1}}, int64[1] one = {{1}}, \
             int64[4] pads = {{0, 0, 0, 1}}, int64[3] more = {{2, 1, 1}}, int64[1] first = {{1}}, float half = {{0.5}}, bool yes = {{1}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn what_does_nothing_goes() {
        for noop in [
            "Identity (a)",
            "Dropout (a, half)",
            "Cast (a) <to: int = 1>",
            "CastLike (a, half)",
            "Reshape (a, same)",
            "Expand (a, ones)",
            "Tile (a, ones)",
            "Slice (a, zero, end)",
            "Transpose (a) <perm: ints = [0, 1]>",
            "Pad (a, none)",
            "Concat (a) <axis: int = 0>",
            "Max (a)",
            "ReduceSum (a) <noop_with_empty_axes: int = 1>",
        ] {
            Proof::of("remove-noops")
                .before(&text(&format!("a = Abs (x) b = {noop} y = Neg (b)")))
                .after("a = Abs (x)  y = Neg (a)")
                .exact();
        }
    }

    #[test]
    fn what_does_something_stays() {
        for op in [
            "Dropout (x, half, yes)",
            "Cast (x) <to: int = 11>",
            "Expand (x, more)",
            "Slice (x, first, end)",
            "Slice (x, start, far, one, back)",
            "Transpose (x)",
            "Pad (x, pads)",
            "Concat (x, x) <axis: int = 0>",
            "ReduceSum (x)",
        ] {
            Proof::of("remove-noops").before(&text(&format!("y = {op}"))).does_not_fire("");
        }
    }

    #[test]
    fn a_slice_of_all_goes_whatever_the_shape() {
        Proof::of("remove-noops")
            .before("g (float[N] x, bool[N] c) => (float[] y) <int64[1] zero = {0}, int64[1] end = {9223372036854775807}> { a = Compress (x, c) b = Slice (a, zero, end) y = Neg (b) }")
            .after("a = Compress (x, c)  y = Neg (a)")
            .exact();
    }

    #[test]
    fn a_graph_output_takes_the_place_of_its_copy() {
        Proof::of("remove-noops")
            .before("g (float[2] x) => (float[2] y) { a = Abs (x) y = Identity (a) }")
            .after("y = Abs (x)")
            .exact();
    }
}
