//! ONNX files: bytes in, bytes out.
//!
//! [`proto`] holds the messages as the file has them; [`wire`] makes them from bytes that nobody vouches for.

pub mod proto;
pub mod wire;
