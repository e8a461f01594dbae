//! Codes in the order in which products read them.

use super::Blocks;
use crate::Threads;
use crate::int8::AlignedBytes;

/// Rows of a panel, side by side.
pub(super) const PANEL: usize = 16;

/// Bytes of a word of each of a panel's rows.
pub(super) const LINE: usize = PANEL * 4;

/// Weights in blocks, packed: panels of sixteen rows, in which a 32-bit word of codes of each row follows one of the
/// other, word after word and block after block.
#[derive(Clone)]
pub struct PackedBlocks {
    pub(super) bits: usize,
    pub(super) block: usize,
    pub(super) rows: usize,
    pub(super) depth: usize,
    /// `[panel][block][word][PANEL]` words.
    pub(super) codes: AlignedBytes,
    /// `[panel][block][PANEL]`.
    pub(super) scales: Vec<f32>,
    /// As scales; absent where they all are 2^(bits − 1).
    pub(super) zeros: Option<Vec<f32>>,
}

impl PackedBlocks {
    /// Whether blocks of this size are made of whole words.
    pub fn takes(bits: usize, block: usize) -> bool {
        block > 0 && (block * bits).is_multiple_of(32)
    }

    /// The memory that packing takes, with zeros or without.
    pub fn size_bytes(bits: usize, block: usize, [rows, depth]: [usize; 2], has_zeros: bool) -> Option<usize> {
        let rows = rows.checked_next_multiple_of(PANEL)?;
        let blocks = rows.checked_mul(depth.div_ceil(block))?;
        let each = (block * bits / 8).checked_add(if has_zeros { 8 } else { 4 })?;
        blocks.checked_mul(each)
    }

    /// Packs weights, panels shared out over `threads`.
    ///
    /// # Panics
    /// If blocks are not made of whole words.
    pub fn pack(weights: &Blocks<'_>, threads: &Threads) -> PackedBlocks {
        let Blocks { bits, block, rows, depth, .. } = *weights;
        assert!(Self::takes(bits, block), "a block is made of whole words");
        let (blocks, words, bytes) = (weights.blocks(), block * bits / 32, weights.block_bytes());
        let panels = rows.div_ceil(PANEL);
        let (panel_bytes, panel_scales) = (blocks * words * LINE, blocks * PANEL);
        let mut codes = AlignedBytes::zeroed(panels * panel_bytes);
        let mut scales = vec![0.0; panels * panel_scales];
        let mut zeros = weights.zeros.map(|_| vec![0.0; panels * panel_scales]);
        if panel_bytes > 0 {
            let each = panels.div_ceil(threads.count() * 4).max(1);
            threads.for_each_chunk_mut(&mut codes[..panels * panel_bytes], each * panel_bytes, |task, out| {
                for (i, out) in out.chunks_exact_mut(panel_bytes).enumerate() {
                    let first = (task * each + i) * PANEL;
                    for lane in 0..PANEL.min(rows - first) {
                        let row = &weights.codes[(first + lane) * blocks * bytes..][..blocks * bytes];
                        for (line, word) in out.chunks_exact_mut(LINE).zip(row.as_chunks::<4>().0) {
                            line.as_chunks_mut::<4>().0[lane] = *word;
                        }
                    }
                }
            });
            for row in 0..rows {
                for block in 0..blocks {
                    let at = (row / PANEL * blocks + block) * PANEL + row % PANEL;
                    scales[at] = weights.scales[row * blocks + block];
                    if let Some(zeros) = &mut zeros {
                        zeros[at] = weights.zero(row, block);
                    }
                }
            }
        }
        PackedBlocks { bits, block, rows, depth, codes, scales, zeros }
    }

    /// The number of rows: of outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of weights in a row.
    pub fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn blocks(&self) -> usize {
        self.depth.div_ceil(self.block)
    }

    /// Words of a block of a row.
    pub(super) fn words(&self) -> usize {
        self.block * self.bits / 32
    }

    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// The code that stands for zero without zeros.
    pub(super) fn middle(&self) -> f32 {
        (1u32 << (self.bits - 1)) as f32
    }
}

/// A result of which tasks write columns that no other task writes.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) start: *mut f32,
    pub(super) row_stride: usize,
}

// SAFETY: it stands for a `&mut [f32]` of which tasks write disjoint columns.
unsafe impl Sync for Output {}

impl Output {
    /// Writes part of a row.
    ///
    /// # Safety
    /// The part lies in the result, and nobody else touches it.
    #[inline(always)]
    pub(super) unsafe fn write(self, row: usize, column: usize, values: &[f32]) {
        // SAFETY: the caller answers for the part.
        let to =
            unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.row_stride + column), values.len()) };
        to.copy_from_slice(values);
    }
}
