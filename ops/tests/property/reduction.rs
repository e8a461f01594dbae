//! Operators that make one element out of many along some axes: reductions, cumulations, norms, softmax, losses.

use super::array::{Array, from_ints, indices, int_bits, ints, real, reals};
use super::draw::{Draw, index_tensor, vector};
use super::{Case, Expected, Property, case, opt_case, property};
use planish_ir::{Attributes, BOOL, FLOATS, INDICES, NUMERIC, Types};
use planish_tensor::{DType, Tensor};

/// What the arithmetic reductions take.
const SUMMABLE: Types = FLOATS.or(INDICES).or(Types::of(&[DType::U32, DType::U64]));

pub fn properties() -> Vec<Property> {
    [reductions(), arguments(), cumulations(), normalizations(), softmaxes(), losses()].into_iter().flatten().collect()
}

/// The indices of `dims` grouped by what is left of them without `axes`.
fn groups(dims: &[usize], axes: &[usize], keepdims: bool) -> (Vec<usize>, Vec<Vec<Vec<usize>>>) {
    let kept: Vec<usize> = (0..dims.len()).map(|i| if axes.contains(&i) { 1 } else { dims[i] }).collect();
    let reduced: Vec<usize> = (0..dims.len()).map(|i| if axes.contains(&i) { dims[i] } else { 1 }).collect();
    let group = |at: Vec<usize>| {
        let add = |by: Vec<usize>| at.iter().zip(by).map(|(a, b)| a + b).collect();
        indices(&reduced).into_iter().map(add).collect()
    };
    let groups = indices(&kept).into_iter().map(group).collect();
    let is_left = |i: &usize| keepdims || !axes.contains(i);
    ((0..dims.len()).filter(is_left).map(|i| kept[i]).collect(), groups)
}

/// The groups of an array.
fn grouped<T: Clone>(x: &Array<T>, axes: &[usize], keepdims: bool) -> Array<Vec<T>> {
    let (dims, groups) = groups(&x.dims, axes, keepdims);
    let data = groups.iter().map(|group| group.iter().map(|i| x.at(i)).collect()).collect();
    Array { dims, data }
}

type OfReals = fn(&[f64]) -> f64;
type OfInts = fn(&[i128], DType) -> Option<i128>;

