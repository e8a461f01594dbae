//! Real models are imported: the project's own, and those of a folder named by `PLANISH_MODELS`, at any depth.

use planish::onnx::{ImportOptions, import_file};
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
fn real_models_are_imported() {
    let mut failures = Vec::new();
    for path in models() {
        match import_file(&path, &ImportOptions::default()) {
            Ok(model) => {
                for warning in &model.warnings {
                    println!("{}: {warning}", path.display());
                }
            }
            Err(error) => failures.push(error.to_string()),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
