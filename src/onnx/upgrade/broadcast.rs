//! Before version 7, broadcasting was asked for by attributes and could begin at any axis.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::{Attributes, ValueId};

/// `broadcast` and `axis` of arithmetic, comparison and logic: the axes of B are those of A from `axis` on.
pub(super) fn two_sided(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let is_broadcast = draft.take_int("broadcast")?.is_some_and(|flag| flag != 0);
    let axis = draft.take_int("axis")?.filter(|_| is_broadcast);
    let (a, b) = (draft.required_input(0)?, draft.required_input(1)?);
    let Some(axis) = axis else { return Ok(()) };
    let ranks = graph.fact(a).rank().zip(graph.fact(b).rank());
    let Some((rank_a, rank_b)) = ranks else {
        return draft.unsupported("broadcasting along an axis of inputs of unknown rank");
    };
    let axis = if axis < 0 { axis.checked_add_unsigned(u64::try_from(rank_a).unwrap_or(u64::MAX)) } else { Some(axis) };
    let axis = axis.and_then(|axis| usize::try_from(axis).ok());
    let Some(missing) = axis.and_then(|axis| rank_a.checked_sub(axis.checked_add(rank_b)?)) else {
        return Err(ImportError::invalid("attribute \"axis\" is out of range"));
    };
    let b = append_axes(draft, graph, b, rank_b, missing)?;
    draft.set_input(1, Some(b));
    Ok(())
}

/// `broadcast` of `Gemm`, which now always broadcasts C.
pub(super) fn gemm(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.take_int("broadcast")?;
    Ok(())
}

/// The slope of `PRelu` was one number, or one for each channel.
pub(super) fn prelu(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let (x, slope) = (draft.required_input(0)?, draft.required_input(1)?);
    let is_single = graph.fact(slope).shape().is_some_and(|shape| shape.iter().all(|d| d.as_known() == Some(1)));
    match (graph.fact(x).rank(), graph.fact(slope).rank()) {
        (Some(rank), Some(1)) if rank > 2 && !is_single => {
            let slope = append_axes(draft, graph, slope, 1, rank - 2)?;
            draft.set_input(1, Some(slope));
            Ok(())
        }
        (Some(_), Some(_)) => Ok(()),
        _ => draft.unsupported("slopes by channel for inputs of unknown rank"),
    }
}

/// `value`, of rank `rank`, with `count` axes of length 1 appended.
fn append_axes(
    draft: &Draft,
    graph: &mut GraphBuilder<'_>,
    value: ValueId,
    rank: usize,
    count: usize,
) -> Result<ValueId, ImportError> {
    if count == 0 {
        return Ok(value);
    }
    let axes: Vec<i64> = (rank..rank + count).filter_map(|axis| i64::try_from(axis).ok()).collect();
    let axes = draft.ints(graph, "axes", &axes)?;
    draft.node(graph, "Unsqueeze", Attributes::new(), &[Some(value), Some(axes)])
}
