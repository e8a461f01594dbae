//! Convolution in which each output channel sees one input channel.
//!
//! There is no sum over channels to make a matrix product of, so taps are multiplied straight along the rows. The rows that a band of
//! outputs needs are first copied with their padding, and dealt out by `column mod stride`, so that for every tap the inputs
//! of neighbouring outputs are neighbours too, whatever the stride.

use std::ops::Range;

use super::geometry::ConvGeometry;
use super::{Channel, Channels};
use crate::gemm::{activate, bounds};
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Copied input that the nearest caches hold well.
const BAND_LEN: usize = 16 * 1024;

/// Copied input beyond which a window reaches so far that copying is no use.
const LONGEST_BAND: usize = 1024 * 1024;

/// Columns of outputs in one band.
const BAND_COLUMNS: usize = 2048;

/// Vectors of outputs that are summed at once.
const VECTORS: usize = 8;

/// Some neighbouring output channels, and the planes that they are written to.
pub(super) struct Depthwise<'a> {
    pub(super) channels: Channels<'a>,
    pub(super) band: &'a Band,
    pub(super) output: &'a mut [f32],
    /// At least as long as a band.
    pub(super) scratch: &'a mut [f32],
}

/// The copied input of a band of outputs. Column `x` of row `y` of slice `z` lies at
/// `(z · slice_rows + y) · row_len + x mod stride · phase_len + x div stride`.
pub(super) struct Band {
    /// Output rows of one band.
    rows: usize,
    /// The distance between the copied rows of one output row and the next.
    row_step: usize,
    slice_rows: usize,
    row_len: usize,
    phase_len: usize,
    /// Where each tap begins.
    offsets: Vec<usize>,
    len: usize,
}

/// One vector of outputs.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Where the inputs of its first tap lie in the band, less that tap's offset.
    from: usize,
    /// Where it goes, from the first output of the band on.
    to: usize,
}

/// Which part of an input row makes which part of a phase of a copied row.
struct Phase {
    /// The zeros of padding before it.
    zeros: usize,
    /// The column that comes first.
    first: usize,
    /// How many columns there are, a stride apart.
    count: usize,
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
        Some(Self {
            rows,
            row_step: stride_y.saturating_mul(row_len),
            slice_rows,
            row_len,
            phase_len,
            offsets: (0..geometry.taps()).map(offset).collect(),
            len,
        })
    }

    /// The numbers that a band takes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The vectors of a band of `columns`, in the order in which they must be stored: one may reach into the next row.
    ///
    /// # Panics
    /// If a vector would read beyond the band.
    fn places(&self, lanes: usize, columns: usize, width: usize) -> Vec<Place> {
        let vectors = columns.div_ceil(lanes);
        let place = |row: usize, vector: usize| {
            let column = (vector * lanes).min(columns.saturating_sub(lanes));
            Place { from: row * self.row_step + column, to: row * width + column }
        };
        let last_from = place(self.rows - 1, vectors - 1).from;
        let last_offset = self.offsets.iter().max().copied().unwrap_or(0);
        assert!(last_from + last_offset + lanes <= self.len, "a band holds all that its outputs read");
        (0..self.rows).flat_map(|row| (0..vectors).map(move |vector| place(row, vector))).collect()
    }

    /// How the phases of a copied row are filled for the outputs from `column` on.
    fn phases(&self, geometry: &ConvGeometry, column: usize) -> Vec<Phase> {
        let stride = geometry.strides[2];
        let skipped = (column * stride).saturating_sub(geometry.pads_begin[2]);
        let pad = geometry.pads_begin[2].saturating_sub(column * stride);
        (0..self.row_len / self.phase_len)
            .map(|phase| {
                let zeros = pad.saturating_sub(phase).div_ceil(stride).min(self.phase_len);
                let first = skipped + (zeros * stride + phase).saturating_sub(pad);
                let count = geometry.input[2].saturating_sub(first).div_ceil(stride);
                Phase { zeros, first, count: count.min(self.phase_len - zeros) }
            })
            .collect()
    }

    /// Copies the input that the outputs of `rows` of slice `z` need. Columns that are padding are left as they are.
    #[inline(always)]
    fn copy<S: Simd>(
        &self,
        s: S,
        geometry: &ConvGeometry,
        phases: &[Phase],
        input: &[f32],
        z: usize,
        rows: &Range<usize>,
        scratch: &mut [f32],
    ) {
        let [_, height, width] = geometry.input;
        let [_, stride_y, stride_x] = geometry.strides;
        let reach = (geometry.kernel[1] - 1) * geometry.dilations[1];
        let rows_needed = (rows.len() - 1) * stride_y + reach + 1;
        let slices = scratch.chunks_exact_mut(self.slice_rows * self.row_len);
        for (tap, slice) in slices.enumerate() {
            let source_z = geometry.source(0, z, tap);
            let lines = slice.chunks_exact_mut(self.row_len).take(rows_needed);
            for (i, line) in lines.enumerate() {
                let y = (rows.start * stride_y + i).checked_sub(geometry.pads_begin[1]);
                let Some((z, y)) = source_z.zip(y.filter(|&y| y < height)) else {
                    line.fill(0.0);
                    continue;
                };
                let row = &input[(z * height + y) * width..][..width];
                for (phase, line) in phases.iter().zip(line.chunks_exact_mut(self.phase_len)) {
                    if phase.count > 0 {
                        let line = &mut line[phase.zeros..][..phase.count];
                        copy_spread(s, &row[phase.first..], stride_x, line);
                    }
                }
            }
        }
    }
}

