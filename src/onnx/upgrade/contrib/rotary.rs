//! Rotary embeddings.

use super::{Draft, known_length};
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::{Attributes, ValueId};

/// `RotaryEmbedding`: positions come before the caches, and may be the first one alone.
pub(in crate::onnx::upgrade) fn rotary_embedding(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
) -> Result<(), ImportError> {
    let (x, ids) = (draft.required_input(0)?, draft.required_input(1)?);
    let (cos, sin) = (draft.required_input(2)?, draft.required_input(3)?);
    let Some(rank) = graph.fact(x).rank() else { return draft.unsupported("an input of unknown rank") };
    if draft.take_int("is_packed_batching")?.is_some_and(|flag| flag != 0) {
        return draft.unsupported("packed batches");
    }
    if draft.take_float("scale")?.is_some_and(|scale| scale != 1.0) {
        return draft.unsupported("a scale");
    }
    let heads = draft.take_int("num_heads")?.unwrap_or(0);
    if rank == 3 {
        let from_sizes = || {
            let (hidden, half) = (known_length(graph, x, 2)?, known_length(graph, cos, 1)?);
            hidden.checked_div(half.checked_mul(2)?)
        };
        let Some(heads) = Some(heads).filter(|&heads| heads > 0).or_else(from_sizes) else {
            return draft.unsupported("an unknown number of heads");
        };
        draft.attributes().set("num_heads", heads);
    }
    let ids = match graph.fact(ids).rank() {
        Some(2) => ids,
        Some(1) => positions_from(draft, graph, x, if rank == 3 { 1 } else { 2 }, ids)?,
        _ => return draft.unsupported("position_ids of unknown rank"),
    };
    draft.inputs = vec![Some(x), Some(cos), Some(sin), Some(ids)];
    draft.rename("RotaryEmbedding");
    Ok(())
}

/// Positions from `first` on, the same in each batch.
fn positions_from(
    draft: &Draft,
    graph: &mut GraphBuilder<'_>,
    x: ValueId,
    sequence_axis: i64,
    first: ValueId,
) -> Result<ValueId, ImportError> {
    let (batch, sequence) = (draft.length(graph, x, 0)?, draft.length(graph, x, sequence_axis)?);
    let indices = draft.indices(graph, sequence)?;
    let positions = draft.sum(graph, indices, first)?;
    let attributes = Attributes::new().with("axis", 0i64);
    let shape = draft.node(graph, "Concat", attributes, &[Some(batch), Some(sequence)])?;
    draft.node(graph, "Expand", Attributes::new(), &[Some(positions), Some(shape)])
}
