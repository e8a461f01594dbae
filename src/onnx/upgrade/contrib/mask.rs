//! Masks of attention.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::{Attributes, Dim, ValueId};

/// What a mask of integers adds to the scores of the keys that it takes out.
pub(super) const FILTER_VALUE: f32 = -10_000.0;

/// A mask of integers as numbers that are added to scores: 0 where a key takes part, `filter` where not. `None` if planish
/// does not know the form: lengths of sequences, or a flag for each key of a batch, or of each of its queries.
pub(super) fn as_bias(
    draft: &Draft,
    graph: &mut GraphBuilder<'_>,
    mask: ValueId,
    query: ValueId,
    num_keys: ValueId,
    filter: f32,
) -> Result<Option<ValueId>, ImportError> {
    let (is_out, axes): (ValueId, &[i64]) = match graph.fact(mask).shape().map(<[Dim]>::len) {
        Some(1) if are_lengths(graph, mask, query) => {
            let keys = draft.indices(graph, num_keys)?;
            let lengths = draft.node(graph, "Cast", Attributes::new().with("to", 7i64), &[Some(mask)])?;
            let lengths = draft.unsqueeze(graph, lengths, &[1])?;
            let is_out = draft.node(graph, "GreaterOrEqual", Attributes::new(), &[Some(keys), Some(lengths)])?;
            (is_out, &[1, 2])
        }
        Some(rank @ (2 | 3)) => {
            let attributes = Attributes::new().with("to", 9i64);
            let is_in = draft.node(graph, "Cast", attributes, &[Some(mask)])?;
            (draft.node(graph, "Not", Attributes::new(), &[Some(is_in)])?, if rank == 2 { &[1, 2] } else { &[1] })
        }
        _ => return Ok(None),
    };
    let filter = draft.scalar_like(graph, "filter", filter, query)?;
    let zero = draft.scalar_like(graph, "zero", 0.0, query)?;
    let bias = draft.node(graph, "Where", Attributes::new(), &[Some(is_out), Some(filter), Some(zero)])?;
    draft.unsqueeze(graph, bias, axes).map(Some)
}

/// Whether a mask of rank 1 has one number a batch.
fn are_lengths(graph: &GraphBuilder<'_>, mask: ValueId, query: ValueId) -> bool {
    match (graph.fact(mask).shape(), graph.fact(query).shape()) {
        (Some([count]), Some([batch, ..])) => Dim::provably_equal(count, batch),
        _ => false,
    }
}
