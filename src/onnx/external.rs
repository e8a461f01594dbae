//! Tensor data in files beside the model: the one place that opens them.
//!
//! A model names its data files itself, and a model is not to be trusted. So a location is taken relative to the model's
//! folder and resolved beneath it, component by component without following symbolic links; what is opened must be a
//! regular file with one name; offset and length are held against the size of the opened handle, not of a path.

use crate::onnx::error::ImportError;
use crate::onnx::proto::StringStringEntryProto;
use crate::onnx::wire::Outline;
use bytes::Bytes;
use planish_tensor::{DType, Memory, RawTensorMut, Shape, Tensor, map_file};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The data files that a model may use: those beneath its folder, or none; and its own, for what was not read of it.
#[derive(Debug)]
pub struct ExternalFiles {
    folder: Option<Folder>,
    is_mapped: bool,
    /// The model's own file, and which payloads are still to be read from it.
    own: Option<(Outline, File)>,
    opened: Mutex<Opened>,
}

/// What was opened and read so far.
#[derive(Debug, Default)]
struct Opened {
    /// The file used last: neighbours in the model are neighbours in the file.
    last: Option<(String, DataFile)>,
    mapped: HashMap<String, Bytes>,
    /// Tensors by the range that they were read from, so that tied weights are read once.
    tensors: HashMap<(Range, DType, Shape), Tensor>,
}

/// An opened data file and its size.
#[derive(Debug)]
struct DataFile {
    file: File,
    size: u64,
}

/// Where a tensor's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Range {
    location: String,
    offset: u64,
    length: Option<u64>,
}

impl ExternalFiles {
    /// No data files: a model that uses one is refused. For models that come from memory.
    pub fn none() -> ExternalFiles {
        ExternalFiles { folder: None, is_mapped: false, own: None, opened: Mutex::default() }
    }

    /// The data files beneath `folder`.
    pub fn beneath(folder: &Path) -> Result<ExternalFiles, ImportError> {
        let opened = Folder::open(folder)
            .map_err(|e| ImportError::io(format_args!("cannot open the folder {}", folder.display()), e))?;
        Ok(ExternalFiles { folder: Some(opened), is_mapped: false, own: None, opened: Mutex::default() })
    }

    /// Maps data files into memory instead of reading them. See [`map_file`] for what that demands of the files.
    #[must_use]
    pub fn mapped(self, is_mapped: bool) -> ExternalFiles {
        ExternalFiles { is_mapped, ..self }
    }

    /// Reads the payloads that `outline` leaves out from `file`, the model's own.
    #[must_use]
    pub(crate) fn with_gaps(self, outline: Outline, file: File) -> ExternalFiles {
        ExternalFiles { own: Some((outline, file)), ..self }
    }

    /// The tensor of this dtype and shape whose elements are `raw`, a byte field of the model.
    pub(crate) fn raw(&self, raw: &Bytes, memory: &Memory, dtype: DType, shape: Shape) -> Result<Tensor, ImportError> {
        let gap = self.own.as_ref().and_then(|(outline, file)| Some((outline.gap(raw)?, file)));
        let fits = dtype != DType::String && expected_bytes(dtype, &shape) == raw.len();
        match gap {
            Some((start, file)) if fits => read_tensor(file, start as u64, memory, dtype, shape),
            _ => Ok(Tensor::from_bytes(memory, dtype, shape, raw.clone())?),
        }
    }

    /// The tensor of this dtype and shape that `entries` (`TensorProto.external_data`) point to.
    pub fn load(
        &self,
        entries: &[StringStringEntryProto],
        memory: &Memory,
        dtype: DType,
        shape: Shape,
    ) -> Result<Tensor, ImportError> {
        let range = Range::parse(entries)?;
        let place = format!("external data {:?}", range.location);
        self.load_range(range, memory, dtype, shape).map_err(|e| e.at(place))
    }

    fn load_range(&self, range: Range, memory: &Memory, dtype: DType, shape: Shape) -> Result<Tensor, ImportError> {
        let Some(folder) = &self.folder else {
            return Err(ImportError::external("the model was not read from a file, so it has no data files"));
        };
        if dtype == DType::String {
            return Err(ImportError::invalid("strings cannot lie in another file"));
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (range, dtype, shape);
        if let Some(tensor) = opened.tensors.get(&key) {
            return Ok(tensor.clone());
        }
        let (range, dtype, shape) = &key;
        let tensor = if self.is_mapped {
            opened.map(folder, range, memory, *dtype, shape.clone())?
        } else {
            opened.read(folder, range, memory, *dtype, shape.clone())?
        };
        opened.tensors.insert(key, tensor.clone());
        Ok(tensor)
    }
}

impl Opened {
    /// A tensor read from a range.
    fn read(
        &mut self,
        folder: &Folder,
        range: &Range,
        memory: &Memory,
        dtype: DType,
        shape: Shape,
    ) -> Result<Tensor, ImportError> {
        let data = self.file(folder, &range.location)?;
        let expected = expected_bytes(dtype, &shape);
        range.check(data.size, expected)?;
        read_tensor(&data.file, range.offset, memory, dtype, shape)
    }

