//! Normalisations.

use super::{Draft, known_length};
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::{Attribute, Attributes, ValueId};

/// `is_test` of `BatchNormalization` is now said by the outputs.
pub(super) fn drop_is_test(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if draft.take_int("is_test")?.is_some_and(|flag| flag != 0) {
        draft.outputs.truncate(1);
    }
    Ok(())
}

/// `spatial = 0` of `BatchNormalization` had statistics for each element: with the axes after the batch as one, each element
/// is a channel.
pub(super) fn drop_spatial(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if draft.take_int("spatial")? != Some(0) {
        return Ok(());
    }
    if (1..5).any(|output| draft.wants(output)) {
        return draft.unsupported("training of batch normalization with spatial = 0");
    }
    let x = draft.required_input(0)?;
    let all = draft.ints(graph, "all", &[-1])?;
    let mut inputs = vec![Some(draft.node(graph, "Flatten", Attributes::new(), &[Some(x)])?)];
    for index in 1..5 {
        let statistic = draft.required_input(index)?;
        inputs.push(Some(draft.node(graph, "Reshape", Attributes::new(), &[Some(statistic), Some(all)])?));
    }
    let attributes = draft.operator.attributes.clone();
    let flat = draft.node(graph, "BatchNormalization", attributes, &inputs)?;
    let shape = draft.node(graph, "Shape", Attributes::new(), &[Some(x)])?;
    draft.rename("Reshape");
    draft.operator.attributes = Attributes::new().with("allowzero", 1i64);
    draft.inputs = vec![Some(flat), Some(shape)];
    draft.outputs.truncate(1);
    Ok(())
}

/// Training was asked for by naming more outputs than one, and is by `training_mode` now. Saved statistics are gone.
pub(super) fn training_mode(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if draft.wants(3) || draft.wants(4) {
        return draft.unsupported("saved statistics of batch normalization");
    }
    draft.outputs.truncate(3);
    if draft.wants(1) || draft.wants(2) {
        draft.attributes().set("training_mode", 1i64);
    } else {
        draft.outputs.truncate(1);
    }
    Ok(())
}

/// Scale and bias of `GroupNormalization` were one a group, and are one a channel now.
pub(super) fn scale_per_channel(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let x = draft.required_input(0)?;
    let groups = match draft.operator.attributes.get("num_groups") {
        Some(Attribute::Int(groups)) if *groups > 0 => *groups,
        _ => return Err(ImportError::invalid("attribute \"num_groups\": expected a positive integer")),
    };
    let shape = match known_length(graph, x, 1) {
        Some(channels) => draft.ints(graph, "group_shape", &[groups, channels / groups])?,
        None => group_shape(draft, graph, x, groups)?,
    };
    let (one, all) = (draft.ints(graph, "axis", &[1])?, draft.ints(graph, "all", &[-1])?);
    for index in [1, 2] {
        let by_group = draft.required_input(index)?;
        let column = draft.node(graph, "Unsqueeze", Attributes::new(), &[Some(by_group), Some(one)])?;
        let spread = draft.node(graph, "Expand", Attributes::new(), &[Some(column), Some(shape)])?;
        let by_channel = draft.node(graph, "Reshape", Attributes::new(), &[Some(spread), Some(all)])?;
        draft.set_input(index, Some(by_channel));
    }
    Ok(())
}

/// The tensor `[groups, channels / groups]`.
fn group_shape(draft: &Draft, graph: &mut GraphBuilder<'_>, x: ValueId, groups: i64) -> Result<ValueId, ImportError> {
    let attributes = Attributes::new().with("start", 1i64).with("end", 2i64);
    let channels = draft.node(graph, "Shape", attributes, &[Some(x)])?;
    let groups = draft.ints(graph, "groups", &[groups])?;
    let size = draft.node(graph, "Div", Attributes::new(), &[Some(channels), Some(groups)])?;
    draft.node(graph, "Concat", Attributes::new().with("axis", 0i64), &[Some(groups), Some(size)])
}
