//! Attributes that became inputs.

use super::{Draft, known_length};
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::{Attribute, Attributes};
use planish_tensor::{DType, Tensor};

/// `axes` of reductions, `Squeeze` and `Unsqueeze`. Where reductions have none, they reduce all axes, as they still do.
pub(super) fn axes(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if let Some(axes) = draft.take_ints("axes")? {
        let axes = draft.ints(graph, "axes", &axes)?;
        draft.set_input(1, Some(axes));
    }
    Ok(())
}

/// `ReduceLogSum` and `ReduceLogSumExp` took integers, and rounded their logarithms towards zero.
pub(super) fn logarithm_of_integers(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let x = draft.required_input(0)?;
    let Some(dtype) = graph.fact(x).dtype().filter(|dtype| dtype.is_integer()) else { return Ok(()) };
    let to = |dtype: DType| Attributes::new().with("to", i64::from(dtype.to_onnx()));
    let mut inputs = draft.inputs.clone();
    inputs[0] = Some(draft.node(graph, "Cast", to(DType::F64), &[Some(x)])?);
    let operator = draft.operator.name.clone();
    let attributes = draft.operator.attributes.clone();
    let logarithm = draft.node(graph, &operator, attributes, &inputs)?;
    draft.rename("Cast");
    draft.operator.attributes = to(dtype);
    draft.inputs = vec![Some(logarithm)];
    Ok(())
}

/// `min` and `max` of `Clip`.
pub(super) fn clip(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let x = draft.required_input(0)?;
    for (index, name) in [(1, "min"), (2, "max")] {
        if let Some(bound) = draft.take_float(name)? {
            let bound = draft.scalar_like(graph, name, bound, x)?;
            draft.set_input(index, Some(bound));
        }
    }
    Ok(())
}

/// `axis` of `DFT`. It was 1 by default, and is −2 now.
pub(super) fn dft(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let axis = draft.take_int("axis")?.unwrap_or(1);
    let base = format!("{}_axis", draft.base());
    let axis = graph.constant(&base, Tensor::scalar(axis))?;
    draft.set_input(2, Some(axis));
    Ok(())
}

/// `is_test` of `Dropout` said whether to drop anything; it never does in a model that is run.
pub(super) fn dropout_is_test(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.take_int("is_test")?;
    Ok(())
}

/// The mask of `Dropout` was of the data's dtype, and is of `bool` now.
pub(super) fn dropout_mask(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if !draft.wants(1) {
        return Ok(());
    }
    let data = draft.required_input(0)?;
    let mask = draft.outputs.pop().unwrap_or_default();
    let new_mask = graph.fresh(&format!("{mask}_bool"));
    let name = draft.outputs.first().cloned().unwrap_or_default();
    draft.take_float("ratio")?;
    let kept = graph.add("", draft.operator.clone(), &[Some(data)], &[], &[&name, &new_mask])?;
    draft.rename("CastLike");
    draft.operator.attributes = Attributes::new();
    draft.inputs = vec![kept.get(1).copied(), Some(data)];
    draft.outputs = vec![mask];
    Ok(())
}

/// `ratio` of `Dropout`. It has no effect where nothing is dropped, and before version 12 nothing ever was.
pub(super) fn dropout(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.take_float("ratio")?;
    Ok(())
}

/// `pads` and `value` of `Pad`.
pub(super) fn pad(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let data = draft.required_input(0)?;
    let pads = draft.take_ints("pads")?.ok_or_else(|| missing("pads"))?;
    let pads = draft.ints(graph, "pads", &pads)?;
    draft.set_input(1, Some(pads));
    if let Some(value) = draft.take_float("value")?.filter(|value| value.to_bits() != 0) {
        let value = draft.scalar_like(graph, "value", value, data)?;
        draft.set_input(2, Some(value));
    }
    Ok(())
}

/// `shape` of `Reshape`.
pub(super) fn reshape(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.take_ints("consumed_inputs")?;
    let shape = draft.take_ints("shape")?.ok_or_else(|| missing("shape"))?;
    let shape = draft.ints(graph, "shape", &shape)?;
    draft.set_input(1, Some(shape));
    Ok(())
}

/// `starts`, `ends` and `axes` of `Slice`.
pub(super) fn slice(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    for (index, name) in [(1, "starts"), (2, "ends")] {
        let values = draft.take_ints(name)?.ok_or_else(|| missing(name))?;
        let values = draft.ints(graph, name, &values)?;
        draft.set_input(index, Some(values));
    }
    if let Some(axes) = draft.take_ints("axes")? {
        let axes = draft.ints(graph, "axes", &axes)?;
        draft.set_input(3, Some(axes));
    }
    Ok(())
}

/// `split` of `Split`.
pub(super) fn split(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if let Some(split) = draft.take_ints("split")? {
        let split = draft.ints(graph, "split", &split)?;
        draft.set_input(1, Some(split));
    }
    Ok(())
}

/// `Split` into equal parts now says how many there are.
pub(super) fn split_num_outputs(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if draft.input(1).is_some() {
        return Ok(());
    }
    let parts = i64::try_from(draft.outputs.len()).unwrap_or(i64::MAX);
    let axis = match draft.operator.attributes.get("axis") {
        Some(Attribute::Int(axis)) => *axis,
        _ => 0,
    };
    let length = known_axis(draft, graph, axis);
    if let Some(length) = length.filter(|length| length % parts.max(1) != 0) {
        return Err(ImportError::invalid(format!("{length} elements cannot be split into {parts} equal parts")));
    }
    draft.attributes().set("num_outputs", parts);
    Ok(())
}

fn known_axis(draft: &Draft, graph: &GraphBuilder<'_>, axis: i64) -> Option<i64> {
    let x = draft.input(0)?;
    let rank = i64::try_from(graph.fact(x).rank()?).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    known_length(graph, x, usize::try_from(axis).ok()?)
}

/// `k` of `TopK`.
pub(super) fn top_k(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let k = draft.take_int("k")?.ok_or_else(|| missing("k"))?;
    let k = draft.ints(graph, "k", &[k])?;
    draft.set_input(1, Some(k));
    Ok(())
}

fn missing(name: &str) -> ImportError {
    ImportError::invalid(format!("attribute {name:?} is required"))
}
