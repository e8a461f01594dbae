//! Normalisations: layer, root mean square, group, instance and batch, over contiguous rows and channel planes.
//!
//! Means and variances are taken in two passes, so that a large offset costs no digits.

use crate::Isa;
use crate::simd::{Kernel, Operand, Simd, dispatch, dispatch_on, map, reduce, zip, zip3};

/// Mean and inverse standard deviation, `1/√(variance + epsilon)`, of a row.
pub fn mean_and_inverse_deviation(row: &[f32], epsilon: f32) -> (f32, f32) {
    dispatch(Statistics { row, epsilon })
}

/// `y = (x - mean)/√(variance + epsilon) · scale + bias`, each run of `row` values by itself.
///
/// `scale` and `bias` hold a value for each place in a row. Within 1e-6 of the greatest magnitude in the row's result.
///
/// # Panics
/// Where `x` is a scalar or a slice of another length than `y`, or `scale` or `bias` is of another length than `row`.
pub fn layer_norm(
    x: Operand<'_>,
    y: &mut [f32],
    row: usize,
    scale: Option<&[f32]>,
    bias: Option<&[f32]>,
    epsilon: f32,
) {
    layer_norm_on(Isa::current(), x, y, row, scale, bias, epsilon);
}

/// [`layer_norm`], with instructions of the caller's choice.
pub fn layer_norm_on(
    isa: Isa,
    x: Operand<'_>,
    y: &mut [f32],
    row: usize,
    scale: Option<&[f32]>,
    bias: Option<&[f32]>,
    epsilon: f32,
) {
    dispatch_on(isa, RowNorm { x, y, row, scale, bias, epsilon, is_centred: true });
}

/// `y = x/√(mean of squares + epsilon) · scale`, each run of `row` values by itself.
///
/// # Panics
/// As [`layer_norm`] does.
pub fn rms_norm(x: Operand<'_>, y: &mut [f32], row: usize, scale: Option<&[f32]>, epsilon: f32) {
    rms_norm_on(Isa::current(), x, y, row, scale, epsilon);
}

/// [`rms_norm`], with instructions of the caller's choice.
pub fn rms_norm_on(isa: Isa, x: Operand<'_>, y: &mut [f32], row: usize, scale: Option<&[f32]>, epsilon: f32) {
    dispatch_on(isa, RowNorm { x, y, row, scale, bias: None, epsilon, is_centred: false });
}

/// Normalises each group of channels together, then scales and shifts each channel: `y` is a whole number of images of
/// `scale.len()` channels of `plane` values, in `groups` groups. Instance normalisation is a group for each channel.
///
/// # Panics
/// Where `groups` does not divide the channels, `x` is a scalar or a slice of another length than `y`, or `bias` is of
/// another length than `scale`.
pub fn group_norm(
    x: Operand<'_>,
    y: &mut [f32],
    plane: usize,
    groups: usize,
    scale: &[f32],
    bias: &[f32],
    epsilon: f32,
) {
    assert_eq!(scale.len(), bias.len(), "a bias for each scale");
    assert!(groups > 0 && scale.len().is_multiple_of(groups), "groups share out the channels evenly");
    dispatch(GroupNorm { x, y, plane, groups, scale, bias, epsilon });
}

/// `y = scale[c]·x + shift[c]` for each channel `c`: `y` is a whole number of images of `scale.len()` channels of `plane`
/// values.
///
/// # Panics
/// Where `x` is a scalar or a slice of another length than `y`, or `shift` is of another length than `scale`.
pub fn channel_affine(x: Operand<'_>, y: &mut [f32], plane: usize, scale: &[f32], shift: &[f32]) {
    assert_eq!(scale.len(), shift.len(), "a shift for each scale");
    dispatch(ChannelAffine { x, y, plane, scale, shift });
}

/// Batch normalisation as [`channel_affine`] takes it: turns `scale` and `bias` into the factor and the shift of a channel
/// whose statistics are known.
pub fn batch_norm_affine(scale: f32, bias: f32, mean: f32, variance: f32, epsilon: f32) -> (f32, f32) {
    let factor = scale / (variance + epsilon).sqrt();
    (factor, bias - mean * factor)
}

#[inline(always)]
fn statistics<S: Simd>(s: S, row: &[f32], epsilon: f32) -> (f32, f32) {
    let add = |a, b| s.add(a, b);
    let count = row.len() as f32;
    let mean = s.reduce_add(reduce(s, row, 0.0, 0.0, add, add)) / count;
    let centre = s.splat(mean);
    let add_square = |sum, v| {
        let deviation = s.sub(v, centre);
        s.mul_add(deviation, deviation, sum)
    };
    let squares = s.reduce_add(reduce(s, row, 0.0, mean, add_square, add));
    (mean, 1.0 / (squares / count + epsilon).sqrt())
}

