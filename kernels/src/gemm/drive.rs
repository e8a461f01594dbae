//! The blocked product: how rows, columns and depth are cut so that each level of cache holds what is read again.
//!
//! Columns are cut into blocks of at most [`NC_PACKED`], the depth into blocks of at most [`KC`], rows into blocks of [`MC`]: a panel of B
//! stays in the first level of cache while the panels of A, in the second, pass by it. A task of one thread is a rectangle of C and
//! packs what it needs for itself; rectangles are cut so that little is packed twice. Everything that decides in which order a sum
//! is formed depends on the whole product's size and never on a task's, so that threads do not change results.

use std::ops::Range;

use super::buffer::Scratch;
use super::epilogue::{Epilogue, activate, bounds};
use super::matrix::{MatRef, PackedA, PackedB, Panels, pack_rows};
use super::tile::{BRows, MR, NR, Store, Tile, TileKernel, kernel};
use crate::{Isa, Threads};

/// The depth of one block.
const KC: usize = 320;

/// The rows of one block.
const MC: usize = 20 * MR;

/// The columns of one block that is packed as it is needed.
const NC: usize = 64 * NR;

/// The numbers of one block of B that is packed for an A that is packed already: there is nothing to repeat for a smaller
/// block, which stays in the second level of cache.
const SMALL_BLOCK_LEN: usize = 32 * 1024;

/// The columns of one block that needs no packing.
const NC_PACKED: usize = 256 * NR;

/// Up to this many rows, B is read where it lies when its rows are contiguous: packing would cost as much as the product.
const DIRECT_ROWS: usize = 2 * MR;

/// Up to this many elements, B is read where it lies whatever the number of rows: it stays in cache anyway.
const DIRECT_ELEMENTS: usize = 64 * 64;

/// Numbers of B that the first level of cache holds beside a panel of A. Tiles that share rows of C come one after the other
/// for as long as their part of B is near: rows of C may lie pages apart.
const NEAR_LEN: usize = 6 * 1024;

/// Up to this many columns, A is read where it lies: it passes by so few times that packing would cost as much.
const DIRECT_COLUMNS: usize = 4 * NR;

/// The left operand.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    Packed(&'a PackedA),
    Matrix(MatRef<'a>),
}

/// The right operand.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    Packed(&'a PackedB),
    Matrix(MatRef<'a>),
    /// Panels of [`NR`] columns, each of the whole depth; the columns are a multiple of [`NR`].
    Panelled(&'a [f32]),
    Patches(&'a dyn Panels),
    /// Rows that begin at places of their own in one slice, and overlap.
    Placed(PlacedRows<'a>),
}

/// A right operand whose row `k` is the `columns` numbers from `places[k]` on.
#[derive(Clone, Copy)]
pub(crate) struct PlacedRows<'a> {
    values: &'a [f32],
    places: &'a [usize],
    columns: usize,
}

impl<'a> PlacedRows<'a> {
    /// Tiles read whole vectors: this many numbers must follow the last row.
    pub(crate) const SLACK: usize = 4 * NR;

    /// # Panics
    /// If `values` does not hold all rows and [`Self::SLACK`] more.
    pub(crate) fn new(values: &'a [f32], places: &'a [usize], columns: usize) -> Self {
        let last = places.iter().max().copied().unwrap_or(0);
        assert!(last + columns + Self::SLACK <= values.len(), "every row lies in the slice");
        Self { values, places, columns }
    }
}

impl Right<'_> {
    /// Whether it lies in panels already.
    fn is_packed(&self) -> bool {
        matches!(self, Right::Packed(_) | Right::Panelled(_) | Right::Placed(_))
    }
}

/// One product to be computed: `rows` × `depth` times `depth` × `columns`.
pub(crate) struct Product<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) left: Left<'a>,
    pub(crate) right: Right<'a>,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) epilogue: Epilogue<'a>,
}

/// Where C lies. Tasks write disjoint rectangles of it.
#[derive(Clone, Copy)]
struct Output {
    start: *mut f32,
    row_stride: usize,
}

