//! A weight's codes: rows of blocks, each with a scale and a zero.

use super::fit::{Fit, Grid};
use planish_tensor::{DType, Memory, PayloadError, Shape, Tensor, f16};

/// How many weights one thread takes at a time.
const ROWS_EACH: usize = 16;

/// A matrix W in codes, row after row.
#[derive(Clone, Debug)]
pub struct Codes {
    /// What codes there are.
    pub grid: Grid,
    /// How many weights along a row share a scale.
    pub block: usize,
    /// How many rows there are.
    pub rows: usize,
    /// How long a row is.
    pub depth: usize,
    /// One code a weight, counted from 0.
    pub codes: Vec<u8>,
    /// A scale and a zero for each block.
    pub fits: Vec<Fit>,
    /// Σ w².
    pub energy: f64,
    /// Σ (w − what its code stands for)².
    pub error: f64,
}

impl Codes {
    /// The codes of W, whose elements are `weights`, by the scales of least error.
    pub fn of(weights: &[f32], depth: usize, grid: Grid, block: usize, threads: usize) -> Codes {
        let rows = weights.len().checked_div(depth).unwrap_or(0);
        let blocks = depth.div_ceil(block);
        let mut codes = vec![0u8; weights.len()];
        let nothing = Fit { scale: 1.0, zero: grid.middle() };
        let mut fits = vec![nothing; rows * blocks];
        let mut sums = vec![[0f64; 2]; rows];
        if depth > 0 {
            let pieces = weights
                .chunks(ROWS_EACH * depth)
                .zip(codes.chunks_mut(ROWS_EACH * depth))
                .zip(fits.chunks_mut(ROWS_EACH * blocks).zip(sums.chunks_mut(ROWS_EACH)));
            let pieces = std::sync::Mutex::new(pieces);
            let take = || pieces.lock().ok().and_then(|mut pieces| pieces.next());
            let work = || {
                while let Some(((weights, codes), (fits, sums))) = take() {
                    let rows = weights.chunks(depth).zip(codes.chunks_mut(depth));
                    for ((w, codes), (fits, sums)) in rows.zip(fits.chunks_mut(blocks).zip(sums)) {
                        *sums = quantize_row(grid, block, w, codes, fits);
                    }
                }
            };
            std::thread::scope(|scope| {
                (1..threads).for_each(|_| drop(scope.spawn(work)));
                work();
            });
        }
        let [energy, error] = sums.iter().fold([0.0; 2], |total, row| [total[0] + row[0], total[1] + row[1]]);
        Codes { grid, block, rows, depth, codes, fits, energy, error }
    }

    /// Blocks in a row.
    pub fn blocks(&self) -> usize {
        self.depth.div_ceil(self.block)
    }

    /// Whether every scale is a number of 16 bits.
    pub fn fits_halves(&self) -> bool {
        self.fits.iter().all(|fit| f16::from_f32(fit.scale).to_f32() == fit.scale)
    }

    /// The error relative to the weights.
    pub fn relative_error(&self) -> f64 {
        if self.energy > 0.0 { (self.error / self.energy).sqrt() } else { 0.0 }
    }

    /// The codes as a tensor `[rows, depth]`, or transposed: signed and counted from 0 where the grid is symmetric.
    pub fn tensor(&self, is_transposed: bool) -> Result<Tensor, PayloadError> {
        let codes = laid_out(&self.codes, [self.rows, self.depth], is_transposed);
        let shape = matrix([self.rows, self.depth], is_transposed)?;
        integers(self.grid, shape, codes)
    }

    /// A scale for each block, `[rows, blocks]`, or transposed.
    pub fn scales(&self, dtype: DType, is_transposed: bool) -> Result<Tensor, PayloadError> {
        let dims = [self.rows, self.blocks()];
        let scales: Vec<f32> = self.fits.iter().map(|fit| fit.scale).collect();
        let scales = laid_out(&scales, dims, is_transposed);
        let shape = matrix(dims, is_transposed)?;
        match dtype {
            DType::F16 => Tensor::new(shape, &scales.iter().map(|&s| f16::from_f32(s)).collect::<Vec<f16>>()),
            _ => Tensor::new(shape, &scales),
        }
    }

