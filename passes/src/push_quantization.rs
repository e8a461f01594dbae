//! T(DequantizeLinear(x, s, z))   ⇒   DequantizeLinear(T(x), s, z)
//! QuantizeLinear(T(x), s, z)   ⇒   T(QuantizeLinear(x, s, z))
//! QuantizeLinear(DequantizeLinear(x, s, z), s, z)   ⇒   x
//!
//! where T moves elements: Reshape, Transpose, Flatten, Squeeze, Unsqueeze. Bytes move faster than numbers, and quantization
//! that met a movement meets what it belongs to.
//!
//! when: s and z are one number each; the codes are bytes; nobody else reads what is between.

use crate::fuse_lookup::is_uniform;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{NodeId, ValueId};
use planish_tensor::DType;

/// Operators that move elements of one input.
const MOVEMENTS: &[&str] = &["Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// Moves elements before they are dequantized.
pub static DOWN: Rule = Rule::on("push-dequantize-down", MOVEMENTS, |cx, found| {
    let root = found.root();
    let dequantize = cx.input(root, 0).filter(|value| is(cx, value.node, "DequantizeLinear")).ok_or(No::SILENT)?;
    exchange(cx, found, dequantize, cx.input(dequantize.node, 0).ok_or(No::SILENT)?)
});

/// Moves elements after they are quantized.
pub static UP: Rule = Rule::on("push-quantize-up", &["QuantizeLinear"], |cx, found| {
    let root = found.root();
    let moved = cx.input(root, 0).ok_or(No::SILENT)?;
    let is_movement = cx.operator(moved.node).is_some_and(|o| MOVEMENTS.iter().any(|name| o.is(name)));
    must(is_movement, No::SILENT)?;
    exchange(cx, found, moved, cx.output(root))
});

/// Takes codes as they are instead of making them again.
pub static BACK: Rule =
    Rule::matching("cancel-quantize", "y = QuantizeLinear(&DequantizeLinear(x, $s, $z?), $t, $w?)", |cx, found| {
        let (x, y) = (found["x"], cx.output(found.root()));
        let number = |name: &str| found.get(name).map_or(Some(0.0), |value| cx.scalar(value));
        must(
            cx.dtype(x) == cx.dtype(y) && matches!(cx.dtype(x), Some(DType::U8 | DType::I8)),
            "the codes are of other types",
        )?;
        let scale = cx.scalar(found["s"]);
        must(scale.is_some() && scale == cx.scalar(found["t"]), "the scales differ")?;
        must(number("z").is_some() && number("z") == number("w"), "the zero points differ")?;
        must(cx.same_shape(x, y), "the shape is not known")?;
        Ok(Patch::by_value(found, x))
    });

fn is(cx: &Cx<'_>, id: NodeId, name: &str) -> bool {
    cx.operator(id).is_some_and(|operator| operator.is(name))
}

/// The root, brought to the input of the node that makes `inner`, and that node after it.
fn exchange(cx: &Cx<'_>, found: &Match<'_>, inner: ValueId, codes: ValueId) -> Outcome {
    let root = found.root();
    let quantization = if is(cx, root, "QuantizeLinear") { root } else { inner.node };
    must(is_uniform(cx, quantization), "there is more than one scale or zero point")?;
    must(matches!(cx.dtype(codes), Some(DType::U8 | DType::I8)), "the codes are no bytes")?;
    must(cx.constant(codes).is_none(), "the codes are constant")?;
    must(cx.is_read_once(inner), "what is between is read by others")?;
    let mut patch = Patch::new();
    let mut value: Operand = cx.input(inner.node, 0).ok_or(No::SILENT)?.into();
    for id in [root, inner.node] {
        let operator = cx.operator(id).ok_or(No::SILENT)?;
        let others = cx.graph.node_inputs(id).into_iter().skip(1).map(Operand::from);
        let inputs: Vec<Operand> = std::iter::once(value).chain(others).collect();
        value = patch.operator(&operator.name, operator.attributes.clone(), &inputs);
    }
    Ok(patch.replace(cx.output(root), value))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (uint8[2, N] x, float[2, N] f) => (float[] y) <float s = {{0.02}}, float t = {{0.25}}, uint8 z = {{100}}, float[2] v = {{1, 2}}, \
             int64[1] flat = {{-1}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn bytes_are_moved() {
        Proof::of("push-dequantize-down")
            .before(&text("u = DequantizeLinear (x, s, z) m = Transpose <perm = [1, 0]> (u) y = Reshape (m, flat)"))
            .after("m_transpose = Transpose (x) <perm: ints = [1, 0]> y_reshape = Reshape (m_transpose, flat) y = DequantizeLinear (y_reshape, s, z)")
            .exact();
        Proof::of("push-quantize-up")
            .before(&text(
                "m = Transpose <perm = [1, 0]> (f) q = QuantizeLinear (m, s, z) y = DequantizeLinear (q, s, z)",
            ))
            .after(
                "q_quantizelinear = QuantizeLinear (f, s, z) q = Transpose (q_quantizelinear) <perm: ints = [1, 0]> y = DequantizeLinear (q, s, z)",
            )
            .exact();
        Proof::of("cancel-quantize")
            .before(&text("u = DequantizeLinear (x, s, z) q = QuantizeLinear (u, s, z) y = DequantizeLinear (q, t, z)"))
            .after("y = DequantizeLinear (x, t, z)")
            .exact();
    }

    #[test]
    fn others_stay() {
        let down =
            |nodes: &str, reason: &str| Proof::of("push-dequantize-down").before(&text(nodes)).does_not_fire(reason);
        down("u = DequantizeLinear <axis = 0> (x, v) y = Transpose <perm = [1, 0]> (u)", "more than one scale");
        down("u = DequantizeLinear (x, s, z) m = Reshape (u, flat) w = ReduceMax (u) y = Add (m, w)", "read by others");
        Proof::of("cancel-quantize")
            .before(&text("u = DequantizeLinear (x, s, z) q = QuantizeLinear (u, t, z) y = DequantizeLinear (q, t, z)"))
            .does_not_fire("the scales differ");
    }
}