// SAFETY: it stands for a `&mut [f32]` of which tasks write rectangles that have no element in common.
unsafe impl Sync for Output {}

/// Panels of A in memory: row `r`, depth `k` at `start + r / MR · panel_stride + r % MR · row_stride + k · depth_stride`.
struct RowPanels {
    start: *const f32,
    panel_stride: usize,
    row_stride: usize,
    depth_stride: usize,
}

/// Panels of B in memory: depth `k`, column `j` at `start + j / NR · panel_stride + rows(k) + j % NR`.
struct ColumnPanels<'a> {
    start: *const f32,
    panel_stride: usize,
    rows: BRows<'a>,
    is_padded: bool,
}

impl Product<'_> {
    /// Computes the product into `c`, whose rows are `c_row_stride` apart.
    ///
    /// # Panics
    /// If an operand, the bias or `c` does not have the stated size.
    pub(crate) fn run(&self, isa: Isa, threads: &Threads, c: &mut [f32], c_row_stride: usize) {
        self.check(c.len(), c_row_stride, self.rows);
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let output = Output { start: c.as_mut_ptr(), row_stride: c_row_stride };
        let output = &output;
        let (row_tasks, column_tasks) = self.grid(threads);
        threads.for_each(row_tasks * column_tasks, &|task| {
            let rows = share(self.rows, MR, task / column_tasks, row_tasks);
            let columns = share(self.columns, NR, task % column_tasks, column_tasks);
            // SAFETY: `check` has compared every size, and tasks have disjoint rectangles of C.
            Scratch::with(|scratch| unsafe {
                self.rectangle(isa, threads, rows, columns, *output, scratch);
            });
        });
    }

    /// Computes `rows` of the product on the calling thread into `c`, which begins with the first of them. `rows` begins at a
    /// whole panel.
    ///
    /// # Panics
    /// As [`run`](Self::run), or if there are no such rows.
    pub(crate) fn run_rows(&self, isa: Isa, threads: &Threads, rows: Range<usize>, c: &mut [f32], c_row_stride: usize) {
        assert!(
            rows.start.is_multiple_of(MR) && rows.start < rows.end && rows.end <= self.rows,
            "whole panels of rows"
        );
        let skipped = rows.start * c_row_stride;
        self.check(skipped + c.len(), c_row_stride, rows.end);
        if self.columns == 0 {
            return;
        }
        let output = Output { start: c.as_mut_ptr().wrapping_sub(skipped), row_stride: c_row_stride };
        // SAFETY: `check` has compared every size as if the rows before were there; the rectangle has none of them.
        Scratch::with(|scratch| unsafe {
            self.rectangle(isa, threads, rows, 0..self.columns, output, scratch);
        });
    }

    /// Whether the operands fit together, and the rows before `end` into a result of `c_len` numbers.
    fn check(&self, c_len: usize, c_row_stride: usize, end: usize) {
        let (rows, columns, depth) = (self.rows, self.columns, self.depth);
        let left = match self.left {
            Left::Packed(a) => (a.rows(), a.depth()),
            Left::Matrix(a) => (a.rows(), a.columns()),
        };
        assert_eq!(left, (rows, depth), "the left operand's size");
        let right = match self.right {
            Right::Packed(b) => (b.depth(), b.columns()),
            Right::Matrix(b) => (b.rows(), b.columns()),
            Right::Panelled(panels) => {
                assert!(columns.is_multiple_of(NR) && panels.len() == depth * columns, "the panels' size");
                (depth, columns)
            }
            Right::Patches(_) => (depth, columns),
            Right::Placed(rows) => (rows.places.len(), rows.columns),
        };
        assert_eq!(right, (depth, columns), "the right operand's size");
        assert!(self.epilogue.bias.fits(rows, columns), "the bias's length");
        if rows > 0 && columns > 0 {
            assert!(columns <= c_row_stride || rows == 1, "rows of the result overlap");
            let end = (end - 1).checked_mul(c_row_stride).and_then(|last| last.checked_add(columns));
            assert!(end.is_some_and(|end| end <= c_len), "the result's size");
        }
    }

    /// Into how many shares rows and columns are cut.
    fn grid(&self, threads: &Threads) -> (usize, usize) {
        const NS_PER_MULTIPLY_ADD: f64 = 0.02;
        // What a number of an operand costs for each depth, in multiply-adds: it comes from memory, and is packed where it is not yet.
        const READ: f64 = 8.0;
        const PACK: f64 = 16.0;
        let row_panels = self.rows.div_ceil(MR);
        let column_panels = self.columns.div_ceil(NR);
        let panel_ns = (MR * NR) as f64 * self.depth.max(1) as f64 * NS_PER_MULTIPLY_ADD;
        let tasks = threads.split(row_panels.saturating_mul(column_panels), panel_ns);
        let left = if matches!(self.left, Left::Matrix(_)) { PACK } else { READ };
        let right = if self.right.is_packed() { READ } else { PACK };
        let cost = |row_tasks: usize, column_tasks: usize| {
            let rows = row_panels.div_ceil(row_tasks) * MR;
            let columns = column_panels.div_ceil(column_tasks) * NR;
            let product = rows as f64 * columns as f64;
            let operands = left * rows as f64 + right * columns as f64;
            let rounds = (row_tasks * column_tasks).div_ceil(threads.count()) as f64;
            (product + operands) * rounds
        };
        (1..=tasks)
            .map(|row_tasks| (row_tasks, tasks.div_ceil(row_tasks)))
            .filter(|&(r, c)| r <= row_panels && c <= column_panels)
            .min_by(|&(r, c), &(s, d)| cost(r, c).total_cmp(&cost(s, d)))
            .unwrap_or((1, 1))
    }

    /// Computes one rectangle of C.
    ///
    /// # Safety
    /// `check` has passed, the rectangle lies in C and begins at whole panels, and nobody else touches it.
    unsafe fn rectangle(
        &self,
        isa: Isa,
        threads: &Threads,
        rows: Range<usize>,
        columns: Range<usize>,
        output: Output,
        scratch: &mut Scratch,
    ) {
        let kernel = kernel(isa);
        let direct = self.reads_right_directly();
        let packs_right = !direct && !self.right.is_packed();
        // One panel of either operand passes by once: its sums may as well stay in registers.
        let passes_once = self.rows <= MR || self.columns <= NR;
        let depth_step = if passes_once && !packs_right { self.depth.max(1) } else { even_step(self.depth, KC) };
        let column_step = match self.left {
            _ if !packs_right => NC_PACKED,
            Left::Packed(_) => (SMALL_BLOCK_LEN / depth_step / NR * NR).clamp(NR, NC),
            Left::Matrix(_) => NC,
        };
        let bounds = bounds(self.epilogue.activation);
        for columns in steps(columns, column_step) {
            for depth in steps_at_least_one(self.depth, depth_step) {
                let is_first = depth.start == 0;
                let is_last = depth.end == self.depth;
                let right = self.right_panels(isa, &depth, &columns, direct, &mut scratch.b);
                for rows in steps(rows.clone(), MC) {
                    if threads.is_stopped() {
                        return;
                    }
                    let left = self.left_panels(&depth, &rows, columns.len(), &mut scratch.a);
                    let store = Store {
                        alpha: self.alpha,
                        beta: if is_first { self.beta } else { 1.0 },
                        bias: Default::default(),
                        bounds: (f32::NEG_INFINITY, f32::INFINITY),
                    };
                    let store = match (is_last, bounds) {
                        (true, bounds) => {
                            Store { bias: self.epilogue.bias, bounds: bounds.unwrap_or(store.bounds), ..store }
                        }
                        (false, _) => store,
                    };
                    // SAFETY: the panels hold these rows, columns and depth; the caller answers for the rectangle.
                    unsafe {
                        tiles(kernel, &left, &right, &rows, &columns, depth.len(), output, store);
                        if is_last && bounds.is_none() {
                            self.activate(isa, &rows, &columns, output);
                        }
                    }
                }
            }
        }
    }

    fn reads_right_directly(&self) -> bool {
        match self.right {
            Right::Matrix(b) => {
                let is_small = self.depth.saturating_mul(self.columns) <= DIRECT_ELEMENTS;
                b.column_stride() == 1 && (self.rows <= DIRECT_ROWS || is_small)
            }
            _ => false,
        }
    }

    fn right_panels<'s>(
        &'s self,
        isa: Isa,
        depth: &Range<usize>,
        columns: &Range<usize>,
        direct: bool,
        scratch: &mut super::buffer::AlignedBuffer,
    ) -> ColumnPanels<'s> {
        let source: &dyn Panels = match &self.right {
            Right::Packed(b) => {
                return ColumnPanels {
                    start: b.from(depth.start, columns.start).as_ptr(),
                    panel_stride: NR * self.depth,
                    rows: BRows::Apart(NR),
                    is_padded: true,
                };
            }
            Right::Panelled(panels) => {
                return ColumnPanels {
                    start: panels[columns.start * self.depth + depth.start * NR..].as_ptr(),
                    panel_stride: NR * self.depth,
                    rows: BRows::Apart(NR),
                    is_padded: true,
                };
            }
            Right::Placed(rows) => {
                return ColumnPanels {
                    start: rows.values[columns.start..].as_ptr(),
                    panel_stride: NR,
                    rows: BRows::At(&rows.places[depth.clone()]),
                    is_padded: true,
                };
            }
            Right::Matrix(b) if direct => {
                let has_elements = !depth.is_empty();
                return ColumnPanels {
                    start: if has_elements { b.from(depth.start, columns.start) } else { &[] }.as_ptr(),
                    panel_stride: NR,
                    rows: BRows::Apart(b.row_stride()),
                    is_padded: false,
                };
            }
            Right::Matrix(b) => b,
            Right::Patches(patches) => *patches,
        };
        let panel_len = NR * depth.len();
        let len = columns.len().div_ceil(NR) * panel_len;
        scratch.grow(len);
        source.pack(isa, depth.clone(), columns.clone(), &mut scratch[..len]);
        ColumnPanels { start: scratch.as_ptr(), panel_stride: panel_len, rows: BRows::Apart(NR), is_padded: true }
    }

    fn left_panels(
        &self,
        depth: &Range<usize>,
        rows: &Range<usize>,
        columns: usize,
        scratch: &mut super::buffer::AlignedBuffer,
    ) -> RowPanels {
        let a = match &self.left {
            Left::Packed(a) => {
                return RowPanels {
                    start: a.from(rows.start, depth.start).as_ptr(),
                    panel_stride: MR * self.depth,
                    row_stride: 1,
                    depth_stride: MR,
                };
            }
            Left::Matrix(a) => a,
        };
        if rows.len() <= MR || columns <= DIRECT_COLUMNS {
            let has_elements = !depth.is_empty();
            return RowPanels {
                start: if has_elements { a.from(rows.start, depth.start) } else { &[] }.as_ptr(),
                panel_stride: MR * a.row_stride(),
                row_stride: a.row_stride(),
                depth_stride: a.column_stride(),
            };
        }
        let panel_len = MR * depth.len();
        let len = rows.len().div_ceil(MR) * panel_len;
        scratch.grow(len);
        pack_rows(a, rows.clone(), depth.clone(), &mut scratch[..len]);
        RowPanels { start: scratch.as_ptr(), panel_stride: panel_len, row_stride: 1, depth_stride: MR }
    }

    /// Passes a finished block through an activation that is more than bounds.
    ///
    /// # Safety
    /// The block lies in C and nobody else touches it.
    unsafe fn activate(&self, isa: Isa, rows: &Range<usize>, columns: &Range<usize>, output: Output) {
        for row in rows.clone() {
            // SAFETY: the caller answers for the block, of which this is one row.
            let x = unsafe {
                let start = output.start.wrapping_add(row * output.row_stride + columns.start);
                std::slice::from_raw_parts_mut(start, columns.len())
            };
            activate(isa, self.epilogue.activation, x);
        }
    }
}

