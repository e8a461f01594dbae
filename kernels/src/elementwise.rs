//! Elementwise operators on `f32`: `y = f(x)` and `y = f(a, b)`, in place or not.
//!
//! Broadcasting is the caller's: an operand here is as long as the output, or one value.

use crate::simd::{Kernel, Operand, Pair, Simd, dispatch_on, map, zip};
use crate::{Isa, vecmath};

/// A function of one value. The names and parameters are those of the ONNX operators where there is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// `|x|`
    Abs,
    /// `alpha·x + beta`
    Affine {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// The nearest integer not below `x`.
    Ceil,
    /// `x` inside `[min, max]`; NaN stays.
    Clip {
        /// The least value.
        min: f32,
        /// The greatest value, which wins where it is below `min`.
        max: f32,
    },
    /// `cos x`
    Cos,
    /// `x` where positive, else `alpha·(e^(x/alpha) - 1)`.
    Celu {
        /// The limit below, negated.
        alpha: f32,
    },
    /// `x` where positive, else `alpha·(e^x - 1)`.
    Elu {
        /// The limit below, negated.
        alpha: f32,
    },
    /// `erf x`
    Erf,
    /// `e^x`
    Exp,
    /// `e^x - 1`
    Expm1,
    /// The nearest integer not above `x`.
    Floor,
    /// `x/2 · (1 + erf(x/√2))`
    Gelu,
    /// [`Unary::Gelu`] by its approximation with `tanh`.
    GeluTanh,
    /// `alpha·x + beta` inside `[0, 1]`.
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// `x · (x/6 + 1/2 inside [0, 1])`
    HardSwish,
    /// `x` where `x ≥ 0`, else `alpha·x`.
    LeakyRelu {
        /// The slope below 0.
        alpha: f32,
    },
    /// `ln x`
    Log,
    /// `x · tanh(ln(1 + e^x))`
    Mish,
    /// `-x`
    Neg,
    /// `1/x`
    Reciprocal,
    /// `x` where positive, else 0; NaN stays.
    Relu,
    /// The nearest integer, ties to even.
    Round,
    /// `alpha · tanh(beta·x)`
    ScaledTanh {
        /// The scale of the result.
        alpha: f32,
        /// The scale of the argument.
        beta: f32,
    },
    /// `gamma·x` where positive, else `gamma·alpha·(e^x - 1)`.
    Selu {
        /// The limit below, negated and before scaling.
        alpha: f32,
        /// The scale.
        gamma: f32,
    },
    /// `x + bias` below `-lambd`, `x - bias` above `lambd`, else 0.
    Shrink {
        /// What is taken from the magnitude.
        bias: f32,
        /// Half the width of the band that becomes 0.
        lambd: f32,
    },
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// -1, 0 or 1, as `x` is; NaN stays.
    Sign,
    /// `x / (1 + e^-x)`, ONNX's Swish with `alpha = 1`.
    Silu,
    /// `sin x`
    Sin,
    /// `ln(1 + e^x)`
    Softplus,
    /// `x / (1 + |x|)`
    Softsign,
    /// `√x`
    Sqrt,
    /// `x²`
    Square,
    /// `tanh x`
    Tanh,
    /// `x` where `x > alpha`, else 0.
    ThresholdedRelu {
        /// The threshold.
        alpha: f32,
    },
}

/// A function of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a · b`
    Mul,
    /// `a / b`
    Div,
    /// The lesser; NaN where either is.
    Min,
    /// The greater; NaN where either is.
    Max,
    /// `a` where `a ≥ 0`, else `a · b`.
    PRelu,
}

/// `y[i] = op(x[i])`.
///
/// ```
/// use planish_kernels::{elementwise::{unary, Unary}, simd::Operand};
/// let mut y = [-1.0, 2.0];
/// unary(Unary::Relu, Operand::Output, &mut y);
/// assert_eq!(y, [0.0, 2.0]);
/// ```
///
/// # Panics
/// Where `x` is a slice of another length than `y`.
pub fn unary(op: Unary, x: Operand<'_>, y: &mut [f32]) {
    unary_on(Isa::current(), op, x, y);
}

/// [`unary`], with instructions of the caller's choice.
pub fn unary_on(isa: Isa, op: Unary, x: Operand<'_>, y: &mut [f32]) {
    dispatch_on(isa, UnaryKernel { op, x, y });
}

