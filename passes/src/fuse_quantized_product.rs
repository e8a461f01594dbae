//! y = QuantizeLinear(MatMul(DequantizeLinear(a, sa, za), DequantizeLinear(b, sb, zb)), sy, zy)
//!     ⇒   y = QLinearMatMul(a, sa, za, b, sb, zb, sy, zy)
//!
//! when: a and b are bytes and b is signed where a is; scales and zero points are numbers, those of b may be one a column.
//!
//! The sum is exact where the product of `float` rounds: a result half way between two steps may become the other one.

use crate::patch::{Operand, Patch};
use crate::rule::{Cx, No, Rule, must};
use planish_ir::{Attributes, NodeId, ValueId};
use planish_tensor::{DType, Tensor};

/// Makes a product between quantized tensors one of their codes.
pub static RULE: Rule = Rule::matching(
    "fuse-quantized-product",
    "u = &DequantizeLinear(a, sa, za?)
     v = &DequantizeLinear(b, sb, zb?)
     y = QuantizeLinear(MatMul(u, v), sy, zy?)",
    |cx, found| {
        let (a, b, y) = (found["a"], found["b"], cx.output(found.root()));
        let (of_a, of_b, of_y) = (byte(cx, a)?, byte(cx, b)?, byte(cx, y)?);
        must(of_a == DType::U8 || of_b == DType::I8, "ONNX Runtime multiplies no unsigned codes with signed ones")?;
        let mut patch = Patch::new();
        let mut inputs: Vec<Operand> = vec![a.into()];
        inputs.extend(parameters(cx, &mut patch, found["sa"], found.get("za"), of_a)?);
        inputs.push(b.into());
        match cx.scalar(found["sb"]) {
            Some(_) => inputs.extend(parameters(cx, &mut patch, found["sb"], found.get("zb"), of_b)?),
            None => {
                let zb = found.get("zb").ok_or("the right operand has no zero points")?;
                is_by_column(cx, found.node("v"), [found["sb"], zb], b)?;
                inputs.extend([Operand::from(found["sb"]), Operand::from(zb)]);
            }
        }
        inputs.extend(parameters(cx, &mut patch, found["sy"], found.get("zy"), of_y)?);
        let made = patch.operator("QLinearMatMul", Attributes::new(), &inputs);
        Ok(patch.replace(y, made))
    },
);

/// The dtype of codes of 8 bits.
pub(crate) fn byte(cx: &Cx<'_>, value: ValueId) -> Result<DType, No> {
    let dtype = cx.dtype(value).filter(|dtype| matches!(dtype, DType::U8 | DType::I8));
    dtype.ok_or_else(|| "the codes are no bytes".into())
}

/// A scale and a zero point for all elements.
pub(crate) fn parameters(
    cx: &Cx<'_>,
    patch: &mut Patch,
    scale: ValueId,
    zero: Option<ValueId>,
    codes: DType,
) -> Result<[Operand; 2], No> {
    let is_number = |value| cx.scalar(value).is_some() && cx.rank(value) <= Some(1);
    must(cx.dtype(scale) == Some(DType::F32) && is_number(scale), "a scale is not one number of float")?;
    must(zero.is_none_or(is_number), "a zero point is not one number")?;
    let zero = match zero {
        Some(zero) => zero.into(),
        None if codes == DType::I8 => patch.constant(Tensor::scalar(0i8)),
        None => patch.constant(Tensor::scalar(0u8)),
    };
    Ok([scale.into(), zero])
}

/// Whether scale and zero point are one for each column of the matrix `b`.
fn is_by_column(cx: &Cx<'_>, dequantize: NodeId, parameters: [ValueId; 2], b: ValueId) -> Result<(), No> {
    let columns = match cx.known_shape(b).as_deref() {
        Some(&[_, columns]) => columns,
        _ => return Err("the right operand is no matrix".into()),
    };
    let is_vector = |value| cx.constant(value).is_some() && cx.known_shape(value) == Some(vec![columns]);
    let is_last = cx.axis(dequantize, "axis", 2) == Some(1) && cx.dtype(parameters[0]) == Some(DType::F32);
    must(is_last && parameters.into_iter().all(is_vector), "its scales are not one a column")
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (uint8[2, N, 4] a, int8[4, 3] b, int8[2, 4, 3] wide, int8[2, N, 4] signed, uint8[4, 3] plain) => (float[] y) \
             <float s = {{0.02}}, float t = {{0.25}}, uint8 z = {{100}}, int8 zero = {{0}}, float[3] sb = {{0.01, 0.02, 0.03}}, int8[3] zb = {{0, 1, 2}}, \
             float[4] rows = {{1, 2, 3, 4}}, int8[4] zr = {{0, 0, 0, 0}}> {{ u = DequantizeLinear (a, s, z) {nodes} y = DequantizeLinear (q, t, z) }}"
        )
    }

    #[test]
    fn codes_are_multiplied() {
        for (nodes, after) in [
            (
                "v = DequantizeLinear (b, s, zero) p = MatMul (u, v) q = QuantizeLinear (p, t, z)",
                "q = QLinearMatMul (a, s, z, b, s, zero, t, z) y = DequantizeLinear (q, t, z)",
            ),
            (
                "v = DequantizeLinear (b, sb, zb) <axis = 1> p = MatMul (u, v) q = QuantizeLinear (p, t, z)",
                "q = QLinearMatMul (a, s, z, b, sb, zb, t, z) y = DequantizeLinear (q, t, z)",
            ),
            (
                "v = DequantizeLinear (wide, s) p = MatMul (u, v) q = QuantizeLinear (p, t, z)",
                "q = QLinearMatMul (a, s, z, wide, s, q_constant, t, z) y = DequantizeLinear (q, t, z)",
            ),
        ] {
            Proof::of("fuse-quantized-product").before(&text(nodes)).weights(&["b"]).after(after).within(0.2);
        }
    }

    #[test]
    fn other_scales_and_codes_stay() {
        for (nodes, reason) in [
            (
                "v = DequantizeLinear (b, rows, zr) <axis = 0> p = MatMul (u, v) q = QuantizeLinear (p, t, z)",
                "one a column",
            ),
            (
                "w = DequantizeLinear (signed, s, zero) v = DequantizeLinear (plain, s, z) p = MatMul (w, v) q = QuantizeLinear (p, t, z)",
                "unsigned codes",
            ),
            ("v = DequantizeLinear (b, s, zero) p = MatMul (u, v) r = Relu (p) q = QuantizeLinear (r, t, z)", ""),
        ] {
            Proof::of("fuse-quantized-product").before(&text(nodes)).weights(&["b"]).does_not_fire(reason);
        }
    }
}
