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
use crate::Threads;
use crate::conv::{ConvGeometry, PackedConv, Start, conv_with, scalar_source};

/// Sums of this many products of differences of codes are exact in `f32`: 255² · 258 < 2²⁴.
const MOST_EXACT_TAPS: usize = 258;

/// Bytes of planes that a thread keeps for its next convolution.
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
    /// Channel by channel, in `f32`, which is exact for so few taps.
    Depthwise(PackedConv),
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

    /// The codes of one image less that of 0.
    fn differences(&self, from: usize, values: &mut [f32]) {
        match *self {
            Image::U8(x, zero) => {
                values.iter_mut().zip(&x[from..]).for_each(|(y, x)| *y = f32::from(x.value() - zero.value()));
            }
            Image::I8(x, zero) => {
                values.iter_mut().zip(&x[from..]).for_each(|(y, x)| *y = f32::from(x.value() - zero.value()));
            }
            Image::Numbers(x, quantization) => {
                let zero = f32::from(quantization.zero);
                values.iter_mut().zip(&x[from..]).for_each(|(y, &x)| *y = f32::from(quantization.code(x)) - zero);
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
    pub fn pack<W: Code>(
        geometry: &ConvGeometry,
        weights: &[W],
        zero_points: ZeroPoints<'_, W>,
        threads: &Threads,
    ) -> Self {
        assert_eq!(weights.len(), geometry.weights_len(), "the weights' length");
        assert!(zero_points.fits(geometry.out_channels()), "a zero point for each output channel");
        let (group_in, group_out, taps) = (geometry.group_in(), geometry.group_out(), geometry.taps());
        let depth = group_in * taps;
        let form = if Self::is_depthwise(geometry) {
            let value = |(i, code): (usize, &W)| f32::from(code.value() - zero_points.at(i / depth).value());
            let weights: Vec<f32> = weights.iter().enumerate().map(value).collect();
            Weights::Depthwise(PackedConv::pack(geometry, &weights, threads))
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
    pub fn scratch_bytes(&self, geometry: &ConvGeometry) -> usize {
        match self.form {
            Weights::Product(_) => Planes::size_bytes(geometry),
            Weights::Depthwise(_) => {
                let image = geometry.one_image();
                (image.input_len() + 2 * image.output_len()).saturating_mul(size_of::<f32>())
            }
        }
    }

    /// The memory that the packed weights of `geometry` take at most.
    pub fn size_bytes(geometry: &ConvGeometry) -> Option<usize> {
        if Self::is_depthwise(geometry) {
            return PackedConv::size_bytes(geometry);
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

/// Convolution channel by channel in `f32`, one image at a time.
fn conv_depthwise<F: Finish>(
    level: Level,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: Image<'_>,
    weights: &PackedConv,
    finish: impl Fn(std::ops::Range<usize>) -> F,
    y: &mut [F::Out],
) {
    let image = geometry.one_image();
    let (channels, plane) = (image.out_channels(), image.output_plane());
    let mut sums = vec![0.0; image.output_len()];
    let mut integers = vec![0; plane];
    let mut values = vec![0.0; image.input_len()];
    let finish = finish(0..channels);
    assert!(finish.fits(channels, plane), "what each sum is finished with");
    for (i, y) in y.chunks_exact_mut(image.output_len()).enumerate() {
        x.differences(i * image.input_len(), &mut values);
        conv_with(level.isa, threads, &image, &values, weights, None, Start::Zero, None, &mut sums);
        for (row, (y, sums)) in y.chunks_exact_mut(plane).zip(sums.chunks_exact(plane)).enumerate() {
            integers.iter_mut().zip(sums).for_each(|(to, sum)| *to = *sum as i32);
            finish.finish(level.isa, row, 0, &integers, y);
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