    /// A zero for each block, as [`scales`](Self::scales) lie; none where the grid is symmetric.
    pub fn zeros(&self, is_transposed: bool) -> Result<Option<Tensor>, PayloadError> {
        if self.grid.is_symmetric {
            return Ok(None);
        }
        let dims = [self.rows, self.blocks()];
        let zeros: Vec<u8> = self.fits.iter().map(|fit| fit.zero).collect();
        let zeros = laid_out(&zeros, dims, is_transposed);
        integers(self.grid, matrix(dims, is_transposed)?, zeros).map(Some)
    }

    /// The codes of `MatMulNBits`: `[rows, blocks, bytes of a block]`, low bits first, the last block filled with zeros.
    pub fn packed(&self) -> Result<Tensor, PayloadError> {
        let (per_byte, blocks) = (8 / self.grid.bits as usize, self.blocks());
        let bytes = self.block / per_byte;
        let mut packed = vec![0u8; self.rows * blocks * bytes];
        if self.depth > 0 {
            for (codes, packed) in self.codes.chunks_exact(self.depth).zip(packed.chunks_exact_mut(blocks * bytes)) {
                pack(codes, self.grid.bits, packed);
            }
        }
        Tensor::new(shape(&[self.rows, blocks, bytes])?, &packed)
    }

    /// The zeros of `MatMulNBits`: rows of whole bytes, low bits first.
    pub fn packed_zeros(&self) -> Result<Option<Tensor>, PayloadError> {
        if self.grid.is_symmetric {
            return Ok(None);
        }
        let (per_byte, blocks) = (8 / self.grid.bits as usize, self.blocks());
        let bytes = blocks.div_ceil(per_byte);
        let mut packed = vec![0u8; self.rows * bytes];
        for (fits, packed) in self.fits.chunks_exact(blocks.max(1)).zip(packed.chunks_exact_mut(bytes.max(1))) {
            let zeros: Vec<u8> = fits.iter().map(|fit| fit.zero).collect();
            pack(&zeros, self.grid.bits, packed);
        }
        Tensor::new(shape(&[self.rows, bytes])?, &packed).map(Some)
    }

    /// What the codes stand for.
    pub fn restored(&self) -> Vec<f32> {
        let blocks = self.blocks();
        let number = |(i, &code): (usize, &u8)| {
            let fit = self.fits[i / self.depth * blocks + i % self.depth / self.block];
            (f32::from(code) - f32::from(fit.zero)) * fit.scale
        };
        self.codes.iter().enumerate().map(number).collect()
    }
}

/// Codes and fits of one row; Σ w² and the squared error.
fn quantize_row(grid: Grid, block: usize, weights: &[f32], codes: &mut [u8], fits: &mut [Fit]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    let blocks = weights.chunks(block).zip(codes.chunks_mut(block));
    for ((weights, codes), fit) in blocks.zip(fits) {
        *fit = grid.fit(weights);
        grid.codes(weights, *fit, codes);
        sums[0] += weights.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
        sums[1] += f64::from(grid.error(weights, *fit));
    }
    sums
}

fn pack(codes: &[u8], bits: u32, packed: &mut [u8]) {
    let per_byte = 8 / bits as usize;
    for (byte, codes) in packed.iter_mut().zip(codes.chunks(per_byte)) {
        *byte = codes.iter().enumerate().fold(0, |byte, (i, code)| byte | code << (bits * i as u32));
    }
}

fn shape(dims: &[usize]) -> Result<Shape, PayloadError> {
    let wrong = |_| PayloadError::Size { dtype: DType::U8, shape: Shape::scalar(), expected: usize::MAX, got: 0 };
    Shape::new(dims).map_err(wrong)
}

fn matrix([rows, columns]: [usize; 2], is_transposed: bool) -> Result<Shape, PayloadError> {
    if is_transposed { shape(&[columns, rows]) } else { shape(&[rows, columns]) }
}