#[inline(always)]
fn inverse_root_mean_square<S: Simd>(s: S, row: &[f32], epsilon: f32) -> f32 {
    let squares = reduce(s, row, 0.0, 0.0, |sum, v| s.mul_add(v, v, sum), |a, b| s.add(a, b));
    1.0 / (s.reduce_add(squares) / row.len() as f32 + epsilon).sqrt()
}

struct Statistics<'a> {
    row: &'a [f32],
    epsilon: f32,
}

impl Kernel for Statistics<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> (f32, f32) {
        statistics(s, self.row, self.epsilon)
    }
}

struct RowNorm<'a> {
    x: Operand<'a>,
    y: &'a mut [f32],
    row: usize,
    scale: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    epsilon: f32,
    is_centred: bool,
}

impl Kernel for RowNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let RowNorm { x, y, row, scale, bias, epsilon, is_centred } = self;
        assert!(!matches!(x, Operand::Scalar(_)), "normalisation is of a row");
        for (index, y) in y.chunks_mut(row.max(1)).enumerate() {
            let start = index * row;
            let x = x.part(start..start + y.len());
            let values = x.values(y);
            let (mean, inverse) = match is_centred {
                true => statistics(s, values, epsilon),
                false => (0.0, inverse_root_mean_square(s, values, epsilon)),
            };
            normalize_row(s, x, y, mean, inverse, scale, bias);
        }
    }
}

/// `y = (x - mean) · inverse · scale + bias`
#[inline(always)]
fn normalize_row<S: Simd>(
    s: S,
    x: Operand<'_>,
    y: &mut [f32],
    mean: f32,
    inverse: f32,
    scale: Option<&[f32]>,
    bias: Option<&[f32]>,
) {
    let (mean, inverse) = (s.splat(mean), s.splat(inverse));
    let normalized = |x| s.mul(s.sub(x, mean), inverse);
    match (scale.map(Operand::Slice), bias.map(Operand::Slice)) {
        (None, None) => map(s, x, y, normalized),
        (Some(scale), None) => zip(s, x, scale, y, |x, scale| s.mul(normalized(x), scale)),
        (None, Some(bias)) => zip(s, x, bias, y, |x, bias| s.add(normalized(x), bias)),
        (Some(scale), Some(bias)) => {
            zip3(s, [x, scale, bias], y, |x, scale, bias| s.mul_add(normalized(x), scale, bias));
        }
    }
}

struct GroupNorm<'a> {
    x: Operand<'a>,
    y: &'a mut [f32],
    plane: usize,
    groups: usize,
    scale: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
}

impl Kernel for GroupNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let GroupNorm { x, y, plane, groups, scale, bias, epsilon } = self;
        assert!(!matches!(x, Operand::Scalar(_)), "normalisation is of planes");
        let group_channels = scale.len() / groups;
        let group = group_channels * plane;
        if group == 0 {
            return;
        }
        for (index, y) in y.chunks_mut(group).enumerate() {
            let start = index * group;
            let x = x.part(start..start + y.len());
            let (mean, inverse) = statistics(s, x.values(y), epsilon);
            let first_channel = index % groups * group_channels;
            for (channel, y) in y.chunks_mut(plane).enumerate() {
                let x = x.part(channel * plane..channel * plane + y.len());
                let factor = inverse * scale[first_channel + channel];
                let shift = bias[first_channel + channel] - mean * factor;
                affine(s, x, y, factor, shift);
            }
        }
    }
}

struct ChannelAffine<'a> {
    x: Operand<'a>,
    y: &'a mut [f32],
    plane: usize,
    scale: &'a [f32],
    shift: &'a [f32],
}

impl Kernel for ChannelAffine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ChannelAffine { x, y, plane, scale, shift } = self;
        let run = if plane == 1 { scale.len() } else { plane };
        for (index, y) in y.chunks_mut(run.max(1)).enumerate() {
            let start = index * run;
            let x = x.part(start..start + y.len());
            if plane == 1 {
                let operands = [x, Operand::Slice(&scale[..y.len()]), Operand::Slice(&shift[..y.len()])];
                zip3(s, operands, y, |x, scale, shift| s.mul_add(x, scale, shift));
            } else {
                let channel = index % scale.len();
                affine(s, x, y, scale[channel], shift[channel]);
            }
        }
    }
}

