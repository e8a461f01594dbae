//! y = α · MatMul(β · aᵀ, γ · bᵀ)   ⇒   y = com.microsoft.FusedMatMul(a, b, transA, transB, αβγ)
//!
//! with any of the transposes and factors, at least one, for `float` and `double`.
//!
//! when: the transposes exchange the last two axes alone; factors and divisors are one number and finite; nobody else reads
//! what is taken in.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, ValueId};
use planish_tensor::DType;

/// A product that is multiplied.
pub static SCALED: Rule = Rule::matching(
    "fuse-ort-scaled-matmul",
    "product = MatMul(a, b)
     y = product * $factor | product / $divisor",
    |cx, found| {
        let alpha = match found.get("factor") {
            Some(factor) => number(cx, factor),
            None => number(cx, found["divisor"]).filter(|n| *n != 0.0).map(f64::recip),
        };
        must(cx.same_type(found["product"], cx.output(found.root())), "the factor changes the shape")?;
        rewrite(cx, found, alpha.ok_or("the product is not multiplied by one number")?)
    },
);

/// A product of transposes or multiples.
pub static PLAIN: Rule = Rule::matching("fuse-ort-matmul", "y = MatMul(a, b)", |cx, found| rewrite(cx, found, 1.0));

/// Nodes that are looked through above an operand.
const MAX_STEPS_UP: usize = 4;

fn rewrite(cx: &Cx<'_>, found: &Match<'_>, mut alpha: f64) -> Outcome {
    let y = cx.output(found.root());
    must(matches!(cx.dtype(y), Some(DType::F32 | DType::F64)), "it is of another dtype")?;
    let is_scaled = found.get("product").is_some();
    let (a, is_a_transposed) = bare(cx, found["a"], &mut alpha);
    let (b, is_b_transposed) = bare(cx, found["b"], &mut alpha);
    must(is_scaled || a != found["a"] || b != found["b"], No::SILENT)?;
    must((alpha as f32).is_finite() && (alpha as f32).is_normal(), "the factor is not a number that `float` has")?;
    let attributes = [("transA", is_a_transposed), ("transB", is_b_transposed)]
        .into_iter()
        .filter(|(_, is_there)| *is_there)
        .fold(Attributes::new(), |all, (name, _)| all.with(name, 1i64));
    let attributes = if alpha == 1.0 { attributes } else { attributes.with("alpha", alpha as f32) };
    let mut patch = Patch::new();
    let made = patch.domain_operators("com.microsoft", "FusedMatMul", attributes, &[a.into(), b.into()], 1);
    Ok(patch.replace(y, made[0]))
}

/// What an operand is before transposes and factors, and whether it is transposed.
fn bare(cx: &Cx<'_>, operand: ValueId, alpha: &mut f64) -> (ValueId, bool) {
    let (mut value, mut is_transposed) = (operand, false);
    for _ in 0..MAX_STEPS_UP {
        let Some((inner, step)) = inner(cx, value) else { break };
        match step {
            Step::Transpose => is_transposed = !is_transposed,
            Step::Factor(factor) => *alpha *= factor,
        }
        value = inner;
    }
    (value, is_transposed)
}

enum Step {
    Transpose,
    Factor(f64),
}

/// The input of a node that only this value needs, and what the node does to it.
fn inner(cx: &Cx<'_>, value: ValueId) -> Option<(ValueId, Step)> {
    let node = value.node;
    let operator = cx.operator(node).filter(|o| o.domain.is_empty() && cx.is_read_once(value))?;
    let first = cx.input(node, 0)?;
    match operator.name.as_str() {
        "Transpose" => {
            let perm = cx.int_list(node, "perm")?;
            let mut order: Vec<i64> = (0..).take(perm.len()).collect();
            let last = perm.len().checked_sub(2)?;
            order.swap(last, last + 1);
            (perm == order).then_some((first, Step::Transpose))
        }
        "Div" => {
            let divisor = number(cx, cx.input(node, 1)?).filter(|n| *n != 0.0)?;
            cx.same_type(first, value).then_some((first, Step::Factor(divisor.recip())))
        }
        "Mul" => {
            let second = cx.input(node, 1)?;
            let (x, factor) = match (number(cx, first), number(cx, second)) {
                (_, Some(factor)) => (first, factor),
                (Some(factor), _) => (second, factor),
                _ => return None,
            };
            cx.same_type(x, value).then_some((x, Step::Factor(factor)))
        }
        _ => None,
    }
}

