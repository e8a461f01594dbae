//! y = x / √(mean(x²) + ε) · γ   ⇒   y = RMSNormalization(x, γ)
//!
//! when: the mean runs over the last axes and keeps them; ε is a number; γ is a vector over those axes. 16-bit values may be
//! normalized as `float` and cast back before γ, which is how the operator is defined. Without γ the scale becomes ones.

use crate::norm::{first_of_last_axes, ones, over_axes};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, Outcome, Rule, must};
use planish_ir::{Attributes, ValueId};

/// The norm with a scale.
pub static RULE: Rule = Rule::matching(
    "fuse-rms-norm",
    "c = &Cast?(x)
     m = ReduceMean(c * c | Pow(c, 2), ...)
     s = Sqrt(m + $epsilon)
     n = c / s | c * Reciprocal(s) | c * (1 / s) | c * Pow(m + $epsilon, -0.5)
     y = scale * Cast?(n) | c * Reciprocal(s) * scale | c * (1 / s) * scale | c * Pow(m + $epsilon, -0.5) * scale",
    |cx, found| rewrite(cx, found, Some(found["scale"])),
);

/// The norm alone.
pub static PLAIN: Rule = Rule::matching(
    "fuse-plain-rms-norm",
    "c = &Cast?(x)
     m = ReduceMean(c * c | Pow(c, 2), ...)
     s = Sqrt(m + $epsilon)
     y = c / s | c * Reciprocal(s) | c * (1 / s) | c * Pow(m + $epsilon, -0.5)",
    |cx, found| rewrite(cx, found, None),
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>, scale: Option<ValueId>) -> Outcome {
    let y = cx.output(found.root());
    let dtype = cx.dtype(scale.unwrap_or(y)).ok_or("the dtype is not known")?;
    let x = if cx.dtype(found["c"]) == Some(dtype) { found["c"] } else { found["x"] };
    must(cx.dtype(x) == Some(dtype) && cx.dtype(y) == Some(dtype), "it changes the dtype")?;
    let shape = cx.shape(x).ok_or("the rank of the input is not known")?;
    let axis = first_of_last_axes(cx, found.node("m"), shape.len())?;
    let epsilon = cx.scalar(found["epsilon"]).ok_or("ε is not one number")?;
    let normalized = &shape[axis..];
    let mut patch = Patch::new();
    let scale = match scale {
        Some(scale) => over_axes(cx, &mut patch, scale, normalized)?,
        None => ones(cx, &mut patch, x, normalized)?,
    };
    let attributes = Attributes::new().with("axis", axis as i64 - shape.len() as i64).with("epsilon", epsilon as f32);
    let new = patch.operator("RMSNormalization", attributes, &[x.into(), scale]);
    Ok(patch.replace(y, new))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, S, 4] x, float16[N, S, 4] h, float[N, S, 4] z) => (float[] y) <int64[1] last = {{-1}}, int64[1] middle = {{1}}, \
             float two = {{2}}, float half = {{-0.5}}, float e = {{1e-5}}, float one = {{1}}, float[4] g = {{1, 2, 3, 4}}, float[1, 1, 4] k = {{1, 2, 3, 4}}> {{ {nodes} }}"
        )
    }

    const AFTER: &str = "y = RMSNormalization (x, g) <axis: int = -1, epsilon: float = 1e-5>";

    #[test]
    fn every_spelling_becomes_one_node() {
        for nodes in [
            "q = Pow (x, two) m = ReduceMean (q, last) a = Add (m, e) s = Sqrt (a) r = Reciprocal (s) n = Mul (x, r) y = Mul (g, n)",
            "q = Mul (x, x) m = ReduceMean (q, last) a = Add (e, m) s = Sqrt (a) r = Div (one, s) n = Mul (x, r) y = Mul (n, g)",
            "q = Mul (x, x) m = ReduceMean (q, last) a = Add (e, m) s = Sqrt (a) n = Div (x, s) y = Mul (n, g)",
            "q = Mul (x, x) m = ReduceMean (q, last) a = Add (e, m) s = Sqrt (a) r = Reciprocal (s) k2 = Mul (r, g) y = Mul (k2, x)",
            "q = Mul (x, x) m = ReduceMean (q, last) a = Add (e, m) r = Pow (a, half) n = Mul (x, r) y = Mul (n, g)",
        ] {
            Proof::of("fuse-rms-norm").before(&text(nodes)).after(AFTER).within(1e-5);
        }
    }

    #[test]
    fn sixteen_bit_values_may_be_normalized_as_float() {
        Proof::of("fuse-rms-norm")
            .before(&text(
                "c = Cast (h) <to: int = 1> q = Pow (c, two) m = ReduceMean (q, last) a = Add (m, e) s = Sqrt (a) n = Div (c, s) \
                 b = Cast (n) <to: int = 10> w = Cast (g) <to: int = 10> o = Mul (w, b) y = Cast (o) <to: int = 1>",
            ))
            .after("w = Cast (g) <to: int = 10> o = RMSNormalization (h, w) <axis: int = -1, epsilon: float = 1e-5> y = Cast (o) <to: int = 1>")
            .within(2e-3);
    }

    #[test]
    fn a_cast_before_is_not_part_of_a_norm_in_float() {
        Proof::of("fuse-rms-norm")
            .before(&text(
                "c = Cast (h) <to: int = 1> q = Pow (c, two) m = ReduceMean (q, last) a = Add (m, e) s = Sqrt (a) n = Div (c, s) y = Mul (n, g)",
            ))
            .after("c = Cast (h) <to: int = 1> y = RMSNormalization (c, g) <axis: int = -1, epsilon: float = 1e-5>")
            .within(1e-5);
    }

    #[test]
    fn without_scale_the_scale_is_ones() {
        Proof::of("fuse-plain-rms-norm")
            .before(&text("q = Pow (x, two) m = ReduceMean (q, last) a = Add (m, e) s = Sqrt (a) y = Div (x, s)"))
            .after("y = RMSNormalization (x, y_constantofshape) <axis: int = -1, epsilon: float = 1e-5>")
            .within(1e-5);
    }

    #[test]
    fn other_axes_shapes_or_values_are_left_alone() {
        let norm = |mean: &str, of: &str, scale: &str| {
            text(&format!(
                "q = Pow (x, two) m = ReduceMean (q, {mean}) a = Add (m, e) s = Sqrt (a) n = Div ({of}, s) y = Mul (n, {scale})"
            ))
        };
        for (graph, reason) in [
            (norm("middle", "x", "g"), "last axes"),
            (norm("last", "x", "z"), "not of the normalized shape"),
            (norm("last", "z", "g"), "expected the same value"),
        ] {
            Proof::of("fuse-rms-norm").before(&graph).does_not_fire(reason);
        }
    }
}
