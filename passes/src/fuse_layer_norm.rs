//! d = x − mean(x), y = d / √(mean(d²) + ε) · γ + β   ⇒   y = LayerNormalization(x, γ, β)
//!
//! when: both means run over the same last axes and keep them; ε is a number; γ and β are vectors over those axes. Without
//! γ the scale becomes ones.

use crate::norm::{first_of_last_axes, ones, over_axes};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, ValueId};

/// The norm with scale and bias.
pub static RULE: Rule = Rule::matching(
    "fuse-layer-norm",
    "m = ReduceMean(x, ...)
     d = x - m
     v = ReduceMean(d * d | Pow(d, 2), ...)
     s = Sqrt(v + $epsilon)
     y = d / s * scale + bias | d * Reciprocal(s) * scale + bias | d * (1 / s) * scale + bias",
    |cx, found| rewrite(cx, found, Some(found["scale"]), Some(found["bias"])),
);

/// The norm alone.
pub static PLAIN: Rule = Rule::matching(
    "fuse-plain-layer-norm",
    "m = ReduceMean(x, ...)
     d = x - m
     v = ReduceMean(d * d | Pow(d, 2), ...)
     s = Sqrt(v + $epsilon)
     y = d / s | d * Reciprocal(s) | d * (1 / s)",
    |cx, found| rewrite(cx, found, None, None),
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>, scale: Option<ValueId>, bias: Option<ValueId>) -> Outcome {
    let x = found["x"];
    let shape = cx.shape(x).ok_or("the rank of the input is not known")?;
    let axis = last_axes(cx, found, shape.len())?;
    let epsilon = cx.scalar(found["epsilon"]).ok_or("ε is not one number")?;
    let normalized = &shape[axis..];
    let mut patch = Patch::new();
    let scale = match scale {
        Some(scale) => over_axes(cx, &mut patch, scale, normalized)?,
        None => ones(cx, &mut patch, x, normalized)?,
    };
    let mut inputs = vec![x.into(), scale];
    if let Some(bias) = bias {
        inputs.push(over_axes(cx, &mut patch, bias, normalized)?);
    }
    let attributes = Attributes::new().with("axis", axis as i64 - shape.len() as i64).with("epsilon", epsilon as f32);
    let y = patch.operator("LayerNormalization", attributes, &inputs);
    Ok(patch.replace(cx.output(found.root()), y))
}

/// The first of the last axes that both means run over.
fn last_axes(cx: &Cx<'_>, found: &Match<'_>, rank: usize) -> Result<usize, No> {
    let (of_mean, of_variance) = (found.node("m"), found.node("v"));
    let is_same = cx.reduced_axes(of_mean, rank) == cx.reduced_axes(of_variance, rank);
    must(is_same, "mean and variance are taken over different axes")?;
    first_of_last_axes(cx, of_variance, rank)?;
    first_of_last_axes(cx, of_mean, rank)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, S, 4] x, float[N, S, 4] z) => (float[] y) <int64[1] last = {{-1}}, int64[1] middle = {{1}}, int64[2] both = {{1, 2}}, float two = {{2}}, \
             float e = {{1e-5}}, float one = {{1}}, float[4] g = {{1, 2, 3, 4}}, float[1, 1, 4] h = {{1, 2, 3, 4}}, float[4] b = {{4, 3, 2, 1}}> {{ {nodes} }}"
        )
    }

    const AFTER: &str = "y = LayerNormalization (x, g, b) <axis: int = -1, epsilon: float = 1e-5>";

    #[test]
    fn every_spelling_becomes_one_node() {
        for nodes in [
            "m = ReduceMean (x, last) d = Sub (x, m) q = Pow (d, two) v = ReduceMean (q, last) a = Add (v, e) s = Sqrt (a) n = Div (d, s) w = Mul (n, g) y = Add (w, b)",
            "m = ReduceMean (x, last) d = Sub (x, m) q = Mul (d, d) v = ReduceMean (q, last) a = Add (e, v) s = Sqrt (a) n = Div (d, s) w = Mul (g, n) y = Add (b, w)",
            "m = ReduceMean (x, last) d = Sub (x, m) q = Mul (d, d) v = ReduceMean (q, last) a = Add (e, v) s = Sqrt (a) r = Reciprocal (s) k = Mul (r, g) w = Mul (d, k) y = Add (b, w)",
            "m = ReduceMean (x, last) d = Sub (x, m) q = Mul (d, d) v = ReduceMean (q, last) a = Add (e, v) s = Sqrt (a) r = Div (one, s) k = Mul (r, d) w = Mul (k, g) y = Add (b, w)",
        ] {
            Proof::of("fuse-layer-norm").before(&text(nodes)).after(AFTER).within(1e-5);
        }
    }

    #[test]
    fn two_differences_become_one_first() {
        Proof::of_all(&["merge-equal-nodes", "fuse-layer-norm"])
            .before(&text("m = ReduceMean (x, last) d = Sub (x, m) f = Sub (x, m) q = Pow (f, two) v = ReduceMean (q, last) a = Add (v, e) s = Sqrt (a) n = Div (d, s) w = Mul (n, g) y = Add (w, b)"))
            .after(AFTER)
            .within(1e-5);
    }

    #[test]
    fn without_scale_the_scale_is_ones() {
        Proof::of("fuse-plain-layer-norm")
            .before(&text("m = ReduceMean (x, last) d = Sub (x, m) q = Pow (d, two) v = ReduceMean (q, last) a = Add (v, e) s = Sqrt (a) y = Div (d, s)"))
            .after("y = LayerNormalization (x, y_constantofshape) <axis: int = -1, epsilon: float = 1e-5>")
            .within(1e-5);
    }

    #[test]
    fn other_axes_shapes_or_values_are_left_alone() {
        let norm = |mean: &str, variance: &str, of: &str, scale: &str| {
            text(&format!(
                "m = ReduceMean (x, {mean}) d = Sub ({of}, m) q = Pow (d, two) v = ReduceMean (q, {variance}) a = Add (v, e) s = Sqrt (a) n = Div (d, s) w = Mul (n, {scale}) y = Add (w, b)"
            ))
        };
        for (graph, reason) in [
            (norm("middle", "middle", "x", "g"), "last axes"),
            (norm("last", "both", "x", "g"), "different axes"),
            (norm("last", "last", "x", "z"), "not of the normalized shape"),
            (norm("last", "last", "z", "g"), "expected the same value"),
        ] {
            Proof::of("fuse-layer-norm").before(&graph).does_not_fire(reason);
        }
    }
}
