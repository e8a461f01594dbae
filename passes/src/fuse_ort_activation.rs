//! y = f(Conv(x, w, b) + z)   ⇒   y = com.microsoft.FusedConv(x, w, b, z)
//! y = f(Gemm(a, b, c))   ⇒   y = com.microsoft.FusedGemm(a, b, c)
//!
//! with or without z, for an activation f that ONNX Runtime's kernels know, or none behind a z.
//!
//! Of two convolutions the first one that is added takes the other in, which is how the importer opens the result again.
//!
//! when: everything is `float`; z has the shape of the convolution's result; bounds of a Clip are numbers.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attribute, Attributes, NodeId};
use planish_tensor::DType;

/// Makes a convolution add and activate.
pub static CONV: Rule = Rule::matching(
    "fuse-ort-conv-activation",
    "conv = Conv(x, w, b?)
     u = z + conv | conv
     y = Relu(u) | Sigmoid(u) | Tanh(u) | LeakyRelu(u) | HardSigmoid(u) | Clip(u, ...)",
    |cx, found| {
        let (name, params) = activation(cx, found.root())?;
        let extra = Attributes::new().with("activation", name).with("activation_params", Attribute::Floats(params));
        conv(cx, found, &extra)
    },
);

/// Makes a convolution add.
pub static SUM: Rule = Rule::matching("fuse-ort-conv-sum", "conv = Conv(x, w, b?)\n y = z + conv", |cx, found| {
    conv(cx, found, &Attributes::new())
});

/// Makes a product of matrices activate.
pub static GEMM: Rule = Rule::matching(
    "fuse-ort-gemm-activation",
    "gemm = Gemm(a, b, c?)
     y = Relu(gemm) | Sigmoid(gemm) | Tanh(gemm) | LeakyRelu(gemm) | HardSigmoid(gemm)",
    |cx, found| {
        must(cx.dtype(found["gemm"]) == Some(DType::F32), "it is not of float")?;
        let (name, params) = activation(cx, found.root())?;
        let mut extra = Attributes::new().with("activation", name);
        for (name, value) in ["activation_alpha", "activation_beta"].into_iter().zip(params) {
            extra.set(name, value);
        }
        let inputs = [found["a"].into(), found["b"].into(), found.get("c").into()];
        Ok(fused(cx, found, "FusedGemm", found.node("gemm"), &extra, &inputs))
    },
);

fn conv(cx: &Cx<'_>, found: &Match<'_>, extra: &Attributes) -> Outcome {
    must(cx.dtype(found["conv"]) == Some(DType::F32), "it is not of float")?;
    let z = found.get("z");
    must(z.is_none_or(|z| cx.same_type(z, found["conv"])), "what is added may have another shape")?;
    let inputs = [found["x"].into(), found["w"].into(), found.get("b").into(), z.into()];
    Ok(fused(cx, found, "FusedConv", found.node("conv"), extra, &inputs))
}

fn fused(cx: &Cx<'_>, found: &Match<'_>, name: &str, node: NodeId, extra: &Attributes, inputs: &[Operand]) -> Patch {
    let mut attributes = cx.operator(node).map_or_else(Attributes::new, |o| o.attributes.clone());
    for (name, value) in extra.iter() {
        attributes.set(name, value.clone());
    }
    let mut patch = Patch::new();
    let y = patch.domain_operators("com.microsoft", name, attributes, inputs, 1)[0];
    patch.replace(cx.output(found.root()), y)
}

/// The name of an activation and its numbers, in the order in which ONNX Runtime takes them.
fn activation<'a>(cx: &Cx<'a>, id: NodeId) -> Result<(&'a str, Vec<f32>), No> {
    let name = cx.operator(id).ok_or(No::SILENT)?.name.as_str();
    let number = |name| cx.float(id, name).ok_or(No::SILENT);
    let bound = |index, none: f32| match cx.input(id, index) {
        None => Ok(none),
        Some(v) => cx.scalar(v).map(|v| v as f32).ok_or_else(|| No::from("a bound is not a number")),
    };
    let params = match name {
        "LeakyRelu" => vec![number("alpha")?],
        "HardSigmoid" => vec![number("alpha")?, number("beta")?],
        "Clip" => vec![bound(1, f32::MIN)?, bound(2, f32::MAX)?],
        _ => Vec::new(),
    };
    Ok((name, params))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 4, 5, 5] x, float[N, 6, 3, 3] z, float[1, 6, 1, 1] row, float[N, 4] a, float[6, 4, 3, 3] w, float[6] b, float[4, 6] m) \
             => (float[] y) <float zero = {{0}}, float six = {{6}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn convolutions_and_products_take_activations() {
        for (rule, nodes, after) in [
            (
                "fuse-ort-conv-activation",
                "u = Conv (x, w, b) y = Relu (u)",
                "y = com.microsoft.FusedConv (x, w, b) <activation: string = \"Relu\", activation_params: floats = []>",
            ),
            (
                "fuse-ort-conv-activation",
                "u = Conv <strides = [1, 1]> (x, w) v = Add (z, u) y = Clip (v, zero, six)",
                "y = com.microsoft.FusedConv (x, w, \"\", z) <activation: string = \"Clip\", activation_params: floats = [0.0, 6.0], strides: ints = [1, 1]>",
            ),
            (
                "fuse-ort-conv-activation",
                "u = Conv (x, w, b) y = HardSigmoid <alpha = 0.25> (u)",
                "y = com.microsoft.FusedConv (x, w, b) <activation: string = \"HardSigmoid\", activation_params: floats = [0.25, 0.5]>",
            ),
            ("fuse-ort-conv-sum", "u = Conv (x, w, b) y = Add (u, z)", "y = com.microsoft.FusedConv (x, w, b, z)"),
            (
                "fuse-ort-gemm-activation",
                "u = Gemm <alpha = 2.0> (a, m, b) y = LeakyRelu (u)",
                "y = com.microsoft.FusedGemm (a, m, b) <activation: string = \"LeakyRelu\", activation_alpha: float = 0.01, alpha: float = 2.0>",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).weights(&["w", "b", "m"]).after(after).within(1e-5);
        }
    }

    #[test]
    fn other_addends_bounds_and_functions_stay() {
        for (rule, nodes, reason) in [
            ("fuse-ort-conv-sum", "u = Conv (x, w, b) y = Add (u, row)", "another shape"),
            ("fuse-ort-conv-activation", "r = ReduceMax (x) u = Conv (x, w, b) y = Clip (u, zero, r)", "bound"),
            ("fuse-ort-conv-activation", "u = Conv (x, w, b) y = Softplus (u)", ""),
            ("fuse-ort-gemm-activation", "u = Gemm (a, m) v = Relu (u) y = Add (u, v)", "read by"),
        ] {
            Proof::of(rule).before(&text(nodes)).weights(&["w", "b", "m"]).does_not_fire(reason);
        }
        let wide = "g (double[2, 3] a, double[3, 4] b) => (double[] y) { u = Gemm (a, b) y = Relu (u) }";
        Proof::of("fuse-ort-gemm-activation").before(wide).does_not_fire("not of float");
    }
}
