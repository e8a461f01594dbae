//! Convolution with 3×3 windows a step apart by Winograd's minimal filtering F(4×4, 3×3): a tile of 4×4 outputs takes 36
//! multiplications for each pair of channels instead of 144.
//!
//! Tiles of 6×6 inputs are transformed by Bᵀ·d·B, each of the 36 places is one matrix product over the channels, and its
//! results come back by Aᵀ·m·A. The points are 0, ±1, ±2 and ∞. (Lavin and Gray, "Fast Algorithms for Convolutional
//! Neural Networks", 2015.) Rounding errors are some ten times those of the plain sum.
//!
//! `cargo run --release -p planish-kernels --example peak` sets its speed beside the product's.

use std::cell::Cell;

use super::geometry::ConvGeometry;
use super::{PackedConv, Start, grow};
use crate::elementwise::Unary;
use crate::gemm::{Epilogue, Left, MR, NR, PackedA, Product, Right, activate, bounds};
use crate::simd::{Kernel, MAX_LANES, Simd, dispatch_on};
use crate::{Isa, Threads};

/// Outputs of a tile along one axis.
const TILE: usize = 4;

/// Inputs of a tile along one axis.
const PATCH: usize = TILE + 2;

/// Places of a transformed tile.
const PLACES: usize = PATCH * PATCH;

/// Fewer channels than this, in or out, are not worth the transforms.
const LEAST_CHANNELS: usize = 16;

/// Fewer tiles than this do not pay for reading four times the weights.
const LEAST_TILES: usize = 12;

/// Transformed weights beyond this many bytes are not kept.
const MOST_BYTES: usize = 24 << 20;

/// Transformed numbers of one block, in and out, that nearby caches hold.
const BLOCK_LEN: usize = 512 * 1024;

/// Tiles of a block at most, so that there are blocks to share out.
const MOST_BLOCK_TILES: usize = 96;

/// The filters of a 3×3 convolution, transformed: for each place a matrix of output × input channels.
#[derive(Clone)]
pub struct Winograd {
    places: Vec<PackedA>,
    out_channels: usize,
    in_channels: usize,
}

impl Winograd {
    /// Whether such a convolution is faster this way.
    pub fn pays(geometry: &ConvGeometry) -> bool {
        let tiles = geometry.batch * tile_grid(geometry).iter().product::<usize>();
        Self::fits(geometry)
            && geometry.in_channels.min(geometry.out_channels) >= LEAST_CHANNELS
            && tiles >= LEAST_TILES
            && Self::size_bytes(geometry).is_some_and(|bytes| bytes <= MOST_BYTES)
    }

    /// Whether such a convolution can be computed this way.
    fn fits(geometry: &ConvGeometry) -> bool {
        geometry.groups == 1
            && geometry.kernel == [1, 3, 3]
            && geometry.strides == [1; 3]
            && geometry.dilations == [1; 3]
            && geometry.input[0] == 1
            && geometry.output[0] == 1
    }

    /// The memory that the transformed filters take.
    pub fn size_bytes(geometry: &ConvGeometry) -> Option<usize> {
        PackedA::size_bytes(geometry.out_channels, geometry.in_channels)?.checked_mul(PLACES)
    }

    /// Transforms `weights`: output channels × input channels × 3 × 3.
    ///
    /// # Panics
    /// If `weights` is not as long as `geometry` says, or a convolution of it cannot be computed by tiles.
    pub fn pack(geometry: &ConvGeometry, weights: &[f32], threads: &Threads) -> Self {
        assert_eq!(weights.len(), geometry.weights_len(), "the weights' length");
        assert!(Self::fits(geometry), "a convolution that can be computed by tiles");
        let (out_channels, in_channels) = (geometry.out_channels, geometry.in_channels);
        let mut places: Vec<PackedA> = (0..PLACES).map(|_| PackedA::zeroed(out_channels, in_channels)).collect();
        let mut panels: Vec<Vec<&mut [f32]>> = Vec::new();
        panels.resize_with(out_channels.div_ceil(MR), || Vec::with_capacity(PLACES));
        for place in &mut places {
            panels.iter_mut().zip(place.panels_mut()).for_each(|(panel, of_place)| panel.push(of_place));
        }
        let filters = weights.chunks((MR * in_channels * 9).max(1));
        threads.for_each_item(filters.zip(panels), |(filters, panel)| {
            transform_panel(filters, in_channels, panel);
        });
        Self { places, out_channels, in_channels }
    }

