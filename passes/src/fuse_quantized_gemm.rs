//! y = QuantizeLinear(Gemm(DequantizeLinear(a, sa, za), DequantizeLinear(b, sb, zb), DequantizeLinear(c, sa · sb)), sy, zy)
//!     ⇒   y = com.microsoft.QGemm(a, sa, za, b, sb, zb, c, sy, zy)
//! y = MatMul(DequantizeLinear(a, sa, za), DequantizeLinear(b, sb, zb)) + bias
//!     ⇒   y = com.microsoft.MatMulIntegerToFloat(a, b, sa, sb, za, zb, bias)
//!
//! with or without a bias.
//!
//! when: a and y are bytes with one scale and zero point; b is a constant matrix of bytes whose scales and zero points are numbers, or one a
//! column; c is constant, and so is the bias.

use crate::fuse_quantized_conv::{is_product, is_zero};
use crate::fuse_quantized_product::{byte, parameters};
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use crate::weights::along_axis;
use planish_ir::ValueId;
use planish_tensor::{DType, Tensor};

/// Makes a Gemm between quantized tensors one of their codes.
pub static GEMM: Rule = Rule::matching(
    "fuse-quantized-gemm",
    "u = &DequantizeLinear(a, sa, za?)
     v = &DequantizeLinear($b, $sb, $zb?)
     g = Gemm(u, v, &DequantizeLinear($c, $sc, $zc?))
     y = QuantizeLinear(g, sy, zy?)",
    |cx, found| {
        let (gemm, y) = (found.node("g"), cx.output(found.root()));
        must(cx.float(gemm, "beta") == Some(1.0), "the bias is scaled")?;
        let is_transposed = cx.int(gemm, "transB") == Some(1);
        let mut patch = Patch::new();
        let mut inputs: Vec<Operand> = vec![found["a"].into()];
        inputs.extend(parameters(cx, &mut patch, found["sa"], found.get("za"), byte(cx, found["a"])?)?);
        let (b, [sb, zb], columns) = matrix(cx, &mut patch, found, usize::from(!is_transposed))?;
        inputs.extend([b.into(), sb, zb]);
        let c = found["c"];
        must(
            cx.dtype(c) == Some(DType::I32) && cx.known_shape(c) == Some(vec![columns]),
            "the bias is not one a column",
        )?;
        must(found.get("zc").is_none_or(|zero| is_zero(cx, zero)), "the bias has a zero point")?;
        must(is_product(cx, found["sc"], found["sa"], found["sb"]), "the bias has another scale than the sums")?;
        inputs.push(c.into());
        inputs.extend(parameters(cx, &mut patch, found["sy"], found.get("zy"), byte(cx, y)?)?);
        let operator = cx.operator(gemm).ok_or(No::SILENT)?;
        let mut attributes = operator.attributes.clone();
        attributes.remove("beta");
        let made = patch.domain_operators("com.microsoft", "QGemm", attributes, &inputs, 1);
        Ok(patch.replace(y, made[0]))
    },
);

/// Makes a product of quantized tensors one of their codes, with a bias.
pub static BIASED: Rule = Rule::matching(
    "fuse-quantized-product-bias",
    "u = &DequantizeLinear(a, sa, za?)
     v = &DequantizeLinear($b, $sb, $zb?)
     p = MatMul(u, v)
     y = p + $bias",
    |cx, found| to_float(cx, found, Some(found["bias"])),
);

/// Makes a product of quantized tensors one of their codes.
pub static PLAIN: Rule = Rule::matching(
    "fuse-quantized-product-float",
    "u = &DequantizeLinear(a, sa, za?)
     v = &DequantizeLinear($b, $sb, $zb?)
     p = MatMul(u, v)",
    |cx, found| to_float(cx, found, None),
);

