//! An image as a convolution's products read it: what a tap of many windows lies on is one run of memory.
//!
//! Four channels lie beside each other, so that a position is one group of a panel. Padding is written out. Positions are
//! sorted by their remainders by the strides into as many planes: outputs beside each other then read positions beside
//! each other, whatever the stride, and one output's distance from the next is the same for each tap. Outputs are
//! numbered along rows as wide as a plane's, of which the last few may stand for no output.

use super::bytes::AlignedBytes;
use super::pack::interleave;
use super::tile::{GROUP, NR, RIGHT_STEP, Runs};
use crate::Threads;
use crate::conv::ConvGeometry;
use crate::simd::{Kernel, Simd, dispatch};

/// A core's time for one byte.
const NS_PER_BYTE: f64 = 0.15;

/// One group's channels of one image.
pub(super) struct Planes {
    bytes: AlignedBytes,
    /// The zero code.
    zero: u8,
    /// Blocks of four channels.
    blocks: usize,
    /// Where each tap of the first window begins.
    starts: Vec<usize>,
    form: Form,
}

/// The sizes of planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    /// Depth, height and width of a plane.
    plane: [usize; 3],
    /// The planes of a block of channels, along each dimension.
    strides: [usize; 3],
}

impl Form {
    fn of(geometry: &ConvGeometry) -> Form {
        let extent = |dim: usize| {
            let reach = (geometry.kernel[dim] - 1) * geometry.dilations[dim];
            geometry.output[dim].saturating_sub(1) + reach / geometry.strides[dim] + 1
        };
        Form { plane: std::array::from_fn(extent), strides: geometry.strides }
    }

    /// Positions of one plane.
    fn len(&self) -> usize {
        self.plane.iter().product()
    }

    /// Planes of one block.
    fn count(&self) -> usize {
        self.strides.iter().product()
    }

    /// The bytes of one block of channels.
    fn block_bytes(&self) -> usize {
        self.len() * self.count() * GROUP
    }

    /// The plane and the position in it of a padded position.
    fn locate(&self, position: [usize; 3]) -> usize {
        let fold = |of: fn(usize, usize) -> usize, by: [usize; 3]| {
            (0..3).fold(0, |all, dim| all * by[dim] + of(position[dim], self.strides[dim]))
        };
        fold(|x, stride| x % stride, self.strides) * self.len() + fold(|x, stride| x / stride, self.plane)
    }
}

impl Planes {
    /// The memory that the planes of a convolution take.
    pub(super) fn size_bytes(geometry: &ConvGeometry) -> usize {
        let form = Form::of(geometry);
        let blocks = geometry.group_in().div_ceil(GROUP);
        let sizes = [form.plane, form.strides].concat();
        sizes.iter().try_fold(blocks * GROUP, |bytes, &n| bytes.checked_mul(n)).map_or(usize::MAX, |n| n + RIGHT_STEP)
    }

    /// The planes of one group's channels, whose codes are `code` of the image's elements, `zero` around them.
    pub(super) fn new<T: Copy + Sync>(
        threads: &Threads,
        geometry: &ConvGeometry,
        image: &[T],
        code: impl Fn(T) -> u8 + Copy + Sync,
        zero: u8,
        mut bytes: AlignedBytes,
    ) -> Planes {
        assert_eq!(image.len(), geometry.group_in() * geometry.input_plane(), "one group's channels");
        let form = Form::of(geometry);
        let blocks = geometry.group_in().div_ceil(GROUP);
        let block_bytes = form.block_bytes();
        // A tile reads a whole panel, beyond the last output too.
        bytes.grow(blocks * block_bytes + RIGHT_STEP);
        let tasks = threads.split(blocks, block_bytes as f64 * NS_PER_BYTE);
        let each = blocks.div_ceil(tasks).max(1);
        if block_bytes > 0 {
            threads.for_each_chunk_mut(&mut bytes[..blocks * block_bytes], each * block_bytes, |task, out| {
                for (i, out) in out.chunks_exact_mut(block_bytes).enumerate() {
                    dispatch(Fill { geometry, form, image, code, zero, first: (task * each + i) * GROUP, out });
                }
            });
        }
        let tap = |tap: usize| {
            let tap = geometry.tap(tap);
            form.locate(std::array::from_fn(|dim| tap[dim] * geometry.dilations[dim])) * GROUP
        };
        Planes { bytes, zero, blocks, starts: (0..geometry.taps()).map(tap).collect(), form }
    }

    /// The buffer, for the next planes.
    pub(super) fn into_bytes(self) -> AlignedBytes {
        self.bytes
    }

    /// The groups of a panel.
    pub(super) fn groups(&self) -> usize {
        self.starts.len() * self.blocks
    }

    /// What stands for zero.
    pub(super) fn zero(&self) -> i32 {
        self.zero.into()
    }

