//! y = Conv(x · c, w, b)   ⇒   y = Conv(x, w·c, b), and so for a quotient
//! y = Conv(x + c, w, b)   ⇒   y = Conv(x, w, b + Σ w·c), and so for a difference
//! y = Conv(BatchNormalization(x), w, b)   ⇒   both of these
//!
//! when: everything but x is constant; c has one number a channel; what is added is added nowhere but to x, which holds
//! without padding; the value in between has no other reader. Products go into a `ConvTranspose` too.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use crate::weights::{ConvWeights, along_axis, factor_and_shift};
use planish_ir::{Attributes, NodeId};

/// Folds arithmetic with constants into the weights of the convolution after it.
pub static RULE: Rule = Rule::matching(
    "fuse-affine-conv",
    "u = x + $c | x * $c | x - $c | x / $c
     y = Conv(u, $w, $b?) | ConvTranspose(u, $w, $b?)",
    arithmetic,
);

/// Folds statistics into the weights of the convolution after them.
pub static NORM: Rule = Rule::matching(
    "fuse-batch-norm-conv",
    "u = BatchNormalization(x, $scale, $bias, $mean, $variance)
     y = Conv(u, $w, $b?)",
    norm,
);

fn arithmetic(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (x, u) = (found["x"], found["u"]);
    must(cx.same_shape(x, u), "the shape may change")?;
    let conv = ConvWeights::of(cx, found.root())?;
    let mut patch = Patch::new();
    let c = along_axis(cx, &mut patch, found["c"], conv.rank(), 1, conv.num_inputs())?;
    let name = cx.operator(u.node).map_or("", |o| o.name.as_str());
    let (weight, bias) = match name {
        "Add" | "Sub" => {
            must_not_pad(cx, found.root())?;
            let shift = if name == "Sub" { patch.operator("Neg", Attributes::new(), &[c]) } else { c };
            let shift = conv.response_to(&mut patch, shift);
            (conv.w().into(), conv.bias_plus(&mut patch, shift))
        }
        _ => {
            let factor = if name == "Div" { patch.operator("Reciprocal", Attributes::new(), &[c]) } else { c };
            (conv.times_inputs(&mut patch, factor), conv.b().map_or(Operand::Absent, Operand::from))
        }
    };
    let y = conv.rebuilt(cx, &mut patch, Some(x), weight, bias);
    Ok(patch.replace(cx.output(found.root()), y))
}

fn norm(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    must_not_pad(cx, found.root())?;
    let conv = ConvWeights::of(cx, found.root())?;
    let mut patch = Patch::new();
    let (factor, shift) = factor_and_shift(cx, &mut patch, found.node("u"))?;
    let shift = conv.response_to(&mut patch, shift);
    let (weight, bias) = (conv.times_inputs(&mut patch, factor), conv.bias_plus(&mut patch, shift));
    let y = conv.rebuilt(cx, &mut patch, Some(found["x"]), weight, bias);
    Ok(patch.replace(cx.output(found.root()), y))
}

/// What is added to the input of a convolution is not added to the zeros around it.
fn must_not_pad(cx: &Cx<'_>, conv: NodeId) -> Result<(), No> {
    let operator = cx.operator(conv).ok_or(No::SILENT)?;
    must(operator.is("Conv"), "a transposed convolution has edges")?;
    let attributes = cx.attributes(conv)?;
    let is_unpadded = match attributes.opt_string("auto_pad") {
        None | Some("NOTSET") => attributes.opt_ints("pads").is_none_or(|pads| pads.iter().all(|&p| p == 0)),
        Some(how) => how == "VALID",
    };
    must(is_unpadded, "the convolution pads")
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    const WEIGHTS: [&str; 6] = ["w", "t", "b", "c", "p", "r"];

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 4, 5, 5] x, float[N, 1, 5, 5] one, float[6, 2, 3, 3] w, float[4, 3, 2, 2] t, float[6] b, float[4, 1, 1] c, float[4] p, float[4] r) \
             => (float[] y) {{ {nodes} }}"
        )
    }

    #[test]
    fn channelwise_arithmetic_goes_into_the_weights() {
        for (nodes, after) in [
            ("u = Mul (c, x) y = Conv <group: int = 2> (u, w, b)", "y = Conv (x, y_reshape_3, b) <group: int = 2>"),
            ("u = Div (x, c) y = ConvTranspose (u, t)", "y = ConvTranspose (x, y_mul)"),
            ("u = Add (x, c) y = Conv <group: int = 2> (u, w, b)", "y = Conv (x, w, y_add) <group: int = 2>"),
            (
                "u = Sub (x, c) y = Conv <auto_pad: string = \"VALID\", group: int = 2> (u, w)",
                "y = Conv (x, w, y_reducesum) <auto_pad: string = \"VALID\", group: int = 2>",
            ),
        ] {
            Proof::of("fuse-affine-conv").before(&text(nodes)).weights(&WEIGHTS).after(after).within(1e-5);
        }
    }

    #[test]
    fn statistics_go_into_the_weights() {
        Proof::of_all(&["fold-constants", "fuse-batch-norm-conv"])
            .before(&text("v = Mul (r, r) u = BatchNormalization (x, p, p, r, v) y = Conv <group: int = 2> (u, w)"))
            .weights(&WEIGHTS)
            .after("y = Conv (x, y_reshape_5, y_reducesum) <group: int = 2>")
            .within(1e-4);
    }

    #[test]
    fn padding_and_shapes_that_grow_keep_it() {
        for (rule, nodes, reason) in [
            ("fuse-affine-conv", "u = Add (x, c) y = Conv <group: int = 2, pads = [0, 0, 1, 0]> (u, w)", "pads"),
            ("fuse-affine-conv", "u = Add (x, c) y = ConvTranspose (u, t)", "edges"),
            ("fuse-affine-conv", "u = Mul (one, c) y = Conv <group: int = 2> (u, w)", "shape may change"),
            (
                "fuse-batch-norm-conv",
                "u = BatchNormalization (x, p, p, r, p) y = Conv <group: int = 2, auto_pad = \"SAME_UPPER\"> (u, w)",
                "pads",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).weights(&WEIGHTS).does_not_fire(reason);
        }
    }
}