fn reductions() -> Vec<Property> {
    let extremes = NUMERIC.or(BOOL).without(Types::of(&[DType::U16, DType::I16]));
    let log_sum_exp: OfReals = |x| {
        let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max.is_infinite() { max } else { max + x.iter().map(|v| (v - max).exp()).sum::<f64>().ln() }
    };
    let list: [(&'static str, Types, OfReals, OfInts); 10] = [
        ("ReduceSum", SUMMABLE, |x| x.iter().sum(), |x, _| Some(x.iter().sum())),
        ("ReduceMean", SUMMABLE, |x| x.iter().sum::<f64>() / x.len() as f64, |_, _| None),
        ("ReduceProd", SUMMABLE, |x| x.iter().product(), |x, _| Some(x.iter().fold(1i128, |a, b| a.wrapping_mul(*b)))),
        (
            "ReduceMax",
            extremes,
            |x| x.iter().copied().fold(f64::NEG_INFINITY, nan_max),
            |x, d| Some(x.iter().copied().fold(super::array::range(d).0, i128::max)),
        ),
        (
            "ReduceMin",
            extremes,
            |x| -x.iter().map(|v| -v).fold(f64::NEG_INFINITY, nan_max),
            |x, d| Some(x.iter().copied().fold(super::array::range(d).1, i128::min)),
        ),
        ("ReduceL1", SUMMABLE, |x| x.iter().map(|v| v.abs()).sum(), |x, _| Some(x.iter().map(|v| v.abs()).sum())),
        ("ReduceL2", SUMMABLE, |x| x.iter().map(|v| v * v).sum::<f64>().sqrt(), |_, _| None),
        ("ReduceSumSquare", SUMMABLE, |x| x.iter().map(|v| v * v).sum(), |x, _| Some(x.iter().map(|v| v * v).sum())),
        ("ReduceLogSum", FLOATS, |x| x.iter().sum::<f64>().ln(), |_, _| None),
        ("ReduceLogSumExp", FLOATS, log_sum_exp, |_, _| None),
    ];
    let each = |(name, types, of_reals, of_ints): (&'static str, Types, OfReals, OfInts)| {
        property(name, move |draw| reduction(draw, name, types, of_reals, of_ints))
    };
    list.into_iter().map(each).collect()
}

/// The greater, or NaN if either is.
fn nan_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn reduction(draw: &mut Draw<'_>, name: &str, types: Types, of_reals: OfReals, of_ints: OfInts) -> Case {
    let (dtype, dims) = (draw.dtype(types), draw.dims(0..=4, 5));
    let is_extreme = matches!(name, "ReduceMax" | "ReduceMin");
    let x = match dtype {
        DType::Bool => draw.bools(&dims),
        _ if is_extreme => draw.wild(dtype, &dims),
        _ if name == "ReduceLogSum" => draw.between(dtype, &dims, 0.5, 2.0),
        _ if dtype.is_float() => draw.numbers(dtype, &dims),
        _ => draw.integers(dtype, &dims, if super::array::range(dtype).0 < 0 { -9..=9 } else { 0..=9 }),
    };
    let (axes, written) = draw.axes(dims.len());
    let (given, keepdims, noop) = (draw.flag(), draw.flag(), draw.flag());
    let is_empty = !given || axes.is_empty();
    let all: Vec<usize> = (0..dims.len()).collect();
    let attributes =
        Attributes::new().with("keepdims", i64::from(keepdims)).with("noop_with_empty_axes", i64::from(noop));
    let inputs = [Some(x.clone()), given.then(|| vector(&written))];
    // Without axes, nothing is reduced; what is done to each element is done all the same.
    let axes = if is_empty && noop {
        vec![]
    } else if is_empty {
        all
    } else {
        axes
    };
    let keepdims = keepdims || (is_empty && noop);
    let count = axes.iter().map(|&a| dims[a]).product::<usize>();
    let reals = grouped(&reals(&x), &axes, keepdims).map(|x| of_reals(&x));
    let expected = if dtype.is_float() {
        let is_undefined = count == 0 && is_extreme && !reals.data.is_empty() && dtype != DType::F32;
        match is_undefined {
            true => Expected::Anything,
            false => Expected::within(dtype, reals, if is_extreme { 0.0 } else { count.max(4) as f64 / 2.0 }),
        }
    } else {
        let exact = grouped(&ints(&x), &axes, keepdims).map(|x| of_ints(&x, dtype));
        match exact.data.contains(&None) {
            // An integer mean or root rounds towards zero.
            true if count == 0 && name == "ReduceMean" => Expected::Anything,
            true => Expected::Exactly(from_ints(dtype, &reals.map(|v| v.trunc() as i128)).into()),
            false => Expected::Exactly(from_ints(dtype, &exact.map(Option::unwrap_or_default)).into()),
        }
    };
    opt_case(attributes, inputs, [expected])
}

fn arguments() -> Vec<Property> {
    let each = |name: &'static str, is_max: bool| {
        property(name, move |draw| {
            let (dtype, dims) = (draw.dtype(NUMERIC), draw.dims(1..=3, 5));
            let (axis, written) = draw.axis(dims.len());
            let (keepdims, last) = (draw.flag(), draw.flag());
            let wild = draw.flag();
            let x = if wild { draw.wild(dtype, &dims) } else { draw.integers(dtype, &dims, 0..=3) };
            let attributes = Attributes::new()
                .with("axis", written)
                .with("keepdims", i64::from(keepdims))
                .with("select_last_index", i64::from(last));
            if dims[axis] == 0 && dims.iter().enumerate().all(|(i, &d)| i == axis || d > 0) {
                return case(attributes, [x], Expected::Refused);
            }
            // The first NaN is both the greatest and the least, as in numpy; `select_last_index` is of the last.
            let beats = move |a: (f64, i128), b: (f64, i128)| match (a.0.is_nan(), b.0.is_nan()) {
                (true, true) => last,
                (true, false) => true,
                (false, true) => false,
                _ if a.1 == b.1 => last,
                _ => (a.1 > b.1) == is_max,
            };
            let exact = |x: &Tensor| match dtype.is_float() {
                // The order of floats as integers, −0 being 0.
                true => reals(x).map(|v| (v, order(v))),
                false => ints(x).map(|v| (0.0, v)),
            };
            let y = grouped(&exact(&x), &[axis], keepdims).map(|x| {
                let best = (1..x.len()).fold(0, |best, i| if beats(x[i], x[best]) { i } else { best });
                int_bits(DType::I64, best as i128)
            });
            case(attributes, [x], Expected::cells(DType::I64, &y))
        })
    };
    vec![each("ArgMax", true), each("ArgMin", false)]
}

