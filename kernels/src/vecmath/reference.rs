//! The functions of [`vecmath`](super) by their definitions, in `f64`.

/// `sin x`
pub fn sin(x: f64) -> f64 {
    x.sin()
}

/// `cos x`
pub fn cos(x: f64) -> f64 {
    x.cos()
}

/// `1 / (1 + e^-x)`
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `erf x = 2/√π · e^(-x²) · Σ 2^n·x^(2n+1) / (2n+1)!!`, whose terms are all of one sign.
pub fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    // 1 - erf 6 = 2e-17 is below an f64's digits.
    if x.abs() > 6.0 {
        return 1.0_f64.copysign(x);
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > f64::EPSILON * 0.01 * sum.abs() {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// `ln(1 + e^x)`
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `x · sigmoid(x)`
pub fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// `x/2 · (1 + erf(x/√2))`
pub fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`
pub fn gelu_tanh(x: f64) -> f64 {
    let scale = (2.0 / std::f64::consts::PI).sqrt();
    0.5 * x * (1.0 + (scale * (x + 0.044_715 * x * x * x)).tanh())
}

/// `x · tanh(softplus(x))`
pub fn mish(x: f64) -> f64 {
    x * softplus(x).tanh()
}
