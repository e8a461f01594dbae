//! Operators that compute each element by itself, or from the corresponding elements of several inputs.

use super::array::{Array, broadcast_dims, from_ints, int_bits, ints, range, real, reals};
use super::draw::Draw;
use super::{Case, Expected, Property, case, opt_case, property};
use planish_ir::{Attributes, BOOL, FLOAT8, FLOATS, INDICES, INTEGERS, NUMERIC, SIGNED, STRING, Types, UNSIGNED};
use planish_tensor::{DType, Tensor};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

pub fn properties() -> Vec<Property> {
    [functions(), activations(), on_integers(), classes(), arithmetic(), comparisons(), logic(), others()]
        .into_iter()
        .flatten()
        .collect()
}

/// Functions of real numbers wherever they are defined, as `f64` has them.
fn functions() -> Vec<Property> {
    const FUNCTIONS: [(&str, fn(f64) -> f64); 21] = [
        ("Acos", f64::acos),
        ("Acosh", f64::acosh),
        ("Asin", f64::asin),
        ("Asinh", f64::asinh),
        ("Atan", f64::atan),
        ("Atanh", f64::atanh),
        ("Ceil", f64::ceil),
        ("Cos", f64::cos),
        ("Cosh", f64::cosh),
        ("Erf", libm::erf),
        ("Exp", f64::exp),
        ("Floor", f64::floor),
        ("Log", f64::ln),
        ("Reciprocal", f64::recip),
        ("Round", f64::round_ties_even),
        ("Sin", f64::sin),
        ("Sinh", f64::sinh),
        ("Sqrt", f64::sqrt),
        ("Tan", f64::tan),
        ("Tanh", f64::tanh),
        ("Sigmoid", sigmoid),
    ];
    let each = |(name, f): (&'static str, fn(f64) -> f64)| {
        property(name, move |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.dims(0..=3, 5));
            let x = draw.wild(dtype, &dims);
            let y = reals(&x).map(f);
            case(Attributes::new(), [x], Expected::numbers(dtype, y))
        })
    };
    FUNCTIONS.into_iter().map(each).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A function with parameters, which are attributes that may be left out.
struct Activation {
    name: &'static str,
    /// Names and defaults.
    parameters: &'static [(&'static str, f32)],
    f: fn(f64, &[f64]) -> f64,
}

