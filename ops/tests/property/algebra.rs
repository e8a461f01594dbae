//! Products of matrices, of floats and of codes; quantization; transforms of signals.

use super::array::{Array, broadcast_dims, from_ints, indices, int_bits, ints, real, reals};
use super::draw::{Draw, index_tensor};
use super::windows::{rounded, shifted};
use super::{Case, Expected, Property, case, opt_case, property};
use planish_ir::{Attributes, FLOATS, INDICES, Types};
use planish_tensor::{DType, Tensor};
use std::f64::consts::TAU;

const BYTES: Types = Types::of(&[DType::U8, DType::I8]);
const MICROSOFT: &str = "com.microsoft";

pub fn properties() -> Vec<Property> {
    [products(), quantization(), signals()].into_iter().flatten().collect()
}

/// The product of stacks of matrices, vectors being rows or columns that go again.
fn product(a: &Array<f64>, b: &Array<f64>) -> Array<f64> {
    let (a_vector, b_vector) = (a.dims.len() == 1, b.dims.len() == 1);
    let wide = |x: &Array<f64>, dims: Vec<usize>| Array { dims, data: x.data.clone() };
    let a = if a_vector { wide(a, vec![1, a.dims[0]]) } else { a.clone() };
    let b = if b_vector { wide(b, vec![b.dims[0], 1]) } else { b.clone() };
    let (m, k, n) = (a.dims[a.dims.len() - 2], a.dims[a.dims.len() - 1], b.dims[b.dims.len() - 1]);
    let batch = broadcast_dims(&[&a.dims[..a.dims.len() - 2], &b.dims[..b.dims.len() - 2]]);
    let y = Array::from_fn(&[&batch[..], &[m, n]].concat(), |i| {
        let (head, row, column) = (&i[..batch.len()], i[batch.len()], i[batch.len() + 1]);
        (0..k).map(|t| a.broadcast(&[head, &[row, t]].concat()) * b.broadcast(&[head, &[t, column]].concat())).sum()
    });
    let mut dims = batch;
    dims.extend((!a_vector).then_some(m));
    dims.extend((!b_vector).then_some(n));
    Array { dims, data: y.data }
}

/// Shapes of two stacks of matrices that can be multiplied.
fn factors(draw: &mut Draw<'_>, vectors: bool) -> (Vec<usize>, Vec<usize>) {
    let batch = draw.dims(0..=2, 3);
    let (m, k, n) = (draw.size(1..=5), draw.size(1..=6), draw.size(1..=5));
    let mut stack = |tail: [usize; 2]| {
        let own = draw.narrower(&batch);
        [&own[..], &tail].concat()
    };
    let (a, b) = (stack([m, k]), stack([k, n]));
    let a = if vectors && draw.rarely(6) { vec![k] } else { a };
    let b = if vectors && draw.rarely(6) { vec![k] } else { b };
    (a, b)
}

fn wrapped(dtype: DType, y: &Array<f64>) -> Expected {
    Expected::Exactly(from_ints(dtype, &y.map(|v| v as i128)).into())
}

const INTS: Types = INDICES.or(Types::of(&[DType::U32, DType::U64]));

