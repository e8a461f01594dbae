//! Operators of `com.microsoft` that came before ONNX had them, in a form of their own.

use super::{Draft, rename};
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::Attributes;
use planish_tensor::DType;

/// The step of `Range` was 1 by default.
pub(super) fn range(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if draft.input(2).is_none() {
        let start = draft.required_input(0)?;
        let step = draft.scalar_like(graph, "step", 1.0, start)?;
        draft.set_input(2, Some(step));
    }
    draft.rename("Range");
    Ok(())
}

/// `ExpandDims` is `Unsqueeze` with one axis, a scalar of `int32`.
pub(super) fn expand_dims(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let axis = draft.required_input(1)?;
    let to = Attributes::new().with("to", i64::from(DType::I64.to_onnx()));
    let wide = draft.node(graph, "Cast", to, &[Some(axis)])?;
    let shape = draft.ints(graph, "axes", &[1])?;
    let axes = draft.node(graph, "Reshape", Attributes::new(), &[Some(wide), Some(shape)])?;
    draft.set_input(1, Some(axes));
    draft.rename("Unsqueeze");
    Ok(())
}

/// `GridSample`, as version 16 of ONNX took it over.
pub(super) fn grid_sample(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    rename::grid_sample(draft, graph)?;
    draft.rename("GridSample");
    Ok(())
}

/// `Unique` kept the order of the first occurrences, and did not tell where they are.
pub(super) fn unique(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.rename("Unique");
    draft.attributes().set("sorted", 0i64);
    draft.outputs.insert(draft.outputs.len().min(1), String::new());
    Ok(())
}

/// `CDist` is the distance of each row of A to each row of B, or its square.
pub(super) fn cdist(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let is_root = match draft.string("metric").unwrap_or("sqeuclidean") {
        "euclidean" => true,
        "sqeuclidean" => false,
        other => return draft.unsupported(format!("CDist with metric {other:?}")),
    };
    let (a, b) = (draft.required_input(0)?, draft.required_input(1)?);
    let (one, zero, last) =
        (draft.ints(graph, "one", &[1])?, draft.ints(graph, "zero", &[0])?, draft.ints(graph, "last", &[-1])?);
    let rows = draft.node(graph, "Unsqueeze", Attributes::new(), &[Some(a), Some(one)])?;
    let others = draft.node(graph, "Unsqueeze", Attributes::new(), &[Some(b), Some(zero)])?;
    let difference = draft.node(graph, "Sub", Attributes::new(), &[Some(rows), Some(others)])?;
    draft.rename(if is_root { "ReduceL2" } else { "ReduceSumSquare" });
    draft.operator.attributes = Attributes::new().with("keepdims", 0i64);
    draft.inputs = vec![Some(difference), Some(last)];
    Ok(())
}

/// `MatMulInteger16` sums in `int32`, wrapping.
pub(super) fn matmul_integer16(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    for index in [0, 1] {
        let x = draft.required_input(index)?;
        let to = Attributes::new().with("to", i64::from(DType::I32.to_onnx()));
        let wide = draft.node(graph, "Cast", to, &[Some(x)])?;
        draft.set_input(index, Some(wide));
    }
    draft.rename("MatMul");
    Ok(())
}