fn number(cx: &Cx<'_>, value: ValueId) -> Option<f64> {
    cx.scalar(value).filter(|n| n.is_finite())
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 3, S, 4] a, float[N, 3, 5, 4] b, float[N, S, 3, 4] c, int32[2, 3] i, float[1, 1, 1, 1, 1] five, float[6, 4] w, float[4, 6] v) => (float[] y) \
             <float half = {{0.5}}, float[1, 1, 1, 1, 1] long = {{2}}, int32 two = {{2}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn transposes_and_factors_go_inside() {
        for (rule, nodes, after) in [
            (
                "fuse-ort-matmul",
                "t = Transpose <perm = [0, 1, 3, 2]> (b) y = MatMul (a, t)",
                "y = com.microsoft.FusedMatMul (a, b) <transB: int = 1>",
            ),
            (
                "fuse-ort-matmul",
                "t = Transpose <perm = [1, 0]> (w) y = MatMul (a, t)",
                "y = com.microsoft.FusedMatMul (a, w) <transB: int = 1>",
            ),
            (
                "fuse-ort-matmul",
                "s = Div (a, half) t = Transpose <perm = [0, 1, 3, 2]> (b) u = Mul (half, t) m = MatMul (s, u) y = Transpose (m)",
                "m = com.microsoft.FusedMatMul (a, b) <transB: int = 1> y = Transpose (m)",
            ),
            (
                "fuse-ort-matmul",
                "s = Transpose <perm = [0, 1, 3, 2]> (a) y = MatMul (s, a)",
                "y = com.microsoft.FusedMatMul (a, a) <transA: int = 1>",
            ),
            (
                "fuse-ort-scaled-matmul",
                "t = Transpose <perm = [0, 1, 3, 2]> (b) m = MatMul (a, t) y = Mul (half, m)",
                "y = com.microsoft.FusedMatMul (a, b) <alpha: float = 0.5, transB: int = 1>",
            ),
            (
                "fuse-ort-scaled-matmul",
                "t = Transpose <perm = [0, 1, 3, 2]> (b) m = MatMul (a, t) y = Div (m, half)",
                "y = com.microsoft.FusedMatMul (a, b) <alpha: float = 2.0, transB: int = 1>",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).after(after).within(1e-5);
        }
    }

    #[test]
    fn other_orders_readers_and_dtypes_stay() {
        for (rule, nodes, reason) in [
            ("fuse-ort-matmul", "t = Transpose <perm = [0, 2, 3, 1]> (c) y = MatMul (a, t)", ""),
            (
                "fuse-ort-matmul",
                "t = Transpose <perm = [1, 0]> (w) m = MatMul (a, t) n = Neg (t) k = MatMul (a, n) y = Add (m, k)",
                "",
            ),
            ("fuse-ort-matmul", "m = Mul (a, long) y = MatMul (m, v)", ""),
            ("fuse-ort-matmul", "t = Transpose (i) y = MatMul (i, t)", "another dtype"),
            (
                "fuse-ort-scaled-matmul",
                "t = Transpose <perm = [1, 0]> (w) m = MatMul (a, t) y = Mul (m, long)",
                "changes the shape",
            ),
            (
                "fuse-ort-scaled-matmul",
                "t = Transpose <perm = [1, 0]> (w) m = MatMul (a, t) y = Mul (m, five)",
                "expected a constant",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).does_not_fire(reason);
        }
    }
}
