//! y = f(Gemm(a, w, c))   ⇒   y = f(MatMul(a, w) + c), so that an epilogue can take all of it
//!
//! when: all is `float`; w is constant; nothing is scaled, a is not transposed; f is a sum or a function of single
//! elements that has a kernel, and the only reader.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attribute, Attributes};
use planish_ops::planish::{ScalarFunction, scalar_function};
use planish_tensor::DType;

/// Takes a `Gemm` apart where something follows it.
pub static RULE: Rule = Rule::on("open-gemm", &["Gemm"], rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let gemm = found.root();
    let value = cx.output(gemm);
    let reader = cx.graph.readers(value).next().filter(|_| cx.is_read_once(value)).ok_or(No::SILENT)?;
    let is_sum = cx.operator(reader.node).is_some_and(|o| o.is("Add"));
    let is_function = matches!(scalar_function(cx.graph, reader.node), Some(ScalarFunction::Unary(_)));
    must(cx.dtype(value) == Some(DType::F32) && (is_sum || is_function), No::SILENT)?;
    let (Some(a), Some(w)) = (cx.input(gemm, 0), cx.input(gemm, 1)) else { return Err(No::SILENT) };
    must(cx.constant(w).is_some(), "its weights are not constant")?;
    must(cx.float(gemm, "alpha") == Some(1.0) && cx.float(gemm, "beta") == Some(1.0), "it scales")?;
    must(cx.int(gemm, "transA") == Some(0), "it transposes its input")?;
    let mut patch = Patch::new();
    let w = match cx.int(gemm, "transB") {
        Some(0) => w.into(),
        _ => patch.operator("Transpose", Attributes::new().with("perm", Attribute::Ints(vec![1, 0])), &[w.into()]),
    };
    let product = patch.operator("MatMul", Attributes::new(), &[a.into(), w]);
    let y = match cx.input(gemm, 2) {
        Some(c) => patch.operator("Add", Attributes::new(), &[product, c.into()]),
        None => product,
    };
    Ok(patch.replace(value, y))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 4] a, float[4, N] u, float[4, 3] w, float[3, 4] t, float[3] c) => (float[] y) {{ {nodes} }}"
        )
    }

    #[test]
    fn a_product_that_something_follows_is_taken_apart() {
        for (nodes, after) in [
            ("v = Gemm (a, w, c) y = Relu (v)", "v_matmul = MatMul (a, w) v = Add (v_matmul, c) y = Relu (v)"),
            ("v = Gemm <transB = 1> (a, t) y = Tanh (v)", "v = MatMul (a, v_transpose) y = Tanh (v)"),
        ] {
            Proof::of("open-gemm").before(&text(nodes)).weights(&["w", "t", "c"]).after(after).within(1e-6);
        }
    }

    #[test]
    fn other_products_stay() {
        for (nodes, reason) in [
            ("v = Gemm (a, w, c) y = Softmax (v)", ""),
            ("v = Gemm <alpha = 0.5> (a, w, c) y = Relu (v)", "scales"),
            ("v = Gemm <transA = 1> (u, w, c) y = Relu (v)", "transposes"),
        ] {
            Proof::of("open-gemm").before(&text(nodes)).weights(&["w", "t", "c"]).does_not_fire(reason);
        }
    }
}
