//! Convolution of 8-bit codes: exact 32-bit sums, and what they become.

use std::cell::Cell;

use super::bytes::AlignedBytes;
use super::codes::{Code, Sign, ZeroPoints};
use super::finish::{Finish, Sums32};
use super::pack::PackedA8;
use super::planes::Planes;
use super::product::{Operands, Places, Product8};
use super::quantize::Quantization;
use super::tile::{GROUP, Level, MR};
use crate::conv::{ConvGeometry, PackedConv, conv_channels, grow, scalar_source};
use crate::simd::{self, Kernel, Simd};
use crate::{Isa, Threads};

/// Sums of this many products of differences of codes are exact in `f32`: 255² · 258 < 2²⁴.
const MOST_EXACT_TAPS: usize = 258;

/// Bytes that a thread keeps for its next convolution.
const MOST_KEPT_BYTES: usize = 4 << 20;

thread_local! {
    static SCRATCH: Cell<AlignedBytes> = Cell::default();
}

/// The 8-bit weights of a convolution, packed once.
#[derive(Clone)]
pub struct PackedConv8 {
    form: Weights,
    out_channels: usize,
    group_in: usize,
    taps: usize,
}

#[derive(Clone)]
enum Weights {
    /// One matrix for each group.
    Product(Vec<PackedA8>),
    /// The taps of each output channel, in `f32`, which is exact for so few of them.
    Depthwise(Vec<f32>),
}

