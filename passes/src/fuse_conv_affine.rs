//! y = Conv(x, w, b) · c   ⇒   y = Conv(x, w·c, b·c), and so for a quotient
//! y = Conv(x, w, b) + c   ⇒   y = Conv(x, w, b + c), and so for a difference either way
//! y = Squeeze(Conv(x, w, b)) + c   ⇒   y = Squeeze(Conv(x, w, b + c)), which is how Keras's one-dimensional ones are exported
//!
//! when: w, b and c are constant; c has one number a channel; the convolution's result has no other reader. The same for
//! `ConvTranspose`.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use crate::weights::{ConvWeights, along_axis};
use planish_ir::{Attributes, Axis};

/// Folds arithmetic with constants into the weights of the convolution before it.
pub static RULE: Rule = Rule::matching(
    "fuse-conv-affine",
    "conv = Conv(x, $w, $b?) | ConvTranspose(x, $w, $b?)
     y = conv + $c | conv * $c | conv - $c | conv / $c | $c - conv",
    rewrite,
);

/// Folds a bias into the weights of a convolution from which axes of 1 are taken before it is added.
pub static SQUEEZED: Rule = Rule::matching(
    "fuse-conv-squeeze-add",
    "conv = Conv(x, $w, $b?)
     squeezed = Squeeze(conv, $axes)
     y = squeezed + $c",
    |cx, found| {
        let conv = ConvWeights::of(cx, found.node("conv"))?;
        let axes = cx.ints(found["axes"]).ok_or("the axes are not known")?;
        let rank = conv.rank();
        let is_spatial = |&axis: &i64| Axis::new(axis).resolve(rank).is_ok_and(|axis| axis > 1);
        must(axes.iter().all(is_spatial), "batch or channels are taken away")?;
        let mut patch = Patch::new();
        let c = along_axis(cx, &mut patch, found["c"], rank - axes.len(), 1, conv.num_outputs())?;
        let bias = conv.bias_plus(&mut patch, c);
        let sum = conv.rebuilt(cx, &mut patch, None, conv.w().into(), bias);
        let y = patch.operator("Squeeze", Attributes::new(), &[sum, found["axes"].into()]);
        Ok(patch.replace(cx.output(found.root()), y))
    },
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let root = found.root();
    let operator = cx.operator(root).ok_or(No::SILENT)?;
    let conv = ConvWeights::of(cx, found.node("conv"))?;
    let mut patch = Patch::new();
    let c = along_axis(cx, &mut patch, found["c"], conv.rank(), 1, conv.num_outputs())?;
    let none = Attributes::new;
    let (weight, bias) = match operator.name.as_str() {
        "Add" => (conv.w().into(), conv.bias_plus(&mut patch, c)),
        "Sub" if cx.input(root, 0) == Some(found["conv"]) => {
            let shift = patch.operator("Neg", none(), &[c]);
            (conv.w().into(), conv.bias_plus(&mut patch, shift))
        }
        "Sub" => {
            let weight = patch.operator("Neg", none(), &[conv.w().into()]);
            let bias = conv.b().map(|b| patch.operator("Sub", none(), &[c, b.into()]));
            (weight, bias.unwrap_or(c))
        }
        name => {
            let factor = if name == "Div" { patch.operator("Reciprocal", none(), &[c]) } else { c };
            let bias = conv.b().map(|b| patch.operator("Mul", none(), &[b.into(), factor]));
            (conv.times_outputs(&mut patch, factor), bias.unwrap_or(Operand::Absent))
        }
    };
    let y = conv.rebuilt(cx, &mut patch, None, weight, bias);
    Ok(patch.replace(cx.output(root), y))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 4, 5, 5] x, float[6, 4, 3, 3] w, float[4, 3, 2, 2] t, float[6] b, float[1, 6, 1, 1] c, float[5] row) \
             => (float[] y) <float half = {{0.5}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn channelwise_arithmetic_goes_into_the_weights() {
        for (nodes, after) in [
            ("v = Conv (x, w, b) y = Mul (c, v)", "y = Conv (x, y_mul_1, y_mul)"),
            ("v = Conv (x, w) y = Mul (v, half)", "y = Conv (x, y_mul)"),
            ("v = Conv (x, w, b) y = Div (v, c)", "y = Conv (x, y_mul_1, y_mul)"),
            ("v = Conv (x, w, b) y = Add (v, c)", "y = Conv (x, w, y_add)"),
            ("v = Conv (x, w) y = Add (v, half)", "y = Conv (x, w, y_expand)"),
            ("v = Conv (x, w, b) y = Sub (v, c)", "y = Conv (x, w, y_add)"),
            ("v = Conv (x, w, b) y = Sub (c, v)", "y = Conv (x, y_neg, y_sub)"),
            (
                "v = ConvTranspose <group: int = 2> (x, t, b) y = Mul (v, c)",
                "y = ConvTranspose (x, y_reshape_3, y_mul) <group: int = 2>",
            ),
        ] {
            Proof::of("fuse-conv-affine")
                .before(&text(nodes))
                .weights(&["w", "t", "b", "c", "row"])
                .after(after)
                .within(1e-5);
        }
    }

    #[test]
    fn other_operands_stay() {
        for (nodes, reason) in [
            ("v = Conv <pads = [1, 1, 1, 1]> (x, w) y = Mul (v, row)", "one number a channel"),
            ("v = Conv (x, w) z = Mul (v, c) y = Add (z, v)", "read by"),
        ] {
            Proof::of("fuse-conv-affine")
                .before(&text(nodes))
                .weights(&["w", "t", "b", "c", "row"])
                .does_not_fire(reason);
        }
    }

    fn squeezed(nodes: &str) -> Proof {
        let text = format!(
            "g (float[N, 4, 1, 5] x, float[N, 1, 5, 1] z, float[6, 4, 1, 3] w, float[1, 1, 1, 1] v, float[6] b, float[6, 1] c, float[1] one) \
             => (float[] y) <int64[1] two = {{-2}}, int64[2] both = {{1, 3}}, float[5] row = {{1, 2, 3, 4, 5}}> {{ {nodes} }}"
        );
        Proof::of("fuse-conv-squeeze-add").before(&text).weights(&["w", "v", "b", "c", "one"])
    }

    #[test]
    fn a_bias_goes_before_the_squeeze() {
        squeezed("u = Conv (x, w, b) s = Squeeze (u, two) y = Add (s, c)")
            .after("y_conv = Conv (x, w, y_add) y = Squeeze (y_conv, two)")
            .within(1e-5);
    }

    #[test]
    fn other_squeezes_and_addends_stay() {
        for (nodes, reason) in [
            ("u = Conv (z, v) s = Squeeze (u, both) y = Add (s, one)", "channels"),
            ("u = Conv <pads = [0, 1, 0, 1]> (x, w) s = Squeeze (u, two) y = Add (s, row)", "one number a channel"),
            ("u = Conv (x, w) s = Squeeze (u, two) t = Add (s, c) y = Sub (t, s)", "read by"),
        ] {
            squeezed(nodes).does_not_fire(reason);
        }
    }
}
