//! Operators of `com.microsoft` whose channels are the last axis: standard ones between two transposes.

use super::{Draft, fused};
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::Attributes;

/// `NhwcMaxPool`.
pub(super) fn max_pool(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    with_channels_first(draft, graph, &[0], |draft, _| {
        draft.rename("MaxPool");
        Ok(())
    })
}

/// `NhwcFusedConv`.
pub(super) fn fused_conv(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    with_channels_first(draft, graph, &[0, 3], fused::conv)
}

/// `QLinearConv` of `com.microsoft`, which may have its channels last.
pub(super) fn qlinear_conv(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    by_flag(draft, graph, |draft, _| {
        draft.rename("QLinearConv");
        Ok(())
    })
}

/// Quantized pools, which may have their channels last.
pub(super) fn qlinear_pool(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    by_flag(draft, graph, |_, _| Ok(()))
}

/// Brings the first input's channels to the front where `channels_last` says that they are not.
fn by_flag(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
    upgrade: impl FnOnce(&mut Draft, &mut GraphBuilder<'_>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    match draft.take_int("channels_last")? {
        None | Some(0) => upgrade(draft, graph),
        Some(_) => with_channels_first(draft, graph, &[0], upgrade),
    }
}

/// Upgrades between transposes of the inputs `indices` and of the output.
fn with_channels_first(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
    indices: &[usize],
    upgrade: impl FnOnce(&mut Draft, &mut GraphBuilder<'_>) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let x = draft.required_input(0)?;
    let Some(rank) = graph.fact(x).rank().filter(|&rank| rank > 2) else {
        return draft.unsupported("channels as the last axis of an input of unknown rank or of fewer than 3 axes");
    };
    let mut to_front: Vec<i64> = (0..).take(rank).collect();
    let mut to_back = to_front.clone();
    to_front[1..].rotate_right(1);
    to_back[1..].rotate_left(1);
    for &index in indices {
        if let Some(x) = draft.input(index) {
            let attributes = Attributes::new().with("perm", to_front.clone());
            let x = draft.node(graph, "Transpose", attributes, &[Some(x)])?;
            draft.set_input(index, Some(x));
        }
    }
    upgrade(draft, graph)?;
    if draft.operator.unsupported.is_some() {
        return Ok(());
    }
    draft.then(graph, "Transpose", Attributes::new().with("perm", to_back), &[])
}
