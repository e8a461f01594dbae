//! Operators that sample images at places between their elements, and boxes on images.

use super::array::{Array, from_reals, indices, reals};
use super::draw::{Draw, vector};
use super::windows::between;
use super::{Case, Expected, Property, case, opt_case, property};
use planish_ir::{Attributes, FLOATS};
use planish_tensor::{DType, Tensor};

pub fn properties() -> Vec<Property> {
    vec![
        property("Resize", resize),
        property("GridSample", grid_sample),
        property("AffineGrid", |draw| {
            let dtype = draw.dtype(FLOATS);
            let (rank, batch, aligned) = (draw.size(2..=3), draw.size(1..=2), draw.flag());
            let theta = draw.numbers(dtype, &[batch, rank, rank + 1]);
            let image = draw.full_dims(rank..=rank, 4);
            let size: Vec<i64> = [batch, 3].iter().chain(&image).map(|&d| d as i64).collect();
            let matrix = reals(&theta);
            // Coordinates go from the last spatial axis to the first, −1 and 1 being the edges or the outer elements.
            let along = |axis: usize, i: usize| match (aligned, image[axis]) {
                (true, 1) => -1.0,
                (true, length) => 2.0 * i as f64 / (length - 1) as f64 - 1.0,
                (false, length) => (2.0 * i as f64 + 1.0) / length as f64 - 1.0,
            };
            let y = Array::from_fn(&[&[batch], &image[..], &[rank]].concat(), |i| {
                let point = |k: usize| if k == rank { 1.0 } else { along(rank - 1 - k, i[1 + rank - 1 - k]) };
                (0..=rank).map(|k| matrix.at(&[i[0], i[1 + rank], k]) * point(k)).sum()
            });
            let is_defined = !aligned || image.iter().all(|&d| d > 1);
            let attributes = Attributes::new().with("align_corners", i64::from(aligned));
            let y = if is_defined { Expected::absolute(dtype, y, 8.0) } else { Expected::Anything };
            case(attributes, [theta, vector(&size)], y)
        }),
        property("RoiAlign", roi_align),
        property("MaxRoiPool", max_roi_pool),
        property("NonMaxSuppression", suppression).of_elements(),
    ]
}

/// A place on an axis, and the elements and weights that make its value.
fn taps(
    mode: &str,
    place: f64,
    length: usize,
    scale: f64,
    a: f64,
    antialias: bool,
    exclude: bool,
) -> Vec<(usize, f64)> {
    let stretch = if antialias && scale < 1.0 { 1.0 / scale } else { 1.0 };
    let (reach, filter): (f64, Box<dyn Fn(f64) -> f64>) = match mode {
        "linear" => (1.0, Box::new(|t: f64| (1.0 - t.abs()).max(0.0))),
        _ => (
            2.0,
            Box::new(move |t: f64| match t.abs() {
                t if t <= 1.0 => (a + 2.0) * t.powi(3) - (a + 3.0) * t.powi(2) + 1.0,
                t if t < 2.0 => a * t.powi(3) - 5.0 * a * t.powi(2) + 8.0 * a * t - 4.0 * a,
                _ => 0.0,
            }),
        ),
    };
    let first = (place - reach * stretch).floor() as i64;
    let last = (place + reach * stretch).ceil() as i64;
    let all: Vec<(i64, f64)> = (first..=last).map(|i| (i, filter((i as f64 - place) / stretch))).collect();
    let is_inside = |i: i64| (0..length as i64).contains(&i);
    let total: f64 = match exclude {
        true => all.iter().filter(|(i, _)| is_inside(*i)).map(|(_, w)| w).sum(),
        false => all.iter().map(|(_, w)| w).sum(),
    };
    let kept = all.into_iter().filter(|(i, _)| !exclude || is_inside(*i));
    kept.map(|(i, w)| (i.clamp(0, length as i64 - 1) as usize, w / total)).collect()
}

