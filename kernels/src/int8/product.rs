//! The blocked product of 8-bit operands.
//!
//! Sums are formed over the whole depth at once, since integer panels are small: a tile is finished when it is stored.

use std::cell::Cell;
use std::ops::Range;

use super::codes::{Code, Quantized};
use super::pack::{PackedA8, PackedB8, pack_columns, panel_len};
use super::tile::{MR, NR, Sums, Tile, kernel};
use crate::gemm::{share, steps};
use crate::{Isa, Threads};

/// Numbers of a block of the left operand that is packed as it is needed.
const BLOCK_A_LEN: usize = 96 * 1024;

/// Codes of a block of the right operand that is packed as it is needed.
const BLOCK_B_LEN: usize = 256 * 1024;

/// The left operand.
#[derive(Clone, Copy)]
pub enum Lhs8<'a> {
    /// Unsigned codes as they lie in memory.
    U8(Quantized<'a, u8>),
    /// Signed codes as they lie in memory.
    I8(Quantized<'a, i8>),
    /// Packed before.
    Packed(&'a PackedA8),
}

/// The right operand.
#[derive(Clone, Copy)]
pub enum Rhs8<'a> {
    /// Unsigned codes as they lie in memory.
    U8(Quantized<'a, u8>),
    /// Signed codes as they lie in memory.
    I8(Quantized<'a, i8>),
    /// Packed before.
    Packed(&'a PackedB8),
}

macro_rules! from {
    ($($operand:ident :: $variant:ident ($source:ty)),*) => {
        $(impl<'a> From<$source> for $operand<'a> {
            fn from(operand: $source) -> Self {
                $operand::$variant(operand)
            }
        })*
    };
}

from!(
    Lhs8::U8(Quantized<'a, u8>),
    Lhs8::I8(Quantized<'a, i8>),
    Lhs8::Packed(&'a PackedA8),
    Rhs8::U8(Quantized<'a, u8>),
    Rhs8::I8(Quantized<'a, i8>),
    Rhs8::Packed(&'a PackedB8)
);

/// Something that can be read as panels of columns: a matrix of codes, or the patches of a convolution's input.
pub(super) trait Panels8: Sync {
    /// Writes `columns`, panel after panel; what lies beyond the last column is of no matter.
    fn pack(&self, isa: Isa, columns: Range<usize>, out: &mut [i8]);

    /// The signed zero points of `columns`.
    fn zero_points(&self, columns: Range<usize>) -> Vec<i32>;
}

impl<T: Code> Panels8 for Quantized<'_, T> {
    fn pack(&self, _: Isa, columns: Range<usize>, out: &mut [i8]) {
        pack_columns(&self.codes, columns, out);
    }

    fn zero_points(&self, columns: Range<usize>) -> Vec<i32> {
        self.zero_points.signed(columns)
    }
}

/// The right operand, whatever it is.
#[derive(Clone, Copy)]
pub(super) enum Right8<'a> {
    Packed(&'a PackedB8),
    Panels(&'a dyn Panels8),
}

/// One product to be computed: `rows` × `depth` times `depth` × `columns`.
pub(super) struct Product8<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
    pub(super) left: Lhs8<'a>,
    pub(super) right: Right8<'a>,
}

/// The buffers of one thread.
#[derive(Default)]
struct Scratch {
    a: PackedA8,
    b: Vec<i8>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Where C lies. Tasks write disjoint rectangles of it.
#[derive(Clone, Copy)]
struct Output {
    start: *mut i32,
    row_stride: usize,
}

// SAFETY: it stands for a `&mut [i32]` of which tasks write rectangles that have no element in common.
unsafe impl Sync for Output {}

/// Panels of the right operand, from the first column of a block on.
struct Columns<'a> {
    panels: &'a [i8],
    zero_points: &'a [i32],
}

impl Product8<'_> {
    /// Computes the product into `c`, whose rows are `c_row_stride` apart.
    ///
    /// # Panics
    /// If an operand or `c` does not have the stated size.
    pub(super) fn run(&self, isa: Isa, threads: &Threads, c: &mut [i32], c_row_stride: usize) {
        self.check(c.len(), c_row_stride);
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let output = Output { start: c.as_mut_ptr(), row_stride: c_row_stride };
        let output = &output;
        let row_panels = self.rows.div_ceil(MR);
        let column_panels = self.columns.div_ceil(NR);
        let panel_ns = (MR * NR * self.depth.max(1)) as f64 * 0.012;
        let tasks = threads.split(row_panels.saturating_mul(column_panels), panel_ns);
        let column_tasks = tasks.min(column_panels);
        let row_tasks = tasks.div_ceil(column_tasks).min(row_panels);
        threads.for_each(row_tasks * column_tasks, &|task| {
            let rows = share(self.rows, MR, task / column_tasks, row_tasks);
            let columns = share(self.columns, NR, task % column_tasks, column_tasks);
            let mut scratch = SCRATCH.take();
            // SAFETY: `check` has compared every size, and tasks have disjoint rectangles of C.
            unsafe { self.rectangle(isa, rows, columns, *output, &mut scratch) };
            SCRATCH.set(scratch);
        });
    }

    fn check(&self, c_len: usize, c_row_stride: usize) {
        let (rows, columns, depth) = (self.rows, self.columns, self.depth);
        let left = match self.left {
            Lhs8::U8(a) => (a.codes.rows(), a.codes.columns()),
            Lhs8::I8(a) => (a.codes.rows(), a.codes.columns()),
            Lhs8::Packed(a) => (a.rows(), a.depth()),
        };
        assert_eq!(left, (rows, depth), "the left operand's size");
        if let Right8::Packed(b) = self.right {
            assert_eq!((b.depth(), b.columns()), (depth, columns), "the right operand's size");
        }
        if rows > 0 && columns > 0 {
            assert!(columns <= c_row_stride || rows == 1, "rows of the result overlap");
            let end = (rows - 1).checked_mul(c_row_stride).and_then(|last| last.checked_add(columns));
            assert!(end.is_some_and(|end| end <= c_len), "the result's size");
        }
    }

    /// Computes one rectangle of C.
    ///
    /// # Safety
    /// `check` has passed, the rectangle lies in C and begins at whole panels, and nobody else touches it.
    unsafe fn rectangle(
        &self,
        isa: Isa,
        rows: Range<usize>,
        columns: Range<usize>,
        output: Output,
        scratch: &mut Scratch,
    ) {
        let panel_b = panel_len(NR, self.depth);
        let column_step = match self.right {
            Right8::Packed(_) => columns.len().max(1),
            Right8::Panels(_) => (BLOCK_B_LEN / panel_b.max(1)).max(1) * NR,
        };
        let row_step = match self.left {
            Lhs8::Packed(_) => rows.len().max(1),
            _ => (BLOCK_A_LEN / panel_len(MR, self.depth).max(1)).max(1) * MR,
        };
        for columns in steps(columns, column_step) {
            let fresh_zero_points;
            let right = match self.right {
                Right8::Packed(b) => Columns {
                    panels: &b.panels[columns.start / NR * panel_b..],
                    zero_points: &b.zero_points[columns.clone()],
                },
                Right8::Panels(source) => {
                    let len = columns.len().div_ceil(NR) * panel_b;
                    if scratch.b.len() < len {
                        scratch.b.resize(len, 0);
                    }
                    if self.depth > 0 {
                        source.pack(isa, columns.clone(), &mut scratch.b[..len]);
                    }
                    fresh_zero_points = source.zero_points(columns.clone());
                    Columns { panels: &scratch.b[..len], zero_points: &fresh_zero_points }
                }
            };
            for rows in steps(rows.clone(), row_step) {
                let (left, first_row) = match self.left {
                    Lhs8::Packed(a) => (a, rows.start),
                    Lhs8::U8(a) => {
                        scratch.a.repack(&a, rows.clone());
                        (&scratch.a, 0)
                    }
                    Lhs8::I8(a) => {
                        scratch.a.repack(&a, rows.clone());
                        (&scratch.a, 0)
                    }
                };
                // SAFETY: the caller answers for the rectangle, of which this is a block.
                unsafe { self.block(isa, left, first_row, &right, rows, columns.clone(), output) };
            }
        }
    }

    /// Computes a block of C tile by tile. The rows of the block are those of `left` from `first_row` on.
    ///
    /// # Safety
    /// The block lies in C, and nobody else touches it.
    unsafe fn block(
        &self,
        isa: Isa,
        left: &PackedA8,
        first_row: usize,
        right: &Columns<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
        output: Output,
    ) {
        let kernel = kernel(isa);
        let (panel_a, panel_b) = (panel_len(MR, self.depth), panel_len(NR, self.depth));
        let mut sums: Sums = [[0; NR]; MR];
        for (j, column) in columns.clone().step_by(NR).enumerate() {
            let width = NR.min(columns.end - column);
            let zero_points = &right.zero_points[j * NR..][..width];
            let b = right.panels[j * panel_b..][..panel_b].as_chunks().0;
            for (i, row) in rows.clone().step_by(MR).enumerate() {
                let panel = first_row / MR + i;
                let a = left.panels[panel * panel_a..][..panel_a].as_chunks().0;
                let tile = Tile { rows: MR.min(rows.end - row), a, b };
                // SAFETY: `run` was given an available instruction set.
                unsafe { kernel(&tile, &mut sums) };
                for (i, sums) in sums.iter().enumerate().take(tile.rows) {
                    let row_sum = left.sums[panel * MR + i];
                    // SAFETY: this is a row of a tile of the block, for which the caller answers.
                    let c = unsafe {
                        let start = output.start.add((row + i) * output.row_stride + column);
                        std::slice::from_raw_parts_mut(start, width)
                    };
                    for ((c, sum), zero) in c.iter_mut().zip(sums).zip(zero_points) {
                        *c = sum.wrapping_sub(zero.wrapping_mul(row_sum));
                    }
                }
            }
        }
    }
}
