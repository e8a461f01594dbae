//! Elementary functions of a vector of `f32`: `exp`, `log`, `tanh`, `erf`, `sin` and what networks build from them.
//!
//! Each is a range reduction and a minimax polynomial, without branches, right for every input: NaN, infinities,
//! subnormals and signed zeros included. [`reference`](mod@reference) holds the same functions in `f64`, as definitions
//! and for wider element types. The bound beside each function is on its distance from the true value, in units in the
//! last place, on every instruction set.

pub mod reference;

use crate::simd::Simd;

/// `ln 2` in two parts: a product of the first, of 15 bits, with a small integer is exact.
const LN_2_HIGH: f32 = 0.693_145_75;
const LN_2_LOW: f32 = 1.428_606_8e-6;

/// `π/2` in three parts: products of the first two, of 11 bits each, with an integer below 2^13 are exact.
const HALF_PI_HIGH: f32 = 1.570_312_5;
const HALF_PI_MIDDLE: f32 = 4.837_513e-4;
const HALF_PI_LOW: f32 = 7.549_79e-8;

/// `c[0] + c[1]·x + c[2]·x² + …`
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, c: [f32; N]) -> S::F32 {
    let mut sum = s.splat(c[N - 1]);
    for i in (0..N - 1).rev() {
        sum = s.mul_add(sum, x, s.splat(c[i]));
    }
    sum
}

/// `x = n·ln 2 + r` with an integer `n` and `|r| ≤ ln 2 / 2`, for `|x| < 2^13`. Returns `(n, r)`.
#[inline(always)]
fn reduce_by_ln_2<S: Simd>(s: S, x: S::F32) -> (S::F32, S::F32) {
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.neg_mul_add(n, s.splat(LN_2_HIGH), x);
    (n, s.neg_mul_add(n, s.splat(LN_2_LOW), r))
}

/// `2^n` for an integer `-126 ≤ n ≤ 127`.
#[inline(always)]
fn power_of_2<S: Simd>(s: S, n: S::I32) -> S::F32 {
    s.with_bits(s.shift_left::<23>(s.add_i32(n, s.splat_i32(127))))
}

/// `e^r - 1` for `|r| ≤ ln 2 / 2`.
#[inline(always)]
fn expm1_reduced<S: Simd>(s: S, r: S::F32) -> S::F32 {
    let p = polynomial(s, r, [0.499_999_97, 0.166_665_43, 0.041_667_2, 0.008_366_58, 0.001_388_251]);
    s.mul_add(s.mul(r, r), p, r)
}

/// `e^r` for `|r| ≤ ln 2 / 2`.
#[inline(always)]
fn exp_reduced<S: Simd>(s: S, r: S::F32) -> S::F32 {
    let p = polynomial(s, r, [0.499_999_94, 0.166_665_2, 0.041_668_393, 0.008_368_781, 0.001_381_446_7]);
    s.add(s.mul_add(s.mul(r, r), p, r), s.splat(1.0))
}

/// `e^x`, within 2 ULP.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let x = s.min(s.splat(89.0), s.max(s.splat(-104.0), x));
    let (n, r) = reduce_by_ln_2(s, x);
    // The result may be subnormal or infinite where 2^n is not a float: scale in two halves.
    let n = s.to_i32(n);
    let half = s.shift_right::<1>(n);
    let scaled = s.mul(exp_reduced(s, r), power_of_2(s, half));
    s.mul(scaled, power_of_2(s, s.sub_i32(n, half)))
}

/// `e^x` where `x ≤ 0`, within 2 ULP; 0 where the result would be subnormal.
#[inline(always)]
pub fn exp_nonpositive<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let least = s.splat(-87.0);
    let (n, r) = reduce_by_ln_2(s, s.max(least, x));
    let result = s.mul(exp_reduced(s, r), power_of_2(s, s.to_i32(n)));
    s.select(s.lt(x, least), s.splat(0.0), result)
}

/// `e^x - 1`, within 3 ULP.
#[inline(always)]
pub fn expm1<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let clamped = s.min(s.splat(89.0), s.max(s.splat(-20.0), x));
    let (n, r) = reduce_by_ln_2(s, clamped);
    // e^x - 1 = 2·(2^(n-1)·(e^r - 1) + 2^(n-1) - 1/2): 2^n overflows just before the result does.
    let half_scale = power_of_2(s, s.sub_i32(s.to_i32(n), s.splat_i32(1)));
    let half = s.mul_add(half_scale, expm1_reduced(s, r), s.sub(half_scale, s.splat(0.5)));
    s.select(s.eq(x, s.splat(0.0)), x, s.add(half, half))
}

