//! Compiles `proto/onnx.proto` without `protoc`: into Rust types, by prost, and into the table that
//! `src/onnx/wire.rs` scans a file by, so that the two cannot disagree.

use std::error::Error;

const PROTO: &str = "proto/onnx.proto";

/// Message fields kept behind a pointer, because few of their owners have one and all would pay for its size.
const BOXED: &[&str] = &[
    ".onnx.AttributeProto.t",
    ".onnx.AttributeProto.g",
    ".onnx.AttributeProto.sparse_tensor",
    ".onnx.AttributeProto.tp",
    ".onnx.TensorProto.segment",
    ".onnx.SparseTensorProto.values",
    ".onnx.SparseTensorProto.indices",
    ".onnx.OptionalProto.tensor_value",
    ".onnx.OptionalProto.sparse_tensor_value",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    println!("cargo::rerun-if-changed=build.rs");
    let files = protox::compile([PROTO], ["proto"])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    for path in BOXED {
        config.boxed(path);
    }
    config.compile_fds(files)?;
    Ok(())
}
