//! Products with weights of 2, 4 or 8 bits, quantized in blocks along the depth: w = (code − zero) · scale.
//!
//! Codes come row after row, a row being one output; a row is made of blocks, a block of whole bytes, low bits first.
//! [`PackedBlocks`] holds them in the order in which products read them, as few bytes as before. There are two products:
//!
//! - with numbers ([`PackedBlocks::multiply`]), where codes become numbers in registers: a few left rows are as fast as memory gives codes;
//! - with left rows quantized to 8 bits block by block ([`PackedBlocks::multiply_int8`]), for many left rows: the
//!   sums of a block are exact.

mod int8;
mod numbers;
mod pack;

pub use pack::PackedBlocks;

use crate::simd::{Kernel, Simd, dispatch};
use std::ops::Range;

/// Weights in blocks, as they come.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    bits: usize,
    block: usize,
    rows: usize,
    depth: usize,
    codes: &'a [u8],
    scales: &'a [f32],
    zeros: Option<&'a [f32]>,
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
        Blocks { bits, block, rows, depth, codes, scales, zeros }
    }

    /// The bytes of one block.
    fn block_bytes(&self) -> usize {
        self.block * self.bits / 8
    }

    fn blocks(&self) -> usize {
        self.depth.div_ceil(self.block)
    }

    /// The code that stands for zero in a block.
    fn zero(&self, row: usize, block: usize) -> f32 {
        let middle = (1u32 << (self.bits - 1)) as f32;
        self.zeros.map_or(middle, |zeros| zeros[row * self.blocks() + block])
    }

    /// The bytes, scale and zero of each block of a row.
    fn row(&self, row: usize) -> impl Iterator<Item = (&'a [u8], f32, f32)> + use<'a> {
        let (blocks, bytes, own) = (self.blocks(), self.block_bytes(), *self);
        let scales = &self.scales[row * blocks..][..blocks];
        let codes = self.codes[row * blocks * bytes..][..blocks * bytes].chunks_exact(bytes);
        codes.zip(scales).enumerate().map(move |(i, (codes, &scale))| (codes, scale, own.zero(row, i)))
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

#[cfg(test)]
mod tests;
