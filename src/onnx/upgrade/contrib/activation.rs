//! Activations.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use crate::onnx::upgrade::softmax;
use planish_ir::Attributes;

/// `BiasGelu`: Gelu(a + b).
pub(in crate::onnx::upgrade) fn bias_gelu(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    add_second(draft, graph)?;
    draft.rename("Gelu");
    Ok(())
}

/// `FastGelu`: Gelu by tanh of x + bias.
pub(in crate::onnx::upgrade) fn fast_gelu(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    add_second(draft, graph)?;
    draft.operator.attributes = Attributes::new().with("approximate", "tanh");
    draft.rename("Gelu");
    Ok(())
}

/// `QuickGelu`: x · sigmoid(alpha · x).
pub(in crate::onnx::upgrade) fn quick_gelu(
    draft: &mut Draft,
    _graph: &mut GraphBuilder<'_>,
) -> Result<(), ImportError> {
    let alpha = draft.take_float("alpha")?.unwrap_or(1.702);
    draft.attributes().set("alpha", alpha);
    draft.rename("Swish");
    Ok(())
}

/// `BiasSoftmax`: the softmax of data + bias over all axes from `axis` on, as it was before version 13.
pub(in crate::onnx::upgrade) fn bias_softmax(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
) -> Result<(), ImportError> {
    add_second(draft, graph)?;
    draft.take_int("is_inner_broadcast")?;
    draft.rename("Softmax");
    softmax::flattened(draft, graph)
}

/// Makes the sum of both inputs, or the first one where there is no second, the only input.
fn add_second(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let mut x = draft.required_input(0)?;
    if let Some(bias) = draft.input(1) {
        x = draft.sum(graph, x, bias)?;
    }
    draft.inputs = vec![Some(x)];
    Ok(())
}