    /// A tensor over a mapped file; the file is mapped once.
    fn map(
        &mut self,
        folder: &Folder,
        range: &Range,
        memory: &Memory,
        dtype: DType,
        shape: Shape,
    ) -> Result<Tensor, ImportError> {
        if !self.mapped.contains_key(&range.location) {
            let data = self.file(folder, &range.location)?;
            let bytes = map_file(&data.file).map_err(|e| ImportError::io("cannot map", e))?;
            self.mapped.insert(range.location.clone(), bytes);
        }
        let file = self.mapped.get(&range.location).cloned().unwrap_or_default();
        let expected = expected_bytes(dtype, &shape);
        let size = u64::try_from(file.len()).unwrap_or(u64::MAX);
        range.check(size, expected)?;
        let start = usize::try_from(range.offset).map_err(|_| ImportError::external("the offset is out of range"))?;
        Ok(Tensor::from_bytes(memory, dtype, shape, file.slice(start..start + expected))?)
    }

    fn file(&mut self, folder: &Folder, location: &str) -> Result<&DataFile, ImportError> {
        let is_open = self.last.as_ref().is_some_and(|(name, _)| name == location);
        if !is_open {
            let file = folder.open_beneath(location)?;
            let size = file.metadata().map_err(|e| ImportError::io("cannot look at the file", e))?.len();
            self.last = Some((location.to_owned(), DataFile { file, size }));
        }
        match &self.last {
            Some((_, data)) => Ok(data),
            None => Err(ImportError::external("the file is not open")),
        }
    }
}

/// Reads elements straight into the buffer of a tensor.
fn read_tensor(file: &File, offset: u64, memory: &Memory, dtype: DType, shape: Shape) -> Result<Tensor, ImportError> {
    let mut tensor = RawTensorMut::uninit(memory, dtype, shape)?;
    let bytes = tensor.bytes_mut();
    read_exact_at(file, bytes, offset).map_err(|e| ImportError::io("cannot read", e))?;
    to_native_order(dtype, bytes);
    Ok(tensor.freeze())
}

fn expected_bytes(dtype: DType, shape: &Shape) -> usize {
    dtype.bytes_for(shape.num_elements()).unwrap_or(usize::MAX)
}

impl Range {
    /// Reads the closed set of keys; others (`checksum`, what tools add) are not obeyed.
    fn parse(entries: &[StringStringEntryProto]) -> Result<Range, ImportError> {
        let location = unique(entries, "location")?
            .ok_or_else(|| ImportError::external("the external data has no \"location\""))?;
        let number = |key: &str| match unique(entries, key)? {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(ImportError::external(format!("{key:?} is not a number: {text:?}"))),
            },
        };
        Ok(Range { location: location.to_owned(), offset: number("offset")?.unwrap_or(0), length: number("length")? })
    }

    /// Whether the range lies in a file of `size` bytes and holds exactly `expected`.
    fn check(&self, size: u64, expected: usize) -> Result<(), ImportError> {
        let expected = u64::try_from(expected).unwrap_or(u64::MAX);
        if let Some(length) = self.length.filter(|&length| length != expected) {
            return Err(ImportError::external(format!("the tensor takes {expected} bytes, \"length\" is {length}")));
        }
        if self.offset > size || expected > size - self.offset {
            let offset = self.offset;
            return Err(ImportError::external(format!(
                "{expected} bytes at offset {offset} run past the end of the file ({size} bytes)"
            )));
        }
        Ok(())
    }
}

/// The value of `key`, refused if there are two.
fn unique<'a>(entries: &'a [StringStringEntryProto], key: &str) -> Result<Option<&'a str>, ImportError> {
    let mut values = entries.iter().filter(|e| e.key == key).map(|e| e.value.as_str());
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(ImportError::external(format!("the external data has two entries {key:?}"))),
    }
}