impl Kernel for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { channels, band, output, scratch } = self;
        let Channels { isa, threads, geometry, activation, .. } = channels;
        let width = geometry.output[2];
        let scratch = &mut scratch[..band.len];
        let bounds = bounds(activation);
        let columns = BAND_COLUMNS.min(width);
        for start in (0..width).step_by(BAND_COLUMNS) {
            // The last block overlaps the one before, so that none is too narrow for whole vectors where others follow.
            let start = start.min(width - columns);
            let places = band.places(S::LANES, columns, width);
            let phases = band.phases(geometry, start);
            scratch.fill(0.0);
            for (i, output) in output.chunks_exact_mut(geometry.output_plane()).enumerate() {
                let Channel { input, weights, bias } = channels.get(i);
                let sum = Sum { band, weights, bias, bounds };
                for_each_band(geometry, band, |z, rows| {
                    if threads.is_stopped() {
                        return;
                    }
                    band.copy(s, geometry, &phases, input, z, &rows, scratch);
                    let first = (z * geometry.output[1] + rows.start) * width + start;
                    let places = &places[..places.len() / band.rows * rows.len()];
                    // SAFETY: `places` begins as the band's list for these lanes does, and `scratch` was cut to its length.
                    unsafe { sum.store(s, places, scratch, &mut output[first..]) };
                });
            }
        }
        if bounds.is_none() {
            activate(isa, activation, output);
        }
    }
}

/// Calls `f(slice, rows)` for every band of outputs.
#[inline(always)]
fn for_each_band(geometry: &ConvGeometry, band: &Band, mut f: impl FnMut(usize, Range<usize>)) {
    let [depth, height, _] = geometry.output;
    for z in 0..depth {
        for start in (0..height).step_by(band.rows) {
            f(z, start..height.min(start + band.rows));
        }
    }
}

/// What makes one channel's outputs out of a band.
struct Sum<'a> {
    band: &'a Band,
    weights: &'a [f32],
    bias: f32,
    bounds: Option<(f32, f32)>,
}

impl Sum<'_> {
    /// Computes the vectors at `places` and stores them in that order. What a vector holds beyond the end of a row is
    /// overwritten by the next row's, or lies beyond the end of `output`.
    ///
    /// # Safety
    /// The places are [`Band::places`] of this band for as many lanes, and `copied` is as long as the band.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, places: &[Place], copied: &[f32], output: &mut [f32]) {
        let (min, max) = self.bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (min, max) = (s.splat(min), s.splat(max));
        for places in places.chunks(VECTORS) {
            let from = |i: usize| places[i.min(places.len() - 1)].from;
            let inputs: [*const f32; VECTORS] = std::array::from_fn(|i| copied[from(i)..].as_ptr());
            let mut sums = [s.splat(self.bias); VECTORS];
            for (&offset, &weight) in self.band.offsets.iter().zip(self.weights) {
                let weight = s.splat(weight);
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    // SAFETY: `Band::places` has asserted that a whole vector of the band lies at the last place's last offset.
                    let x = unsafe { std::slice::from_raw_parts(input.add(offset), S::LANES) };
                    *sum = s.mul_add(weight, s.load(x), *sum);
                }
            }
            for (place, sum) in places.iter().zip(sums) {
                let output = &mut output[place.to..];
                let x = s.min(max, s.max(min, sum));
                if output.len() >= S::LANES {
                    s.store(output, x);
                } else {
                    s.store_partial(output, output.len(), x);
                }
            }
        }
    }
}

/// `to[i] = from[i · stride]`
#[inline(always)]
pub(super) fn copy_spread<S: Simd>(s: S, from: &[f32], stride: usize, to: &mut [f32]) {
    match stride {
        1 => copy(s, from, to),
        2 => copy_every_second(from, to),
        _ => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from),
    }
}

/// Copies a short run without a call.
#[inline(always)]
fn copy<S: Simd>(s: S, from: &[f32], to: &mut [f32]) {
    let from = &from[..to.len()];
    let Some(last) = to.len().checked_sub(S::LANES) else {
        return s.store_partial(to, to.len(), s.load_partial(from, to.len(), 0.0));
    };
    for (to, from) in to.chunks_exact_mut(S::LANES).zip(from.chunks_exact(S::LANES)) {
        s.store(to, s.load(from));
    }
    s.store(&mut to[last..], s.load(&from[last..]));
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
