//! A folder or archive of inputs and expected outputs.

use super::npy::{read_npy, write_npy};
use crate::onnx::{read_value_file, write_value};
use planish_ir::Type;
use planish_tensor::Value;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Data that could not be read or written: which, and why.
#[derive(Debug)]
pub struct DataError {
    what: String,
    message: String,
}

impl DataError {
    pub(crate) fn new(what: impl fmt::Display, message: impl Into<String>) -> DataError {
        DataError { what: what.to_string(), message: message.into() }
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.message)
    }
}

impl std::error::Error for DataError {}

/// A graph input or output that data belongs to.
#[derive(Clone, Debug)]
pub struct NamedType {
    /// Its name.
    pub name: String,
    /// Its declared type, which tells how a `.pb` file is to be read.
    pub ty: Type,
}

/// Inputs and, where there are some, expected outputs, by name.
#[derive(Clone, Debug, Default)]
pub struct DataSet {
    /// A value for each input that the data has.
    pub inputs: Vec<(String, Value)>,
    /// Expected values.
    pub outputs: Vec<(String, Value)>,
}

impl DataSet {
    /// Reads a folder in ONNX's own test layout (`input_0.pb`, `output_0.pb`, …), a folder of `.npy` named after inputs
    /// and outputs, or an `.npz`.
    pub fn read(path: &Path, inputs: &[NamedType], outputs: &[NamedType]) -> Result<DataSet, DataError> {
        if path.is_dir() {
            if path.join("input_0.pb").exists() || path.join("output_0.pb").exists() {
                let inputs = read_numbered(path, "input", inputs)?;
                return Ok(DataSet { inputs, outputs: read_numbered(path, "output", outputs)? });
            }
            return read_arrays(path, inputs, outputs);
        }
        if path.extension().is_some_and(|e| e == "npz") {
            return read_archive(path, inputs, outputs);
        }
        let message = "expected a folder of input_0.pb …, a folder of .npy files, or an .npz archive";
        Err(DataError::new(path.display(), message))
    }
}

fn read_numbered(folder: &Path, stem: &str, declared: &[NamedType]) -> Result<Vec<(String, Value)>, DataError> {
    let mut values = Vec::new();
    for (i, slot) in declared.iter().enumerate() {
        let path = folder.join(format!("{stem}_{i}.pb"));
        if path.exists() {
            let value = read_value_file(&path, &slot.ty).map_err(|e| DataError::new(path.display(), e.to_string()))?;
            values.push((slot.name.clone(), value));
        }
    }
    let extra = folder.join(format!("{stem}_{}.pb", declared.len()));
    if extra.exists() {
        let message = format!("the model has only {} {stem}s", declared.len());
        return Err(DataError::new(extra.display(), message));
    }
    Ok(values)
}

/// A file name that stands for a value's name: what file systems refuse is replaced.
pub(crate) fn file_stem(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    let stem: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(200).collect();
    if stem.starts_with('.') { format!("_{stem}") } else { stem }
}

fn read_arrays(folder: &Path, inputs: &[NamedType], outputs: &[NamedType]) -> Result<DataSet, DataError> {
    let read = |slots: &[NamedType]| -> Result<Vec<(String, Value)>, DataError> {
        let mut values = Vec::new();
        for slot in slots {
            let path = folder.join(format!("{}.npy", file_stem(&slot.name)));
            if path.exists() {
                let what = path.display().to_string();
                let file = File::open(&path).map_err(|e| DataError::new(&what, e.to_string()))?;
                values.push((slot.name.clone(), read_npy(std::io::BufReader::new(file), &what)?.into()));
            }
        }
        Ok(values)
    };
    let set = DataSet { inputs: read(inputs)?, outputs: read(outputs)? };
    if set.inputs.is_empty() && !inputs.is_empty() {
        let names: Vec<String> = inputs.iter().map(|i| format!("{}.npy", file_stem(&i.name))).collect();
        return Err(DataError::new(folder.display(), format!("found neither input_0.pb nor any of {names:?}")));
    }
    Ok(set)
}

fn read_archive(path: &Path, inputs: &[NamedType], outputs: &[NamedType]) -> Result<DataSet, DataError> {
    let what = path.display().to_string();
    let file = File::open(path).map_err(|e| DataError::new(&what, e.to_string()))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|e| DataError::new(&what, e.to_string()))?;
    let mut read = |slots: &[NamedType]| -> Result<Vec<(String, Value)>, DataError> {
        let mut values = Vec::new();
        for slot in slots {
            let Ok(entry) = archive.by_name(&npyz::npz::file_name_from_array_name(&slot.name)) else { continue };
            let value = read_npy(entry, &format!("{what}: {}", slot.name))?;
            values.push((slot.name.clone(), value.into()));
        }
        Ok(values)
    };
    Ok(DataSet { inputs: read(inputs)?, outputs: read(outputs)? })
}

/// Saves values by name: into an archive if `path` ends in `.npz`, else into a folder of `.npy`, where a value that NumPy
/// has no type for is written as `.pb`. Returns the files written.
pub fn save_values(path: &Path, values: &[(String, Value)]) -> Result<Vec<PathBuf>, DataError> {
    if path.extension().is_some_and(|e| e == "npz") {
        return save_archive(path, values);
    }
    fs::create_dir_all(path).map_err(|e| DataError::new(path.display(), e.to_string()))?;
    let mut written = Vec::new();
    for (name, value) in values {
        let stem = file_stem(name);
        let mut array = Vec::new();
        let (file, bytes) = match value.as_tensor().and_then(|t| write_npy(&mut array, t)) {
            Some(done) => {
                done.map_err(|e| DataError::new(name, e.to_string()))?;
                (path.join(format!("{stem}.npy")), array)
            }
            None => (path.join(format!("{stem}.pb")), write_value(value, name)),
        };
        fs::write(&file, bytes).map_err(|e| DataError::new(file.display(), e.to_string()))?;
        written.push(file);
    }
    Ok(written)
}

fn save_archive(path: &Path, values: &[(String, Value)]) -> Result<Vec<PathBuf>, DataError> {
    let failed = |message: String| DataError::new(path.display(), message);
    let file = File::create(path).map_err(|e| failed(e.to_string()))?;
    let mut zip = zip::ZipWriter::new(BufWriter::new(file));
    for (name, value) in values {
        let mut array = Vec::new();
        let done = value.as_tensor().and_then(|t| write_npy(&mut array, t));
        let done = done.ok_or_else(|| {
            failed(format!("output {name:?} ({}) is nothing that NumPy has; save to a folder", value.value_type()))
        })?;
        done.map_err(|e| failed(e.to_string()))?;
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file(npyz::npz::file_name_from_array_name(name), options).map_err(|e| failed(e.to_string()))?;
        zip.write_all(&array).map_err(|e| failed(e.to_string()))?;
    }
    zip.finish().map_err(|e| failed(e.to_string()))?;
    Ok(vec![path.to_owned()])
}
