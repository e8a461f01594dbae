//! Operators of `ai.onnx.ml` give what ONNX Runtime gives. `onnx_ml/generate.py` wrote the cases.

mod replay;

#[test]
fn every_case_gives_what_onnx_runtime_gives() {
    replay::replay_all("tests/onnx_ml/data");
}
