//! What is written is what was read: the same graph comes back, and it computes the same.

#[path = "../fuzz/src/roundtrip.rs"]
mod roundtrip;

use planish::data::{DataSet, NamedType};
use planish::onnx::{ExportOptions, export, import_bytes};
use planish::{ImportOptions, Model, RunOptions, SessionOptions, Value};
use prost::Message;
use std::fs;
use std::path::{Path, PathBuf};

fn own_models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let models = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("model.onnx"));
    models.filter(|path| path.is_file()).collect()
}

fn written(model: &Model, opset: Option<u32>) -> Model {
    let proto = export(model, &ExportOptions { opset, ..ExportOptions::default() }).unwrap();
    import_bytes(proto.encode_to_vec().into(), &ImportOptions::default()).unwrap()
}

/// The outputs of the model on the first data set beside it.
fn outputs(model: Model, path: &Path) -> Vec<Value> {
    let session = model.into_session(&SessionOptions::default()).unwrap();
    let inputs: Vec<NamedType> =
        session.inputs().iter().map(|i| NamedType { name: i.name.clone(), ty: i.ty.clone() }).collect();
    let outputs: Vec<NamedType> =
        session.outputs().iter().map(|o| NamedType { name: o.name.clone(), ty: o.ty.clone() }).collect();
    let data = DataSet::read(&path.with_file_name("test_data_set_0"), &inputs, &outputs).unwrap();
    session.run(data.inputs.iter().map(|(name, value)| (name.as_str(), value.clone())), &RunOptions::default()).unwrap()
}

#[test]
fn own_models_come_back_the_same() {
    for path in own_models() {
        let model = Model::load(&path).unwrap();
        let again = written(&model, None);
        assert!(again.graph == model.graph, "{} changes", path.display());
        roundtrip::check(&fs::read(&path).unwrap());
    }
}

#[test]
fn own_models_compute_the_same_once_written() {
    for path in own_models() {
        let model = Model::load(&path).unwrap();
        let again = written(&model, None);
        assert_eq!(outputs(again, &path), outputs(model, &path), "{}", path.display());
    }
}

#[test]
fn models_that_are_read_come_back_the_same() {
    for folder in ["fuzz/seeds/decode", "fuzz/seeds/load", "tests/malformed"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                println!("{}", path.display());
                roundtrip::check(&fs::read(&path).unwrap());
            }
        }
    }
}
