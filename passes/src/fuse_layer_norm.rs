//! d = x − mean(x), y = d / √(mean(d²) + ε) · γ + β   ⇒   y = LayerNormalization(x, γ, β)
//!
//! when: both means run over the same last axes and keep them; ε is a number; γ and β are vectors over those axes. Without
//! γ the scale becomes ones.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, Dim, ValueId};
use planish_tensor::{DType, Tensor, f16};

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
    let axes = |name: &str| -> Result<Vec<usize>, No> {
        let node = found.node(name);
        must(cx.int(node, "keepdims") == Some(1), "a mean drops its axes")?;
        cx.reduced_axes(node, rank).ok_or_else(|| "the axes of a mean are not known".into())
    };
    let (of_mean, of_variance) = (axes("m")?, axes("v")?);
    must(of_mean == of_variance, "mean and variance are taken over different axes")?;
    let first = *of_mean.first().ok_or("the means run over no axis")?;
    must(of_mean.iter().copied().eq(first..rank), "the means do not run over the last axes")?;
    Ok(first)
}

/// γ or β as a tensor of exactly the normalized shape: runtimes take nothing else.
fn over_axes(cx: &Cx<'_>, patch: &mut Patch, value: ValueId, normalized: &[Dim]) -> Result<Operand, No> {
    let shape = cx.shape(value).ok_or("the shape of scale or bias is not known")?;
    let is_same = |shape: &[Dim]| {
        shape.len() == normalized.len() && shape.iter().zip(normalized).all(|(a, b)| Dim::provably_equal(a, b))
    };
    if is_same(shape) {
        return Ok(value.into());
    }
    let known: Option<Vec<i64>> = normalized.iter().map(Dim::as_known).collect();
    let leading = shape.iter().take_while(|d| d.as_known() == Some(1)).count();
    let leading = leading.min(shape.len().saturating_sub(normalized.len()));
    let (Some(known), Some(_)) = (known, cx.constant(value)) else {
        return Err("scale or bias is not of the normalized shape".into());
    };
    must(shape.len() - leading <= normalized.len(), "scale or bias varies along other axes")?;
    let dims = patch.ints(&known);
    let short: Option<Vec<i64>> = shape[leading..].iter().map(Dim::as_known).collect();
    let short = patch.ints(&short.ok_or(No::SILENT)?);
    let value = patch.operator("Reshape", Attributes::new(), &[value.into(), short]);
    Ok(patch.operator("Expand", Attributes::new(), &[value, dims]))
}

fn ones(cx: &Cx<'_>, patch: &mut Patch, x: ValueId, normalized: &[Dim]) -> Result<Operand, No> {
    let known: Option<Vec<i64>> = normalized.iter().map(Dim::as_known).collect();
    let dims = patch.ints(&known.ok_or("the normalized shape is not known")?);
    let one = match cx.dtype(x) {
        Some(DType::F32) => Tensor::vector(&[1f32]),
        Some(DType::F64) => Tensor::vector(&[1f64]),
        Some(DType::F16) => Tensor::vector(&[f16::ONE]),
        _ => return Err("the dtype is not known".into()),
    };
    Ok(patch.operator("ConstantOfShape", Attributes::new().with("value", one), &[dims]))
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
            (norm("last", "last", "z", "g"), "not the same value"),
        ] {
            Proof::of("fuse-layer-norm").before(&graph).does_not_fire(reason);
        }
    }
}
