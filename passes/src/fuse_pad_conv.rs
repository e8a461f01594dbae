//! y = Conv(Pad(x, pads, 0), w, b)   ⇒   y = Conv(x, w, b) with those pads added to its own
//! y = AveragePool(Pad(x, pads, 0))   ⇒   the same, counting the zeros
//!
//! when: zeros are added around the spatial axes only; the padded value has no other reader; an `AveragePool` did not pad
//! by itself and rounds its extents down.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attribute, NodeId};

/// Makes a `Pad` the padding of the operator after it.
pub static RULE: Rule = Rule::matching(
    "fuse-pad-conv",
    "padded = Pad(x, ...)
     y = Conv(padded, ...) | AveragePool(padded)",
    rewrite,
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (root, pad) = (found.root(), found.node("padded"));
    let operator = cx.operator(root).ok_or(No::SILENT)?;
    let (before, after) = spatial_zeros(cx, pad)?;
    let view = cx.attributes(root)?;
    must(matches!(view.opt_string("auto_pad"), None | Some("NOTSET" | "VALID")), "the operator chooses its padding")?;
    let own = view.opt_ints("pads").filter(|_| view.opt_string("auto_pad") != Some("VALID")).map(<[i64]>::to_vec);
    let own = own.unwrap_or_else(|| vec![0; 2 * before.len()]);
    let mut attributes = operator.attributes.clone();
    if operator.is("AveragePool") {
        must(own.iter().all(|&p| p == 0), "the pool pads by itself")?;
        must(view.opt_int("ceil_mode").unwrap_or(0) == 0, "the pool rounds up")?;
        attributes.set("count_include_pad", 1i64);
    }
    let pads: Vec<i64> = own.iter().zip(before.iter().chain(&after)).map(|(own, more)| own + more).collect();
    attributes.remove("auto_pad");
    attributes.set("pads", Attribute::Ints(pads));
    let mut inputs = vec![found["x"].into()];
    inputs.extend(cx.graph.node_inputs(root).iter().skip(1).map(|&v| Operand::from(v)));
    Ok(Patch::by_operator(found, &operator.name, attributes, &inputs))
}

/// How many zeros a `Pad` adds before and after each spatial axis, where it does nothing else.
fn spatial_zeros(cx: &Cx<'_>, pad: NodeId) -> Result<(Vec<i64>, Vec<i64>), No> {
    must(matches!(cx.attributes(pad)?.opt_string("mode"), None | Some("constant")), "the padding is no constant")?;
    let is_zero = cx.input(pad, 2).is_none_or(|v| cx.scalar(v) == Some(0.0));
    must(is_zero, "the padding is not zero")?;
    let rank = cx.input(pad, 0).and_then(|x| cx.rank(x)).ok_or("the rank is not known")?;
    let pads = cx.input(pad, 1).and_then(|v| cx.ints(v)).ok_or("the pads are not known")?;
    let axes: Vec<i64> = match cx.input(pad, 3) {
        Some(axes) => cx.ints(axes).ok_or("the axes are not known")?,
        None => (0..).take(rank).collect(),
    };
    must(pads.len() == 2 * axes.len() && rank >= 2, No::SILENT)?;
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        let axis = planish_ir::Axis::new(axis).resolve(rank).map_err(|_| No::SILENT)?;
        (before[axis], after[axis]) = (pads[i], pads[i + axes.len()]);
    }
    let all = || before.iter().chain(&after);
    must(all().all(|&p| (0..1 << 30).contains(&p)), "the padding takes away")?;
    must(before[..2] == [0, 0] && after[..2] == [0, 0], "batch or channels are padded")?;
    Ok((before.split_off(2), after.split_off(2)))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 2, H, 5] x, float[3, 2, 3, 3] w, float[3] b) => (float[] y) \
             <float one = {{1}}, float zero = {{0}}, int64[8] p = {{0, 0, 1, 2, 0, 0, 2, 1}}, int64[4] q = {{2, 1, 1, 2}}, int64[2] axes = {{-1, 2}}, \
             int64[8] all = {{0, 1, 0, 0, 0, 1, 0, 0}}, int64[8] cut = {{0, 0, -1, 0, 0, 0, 1, 0}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn zeros_become_padding() {
        for (nodes, after) in [
            ("z = Pad (x, p) y = Conv (z, w, b)", "y = Conv (x, w, b) <pads: ints = [1, 2, 2, 1]>"),
            (
                "z = Pad (x, q, zero, axes) y = Conv <pads = [1, 1, 1, 1]> (z, w, b)",
                "y = Conv (x, w, b) <pads: ints = [2, 3, 3, 2]>",
            ),
            (
                "z = Pad (x, p) y = AveragePool <kernel_shape = [3, 3]> (z)",
                "y = AveragePool (x) <count_include_pad: int = 1, kernel_shape: ints = [3, 3], pads: ints = [1, 2, 2, 1]>",
            ),
        ] {
            Proof::of("fuse-pad-conv").before(&text(nodes)).weights(&["w", "b"]).after(after).within(1e-6);
        }
    }

    #[test]
    fn other_padding_stays() {
        for (nodes, reason) in [
            ("z = Pad (x, p, one) y = Conv (z, w, b)", "not zero"),
            ("z = Pad <mode = \"edge\"> (x, p) y = Conv (z, w, b)", "no constant"),
            ("z = Pad (x, cut) y = Conv (z, w, b)", "takes away"),
            ("z = Pad (x, all) y = AveragePool <kernel_shape = [1, 1]> (z)", "batch or channels"),
            ("z = Pad (x, p) y = Conv <auto_pad = \"SAME_UPPER\"> (z, w, b)", "chooses its padding"),
            ("z = Pad (x, p) y = AveragePool <kernel_shape = [2, 2], ceil_mode = 1> (z)", "rounds up"),
            ("z = Pad (x, p) y = AveragePool <kernel_shape = [2, 2], pads = [1, 0, 0, 0]> (z)", "by itself"),
        ] {
            Proof::of("fuse-pad-conv").before(&text(nodes)).weights(&["w", "b"]).does_not_fire(reason);
        }
    }
}
