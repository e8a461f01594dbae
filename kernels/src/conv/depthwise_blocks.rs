//! Convolution in which each output channel sees one input channel, as many channels at a time as a vector has lanes.
//!
//! The input of a band of outputs is turned so that the channels of one position lie side by side, with its padding around it.
//! Then every tap of every output is one vector, however narrow a row is and whatever the stride, and finished
//! outputs are turned back. Long rows without a stride are better off as they lie.

use super::geometry::ConvGeometry;
use super::{Channels, grow};
use crate::Isa;
use crate::gemm::{activate, bounds};
use crate::simd::{Kernel, MAX_LANES, Simd};

/// Turned input that the second level of cache holds.
const BAND_LEN: usize = 32 * 1024;

/// Turned input beyond which windows reach so far or rows are so long that turning is no use.
const LONGEST_BAND: usize = 4 * 1024 * 1024;

/// Vectors of outputs that are summed at once.
const VECTORS: usize = 8;

/// Rows of outputs as long as this fill vectors well enough as they lie.
const LONG_ROW: usize = 12;

/// Fewer channels are not worth a vector.
const LEAST_CHANNELS: usize = MAX_LANES / 2;

/// Some neighbouring output channels, and the planes that they are written to.
pub(super) struct DepthwiseBlocks<'a> {
    pub(super) channels: Channels<'a>,
    pub(super) output: &'a mut [f32],
    pub(super) scratch: &'a mut Vec<f32>,
}

/// How a plane is cut into bands, and how long their parts are.
struct Band {
    /// Output rows of one band.
    rows: usize,
    /// The numbers of turned rows of input, of turned weights and of turned outputs.
    row_len: usize,
    input_len: usize,
    weights_len: usize,
    output_len: usize,
}

impl Band {
    fn new(geometry: &ConvGeometry, lanes: usize) -> Self {
        let ([_, height, width], [_, stride_y, stride_x]) = (geometry.output, geometry.strides);
        let reach = [1, 2].map(|dim| (geometry.kernel[dim] - 1) * geometry.dilations[dim]);
        let row_len = ((width - 1) * stride_x + reach[1] + 1) * lanes;
        let more = (BAND_LEN / row_len).saturating_sub(reach[0] + 1) / stride_y;
        let rows = (1 + more).min(height);
        // Outputs are summed in whole groups of vectors: the last one reads and writes beyond its row.
        let beyond = VECTORS * stride_x * lanes;
        Self {
            rows,
            row_len,
            input_len: ((rows - 1) * stride_y + reach[0] + 1) * row_len + beyond,
            weights_len: geometry.taps() * lanes,
            output_len: (rows * width + VECTORS) * lanes,
        }
    }
}

impl DepthwiseBlocks<'_> {
    /// Whether such a convolution is faster this way. AVX2 is faster with strided rows as they lie, their columns dealt out.
    pub(super) fn pays(isa: Isa, geometry: &ConvGeometry) -> bool {
        let reach = |dim: usize| (geometry.kernel[dim] - 1) * geometry.dilations[dim];
        let row =
            (geometry.output[2].saturating_sub(1)).saturating_mul(geometry.strides[2]).saturating_add(reach(2) + 1);
        let is_near = row.saturating_mul(reach(1) + 1).saturating_mul(MAX_LANES) <= LONGEST_BAND;
        let is_strided = isa == Isa::Avx512 && geometry.strides[2] > 1;
        let is_awkward = geometry.output[2] < LONG_ROW || is_strided;
        is_awkward
            && geometry.is_flat()
            && is_near
            && geometry.out_channels >= LEAST_CHANNELS
            && geometry.input_plane() < 1 << 24
    }
}

impl Kernel for DepthwiseBlocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { channels, output, scratch } = self;
        let Channels { isa, threads, geometry, input, weights: all_weights, bias, activation, first: first_channel } =
            channels;
        let band = Band::new(geometry, S::LANES);
        let len = band.input_len + band.weights_len + band.output_len;
        grow(scratch, len);
        let (turned, rest) = scratch.split_at_mut(band.input_len);
        let (weights, sums) = rest.split_at_mut(band.weights_len);
        let taps = geometry.taps();
        let (plane, [_, height, width]) = (geometry.output_plane(), geometry.output);
        let total = output.len() / plane;
        let mut done = 0;
        while done < total {
            let channel = (first_channel + done) % geometry.out_channels;
            let image = (first_channel + done) / geometry.out_channels;
            let count = S::LANES.min(total - done).min(geometry.out_channels - channel);
            turn(s, &all_weights[channel * taps..][..count * taps], taps, [count, taps], weights);
            let mut biases = [0.0; MAX_LANES];
            if let Some(bias) = bias {
                biases[..count].copy_from_slice(&bias[channel..][..count]);
            }
            let block = Block { geometry, band: &band, weights, bias: s.load(&biases), bounds: bounds(activation) };
            for first_row in (0..height).step_by(band.rows) {
                if threads.is_stopped() {
                    return;
                }
                let rows = band.rows.min(height - first_row);
                block.turn_input(s, input, image, channel..channel + count, first_row, rows, turned);
                block.sum(s, rows, turned, sums);
                let sums = &mut sums[..rows * width * S::LANES];
                if bounds(activation).is_none() {
                    activate(isa, activation, sums);
                }
                let to = &mut output[done * plane + first_row * width..];
                for (at, sums) in (0..).step_by(S::LANES).zip(sums.chunks(S::LANES * S::LANES)) {
                    let positions = sums.len() / S::LANES;
                    s.transpose(sums, S::LANES, [positions, count], &mut to[at..], plane);
                }
            }
            done += count;
        }
    }
}

