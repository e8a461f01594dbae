//! Convolution of 8-bit codes into exact 32-bit sums.

use std::ops::Range;

use super::codes::{Code, Quantized, ZeroPoints};
use super::pack::{PackedA8, panel_len};
use super::product::{Lhs8, Panels8, Product8, Right8};
use super::tile::NR;
use crate::conv::{ConvGeometry, PackedConv, Patches, Start, conv_with, scalar_source};
use crate::gemm::MatRef;
use crate::simd::{Kernel, Simd, dispatch_on};
use crate::{Isa, Threads};

/// Sums of this many products of differences of codes are exact in `f32`: 255² · 258 < 2²⁴.
const MOST_EXACT_TAPS: usize = 258;

/// The 8-bit weights of a convolution, packed once.
#[derive(Clone)]
pub struct PackedConv8 {
    form: Form,
    out_channels: usize,
    group_in: usize,
    taps: usize,
}

#[derive(Clone)]
enum Form {
    /// One matrix for each group.
    Product(Vec<PackedA8>),
    /// Channel by channel, in `f32`, which is exact for so few taps.
    Depthwise(PackedConv),
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
        let form = if PackedConv::is_depthwise(geometry) && taps <= MOST_EXACT_TAPS {
            let value = |(i, code): (usize, &W)| f32::from(code.value() - zero_points.at(i / depth).value());
            let weights: Vec<f32> = weights.iter().enumerate().map(value).collect();
            Form::Depthwise(PackedConv::pack(geometry, &weights, threads))
        } else {
            let groups = (0..geometry.groups()).map(|group| {
                let weights = &weights[group * group_out * depth..][..group_out * depth];
                let zero_points = match zero_points {
                    ZeroPoints::All(zero) => ZeroPoints::All(zero),
                    ZeroPoints::Each(zeros) => ZeroPoints::Each(&zeros[group * group_out..][..group_out]),
                };
                let weights = MatRef::row_major(weights, group_out, depth);
                PackedA8::pack(Quantized::left(weights, zero_points))
            });
            Form::Product(groups.collect())
        };
        Self { form, out_channels: geometry.out_channels(), group_in, taps }
    }

    /// The memory that [`conv_int8`] takes for the time of a call, but for small blocks that stay with the thread.
    pub fn scratch_bytes(&self, geometry: &ConvGeometry) -> usize {
        match self.form {
            Form::Product(_) => 0,
            Form::Depthwise(_) => {
                let image = geometry.one_image();
                (image.input_len() + image.output_len()).saturating_mul(size_of::<f32>())
            }
        }
    }

    /// The memory that the packed weights of `geometry` take at most.
    pub fn size_bytes(geometry: &ConvGeometry) -> Option<usize> {
        PackedA8::size_bytes(geometry.group_out(), geometry.group_in() * geometry.taps())?
            .checked_mul(geometry.groups())?
            .checked_add(PackedConv::size_bytes(geometry)?)
    }
}

/// `y = conv(x - x_zero, weights - zero points)`, NCHW, exact but for wrapping; padding is `x_zero`.
///
/// # Panics
/// If a slice is not as long as `geometry` says, or the weights were packed for other channels or another kernel.
pub fn conv_int8<X: Code>(
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[X],
    x_zero: X,
    weights: &PackedConv8,
    y: &mut [i32],
) {
    conv_int8_with(Isa::current(), threads, geometry, x, x_zero, weights, y);
}

pub(super) fn conv_int8_with<X: Code>(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[X],
    x_zero: X,
    weights: &PackedConv8,
    y: &mut [i32],
) {
    check(geometry, x, y);
    assert_eq!(
        (weights.out_channels, weights.group_in, weights.taps),
        (geometry.out_channels(), geometry.group_in(), geometry.taps()),
        "the weights' channels and kernel"
    );
    if y.is_empty() {
        return;
    }
    match &weights.form {
        Form::Product(groups) => conv_product(isa, threads, geometry, x, x_zero, groups, y),
        Form::Depthwise(weights) => conv_depthwise(isa, threads, geometry, x, x_zero, weights, y),
    }
}

/// Convolution as a product for each group of each image.
fn conv_product<X: Code>(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[X],
    x_zero: X,
    groups: &[PackedA8],
    y: &mut [i32],
) {
    let (rows, columns) = (geometry.group_out(), geometry.output_plane());
    let depth = geometry.group_in() * geometry.taps();
    let x_len = geometry.group_in() * geometry.input_plane();
    for (image, y) in y.chunks_exact_mut(rows * columns).enumerate() {
        let x = &x[image * x_len..][..x_len];
        let patches = Patches8(Patches::new(geometry, x, x_zero));
        let pointwise;
        let right: &dyn Panels8 = if geometry.is_pointwise() {
            pointwise = Quantized::right(MatRef::row_major(x, depth, columns), ZeroPoints::All(x_zero));
            &pointwise
        } else {
            &patches
        };
        let product = Product8 {
            rows,
            columns,
            depth,
            left: Lhs8::Packed(&groups[image % geometry.groups()]),
            right: Right8::Panels(right),
        };
        product.run(isa, threads, y, columns);
    }
}

/// Convolution channel by channel in `f32`, one image at a time.
fn conv_depthwise<X: Code>(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[X],
    x_zero: X,
    weights: &PackedConv,
    y: &mut [i32],
) {
    let image = geometry.one_image();
    let mut sums = vec![0.0; image.output_len()];
    let mut values = vec![0.0; image.input_len()];
    for (i, y) in y.chunks_exact_mut(image.output_len()).enumerate() {
        let x = &x[i * image.input_len()..][..image.input_len()];
        for (value, code) in values.iter_mut().zip(x) {
            *value = f32::from(code.value() - x_zero.value());
        }
        conv_with(isa, threads, &image, &values, weights, None, Start::Zero, None, &mut sums);
        for (y, sum) in y.iter_mut().zip(&sums) {
            *y = *sum as i32;
        }
    }
}

/// The patches of codes, in pairs of rows.
struct Patches8<'a, X>(Patches<'a, X>);

impl<X: Code> Panels8 for Patches8<'_, X> {
    fn pack(&self, isa: Isa, columns: Range<usize>, out: &mut [i8]) {
        dispatch_on(isa, PackPatches8 { patches: &self.0, columns, out });
    }

    fn zero_points(&self, columns: Range<usize>) -> Vec<i32> {
        vec![self.0.padding().signed().into(); columns.len()]
    }
}

/// [`Panels8::pack`], compiled for each instruction set.
struct PackPatches8<'a, X> {
    patches: &'a Patches<'a, X>,
    columns: Range<usize>,
    out: &'a mut [i8],
}

impl<X: Code> Kernel for PackPatches8<'_, X> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let depth = self.patches.depth();
        let panel_len = panel_len(NR, depth);
        let mut codes = [self.patches.padding(); NR];
        self.patches.for_each_line(
            0..depth,
            self.columns,
            #[inline(always)]
            |panel, row, line| {
                line.write_to(&mut codes);
                let pair = panel * panel_len + row / 2 * 2 * NR;
                let pairs = self.out[pair..pair + 2 * NR].as_chunks_mut::<2>().0;
                for (pair, code) in pairs.iter_mut().zip(&codes) {
                    pair[row % 2] = code.signed();
                }
            },
        );
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
    check(geometry, x, y);
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

fn check<X>(geometry: &ConvGeometry, x: &[X], y: &[i32]) {
    assert_eq!(x.len(), geometry.input_len(), "the input's length");
    assert_eq!(y.len(), geometry.output_len(), "the output's length");
}
