//! y = QuantizeLinear(Conv(DequantizeLinear(x, sx, zx), DequantizeLinear(w, sw, zw), DequantizeLinear(b, sx · sw)), sy, zy)
//!     ⇒   y = QLinearConv(x, sx, zx, w, sw, zw, sy, zy, b)
//!
//! with or without a bias, and with a Relu between the two where zy is the least code, to which codes are bounded anyway.
//!
//! when: x, w and y are bytes; scales and zero points are numbers, those of w may be one an output channel; b is constant.
//!
//! The sum is exact where the convolution of `float` rounds: a result half way between two steps may become the other one.

use crate::fuse_quantized_product::{byte, parameters};
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::ValueId;
use planish_tensor::{DType, Tensor};

/// Makes a convolution between quantized tensors one of their codes.
pub static BIASED: Rule = Rule::matching(
    "fuse-quantized-conv-bias",
    "u = &DequantizeLinear(x, sx, zx?)
     v = &DequantizeLinear(w, sw, zw?)
     c = Conv(u, v, &DequantizeLinear($b, $sb, $zb?))
     y = QuantizeLinear(c | Relu(c), sy, zy?)",
    rewrite,
);

/// Without a bias.
pub static PLAIN: Rule = Rule::matching(
    "fuse-quantized-conv",
    "u = &DequantizeLinear(x, sx, zx?)
     v = &DequantizeLinear(w, sw, zw?)
     c = Conv(u, v)
     y = QuantizeLinear(c | Relu(c), sy, zy?)",
    rewrite,
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (x, w, y, conv) = (found["x"], found["w"], cx.output(found.root()), found.node("c"));
    let (of_x, of_w, of_y) = (byte(cx, x)?, byte(cx, w)?, byte(cx, y)?);
    let channels = cx.known_shape(w).and_then(|shape| shape.first().copied()).ok_or("the channels are not known")?;
    let mut patch = Patch::new();
    let mut inputs: Vec<Operand> = vec![x.into()];
    inputs.extend(parameters(cx, &mut patch, found["sx"], found.get("zx"), of_x)?);
    inputs.push(w.into());
    match cx.scalar(found["sw"]) {
        Some(_) => inputs.extend(parameters(cx, &mut patch, found["sw"], found.get("zw"), of_w)?),
        None => {
            let is_vector =
                |value: ValueId| cx.constant(value).is_some() && cx.known_shape(value) == Some(vec![channels]);
            let by_channel = cx.axis(found.node("v"), "axis", 2) == Some(0) && is_vector(found["sw"]);
            must(by_channel && cx.dtype(found["sw"]) == Some(DType::F32), "the filters' scales are not one a channel")?;
            let zero = match found.get("zw") {
                Some(zero) => {
                    must(is_vector(zero), "the filters' zero points are not one a channel")?;
                    zero.into()
                }
                None if of_w == DType::I8 => patch.constant(Tensor::scalar(0i8)),
                None => patch.constant(Tensor::scalar(0u8)),
            };
            inputs.extend([Operand::from(found["sw"]), zero]);
        }
    }
    let [scale, zero] = parameters(cx, &mut patch, found["sy"], found.get("zy"), of_y)?;
    if cx.input(found.root(), 0) != Some(cx.output(conv)) {
        let zero = found.get("zy").map_or(Some(0.0), |zero| cx.scalar(zero));
        let least = if of_y == DType::I8 { -128.0 } else { 0.0 };
        must(zero == Some(least), "Relu bounds other codes than the least")?;
    }
    inputs.extend([scale, zero]);
    if let Some(bias) = found.get("b") {
        must(cx.dtype(bias) == Some(DType::I32), "the bias is not int32")?;
        must(cx.known_shape(bias) == Some(vec![channels]), "the bias is not one a channel")?;
        must(found.get("zb").is_none_or(|zero| is_zero(cx, zero)), "the bias has a zero point")?;
        must(is_product(cx, found["sb"], found["sx"], found["sw"]), "the bias has another scale than the sums")?;
        inputs.push(bias.into());
    }
    let attributes = cx.operator(conv).ok_or(No::SILENT)?.attributes.clone();
    let made = patch.operator("QLinearConv", attributes, &inputs);
    Ok(patch.replace(y, made))
}

/// Whether all of a constant is zero.
pub(crate) fn is_zero(cx: &Cx<'_>, value: ValueId) -> bool {
    cx.constant(value).and_then(crate::rule::uniform) == Some(0.0)
}

/// Whether the numbers of `scale` are those of `a` times those of `b`, as far as rounding goes.
pub(crate) fn is_product(cx: &Cx<'_>, scale: ValueId, a: ValueId, b: ValueId) -> bool {
    let numbers = |value: ValueId| cx.constant(value).and_then(|tensor| tensor.as_slice::<f32>().ok());
    let (Some(scale), Some(&[a]), Some(b)) = (numbers(scale), numbers(a), numbers(b)) else { return false };
    let count = scale.len().max(b.len());
    let at = |of: &[f32], i: usize| if of.len() == 1 { of.first().copied() } else { of.get(i).copied() };
    (0..count).all(|i| at(scale, i).zip(at(b, i)).is_some_and(|(scale, b)| (scale - a * b).abs() <= 1e-5 * scale.abs()))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (uint8[N, 2, 5] x, int8[3, 2, 3] w, int32[3] b) => (float[] y) \
             <float s = {{0.02}}, float t = {{0.25}}, uint8 z = {{100}}, uint8 least = {{0}}, float[3] sw = {{0.01, 0.02, 0.03}}, int8[3] zw = {{0, 1, 2}}, \
             float[3] sb = {{0.0002, 0.0004, 0.0006}}> {{ u = DequantizeLinear (x, s, z) v = DequantizeLinear <axis = 0> (w, sw, zw) \
             {nodes} y = DequantizeLinear (q, t, z) }}"
        )
    }

    #[test]
    fn codes_are_convolved() {
        for (rule, nodes, after) in [
            (
                "fuse-quantized-conv",
                "c = Conv <pads = [1, 1]> (u, v) q = QuantizeLinear (c, t, z)",
                "q = QLinearConv (x, s, z, w, sw, zw, t, z) <pads: ints = [1, 1]> y = DequantizeLinear (q, t, z)",
            ),
            (
                "fuse-quantized-conv-bias",
                "d = DequantizeLinear <axis = 0> (b, sb) c = Conv (u, v, d) r = Relu (c) q = QuantizeLinear (r, t, least)",
                "q = QLinearConv (x, s, z, w, sw, zw, t, least, b) y = DequantizeLinear (q, t, z)",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).weights(&["w", "b"]).after(after).within(0.2);
        }
    }

    #[test]
    fn other_scales_and_activations_stay() {
        for (rule, nodes, reason) in [
            (
                "fuse-quantized-conv",
                "c = Conv (u, v) r = Relu (c) q = QuantizeLinear (r, t, z)",
                "other codes than the least",
            ),
            (
                "fuse-quantized-conv-bias",
                "d = DequantizeLinear <axis = 0> (b, sw) c = Conv (u, v, d) q = QuantizeLinear (c, t, z)",
                "another scale",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).weights(&["w", "b"]).does_not_fire(reason);
        }
    }
}
