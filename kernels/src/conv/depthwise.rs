//! Convolution in which each output channel sees one input channel.
//!
//! There is no sum over channels to make a matrix product of, so taps are multiplied straight along the rows. The rows that a band of
//! outputs needs are first copied with their padding, and dealt out by `column mod stride`, so that for every tap the inputs
//! of neighbouring outputs are neighbours too, whatever the stride.

use std::ops::Range;

use super::geometry::ConvGeometry;
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Copied input that the nearest caches hold well.
const BAND_LEN: usize = 16 * 1024;

/// Copied input beyond which a window reaches so far that copying is no use.
const LONGEST_BAND: usize = 1024 * 1024;

/// Columns of outputs in one band.
const BAND_COLUMNS: usize = 2048;

/// Vectors of outputs that are summed at once.
const VECTORS: usize = 8;

/// The work on one output channel.
pub(super) struct Depthwise<'a> {
    pub(super) geometry: &'a ConvGeometry,
    pub(super) band: &'a Band,
    pub(super) input: &'a [f32],
    pub(super) weights: &'a [f32],
    pub(super) bias: f32,
    pub(super) bounds: (f32, f32),
    pub(super) output: &'a mut [f32],
    pub(super) scratch: &'a mut [f32],
}

/// The copied input of a band of outputs. Column `x` of row `y` of slice `z` lies at
/// `(z · slice_rows + y) · row_len + x mod stride · phase_len + x div stride`.
pub(super) struct Band {
    /// Output rows of one band.
    rows: usize,
    slice_rows: usize,
    row_len: usize,
    phase_len: usize,
    /// Where each tap begins.
    offsets: Vec<usize>,
    len: usize,
}

impl Band {
    /// The bands of a geometry, or nothing where its windows reach too far.
    pub(super) fn new(geometry: &ConvGeometry) -> Option<Self> {
        let [_, stride_y, stride_x] = geometry.strides;
        let reach = [0, 1, 2].map(|dim| (geometry.kernel[dim] - 1) * geometry.dilations[dim]);
        // Whole vectors are read even where a row of outputs ends.
        let columns = geometry.output[2].min(BAND_COLUMNS) + MAX_LANES;
        let phase_len = columns + reach[2].div_ceil(stride_x);
        let row_len = phase_len.checked_mul(stride_x.min(reach[2] + 1))?;
        let each = row_len.checked_mul(geometry.kernel[0])?;
        let first = (reach[1] + 1).checked_mul(each)?;
        let more = BAND_LEN.saturating_sub(first) / stride_y.saturating_mul(each);
        let rows = (1 + more).min(geometry.output[1]);
        let slice_rows = (rows - 1) * stride_y + reach[1] + 1;
        let len = slice_rows.checked_mul(each).filter(|&len| len <= LONGEST_BAND)?;
        let offset = |tap: usize| {
            let [z, y, x] = geometry.tap(tap);
            let x = x * geometry.dilations[2];
            let row = z * slice_rows + y * geometry.dilations[1];
            row * row_len + x % stride_x * phase_len + x / stride_x
        };
        Some(Self { rows, slice_rows, row_len, phase_len, offsets: (0..geometry.taps()).map(offset).collect(), len })
    }

    /// The numbers that a band takes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Copies the input that the outputs of `rows` and of the columns from `column` on need, padding included.
    #[inline(always)]
    fn copy(
        &self,
        geometry: &ConvGeometry,
        input: &[f32],
        z: usize,
        rows: &Range<usize>,
        column: usize,
        scratch: &mut [f32],
    ) {
        let [_, height, width] = geometry.input;
        let [_, stride_y, stride_x] = geometry.strides;
        let [_, pad_y, pad_x] = geometry.pads_begin;
        let reach = (geometry.kernel[1] - 1) * geometry.dilations[1];
        let rows_needed = (rows.len() - 1) * stride_y + reach + 1;
        let skipped = (column * stride_x).saturating_sub(pad_x).min(width);
        let pad = pad_x.saturating_sub(column * stride_x);
        let slices = scratch.chunks_exact_mut(self.slice_rows * self.row_len);
        for (tap, slice) in slices.enumerate() {
            let source_z = geometry.source(0, z, tap);
            let lines = slice.chunks_exact_mut(self.row_len).take(rows_needed);
            for (i, line) in lines.enumerate() {
                let y = (rows.start * stride_y + i).checked_sub(pad_y);
                match source_z.zip(y.filter(|&y| y < height)) {
                    Some((z, y)) => {
                        let row = &input[(z * height + y) * width..][..width];
                        copy_row(&row[skipped..], pad, stride_x, self.phase_len, line);
                    }
                    None => line.fill(0.0),
                }
            }
        }
    }
}