/// Integers in the order of floats, NaN left aside.
pub fn order(v: f64) -> i128 {
    let bits = v.abs().to_bits() as i128;
    if v < 0.0 { -bits } else { bits }
}

fn cumulations() -> Vec<Property> {
    let each = |name: &'static str, neutral: f64, f: fn(f64, f64) -> f64| {
        property(name, move |draw| {
            let (dtype, dims) = (draw.dtype(SUMMABLE), draw.dims(1..=3, 5));
            let (axis, written) = draw.axis(dims.len());
            let (exclusive, reverse) = (draw.flag(), draw.flag());
            let x = match dtype.is_float() {
                true => draw.numbers(dtype, &dims),
                false => draw.integers(dtype, &dims, if super::array::range(dtype).0 < 0 { -5..=5 } else { 0..=5 }),
            };
            let values = reals(&x);
            let y = Array::from_fn(&dims, |index| {
                let counted = (0..dims[axis]).filter(|&i| {
                    let is_before = if reverse { i > index[axis] } else { i < index[axis] };
                    is_before || (!exclusive && i == index[axis])
                });
                counted.fold(neutral, |sum, i| {
                    let mut at = index.to_vec();
                    at[axis] = i;
                    f(sum, values.at(&at))
                })
            });
            let attributes =
                Attributes::new().with("exclusive", i64::from(exclusive)).with("reverse", i64::from(reverse));
            let index = draw.dtype(INDICES);
            let dims: &[usize] = if draw.flag() { &[] } else { &[1] };
            let axis = index_tensor(index, dims, &[written]);
            let expected = match dtype.is_float() {
                true => Expected::within(dtype, y, 4.0),
                false => Expected::Exactly(from_ints(dtype, &y.map(|v| v as i128)).into()),
            };
            case(attributes, [x, axis], expected)
        })
    };
    vec![each("CumSum", 0.0, |a, b| a + b), each("CumProd", 1.0, |a, b| a * b)]
}

/// The sum of two tensors and a bias, normalized along the last axis; `is_centred` where the mean is subtracted.
fn skip_norm(draw: &mut Draw<'_>, is_centred: bool) -> Case {
    let (dtype, dims) = (draw.dtype(FLOATS), draw.full_dims(3..=3, 5));
    let epsilon = draw.pick(&EPSILONS);
    let (input, skip) = (draw.numbers(dtype, &dims), draw.numbers(dtype, &dims));
    let gamma = draw.numbers(dtype, &dims[2..]);
    let beta = (is_centred && draw.flag()).then(|| draw.numbers(dtype, &dims[2..]));
    let bias = draw.flag().then(|| draw.numbers(dtype, &dims[2..]));
    let of = |x: &Option<Tensor>, i: &[usize]| x.as_ref().map_or(0.0, |x| reals(x).broadcast(i));
    let (a, b) = (reals(&input), reals(&skip));
    let sum = Array::from_fn(&dims, |i| real(dtype, real(dtype, a.at(i) + b.at(i)) + of(&bias, i)));
    let normal = normalized(&sum, &[2], |x| match is_centred {
        true => standard(x, epsilon),
        false => (0.0, 1.0 / (x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64 + f64::from(epsilon)).sqrt()),
    });
    let gammas = reals(&gamma);
    let y = Array::from_fn(&dims, |i| {
        let normal = if dtype == DType::F64 { normal.at(i) } else { real(dtype, normal.at(i)) };
        normal * gammas.broadcast(i) + of(&beta, i)
    });
    let betas = is_centred.then_some(beta);
    let inputs = [Some(input), Some(skip), Some(gamma)].into_iter().chain(betas).chain([bias]);
    opt_case(Attributes::new().with("epsilon", epsilon), inputs, [Expected::absolute(dtype, y, 40.0)])
}