/// `y[i] = op(a[i], b[i])`.
///
/// ```
/// use planish_kernels::{elementwise::{binary, Binary}, simd::Operand};
/// let mut y = [0.0; 2];
/// binary(Binary::Sub, Operand::Scalar(1.0), Operand::Slice(&[3.0, 5.0]), &mut y);
/// assert_eq!(y, [-2.0, -4.0]);
/// ```
///
/// # Panics
/// Where an operand is a slice of another length than `y`.
pub fn binary(op: Binary, a: Operand<'_>, b: Operand<'_>, y: &mut [f32]) {
    binary_on(Isa::current(), op, a, b, y);
}

/// [`binary`], with instructions of the caller's choice.
pub fn binary_on(isa: Isa, op: Binary, a: Operand<'_>, b: Operand<'_>, y: &mut [f32]) {
    dispatch_on(isa, BinaryKernel { op, a, b, y });
}

/// `y[i] += a·x[i]`.
///
/// # Panics
/// Where `x` is of another length than `y`.
pub fn add_scaled(a: f32, x: &[f32], y: &mut [f32]) {
    dispatch_on(Isa::current(), AddScaled { a, x, y });
}

struct UnaryKernel<'a> {
    op: Unary,
    x: Operand<'a>,
    y: &'a mut [f32],
}

impl Kernel for UnaryKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if Pair::<S>::FITS { self.run_each(Pair::of(s)) } else { self.run_each(s) }
    }
}

impl UnaryKernel<'_> {
    #[inline(always)]
    fn run_each<S: Simd>(self, s: S) {
        let UnaryKernel { op, x, y } = self;
        /// `y[i] = body(x[i])`.
        macro_rules! each {
            (|$v:ident| $body:expr) => {
                map(
                    s,
                    x,
                    y,
                    #[inline(always)]
                    |$v| $body,
                )
            };
        }
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        match op {
            Unary::Abs => each!(|v| s.abs(v)),
            Unary::Affine { alpha, beta } => {
                let (alpha, beta) = (s.splat(alpha), s.splat(beta));
                each!(|v| s.mul_add(alpha, v, beta));
            }
            Unary::Ceil => each!(|v| s.ceil(v)),
            Unary::Clip { min, max } => {
                let (min, max) = (s.splat(min), s.splat(max));
                each!(|v| s.min(max, s.max(min, v)));
            }
            Unary::Cos => each!(|v| vecmath::cos(s, v)),
            Unary::Celu { alpha } => {
                let (alpha, inverse) = (s.splat(alpha), s.splat(1.0 / alpha));
                each!(|v| s.select(s.lt(zero, v), v, s.mul(alpha, vecmath::expm1(s, s.mul(v, inverse)))));
            }
            Unary::Elu { alpha } => {
                let alpha = s.splat(alpha);
                each!(|v| s.select(s.lt(zero, v), v, s.mul(alpha, vecmath::expm1(s, v))));
            }
            Unary::Erf => each!(|v| vecmath::erf(s, v)),
            Unary::Exp => each!(|v| vecmath::exp(s, v)),
            Unary::Expm1 => each!(|v| vecmath::expm1(s, v)),
            Unary::Floor => each!(|v| s.floor(v)),
            Unary::Gelu => each!(|v| vecmath::gelu(s, v)),
            Unary::GeluTanh => each!(|v| vecmath::gelu_tanh(s, v)),
            Unary::HardSigmoid { alpha, beta } => {
                let (alpha, beta) = (s.splat(alpha), s.splat(beta));
                each!(|v| s.min(one, s.max(zero, s.mul_add(alpha, v, beta))));
            }
            Unary::HardSwish => {
                let (sixth, half) = (s.splat(1.0 / 6.0), s.splat(0.5));
                each!(|v| s.mul(v, s.min(one, s.max(zero, s.mul_add(sixth, v, half)))));
            }
            Unary::LeakyRelu { alpha } => {
                let alpha = s.splat(alpha);
                each!(|v| s.select(s.lt(v, zero), s.mul(alpha, v), v));
            }
            Unary::Log => each!(|v| vecmath::log(s, v)),
            Unary::Mish => each!(|v| vecmath::mish(s, v)),
            Unary::Neg => each!(|v| s.neg(v)),
            Unary::Reciprocal => each!(|v| s.div(one, v)),
            Unary::Relu => each!(|v| s.max(zero, v)),
            Unary::Round => each!(|v| s.round(v)),
            Unary::ScaledTanh { alpha, beta } => {
                let (alpha, beta) = (s.splat(alpha), s.splat(beta));
                each!(|v| s.mul(alpha, vecmath::tanh(s, s.mul(beta, v))));
            }
            Unary::Selu { alpha, gamma } => {
                let (below, gamma) = (s.splat(gamma * alpha), s.splat(gamma));
                each!(|v| s.select(s.lt(zero, v), s.mul(gamma, v), s.mul(below, vecmath::expm1(s, v))));
            }
            Unary::Shrink { bias, lambd } => {
                let (bias, low, high) = (s.splat(bias), s.splat(-lambd), s.splat(lambd));
                each!(|v| {
                    let above = s.select(s.lt(high, v), s.sub(v, bias), zero);
                    s.select(s.lt(v, low), s.add(v, bias), above)
                });
            }
            Unary::Sigmoid => each!(|v| vecmath::sigmoid(s, v)),
            Unary::Sign => each!(|v| {
                let nonzero = s.select(s.lt(v, zero), s.neg(one), s.select(s.lt(zero, v), one, v));
                s.select(s.eq(v, zero), zero, nonzero)
            }),
            Unary::Silu => each!(|v| vecmath::silu(s, v)),
            Unary::Sin => each!(|v| vecmath::sin(s, v)),
            Unary::Softplus => each!(|v| vecmath::softplus(s, v)),
            Unary::Softsign => each!(|v| s.div(v, s.add(one, s.abs(v)))),
            Unary::Sqrt => each!(|v| s.sqrt(v)),
            Unary::Square => each!(|v| s.mul(v, v)),
            Unary::Tanh => each!(|v| vecmath::tanh(s, v)),
            Unary::ThresholdedRelu { alpha } => {
                let alpha = s.splat(alpha);
                each!(|v| s.select(s.lt(alpha, v), v, zero));
            }
        }
    }
}

