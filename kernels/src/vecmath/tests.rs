use super::*;
use crate::Isa;
use crate::elementwise::{Unary, unary_on};
use crate::simd::Operand;

/// How far a result may lie from the true value.
#[derive(Clone, Copy)]
enum Within {
    Ulp(f64),
    UlpOrAbsolute(f64, f64),
    RelativeToInput(f64),
}

struct Case {
    op: Unary,
    truth: fn(f64) -> f64,
    within: Within,
}

const CASES: [Case; 13] = [
    Case { op: Unary::Exp, truth: f64::exp, within: Within::Ulp(2.0) },
    Case { op: Unary::Expm1, truth: f64::exp_m1, within: Within::Ulp(3.0) },
    Case { op: Unary::Log, truth: f64::ln, within: Within::Ulp(2.0) },
    Case { op: Unary::Tanh, truth: f64::tanh, within: Within::Ulp(3.0) },
    Case { op: Unary::Sigmoid, truth: reference::sigmoid, within: Within::Ulp(3.0) },
    Case { op: Unary::Erf, truth: reference::erf, within: Within::Ulp(3.0) },
    Case { op: Unary::Sin, truth: reference::sin, within: Within::UlpOrAbsolute(2.0, 1e-9) },
    Case { op: Unary::Cos, truth: reference::cos, within: Within::UlpOrAbsolute(2.0, 1e-9) },
    Case { op: Unary::Softplus, truth: reference::softplus, within: Within::Ulp(4.0) },
    Case { op: Unary::Silu, truth: reference::silu, within: Within::UlpOrAbsolute(4.0, 2e-43) },
    Case { op: Unary::Mish, truth: reference::mish, within: Within::UlpOrAbsolute(5.0, 2e-43) },
    Case { op: Unary::Gelu, truth: reference::gelu, within: Within::RelativeToInput(2e-7) },
    Case { op: Unary::GeluTanh, truth: reference::gelu_tanh, within: Within::RelativeToInput(2e-7) },
];

/// The distance between neighbouring floats at `x`.
fn ulp(x: f64) -> f64 {
    let x = (x.abs() as f32).clamp(f32::MIN_POSITIVE, f32::MAX);
    f64::from(x) - f64::from(x.next_down())
}

fn check(case: &Case, isa: Isa, x: &[f32]) {
    let mut y = vec![0.0; x.len()];
    unary_on(isa, case.op, Operand::Slice(x), &mut y);
    for (&x, &y) in x.iter().zip(&y) {
        let truth = (case.truth)(f64::from(x));
        let at = || format!("{:?} of {x:e} on {isa}: expected {truth:e}, got {y:e}", case.op);
        if !(truth as f32).is_finite() || !y.is_finite() {
            let expected = truth as f32;
            assert!(expected.is_nan() && y.is_nan() || expected == y || is_at_overflow(truth, y), "{}", at());
            continue;
        }
        let bound = match case.within {
            Within::Ulp(n) => n * ulp(truth),
            Within::UlpOrAbsolute(n, absolute) => (n * ulp(truth)).max(absolute),
            Within::RelativeToInput(n) => (n * f64::from(x).abs()).max(f64::from(f32::MIN_POSITIVE)),
        };
        let error = (f64::from(y) - truth).abs();
        assert!(error <= bound, "{}, {:.2} ulp", at(), error / ulp(truth));
    }
}

/// Whether the true value is so near the greatest float that its rounding decides between it and infinity.
fn is_at_overflow(truth: f64, y: f32) -> bool {
    truth.abs() > 0.999_999 * f64::from(f32::MAX) && y.abs() > 0.999_999 * f32::MAX
}

/// Floats spread evenly over all bit patterns, both signs, infinities and NaN.
fn every_magnitude(step: usize) -> Vec<f32> {
    (0..=u32::MAX)
        .step_by(step)
        .map(f32::from_bits)
        .chain([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0])
        .collect()
}

/// Floats spread evenly over the range in which these functions do anything.
fn usual_range() -> Vec<f32> {
    (-55_000..=55_000).map(|i| i as f32 * 2e-3).collect()
}

#[test]
fn functions_are_within_their_bounds_everywhere() {
    let x = [usual_range(), every_magnitude(60_013)].concat();
    for isa in Isa::available() {
        for case in &CASES {
            let is_defined = |x: &f32| {
                !matches!(case.op, Unary::Silu | Unary::Mish | Unary::Gelu | Unary::GeluTanh) || x.is_finite()
            };
            let x: Vec<f32> = x.iter().copied().filter(is_defined).collect();
            check(case, isa, &x);
        }
    }
}

#[test]
#[ignore = "minutes: every float there is"]
fn functions_are_within_their_bounds_for_every_float() {
    for high in 0..=u16::MAX {
        let x: Vec<f32> = (0..=u16::MAX).map(|low| f32::from_bits(u32::from(high) << 16 | u32::from(low))).collect();
        let finite: Vec<f32> = x.into_iter().filter(|x| x.is_finite()).collect();
        for case in &CASES {
            check(case, Isa::best(), &finite);
        }
    }
}

#[test]
fn signed_zeros_keep_their_sign_in_odd_functions() {
    for isa in Isa::available() {
        for op in [Unary::Tanh, Unary::Erf, Unary::Sin, Unary::Expm1, Unary::Gelu, Unary::Silu] {
            let mut y = [0.0, -0.0];
            unary_on(isa, op, Operand::Output, &mut y);
            assert_eq!(y.map(f32::to_bits), [0.0_f32, -0.0].map(f32::to_bits), "{op:?} on {isa}");
        }
    }
}
