//! Convolution as a product whose rows are outputs' positions and whose columns are output channels.
//!
//! Where a plane has few positions, the product with the filters on the left would leave most of a tile's columns empty, and
//! would read the filters for a few sums each. Here the input is turned, so that the channels of a position lie side by
//! side, the stretches of it that a window lies on become one row, and finished sums are turned back.

use std::cell::Cell;
use std::ops::Range;

use super::geometry::{ConvGeometry, coordinates};
use super::{Start, grow};
use crate::elementwise::Unary;
use crate::gemm::{Bias, Epilogue, Left, MatRef, NR, PackedB, Product, Right, activate, bounds, steps};
use crate::simd::{Kernel, Simd, dispatch_on};
use crate::{Isa, Threads};

/// Positions that one product takes.
const BLOCK_ROWS: usize = 120;

/// Turned input, and numbers under the windows of a product, beyond which it is not worth the memory.
const MOST_NUMBERS: usize = 16 << 20;

/// Planes with more positions fill the columns of tiles well enough.
const MOST_POSITIONS: usize = 200;

/// Fewer output channels leave columns of tiles empty themselves.
const LEAST_CHANNELS: usize = 2 * NR;

/// The filters of each group: (tap · input channel) × output channel.
#[derive(Clone)]
pub(super) struct Turned {
    groups: Vec<PackedB>,
}

impl Turned {
    /// Whether such a convolution is faster this way.
    pub(super) fn pays(geometry: &ConvGeometry) -> bool {
        let depth = geometry.group_in().saturating_mul(geometry.taps());
        let turned = geometry.group_in().saturating_mul(geometry.input_plane());
        geometry.output_plane() <= MOST_POSITIONS
            && geometry.group_out() >= LEAST_CHANNELS
            && geometry.group_in() > 0
            && depth.saturating_mul(BLOCK_ROWS.max(MOST_POSITIONS)).max(turned) <= MOST_NUMBERS
    }

    /// The memory that the packed filters take.
    pub(super) fn size_bytes(geometry: &ConvGeometry) -> Option<usize> {
        let depth = geometry.group_in() * geometry.taps();
        PackedB::size_bytes(depth, geometry.group_out())?.checked_mul(geometry.groups)
    }

    /// Packs `weights`, which are as long as `geometry` says.
    pub(super) fn pack(geometry: &ConvGeometry, weights: &[f32], threads: &Threads) -> Self {
        let (group_in, group_out, taps) = (geometry.group_in(), geometry.group_out(), geometry.taps());
        let depth = group_in * taps;
        let mut turned = Vec::new();
        let groups = (0..geometry.groups).map(|group| {
            let weights = &weights[group * group_out * depth..][..group_out * depth];
            if taps == 1 {
                return PackedB::pack(MatRef::row_major(weights, group_out, depth).transposed(), threads);
            }
            turned.resize(group_out * depth, 0.0);
            for (from, to) in weights.chunks_exact(depth).zip(turned.chunks_exact_mut(depth)) {
                for (channel, from) in from.chunks_exact(taps).enumerate() {
                    to[channel..].iter_mut().step_by(group_in).zip(from).for_each(|(to, from)| *to = *from);
                }
            }
            PackedB::pack(MatRef::row_major(&turned, group_out, depth).transposed(), threads)
        });
        Self { groups: groups.collect() }
    }
}

