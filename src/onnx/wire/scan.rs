//! The walk over a file's structure that comes before decoding.
//!
//! It looks at every tag, length and string once, with a stack of its own instead of recursion, and adds up what prost
//! will allocate. Being right about that sum rests on how prost decodes: it fills vectors by pushing one element at a
//! time, gives each string exactly its length, and lets byte fields share the file.

use std::fmt::Write as _;

use bytes::Bytes;

use super::schema::{ATTRIBUTE_PROTO, FieldKind, FieldSchema, MAX_FIELDS, MessageSchema, NODE_PROTO};
use super::{MAX_ATTRIBUTES_PER_NODE, MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, memory_limit_bytes};
use super::{WireError, WireErrorKind};

/// What decoding takes whatever the file holds: the scan's own stack, and the count of who shares the file.
const FIXED_BYTES: usize = 64 << 10;

const WIRE_VARINT: u64 = 0;
const WIRE_FIXED64: u64 = 1;
const WIRE_LENGTH: u64 = 2;
const WIRE_GROUP_START: u64 = 3;
const WIRE_GROUP_END: u64 = 4;
const WIRE_FIXED32: u64 = 5;

/// Finds the first fault in `file` read as a message of `schema`, or answers with an upper bound of the bytes that
/// decoding it will allocate.
pub(super) fn scan(schema: &'static MessageSchema, file: &[u8]) -> Result<usize, WireError> {
    let mut scan = Scan {
        file,
        position: 0,
        stack: vec![Frame::new(schema, file.len())],
        nodes: 0,
        memory_bytes: FIXED_BYTES,
        memory_limit_bytes: memory_limit_bytes(file.len()),
    };
    match scan.run() {
        Ok(()) => Ok(scan.memory_bytes),
        Err(fault) => Err(WireError {
            kind: fault.kind,
            offset: fault.offset,
            message: format!("{}: {}", scan.path(), fault.what),
            cause: None,
        }),
    }
}

struct Scan<'a> {
    file: &'a [u8],
    position: usize,
    /// The messages around `position`, outermost first.
    stack: Vec<Frame>,
    nodes: usize,
    memory_bytes: usize,
    memory_limit_bytes: usize,
}

/// A message being walked.
struct Frame {
    schema: &'static MessageSchema,
    /// The byte after its last; never beyond its parent's end, nor the file's.
    end: usize,
    /// The field being walked, as an index into `schema.fields`; none for one the schema does not know.
    field: Option<usize>,
    /// For each field of the schema, how many elements have been walked, or entered if they are messages.
    seen: [usize; MAX_FIELDS],
}

struct Fault {
    kind: WireErrorKind,
    offset: usize,
    what: String,
}

fn fault<T>(kind: WireErrorKind, offset: usize, what: String) -> Result<T, Fault> {
    Err(Fault { kind, offset, what })
}

impl Frame {
    fn new(schema: &'static MessageSchema, end: usize) -> Self {
        Frame { schema, end, field: None, seen: [0; MAX_FIELDS] }
    }

    /// How many elements of the field being walked are counted.
    fn seen(&self) -> usize {
        self.field.and_then(|index| self.seen.get(index)).copied().unwrap_or(0)
    }
}