struct BinaryKernel<'a> {
    op: Binary,
    a: Operand<'a>,
    b: Operand<'a>,
    y: &'a mut [f32],
}

impl Kernel for BinaryKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let BinaryKernel { op, a, b, y } = self;
        let zero = s.splat(0.0);
        match op {
            Binary::Add => zip(
                s,
                a,
                b,
                y,
                #[inline(always)]
                |a, b| s.add(a, b),
            ),
            Binary::Sub => zip(
                s,
                a,
                b,
                y,
                #[inline(always)]
                |a, b| s.sub(a, b),
            ),
            Binary::Mul => zip(
                s,
                a,
                b,
                y,
                #[inline(always)]
                |a, b| s.mul(a, b),
            ),
            Binary::Div => zip(
                s,
                a,
                b,
                y,
                #[inline(always)]
                |a, b| s.div(a, b),
            ),
            Binary::Min => zip(
                s,
                a,
                b,
                y,
                #[inline(always)]
                |a, b| s.minimum(a, b),
            ),
            Binary::Max => zip(
                s,
                a,
                b,
                y,
                #[inline(always)]
                |a, b| s.maximum(a, b),
            ),
            Binary::PRelu => zip(
                s,
                a,
                b,
                y,
                #[inline(always)]
                |a, b| s.select(s.lt(a, zero), s.mul(a, b), a),
            ),
        }
    }
}

