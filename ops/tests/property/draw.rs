//! Cases drawn from a list of choices, which a failing case is shrunk by.

use super::array::{Array, Cell, bits, from_cells, from_reals, int_bits};
use planish_ir::Types;
use planish_tensor::{DType, Shape, Tensor};
use std::ops::RangeInclusive;

/// Choices taken one after another; where they end, the simplest is taken.
pub struct Draw<'a> {
    choices: &'a [u64],
}

impl<'a> Draw<'a> {
    pub fn new(choices: &'a [u64]) -> Draw<'a> {
        Draw { choices }
    }

    fn next(&mut self) -> u64 {
        let (&first, rest) = self.choices.split_first().unwrap_or((&0, &[]));
        self.choices = rest;
        first
    }

    /// A number less than `n`; 0 is the simplest.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// A number of a range; the first is the simplest.
    pub fn size(&mut self, range: RangeInclusive<usize>) -> usize {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// An integer of a range; the first is the simplest.
    pub fn int(&mut self, range: RangeInclusive<i64>) -> i64 {
        range.start() + self.below((range.end() - range.start() + 1) as usize) as i64
    }

    /// No or yes.
    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Yes one time in `n`.
    pub fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// One of a list, of which the first is the simplest.
    pub fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }

    /// One of the dtypes in a set.
    pub fn dtype(&mut self, types: Types) -> DType {
        let dtypes: Vec<DType> = types.dtypes().collect();
        self.pick(&dtypes)
    }

    /// Lengths up to `most`, now and then 0.
    pub fn dims(&mut self, rank: RangeInclusive<usize>, most: usize) -> Vec<usize> {
        let rank = self.size(rank);
        (0..rank).map(|_| if self.rarely(24) { 0 } else { self.size(1..=most) }).collect()
    }

    /// Lengths of 1 and more.
    pub fn full_dims(&mut self, rank: RangeInclusive<usize>, most: usize) -> Vec<usize> {
        let rank = self.size(rank);
        (0..rank).map(|_| self.size(1..=most)).collect()
    }

    /// A shape that broadcasts to `dims`.
    pub fn narrower(&mut self, dims: &[usize]) -> Vec<usize> {
        let ones = self.below(1 << dims.len().min(16));
        let cut = if self.rarely(3) { self.below(dims.len() + 1) } else { 0 };
        dims.iter().enumerate().skip(cut).map(|(i, &d)| if ones >> i & 1 == 1 && self.flag() { 1 } else { d }).collect()
    }

    /// An axis, and as it may be written: counted from the end too.
    pub fn axis(&mut self, rank: usize) -> (usize, i64) {
        let axis = self.below(rank);
        (axis, if self.flag() { axis as i64 - rank as i64 } else { axis as i64 })
    }

    /// Some of the axes, each once, in any order, as they may be written.
    pub fn axes(&mut self, rank: usize) -> (Vec<usize>, Vec<i64>) {
        let mut axes: Vec<usize> = self.order(rank);
        axes.truncate(self.size(0..=rank));
        let written = axes.iter().map(|&a| if self.flag() { a as i64 - rank as i64 } else { a as i64 }).collect();
        (axes, written)
    }

    /// The numbers below `n` in any order.
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        (1..n).for_each(|i| order.swap(i, i - self.below(i + 1)));
        order
    }

    /// Endless numbers that one choice decides; all 0 by the simplest.
    pub fn stream(&mut self) -> impl FnMut() -> u64 + use<> {
        let seed = self.next();
        let mut state = seed;
        move || {
            state = state.wrapping_add(seed);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }
    }

    /// Numbers between two bounds, rounded to `dtype`.
    pub fn between(&mut self, dtype: DType, dims: &[usize], low: f64, high: f64) -> Tensor {
        let mut next = self.stream();
        let mut number = || low + (next() >> 11) as f64 / (1u64 << 53) as f64 * (high - low);
        from_reals(dtype, &Array::from_fn(dims, |_| number()))
    }

    /// Numbers between −2 and 2.
    pub fn numbers(&mut self, dtype: DType, dims: &[usize]) -> Tensor {
        self.between(dtype, dims, -2.0, 2.0)
    }

    /// Integers of a range.
    pub fn integers(&mut self, dtype: DType, dims: &[usize], range: RangeInclusive<i64>) -> Tensor {
        let mut next = self.stream();
        let count = (range.end() - range.start() + 1) as u64;
        let cell = |_: &[usize]| {
            let value = range.start() + (next() % count) as i64;
            if dtype.is_float() { bits(dtype, value as f64) } else { int_bits(dtype, value.into()) }
        };
        from_cells(dtype, &Array::from_fn(dims, cell))
    }

    /// Elements of any dtype, whatever they mean; some are equal.
    pub fn any(&mut self, dtype: DType, dims: &[usize]) -> Tensor {
        let mut next = self.stream();
        let few = self.flag();
        let cell = |_: &[usize]| {
            let word = if few { next() % 3 } else { next() };
            match dtype {
                DType::String => Cell::Text(["", "a", "é", "b c"][word as usize % 4].to_owned()),
                DType::Bool => Cell::Bits(u128::from(word & 1)),
                _ => {
                    int_bits(dtype, (i128::from(word) << 64 | i128::from(word.rotate_left(7))) >> (128 - dtype.bits()))
                }
            }
        };
        from_cells(dtype, &Array::from_fn(dims, cell))
    }

    /// Numbers of every kind: small and large, whole and not, and what floats have besides numbers.
    pub fn wild(&mut self, dtype: DType, dims: &[usize]) -> Tensor {
        const FLOATS: [f64; 12] =
            [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e30, 1e-40];
        let mut next = self.stream();
        let kind = self.below(3);
        let (low, high) = super::array::range(if dtype.is_float() { DType::I64 } else { dtype });
        let cell = |_: &[usize]| {
            let word = next();
            let fraction = (word >> 11) as f64 / (1u64 << 53) as f64;
            match (dtype.is_float(), kind) {
                (true, 0) => bits(dtype, fraction * 8.0 - 4.0),
                (true, 1) => bits(dtype, FLOATS[word as usize % FLOATS.len()]),
                (true, _) => bits(dtype, (fraction * 40.0 - 20.0).exp2() * if word & 1 == 0 { 1.0 } else { -1.0 }),
                (false, 0) => int_bits(dtype, i128::from(word % 9) - if low < 0 { 4 } else { 0 }),
                (false, 1) => int_bits(dtype, [low, high, 0, 1, 2, high / 2, low + 1][word as usize % 7]),
                (false, _) => int_bits(dtype, i128::from(word)),
            }
        };
        from_cells(dtype, &Array::from_fn(dims, cell))
    }

    /// Flags.
    pub fn bools(&mut self, dims: &[usize]) -> Tensor {
        self.integers(DType::Bool, dims, 0..=1)
    }
}

/// A vector of `int64`.
pub fn vector(data: &[i64]) -> Tensor {
    Tensor::vector(data)
}

/// Integers as a tensor of one of the index dtypes.
pub fn index_tensor(dtype: DType, dims: &[usize], data: &[i64]) -> Tensor {
    from_cells(dtype, &Array { dims: dims.to_vec(), data: data.iter().map(|&v| int_bits(dtype, v.into())).collect() })
}

/// The same elements under another shape.
pub fn reshaped(tensor: &Tensor, dims: &[usize]) -> Tensor {
    tensor.reshaped(Shape::new(dims).unwrap()).unwrap()
}