    /// The bytes from a column on.
    pub(super) fn bytes_from(&self, column: usize) -> &[u8] {
        &self.bytes[column * GROUP..]
    }

    /// How the groups of a panel lie in memory: a run for each tap.
    pub(super) fn runs(&self) -> Runs<'_> {
        let step = self.form.block_bytes();
        Runs { starts: &self.starts, groups: self.blocks, step, panel_step: RIGHT_STEP }
    }

    /// The columns of the product: the outputs, numbered along the rows of a plane.
    pub(super) fn columns(geometry: &ConvGeometry) -> usize {
        let [_, height, width] = Form::of(geometry).plane;
        let [z, y, x] = geometry.output.map(|extent| extent.saturating_sub(1));
        if geometry.output_plane() == 0 { 0 } else { (z * height + y) * width + x + 1 }
    }

    /// Height and width of a plane.
    pub(super) fn grid(geometry: &ConvGeometry) -> [usize; 2] {
        let [_, height, width] = Form::of(geometry).plane;
        [height, width]
    }
}

/// Writes the planes of one block of channels.
struct Fill<'a, T, C> {
    geometry: &'a ConvGeometry,
    form: Form,
    image: &'a [T],
    code: C,
    zero: u8,
    /// The first channel of the block.
    first: usize,
    out: &'a mut [u8],
}

impl<T: Copy, C: Fn(T) -> u8 + Copy> Kernel for Fill<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Fill { geometry, form, image, code, zero, first, out } = self;
        let [depth, height, width] = geometry.input;
        let [pad_z, pad_y, pad_x] = geometry.pads_begin;
        let [stride_z, stride_y, stride_x] = form.strides;
        let [plane_z, plane_y, plane_x] = form.plane;
        let channels = GROUP.min(geometry.group_in() - first);
        let planes: [&[T]; GROUP] = std::array::from_fn(|k| {
            let channel = (first + k.min(channels - 1)) * geometry.input_plane();
            &image[channel..][..geometry.input_plane()]
        });
        let padding: [u8; GROUP] = std::array::from_fn(|k| if k < channels { zero } else { 0 });
        let mut rows = out.as_chunks_mut::<GROUP>().0.chunks_exact_mut(plane_x.max(1));
        for plane in 0..form.count() {
            let (phase_z, phase_y, phase_x) =
                (plane / stride_x / stride_y, plane / stride_x % stride_y, plane % stride_x);
            // The first of a row's positions that lies in the image, and the first one behind it.
            let start = pad_x.saturating_sub(phase_x).div_ceil(stride_x).min(plane_x);
            let end = (pad_x + width).saturating_sub(phase_x).div_ceil(stride_x).clamp(start, plane_x);
            for zy in 0..plane_z * plane_y {
                let Some(row) = rows.next() else { return };
                let z = (zy / plane_y * stride_z + phase_z).checked_sub(pad_z).filter(|&z| z < depth);
                let y = (zy % plane_y * stride_y + phase_y).checked_sub(pad_y).filter(|&y| y < height);
                let Some((z, y)) = z.zip(y).filter(|_| start < end) else {
                    row.fill(padding);
                    continue;
                };
                row[..start].fill(padding);
                row[end..].fill(padding);
                let from = (z * height + y) * width + start * stride_x + phase_x - pad_x;
                let sources = planes.map(|plane| &plane[from..]);
                copy_row(&mut row[start..end], sources, stride_x, channels, code);
            }
        }
    }
}

/// Writes one position after the other, `stride` apart in each of four rows, of which the first `channels` are wanted.
#[inline(always)]
fn copy_row<T: Copy>(
    row: &mut [[u8; GROUP]],
    sources: [&[T]; GROUP],
    stride: usize,
    channels: usize,
    code: impl Fn(T) -> u8 + Copy,
) {
    let mut done = 0;
    let span = (NR - 1) * stride + 1;
    let (pieces, rest) = row.as_chunks_mut::<NR>();
    for piece in &mut *pieces {
        let mut codes = [[0u8; NR]; GROUP];
        for (codes, source) in codes.iter_mut().zip(sources).take(channels) {
            let source = &source[done * stride..][..span];
            match stride {
                1 => {
                    for (to, &x) in codes.iter_mut().zip(source) {
                        *to = code(x);
                    }
                }
                _ => {
                    for (i, to) in codes.iter_mut().enumerate() {
                        *to = code(source[i * stride]);
                    }
                }
            }
        }
        let mut group = [0; RIGHT_STEP];
        interleave(&codes, &mut group);
        piece.as_flattened_mut().copy_from_slice(&group);
        done += NR;
    }
    for (i, position) in rest.iter_mut().enumerate() {
        let at = (done + i) * stride;
        for (k, (to, source)) in position.iter_mut().zip(sources).enumerate() {
            *to = if k < channels { code(source[at]) } else { 0 };
        }
    }
}
