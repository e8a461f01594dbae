//! y = MatMul(a, ConstantOfShape\[k, n\](v))         ⇒   y = Expand(ReduceSum(a · v), \[1, n\])
//! y = Gemm(a, ConstantOfShape\[k, n\](v), c)        ⇒   y = Expand(ReduceSum(a · αv), \[1, n\]) + βc
//!
//! when: all is `float`; the matrix has a known shape, and a fits it; `Gemm` does not transpose a. A product with ones is
//! how exporters write a sum; a matrix of equal weights can be larger than all else that a model takes.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, Dim, ValueId};
use planish_tensor::Tensor;

/// Takes products with matrices of one value as sums.
pub static RULE: Rule = Rule::on("sum-equal-weights", &["MatMul", "Gemm"], rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let product = found.root();
    let (Some(a), Some(w)) = (cx.input(product, 0), cx.input(product, 1)) else { return Err(No::SILENT) };
    let weight = equal_weight(cx, w).ok_or(No::SILENT)?;
    let y = cx.output(product);
    let shape = cx.known_shape(w).filter(|shape| shape.len() == 2).ok_or("its weights are no matrix of known shape")?;
    let is_gemm = cx.operator(product).is_some_and(|o| o.is("Gemm"));
    let factor = |name: &str| if is_gemm { cx.float(product, name).unwrap_or(1.0) } else { 1.0 };
    let is_transposed = |name: &str| is_gemm && cx.int(product, name) != Some(0);
    must(!is_transposed("transA"), "it transposes its input")?;
    let (depth, columns) = if is_transposed("transB") { (shape[1], shape[0]) } else { (shape[0], shape[1]) };
    let rows = cx.shape(a).filter(|shape| shape.len() >= 2).ok_or("what it multiplies is no matrix")?;
    must(rows.last().and_then(Dim::as_known) == Some(depth), "what it multiplies has rows of another length")?;
    let mut patch = Patch::new();
    let weight = patch.constant(Tensor::scalar(factor("alpha") * weight));
    let terms = patch.operator("Mul", Attributes::new(), &[a.into(), weight]);
    let axis = patch.ints(&[-1]);
    let sums = patch.operator("ReduceSum", Attributes::new(), &[terms, axis]);
    let shape = patch.ints(&[1, columns]);
    let mut sums = patch.operator("Expand", Attributes::new(), &[sums, shape]);
    if let Some(c) = cx.input(product, 2) {
        let mut bias = c.into();
        if factor("beta") != 1.0 {
            let beta = patch.constant(Tensor::scalar(factor("beta")));
            bias = patch.operator("Mul", Attributes::new(), &[bias, beta]);
        }
        sums = patch.operator("Add", Attributes::new(), &[sums, bias]);
    }
    Ok(patch.replace(y, sums))
}

/// What every element of a value is, where `ConstantOfShape` makes it.
fn equal_weight(cx: &Cx<'_>, weights: ValueId) -> Option<f32> {
    cx.operator(weights.node).filter(|o| o.is("ConstantOfShape"))?;
    match cx.attributes(weights.node).ok()?.opt_tensor("value") {
        Some(value) => value.as_slice::<f32>().ok()?.first().copied(),
        None => Some(0.0),
    }
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(w: &str, product: &str) -> String {
        format!(
            "g (float[N, 4] a, float[N, 2, 4] three, float[4, N] u, float[4] line, float[N, M] any, double[N, 4] d, float[3] c, int64[2] some) \
             => (float[] y) <int64[2] k = {{4, 3}}, int64[2] t = {{3, 4}}> {{ w = ConstantOfShape {w} {product} }}"
        )
    }

    #[test]
    fn products_with_equal_weights_are_sums() {
        let half = |shape: &str| format!("<value: tensor = float[1] {{0.5}}> ({shape})");
        let sum = |x: &str| format!("y_mul = Mul ({x}, y_constant) y_reducesum = ReduceSum (y_mul, y_constant_1)");
        for (w, product, x, after) in [
            ("k", "MatMul (three, w)", "three", "y = Expand (y_reducesum, y_constant_2)"),
            ("k", "Gemm (a, w, c)", "a", "y_expand = Expand (y_reducesum, y_constant_2) y = Add (y_expand, c)"),
            (
                "t",
                "Gemm <transB = 1, alpha = 2.0, beta = 3.0> (a, w, c)",
                "a",
                "y_expand = Expand (y_reducesum, y_constant_2) y_mul_1 = Mul (c, y_constant_3) y = Add (y_expand, y_mul_1)",
            ),
        ] {
            Proof::of("sum-equal-weights")
                .before(&text(&half(w), &format!("y = {product}")))
                .after(&format!("{} {after}", sum(x)))
                .within(1e-6);
        }
    }

    #[test]
    fn other_products_stay() {
        for (w, product, reason) in [
            ("(some)", "y = MatMul (a, w)", "known shape"),
            ("(k)", "y = MatMul (line, w)", "no matrix"),
            ("(k)", "y = MatMul (any, w)", "another length"),
            ("(k)", "y = Gemm <transA = 1> (u, w)", "transposes"),
            ("<value: tensor = double[1] {1.0}> (k)", "v = MatMul (d, w) y = Cast <to = 1> (v)", ""),
            ("(k)", "v = Relu (w) y = MatMul (a, v)", ""),
        ] {
            Proof::of("sum-equal-weights").before(&text(w, product)).does_not_fire(reason);
        }
    }
}