/// `ln x`, within 2 ULP; NaN where `x < 0`.
#[inline(always)]
pub fn log<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let is_small = s.lt(x, s.splat(f32::MIN_POSITIVE));
    let normal = s.select(is_small, s.mul(x, s.splat(8_388_608.0)), x);
    // normal = 2^e·(1 + f) with 1 + f in [√½, √2).
    let bits = s.bits(normal);
    let sqrt_half = s.splat_i32(0x3f35_04f3);
    let e = s.shift_right::<23>(s.sub_i32(bits, sqrt_half));
    let f = s.sub(s.with_bits(s.sub_i32(bits, s.shift_left::<23>(e))), s.splat(1.0));
    let e = s.add(s.to_f32(e), s.select(is_small, s.splat(-23.0), s.splat(0.0)));

    let p = polynomial(
        s,
        f,
        [
            0.333_333_3,
            -0.250_008_2,
            0.200_012_27,
            -0.166_233_57,
            0.142_017_57,
            -0.131_601_83,
            0.127_615_78,
            -0.076_344_98,
        ],
    );
    let square = s.mul(f, f);
    let low = s.mul_add(s.mul(square, f), p, s.mul(e, s.splat(LN_2_LOW)));
    let ln_1p = s.add(f, s.neg_mul_add(s.splat(0.5), square, low));
    let result = s.mul_add(e, s.splat(LN_2_HIGH), ln_1p);

    let result = s.select(s.lt(x, s.splat(f32::INFINITY)), result, x);
    let result = s.select(s.eq(x, s.splat(0.0)), s.splat(f32::NEG_INFINITY), result);
    s.select(s.lt(x, s.splat(0.0)), s.splat(f32::NAN), result)
}

/// `ln(1 + x)` for `0 ≤ x ≤ 1`, within 3 ULP.
#[inline(always)]
fn log_1p_unit<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    let sum = s.add(one, x);
    let lost = s.sub(x, s.sub(sum, one));
    s.add(log(s, sum), s.div(lost, sum))
}

/// `tanh x`, within 3 ULP.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // tanh a = e / (e + 2) with e = e^(2a) - 1 keeps its digits near 0 and is 1 from a = 9.1 on.
    let a = s.min(s.splat(10.0), s.abs(x));
    let (n, r) = reduce_by_ln_2(s, s.add(a, a));
    let scale = power_of_2(s, s.to_i32(n));
    let e = s.mul_add(scale, expm1_reduced(s, r), s.sub(scale, s.splat(1.0)));
    s.copysign(s.div(e, s.add(e, s.splat(2.0))), x)
}

/// `1 / (1 + e^-x)`, within 3 ULP.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // e^-|x| cannot overflow, and it is the numerator where x < 0.
    let e = exp(s, s.neg(s.abs(x)));
    let one = s.splat(1.0);
    let numerator = s.select(s.lt(x, s.splat(0.0)), e, one);
    s.div(numerator, s.add(one, e))
}

/// `erf x`, within 3 ULP.
#[inline(always)]
pub fn erf<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let a = s.abs(x);
    let near = [
        std::f32::consts::FRAC_2_SQRT_PI,
        -0.376_126_26,
        0.112_835_854,
        -0.026_853_813,
        0.005_188_327_7,
        -8.010_194e-4,
        7.853_861e-5,
    ];
    let near = s.mul(a, polynomial(s, s.mul(a, a), near));
    // erf a = 1 - e^q(a), which is 1 from a = 4 on.
    let q = polynomial(
        s,
        s.min(s.splat(4.0), a),
        [-3.004_390_7e-4, -1.127_251_4, -0.637_883_2, -0.103_327_274, 0.021_940_395, -0.002_972_432_6, 1.888_226_3e-4],
    );
    let (n, r) = reduce_by_ln_2(s, q);
    let erfc = s.mul(exp_reduced(s, r), power_of_2(s, s.to_i32(n)));
    let far = s.sub(s.splat(1.0), erfc);
    s.copysign(s.select(s.lt(a, s.splat(1.0)), near, far), x)
}

/// `sin x`, within 2 ULP, or 1e-9 where that is more.
#[inline(always)]
pub fn sin<S: Simd>(s: S, x: S::F32) -> S::F32 {
    if s.any(s.le(s.splat(MAX_FAST_ANGLE), s.abs(x))) {
        return lane_by_lane(s, x, reference::sin);
    }
    let (quadrant, r) = reduce_by_half_pi(s, x);
    s.select(s.eq(x, s.splat(0.0)), x, sin_of_quadrant(s, quadrant, r))
}

/// `cos x`, within 2 ULP, or 1e-9 where that is more.
#[inline(always)]
pub fn cos<S: Simd>(s: S, x: S::F32) -> S::F32 {
    if s.any(s.le(s.splat(MAX_FAST_ANGLE), s.abs(x))) {
        return lane_by_lane(s, x, reference::cos);
    }
    let (quadrant, r) = reduce_by_half_pi(s, x);
    sin_of_quadrant(s, s.add_i32(quadrant, s.splat_i32(1)), r)
}

