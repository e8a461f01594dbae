//! Vectors of `f32`, the same code for every instruction set.
//!
//! A kernel is a [`Kernel`]: its body is generic over [`Simd`] and [`dispatch`] runs it compiled for the instruction set
//! in force. A value of a `Simd` type is the proof that the CPU has its instructions, so every method is safe, and a
//! kernel body written with them is safe code.
//!
//! For this to compile to vector instructions everything between `run` and the methods here is `#[inline(always)]`,
//! closures too.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod each;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pair;
mod scalar;

pub use each::{Operand, map, reduce, zip, zip3};
pub(crate) use pair::Pair;
pub use scalar::Scalar;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub use neon::Neon;

use crate::Isa;

/// The vector operations of one instruction set.
///
/// Lanes are independent. Comparisons with NaN are false, `ne` aside. `mul_add` rounds once where the hardware fuses and
/// twice where it does not.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Values in a vector.
    const LANES: usize;
    /// A vector of `f32`.
    type F32: Copy;
    /// A vector of `i32`, as long as [`Simd::F32`].
    type I32: Copy;
    /// The result of a comparison, one bit a lane.
    type Mask: Copy;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::F32;
    /// `x` in every lane.
    fn splat_i32(self, x: i32) -> Self::I32;
    /// The first `LANES` values of `x`. Panics where there are fewer.
    fn load(self, x: &[f32]) -> Self::F32;
    /// Writes the first `LANES` values of `y`. Panics where there are fewer.
    fn store(self, y: &mut [f32], v: Self::F32);

    /// `a + b`
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a · b`
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a · b + c`
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `c - a · b`
    fn neg_mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `a` where `a < b`, else `b`: `b` where either is NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a` where `a > b`, else `b`: `b` where either is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The lesser, or NaN where either is. Of zeros, whichever the CPU takes.
    fn minimum(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The greater, or NaN where either is. Of zeros, whichever the CPU takes.
    fn maximum(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `√a`
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// `a` without its sign.
    fn abs(self, a: Self::F32) -> Self::F32;
    /// `a` with its sign flipped, that of a zero or a NaN too.
    fn neg(self, a: Self::F32) -> Self::F32;
    /// The magnitude of `a` with the sign of `sign`.
    fn copysign(self, a: Self::F32, sign: Self::F32) -> Self::F32;
    /// The nearest integer, ties to even.
    fn round(self, a: Self::F32) -> Self::F32;
    /// The nearest integer not above `a`.
    fn floor(self, a: Self::F32) -> Self::F32;
    /// The nearest integer not below `a`.
    fn ceil(self, a: Self::F32) -> Self::F32;

    /// `a < b`
    fn lt(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a ≤ b`
    fn le(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a = b`
    fn eq(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a ≠ b`, true where either is NaN.
    fn ne(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a` where the mask is set, else `b`.
    fn select(self, mask: Self::Mask, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Whether the mask is set in any lane.
    fn any(self, mask: Self::Mask) -> bool;

    /// The bit patterns of `a`.
    fn bits(self, a: Self::F32) -> Self::I32;
    /// The floats with these bit patterns.
    fn with_bits(self, a: Self::I32) -> Self::F32;
    /// The nearest `i32`; of no meaning where `a` is NaN or out of range.
    fn to_i32(self, a: Self::F32) -> Self::I32;
    /// The nearest floats.
    fn to_f32(self, a: Self::I32) -> Self::F32;
    /// `a + b`, wrapping.
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a - b`, wrapping.
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a & b`
    fn and_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a ^ b`
    fn xor_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a << BITS`
    fn shift_left<const BITS: i32>(self, a: Self::I32) -> Self::I32;
    /// `a >> BITS`, filling with the sign.
    fn shift_right<const BITS: i32>(self, a: Self::I32) -> Self::I32;

    /// The sum of all lanes.
    fn reduce_add(self, a: Self::F32) -> f32;
    /// The greatest lane; of no meaning where one is NaN.
    fn reduce_max(self, a: Self::F32) -> f32;
    /// The least lane; of no meaning where one is NaN.
    fn reduce_min(self, a: Self::F32) -> f32;

    /// The lanes of `a` and then of `b`, those at even places and those at odd ones.
    #[inline(always)]
    fn unzip(self, a: Self::F32, b: Self::F32) -> [Self::F32; 2] {
        let mut lanes = [0.0; 2 * MAX_LANES];
        self.store(&mut lanes, a);
        self.store(&mut lanes[Self::LANES..], b);
        let half = |odd: usize| {
            let mut half = [0.0; MAX_LANES];
            half.iter_mut().zip(lanes.iter().skip(odd).step_by(2)).for_each(|(to, from)| *to = *from);
            self.load(&half)
        };
        [half(0), half(1)]
    }

    /// The lanes of `a` and `b` in turn: the first half of them and the second.
    #[inline(always)]
    fn zip(self, a: Self::F32, b: Self::F32) -> [Self::F32; 2] {
        let mut lanes = [[0.0; MAX_LANES]; 2];
        self.store(&mut lanes[0], a);
        self.store(&mut lanes[1], b);
        let half = |first: usize| {
            let mut half = [0.0; MAX_LANES];
            for (i, to) in (first..first + Self::LANES).zip(&mut half) {
                *to = lanes[i % 2][i / 2];
            }
            self.load(&half)
        };
        [half(0), half(Self::LANES)]
    }

    /// `to[j · to_stride + i] = from[i · from_stride + j]` for at most `LANES` rows `i` and columns `j`. Panics where a slice is too
    /// short for that.
    #[inline(always)]
    fn transpose(
        self,
        from: &[f32],
        from_stride: usize,
        [rows, columns]: [usize; 2],
        to: &mut [f32],
        to_stride: usize,
    ) {
        for i in 0..rows {
            for j in 0..columns {
                to[j * to_stride + i] = from[i * from_stride + j];
            }
        }
    }

    /// The first `count.min(LANES)` values of `x`, then `fill`. Panics where `x` is shorter than that.
    #[inline(always)]
    fn load_partial(self, x: &[f32], count: usize, fill: f32) -> Self::F32 {
        let mut lanes = [fill; MAX_LANES];
        let count = count.min(Self::LANES);
        lanes[..count].copy_from_slice(&x[..count]);
        self.load(&lanes)
    }

    /// Lane `i` is `x[start + i]` where there is one, and zero elsewhere.
    #[inline(always)]
    fn load_around(self, x: &[f32], start: isize) -> Self::F32 {
        let (from, to) = lanes_within(x.len(), start, Self::LANES);
        if from < to {
            let x = &x[start.wrapping_add_unsigned(from) as usize..];
            if to - from == Self::LANES {
                return self.load(x);
            }
            let mut lanes = [0.0; MAX_LANES];
            lanes[from..to].copy_from_slice(&x[..to - from]);
            return self.load(&lanes);
        }
        self.splat(0.0)
    }

    /// Asks for `x[at]` to be brought near, where there is one.
    #[inline(always)]
    fn prefetch(self, _x: &[f32], _at: usize) {}

    /// Writes the first `count.min(LANES)` values of `y`. Panics where `y` is shorter than that.
    #[inline(always)]
    fn store_partial(self, y: &mut [f32], count: usize, v: Self::F32) {
        let mut lanes = [0.0; MAX_LANES];
        self.store(&mut lanes, v);
        let count = count.min(Self::LANES);
        y[..count].copy_from_slice(&lanes[..count]);
    }
}

/// The lanes, of `lanes`, whose `start + lane` is an index below `len`.
#[inline(always)]
fn lanes_within(len: usize, start: isize, lanes: usize) -> (usize, usize) {
    let distance = start.unsigned_abs();
    let from = if start < 0 { distance.min(lanes) } else { 0 };
    let to = if start < 0 { len.saturating_add(distance) } else { len.saturating_sub(distance) };
    (from, to.clamp(from, lanes))
}

/// No [`Simd::LANES`] is greater.
pub const MAX_LANES: usize = 16;

/// A computation to be compiled once for each instruction set.
pub trait Kernel {
    /// What [`Kernel::run`] returns.
    type Output;

    /// The computation. Mark it `#[inline(always)]`.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Runs the kernel with the instruction set in force, [`Isa::current`].
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    dispatch_on(Isa::current(), kernel)
}

/// Runs the kernel with an instruction set of the caller's choice, or in portable code where this CPU lacks it.
#[inline]
pub fn dispatch_on<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => match Avx2::detect() {
            Some(s) => s.run(kernel),
            None => kernel.run(Scalar),
        },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => match Avx512::detect() {
            Some(s) => s.run(kernel),
            None => kernel.run(Scalar),
        },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => match Neon::detect() {
            Some(s) => s.run(kernel),
            None => kernel.run(Scalar),
        },
        _ => kernel.run(Scalar),
    }
}

#[cfg(test)]
mod tests;