fn products() -> Vec<Property> {
    vec![
        property("MatMul", |draw| {
            let dtype = draw.dtype(FLOATS.or(INTS));
            let (a, b) = factors(draw, true);
            let number = |draw: &mut Draw<'_>, dims: &[usize]| match dtype.is_float() {
                true => draw.numbers(dtype, dims),
                false => draw.integers(dtype, dims, 0..=9),
            };
            let x = [number(draw, &a), number(draw, &b)];
            let y = product(&reals(&x[0]), &reals(&x[1]));
            let expected = if dtype.is_float() { Expected::absolute(dtype, y, 24.0) } else { wrapped(dtype, &y) };
            case(Attributes::new(), x, expected)
        }),
        property("Gemm", |draw| {
            let dtype = draw.dtype(FLOATS.or(INTS));
            let mut case = gemm(draw, dtype);
            case.attributes.remove("activation");
            case
        }),
        property("FusedGemm", |draw| {
            let mut case = gemm(draw, DType::F32);
            let Some(Expected::Near { values, .. }) = case.expected.first() else { return case };
            let (name, f): (&str, fn(f64) -> f64) =
                draw.pick(&[("Relu", |x| x.max(0.0)), ("Tanh", f64::tanh), ("Sigmoid", |x| 1.0 / (1.0 + (-x).exp()))]);
            let y = values.map(f);
            case.attributes.set("activation", name);
            case.expected = vec![Expected::absolute(DType::F32, y, 60.0)];
            case
        })
        .domain(MICROSOFT),
        property("MatMulInteger", |draw| {
            let (a_dtype, b_dtype) = (draw.dtype(BYTES), draw.dtype(BYTES));
            let (a, b) = factors(draw, false);
            let (a, b) = (draw.any(a_dtype, &a), draw.any(b_dtype, &b));
            let (a_zero, b_zero) =
                (draw.flag().then(|| draw.any(a_dtype, &[])), draw.flag().then(|| draw.any(b_dtype, &[])));
            let y = product(&shifted(&a, a_zero.as_ref()), &shifted(&b, b_zero.as_ref()));
            opt_case(Attributes::new(), [Some(a), Some(b), a_zero, b_zero], [wrapped(DType::I32, &y)])
        }),
        property("QLinearMatMul", |draw| {
            let (a_dtype, b_dtype, y_dtype) = (draw.dtype(BYTES), draw.dtype(BYTES), draw.dtype(BYTES));
            let (a, b) = factors(draw, false);
            let (a, b) = (draw.any(a_dtype, &a), draw.any(b_dtype, &b));
            let (scales, zeros) =
                (scales(draw, 3), [draw.any(a_dtype, &[]), draw.any(b_dtype, &[]), draw.any(y_dtype, &[])]);
            let s: Vec<f64> = scales.iter().map(|s| reals(s).data[0]).collect();
            let y = product(&shifted(&a, Some(&zeros[0])), &shifted(&b, Some(&zeros[1])));
            let y = y.map(|v| v * s[0] * s[1] / s[2] + reals(&zeros[2]).data[0]);
            let [a_zero, b_zero, y_zero] = zeros;
            let [a_scale, b_scale, y_scale] = <[Tensor; 3]>::try_from(scales).unwrap();
            case(Attributes::new(), [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero], rounded(y_dtype, y))
        }),
        property("MatMulIntegerToFloat", |draw| {
            let (a_dtype, b_dtype) = (draw.dtype(BYTES), draw.dtype(BYTES));
            let (a, b) = factors(draw, false);
            let (a, b) = (draw.any(a_dtype, &a), draw.any(b_dtype, &b));
            let n = b.shape()[b.rank() - 1];
            let scales = scales(draw, 2);
            let zeros = [draw.flag().then(|| draw.any(a_dtype, &[])), draw.flag().then(|| draw.any(b_dtype, &[]))];
            let bias = draw.flag().then(|| draw.numbers(DType::F32, &[n]));
            let factor = reals(&scales[0]).data[0] * reals(&scales[1]).data[0];
            let y = product(&shifted(&a, zeros[0].as_ref()), &shifted(&b, zeros[1].as_ref())).map(|v| v * factor);
            let y = plus(&y, bias.as_ref());
            let [a_zero, b_zero] = zeros;
            let inputs = [Some(a), Some(b), Some(scales[0].clone()), Some(scales[1].clone()), a_zero, b_zero, bias];
            opt_case(Attributes::new(), inputs, [Expected::absolute(DType::F32, y, 40.0)])
        })
        .domain(MICROSOFT),
        property("DynamicQuantizeMatMul", |draw| {
            let dtype = draw.dtype(BYTES);
            let (a, b) = factors(draw, false);
            let (a, b) = (draw.numbers(DType::F32, &a), draw.any(dtype, &b[b.len() - 2..]));
            let n = b.shape()[1];
            let (scale, zero) = (scales(draw, 1).remove(0), draw.flag().then(|| draw.any(dtype, &[])));
            let bias = draw.flag().then(|| draw.numbers(DType::F32, &[n]));
            let b_real = shifted(&b, zero.as_ref()).map(|v| v * reals(&scale).data[0]);
            // A is rounded to 255 steps: each term may be off by half a step of A times B.
            let xs = reals(&a).data;
            let step = (xs.iter().copied().fold(0.0, f64::max) - xs.iter().copied().fold(0.0, f64::min)) / 255.0;
            let largest = b_real.data.iter().fold(0f64, |m, v| m.max(v.abs()));
            let slack = b_real.dims[0] as f64 * step * largest + 1e-4;
            let y = plus(&product(&reals(&a), &b_real), bias.as_ref());
            let expected = Expected::Near { dtype: DType::F32, values: y, rtol: 0.0, atol: slack };
            opt_case(Attributes::new(), [Some(a), Some(b), Some(scale), zero, bias], [expected])
        })
        .domain(MICROSOFT),
        property("MatMulNBits", nbits).domain(MICROSOFT),
        property("GatherBlockQuantized", |draw| {
            let dtype = draw.pick(&[DType::U4, DType::I4]);
            let (rows, blocks, index) = (draw.size(1..=4), draw.size(1..=3), draw.dtype(INDICES));
            let width = blocks * 16 - draw.size(0..=5);
            let data = draw.any(dtype, &[rows, width]);
            let scale = draw.between(DType::F32, &[rows, blocks], 0.1, 1.0);
            let zero = draw.flag().then(|| draw.any(dtype, &[rows, blocks]));
            let own = draw.dims(0..=2, 3);
            let at = draw.integers(index, &own, 0..=rows as i64 - 1);
            let (codes, s, z, places) = (ints(&data), reals(&scale), zero.as_ref().map(ints), ints(&at));
            let y = Array::from_fn(&[&own[..], &[width]].concat(), |i| {
                let (row, column) = (places.at(&i[..own.len()]) as usize, i[own.len()]);
                let zero = z.as_ref().map_or(0, |z| z.at(&[row, column / 16]));
                (codes.at(&[row, column]) - zero) as f64 * s.at(&[row, column / 16])
            });
            let attributes = Attributes::new().with("block_size", 16).with("gather_axis", 0).with("quantize_axis", 1);
            opt_case(attributes, [Some(data), Some(at), Some(scale), zero], [Expected::absolute(DType::F32, y, 8.0)])
        })
        .domain(MICROSOFT),
        property("QGemm", |draw| {
            let (a_dtype, b_dtype) = (draw.dtype(BYTES), draw.dtype(BYTES));
            let ((m, k, n), (ta, tb)) =
                ((draw.size(1..=4), draw.size(1..=5), draw.size(1..=4)), (draw.flag(), draw.flag()));
            let a = draw.any(a_dtype, &if ta { [k, m] } else { [m, k] });
            let b = draw.any(b_dtype, &if tb { [n, k] } else { [k, n] });
            let (scales, zeros) = (scales(draw, 2), [draw.any(a_dtype, &[]), draw.any(b_dtype, &[])]);
            let c = draw.flag().then(|| draw.integers(DType::I32, &[n], -500..=500));
            let alpha = draw.pick(&[1.0f32, 0.5]);
            let (a_real, b_real) = (shifted(&a, Some(&zeros[0])), shifted(&b, Some(&zeros[1])));
            let y = plus(&product(&turned(&a_real, ta), &turned(&b_real, tb)), c.as_ref());
            let factor = f64::from(alpha) * reals(&scales[0]).data[0] * reals(&scales[1]).data[0];
            let attributes =
                Attributes::new().with("alpha", alpha).with("transA", i64::from(ta)).with("transB", i64::from(tb));
            let [a_zero, b_zero] = zeros;
            let inputs =
                [Some(a), Some(scales[0].clone()), Some(a_zero), Some(b), Some(scales[1].clone()), Some(b_zero), c];
            opt_case(attributes, inputs, [Expected::absolute(DType::F32, y.map(|v| v * factor), 40.0)])
        })
        .domain(MICROSOFT),
        property("Einsum", einsum),
        property("Det", |draw| {
            let (dtype, batch, n) = (draw.dtype(FLOATS), draw.dims(0..=2, 3), draw.size(1..=4));
            let x = draw.integers(dtype, &[&batch[..], &[n, n]].concat(), -2..=2);
            let xs = reals(&x);
            let y = Array::from_fn(&batch, |i| {
                let matrix: Vec<Vec<f64>> =
                    (0..n).map(|r| (0..n).map(|c| xs.at(&[i, &[r, c]].concat())).collect()).collect();
                determinant(&matrix)
            });
            case(Attributes::new(), [x], Expected::absolute(dtype, y, 100.0))
        }),
        property("Inverse", |draw| {
            let (dtype, n) = (draw.pick(&[DType::F32, DType::F64, DType::F16]), draw.size(1..=4));
            // Mostly diagonal, so that there is an inverse.
            let noise = reals(&draw.between(dtype, &[2, n, n], -0.2, 0.2));
            let x = Array::from_fn(&noise.dims, |i| real(dtype, noise.at(i) + if i[1] == i[2] { 1.5 } else { 0.0 }));
            let tensor = super::array::from_reals(dtype, &x);
            let unit = Expected::Such(Box::new(move |got| {
                let y = product(&x, &reals(got.as_tensor().ok_or("not a tensor")?));
                let is_unit =
                    indices(&y.dims).iter().all(|i| (y.at(i) - f64::from(u8::from(i[1] == i[2]))).abs() < 1e-2);
                if is_unit { Ok(()) } else { Err(format!("the product with it is {:?}", y.data)) }
            }));
            case(Attributes::new(), [tensor], unit)
        })
        .domain(MICROSOFT),
    ]
}

