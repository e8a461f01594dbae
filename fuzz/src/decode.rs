//! Any bytes become a message or are refused, within the memory limit; a message written is read back the same.

use bytes::Bytes;
use planish::onnx::proto::{ModelProto, OptionalProto, SequenceProto, TensorProto};
use planish::onnx::wire::{self, WireErrorKind, WireMessage};

use super::memory;

/// Panics or aborts if `data`, taken for any kind of file, is not answered as it should be.
pub fn check(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    check_as::<ModelProto>(&file);
    check_as::<TensorProto>(&file);
    check_as::<SequenceProto>(&file);
    check_as::<OptionalProto>(&file);
}

fn check_as<M: WireMessage>(file: &Bytes) {
    let limit_bytes = wire::memory_limit_bytes(file.len());
    match memory::within(limit_bytes, || wire::decode::<M>(file.clone())) {
        Ok(message) => check_written(&message),
        Err(error) => {
            assert!(error.offset() <= file.len(), "{error}");
            assert_ne!(error.kind(), WireErrorKind::Internal, "{error}");
        }
    }
}

fn check_written<M: WireMessage>(message: &M) {
    let written = message.encode_to_vec();
    match wire::decode::<M>(written.clone().into()) {
        Ok(again) => assert_eq!(again.encode_to_vec(), written),
        // Unknown fields and long forms of numbers are not written, and the limit shrinks with the file.
        Err(error) => assert_eq!(error.kind(), WireErrorKind::TooMuchMemory, "{error}"),
    }
}
