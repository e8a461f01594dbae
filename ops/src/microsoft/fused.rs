//! `FusedConv`: f(Conv(X, W, B) + Z) and `FusedGemm`: f(Gemm(A, B, C)), where f is an activation or nothing.
//!
//! The importer opens both into standard operators. They stand in graphs that were rewritten for ONNX Runtime.

use super::DOMAIN;
use crate::conv::Conv;
use crate::gemm::Gemm;
use crate::{Define, StandardRegistry};
use planish_ir::{
    AttributeDef, AttributeError, AttributeKind, Attributes, Dim, EvalCx, FLOAT, Fact, Facts, InferError, Inputs,
    NodeView, Op, OpError, Outputs, Registry, Schema, arg, float, int, opt, optional, string,
};
use planish_tensor::{Tensor, Value};
use std::sync::Arc;

/// `FusedConv`.
#[derive(Debug)]
pub struct FusedConv {
    conv: Conv,
    sum: Arc<dyn Op>,
    activation: Option<Activation>,
}

/// `FusedGemm`.
#[derive(Debug)]
pub struct FusedGemm {
    gemm: Gemm,
    activation: Option<Activation>,
}

const ACTIVATION: AttributeDef = optional("activation", AttributeKind::String);

impl Define for FusedConv {
    const SCHEMA: Schema = Schema::new("FusedConv", 1)
        .domain(DOMAIN)
        .inputs(&[
            arg("X", FLOAT).var("T"),
            arg("W", FLOAT).var("T"),
            opt("B", FLOAT).var("T"),
            opt("Z", FLOAT).var("T"),
        ])
        .outputs(&[arg("Y", FLOAT).var("T")])
        .attributes(&[
            string("auto_pad", "NOTSET"),
            optional("dilations", AttributeKind::Ints),
            int("group", 1),
            optional("kernel_shape", AttributeKind::Ints),
            optional("pads", AttributeKind::Ints),
            optional("strides", AttributeKind::Ints),
            ACTIVATION,
            optional("activation_params", AttributeKind::Floats),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let params = node.opt_floats("activation_params").unwrap_or_default();
        let activation = Activation::of(node.opt_string("activation"), params)?;
        Ok(FusedConv { conv: Conv::parse(node)?, sum: standard("Add", Attributes::new(), 2)?, activation })
    }
}

impl Define for FusedGemm {
    const SCHEMA: Schema = Schema::new("FusedGemm", 1)
        .domain(DOMAIN)
        .inputs(&[arg("A", FLOAT).var("T"), arg("B", FLOAT).var("T"), opt("C", FLOAT).var("T")])
        .outputs(&[arg("Y", FLOAT).var("T")])
        .attributes(&[
            float("alpha", 1.0),
            float("beta", 1.0),
            int("transA", 0),
            int("transB", 0),
            ACTIVATION,
            optional("activation_alpha", AttributeKind::Float),
            optional("activation_beta", AttributeKind::Float),
            optional("activation_gamma", AttributeKind::Float),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let names = ["activation_alpha", "activation_beta", "activation_gamma"];
        let params: Vec<f32> = names.iter().filter_map(|name| node.opt_float(name)).collect();
        let activation = Activation::of(node.opt_string("activation"), &params)?;
        Ok(FusedGemm { gemm: Gemm::parse(node)?, activation })
    }
}

impl Op for FusedConv {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.conv.infer(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let mut values = inputs.into_values();
        let addend = if values.len() > 3 { values.pop().flatten() } else { None };
        let mut y = self.conv.eval(cx, Inputs::new(values))?;
        if addend.is_some() {
            y = self.sum.eval(cx, Inputs::new([first(y), addend]))?;
        }
        Activation::apply(self.activation.as_ref(), cx, y)
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        self.conv.macs(x, outputs)
    }
}

impl Op for FusedGemm {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.gemm.infer(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let y = self.gemm.eval(cx, inputs)?;
        Activation::apply(self.activation.as_ref(), cx, y)
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        self.gemm.macs(x, outputs)
    }
}

/// The function at the end.
#[derive(Debug)]
struct Activation {
    op: Arc<dyn Op>,
    /// Its inputs after the first.
    bounds: Vec<f32>,
}

impl Activation {
    /// The operator of this name, with its numbers in the order of its attributes or bounds.
    fn of(name: Option<&str>, params: &[f32]) -> Result<Option<Activation>, AttributeError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
        let (names, bounds): (&[&str], &[f32]) = match name {
            "Relu" | "Sigmoid" | "Tanh" => (&[], &[]),
            "LeakyRelu" => (&["alpha"], &[]),
            "HardSigmoid" => (&["alpha", "beta"], &[]),
            "Clip" if params.len() == 2 => (&[], params),
            "Clip" => return Err(AttributeError::invalid(format!("expected 2 bounds, got {params:?}"))),
            _ => return Err(AttributeError::unsupported(format!("the activation {name:?}"))),
        };
        let attributes = names.iter().zip(params).fold(Attributes::new(), |all, (name, &v)| all.with(name, v));
        let op = standard(name, attributes, 1 + bounds.len())?;
        Ok(Some(Activation { op, bounds: bounds.to_vec() }))
    }