/// Computes a block of C tile by tile.
///
/// # Safety
/// The panels hold the block's rows, columns and depth; the block lies in C and nobody else touches it; the CPU has what
/// `kernel` needs.
unsafe fn tiles(
    kernel: TileKernel,
    left: &RowPanels,
    right: &ColumnPanels<'_>,
    rows: &Range<usize>,
    columns: &Range<usize>,
    depth: usize,
    output: Output,
    store: Store<'_>,
) {
    let width = (NEAR_LEN / depth.max(1) / kernel.columns * kernel.columns).max(kernel.columns);
    for near in steps(columns.clone(), width) {
        for row in rows.clone().step_by(kernel.rows) {
            let row_panel = (row - rows.start) / MR;
            let tile_rows = kernel.rows.min(rows.end - row);
            for column in near.clone().step_by(kernel.columns) {
                let column_panel = (column - columns.start) / NR;
                let tile_columns = kernel.columns.min(near.end - column);
                let b = right.start.wrapping_add(column_panel * right.panel_stride);
                // The first rows fetch the panels from memory, the others find them near.
                let ahead = if row_panel == 0 { kernel.columns / NR * right.panel_stride } else { 0 };
                let tile = Tile {
                    rows: tile_rows,
                    columns: tile_columns,
                    depth,
                    a: left.start.wrapping_add(row_panel * left.panel_stride),
                    a_panel_stride: left.panel_stride,
                    a_row_stride: left.row_stride,
                    a_depth_stride: left.depth_stride,
                    b,
                    b_next: b.wrapping_add(ahead),
                    b_panel_stride: right.panel_stride,
                    b_rows: right.rows,
                    b_is_padded: right.is_padded,
                    c: output.start.wrapping_add(row * output.row_stride + column),
                    c_row_stride: output.row_stride,
                    store: Store { bias: store.bias.block(row, tile_rows, column, tile_columns), ..store },
                };
                // SAFETY: the caller's promise, cut down to this tile.
                unsafe { (kernel.run)(&tile) };
            }
        }
    }
}

