//! Replays cases in ONNX's own test layout: what planish computes is what was expected.

use planish::data::{DataSet, NamedType, Tolerance, compare, to_f64};
use planish::{Model, RunOptions, SessionOptions, Value};
use std::path::Path;

/// Floats are computed in another order than ONNX Runtime's; integers must be equal.
const RTOL: f64 = 1e-5;

/// The same for elements near 0, as a share of the largest one that is expected.
const ATOL: f64 = 1e-6;

/// Replays every case in `folder`, which is named from the root of the project.
pub fn replay_all(folder: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut cases: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    let failures: Vec<String> =
        cases.iter().filter_map(|case| replay(case).err().map(|e| format!("{}: {e}", case.display()))).collect();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn replay(case: &Path) -> Result<(), String> {
    let model = Model::load(case.join("model.onnx")).map_err(|e| e.to_string())?;
    let graph = &model.graph;
    let inputs: Vec<NamedType> = graph
        .inputs()
        .map(|value| NamedType { name: graph.value_name(value).to_owned(), ty: graph.fact(value).ty.clone() })
        .collect();
    let output = |o: &planish_ir::GraphOutput| NamedType { name: o.name.clone(), ty: o.declared.clone() };
    let outputs: Vec<NamedType> = graph.outputs().iter().map(output).collect();
    let data = DataSet::read(&case.join("test_data_set_0"), &inputs, &outputs).map_err(|e| e.to_string())?;
    let session = model.into_session(&SessionOptions::default()).map_err(|e| e.to_string())?;
    let inputs = data.inputs.iter().map(|(name, value)| (name.as_str(), value.clone()));
    let outputs = session.run(inputs, &RunOptions::default()).map_err(|e| e.to_string())?;
    for (got, (name, expected)) in outputs.iter().zip(&data.outputs) {
        let verdict = compare(got, expected, tolerance(expected));
        if let Some(mismatch) = verdict.mismatch.or((!verdict.dtype_ok).then(|| "another dtype".to_owned())) {
            return Err(format!("output {name}: {mismatch}"));
        }
    }
    Ok(())
}

fn tolerance(expected: &Value) -> Tolerance {
    let is_float = expected.as_tensor().is_some_and(|tensor| tensor.dtype().is_float());
    let numbers = expected.as_tensor().and_then(to_f64).unwrap_or_default();
    let largest = numbers.iter().filter(|v| v.is_finite()).fold(0f64, |m, v| m.max(v.abs()));
    match is_float {
        true => Tolerance { rtol: Some(RTOL), atol: Some(ATOL * largest), cosine: None },
        false => Tolerance::default(),
    }
}