fn activations() -> Vec<Property> {
    const ACTIVATIONS: [Activation; 12] = [
        Activation {
            name: "Celu",
            parameters: &[("alpha", 1.0)],
            f: |x, p| x.max(0.0) + (p[0] * ((x / p[0]).exp_m1())).min(0.0),
        },
        Activation {
            name: "Elu",
            parameters: &[("alpha", 1.0)],
            f: |x, p| if x < 0.0 { p[0] * x.exp_m1() } else { x },
        },
        Activation {
            name: "HardSigmoid",
            parameters: &[("alpha", 0.2), ("beta", 0.5)],
            f: |x, p| (p[0] * x + p[1]).clamp(0.0, 1.0),
        },
        Activation { name: "HardSwish", parameters: &[], f: |x, _| x * (x / 6.0 + 0.5).clamp(0.0, 1.0) },
        Activation { name: "LeakyRelu", parameters: &[("alpha", 0.01)], f: |x, p| if x < 0.0 { p[0] * x } else { x } },
        Activation { name: "Mish", parameters: &[], f: |x, _| x * softplus(x).tanh() },
        Activation {
            name: "Selu",
            parameters: &[("alpha", 1.673_263_2), ("gamma", 1.050_701)],
            f: |x, p| p[1] * if x > 0.0 { x } else { p[0] * x.exp_m1() },
        },
        Activation { name: "Softplus", parameters: &[], f: |x, _| softplus(x) },
        Activation { name: "Softsign", parameters: &[], f: |x, _| x / (1.0 + x.abs()) },
        Activation { name: "Swish", parameters: &[("alpha", 1.0)], f: |x, p| x * sigmoid(p[0] * x) },
        Activation { name: "ThresholdedRelu", parameters: &[("alpha", 1.0)], f: |x, p| if x > p[0] { x } else { 0.0 } },
        Activation {
            name: "Shrink",
            parameters: &[("lambd", 0.5), ("bias", 0.0)],
            f: |x, p| {
                if x < -p[0] {
                    x + p[1]
                } else if x > p[0] {
                    x - p[1]
                } else {
                    0.0
                }
            },
        },
    ];
    let each = |Activation { name, parameters, f }| {
        property(name, move |draw| {
            let types = if name == "Shrink" { FLOATS.without(Types::of(&[DType::BF16])) } else { FLOATS };
            let (dtype, dims) = (draw.dtype(types), draw.dims(0..=3, 5));
            let (attributes, values) = parameters_of(draw, parameters);
            let x = finite(draw, dtype, &dims);
            let y = reals(&x).map(|x| f(x, &values));
            case(attributes, [x], Expected::absolute(dtype, y, 4.0))
        })
    };
    let mut all: Vec<Property> = ACTIVATIONS.into_iter().map(each).collect();
    all.push(property("Gelu", |draw| {
        let (dtype, dims) = (draw.dtype(FLOATS), draw.dims(0..=3, 5));
        let x = finite(draw, dtype, &dims);
        let (approximate, f): (&str, fn(f64) -> f64) = draw.pick(&[
            ("none", |x| x * 0.5 * libm::erfc(-x * FRAC_1_SQRT_2)),
            ("tanh", |x| x * sigmoid(2.0 * (2.0 / PI).sqrt() * (x + 0.044_715 * x * x * x))),
        ]);
        let y = reals(&x).map(f);
        case(Attributes::new().with("approximate", approximate), [x], Expected::absolute(dtype, y, 4.0))
    }));
    all.extend(microsoft_gelus());
    all
}

/// ONNX Runtime's forms of Gelu, and those that add a bias of the last axis first.
fn microsoft_gelus() -> [Property; 3] {
    let biased = |draw: &mut Draw<'_>, has_bias: bool, f: fn(f64) -> f64| {
        let (dtype, dims) = (draw.dtype(FLOATS), draw.dims(1..=3, 5));
        let x = finite(draw, dtype, &dims);
        let bias = has_bias.then(|| finite(draw, dtype, &dims[dims.len() - 1..]));
        let values = reals(&x);
        let y = Array::from_fn(&dims, |i| {
            f(real(dtype, values.at(i) + bias.as_ref().map_or(0.0, |bias| reals(bias).broadcast(i))))
        });
        opt_case(Attributes::new(), [Some(x), bias], [Expected::absolute(dtype, y, 4.0)])
    };
    let tanh: fn(f64) -> f64 = |x| x * sigmoid(2.0 * (2.0 / PI).sqrt() * (x + 0.044_715 * x * x * x));
    [
        property("BiasGelu", move |draw| biased(draw, true, |x| x * 0.5 * libm::erfc(-x * FRAC_1_SQRT_2))),
        property("FastGelu", move |draw| {
            let has_bias = draw.flag();
            biased(draw, has_bias, tanh)
        }),
        property("QuickGelu", |draw| {
            let (dtype, dims, alpha) = (draw.dtype(FLOATS), draw.dims(0..=3, 5), draw.pick(&[1.702f32, 1.0, -0.5]));
            let x = finite(draw, dtype, &dims);
            let y = reals(&x).map(|x| x * sigmoid(f64::from(alpha) * x));
            case(Attributes::new().with("alpha", alpha), [x], Expected::absolute(dtype, y, 4.0))
        }),
    ]
    .map(|property| property.domain("com.microsoft"))
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Some of the parameters as attributes, and the values of all.
fn parameters_of(draw: &mut Draw<'_>, parameters: &[(&str, f32)]) -> (Attributes, Vec<f64>) {
    let mut attributes = Attributes::new();
    let values = parameters.iter().map(|&(name, default)| {
        let value = if draw.flag() { 0.25 * draw.int(1..=8) as f32 } else { default };
        if value != default {
            attributes.set(name, value);
        }
        f64::from(value)
    });
    let values = values.collect();
    (attributes, values)
}

