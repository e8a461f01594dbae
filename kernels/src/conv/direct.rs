//! Convolution as a product whose right operand is the padded input itself.
//!
//! The input that a band of outputs needs is copied once, with its padding, and dealt out by `row mod stride` and
//! `column mod stride` into planes. There, what a tap of all windows lies on is one stretch of memory: output `(y, x)` is
//! column `y · row_len + x`, and tap after tap begins at a place of its own. A few columns between one row of outputs
//! and the next are computed for nothing, and no patch is ever written down.

use std::cell::Cell;

use super::depthwise::copy_spread;
use super::geometry::ConvGeometry;
use super::{Start, grow};
use crate::elementwise::Unary;
use crate::gemm::{Epilogue, Left, MR, NR, PackedA, PlacedRows, Product, Right, activate, bounds, even_step, share};
use crate::simd::{Kernel, Simd, dispatch_on};
use crate::{Isa, Threads};

/// Copied input, and sums, that the second level of cache holds beside the filters.
const BAND_LEN: usize = 64 * 1024;

/// Rows of outputs that a thread's share should not fall below: rows above and below are copied too.
const LEAST_ROWS: usize = 4;

/// Copied input, or sums, beyond which windows reach so far or rows are so long that copying is no use.
const LONGEST_BAND: usize = 16 * 1024 * 1024;

/// What packing patches costs beside their products, as rows of them.
const PACKING_ROWS: usize = 30;

/// How the outputs of a convolution are cut into bands, and how the input of a band is laid out.
pub(super) struct Direct {
    /// Planes that rows and columns are dealt out to.
    phases: [usize; 2],
    /// The length of a copied row.
    row_len: usize,
    /// Copied rows beyond one for each row of outputs.
    more_rows: usize,
    /// Output rows of one band.
    rows: usize,
    /// Images of one band; more than one only where rows of images can follow each other without more rows between.
    images: usize,
    /// Into how many shares the output channels of a group are cut.
    splits: usize,
    /// The copied numbers of one plane, and of one channel.
    plane_len: usize,
    channel_len: usize,
}

impl Direct {
    /// How to do it, where windows do not reach too far or through a third dimension.
    pub(super) fn new(geometry: &ConvGeometry, threads: &Threads) -> Option<Self> {
        let ([_, height, width], [_, stride_y, stride_x]) = (geometry.output, geometry.strides);
        let reach = [1, 2].map(|dim| (geometry.kernel[dim] - 1) * geometry.dilations[dim]);
        let more_rows = reach[0] / stride_y;
        let row_len = width + reach[1] / stride_x;
        if !geometry.is_flat() || geometry.group_in() == 0 {
            return None;
        }
        let phases = [stride_y.min(reach[0] + 1), stride_x.min(reach[1] + 1)];
        let (group_in, group_out) = (geometry.group_in(), geometry.group_out());
        let copied_row = group_in.checked_mul(phases[0] * phases[1])?.checked_mul(row_len)?;
        let least_len = copied_row.checked_mul(1 + more_rows)?.max(group_out.checked_mul(row_len)?);
        if least_len > LONGEST_BAND {
            return None;
        }
        let can_join = more_rows == 0 && geometry.batch > 1;
        let wanted = (height * width).next_multiple_of(NR);
        let computed = if can_join { height * row_len } else { ((height - 1) * row_len + width).next_multiple_of(NR) };
        let wins = computed * geometry.group_out() <= wanted * (geometry.group_out() + PACKING_ROWS);
        if !wins {
            return None;
        }
        let by_input = (BAND_LEN / copied_row).saturating_sub(more_rows);
        let by_output = 2 * BAND_LEN / (group_out * row_len);
        let mut rows = even_step(height, by_input.min(by_output).max(1));
        let mut images =
            if can_join && rows == height { (by_input.min(by_output) / height).clamp(1, geometry.batch) } else { 1 };

        const NS_PER_MULTIPLY_ADD: f64 = 0.01;
        let row_ns = (group_out * group_in * geometry.taps() * width) as f64 * NS_PER_MULTIPLY_ADD;
        let units = geometry.batch * geometry.groups * height;
        let panels = group_out.div_ceil(MR);
        let tasks = threads.split(units.saturating_mul(panels), row_ns / panels as f64);
        images = even_step(geometry.batch, images.min((geometry.batch * geometry.groups / tasks).max(1)));
        let image_tasks = geometry.batch.div_ceil(images) * geometry.groups;
        if image_tasks < tasks && images == 1 {
            rows = rows.min(height.div_ceil(tasks.div_ceil(image_tasks)).max(LEAST_ROWS).min(height));
        }
        let splits = tasks.div_ceil(image_tasks * height.div_ceil(rows)).clamp(1, panels);

        let plane_len = images.checked_mul(rows + more_rows)?.checked_mul(row_len)?;
        let channel_len = plane_len.checked_mul(phases[0] * phases[1])?;
        group_in.checked_mul(channel_len)?.checked_add(PlacedRows::SLACK)?;
        Some(Self { phases, row_len, more_rows, rows, images, splits, plane_len, channel_len })
    }

