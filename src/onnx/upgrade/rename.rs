//! Operators and attribute values that go by another name now, and attributes that are gone or have got a default.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::Attribute;
use planish_tensor::DType;

/// `consumed_inputs` said which inputs could be written in place.
pub(super) fn drop_consumed_inputs(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.take_ints("consumed_inputs")?;
    Ok(())
}

/// The default of `alpha` of `Selu` had fewer digits.
pub(super) fn selu_alpha(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    drop_consumed_inputs(draft, graph)?;
    if draft.operator.attributes.get("alpha").is_none() {
        draft.attributes().set("alpha", 1.6732f32);
    }
    Ok(())
}

/// A form from before version 7 that nobody has met.
pub(super) fn too_old(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.unsupported("this form of the operator is older than opset 7")
}

/// `output_sequence` of recurrent layers is said by the outputs.
pub(super) fn drop_output_sequence(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.take_int("output_sequence")?;
    Ok(())
}

/// `to` of `Cast` was a name.
pub(super) fn cast_to_name(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if let Some(Attribute::String(name)) = draft.operator.attributes.get("to") {
        let dtype = DType::from_name(&name.to_lowercase());
        let dtype = dtype.ok_or_else(|| ImportError::invalid(format!("attribute \"to\": {name:?} is no type")))?;
        draft.attributes().set("to", i64::from(dtype.to_onnx()));
    }
    Ok(())
}

/// `axis` of `Concat` was 1 by default.
pub(super) fn concat_axis(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if draft.operator.attributes.get("axis").is_none() {
        draft.attributes().set("axis", 1i64);
    }
    Ok(())
}

/// `pads` of `Pad` was called `paddings`.
pub(super) fn pad_paddings(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    if let Some(pads) = draft.attributes().remove("paddings") {
        draft.attributes().set("pads", pads);
    }
    Ok(())
}

/// The modes of `GridSample` are named as those of `Resize` are.
pub(super) fn grid_sample(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let mode = match draft.string("mode") {
        None | Some("bilinear") => "linear",
        Some("bicubic") => "cubic",
        Some(_) => return Ok(()),
    };
    draft.attributes().set("mode", mode);
    Ok(())
}

/// `RoiAlign` did not shift coordinates by half a pixel.
pub(super) fn roi_align(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.attributes().set("coordinate_transformation_mode", "output_half_pixel");
    Ok(())
}

/// `Scatter` is now called `ScatterElements`.
pub(super) fn scatter(draft: &mut Draft, _graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    draft.rename("ScatterElements");
    Ok(())
}
