//! Convolution over one to three spatial dimensions, channels first (NCHW), with a bias and an activation in the store.
//!
//! A [`ConvGeometry`] holds the sizes, a [`PackedConv`] the weights in the form that suits them:
//! a pointwise convolution is one matrix product on the input as it lies; most others are products with shifted stretches of
//! the padded input (`direct`), the rest with `patches`, which are packed block by block; planes of few positions are `turned`;
//! one input channel for each output channel goes its own way (`depthwise_rows` for small square windows, `depthwise` along
//! rows for others, or `depthwise_blocks` across channels).

mod depthwise;
mod depthwise_blocks;
mod depthwise_rows;
mod direct;
mod geometry;
mod patches;
mod scalar;
mod transpose;
mod turned;
mod winograd;

pub use geometry::{ConvGeometry, GeometryError, Window};
pub use scalar::{conv_scalar, conv_transpose_scalar};
pub use transpose::conv_transpose;
pub use winograd::{Winograd, conv_winograd};

use std::cell::Cell;

use crate::elementwise::Unary;
use crate::gemm::{Bias, Epilogue, Left, MatRef, PackedA, Product, Right};
use crate::simd::MAX_LANES;
use crate::{Isa, Threads, simd};
use depthwise::{Band, Depthwise};
use depthwise_blocks::DepthwiseBlocks;
use depthwise_rows::DepthwiseRows;
use direct::{Direct, conv_direct};
use turned::{Turned, conv_turned};

pub(crate) use patches::Patches;
pub(crate) use scalar::source as scalar_source;

/// A convolution's weights, packed once.
#[derive(Clone)]
pub struct PackedConv {
    form: Form,
    out_channels: usize,
    group_in: usize,
    taps: usize,
}

#[derive(Clone)]
enum Form {
    /// One matrix for each group.
    Product(Vec<PackedA>),
    /// One matrix for each group, on the other side of the product.
    Turned(Turned),
    /// The taps of each output channel.
    Depthwise(Vec<f32>),
}

/// Groups with at most this many outputs for their one input are not worth a matrix product.
const MOST_DEPTHWISE_OUTPUTS: usize = 4;

impl PackedConv {
    /// Packs `weights`: output channels × input channels of a group × kernel, for inputs of any size. Of `geometry` only the
    /// channels, groups and kernel matter.
    ///
    /// # Panics
    /// If `weights` is not as long as `geometry` says.
    pub fn pack(geometry: &ConvGeometry, weights: &[f32], threads: &Threads) -> Self {
        assert_eq!(weights.len(), geometry.weights_len(), "the weights' length");
        let (group_in, group_out, taps) = (geometry.group_in(), geometry.group_out(), geometry.taps());
        let form = if Self::is_depthwise(geometry) {
            Form::Depthwise(weights.to_vec())
        } else {
            let depth = group_in * taps;
            let groups = (0..geometry.groups).map(|group| {
                let weights = &weights[group * group_out * depth..][..group_out * depth];
                PackedA::pack(MatRef::row_major(weights, group_out, depth), threads)
            });
            Form::Product(groups.collect())
        };
        Self { form, out_channels: geometry.out_channels, group_in, taps }
    }

    /// Whether inputs of this size are convolved faster with the filters on the right of the product, as
    /// [`pack_turned`](Self::pack_turned) packs them: their planes have few positions.
    pub fn turning_pays(geometry: &ConvGeometry) -> bool {
        !Self::is_depthwise(geometry) && Turned::pays(geometry)
    }

    /// Like [`pack`](Self::pack), with the filters on the right of the product. Inputs of all sizes are convolved; where it
    /// does not [pay](Self::turning_pays), only slower.
    ///
    /// # Panics
    /// If `weights` is not as long as `geometry` says.
    pub fn pack_turned(geometry: &ConvGeometry, weights: &[f32], threads: &Threads) -> Self {
        assert_eq!(weights.len(), geometry.weights_len(), "the weights' length");
        Self {
            form: Form::Turned(Turned::pack(geometry, weights, threads)),
            out_channels: geometry.out_channels,
            group_in: geometry.group_in(),
            taps: geometry.taps(),
        }
    }

    /// The same weights as [`pack_turned`](Self::pack_turned) packs them, where these are [matrices](Self::is_matrix).
    ///
    /// # Panics
    /// If these were packed for other channels or another kernel.
    pub fn to_turned(&self, geometry: &ConvGeometry, threads: &Threads) -> Option<Self> {
        Some(Self::pack_turned(geometry, &self.unpacked(geometry)?, threads))
    }

