//! Operators that move elements without reading them: elements of every dtype, compared to the bit.

use super::array::{Array, Cell, broadcast_dims, cells, empty, indices, int_bits, offset};
use super::draw::{Draw, index_tensor, reshaped, vector};
use super::{Case, Expected, Property, case, opt_case, property};
use planish_ir::{ALL_TENSORS, Attributes, BOOL, CLASSIC_TENSORS, COMPLEX, INDICES, NUMERIC, STRING};
use planish_tensor::{DType, Tensor};

pub fn properties() -> Vec<Property> {
    vec![
        property("Identity", |draw| same(draw, |_, dims| (dims.to_vec(), Attributes::new(), None))),
        property("Flatten", |draw| {
            same(draw, |draw, dims| {
                let rank = dims.len();
                let axis = draw.below(rank + 1);
                let written = if draw.flag() && axis < rank { axis as i64 - rank as i64 } else { axis as i64 };
                let flat = vec![dims[..axis].iter().product(), dims[axis..].iter().product()];
                (flat, Attributes::new().with("axis", written), None)
            })
        }),
        property("Reshape", |draw| {
            same(draw, |draw, dims| {
                // Joins two axes, or adds one of length 1; then says some lengths otherwise.
                let mut to = dims.to_vec();
                if draw.flag() && to.len() > 1 {
                    let at = draw.below(to.len() - 1);
                    let joined = to[at] * to.remove(at + 1);
                    to[at] = joined;
                }
                if draw.flag() {
                    to.insert(draw.below(to.len() + 1), 1);
                }
                let allowzero = draw.flag();
                let mut written: Vec<i64> = to.iter().map(|&d| d as i64).collect();
                for (i, length) in written.iter_mut().enumerate() {
                    if !allowzero && dims.get(i) == Some(&to[i]) && (draw.flag() || to[i] == 0) {
                        *length = 0;
                    }
                }
                let is_known = to.iter().all(|&d| d > 0);
                if draw.flag() && !to.is_empty() && is_known {
                    let at = draw.below(to.len());
                    written[at] = -1;
                }
                if !allowzero && (0..to.len()).any(|i| to[i] == 0 && dims.get(i) != Some(&0)) {
                    (dims.to_vec(), Attributes::new(), Some(vector(&vec![0; dims.len()])))
                } else {
                    (to, Attributes::new().with("allowzero", i64::from(allowzero)), Some(vector(&written)))
                }
            })
        }),
        property("Squeeze", |draw| {
            same(draw, |draw, dims| {
                let ones: Vec<usize> = (0..dims.len()).filter(|&i| dims[i] == 1).collect();
                let chosen: Vec<usize> = ones.iter().copied().filter(|_| draw.flag()).collect();
                let all = draw.flag();
                let gone = if all { &ones } else { &chosen };
                let kept = (0..dims.len()).filter(|i| !gone.contains(i)).map(|i| dims[i]).collect();
                let written = signed(draw, gone, dims.len());
                (kept, Attributes::new(), (!all).then(|| vector(&written)))
            })
        }),
        property("Unsqueeze", |draw| {
            same(draw, |draw, dims| {
                let rank = dims.len() + draw.size(0..=3);
                let mut axes = draw.order(rank);
                axes.truncate(rank - dims.len());
                let mut rest = dims.iter();
                let to = (0..rank).map(|i| if axes.contains(&i) { 1 } else { *rest.next().unwrap() }).collect();
                let written = signed(draw, &axes, rank);
                (to, Attributes::new(), Some(vector(&written)))
            })
        }),
        property("Transpose", |draw| {
            let (x, dims) = any(draw, 0..=4);
            let (attributes, order) = match draw.flag() {
                false => (Attributes::new(), (0..dims.len()).rev().collect()),
                true => {
                    let order = draw.order(dims.len());
                    let perm: Vec<i64> = order.iter().map(|&a| a as i64).collect();
                    (Attributes::new().with("perm", perm), order)
                }
            };
            let to: Vec<usize> = order.iter().map(|&a| dims[a]).collect();
            moved(attributes, vec![Some(x)], &to, |index| {
                let mut from = vec![0; index.len()];
                order.iter().zip(index).for_each(|(&axis, &i)| from[axis] = i);
                Some(from)
            })
        }),
        property("Expand", |draw| {
            let to = draw.dims(0..=3, 4);
            let dims = draw.narrower(&to);
            let asked = draw.narrower(&to);
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let x = draw.any(dtype, &dims);
            let to = broadcast_dims(&[&dims, &asked]);
            let asked: Vec<i64> = asked.iter().map(|&d| d as i64).collect();
            moved(Attributes::new(), vec![Some(x), Some(vector(&asked))], &to, |index| {
                let own = &index[index.len() - dims.len()..];
                Some(own.iter().zip(&dims).map(|(&i, &d)| if d == 1 { 0 } else { i }).collect())
            })
        }),
        property("Tile", |draw| {
            let (x, dims) = any(draw, 1..=3);
            let repeats: Vec<i64> = dims.iter().map(|_| draw.int(0..=3)).collect();
            let to: Vec<usize> = dims.iter().zip(&repeats).map(|(&d, &r)| d * r as usize).collect();
            moved(Attributes::new(), vec![Some(x), Some(vector(&repeats))], &to, |index| {
                Some(index.iter().zip(&dims).map(|(&i, &d)| i % d).collect())
            })
        }),
        property("Concat", concat),
        property("Split", split),
        property("Slice", slice),
        property("Pad", pad),
        property("DepthToSpace", |draw| {
            let (b, c, block) = (draw.size(1..=2), draw.size(1..=3), draw.size(1..=3));
            let (h, w) = (draw.size(1..=3), draw.size(1..=3));
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let x = draw.any(dtype, &[b, c * block * block, h, w]);
            let mode = draw.pick(&["DCR", "CRD"]);
            let attributes = Attributes::new().with("blocksize", block as i64).with("mode", mode);
            moved(attributes, vec![Some(x)], &[b, c, h * block, w * block], |i| {
                let (row, column) = (i[2] % block, i[3] % block);
                let from = match mode {
                    "DCR" => (row * block + column) * c + i[1],
                    _ => (i[1] * block + row) * block + column,
                };
                Some(vec![i[0], from, i[2] / block, i[3] / block])
            })
        }),
        property("SpaceToDepth", |draw| {
            let (b, c, block) = (draw.size(1..=2), draw.size(1..=3), draw.size(1..=3));
            let (h, w) = (draw.size(1..=3), draw.size(1..=3));
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let x = draw.any(dtype, &[b, c, h * block, w * block]);
            let attributes = Attributes::new().with("blocksize", block as i64);
            moved(attributes, vec![Some(x)], &[b, c * block * block, h, w], |i| {
                let (place, channel) = (i[1] / c, i[1] % c);
                Some(vec![i[0], channel, i[2] * block + place / block, i[3] * block + place % block])
            })
        }),
        property("ReverseSequence", |draw| {
            let (x, dims) = classic(draw, 2..=4);
            let (time, batch) = draw.pick(&[(0, 1), (1, 0)]);
            let lengths: Vec<i64> = (0..dims[batch]).map(|_| draw.int(0..=dims[time] as i64)).collect();
            let attributes = Attributes::new().with("time_axis", time as i64).with("batch_axis", batch as i64);
            let is_allowed = lengths.iter().all(|&l| l > 0);
            let lens = lengths.clone();
            let mut case = moved(attributes, vec![Some(x), Some(vector(&lengths))], &dims, move |i| {
                let (mut from, length) = (i.to_vec(), lens[i[batch]] as usize);
                from[time] = if i[time] < length { length - 1 - i[time] } else { i[time] };
                Some(from)
            });
            if !is_allowed {
                case.expected = vec![Expected::Anything];
            }
            case
        }),
        property("CenterCropPad", |draw| {
            let (x, dims) = classic(draw, 1..=3);
            let (axes, written) = draw.axes(dims.len());
            let all = draw.flag();
            let axes = if all { (0..dims.len()).collect() } else { axes };
            let lengths: Vec<i64> = axes.iter().map(|_| draw.int(0..=6)).collect();
            let mut to = dims.clone();
            axes.iter().zip(&lengths).for_each(|(&axis, &length)| to[axis] = length as usize);
            let attributes = if all { Attributes::new() } else { Attributes::new().with("axes", written) };
            let index = draw.dtype(INDICES);
            let shape = index_tensor(index, &[lengths.len()], &lengths);
            let from = to.clone();
            moved(attributes, vec![Some(x), Some(shape)], &to, move |i| {
                let place = |axis: usize| {
                    let (have, want) = (dims[axis] as i64, from[axis] as i64);
                    let start = if have > want { (have - want) / 2 } else { -((want - have) / 2) };
                    usize::try_from(i[axis] as i64 + start).ok().filter(|&at| at < dims[axis])
                };
                (0..i.len()).map(place).collect()
            })
        }),
        property("Trilu", |draw| {
            let (x, dims) = any(draw, 2..=4);
            let (upper, k) = (draw.flag(), draw.int(-4..=4));
            let given = draw.flag();
            let k = if given { k } else { 0 };
            let rank = dims.len();
            let attributes = Attributes::new().with("upper", i64::from(upper));
            moved(attributes, vec![Some(x), given.then(|| Tensor::scalar(k))], &dims, move |i| {
                let above = i[rank - 1] as i64 - i[rank - 2] as i64;
                (if upper { above >= k } else { above <= k }).then(|| i.to_vec())
            })
        }),
        property("EyeLike", |draw| {
            let types = NUMERIC.or(BOOL);
            let (dtype, to, dims) = (draw.dtype(types), draw.dtype(types), draw.dims(2..=2, 5));
            let x = draw.any(dtype, &dims);
            let (k, named) = (draw.int(-4..=4), draw.flag());
            let to = if named { to } else { dtype };
            let mut attributes = Attributes::new().with("k", k);
            if named {
                attributes.set("dtype", i64::from(to.to_onnx()));
            }
            let one = super::array::bits(to, 1.0);
            let y = Array::from_fn(&dims, |i| if i[1] as i64 - i[0] as i64 == k { one.clone() } else { Cell::Bits(0) });
            case(attributes, [x], Expected::cells(to, &y))
        }),
        property("Shape", |draw| {
            let (x, dims) = any(draw, 0..=4);
            let rank = dims.len() as i64;
            let (start, end) = (draw.int(-6..=6), draw.flag().then(|| draw.int(-6..=6)));
            let clamp = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
            let mut attributes = Attributes::new().with("start", start);
            end.iter().for_each(|&end| attributes.set("end", end));
            let (from, to) = (clamp(start), end.map_or(dims.len(), clamp));
            let y: Vec<i64> = dims[from..to.max(from)].iter().map(|&d| d as i64).collect();
            case(attributes, [x], Expected::Exactly(vector(&y).into()))
        }),
        property("Size", |draw| {
            let (x, dims) = any(draw, 0..=4);
            let size = dims.iter().product::<usize>() as i64;
            case(Attributes::new(), [x], Expected::Exactly(Tensor::scalar(size).into()))
        }),
        property("Constant", |draw| {
            let (x, _) = any(draw, 0..=3);
            case(Attributes::new().with("value", x.clone()), [], Expected::Exactly(x.into()))
        }),
        property("ConstantOfShape", |draw| {
            let (dims, dtype) = (draw.dims(0..=4, 4), draw.dtype(ALL_TENSORS.without(STRING.or(COMPLEX))));
            let value = draw.any(dtype, &[1]);
            let shape: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
            let (attributes, value) = match draw.flag() {
                true => (Attributes::new().with("value", value.clone()), value),
                false => (Attributes::new(), Tensor::vector(&[0f32])),
            };
            let y = Array::from_fn(&dims, |_| cells(&value).data[0].clone());
            case(attributes, [vector(&shape)], Expected::cells(value.dtype(), &y))
        }),
        property("BitCast", |draw| {
            let (from, dims) = (draw.dtype(ALL_TENSORS.without(STRING)), draw.dims(0..=3, 5));
            let x = draw.any(from, &dims);
            let kin: Vec<DType> =
                DType::ALL.into_iter().filter(|to| to.bits() == from.bits() && *to != DType::Bool).collect();
            let to = if from == DType::Bool { from } else { draw.pick(&kin) };
            // Six-bit floats take a byte in memory, of which two bits mean nothing.
            let is_whole = |dtype: DType| !matches!(dtype, DType::F6E2M3 | DType::F6E3M2);
            let y = if is_whole(from) && is_whole(to) { Expected::cells(to, &cells(&x)) } else { Expected::Anything };
            case(Attributes::new().with("to", i64::from(to.to_onnx())), [x], y)
        }),
    ]
}

