//! Cache-line aligned bytes.

use std::ops::{Deref, DerefMut};

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A run of bytes, zeroed where it was made, that begins on a cache line.
#[derive(Clone, Default)]
pub(crate) struct AlignedBytes {
    lines: Vec<Line>,
}

impl AlignedBytes {
    /// Makes it at least `len` bytes long; what they hold is left over from earlier use.
    pub(crate) fn grow(&mut self, len: usize) {
        let lines = len.div_ceil(size_of::<Line>());
        if self.lines.len() < lines {
            self.lines = vec![Line([0; 64]); lines];
        }
    }

    /// Zeros, at least `len` of them.
    pub(crate) fn zeroed(len: usize) -> Self {
        let mut bytes = Self::default();
        bytes.grow(len);
        bytes
    }

    /// The bytes as the bits of numbers.
    pub(crate) fn as_floats(&self) -> &[f32] {
        // SAFETY: all bits are an `f32`, and lines of 64 bytes are aligned and as long as sixteen of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * size_of::<Line>() / 4) }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `Line` is `repr(C)` around 64 bytes and as large as them, so the vector is that many initialised bytes.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * size_of::<Line>()) }
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * size_of::<Line>()) }
    }
}
