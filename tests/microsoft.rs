//! Operators of `com.microsoft` give what ONNX Runtime gives. `microsoft/generate.py` wrote the cases.

mod replay;

#[test]
fn every_case_gives_what_onnx_runtime_gives() {
    replay::replay_all("tests/microsoft/data");
}