    /// The same filters as [`pack`](Self::pack) transforms, where they were packed as [matrices](PackedConv::is_matrix).
    ///
    /// # Panics
    /// If they were packed for other channels or another kernel.
    pub fn of_packed(weights: &PackedConv, geometry: &ConvGeometry, threads: &Threads) -> Option<Self> {
        Some(Self::pack(geometry, &weights.unpacked(geometry)?, threads))
    }
}

/// Transforms the filters of up to [`MR`] output channels into a panel for each place.
fn transform_panel(filters: &[f32], in_channels: usize, mut panel: Vec<&mut [f32]>) {
    for channel in 0..in_channels {
        let mut taps = [[0.0; MR]; 9];
        for (lane, filter) in filters.chunks_exact(in_channels * 9).enumerate() {
            let filter = &filter[channel * 9..][..9];
            taps.iter_mut().zip(filter).for_each(|(tap, &value)| tap[lane] = f64::from(value));
        }
        for (place, values) in panel.iter_mut().zip(transform_filters(&taps)) {
            let to = &mut place[channel * MR..][..MR];
            to.iter_mut().zip(values).for_each(|(to, value)| *to = value as f32);
        }
    }
}

/// G·g·Gᵀ of each filter.
fn transform_filters(filters: &[[f64; MR]; 9]) -> [[f64; MR]; PLACES] {
    let columns: [_; 3] = std::array::from_fn(|x| transform_taps([filters[x], filters[3 + x], filters[6 + x]]));
    let rows: [_; PATCH] = std::array::from_fn(|y| transform_taps([columns[0][y], columns[1][y], columns[2][y]]));
    std::array::from_fn(|place| rows[place / PATCH][place % PATCH])
}

/// G·g.
fn transform_taps(g: [[f64; MR]; 3]) -> [[f64; MR]; PATCH] {
    const SIXTH: f64 = 1.0 / 6.0;
    let of = |term: &dyn Fn(f64, f64, f64) -> f64| std::array::from_fn(|i| term(g[0][i], g[1][i], g[2][i]));
    [
        of(&|a, _, _| a / 4.0),
        of(&|a, b, c| (a + b + c) * -SIXTH),
        of(&|a, b, c| (b - a - c) * SIXTH),
        of(&|a, b, c| (a / 4.0 + b / 2.0 + c) * SIXTH),
        of(&|a, b, c| (a / 4.0 - b / 2.0 + c) * SIXTH),
        of(&|_, _, c| c),
    ]
}

/// Rows and columns of tiles in one plane.
fn tile_grid(geometry: &ConvGeometry) -> [usize; 2] {
    [geometry.output[1].div_ceil(TILE), geometry.output[2].div_ceil(TILE)]
}

/// `y = activation(start + conv(x, weights) + bias)`, NCHW.
///
/// # Panics
/// If a slice is not as long as `geometry` says, or the filters are not of such a convolution.
pub fn conv_winograd(
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &Winograd,
    bias: Option<&[f32]>,
    start: Start,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    conv_winograd_with(Isa::current(), threads, geometry, x, weights, bias, start, activation, y);
}