impl Kernel for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { geometry, band, input, weights, bias, bounds, output, scratch } = self;
        let [depth, height, width] = geometry.output;
        let row_step = geometry.strides[1] * band.row_len;
        let scratch = &mut scratch[..band.len];
        for z in 0..depth {
            for start in (0..height).step_by(band.rows) {
                let rows = start..height.min(start + band.rows);
                let output = &mut output[(z * height + start) * width..][..rows.len() * width];
                for column in (0..width).step_by(BAND_COLUMNS) {
                    band.copy(geometry, input, z, &rows, column, scratch);
                    let columns = column..width.min(column + BAND_COLUMNS);
                    let rows = rows.len();
                    sum_block(s, band, row_step, weights, bias, bounds, scratch, rows, columns, width, output);
                }
            }
        }
    }
}

/// The sums of a block of outputs, `rows` of `columns` in `output`, whose rows are `width` long.
///
/// [`VECTORS`] vectors are summed at once, taken along the rows one row after another, so that additions overlap however narrow the
/// rows are.
#[inline(always)]
fn sum_block<S: Simd>(
    s: S,
    band: &Band,
    row_step: usize,
    weights: &[f32],
    bias: f32,
    bounds: (f32, f32),
    scratch: &[f32],
    rows: usize,
    columns: Range<usize>,
    width: usize,
    output: &mut [f32],
) {
    let (min, max) = (s.splat(bounds.0), s.splat(bounds.1));
    let vectors = columns.len().div_ceil(S::LANES);
    let last_base = (rows - 1) * row_step + (vectors - 1) * S::LANES;
    let last_offset = band.offsets.iter().max().copied().unwrap_or(0);
    assert!(last_base + last_offset + S::LANES <= scratch.len(), "a band holds all that its outputs read");
    let mut position = (0, 0);
    let total = rows * vectors;
    for start in (0..total).step_by(VECTORS) {
        let mut places = [position; VECTORS];
        for place in places.iter_mut().take(total - start) {
            *place = position;
            position.1 += 1;
            if position.1 == vectors {
                position = (position.0 + 1, 0);
            }
        }
        let count = VECTORS.min(total - start);
        let last = places[count - 1];
        places[count..].fill(last);
        let bases = places.map(|(row, vector)| row * row_step + vector * S::LANES);
        let mut sums = [s.splat(bias); VECTORS];
        for (&offset, &weight) in band.offsets.iter().zip(weights) {
            let weight = s.splat(weight);
            for (sum, base) in sums.iter_mut().zip(bases) {
                // SAFETY: `base` is at most `last_base` and `offset` at most `last_offset`, for which the assertion holds.
                let x = unsafe { scratch.get_unchecked(base + offset..base + offset + S::LANES) };
                *sum = s.mul_add(weight, s.load(x), *sum);
            }
        }
        for (&(row, vector), sum) in places[..count].iter().zip(sums) {
            let row = &mut output[row * width..][columns.clone()];
            let out = &mut row[vector * S::LANES..];
            let x = s.min(max, s.max(min, sum));
            if out.len() >= S::LANES {
                s.store(out, x);
            } else {
                s.store_partial(out, out.len(), x);
            }
        }
    }
}

/// Deals a row, with `pad` zeros before it and zeros after it, out to the phases of `line`.
#[inline(always)]
fn copy_row(row: &[f32], pad: usize, stride: usize, phase_len: usize, line: &mut [f32]) {
    for (phase, line) in line.chunks_exact_mut(phase_len).enumerate() {
        let zeros = pad.saturating_sub(phase).div_ceil(stride).min(phase_len);
        let (before, rest) = line.split_at_mut(zeros);
        before.fill(0.0);
        let first = (zeros * stride + phase).saturating_sub(pad);
        let row = row.get(first..).unwrap_or(&[]);
        let count = row.len().div_ceil(stride).min(rest.len());
        let (inside, after) = rest.split_at_mut(count);
        match stride {
            1 => inside.copy_from_slice(&row[..count]),
            2 => copy_every_second(row, inside),
            _ => inside.iter_mut().zip(row.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
        }
        after.fill(0.0);
    }
}

/// `to[i] = from[2 · i]`, in a form that compiles to shuffles of vectors.
#[inline(always)]
fn copy_every_second(from: &[f32], to: &mut [f32]) {
    let (pairs, rest) = from.as_chunks::<2>();
    let whole = pairs.len().min(to.len());
    for (to, pair) in to[..whole].iter_mut().zip(pairs) {
        *to = pair[0];
    }
    if let (Some(to), Some(from)) = (to.get_mut(whole), rest.first()) {
        *to = *from;
    }
}