/// Splits a location into components that go down only.
fn components(location: &str) -> Result<Vec<&str>, ImportError> {
    let refuse = |why| Err(ImportError::external(format!("{why}, and data files must lie beneath the model's folder")));
    if location.is_empty() {
        return refuse("the location is empty");
    }
    if location.contains('\0') {
        return refuse("the location holds a NUL");
    }
    if location.contains('\\') || location.get(1..2) == Some(":") {
        return refuse("the location is not a plain relative path");
    }
    if location.starts_with('/') {
        return refuse("the location is absolute");
    }
    let parts: Vec<&str> = location.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return refuse("the location goes up with \"..\"");
    }
    if parts.is_empty() || location.ends_with('/') {
        return refuse("the location names no file");
    }
    Ok(parts)
}

/// Turns the file's little-endian elements into the machine's.
fn to_native_order(dtype: DType, bytes: &mut [u8]) {
    if cfg!(target_endian = "little") || dtype.bits() <= 8 {
        return;
    }
    let is_complex = matches!(dtype, DType::Complex64 | DType::Complex128);
    let part = if is_complex { dtype.bits() / 16 } else { dtype.bits() / 8 };
    bytes.chunks_exact_mut(part).for_each(<[u8]>::reverse);
}

/// Fills `bytes` with what `file` holds from `offset` on.
#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Fills `bytes` with what `file` holds from `offset` on.
#[cfg(not(unix))]
pub(super) fn read_exact_at(mut file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

#[cfg(unix)]
use unix::Folder;

#[cfg(unix)]
mod unix {
    //! Opening beneath a folder's handle.

    use super::{ImportError, components};
    use rustix::fd::{AsFd, OwnedFd};
    use rustix::fs::{Mode, OFlags, openat};
    use rustix::io::Errno;
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    /// Without `NONBLOCK`, opening a pipe that nobody writes to would wait for ever.
    const FILE_FLAGS: OFlags =
        OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::NOCTTY);

    /// A folder held open, so that renaming it changes nothing.
    #[derive(Debug)]
    pub(super) struct Folder(OwnedFd);

    impl Folder {
        pub(super) fn open(path: &Path) -> io::Result<Folder> {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            Ok(Folder(File::open(path)?.into()))
        }

        /// Opens a regular file with one name beneath this folder.
        pub(super) fn open_beneath(&self, location: &str) -> Result<File, ImportError> {
            let parts = components(location)?;
            let opened = match self.open_at_once(&parts.join("/")) {
                Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => self.open_stepwise(&parts),
                opened => opened,
            };
            let file = File::from(opened.map_err(refused)?);
            let metadata = file.metadata().map_err(|e| ImportError::io("cannot look at the file", e))?;
            if !metadata.is_file() {
                return Err(ImportError::external("it is not a regular file"));
            }
            if metadata.nlink() != 1 {
                let links = metadata.nlink();
                return Err(ImportError::external(format!("the file has {links} names (hard links), expected one")));
            }
            Ok(file)
        }

        /// Lets the system resolve the path, beneath the folder and without links.
        #[cfg(target_os = "linux")]
        fn open_at_once(&self, path: &str) -> Result<OwnedFd, Errno> {
            use rustix::fs::{ResolveFlags, openat2};
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            openat2(self.0.as_fd(), path, FILE_FLAGS, Mode::empty(), resolve)
        }

        #[cfg(not(target_os = "linux"))]
        fn open_at_once(&self, _path: &str) -> Result<OwnedFd, Errno> {
            Err(Errno::NOSYS)
        }

        /// Opens one component after the other, each from the handle of the one before it and never through a link.
        pub(super) fn open_stepwise(&self, parts: &[&str]) -> Result<OwnedFd, Errno> {
            let (name, folders) = parts.split_last().ok_or(Errno::NOENT)?;
            let mut folder: Option<OwnedFd> = None;
            for part in folders {
                let from = folder.as_ref().map_or(self.0.as_fd(), AsFd::as_fd);
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                folder = Some(openat(from, *part, flags, Mode::empty())?);
            }
            openat(folder.as_ref().map_or(self.0.as_fd(), AsFd::as_fd), *name, FILE_FLAGS, Mode::empty())
        }
    }

    fn refused(errno: Errno) -> ImportError {
        match errno {
            Errno::LOOP | Errno::XDEV | Errno::NOTDIR => {
                ImportError::external("the path goes through a symbolic link or something that is no folder")
            }
            Errno::NOENT => ImportError::external("no such file in the model's folder"),
            other => ImportError::external(format!("cannot open the file: {}", io::Error::from(other))),
        }
    }
}

#[cfg(not(unix))]
#[derive(Debug)]
struct Folder(std::path::PathBuf);

#[cfg(not(unix))]
impl Folder {
    fn open(path: &Path) -> io::Result<Folder> {
        path.canonicalize().map(Folder)
    }