pub(crate) fn conv_winograd_with(
    isa: Isa,
    threads: &Threads,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: &Winograd,
    bias: Option<&[f32]>,
    start: Start,
    activation: Option<Unary>,
    y: &mut [f32],
) {
    super::check(geometry, x, bias, y);
    assert!(Winograd::fits(geometry), "a geometry for which there are no tiles");
    assert_eq!((weights.out_channels, weights.in_channels), (geometry.out_channels, geometry.in_channels));
    if y.is_empty() {
        return;
    }
    let rows_each = rows_of_a_block(geometry, threads);
    let (width, plane) = (geometry.output[2], geometry.output_plane());
    let [tile_rows, _] = tile_grid(geometry);
    let blocks_each = tile_rows.div_ceil(rows_each);
    let mut blocks: Vec<Vec<&mut [f32]>> = Vec::new();
    blocks.resize_with(geometry.batch * blocks_each, || Vec::with_capacity(geometry.out_channels));
    for (channel, plane) in y.chunks_exact_mut(plane).enumerate() {
        for (block, rows) in plane.chunks_mut(rows_each * TILE * width).enumerate() {
            blocks[channel / geometry.out_channels * blocks_each + block].push(rows);
        }
    }
    let image_len = geometry.in_channels * geometry.input_plane();
    threads.for_each_item(blocks.into_iter().enumerate(), |(index, outputs)| {
        let (image, block) = (index / blocks_each, index % blocks_each);
        let first_row = block * rows_each;
        let tiles = Tiles::new(geometry, first_row, rows_each.min(tile_rows - first_row));
        let x = &x[image * image_len..][..image_len];
        let mut scratch = SCRATCH.take();
        scratch.grow(&tiles, geometry);
        dispatch_on(isa, Inputs { geometry, tiles: &tiles, x, scratch: &mut scratch });
        products(isa, weights, &tiles, &mut scratch);
        let Scratch { results, rows, .. } = &mut scratch;
        dispatch_on(isa, Outputs { isa, geometry, tiles: &tiles, results, bias, start, activation, outputs, rows });
        SCRATCH.set(scratch);
    });
}

/// Rows of tiles in one block: as many as nearby caches hold and threads leave, with few lanes of the last panel empty.
fn rows_of_a_block(geometry: &ConvGeometry, threads: &Threads) -> usize {
    let [rows, columns] = tile_grid(geometry);
    let cached = BLOCK_LEN / (PLACES * (geometry.in_channels + geometry.out_channels));
    let most = (cached.clamp(NR, MOST_BLOCK_TILES) / columns).max(1);
    let shared = rows.div_ceil(threads.count().div_ceil(geometry.batch)).max(1);
    let most = most.min(shared);
    let waste = |rows: usize| {
        let tiles = rows * columns;
        tiles.next_multiple_of(NR) as f64 / tiles as f64
    };
    (1..=most).rev().min_by(|&a, &b| waste(a).total_cmp(&waste(b))).unwrap_or(1)
}

/// The tiles of one block: some whole rows of them.
struct Tiles {
    /// The first row of tiles.
    first_row: usize,
    /// Rows and columns of tiles.
    rows: usize,
    columns: usize,
    /// Tiles in whole panels.
    padded: usize,
}

impl Tiles {
    fn new(geometry: &ConvGeometry, first_row: usize, rows: usize) -> Self {
        let columns = tile_grid(geometry)[1];
        Self { first_row, rows, columns, padded: (rows * columns).next_multiple_of(NR) }
    }

    fn count(&self) -> usize {
        self.rows * self.columns
    }

    /// The distance between one place's numbers for so many channels and the next's: a cache line more than they take, or
    /// places a power of two apart would contend for the same lines.
    fn place_len(&self, channels: usize) -> usize {
        self.padded * channels + NR
    }

    /// The numbers of one plane of a dealt channel: one for each tile and for each of a row more, and as many as a vector reads
    /// beyond.
    fn plane_len(&self) -> usize {
        self.count() + self.columns + MAX_LANES
    }
}

