//! What a model's file says of its inputs and outputs, read without importing the model.

use crate::data::NamedType;
use crate::onnx::error::ImportError;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::types::type_from_proto;
use crate::onnx::wire::{self, Outline};
use planish_ir::Type;
use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

/// The inputs and outputs that a model's file declares, in order. Inputs that have an initializer are left out: they are
/// constants.
pub fn read_signature(path: &Path) -> Result<(Vec<NamedType>, Vec<NamedType>), ImportError> {
    let mut file = File::open(path).map_err(|e| ImportError::io(path.display(), e))?;
    let outline = Outline::read(&mut file).map_err(|e| ImportError::io(path.display(), e))?;
    let graph = wire::decode_model(outline.bytes)?.graph.unwrap_or_default();
    let given: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs = graph.input.iter().filter(|input| !given.contains(input.name.as_str()));
    let named = |info: &ValueInfoProto| {
        let ty = info.r#type.as_ref().map_or(Ok(Type::Unknown), type_from_proto)?;
        Ok(NamedType { name: info.name.clone(), ty })
    };
    let inputs: Result<_, ImportError> = inputs.map(named).collect();
    let outputs: Result<_, ImportError> = graph.output.iter().map(named).collect();
    Ok((inputs?, outputs?))
}