/// Mean and variance.
fn moments(x: &[f64]) -> (f64, f64) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (mean, x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64)
}

/// The array with each element divided and moved as its group says: `f(group)` is a mean and a factor.
fn normalized(x: &Array<f64>, axes: &[usize], f: impl Fn(&[f64]) -> (f64, f64)) -> Array<f64> {
    let stats = grouped(x, axes, true).map(|group| f(&group));
    Array::from_fn(&x.dims, |index| {
        let (mean, factor) = stats.broadcast(index);
        (x.at(index) - mean) * factor
    })
}

const EPSILONS: [f32; 3] = [1e-5, 0.1, 1e-3];

fn normalizations() -> Vec<Property> {
    vec![
        property("LayerNormalization", |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.full_dims(1..=4, 5));
            let (axis, written) = draw.axis(dims.len());
            let epsilon = draw.pick(&EPSILONS);
            let x = draw.numbers(dtype, &dims);
            let own = draw.narrower(&dims[axis..]);
            let scale = draw.numbers(dtype, &own);
            let bias = draw.flag().then(|| draw.numbers(dtype, &own));
            let axes: Vec<usize> = (axis..dims.len()).collect();
            let values = reals(&x);
            let stats = grouped(&values, &axes, true).map(|x| moments(&x));
            let inverse = |variance: f64| 1.0 / (variance + f64::from(epsilon)).sqrt();
            let y = normalized(&values, &axes, |x| (moments(x).0, inverse(moments(x).1)));
            let scales = reals(&scale);
            let y = Array::from_fn(&dims, |i| {
                // With `stash_type` float, the normalized number is rounded before it is scaled.
                let normal = if dtype == DType::F64 { y.at(i) } else { real(dtype, y.at(i)) };
                normal * scales.broadcast(i) + bias.as_ref().map_or(0.0, |b| reals(b).broadcast(i))
            });
            let expected = [
                Expected::absolute(dtype, y, 40.0),
                Expected::absolute(DType::F32, stats.map(|(mean, _)| mean), 8.0),
                Expected::within(DType::F32, stats.map(|(_, variance)| inverse(variance)), 400.0),
            ];
            let attributes = Attributes::new().with("axis", written).with("epsilon", epsilon);
            opt_case(attributes, [Some(x), Some(scale), bias], expected)
        }),
        property("RMSNormalization", |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.full_dims(1..=4, 5));
            let (axis, written) = draw.axis(dims.len());
            let epsilon = draw.pick(&EPSILONS);
            let own = draw.narrower(&dims[axis..]);
            let (x, scale) = (draw.numbers(dtype, &dims), draw.numbers(dtype, &own));
            let axes: Vec<usize> = (axis..dims.len()).collect();
            let y = normalized(&reals(&x), &axes, |x| {
                let mean_square = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
                (0.0, 1.0 / (mean_square + f64::from(epsilon)).sqrt())
            });
            let scales = reals(&scale);
            let y = Array::from_fn(&dims, |i| y.at(i) * scales.broadcast(i));
            let attributes = Attributes::new().with("axis", written).with("epsilon", epsilon);
            case(attributes, [x, scale], Expected::absolute(dtype, y, 8.0))
        }),
        property("SkipLayerNormalization", |draw| skip_norm(draw, true)).domain("com.microsoft"),
        property("SkipSimplifiedLayerNormalization", |draw| skip_norm(draw, false)).domain("com.microsoft"),
        property("InstanceNormalization", |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.full_dims(3..=5, 3));
            let epsilon = draw.pick(&EPSILONS);
            let (x, scale, bias) =
                (draw.numbers(dtype, &dims), draw.numbers(dtype, &dims[1..2]), draw.numbers(dtype, &dims[1..2]));
            let axes: Vec<usize> = (2..dims.len()).collect();
            let y = channelwise(&x, &scale, &bias, |x| normalized(x, &axes, |x| standard(x, epsilon)));
            let attributes = Attributes::new().with("epsilon", epsilon);
            case(attributes, [x, scale, bias], Expected::absolute(dtype, y, 40.0))
        }),
        property("GroupNormalization", |draw| {
            let (dtype, mut dims) = (draw.dtype(FLOATS), draw.full_dims(3..=4, 3));
            let groups = draw.size(1..=3);
            let per_group = dims[1];
            dims[1] *= groups;
            let epsilon = draw.pick(&EPSILONS);
            let (x, scale, bias) =
                (draw.numbers(dtype, &dims), draw.numbers(dtype, &dims[1..2]), draw.numbers(dtype, &dims[1..2]));
            let y = channelwise(&x, &scale, &bias, |x| {
                let split = [&dims[..1], &[groups, per_group], &dims[2..]].concat();
                let axes: Vec<usize> = (2..split.len()).collect();
                let grouped = Array { dims: split, data: x.data.clone() };
                Array { dims: dims.clone(), data: normalized(&grouped, &axes, |x| standard(x, epsilon)).data }
            });
            let attributes = Attributes::new().with("epsilon", epsilon).with("num_groups", groups as i64);
            case(attributes, [x, scale, bias], Expected::absolute(dtype, y, 40.0))
        }),
        property("BatchNormalization", batch_normalization),
        property("LpNormalization", |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.full_dims(1..=4, 4));
            let ((axis, written), p) = (draw.axis(dims.len()), draw.int(1..=2));
            let x = draw.numbers(dtype, &dims);
            let y = normalized(&reals(&x), &[axis], |x| {
                let norm = x.iter().map(|v| v.abs().powi(p as i32)).sum::<f64>().powf(1.0 / p as f64);
                (0.0, if norm == 0.0 { 0.0 } else { 1.0 / norm })
            });
            let attributes = Attributes::new().with("axis", written).with("p", p);
            case(attributes, [x], Expected::within(dtype, y, 4.0))
        }),
        property("MeanVarianceNormalization", |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.full_dims(4..=4, 3));
            let ((axes, written), given) = (draw.axes(4), draw.flag());
            let axes = if given { axes } else { vec![0, 2, 3] };
            let x = draw.numbers(dtype, &dims);
            let y = normalized(&reals(&x), &axes, |x| {
                let (mean, variance) = moments(x);
                (mean, 1.0 / (variance.sqrt() + 1e-9))
            });
            // Where nothing varies, the rounding of the mean is divided by 1e-9.
            let varies = grouped(&reals(&x), &axes, true).data.iter().all(|x| moments(x).1 > 1e-2);
            let attributes = if given { Attributes::new().with("axes", written) } else { Attributes::new() };
            let expected = if varies { Expected::absolute(dtype, y, 60.0) } else { Expected::Anything };
            case(attributes, [x], expected)
        }),
        property("LRN", |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.full_dims(3..=4, 4));
            let (size, alpha, beta, bias) = (draw.int(1..=5), 0.1f32, draw.pick(&[0.75f32, 0.5]), 1.5f32);
            let x = draw.numbers(dtype, &dims);
            let values = reals(&x);
            let y = Array::from_fn(&dims, |i| {
                let (before, after) = ((size as usize - 1) / 2, (size as usize) / 2);
                let near = i[1].saturating_sub(before)..(i[1] + after + 1).min(dims[1]);
                let square_sum: f64 = near
                    .map(|c| {
                        let mut at = i.to_vec();
                        at[1] = c;
                        values.at(&at).powi(2)
                    })
                    .sum();
                values.at(i) / (f64::from(bias) + f64::from(alpha) / size as f64 * square_sum).powf(beta.into())
            });
            let attributes =
                Attributes::new().with("size", size).with("alpha", alpha).with("beta", beta).with("bias", bias);
            case(attributes, [x], Expected::within(dtype, y, 2.0))
        }),
    ]
}