/// Share `index` of `count` of `0..total`, beginning at a multiple of `panel`.
pub(crate) fn share(total: usize, panel: usize, index: usize, count: usize) -> Range<usize> {
    let panels = total.div_ceil(panel);
    let bound = |index: usize| (panels * index / count * panel).min(total);
    bound(index)..bound(index + 1)
}

/// The largest step of at most `limit` that cuts `total` into pieces of nearly the same size.
pub(crate) fn even_step(total: usize, limit: usize) -> usize {
    let pieces = total.div_ceil(limit).max(1);
    total.div_ceil(pieces).max(1)
}

/// `range` in pieces of `step`, the last one shorter.
pub(crate) fn steps(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(step).map(move |start| start..end.min(start + step))
}

/// [`steps`] of `0..total`; an empty range is one empty step.
fn steps_at_least_one(total: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    let pieces = total.div_ceil(step).max(1);
    (0..pieces).map(move |i| i * step..total.min((i + 1) * step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_everything_once() {
        for (total, panel, count) in [(1, 6, 1), (100, 6, 7), (97, 16, 7), (33, 16, 3)] {
            let mut end = 0;
            for index in 0..count {
                let share = share(total, panel, index, count);
                assert_eq!(share.start, end);
                assert!(share.start.is_multiple_of(panel) || share.is_empty());
                end = share.end;
            }
            assert_eq!(end, total);
        }
    }

    #[test]
    fn steps_cover_everything_and_an_empty_depth_is_one_step() {
        assert_eq!(steps(3..10, 4).collect::<Vec<_>>(), [3..7, 7..10]);
        assert!(steps_at_least_one(0, 1).eq(std::iter::once(0..0)));
        assert_eq!(even_step(300, 256), 150);
        assert_eq!(steps_at_least_one(300, 150).collect::<Vec<_>>(), [0..150, 150..300]);
    }
}
