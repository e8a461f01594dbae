//! A model file without its weights: reading leaves out the long payloads, which go straight into tensors later.
//!
//! A file that holds its weights would otherwise be in memory twice while it is imported.

use super::schema::{FieldKind, MessageSchema, WireMessage};
use super::{MAX_DEPTH, MAX_FILE_BYTES};
use crate::onnx::external::read_exact_at;
use crate::onnx::proto::ModelProto;
use bytes::Bytes;
use memmap2::MmapMut;
use planish_tensor::read_file;
use std::fs::File;
use std::io;
use std::ops::Range;

/// Payloads from this size on are left out.
const MIN_GAP_BYTES: usize = 64 << 10;

/// What is read at once.
const WINDOW_BYTES: usize = 16 << 10;

/// The longest varint.
const MAX_VARINT_BYTES: usize = 10;

/// A file's bytes, zero in the gaps, whose pages the system never provides.
#[derive(Debug)]
pub struct Outline {
    /// As many as the file has.
    pub bytes: Bytes,
    /// Where `TensorProto.raw_data` was left out, in order.
    gaps: Vec<Range<usize>>,
}

impl Outline {
    /// Reads a model file, all but the gaps; there are none in what is no regular file.
    ///
    /// From the first byte on that is not as the schema says, everything is read: what is wrong there is found when the bytes
    /// are decoded.
    pub fn read(file: &mut File) -> io::Result<Outline> {
        let metadata = file.metadata()?;
        let size = usize::try_from(metadata.len()).ok().filter(|&size| metadata.is_file() && size <= MAX_FILE_BYTES);
        let Some(size) = size else {
            let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
            return Ok(Outline { bytes: read_file(file, limit)?, gaps: Vec::new() });
        };
        if size == 0 {
            return Ok(Outline { bytes: Bytes::new(), gaps: Vec::new() });
        }
        let mut walk = Walk { file, bytes: MmapMut::map_anon(size)?, position: 0, read_to: 0, gaps: Vec::new() };
        walk.messages(ModelProto::SCHEMA)?;
        walk.read_to(size)?;
        Ok(Outline { bytes: Bytes::from_owner(walk.bytes), gaps: walk.gaps })
    }

    /// Where in the file the payload lies that `raw`, a part of `bytes`, stands for; `None` if it was read.
    pub fn gap(&self, raw: &Bytes) -> Option<usize> {
        let start = raw.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr())?;
        let gap = &self.gaps[self.gaps.binary_search_by_key(&start, |gap| gap.start).ok()?];
        (gap.len() == raw.len()).then_some(start)
    }
}

struct Walk<'a> {
    file: &'a File,
    bytes: MmapMut,
    position: usize,
    /// Everything before is read, or in a gap.
    read_to: usize,
    gaps: Vec<Range<usize>>,
}

/// What comes behind a tag.
enum Field {
    Message(&'static MessageSchema, usize),
    Payload(usize),
    Skipped,
}

impl Walk<'_> {
    /// Walks messages until the file ends or is not as it should be.
    fn messages(&mut self, schema: &'static MessageSchema) -> io::Result<()> {
        let mut stack = vec![(schema, self.bytes.len())];
        while let Some(&(schema, end)) = stack.last() {
            if self.position >= end {
                stack.pop();
                continue;
            }
            match self.field(schema, end)? {
                Some(Field::Message(inner, len)) if stack.len() < MAX_DEPTH => stack.push((inner, self.position + len)),
                Some(Field::Payload(len)) => {
                    let payload = self.position..self.position + len;
                    self.read_to = self.read_to.max(payload.end);
                    self.position = payload.end;
                    self.gaps.push(payload);
                }
                Some(Field::Skipped) => {}
                Some(Field::Message(..)) | None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Walks a tag, and what is behind it unless that is a message or a payload. `None` for what cannot be.
    fn field(&mut self, schema: &MessageSchema, end: usize) -> io::Result<Option<Field>> {
        let Some(tag) = self.varint(end)? else { return Ok(None) };
        let len = match tag & 7 {
            0 => return Ok(self.varint(end)?.map(|_| Field::Skipped)),
            1 => 8,
            2 => match self.varint(end)?.map(usize::try_from) {
                Some(Ok(len)) => len,
                _ => return Ok(None),
            },
            5 => 4,
            _ => return Ok(None),
        };
        if len > end - self.position {
            return Ok(None);
        }
        let known = schema.fields.iter().find(|field| u64::from(field.number) == tag >> 3).filter(|_| tag & 7 == 2);
        match known.map(|field| (field.kind, field.name)) {
            Some((FieldKind::Message(inner), _)) => Ok(Some(Field::Message(inner, len))),
            Some((FieldKind::Bytes, "raw_data")) if len >= MIN_GAP_BYTES => Ok(Some(Field::Payload(len))),
            _ => {
                self.position += len;
                self.read_to(self.position)?;
                Ok(Some(Field::Skipped))
            }
        }
    }

    fn varint(&mut self, end: usize) -> io::Result<Option<u64>> {
        self.read_to(end.min(self.position + MAX_VARINT_BYTES))?;
        let mut value = 0;
        for (i, &byte) in self.bytes[self.position..end].iter().take(MAX_VARINT_BYTES).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.position += i + 1;
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Reads up to `end` at least.
    fn read_to(&mut self, end: usize) -> io::Result<()> {
        if end > self.read_to {
            let end = end.max(self.read_to + WINDOW_BYTES).min(self.bytes.len());
            read_exact_at(self.file, &mut self.bytes[self.read_to..end], self.read_to as u64)?;
            self.read_to = end;
        }
        Ok(())
    }
}
