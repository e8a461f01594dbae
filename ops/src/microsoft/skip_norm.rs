//! `SkipLayerNormalization`: LayerNormalization(input + skip + bias) over the last axis, and the sum itself;
//! `SkipSimplifiedLayerNormalization`: the same with RMSNormalization and without beta.
//!
//! The importer opens both into standard operators. They stand in graphs that were rewritten for ONNX Runtime.

use super::DOMAIN;
use super::fused::{first, standard};
use crate::Define;
use planish_ir::{
    AttributeError, Attributes, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, float, opt,
};
use std::sync::Arc;

/// `SkipLayerNormalization`.
#[derive(Debug)]
pub struct SkipLayerNormalization(Skip);

/// `SkipSimplifiedLayerNormalization`.
#[derive(Debug)]
pub struct SkipSimplifiedLayerNormalization(Skip);

/// What both are made of.
#[derive(Debug)]
struct Skip {
    sum: Arc<dyn Op>,
    norm: Arc<dyn Op>,
    /// Which input is beta, if any can be.
    beta: Option<usize>,
    /// Which input is the bias.
    bias: usize,
}

/// Which output is the sum.
const SUM: usize = 3;

impl Define for SkipLayerNormalization {
    const SCHEMA: Schema = Schema::new("SkipLayerNormalization", 1)
        .domain(DOMAIN)
        .inputs(&[
            arg("input", FLOATS).var("T"),
            arg("skip", FLOATS).var("T"),
            arg("gamma", FLOATS).var("T"),
            opt("beta", FLOATS).var("T"),
            opt("bias", FLOATS).var("T"),
        ])
        .outputs(&[
            arg("output", FLOATS).var("T"),
            opt("mean", FLOATS),
            opt("inv_std_var", FLOATS),
            opt("input_skip_bias_sum", FLOATS).var("T"),
        ])
        .attributes(&[float("epsilon", 1e-12)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SkipLayerNormalization(Skip::parse(node, "LayerNormalization", Some(3), 4)?))
    }
}

impl Define for SkipSimplifiedLayerNormalization {
    const SCHEMA: Schema = Schema::new("SkipSimplifiedLayerNormalization", 1)
        .domain(DOMAIN)
        .inputs(&[
            arg("input", FLOATS).var("T"),
            arg("skip", FLOATS).var("T"),
            arg("gamma", FLOATS).var("T"),
            opt("bias", FLOATS).var("T"),
        ])
        .outputs(&[
            arg("output", FLOATS).var("T"),
            opt("mean", FLOATS),
            opt("inv_std_var", FLOATS),
            opt("input_skip_bias_sum", FLOATS).var("T"),
        ])
        .attributes(&[float("epsilon", 1e-12)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SkipSimplifiedLayerNormalization(Skip::parse(node, "RMSNormalization", None, 3)?))
    }
}

impl Op for SkipLayerNormalization {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.0.infer(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        self.0.eval(cx, inputs)
    }
}

impl Op for SkipSimplifiedLayerNormalization {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.0.infer(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        self.0.eval(cx, inputs)
    }
}

impl Skip {
    fn parse(node: &NodeView<'_>, norm: &str, beta: Option<usize>, bias: usize) -> Result<Skip, AttributeError> {
        let attributes = Attributes::new().with("epsilon", node.float("epsilon")?);
        let num_inputs = 2 + usize::from(beta.is_some());
        let norm = standard(norm, attributes, num_inputs)?;
        Ok(Skip { sum: standard("Add", Attributes::new(), 2)?, norm, beta, bias })
    }

    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let two = [x.get(0), x.get(1)];
        let sum = self.sum.infer(&Facts::new(&two, 1))?.into_iter().next().unwrap_or_default();
        Ok(vec![sum.clone(), Fact::unknown(), Fact::unknown(), sum])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        if cx.wants(1) || cx.wants(2) {
            return Err(OpError::unsupported("statistics as outputs"));
        }
        let mut values = inputs.into_values();
        let mut take = |index: usize| values.get_mut(index).and_then(Option::take);
        let (input, skip, gamma) = (take(0), take(1), take(2));
        let (beta, bias) = (self.beta.and_then(&mut take), take(self.bias));
        let mut sum = first(self.sum.eval(cx, Inputs::new([input, skip]))?);
        if bias.is_some() {
            sum = first(self.sum.eval(cx, Inputs::new([sum, bias]))?);
        }
        let kept = if cx.wants(SUM) { sum.clone() } else { None };
        let y = first(self.norm.eval(cx, Inputs::new([sum, gamma].into_iter().chain(self.beta.map(|_| beta))))?);
        Ok(Outputs::new([y, None, None, kept]))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use planish_ir::Attributes;
    use planish_tensor::Tensor;

    #[test]
    fn the_sum_is_normalized_and_given_out() {
        let (a, b) = (tensor(&[1, 1, 2], &[1f32, 2.0]), tensor(&[1, 1, 2], &[2f32, 3.0]));
        let (gamma, beta, bias) =
            (tensor(&[2], &[1f32, 2.0]), tensor(&[2], &[0.5f32, 0.0]), tensor(&[2], &[1f32, -1.0]));
        let sum = tensor(&[1, 1, 2], &[4f32, 4.0]);
        let epsilon = Attributes::new().with("epsilon", 1e-3f32);
        let cases: [(&str, &str, &[Tensor], &[Option<Tensor>]); 2] = [
            (
                "SkipLayerNormalization",
                "LayerNormalization",
                &[sum.clone(), gamma.clone(), beta.clone()],
                &[Some(a.clone()), Some(b.clone()), Some(gamma.clone()), Some(beta), Some(bias.clone())],
            ),
            (
                "SkipSimplifiedLayerNormalization",
                "RMSNormalization",
                &[sum, gamma.clone()],
                &[Some(a), Some(b), Some(gamma), Some(bias)],
            ),
        ];
        for (name, norm, plain, inputs) in cases {
            let expected = eval(norm, epsilon.clone(), plain).unwrap();
            let got = eval_all("com.microsoft", name, epsilon.clone(), inputs, 1).unwrap();
            assert_eq!(got[0], expected);
        }
    }
}