/// A tensor of any dtype.
fn any(draw: &mut Draw<'_>, rank: std::ops::RangeInclusive<usize>) -> (Tensor, Vec<usize>) {
    let (dtype, dims) = (draw.dtype(ALL_TENSORS), draw.dims(rank, 4));
    (draw.any(dtype, &dims), dims)
}

/// A tensor of a dtype that ONNX had before its 8-bit floats.
fn classic(draw: &mut Draw<'_>, rank: std::ops::RangeInclusive<usize>) -> (Tensor, Vec<usize>) {
    let (dtype, dims) = (draw.dtype(CLASSIC_TENSORS), draw.dims(rank, 4));
    (draw.any(dtype, &dims), dims)
}

/// Axes as they may be written.
fn signed(draw: &mut Draw<'_>, axes: &[usize], rank: usize) -> Vec<i64> {
    axes.iter().map(|&a| if draw.flag() { a as i64 - rank as i64 } else { a as i64 }).collect()
}

/// A case whose output has the elements of the input in the same order, under the shape that `f` says.
fn same(
    draw: &mut Draw<'_>,
    f: impl FnOnce(&mut Draw<'_>, &[usize]) -> (Vec<usize>, Attributes, Option<Tensor>),
) -> Case {
    let (x, dims) = any(draw, 0..=4);
    let (to, attributes, second) = f(draw, &dims);
    let y = reshaped(&x, &to);
    opt_case(attributes, [Some(x)].into_iter().chain(second.map(Some)), [Expected::Exactly(y.into())])
}

/// A case whose output has at each index the first input's element at `from(index)`, or nothing (0) there.
fn moved(
    attributes: Attributes,
    inputs: Vec<Option<Tensor>>,
    to: &[usize],
    from: impl Fn(&[usize]) -> Option<Vec<usize>>,
) -> Case {
    let x = inputs[0].clone().unwrap();
    let elements = cells(&x);
    let y = Array::from_fn(to, |index| from(index).map_or_else(|| empty(x.dtype()), |from| elements.at(&from)));
    opt_case(attributes, inputs, [Expected::cells(x.dtype(), &y)])
}

fn concat(draw: &mut Draw<'_>) -> Case {
    let (dtype, mut dims, count) = (draw.dtype(CLASSIC_TENSORS), draw.dims(1..=4, 4), draw.size(1..=4));
    let (axis, written) = draw.axis(dims.len());
    let parts: Vec<Tensor> = (0..count)
        .map(|_| {
            dims[axis] = draw.size(0..=3);
            draw.any(dtype, &dims)
        })
        .collect();
    dims[axis] = parts.iter().map(|p| p.shape()[axis]).sum();
    let arrays: Vec<Array<Cell>> = parts.iter().map(cells).collect();
    let y = Array::from_fn(&dims, |index| {
        let mut own = index.to_vec();
        let part = arrays.iter().find(|p| {
            let is_here = own[axis] < p.dims[axis];
            own[axis] -= if is_here { 0 } else { p.dims[axis] };
            is_here
        });
        part.unwrap().at(&own)
    });
    case(Attributes::new().with("axis", written), parts, Expected::cells(dtype, &y))
}

/// The part of an array along an axis.
pub fn part(x: &Array<Cell>, axis: usize, start: usize, length: usize) -> Array<Cell> {
    let mut dims = x.dims.clone();
    dims[axis] = length;
    Array::from_fn(&dims, |index| {
        let mut from = index.to_vec();
        from[axis] += start;
        x.at(&from)
    })
}

fn split(draw: &mut Draw<'_>) -> Case {
    let (x, dims) = classic(draw, 1..=3);
    let (axis, written) = draw.axis(dims.len());
    let attributes = Attributes::new().with("axis", written);
    let length = dims[axis];
    let given = draw.flag();
    let (attributes, lengths) = if given {
        let mut rest = length;
        let mut lengths: Vec<usize> = (0..draw.size(0..=3))
            .map(|_| {
                let part = draw.size(0..=rest);
                rest -= part;
                part
            })
            .collect();
        lengths.push(rest);
        (attributes, lengths)
    } else {
        let count = draw.size(1..=length.clamp(1, 4));
        let each = length.div_ceil(count);
        let lengths = (0..count).map(|i| each.min(length.saturating_sub(i * each))).collect();
        (attributes.with("num_outputs", count as i64), lengths)
    };
    let elements = cells(&x);
    let mut start = 0;
    let parts: Vec<Expected> = lengths
        .iter()
        .map(|&length| {
            start += length;
            Expected::cells(x.dtype(), &part(&elements, axis, start - length, length))
        })
        .collect();
    let written: Vec<i64> = lengths.iter().map(|&l| l as i64).collect();
    opt_case(attributes, [Some(x), given.then(|| vector(&written))], parts)
}

fn slice(draw: &mut Draw<'_>) -> Case {
    let (x, dims) = classic(draw, 1..=3);
    let rank = dims.len();
    let (axes, written) = draw.axes(rank);
    let all = draw.flag();
    let axes = if all { (0..draw.size(0..=rank)).collect() } else { axes };
    let has_steps = draw.flag();
    let index = draw.dtype(INDICES);
    let far = if index == DType::I32 { [i64::from(i32::MAX), i64::from(i32::MIN)] } else { [i64::MAX, i64::MIN] };
    let place = |draw: &mut Draw<'_>| if draw.rarely(5) { draw.pick(&far) } else { draw.int(-6..=6) };
    let starts: Vec<i64> = axes.iter().map(|_| place(draw)).collect();
    let ends: Vec<i64> = axes.iter().map(|_| place(draw)).collect();
    let steps: Vec<i64> = axes
        .iter()
        .map(|_| match draw.rarely(8) {
            true => draw.pick(&[far[0], -far[0]]),
            false => draw.pick(&[1, 2, 3, -1, -2, -3]),
        })
        .collect();
    let steps = if has_steps { steps } else { vec![1; axes.len()] };
    // The indices along each axis, counted out.
    let mut places: Vec<Vec<usize>> = dims.iter().map(|&d| (0..d).collect()).collect();
    for (n, &axis) in axes.iter().enumerate() {
        let length = dims[axis] as i128;
        let from_end = |at: i64| if at < 0 { i128::from(at) + length } else { at.into() };
        let (start, end, step) = (from_end(starts[n]), from_end(ends[n]), i128::from(steps[n]));
        let (mut at, end) = match step > 0 {
            true => (start.clamp(0, length), end.clamp(0, length)),
            false => (start.clamp(0, (length - 1).max(0)), end.clamp(-1, length - 1)),
        };
        places[axis].clear();
        while (if step > 0 { at < end } else { at > end }) && at < length {
            places[axis].push(at as usize);
            at += step;
        }
    }
    let to: Vec<usize> = places.iter().map(Vec::len).collect();
    let list = |data: &[i64]| index_tensor(index, &[data.len()], data);
    let inputs = vec![
        Some(x),
        Some(list(&starts)),
        Some(list(&ends)),
        (!all).then(|| list(&written)),
        has_steps.then(|| list(&steps)),
    ];
    moved(Attributes::new(), inputs, &to, |i| Some(i.iter().zip(&places).map(|(&i, places)| places[i]).collect()))
}

fn pad(draw: &mut Draw<'_>) -> Case {
    let (x, dims) = any(draw, 1..=3);
    let (axes, written) = draw.axes(dims.len());
    let all = draw.flag();
    let axes = if all { (0..dims.len()).collect() } else { axes };
    let mode = draw.pick(&["constant", "edge", "reflect", "wrap"]);
    let amount = |draw: &mut Draw<'_>, axis: usize| match mode {
        _ if dims[axis] == 0 && mode != "constant" => 0,
        "reflect" | "wrap" => draw.int(0..=(dims[axis] as i64 - 1).clamp(0, 3)),
        _ => draw.int(0..=3),
    };
    let mut pads: Vec<i64> = axes.iter().chain(&axes).map(|&axis| amount(draw, axis)).collect();
    if draw.rarely(3) && !pads.is_empty() {
        let at = draw.below(pads.len());
        pads[at] = if dims[axes[at % axes.len()]] > 0 { -1 } else { 0 };
    }
    let (mut before, mut to) = (vec![0; dims.len()], dims.clone());
    // What negative pads leave of each axis: where that begins, and how long it is.
    let mut kept: Vec<(i64, i64)> = dims.iter().map(|&d| (0, d as i64)).collect();
    for (n, &axis) in axes.iter().enumerate() {
        before[axis] = pads[n];
        to[axis] = (dims[axis] as i64 + pads[n] + pads[n + axes.len()]).max(0) as usize;
        let cuts = [pads[n], pads[n + axes.len()]].map(|pad| (-pad).max(0));
        kept[axis] = (cuts[0], dims[axis] as i64 - cuts[0] - cuts[1]);
    }
    let fill = draw.flag().then(|| draw.any(x.dtype(), &[]));
    let attributes = Attributes::new().with("mode", mode);
    let inputs = [Some(x.clone()), Some(vector(&pads)), fill.clone(), (!all).then(|| vector(&written))];
    let is_cut_away = |axis: usize| kept[axis].1 <= 0 && to[axis] > 0;
    if mode != "constant" && (0..dims.len()).any(is_cut_away) {
        return opt_case(attributes, inputs, [Expected::Refused]);
    }
    let elements = cells(&x);
    let nothing = fill.as_ref().map_or_else(|| empty(x.dtype()), |fill| cells(fill).data[0].clone());
    let y = Array::from_fn(&to, |index| {
        let from: Option<Vec<usize>> = (0..index.len())
            .map(|axis| {
                let (start, length) = kept[axis];
                let at = index[axis] as i64 - before[axis].max(0);
                let at = match mode {
                    "edge" => at.clamp(0, length - 1),
                    "wrap" => at.rem_euclid(length),
                    "reflect" if length == 1 => 0,
                    "reflect" => {
                        let turn = at.rem_euclid(2 * length - 2);
                        turn.min(2 * length - 2 - turn)
                    }
                    _ => at,
                };
                (0..length).contains(&at).then_some((start + at) as usize)
            })
            .collect();
        from.map_or_else(|| nothing.clone(), |from| elements.at(&from))
    });
    opt_case(attributes, inputs, [Expected::cells(x.dtype(), &y)])
}

#[test]
fn movers_of_elements_are_as_defined() {
    super::check_all(properties());
}

#[test]
fn indices_are_in_row_major_order() {
    let all = indices(&[2, 3]);
    assert_eq!(all.iter().map(|i| offset(&[2, 3], i)).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(int_bits(DType::I8, -1), Cell::Bits(255));
}