fn standard(x: &[f64], epsilon: f32) -> (f64, f64) {
    let (mean, variance) = moments(x);
    (mean, 1.0 / (variance + f64::from(epsilon)).sqrt())
}

/// y = f(x) · scale + bias, which are of the channels, axis 1.
fn channelwise(x: &Tensor, scale: &Tensor, bias: &Tensor, f: impl Fn(&Array<f64>) -> Array<f64>) -> Array<f64> {
    let (y, scale, bias) = (f(&reals(x)), reals(scale), reals(bias));
    Array::from_fn(&y.dims, |i| y.at(i) * scale.at(&[i[1]]) + bias.at(&[i[1]]))
}

fn batch_normalization(draw: &mut Draw<'_>) -> Case {
    let (dtype, dims) = (draw.dtype(FLOATS), draw.full_dims(2..=4, 4));
    let (epsilon, momentum, training) = (draw.pick(&EPSILONS), draw.pick(&[0.9f32, 0.25]), draw.flag());
    let per_channel = |draw: &mut Draw<'_>, low: f64| draw.between(dtype, &dims[1..2], low, 2.0);
    let x = draw.numbers(dtype, &dims);
    let (scale, bias) = (per_channel(draw, -2.0), per_channel(draw, -2.0));
    let (mean, variance) = (per_channel(draw, -2.0), per_channel(draw, 0.1));
    let axes: Vec<usize> = (0..dims.len()).filter(|&i| i != 1).collect();
    let given: Vec<(f64, f64)> = reals(&mean).data.into_iter().zip(reals(&variance).data).collect();
    let current: Vec<(f64, f64)> = grouped(&reals(&x), &axes, false).data.iter().map(|x| moments(x)).collect();
    let used = if training { &current } else { &given };
    let y = channelwise(&x, &scale, &bias, |x| {
        Array::from_fn(&x.dims, |i| {
            let (mean, variance) = used[i[1]];
            (x.at(i) - mean) / (variance + f64::from(epsilon)).sqrt()
        })
    });
    let momentum64 = f64::from(momentum);
    let running = |pick: fn(&(f64, f64)) -> f64| Array {
        dims: vec![dims[1]],
        data: given.iter().zip(&current).map(|(g, c)| pick(g) * momentum64 + pick(c) * (1.0 - momentum64)).collect(),
    };
    let attributes = Attributes::new()
        .with("epsilon", epsilon)
        .with("momentum", momentum)
        .with("training_mode", i64::from(training));
    let mut expected = vec![Expected::absolute(dtype, y, 60.0)];
    if training {
        expected.push(Expected::absolute(dtype, running(|m| m.0), 4.0));
        expected.push(Expected::absolute(dtype, running(|m| m.1), 8.0));
    }
    opt_case(attributes, [x, scale, bias, mean, variance].map(Some), expected)
}

