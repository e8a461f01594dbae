//! Numbers as 8-bit codes: `round(x / scale) + zero`, ties to even, bounded.

use super::codes::Code;
use crate::Threads;
use crate::simd::{Kernel, Simd, dispatch};

/// Elements that one task takes.
const PIECE: usize = 1 << 14;

/// A core's time for one element, quantized or looked at.
const NS_PER_ELEMENT: f64 = 0.3;

/// Added to a number below 2²² in magnitude, this leaves its nearest integer, ties to even, in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// The code nearest to `value + zero`, ties to even, bounded; the least for NaN. `zero` is the number of a code.
#[inline(always)]
pub(super) fn round<T: Code>(value: f32, zero: f32) -> T {
    let (least, greatest) = (T::RANGE[0] - zero, T::RANGE[1] - zero);
    // Comparisons are false for NaN, which the first one turns into the least.
    let value = if value > least { value } else { least };
    let value = if value < greatest { value } else { greatest };
    let rounded = (value + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits());
    T::from_bits(rounded.wrapping_add((zero as i32).cast_unsigned()) as u8)
}

/// `round(x / scale) + zero` of each element.
///
/// # Panics
/// If the lengths differ.
pub fn quantize<T: Code>(x: &[f32], scale: f32, zero: T, y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "a code for each number");
    dispatch(Quantize { x, scale, zero, y });
}

/// `(x − zero) · scale` of each element.
///
/// # Panics
/// If the lengths differ.
pub fn dequantize<T: Code>(x: &[T], scale: f32, zero: T, y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "a number for each code");
    dispatch(Dequantize { x, scale, zero, y });
}

/// A scale and a zero point of `u8` codes that fit some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantization {
    /// What one step of the codes is worth.
    pub scale: f32,
    /// The code of 0.
    pub zero: u8,
}

impl Quantization {
    /// As ONNX's `DynamicQuantizeLinear` has it: 0 is exact, and codes reach from the least number to the greatest.
    pub fn of(threads: &Threads, x: &[f32]) -> Self {
        let [least, greatest] = extremes(threads, x);
        let scale = if least == greatest { 1.0 } else { (greatest - least) / 255.0 };
        Self { scale, zero: round(-least / scale, 0.0) }
    }

    /// The code of one number.
    #[inline(always)]
    pub fn code(self, x: f32) -> u8 {
        round(x / self.scale, f32::from(self.zero))
    }

    /// The codes of `x`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn quantize(self, threads: &Threads, x: &[f32], y: &mut [u8]) {
        assert_eq!(x.len(), y.len(), "a code for each number");
        if threads.split(x.len().div_ceil(PIECE), PIECE as f64 * NS_PER_ELEMENT) == 1 {
            return quantize(x, self.scale, self.zero, y);
        }
        let pieces = x.chunks(PIECE).zip(y.chunks_mut(PIECE));
        threads.for_each_item(pieces, |(x, y)| quantize(x, self.scale, self.zero, y));
    }
}

/// The least and the greatest of `x` and 0. NaN is passed over.
pub fn extremes(threads: &Threads, x: &[f32]) -> [f32; 2] {
    if threads.split(x.len().div_ceil(PIECE), PIECE as f64 * NS_PER_ELEMENT) == 1 {
        return dispatch(Extremes { x });
    }
    let mut parts = vec![[0.0; 2]; x.len().div_ceil(PIECE)];
    threads.for_each_item(x.chunks(PIECE).zip(&mut parts), |(x, part)| *part = dispatch(Extremes { x }));
    parts.iter().fold([0.0, 0.0], |[least, greatest], part| [part[0].min(least), part[1].max(greatest)])
}

struct Quantize<'a, T> {
    x: &'a [f32],
    scale: f32,
    zero: T,
    y: &'a mut [T],
}

impl<T: Code> Kernel for Quantize<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let zero = f32::from(self.zero.value());
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y = round(x / self.scale, zero);
        }
    }
}

struct Dequantize<'a, T> {
    x: &'a [T],
    scale: f32,
    zero: T,
    y: &'a mut [f32],
}

impl<T: Code> Kernel for Dequantize<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let zero = self.zero.value();
        for (y, x) in self.y.iter_mut().zip(self.x) {
            *y = f32::from(x.value() - zero) * self.scale;
        }
    }
}

struct Extremes<'a> {
    x: &'a [f32],
}

impl Kernel for Extremes<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 2] {
        let zero = s.splat(0.0);
        let mut extremes = [[zero; 2]; 4];
        let (blocks, rest) = (self.x.chunks_exact(4 * S::LANES), self.x.chunks_exact(4 * S::LANES).remainder());
        for block in blocks {
            for (i, [least, greatest]) in extremes.iter_mut().enumerate() {
                let x = s.load(&block[i * S::LANES..]);
                // The second operand is what stays where the first is NaN.
                *least = s.min(x, *least);
                *greatest = s.max(x, *greatest);
            }
        }
        let [a, b, c, d] = extremes;
        let least = s.min(s.min(a[0], b[0]), s.min(c[0], d[0]));
        let greatest = s.max(s.max(a[1], b[1]), s.max(c[1], d[1]));
        rest.iter().fold([s.reduce_min(least), s.reduce_max(greatest)], |[least, greatest], &x| {
            [if x < least { x } else { least }, if x > greatest { x } else { greatest }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn codes_are_the_nearest_and_saturate() {
        for (value, zero, expected) in [
            (0.5f32, 0f32, 0u8),
            (1.5, 0., 2),
            (2.5, 0., 2),
            (-3., 5., 2),
            (1e30, 3., 255),
            (-1e30, 3., 0),
            (f32::NAN, 9., 0),
        ] {
            assert_eq!(round::<u8>(value, zero), expected, "{value} + {zero}");
        }
        assert_eq!(round::<i8>(-200.0, 1.0), -128);
        assert_eq!(round::<i8>(126.4, 1.0), 127);
        assert_eq!(round::<i8>(-130.4, 3.0), -127);
    }

    #[test]
    fn codes_come_back_from_the_numbers_they_stand_for() {
        let all: Vec<i8> = (-128..=127).collect();
        let (mut numbers, mut back) = (vec![0.0; 256], vec![0; 256]);
        dequantize(&all, 0.3, -7, &mut numbers);
        assert!(numbers.iter().zip(&all).all(|(&x, &code)| x == (f32::from(code) + 7.0) * 0.3));
        quantize(&numbers, 0.3, -7, &mut back);
        assert_eq!(back, all);
    }

    #[test]
    fn scales_fit_whatever_the_threads() {
        for len in [0, 1, 7, 100, 3 * PIECE + 5] {
            let mut x = noise(len, 3.0);
            if let Some(x) = x.get_mut(len / 2) {
                *x = f32::NAN;
            }
            let least = x.iter().copied().fold(0.0, f32::min);
            let greatest = x.iter().copied().fold(0.0, f32::max);
            for threads in [Threads::single(), Threads::new(3).unwrap()] {
                assert_eq!(extremes(&threads, &x), [least, greatest]);
                let quantization = Quantization::of(&threads, &x);
                let mut y = vec![0; len];
                quantization.quantize(&threads, &x, &mut y);
                assert!(y.iter().zip(&x).all(|(&y, &x)| y == quantization.code(x)));
            }
        }
        let all = Quantization::of(&Threads::single(), &[-1.0, 0.0, 1.0]);
        assert_eq!([-1.0, 0.0, 1.0].map(|x| all.code(x)), [0, 127, 254]);
        assert_eq!(Quantization::of(&Threads::single(), &[0.0; 3]), Quantization { scale: 1.0, zero: 0 });
    }
}