/// Numbers near 0 or of all magnitudes that `dtype` has.
fn finite(draw: &mut Draw<'_>, dtype: DType, dims: &[usize]) -> Tensor {
    let reach = draw.pick(&[4.0, 20.0, 1000.0]);
    draw.between(dtype, dims, -reach, reach)
}

fn on_integers() -> Vec<Property> {
    let each = |name: &'static str, types: Types, f: fn(i128) -> i128, real: fn(f64) -> f64| {
        property(name, move |draw| {
            let (dtype, dims) = (draw.dtype(types), draw.dims(0..=3, 5));
            let x = draw.wild(dtype, &dims);
            let y = match dtype.is_float() {
                true => Expected::numbers(dtype, reals(&x).map(real)),
                false => Expected::Exactly(from_ints(dtype, &ints(&x).map(f)).into()),
            };
            case(Attributes::new(), [x], y)
        })
    };
    let sign = |x: f64| if x == 0.0 || x.is_nan() { x } else { x.signum() };
    vec![
        each("Abs", NUMERIC, i128::abs, f64::abs),
        each("Neg", FLOATS.or(SIGNED), |x| -x, |x| -x),
        each("Relu", FLOATS.or(SIGNED), |x| x.max(0), |x| if x < 0.0 { 0.0 } else { x }),
        each("Sign", NUMERIC, i128::signum, sign),
        each("BitwiseNot", INTEGERS, |x| !x, f64::abs),
        property("Clip", |draw| {
            let (dtype, dims) = (draw.dtype(NUMERIC), draw.dims(0..=3, 5));
            let x = draw.wild(dtype, &dims);
            let (low, high) = (draw.flag().then(|| bound(draw, dtype)), draw.flag().then(|| bound(draw, dtype)));
            let clip = |x: f64| {
                let x = low.as_ref().map_or(x, |low| if x < reals(low).data[0] { reals(low).data[0] } else { x });
                high.as_ref().map_or(x, |high| if x > reals(high).data[0] { reals(high).data[0] } else { x })
            };
            let clip_int = |x: i128| {
                let x = low.as_ref().map_or(x, |low| x.max(ints(low).data[0]));
                high.as_ref().map_or(x, |high| x.min(ints(high).data[0]))
            };
            let y = match dtype.is_float() {
                true => Expected::numbers(dtype, reals(&x).map(clip)),
                false => Expected::Exactly(from_ints(dtype, &ints(&x).map(clip_int)).into()),
            };
            opt_case(Attributes::new(), [Some(x), low, high], [y])
        }),
    ]
}

fn bound(draw: &mut Draw<'_>, dtype: DType) -> Tensor {
    draw.integers(dtype, &[], if range(dtype).0 < 0 || dtype.is_float() { -3..=5 } else { 0..=5 })
}

fn classes() -> Vec<Property> {
    let types = FLOATS.or(FLOAT8);
    let special = move |draw: &mut Draw<'_>| {
        let (dtype, dims) = (draw.dtype(types), draw.dims(0..=3, 5));
        if FLOAT8.contains(dtype) { draw.any(dtype, &dims) } else { draw.wild(dtype, &dims) }
    };
    let flags = |flags: Array<bool>| Expected::Exactly(from_ints(DType::Bool, &flags.map(i128::from)).into());
    vec![
        property("IsNaN", move |draw| {
            let x = special(draw);
            let y = reals(&x).map(f64::is_nan);
            case(Attributes::new(), [x], flags(y))
        }),
        property("IsInf", move |draw| {
            let x = special(draw);
            let (negative, positive) = (draw.flag(), draw.flag());
            let attributes = Attributes::new()
                .with("detect_negative", i64::from(negative))
                .with("detect_positive", i64::from(positive));
            let y = reals(&x).map(|x| x.is_infinite() && if x < 0.0 { negative } else { positive });
            case(attributes, [x], flags(y))
        }),
    ]
}