fn to_float(cx: &Cx<'_>, found: &Match<'_>, bias: Option<ValueId>) -> Outcome {
    let (a, y) = (found["a"], cx.output(found.root()));
    let p = cx.output(found.node("p"));
    must(cx.dtype(p) == Some(DType::F32), "the result is not float")?;
    must(cx.same_shape(p, y), "the bias makes the result larger")?;
    let mut patch = Patch::new();
    let [sa, za] = parameters(cx, &mut patch, found["sa"], found.get("za"), byte(cx, a)?)?;
    let (b, [sb, zb], columns) = matrix(cx, &mut patch, found, 1)?;
    let rank = cx.rank(p).ok_or("the rank is not known")?;
    let bias = match bias {
        Some(bias) => along_axis(cx, &mut patch, bias, rank, rank - 1, columns)?,
        None => Operand::Absent,
    };
    let inputs = [a.into(), b.into(), sa, sb, za, zb, bias];
    let made = patch.domain_operators("com.microsoft", "MatMulIntegerToFloat", Default::default(), &inputs, 1);
    Ok(patch.replace(y, made[0]))
}

/// The right operand, its scales and zero points, and its columns, which lie along `axis`.
fn matrix(cx: &Cx<'_>, patch: &mut Patch, found: &Match<'_>, axis: usize) -> Result<(ValueId, [Operand; 2], i64), No> {
    let (b, sb, zb) = (found["b"], found["sb"], found.get("zb"));
    let of_b = byte(cx, b)?;
    let columns = match cx.known_shape(b).as_deref() {
        Some(shape @ &[_, _]) => shape[axis],
        _ => return Err("the right operand is no matrix".into()),
    };
    if cx.scalar(sb).is_some() {
        return Ok((b, parameters(cx, patch, sb, zb, of_b)?, columns));
    }
    let is_vector = |value: ValueId| cx.known_shape(value) == Some(vec![columns]);
    let along = cx.axis(found.node("v"), "axis", 2) == Some(axis) && cx.dtype(sb) == Some(DType::F32);
    must(along && is_vector(sb) && zb.is_none_or(is_vector), "its scales are not one a column")?;
    let zero = match zb {
        Some(zero) => zero.into(),
        None if of_b == DType::I8 => patch.constant(Tensor::scalar(0i8)),
        None => patch.constant(Tensor::scalar(0u8)),
    };
    Ok((b, [sb.into(), zero], columns))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (uint8[N, 4] a, int8[3, 4] w, int8[4, 3] b, int32[3] c, float[3] bias) => (float[] y) \
             <float s = {{0.02}}, float t = {{0.25}}, uint8 z = {{100}}, float[3] sw = {{0.01, 0.02, 0.03}}, int8[3] zw = {{0, 0, 0}}, \
             float[3] sc = {{0.0002, 0.0004, 0.0006}}, float[4] rows = {{1, 2, 3, 4}}> {{ u = DequantizeLinear (a, s, z) {nodes} }}"
        )
    }

    #[test]
    fn codes_are_multiplied() {
        for (rule, nodes, after) in [
            (
                "fuse-quantized-gemm",
                "v = DequantizeLinear <axis = 0> (w, sw, zw) d = DequantizeLinear <axis = 0> (c, sc) \
                 g = Gemm <transB = 1> (u, v, d) q = QuantizeLinear (g, t, z) y = DequantizeLinear (q, t, z)",
                "q = com.microsoft.QGemm (a, s, z, w, sw, zw, c, t, z) <transB: int = 1> y = DequantizeLinear (q, t, z)",
            ),
            (
                "fuse-quantized-product-bias",
                "v = DequantizeLinear <axis = 1> (b, sw, zw) p = MatMul (u, v) y = Add (p, bias)",
                "y = com.microsoft.MatMulIntegerToFloat (a, b, s, sw, z, zw, y_expand)",
            ),
            (
                "fuse-quantized-product-float",
                "v = DequantizeLinear (b, s) y = MatMul (u, v)",
                "y = com.microsoft.MatMulIntegerToFloat (a, b, s, s, z, y_constant)",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).weights(&["w", "b", "c", "bias"]).after(after).within(0.1);
        }
    }

    #[test]
    fn other_scales_stay() {
        let nodes = "v = DequantizeLinear <axis = 0> (b, rows) y = MatMul (u, v)";
        let weights = ["w", "b", "c", "bias"];
        Proof::of("fuse-quantized-product-float").before(&text(nodes)).weights(&weights).does_not_fire("one a column");
    }
}