/// Beyond this the reduction by `π/2` in `f32` loses digits.
const MAX_FAST_ANGLE: f32 = 8192.0;

/// `x = n·π/2 + r` with `|r| ≤ π/4`. Returns `(n, r)`.
#[inline(always)]
fn reduce_by_half_pi<S: Simd>(s: S, x: S::F32) -> (S::I32, S::F32) {
    let n = s.round(s.mul(x, s.splat(std::f32::consts::FRAC_2_PI)));
    let r = s.neg_mul_add(n, s.splat(HALF_PI_HIGH), x);
    let r = s.neg_mul_add(n, s.splat(HALF_PI_MIDDLE), r);
    (s.to_i32(n), s.neg_mul_add(n, s.splat(HALF_PI_LOW), r))
}

/// `sin(quadrant·π/2 + r)` for `|r| ≤ π/4`.
#[inline(always)]
fn sin_of_quadrant<S: Simd>(s: S, quadrant: S::I32, r: S::F32) -> S::F32 {
    let square = s.mul(r, r);
    let p = polynomial(s, square, [-0.166_666_54, 0.008_332_137, -1.951_202_9e-4]);
    let sin = s.mul_add(s.mul(square, r), p, r);
    let p = polynomial(s, square, [0.041_666_646, -0.001_388_728_4, 2.442_944e-5]);
    let cos = s.mul_add(s.mul(square, square), p, s.neg_mul_add(s.splat(0.5), square, s.splat(1.0)));

    let parity = s.to_f32(s.and_i32(quadrant, s.splat_i32(1)));
    let value = s.select(s.eq(parity, s.splat(1.0)), cos, sin);
    let sign = s.shift_left::<30>(s.and_i32(quadrant, s.splat_i32(2)));
    s.with_bits(s.xor_i32(s.bits(value), sign))
}

/// `f` of each lane by itself: the slow way, for inputs out of the fast way's range.
#[inline(always)]
fn lane_by_lane<S: Simd>(s: S, x: S::F32, f: fn(f64) -> f64) -> S::F32 {
    let mut lanes = [0.0; crate::simd::MAX_LANES];
    s.store(&mut lanes, x);
    lanes = lanes.map(|x| f(f64::from(x)) as f32);
    s.load(&lanes)
}

/// `ln(1 + e^x)`, within 4 ULP.
#[inline(always)]
pub fn softplus<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let e = exp(s, s.neg(s.abs(x)));
    s.add(s.max(s.splat(0.0), x), log_1p_unit(s, e))
}

/// `x · sigmoid(x)`, within 4 ULP, or 2e-43 where that is more.
#[inline(always)]
pub fn silu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.mul(x, sigmoid(s, x))
}

/// `x/2 · (1 + erf(x/√2))`, within 2e-7·|x|.
#[inline(always)]
pub fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // The normal distribution below -a is e^q(a), where q is fitted to its logarithm by least greatest error of the whole;
    // from 6 on it is less than 1e-9.
    const LAST: f32 = 6.0;
    let a = s.abs(x);
    let q = polynomial(
        s,
        s.min(s.splat(LAST), a),
        [
            -std::f32::consts::LN_2,
            -0.797_889_3,
            -0.318_260_7,
            -0.036_522_694,
            0.005_121_853,
            -2.919_782_8e-4,
            -3.736_326e-5,
            5.871_073e-6,
        ],
    );
    let (n, r) = reduce_by_ln_2(s, q);
    let below = s.mul(exp_reduced(s, r), power_of_2(s, s.to_i32(n)));
    let below = s.select(s.lt(a, s.splat(LAST)), below, s.splat(0.0));
    let is_negative = s.lt(x, s.splat(0.0));
    s.mul(x, s.select(is_negative, below, s.sub(s.splat(1.0), below)))
}

/// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`, within 2e-7·|x|.
#[inline(always)]
pub fn gelu_tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // (1 + tanh u) / 2 = sigmoid(2u)
    let scale = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2;
    let square = s.mul(x, x);
    let u = s.mul(x, s.mul_add(s.splat(scale * 0.044_715), square, s.splat(scale)));
    s.mul(x, sigmoid(s, u))
}

/// `x · tanh(softplus(x))`, within 5 ULP, or 2e-43 where that is more.
#[inline(always)]
pub fn mish<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // tanh(ln(1 + e)) = q / (q + 2) with q = e·(e + 2), which is 1 from x = 20 on.
    let e = exp(s, s.min(s.splat(20.0), x));
    let two = s.splat(2.0);
    let q = s.mul(e, s.add(e, two));
    s.mul(x, s.div(q, s.add(q, two)))
}

#[cfg(test)]
mod tests;