/// Tensors of shapes that broadcast, and the shape that they broadcast to.
fn operands(
    draw: &mut Draw<'_>,
    count: usize,
    mut tensor: impl FnMut(&mut Draw<'_>, &[usize]) -> Tensor,
) -> (Vec<Tensor>, Vec<usize>) {
    let dims = draw.dims(0..=3, 4);
    let tensors: Vec<Tensor> = (0..count)
        .map(|_| {
            let own = draw.narrower(&dims);
            tensor(draw, &own)
        })
        .collect();
    let shapes: Vec<&[usize]> = tensors.iter().map(|t| t.shape().dims()).collect();
    let dims = broadcast_dims(&shapes);
    (tensors, dims)
}

/// `f` of corresponding elements.
fn zip<T: Clone, U: Clone>(arrays: &[Array<T>], dims: &[usize], f: impl Fn(Vec<T>) -> U) -> Array<U> {
    Array::from_fn(dims, |index| f(arrays.iter().map(|a| a.broadcast(index)).collect()))
}

/// What a function of two or more numbers is for integers and for floats. `None` where integers must be refused.
type OfInts = fn(DType, &[i128]) -> Option<i128>;

fn numeric(name: &'static str, types: Types, count: usize, of_ints: OfInts, of_reals: fn(&[f64]) -> f64) -> Property {
    property(name, move |draw| {
        let dtype = draw.dtype(types);
        let count = if count == 0 { draw.size(1..=4) } else { count };
        let (x, dims) = operands(draw, count, |draw, dims| draw.wild(dtype, dims));
        let y = if dtype.is_float() {
            let arrays: Vec<_> = x.iter().map(reals).collect();
            Expected::numbers(dtype, zip(&arrays, &dims, |x| of_reals(&x)))
        } else {
            integers(dtype, &x, &dims, |x| of_ints(dtype, x))
        };
        case(Attributes::new(), x, y)
    })
}

fn integers(dtype: DType, x: &[Tensor], dims: &[usize], f: impl Fn(&[i128]) -> Option<i128>) -> Expected {
    let arrays: Vec<_> = x.iter().map(ints).collect();
    let y = zip(&arrays, dims, |x| f(&x));
    match y.data.contains(&None) {
        true => Expected::Refused,
        false => Expected::cells(dtype, &y.map(|v| int_bits(dtype, v.unwrap_or(0)))),
    }
}

/// The smaller or greater, or NaN if either is.
fn extreme(x: &[f64], f: fn(f64, f64) -> f64) -> f64 {
    x.iter().copied().reduce(|a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { f(a, b) }).unwrap_or(f64::NAN)
}

fn arithmetic() -> Vec<Property> {
    vec![
        numeric("Add", NUMERIC, 2, |_, x| Some(x[0] + x[1]), |x| x[0] + x[1]),
        numeric("Sub", NUMERIC, 2, |_, x| Some(x[0] - x[1]), |x| x[0] - x[1]),
        numeric("Mul", NUMERIC, 2, |_, x| Some(x[0].wrapping_mul(x[1])), |x| x[0] * x[1]),
        numeric("Max", NUMERIC, 0, |_, x| x.iter().max().copied(), |x| extreme(x, f64::max)),
        numeric("Min", NUMERIC, 0, |_, x| x.iter().min().copied(), |x| extreme(x, f64::min)),
        property("Div", |draw| {
            let (dtype, x, dims) = division(draw);
            let y = match dtype.is_float() {
                true => Expected::numbers(dtype, zip(&[reals(&x[0]), reals(&x[1])], &dims, |x| x[0] / x[1])),
                false => integers(dtype, &x, &dims, |x| x[0].checked_div(x[1])),
            };
            case(Attributes::new(), x, y)
        }),
        property("Mod", |draw| {
            let (dtype, x, dims) = division(draw);
            let fmod = draw.int(0..=1);
            let floor =
                |a: i128, b: i128| a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r });
            let y = match dtype.is_float() {
                true => remainders(dtype, zip(&[reals(&x[0]), reals(&x[1])], &dims, |x| x), fmod == 1),
                false => {
                    integers(dtype, &x, &dims, |x| if fmod == 1 { x[0].checked_rem(x[1]) } else { floor(x[0], x[1]) })
                }
            };
            case(Attributes::new().with("fmod", fmod), x, y)
        }),
        property("Sum", |draw| floats(draw, |x| x.iter().sum())),
        property("Mean", |draw| floats(draw, |x| x.iter().sum::<f64>() / x.len() as f64)),
        property("Pow", power),
        property("PRelu", |draw| {
            let types = FLOATS.or(INDICES).or(Types::of(&[DType::U32, DType::U64]));
            let (dtype, dims) = (draw.dtype(types), draw.dims(0..=3, 4));
            let own = draw.narrower(&dims);
            let x = [draw.wild(dtype, &dims), draw.wild(dtype, &own)];
            let y = if dtype.is_float() {
                let arrays = [reals(&x[0]), reals(&x[1])];
                Expected::numbers(dtype, zip(&arrays, &dims, |x| if x[0] < 0.0 { x[0] * x[1] } else { x[0] }))
            } else {
                integers(dtype, &x, &dims, |x| Some(if x[0] < 0 { x[0].wrapping_mul(x[1]) } else { x[0] }))
            };
            case(Attributes::new(), x, y)
        }),
        property("SwiGLU", |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.dims(0..=3, 5));
            let (attributes, p) = parameters_of(draw, &[("alpha", 1.0)]);
            let x = [finite(draw, dtype, &dims), draw.numbers(dtype, &dims)];
            let y = zip(&[reals(&x[0]), reals(&x[1])], &dims, |x| x[0] * sigmoid(p[0] * x[0]) * x[1]);
            case(attributes, x, Expected::absolute(dtype, y, 8.0))
        }),
    ]
}