    fn apply(activation: Option<&Activation>, cx: &mut EvalCx<'_>, y: Outputs) -> Result<Outputs, OpError> {
        let Some(Activation { op, bounds }) = activation else { return Ok(y) };
        let bounds = bounds.iter().map(|&bound| Some(Value::Tensor(Tensor::scalar(bound))));
        op.eval(cx, Inputs::new(std::iter::once(first(y)).chain(bounds)))
    }
}

/// The first of them.
pub(super) fn first(outputs: Outputs) -> Option<Value> {
    outputs.into_values().into_iter().next().flatten()
}

/// An operator of ONNX's own domain.
pub(super) fn standard(name: &str, attributes: Attributes, num_inputs: usize) -> Result<Arc<dyn Op>, AttributeError> {
    let operator = StandardRegistry.operator("", name, attributes, num_inputs, 1)?;
    operator.op().cloned().ok_or_else(|| AttributeError::unsupported(format!("the operator {name}")))
}

#[cfg(test)]
mod tests {
    use crate::StandardRegistry;
    use crate::testing::{eval_all, tensor};
    use planish_ir::{Attribute, Attributes, Registry};
    use planish_tensor::Tensor;

    fn run(name: &str, attributes: Attributes, inputs: &[Tensor]) -> Result<Tensor, String> {
        let inputs: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
        let outputs = eval_all("com.microsoft", name, attributes, &inputs, 1).map_err(|e| e.to_string())?;
        Ok(outputs.into_iter().next().unwrap())
    }

    fn activation(name: &str, params: &[f32]) -> Attributes {
        Attributes::new().with("activation", name).with("activation_params", Attribute::Floats(params.to_vec()))
    }

    #[test]
    fn a_convolution_adds_and_activates() {
        let x = tensor(&[1, 1, 3], &[1f32, -2.0, 3.0]);
        let (w, b, z) = (tensor(&[1, 1, 1], &[2f32]), tensor(&[1], &[1f32]), tensor(&[1, 1, 3], &[0f32, 1.0, 2.0]));
        let inputs = [x, w, b, z];
        for (attributes, expected) in [
            (Attributes::new(), [3f32, -2.0, 9.0]),
            (activation("Relu", &[]), [3.0, 0.0, 9.0]),
            (activation("LeakyRelu", &[0.5]), [3.0, -1.0, 9.0]),
            (activation("Clip", &[-1.0, 6.0]), [3.0, -1.0, 6.0]),
            (activation("HardSigmoid", &[0.25, 0.5]), [1.0, 0.0, 1.0]),
        ] {
            assert_eq!(run("FusedConv", attributes, &inputs).unwrap(), tensor(&[1, 1, 3], &expected));
        }
    }

    #[test]
    fn a_product_activates() {
        let inputs = [tensor(&[1, 2], &[1f32, 2.0]), tensor(&[2, 1], &[1f32, -3.0]), tensor(&[1], &[1f32])];
        let leaky = Attributes::new().with("activation", "LeakyRelu").with("activation_alpha", 0.5f32);
        assert_eq!(run("FusedGemm", leaky, &inputs).unwrap(), tensor(&[1, 1], &[-2f32]));
    }

    #[test]
    fn other_activations_are_refused() {
        let inputs = [tensor(&[1, 1, 1], &[1f32]), tensor(&[1, 1, 1], &[1f32])];
        let other = StandardRegistry.operator("com.microsoft", "FusedConv", activation("Softmax", &[]), 2, 1).unwrap();
        assert!(other.op().is_none());
        assert!(run("FusedConv", activation("Clip", &[1.0]), &inputs).unwrap_err().contains("2 bounds"));
    }
}
