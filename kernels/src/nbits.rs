//! Products with weights of 2, 4 or 8 bits, quantized in blocks along the depth: w = (code − zero) · scale.
//!
//! Codes lie row after row, a row being one output; a row is made of blocks, a block of whole bytes, low bits first. Few left rows are
//! multiplied with the codes as they are read ([`Blocks::dot`]); for many, rows of weights become numbers first
//! ([`Blocks::dequantize`]) and a matrix product takes them.

use crate::simd::{Kernel, Simd, dispatch};
use std::ops::Range;

/// Codes that are taken together.
const LANES: usize = 8;

/// The most left rows that are multiplied with a code while it is at hand.
const ROWS: usize = 4;

/// Weights in blocks.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    bits: usize,
    block: usize,
    depth: usize,
    codes: &'a [u8],
    scales: &'a [f32],
    zeros: Option<&'a [f32]>,
}

/// Left rows in the order in which codes come.
pub struct Arranged {
    values: Vec<f32>,
    rows: usize,
}

impl<'a> Blocks<'a> {
    /// `rows` rows of `depth` codes of `bits` bits, in blocks of `block`, each with a scale and, unless it is 2^(bits − 1), a zero.
    ///
    /// # Panics
    /// If bits are not 2, 4 or 8, if a block is not made of whole bytes, or if the lengths do not fit together.
    pub fn new(
        bits: usize,
        block: usize,
        [rows, depth]: [usize; 2],
        codes: &'a [u8],
        scales: &'a [f32],
        zeros: Option<&'a [f32]>,
    ) -> Blocks<'a> {
        assert!(matches!(bits, 2 | 4 | 8), "2, 4 or 8 bits");
        assert!(block > 0 && (block * bits).is_multiple_of(8), "a block is made of whole bytes");
        let blocks = depth.div_ceil(block);
        assert_eq!(Some(scales.len()), rows.checked_mul(blocks), "a scale for each block");
        assert!(zeros.is_none_or(|zeros| zeros.len() == scales.len()), "a zero for each block");
        assert_eq!(Some(codes.len()), scales.len().checked_mul(block / 8 * bits + block % 8 * bits / 8), "the codes");
        Blocks { bits, block, depth, codes, scales, zeros }
    }

    /// The bytes of one block.
    fn block_bytes(&self) -> usize {
        self.block * self.bits / 8
    }

    fn blocks(&self) -> usize {
        self.depth.div_ceil(self.block)
    }

    /// The bytes, scale and zero of each block of a row.
    fn row(&self, row: usize) -> impl Iterator<Item = (&'a [u8], f32, f32)> + use<'a> {
        let (blocks, bytes) = (self.blocks(), self.block_bytes());
        let middle = (1u32 << (self.bits - 1)) as f32;
        let (zeros, scales) = (self.zeros, &self.scales[row * blocks..][..blocks]);
        let codes = self.codes[row * blocks * bytes..][..blocks * bytes].chunks_exact(bytes);
        codes.zip(scales).enumerate().map(move |(i, (codes, &scale))| {
            let zero = zeros.map_or(middle, |zeros| zeros[row * blocks + i]);
            (codes, scale, zero)
        })
    }

    /// The weights of `rows`, as numbers, row after row.
    ///
    /// # Panics
    /// If `out` is not as long, or there are no such rows.
    pub fn dequantize(&self, rows: Range<usize>, out: &mut [f32]) {
        assert_eq!(Some(out.len()), rows.len().checked_mul(self.depth), "the weights of all rows");
        if self.depth > 0 {
            dispatch(Dequantize { blocks: self, first: rows.start, out });
        }
    }

    /// Whether [`dot`](Self::dot) can take these blocks.
    pub fn can_dot(&self) -> bool {
        self.block_bytes().is_multiple_of(LANES)
    }

    /// Left rows for [`dot`](Self::dot).
    ///
    /// # Panics
    /// If `x` does not hold `rows` rows.
    pub fn arrange(&self, x: &[f32], rows: usize) -> Arranged {
        assert_eq!(Some(x.len()), rows.checked_mul(self.depth), "whole rows");
        let (per_byte, padded) = (8 / self.bits, self.blocks() * self.block);
        let mut values = vec![0.0; rows * padded];
        if self.depth > 0 {
            for (x, values) in x.chunks_exact(self.depth).zip(values.chunks_exact_mut(padded)) {
                for (group, x) in x.chunks(LANES * per_byte).enumerate() {
                    for (i, &x) in x.iter().enumerate() {
                        values[group * LANES * per_byte + i % per_byte * LANES + i / per_byte] = x;
                    }
                }
            }
        }
        Arranged { values, rows }
    }

    /// `y[row][i] = Σ weights[row] · x[i]` for the weights of `rows` and every left row.
    ///
    /// # Panics
    /// If [`can_dot`](Self::can_dot) is false, or lengths do not fit together.
    pub fn dot(&self, rows: Range<usize>, x: &Arranged, y: &mut [f32]) {
        assert!(self.can_dot(), "blocks of whole groups");
        assert_eq!(x.values.len(), x.rows * self.blocks() * self.block, "rows arranged for these blocks");
        assert_eq!(Some(y.len()), rows.len().checked_mul(x.rows), "a sum for each pair of rows");
        dispatch(Dot { blocks: self, first: rows.start, x, y });
    }
}

