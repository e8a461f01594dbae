//! The patches that a convolution's windows cut from its input, as a matrix that is never written down whole.
//!
//! Its row `channel · taps + tap` and column `output position` hold what that tap of that output's window lies on, or padding.
//! The product packs it block by block, straight from the input.

use std::ops::Range;

use super::geometry::{ConvGeometry, coordinates};
use crate::gemm::{NR, Panels};

/// The patches of one group of channels of one image.
pub(crate) struct Patches<'a, T> {
    geometry: &'a ConvGeometry,
    image: &'a [T],
    padding: T,
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

impl<'a, T: Copy> Patches<'a, T> {
    /// # Panics
    /// If `image` is not one group's channels.
    pub(crate) fn new(geometry: &'a ConvGeometry, image: &'a [T], padding: T) -> Self {
        assert_eq!(image.len(), geometry.group_in() * geometry.input_plane());
        Self { geometry, image, padding }
    }

    /// What lies beyond the input.
    pub(crate) fn padding(&self) -> T {
        self.padding
    }

    /// The matrix's rows.
    pub(crate) fn depth(&self) -> usize {
        self.geometry.group_in() * self.geometry.taps()
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

    /// Calls `line(panel, row, values)` for every row in `depth` of every panel of [`NR`] columns that `columns` are cut
    /// into; columns beyond the last are padding.
    #[inline]
    pub(crate) fn for_each_line(
        &self,
        depth: Range<usize>,
        columns: Range<usize>,
        mut line: impl FnMut(usize, usize, &[T; NR]),
    ) {
        let geometry = self.geometry;
        let (plane, taps) = (geometry.input_plane(), geometry.taps());
        for (panel, start) in columns.clone().step_by(NR).enumerate() {
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
                for row in (first_channel * taps + tap..depth.end).step_by(taps) {
                    let channel = &self.image[row / taps * plane..][..plane];
                    match &lanes {
                        Lanes::Contiguous(from) => {
                            if let Some(values) = channel[*from..].first_chunk() {
                                line(panel, row, values);
                            }
                        }
                        Lanes::Scattered(lanes) => line(panel, row, &gather(channel, lanes, self.padding)),
                        Lanes::Padding => line(panel, row, &[self.padding; NR]),
                    }
                }
            }
        }
    }
}

impl Panels for Patches<'_, f32> {
    fn pack(&self, depth: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        let lines = out.as_chunks_mut::<NR>().0;
        let (first, panel_len) = (depth.start, depth.len());
        self.for_each_line(depth, columns, |panel, row, line| {
            lines[panel * panel_len + row - first] = *line;
        });
    }
}

#[inline]
fn gather<T: Copy>(channel: &[T], lanes: &[u32; NR], padding: T) -> [T; NR] {
    lanes.map(|lane| channel.get(lane as usize).copied().unwrap_or(padding))
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
