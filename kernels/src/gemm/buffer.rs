//! Cache-line aligned memory for packed panels, and the scratch each thread keeps between calls.

use planish_tensor::{Buffer, Memory};
use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// Elements of one cache line: the width that panels of B are padded to.
pub(crate) const LINE: usize = 16;

/// A zeroed run of `f32` that begins on a cache line.
#[derive(Default)]
pub(crate) struct AlignedBuffer {
    /// Whole cache lines; none for no elements.
    lines: Option<Buffer>,
}

impl AlignedBuffer {
    /// Zeros, at least `len` of them.
    ///
    /// # Panics
    /// If the system has no memory for them.
    pub(crate) fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self::default();
        }
        let bytes = len.next_multiple_of(LINE) * size_of::<f32>();
        Self { lines: Some(Memory::global().alloc_zeroed(bytes).expect("the system has memory for packed panels")) }
    }

    /// Makes sure of at least `len` elements; what they hold is left over from earlier use.
    pub(crate) fn grow(&mut self, len: usize) {
        if self.len() < len {
            *self = AlignedBuffer::zeroed(len);
        }
    }
}

impl Clone for AlignedBuffer {
    fn clone(&self) -> Self {
        let mut copy = AlignedBuffer::zeroed(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        let bytes = self.lines.as_ref().map_or(&[][..], Buffer::bytes);
        // SAFETY: any four bytes are an `f32`. Buffers begin on a cache line and this one is whole lines long, so that
        // nothing is left over at either end.
        unsafe { bytes.align_to() }.1
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        let bytes = self.lines.as_mut().and_then(Buffer::bytes_mut).unwrap_or_default();
        // SAFETY: as in `deref`; any `f32` is four bytes.
        unsafe { bytes.align_to_mut() }.1
    }
}

/// The two packing buffers of one thread. They never outgrow one block of each operand.
#[derive(Default)]
pub(crate) struct Scratch {
    /// One block of A.
    pub(crate) a: AlignedBuffer,
    /// One block of B.
    pub(crate) b: AlignedBuffer,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

impl Scratch {
    /// Lends the calling thread's buffers to `f`; a nested call gets fresh ones.
    pub(crate) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
        let mut scratch = SCRATCH.take();
        let result = f(&mut scratch);
        SCRATCH.set(scratch);
        result
    }
}
