//! q, s, z = DynamicQuantizeLinear(a), y = Cast(MatMulInteger(q, b, z, zb)) · s · sb + bias
//!     ⇒   y = com.microsoft.DynamicQuantizeMatMul(a, b, sb, zb, bias)
//!     ⇒   y = com.microsoft.MatMulIntegerToFloat(q, b, s, sb, z, zb, bias) where others read q
//!
//! with or without a bias.
//!
//! when: b is a constant matrix; its scales and the bias are constant, one for all columns or one a column.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use crate::weights::along_axis;
use planish_ir::ValueId;
use planish_tensor::DType;

/// The product and its bias.
pub static BIASED: Rule = Rule::matching(
    "fuse-dynamic-product-bias",
    "q = &DynamicQuantizeLinear(a)
     s = &DynamicQuantizeLinear(a)[1]
     p = Cast(MatMulInteger(q, $b, &DynamicQuantizeLinear(a)[2], $zb?))
     y = p * s * $sb + $bias",
    |cx, found| rewrite(cx, found, Some(found["bias"])),
);

/// The product alone.
pub static PLAIN: Rule = Rule::matching(
    "fuse-dynamic-product",
    "q = &DynamicQuantizeLinear(a)
     s = &DynamicQuantizeLinear(a)[1]
     p = Cast(MatMulInteger(q, $b, &DynamicQuantizeLinear(a)[2], $zb?))
     y = p * s * $sb",
    |cx, found| rewrite(cx, found, None),
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>, bias: Option<ValueId>) -> Outcome {
    let (q, b) = (found["q"], found["b"]);
    let &[_, columns] = cx.known_shape(b).ok_or(No::SILENT)?.as_slice() else {
        return Err("the right operand is no matrix".into());
    };
    must(cx.dtype(found["p"]) == Some(DType::F32), "the result is not float")?;
    let rank = cx.rank(found["p"]).ok_or("the rank is not known")?;
    let mut patch = Patch::new();
    let by_column = |patch: &mut Patch, c| along_axis(cx, patch, c, rank, rank - 1, columns);
    let scales = match cx.scalar(found["sb"]) {
        Some(_) if cx.rank(found["sb"]) <= Some(1) => found["sb"].into(),
        _ => by_column(&mut patch, found["sb"])?,
    };
    let bias = bias.map_or(Ok(Operand::Absent), |bias| by_column(&mut patch, bias))?;
    let zb: Operand = found.get("zb").into();
    let zero_rank = found.get("zb").map_or(Some(0), |zb| cx.rank(zb));
    must(zero_rank.is_some_and(|rank| rank <= 1), "zero points are no vector")?;
    let (a, s): (Operand, Operand) = (found["a"].into(), found["s"].into());
    let (name, inputs) = if cx.is_read_once(q) {
        ("DynamicQuantizeMatMul", vec![a, b.into(), scales, zb, bias])
    } else {
        let z = ValueId { node: q.node, output: 2 };
        ("MatMulIntegerToFloat", vec![q.into(), b.into(), s, scales, z.into(), zb, bias])
    };
    let made = patch.domain_operators("com.microsoft", name, Default::default(), &inputs, 1);
    Ok(patch.replace(cx.output(found.root()), made[0]))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[2, N, 4] x, int8[4, 3] b, float[3] c) => (float[] y) <float half = {{0.5}}, float[3] sb = {{0.5, 0.25, 0.125}}, \
             uint8 zero = {{0}}, int8[3] zb = {{1, 2, 3}}, float[2, 1, 1] outer = {{1, 2}}> {{ q, s, z = DynamicQuantizeLinear (x) {nodes} }}"
        )
    }

    #[test]
    fn quantized_products_become_one_node() {
        for (rule, nodes, after) in [
            (
                "fuse-dynamic-product",
                "i = MatMulInteger (q, b, z) f = Cast <to = 1> (i) t = Mul (s, half) y = Mul (f, t)",
                "y = com.microsoft.DynamicQuantizeMatMul (x, b, half)",
            ),
            (
                "fuse-dynamic-product-bias",
                "i = MatMulInteger (q, b, z, zb) f = Cast <to = 1> (i) t = Mul (s, sb) u = Mul (f, t) y = Add (c, u)",
                "y = com.microsoft.DynamicQuantizeMatMul (x, b, y_expand, zb, y_expand_1)",
            ),
            (
                "fuse-dynamic-product",
                "i = MatMulInteger (q, b, z, zb) f = Cast <to = 1> (i) t = Mul (s, half) u = Mul (f, t) v = DequantizeLinear (q, s) w = ReduceMax (v) y = Add (u, w)",
                "q, s, z = DynamicQuantizeLinear (x) v = DequantizeLinear (q, s) w = ReduceMax (v) \
                 u = com.microsoft.MatMulIntegerToFloat (q, b, s, half, z, zb) y = Add (u, w)",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).weights(&["b", "c"]).after(after).within(1e-5);
        }
    }

    #[test]
    fn other_scales_stay() {
        let nodes = "i = MatMulInteger (q, b, z) f = Cast <to = 1> (i) t = Mul (s, outer) y = Mul (f, t)";
        Proof::of("fuse-dynamic-product").before(&text(nodes)).weights(&["b"]).does_not_fire("one number a channel");
    }
}
