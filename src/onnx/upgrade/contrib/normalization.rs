//! Normalisations of sums.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::{Attributes, ValueId};
use planish_tensor::Tensor;

/// What `epsilon` is where a node does not say.
const EPSILON: f32 = 1e-12;

/// `SimplifiedLayerNormalization` is `RMSNormalization`. ONNX Runtime writes it into ONNX's own domain too. The second
/// output, the inverse deviation, has no standard counterpart.
pub(in crate::onnx::upgrade) fn simplified_layer_normalization(
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

/// `SkipLayerNormalization`: the layer normalisation of input + skip + bias, and the sum itself.
pub(in crate::onnx::upgrade) fn skip_layer_normalization(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
) -> Result<(), ImportError> {
    skip(draft, graph, "LayerNormalization", 4)
}

/// `SkipSimplifiedLayerNormalization`: the same with root mean squares, and without beta.
pub(in crate::onnx::upgrade) fn skip_simplified_layer_normalization(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
) -> Result<(), ImportError> {
    skip(draft, graph, "RMSNormalization", 3)
}

fn skip(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
    normalization: &str,
    bias_index: usize,
) -> Result<(), ImportError> {
    if draft.wants(1) || draft.wants(2) {
        return draft.unsupported("statistics as outputs");
    }
    let mut terms = vec![draft.required_input(0)?, draft.required_input(1)?];
    terms.extend(draft.input(bias_index));
    let sum_name = draft.outputs.get(3).cloned().unwrap_or_default();
    let sum = sum_of(draft, graph, &terms, &sum_name)?;
    let epsilon = draft.take_float("epsilon")?.unwrap_or(EPSILON);
    let beta = draft.input(3).filter(|_| bias_index == 4);
    draft.inputs = vec![Some(sum), Some(draft.required_input(2)?)];
    draft.inputs.extend(beta.map(Some));
    draft.outputs.truncate(1);
    draft.operator.attributes = Attributes::new().with("epsilon", epsilon);
    draft.rename(normalization);
    Ok(())
}

/// The sum of two or more terms, the last one of this name.
fn sum_of(draft: &Draft, graph: &mut GraphBuilder<'_>, terms: &[ValueId], name: &str) -> Result<ValueId, ImportError> {
    let [first, middle @ .., last] = terms else { return Err(ImportError::invalid("a sum needs two terms")) };
    let mut sum = *first;
    for &term in middle {
        sum = draft.sum(graph, sum, term)?;
    }
    let sums = draft.named(graph, "Add", Attributes::new(), &[Some(sum), Some(*last)], &[name])?;
    sums.first().copied().ok_or_else(|| ImportError::invalid("a node without outputs"))
}

/// `EmbedLayerNormalization`: the layer normalisation of word, position and segment embeddings.
pub(in crate::onnx::upgrade) fn embed_layer_normalization(
    draft: &mut Draft,
    graph: &mut GraphBuilder<'_>,
) -> Result<(), ImportError> {
    let words = draft.required_input(0)?;
    let rows = |table: ValueId, ids: ValueId, graph: &mut GraphBuilder<'_>| {
        draft.node(graph, "Gather", Attributes::new(), &[Some(table), Some(ids)])
    };
    let word = rows(draft.required_input(2)?, words, graph)?;
    let positions = draft.required_input(3)?;
    let position = match draft.input(8) {
        Some(ids) => rows(positions, ids, graph)?,
        None => {
            let (start, end) = (draft.ints(graph, "start", &[0])?, draft.length(graph, words, 1)?);
            let axes = draft.ints(graph, "axes", &[0])?;
            draft.node(graph, "Slice", Attributes::new(), &[Some(positions), Some(start), Some(end), Some(axes)])?
        }
    };
    let mut terms = vec![word, position];
    if let (Some(ids), Some(segments)) = (draft.input(1), draft.input(4)) {
        terms.push(rows(segments, ids, graph)?);
    }
    if let Some(name) = draft.outputs.get(1).filter(|name| !name.is_empty()).cloned() {
        mask_index(draft, graph, words, &name)?;
    }
    let sum_name = draft.outputs.get(2).cloned().unwrap_or_default();
    let sum = sum_of(draft, graph, &terms, &sum_name)?;
    let epsilon = draft.take_float("epsilon")?.unwrap_or(EPSILON);
    draft.inputs = vec![Some(sum), draft.input(5), draft.input(6)];
    draft.outputs.truncate(1);
    draft.operator.attributes = Attributes::new().with("epsilon", epsilon);
    draft.rename("LayerNormalization");
    Ok(())
}

/// How many words of each sequence the mask leaves; 0 where there is no mask.
fn mask_index(draft: &Draft, graph: &mut GraphBuilder<'_>, words: ValueId, name: &str) -> Result<(), ImportError> {
    match draft.input(7) {
        Some(mask) => {
            let axes = draft.ints(graph, "axes", &[1])?;
            let attributes = Attributes::new().with("keepdims", 0i64);
            draft.named(graph, "ReduceSum", attributes, &[Some(mask), Some(axes)], &[name])?;
        }
        None => {
            let batch = draft.length(graph, words, 0)?;
            let attributes = Attributes::new().with("value", Tensor::vector(&[0i32]));
            draft.named(graph, "ConstantOfShape", attributes, &[Some(batch)], &[name])?;
        }
    }
    Ok(())
}