fn softmaxes() -> Vec<Property> {
    let each = |name: &'static str, f: fn(f64, &[f64]) -> f64| {
        property(name, move |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.dims(1..=4, 5));
            let (axis, written) = draw.axis(dims.len());
            let reach = draw.pick(&[2.0, 30.0]);
            let x = draw.between(dtype, &dims, -reach, reach);
            let groups = grouped(&reals(&x), &[axis], true);
            let values = reals(&x);
            let y = Array::from_fn(&dims, |i| f(values.at(i), &groups.broadcast(i)));
            case(Attributes::new().with("axis", written), [x], Expected::within(dtype, y, 8.0))
        })
    };
    vec![
        each("Softmax", |x, all| 1.0 / all.iter().map(|v| (v - x).exp()).sum::<f64>()),
        each("LogSoftmax", |x, all| -all.iter().map(|v| (v - x).exp()).sum::<f64>().ln()),
        property("Hardmax", |draw| {
            let (dtype, dims) = (draw.dtype(FLOATS), draw.dims(1..=4, 5));
            let (axis, written) = draw.axis(dims.len());
            let x = draw.integers(dtype, &dims, 0..=3);
            let groups = grouped(&reals(&x), &[axis], true);
            let y = Array::from_fn(&dims, |i| {
                let group = groups.broadcast(i);
                let max = group.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                f64::from(u8::from(group.iter().position(|&v| v == max) == Some(i[axis])))
            });
            case(Attributes::new().with("axis", written), [x], Expected::numbers(dtype, y))
        }),
    ]
}

