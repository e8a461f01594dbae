//! Transposed convolution: each input is spread over the outputs that its window covers.
//!
//! A product makes, for every input position, what it adds to each tap of each output channel; these columns are then added where they
//! belong. Both happen for a block of positions at a time, so that the columns stay in cache and are never there all at once.

use std::cell::Cell;
use std::ops::Range;

use super::check;
use super::geometry::{ConvGeometry, coordinates};
use crate::elementwise::Unary;
use crate::gemm::{Epilogue, MatRef, activate, gemm_with};
use crate::{Isa, Threads};

/// Numbers that one task's columns may take; a single position may take more.
const COLUMNS_LEN: usize = 128 * 1024;

/// The fewest positions that make a product worth its packing.
const FEWEST_POSITIONS: usize = 16;

thread_local! {
    static COLUMNS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// `y = activation(convᵀ(x, weights) + bias)`, NCHW; `weights` are input channels × output channels of a group × kernel.
///
/// # Panics
/// If a slice is not as long as `geometry` says.
pub fn conv_transpose(
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    conv_transpose_with(Isa::current(), threads, geometry, x, weights, bias, activation, y);
}

pub(super) fn conv_transpose_with(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    check(geometry, x, bias, y);
    assert_eq!(weights.len(), geometry.weights_len(), "the weights' length");
    let plane = geometry.output_plane();
    if y.is_empty() {
        return;
    }
    let group_out = geometry.group_out();
    let work = geometry.group_in() * geometry.taps() * geometry.input_plane();
    let images = geometry.batch * geometry.groups;
    let tasks = threads.split(images * group_out, work as f64 * 0.03);
    let channels_each = group_out.div_ceil(tasks.div_ceil(images)).max(1);
    let pieces = (0..images).flat_map(|image| {
        (0..group_out).step_by(channels_each).map(move |start| (image, start..group_out.min(start + channels_each)))
    });
    let mut rest = y;
    let pieces: Vec<_> = pieces
        .map(|(image, channels)| {
            let (piece, tail) = std::mem::take(&mut rest).split_at_mut(channels.len() * plane);
            rest = tail;
            (image, channels, piece)
        })
        .collect();
    threads.for_each_item(pieces, |(image, channels, y)| {
        let group = image % geometry.groups;
        let first_channel = group * group_out + channels.start;
        for (i, y) in y.chunks_exact_mut(plane).enumerate() {
            y.fill(bias.map_or(0.0, |bias| bias[first_channel + i]));
        }
        let x_len = geometry.group_in() * geometry.input_plane();
        let x = &x[image * x_len..][..x_len];
        let weights_len = geometry.group_in() * group_out * geometry.taps();
        let weights = &weights[group * weights_len..][..weights_len];
        add_channels(isa, geometry, x, weights, channels, y);
        activate(isa, activation, y);
    });
}

/// Adds what one group of one image gives to some of the group's output channels.
fn add_channels(isa: Isa, geometry: &ConvGeometry, x: &[f32], weights: &[f32], channels: Range<usize>, y: &mut [f32]) {
    let (taps, plane) = (geometry.taps(), geometry.input_plane());
    let (depth, rows) = (geometry.group_in(), channels.len() * taps);
    if depth == 0 || plane == 0 {
        return;
    }
    let row_stride = geometry.group_out() * taps;
    let a = MatRef::new(&weights[channels.start * taps..], depth, rows, row_stride, 1).transposed();
    let block = (COLUMNS_LEN / rows).max(FEWEST_POSITIONS).min(plane);
    let mut columns = COLUMNS.take();
    if columns.len() < rows * block {
        columns.resize(rows * block, 0.0);
    }
    for start in (0..plane).step_by(block) {
        let positions = start..plane.min(start + block);
        let b = MatRef::new(&x[start..], depth, positions.len(), plane, 1);
        let columns = &mut columns[..rows * positions.len()];
        let epilogue = Epilogue::default();
        gemm_with(isa, &Threads::single(), 1.0, a.into(), b.into(), 0.0, columns, positions.len(), &epilogue);
        for (row, column) in columns.chunks_exact(positions.len()).enumerate() {
            let y = &mut y[row / taps * geometry.output_plane()..][..geometry.output_plane()];
            add_tap(geometry, geometry.tap(row % taps), &positions, column, y);
        }
    }
    COLUMNS.set(columns);
}

/// Adds to one output channel what the inputs at `positions` give through one tap.
fn add_tap(geometry: &ConvGeometry, tap: [usize; 3], positions: &Range<usize>, values: &[f32], y: &mut [f32]) {
    let [_, height, width] = geometry.output;
    let row_len = geometry.input[2];
    let mut start = positions.start;
    while start < positions.end {
        let [z, row, column] = coordinates(start, geometry.input);
        let len = (row_len - column).min(positions.end - start);
        let values = &values[start - positions.start..][..len];
        let target = geometry.target(0, z, tap[0]).zip(geometry.target(1, row, tap[1]));
        if let Some((z, row)) = target {
            let y = &mut y[(z * height + row) * width..][..width];
            add_row(geometry, tap[2], column, values, y);
        }
        start += len;
    }
}

/// Adds to one output row what a run of inputs from `column` on gives through tap `tap` of that row.
fn add_row(geometry: &ConvGeometry, tap: usize, column: usize, values: &[f32], y: &mut [f32]) {
    let (stride, pad) = (geometry.strides[2], geometry.pads_begin[2]);
    let first = column * stride + tap * geometry.dilations[2];
    let skipped = pad.saturating_sub(first).div_ceil(stride).min(values.len());
    let from = (first + skipped * stride).saturating_sub(pad);
    let values = &values[skipped..];
    let y = y.get_mut(from..).unwrap_or(&mut []);
    if stride == 1 {
        y.iter_mut().zip(values).for_each(|(y, x)| *y += x);
    } else {
        y.iter_mut().step_by(stride).zip(values).for_each(|(y, x)| *y += x);
    }
}
