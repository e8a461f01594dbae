//! Operators of `com.microsoft` that ONNX itself has by now.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;

/// The operator of the same name and form in ONNX's own domain.
pub(super) fn standard(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.operator.domain.clear();
    Ok(())
}

/// `SimplifiedLayerNormalization` is `RMSNormalization`. ONNX Runtime writes it into ONNX's own domain too. The second
/// output, the inverse deviation, has no standard counterpart.
pub(super) fn simplified_layer_normalization(
    draft: &mut Draft,
    _graph: &mut GraphBuilder<'_>,
) -> Result<(), ImportError> {
    if draft.wants(1) {
        "com.microsoft".clone_into(&mut draft.operator.domain);
        return draft.unsupported("the inverse standard deviation as an output");
    }
    draft.outputs.truncate(1);
    draft.rename("RMSNormalization");
    Ok(())
}