/// What a convolution reads.
#[derive(Debug, Clone, Copy)]
pub enum Image<'a> {
    /// Unsigned codes and the one of 0.
    U8(&'a [u8], u8),
    /// Signed codes and the one of 0.
    I8(&'a [i8], i8),
    /// Numbers, quantized on the way.
    Numbers(&'a [f32], Quantization),
}

impl Image<'_> {
    fn len(&self) -> usize {
        match self {
            Image::U8(x, _) => x.len(),
            Image::I8(x, _) => x.len(),
            Image::Numbers(x, _) => x.len(),
        }
    }

    /// The planes of the channels that begin at `from`.
    fn planes(&self, threads: &Threads, geometry: &ConvGeometry, from: usize, bytes: AlignedBytes) -> Planes {
        let len = geometry.group_in() * geometry.input_plane();
        match *self {
            Image::U8(x, zero) => {
                let image = &x[from..][..len];
                Planes::new(
                    threads,
                    geometry,
                    image,
                    #[inline(always)]
                    |x| x,
                    zero,
                    bytes,
                )
            }
            Image::I8(x, zero) => {
                let image = &x[from..][..len];
                let flip = Sign::Unsigned.flip::<i8>();
                Planes::new(
                    threads,
                    geometry,
                    image,
                    #[inline(always)]
                    move |x: i8| x.bits() ^ flip,
                    zero.bits() ^ flip,
                    bytes,
                )
            }
            Image::Numbers(x, quantization) => {
                let image = &x[from..][..len];
                Planes::new(
                    threads,
                    geometry,
                    image,
                    #[inline(always)]
                    move |x: f32| quantization.code(x),
                    quantization.zero,
                    bytes,
                )
            }
        }
    }

    /// The codes from `from` on less that of 0. Loops are written out, since closures are not always inlined.
    #[inline(always)]
    fn differences(&self, from: usize, values: &mut [f32]) {
        let len = values.len();
        match *self {
            Image::U8(x, zero) => {
                for (y, x) in values.iter_mut().zip(&x[from..][..len]) {
                    *y = f32::from(x.value() - zero.value());
                }
            }
            Image::I8(x, zero) => {
                for (y, x) in values.iter_mut().zip(&x[from..][..len]) {
                    *y = f32::from(x.value() - zero.value());
                }
            }
            Image::Numbers(x, quantization) => {
                let zero = f32::from(quantization.zero);
                for (y, &x) in values.iter_mut().zip(&x[from..][..len]) {
                    *y = f32::from(quantization.code(x)) - zero;
                }
            }
        }
    }
}

impl PackedConv8 {
    /// Packs `weights`: output channels × input channels of a group × kernel, with a zero point for each output channel or one for all.
    /// Of `geometry` only the channels, groups and kernel matter.
    ///
    /// # Panics
    /// If `weights` or `zero_points` is not as long as `geometry` says.
    pub fn pack<W: Code>(geometry: &ConvGeometry, weights: &[W], zero_points: ZeroPoints<'_, W>) -> Self {
        assert_eq!(weights.len(), geometry.weights_len(), "the weights' length");
        assert!(zero_points.fits(geometry.out_channels()), "a zero point for each output channel");
        let (group_in, group_out, taps) = (geometry.group_in(), geometry.group_out(), geometry.taps());
        let depth = group_in * taps;
        let form = if Self::is_depthwise(geometry) {
            let value = |(i, code): (usize, &W)| f32::from(code.value() - zero_points.at(i / depth).value());
            Weights::Depthwise(weights.iter().enumerate().map(value).collect())
        } else {
            let blocks = group_in.div_ceil(GROUP);
            let groups = (0..geometry.groups()).map(|group| {
                let rows = group * group_out..(group + 1) * group_out;
                let weights = &weights[rows.start * depth..rows.end * depth];
                PackedA8::pack(group_out, taps * blocks, zero_points.range(rows), |index| {
                    let (tap, first) = (index / blocks, index % blocks * GROUP);
                    move |row, place| {
                        let channel = first + place;
                        (channel < group_in).then(|| weights[row * depth + channel * taps + tap])
                    }
                })
            });
            Weights::Product(groups.collect())
        };
        Self { form, out_channels: geometry.out_channels(), group_in, taps }
    }

    fn is_depthwise(geometry: &ConvGeometry) -> bool {
        PackedConv::is_depthwise(geometry) && geometry.taps() <= MOST_EXACT_TAPS
    }

    /// The memory that [`conv_int8`] takes for the time of a call.
    pub fn scratch_bytes(&self, threads: &Threads, geometry: &ConvGeometry) -> usize {
        match self.form {
            Weights::Product(_) => Planes::size_bytes(geometry),
            Weights::Depthwise(_) => {
                let part = geometry.of_groups(groups_at_once(geometry));
                let numbers = part.input_len() + part.output_len() + part.output_plane();
                numbers.saturating_mul(size_of::<f32>()).saturating_mul(threads.count())
            }
        }
    }

    /// The memory that the packed weights of `geometry` take at most.
    pub fn size_bytes(geometry: &ConvGeometry) -> Option<usize> {
        if Self::is_depthwise(geometry) {
            return geometry.weights_len().checked_mul(size_of::<f32>());
        }
        let groups = geometry.group_in().div_ceil(GROUP).checked_mul(geometry.taps())?;
        PackedA8::size_bytes(geometry.group_out().checked_next_multiple_of(MR)?, groups)?.checked_mul(geometry.groups())
    }
}

/// `y = conv(x - x_zero, weights - zero points)`, NCHW, exact but for wrapping; padding is `x_zero`.
///
/// # Panics
/// If a slice is not as long as `geometry` says, or the weights were packed for other channels or another kernel.
pub fn conv_int8(threads: &Threads, geometry: &ConvGeometry, x: Image<'_>, weights: &PackedConv8, y: &mut [i32]) {
    conv_int8_into(threads, geometry, x, weights, |_| Sums32, y);
}

/// [`conv_int8`] with what its sums become: `finish` gives it for the output channels of a range, which are rows; the places of
/// an image are columns.
///
/// # Panics
/// If a slice is not as long as `geometry` says, or the weights were packed for other channels or another kernel.
pub fn conv_int8_into<F: Finish>(
    threads: &Threads,
    geometry: &ConvGeometry,
    x: Image<'_>,
    weights: &PackedConv8,
    finish: impl Fn(std::ops::Range<usize>) -> F,
    y: &mut [F::Out],
) {
    conv_int8_with(Level::current(), threads, geometry, x, weights, finish, y);
}

pub(super) fn conv_int8_with<F: Finish>(
    level: Level,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: Image<'_>,
    weights: &PackedConv8,
    finish: impl Fn(std::ops::Range<usize>) -> F,
    y: &mut [F::Out],
) {
    assert_eq!(x.len(), geometry.input_len(), "the input's length");
    assert_eq!(y.len(), geometry.output_len(), "the output's length");
    assert_eq!(
        (weights.out_channels, weights.group_in, weights.taps),
        (geometry.out_channels(), geometry.group_in(), geometry.taps()),
        "the weights' channels and kernel"
    );
    if y.is_empty() {
        return;
    }
    match &weights.form {
        Weights::Product(groups) => conv_product(level, threads, geometry, x, groups, finish, y),
        Weights::Depthwise(weights) => conv_depthwise(level, threads, geometry, x, weights, finish, y),
    }
}

/// Convolution as a product for each group of each image.
fn conv_product<F: Finish>(
    level: Level,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: Image<'_>,
    groups: &[PackedA8],
    finish: impl Fn(std::ops::Range<usize>) -> F,
    y: &mut [F::Out],
) {
    let (rows, plane) = (geometry.group_out(), geometry.output_plane());
    let x_len = geometry.group_in() * geometry.input_plane();
    let grid = Planes::grid(geometry);
    let wanted = [geometry.output[1], geometry.output[2]];
    let places = if grid == wanted { Places::Dense } else { Places::Grid { all: grid, wanted } };
    let mut bytes = SCRATCH.take();
    for (index, y) in y.chunks_exact_mut(rows * plane).enumerate() {
        let group = index % geometry.groups();
        let planes = x.planes(threads, geometry, index * x_len, bytes);
        let product = Product8 {
            rows,
            columns: Planes::columns(geometry),
            depth: geometry.group_in() * geometry.taps(),
            operands: Operands::Filters(&groups[group], &planes),
            finish: finish(group * rows..(group + 1) * rows),
            places,
        };
        product.run(level, threads, y, plane);
        bytes = planes.into_bytes();
    }
    if bytes.len() <= MOST_KEPT_BYTES {
        SCRATCH.set(bytes);
    }
}

/// Numbers of input and sums that the second level of cache holds.
const NEAR_LEN: usize = 128 * 1024;

/// Groups that a kernel takes side by side.
const MOST_GROUPS: usize = 16;

/// How many groups are convolved before their sums are finished.
fn groups_at_once(geometry: &ConvGeometry) -> usize {
    let group = geometry.of_groups(1);
    let near = NEAR_LEN / (group.input_len() + group.output_len()).max(1);
    near.clamp(1, MOST_GROUPS).min(geometry.groups())
}

/// Convolution channel by channel in `f32`, some channels of one image at a time.
fn conv_depthwise<F: Finish>(
    level: Level,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: Image<'_>,
    weights: &[f32],
    finish: impl Fn(std::ops::Range<usize>) -> F,
    y: &mut [F::Out],
) {
    let (channels, plane, taps) = (geometry.out_channels(), geometry.output_plane(), geometry.taps());
    let (groups, group_out) = (geometry.groups(), geometry.group_out());
    let finish = finish(0..channels);
    assert!(finish.fits(channels, plane), "what each sum is finished with");
    let groups_each = groups_at_once(geometry);
    let parts = y.chunks_exact_mut(channels * plane).enumerate().flat_map(|(image, y)| {
        let parts = y.chunks_mut(groups_each * group_out * plane).enumerate();
        parts.map(move |(i, y)| (image, i * groups_each, y))
    });
    let parts: Vec<_> = parts.collect();
    let ns_per_part = (groups_each * group_out * plane * (taps + 16)) as f64 * 0.05;
    let is_shared = threads.split(parts.len(), ns_per_part) > 1;
    let threads = if is_shared { threads } else { &threads.alone() };
    threads.for_each_item(parts, |(image, group, y)| {
        let geometry = geometry.of_groups(y.len() / plane / group_out);
        let first = group * group_out;
        let part = DepthwisePart {
            isa: level.isa,
            threads: threads.alone(),
            x,
            from: (image * groups + group) * geometry.input_plane(),
            weights: &weights[first * taps..][..geometry.weights_len()],
            geometry,
            finish: &finish,
            first,
            y,
        };
        simd::dispatch_on(level.isa, part);
    });
}

thread_local! {
    static NUMBERS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static SUMS: Cell<Vec<i32>> = const { Cell::new(Vec::new()) };
}

/// Some neighbouring groups of one image, each of one input channel.
struct DepthwisePart<'a, F: Finish> {
    isa: Isa,
    threads: Threads,
    /// Of these groups.
    geometry: ConvGeometry,
    x: Image<'a>,
    /// Where their input begins.
    from: usize,
    /// Their weights.
    weights: &'a [f32],
    finish: &'a F,
    /// Their first output channel.
    first: usize,
    /// Their output.
    y: &'a mut [F::Out],
}

