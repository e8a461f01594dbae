//! The patches that a convolution's windows cut from its input, as a matrix that is never written down whole.
//!
//! Its row `channel · taps + tap` and column `output position` hold what that tap of that output's window lies on, or padding.
//! The product packs it block by block, straight from the input. A panel's columns are a few runs of outputs, each in
//! one row; what a tap of a run lies on is a piece of one row of the input.

use std::ops::Range;

use super::geometry::{ConvGeometry, coordinates};
use crate::gemm::{NR, Panels};

/// The patches of one group of channels of one image.
pub(crate) struct Patches<'a, T> {
    geometry: &'a ConvGeometry,
    image: &'a [T],
    padding: T,
}

/// Consecutive outputs of one row, at some lanes of a panel.
#[derive(Clone, Copy, Default)]
struct Run {
    lane: usize,
    len: usize,
    position: [usize; 3],
}

/// What one tap of a run lies on: lanes `lanes.0..lanes.1` at `from`, `from + stride`, … of a channel.
#[derive(Clone, Copy, Default)]
struct Piece {
    lanes: (usize, usize),
    from: usize,
}

/// A number or a code that patches are made of.
pub trait Sample: Copy + Sync {
    /// Replaces lanes `start..end` of `line` by those of `x`.
    fn replace(line: &mut [Self; NR], x: &[Self; NR], lanes: (usize, usize));
}

macro_rules! sample {
    ($($sample:ty as $bits:ty: $to:expr, $from:expr);*) => {
        $(impl Sample for $sample {
            #[inline(always)]
            fn replace(line: &mut [Self; NR], x: &[Self; NR], lanes: (usize, usize)) {
                // The mask of the lanes from any one on is the sixteen numbers from `NR - lane`.
                const STEP: [$bits; 2 * NR] = {
                    let mut step = [0; 2 * NR];
                    let mut i = NR;
                    while i < 2 * NR {
                        step[i] = !0;
                        i += 1;
                    }
                    step
                };
                let (start, end) = (&STEP[NR - lanes.0..][..NR], &STEP[NR - lanes.1..][..NR]);
                for i in 0..NR {
                    let mask = start[i] & !end[i];
                    line[i] = $from(($to(line[i]) & !mask) | ($to(x[i]) & mask));
                }
            }
        })*
    };
}

sample!(
    f32 as u32: f32::to_bits, f32::from_bits;
    u8 as u8: u8::from, u8::from;
    i8 as u8: i8::cast_unsigned, u8::cast_signed
);

impl<'a, T: Sample> Patches<'a, T> {
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
        let taps = geometry.taps();
        for (panel, start) in columns.clone().step_by(NR).enumerate() {
            let (runs, count) = runs(geometry, start..columns.end.min(start + NR));
            for tap in 0..taps {
                let (pieces, count) = self.pieces(&runs[..count], geometry.tap(tap));
                let first_channel = depth.start.saturating_sub(tap).div_ceil(taps);
                let rows = (first_channel * taps + tap..depth.end).step_by(taps);
                self.for_each_channel(rows, &pieces[..count], |row, values| line(panel, row, values));
            }
        }
    }

    /// The pieces of the input under one tap of some runs, and how many there are.
    fn pieces(&self, runs: &[Run], tap: [usize; 3]) -> ([Piece; NR], usize) {
        let geometry = self.geometry;
        let [_, height, width] = geometry.input;
        let (stride, pad) = (geometry.strides[2], geometry.pads_begin[2]);
        let mut pieces = [Piece::default(); NR];
        let mut count = 0;
        for run in runs {
            let [z, y, x] = run.position;
            let row = geometry.source(0, z, tap[0]).zip(geometry.source(1, y, tap[1]));
            let first = x * stride + tap[2] * geometry.dilations[2];
            let skipped = pad.saturating_sub(first).div_ceil(stride).min(run.len);
            let within = (pad + width).saturating_sub(first).div_ceil(stride).min(run.len);
            if let Some((z, y)) = row.filter(|_| skipped < within) {
                pieces[count] = Piece {
                    lanes: (run.lane + skipped, run.lane + within),
                    from: (z * height + y) * width + first + skipped * stride - pad,
                };
                count += 1;
            }
        }
        (pieces, count)
    }

    /// Calls `line(row, values)` with the pieces' values for the channel of each of `rows`.
    #[inline]
    fn for_each_channel(
        &self,
        rows: impl Iterator<Item = usize>,
        pieces: &[Piece],
        mut line: impl FnMut(usize, &[T; NR]),
    ) {
        let (plane, taps) = (self.geometry.input_plane(), self.geometry.taps());
        let stride = self.geometry.strides[2];
        let channels = rows.map(|row| (row, &self.image[row / taps * plane..][..plane]));
        match (pieces, stride) {
            ([], _) => channels.for_each(|(row, _)| line(row, &[self.padding; NR])),
            ([Piece { lanes: (0, NR), from }], 1) => {
                for (row, channel) in channels {
                    if let Some(values) = channel[*from..].first_chunk() {
                        line(row, values);
                    }
                }
            }
            (pieces, 1) => {
                for (row, channel) in channels {
                    let mut values = [self.padding; NR];
                    pieces.iter().for_each(|piece| piece.copy_contiguous(channel, &mut values));
                    line(row, &values);
                }
            }
            (pieces, _) => {
                for (row, channel) in channels {
                    let mut values = [self.padding; NR];
                    pieces.iter().for_each(|piece| piece.copy_spread(channel, stride, &mut values));
                    line(row, &values);
                }
            }
        }
    }
}

impl Piece {
    /// Copies neighbours, by way of a whole vector where there is one.
    #[inline(always)]
    fn copy_contiguous<T: Sample>(&self, channel: &[T], line: &mut [T; NR]) {
        let (start, end) = self.lanes;
        let around = self.from.checked_sub(start).and_then(|from| channel[from..].first_chunk());
        match around {
            Some(x) => T::replace(line, x, self.lanes),
            None => line[start..end].copy_from_slice(&channel[self.from..][..end - start]),
        }
    }

    /// Copies every `stride`th number.
    #[inline(always)]
    fn copy_spread<T: Copy>(&self, channel: &[T], stride: usize, line: &mut [T; NR]) {
        let (start, end) = self.lanes;
        match channel[self.from..].first_chunk::<{ 2 * NR }>() {
            Some(x) if stride == 2 && (start, end) == (0, NR) => *line = std::array::from_fn(|i| x[2 * i]),
            _ => {
                let values = channel[self.from..].iter().step_by(stride);
                line[start..end].iter_mut().zip(values).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// The runs that the outputs of `columns` make, and how many there are.
fn runs(geometry: &ConvGeometry, columns: Range<usize>) -> ([Run; NR], usize) {
    let mut runs = [Run::default(); NR];
    let mut count = 0;
    let mut column = columns.start;
    while column < columns.end {
        let position = coordinates(column, geometry.output);
        let len = (geometry.output[2] - position[2]).min(columns.end - column);
        runs[count] = Run { lane: column - columns.start, len, position };
        count += 1;
        column += len;
    }
    (runs, count)
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
