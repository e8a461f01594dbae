//! From bytes that nobody vouches for to protobuf messages.
//!
//! Comes in: a whole file, as [`Bytes`]. Goes out: the message it holds, its byte fields sharing the file's memory, or
//! a [`WireError`] that names the first fault, its byte and the message it lies in. May be relied on: no input makes
//! decoding panic, recurse deeply or allocate more than [`memory_limit_bytes`]; nothing is said about what the message
//! *means*, which is the importer's to check.
//!
//! Before prost decodes anything, a scan (`wire/scan.rs`) walks the whole file against the schema. It skips over
//! payloads, so its time is that of the structure, not of the weights.

use std::error::Error;
use std::fmt;

use bytes::Bytes;
use prost::DecodeError;

use crate::onnx::proto::ModelProto;

mod outline;
mod scan;
mod schema;

pub use outline::Outline;
pub use schema::{FieldKind, FieldSchema, MessageSchema, WireMessage};

/// The largest file that is read. Protobuf itself ends here, since lengths are 31-bit in most implementations.
pub const MAX_FILE_BYTES: usize = i32::MAX as usize;

/// The deepest nesting of messages, the file's own message counting as one. prost decodes by recursion and stops at
/// the same depth; real models stay under a dozen.
pub const MAX_DEPTH: usize = 100;

/// The most nodes that a file may hold, over all its graphs and functions.
pub const MAX_NODES: usize = 1_000_000;

/// The most attributes that one node or function may have; the operator with the most has about twenty.
pub const MAX_ATTRIBUTES_PER_NODE: usize = 256;

/// The most memory, beside the file itself, that decoding a file of `file_bytes` may take.
///
/// A message costs far more in memory than on the wire, where an empty one takes two bytes and a decoded attribute
/// several hundred: this bound is what keeps a small file of empty messages from growing a hundredfold. Real models
/// whose weights are elsewhere need up to ten times the file, those that hold their weights next to nothing. Models cut
/// down to structure alone, with short names, have been seen to need twenty-four times a few kilobytes and eighteen
/// times a few hundred; the constant is for such.
pub fn memory_limit_bytes(file_bytes: usize) -> usize {
    file_bytes.saturating_mul(16).saturating_add(16 << 20)
}

/// Decodes a model file.
///
/// ```
/// use planish::onnx::{proto::ModelProto, wire};
/// use prost::Message;
///
/// let file = ModelProto { ir_version: 10, ..Default::default() }.encode_to_vec();
/// assert_eq!(wire::decode_model(file.into())?.ir_version, 10);
///
/// let error = wire::decode_model(bytes::Bytes::from_static(b"\x3a\x03\x0a\x7f\x22")).unwrap_err();
/// assert_eq!(error.to_string(), "graph.node[0]: length 127 at byte 3 runs past the end (1 bytes left)");
/// # Ok::<(), wire::WireError>(())
/// ```
pub fn decode_model(file: Bytes) -> Result<ModelProto, WireError> {
    decode(file)
}

/// Decodes a file that holds one message of any kind: a model, or a test-data tensor, sequence or optional.
pub fn decode<M: WireMessage>(file: Bytes) -> Result<M, WireError> {
    scan::scan(M::SCHEMA, &file)?;
    M::decode(file).map_err(|cause| {
        debug_assert!(false, "the scan let a fault pass: {cause}");
        WireError {
            kind: WireErrorKind::Internal,
            offset: 0,
            message: format!("{}: not decoded although it passed the scan", M::SCHEMA.name),
            cause: Some(cause),
        }
    })
}

/// Why bytes are not the message they were taken for, and where.
#[derive(Debug)]
pub struct WireError {
    kind: WireErrorKind,
    offset: usize,
    message: String,
    cause: Option<DecodeError>,
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireErrorKind {
    /// A value, or what a length promises, goes past the end of the message it lies in.
    Truncated,
    /// A variable-length integer has more than 64 bits.
    BadVarint,
    /// A field's tag holds a number or wire type that does not exist.
    BadTag,
    /// A field is written in another form than its type has.
    WrongWireType,
    /// A string is not UTF-8.
    InvalidUtf8,
    /// A message that may appear once appears again.
    Duplicate,
    /// Messages are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// The file, or the number of something in it, is over a limit.
    TooMany,
    /// The file would take more memory than [`memory_limit_bytes`].
    TooMuchMemory,
    /// A fault of planish itself.
    Internal,
}

impl WireError {
    /// What is wrong.
    pub fn kind(&self) -> WireErrorKind {
        self.kind
    }

    /// The byte of the file at which the fault was found; at most the file's length.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for WireError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests;
