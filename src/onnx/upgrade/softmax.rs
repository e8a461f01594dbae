//! Before version 13, `Softmax`, `LogSoftmax` and `Hardmax` worked on the input flattened to two axes.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::{Attributes, Dim};
use planish_tensor::Tensor;

/// `y = Softmax-11(x, axis)` is `Reshape(Softmax(Flatten(x, axis), -1), Shape(x))`, or `Softmax(x, axis)` itself where no
/// axis after `axis` has more than one element.
pub(super) fn flattened(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let axis = draft.take_int("axis")?.unwrap_or(1);
    let x = draft.required_input(0)?;
    let shape = graph.fact(x).shape();
    if shape.is_some_and(|shape| is_single_axis(shape, axis)) {
        draft.attributes().set("axis", axis);
        return Ok(());
    }
    let lengths: Option<Vec<i64>> = shape.and_then(|shape| shape.iter().map(Dim::as_known).collect());
    let flat = draft.node(graph, "Flatten", Attributes::new().with("axis", axis), &[Some(x)])?;
    let operator = draft.operator.name.clone();
    let attributes = Attributes::new().with("axis", -1i64);
    let result = draft.node(graph, &operator, attributes, &[Some(flat)])?;
    let shape = match lengths {
        Some(lengths) => graph.constant(&format!("{}_shape", draft.base()), Tensor::vector(&lengths))?,
        None => draft.node(graph, "Shape", Attributes::new(), &[Some(x)])?,
    };
    draft.rename("Reshape");
    draft.operator.attributes = Attributes::new().with("allowzero", 1i64);
    draft.inputs = vec![Some(result), Some(shape)];
    Ok(())
}

/// Whether the axes from `axis` on hold as many elements as axis `axis` alone.
fn is_single_axis(shape: &[Dim], axis: i64) -> bool {
    let from_end = || shape.len().checked_sub(usize::try_from(axis.unsigned_abs()).ok()?);
    let axis = if axis < 0 { from_end() } else { usize::try_from(axis).ok() };
    let after = axis.and_then(|axis| shape.get(axis.checked_add(1)?..));
    after.is_some_and(|after| after.iter().all(|dim| dim.as_known() == Some(1)))
}