    /// Where the input of each tap of each channel begins.
    fn places(&self, geometry: &ConvGeometry) -> Vec<usize> {
        let of_tap = |tap: usize| {
            let [_, y, x] = geometry.tap(tap);
            let (y, x) = (y * geometry.dilations[1], x * geometry.dilations[2]);
            let phase = y % geometry.strides[1] * self.phases[1] + x % geometry.strides[2];
            phase * self.plane_len + y / geometry.strides[1] * self.row_len + x / geometry.strides[2]
        };
        let taps: Vec<usize> = (0..geometry.taps()).map(of_tap).collect();
        let channel = |channel: usize| taps.iter().map(move |place| channel * self.channel_len + place);
        (0..geometry.group_in()).flat_map(channel).collect()
    }

    /// The columns of the product for a band of so many images and rows.
    fn columns(&self, images: usize, rows: usize, width: usize) -> usize {
        ((images - 1) * (self.rows + self.more_rows) + rows - 1) * self.row_len + width
    }
}

/// One band of the outputs of one group, for some of its output channels.
struct Band<'a> {
    group: usize,
    first_image: usize,
    first_row: usize,
    /// The share of the output channels.
    split: usize,
    /// The outputs of the channels of each image, image after image.
    outputs: Vec<&'a mut [f32]>,
}

thread_local! {
    static COPIED: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static SUMS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Convolves; the arguments fit together.
pub(super) fn conv_direct(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    direct: &Direct,
    x: &[f32],
    groups: &[PackedA],
    bias: Option<&[f32]>,
    start: Start,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    let places = direct.places(geometry);
    let width = geometry.output[2];
    let group_out = geometry.group_out();
    threads.for_each_item(bands(geometry, direct, y), |band| {
        let (mut copied, mut sums) = (COPIED.take(), SUMS.take());
        let channels = share(group_out, MR, band.split, direct.splits);
        let images = band.outputs.len() / channels.len();
        let rows = band.outputs[0].len() / width;
        let columns = direct.columns(images, rows, width);
        let stride = columns.next_multiple_of(16);
        grow(&mut copied, geometry.group_in() * direct.channel_len + PlacedRows::SLACK);
        grow(&mut sums, channels.len() * stride);
        dispatch_on(isa, Copy { geometry, direct, x, band: &band, images, rows, copied: &mut copied });
        let product = Product {
            rows: group_out,
            columns,
            depth: places.len(),
            left: Left::Packed(&groups[band.group]),
            right: Right::Placed(PlacedRows::new(&copied, &places, columns)),
            alpha: 1.0,
            beta: 0.0,
            epilogue: Epilogue::default(),
        };
        product.run_rows(isa, threads, channels.clone(), &mut sums, stride);
        let first_channel = band.group * group_out + channels.start;
        let bias = bias.map(|bias| &bias[first_channel..][..channels.len()]);
        let outputs = band.outputs;
        let channels = channels.len();
        dispatch_on(isa, Store { isa, direct, width, sums: &sums, stride, channels, bias, start, activation, outputs });
        COPIED.set(copied);
        SUMS.set(sums);
    });
}

/// The bands that `y` is made of.
fn bands<'a>(geometry: &ConvGeometry, direct: &Direct, y: &'a mut [f32]) -> Vec<Band<'a>> {
    let [_, height, width] = geometry.output;
    let row_bands = height.div_ceil(direct.rows);
    let mut bands = Vec::new();
    for first_image in (0..geometry.batch).step_by(direct.images) {
        for group in 0..geometry.groups {
            for split in 0..direct.splits {
                let band =
                    |row: usize| Band { group, first_image, first_row: row * direct.rows, split, outputs: Vec::new() };
                bands.extend((0..row_bands).map(band));
            }
        }
    }
    let group_out = geometry.group_out();
    let mut planes = y.chunks_exact_mut(height * width);
    for image in 0..geometry.batch {
        for group in 0..geometry.groups {
            for split in 0..direct.splits {
                let first = ((image / direct.images * geometry.groups + group) * direct.splits + split) * row_bands;
                for plane in planes.by_ref().take(share(group_out, MR, split, direct.splits).len()) {
                    let pieces = plane.chunks_mut(direct.rows * width);
                    bands[first..].iter_mut().zip(pieces).for_each(|(band, piece)| band.outputs.push(piece));
                }
            }
        }
    }
    bands
}

