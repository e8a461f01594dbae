//! ONNX files: bytes in, bytes out.
//!
//! [`proto`] holds the messages as the file has them.

pub mod proto;