fn turned(x: &Array<f64>, turns: bool) -> Array<f64> {
    if turns { Array::from_fn(&[x.dims[1], x.dims[0]], |i| x.at(&[i[1], i[0]])) } else { x.clone() }
}

fn plus(y: &Array<f64>, bias: Option<&Tensor>) -> Array<f64> {
    let Some(bias) = bias.map(reals) else { return y.clone() };
    Array::from_fn(&y.dims, |i| y.at(i) + bias.broadcast(i))
}

fn scales(draw: &mut Draw<'_>, count: usize) -> Vec<Tensor> {
    (0..count).map(|_| draw.between(DType::F32, &[], 0.01, 0.1)).collect()
}

fn gemm(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let ((m, k, n), (ta, tb)) = ((draw.size(1..=5), draw.size(1..=6), draw.size(1..=5)), (draw.flag(), draw.flag()));
    let own = draw.narrower(&[m, n]);
    let number = |draw: &mut Draw<'_>, dims: &[usize]| match dtype.is_float() {
        true => draw.numbers(dtype, dims),
        false => draw.integers(dtype, dims, 0..=9),
    };
    let a = number(draw, &if ta { [k, m] } else { [m, k] });
    let b = number(draw, &if tb { [n, k] } else { [k, n] });
    let c = draw.flag().then(|| number(draw, &own));
    let (alpha, beta) = match dtype.is_float() {
        true => (draw.pick(&[1.0f32, 0.5, -2.0]), draw.pick(&[1.0f32, 0.25, 0.0])),
        false => (1.0, 1.0),
    };
    let y = product(&turned(&reals(&a), ta), &turned(&reals(&b), tb)).map(|v| v * f64::from(alpha));
    let scaled = c.as_ref().map(|c| reals(c).map(|v| v * f64::from(beta)));
    let y = Array::from_fn(&y.dims, |i| y.at(i) + scaled.as_ref().map_or(0.0, |c| c.broadcast(i)));
    let attributes = Attributes::new()
        .with("alpha", alpha)
        .with("beta", beta)
        .with("transA", i64::from(ta))
        .with("transB", i64::from(tb));
    let expected = if dtype.is_float() { Expected::absolute(dtype, y, 50.0) } else { wrapped(dtype, &y) };
    opt_case(attributes, [Some(a), Some(b), c], [expected])
}

