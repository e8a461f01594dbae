//! `BiasGelu`: Gelu(a + b); `FastGelu`: Gelu by tanh of x + bias; `QuickGelu`: x · sigmoid(alpha · x).
//!
//! The importer opens them into standard operators. They stand in graphs that were rewritten for ONNX Runtime.

use super::DOMAIN;
use super::fused::{first, standard};
use crate::Define;
use planish_ir::{
    AttributeError, Attributes, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, float, opt,
};
use std::sync::Arc;

/// `BiasGelu`.
#[derive(Debug)]
pub struct BiasGelu(Activation);

/// `FastGelu`.
#[derive(Debug)]
pub struct FastGelu(Activation);

/// `QuickGelu`.
#[derive(Debug)]
pub struct QuickGelu(Activation);

/// A function of a sum.
#[derive(Debug)]
struct Activation {
    sum: Arc<dyn Op>,
    function: Arc<dyn Op>,
}

impl Define for BiasGelu {
    const SCHEMA: Schema = Schema::new("BiasGelu", 1)
        .domain(DOMAIN)
        .inputs(&[arg("A", FLOATS).var("T"), arg("B", FLOATS).var("T")])
        .outputs(&[arg("C", FLOATS).var("T")]);

    fn parse(_: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(BiasGelu(Activation::of("Gelu", Attributes::new())?))
    }
}

impl Define for FastGelu {
    const SCHEMA: Schema = Schema::new("FastGelu", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FLOATS).var("T"), opt("bias", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")]);

    fn parse(_: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(FastGelu(Activation::of("Gelu", Attributes::new().with("approximate", "tanh"))?))
    }
}

impl Define for QuickGelu {
    const SCHEMA: Schema = Schema::new("QuickGelu", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&[float("alpha", 1.702)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(QuickGelu(Activation::of("Swish", Attributes::new().with("alpha", node.float("alpha")?))?))
    }
}

impl Op for BiasGelu {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.0.infer(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        self.0.eval(cx, inputs)
    }
}

impl Op for FastGelu {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.0.infer(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        self.0.eval(cx, inputs)
    }
}

impl Op for QuickGelu {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.0.infer(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        self.0.eval(cx, inputs)
    }
}

impl Activation {
    fn of(name: &str, attributes: Attributes) -> Result<Activation, AttributeError> {
        let sum = standard("Add", Attributes::new(), 2)?;
        Ok(Activation { sum, function: standard(name, attributes, 1)? })
    }

    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if x.has(1) { self.sum.infer(&Facts::new(&[x.get(0), x.get(1)], 1)) } else { self.function.infer(x) }
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let mut values = inputs.into_values().into_iter();
        let (x, bias) = (values.next().flatten(), values.next().flatten());
        let x = if bias.is_some() { first(self.sum.eval(cx, Inputs::new([x, bias]))?) } else { x };
        self.function.eval(cx, Inputs::new([x]))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use planish_ir::Attributes;

    #[test]
    fn they_are_functions_of_a_sum() {
        let (x, bias) = (tensor(&[1, 2], &[1f32, -2.0]), tensor(&[2], &[0.5f32, 1.0]));
        let sum = tensor(&[1, 2], &[1.5f32, -1.0]);
        let tanh = Attributes::new().with("approximate", "tanh");
        let alpha = Attributes::new().with("alpha", 2f32);
        let cases = [
            ("BiasGelu", Attributes::new(), true, eval("Gelu", Attributes::new(), &[sum.clone()])),
            ("FastGelu", Attributes::new(), true, eval("Gelu", tanh.clone(), &[sum])),
            ("FastGelu", Attributes::new(), false, eval("Gelu", tanh, &[x.clone()])),
            ("QuickGelu", alpha.clone(), false, eval("Swish", alpha, &[x.clone()])),
        ];
        for (name, attributes, has_bias, expected) in cases {
            let inputs = if has_bias { vec![Some(x.clone()), Some(bias.clone())] } else { vec![Some(x.clone())] };
            let got = eval_all("com.microsoft", name, attributes, &inputs, 1).unwrap();
            assert_eq!(got[0], expected.unwrap(), "{name}");
        }
    }
}