fn resize(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(FLOATS);
    let dims = draw.full_dims(1..=4, 5);
    let rank = dims.len();
    let (mut axes, written) = draw.axes(rank);
    let all = draw.flag() || axes.is_empty();
    if all {
        axes = (0..rank).collect();
    }
    // Only the last two axes change in images of rank 4; the first are named at most as they are.
    let moves = |axis: usize| rank < 4 || axis > 1;
    let mode = draw.pick(&["nearest", "linear", "cubic"]);
    let mapping = draw.pick(&[
        "half_pixel",
        "half_pixel_symmetric",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_crop_and_resize",
    ]);
    let nearest = draw.pick(&["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]);
    let policy = draw.pick(&["stretch", "not_larger", "not_smaller"]);
    let by_scale = draw.flag();
    let antialias = mode != "nearest" && mapping != "tf_crop_and_resize" && draw.rarely(4);
    let exclude = mode == "cubic" && draw.flag();
    let a = draw.pick(&[-0.75f32, -0.5]);
    let extrapolation = draw.pick(&[0.0f32, 7.0]);
    let scales: Vec<f32> = axes
        .iter()
        .map(|&axis| if moves(axis) { draw.pick(&[1.0f32, 2.0, 0.5, 1.5, 0.75, 3.0, 0.6]) } else { 1.0 })
        .collect();
    let sizes: Vec<usize> = axes.iter().map(|&axis| if moves(axis) { draw.size(1..=7) } else { dims[axis] }).collect();
    let policy = if by_scale || (rank == 4 && all) { "stretch" } else { policy };
    let mut corner = |list: &[f32]| -> Vec<f32> {
        axes.iter().map(|&axis| if moves(axis) { draw.pick(list) } else { list[0] }).collect()
    };
    let roi = [corner(&[0.0, 0.25, -0.5]), corner(&[1.0, 0.75, 1.5])].concat();
    let mut to = dims.clone();
    let mut factors = vec![1.0f64; rank];
    let (mut starts, mut ends) = (vec![0.0; rank], vec![1.0; rank]);
    let ratio = |n: usize| sizes[n] as f64 / dims[axes[n]] as f64;
    let ratios = (0..axes.len()).map(ratio);
    let common = if policy == "not_larger" { ratios.fold(f64::INFINITY, f64::min) } else { ratios.fold(0.0, f64::max) };
    for (n, &axis) in axes.iter().enumerate() {
        let length = dims[axis] as f64;
        if mapping == "tf_crop_and_resize" {
            (starts[axis], ends[axis]) = (f64::from(roi[n]), f64::from(roi[axes.len() + n]));
        }
        (to[axis], factors[axis]) = match (by_scale, policy) {
            // The text has a factor of the crop's extent; the reference evaluator and ONNX Runtime leave it out.
            (true, _) => ((length * f64::from(scales[n])).floor() as usize, f64::from(scales[n])),
            (false, "stretch") => (sizes[n], sizes[n] as f64 / length),
            (false, _) => ((common * length + 0.5).floor() as usize, common),
        };
    }
    let mut attributes = Attributes::new()
        .with("mode", mode)
        .with("coordinate_transformation_mode", mapping)
        .with("nearest_mode", nearest)
        .with("antialias", i64::from(antialias))
        .with("exclude_outside", i64::from(exclude))
        .with("cubic_coeff_a", a)
        .with("extrapolation_value", extrapolation);
    if !by_scale {
        attributes.set("keep_aspect_ratio_policy", policy);
    }
    if !all {
        attributes.set("axes", written);
    }
    let x = draw.numbers(dtype, &dims);
    let sizes: Vec<i64> = sizes.iter().map(|&s| s as i64).collect();
    let inputs = [
        Some(x.clone()),
        (mapping == "tf_crop_and_resize").then(|| Tensor::vector(&roi)),
        by_scale.then(|| Tensor::vector(&scales)),
        (!by_scale).then(|| vector(&sizes)),
    ];
    // The standard leaves open what becomes of empty outputs and of crops by the wrong length.
    if to.contains(&0) {
        return opt_case(attributes, inputs, [Expected::Anything]);
    }
    let place = |axis: usize, i: usize| -> f64 {
        let (i, length, factor) = (i as f64, dims[axis] as f64, factors[axis]);
        // ONNX's tests have the length before it is made a whole number.
        let resized = factor * length;
        match mapping {
            "half_pixel" => (i + 0.5) / factor - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = to[axis] as f64 / resized;
                length / 2.0 * (1.0 - adjustment) + (i + 0.5) / factor - 0.5
            }
            "pytorch_half_pixel" => {
                if to[axis] > 1 {
                    (i + 0.5) / factor - 0.5
                } else {
                    0.0
                }
            }
            "align_corners" => {
                if to[axis] > 1 {
                    i * (length - 1.0) / (resized - 1.0)
                } else {
                    0.0
                }
            }
            "asymmetric" => i / factor,
            _ if !axes.contains(&axis) => i,
            _ if to[axis] > 1 => {
                starts[axis] * (length - 1.0) + i * (ends[axis] - starts[axis]) * (length - 1.0) / (resized - 1.0)
            }
            _ => 0.5 * (starts[axis] + ends[axis]) * (length - 1.0),
        }
    };
    let is_edge = std::cell::Cell::new(false);
    let axis_taps = |axis: usize, i: usize| -> Vec<(usize, f64)> {
        let at = place(axis, i);
        let length = dims[axis];
        if to[axis] == length && factors[axis] == 1.0 && mapping != "tf_crop_and_resize" {
            return vec![(i, 1.0)];
        }
        // A hair's difference in a coordinate decides which element is nearest, or whether a place is outside.
        let near = |v: f64| {
            (v - v.round()).abs() < 1e-6 && v != v.round() || (v - v.floor() - 0.5).abs() < 1e-6 && v - v.floor() != 0.5
        };
        let whole_at_risk = !matches!(mapping, "asymmetric") || factors[axis] != factors[axis].round();
        if mode == "nearest" {
            let half = (at - at.floor() - 0.5).abs() < 1e-6;
            let whole = (at - at.round()).abs() < 1e-6;
            is_edge.set(
                is_edge.get()
                    || near(at)
                    || (whole_at_risk
                        && match nearest {
                            "floor" | "ceil" => whole,
                            _ => half,
                        }),
            );
            let nearest = match nearest {
                "round_prefer_floor" => (at - 0.5).ceil(),
                "round_prefer_ceil" => (at + 0.5).floor(),
                "floor" => at.floor(),
                _ => at.ceil(),
            };
            return vec![(nearest.clamp(0.0, length as f64 - 1.0) as usize, 1.0)];
        }
        taps(mode, at, length, factors[axis], a.into(), antialias, exclude)
    };
    let is_outside = |axis: usize, i: usize| {
        let (at, last) = (place(axis, i), dims[axis] as f64 - 1.0);
        let hair = 1e-6;
        let risky = (at.abs() < hair && at != 0.0) || ((at - last).abs() < hair && at != last);
        is_edge.set(is_edge.get() || risky);
        mapping == "tf_crop_and_resize" && (at < 0.0 || at > last)
    };
    let xs = reals(&x);
    let y = Array::from_fn(&to, |index| {
        if (0..rank).any(|axis| is_outside(axis, index[axis])) {
            return f64::from(extrapolation);
        }
        let each: Vec<Vec<(usize, f64)>> = (0..rank).map(|axis| axis_taps(axis, index[axis])).collect();
        let counts: Vec<usize> = each.iter().map(Vec::len).collect();
        indices(&counts)
            .iter()
            .map(|c| {
                let at: Vec<usize> = (0..rank).map(|axis| each[axis][c[axis]].0).collect();
                let weight: f64 = (0..rank).map(|axis| each[axis][c[axis]].1).product();
                weight * xs.at(&at)
            })
            .sum()
    });
    let expected = if is_edge.get() { Expected::Anything } else { Expected::absolute(dtype, y, 20.0) };
    opt_case(attributes, inputs, [expected])
}

/// A place reflected at two edges as often as it takes.
fn fold(at: f64, low: f64, high: f64) -> f64 {
    let span = high - low;
    if span == 0.0 {
        return low;
    }
    let turn = (at - low).rem_euclid(2.0 * span);
    low + turn.min(2.0 * span - turn)
}

fn grid_sample(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(FLOATS);
    let rank = draw.size(2..=3);
    let (mode, padding, aligned) =
        (draw.pick(&["linear", "nearest", "cubic"]), draw.pick(&["zeros", "border", "reflection"]), draw.flag());
    let mode = if rank > 2 && mode == "cubic" { "linear" } else { mode };
    let (batch, channels) = (draw.size(1..=2), draw.size(1..=2));
    let (image, output) = (draw.full_dims(rank..=rank, 4), draw.full_dims(rank..=rank, 3));
    let x = draw.numbers(dtype, &[&[batch, channels], &image[..]].concat());
    let reach = draw.pick(&[1.0, 2.5]);
    let grid = draw.between(dtype, &[&[batch], &output[..], &[rank]].concat(), -reach, reach);
    let (xs, gs) = (reals(&x), reals(&grid));
    let is_edge = std::cell::Cell::new(false);
    // The edges that reflection folds at.
    let edges = |length: f64| if aligned { (0.0, length - 1.0) } else { (-0.5, length - 0.5) };
    let pad = |at: f64, length: f64| match padding {
        "border" => at.clamp(0.0, length - 1.0),
        "reflection" => {
            let (low, high) = edges(length);
            fold(at, low, high).clamp(0.0, length - 1.0)
        }
        _ => at,
    };
    let value = |head: &[usize], place: &[i64]| {
        let axes = place.iter().zip(&image);
        let at: Option<Vec<usize>> = axes
            .map(|(&at, &length)| {
                // Neighbours outside are padded too.
                let at = if padding == "zeros" { at as f64 } else { pad(at as f64, length as f64) };
                usize::try_from(at.round() as i64).ok().filter(|&at| at < length)
            })
            .collect();
        at.map_or(0.0, |at| xs.at(&[head, &at].concat()))
    };
    let y = Array::from_fn(&[&[batch, channels], &output[..]].concat(), |i| {
        let place: Vec<f64> = (0..rank)
            .map(|axis| {
                let (g, length) = (gs.at(&[&[i[0]], &i[2..], &[rank - 1 - axis]].concat()), image[axis] as f64);
                if aligned { (g + 1.0) / 2.0 * (length - 1.0) } else { ((g + 1.0) * length - 1.0) / 2.0 }
            })
            .collect();
        let lengths = image.iter().map(|&d| d as f64);
        let padded: Vec<f64> = place
            .iter()
            .zip(lengths)
            .map(|(&at, length)| match edges(length) {
                // Between the edge and the outermost element a place stays; its neighbours are padded.
                (low, high) if mode == "cubic" && (low..=high).contains(&at) => at,
                (low, high) if mode == "cubic" && padding == "reflection" => fold(at, low, high),
                _ => pad(at, length),
            })
            .collect();
        match mode {
            "linear" => between(&xs, &i[..2], &padded),
            "nearest" => {
                is_edge.set(
                    is_edge.get() || padded.iter().any(|at| (at - at.floor() - 0.5).abs() < 2e-2 || at.abs() > 1e6),
                );
                let whole: Vec<i64> = padded.iter().map(|at| at.round_ties_even() as i64).collect();
                value(&i[..2], &whole)
            }
            _ => {
                let weight = |t: f64| {
                    let (t, a) = (t.abs(), -0.75);
                    if t <= 1.0 {
                        (a + 2.0) * t.powi(3) - (a + 3.0) * t.powi(2) + 1.0
                    } else if t < 2.0 {
                        a * t.powi(3) - 5.0 * a * t.powi(2) + 8.0 * a * t - 4.0 * a
                    } else {
                        0.0
                    }
                };
                indices(&vec![4; rank])
                    .iter()
                    .map(|c| {
                        let at: Vec<i64> =
                            (0..rank).map(|axis| padded[axis].floor() as i64 + c[axis] as i64 - 1).collect();
                        let w: f64 = (0..rank).map(|axis| weight(padded[axis] - at[axis] as f64)).product();
                        w * value(&i[..2], &at)
                    })
                    .sum()
            }
        }
    });
    let attributes =
        Attributes::new().with("mode", mode).with("padding_mode", padding).with("align_corners", i64::from(aligned));
    // Narrow floats move a place by more than an element's rounding.
    let scale = if matches!(dtype, DType::F16 | DType::BF16) { 40.0 } else { 30.0 };
    let expected = if is_edge.get() { Expected::Anything } else { Expected::absolute(dtype, y, scale) };
    case(attributes, [x, grid], expected)
}

fn roi_align(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(FLOATS);
    let (batch, channels, rois) = (draw.size(1..=2), draw.size(1..=2), draw.size(1..=3));
    let (h, w, out_h, out_w) = (draw.size(1..=5), draw.size(1..=5), draw.size(1..=3), draw.size(1..=3));
    let (ratio, half, max) = (draw.int(0..=3), draw.flag(), draw.rarely(3));
    let scale = draw.pick(&[1.0f32, 0.5]);
    let x = draw.numbers(dtype, &[batch, channels, h, w]);
    let corners = reals(&draw.integers(DType::I32, &[rois, 4], 0..=12)).map(|v| v * 0.5);
    let boxes = from_reals(
        dtype,
        &Array::from_fn(&[rois, 4], |i| {
            let at = |k| corners.at(&[i[0], k]);
            if i[1] < 2 { at(i[1]) - 1.0 } else { at(i[1] - 2) + at(i[1]) * 0.5 }
        }),
    );
    let images = draw.integers(DType::I64, &[rois], 0..=batch as i64 - 1);
    let (xs, bs, ims) = (reals(&x), reals(&boxes), reals(&images));
    let y = Array::from_fn(&[rois, channels, out_h, out_w], |i| {
        let shift = if half { 0.5 } else { 0.0 };
        let corner = |k: usize| bs.at(&[i[0], k]) * f64::from(scale) - shift;
        let (x1, y1, x2, y2) = (corner(0), corner(1), corner(2), corner(3));
        let least = if half { f64::NEG_INFINITY } else { 1.0 };
        let (bin_h, bin_w) = ((y2 - y1).max(least) / out_h as f64, (x2 - x1).max(least) / out_w as f64);
        let count = |bin: f64| if ratio > 0 { ratio as usize } else { bin.ceil().max(0.0) as usize };
        let (rows, columns) = (count(bin_h), count(bin_w));
        let samples = indices(&[rows, columns]);
        let points = samples.iter().map(|s| {
            let at_y = y1 + bin_h * (i[2] as f64 + (s[0] as f64 + 0.5) / rows as f64);
            let at_x = x1 + bin_w * (i[3] as f64 + (s[1] as f64 + 0.5) / columns as f64);
            (at_y, at_x)
        });
        let mut greatest = f64::NEG_INFINITY;
        let mut sum = 0.0;
        for (at_y, at_x) in points {
            // More than an element outside is 0; nearer, the edge goes on.
            let is_far = at_y < -1.0 || at_y > h as f64 || at_x < -1.0 || at_x > w as f64;
            let place = [at_y.clamp(0.0, h as f64 - 1.0), at_x.clamp(0.0, w as f64 - 1.0)];
            let (low_y, low_x) = (place[0].floor() as usize, place[1].floor() as usize);
            let (fy, fx) = (place[0].fract(), place[1].fract());
            let at = |dy: usize, dx: usize| {
                xs.at(&[ims.data[i[0]] as usize, i[1], (low_y + dy).min(h - 1), (low_x + dx).min(w - 1)])
            };
            let parts = [
                at(0, 0) * (1.0 - fy) * (1.0 - fx),
                at(0, 1) * (1.0 - fy) * fx,
                at(1, 0) * fy * (1.0 - fx),
                at(1, 1) * fy * fx,
            ];
            let parts = if is_far { [0.0; 4] } else { parts };
            sum += parts.iter().sum::<f64>();
            greatest = parts.iter().copied().fold(greatest, f64::max);
        }
        match samples.len() {
            0 => 0.0,
            _ if max => greatest,
            count => sum / count as f64,
        }
    });
    let attributes = Attributes::new()
        .with("coordinate_transformation_mode", if half { "half_pixel" } else { "output_half_pixel" })
        .with("mode", if max { "max" } else { "avg" })
        .with("output_height", out_h as i64)
        .with("output_width", out_w as i64)
        .with("sampling_ratio", ratio)
        .with("spatial_scale", scale);
    case(attributes, [x, boxes, images], Expected::absolute(dtype, y, 40.0))
}

fn max_roi_pool(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(FLOATS);
    let (batch, channels, rois) = (draw.size(1..=2), draw.size(1..=2), draw.size(1..=3));
    let (h, w, out_h, out_w) = (draw.size(2..=6), draw.size(2..=6), draw.size(1..=3), draw.size(1..=3));
    let x = draw.numbers(dtype, &[batch, channels, h, w]);
    let corners = reals(&draw.integers(DType::I32, &[rois, 4], 0..=5));
    let images = reals(&draw.integers(DType::I32, &[rois], 0..=batch as i64 - 1));
    let boxes = Array::from_fn(&[rois, 5], |i| {
        let at = |k: usize| corners.at(&[i[0], k]);
        match i[1] {
            0 => images.data[i[0]],
            k @ (1 | 2) => at(k - 1).min(at(k + 1)),
            k => at(k - 1).max(at(k - 3)),
        }
    });
    let xs = reals(&x);
    let y = Array::from_fn(&[rois, channels, out_h, out_w], |i| {
        let corner = |k: usize| boxes.at(&[i[0], k]) as i64;
        let range = |low: i64, high: i64, out: usize, at: usize, length: usize| {
            let bin = (high - low + 1).max(1) as f64 / out as f64;
            let first = low + (at as f64 * bin).floor() as i64;
            let last = low + ((at + 1) as f64 * bin).ceil() as i64;
            first.clamp(0, length as i64)..last.clamp(0, length as i64)
        };
        let rows = range(corner(2), corner(4), out_h, i[2], h);
        let columns = range(corner(1), corner(3), out_w, i[3], w);
        let all = rows.flat_map(|r| columns.clone().map(move |c| (r as usize, c as usize)));
        all.map(|(r, c)| xs.at(&[corner(0) as usize, i[1], r, c])).reduce(f64::max).unwrap_or(0.0)
    });
    let attributes = Attributes::new().with("pooled_shape", vec![out_h as i64, out_w as i64]);
    case(attributes, [x, from_reals(dtype, &boxes)], Expected::within(dtype, y, 0.0))
}

fn suppression(draw: &mut Draw<'_>) -> Case {
    let (batch, classes, count) = (draw.size(1..=2), draw.size(1..=2), draw.size(0..=5));
    let center = draw.flag();
    let boxes = draw.integers(DType::F32, &[batch, count, 4], 0..=4);
    // No two scores are equal, so that the order is defined.
    let order = draw.order(batch * classes * count);
    let scores = Tensor::vector(&order.iter().map(|&o| o as f32 / 32.0).collect::<Vec<f32>>());
    let scores = super::draw::reshaped(&scores, &[batch, classes, count]);
    let most = draw.flag().then(|| draw.int(0..=3));
    let iou = draw.flag().then(|| draw.pick(&[0.0f32, 0.3, 0.6]));
    let least = draw.flag().then(|| draw.pick(&[0.1f32, 0.26]));
    let (bs, ss) = (reals(&boxes), reals(&scores));
    let area = |(a, b, c, d): (f64, f64, f64, f64)| (c - a).max(0.0) * (d - b).max(0.0);
    let corners = |b: usize, i: usize| {
        let at = |k| bs.at(&[b, i, k]);
        match center {
            true => (at(0) - at(2) / 2.0, at(1) - at(3) / 2.0, at(0) + at(2) / 2.0, at(1) + at(3) / 2.0),
            false => (at(0).min(at(2)), at(1).min(at(3)), at(0).max(at(2)), at(1).max(at(3))),
        }
    };
    let overlap = |b: usize, i: usize, j: usize| {
        let (p, q) = (corners(b, i), corners(b, j));
        let both = area((p.0.max(q.0), p.1.max(q.1), p.2.min(q.2), p.3.min(q.3)));
        let union = area(p) + area(q) - both;
        if union > 0.0 { both / union } else { 0.0 }
    };
    let mut found = Vec::new();
    for b in 0..batch {
        for c in 0..classes {
            let mut left: Vec<usize> =
                (0..count).filter(|&i| least.is_none_or(|least| ss.at(&[b, c, i]) > least.into())).collect();
            left.sort_by(|&i, &j| ss.at(&[b, c, j]).total_cmp(&ss.at(&[b, c, i])));
            let mut kept: Vec<usize> = Vec::new();
            for i in left {
                let fits = kept.iter().all(|&k| overlap(b, i, k) <= iou.unwrap_or(0.0).into());
                if fits && (kept.len() as i64) < most.unwrap_or(0) {
                    kept.push(i);
                }
            }
            found.extend(kept.into_iter().map(|i| [b as i64, c as i64, i as i64]));
        }
    }
    let y = super::draw::reshaped(&vector(found.as_flattened()), &[found.len(), 3]);
    let attributes = Attributes::new().with("center_point_box", i64::from(center));
    let inputs = [
        Some(boxes),
        Some(scores),
        most.map(|m| vector(&[m])),
        iou.map(|v| Tensor::vector(&[v])),
        least.map(|v| Tensor::vector(&[v])),
    ];
    opt_case(attributes, inputs, [Expected::Exactly(y.into())])
}

#[test]
fn samples_of_images_are_as_defined() {
    super::check_all(properties());
}