/// A variadic operator of floats.
fn floats(draw: &mut Draw<'_>, f: fn(&[f64]) -> f64) -> Case {
    let (dtype, count) = (draw.dtype(FLOATS), draw.size(1..=4));
    let (x, dims) = operands(draw, count, |draw, dims| draw.numbers(dtype, dims));
    let arrays: Vec<_> = x.iter().map(reals).collect();
    let y = zip(&arrays, &dims, |x| f(&x));
    case(Attributes::new(), x, Expected::within(dtype, y, count as f64))
}

/// Dividends and divisors; integer divisors are seldom 0.
fn division(draw: &mut Draw<'_>) -> (DType, Vec<Tensor>, Vec<usize>) {
    let dtype = draw.dtype(NUMERIC);
    let (x, dims) = operands(draw, 2, |draw, dims| match dtype.is_float() || draw.rarely(4) {
        true => draw.wild(dtype, dims),
        false => from_ints(dtype, &ints(&draw.wild(dtype, dims)).map(|v| if v == 0 { 3 } else { v })),
    });
    (dtype, x, dims)
}

/// What divisions leave: exactly for truncated quotients, within a rounding of the divisor for those rounded down.
fn remainders(dtype: DType, x: Array<Vec<f64>>, truncates: bool) -> Expected {
    Expected::Such(Box::new(move |got| {
        let got = reals(got.as_tensor().ok_or("not a tensor")?);
        for (x, got) in x.data.iter().zip(got.data) {
            let (a, b, truncated) = (x[0], x[1], x[0] % x[1]);
            let is_right = match truncated {
                rest if truncates || rest.is_nan() => got == rest || (got.is_nan() && rest.is_nan()),
                0.0 => got == 0.0 && got.is_sign_negative() == b.is_sign_negative(),
                rest if (rest < 0.0) == (b < 0.0) => got == rest,
                rest => got == real(dtype, rest + b),
            };
            if !is_right {
                return Err(format!("{a} divided by {b} leaves {truncated} or that and the divisor, not {got}"));
            }
        }
        Ok(())
    }))
}

