//! Operators that slide a window over an image: convolutions and pools of all kinds.

use super::array::{Array, from_ints, indices, int_bits, offset, reals};
use super::draw::{Draw, vector};
use super::{Case, Expected, Property, case, opt_case, property};
use planish_ir::{Attributes, CLASSIC_TENSORS, FLOATS, NUMERIC, Types};
use planish_tensor::{DType, Tensor};

const BYTES: Types = Types::of(&[DType::U8, DType::I8]);

pub fn properties() -> Vec<Property> {
    vec![
        property("Conv", |draw| {
            let dtype = draw.dtype(FLOATS);
            let conv = Convolution::draw(draw);
            let (x, w) = (draw.numbers(dtype, &conv.x), draw.numbers(dtype, &conv.w));
            let b = draw.flag().then(|| draw.numbers(dtype, &conv.w[..1]));
            let Some(y) = conv.run(&reals(&x), &reals(&w)) else {
                return opt_case(conv.attributes(), [Some(x), Some(w), b], [Expected::Anything]);
            };
            let y = biased(&y, b.as_ref());
            opt_case(conv.attributes(), [Some(x), Some(w), b], [Expected::absolute(dtype, y, conv.depth() * 4.0)])
        }),
        property("ConvInteger", |draw| {
            let (x_dtype, w_dtype) = (draw.dtype(BYTES), draw.dtype(BYTES));
            let conv = Convolution::draw(draw);
            let (x, w) = (draw.any(x_dtype, &conv.x), draw.any(w_dtype, &conv.w));
            let x_zero = draw.flag().then(|| draw.any(x_dtype, &[]));
            let per_channel = draw.flag();
            let w_zero = draw.flag().then(|| draw.any(w_dtype, if per_channel { &conv.w[..1] } else { &[] }));
            let y = conv.run(&shifted(&x, x_zero.as_ref()), &shifted(&w, w_zero.as_ref()));
            let y = y.map_or(Expected::Anything, |y| {
                Expected::cells(DType::I32, &y.map(|v| int_bits(DType::I32, v as i128)))
            });
            opt_case(conv.attributes(), [Some(x), Some(w), x_zero, w_zero], [y])
        }),
        property("QLinearConv", |draw| {
            let (x_dtype, w_dtype) = (draw.dtype(BYTES), draw.dtype(BYTES));
            let conv = Convolution::draw(draw);
            let (x, w) = (draw.any(x_dtype, &conv.x), draw.any(w_dtype, &conv.w));
            let channels = draw.flag().then(|| conv.w[0]);
            let own: Vec<usize> = channels.into_iter().collect();
            let scale = |draw: &mut Draw<'_>, own: &[usize]| draw.between(DType::F32, own, 0.01, 0.1);
            let (x_scale, w_scale, y_scale) = (scale(draw, &[]), scale(draw, &own), scale(draw, &[]));
            let (x_zero, w_zero, y_zero) = (draw.any(x_dtype, &[]), draw.any(w_dtype, &own), draw.any(x_dtype, &[]));
            let b = draw.flag().then(|| draw.integers(DType::I32, &conv.w[..1], -500..=500));
            let y = conv.run(&shifted(&x, Some(&x_zero)), &shifted(&w, Some(&w_zero)));
            let y = y.map(|y| biased(&y, b.as_ref())).map(|y| {
                let (x_scale, w_scale, y_scale) = (reals(&x_scale).data[0], reals(&w_scale), reals(&y_scale).data[0]);
                Array::from_fn(&y.dims, |i| {
                    let w_scale = w_scale.data[if channels.is_some() { i[1] } else { 0 }];
                    y.at(i) * x_scale * w_scale / y_scale + reals(&y_zero).data[0]
                })
            });
            let y = y.map_or(Expected::Anything, |y| rounded(x_dtype, y));
            let inputs = [x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero].map(Some);
            opt_case(conv.attributes(), inputs.into_iter().chain([b]), [y])
        }),
        property("ConvTranspose", conv_transpose),
        property("DeformConv", deform_conv),
        property("CausalConvWithState", causal_conv),
        property("Col2Im", col2im),
        property("MaxPool", max_pool),
        property("AveragePool", |draw| {
            let (dtype, counts_pads) = (draw.dtype(FLOATS), draw.flag());
            let (window, channels) = (Window::draw(draw), draw.full_dims(2..=2, 2));
            let x = draw.numbers(dtype, &[&channels[..], &window.input].concat());
            let y = window.pool(&reals(&x), |inside, padded| {
                let count = if counts_pads { padded } else { inside.len() };
                inside.iter().map(|(v, _)| v).sum::<f64>() / count as f64
            });
            let attributes = window.attributes().with("count_include_pad", i64::from(counts_pads));
            case(attributes, [x], y.map_or(Expected::Anything, |y| Expected::absolute(dtype, y, 4.0)))
        }),
        property("LpPool", |draw| {
            let (dtype, p) = (draw.dtype(FLOATS), draw.int(1..=3));
            let (window, channels) = (Window::draw(draw), draw.full_dims(2..=2, 2));
            let x = draw.numbers(dtype, &[&channels[..], &window.input].concat());
            let y = window.pool(&reals(&x), |inside, _| norm(inside.iter().map(|(v, _)| *v), p));
            let expected = y.map_or(Expected::Anything, |y| Expected::within(dtype, y, 10.0));
            case(window.attributes().with("p", p), [x], expected)
        }),
        property("GlobalAveragePool", |draw| global(draw, &[], |x| x.iter().sum::<f64>() / x.len() as f64)),
        property("GlobalMaxPool", |draw| global(draw, &[], |x| x.iter().copied().fold(f64::NEG_INFINITY, f64::max))),
        property("GlobalLpPool", |draw| match draw.flag() {
            true => global(draw, &[("p", 2)], |x| norm(x.iter().copied(), 2)),
            false => global(draw, &[("p", 3)], |x| norm(x.iter().copied(), 3)),
        }),
        property("MaxUnpool", |draw| {
            let (dtype, channels) = (draw.dtype(FLOATS), draw.full_dims(2..=2, 2));
            let pooled = draw.full_dims(1..=3, 3);
            let kernel: Vec<i64> = pooled.iter().map(|_| draw.int(1..=3)).collect();
            let stride: Vec<i64> = pooled.iter().map(|_| draw.int(1..=3)).collect();
            let pads: Vec<i64> = kernel.iter().chain(&kernel).map(|&k| draw.int(0..=(k - 1).min(1))).collect();
            let n = pooled.len();
            let size = |i: usize| (pooled[i] as i64 - 1) * stride[i] + kernel[i] - pads[i] - pads[n + i];
            let image: Vec<i64> = (0..n).map(size).collect();
            let dims = [&channels[..], &pooled].concat();
            let x = draw.numbers(dtype, &dims);
            let attributes = Attributes::new().with("kernel_shape", kernel).with("strides", stride).with("pads", pads);
            let total: i64 = image.iter().product::<i64>() * (channels[0] * channels[1]) as i64;
            if image.iter().any(|&d| d < 1) || (x.num_elements() as i64) > total {
                let at = draw.integers(DType::I64, &dims, 0..=0);
                return case(attributes, [x, at], Expected::Anything);
            }
            let mut places = draw.order(total as usize);
            places.truncate(x.num_elements());
            let to: Vec<usize> = channels.iter().copied().chain(image.iter().map(|&d| d as usize)).collect();
            let mut y = Array::from_fn(&to, |_| 0.0);
            places.iter().zip(reals(&x).data).for_each(|(&at, v)| y.data[at] = v);
            let at = Array { dims, data: places.iter().map(|&p| p as i128).collect() };
            case(attributes, [x, from_ints(DType::I64, &at)], Expected::within(dtype, y, 0.0))
        }),
    ]
}

