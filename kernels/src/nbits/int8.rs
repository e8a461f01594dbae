//! The product with left rows quantized to 8 bits, block by block.
//!
//! A block of a left row is codes from −127 to 127 and a scale. The sums of a block are exact, as are those of its codes with
//! zero; then they are scaled and added to those of other blocks.

use super::pack::{LINE, Output, PANEL, PackedBlocks};
use crate::Threads;
use crate::int8::{AlignedBytes, COLUMNS, GROUP, LEFT_STEP, Level, MR, NR, RIGHT_STEP, Runs, Sums, Tile};
use crate::simd::{Kernel, Simd, dispatch_on};
use std::cell::Cell;
use std::ops::Range;

const _: () = assert!(PANEL == NR && LINE == RIGHT_STEP);

thread_local! {
    static SCRATCH: Cell<AlignedBytes> = Cell::default();
}

/// Left rows, quantized and packed.
struct Left {
    /// `[row panel][block][group][MR][4]`, groups in the order in which codes lie in words.
    codes: AlignedBytes,
    /// `[block][row]`.
    scales: Vec<f32>,
    /// `[block][row]`: the sums of codes.
    sums: Vec<f32>,
    rows: usize,
}

/// Where in its block element `k` lies among groups: elements beside each other are codes of one word, of which every
/// `8 / bits`th make a group.
fn place(bits: usize, k: usize) -> (usize, usize) {
    let (per_word, per_byte) = (32 / bits, 8 / bits);
    let (word, within) = (k / per_word, k % per_word);
    (word * per_byte + within % per_byte, within / per_byte)
}

impl Left {
    fn new(weights: &PackedBlocks, level: Level, threads: &Threads, x: &[f32], rows: usize) -> Left {
        let (blocks, groups) = (weights.blocks(), weights.block / GROUP);
        let panels = rows.div_ceil(MR);
        let panel_len = blocks * groups * LEFT_STEP;
        let mut codes = AlignedBytes::zeroed(panels * panel_len);
        // [row panel][block][MR], so that tasks write runs of them.
        let mut factors = vec![[[0.0f32; MR]; 2]; panels * blocks];
        let mut places = vec![0; weights.block];
        for k in 0..weights.block {
            let (group, byte) = place(weights.bits, k);
            places[group * GROUP + byte] = k;
        }
        let tasks = codes[..panels * panel_len].chunks_mut(panel_len).zip(factors.chunks_mut(blocks)).enumerate();
        let places = &places;
        threads.for_each_item(tasks, |(panel, (codes, factors))| {
            let rows = panel * MR..rows.min((panel + 1) * MR);
            let (padded, own) = (vec![0.0; weights.block], vec![0; weights.block]);
            dispatch_on(level.isa, Quantize { weights, x, rows, places, codes, factors, padded, own });
        });
        let mut scales = vec![0.0; blocks * panels * MR];
        let mut sums = scales.clone();
        for (i, [scale, sum]) in factors.iter().enumerate() {
            let at = (i % blocks * panels + i / blocks) * MR;
            scales[at..at + MR].copy_from_slice(scale);
            sums[at..at + MR].copy_from_slice(sum);
        }
        Left { codes, scales, sums, rows }
    }
}

/// Quantizes the rows of one panel.
struct Quantize<'a> {
    weights: &'a PackedBlocks,
    x: &'a [f32],
    rows: Range<usize>,
    /// Which element of a block each byte of its groups is.
    places: &'a [usize],
    codes: &'a mut [u8],
    factors: &'a mut [[[f32; MR]; 2]],
    /// One block of numbers, filled up with zeros, and of codes.
    padded: Vec<f32>,
    own: Vec<i8>,
}

