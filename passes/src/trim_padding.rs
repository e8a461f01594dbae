//! y = Conv(Pad(x, [.., before, .., after]), w, b)[.., s ..]   ⇒   y = Conv(Pad(x, [.., before − s · stride, .., after]), w, b)
//!
//! with an `Unsqueeze` behind the `Pad` or none. Frames that only looked at padding are not computed to be thrown away.
//! when: what is cut off are the first s elements of the last axis; the convolution has no padding there of its own.

use crate::heads::operand;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Axis, Dim};

/// Pads less where a convolution's first results are not used.
pub static RULE: Rule = Rule::matching("trim-padding", "conv = Conv(x, w, b?)\n y = Slice(conv, ...)", rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (root, conv, x) = (found.root(), found.node("conv"), found["x"]);
    let padded = operand(cx, x, "Unsqueeze").unwrap_or(x);
    let source = operand(cx, padded, "Pad").ok_or(No::SILENT)?;
    must(cx.is_read_once(x) && cx.is_read_once(padded), "what is padded is read elsewhere")?;
    let (rank, inner_rank) = (cx.rank(x).ok_or(No::SILENT)?, cx.rank(padded).ok_or(No::SILENT)?);
    let is_last_kept = match (cx.shape(x), cx.shape(padded)) {
        (Some([.., a]), Some([.., b])) => Dim::provably_equal(a, b) && a.as_known() != Some(1),
        _ => false,
    };
    must(is_last_kept, "the last axis is not known to be the one that was padded")?;
    let num_cut = cut_off(cx, found, rank).ok_or("it is not the first elements of the last axis that are cut off")?;
    let view = cx.attributes(conv)?;
    must(matches!(view.opt_string("auto_pad"), None | Some("NOTSET" | "VALID")), "the operator chooses its padding")?;
    let last_of = |name: &str, position: usize| match view.opt_ints(name) {
        Some(list) => list.get(position).copied(),
        None => Some(i64::from(name == "strides")),
    };
    must(last_of("pads", rank - 3) == Some(0), "the convolution pads by itself")?;
    let stride = last_of("strides", rank - 3).ok_or(No::SILENT)?;
    let pads = cx.input(padded.node, 1).and_then(|v| cx.ints(v)).ok_or("the pads are not known")?;
    let axes: Vec<i64> = match cx.input(padded.node, 3) {
        Some(axes) => cx.ints(axes).ok_or("the axes are not known")?,
        None => (0..inner_rank as i64).collect(),
    };
    let position = axes.iter().position(|&axis| Axis::new(axis).resolve(inner_rank).is_ok_and(|a| a + 1 == inner_rank));
    let position = position.filter(|_| pads.len() == 2 * axes.len()).ok_or("the last axis is not padded")?;
    let left = num_cut.checked_mul(stride).and_then(|cut| pads[position].checked_sub(cut)).ok_or(No::SILENT)?;
    must(left >= 0, "more is cut off than was padded")?;
    let mut less = pads;
    less[position] = left;
    let mut patch = Patch::new();
    let mut inputs: Vec<Operand> = cx.graph.node_inputs(padded.node).iter().map(|&v| Operand::from(v)).collect();
    (inputs[0], inputs[1]) = (source.into(), patch.ints(&less));
    let pad = cx.operator(padded.node).ok_or(No::SILENT)?;
    let mut trimmed = patch.operator("Pad", pad.attributes.clone(), &inputs);
    if padded != x {
        let axes = cx.input(x.node, 1);
        trimmed = patch.operator("Unsqueeze", Default::default(), &[trimmed, axes.into()]);
    }
    let operator = cx.operator(conv).ok_or(No::SILENT)?;
    let inputs = [trimmed, found["w"].into(), found.get("b").into()];
    let y = patch.operator("Conv", operator.attributes.clone(), &inputs);
    Ok(patch.replace(cx.output(root), y))
}

/// How many of the first elements of the last axis a `Slice` cuts off that does nothing else.
fn cut_off(cx: &Cx<'_>, found: &Match<'_>, rank: usize) -> Option<i64> {
    let ints = |index: usize| cx.input(found.root(), index).and_then(|v| cx.ints(v));
    let (&[start], &[end], &[axis]) = (&ints(1)?[..], &ints(2)?[..], &ints(3)?[..]) else { return None };
    let is_dense = cx.input(found.root(), 4).is_none() || ints(4)? == [1];
    let extent = cx.shape(found["conv"])?.last()?.as_known();
    let is_to_end = end >= i64::from(i32::MAX) || extent.is_some_and(|extent| end >= extent);
    let is_last = Axis::new(axis).resolve(rank).is_ok_and(|axis| axis + 1 == rank);
    (is_dense && is_to_end && is_last && rank >= 3 && start > 0).then_some(start)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 9] x, float[N, 2, 9] z, float[3, 1, 4] w, float[3] b, float[3, 2, 4] v) => (float[] y) <int64[4] p = {{0, 5, 0, 3}}, int64[2] q = {{4, 1}}, \
             int64[1] last = {{-1}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] four = {{4}}, int64[1] all = {{9223372036854775807}}> {{ {nodes} }}"
        )
    }

    fn trims(nodes: &str) -> Proof {
        Proof::of("trim-padding").before(&text(nodes)).weights(&["w", "b", "v"])
    }

    #[test]
    fn padding_that_only_unused_results_see_goes() {
        trims("a = Pad <mode: string = \"reflect\"> (x, p) u = Unsqueeze (a, one) c = Conv <strides: ints = [2]> (u, w, b) y = Slice (c, two, all, last)")
            .after(
                "y_pad = Pad (x, y_constant) <mode: string = \"reflect\"> y_unsqueeze = Unsqueeze (y_pad, one) \
                 y = Conv (y_unsqueeze, w, b) <strides: ints = [2]>",
            )
            .within(1e-6);
        trims("a = Pad (z, q, \"\", last) c = Conv <kernel_shape: ints = [4], pads: ints = [0, 1]> (a, v) y = Slice (c, two, all, two)")
            .after("y_pad = Pad (z, y_constant, \"\", last) y = Conv (y_pad, v) <kernel_shape: ints = [4], pads: ints = [0, 1]>")
            .within(1e-6);
    }

    #[test]
    fn other_cuts_and_paddings_stay() {
        let conv = "c = Conv (a, v)";
        for (nodes, reason) in [
            (format!("a = Pad (z, q, \"\", last) {conv} y = Slice (c, two, four, two)"), "first elements"),
            (format!("a = Pad (z, q, \"\", last) {conv} y = Slice (c, two, all, one)"), "first elements"),
            (
                "a = Pad (z, q, \"\", last) c = Conv <pads: ints = [1, 0]> (a, v) y = Slice (c, two, all, two)"
                    .to_owned(),
                "pads by itself",
            ),
            (
                "a = Pad (z, q, \"\", last) c = Conv <strides: ints = [3]> (a, v) y = Slice (c, two, all, two)"
                    .to_owned(),
                "more is cut off",
            ),
            (
                format!(
                    "a = Pad (z, q, \"\", last) {conv} s = Slice (c, two, all, two) m = ReduceMax (a) y = Add (s, m)"
                ),
                "elsewhere",
            ),
        ] {
            trims(&nodes).does_not_fire(reason);
        }
    }
}