fn determinant(x: &[Vec<f64>]) -> f64 {
    let without = |column: usize| -> Vec<Vec<f64>> {
        x[1..].iter().map(|row| (0..row.len()).filter(|&c| c != column).map(|c| row[c]).collect()).collect()
    };
    let term = |c: usize| x[0][c] * determinant(&without(c)) * if c.is_multiple_of(2) { 1.0 } else { -1.0 };
    if x.is_empty() { 1.0 } else { (0..x.len()).map(term).sum() }
}

fn nbits(draw: &mut Draw<'_>) -> Case {
    let (bits, block) = (draw.pick(&[4usize, 8, 2]), 16usize);
    let (rows, n, k) = (draw.size(1..=3), draw.size(1..=4), draw.size(1..=40));
    let blocks = k.div_ceil(block);
    let dtype = draw.pick(&[DType::F32, DType::F16]);
    let a = draw.numbers(dtype, &[rows, k]);
    let b = draw.any(DType::U8, &[n, blocks, block * bits / 8]);
    let scale = draw.between(dtype, &[n, blocks], 0.01, 0.1);
    let packed = (blocks * bits).div_ceil(8);
    let zero = draw.flag().then(|| draw.any(DType::U8, &[n, packed]));
    let bias = draw.flag().then(|| draw.numbers(dtype, &[n]));
    let code = |bytes: &Array<i128>, head: &[usize], i: usize| {
        let byte = bytes.at(&[head, &[i * bits / 8]].concat());
        byte >> (i * bits % 8) & ((1 << bits) - 1)
    };
    let (codes, s, z) = (ints(&b), reals(&scale), zero.as_ref().map(ints));
    let w = Array::from_fn(&[k, n], |i| {
        let (at, row) = (i[0] / block, i[1]);
        let zero = z.as_ref().map_or(1 << (bits - 1), |z| code(z, &[row], at));
        (code(&codes, &[row, at], i[0] % block) - zero) as f64 * s.at(&[row, at])
    });
    let y = plus(&product(&reals(&a), &w), bias.as_ref());
    let attributes = Attributes::new()
        .with("K", k as i64)
        .with("N", n as i64)
        .with("bits", bits as i64)
        .with("block_size", block as i64);
    let scale_of_sum = if bits == 8 { 2000.0 } else { 200.0 };
    opt_case(
        attributes,
        [Some(a), Some(b), Some(scale), zero, None, bias],
        [Expected::absolute(dtype, y, scale_of_sum)],
    )
}

