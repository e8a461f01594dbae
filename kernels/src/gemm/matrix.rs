//! Matrices as they lie in memory, and packed into panels.

use std::ops::Range;

use super::buffer::AlignedBuffer;
use super::tile::{MR, NR};
use crate::{Isa, Threads};

/// A matrix in a slice: element `(row, column)` is `data[row · row_stride + column · column_stride]`.
#[derive(Debug, Clone, Copy)]
pub struct MatRef<'a, T = f32> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> MatRef<'a, T> {
    /// A matrix with any strides, zero included.
    ///
    /// # Panics
    /// If the last element lies beyond `data`.
    pub fn new(data: &'a [T], rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Self {
        if rows > 0 && columns > 0 {
            let last = (rows - 1)
                .checked_mul(row_stride)
                .zip((columns - 1).checked_mul(column_stride))
                .and_then(|(row, column)| row.checked_add(column));
            assert!(
                last.is_some_and(|last| last < data.len()),
                "a {rows} × {columns} matrix with strides {row_stride}, {column_stride} in {} elements",
                data.len()
            );
        }
        Self { data, rows, columns, row_stride, column_stride }
    }

    /// A matrix whose rows follow each other without gaps.
    ///
    /// # Panics
    /// If `data` is shorter than the matrix.
    pub fn row_major(data: &'a [T], rows: usize, columns: usize) -> Self {
        Self::new(data, rows, columns, columns, 1)
    }

    /// The same elements with rows and columns exchanged; nothing moves.
    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// These rows of the matrix.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn row_range(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        let start = if rows.is_empty() { 0 } else { (rows.start * self.row_stride).min(self.data.len()) };
        Self { data: &self.data[start..], rows: rows.len(), ..self }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The distance between one row and the next.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// The distance between one column and the next.
    pub fn column_stride(&self) -> usize {
        self.column_stride
    }

    /// The element at `row`, `column`.
    ///
    /// # Panics
    /// If it lies beyond the data.
    #[inline]
    pub fn at(&self, row: usize, column: usize) -> T
    where
        T: Copy,
    {
        self.data[row * self.row_stride + column * self.column_stride]
    }

    /// The data from element `(row, column)` on.
    #[inline]
    pub(crate) fn from(&self, row: usize, column: usize) -> &'a [T] {
        &self.data[row * self.row_stride + column * self.column_stride..]
    }
}

/// Something that can be read as panels of [`NR`] columns: a matrix, or the patches of a convolution's input.
pub(crate) trait Panels: Sync {
    /// Writes rows `depth` of `columns`, panel after panel, each [`NR`] wide; columns beyond the last are zero.
    fn pack(&self, isa: Isa, depth: Range<usize>, columns: Range<usize>, out: &mut [f32]);
}

impl Panels for MatRef<'_> {
    fn pack(&self, _: Isa, depth: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        if depth.is_empty() {
            return;
        }
        let panels = out.chunks_exact_mut(depth.len() * NR);
        for (start, panel) in columns.clone().step_by(NR).zip(panels) {
            let width = NR.min(columns.end - start);
            let from = self.from(depth.start, start);
            pack_panel::<NR>(from, width, self.column_stride, depth.len(), self.row_stride, panel);
        }
    }
}

/// Writes `rows` of A, columns `depth`, panel after panel, each [`MR`] high; rows beyond the last are zero.
pub(crate) fn pack_rows(a: &MatRef<'_>, rows: Range<usize>, depth: Range<usize>, out: &mut [f32]) {
    if depth.is_empty() {
        return;
    }
    let panels = out.chunks_exact_mut(depth.len() * MR);
    for (start, panel) in rows.clone().step_by(MR).zip(panels) {
        let width = MR.min(rows.end - start);
        let from = a.from(start, depth.start);
        pack_panel::<MR>(from, width, a.row_stride, depth.len(), a.column_stride, panel);
    }
}

/// `panel[k · W + w] = from[w · width_stride + k · depth_stride]` for `w < width`, and zero for the rest of the `W`.
fn pack_panel<const W: usize>(
    from: &[f32],
    width: usize,
    width_stride: usize,
    depth: usize,
    depth_stride: usize,
    panel: &mut [f32],
) {
    let (lines, _) = panel.as_chunks_mut::<W>();
    let lines = &mut lines[..depth];
    if width_stride == 1 && width == W {
        for (k, line) in lines.iter_mut().enumerate() {
            line.copy_from_slice(&from[k * depth_stride..][..W]);
        }
    } else if depth_stride == 1 && width == W {
        let rows: [&[f32]; W] = std::array::from_fn(|w| &from[w * width_stride..][..depth]);
        for (k, line) in lines.iter_mut().enumerate() {
            for (x, row) in line.iter_mut().zip(&rows) {
                *x = row[k];
            }
        }
    } else {
        for (k, line) in lines.iter_mut().enumerate() {
            let from = &from[k * depth_stride..];
            for (w, x) in line.iter_mut().enumerate() {
                *x = if w < width { from[w * width_stride] } else { 0.0 };
            }
        }
    }
}