/// What one thread computes with; kept between calls.
#[derive(Default)]
struct Scratch {
    /// One channel's input, dealt out: what tiles have at row `r mod 4` and column `c` lies side by side.
    dealt: Vec<f32>,
    /// Transformed tiles: for each place panels of `NR` tiles, one row for each input channel.
    transformed: Vec<f32>,
    /// Products: for each place a matrix of output channels × tiles.
    results: Vec<f32>,
    /// One channel's outputs: for each row of a tile the rows of all tiles.
    rows: Vec<f32>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

impl Scratch {
    fn grow(&mut self, tiles: &Tiles, geometry: &ConvGeometry) {
        grow(&mut self.dealt, TILE * PATCH * tiles.plane_len());
        grow(&mut self.rows, TILE * (tiles.count() + MAX_LANES) * TILE);
        grow(&mut self.transformed, PLACES * tiles.place_len(geometry.in_channels));
        grow(&mut self.results, PLACES * tiles.place_len(geometry.out_channels));
    }
}

/// Deals out one channel's rows that the tiles read, with zeros around the image, to planes for each row and column of a
/// tile.
#[inline(always)]
fn deal<S: Simd>(s: S, geometry: &ConvGeometry, tiles: &Tiles, plane: &[f32], dealt: &mut [f32]) {
    let [_, height, width] = geometry.input;
    let [_, pad_y, pad_x] = geometry.pads_begin;
    let (columns, plane_len) = (tiles.columns, tiles.plane_len());
    for first in (0..columns).step_by(S::LANES) {
        let count = S::LANES.min(columns - first);
        let start = (first * TILE) as isize - pad_x as isize;
        for row in 0..tiles.rows * TILE + 2 {
            let planes = &mut dealt[row % TILE * PATCH * plane_len..][..PATCH * plane_len];
            let to = row / TILE * columns + first;
            let source = (tiles.first_row * TILE + row).checked_sub(pad_y).filter(|&y| y < height);
            let values = match source {
                Some(y) => {
                    let line = &plane[y * width..][..width];
                    let [a, b, c, d] = every_fourth(s, line, start);
                    let [e, f, ..] = every_fourth(s, line, start + TILE as isize);
                    [a, b, c, d, e, f]
                }
                None => [s.splat(0.0); PATCH],
            };
            for (plane, values) in planes.chunks_exact_mut(plane_len).zip(values) {
                s.store_partial(&mut plane[to..], count, values);
            }
        }
    }
}

/// `columns[j][i] = line[start + 4 · i + j]`, and zero beyond the line.
#[inline(always)]
fn every_fourth<S: Simd>(s: S, line: &[f32], start: isize) -> [S::F32; TILE] {
    let x: [S::F32; TILE] = std::array::from_fn(
        #[inline(always)]
        |i| s.load_around(line, start + (i * S::LANES) as isize),
    );
    let ([even, odd], [more_even, more_odd]) = (s.unzip(x[0], x[1]), s.unzip(x[2], x[3]));
    let ([a, c], [b, d]) = (s.unzip(even, more_even), s.unzip(odd, more_odd));
    [a, b, c, d]
}

/// The transform of a block's input.
struct Inputs<'a> {
    geometry: &'a ConvGeometry,
    tiles: &'a Tiles,
    x: &'a [f32],
    scratch: &'a mut Scratch,
}

impl Kernel for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Inputs { geometry, tiles, x, scratch } = self;
        let channels = geometry.in_channels;
        let place_len = tiles.place_len(channels);
        let (columns, plane_len) = (tiles.columns, tiles.plane_len());
        for (channel, plane) in x.chunks_exact(geometry.input_plane()).enumerate() {
            deal(s, geometry, tiles, plane, &mut scratch.dealt);
            let dealt = &scratch.dealt[..TILE * PATCH * plane_len];
            for first in (0..tiles.count()).step_by(S::LANES) {
                let columns_of: [[S::F32; PATCH]; PATCH] = std::array::from_fn(
                    #[inline(always)]
                    |column| {
                        let values = std::array::from_fn(
                            #[inline(always)]
                            |row| {
                                let plane = row % TILE * PATCH + column;
                                s.load(&dealt[plane * plane_len + row / TILE * columns + first..])
                            },
                        );
                        transform_input(s, values)
                    },
                );
                let rows: [[S::F32; PATCH]; PATCH] = std::array::from_fn(
                    #[inline(always)]
                    |row| {
                        std::array::from_fn(
                            #[inline(always)]
                            |column| columns_of[column][row],
                        )
                    },
                );
                let at = first / NR * NR * channels + channel * NR + first % NR;
                for (row, values) in rows.into_iter().enumerate() {
                    for (column, value) in transform_input(s, values).into_iter().enumerate() {
                        s.store(&mut scratch.transformed[(row * PATCH + column) * place_len + at..], value);
                    }
                }
            }
        }
    }
}