/// The elements of a matrix, or of its transpose.
pub(super) fn laid_out<T: Copy>(elements: &[T], [rows, columns]: [usize; 2], is_transposed: bool) -> Vec<T> {
    if !is_transposed {
        return elements.to_vec();
    }
    let mut transposed = Vec::with_capacity(elements.len());
    for column in 0..columns {
        transposed.extend((0..rows).map(|row| elements[row * columns + column]));
    }
    transposed
}

/// Codes of a grid as a tensor.
fn integers(grid: Grid, shape: Shape, mut codes: Vec<u8>) -> Result<Tensor, PayloadError> {
    if grid.is_symmetric {
        codes.iter_mut().for_each(|code| *code = code.wrapping_sub(grid.middle()));
    }
    let dtype = match (grid.bits, grid.is_symmetric) {
        (4, true) => DType::I4,
        (4, false) => DType::U4,
        (_, true) => DType::I8,
        (_, false) => DType::U8,
    };
    if grid.bits == 4 {
        return Tensor::from_codes(Memory::global(), dtype, shape, &codes);
    }
    Tensor::from_bytes(Memory::global(), dtype, shape, codes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + 13) % 997) as f32 / 500.0 - 0.9).collect()
    }

    #[test]
    fn threads_change_nothing() {
        let grid = Grid { bits: 4, is_symmetric: false, has_half_scales: false };
        let w = weights(70 * 40);
        let (one, three) = (Codes::of(&w, 40, grid, 16, 1), Codes::of(&w, 40, grid, 16, 3));
        assert_eq!((&one.codes, &one.fits, one.error), (&three.codes, &three.fits, three.error));
        let error: f64 = w.iter().zip(one.restored()).map(|(&w, r)| f64::from(w - r).powi(2)).sum();
        assert!((error - one.error).abs() < 1e-3 * error);
        assert!(one.relative_error() < 0.1);
    }

    #[test]
    fn tensors_hold_the_codes_both_ways() {
        for is_symmetric in [false, true] {
            for bits in [4, 8] {
                let grid = Grid { bits, is_symmetric, has_half_scales: true };
                let codes = Codes::of(&weights(6 * 40), 40, grid, 16, 1);
                assert!(codes.fits_halves());
                let (plain, transposed) = (codes.tensor(false).unwrap(), codes.tensor(true).unwrap());
                assert_eq!((plain.shape().dims(), transposed.shape().dims()), (&[6, 40][..], &[40, 6][..]));
                let numbers = |t: &Tensor| -> Vec<i32> {
                    match t.unpacked_codes() {
                        Some(codes) => codes.iter().map(|&c| c.into()).collect(),
                        None if is_symmetric => t.as_slice::<i8>().unwrap().iter().map(|&c| c.into()).collect(),
                        None => t.as_slice::<u8>().unwrap().iter().map(|&c| c.into()).collect(),
                    }
                };
                let (plain, transposed) = (numbers(&plain), numbers(&transposed));
                let middle = if is_symmetric { i32::from(grid.middle()) } else { 0 };
                for i in 0..6 * 40 {
                    assert_eq!(plain[i], i32::from(codes.codes[i]) - middle);
                    assert_eq!(plain[i], transposed[i % 40 * 6 + i / 40]);
                }
                assert_eq!(codes.scales(DType::F16, true).unwrap().shape().dims(), [3, 6]);
                assert_eq!(codes.zeros(false).unwrap().is_some(), !is_symmetric);
            }
        }
    }

    #[test]
    fn packed_codes_lie_as_the_product_reads_them() {
        let grid = Grid { bits: 4, is_symmetric: false, has_half_scales: false };
        let codes = Codes::of(&weights(3 * 40), 40, grid, 16, 1);
        let packed = codes.packed().unwrap();
        assert_eq!(packed.shape().dims(), [3, 3, 8]);
        let bytes = packed.as_slice::<u8>().unwrap();
        assert_eq!(bytes[24] & 15, codes.codes[40]);
        assert_eq!(bytes[24] >> 4, codes.codes[41]);
        assert_eq!(&bytes[20..24], [0; 4]);
        let zeros = codes.packed_zeros().unwrap().unwrap();
        assert_eq!(zeros.shape().dims(), [3, 2]);
        assert_eq!(zeros.as_slice::<u8>().unwrap()[1], codes.fits[2].zero);
    }
}