    /// The weights as they were before they were packed as [matrices](Self::is_matrix).
    fn unpacked(&self, geometry: &ConvGeometry) -> Option<Vec<f32>> {
        assert_eq!(self.packed_for(), Self::needed_for(geometry), "the weights' channels and kernel");
        let Form::Product(groups) = &self.form else { return None };
        let row = |row: usize| {
            let group = &groups[row / geometry.group_out()];
            (0..group.depth()).map(move |k| group.at(row % geometry.group_out(), k))
        };
        Some((0..self.out_channels).flat_map(row).collect())
    }

    /// Output channels, input channels of a group and taps.
    fn packed_for(&self) -> [usize; 3] {
        [self.out_channels, self.group_in, self.taps]
    }

    /// What [`packed_for`](Self::packed_for) must be.
    fn needed_for(geometry: &ConvGeometry) -> [usize; 3] {
        [geometry.out_channels, geometry.group_in(), geometry.taps()]
    }

    /// Whether a convolution with these weights can begin with what the output holds.
    pub fn accumulates(&self) -> bool {
        !matches!(self.form, Form::Depthwise(_))
    }

    /// Whether these are matrices of filters by rows, of which the other forms and [`Winograd`] are made.
    pub fn is_matrix(&self) -> bool {
        matches!(self.form, Form::Product(_))
    }

    /// Whether such a convolution goes channel by channel.
    pub(crate) fn is_depthwise(geometry: &ConvGeometry) -> bool {
        geometry.group_in() == 1 && geometry.group_out() <= MOST_DEPTHWISE_OUTPUTS
    }

    /// The memory that the weights of `geometry` take as [`pack_turned`](Self::pack_turned) packs them.
    pub fn turned_size_bytes(geometry: &ConvGeometry) -> Option<usize> {
        Turned::size_bytes(geometry)
    }

    /// The memory that the packed weights of `geometry` take.
    pub fn size_bytes(geometry: &ConvGeometry) -> Option<usize> {
        PackedA::size_bytes(geometry.group_out(), geometry.group_in() * geometry.taps())?.checked_mul(geometry.groups)
    }
}

/// What a convolution's sums begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    Zero,
    /// What the output holds: a residual that was put there.
    Output,
}

/// `y = activation(start + conv(x, weights) + bias)`, NCHW.
///
/// # Panics
/// If a slice is not as long as `geometry` says, the weights were packed for other channels or another kernel, or `start` is
/// the output and the weights do not [accumulate](PackedConv::accumulates).
pub fn conv(
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &PackedConv,
    bias: Option<&[f32]>,
    start: Start,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    conv_with(Isa::current(), threads, geometry, x, weights, bias, start, activation, y);
}

pub(crate) fn conv_with(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &PackedConv,
    bias: Option<&[f32]>,
    start: Start,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    assert!(start == Start::Zero || weights.accumulates(), "these weights cannot add to the output");
    check(geometry, x, bias, y);
    assert_eq!(weights.packed_for(), PackedConv::needed_for(geometry), "the weights' channels and kernel");
    if y.is_empty() {
        return;
    }
    match &weights.form {
        Form::Product(groups) => conv_product(isa, threads, geometry, x, groups, bias, start, activation, y),
        Form::Turned(weights) => conv_turned(isa, threads, geometry, x, weights, bias, start, activation, y),
        Form::Depthwise(weights) => {
            conv_depthwise(isa, threads, geometry, x, weights, bias, activation, y);
        }
    }
}

/// Convolution as a product for each group of each image.
fn conv_product(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    groups: &[PackedA],
    bias: Option<&[f32]>,
    start: Start,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    if !geometry.is_pointwise()
        && let Some(direct) = Direct::new(geometry, threads)
    {
        return conv_direct(isa, threads, geometry, &direct, x, groups, bias, start, activation, y);
    }
    let (rows, columns) = (geometry.group_out(), geometry.output_plane());
    let depth = geometry.group_in() * geometry.taps();
    let x_len = geometry.group_in() * geometry.input_plane();
    let images = geometry.batch * geometry.groups;
    let product = |threads: &Threads, image: usize, y: &mut [f32]| {
        let group = image % geometry.groups;
        let x = &x[image * x_len..][..x_len];
        let patches = Patches::new(geometry, x, 0.0);
        let right = if geometry.is_pointwise() {
            Right::Matrix(MatRef::row_major(x, depth, columns))
        } else {
            Right::Patches(&patches)
        };
        let product = Product {
            rows,
            columns,
            depth,
            left: Left::Packed(&groups[group]),
            right,
            alpha: 1.0,
            beta: if start == Start::Output { 1.0 } else { 0.0 },
            epilogue: Epilogue {
                bias: bias.map_or(Bias::None, |bias| Bias::PerRow(&bias[group * rows..][..rows])),
                activation,
            },
        };
        product.run(isa, threads, y, columns);
    };
    if images >= 2 * threads.count() {
        let ns_per_image = (rows * columns * depth) as f64 * 0.02;
        let each = images.div_ceil(threads.split(images, ns_per_image));
        threads.for_each_chunk_mut(y, each * rows * columns, |task, y| {
            for (i, y) in y.chunks_exact_mut(rows * columns).enumerate() {
                product(&threads.alone(), task * each + i, y);
            }
        });
    } else {
        for (image, y) in y.chunks_exact_mut(rows * columns).enumerate() {
            product(threads, image, y);
        }
    }
}