fn power(draw: &mut Draw<'_>) -> Case {
    let (dtype, exponents) = (draw.dtype(FLOATS.or(INDICES)), draw.dtype(NUMERIC));
    let mut first = true;
    let (x, dims) = operands(draw, 2, |draw, dims| {
        let low = if range(exponents).0 < 0 || exponents.is_float() { -3 } else { 0 };
        match std::mem::take(&mut first) {
            true if dtype.is_float() => draw.between(dtype, dims, 0.25, 4.0),
            true => draw.integers(dtype, dims, -5..=5),
            false if exponents.is_float() && dtype.is_float() => draw.numbers(exponents, dims),
            false => draw.integers(exponents, dims, low..=4),
        }
    });
    if dtype.is_float() {
        let y = zip(&[reals(&x[0]), reals(&x[1])], &dims, |x| x[0].powf(x[1]));
        return case(Attributes::new(), x, Expected::numbers(dtype, y));
    }
    let exponent = from_ints(DType::I64, &reals(&x[1]).map(|v| v as i128));
    let y = integers(dtype, &[x[0].clone(), exponent], &dims, |x| match (x[0], x[1]) {
        (base, power @ 0..) => Some(base.pow(power as u32)),
        (0, _) => None,
        (base @ (1 | -1), power) => Some(if power % 2 == 0 { 1 } else { base }),
        _ => Some(0),
    });
    let is_undefined = exponents.is_float() && matches!(y, Expected::Refused);
    case(Attributes::new(), x, if is_undefined { Expected::Anything } else { y })
}

fn comparisons() -> Vec<Property> {
    let each = |name: &'static str, types: Types, of_ints: fn(i128, i128) -> bool, of_reals: fn(f64, f64) -> bool| {
        property(name, move |draw| {
            let dtype = draw.dtype(types);
            let (x, dims) = operands(draw, 2, |draw, dims| match dtype {
                DType::String | DType::Bool => draw.any(dtype, dims),
                _ => draw.wild(dtype, dims),
            });
            let flag = |is: bool| int_bits(DType::Bool, is.into());
            let y = match dtype {
                DType::String => zip(&[super::cells(&x[0]), super::cells(&x[1])], &dims, |x| flag(x[0] == x[1])),
                _ if dtype.is_float() => zip(&[reals(&x[0]), reals(&x[1])], &dims, |x| flag(of_reals(x[0], x[1]))),
                _ => zip(&[ints(&x[0]), ints(&x[1])], &dims, |x| flag(of_ints(x[0], x[1]))),
            };
            case(Attributes::new(), x, Expected::cells(DType::Bool, &y))
        })
    };
    vec![
        each("Equal", NUMERIC.or(BOOL).or(STRING), |a, b| a == b, |a, b| a == b),
        each("Greater", NUMERIC, |a, b| a > b, |a, b| a > b),
        each("GreaterOrEqual", NUMERIC, |a, b| a >= b, |a, b| a >= b),
        each("Less", NUMERIC, |a, b| a < b, |a, b| a < b),
        each("LessOrEqual", NUMERIC, |a, b| a <= b, |a, b| a <= b),
    ]
}

