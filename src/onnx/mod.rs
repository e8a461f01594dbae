//! ONNX files: bytes in, bytes out.
//!
//! [`proto`] holds the messages as the file has them; [`wire`] makes them from bytes that nobody vouches for;
//! [`import`](mod@import) makes a graph of them. [`tensor`] and [`types`] turn single messages into what graphs hold, and
//! back; [`external`] opens the files that hold tensors.

mod error;
pub mod export;
pub mod external;
pub mod import;
pub mod proto;
mod signature;
pub mod tensor;
pub mod types;
pub(crate) mod upgrade;
pub mod values;
pub mod wire;

pub use error::{ImportError, ImportErrorKind};
pub use export::{ExportError, ExportOptions, export, save};
pub use import::{ImportOptions, import, import_bytes, import_file};
pub use signature::read_signature;
pub use values::{read_value, read_value_file, write_value};
