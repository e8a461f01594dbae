//! Writing a model to disk.

use super::{ExportError, ExportOptions, export};
use crate::model::Model;
use crate::onnx::proto::tensor_proto::DataLocation;
use crate::onnx::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};
use prost::Message;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Tensors in a data file start at a page, so that readers can map them.
const PAGE_BYTES: u64 = 4096;

/// Tensors below this size stay in the model file: most are shapes and axes that readers want at hand.
const KEPT_INSIDE_BYTES: usize = 1024;

/// Writes the model to `path`, and large weights to `<path>.data` beside it where the options say so.
pub fn save(model: &Model, path: &Path, options: &ExportOptions) -> Result<(), ExportError> {
    let mut proto = export(model, options)?;
    let weights: u64 = proto.graph.iter().flat_map(|g| &g.initializer).map(|t| raw_bytes(t) as u64).sum();
    if weights > options.external_data_above_bytes {
        let file_name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let data_name = format!("{file_name}.data");
        let data_path = path.with_file_name(&data_name);
        write_beside(&data_path, |out| move_out(&mut proto, &data_name, out))?;
    }
    write_beside(path, |out| write_message(&proto, out))
}

fn write_message(proto: &ModelProto, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&proto.encode_to_vec())
}

fn raw_bytes(tensor: &TensorProto) -> usize {
    tensor.raw_data.as_ref().map_or(0, |raw| raw.len())
}

/// Moves the contents of large initializers to `out`, leaving behind where they went.
fn move_out(proto: &mut ModelProto, data_name: &str, out: &mut dyn Write) -> io::Result<()> {
    let no_initializers = &mut GraphProto::default();
    let graph = proto.graph.as_mut().unwrap_or(no_initializers);
    let mut position = 0u64;
    for tensor in graph.initializer.iter_mut().filter(|t| raw_bytes(t) >= KEPT_INSIDE_BYTES) {
        let Some(raw) = tensor.raw_data.take() else { continue };
        let offset = position.next_multiple_of(PAGE_BYTES);
        io::copy(&mut io::Read::take(io::repeat(0), offset - position), out)?;
        out.write_all(&raw)?;
        position = offset + raw.len() as u64;
        let entry = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
        tensor.external_data = vec![
            entry("location", data_name.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", raw.len().to_string()),
        ];
        tensor.data_location = DataLocation::External.into();
    }
    Ok(())
}

/// Writes a file under a temporary name in its folder and renames it when it is whole.
fn write_beside(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), ExportError> {
    let failed = |source| ExportError::Io { path: path.to_owned(), source };
    let temporary = temporary_path(path);
    let written = File::create(&temporary).and_then(|file| {
        let mut out = BufWriter::new(file);
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    renamed.map_err(|error| {
        // The error that is reported is the first one; a temporary file that cannot be removed either adds nothing.
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
