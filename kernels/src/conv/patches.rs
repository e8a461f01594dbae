//! The patches that a convolution's windows cut from its input, as a matrix that is never written down whole.
//!
//! Its row `channel · taps + tap` and column `output position` hold what that tap of that output's window lies on, or zero.
//! The product packs it block by block, straight from the input.

use std::ops::Range;

use super::geometry::{ConvGeometry, coordinates};
use crate::gemm::{NR, Panels};

/// The patches of one group of channels of one image.
pub(super) struct Patches<'a> {
    geometry: &'a ConvGeometry,
    image: &'a [f32],
}

/// Where the columns of one panel lie on a channel of the input, for one tap.
enum Lanes {
    /// One after another from here.
    Contiguous(usize),
    /// Each at its own place; [`PADDING`] where there is none.
    Scattered([u32; NR]),
    /// Nowhere.
    Padding,
}

/// Beyond every channel: the geometry keeps channels much smaller.
const PADDING: u32 = u32::MAX;

impl<'a> Patches<'a> {
    /// # Panics
    /// If `image` is not one group's channels.
    pub(super) fn new(geometry: &'a ConvGeometry, image: &'a [f32]) -> Self {
        assert_eq!(image.len(), geometry.group_in() * geometry.input_plane());
        Self { geometry, image }
    }

    /// Where the columns at `positions` lie for `tap`.
    fn lanes(&self, positions: &[[usize; 3]], tap: [usize; 3]) -> Lanes {
        let geometry = self.geometry;
        let [_, height, width] = geometry.input;
        let mut lanes = [PADDING; NR];
        for (lane, position) in lanes.iter_mut().zip(positions) {
            let source = |dim: usize| geometry.source(dim, position[dim], tap[dim]);
            if let (Some(z), Some(y), Some(x)) = (source(0), source(1), source(2)) {
                *lane = ((z * height + y) * width + x) as u32;
            }
        }
        if lanes.iter().all(|&lane| lane == PADDING) {
            Lanes::Padding
        } else if lanes[0] != PADDING && lanes.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)) {
            Lanes::Contiguous(lanes[0] as usize)
        } else {
            Lanes::Scattered(lanes)
        }
    }
}

impl Panels for Patches<'_> {
    fn pack(&self, depth: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        let geometry = self.geometry;
        let (plane, taps) = (geometry.input_plane(), geometry.taps());
        let panels = out.as_chunks_mut::<NR>().0.chunks_exact_mut(depth.len());
        for (start, panel) in columns.clone().step_by(NR).zip(panels) {
            let mut positions = [[0; 3]; NR];
            let width = NR.min(columns.end - start);
            let mut position = coordinates(start, geometry.output);
            for lane in &mut positions[..width] {
                *lane = position;
                advance(&mut position, geometry.output);
            }
            for tap in 0..taps {
                let lanes = self.lanes(&positions[..width], geometry.tap(tap));
                let first_channel = depth.start.saturating_sub(tap).div_ceil(taps);
                for channel in first_channel.. {
                    let row = channel * taps + tap;
                    if row >= depth.end {
                        break;
                    }
                    let line = &mut panel[row - depth.start];
                    let channel = &self.image[channel * plane..][..plane];
                    match &lanes {
                        Lanes::Contiguous(from) => line.copy_from_slice(&channel[*from..][..NR]),
                        Lanes::Scattered(lanes) => gather(line, channel, lanes),
                        Lanes::Padding => line.fill(0.0),
                    }
                }
            }
        }
    }
}

#[inline]
fn gather(line: &mut [f32; NR], channel: &[f32], lanes: &[u32; NR]) {
    for (x, &lane) in line.iter_mut().zip(lanes) {
        *x = channel.get(lane as usize).copied().unwrap_or(0.0);
    }
}

/// Moves on to the next element of a volume.
fn advance(position: &mut [usize; 3], size: [usize; 3]) {
    for dim in (0..3).rev() {
        position[dim] += 1;
        if position[dim] < size[dim] {
            return;
        }
        position[dim] = 0;
    }
}