/// What one thread keeps between calls.
#[derive(Default)]
struct Scratch {
    /// An image's channels of a group, turned.
    turned: Vec<f32>,
    /// What windows lie on, one window a row.
    windows: Vec<f32>,
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Convolves; the arguments fit together and `y` is not empty.
pub(super) fn conv_turned(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &Turned,
    bias: Option<&[f32]>,
    start: Start,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    let images = (BLOCK_ROWS / geometry.output_plane()).clamp(1, geometry.batch);
    let image_len = geometry.out_channels * geometry.output_plane();
    let block = |threads: &Threads, index: usize, y: &mut [f32]| {
        let mut scratch = SCRATCH.take();
        let block = Block { isa, threads, geometry, weights, bias, start, activation, first_image: index * images };
        block.run(x, &mut scratch, y);
        SCRATCH.set(scratch);
    };
    if geometry.batch.div_ceil(images) >= 2 * threads.count() {
        threads.for_each_chunk_mut(y, images * image_len, |index, y| block(&threads.alone(), index, y));
    } else {
        y.chunks_mut(images * image_len).enumerate().for_each(|(index, y)| block(threads, index, y));
    }
}

/// Some neighbouring images.
struct Block<'a> {
    isa: Isa,
    threads: &'a Threads,
    geometry: &'a ConvGeometry,
    weights: &'a Turned,
    bias: Option<&'a [f32]>,
    start: Start,
    activation: Option<Unary>,
    first_image: usize,
}

impl Block<'_> {
    fn run(&self, x: &[f32], scratch: &mut Scratch, y: &mut [f32]) {
        let geometry = self.geometry;
        let (plane, group_out) = (geometry.output_plane(), geometry.group_out());
        let depth = geometry.group_in() * geometry.taps();
        let images = y.len() / (geometry.out_channels * plane);
        for (group, filters) in self.weights.groups.iter().enumerate() {
            let first_channel = group * group_out;
            let bias = self.bias.map(|bias| &bias[first_channel..][..group_out]);
            // One image in blocks of positions, or all images at once.
            for positions in steps(0..plane, if images > 1 { plane } else { BLOCK_ROWS }) {
                if self.threads.is_stopped() {
                    return;
                }
                let rows = images * positions.len();
                let Scratch { turned, windows, sums } = scratch;
                let left = if geometry.is_pointwise() && images == 1 {
                    let x = self.channels(x, 0, group);
                    MatRef::new(&x[positions.start..], rows, depth, 1, plane)
                } else {
                    grow(windows, rows * depth);
                    for (image, windows) in windows[..rows * depth].chunks_exact_mut(rows / images * depth).enumerate()
                    {
                        let x = self.channels(x, image, group);
                        if positions.start == 0 {
                            grow(turned, x.len());
                            let (group_in, plane) = (geometry.group_in(), geometry.input_plane());
                            dispatch_on(self.isa, Turn { from: x, rows: group_in, columns: plane, to: turned });
                        }
                        lay_out(geometry, turned, positions.clone(), windows);
                    }
                    MatRef::row_major(windows, rows, depth)
                };
                grow(sums, rows * group_out);
                let adds = self.start == Start::Output;
                let product = Product {
                    rows,
                    columns: group_out,
                    depth,
                    left: Left::Matrix(left),
                    right: Right::Packed(filters),
                    alpha: 1.0,
                    beta: 0.0,
                    epilogue: Epilogue {
                        bias: bias.map_or(Bias::None, Bias::PerColumn),
                        activation: self.activation.filter(|_| !adds),
                    },
                };
                product.run(self.isa, self.threads, &mut sums[..rows * group_out], group_out);
                let per_image = sums[..rows * group_out].chunks_exact(positions.len() * group_out);
                for (sums, y) in per_image.zip(y.chunks_exact_mut(geometry.out_channels * plane)) {
                    let y = &mut y[first_channel * plane..][..group_out * plane];
                    let bounds = if adds { bounds(self.activation) } else { None };
                    let adds = adds.then_some(bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY)));
                    dispatch_on(
                        self.isa,
                        TurnBack { sums, channels: group_out, y, plane, first: positions.start, adds },
                    );
                }
            }
        }
        if self.start == Start::Output && bounds(self.activation).is_none() {
            activate(self.isa, self.activation, y);
        }
    }

    /// The input channels of one group of one of the images.
    fn channels<'x>(&self, x: &'x [f32], image: usize, group: usize) -> &'x [f32] {
        let len = self.geometry.group_in() * self.geometry.input_plane();
        &x[((self.first_image + image) * self.geometry.groups + group) * len..][..len]
    }
}