/// Bᵀ·d.
#[inline(always)]
fn transform_input<S: Simd>(s: S, d: [S::F32; PATCH]) -> [S::F32; PATCH] {
    let (two, four, five) = (s.splat(2.0), s.splat(4.0), s.splat(5.0));
    let even = s.neg_mul_add(four, d[2], d[4]);
    let odd = s.neg_mul_add(four, d[1], d[3]);
    let wide_even = s.sub(d[4], d[2]);
    let wide_odd = s.mul(two, s.sub(d[3], d[1]));
    [
        s.mul_add(four, d[0], s.neg_mul_add(five, d[2], d[4])),
        s.add(even, odd),
        s.sub(even, odd),
        s.add(wide_even, wide_odd),
        s.sub(wide_even, wide_odd),
        s.mul_add(four, d[1], s.neg_mul_add(five, d[3], d[5])),
    ]
}

/// The products of each place.
fn products(isa: Isa, weights: &Winograd, tiles: &Tiles, scratch: &mut Scratch) {
    let (rows, depth, columns) = (weights.out_channels, weights.in_channels, tiles.padded);
    let panels = scratch.transformed.chunks_exact(tiles.place_len(depth));
    let results = scratch.results.chunks_exact_mut(tiles.place_len(rows));
    for ((weights, panels), result) in weights.places.iter().zip(panels).zip(results) {
        let product = Product {
            rows,
            columns,
            depth,
            left: Left::Packed(weights),
            right: Right::Panelled(&panels[..columns * depth]),
            alpha: 1.0,
            beta: 0.0,
            epilogue: Epilogue::default(),
        };
        product.run(isa, &Threads::single(), result, columns);
    }
}

/// The transform of a block's products into its outputs.
struct Outputs<'a> {
    isa: Isa,
    geometry: &'a ConvGeometry,
    tiles: &'a Tiles,
    results: &'a [f32],
    bias: Option<&'a [f32]>,
    start: Start,
    activation: Option<Unary>,
    /// For each channel the rows of the output that the block makes.
    outputs: Vec<&'a mut [f32]>,
    rows: &'a mut [f32],
}

impl Kernel for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Outputs { isa, geometry, tiles, results, bias, start, activation, outputs, rows } = self;
        let place_len = tiles.place_len(geometry.out_channels);
        let row_len = (tiles.count() + MAX_LANES) * TILE;
        let width = geometry.output[2];
        let limits = bounds(activation);
        let (min, max) = limits.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let (min, max) = (s.splat(min), s.splat(max));
        for (channel, output) in outputs.into_iter().enumerate() {
            let bias = s.splat(bias.map_or(0.0, |bias| bias[channel]));
            for first in (0..tiles.count()).step_by(S::LANES) {
                let at = channel * tiles.padded + first;
                let mut halves = [[s.splat(0.0); PATCH]; TILE];
                for column in 0..PATCH {
                    let products = std::array::from_fn(
                        #[inline(always)]
                        |row| s.load(&results[(row * PATCH + column) * place_len + at..]),
                    );
                    for (row, value) in transform_output(s, products).into_iter().enumerate() {
                        halves[row][column] = value;
                    }
                }
                for (row, products) in halves.into_iter().enumerate() {
                    let [a, b, c, d] = transform_output(s, products);
                    let to = &mut rows[row * row_len + first * TILE..][..S::LANES * TILE];
                    interleave(s, [s.add(a, bias), s.add(b, bias), s.add(c, bias), s.add(d, bias)], to);
                }
            }
            for (y, output) in output.chunks_exact_mut(width).enumerate() {
                let from = &rows[y % TILE * row_len + y / TILE * tiles.columns * TILE..][..width];
                for (from, to) in from.chunks(S::LANES).zip(output.chunks_mut(S::LANES)) {
                    let count = to.len();
                    let mut sum = s.load_partial(from, count, 0.0);
                    if start == Start::Output {
                        sum = s.add(sum, s.load_partial(to, count, 0.0));
                    }
                    s.store_partial(to, count, s.min(max, s.max(min, sum)));
                }
            }
            if limits.is_none() {
                activate(isa, activation, output);
            }
        }
    }
}

