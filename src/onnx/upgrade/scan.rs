//! The first `Scan` worked on batches.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;

/// `Scan-8` took a batch axis before the scanned one, and the length of each sequence.
pub(super) fn batched(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.unsupported("the batched Scan of version 8")
}