/// The left operand of many products, packed once into panels of rows.
#[derive(Clone)]
pub struct PackedA {
    panels: AlignedBuffer,
    rows: usize,
    depth: usize,
}

/// The right operand of many products, packed once into panels of columns.
#[derive(Clone)]
pub struct PackedB {
    panels: AlignedBuffer,
    depth: usize,
    columns: usize,
}

impl PackedA {
    /// Zeros, whose [panels](Self::panels_mut) are to be written.
    pub(crate) fn zeroed(rows: usize, depth: usize) -> Self {
        Self { panels: AlignedBuffer::zeroed(rows.next_multiple_of(MR) * depth), rows, depth }
    }

    /// Packs a matrix, panels shared out over `threads`.
    pub fn pack(a: MatRef<'_>, threads: &Threads) -> Self {
        let (rows, depth) = (a.rows, a.columns);
        let mut packed = Self::zeroed(rows, depth);
        if depth > 0 {
            threads.for_each_chunk_mut(&mut packed.panels, PANELS_A_TASK * MR * depth, |task, out| {
                let start = task * PANELS_A_TASK * MR;
                let end = rows.min(start + PANELS_A_TASK * MR);
                pack_rows(&a, start.min(end)..end, 0..depth, out);
            });
        }
        packed
    }

    /// The panels, each [`MR`] · `depth` long, row `k` of a panel at `k` · [`MR`].
    pub(crate) fn panels_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.panels.chunks_exact_mut((MR * self.depth).max(1)).take(self.rows.div_ceil(MR))
    }

    /// The memory that packing `rows` × `depth` takes.
    pub fn size_bytes(rows: usize, depth: usize) -> Option<usize> {
        padded_bytes(rows, MR, depth)
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns, along which products are summed.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// One element.
    pub(crate) fn at(&self, row: usize, k: usize) -> f32 {
        self.panels[row / MR * MR * self.depth + k * MR + row % MR]
    }

    /// The panels from the one that holds `row` on, each [`MR`] · `depth` long, row `k` of a panel at `k` · [`MR`].
    pub(crate) fn from(&self, row: usize, k: usize) -> &[f32] {
        &self.panels[row / MR * MR * self.depth + k * MR..]
    }
}

/// Panels of A that one packing task takes.
const PANELS_A_TASK: usize = 16;

/// Panels of B that one packing task takes.
const PANELS_B_TASK: usize = 8;

impl PackedB {
    /// Packs a matrix, panels shared out over `threads`.
    pub fn pack(b: MatRef<'_>, threads: &Threads) -> Self {
        let (depth, columns) = (b.rows, b.columns);
        let mut panels = AlignedBuffer::zeroed(columns.next_multiple_of(NR) * depth);
        if depth > 0 {
            threads.for_each_chunk_mut(&mut panels, PANELS_B_TASK * NR * depth, |task, out| {
                let start = task * PANELS_B_TASK * NR;
                b.pack(Isa::Scalar, 0..depth, start..columns.min(start + PANELS_B_TASK * NR), out);
            });
        }
        Self { panels, depth, columns }
    }

    /// The memory that packing `depth` × `columns` takes.
    pub fn size_bytes(depth: usize, columns: usize) -> Option<usize> {
        padded_bytes(columns, NR, depth)
    }

    /// The number of rows, along which products are summed.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The panels from the one that holds `column` on, each [`NR`] · `depth` long, row `k` of a panel at `k` · [`NR`].
    pub(crate) fn from(&self, k: usize, column: usize) -> &[f32] {
        &self.panels[column / NR * NR * self.depth + k * NR..]
    }
}

fn padded_bytes(width: usize, panel: usize, depth: usize) -> Option<usize> {
    width
        .checked_next_multiple_of(panel)?
        .checked_mul(depth)?
        .checked_next_multiple_of(super::buffer::LINE)?
        .checked_mul(size_of::<f32>())
}
