//! Older operator forms become the newest one.
//!
//! Passes and kernels meet every operator in exactly one form. A node is brought there step by step: each step takes the
//! form of one version to that of the next version at which the form or the meaning changed. Steps may add constants and
//! nodes around the one they upgrade.

use crate::onnx::error::ImportError;
use crate::onnx::import::builder::{GraphBuilder, OperatorDraft};
use planish_ir::ValueId;

/// A node between its message and the graph.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) operator: OperatorDraft,
    pub(crate) inputs: Vec<Option<ValueId>>,
    pub(crate) captures: Vec<ValueId>,
    /// Names of the values in the graph; empty for those nobody wants.
    pub(crate) outputs: Vec<String>,
}

/// Brings a node of operator set `version` to the newest form.
pub(crate) fn upgrade(_draft: &mut Draft, _version: i64, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    Ok(())
}
