//! Activations of each element: `Celu`, `Elu`, `Gelu`, `HardSigmoid`, `HardSwish`, `LeakyRelu`, `Mish`, `Selu`, `Shrink`, `Sigmoid`,
//! `Softplus`, `Softsign`, `Swish`, `ThresholdedRelu`. (`Relu` is in `sign.rs`, `Tanh` in `math.rs`.)
//!
//! Opsets: `Elu`, `HardSigmoid`, `LeakyRelu`, `Selu`, `Sigmoid` 1 and 6 (in form; `Selu`'s defaults became more exact), then dtypes;
//! `Softplus`, `Softsign` 1, 22; `Shrink` 9; `ThresholdedRelu` 10, 22; `Celu` 12, 28; `HardSwish` 14, 22; `Mish` 18, 22; `Gelu` 20;
//! `Swish` 24.

use crate::dtypes::{Number, for_integer};
use crate::elementwise::map;
use crate::unary::{Function, Real, Unary, plain_functions};
use planish_ir::{AttributeError, EvalCx, FLOATS, NUMERIC, NodeView, OpError, Schema, arg, float, string};
use planish_kernels::elementwise::Unary as Kernel;
use planish_tensor::{DType, Tensor};

/// The operators.
pub mod operator {
    use super::{Unary, function};

    macro_rules! operators {
        ($($name:ident)*) => {$(
            #[doc = concat!("`", stringify!($name), "`.")]
            pub type $name = Unary<function::$name>;
        )*};
    }
    operators! {
        Celu Elu Gelu HardSigmoid HardSwish LeakyRelu Mish Selu Shrink Sigmoid Softplus Softsign Swish ThresholdedRelu
    }
}

/// Functions with `float` attributes: type and operator name, opset version, attributes with their defaults, cost in
/// nanoseconds, kernel, definition.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident($since:literal, $ns:literal) { $($attribute:ident = $default:expr),* }
        kernel |$kernel_self:ident| $kernel:expr, = |$self:ident, $x:ident| $body:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            $($attribute: f32,)*
        }

        impl Function for $name {
            const SCHEMA: Schema = Schema::new(stringify!($name), $since)
                .inputs(&[arg("X", FLOATS).var("T")])
                .outputs(&[arg("Y", FLOATS).var("T")])
                .attributes(&[$(float(stringify!($attribute), $default)),*]);
            const NS: f64 = $ns;

            fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
                Ok($name { $($attribute: node.float(stringify!($attribute))?),* })
            }
            #[inline(always)]
            fn apply<T: Real>(&self, $x: T) -> T {
                let $self = self;
                $body
            }
            fn kernel(&self) -> Option<Kernel> {
                let $kernel_self = self;
                $kernel
            }
        }
    )*};
}

/// The functions.
pub mod function {
    use super::*;

    plain_functions! {
        /// x · (x/6 + 1/2 inside \[0, 1\]).
        HardSwish(22, "X", "Y", FLOATS, 0.5, Some(Kernel::HardSwish))
            = |x| x * clamp(x / T::of(6.0) + T::of(0.5));
        /// x · tanh(ln(1 + eˣ)).
        Mish(22, "X", "Y", FLOATS, 3.0, Some(Kernel::Mish)) = |x| x * softplus(x).tanh();
        /// 1 / (1 + e⁻ˣ).
        Sigmoid(13, "X", "Y", FLOATS, 1.5, Some(Kernel::Sigmoid)) = |x| sigmoid(x);
        /// ln(1 + eˣ).
        Softplus(22, "X", "Y", FLOATS, 2.0, Some(Kernel::Softplus)) = |x| softplus(x);
        /// x / (1 + |x|).
        Softsign(22, "input", "output", FLOATS, 0.5, Some(Kernel::Softsign)) = |x| x / (T::one() + x.abs());
    }

