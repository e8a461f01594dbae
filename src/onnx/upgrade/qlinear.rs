//! Operators of `com.microsoft` on quantized tensors that ONNX Runtime computes as `QuantizeLinear(f(DequantizeLinear(x)))`.

use super::{Draft, softmax};
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::{Attributes, ValueId};

impl Draft {
    /// The numbers that input `index` and the two after it, scale and zero point, stand for.
    fn dequantized(&self, graph: &mut GraphBuilder<'_>, index: usize) -> Result<ValueId, ImportError> {
        let (x, scale) = (self.required_input(index)?, self.required_input(index + 1)?);
        self.node(graph, "DequantizeLinear", Attributes::new(), &[Some(x), Some(scale), self.input(index + 2)])
    }

    /// Puts a quantization behind this, to codes of the type of `like` where it has no zero point.
    fn then_quantize(
        &mut self,
        graph: &mut GraphBuilder<'_>,
        scale: ValueId,
        zero: Option<ValueId>,
        like: ValueId,
    ) -> Result<(), ImportError> {
        let mut attributes = Attributes::new();
        if zero.is_none() {
            let Some(dtype) = graph.fact(like).dtype() else {
                return self.unsupported("an output of unknown type");
            };
            attributes.set("output_dtype", i64::from(dtype.to_onnx()));
        }
        self.then(graph, "QuantizeLinear", attributes, &[Some(scale), zero])
    }

    /// Makes this `QuantizeLinear(operator(DequantizeLinear(x)))` of the inputs x, its scale and zero point, the result's
    /// scale and zero point. `finish` is called once the draft is `operator`.
    fn requantize(
        &mut self,
        graph: &mut GraphBuilder<'_>,
        operator: &str,
        finish: impl FnOnce(&mut Draft, &mut GraphBuilder<'_>) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        let (x, scale, zero) = (self.required_input(0)?, self.required_input(3)?, self.input(4));
        self.inputs = vec![Some(self.dequantized(graph, 0)?)];
        self.rename(operator);
        finish(self, graph)?;
        self.then_quantize(graph, scale, zero, x)
    }
}

/// `QLinearSigmoid`.
pub(super) fn sigmoid(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.requantize(graph, "Sigmoid", |_, _| Ok(()))
}

/// `QLinearLeakyRelu`.
pub(super) fn leaky_relu(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.requantize(graph, "LeakyRelu", |_, _| Ok(()))
}

/// `QLinearReduceMean`, whose axes are an attribute.
pub(super) fn reduce_mean(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.requantize(graph, "ReduceMean", super::inputs::axes)
}

/// `QLinearSoftmax`, which means by its axis what `Softmax` of version `opset` does.
pub(super) fn softmax(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let opset = draft.take_int("opset")?.ok_or_else(|| ImportError::invalid("attribute \"opset\" is required"))?;
    if draft.operator.attributes.get("axis").is_none() {
        draft.attributes().set("axis", -1i64);
    }
    draft.requantize(graph, "Softmax", |draft, graph| match opset {
        ..13 => softmax::flattened(draft, graph),
        _ => Ok(()),
    })
}

/// `QLinearConcat`: Y_scale, Y_zero_point, then each part with its scale and zero point.
pub(super) fn concat(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let (scale, zero, first) = (draft.required_input(0)?, draft.input(1), draft.required_input(2)?);
    if draft.inputs.len() % 3 != 2 {
        let got = draft.inputs.len();
        return Err(ImportError::invalid(format!("expected 2 inputs and 3 for each part, got {got}")));
    }
    let parts = (2..draft.inputs.len()).step_by(3).map(|index| draft.dequantized(graph, index).map(Some));
    draft.inputs = parts.collect::<Result<_, _>>()?;
    draft.rename("Concat");
    draft.then_quantize(graph, scale, zero, first)
}

/// `QLinearWhere`: condition, x and y with their scales and zero points, the result's.
pub(super) fn choose(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let (condition, like) = (draft.required_input(0)?, draft.required_input(1)?);
    let (scale, zero) = (draft.required_input(7)?, draft.input(8));
    let (x, y) = (draft.dequantized(graph, 1)?, draft.dequantized(graph, 4)?);
    draft.inputs = vec![Some(condition), Some(x), Some(y)];
    draft.rename("Where");
    draft.then_quantize(graph, scale, zero, like)
}