fn einsum(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(FLOATS.or(INTS));
    let letters = ['a', 'b', 'C'];
    let lengths = [draw.size(1..=3), draw.size(1..=3), draw.size(1..=3)];
    let more = if draw.flag() { draw.full_dims(1..=2, 3) } else { vec![] };
    let count = draw.size(1..=3);
    // Terms of letters, some of them twice; all have the ellipsis or none.
    let terms: Vec<Vec<usize>> = (0..count).map(|_| (0..draw.size(1..=3)).map(|_| draw.below(3)).collect()).collect();
    let x: Vec<Tensor> = terms
        .iter()
        .map(|term| {
            let own: Vec<usize> = more.iter().map(|&d| if draw.rarely(4) { 1 } else { d }).collect();
            let dims: Vec<usize> = own.into_iter().chain(term.iter().map(|&l| lengths[l])).collect();
            if dtype.is_float() { draw.numbers(dtype, &dims) } else { draw.integers(dtype, &dims, 0..=3) }
        })
        .collect();
    let explicit = draw.flag();
    let times = |l: usize| terms.iter().flatten().filter(|&&t| t == l).count();
    let mut output: Vec<usize> = match explicit {
        true => draw.order(3).into_iter().filter(|&l| times(l) > 0 && draw.flag()).collect(),
        false => (0..3).filter(|&l| times(l) == 1).collect(),
    };
    if !explicit {
        output.sort_by_key(|&l| letters[l]);
    }
    let dots = if more.is_empty() { "" } else { "..." };
    let text = |term: &Vec<usize>| format!("{dots}{}", term.iter().map(|&l| letters[l]).collect::<String>());
    let mut equation = terms.iter().map(text).collect::<Vec<String>>().join(if draw.flag() { "," } else { ", " });
    if explicit {
        equation += &format!(" -> {}", text(&output));
    }
    let arrays: Vec<Array<f64>> = x.iter().map(reals).collect();
    let heads: Vec<Vec<usize>> = arrays.iter().map(|a| a.dims[..more.len()].to_vec()).collect();
    let head = broadcast_dims(&heads.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let to: Vec<usize> = head.iter().copied().chain(output.iter().map(|&l| lengths[l])).collect();
    let summed: Vec<usize> =
        (0..3).map(|l| if output.contains(&l) || times(l) == 0 { 1 } else { lengths[l] }).collect();
    let y = Array::from_fn(&to, |i| {
        let term = |s: &Vec<usize>| -> f64 {
            let mut letter = s.clone();
            output.iter().zip(&i[more.len()..]).for_each(|(&l, &at)| letter[l] = at);
            let factor = |(array, term): (&Array<f64>, &Vec<usize>)| {
                let own = i[..more.len()].iter().zip(&array.dims).map(|(&at, &d)| if d == 1 { 0 } else { at });
                array.at(&own.chain(term.iter().map(|&l| letter[l])).collect::<Vec<usize>>())
            };
            arrays.iter().zip(&terms).map(factor).product()
        };
        indices(&summed).iter().map(term).sum()
    });
    let expected = if dtype.is_float() { Expected::absolute(dtype, y, 200.0) } else { wrapped(dtype, &y) };
    case(Attributes::new().with("equation", &equation[..]), x, expected)
}

/// Scales and zero points for all, for an axis, or for blocks along one, and where each element's are.
fn granularity(draw: &mut Draw<'_>, dims: &[usize]) -> (Vec<usize>, Attributes, Box<dyn Fn(&[usize]) -> Vec<usize>>) {
    let (axis, written) = draw.axis(dims.len());
    let attributes = Attributes::new().with("axis", written);
    match draw.below(3) {
        0 => (vec![], Attributes::new(), Box::new(|_| vec![])),
        1 => (vec![dims[axis]], attributes, Box::new(move |i| vec![i[axis]])),
        _ => {
            let block = draw.size(1..=3);
            let mut own = dims.to_vec();
            own[axis] = own[axis].div_ceil(block);
            (
                own,
                attributes.with("block_size", block as i64),
                Box::new(move |i| {
                    let mut at = i.to_vec();
                    at[axis] /= block;
                    at
                }),
            )
        }
    }
}

fn quantization() -> Vec<Property> {
    let codes = Types::of(&[DType::U8, DType::I8, DType::U16, DType::I16, DType::U4, DType::I4, DType::U2, DType::I2]);
    vec![
        property("QuantizeLinear", move |draw| {
            let (from, to, dims) =
                (draw.pick(&[DType::F32, DType::F16, DType::BF16]), draw.dtype(codes), draw.full_dims(1..=3, 5));
            let (own, mut attributes, place) = granularity(draw, &dims);
            let reach = draw.pick(&[4.0, 100.0]);
            let x = draw.between(from, &dims, -reach, reach);
            let scale = draw.between(DType::F32, &own, 0.25, 2.0);
            let zero = draw.flag().then(|| draw.any(to, &own));
            if zero.is_none() || draw.flag() {
                attributes.set("output_dtype", i64::from(to.to_onnx()));
            }
            let (xs, s, z) = (reals(&x), reals(&scale), zero.as_ref().map(reals));
            let y = Array::from_fn(&dims, |i| {
                let at = place(i);
                (xs.at(i) / s.at(&at)).round_ties_even() + z.as_ref().map_or(0.0, |z| z.at(&at))
            });
            // A hair before a half is either.
            let near_half = indices(&dims).iter().any(|i| {
                let q = xs.at(i) / s.at(&place(i));
                (q - q.floor() - 0.5).abs() < 1e-4 * q.abs().max(1.0)
            });
            let (low, high) = super::array::range(to);
            let y = Expected::cells(to, &y.map(|v| int_bits(to, (v as i128).clamp(low, high))));
            let y = if near_half { Expected::Anything } else { y };
            opt_case(attributes, [Some(x), Some(scale), zero], [y])
        }),
        property("DequantizeLinear", move |draw| {
            let (from, dims) = (
                draw.dtype(codes.or(Types::of(&[DType::F8E4M3FN, DType::F8E5M2, DType::F4E2M1]))),
                draw.full_dims(1..=3, 5),
            );
            let (own, attributes, place) = granularity(draw, &dims);
            let scale_dtype = draw.pick(&[DType::F32, DType::F16, DType::BF16]);
            let scale = draw.between(scale_dtype, &own, 0.25, 2.0);
            let x = draw.any(from, &dims);
            let zero = (from.is_integer() && draw.flag()).then(|| draw.any(from, &own));
            let (xs, s, z) = (reals(&x), reals(&scale), zero.as_ref().map(reals));
            let y = Array::from_fn(&dims, |i| {
                let at = place(i);
                (xs.at(i) - z.as_ref().map_or(0.0, |z| z.at(&at))) * s.at(&at)
            });
            opt_case(attributes, [Some(x), Some(scale), zero], [Expected::within(scale_dtype, y, 2.0)])
        }),
        property("DynamicQuantizeLinear", |draw| {
            let dims = draw.full_dims(0..=3, 4);
            let (low, high) = draw.pick(&[(-2.0, 2.0), (1.0, 3.0), (-3.0, -1.0)]);
            let x = draw.between(DType::F32, &dims, low, high);
            let xs = reals(&x);
            let (least, most) =
                (xs.data.iter().copied().fold(0.0, f64::min), xs.data.iter().copied().fold(0.0, f64::max));
            let scale = (most - least) / 255.0;
            let zero = (-least / scale).clamp(0.0, 255.0).round_ties_even();
            let y = xs.map(|v| v / scale + zero);
            opt_case(
                Attributes::new(),
                [Some(x)],
                [
                    rounded(DType::U8, y),
                    Expected::within(DType::F32, Array { dims: vec![], data: vec![scale] }, 1.0),
                    rounded(DType::U8, Array { dims: vec![], data: vec![-least / scale] }),
                ],
            )
        }),
        property("QLinearAdd", |draw| binary(draw, |a, b| a + b)).domain(MICROSOFT),
        property("QLinearMul", |draw| binary(draw, |a, b| a * b)).domain(MICROSOFT),
        property("QLinearGlobalAveragePool", |draw| {
            let (dtype, dims, scales) = (draw.dtype(BYTES), draw.full_dims(3..=4, 3), scales(draw, 2));
            let (x, x_zero, y_zero) = (draw.any(dtype, &dims), draw.any(dtype, &[]), draw.any(dtype, &[]));
            let (xs, s) = (shifted(&x, Some(&x_zero)), [reals(&scales[0]).data[0], reals(&scales[1]).data[0]]);
            let to: Vec<usize> = dims.iter().enumerate().map(|(i, &d)| if i < 2 { d } else { 1 }).collect();
            let y = Array::from_fn(&to, |i| {
                let all = indices(&dims[2..]);
                let mean = all.iter().map(|k| xs.at(&[&i[..2], k].concat())).sum::<f64>() / all.len() as f64;
                mean * s[0] / s[1] + reals(&y_zero).data[0]
            });
            case(Attributes::new(), [x, scales[0].clone(), x_zero, scales[1].clone(), y_zero], rounded(dtype, y))
        })
        .domain(MICROSOFT),
        property("QLinearAveragePool", |draw| {
            let (dtype, dims, scales) = (draw.dtype(BYTES), draw.full_dims(4..=4, 4), scales(draw, 2));
            let kernel = [draw.size(1..=dims[2].min(3)), draw.size(1..=dims[3].min(3))];
            let (x, x_zero, y_zero) = (draw.any(dtype, &dims), draw.any(dtype, &[]), draw.any(dtype, &[]));
            let (xs, s) = (shifted(&x, Some(&x_zero)), [reals(&scales[0]).data[0], reals(&scales[1]).data[0]]);
            let y = Array::from_fn(&[dims[0], dims[1], dims[2] - kernel[0] + 1, dims[3] - kernel[1] + 1], |i| {
                let all = indices(&kernel);
                let mean =
                    all.iter().map(|k| xs.at(&[i[0], i[1], i[2] + k[0], i[3] + k[1]])).sum::<f64>() / all.len() as f64;
                mean * s[0] / s[1] + reals(&y_zero).data[0]
            });
            let attributes = Attributes::new().with("kernel_shape", vec![kernel[0] as i64, kernel[1] as i64]);
            case(attributes, [x, scales[0].clone(), x_zero, scales[1].clone(), y_zero], rounded(dtype, y))
        })
        .domain(MICROSOFT),
    ]
}

fn binary(draw: &mut Draw<'_>, f: fn(f64, f64) -> f64) -> Case {
    let (dtype, dims, scales) = (draw.dtype(BYTES), draw.dims(0..=3, 4), scales(draw, 3));
    let own = draw.narrower(&dims);
    let (a, b) = (draw.any(dtype, &dims), draw.any(dtype, &own));
    let zeros: Vec<Tensor> = (0..3).map(|_| draw.any(dtype, &[])).collect();
    let (x, y) = (shifted(&a, Some(&zeros[0])), shifted(&b, Some(&zeros[1])));
    let s: Vec<f64> = scales.iter().map(|s| reals(s).data[0]).collect();
    let z = Array::from_fn(&dims, |i| f(x.at(i) * s[0], y.broadcast(i) * s[1]) / s[2] + reals(&zeros[2]).data[0]);
    let inputs = [&a, &scales[0], &zeros[0], &b, &scales[1], &zeros[1], &scales[2], &zeros[2]].map(Clone::clone);
    case(Attributes::new(), inputs, rounded(dtype, z))
}

fn signals() -> Vec<Property> {
    let window = |name: &'static str, f: fn(f64) -> f64| {
        property(name, move |draw| {
            let (size, index, periodic) = (draw.size(1..=9), draw.dtype(INDICES), draw.flag());
            let length = if periodic { size } else { size - 1 };
            let y = Array::from_fn(&[size], |i| if length == 0 { 1.0 } else { f(i[0] as f64 / length as f64) });
            let attributes = Attributes::new().with("periodic", i64::from(periodic));
            let expected = if length == 0 { Expected::Anything } else { Expected::absolute(DType::F32, y, 1.0) };
            case(attributes, [index_tensor(index, &[], &[size as i64])], expected)
        })
    };
    vec![
        window("HannWindow", |t| 0.5 - 0.5 * (TAU * t).cos()),
        window("HammingWindow", |t| 25.0 / 46.0 - 21.0 / 46.0 * (TAU * t).cos()),
        window("BlackmanWindow", |t| 0.42 - 0.5 * (TAU * t).cos() + 0.08 * (2.0 * TAU * t).cos()),
        property("DFT", |draw| {
            let dtype = draw.dtype(FLOATS);
            let (inverse, onesided) = (draw.flag(), draw.flag());
            let mut dims = draw.full_dims(1..=3, 6);
            let (axis, _) = draw.axis(dims.len());
            let written = if draw.flag() { axis as i64 } else { axis as i64 - dims.len() as i64 - 1 };
            let parts = if inverse && onesided {
                2
            } else if onesided {
                1
            } else {
                draw.size(1..=2)
            };
            let length = draw.flag().then(|| draw.size(1..=8));
            dims.push(parts);
            let x = draw.numbers(dtype, &dims);
            let n = length.unwrap_or(if inverse && onesided { 2 * (dims[axis] - 1) } else { dims[axis] });
            let inputs = [Some(x.clone()), length.map(|n| Tensor::scalar(n as i64)), Some(Tensor::scalar(written))];
            let attributes =
                Attributes::new().with("inverse", i64::from(inverse)).with("onesided", i64::from(onesided));
            if n == 0 {
                return opt_case(attributes, inputs, [Expected::Anything]);
            }
            let xs = reals(&x);
            let mut to = dims.clone();
            to[axis] = if onesided && !inverse { n / 2 + 1 } else { n };
            *to.last_mut().unwrap() = if inverse && onesided { 1 } else { 2 };
            let y = Array::from_fn(&to, |i| {
                let sign = if inverse { 1.0 } else { -1.0 };
                // The element at a place of the whole spectrum, of which half may be given.
                let number = |k: usize| -> (f64, f64) {
                    let part = |k: usize, p: usize| {
                        let mut at = i.to_vec();
                        (at[axis], at[dims.len() - 1]) = (k, p);
                        if k < dims[axis] && p < parts { xs.at(&at) } else { 0.0 }
                    };
                    if inverse && onesided {
                        let is_real = k == 0 || 2 * k == n;
                        return match k <= n / 2 {
                            true => (part(k, 0), if is_real { 0.0 } else { part(k, 1) }),
                            false => (part(n - k, 0), -part(n - k, 1)),
                        };
                    }
                    (part(k, 0), part(k, 1))
                };
                let terms = (0..n).map(|k| {
                    let (sin, cos) = (sign * TAU * (k * i[axis] % n) as f64 / n as f64).sin_cos();
                    let (re, im) = number(k);
                    if i[dims.len() - 1] == 0 { re * cos - im * sin } else { re * sin + im * cos }
                });
                terms.sum::<f64>() / if inverse { n as f64 } else { 1.0 }
            });
            opt_case(attributes, inputs, [Expected::absolute(dtype, y, 12.0)])
        }),
        property("STFT", |draw| {
            let dtype = draw.dtype(FLOATS);
            let (batch, samples, onesided) = (draw.size(1..=2), draw.size(1..=10), draw.flag());
            let (step, length) = (draw.size(1..=3), draw.size(1..=samples));
            let parts = if onesided { 1 } else { draw.size(1..=2) };
            let x = draw.numbers(dtype, &[batch, samples, parts]);
            let window = draw.flag().then(|| draw.numbers(dtype, &[length]));
            let given = window.is_none() || draw.flag();
            let index = draw.dtype(INDICES);
            let (xs, ws) = (reals(&x), window.as_ref().map(reals));
            let bins = if onesided { length / 2 + 1 } else { length };
            let y = Array::from_fn(&[batch, (samples - length) / step + 1, bins, 2], |i| {
                (0..length)
                    .map(|k| {
                        let (sin, cos) = (-TAU * (k * i[2]) as f64 / length as f64).sin_cos();
                        let weight = ws.as_ref().map_or(1.0, |w| w.data[k]);
                        let part = |p: usize| if p < parts { xs.at(&[i[0], i[1] * step + k, p]) * weight } else { 0.0 };
                        if i[3] == 0 { part(0) * cos - part(1) * sin } else { part(0) * sin + part(1) * cos }
                    })
                    .sum()
            });
            let inputs = [
                Some(x),
                Some(index_tensor(index, &[], &[step as i64])),
                window,
                given.then(|| index_tensor(index, &[], &[length as i64])),
            ];
            opt_case(
                Attributes::new().with("onesided", i64::from(onesided)),
                inputs,
                [Expected::absolute(dtype, y, 40.0)],
            )
        }),
        property("MelWeightMatrix", |draw| {
            let (bands, length, rate) = (draw.size(1..=5), 2 * draw.size(4..=16), draw.pick(&[8000usize, 16000]));
            let (low, high) = (draw.pick(&[0.0f32, 100.0]), rate as f32 / 2.0);
            let mel = |f: f64| 2595.0 * (1.0 + f / 700.0).log10();
            let hertz = |m: f64| 700.0 * (10f64.powf(m / 2595.0) - 1.0);
            let (from, to) = (mel(low.into()), mel(high.into()));
            // The reference evaluator's bands are this wide.
            let step = (to - from) / (bands + 2) as f64;
            let bin = |k: usize| ((length + 1) as f64 * hertz(from + step * k as f64) / rate as f64).floor();
            let y = Array::from_fn(&[length / 2 + 1, bands], |i| {
                let (lower, center, upper, at) = (bin(i[1]), bin(i[1] + 1), bin(i[1] + 2), i[0] as f64);
                match at {
                    at if at == center && lower == center => 1.0,
                    at if (lower..=center).contains(&at) && center > lower => (at - lower) / (center - lower),
                    at if (center..upper).contains(&at) => (upper - at) / (upper - center),
                    _ => 0.0,
                }
            });
            let is_edge = (0..bands + 2).any(|k| {
                let exact = (length + 1) as f64 * hertz(from + step * k as f64) / rate as f64;
                (exact - exact.round()).abs() < 1e-4
            });
            let scalar = |v: usize| Tensor::scalar(v as i64);
            let inputs = [scalar(bands), scalar(length), scalar(rate), Tensor::scalar(low), Tensor::scalar(high)];
            let y = if is_edge { Expected::Anything } else { Expected::absolute(DType::F32, y, 10.0) };
            case(Attributes::new(), inputs, y)
        }),
    ]
}

#[test]
fn algebra_is_as_defined() {
    super::check_all(properties());
}