struct AddScaled<'a> {
    a: f32,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let a = s.splat(self.a);
        zip(
            s,
            Operand::Slice(self.x),
            Operand::Output,
            self.y,
            #[inline(always)]
            |x, y| s.mul_add(a, x, y),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f32; 11] = [-7.0, -1.5, -0.25, -0.0, 0.0, 0.25, 0.5, 1.5, 7.0, f32::INFINITY, f32::NAN];

    /// The definition of each operator that is more than one call of [`vecmath`].
    fn scalar(op: Unary, x: f32) -> f32 {
        let when = |condition: bool, yes: f32, no: f32| if condition { yes } else { no };
        match op {
            Unary::Abs => x.abs(),
            Unary::Affine { alpha, beta } => alpha * x + beta,
            Unary::Ceil => x.ceil(),
            Unary::Celu { alpha } => when(x > 0.0, x, alpha * (x / alpha).exp_m1()),
            Unary::Elu { alpha } => when(x > 0.0, x, alpha * x.exp_m1()),
            Unary::Floor => x.floor(),
            Unary::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Unary::LeakyRelu { alpha } => when(x < 0.0, alpha * x, x),
            Unary::Neg => -x,
            Unary::Reciprocal => 1.0 / x,
            Unary::Relu => when(x < 0.0, 0.0, x),
            Unary::Round => x.round_ties_even(),
            Unary::ScaledTanh { alpha, beta } => alpha * (beta * x).tanh(),
            Unary::Selu { alpha, gamma } => gamma * when(x > 0.0, x, alpha * x.exp_m1()),
            Unary::Shrink { bias, lambd } => when(x < -lambd, x + bias, when(x > lambd, x - bias, 0.0)),
            Unary::Sign => when(x == 0.0 || x.is_nan(), x, x.signum()),
            Unary::Softsign => x / (1.0 + x.abs()),
            Unary::Sqrt => x.sqrt(),
            Unary::Square => x * x,
            Unary::ThresholdedRelu { alpha } => when(x > alpha, x, 0.0),
            _ => unreachable!("tested in vecmath"),
        }
    }

    fn assert_close(op: &dyn std::fmt::Debug, isa: Isa, x: f32, y: f32, expected: f32) {
        let is_close = (y - expected).abs() <= 4e-7 * expected.abs();
        assert!(
            y == expected || is_close || y.is_nan() && expected.is_nan(),
            "{op:?} of {x} on {isa}: {expected}, got {y}"
        );
    }

    #[test]
    fn every_unary_operator_equals_its_definition() {
        let ops = [
            Unary::Abs,
            Unary::Affine { alpha: 2.0, beta: 1.0 },
            Unary::Ceil,
            Unary::Celu { alpha: 2.0 },
            Unary::Elu { alpha: 1.5 },
            Unary::Floor,
            Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
            Unary::HardSwish,
            Unary::LeakyRelu { alpha: 0.1 },
            Unary::Neg,
            Unary::Reciprocal,
            Unary::Relu,
            Unary::Round,
            Unary::ScaledTanh { alpha: 1.5, beta: 0.5 },
            Unary::Selu { alpha: 1.673, gamma: 1.05 },
            Unary::Shrink { bias: 0.5, lambd: 1.0 },
            Unary::Sign,
            Unary::Softsign,
            Unary::Sqrt,
            Unary::Square,
            Unary::ThresholdedRelu { alpha: 0.4 },
        ];
        for isa in Isa::available() {
            for op in ops {
                let mut y = X;
                unary_on(isa, op, Operand::Output, &mut y);
                for (x, y) in X.into_iter().zip(y) {
                    assert_close(&op, isa, x, y, scalar(op, x));
                }
            }
        }
    }

    #[test]
    fn clip_keeps_nan_and_lets_max_win() {
        for isa in Isa::available() {
            let mut y = [f32::NAN, -5.0, 0.5, 5.0];
            unary_on(isa, Unary::Clip { min: -1.0, max: 1.0 }, Operand::Output, &mut y);
            assert!(y[0].is_nan());
            assert_eq!(y[1..], [-1.0, 0.5, 1.0]);
            unary_on(isa, Unary::Clip { min: 2.0, max: 1.0 }, Operand::Output, &mut y[1..]);
            assert_eq!(y[1..], [1.0; 3]);
        }
    }

    #[test]
    fn every_binary_operator_equals_its_definition() {
        type Definition = fn(f32, f32) -> f32;
        let ops: [(Binary, Definition); 7] = [
            (Binary::Add, |a, b| a + b),
            (Binary::Sub, |a, b| a - b),
            (Binary::Mul, |a, b| a * b),
            (Binary::Div, |a, b| a / b),
            (Binary::Min, |a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { a.min(b) }),
            (Binary::Max, |a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }),
            (Binary::PRelu, |a, b| if a < 0.0 { a * b } else { a }),
        ];
        let a: Vec<f32> = X.iter().flat_map(|&a| [a; X.len()]).collect();
        let b: Vec<f32> = X.iter().flat_map(|_| X).collect();
        for isa in Isa::available() {
            for (op, definition) in ops {
                let mut y = vec![0.0; a.len()];
                binary_on(isa, op, Operand::Slice(&a), Operand::Slice(&b), &mut y);
                for ((&a, &b), &y) in a.iter().zip(&b).zip(&y) {
                    assert_close(&op, isa, a, y, definition(a, b));
                }
            }
        }
    }

    #[test]
    fn add_scaled_accumulates() {
        let mut y = [1.0; 19];
        add_scaled(2.0, &[3.0; 19], &mut y);
        assert_eq!(y, [7.0; 19]);
    }
}
