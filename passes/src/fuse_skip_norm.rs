//! s = a + b, y = LayerNormalization(s, γ, β)   ⇒   y, s = com.microsoft.SkipLayerNormalization(a, b, γ, β)
//! s = a + b, y = RMSNormalization(s, γ)   ⇒   y, s = com.microsoft.SkipSimplifiedLayerNormalization(a, b, γ)
//!
//! and with a vector of features that is added to a or b before, which is their `bias`.
//! when: a, b and their sum are of one shape of rank 3; the norm is over the last axis, its scale and bias are constant.

use crate::patch::{Operand, Patch};
use crate::rule::{Cx, No, Rule, must};
use planish_ir::{Attributes, ValueId};
use planish_tensor::DType;

/// Normalizes a residual sum where it is made.
pub static RULE: Rule = Rule::matching(
    "fuse-skip-norm",
    "sum = &Add(a, b)
     y = LayerNormalization(sum, $scale, $shift?) | RMSNormalization(sum, $scale)",
    |cx, found| {
        let (sum, root) = (found["sum"], found.root());
        must(matches!(cx.dtype(sum), Some(DType::F32 | DType::F16)), "it is of another dtype")?;
        must(
            cx.rank(sum) == Some(3) && cx.axis(root, "axis", 3) == Some(2),
            "the norm is not over the last of 3 axes",
        )?;
        let terms = [found["a"], found["b"]];
        must(
            terms.iter().all(|&term| cx.same_type(term, sum)),
            "the terms are not known to be of the shape of their sum",
        )?;
        let size = cx.shape(sum).and_then(|s| s[2].as_known()).ok_or("the number of features is not known")?;
        let is_vector = |value: ValueId| cx.known_shape(value) == Some(vec![size]) && cx.dtype(value) == cx.dtype(sum);
        let scales = [Some(found["scale"]), found.get("shift")];
        must(scales.into_iter().flatten().all(is_vector), "scale or bias are no vectors of the features")?;
        let ([a, b], bias) = without_bias(cx, terms, is_vector);
        let is_simple = cx.operator(root).is_some_and(|o| o.is("RMSNormalization"));
        let name = if is_simple { "SkipSimplifiedLayerNormalization" } else { "SkipLayerNormalization" };
        let mut inputs: Vec<Operand> = vec![a.into(), b.into(), found["scale"].into()];
        if !is_simple {
            inputs.push(found.get("shift").into());
        }
        inputs.push(bias.into());
        let epsilon = cx.float(root, "epsilon").ok_or(No::SILENT)?;
        let attributes = Attributes::new().with("epsilon", epsilon);
        let is_read_on = !cx.is_read_once(sum);
        let mut patch = Patch::new();
        let num_outputs = if is_read_on { 4 } else { 1 };
        let made = patch.domain_operators("com.microsoft", name, attributes, &inputs, num_outputs);
        let patch = patch.replace(cx.output(root), made[0]);
        Ok(if is_read_on { patch.replace(sum, made[3]) } else { patch })
    },
);

/// The terms of a sum, and the vector that is added to one of them where that is done for this sum alone.
fn without_bias(
    cx: &Cx<'_>,
    [a, b]: [ValueId; 2],
    is_vector: impl Fn(ValueId) -> bool,
) -> ([ValueId; 2], Option<ValueId>) {
    for (term, other) in [(a, b), (b, a)] {
        if !cx.operator(term.node).is_some_and(|o| o.is("Add")) || !cx.is_read_once(term) {
            continue;
        }
        let inputs = [cx.input(term.node, 0), cx.input(term.node, 1)];
        let [Some(x), Some(y)] = inputs else { continue };
        for (value, bias) in [(x, y), (y, x)] {
            if cx.constant(bias).is_some() && is_vector(bias) && cx.same_type(value, term) {
                return ([value, other], Some(bias));
            }
        }
    }
    ([a, b], None)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, S, 4] a, float[N, S, 4] b, float[4] wide) => (float[] y, float[] z) \
             <float[4] scale = {{1, 2, 3, 4}}, float[4] shift = {{0, 1, 0, 1}}, float[4] bias = {{0.5, 0, 0, 1}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn a_sum_read_on_is_given_out_too() {
        Proof::of("fuse-skip-norm")
            .before(&text("s = Add (a, b) y = RMSNormalization (s, scale) z = Neg (s)"))
            .after(
                "y, \"\", \"\", s = com.microsoft.SkipSimplifiedLayerNormalization (a, b, scale) <epsilon: float = 1e-5> z = Neg (s)",
            )
            .within(1e-5);
    }

    #[test]
    fn a_bias_goes_inside() {
        Proof::of("fuse-skip-norm")
            .before(&text("c = Add (bias, b) s = Add (a, c) y = LayerNormalization (s, scale, shift) z = Neg (a)"))
            .after(
                "z = Neg (a) y = com.microsoft.SkipLayerNormalization (b, a, scale, shift, bias) <epsilon: float = 1e-5>",
            )
            .within(1e-5);
    }

    #[test]
    fn other_sums_and_axes_stay() {
        for (nodes, reason) in [
            ("s = Add (a, wide) y = RMSNormalization (s, scale) z = Neg (s)", "shape of their sum"),
            ("s = Add (a, b) y = LayerNormalization <axis: int = 1> (s, scale) z = Neg (s)", "last"),
            ("s = Sub (a, b) y = RMSNormalization (s, scale) z = Neg (s)", ""),
        ] {
            Proof::of("fuse-skip-norm").before(&text(nodes)).does_not_fire(reason);
        }
    }
}
