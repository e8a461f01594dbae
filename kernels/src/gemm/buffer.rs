//! Cache-line aligned memory for packed panels, and the scratch each thread keeps between calls.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// Elements of one cache line: the width that panels of B are padded to.
pub(crate) const LINE: usize = 16;

/// The bytes of one cache line.
const LINE_BYTES: usize = LINE * size_of::<f32>();

/// A zeroed run of `f32` that begins on a cache line.
///
/// The vector is a line longer than the run, which begins somewhere in its first: a vector of lines would be zeroed by hand,
/// where the system's fresh pages are zero already.
#[derive(Default)]
pub(crate) struct AlignedBuffer {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// Zeros, at least `len` of them.
    pub(crate) fn zeroed(len: usize) -> Self {
        let len = len.next_multiple_of(LINE);
        let data = vec![0.0; len + LINE];
        let start = data.as_ptr().align_offset(LINE_BYTES);
        Self { data, start, len }
    }

    /// Makes sure of at least `len` elements; what they hold is left over from earlier use.
    pub(crate) fn grow(&mut self, len: usize) {
        if self.len < len {
            *self = AlignedBuffer::zeroed(len);
        }
    }
}

impl Clone for AlignedBuffer {
    fn clone(&self) -> Self {
        let mut copy = AlignedBuffer::zeroed(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[self.start..][..self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[self.start..][..self.len]
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
