//! Clip(Clip(x, a, b), c, d)   ⇒   Clip(x, max(a, c), min(max(b, c), d)), with Relu as Clip(x, 0)
//! Relu(Relu(x))   ⇒   Relu(x)
//!
//! when: bounds are numbers of one dtype; the inner has no other reader.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, NodeId};
use planish_tensor::{DType, Tensor};

/// Merges bounds that follow each other.
pub static RULE: Rule = Rule::on("merge-clips", &["Clip", "Relu"], rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let outer = found.root();
    let middle = cx.input(outer, 0).ok_or(No::SILENT)?;
    let inner = cx.operator(middle.node).filter(|o| o.is("Clip") || o.is("Relu")).ok_or(No::SILENT)?;
    if inner.is("Relu") && cx.operator(outer).is_some_and(|o| o.is("Relu")) {
        return Ok(Patch::by_value(found, middle));
    }
    must(cx.is_read_once(middle), "the inner is read elsewhere")?;
    must(cx.dtype(middle) == Some(DType::F32), "bounds of other dtypes than float are left alone")?;
    let x = cx.input(middle.node, 0).ok_or(No::SILENT)?;
    let ((a, b), (c, d)) = (bounds(cx, middle.node)?, bounds(cx, outer)?);
    // Clip with its bounds crossed gives the upper one.
    let (low, high) = (a.max(c).min(d), b.max(c).min(d));
    let mut patch = Patch::new();
    let mut bound = |value: f32, none: f32| {
        if value == none { Operand::Absent } else { patch.constant(Tensor::scalar(value)) }
    };
    let (low, high) = (bound(low, f32::NEG_INFINITY), bound(high, f32::INFINITY));
    let y = patch.operator("Clip", Attributes::new(), &[x.into(), low, high]);
    Ok(patch.replace(cx.output(outer), y))
}

/// What a Clip or Relu keeps its values between.
fn bounds(cx: &Cx<'_>, id: NodeId) -> Result<(f32, f32), No> {
    if cx.operator(id).is_some_and(|o| o.is("Relu")) {
        return Ok((0.0, f32::INFINITY));
    }
    let bound = |index, none: f32| match cx.input(id, index) {
        None => Ok(none),
        Some(v) => cx.scalar(v).map(|v| v as f32).ok_or_else(|| No::from("a bound is not a number")),
    };
    let (low, high) = (bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?);
    must(low <= high, "bounds are crossed")?;
    Ok((low, high))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 5] x, float z) => (float[] y) <float zero = {{0}}, float one = {{1}}, float half = {{0.5}}, float minus = {{-1}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn bounds_become_one_pair() {
        for (nodes, after) in [
            ("a = Relu (x) y = Relu (a)", "y = Relu (x)"),
            ("a = Relu (x) y = Clip (a, minus, one)", "y = Clip (x, y_constant, y_constant_1)"),
            ("a = Clip (x, minus, one) y = Relu (a)", "y = Clip (x, y_constant, y_constant_1)"),
            ("a = Clip (x, \"\", zero) y = Clip (a, half, one)", "y = Clip (x, y_constant, y_constant_1)"),
            ("a = Clip (x, half) y = Clip (a, zero)", "y = Clip (x, y_constant)"),
        ] {
            Proof::of("merge-clips").before(&text(nodes)).after(after).exact();
        }
    }

    #[test]
    fn computed_bounds_and_other_readers_stay() {
        for (nodes, reason) in [
            ("a = Relu (x) y = Clip (a, z)", "not a number"),
            ("a = Relu (x) b = Clip (a, zero, one) y = Add (a, b)", "read elsewhere"),
        ] {
            Proof::of("merge-clips").before(&text(nodes)).does_not_fire(reason);
        }
    }
}