struct Dequantize<'a> {
    blocks: &'a Blocks<'a>,
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Dequantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Dequantize { blocks, first, out } = self;
        for (row, out) in (first..).zip(out.chunks_exact_mut(blocks.depth)) {
            for ((codes, scale, zero), out) in blocks.row(row).zip(out.chunks_mut(blocks.block)) {
                match blocks.bits {
                    2 => dequantize_block::<2, 4>(codes, scale, zero, out),
                    4 => dequantize_block::<4, 2>(codes, scale, zero, out),
                    _ => dequantize_block::<8, 1>(codes, scale, zero, out),
                }
            }
        }
    }
}

/// The code in place `place` of a byte, as a number.
#[inline(always)]
fn code<const BITS: usize>(byte: u8, place: usize) -> f32 {
    f32::from((byte >> (BITS * place)) & (0xff >> (8 - BITS)))
}

#[inline(always)]
fn dequantize_block<const BITS: usize, const PER_BYTE: usize>(codes: &[u8], scale: f32, zero: f32, out: &mut [f32]) {
    let number = |byte, place| (code::<BITS>(byte, place) - zero) * scale;
    let (whole, rest) = out.as_chunks_mut::<PER_BYTE>();
    for (&byte, out) in codes.iter().zip(&mut *whole) {
        *out = std::array::from_fn(|place| number(byte, place));
    }
    if let Some(&byte) = codes.get(whole.len()) {
        rest.iter_mut().enumerate().for_each(|(place, out)| *out = number(byte, place));
    }
}

struct Dot<'a> {
    blocks: &'a Blocks<'a>,
    first: usize,
    x: &'a Arranged,
    y: &'a mut [f32],
}

impl Kernel for Dot<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match self.blocks.bits {
            2 => self.sums::<2, 4>(),
            4 => self.sums::<4, 2>(),
            _ => self.sums::<8, 1>(),
        }
    }
}

impl Dot<'_> {
    #[inline(always)]
    fn sums<const BITS: usize, const PER_BYTE: usize>(self) {
        let Dot { blocks, first, x, y } = self;
        let length = blocks.blocks() * blocks.block;
        for (row, y) in (first..).zip(y.chunks_exact_mut(x.rows.max(1))) {
            let (four, rest) = y.as_chunks_mut::<ROWS>();
            let (x_four, x_rest) = x.values.split_at(four.len() * ROWS * length);
            for (i, y) in four.iter_mut().enumerate() {
                let x = std::array::from_fn(|m| &x_four[(i * ROWS + m) * length..][..length]);
                *y = row_sums::<BITS, PER_BYTE, ROWS>(blocks, row, x);
            }
            for (i, y) in rest.iter_mut().enumerate() {
                [*y] = row_sums::<BITS, PER_BYTE, 1>(blocks, row, [&x_rest[i * length..][..length]]);
            }
        }
    }
}

