//! Panels of bytes, in groups of four depths, as the instructions that multiply and add bytes want them.
//!
//! The lines of an operand, rows of a left one or columns of a right one, are cut into panels; a panel is `[groups][width][4]`.
//! Nothing is taken off the codes. What zero points add to a sum is taken off it when it is finished:
//! `Σ (a − a₀)·(b − b₀) = Σ a·b − b₀ Σ a − a₀ (Σ b − depth·b₀)`.

use std::ops::Range;

use super::bytes::AlignedBytes;
use super::codes::{Code, Quantized, Sign, ZeroPoints};
use super::spill::{Width, most_spilled_bytes, narrow};
use super::tile::{GROUP, Level, MR, NR};
use crate::Threads;
use crate::gemm::MatRef;

/// Panels that one packing task takes.
const PANELS_PER_TASK: usize = 16;

/// The packed lines of one operand.
#[derive(Clone, Default)]
pub(super) struct Lines {
    pub(super) panels: AlignedBytes,
    /// What stands for zero in each line.
    pub(super) zeros: Vec<i32>,
    /// The sum of the codes of each line, where it is asked for.
    pub(super) sums: Vec<i32>,
    pub(super) sign: Sign,
}

impl Lines {
    /// Whether any line's zero is another number.
    pub(super) fn has_zeros(&self) -> bool {
        self.zeros.iter().any(|&zero| zero != 0)
    }

    /// Packs some lines of a matrix, whose rows are lines, in the place of what was here.
    #[inline(always)]
    pub(super) fn repack<const WIDTH: usize, T: Code>(
        &mut self,
        codes: &MatRef<'_, T>,
        zeros: ZeroPoints<'_, T>,
        lines: Range<usize>,
        with_sums: bool,
    ) {
        let panel_len = panel_len(WIDTH, codes.columns());
        let len = lines.len().div_ceil(WIDTH) * panel_len;
        self.panels.grow(len);
        self.zeros.clear();
        self.zeros.extend(zeros.packed(self.sign, lines.clone()));
        self.sums.clear();
        self.sums.resize(if with_sums { lines.len() } else { 0 }, 0);
        if panel_len == 0 {
            return;
        }
        let flip = self.sign.flip::<T>();
        let starts = lines.clone().step_by(WIDTH);
        for (start, panel) in starts.zip(self.panels[..len].chunks_exact_mut(panel_len)) {
            pack_panel::<WIDTH, T>(codes, start..lines.end.min(start + WIDTH), flip, panel);
            if with_sums {
                let width = WIDTH.min(lines.end - start);
                line_sums::<WIDTH>(panel, self.sign, &mut self.sums[start - lines.start..][..width]);
            }
        }
    }
}

/// Bytes of one panel of `width` lines.
pub(super) fn panel_len(width: usize, depth: usize) -> usize {
    width * GROUP * depth.div_ceil(GROUP)
}

/// The sum of each of the first lines of a panel.
#[inline(always)]
fn line_sums<const WIDTH: usize>(panel: &[u8], sign: Sign, sums: &mut [i32]) {
    let mut all = [0i32; WIDTH];
    for group in 0..panel.len() / (WIDTH * GROUP) {
        let group = &panel[group * WIDTH * GROUP..][..WIDTH * GROUP];
        for (line, sum) in all.iter_mut().enumerate() {
            for k in 0..GROUP {
                *sum = sum.wrapping_add(sign.value(group[line * GROUP + k]));
            }
        }
    }
    sums.copy_from_slice(&all[..sums.len()]);
}

