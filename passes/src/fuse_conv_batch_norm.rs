//! y = BatchNormalization(Conv(x, w, b), γ, β, μ, σ²)   ⇒   y = Conv(x, w·f, b·f + β − μ·f),   f = γ / √(σ² + ε)
//!
//! when: weights and statistics are constant; the convolution's result has no other reader. The same for ConvTranspose,
//! whose weight has output channels on its second axis, group by group.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, Outcome, Rule};
use crate::weights::{ConvWeights, factor_and_shift};
use planish_ir::Attributes;

/// Folds the statistics into the convolution's weights.
pub static RULE: Rule = Rule::matching(
    "fuse-conv-batch-norm",
    "conv = Conv(x, $w, $b?) | ConvTranspose(x, $w, $b?)
     y = BatchNormalization(conv, $scale, $bias, $mean, $variance)",
    rewrite,
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let mut patch = Patch::new();
    let (factor, shift) = factor_and_shift(cx, &mut patch, found.root())?;
    let conv = ConvWeights::of(cx, found.node("conv"))?;
    let weight = conv.times_outputs(&mut patch, factor);
    let bias = match conv.b() {
        Some(b) => {
            let scaled = patch.operator("Mul", Attributes::new(), &[b.into(), factor]);
            patch.operator("Add", Attributes::new(), &[scaled, shift])
        }
        None => shift,
    };
    let y = conv.rebuilt(cx, &mut patch, None, weight, bias);
    Ok(patch.replace(cx.output(found.root()), y))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(conv: &str, w: &str, channels: usize) -> String {
        format!(
            "g (float[N, 4, 5, 5] x, float[{w}] w, float[{channels}] b, float[{channels}] s, float[{channels}] t, float[{channels}] m, float[{channels}] r) \
             => (float[] y) {{ v = Mul (r, r) c = {conv} y = BatchNormalization (c, s, t, m, v) }}"
        )
    }

    #[test]
    fn the_norm_is_folded_into_weights() {
        for (conv, w, channels, after) in [
            ("Conv (x, w, b)", "6, 4, 3, 3", 6, "y = Conv (x, y_mul_1, y_add_1)"),
            ("Conv (x, w)", "6, 4, 3, 3", 6, "y = Conv (x, y_mul_1, y_sub)"),
            ("Conv (x, w, b) <group: int = 4>", "4, 1, 3, 3", 4, "y = Conv (x, y_mul_1, y_add_1) <group: int = 4>"),
            ("ConvTranspose (x, w, b)", "4, 6, 2, 2", 6, "y = ConvTranspose (x, y_reshape_2, y_add_1)"),
            (
                "ConvTranspose (x, w, b) <group: int = 2>",
                "4, 3, 2, 2",
                6,
                "y = ConvTranspose (x, y_reshape_2, y_add_1) <group: int = 2>",
            ),
        ] {
            Proof::of_all(&["fold-constants", "fuse-conv-batch-norm"])
                .before(&text(conv, w, channels))
                .weights(&["w", "b", "s", "t", "m", "r"])
                .after(after)
                .within(1e-4);
        }
    }

    #[test]
    fn training_and_other_readers_keep_the_norm() {
        let one = "g (float[N, 1, 3] x, float[1, 1, 1] w, float[1] s) => (float[] y) ";
        for (nodes, reason) in [
            ("{ c = Conv (x, w) z = BatchNormalization (c, s, s, s, s) y = Add (z, c) }", "read by"),
            ("{ c = Conv (x, w) y, a, b = BatchNormalization (c, s, s, s, s) <training_mode: int = 1> }", "trains"),
        ] {
            Proof::of("fuse-conv-batch-norm")
                .before(&format!("{one}{nodes}"))
                .weights(&["w", "s"])
                .does_not_fire(reason);
        }
    }
}