/// `to[4 · i + j] = columns[j][i]`
#[inline(always)]
fn interleave<S: Simd>(s: S, [a, b, c, d]: [S::F32; TILE], to: &mut [f32]) {
    let (even, odd) = (s.zip(a, c), s.zip(b, d));
    for (i, (even, odd)) in even.into_iter().zip(odd).enumerate() {
        for (j, values) in s.zip(even, odd).into_iter().enumerate() {
            s.store(&mut to[(2 * i + j) * S::LANES..], values);
        }
    }
}

/// Aᵀ·m.
#[inline(always)]
fn transform_output<S: Simd>(s: S, m: [S::F32; PATCH]) -> [S::F32; TILE] {
    let (sum, difference) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (wide_sum, wide_difference) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [
        s.add(m[0], s.add(sum, wide_sum)),
        s.mul_add(s.splat(2.0), wide_difference, difference),
        s.mul_add(s.splat(4.0), wide_sum, sum),
        s.mul_add(s.splat(8.0), wide_difference, s.add(difference, m[5])),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::conv_scalar;
    use super::*;
    use crate::conv::Window;
    use proptest::prelude::*;

    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + i / 13 * 31 + seed * 101) % 401) as f32 / 200.0 - 1.0).collect()
    }

    fn geometry(batch: usize, channels: [usize; 2], input: [usize; 2], pads: [usize; 4]) -> Option<ConvGeometry> {
        let window = Window {
            kernel: &[3, 3],
            strides: &[1, 1],
            dilations: &[1, 1],
            pads_begin: &pads[..2],
            pads_end: &pads[2..],
        };
        ConvGeometry::new(batch, channels[0], channels[1], 1, &input, window).ok()
    }

    proptest! {
        #[test]
        fn it_computes_the_convolution(
            batch in 1usize..3,
            channels in prop::array::uniform2(1usize..20),
            input in prop::array::uniform2(1usize..22),
            pads in prop::array::uniform4(0usize..4),
            has_bias in any::<bool>(),
            adds in any::<bool>(),
            activation in prop::sample::select(vec![None, Some(Unary::Relu), Some(Unary::Sigmoid)]),
            threads in 1usize..4,
        ) {
            let geometry = geometry(batch, channels, input, pads);
            prop_assume!(geometry.is_some());
            let geometry = &geometry.unwrap();
            let (x, w) = (numbers(geometry.input_len(), 1), numbers(geometry.weights_len(), 2));
            let bias = has_bias.then(|| numbers(channels[1], 3));
            let threads = Threads::new(threads).unwrap();
            let residual = numbers(geometry.output_len(), 4);
            let mut expected = vec![0.0; geometry.output_len()];
            conv_scalar(geometry, &x, &w, bias.as_deref(), None, &mut expected);
            let scale = expected.iter().fold(1.0f32, |scale, y| scale.max(y.abs()));
            if adds {
                expected.iter_mut().zip(&residual).for_each(|(y, r)| *y += r);
            }
            activate(Isa::Scalar, activation, &mut expected);
            let packed = PackedConv::pack(geometry, &w, &threads);
            prop_assume!(packed.accumulates());
            let weights = Winograd::of_packed(&packed, geometry, &threads).unwrap();
            for isa in Isa::available() {
                let mut got = residual.clone();
                let start = if adds { Start::Output } else { Start::Zero };
                conv_winograd_with(isa, &threads, geometry, &x, &weights, bias.as_deref(), start, activation, &mut got);
                for (got, expected) in got.iter().zip(&expected) {
                    prop_assert!((got - expected).abs() <= 2e-5 * scale, "{isa}: {got} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_results() {
        let geometry = &geometry(1, [24, 40], [30, 26], [1, 1, 1, 1]).unwrap();
        let (x, w) = (numbers(geometry.input_len(), 1), numbers(geometry.weights_len(), 2));
        let run = |threads: usize| {
            let threads = Threads::new(threads).unwrap();
            let weights = Winograd::pack(geometry, &w, &threads);
            let mut y = vec![0.0; geometry.output_len()];
            conv_winograd(&threads, geometry, &x, &weights, None, Start::Zero, None, &mut y);
            y
        };
        assert_eq!(run(1), run(3));
    }
}