fn logic() -> Vec<Property> {
    let each = |name: &'static str, types: Types, f: fn(i128, i128) -> i128| {
        property(name, move |draw| {
            let dtype = draw.dtype(types);
            let (x, dims) = operands(draw, 2, |draw, dims| draw.any(dtype, dims));
            let y = integers(dtype, &x, &dims, |x| Some(f(x[0], x[1])));
            case(Attributes::new(), x, y)
        })
    };
    vec![
        each("And", BOOL, |a, b| a & b),
        each("Or", BOOL, |a, b| a | b),
        each("Xor", BOOL, |a, b| a ^ b),
        each("BitwiseAnd", INTEGERS, |a, b| a & b),
        each("BitwiseOr", INTEGERS, |a, b| a | b),
        each("BitwiseXor", INTEGERS, |a, b| a ^ b),
        property("Not", |draw| {
            let dims = draw.dims(0..=3, 5);
            let x = draw.bools(&dims);
            let y = from_ints(DType::Bool, &ints(&x).map(|v| 1 - v));
            case(Attributes::new(), [x], Expected::Exactly(y.into()))
        }),
        property("BitShift", |draw| {
            let dtype = draw.dtype(INTEGERS);
            let is_left = draw.flag();
            let (x, dims) = operands(draw, 2, |draw, dims| match draw.flag() {
                true => draw.wild(dtype, dims),
                false => draw.integers(dtype, dims, if UNSIGNED.contains(dtype) { 0..=9 } else { -2..=9 }),
            });
            let y = integers(dtype, &x, &dims, |x| {
                let fits = (0..dtype.bits() as i128).contains(&x[1]);
                Some(match (is_left, fits) {
                    (true, true) => x[0] << x[1],
                    (false, true) => x[0] >> x[1],
                    (false, false) if x[0] < 0 => -1,
                    _ => 0,
                })
            });
            case(Attributes::new().with("direction", if is_left { "LEFT" } else { "RIGHT" }), x, y)
        }),
    ]
}

fn others() -> Vec<Property> {
    vec![
        property("Where", |draw| {
            let dtype = draw.dtype(planish_ir::CLASSIC_TENSORS);
            let mut first = true;
            let (x, dims) = operands(draw, 3, |draw, dims| match std::mem::take(&mut first) {
                true => draw.bools(dims),
                false => draw.any(dtype, dims),
            });
            let condition = ints(&x[0]);
            let values = [super::cells(&x[1]), super::cells(&x[2])];
            let y = Array::from_fn(&dims, |index| values[1 - condition.broadcast(index) as usize].broadcast(index));
            case(Attributes::new(), x, Expected::cells(dtype, &y))
        }),
        property("Dropout", |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.dims(0..=3, 5));
            let x = draw.numbers(dtype, &dims);
            let ratio = draw.pick(&[0.5, 0.0, 0.9]);
            let training = draw.flag();
            let inputs = [
                Some(x.clone()),
                draw.flag().then(|| Tensor::scalar(ratio as f32)),
                (training || draw.flag()).then(|| Tensor::scalar(training)),
            ];
            let ratio = if inputs[1].is_some() { ratio } else { 0.5 };
            if !training || ratio == 0.0 {
                let kept = Array::from_fn(&dims, |_| int_bits(DType::Bool, 1));
                let expected = [Expected::Exactly(x.into()), Expected::cells(DType::Bool, &kept)];
                return opt_case(Attributes::new(), inputs, expected);
            }
            let factor = 1.0 / (1.0 - f64::from(ratio as f32));
            let is_kept_or_zero = Expected::Such(Box::new(move |got| {
                let (x, y) = (reals(&x), reals(got.as_tensor().ok_or("not a tensor")?));
                let is_one = |(&x, &y): (&f64, &f64)| y == 0.0 || (y - x * factor).abs() <= 2e-2 * x.abs() * factor;
                if x.data.iter().zip(&y.data).all(is_one) {
                    Ok(())
                } else {
                    Err(format!("{:?} of {:?}", y.data, x.data))
                }
            }));
            let any = Expected::Such(Box::new(|_| Ok(())));
            opt_case(Attributes::new().with("seed", draw.int(0..=9)), inputs, [is_kept_or_zero, any])
        }),
    ]
}

#[test]
fn elementwise_operators_are_as_defined() {
    super::check_all(properties());
}