    /// Opens a regular file whose path, links resolved, is the one that the location spells.
    fn open_beneath(&self, location: &str) -> Result<File, ImportError> {
        let path = components(location)?.iter().fold(self.0.clone(), |path, part| path.join(part));
        let cannot = |e: io::Error| ImportError::external(format!("cannot open the file: {e}"));
        let resolved = path.canonicalize().map_err(cannot)?;
        if resolved != path || !resolved.starts_with(&self.0) {
            return Err(ImportError::external("the path goes through a symbolic link"));
        }
        let file = File::open(resolved).map_err(cannot)?;
        let is_file = file.metadata().map_err(cannot)?.is_file();
        if is_file { Ok(file) } else { Err(ImportError::external("it is not a regular file")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::error::ImportErrorKind;
    use std::fs;

    fn entry(key: &str, value: &str) -> StringStringEntryProto {
        StringStringEntryProto { key: key.to_owned(), value: value.to_owned() }
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("planish-external-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("model/deep")).unwrap();
        fs::write(path.join("model/w.bin"), (0..16u8).collect::<Vec<_>>()).unwrap();
        fs::write(path.join("model/deep/w.bin"), [7; 4]).unwrap();
        fs::write(path.join("secret"), [1; 4]).unwrap();
        path
    }

    fn load(files: &ExternalFiles, entries: &[StringStringEntryProto], elements: usize) -> Result<Tensor, ImportError> {
        let shape = Shape::new(&[elements]).unwrap();
        files.load(entries, Memory::global(), DType::U8, shape)
    }

    #[test]
    fn ranges_are_read_and_mapped_alike() {
        let path = folder("ranges");
        for is_mapped in [false, true] {
            let files = ExternalFiles::beneath(&path.join("model")).unwrap().mapped(is_mapped);
            let entries =
                [entry("location", "w.bin"), entry("offset", "3"), entry("length", "2"), entry("basepath", "/")];
            assert_eq!(load(&files, &entries, 2).unwrap().bytes(), &[3, 4]);
            assert_eq!(load(&files, &[entry("location", "./deep/w.bin")], 4).unwrap().bytes(), &[7; 4]);
            let again = load(&files, &entries, 2).unwrap();
            assert!(again.shares_contents_with(&load(&files, &entries, 2).unwrap()), "tied weights are read once");
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn ranges_outside_the_file_are_refused() {
        let path = folder("outside");
        let files = ExternalFiles::beneath(&path.join("model")).unwrap();
        let cases = [
            vec![entry("offset", "15")],
            vec![entry("offset", "17")],
            vec![entry("offset", "18446744073709551615")],
            vec![entry("offset", "-1")],
            vec![entry("length", "3")],
            vec![entry("offset", "1"), entry("offset", "2")],
            vec![entry("location", "deep/w.bin")],
        ];
        for mut entries in cases {
            entries.push(entry("location", "w.bin"));
            let error = load(&files, &entries, 2).unwrap_err();
            assert_eq!(error.kind(), ImportErrorKind::External, "{error}");
        }
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn nothing_outside_the_folder_is_opened() {
        let path = folder("escape");
        let absolute = path.join("secret").display().to_string();
        let files = ExternalFiles::beneath(&path.join("model")).unwrap();
        for location in
            ["../secret", "deep/../../secret", &absolute, "", ".", "deep", "deep/", "w.bin\0", "..\\secret", "C:w"]
        {
            let error = load(&files, &[entry("location", location)], 4).unwrap_err();
            assert_eq!(error.kind(), ImportErrorKind::External, "{location}: {error}");
        }
        assert!(load(&ExternalFiles::none(), &[entry("location", "w.bin")], 4).is_err());
        fs::remove_dir_all(path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_are_refused() {
        use std::os::unix::fs::symlink;
        let path = folder("links");
        let model = path.join("model");
        symlink(path.join("secret"), model.join("link")).unwrap();
        symlink("w.bin", model.join("inner-link")).unwrap();
        symlink(&path, model.join("parent")).unwrap();
        fs::hard_link(path.join("secret"), model.join("hard")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(model.join("pipe")).status().unwrap();
        assert!(made.success());
        let files = ExternalFiles::beneath(&model).unwrap();
        for location in ["link", "inner-link", "parent/secret", "hard", "pipe"] {
            let error = load(&files, &[entry("location", location)], 4).unwrap_err();
            assert_eq!(error.kind(), ImportErrorKind::External, "{location}: {error}");
        }
        let folder = Folder::open(&model).unwrap();
        for parts in [&["link"][..], &["inner-link"], &["parent", "secret"]] {
            assert!(folder.open_stepwise(parts).is_err(), "{parts:?}");
        }
        assert!(folder.open_stepwise(&["deep", "w.bin"]).is_ok());
        fs::remove_dir_all(path).unwrap();
    }
}