    functions! {
        /// max(0, x) + min(0, alpha · (e^(x/alpha) − 1)).
        Celu(28, 1.5) { alpha = 1.0 }
            kernel |f| (f.alpha > 0.0).then_some(Kernel::Celu { alpha: f.alpha }),
            = |f, x| {
                let alpha = T::of(f.alpha.into());
                above(x) + below(alpha * (x / alpha).exp_m1())
            };
        /// x where positive, else alpha · (eˣ − 1).
        Elu(22, 1.5) { alpha = 1.0 }
            kernel |f| Some(Kernel::Elu { alpha: f.alpha }),
            = |f, x| if x < T::zero() { T::of(f.alpha.into()) * x.exp_m1() } else { x };
        /// alpha · x + beta inside \[0, 1\].
        HardSigmoid(22, 0.5) { alpha = 0.2, beta = 0.5 }
            kernel |f| Some(Kernel::HardSigmoid { alpha: f.alpha, beta: f.beta }),
            = |f, x| clamp(T::of(f.alpha.into()) * x + T::of(f.beta.into()));
        /// x where x ≥ 0, else alpha · x.
        LeakyRelu(16, 0.4) { alpha = 0.01 }
            kernel |f| Some(Kernel::LeakyRelu { alpha: f.alpha }),
            = |f, x| if x < T::zero() { T::of(f.alpha.into()) * x } else { x };
        /// gamma · x where positive, else gamma · alpha · (eˣ − 1).
        Selu(22, 1.5) { alpha = 1.673_263_2, gamma = 1.050_701 }
            kernel |f| Some(Kernel::Selu { alpha: f.alpha, gamma: f.gamma }),
            = |f, x| {
                let gamma = T::of(f.gamma.into());
                if x > T::zero() { gamma * x } else { gamma * T::of(f.alpha.into()) * x.exp_m1() }
            };
        /// x / (1 + e^(−alpha · x)).
        Swish(24, 2.0) { alpha = 1.0 }
            kernel |f| (f.alpha == 1.0).then_some(Kernel::Silu),
            = |f, x| x * sigmoid(T::of(f.alpha.into()) * x);
        /// x where x > alpha, else 0.
        ThresholdedRelu(22, 0.4) { alpha = 1.0 }
            kernel |f| Some(Kernel::ThresholdedRelu { alpha: f.alpha }),
            = |f, x| if x > T::of(f.alpha.into()) || x.is_nan() { x } else { T::zero() };
    }

    /// x/2 · (1 + erf(x/√2)), or its approximation x/2 · (1 + tanh(√(2/π) · (x + 0.044715 · x³))).
    #[derive(Debug)]
    pub struct Gelu {
        approximates: bool,
    }

    impl Function for Gelu {
        const SCHEMA: Schema = Schema::new("Gelu", 20)
            .inputs(&[arg("X", FLOATS).var("T")])
            .outputs(&[arg("Y", FLOATS).var("T")])
            .attributes(&[string("approximate", "none")]);
        const NS: f64 = 2.0;

        fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
            Ok(Gelu { approximates: node.choice("approximate", &[("none", false), ("tanh", true)])? })
        }
        #[inline(always)]
        fn apply<T: Real>(&self, x: T) -> T {
            use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};
            let inner = if self.approximates {
                (T::of(FRAC_2_PI.sqrt()) * (x + T::of(0.044715) * x * x * x)).tanh()
            } else {
                (x * T::of(FRAC_1_SQRT_2)).erf()
            };
            T::of(0.5) * x * (T::one() + inner)
        }
        fn kernel(&self) -> Option<Kernel> {
            Some(if self.approximates { Kernel::GeluTanh } else { Kernel::Gelu })
        }
    }

    /// x + bias below −lambd, x − bias above lambd, else 0. Integers compute in `double` and round towards zero.
    #[derive(Debug)]
    pub struct Shrink {
        bias: f32,
        lambd: f32,
    }

    impl Function for Shrink {
        const SCHEMA: Schema = Schema::new("Shrink", 9)
            .inputs(&[arg("input", NUMERIC.without(planish_ir::Types::of(&[DType::BF16]))).var("T")])
            .outputs(&[arg("output", NUMERIC.without(planish_ir::Types::of(&[DType::BF16]))).var("T")])
            .attributes(&[float("bias", 0.0), float("lambd", 0.5)]);
        const NS: f64 = 0.5;

        fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
            Ok(Shrink { bias: node.float("bias")?, lambd: node.float("lambd")? })
        }
        #[inline(always)]
        fn apply<T: Real>(&self, x: T) -> T {
            let (bias, lambd) = (T::of(self.bias.into()), T::of(self.lambd.into()));
            if x < -lambd {
                x + bias
            } else if x > lambd {
                x - bias
            } else {
                T::zero()
            }
        }
        fn kernel(&self) -> Option<Kernel> {
            Some(Kernel::Shrink { bias: self.bias, lambd: self.lambd })
        }
        fn eval_integers(&self, cx: &EvalCx<'_>, x: Tensor) -> Result<Tensor, OpError> {
            for_integer!(x.dtype(), T => map::<T>(cx, x, 1.0, |v| T::from_f64(self.apply(v.to_f64()))))
        }
    }
}

/// x inside \[0, 1\]; NaN stays.
fn clamp<T: Real>(x: T) -> T {
    if x < T::zero() {
        T::zero()
    } else if x > T::one() {
        T::one()
    } else {
        x
    }
}

/// max(0, x); NaN stays.
fn above<T: Real>(x: T) -> T {
    if x < T::zero() { T::zero() } else { x }
}

/// min(0, x); NaN stays.
fn below<T: Real>(x: T) -> T {
    if x > T::zero() { T::zero() } else { x }
}

/// 1 / (1 + e⁻ˣ).
fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