/// A window on spatial axes.
struct Window {
    input: Vec<usize>,
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// Before each axis, then after each.
    pads: Vec<usize>,
    auto: &'static str,
    ceil: bool,
}

impl Window {
    fn draw(draw: &mut Draw<'_>) -> Window {
        let rank = draw.size(1..=3);
        let mut each = |most: usize| (0..rank).map(|_| draw.size(1..=most)).collect::<Vec<usize>>();
        let (input, kernel, strides, dilations) = (each(6), each(3), each(3), each(2));
        let pads = kernel.iter().chain(&kernel).map(|&k| draw.size(0..=k - 1)).collect();
        let auto = draw.pick(&["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]);
        let mut window = Window { input, kernel, strides, dilations, pads, auto, ceil: draw.flag() };
        window.resolve();
        window
    }

    fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// The pads that `auto_pad` stands for.
    fn resolve(&mut self) {
        let rank = self.input.len();
        for axis in 0..rank {
            let output = (self.input[axis] - 1) / self.strides[axis] + 1;
            let total = ((output - 1) * self.strides[axis] + self.extent(axis)).saturating_sub(self.input[axis]);
            let (less, more) = (total / 2, total.div_ceil(2));
            (self.pads[axis], self.pads[rank + axis]) = match self.auto {
                "SAME_UPPER" => (less, more),
                "SAME_LOWER" => (more, less),
                "VALID" => (0, 0),
                _ => (self.pads[axis], self.pads[rank + axis]),
            };
        }
    }

    /// The spatial dimensions of the output; `None` where a window does not fit.
    fn output(&self, ceil: bool) -> Option<Vec<usize>> {
        let rank = self.input.len();
        let length = |axis: usize| {
            let padded = self.input[axis] + self.pads[axis] + self.pads[rank + axis];
            let room = padded.checked_sub(self.extent(axis))?;
            let stride = self.strides[axis];
            let mut count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
            // A window that would start in the padding after the image is left out.
            if ceil && (count - 1) * stride >= self.input[axis] + self.pads[axis] {
                count -= 1;
            }
            Some(count)
        };
        (0..rank).map(length).collect()
    }

    /// Where element `k` of the kernel lies for output `o`; negative or beyond the image in the padding.
    fn place(&self, o: &[usize], k: &[usize]) -> Vec<i64> {
        let at = |i: usize| (o[i] * self.strides[i] + k[i] * self.dilations[i]) as i64 - self.pads[i] as i64;
        (0..o.len()).map(at).collect()
    }

    fn inside(&self, place: &[i64]) -> Option<Vec<usize>> {
        let axes = place.iter().zip(&self.input);
        axes.map(|(&at, &length)| usize::try_from(at).ok().filter(|&at| at < length)).collect()
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = self.shared_attributes().with("ceil_mode", i64::from(self.ceil));
        attributes.set("kernel_shape", list(&self.kernel));
        attributes
    }

    fn shared_attributes(&self) -> Attributes {
        let attributes =
            Attributes::new().with("strides", list(&self.strides)).with("dilations", list(&self.dilations));
        match self.auto {
            "NOTSET" => attributes.with("pads", list(&self.pads)),
            auto => attributes.with("auto_pad", auto),
        }
    }

    /// The pool of each window: `f` is given the elements in it with their places, and how many places there are, padding
    /// included. `None` where a window is nowhere on the image.
    fn pool(&self, x: &Array<f64>, f: impl Fn(&[(f64, usize)], usize) -> f64) -> Option<Array<f64>> {
        let output = self.output(self.ceil)?;
        let rank = output.len();
        let mut is_anywhere = true;
        let y = Array::from_fn(&[&x.dims[..2], &output].concat(), |i| {
            let (mut inside, mut padded) = (Vec::new(), 0);
            for k in indices(&self.kernel) {
                let place = self.place(&i[2..], &k);
                let is_padded = |axis: usize| place[axis] < (self.input[axis] + self.pads[rank + axis]) as i64;
                padded += usize::from((0..rank).all(is_padded));
                if let Some(place) = self.inside(&place) {
                    let index = [&i[..2], &place].concat();
                    inside.push((x.at(&index), offset(&x.dims, &index)));
                }
            }
            is_anywhere &= !inside.is_empty();
            if inside.is_empty() { 0.0 } else { f(&inside, padded) }
        });
        is_anywhere.then_some(y)
    }
}

fn list(data: &[usize]) -> Vec<i64> {
    data.iter().map(|&d| d as i64).collect()
}

fn norm(x: impl Iterator<Item = f64>, p: i64) -> f64 {
    x.map(|v| v.abs().powi(p as i32)).sum::<f64>().powf(1.0 / p as f64)
}

/// A grouped convolution.
struct Convolution {
    window: Window,
    group: usize,
    x: Vec<usize>,
    w: Vec<usize>,
}

impl Convolution {
    fn draw(draw: &mut Draw<'_>) -> Convolution {
        let (window, group) = (Window::draw(draw), draw.pick(&[1, 1, 2, 3]));
        let (batch, channels, filters) = (draw.size(1..=2), draw.size(1..=3), draw.size(1..=3) * group);
        let x = [&[batch, channels * group], &window.input[..]].concat();
        let w = [&[filters, channels], &window.kernel[..]].concat();
        Convolution { window, group, x, w }
    }

    fn attributes(&self) -> Attributes {
        self.window.shared_attributes().with("group", self.group as i64)
    }

    /// Terms of each sum.
    fn depth(&self) -> f64 {
        self.w[1..].iter().product::<usize>() as f64
    }

    fn run(&self, x: &Array<f64>, w: &Array<f64>) -> Option<Array<f64>> {
        let output = self.window.output(false)?;
        let per_group = self.w[0] / self.group;
        Some(Array::from_fn(&[&[self.x[0], self.w[0]], &output[..]].concat(), |i| {
            let first = i[1] / per_group * self.w[1];
            let terms = indices(&self.w[1..]).into_iter().map(|k| {
                let place = self.window.inside(&self.window.place(&i[2..], &k[1..]));
                let x = place.map_or(0.0, |place| x.at(&[&[i[0], first + k[0]], &place[..]].concat()));
                x * w.at(&[&[i[1]], &k[..]].concat())
            });
            terms.sum()
        }))
    }
}

fn biased(y: &Array<f64>, b: Option<&Tensor>) -> Array<f64> {
    let Some(b) = b.map(reals) else { return y.clone() };
    Array::from_fn(&y.dims, |i| y.at(i) + b.data[i[1]])
}

/// Codes less their zero point, which is for all or one for each first index.
pub fn shifted(x: &Tensor, zero: Option<&Tensor>) -> Array<f64> {
    let (x, zero) = (reals(x), zero.map(reals));
    Array::from_fn(&x.dims, |i| {
        x.at(i) - zero.as_ref().map_or(0.0, |z| if z.dims.is_empty() { z.data[0] } else { z.data[i[0]] })
    })
}

/// Numbers rounded to the even of two near integers and saturated, where a hair decides, either.
pub fn rounded(dtype: DType, y: Array<f64>) -> Expected {
    let (low, high) = super::array::range(dtype);
    let (low, high) = (low as f64, high as f64);
    Expected::Such(Box::new(move |got| {
        let tensor = got.as_tensor().ok_or("not a tensor")?;
        let got = reals(tensor);
        if tensor.dtype() != dtype || got.dims != y.dims {
            return Err(format!("expected {dtype}{:?}", y.dims));
        }
        for (got, &y) in got.data.iter().zip(&y.data) {
            let hair = 1e-4 * y.abs().max(1.0);
            let (least, most) =
                ((y - hair).round_ties_even().clamp(low, high), (y + hair).round_ties_even().clamp(low, high));
            if *got < least || *got > most {
                return Err(format!("expected {y} rounded, got {got}"));
            }
        }
        Ok(())
    }))
}

fn conv_transpose(draw: &mut Draw<'_>) -> Case {
    let (dtype, mut window, group) = (draw.dtype(FLOATS), Window::draw(draw), draw.pick(&[1, 1, 2]));
    let rank = window.input.len();
    let (batch, channels, filters) = (draw.size(1..=2), draw.size(1..=2) * group, draw.size(1..=2));
    let x = draw.numbers(dtype, &[&[batch, channels], &window.input[..]].concat());
    let w = draw.numbers(dtype, &[&[channels, filters], &window.kernel[..]].concat());
    let b = draw.flag().then(|| draw.numbers(dtype, &[filters * group]));
    let extra: Vec<usize> = (0..rank).map(|i| draw.size(0..=window.strides[i].max(window.dilations[i]) - 1)).collect();
    let full = |i: usize, window: &Window| window.strides[i] * (window.input[i] - 1) + extra[i] + window.extent(i);
    let given = draw.rarely(3);
    let mut attributes = Attributes::new()
        .with("strides", list(&window.strides))
        .with("dilations", list(&window.dilations))
        .with("output_padding", list(&extra))
        .with("group", group as i64);
    // The output's length, or the total that is cut off.
    let lengths: Vec<i64> = (0..rank)
        .map(|i| {
            let full = full(i, &window) as i64;
            match window.auto {
                _ if given => full - draw.int(0..=2).min(full - 1),
                "SAME_UPPER" | "SAME_LOWER" => (window.input[i] * window.strides[i]) as i64,
                "VALID" => full,
                _ => full - (window.pads[i] + window.pads[rank + i]) as i64,
            }
        })
        .collect();
    if given {
        attributes.set("output_shape", lengths.clone());
    }
    if window.auto == "NOTSET" && !given {
        attributes.set("pads", list(&window.pads));
    } else {
        attributes.set("auto_pad", window.auto);
    }
    if window.auto != "NOTSET" || given {
        for (i, &length) in lengths.iter().enumerate() {
            let total = full(i, &window) as i64 - length;
            // Where more is asked for than there is, the standard says nothing.
            if total < 0 || (window.auto == "VALID" && given) {
                return opt_case(attributes, [Some(x), Some(w), b], [Expected::Anything]);
            }
            let (less, more) = (total as usize / 2, (total as usize).div_ceil(2));
            window.pads[i] = if window.auto == "SAME_UPPER" { less } else { more };
        }
    }
    if lengths.iter().any(|&l| l < 1) {
        return opt_case(attributes, [Some(x), Some(w), b], [Expected::Anything]);
    }
    let (xs, ws) = (reals(&x), reals(&w));
    let per_group = channels / group;
    let output: Vec<usize> = lengths.iter().map(|&l| l as usize).collect();
    let mut y = Array::from_fn(&[&[batch, filters * group], &output[..]].concat(), |_| 0.0);
    for i in indices(&xs.dims) {
        for k in indices(&ws.dims[1..]) {
            let place = window.place(&i[2..], &k[1..]);
            let axes = place.iter().zip(&output);
            let place: Option<Vec<usize>> =
                axes.map(|(&at, &length)| usize::try_from(at).ok().filter(|&at| at < length)).collect();
            if let Some(place) = place {
                let to = [&[i[0], i[1] / per_group * filters + k[0]], &place[..]].concat();
                let at = offset(&y.dims, &to);
                y.data[at] += xs.at(&i) * ws.at(&[&[i[1]], &k[..]].concat());
            }
        }
    }
    let y = biased(&y, b.as_ref());
    let depth = ws.data.len() as f64;
    opt_case(attributes, [Some(x), Some(w), b], [Expected::absolute(dtype, y, depth * 4.0)])
}

/// The image at a place between its elements, linear along each axis; 0 outside.
pub fn between(x: &Array<f64>, head: &[usize], place: &[f64]) -> f64 {
    let corners = indices(&vec![2; place.len()]);
    let corner = |c: Vec<usize>| {
        let mut weight = 1.0;
        let at: Option<Vec<usize>> = (0..place.len())
            .map(|i| {
                let floor = place[i].floor();
                let fraction = place[i] - floor;
                weight *= if c[i] == 1 { fraction } else { 1.0 - fraction };
                let at = floor as i64 + c[i] as i64;
                usize::try_from(at).ok().filter(|&at| at < x.dims[head.len() + i])
            })
            .collect();
        at.map_or(0.0, |at| weight * x.at(&[head, &at].concat()))
    };
    corners.into_iter().map(corner).sum()
}

fn deform_conv(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(FLOATS);
    let mut conv = Convolution::draw(draw);
    if conv.window.auto != "NOTSET" {
        conv.window.auto = "NOTSET";
        conv.window.pads = vec![0; 2 * conv.window.input.len()];
    }
    let rank = conv.window.input.len();
    let groups = if conv.x[1].is_multiple_of(2) && draw.flag() { 2 } else { 1 };
    let attributes = conv.attributes().with("offset_group", groups as i64);
    let taps: usize = conv.window.kernel.iter().product();
    let Some(output) = conv.window.output(false) else {
        return case(attributes, [draw.numbers(dtype, &conv.x), draw.numbers(dtype, &conv.w)], Expected::Anything);
    };
    let (x, w) = (draw.numbers(dtype, &conv.x), draw.numbers(dtype, &conv.w));
    let offsets = draw.between(dtype, &[&[conv.x[0], groups * taps * rank], &output[..]].concat(), -1.5, 1.5);
    let b = draw.flag().then(|| draw.numbers(dtype, &conv.w[..1]));
    let mask = draw.flag().then(|| draw.numbers(dtype, &[&[conv.x[0], groups * taps], &output[..]].concat()));
    let (xs, ws, os, ms) = (reals(&x), reals(&w), reals(&offsets), mask.as_ref().map(reals));
    let (per_group, per_offset) = (conv.w[0] / conv.group, conv.x[1] / groups);
    let y = Array::from_fn(&[&[conv.x[0], conv.w[0]], &output[..]].concat(), |i| {
        let first = i[1] / per_group * conv.w[1];
        let terms = indices(&conv.w[1..]).into_iter().map(|k| {
            let channel = first + k[0];
            let tap = channel / per_offset * taps + offset(&conv.window.kernel, &k[1..]);
            let place = conv.window.place(&i[2..], &k[1..]);
            let place: Vec<f64> = (0..rank)
                .map(|axis| place[axis] as f64 + os.at(&[&[i[0], tap * rank + axis], &i[2..]].concat()))
                .collect();
            let mask = ms.as_ref().map_or(1.0, |m| m.at(&[&[i[0], tap], &i[2..]].concat()));
            between(&xs, &[i[0], channel], &place) * mask * ws.at(&[&[i[1]], &k[..]].concat())
        });
        terms.sum()
    });
    let y = Expected::absolute(dtype, biased(&y, b.as_ref()), conv.depth() * 20.0);
    opt_case(attributes, [Some(x), Some(w), Some(offsets), b, mask], [y])
}

fn causal_conv(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.pick(&[DType::F32, DType::F16, DType::BF16]);
    let (batch, channels, length, k) = (draw.size(1..=2), draw.size(1..=3), draw.size(1..=5), draw.size(1..=4));
    let x = draw.numbers(dtype, &[batch, channels, length]);
    let w = draw.numbers(dtype, &[channels, 1, k]);
    let b = draw.flag().then(|| draw.numbers(dtype, &[channels]));
    let past = draw.flag().then(|| draw.numbers(dtype, &[batch, channels, k - 1]));
    let activation = draw.pick(&["none", "silu", "swish"]);
    let (xs, ws, bs, ps) = (reals(&x), reals(&w), b.as_ref().map(reals), past.as_ref().map(reals));
    let whole = Array::from_fn(&[batch, channels, k - 1 + length], |i| match i[2] < k - 1 {
        true => ps.as_ref().map_or(0.0, |p| p.at(i)),
        false => xs.at(&[i[0], i[1], i[2] - (k - 1)]),
    });
    let y = Array::from_fn(&xs.dims, |i| {
        let sum = (0..k).map(|t| whole.at(&[i[0], i[1], i[2] + t]) * ws.at(&[i[1], 0, t])).sum::<f64>();
        let sum = sum + bs.as_ref().map_or(0.0, |b| b.at(&[i[1]]));
        if activation == "none" { sum } else { sum / (1.0 + (-sum).exp()) }
    });
    let present = Array::from_fn(&[batch, channels, k - 1], |i| whole.at(&[i[0], i[1], i[2] + length]));
    let expected = [Expected::absolute(dtype, y, 40.0), Expected::within(dtype, present, 0.0)];
    opt_case(Attributes::new().with("activation", activation), [Some(x), Some(w), b, past], expected)
}

fn col2im(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(CLASSIC_TENSORS.without(Types::of(&[DType::String, DType::Bool])));
    let mut window = Window::draw(draw);
    (window.auto, window.ceil) = ("NOTSET", false);
    let attributes = window.shared_attributes();
    let dims = |data: &[usize]| vector(&list(data));
    let shapes = [dims(&window.input), dims(&window.kernel)];
    let Some(blocks) = window.output(false).filter(|_| NUMERIC.contains(dtype)) else {
        let x = draw.any(DType::F32, &[1, 1, 1]);
        return case(attributes, [x].into_iter().chain(shapes), Expected::Anything);
    };
    let (batch, channels) = (draw.size(1..=2), draw.size(1..=2));
    let taps: usize = window.kernel.iter().product();
    let x = draw.integers(dtype, &[batch, channels * taps, blocks.iter().product()], 0..=9);
    let xs = reals(&x);
    let mut y = Array::from_fn(&[&[batch, channels], &window.input[..]].concat(), |_| 0.0);
    for i in indices(&xs.dims) {
        let k = &indices(&window.kernel)[i[1] % taps];
        if let Some(place) = window.inside(&window.place(&indices(&blocks)[i[2]], k)) {
            let at = offset(&y.dims, &[&[i[0], i[1] / taps], &place[..]].concat());
            y.data[at] += xs.at(&i);
        }
    }
    case(attributes, [x].into_iter().chain(shapes), Expected::numbers(dtype, y))
}

fn max_pool(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(FLOATS.or(BYTES));
    let (window, channels, column_major) = (Window::draw(draw), draw.full_dims(2..=2, 2), draw.rarely(3));
    let dims = [&channels[..], &window.input].concat();
    let x = if dtype.is_float() { draw.numbers(dtype, &dims) } else { draw.any(dtype, &dims) };
    let xs = reals(&x);
    let first = |inside: &[(f64, usize)]| {
        let max = inside.iter().fold(f64::NEG_INFINITY, |m, (v, _)| m.max(*v));
        inside.iter().find(|(v, _)| *v == max).copied().unwrap_or((max, 0))
    };
    let y = window.pool(&xs, |inside, _| first(inside).0);
    let at = window.pool(&xs, |inside, _| {
        let at = first(inside).1;
        if !column_major {
            return at as f64;
        }
        // The image of a channel counted with its first axis fastest.
        let index = &indices(&xs.dims)[at];
        let plane: usize = window.input.iter().product();
        let place = index[2..].iter().zip(&window.input).rev().fold(0, |at, (&i, &d)| at * d + i);
        (at / plane * plane + place) as f64
    });
    let attributes = window.attributes().with("storage_order", i64::from(column_major));
    let expected = match y.zip(at) {
        Some((y, at)) => [Expected::within(dtype, y, 0.0), Expected::numbers(DType::I64, at)],
        None => [Expected::Anything, Expected::Anything],
    };
    opt_case(attributes, [Some(x)], expected)
}

fn global(draw: &mut Draw<'_>, attributes: &[(&str, i64)], f: fn(&[f64]) -> f64) -> Case {
    let (dtype, dims) = (draw.dtype(FLOATS), draw.full_dims(3..=5, 3));
    let x = draw.numbers(dtype, &dims);
    let xs = reals(&x);
    let ones = vec![1; dims.len() - 2];
    let y = Array::from_fn(&[&dims[..2], &ones].concat(), |i| {
        let all: Vec<f64> = indices(&dims[2..]).iter().map(|k| xs.at(&[&i[..2], k].concat())).collect();
        f(&all)
    });
    let attributes = attributes.iter().fold(Attributes::new(), |all, &(name, value)| all.with(name, value));
    case(attributes, [x], Expected::absolute(dtype, y, 20.0))
}

#[test]
fn windows_are_as_defined() {
    super::check_all(properties());
}
