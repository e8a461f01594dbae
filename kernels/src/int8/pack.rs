//! Panels of 8-bit operands, in pairs of depths, as the instruction that multiplies and adds pairs wants them.
//!
//! Rows of the left operand become 16-bit numbers less their zero point, so that nothing is left to correct. Columns of the right
//! operand stay 8 bits wide, as signed codes; its zero points are taken off each finished sum, with the help of the
//! sum of the row that the left panel keeps.

use std::ops::Range;

use super::codes::{Code, Quantized};
use super::tile::{MR, NR};
use crate::Threads;
use crate::gemm::MatRef;

/// Panels that one packing task takes.
const PANELS_PER_TASK: usize = 16;

/// Rows of a left operand, packed.
#[derive(Clone, Default)]
pub struct PackedA8 {
    /// Panel after panel: `[depth / 2][MR][2]`.
    pub(super) panels: Vec<i16>,
    /// The sum of each row, of whole panels.
    pub(super) sums: Vec<i32>,
    rows: usize,
    depth: usize,
}

/// Columns of a right operand, packed once for many products.
#[derive(Clone)]
pub struct PackedB8 {
    /// Panel after panel: `[depth / 2][NR][2]`.
    pub(super) panels: Vec<i8>,
    /// The signed zero point of each column.
    pub(super) zero_points: Vec<i32>,
    columns: usize,
    depth: usize,
}

/// The numbers in one panel of `width` rows or columns.
pub(super) fn panel_len(width: usize, depth: usize) -> usize {
    width * 2 * depth.div_ceil(2)
}

impl PackedA8 {
    /// Packs a left operand.
    pub fn pack<T: Code>(a: Quantized<'_, T>) -> Self {
        let mut packed = Self::default();
        packed.repack(&a, 0..a.codes.rows());
        packed
    }

    /// Packs some rows of a left operand in the place of what was here.
    pub(super) fn repack<T: Code>(&mut self, a: &Quantized<'_, T>, rows: Range<usize>) {
        let depth = a.codes.columns();
        let panels = rows.len().div_ceil(MR);
        let panel_len = panel_len(MR, depth);
        self.rows = rows.len();
        self.depth = depth;
        self.panels.resize(panels * panel_len, 0);
        self.sums.clear();
        self.sums.resize(panels * MR, 0);
        if depth == 0 {
            return;
        }
        let starts = rows.clone().step_by(MR);
        let sums = self.sums.chunks_exact_mut(MR);
        for ((start, panel), sums) in starts.zip(self.panels.chunks_exact_mut(panel_len)).zip(sums) {
            panel.fill(0);
            for (i, sum) in sums.iter_mut().enumerate().take(rows.end - start) {
                *sum = pack_row(&a.codes, start + i, a.zero_points.at(start + i).value(), i, panel);
            }
        }
    }

    /// The memory that packing `rows` × `depth` takes.
    pub fn size_bytes(rows: usize, depth: usize) -> Option<usize> {
        let rows = rows.checked_next_multiple_of(MR)?;
        let depth = depth.checked_next_multiple_of(2)?;
        rows.checked_mul(depth)?.checked_mul(2)?.checked_add(rows.checked_mul(4)?)
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns, along which products are summed.
    pub fn depth(&self) -> usize {
        self.depth
    }
}

/// Writes one row into slot `i` of its panel, and returns its sum.
fn pack_row<T: Code>(a: &MatRef<'_, T>, row: usize, zero: i16, i: usize, panel: &mut [i16]) -> i32 {
    let mut sum = 0i32;
    let (pairs, _) = panel.as_chunks_mut::<{ 2 * MR }>();
    let mut write = |k: usize, code: T| {
        let value = code.value() - zero;
        pairs[k / 2][2 * i + k % 2] = value;
        sum = sum.wrapping_add(value.into());
    };
    if a.column_stride() == 1 {
        let codes = &a.from(row, 0)[..a.columns()];
        codes.iter().enumerate().for_each(|(k, &code)| write(k, code));
    } else {
        (0..a.columns()).for_each(|k| write(k, a.at(row, k)));
    }
    sum
}

impl PackedB8 {
    /// Packs a right operand, panels shared out over `threads`.
    pub fn pack<T: Code>(b: Quantized<'_, T>, threads: &Threads) -> Self {
        let (depth, columns) = (b.codes.rows(), b.codes.columns());
        let panel_len = panel_len(NR, depth);
        let mut panels = vec![0; columns.div_ceil(NR) * panel_len];
        if depth > 0 {
            threads.for_each_chunk_mut(&mut panels, PANELS_PER_TASK * panel_len, |task, out| {
                let start = task * PANELS_PER_TASK * NR;
                pack_columns(&b.codes, start..columns.min(start + PANELS_PER_TASK * NR), out);
            });
        }
        Self { panels, zero_points: b.zero_points.signed(0..columns), columns, depth }
    }

    /// The memory that packing `depth` × `columns` takes.
    pub fn size_bytes(depth: usize, columns: usize) -> Option<usize> {
        let width = columns.checked_next_multiple_of(NR)?;
        let depth = depth.checked_next_multiple_of(2)?;
        width.checked_mul(depth)?.checked_add(columns.checked_mul(4)?)
    }

    /// The number of rows, along which products are summed.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// Packs some columns of a right operand, panel after panel.
pub(super) fn pack_columns<T: Code>(b: &MatRef<'_, T>, columns: Range<usize>, out: &mut [i8]) {
    let depth = b.rows();
    let panels = out.chunks_exact_mut(panel_len(NR, depth));
    for (start, panel) in columns.clone().step_by(NR).zip(panels) {
        let width = NR.min(columns.end - start);
        let (pairs, _) = panel.as_chunks_mut::<{ 2 * NR }>();
        for (pair, line) in pairs.iter_mut().enumerate() {
            let k = 2 * pair;
            let has_second = k + 1 < depth;
            if b.column_stride() == 1 && width == NR && has_second {
                interleave(&b.from(k, start)[..NR], &b.from(k + 1, start)[..NR], line);
                continue;
            }
            for j in 0..NR {
                let code = |k: usize| if j < width && k < depth { b.at(k, start + j).signed() } else { 0 };
                line[2 * j] = code(k);
                line[2 * j + 1] = code(k + 1);
            }
        }
    }
}

#[inline]
fn interleave<T: Code>(even: &[T], odd: &[T], line: &mut [i8; 2 * NR]) {
    let (pairs, _) = line.as_chunks_mut::<2>();
    for ((pair, even), odd) in pairs.iter_mut().zip(even).zip(odd) {
        *pair = [even.signed(), odd.signed()];
    }
}