/// Added to a number below 2²² in magnitude, this leaves its nearest integer, ties to even, in the low bits.
const ROUNDER: f32 = 12_582_912.0;

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let (depth, block) = (self.weights.depth, self.weights.block);
        let block_len = block / GROUP * LEFT_STEP;
        for i in 0..self.rows.len() {
            let row = &self.x[(self.rows.start + i) * depth..][..depth];
            for index in 0..self.factors.len() {
                let part = &row[index * block..depth.min((index + 1) * block)];
                self.padded[..part.len()].copy_from_slice(part);
                self.padded[part.len()..].fill(0.0);
                let greatest = greatest(s, &self.padded);
                let scale = greatest / 127.0;
                let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                let (padded, own) = (&self.padded[..block], &mut self.own[..block]);
                for (code, number) in own.iter_mut().zip(padded) {
                    *code = (number * inverse + ROUNDER).to_bits() as i8;
                }
                let mut sum = 0i32;
                for &code in &*own {
                    sum += i32::from(code);
                }
                let codes = &mut self.codes[index * block_len..][..block_len];
                let places = &self.places[..block];
                for group in 0..block / GROUP {
                    let at = group * GROUP;
                    let quad = [own[places[at]], own[places[at + 1]], own[places[at + 2]], own[places[at + 3]]];
                    let to = group * LEFT_STEP + i * GROUP;
                    for (to, code) in codes[to..].iter_mut().zip(quad) {
                        *to = code.cast_unsigned();
                    }
                }
                self.factors[index][0][i] = scale;
                self.factors[index][1][i] = sum as f32;
            }
        }
    }
}

/// The greatest magnitude. NaN is passed over.
#[inline(always)]
fn greatest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut all = s.splat(0.0);
    let whole = x.len() / S::LANES * S::LANES;
    for start in (0..whole).step_by(S::LANES) {
        all = s.max(s.abs(s.load(&x[start..])), all);
    }
    let mut greatest = s.reduce_max(all);
    for &x in &x[whole..] {
        greatest = if x.abs() > greatest { x.abs() } else { greatest };
    }
    greatest
}

impl PackedBlocks {
    /// Whether [`multiply_int8`](Self::multiply_int8) takes these blocks.
    pub fn can_multiply_int8(&self) -> bool {
        self.block.is_multiple_of(GROUP)
    }

    /// [`multiply`](Self::multiply) with each block of each left row quantized to 8 bits.
    ///
    /// # Panics
    /// If lengths do not fit together, or [`can_multiply_int8`](Self::can_multiply_int8) is false.
    pub fn multiply_int8(&self, threads: &Threads, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        self.multiply_int8_with(Level::current(), threads, x, rows, bias, y);
    }

    pub(super) fn multiply_int8_with(
        &self,
        level: Level,
        threads: &Threads,
        x: &[f32],
        rows: usize,
        bias: Option<&[f32]>,
        y: &mut [f32],
    ) {
        self.check(x, rows, bias, y);
        assert!(self.can_multiply_int8(), "blocks of whole groups");
        if y.is_empty() {
            return;
        }
        let left = &Left::new(self, level, threads, x, rows);
        let output = Output { start: y.as_mut_ptr(), row_stride: self.rows };
        let output = &output;
        let wide_panels = self.rows.div_ceil(COLUMNS);
        let ns = (COLUMNS * self.depth.max(1) * rows) as f64 * level.ns_per_mac() * 2.0;
        let tasks = threads.split(wide_panels, ns);
        threads.for_each(tasks, &|task| {
            let mut scratch = SCRATCH.take();
            for panel in wide_panels * task / tasks..wide_panels * (task + 1) / tasks {
                let first = panel * COLUMNS / PANEL;
                let panels = first..(first + COLUMNS / PANEL).min(self.panels());
                self.wide_panel(level, panels, left, bias, *output, &mut scratch);
            }
            SCRATCH.set(scratch);
        });
    }

