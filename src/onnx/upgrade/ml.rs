//! `ai.onnx.ml`.

use super::Draft;
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::Attribute;
use planish_tensor::DType;

/// `LabelEncoder` mapped strings to their places in `classes_strings`, or places to strings.
pub(super) fn label_encoder(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let Some(Attribute::Strings(classes)) = draft.attributes().remove("classes_strings") else {
        return Err(ImportError::invalid("attribute \"classes_strings\" is required"));
    };
    let x = draft.required_input(0)?;
    let places = Attribute::Ints((0..).take(classes.len()).collect());
    let classes = Attribute::Strings(classes);
    let (keys, values, unused) = match graph.fact(x).dtype() {
        Some(DType::String) => (("keys_strings", classes), ("values_int64s", places), "default_string"),
        Some(DType::I64) => (("keys_int64s", places), ("values_strings", classes), "default_int64"),
        _ => return draft.unsupported("label encoding of an input of unknown type"),
    };
    draft.attributes().remove(unused);
    for (name, value) in [keys, values] {
        draft.attributes().set(name, value);
    }
    Ok(())
}
