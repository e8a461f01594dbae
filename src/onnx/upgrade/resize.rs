//! `Upsample` became `Resize`, and `Resize` learnt how coordinates are meant.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::ValueId;
use planish_tensor::Tensor;

/// `scales` of `Upsample` became an input.
pub(super) fn upsample_7(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let scales =
        draft.take_floats("scales")?.ok_or_else(|| ImportError::invalid("attribute \"scales\" is required"))?;
    let scales = graph.constant(&format!("{}_scales", draft.base()), Tensor::vector(&scales))?;
    draft.set_input(1, Some(scales));
    Ok(())
}

/// `Upsample` is the first `Resize` without downsampling.
pub(super) fn upsample_9(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.rename("Resize");
    if draft.string("mode") == Some("bilinear") {
        draft.attributes().set("mode", "linear");
    }
    Ok(())
}

/// The first `Resize` divided coordinates by the scale. The nearest element was that below when upsampling and that
/// above when downsampling, by the practice of ONNX Runtime; the standard did not say.
pub(super) fn resize_10(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let scales = draft.required_input(1)?;
    let known = graph.graph.constant(scales).and_then(|t| t.as_slice::<f32>().ok());
    let is_downsampling = known.is_some_and(|scales| scales.iter().any(|&s| s < 1.0));
    let is_upsampling = known.is_none_or(|scales| scales.iter().any(|&s| s > 1.0));
    let is_nearest = draft.string("mode").is_none_or(|mode| mode == "nearest");
    if is_nearest && is_downsampling && is_upsampling {
        return draft.unsupported("nearest-neighbour resizing of version 10 up along one axis and down along another");
    }
    draft.attributes().set("coordinate_transformation_mode", "asymmetric");
    if is_nearest {
        draft.attributes().set("nearest_mode", if is_downsampling { "ceil" } else { "floor" });
    }
    draft.inputs = vec![draft.input(0), None, Some(scales)];
    Ok(())
}

/// Inputs not in use were empty tensors, and are absent now.
pub(super) fn resize_11(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    for index in [1, 2] {
        if draft.input(index).is_some_and(|value| is_empty(graph, value)) {
            draft.set_input(index, None);
        }
    }
    if draft.input(3).is_some() {
        draft.set_input(2, None);
    }
    Ok(())
}

/// `tf_half_pixel_for_nn` is gone: it meant (i + ½) / scale, half an element above `half_pixel`, so that rounding down
/// there is rounding half up here, and rounding half down there is rounding up here.
pub(super) fn resize_13(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if draft.string("coordinate_transformation_mode") != Some("tf_half_pixel_for_nn") {
        return Ok(());
    }
    if draft.string("mode").is_some_and(|mode| mode != "nearest") {
        return draft.unsupported("tf_half_pixel_for_nn between elements");
    }
    let nearest_mode = match draft.string("nearest_mode").unwrap_or("round_prefer_floor") {
        "floor" => "round_prefer_ceil",
        "round_prefer_floor" => "ceil",
        other => {
            let why = format!("tf_half_pixel_for_nn with nearest_mode {other:?}");
            return draft.unsupported(why);
        }
    };
    draft.attributes().set("coordinate_transformation_mode", "half_pixel");
    draft.attributes().set("nearest_mode", nearest_mode);
    Ok(())
}

fn is_empty(graph: &GraphBuilder<'_>, value: ValueId) -> bool {
    graph.fact(value).shape().is_some_and(|shape| shape.iter().any(|dim| dim.as_known() == Some(0)))
}
