//! A graph that is written, as a file or as text, is read back the same.

use bytes::Bytes;
use planish::onnx::{ExportOptions, ImportOptions, export, import_bytes};
use planish::{Graph, ImportErrorKind, Memory};
use prost::Message;

/// What the tensors of a model may take.
const BUDGET_BYTES: usize = 16 << 20;

/// Panics if `data` is a model that changes when it is written.
pub fn check(data: &[u8]) {
    let options = ImportOptions { memory: Memory::with_limit(BUDGET_BYTES), ..ImportOptions::default() };
    let Ok(model) = import_bytes(Bytes::copy_from_slice(data), &options) else { return };
    let text = model.graph.to_text();

    match Graph::from_text(&text, &planish_ops::StandardRegistry) {
        Ok(parsed) => assert_eq!(parsed.to_text(), text, "the text changes"),
        Err(error) => panic!("what is printed does not parse: {error}\n{text}"),
    }

    let Ok(written) = export(&model, &ExportOptions::default()) else { return };
    match import_bytes(written.encode_to_vec().into(), &options) {
        Ok(again) => assert_eq!(again.graph.to_text(), text, "the file changes"),
        Err(error) => {
            let is_limit = matches!(error.kind(), ImportErrorKind::Limit | ImportErrorKind::Memory);
            assert!(is_limit, "what is written is not read: {error}\n{text}");
        }
    }
}