impl<F: Finish> Kernel for DepthwisePart<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { isa, threads, geometry, x, from, weights, finish, first, y } = self;
        let (mut numbers, mut integers) = (NUMBERS.take(), SUMS.take());
        let (plane, len) = (geometry.output_plane(), geometry.input_len() + geometry.output_len());
        grow(&mut numbers, len);
        grow(&mut integers, plane);
        let (values, sums) = numbers[..len].split_at_mut(geometry.input_len());
        let integers_of_plane = &mut integers[..plane];
        x.differences(from, values);
        conv_channels(isa, &threads, &geometry, values, weights, sums);
        for (channel, (y, sums)) in y.chunks_exact_mut(plane).zip(sums.chunks_exact(plane)).enumerate() {
            for (to, sum) in integers_of_plane.iter_mut().zip(sums) {
                *to = *sum as i32;
            }
            finish.finish(isa, first + channel, 0, integers_of_plane, y);
        }
        if len * size_of::<f32>() <= MOST_KEPT_BYTES {
            NUMBERS.set(numbers);
            SUMS.set(integers);
        }
    }
}

/// [`conv_int8`] by its definition; `weights` are output channels × input channels of a group × kernel.
///
/// # Panics
/// If a slice is not as long as `geometry` says.
pub fn conv_int8_scalar<X: Code, W: Code>(
    geometry: &ConvGeometry,
    x: &[X],
    x_zero: X,
    weights: &[W],
    zero_points: ZeroPoints<'_, W>,
    y: &mut [i32],
) {
    assert_eq!(x.len(), geometry.input_len(), "the input's length");
    assert_eq!(y.len(), geometry.output_len(), "the output's length");
    let (taps, plane, group_in) = (geometry.taps(), geometry.output_plane(), geometry.group_in());
    for (i, y) in y.iter_mut().enumerate() {
        let channel = i / plane % geometry.out_channels();
        let image = i / plane / geometry.out_channels();
        let first = image * geometry.in_channels() + channel / geometry.group_out() * group_in;
        let zero = i32::from(zero_points.at(channel).value());
        *y = 0;
        for (in_channel, tap) in (0..group_in).flat_map(|c| (0..taps).map(move |tap| (c, tap))) {
            let Some(source) = scalar_source(geometry, i % plane, tap) else { continue };
            let x = x[(first + in_channel) * geometry.input_plane() + source];
            let weight = weights[(channel * group_in + in_channel) * taps + tap];
            let x = i32::from(x.value() - x_zero.value());
            *y = y.wrapping_add(x * (i32::from(weight.value()) - zero));
        }
    }
}