impl Scan<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        if self.file.len() > MAX_FILE_BYTES {
            let what = format!("{} bytes; a protobuf file holds at most {MAX_FILE_BYTES}", self.file.len());
            return fault(WireErrorKind::TooMany, 0, what);
        }
        while let Some(frame) = self.stack.last_mut() {
            frame.field = None;
            if self.position < frame.end {
                self.field()?;
            } else {
                self.stack.pop();
            }
        }
        Ok(())
    }

    /// Walks one field: all of it, or, if it is a message, up to that message's first byte.
    fn field(&mut self) -> Result<(), Fault> {
        let offset = self.position;
        let tag = self.varint("tag")?;
        let (number, wire_type) = (tag >> 3, tag & 7);
        if number == 0 || tag > u64::from(u32::MAX) {
            let what = format!("field number {number} at byte {offset} does not exist");
            return fault(WireErrorKind::BadTag, offset, what);
        }
        if wire_type == WIRE_GROUP_START || wire_type == WIRE_GROUP_END {
            return fault(WireErrorKind::BadTag, offset, format!("group at byte {offset}; ONNX has none"));
        }
        if wire_type > WIRE_FIXED32 {
            let what = format!("wire type {wire_type} at byte {offset} does not exist");
            return fault(WireErrorKind::BadTag, offset, what);
        }
        match self.enter_field(number) {
            Some(field) => self.known_field(field, wire_type, offset),
            None => self.skip(wire_type),
        }
    }

    /// Notes which field of the current message is being walked.
    fn enter_field(&mut self, number: u64) -> Option<&'static FieldSchema> {
        let frame = self.stack.last_mut()?;
        let fields = frame.schema.fields;
        frame.field = fields.iter().position(|field| u64::from(field.number) == number);
        frame.field.and_then(|index| fields.get(index))
    }

    fn known_field(&mut self, field: &'static FieldSchema, wire_type: u64, offset: usize) -> Result<(), Fault> {
        match (field.kind, wire_type) {
            (FieldKind::Varint { element_bytes }, WIRE_VARINT) => {
                self.varint("value")?;
                self.elements(field, 1, element_bytes)
            }
            (FieldKind::Fixed32, WIRE_FIXED32) => {
                self.advance(4)?;
                self.elements(field, 1, 4)
            }
            (FieldKind::Fixed64, WIRE_FIXED64) => {
                self.advance(8)?;
                self.elements(field, 1, 8)
            }
            (FieldKind::Varint { element_bytes }, WIRE_LENGTH) if field.repeated => {
                self.packed_varints(field, element_bytes)
            }
            (FieldKind::Fixed32, WIRE_LENGTH) if field.repeated => self.packed_fixed(field, 4),
            (FieldKind::Fixed64, WIRE_LENGTH) if field.repeated => self.packed_fixed(field, 8),
            (FieldKind::Bytes, WIRE_LENGTH) => {
                let end = self.length()?;
                self.position = end;
                self.elements(field, 1, size_of::<Bytes>())
            }
            (FieldKind::String, WIRE_LENGTH) => self.string(field),
            (FieldKind::Message(schema), WIRE_LENGTH) => self.enter_message(field, schema, offset),
            _ => {
                let what = format!("wire type {wire_type} at byte {offset} is not that of this field");
                fault(WireErrorKind::WrongWireType, offset, what)
            }
        }
    }

    /// Walks over a value that prost will drop.
    fn skip(&mut self, wire_type: u64) -> Result<(), Fault> {
        match wire_type {
            WIRE_VARINT => self.varint("value").map(drop),
            WIRE_FIXED64 => self.advance(8),
            WIRE_FIXED32 => self.advance(4),
            _ => {
                self.position = self.length()?;
                Ok(())
            }
        }
    }

    fn packed_varints(&mut self, field: &FieldSchema, element_bytes: usize) -> Result<(), Fault> {
        let end = self.length()?;
        let mut count = 0;
        while self.position < end {
            self.varint_before(end, "value")?;
            count += 1;
        }
        self.elements(field, count, element_bytes)
    }

    fn packed_fixed(&mut self, field: &FieldSchema, element_bytes: usize) -> Result<(), Fault> {
        let end = self.length()?;
        let length = end - self.position;
        if !length.is_multiple_of(element_bytes) {
            let what = format!("{length} bytes before byte {end} are no whole number of {element_bytes}-byte values");
            return fault(WireErrorKind::Truncated, end, what);
        }
        self.position = end;
        self.elements(field, length / element_bytes, element_bytes)
    }

    fn string(&mut self, field: &FieldSchema) -> Result<(), Fault> {
        let end = self.length()?;
        let text = self.file.get(self.position..end).unwrap_or_default();
        if let Err(error) = std::str::from_utf8(text) {
            let offset = self.position + error.valid_up_to();
            return fault(WireErrorKind::InvalidUtf8, offset, format!("byte {offset} is not UTF-8"));
        }
        self.position = end;
        if !text.is_empty() {
            self.charge(text.len().max(8))?;
        }
        self.elements(field, 1, size_of::<String>())
    }

    /// Starts the walk of a message: holds it against the limits, counts it and puts it on the stack.
    fn enter_message(
        &mut self,
        field: &FieldSchema,
        schema: &'static MessageSchema,
        offset: usize,
    ) -> Result<(), Fault> {
        let before = self.seen();
        if !field.repeated && before > 0 {
            return fault(WireErrorKind::Duplicate, offset, format!("appears again at byte {offset}"));
        }
        if self.stack.len() >= MAX_DEPTH {
            let what = format!("messages at byte {offset} are nested deeper than {MAX_DEPTH}");
            return fault(WireErrorKind::TooDeep, offset, what);
        }
        if std::ptr::eq(schema, &NODE_PROTO) {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                return fault(WireErrorKind::TooMany, offset, format!("more than {MAX_NODES} nodes at byte {offset}"));
            }
        }
        if std::ptr::eq(schema, &ATTRIBUTE_PROTO) && before >= MAX_ATTRIBUTES_PER_NODE {
            let what = format!("more than {MAX_ATTRIBUTES_PER_NODE} attributes at byte {offset}");
            return fault(WireErrorKind::TooMany, offset, what);
        }
        let end = self.length()?;
        self.elements(field, 1, schema.size_bytes)?;
        self.stack.push(Frame::new(schema, end));
        Ok(())
    }

    /// Charges and counts `count` elements of the field being walked, each of which takes `element_bytes` where it is
    /// kept. A single number, string or byte string is kept in its message, which is charged already.
    fn elements(&mut self, field: &FieldSchema, count: usize, element_bytes: usize) -> Result<(), Fault> {
        let before = self.seen();
        let after = before + count;
        if field.repeated {
            self.charge(vec_bytes(after, element_bytes) - vec_bytes(before, element_bytes))?;
        } else if matches!(field.kind, FieldKind::Message(_)) {
            self.charge(element_bytes)?;
        }
        if let Some(frame) = self.stack.last_mut()
            && let Some(seen) = frame.field.and_then(|index| frame.seen.get_mut(index))
        {
            *seen = after;
        }
        Ok(())
    }

    /// How many elements of the field being walked came before.
    fn seen(&self) -> usize {
        self.stack.last().map_or(0, Frame::seen)
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        self.memory_bytes = self.memory_bytes.saturating_add(bytes);
        if self.memory_bytes <= self.memory_limit_bytes {
            return Ok(());
        }
        let what = format!(
            "what comes before byte {} takes more than {} bytes of memory, too much for a file of {}",
            self.position,
            self.memory_limit_bytes,
            self.file.len()
        );
        fault(WireErrorKind::TooMuchMemory, self.position, what)
    }

    /// Reads a length and answers with the byte after what it spans.
    fn length(&mut self) -> Result<usize, Fault> {
        let offset = self.position;
        let length = self.varint("length")?;
        let left = self.end().saturating_sub(self.position);
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok(self.position + length),
            _ => {
                let what = format!("length {length} at byte {offset} runs past the end ({left} bytes left)");
                fault(WireErrorKind::Truncated, offset, what)
            }
        }
    }

    fn advance(&mut self, bytes: usize) -> Result<(), Fault> {
        let left = self.end().saturating_sub(self.position);
        if bytes > left {
            let offset = self.position;
            return fault(WireErrorKind::Truncated, offset, format!("value at byte {offset} is cut off"));
        }
        self.position += bytes;
        Ok(())
    }

    fn varint(&mut self, role: &str) -> Result<u64, Fault> {
        self.varint_before(self.end(), role)
    }

    /// Reads a variable-length integer that lies before byte `end`; `role` says what it is for.
    #[inline]
    fn varint_before(&mut self, end: usize, role: &str) -> Result<u64, Fault> {
        let bytes = self.file.get(self.position..end).unwrap_or_default();
        match bytes.first() {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(bytes, role),
        }
    }

    /// Reads a variable-length integer of two bytes or more at the start of `bytes`, which are those from `position`.
    fn long_varint(&mut self, bytes: &[u8], role: &str) -> Result<u64, Fault> {
        let offset = self.position;
        let mut value = 0;
        for (index, &byte) in bytes.iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                let what = format!("{role} at byte {offset} has more than 64 bits");
                return fault(WireErrorKind::BadVarint, offset, what);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.position = offset + index + 1;
                return Ok(value);
            }
        }
        fault(WireErrorKind::Truncated, offset, format!("{role} at byte {offset} is cut off"))
    }

    /// Where the innermost message ends.
    fn end(&self) -> usize {
        self.stack.last().map_or(0, |frame| frame.end)
    }

    /// The field being walked, as one would write it in code: `graph.node[3].attribute[0].t`.
    fn path(&self) -> String {
        let mut path = String::new();
        for (depth, frame) in self.stack.iter().enumerate() {
            let Some(field) = frame.field.and_then(|index| frame.schema.fields.get(index)) else {
                continue;
            };
            let dot = if path.is_empty() { "" } else { "." };
            let _ = write!(path, "{dot}{}", field.name);
            if field.repeated {
                let innermost = depth + 1 == self.stack.len();
                let entered = usize::from(!innermost);
                let _ = write!(path, "[{}]", frame.seen().saturating_sub(entered));
            }
        }
        match self.stack.first() {
            Some(frame) if path.is_empty() => frame.schema.name.to_owned(),
            _ => path,
        }
    }
}

/// What a vector takes that was grown to `count` elements by pushing them one at a time.
fn vec_bytes(count: usize, element_bytes: usize) -> usize {
    if count == 0 {
        return 0;
    }
    let least = if element_bytes <= 1024 { 4 } else { 1 };
    count.max(least).next_power_of_two().saturating_mul(element_bytes)
}