    /// The products of all left rows with some panels that lie beside each other.
    fn wide_panel(
        &self,
        level: Level,
        panels: Range<usize>,
        left: &Left,
        bias: Option<&[f32]>,
        output: Output,
        scratch: &mut AlignedBytes,
    ) {
        let (blocks, groups, words) = (self.blocks(), self.block / GROUP, self.words());
        let packed_panel = blocks * words * LINE;
        let packed = &self.codes[panels.start * packed_panel..panels.end * packed_panel];
        let panel_step = blocks * groups * RIGHT_STEP;
        let bytes = if self.bits == 8 {
            packed
        } else {
            scratch.grow(panels.len() * panel_step);
            dispatch_on(level.isa, Spread { bits: self.bits, packed, bytes: scratch });
            &scratch[..panels.len() * panel_step]
        };
        let runs = Runs { starts: &[0], groups, step: RIGHT_STEP, panel_step };
        let kernel = level.unit.kernel(true);
        let row_panels = left.rows.div_ceil(MR);
        let mut sums: Sums = [[0; COLUMNS]; MR];
        for row_panel in 0..row_panels {
            let height = MR.min(left.rows - row_panel * MR);
            let mut totals = [[0f32; COLUMNS]; MR];
            for block in 0..blocks {
                let a = &left.codes[(row_panel * blocks + block) * groups * LEFT_STEP..][..groups * LEFT_STEP];
                let b = &bytes[block * groups * RIGHT_STEP..];
                // Two products of codes below 16 with ones of at most 127 fit 16 bits.
                let tile = Tile::new([height, panels.len()], a, b, runs, self.bits < 8);
                // SAFETY: a level is made of what the CPU has.
                unsafe { kernel(&tile, &mut sums) };
                let at = (block * row_panels + row_panel) * MR;
                dispatch_on(
                    level.isa,
                    Add {
                        weights: self,
                        panels: panels.clone(),
                        block,
                        scales: &left.scales[at..][..height],
                        sums_of_codes: &left.sums[at..][..height],
                        sums: &sums,
                        totals: &mut totals,
                    },
                );
            }
            let column = panels.start * PANEL;
            let width = (self.rows - column).min(panels.len() * PANEL);
            for (i, totals) in totals.iter_mut().enumerate().take(height) {
                if let Some(bias) = bias {
                    totals.iter_mut().zip(&bias[column..column + width]).for_each(|(total, bias)| *total += bias);
                }
                // SAFETY: `check` has compared the result's length, and these columns are this task's alone.
                unsafe { output.write(row_panel * MR + i, column, &totals[..width]) };
            }
        }
    }
}

/// Gives each code of fewer bits a byte.
struct Spread<'a> {
    bits: usize,
    packed: &'a [u8],
    bytes: &'a mut [u8],
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (lines, bytes) = (self.packed.len() / LINE, self.bytes);
        let per_byte = 8 / self.bits;
        for line in 0..lines {
            let from = &self.packed[line * LINE..][..LINE];
            for place in 0..per_byte {
                let to = &mut bytes[(line * per_byte + place) * LINE..][..LINE];
                if self.bits == 4 {
                    let shift = place * 4;
                    for i in 0..LINE {
                        to[i] = (from[i] >> shift) & 0xf;
                    }
                } else {
                    let shift = place * 2;
                    for i in 0..LINE {
                        to[i] = (from[i] >> shift) & 3;
                    }
                }
            }
        }
    }
}

/// Adds the scaled sums of a block.
struct Add<'a> {
    weights: &'a PackedBlocks,
    panels: Range<usize>,
    block: usize,
    scales: &'a [f32],
    sums_of_codes: &'a [f32],
    sums: &'a Sums,
    totals: &'a mut [[f32; COLUMNS]; MR],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Add { weights, panels, block, scales, sums_of_codes, sums, totals } = self;
        let (blocks, middle) = (weights.blocks(), weights.middle());
        for (j, panel) in panels.enumerate() {
            let at = (panel * blocks + block) * PANEL;
            let of_columns = &weights.scales[at..at + PANEL];
            let mut zeros = [middle; PANEL];
            if let Some(all) = &weights.zeros {
                zeros.copy_from_slice(&all[at..at + PANEL]);
            }
            for row in 0..scales.len() {
                let (scale, of_codes) = (scales[row], sums_of_codes[row]);
                let sums = &sums[row][j * PANEL..][..PANEL];
                let totals = &mut totals[row][j * PANEL..][..PANEL];
                for i in 0..PANEL {
                    let sum = sums[i] as f32 - zeros[i] * of_codes;
                    totals[i] += sum * (scale * of_columns[i]);
                }
            }
        }
    }
}
