//! Aligned bytes: owned and charged to a budget, or shared with a file.

use crate::Memory;
use bytes::Bytes;
use memmap2::{MmapMut, MmapOptions};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::fmt;
use std::ptr::NonNull;

/// Owned buffers start at a cache line, which is also the widest vector register.
pub(crate) const ALIGN: usize = 64;

/// Buffers from this size on are mappings of their own: zero without being written, and the system's again once they are
/// freed, whatever lies around them. Weights go one by one as they are packed; holes in a heap would stay.
const MAPPED_FROM_BYTES: usize = 128 << 10;

/// Memory of its own: aligned to [`ALIGN`], initialised, of a fixed capacity.
pub(crate) struct RawBuffer {
    start: NonNull<u8>,
    capacity: usize,
    /// What `start` points into; `None` where the allocator gave it.
    mapping: Option<MmapMut>,
}

// SAFETY: a `RawBuffer` is the only owner of its bytes, as a `Box<[u8]>` is.
unsafe impl Send for RawBuffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for RawBuffer {}

impl RawBuffer {
    /// The capacity made for a request of `bytes`: whole cache lines, at least one.
    pub(crate) fn capacity_for(bytes: usize) -> Option<usize> {
        bytes.max(1).checked_next_multiple_of(ALIGN).filter(|&n| isize::try_from(n).is_ok())
    }

    /// `capacity` zero bytes, or `None` where the system has no such memory. `capacity` is from [`Self::capacity_for`].
    pub(crate) fn zeroed(capacity: usize) -> Option<RawBuffer> {
        if capacity >= MAPPED_FROM_BYTES {
            // All of it is going to be written, and pages asked for in one go cost less than one by one.
            let mut mapping = MmapOptions::new().len(capacity).populate().map_anon().ok()?;
            return Some(RawBuffer { start: NonNull::new(mapping.as_mut_ptr())?, capacity, mapping: Some(mapping) });
        }
        let layout = Self::layout(capacity)?;
        // SAFETY: the layout's size is at least one cache line, so not zero.
        let start = unsafe { alloc_zeroed(layout) };
        Some(RawBuffer { start: NonNull::new(start)?, capacity, mapping: None })
    }

    fn layout(capacity: usize) -> Option<Layout> {
        Layout::from_size_align(capacity, ALIGN).ok().filter(|l| l.size() > 0)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `start` points at `capacity` initialised bytes which live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.capacity) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
    }
}

impl Drop for RawBuffer {
    fn drop(&mut self) {
        if let (None, Some(layout)) = (&self.mapping, Self::layout(self.capacity)) {
            // SAFETY: without a mapping, `start` came from `alloc_zeroed` with this same layout and is freed once, here.
            unsafe { dealloc(self.start.as_ptr(), layout) }
        }
    }
}

/// The bytes of a tensor.
pub struct Buffer(Repr);

enum Repr {
    /// Charged to `memory`, which gets `raw` back. `raw` is `None` only while dropping.
    Owned { raw: Option<RawBuffer>, len: usize, memory: Memory },
    /// Part of a file or message that others may share; never written.
    Shared(Bytes),
}

impl Buffer {
    pub(crate) fn owned(raw: RawBuffer, len: usize, memory: Memory) -> Buffer {
        debug_assert!(len <= raw.capacity());
        Buffer(Repr::Owned { raw: Some(raw), len, memory })
    }

    /// Bytes shared with a file or message.
    pub fn shared(bytes: Bytes) -> Buffer {
        Buffer(Repr::Shared(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Owned { raw: Some(raw), len, .. } => &raw.bytes()[..*len],
            Repr::Owned { raw: None, .. } => &[],
            Repr::Shared(bytes) => bytes,
        }
    }

    /// The bytes to write, where this buffer owns them.
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        match &mut self.0 {
            Repr::Owned { raw: Some(raw), len, .. } => Some(&mut raw.bytes_mut()[..*len]),
            Repr::Owned { raw: None, .. } | Repr::Shared(_) => None,
        }
    }

    /// Whether the bytes are charged to a budget and may be written.
    pub fn is_owned(&self) -> bool {
        matches!(self.0, Repr::Owned { .. })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Repr::Owned { raw, memory, .. } = &mut self.0
            && let Some(raw) = raw.take()
        {
            memory.give_back(raw);
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_owned() { "owned" } else { "shared" };
        write!(f, "Buffer({kind}, {} bytes)", self.bytes().len())
    }
}