/// Packs lines, at most as many as a panel has; what the others hold stays.
#[inline(always)]
fn pack_panel<const WIDTH: usize, T: Code>(codes: &MatRef<'_, T>, lines: Range<usize>, flip: u8, panel: &mut [u8]) {
    let (start, width, depth) = (lines.start, lines.len(), codes.columns());
    let (whole, step) = (depth / GROUP, WIDTH * GROUP);
    // Counted loops over arrays: iterators are not always inlined into code for other instruction sets.
    let groups = &mut panel[..whole * step];
    if codes.column_stride() == 1 {
        for line in 0..width {
            let row = &codes.from(start + line, 0)[..whole * GROUP];
            for group in 0..whole {
                let (from, to) = (group * GROUP, group * step + line * GROUP);
                let quad = [row[from].bits(), row[from + 1].bits(), row[from + 2].bits(), row[from + 3].bits()];
                let flipped = u32::from_ne_bytes(quad) ^ u32::from_ne_bytes([flip; GROUP]);
                groups[to..to + GROUP].copy_from_slice(&flipped.to_ne_bytes());
            }
        }
    } else if codes.row_stride() == 1 && width == WIDTH && WIDTH == NR {
        for group in 0..whole {
            let mut rows = [[0; NR]; GROUP];
            for (k, row) in rows.iter_mut().enumerate() {
                let from = &codes.from(start, group * GROUP + k)[..NR];
                for j in 0..NR {
                    row[j] = from[j].bits() ^ flip;
                }
            }
            if let Some(out) = groups[group * step..].first_chunk_mut() {
                interleave(&rows, out);
            }
        }
    } else {
        for group in 0..whole {
            for line in 0..width {
                for k in 0..GROUP {
                    let code = codes.at(start + line, group * GROUP + k);
                    groups[group * step + line * GROUP + k] = code.bits() ^ flip;
                }
            }
        }
    }
    if let Some(last) = panel.chunks_exact_mut(step).nth(whole) {
        for (line, out) in last.as_chunks_mut::<GROUP>().0.iter_mut().enumerate().take(width) {
            let code = |k: usize| if k < depth { codes.at(start + line, k).bits() ^ flip } else { 0 };
            *out = std::array::from_fn(|k| code(whole * GROUP + k));
        }
    }
}

