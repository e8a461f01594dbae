//! Cache-line aligned memory for packed panels, and the scratch each thread keeps between calls.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// Elements of one cache line: the width that panels of B are padded to.
pub(crate) const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// A zeroed run of `f32` that begins on a cache line.
#[derive(Clone, Default)]
pub(crate) struct AlignedBuffer {
    lines: Vec<Line>,
}

impl AlignedBuffer {
    /// Zeros, at least `len` of them.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)] }
    }

    /// Makes sure of at least `len` elements; what they hold is left over from earlier use.
    pub(crate) fn grow(&mut self, len: usize) {
        let lines = len.div_ceil(LINE);
        if self.lines.len() < lines {
            self.lines = vec![Line([0.0; LINE]); lines];
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `Line` is `repr(C)` around `[f32; LINE]` and its size is its alignment, so the vector is that many
        // initialised `f32` without gaps.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * LINE) }
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
