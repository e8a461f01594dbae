//! y = Gelu(x + b)   ⇒   y = com.microsoft.BiasGelu(x, b), or FastGelu for the form of tanh
//! y = Swish(x)   ⇒   y = com.microsoft.QuickGelu(x), which ONNX Runtime has a kernel for
//!
//! when: everything is `float`; b is a constant vector over the last axis.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, Dim};
use planish_tensor::DType;

/// Makes Gelu add its bias.
pub static BIAS: Rule = Rule::matching("fuse-ort-bias-gelu", "sum = x + $bias\n y = Gelu(sum)", |cx, found| {
    let (x, bias, sum) = (found["x"], found["bias"], found["sum"]);
    must(cx.dtype(sum) == Some(DType::F32) && cx.same_type(x, sum), "the sum is not a float of the shape of x")?;
    let last = cx.shape(x).and_then(|s| s.last()).and_then(Dim::as_known);
    must(cx.known_shape(bias) == last.map(|last| vec![last]), "the bias is no vector over the last axis")?;
    let attributes = cx.attributes(found.root())?;
    let name = if attributes.opt_string("approximate") == Some("tanh") { "FastGelu" } else { "BiasGelu" };
    let mut patch = Patch::new();
    let y = patch.domain_operators("com.microsoft", name, Attributes::new(), &[x.into(), bias.into()], 1)[0];
    Ok(patch.replace(cx.output(found.root()), y))
});

/// Makes Swish an operator that ONNX Runtime has.
pub static QUICK: Rule = Rule::on("make-ort-quick-gelu", &["Swish"], quick);

fn quick(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let root = found.root();
    let x = cx.input(root, 0).ok_or(No::SILENT)?;
    must(cx.dtype(x) == Some(DType::F32), "it is not of float")?;
    let alpha = cx.float(root, "alpha").ok_or(No::SILENT)?;
    let mut patch = Patch::new();
    let attributes = Attributes::new().with("alpha", alpha);
    let y = patch.domain_operators("com.microsoft", "QuickGelu", attributes, &[x.into()], 1)[0];
    Ok(patch.replace(cx.output(root), y))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, S, 4] x, float16[N, 4] h) => (float[] y) <float[4] b = {{1, 2, 3, 4}}, float[1] one = {{1}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn gelu_adds_its_bias() {
        Proof::of("fuse-ort-bias-gelu")
            .before(&text("s = Add (b, x) y = Gelu (s)"))
            .after("y = com.microsoft.BiasGelu (x, b)")
            .within(1e-6);
        Proof::of("fuse-ort-bias-gelu")
            .before(&text("s = Add (x, b) y = Gelu <approximate: string = \"tanh\"> (s)"))
            .after("y = com.microsoft.FastGelu (x, b)")
            .within(1e-6);
        Proof::of("fuse-ort-bias-gelu").before(&text("s = Add (x, one) y = Gelu (s)")).does_not_fire("vector");
    }

    #[test]
    fn swish_is_a_quick_gelu() {
        Proof::of("make-ort-quick-gelu")
            .before(&text("y = Swish <alpha: float = 1.5> (x)"))
            .after("y = com.microsoft.QuickGelu (x) <alpha: float = 1.5>")
            .within(1e-6);
        Proof::of("make-ort-quick-gelu")
            .before(&text("s = Swish (h) y = Cast <to: int = 1> (s)"))
            .does_not_fire("float");
    }
}
