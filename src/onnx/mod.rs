//! ONNX files: bytes in, bytes out.
//!
//! [`proto`] holds the messages as the file has them; [`wire`] makes them from bytes that nobody vouches for. Then
//! [`tensor`] and [`types`] turn single messages into what graphs hold, and back.

mod error;
pub mod external;
pub mod proto;
pub mod tensor;
pub mod types;
pub mod wire;

pub use error::{ImportError, ImportErrorKind};