/// ln(1 + eˣ), without overflow.
fn softplus<T: Real>(x: T) -> T {
    above(x) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::function;
    use super::*;
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{bf16, f16};

    const X: [f64; 9] = [-7.0, -2.0, -0.75, -0.25, 0.0, 0.25, 0.75, 2.0, 7.0];

    /// Operators, attributes other than the defaults, and definitions on `f64`.
    fn cases() -> Vec<(&'static str, Attributes, Box<dyn Fn(f64) -> f64>)> {
        let with = |list: &[(&str, f32)]| list.iter().fold(Attributes::new(), |a, &(name, value)| a.with(name, value));
        vec![
            ("Celu", with(&[("alpha", 2.0)]), Box::new(|x| x.max(0.0) + (2.0 * ((x / 2.0).exp() - 1.0)).min(0.0))),
            ("Elu", with(&[("alpha", 2.0)]), Box::new(|x| if x < 0.0 { 2.0 * (x.exp() - 1.0) } else { x })),
            (
                "HardSigmoid",
                with(&[("alpha", 0.25), ("beta", 0.125)]),
                Box::new(|x| (0.25 * x + 0.125).clamp(0.0, 1.0)),
            ),
            ("HardSwish", with(&[]), Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0))),
            ("LeakyRelu", with(&[("alpha", 0.5)]), Box::new(|x| if x < 0.0 { 0.5 * x } else { x })),
            ("Mish", with(&[]), Box::new(|x| x * x.exp().ln_1p().tanh())),
            (
                "Selu",
                with(&[("alpha", 2.0), ("gamma", 3.0)]),
                Box::new(|x| 3.0 * if x > 0.0 { x } else { 2.0 * x.exp_m1() }),
            ),
            ("Shrink", with(&[("bias", 0.25)]), Box::new(|x| if x.abs() > 0.5 { x - 0.25 * x.signum() } else { 0.0 })),
            ("Sigmoid", with(&[]), Box::new(|x| 1.0 / (1.0 + (-x).exp()))),
            ("Softplus", with(&[]), Box::new(|x| x.exp().ln_1p())),
            ("Softsign", with(&[]), Box::new(|x| x / (1.0 + x.abs()))),
            ("Swish", with(&[("alpha", 0.5)]), Box::new(|x| x / (1.0 + (-0.5 * x).exp()))),
            ("Swish", with(&[]), Box::new(|x| x / (1.0 + (-x).exp()))),
            ("ThresholdedRelu", with(&[("alpha", 0.5)]), Box::new(|x| if x > 0.5 { x } else { 0.0 })),
            ("Gelu", with(&[]), Box::new(|x| 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())))),
            (
                "Gelu",
                Attributes::new().with("approximate", "tanh"),
                Box::new(|x| {
                    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
                }),
            ),
        ]
    }

    #[test]
    fn every_float_dtype_computes_the_definition() {
        for (name, attributes, definition) in cases() {
            let check = |got: Vec<f64>, tolerance: f64| {
                for (&x, y) in X.iter().zip(got) {
                    let expected = definition(x);
                    let is_close = (y - expected).abs() <= tolerance * expected.abs().max(0.01);
                    assert!(is_close, "{name}({x}) = {y}, not {expected}");
                }
            };
            let run = |x| eval(name, attributes.clone(), &[x]).unwrap();
            check(run(tensor(&[9], &X)).as_slice::<f64>().unwrap().to_vec(), 1e-12);
            let y = run(tensor(&[9], &X.map(|v| v as f32)));
            check(y.as_slice::<f32>().unwrap().iter().map(|&v| v.into()).collect(), 2e-6);
            let y = run(tensor(&[9], &X.map(f16::from_f64)));
            check(y.as_slice::<f16>().unwrap().iter().map(|&v| v.into()).collect(), 2e-3);
            if name != "Shrink" {
                let y = run(tensor(&[9], &X.map(bf16::from_f64)));
                check(y.as_slice::<bf16>().unwrap().iter().map(|&v| v.into()).collect(), 2e-2);
            }
        }
    }

    #[test]
    fn shrink_takes_integers() {
        let attributes = Attributes::new().with("bias", 1.5f32).with("lambd", 1f32);
        let y = eval("Shrink", attributes, &[tensor(&[4], &[-3i8, -1, 1, 3])]).unwrap();
        assert_eq!(y, tensor(&[4], &[-1i8, 0, 0, 1]));
    }

    #[test]
    fn defaults_are_the_standards() {
        let defaults = |schema: Schema| -> Vec<_> { schema.attributes.iter().map(|a| (a.name, a.default)).collect() };
        use planish_ir::AttributeDefault::Float;
        let selu = defaults(function::Selu::SCHEMA);
        assert_eq!(selu, [("alpha", Float(1.673_263_2)), ("gamma", Float(1.050_701))]);
        assert!(eval("Gelu", Attributes::new().with("approximate", "sigmoid"), &[tensor(&[], &[0f32])]).is_err());
    }
}