/// The products of one row of weights with some left rows.
#[inline(always)]
fn row_sums<const BITS: usize, const PER_BYTE: usize, const M: usize>(
    blocks: &Blocks<'_>,
    row: usize,
    x: [&[f32]; M],
) -> [f32; M] {
    let mut totals = [[0f32; LANES]; M];
    let x = x.map(|x| x.as_chunks::<LANES>().0);
    let mut at = 0;
    for (codes, scale, zero) in blocks.row(row) {
        let mut sums = [[0f32; LANES]; M];
        for bytes in codes.as_chunks::<LANES>().0 {
            for place in 0..PER_BYTE {
                let weights: [f32; LANES] = std::array::from_fn(|j| code::<BITS>(bytes[j], place) - zero);
                for (sums, x) in sums.iter_mut().zip(x) {
                    let x = &x[at];
                    (0..LANES).for_each(|j| sums[j] += weights[j] * x[j]);
                }
                at += 1;
            }
        }
        for (totals, sums) in totals.iter_mut().zip(&sums) {
            (0..LANES).for_each(|j| totals[j] += sums[j] * scale);
        }
    }
    totals.map(|lanes| lanes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    /// Codes of a row in the order in which they stand for weights.
    fn code_at(codes: &[u8], bits: usize, i: usize) -> f64 {
        let byte = codes[i * bits / 8];
        f64::from((byte >> (i * bits % 8)) & (0xff >> (8 - bits)))
    }

    #[test]
    fn products_equal_their_definition() {
        for (bits, block, depth, rows) in
            [(4, 16, 40, 3), (4, 32, 64, 2), (8, 16, 19, 3), (2, 32, 70, 2), (2, 16, 16, 1), (8, 64, 64, 1)]
        {
            let blocks = usize::div_ceil(depth, block);
            let bytes = block * bits / 8;
            let codes: Vec<u8> = (0..rows * blocks * bytes).map(|i| (i * 89 + 7) as u8).collect();
            let scales: Vec<f32> = noise(rows * blocks, 0.1);
            let zeros: Vec<f32> = (0..rows * blocks).map(|i| (i % (1 << bits)) as f32).collect();
            for zeros in [None, Some(&zeros[..])] {
                let weights = Blocks::new(bits, block, [rows, depth], &codes, &scales, zeros);
                let weight = |row: usize, k: usize| {
                    let at = row * blocks + k / block;
                    let zero = zeros.map_or(f64::from(1 << (bits - 1)), |zeros| f64::from(zeros[at]));
                    (code_at(&codes[at * bytes..], bits, k % block) - zero) * f64::from(scales[at])
                };
                let mut numbers = vec![0.0; rows * depth];
                weights.dequantize(0..rows, &mut numbers);
                for (i, &got) in numbers.iter().enumerate() {
                    assert!((f64::from(got) - weight(i / depth, i % depth)).abs() < 1e-4);
                }
                if !weights.can_dot() {
                    continue;
                }
                for count in [1, 3, 4, 6] {
                    let x = noise(count * depth, 1.0);
                    let mut y = vec![0.0; (rows - 1) * count];
                    weights.dot(1..rows, &weights.arrange(&x, count), &mut y);
                    for (i, &got) in y.iter().enumerate() {
                        let (row, m) = (1 + i / count, i % count);
                        let expected: f64 = (0..depth).map(|k| weight(row, k) * f64::from(x[m * depth + k])).sum();
                        assert!((f64::from(got) - expected).abs() < 1e-2, "{bits} bits: {expected}, got {got}");
                    }
                }
            }
        }
    }
}
