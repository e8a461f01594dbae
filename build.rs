//! Compiles `proto/onnx.proto` without `protoc`: into Rust types, by prost, and into the tables that
//! `src/onnx/wire/` scans a file by. Both come from the one schema, so they cannot disagree.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use prost_build::Config;
use protox::prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use protox::prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto};

const SCHEMA: &str = "proto/onnx.proto";

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
    println!("cargo::rerun-if-changed={SCHEMA}");
    println!("cargo::rerun-if-changed=build.rs");
    let files = protox::compile([SCHEMA], ["proto"])?;

    let mut tables = String::new();
    let mut max_fields = 0;
    for message in files.file.iter().flat_map(|file| &file.message_type) {
        max_fields = max_fields.max(write_tables(&mut tables, message, "", "proto")?);
    }
    writeln!(tables, "/// The most fields that a message has.\npub const MAX_FIELDS: usize = {max_fields};")?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("wire_tables.rs"), tables)?;

    let mut config = Config::new();
    config.bytes(["."]);
    for field in BOXED {
        config.boxed(field);
    }
    Ok(config.compile_fds(files)?)
}

/// Writes the scan table of `message` and of the messages nested in it. `outer` is the schema's name of what they are
/// nested in (`TypeProto.`), `module` the Rust module where prost puts them. Answers with the most fields one of them has.
fn write_tables(
    tables: &mut String,
    message: &DescriptorProto,
    outer: &str,
    module: &str,
) -> Result<usize, Box<dyn Error>> {
    let name = format!("{outer}{}", message.name());
    let rust_type = format!("{module}::{}", message.name());
    let table = table_name(&name);

    writeln!(tables, "pub static {table}: MessageSchema = MessageSchema {{")?;
    writeln!(tables, "    name: \"{name}\",")?;
    writeln!(tables, "    size_bytes: size_of::<{rust_type}>(),")?;
    writeln!(tables, "    fields: &[")?;
    let mut fields: Vec<_> = message.field.iter().collect();
    fields.sort_by_key(|field| field.number());
    for field in fields {
        let kind = field_kind(field).ok_or_else(|| format!("{name}.{}: no such kind of field", field.name()))?;
        let (number, field, repeated) = (field.number(), field.name(), field.label() == Label::Repeated);
        writeln!(
            tables,
            "        FieldSchema {{ number: {number}, name: \"{field}\", repeated: {repeated}, kind: {kind} }},"
        )?;
    }
    writeln!(tables, "    ],\n}};")?;
    writeln!(tables, "impl WireMessage for {rust_type} {{")?;
    writeln!(tables, "    const SCHEMA: &'static MessageSchema = &{table};\n}}")?;

    let inner_module = format!("{module}::{}", table_name(message.name()).to_lowercase());
    let mut max_fields = message.field.len();
    for nested in &message.nested_type {
        max_fields = max_fields.max(write_tables(tables, nested, &format!("{name}."), &inner_module)?);
    }
    Ok(max_fields)
}

fn field_kind(field: &FieldDescriptorProto) -> Option<String> {
    Some(match field.r#type() {
        Type::Int32 | Type::Enum => "FieldKind::Varint { element_bytes: 4 }".into(),
        Type::Int64 | Type::Uint64 => "FieldKind::Varint { element_bytes: 8 }".into(),
        Type::Float => "FieldKind::Fixed32".into(),
        Type::Double => "FieldKind::Fixed64".into(),
        Type::String => "FieldKind::String".into(),
        Type::Bytes => "FieldKind::Bytes".into(),
        Type::Message => format!("FieldKind::Message(&{})", table_name(field.type_name().strip_prefix(".onnx.")?)),
        _ => return None,
    })
}

/// `TypeProto.SparseTensor` becomes `TYPE_PROTO_SPARSE_TENSOR`.
fn table_name(message: &str) -> String {
    let mut table = String::new();
    for letter in message.chars() {
        if letter.is_uppercase() && !table.is_empty() && !table.ends_with('_') {
            table.push('_');
        }
        table.push(if letter == '.' { '_' } else { letter.to_ascii_uppercase() });
    }
    table
}