/// `y = factor·x + shift`
#[inline(always)]
fn affine<S: Simd>(s: S, x: Operand<'_>, y: &mut [f32], factor: f32, shift: f32) {
    let (factor, shift) = (s.splat(factor), s.splat(shift));
    map(
        s,
        x,
        y,
        #[inline(always)]
        |x| s.mul_add(factor, x, shift),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{every_length, noise};

    fn moments(row: &[f32]) -> (f64, f64) {
        let count = row.len() as f64;
        let mean = row.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
        let variance = row.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
        (mean, variance)
    }

    fn assert_near(y: &[f32], truth: &[f64], what: &str) {
        assert_eq!(y.len(), truth.len());
        let greatest = truth.iter().fold(1.0_f64, |a, b| a.max(b.abs()));
        for (i, (y, truth)) in y.iter().zip(truth).enumerate() {
            assert!((f64::from(*y) - truth).abs() <= 2e-6 * greatest, "{what} [{i}]: expected {truth}, got {y}");
        }
    }

    #[test]
    fn layer_norm_equals_its_definition_with_and_without_scale_and_bias() {
        for isa in Isa::available() {
            for row in every_length() {
                let x: Vec<f32> = noise(2 * row, 3.0).iter().map(|x| x + 1.0).collect();
                let (scale, bias) = (noise(row, 2.0), noise(row, 1.0));
                for (scale, bias) in
                    [(None, None), (Some(&scale), None), (None, Some(&bias)), (Some(&scale), Some(&bias))]
                {
                    let truth: Vec<f64> = x
                        .chunks(row)
                        .flat_map(|values| {
                            let (mean, variance) = moments(values);
                            let inverse = 1.0 / (variance + 1e-3).sqrt();
                            values.iter().enumerate().map(move |(i, x)| {
                                let factor = scale.map_or(1.0, |scale| f64::from(scale[i]));
                                (f64::from(*x) - mean) * inverse * factor + bias.map_or(0.0, |bias| f64::from(bias[i]))
                            })
                        })
                        .collect();
                    let mut y = vec![0.0; x.len()];
                    let (scale, bias) = (scale.map(Vec::as_slice), bias.map(Vec::as_slice));
                    layer_norm_on(isa, Operand::Slice(&x), &mut y, row, scale, bias, 1e-3);
                    assert_near(&y, &truth, &format!("row of {row} on {isa}"));
                }
            }
        }
    }

    #[test]
    fn rms_norm_equals_its_definition_in_place() {
        for isa in Isa::available() {
            for row in every_length() {
                let (x, scale) = (noise(2 * row, 3.0), noise(row, 2.0));
                let truth: Vec<f64> = x
                    .chunks(row)
                    .flat_map(|values| {
                        let squares = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
                        let inverse = 1.0 / (squares / row as f64 + 1e-5).sqrt();
                        values.iter().zip(&scale).map(move |(x, scale)| f64::from(*x) * inverse * f64::from(*scale))
                    })
                    .collect();
                let mut y = x.clone();
                rms_norm_on(isa, Operand::Output, &mut y, row, Some(&scale), 1e-5);
                assert_near(&y, &truth, &format!("row of {row} on {isa}"));
            }
        }
    }

    #[test]
    fn a_large_offset_costs_no_digits_of_the_variance() {
        let row: Vec<f32> = (0..1000_u16).map(|i| 10_000.0 + f32::from(i % 2)).collect();
        let (mean, inverse) = mean_and_inverse_deviation(&row, 0.0);
        assert!((mean - 10_000.5).abs() < 1e-2 && (inverse - 2.0).abs() < 1e-3, "{mean} {inverse}");
    }

    #[test]
    fn group_norm_normalises_groups_and_scales_channels() {
        let (channels, plane, groups) = (6, 7, 3);
        let x = noise(2 * channels * plane, 3.0);
        let (scale, bias) = (noise(channels, 2.0), noise(channels, 1.0));
        let group = channels / groups * plane;
        let truth: Vec<f64> = x
            .iter()
            .enumerate()
            .map(|(i, x_i)| {
                let (mean, variance) = moments(&x[i / group * group..][..group]);
                let channel = i / plane % channels;
                (f64::from(*x_i) - mean) / (variance + 1e-5).sqrt() * f64::from(scale[channel])
                    + f64::from(bias[channel])
            })
            .collect();
        let mut y = vec![0.0; x.len()];
        group_norm(Operand::Slice(&x), &mut y, plane, groups, &scale, &bias, 1e-5);
        assert_near(&y, &truth, "group_norm");
    }

    #[test]
    fn channel_affine_serves_planes_and_single_values() {
        let (scale, shift) = ([2.0, -1.0], [1.0, 0.5]);
        for plane in [1, 3] {
            let x = noise(4 * plane, 1.0);
            let truth: Vec<f64> = x
                .iter()
                .enumerate()
                .map(|(i, x)| {
                    let channel = i / plane % 2;
                    f64::from(*x) * f64::from(scale[channel]) + f64::from(shift[channel])
                })
                .collect();
            let mut y = vec![0.0; x.len()];
            channel_affine(Operand::Slice(&x), &mut y, plane, &scale, &shift);
            assert_near(&y, &truth, "channel_affine");
        }
        assert_eq!(batch_norm_affine(2.0, 1.0, 3.0, 4.0, 0.0), (1.0, -2.0));
    }
}
