//! What the scan knows of each message. `build.rs` writes the tables from `proto/onnx.proto`.

use prost::Message;

use crate::onnx::proto;

/// A message of the ONNX schema: prost can decode it, and the scan has a table for it.
pub trait WireMessage: Message + Default {
    /// The message's table.
    const SCHEMA: &'static MessageSchema;
}

/// A kind of message.
#[derive(Debug)]
pub struct MessageSchema {
    /// The schema's name for it, such as `TypeProto.Tensor`.
    pub name: &'static str,
    /// What the decoded struct takes in memory, without what it points to.
    pub size_bytes: usize,
    /// Its fields, by ascending number.
    pub fields: &'static [FieldSchema],
}

/// A field of a message.
#[derive(Debug)]
pub struct FieldSchema {
    /// The number that stands for it on the wire.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// Whether it is a list.
    pub repeated: bool,
    /// What it holds.
    pub kind: FieldKind,
}

/// What a field holds, as far as the wire can tell.
#[derive(Clone, Copy, Debug)]
pub enum FieldKind {
    /// An integer or enum value of variable length, decoded to this many bytes.
    Varint {
        /// What one number takes in memory.
        element_bytes: usize,
    },
    /// Four bytes.
    Fixed32,
    /// Eight bytes.
    Fixed64,
    /// Any bytes.
    Bytes,
    /// UTF-8 text.
    String,
    /// Another message.
    Message(&'static MessageSchema),
}

include!(concat!(env!("OUT_DIR"), "/wire_tables.rs"));