thread_local! {
    static BAND: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// `y = conv(x, weights)`, channel by channel.
pub(crate) fn conv_channels(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &[f32],
    y: &mut [f32],
) {
    check(geometry, x, None, y);
    conv_depthwise(isa, threads, geometry, x, weights, None, None, y);
}

/// Convolution channel by channel.
fn conv_depthwise(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    let (plane, taps) = (geometry.output_plane(), geometry.taps());
    let channels = geometry.batch * geometry.out_channels;
    let each = channels.div_ceil(threads.split(channels, (plane * (taps + 4)) as f64 * 0.05));
    let channels = Channels { isa, threads, geometry, input: x, weights, bias, activation, first: 0 };
    if DepthwiseRows::fits(geometry) {
        return threads.for_each_chunk_mut(y, each * plane, |task, output| {
            let channels = Channels { first: task * each, ..channels };
            simd::dispatch_on(isa, DepthwiseRows { channels, output });
        });
    }
    if DepthwiseBlocks::pays(isa, geometry) {
        let each = each.next_multiple_of(MAX_LANES);
        return threads.for_each_chunk_mut(y, each * plane, |task, output| {
            let channels = Channels { first: task * each, ..channels };
            let mut scratch = BAND.take();
            simd::dispatch_on(isa, DepthwiseBlocks { channels, output, scratch: &mut scratch });
            BAND.set(scratch);
        });
    }
    let Some(band) = Band::new(geometry) else {
        return scalar::conv_stoppable(threads, geometry, x, weights, bias, activation, y);
    };
    threads.for_each_chunk_mut(y, each * plane, |task, output| {
        let channels = Channels { first: task * each, ..channels };
        let mut scratch = BAND.take();
        grow(&mut scratch, band.len());
        simd::dispatch_on(isa, Depthwise { channels, band: &band, output, scratch: &mut scratch });
        BAND.set(scratch);
    });
}

/// Some neighbouring output channels of a convolution channel by channel.
#[derive(Clone, Copy)]
struct Channels<'a> {
    isa: Isa,
    threads: &'a Threads,
    geometry: &'a ConvGeometry,
    /// The input of all channels.
    input: &'a [f32],
    /// The weights of all channels.
    weights: &'a [f32],
    /// The bias of all channels.
    bias: Option<&'a [f32]>,
    activation: Option<Unary>,
    /// The first of these, counted through all images.
    first: usize,
}

/// What one output channel is made of.
#[derive(Clone, Copy)]
struct Channel<'a> {
    input: &'a [f32],
    weights: &'a [f32],
    bias: f32,
}

impl<'a> Channels<'a> {
    /// The channel `index` places behind the first.
    #[inline(always)]
    fn get(&self, index: usize) -> Channel<'a> {
        let Self { geometry, input, weights, bias, first, .. } = *self;
        let (image, channel) = ((first + index) / geometry.out_channels, (first + index) % geometry.out_channels);
        let in_channel = image * geometry.in_channels + channel / geometry.group_out();
        let (plane, taps) = (geometry.input_plane(), geometry.taps());
        Channel {
            input: &input[in_channel * plane..][..plane],
            weights: &weights[channel * taps..][..taps],
            bias: bias.map_or(0.0, |bias| bias[channel]),
        }
    }
}

/// Makes sure of `len` numbers; what they are is left over from earlier use.
pub(crate) fn grow<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
}

fn check(geometry: &ConvGeometry, x: &[f32], bias: Option<&[f32]>, y: &[f32]) {
    assert_eq!(x.len(), geometry.input_len(), "the input's length");
    assert_eq!(y.len(), geometry.output_len(), "the output's length");
    assert!(bias.is_none_or(|bias| bias.len() == geometry.out_channels), "the bias's length");
}

#[cfg(test)]
mod tests;
