//! Rounding `f32` to what a 16-bit float can hold, for operators whose every step is defined in that type.

use half::{bf16, f16};

/// A float of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// `float16`
    F16,
    /// `bfloat16`
    Bf16,
}

/// Terms that [`Rounding::sum`] adds one after the other.
const RUN: usize = 8;

impl Rounding {
    /// The nearest number of the type.
    #[inline]
    pub fn one(self, x: f32) -> f32 {
        match self {
            Rounding::F16 => f16::from_f32(x).to_f32(),
            Rounding::Bf16 => bf16::from_f32(x).to_f32(),
        }
    }

    /// Rounds all of `x`.
    pub fn all(self, x: &mut [f32]) {
        match self {
            Rounding::F16 => x.iter_mut().for_each(|x| *x = Rounding::F16.one(*x)),
            Rounding::Bf16 => x.iter_mut().for_each(|x| *x = Rounding::Bf16.one(*x)),
        }
    }

    /// The sum of `x` as ONNX's reference forms it: in `f32` for `float16`, in `bfloat16` itself for that. Runs of terms
    /// are added in pairs, so that rounding does not grow with their number.
    pub fn sum(self, x: &[f32]) -> f32 {
        match self {
            Rounding::F16 => self.one(pairwise(x, &|a, b| a + b)),
            Rounding::Bf16 => pairwise(x, &|a, b| Rounding::Bf16.one(a + b)),
        }
    }
}

fn pairwise(x: &[f32], add: &impl Fn(f32, f32) -> f32) -> f32 {
    if x.len() <= RUN {
        return x.iter().copied().fold(0.0, add);
    }
    let (a, b) = x.split_at((x.len() / 2).next_multiple_of(RUN));
    add(pairwise(a, add), pairwise(b, add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_to_the_type() {
        assert_eq!(Rounding::Bf16.one(1.003), 1.0);
        assert_eq!(Rounding::F16.one(1e6), f32::INFINITY);
        let mut x = [1.0 + 1.0 / 1024.0, -0.1];
        Rounding::F16.all(&mut x);
        assert_eq!(x, [1.0 + 1.0 / 1024.0, f16::from_f32(-0.1).to_f32()]);
    }

    #[test]
    fn long_sums_do_not_stall() {
        for rounding in [Rounding::F16, Rounding::Bf16] {
            assert_eq!(rounding.sum(&[1.0; 1024]), 1024.0);
            assert_eq!(rounding.sum(&[]), 0.0);
        }
        assert_eq!(Rounding::Bf16.sum(&[256.0, 1.0, 1.0]), 256.0);
    }
}
