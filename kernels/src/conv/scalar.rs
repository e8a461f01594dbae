//! Convolution by its definition: what the fast forms are tested against.

use super::check;
use super::geometry::{ConvGeometry, coordinates};
use crate::elementwise::Unary;
use crate::gemm::activate;
use crate::{Isa, Threads};

/// [`conv`](super::conv) by its definition; `weights` are output channels × input channels of a group × kernel.
///
/// # Panics
/// If a slice is not as long as `geometry` says.
pub fn conv_scalar(
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    conv_stoppable(&Threads::single(), geometry, x, weights, bias, activation, y);
}

/// [`conv_scalar`] that looks at every output whether `threads` are to stop.
pub(super) fn conv_stoppable(
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    check(geometry, x, bias, y);
    let (taps, plane) = (geometry.taps(), geometry.output_plane());
    let group_in = geometry.group_in();
    for (i, y) in y.iter_mut().enumerate() {
        if threads.is_stopped() {
            return;
        }
        let out_channel = i / plane % geometry.out_channels;
        let image = i / plane / geometry.out_channels;
        let first_channel = image * geometry.in_channels + out_channel / geometry.group_out() * group_in;
        let mut sum = bias.map_or(0.0, |bias| bias[out_channel]);
        for channel in 0..group_in {
            for tap in 0..taps {
                if let Some(source) = source(geometry, i % plane, tap) {
                    sum += weights[(out_channel * group_in + channel) * taps + tap]
                        * x[(first_channel + channel) * geometry.input_plane() + source];
                }
            }
        }
        *y = sum;
    }
    activate(Isa::Scalar, activation, y);
}

/// Where in a channel of the input tap `tap` of the window of output `position` lies.
pub(crate) fn source(geometry: &ConvGeometry, position: usize, tap: usize) -> Option<usize> {
    let (position, tap) = (coordinates(position, geometry.output), geometry.tap(tap));
    let source = |dim: usize| geometry.source(dim, position[dim], tap[dim]);
    let [_, height, width] = geometry.input;
    Some((source(0)? * height + source(1)?) * width + source(2)?)
}

/// [`conv_transpose`](super::conv_transpose) by its definition.
///
/// # Panics
/// If a slice is not as long as `geometry` says.
pub fn conv_transpose_scalar(
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    check(geometry, x, bias, y);
    let (taps, plane) = (geometry.taps(), geometry.output_plane());
    let group_out = geometry.group_out();
    for (i, y) in y.iter_mut().enumerate() {
        *y = bias.map_or(0.0, |bias| bias[i / plane % geometry.out_channels]);
    }
    for (i, &x) in x.iter().enumerate() {
        let position = coordinates(i % geometry.input_plane(), geometry.input);
        let in_channel = i / geometry.input_plane() % geometry.in_channels;
        let image = i / geometry.input_plane() / geometry.in_channels;
        let first_channel = image * geometry.out_channels + in_channel / geometry.group_in() * group_out;
        for channel in 0..group_out {
            for tap in 0..taps {
                if let Some(target) = target(geometry, position, tap) {
                    y[(first_channel + channel) * plane + target] +=
                        weights[(in_channel * group_out + channel) * taps + tap] * x;
                }
            }
        }
    }
    activate(Isa::Scalar, activation, y);
}

fn target(geometry: &ConvGeometry, position: [usize; 3], tap: usize) -> Option<usize> {
    let tap = geometry.tap(tap);
    let target = |dim: usize| geometry.target(dim, position[dim], tap[dim]);
    let [_, height, width] = geometry.output;
    Some((target(0)? * height + target(1)?) * width + target(2)?)
}