/// Turns `rows` rows of `columns` numbers, `stride` apart, into vectors of one number of each row.
#[inline(always)]
fn turn<S: Simd>(s: S, from: &[f32], stride: usize, [rows, columns]: [usize; 2], to: &mut [f32]) {
    for at in (0..columns).step_by(S::LANES) {
        let columns = S::LANES.min(columns - at);
        s.transpose(&from[at..], stride, [rows, columns], &mut to[at * S::LANES..], S::LANES);
    }
}

/// Some channels side by side.
struct Block<'a, S: Simd> {
    geometry: &'a ConvGeometry,
    band: &'a Band,
    /// A vector for each tap.
    weights: &'a [f32],
    bias: S::F32,
    bounds: Option<(f32, f32)>,
}

impl<S: Simd> Block<'_, S> {
    /// Turns the input of `rows` rows of outputs.
    #[inline(always)]
    fn turn_input(
        &self,
        s: S,
        input: &[f32],
        image: usize,
        channels: std::ops::Range<usize>,
        first_row: usize,
        rows: usize,
        turned: &mut [f32],
    ) {
        let Self { geometry, band, .. } = self;
        let ([_, height, width], [_, stride_y, _]) = (geometry.input, geometry.strides);
        let (group_out, plane) = (geometry.group_out(), geometry.input_plane());
        let needed = (rows - 1) * stride_y + (geometry.kernel[1] - 1) * geometry.dilations[1] + 1;
        let left = (geometry.pads_begin[2] * S::LANES).min(band.row_len);
        let columns = width.min((band.row_len - left) / S::LANES);
        for (i, to) in turned.chunks_exact_mut(band.row_len).take(needed).enumerate() {
            let row = (first_row * stride_y + i).checked_sub(geometry.pads_begin[1]).filter(|&row| row < height);
            let Some(row) = row.filter(|_| columns > 0) else {
                to.fill(0.0);
                continue;
            };
            let (before, to) = to.split_at_mut(left);
            let (to, after) = to.split_at_mut(columns * S::LANES);
            before.fill(0.0);
            after.fill(0.0);
            let from = |channel: usize| {
                let channel = image * geometry.in_channels + channel / group_out;
                &input[channel * plane + row * width..]
            };
            if group_out == 1 {
                turn(s, from(channels.start), plane, [channels.len(), columns], to);
            } else {
                if channels.len() < S::LANES {
                    to.fill(0.0);
                }
                for (lane, channel) in channels.clone().enumerate() {
                    let from = &from(channel)[..columns];
                    to.iter_mut().skip(lane).step_by(S::LANES).zip(from).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// Sums `rows` rows of outputs.
    #[inline(always)]
    fn sum(&self, s: S, rows: usize, turned: &[f32], sums: &mut [f32]) {
        let Self { geometry, band, weights, .. } = self;
        let ([_, _, width], [_, stride_y, stride_x]) = (geometry.output, geometry.strides);
        let [_, kernel_y, kernel_x] = geometry.kernel;
        let step_x = geometry.dilations[2] * S::LANES;
        let step_y = geometry.dilations[1] * band.row_len;
        let between = stride_x * S::LANES;
        let (min, max) = self.bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (min, max) = (s.splat(min), s.splat(max));
        for row in 0..rows {
            for column in (0..width).step_by(VECTORS) {
                let mut totals = [self.bias; VECTORS];
                let corner = row * stride_y * band.row_len + column * between;
                let mut taps = weights.chunks_exact(S::LANES);
                for y in 0..kernel_y {
                    for x in 0..kernel_x {
                        let Some(weight) = taps.next() else { break };
                        let weight = s.load(weight);
                        let from = &turned[corner + y * step_y + x * step_x..][..(VECTORS - 1) * between + S::LANES];
                        for (i, total) in totals.iter_mut().enumerate() {
                            *total = s.mul_add(weight, s.load(&from[i * between..]), *total);
                        }
                    }
                }
                let to = &mut sums[(row * width + column) * S::LANES..][..VECTORS * S::LANES];
                for (to, total) in to.chunks_exact_mut(S::LANES).zip(totals) {
                    s.store(to, s.min(max, s.max(min, total)));
                }
            }
        }
    }
}