/// Four rows as sixteen columns of four.
#[inline(always)]
pub(super) fn interleave(rows: &[[u8; NR]; GROUP], out: &mut [u8; NR * GROUP]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        // SAFETY: SSE2 belongs to x86-64, and rows are as long as a vector.
        unsafe {
            let [a, b, c, d] = [
                _mm_loadu_si128(rows[0].as_ptr().cast()),
                _mm_loadu_si128(rows[1].as_ptr().cast()),
                _mm_loadu_si128(rows[2].as_ptr().cast()),
                _mm_loadu_si128(rows[3].as_ptr().cast()),
            ];
            let (low, high) = (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b));
            let (low_next, high_next) = (_mm_unpacklo_epi8(c, d), _mm_unpackhi_epi8(c, d));
            let columns = [
                _mm_unpacklo_epi16(low, low_next),
                _mm_unpackhi_epi16(low, low_next),
                _mm_unpacklo_epi16(high, high_next),
                _mm_unpackhi_epi16(high, high_next),
            ];
            for (out, columns) in out.as_chunks_mut::<16>().0.iter_mut().zip(columns) {
                _mm_storeu_si128(out.as_mut_ptr().cast(), columns);
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    for (j, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        *out = [rows[0][j], rows[1][j], rows[2][j], rows[3][j]];
    }
}

/// Columns of a right operand, packed once for many products.
#[derive(Clone)]
pub struct PackedB8 {
    pub(super) lines: Lines,
    /// For each panel.
    pub(super) widths: Vec<Width>,
    columns: usize,
    depth: usize,
}

impl PackedB8 {
    /// Packs a right operand, panels shared out over `threads`.
    pub fn pack<T: Code>(b: Quantized<'_, T>, threads: &Threads) -> Self {
        let (depth, columns) = (b.codes.rows(), b.codes.columns());
        let panel_len = panel_len(NR, depth);
        let panels = columns.div_ceil(NR);
        let (sign, unit) = (Sign::Signed, Level::current().unit);
        let mut lines = Lines {
            panels: AlignedBytes::zeroed(panels * panel_len),
            zeros: b.zero_points.packed(sign, 0..columns).collect(),
            sums: vec![0; columns],
            sign,
        };
        let mut widths = vec![Width::Wide; panels];
        if panel_len > 0 {
            let codes = b.codes.transposed();
            let tasks = lines.panels[..panels * panel_len].chunks_mut(PANELS_PER_TASK * panel_len);
            let tasks = tasks.zip(lines.sums.chunks_mut(PANELS_PER_TASK * NR)).zip(widths.chunks_mut(PANELS_PER_TASK));
            threads.for_each_item(tasks.enumerate(), |(task, ((panels, sums), widths))| {
                let first = task * PANELS_PER_TASK * NR;
                for (i, panel) in panels.chunks_exact_mut(panel_len).enumerate() {
                    let start = first + i * NR;
                    let width = NR.min(columns - start);
                    pack_panel::<NR, T>(&codes, start..start + width, sign.flip::<T>(), panel);
                    line_sums::<NR>(panel, sign, &mut sums[i * NR..][..width]);
                    widths[i] = narrow::<NR>(unit, panel);
                }
            });
        }
        Self { lines, widths, columns, depth }
    }

    /// What the codes of the first column stand for.
    pub(super) fn differences(&self) -> Vec<i16> {
        let Self { lines, widths, depth, .. } = self;
        let zero = lines.zeros[0] as i16;
        let code = |k: usize| i16::from(lines.panels[k / GROUP * NR * GROUP + k % GROUP].cast_signed()) - zero;
        let mut differences: Vec<i16> = (0..*depth).map(code).collect();
        for spill in widths.iter().take(1).flat_map(Width::spills) {
            spill.add_to_first_line(&mut differences);
        }
        differences
    }

    /// The memory that packing `depth` × `columns` takes at most.
    pub fn size_bytes(depth: usize, columns: usize) -> Option<usize> {
        let width = columns.checked_next_multiple_of(NR)?;
        let depth = depth.checked_next_multiple_of(GROUP)?;
        let panels = width.checked_mul(depth)?;
        panels.checked_add(most_spilled_bytes::<NR>(panels))?.checked_add(columns.checked_mul(9)?)
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

/// Rows of a left operand, packed once for many products.
#[derive(Clone)]
pub(super) struct PackedA8 {
    pub(super) lines: Lines,
    /// For each panel.
    pub(super) widths: Vec<Width>,
    rows: usize,
    groups: usize,
}

impl PackedA8 {
    /// Packs rows of `groups` groups of codes; that of a row at a group's place is `codes(group)(row, place)`, and
    /// absent where there is none.
    pub(super) fn pack<T: Code, R: Fn(usize, usize) -> Option<T>>(
        rows: usize,
        groups: usize,
        zeros: ZeroPoints<'_, T>,
        codes: impl Fn(usize) -> R,
    ) -> Self {
        let (sign, unit) = (Sign::Signed, Level::current().unit);
        let panel_len = MR * GROUP * groups;
        let panels = rows.div_ceil(MR);
        let mut lines = Lines {
            panels: AlignedBytes::zeroed(panels * panel_len),
            zeros: zeros.packed(sign, 0..rows).collect(),
            sums: vec![0; rows],
            sign,
        };
        let mut widths = vec![Width::Wide; panels];
        for (i, width) in widths.iter_mut().enumerate().filter(|_| panel_len > 0) {
            let panel = &mut lines.panels[i * panel_len..][..panel_len];
            let count = MR.min(rows - i * MR);
            for (group, quads) in panel.as_chunks_mut::<{ MR * GROUP }>().0.iter_mut().enumerate() {
                let codes = codes(group);
                for (line, quad) in quads.as_chunks_mut::<GROUP>().0.iter_mut().enumerate().take(count) {
                    for (place, byte) in quad.iter_mut().enumerate() {
                        if let Some(code) = codes(i * MR + line, place) {
                            *byte = code.bits() ^ sign.flip::<T>();
                        }
                    }
                }
            }
            line_sums::<MR>(panel, sign, &mut lines.sums[i * MR..][..count]);
            *width = narrow::<MR>(unit, panel);
        }
        Self { lines, widths, rows, groups }
    }

    /// The memory that packing `rows` of `groups` takes at most.
    pub(super) fn size_bytes(rows: usize, groups: usize) -> Option<usize> {
        let rows = rows.checked_next_multiple_of(MR)?;
        let panels = rows.checked_mul(groups.checked_mul(GROUP)?)?;
        panels.checked_add(most_spilled_bytes::<MR>(panels))?.checked_add(rows.checked_mul(9)?)
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn groups(&self) -> usize {
        self.groups
    }
}