/// Copies the input of a band.
struct Copy<'a> {
    geometry: &'a ConvGeometry,
    direct: &'a Direct,
    x: &'a [f32],
    band: &'a Band<'a>,
    images: usize,
    rows: usize,
    copied: &'a mut [f32],
}

impl Kernel for Copy<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { geometry, direct, band, .. } = self;
        let ([_, height, width], [_, stride_y, stride_x]) = (geometry.input, geometry.strides);
        let [_, pad_y, pad_x] = geometry.pads_begin;
        let (plane, group_in) = (geometry.input_plane(), geometry.group_in());
        let rows_needed = self.rows + direct.more_rows;
        for channel in 0..group_in {
            let planes = &mut self.copied[channel * direct.channel_len..][..direct.channel_len];
            for (phase, to) in planes.chunks_exact_mut(direct.plane_len).enumerate() {
                let (phase_y, phase_x) = (phase / direct.phases[1], phase % direct.phases[1]);
                let zeros = pad_x.saturating_sub(phase_x).div_ceil(stride_x).min(direct.row_len);
                let first = (zeros * stride_x + phase_x).saturating_sub(pad_x);
                let count = width.saturating_sub(first).div_ceil(stride_x).min(direct.row_len - zeros);
                let images = to.chunks_exact_mut((direct.rows + direct.more_rows) * direct.row_len);
                for (image, to) in images.take(self.images).enumerate() {
                    let from = (band.first_image + image) * geometry.in_channels + band.group * group_in + channel;
                    let from = &self.x[from * plane..][..plane];
                    for (i, to) in to.chunks_exact_mut(direct.row_len).take(rows_needed).enumerate() {
                        let row = ((band.first_row + i) * stride_y + phase_y).checked_sub(pad_y);
                        match row.filter(|&row| row < height && count > 0) {
                            Some(row) => {
                                let (before, to) = to.split_at_mut(zeros);
                                let (to, after) = to.split_at_mut(count);
                                before.iter_mut().chain(after).for_each(|x| *x = 0.0);
                                copy_spread(s, &from[row * width + first..][..width - first], stride_x, to);
                            }
                            None => to.fill(0.0),
                        }
                    }
                }
            }
        }
    }
}

/// Brings the wanted columns of finished sums to the output.
struct Store<'a> {
    isa: Isa,
    direct: &'a Direct,
    width: usize,
    sums: &'a [f32],
    stride: usize,
    channels: usize,
    bias: Option<&'a [f32]>,
    start: Start,
    activation: Option<Unary>,
    outputs: Vec<&'a mut [f32]>,
}

impl Kernel for Store<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let store = self;
        let Store { direct, width, stride, .. } = store;
        let (min, max) = bounds(store.activation).unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (min, max) = (s.splat(min), s.splat(max));
        let adds = store.start == Start::Output;
        for (i, output) in store.outputs.into_iter().enumerate() {
            let (image, channel) = (i / store.channels, i % store.channels);
            let bias = s.splat(store.bias.map_or(0.0, |bias| bias[channel]));
            let image = image * (direct.rows + direct.more_rows) * direct.row_len;
            let sums = &store.sums[channel * stride + image..];
            for (row, output) in output.chunks_exact_mut(width).enumerate() {
                let sums = &sums[row * direct.row_len..][..width];
                for (sums, output) in sums.chunks(S::LANES).zip(output.chunks_mut(S::LANES)) {
                    let n = sums.len();
                    let mut x = s.add(s.load_partial(sums, n, 0.0), bias);
                    if adds {
                        x = s.add(x, s.load_partial(output, n, 0.0));
                    }
                    s.store_partial(output, n, s.min(max, s.max(min, x)));
                }
            }
            if bounds(store.activation).is_none() {
                activate(store.isa, store.activation, output);
            }
        }
    }
}
