//! Convolution in which each output channel sees one input channel, with a small square window that moves by one or two.
//!
//! Some rows of outputs are summed at once, a vector of each: what a tap's column reads of an input row serves every row of
//! outputs whose window it lies in. The input is read where it lies, with zeros for what lies beyond a row.

use super::geometry::ConvGeometry;
use super::{Channel, Channels};
use crate::gemm::{activate, bounds};
use crate::simd::{Kernel, Simd};

/// The numbers of a plane whose rows do not wait nearby: what comes next is asked for in time.
const LONG_PLANE: usize = 8 * 1024;

/// Some neighbouring output channels, and the planes that they are written to.
pub(super) struct DepthwiseRows<'a> {
    pub(super) channels: Channels<'a>,
    pub(super) output: &'a mut [f32],
}

impl DepthwiseRows<'_> {
    /// Whether such a convolution can be computed this way, which is faster wherever it can.
    pub(super) fn fits(geometry: &ConvGeometry) -> bool {
        let [_, kernel_y, kernel_x] = geometry.kernel;
        geometry.is_flat()
            && matches!(geometry.strides, [1, 1, 1] | [1, 2, 2])
            && geometry.dilations == [1; 3]
            && kernel_y == kernel_x
            && matches!(kernel_x, 3 | 5 | 7)
    }
}

impl Kernel for DepthwiseRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { channels, output } = self;
        let Channels { isa, threads, geometry, activation, .. } = channels;
        let zeros = vec![0.0; geometry.input[2]];
        let bounds = bounds(activation);
        for (i, output) in output.chunks_exact_mut(geometry.output_plane()).enumerate() {
            if threads.is_stopped() {
                return;
            }
            let plane = Plane {
                geometry,
                channel: channels.get(i),
                bounds: bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY)),
                zeros: &zeros,
            };
            // As many rows as there are registers for, with what they read of one column of taps.
            match (geometry.strides[2], geometry.kernel[2], S::LANES) {
                (1, 3, 8) => plane.sum::<S, 1, 6, 3, 8>(s, output),
                (1, 5, 8) => plane.sum::<S, 1, 4, 5, 8>(s, output),
                (1, _, 8) => plane.sum::<S, 1, 4, 7, 10>(s, output),
                (1, 3, _) => plane.sum::<S, 1, 7, 3, 9>(s, output),
                (1, 5, _) => plane.sum::<S, 1, 7, 5, 11>(s, output),
                (1, ..) => plane.sum::<S, 1, 7, 7, 13>(s, output),
                (_, 3, 8) => plane.sum::<S, 2, 3, 3, 7>(s, output),
                (_, 5, 8) => plane.sum::<S, 2, 3, 5, 9>(s, output),
                (_, _, 8) => plane.sum::<S, 2, 3, 7, 11>(s, output),
                (_, 3, _) => plane.sum::<S, 2, 4, 3, 9>(s, output),
                (_, 5, _) => plane.sum::<S, 2, 4, 5, 11>(s, output),
                _ => plane.sum::<S, 2, 4, 7, 13>(s, output),
            }
        }
        if bounds.is_none() {
            activate(isa, activation, output);
        }
    }
}

/// What makes one channel's outputs.
struct Plane<'a> {
    geometry: &'a ConvGeometry,
    channel: Channel<'a>,
    bounds: (f32, f32),
    /// A row of padding.
    zeros: &'a [f32],
}

impl Plane<'_> {
    /// Sums `ROWS` rows of outputs at once, which read `READ` rows of input through windows of `TAPS` × `TAPS` that are
    /// `STRIDE` apart.
    #[inline(always)]
    fn sum<S: Simd, const STRIDE: usize, const ROWS: usize, const TAPS: usize, const READ: usize>(
        &self,
        s: S,
        output: &mut [f32],
    ) {
        const { assert!(READ == (ROWS - 1) * STRIDE + TAPS && STRIDE <= 2) }
        let ([_, height, width], [_, pad_y, pad_x]) = (self.geometry.input, self.geometry.pads_begin);
        let out_width = self.geometry.output[2];
        let (min, max) = (s.splat(self.bounds.0), s.splat(self.bounds.1));
        let Channel { input, weights, bias } = self.channel;
        let (weights, _) = weights.as_chunks::<TAPS>();
        let is_long = input.len() >= LONG_PLANE;
        for (block, output) in output.chunks_mut(ROWS * out_width).enumerate() {
            let rows: [&[f32]; READ] = std::array::from_fn(
                #[inline(always)]
                |i| match (block * ROWS * STRIDE + i).checked_sub(pad_y) {
                    Some(row) if row < height => &input[row * width..][..width],
                    _ => self.zeros,
                },
            );
            // The rows that the next block reads and this one does not.
            let next = ((block + 1) * ROWS * STRIDE + TAPS).saturating_sub(pad_y + STRIDE) * width;
            for column in (0..out_width).step_by(S::LANES) {
                if is_long {
                    (0..ROWS * STRIDE).for_each(|i| s.prefetch(input, next + i * width + column * STRIDE));
                }
                let mut sums = [s.splat(bias); ROWS];
                for tap in 0..TAPS {
                    let start = (column * STRIDE + tap) as isize - pad_x as isize;
                    let x: [S::F32; READ] = std::array::from_fn(
                        #[inline(always)]
                        |i| {
                            let row = &rows[i][..width];
                            let x = s.load_around(row, start);
                            if STRIDE == 1 {
                                return x;
                            }
                            s.unzip(x, s.load_around(row, start + S::LANES as isize))[0]
                        },
                    );
                    for (tap_y, weights) in weights.iter().enumerate().take(TAPS) {
                        let weight = s.splat(weights[tap]);
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = s.mul_add(weight, x[tap_y + i * STRIDE], *sum);
                        }
                    }
                }
                let count = S::LANES.min(out_width - column);
                for (sum, to) in sums.into_iter().zip(output.chunks_exact_mut(out_width)) {
                    s.store_partial(&mut to[column..], count, s.min(max, s.max(min, sum)));
                }
            }
        }
    }
}
