//! y = Cast(w) to float   ⇒   y is a constant
//!
//! when: w is a constant of 16 bits. Files keep weights that short; a session reads them over and over, and a product packs
//! nothing but constants.

use crate::patch::Patch;
use crate::rule::{No, Rule, must};
use planish_tensor::{DType, Tensor, bf16, f16};

/// Makes floats of weights of 16 bits once.
pub static RULE: Rule = Rule::on("widen-weights", &["Cast"], |cx, found| {
    let cast = found.root();
    let w = cx.input(cast, 0).and_then(|w| cx.constant(w)).ok_or(No::SILENT)?;
    must(cx.dtype(cx.output(cast)) == Some(DType::F32), No::SILENT)?;
    let wide = widened(w).ok_or(No::SILENT)?;
    let mut patch = Patch::new();
    let constant = patch.constant(wide);
    Ok(patch.replace(cx.output(cast), constant))
});

fn widened(w: &Tensor) -> Option<Tensor> {
    let wide: Vec<f32> = match w.dtype() {
        DType::F16 => w.as_slice::<f16>().ok()?.iter().map(|w| w.to_f32()).collect(),
        DType::BF16 => w.as_slice::<bf16>().ok()?.iter().map(|w| w.to_f32()).collect(),
        _ => return None,
    };
    Tensor::new(w.shape().clone(), &wide).ok()
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!("g (float[N, 4] x, float16[4, 3] w, int32[4, 3] i) => (float[] y) {{ {nodes} }}")
    }

    #[test]
    fn short_weights_become_floats_once() {
        Proof::of("widen-weights")
            .before(&text("f = Cast <to = 1> (w) y = MatMul (x, f)"))
            .weights(&["w", "i"])
            .after("y = MatMul (x, f)")
            .exact();
    }

    #[test]
    fn other_casts_stay() {
        for nodes in [
            "f = Cast <to = 1> (i) y = MatMul (x, f)",
            "h = Cast <to = 10> (x) g = MatMul (h, w) y = Cast <to = 1> (g)",
        ] {
            Proof::of("widen-weights").before(&text(nodes)).weights(&["w", "i"]).does_not_fire("");
        }
    }
}
