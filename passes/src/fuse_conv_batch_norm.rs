//! y = BatchNormalization(Conv(x, w, b), γ, β, μ, σ²)   ⇒   y = Conv(x, w·f, (b − μ)·f + β),   f = γ / √(σ² + ε)
//!
//! when: weights and statistics are constant; the convolution's result has no other reader. The same for ConvTranspose,
//! whose weight has output channels on its second axis, group by group.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, ValueId};
use planish_tensor::{DType, Tensor, bf16, f16};

/// Folds the statistics into the convolution's weights.
pub static RULE: Rule = Rule::matching(
    "fuse-conv-batch-norm",
    "conv = Conv(x, $w, $b?) | ConvTranspose(x, $w, $b?)
     y = BatchNormalization(conv, $scale, $bias, $mean, $variance)",
    rewrite,
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (norm, conv) = (found.root(), found.node("conv"));
    must(cx.int(norm, "training_mode") == Some(0), "it trains")?;
    let w = found["w"];
    let dims = cx.known_shape(w).ok_or(No::SILENT)?;
    let dtype = cx.dtype(w).ok_or(No::SILENT)?;
    let epsilon = cx.float(norm, "epsilon").ok_or(No::SILENT)?;
    let mut patch = Patch::new();
    let epsilon = patch.constant(scalar(dtype, epsilon)?);
    let factor = factor(&mut patch, found, epsilon);
    let is_transposed = cx.operator(conv).is_some_and(|o| o.is("ConvTranspose"));
    let groups = cx.int(conv, "group").ok_or(No::SILENT)?;
    let weight = match is_transposed {
        false => {
            let mut shape = vec![1; dims.len()];
            shape[0] = -1;
            scaled(&mut patch, w, factor, &shape)
        }
        true => scaled_by_group(&mut patch, w, factor, groups, &dims)?,
    };
    let centred = match found.get("b") {
        Some(b) => patch.operator("Sub", Attributes::new(), &[b.into(), found["mean"].into()]),
        None => patch.operator("Neg", Attributes::new(), &[found["mean"].into()]),
    };
    let shift = patch.operator("Mul", Attributes::new(), &[centred, factor]);
    let bias = patch.operator("Add", Attributes::new(), &[shift, found["bias"].into()]);
    let operator = cx.operator(conv).ok_or(No::SILENT)?;
    let y = patch.operator(&operator.name, operator.attributes.clone(), &[found["x"].into(), weight, bias]);
    Ok(patch.replace(cx.output(norm), y))
}

/// f = γ / √(σ² + ε), a vector over output channels.
fn factor(patch: &mut Patch, found: &Match<'_>, epsilon: Operand) -> Operand {
    let shifted = patch.operator("Add", Attributes::new(), &[found["variance"].into(), epsilon]);
    let deviation = patch.operator("Sqrt", Attributes::new(), &[shifted]);
    patch.operator("Div", Attributes::new(), &[found["scale"].into(), deviation])
}

/// w · f with f reshaped.
fn scaled(patch: &mut Patch, w: impl Into<Operand>, factor: Operand, shape: &[i64]) -> Operand {
    let shape = patch.ints(shape);
    let factor = patch.operator("Reshape", Attributes::new(), &[factor, shape]);
    patch.operator("Mul", Attributes::new(), &[w.into(), factor])
}

/// w · f where w is [input channels, output channels of a group, …] and input channels lie group by group.
fn scaled_by_group(patch: &mut Patch, w: ValueId, factor: Operand, groups: i64, dims: &[i64]) -> Result<Operand, No> {
    let &[inputs, outputs, ..] = dims else { return Err(No::SILENT) };
    must(groups > 0 && inputs % groups == 0, No::SILENT)?;
    let mut grouped = vec![groups, inputs / groups, outputs];
    grouped.extend(&dims[2..]);
    let mut shape = vec![1; grouped.len()];
    (shape[0], shape[2]) = (groups, outputs);
    let (grouped, whole) = (patch.ints(&grouped), patch.ints(dims));
    let by_group = patch.operator("Reshape", Attributes::new(), &[w.into(), grouped]);
    let product = scaled(patch, by_group, factor, &shape);
    Ok(patch.operator("Reshape", Attributes::new(), &[product, whole]))
}

/// A rank-0 tensor of this dtype.
fn scalar(dtype: DType, value: f32) -> Result<Tensor, No> {
    Ok(match dtype {
        DType::F32 => Tensor::scalar(value),
        DType::F64 => Tensor::scalar(f64::from(value)),
        DType::F16 => Tensor::scalar(f16::from_f32(value)),
        DType::BF16 => Tensor::scalar(bf16::from_f32(value)),
        _ => return Err("the weights are no floats".into()),
    })
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(conv: &str, w: &str, channels: usize) -> String {
        format!(
            "g (float[N, 4, 5, 5] x, float[{w}] w, float[{channels}] b, float[{channels}] s, float[{channels}] t, float[{channels}] m, float[{channels}] r) \
             => (float[] y) {{ v = Mul (r, r) c = {conv} y = BatchNormalization (c, s, t, m, v) }}"
        )
    }

    #[test]
    fn the_norm_is_folded_into_weights() {
        for (conv, w, channels, after) in [
            ("Conv (x, w, b)", "6, 4, 3, 3", 6, "y = Conv (x, y_mul, y_add_1)"),
            ("Conv (x, w)", "6, 4, 3, 3", 6, "y = Conv (x, y_mul, y_add_1)"),
            ("Conv (x, w, b) <group: int = 4>", "4, 1, 3, 3", 4, "y = Conv (x, y_mul, y_add_1) <group: int = 4>"),
            ("ConvTranspose (x, w, b)", "4, 6, 2, 2", 6, "y = ConvTranspose (x, y_reshape_2, y_add_1)"),
            (
                "ConvTranspose (x, w, b) <group: int = 2>",
                "4, 3, 2, 2",
                6,
                "y = ConvTranspose (x, y_reshape_2, y_add_1) <group: int = 2>",
            ),
        ] {
            Proof::of_all(&["fold-constants", "fuse-conv-batch-norm"])
                .before(&text(conv, w, channels))
                .weights(&["w", "b", "s", "t", "m", "r"])
                .after(after)
                .within(1e-4);
        }
    }

    #[test]
    fn training_and_other_readers_keep_the_norm() {
        let one = "g (float[N, 1, 3] x, float[1, 1, 1] w, float[1] s) => (float[] y) ";
        for (nodes, reason) in [
            ("{ c = Conv (x, w) z = BatchNormalization (c, s, s, s, s) y = Add (z, c) }", "read by"),
            ("{ c = Conv (x, w) y, a, b = BatchNormalization (c, s, s, s, s) <training_mode: int = 1> }", "trains"),
        ] {
            Proof::of("fuse-conv-batch-norm")
                .before(&format!("{one}{nodes}"))
                .weights(&["w", "s"])
                .does_not_fire(reason);
        }
    }
}