fn losses() -> Vec<Property> {
    vec![
        property("NegativeLogLikelihoodLoss", |draw| loss(draw, false)),
        property("SoftmaxCrossEntropyLoss", |draw| loss(draw, true)),
    ]
}

fn loss(draw: &mut Draw<'_>, is_softmax: bool) -> Case {
    let (dtype, index) = (draw.dtype(FLOATS), draw.dtype(INDICES));
    let dims = draw.full_dims(2..=4, 3);
    let classes = dims[1];
    let labels_dims = [&dims[..1], &dims[2..]].concat();
    let reduction = draw.pick(&["mean", "none", "sum"]);
    let ignored = draw.pick(&[None, Some(0), Some(-1), Some(7)]);
    let x = draw.numbers(dtype, &dims);
    let mut labels = ints(&draw.integers(index, &labels_dims, 0..=classes as i64 - 1));
    if let Some(ignored) = ignored {
        labels.data.iter_mut().for_each(|l| *l = if draw.rarely(3) { ignored.into() } else { *l });
    }
    let weights = draw.flag().then(|| draw.between(dtype, &[classes], 0.25, 2.0));
    let values = reals(&x);
    let log_prob = Array::from_fn(&dims, |i| {
        let all = (0..classes).map(|c| {
            let mut at = i.to_vec();
            at[1] = c;
            values.at(&at)
        });
        if is_softmax { -all.map(|v| (v - values.at(i)).exp()).sum::<f64>().ln() } else { values.at(i) }
    });
    let weight = |label: i128| match ignored {
        Some(ignored) if i128::from(ignored) == label => 0.0,
        _ => weights.as_ref().map_or(1.0, |w| reals(w).data[label as usize]),
    };
    let losses = Array::from_fn(&labels_dims, |i| {
        let label = labels.at(i);
        match weight(label) {
            0.0 => 0.0,
            weight => -weight * log_prob.at(&[&i[..1], &[label as usize], &i[1..]].concat()),
        }
    });
    let (sum, total) = (losses.data.iter().sum::<f64>(), labels.data.iter().map(|&l| weight(l)).sum::<f64>());
    let y = match reduction {
        "none" => losses,
        "sum" => Array { dims: vec![], data: vec![sum] },
        _ => Array { dims: vec![], data: vec![sum / total] },
    };
    let mut attributes = Attributes::new().with("reduction", reduction);
    ignored.iter().for_each(|&i| attributes.set("ignore_index", i64::from(i)));
    // The mean over nothing is not defined.
    let loss =
        if total == 0.0 && reduction == "mean" { Expected::Anything } else { Expected::absolute(dtype, y, 20.0) };
    let mut expected = vec![loss];
    if is_softmax && draw.flag() && total > 0.0 {
        expected.push(Expected::absolute(dtype, log_prob, 8.0));
    }
    opt_case(attributes, [Some(x), Some(from_ints(index, &labels)), weights], expected)
}

#[test]
fn reductions_and_norms_are_as_defined() {
    super::check_all(properties());
}