/// Writes what the windows of the outputs `positions` lie on, window after window, tap after tap.
fn lay_out(geometry: &ConvGeometry, turned: &[f32], positions: Range<usize>, windows: &mut [f32]) {
    let (channels, [_, height, width]) = (geometry.group_in(), geometry.input);
    let [kernel_z, kernel_y, kernel_x] = geometry.kernel;
    // Taps of one row of a window that lie side by side are copied at once.
    let together = if geometry.dilations[2] == 1 { kernel_x } else { 1 };
    let row_len = kernel_x * channels;
    for (position, window) in positions.zip(windows.chunks_exact_mut(kernel_z * kernel_y * row_len)) {
        let [z, y, x] = coordinates(position, geometry.output);
        for (row, to) in window.chunks_exact_mut(row_len).enumerate() {
            let z = geometry.source(0, z, row / kernel_y);
            let Some((z, y)) = z.zip(geometry.source(1, y, row % kernel_y)) else {
                to.fill(0.0);
                continue;
            };
            for (piece, to) in to.chunks_exact_mut(together * channels).enumerate() {
                // The first tap's place is this far behind the padding's first.
                let at = x * geometry.strides[2] + piece * geometry.dilations[2];
                let pad = geometry.pads_begin[2];
                let before = pad.saturating_sub(at).min(together);
                let within = (width + pad).saturating_sub(at).clamp(before, together);
                let (to, after) = to.split_at_mut(within * channels);
                let (before, to) = to.split_at_mut(before * channels);
                before.fill(0.0);
                after.fill(0.0);
                if !to.is_empty() {
                    let from = ((z * height + y) * width + at.saturating_sub(pad)) * channels;
                    to.copy_from_slice(&turned[from..][..to.len()]);
                }
            }
        }
    }
}

/// Exchanges the axes of a matrix.
struct Turn<'a> {
    from: &'a [f32],
    rows: usize,
    columns: usize,
    to: &'a mut [f32],
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { from, rows, columns, to } = self;
        for column in (0..columns).step_by(S::LANES) {
            let width = S::LANES.min(columns - column);
            for row in (0..rows).step_by(S::LANES) {
                let height = S::LANES.min(rows - row);
                let from = &from[row * columns + column..];
                s.transpose(from, columns, [height, width], &mut to[column * rows + row..], rows);
            }
        }
    }
}

/// Brings sums of neighbouring positions to the planes of their channels.
struct TurnBack<'a> {
    sums: &'a [f32],
    channels: usize,
    y: &'a mut [f32],
    plane: usize,
    /// The first position.
    first: usize,
    /// Between which bounds they are added to what is there, where they are.
    adds: Option<(f32, f32)>,
}

impl Kernel for TurnBack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, channels, y, plane, first, adds } = self;
        let positions = sums.len() / channels;
        let mut block = [0.0; MAX_BLOCK];
        for channel in (0..channels).step_by(S::LANES) {
            let count = S::LANES.min(channels - channel);
            for position in (0..positions).step_by(S::LANES) {
                let width = S::LANES.min(positions - position);
                let from = &sums[position * channels + channel..];
                let to = &mut y[channel * plane + first + position..];
                let Some((min, max)) = adds else {
                    s.transpose(from, channels, [width, count], to, plane);
                    continue;
                };
                s.transpose(from, channels, [width, count], &mut block, S::LANES);
                for (to, sums) in to.chunks_mut(plane).zip(block.chunks_exact(S::LANES)).take(count) {
                    let sum = s.add(s.load_partial(to, width, 0.0), s.load(sums));
                    s.store_partial(to, width, s.min(s.splat(max), s.max(s.splat(min), sum)));
                }
            }
        }
    }
}

/// The numbers of one transposed block.
const MAX_BLOCK: usize = crate::simd::MAX_LANES * crate::simd::MAX_LANES;
