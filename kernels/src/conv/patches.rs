//! The patches that a convolution's windows cut from its input, as a matrix that is never written down whole.
//!
//! Its row `channel · taps + tap` and column `output position` hold what that tap of that output's window lies on, or padding.
//! The product packs it block by block, straight from the input. A panel's columns are a few runs of outputs, each in
//! one row; what a tap of a run lies on is a piece of one row of the input.

use std::ops::Range;

use super::geometry::{ConvGeometry, coordinates};
use crate::Isa;
use crate::gemm::{NR, Panels};
use crate::simd::{Kernel, Simd, dispatch_on};

/// The patches of one group of channels of one image.
pub(crate) struct Patches<'a, T> {
    geometry: &'a ConvGeometry,
    image: &'a [T],
    padding: T,
    /// For each tap of a row the columns of the output whose windows have it inside the input.
    inside: Vec<(usize, usize)>,
    taps: Vec<[usize; 3]>,
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

sample!(f32 as u32: f32::to_bits, f32::from_bits);

impl<'a, T: Sample> Patches<'a, T> {
    /// # Panics
    /// If `image` is not one group's channels.
    pub(crate) fn new(geometry: &'a ConvGeometry, image: &'a [T], padding: T) -> Self {
        assert_eq!(image.len(), geometry.group_in() * geometry.input_plane());
        let (stride, pad, width) = (geometry.strides[2], geometry.pads_begin[2], geometry.input[2]);
        let inside = |tap: usize| {
            let reach = tap * geometry.dilations[2];
            let until = |end: usize| end.saturating_sub(reach).div_ceil(stride);
            (until(pad), until(pad + width))
        };
        Self {
            geometry,
            image,
            padding,
            inside: (0..geometry.kernel[2]).map(inside).collect(),
            taps: (0..geometry.taps()).map(|tap| geometry.tap(tap)).collect(),
        }
    }

    /// Calls `write(panel, row, line)` for every row in `depth` of every panel of [`NR`] columns that `columns` are cut
    /// into; columns beyond the last are padding.
    #[inline(always)]
    pub(crate) fn for_each_line(
        &self,
        depth: Range<usize>,
        columns: Range<usize>,
        mut write: impl FnMut(usize, usize, Line<'_, T>),
    ) {
        let geometry = self.geometry;
        let (taps, plane) = (geometry.taps(), geometry.input_plane());
        let channels_until = |row: usize, tap: usize| row / taps + usize::from(tap < row % taps);
        let channels: Vec<_> =
            (0..taps).map(|tap| channels_until(depth.start, tap)..channels_until(depth.end, tap)).collect();
        let mut runs = [Run::default(); NR];
        let mut pieces = [Piece::default(); NR];
        for (panel, start) in columns.clone().step_by(NR).enumerate() {
            let runs = cut_runs(geometry, start..columns.end.min(start + NR), &mut runs);
            for (index, tap) in self.taps.iter().enumerate() {
                let pieces = self.cut_pieces(runs, *tap, &mut pieces);
                for channel in channels[index].clone() {
                    let image = &self.image[channel * plane..][..plane];
                    let line = Line { channel: image, pieces, stride: geometry.strides[2], padding: self.padding };
                    write(panel, channel * taps + index, line);
                }
            }
        }
    }

    /// The pieces of the input under one tap of some runs.
    #[inline(always)]
    fn cut_pieces<'p>(&self, runs: &[Run], tap: [usize; 3], pieces: &'p mut [Piece; NR]) -> &'p [Piece] {
        let geometry = self.geometry;
        let [_, height, width] = geometry.input;
        let (stride, pad) = (geometry.strides[2], geometry.pads_begin[2]);
        let (start, end) = self.inside[tap[2]];
        let reach = tap[2] * geometry.dilations[2];
        let mut count = 0;
        for run in runs {
            let [z, y, x] = run.position;
            let skipped = start.saturating_sub(x).min(run.len);
            let within = end.saturating_sub(x).min(run.len);
            let row = geometry.source(0, z, tap[0]).zip(geometry.source(1, y, tap[1]));
            if let Some((z, y)) = row.filter(|_| skipped < within) {
                pieces[count] = Piece {
                    lanes: (run.lane + skipped, run.lane + within),
                    from: (z * height + y) * width + (x + skipped) * stride + reach - pad,
                };
                count += 1;
            }
        }
        &pieces[..count]
    }
}

/// One row of the patches at the columns of one panel.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a, T> {
    channel: &'a [T],
    pieces: &'a [Piece],
    stride: usize,
    padding: T,
}

impl<T: Sample> Line<'_, T> {
    /// Writes the line's numbers.
    #[inline(always)]
    pub(crate) fn write_to(&self, values: &mut [T; NR]) {
        match (self.pieces, self.stride) {
            ([Piece { lanes: (0, NR), from }], 1) => {
                if let Some(piece) = self.channel[*from..].first_chunk() {
                    *values = *piece;
                }
            }
            (pieces, 1) => {
                *values = [self.padding; NR];
                for piece in pieces {
                    piece.copy_contiguous(self.channel, values);
                }
            }
            (pieces, stride) => {
                *values = [self.padding; NR];
                for piece in pieces {
                    piece.copy_spread(self.channel, stride, values);
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

/// The runs that the outputs of `columns` make.
fn cut_runs<'r>(geometry: &ConvGeometry, columns: Range<usize>, runs: &'r mut [Run; NR]) -> &'r [Run] {
    let mut count = 0;
    let mut column = columns.start;
    while column < columns.end {
        let position = coordinates(column, geometry.output);
        let len = (geometry.output[2] - position[2]).min(columns.end - column);
        runs[count] = Run { lane: column - columns.start, len, position };
        count += 1;
        column += len;
    }
    &runs[..count]
}

impl Panels for Patches<'_, f32> {
    fn pack(&self, isa: Isa, depth: Range<usize>, columns: Range<usize>, out: &mut [f32]) {
        dispatch_on(isa, Pack { patches: self, depth, columns, out });
    }
}

/// [`Panels::pack`], compiled for each instruction set.
struct Pack<'a> {
    patches: &'a Patches<'a, f32>,
    depth: Range<usize>,
    columns: Range<usize>,
    out: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let lines = self.out.as_chunks_mut::<NR>().0;
        let (first, panel_len) = (self.depth.start, self.depth.len());
        self.patches.for_each_line(
            self.depth,
            self.columns,
            #[inline(always)]
            |panel, row, line| line.write_to(&mut lines[panel * panel_len + row - first]),
        );
    }
}
