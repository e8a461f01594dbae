//! Real models are imported, written and imported again: the project's own, and those of a folder named by
//! `PLANISH_MODELS`, at any depth.

use planish::Model;
use planish::onnx::export::{ExportOptions, export};
use planish::onnx::external::ExternalFiles;
use planish::onnx::{ImportOptions, import, import_file};
use std::path::{Path, PathBuf};

/// Every `*.onnx` beneath the project's `models/` and, if set, `PLANISH_MODELS`.
fn models() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut pending: Vec<PathBuf> = std::env::var_os("PLANISH_MODELS").map(PathBuf::from).into_iter().collect();
    pending.push(own);
    let mut found = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "onnx") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn real_models_survive_import_and_export() {
    let mut failures = Vec::new();
    for path in models() {
        let result = import_file(&path, &ImportOptions::default()).map_err(|e| e.to_string());
        if let Err(why) = result.and_then(round_trip) {
            failures.push(format!("{}: {why}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

fn round_trip(model: Model) -> Result<(), String> {
    let message = export(&model, &ExportOptions::default()).map_err(|e| e.to_string())?;
    let again = import(message, &ExternalFiles::none(), &ImportOptions::default()).map_err(|e| e.to_string())?;
    if again.graph != model.graph {
        return Err(first_difference(&model, &again));
    }
    Ok(())
}

/// The first operator by name that only one of the models has, or where the graphs differ otherwise.
fn first_difference(before: &Model, after: &Model) -> String {
    let (a, b) = (&before.graph, &after.graph);
    let operators = |m: &Model| -> Vec<(String, String)> {
        let operators = m.graph.operators();
        operators.map(|(id, op)| (m.graph.describe(id), format!("{} {:?}", op.full_name(), op.attributes))).collect()
    };
    for (x, y) in operators(before).iter().zip(&operators(after)) {
        if x != y {
            return format!("{x:?} became {y:?}");
        }
    }
    format!(
        "{} nodes became {}, {} outputs became {}",
        a.num_nodes(),
        b.num_nodes(),
        a.outputs().len(),
        b.outputs().len()
    )
}
