//! A graph that is written, as a file or as text, is read back the same.

use bytes::Bytes;
use planish::onnx::{ExportOptions, ImportOptions, export, import_bytes};
use planish::{Graph, ImportErrorKind, Memory, Model};
use prost::Message;

/// What the tensors of a model may take.
const BUDGET_BYTES: usize = 16 << 20;

/// Panics if `data` is a model that changes when it is written.
pub fn check(data: &[u8]) {
    let options = ImportOptions { memory: Memory::with_limit(BUDGET_BYTES), ..ImportOptions::default() };
    let Ok(model) = import_bytes(Bytes::copy_from_slice(data), &options) else { return };
    if !planish_runtime::unsupported(&model.graph).is_empty() {
        // An old form of an operator that has no new one is shown as it is, and means something else in a new graph.
        return;
    }
    let text = model.graph.to_text();

    match Graph::from_text(&text, &planish_ops::StandardRegistry) {
        Ok(parsed) => assert_eq!(parsed.to_text(), text, "the text changes"),
        Err(error) => panic!("what is printed does not parse: {error}\n{text}"),
    }

    // Names of a body that hide names of the graph around it are made unique the first time.
    let Some(once) = written(&model, &options) else { return };
    assert_eq!(operators(&once), operators(&model), "the operators change");
    let Some(twice) = written(&once, &options) else { return };
    assert_eq!(twice.graph.to_text(), once.graph.to_text(), "the file changes");
}

/// The model written and read back; nothing if it cannot be written, or is larger than what may be read.
fn written(model: &Model, options: &ImportOptions) -> Option<Model> {
    let file = export(model, &ExportOptions::default()).ok()?;
    match import_bytes(file.encode_to_vec().into(), options) {
        Ok(again) => Some(again),
        Err(error) => {
            let is_limit = matches!(error.kind(), ImportErrorKind::Limit | ImportErrorKind::Memory);
            assert!(is_limit, "what is written is not read: {error}\n{}", model.graph.to_text());
            None
        }
    }
}

/// The names of all operators, those in bodies included.
fn operators(model: &Model) -> Vec<String> {
    let bodies = model.graph.bodies();
    let graphs = std::iter::once(&model.graph).chain(bodies.iter().map(AsRef::as_ref));
    let mut names: Vec<String> = graphs.flat_map(|g| g.operators().map(|(_, o)| o.full_name())).collect();
    names.sort_unstable();
    names
}
