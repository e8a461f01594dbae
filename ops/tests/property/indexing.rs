//! Operators that find, count or place elements by index, and conversions of elements.

use super::array::{
    Array, Cell, bits, cells, from_cells, from_ints, indices, int, int_bits, ints, offset, reals, value,
};
use super::draw::{Draw, vector};
use super::reduction::order;
use super::{Case, Expected, Property, case, opt_case, property};
use planish_ir::{ALL_TENSORS, Attributes, CLASSIC_TENSORS, COMPLEX, FLOATS, INDICES, INTEGERS, NUMERIC, Types};
use planish_tensor::{DType, MiniFloat, Shape, Tensor};
use std::cmp::Ordering;

pub fn properties() -> Vec<Property> {
    vec![
        property("Gather", gather),
        property("GatherElements", gather_elements),
        property("GatherND", gather_nd),
        property("ScatterElements", scatter_elements),
        property("ScatterND", scatter_nd),
        property("TensorScatter", tensor_scatter),
        property("OneHot", one_hot),
        property("Compress", compress).of_elements(),
        property("NonZero", |draw| {
            let (dtype, dims) = (draw.dtype(CLASSIC_TENSORS), draw.dims(1..=3, 4));
            let x = if NUMERIC.contains(dtype) { draw.integers(dtype, &dims, 0..=1) } else { draw.any(dtype, &dims) };
            let elements = cells(&x);
            let is_zero = |cell: &Cell| match cell {
                Cell::Text(text) => text.is_empty(),
                Cell::Bits(0) => true,
                Cell::Bits(word) if COMPLEX.contains(dtype) => {
                    let half = dtype.bits() / 2;
                    let part = if half == 32 { DType::F32 } else { DType::F64 };
                    let low = word & ((1 << half) - 1);
                    value(part, low) == 0.0 && value(part, word >> half) == 0.0
                }
                Cell::Bits(word) => dtype.is_float() && value(dtype, *word) == 0.0,
            };
            let found: Vec<Vec<usize>> = indices(&dims).into_iter().filter(|i| !is_zero(&elements.at(i))).collect();
            let y = Array::from_fn(&[dims.len(), found.len()], |i| int_bits(DType::I64, found[i[1]][i[0]] as i128));
            case(Attributes::new(), [x], Expected::cells(DType::I64, &y))
        })
        .of_elements(),
        property("Unique", unique).of_elements(),
        property("TopK", top_k),
        property("Range", range),
        property("Cast", |draw| {
            let types = ALL_TENSORS.without(COMPLEX);
            let (from, to, saturate) = (draw.dtype(types), draw.dtype(types), draw.flag());
            let attributes =
                Attributes::new().with("to", i64::from(to.to_onnx())).with("saturate", i64::from(saturate));
            let (x, y) = cast(draw, from, to, saturate);
            case(attributes, [x], y)
        }),
        property("CastLike", |draw| {
            let types = ALL_TENSORS.without(COMPLEX).without(Types::of(&[DType::F6E2M3, DType::F6E3M2]));
            let (from, to, saturate) = (draw.dtype(types), draw.dtype(types), draw.flag());
            let (x, y) = cast(draw, from, to, saturate);
            let like = draw.any(to, &[2]);
            case(Attributes::new().with("saturate", i64::from(saturate)), [x, like], y)
        }),
    ]
}

fn resolve(index: i128, length: usize) -> usize {
    (if index < 0 { index + length as i128 } else { index }) as usize
}

fn gather(draw: &mut Draw<'_>) -> Case {
    let (dtype, dims) = (draw.dtype(CLASSIC_TENSORS), draw.full_dims(1..=3, 4));
    let ((axis, written), index, own) = (draw.axis(dims.len()), draw.dtype(INDICES), draw.dims(0..=2, 3));
    let length = dims[axis] as i64;
    let outside = draw.rarely(12);
    let x = draw.any(dtype, &dims);
    let at = draw.integers(index, &own, if outside { -length - 1..=length } else { -length..=length - 1 });
    let attributes = Attributes::new().with("axis", written);
    let places = ints(&at);
    if places.data.iter().any(|&p| !(-i128::from(length)..i128::from(length)).contains(&p)) {
        return case(attributes, [x, at], Expected::Refused);
    }
    let to = [&dims[..axis], &own[..], &dims[axis + 1..]].concat();
    let elements = cells(&x);
    let y = Array::from_fn(&to, |i| {
        let place = resolve(places.at(&i[axis..axis + own.len()]), dims[axis]);
        elements.at(&[&i[..axis], &[place], &i[axis + own.len()..]].concat())
    });
    case(attributes, [x, at], Expected::cells(dtype, &y))
}

fn gather_elements(draw: &mut Draw<'_>) -> Case {
    let (dtype, dims) = (draw.dtype(ALL_TENSORS), draw.full_dims(1..=3, 4));
    let ((axis, written), index) = (draw.axis(dims.len()), draw.dtype(INDICES));
    let own: Vec<usize> =
        (0..dims.len()).map(|i| if i == axis { draw.size(0..=5) } else { draw.size(1..=dims[i]) }).collect();
    let length = dims[axis] as i64;
    let x = draw.any(dtype, &dims);
    let at = draw.integers(index, &own, -length..=length - 1);
    let (elements, places) = (cells(&x), ints(&at));
    let y = Array::from_fn(&own, |i| {
        let mut from = i.to_vec();
        from[axis] = resolve(places.at(i), dims[axis]);
        elements.at(&from)
    });
    case(Attributes::new().with("axis", written), [x, at], Expected::cells(dtype, &y))
}

/// Rows of indices, each below the first dimensions of `dims`.
fn rows(draw: &mut Draw<'_>, outer: &[usize], dims: &[usize]) -> Tensor {
    let mut next = draw.stream();
    let shape = [outer, &[dims.len()]].concat();
    let at = Array::from_fn(&shape, |i| {
        let length = dims[i[outer.len()]] as i128;
        i128::from(next() % 1000) % (2 * length) - length
    });
    from_ints(DType::I64, &at)
}

fn row(at: &Array<i128>, outer: &[usize], dims: &[usize]) -> Vec<usize> {
    (0..dims.len()).map(|i| resolve(at.at(&[outer, &[i]].concat()), dims[i])).collect()
}

fn gather_nd(draw: &mut Draw<'_>) -> Case {
    let (dtype, dims) = (draw.dtype(ALL_TENSORS), draw.full_dims(1..=4, 3));
    let batch = draw.size(0..=dims.len() - 1);
    let depth = draw.size(1..=dims.len() - batch);
    let more = draw.dims(0..=2, 3);
    let outer = [&dims[..batch], &more].concat();
    if outer.is_empty() && batch > 0 {
        return case(Attributes::new(), [], Expected::Anything);
    }
    let x = draw.any(dtype, &dims);
    let at = rows(draw, &outer, &dims[batch..batch + depth]);
    let (elements, places) = (cells(&x), ints(&at));
    let to = [&outer, &dims[batch + depth..]].concat();
    let y = Array::from_fn(&to, |i| {
        let row = row(&places, &i[..outer.len()], &dims[batch..batch + depth]);
        elements.at(&[&i[..batch], &row, &i[outer.len()..]].concat())
    });
    case(Attributes::new().with("batch_dims", batch as i64), [x, at], Expected::cells(dtype, &y))
}

/// The elements after each place was given one more update.
fn scattered(
    draw: &mut Draw<'_>,
    dims: &[usize],
    place: impl FnOnce(&mut Draw<'_>) -> (Tensor, Vec<usize>, Vec<Vec<usize>>),
    attributes: Attributes,
) -> Case {
    let reduction = draw.pick(&["none", "add", "mul", "max", "min"]);
    let dtype = draw.dtype(if reduction == "none" { ALL_TENSORS } else { NUMERIC });
    let number = |draw: &mut Draw<'_>, dims: &[usize]| match reduction {
        "none" => draw.any(dtype, dims),
        _ => draw.integers(
            dtype,
            dims,
            if super::array::range(dtype).0 < 0 || dtype.is_float() { -2..=3 } else { 0..=3 },
        ),
    };
    let x = number(draw, dims);
    let (at, own, places) = place(draw);
    let updates = number(draw, &own);
    let (mut y, values) = (cells(&x), cells(&updates));
    let unique = places.iter().collect::<std::collections::BTreeSet<_>>().len() == places.len();
    for (place, update) in places.iter().zip(values.data) {
        let at = offset(dims, place);
        y.data[at] = match (&y.data[at], &update) {
            _ if reduction == "none" => update,
            (Cell::Bits(a), Cell::Bits(b)) if dtype.is_float() => {
                let (a, b) = (value(dtype, *a), value(dtype, *b));
                bits(
                    dtype,
                    match reduction {
                        "add" => a + b,
                        "mul" => a * b,
                        "max" => a.max(b),
                        _ => a.min(b),
                    },
                )
            }
            (Cell::Bits(a), Cell::Bits(b)) => {
                let (a, b) = (int(dtype, *a), int(dtype, *b));
                int_bits(
                    dtype,
                    match reduction {
                        "add" => a + b,
                        "mul" => a * b,
                        "max" => a.max(b),
                        _ => a.min(b),
                    },
                )
            }
            _ => update,
        };
    }
    // The order in which updates of one place are made is not defined.
    let expected = match unique || reduction != "none" {
        true if dtype.is_float() && reduction != "none" => Expected::numbers(dtype, reals(&from_cells(dtype, &y))),
        true => Expected::cells(dtype, &y),
        false => Expected::Anything,
    };
    case(attributes.with("reduction", reduction), [x, at, updates], expected)
}

fn scatter_elements(draw: &mut Draw<'_>) -> Case {
    let dims = draw.full_dims(1..=3, 4);
    let ((axis, written), index) = (draw.axis(dims.len()), draw.dtype(INDICES));
    let full = dims.clone();
    let place = move |draw: &mut Draw<'_>| {
        let own: Vec<usize> = full.iter().map(|&d| draw.size(1..=d)).collect();
        let length = full[axis] as i64;
        let at = draw.integers(index, &own, -length..=length - 1);
        let values = ints(&at);
        let places = indices(&own).into_iter().map(|mut i| {
            i[axis] = resolve(values.at(&i), full[axis]);
            i
        });
        let places = places.collect();
        (at, own, places)
    };
    scattered(draw, &dims, place, Attributes::new().with("axis", written))
}

fn scatter_nd(draw: &mut Draw<'_>) -> Case {
    let dims = draw.full_dims(1..=3, 3);
    let full = dims.clone();
    let place = move |draw: &mut Draw<'_>| {
        let depth = draw.size(1..=full.len());
        let outer = draw.dims(0..=2, 3);
        let at = rows(draw, &outer, &full[..depth]);
        let values = ints(&at);
        let own = [&outer, &full[depth..]].concat();
        let places = indices(&own).into_iter();
        let places = places.map(|i| [&row(&values, &i[..outer.len()], &full[..depth]), &i[outer.len()..]].concat());
        let places = places.collect();
        (at, own, places)
    };
    scattered(draw, &dims, place, Attributes::new())
}

fn tensor_scatter(draw: &mut Draw<'_>) -> Case {
    let (dtype, dims) = (draw.dtype(ALL_TENSORS), draw.full_dims(2..=4, 4));
    let axis = draw.size(1..=dims.len() - 1);
    let written = if draw.flag() { axis as i64 } else { axis as i64 - dims.len() as i64 };
    let circular = draw.flag();
    let mut own = dims.clone();
    own[axis] = draw.size(1..=dims[axis]);
    let starts: Vec<i64> = (0..dims[0])
        .map(|_| match circular {
            true => draw.int(0..=dims[axis] as i64 - 1),
            false => draw.int(0..=(dims[axis] - own[axis]) as i64),
        })
        .collect();
    let given = draw.flag();
    let (x, update) = (draw.any(dtype, &dims), draw.any(dtype, &own));
    let (mut y, values) = (cells(&x), cells(&update));
    for i in indices(&own) {
        let mut to = i.clone();
        let start = if given { starts[i[0]] as usize } else { 0 };
        to[axis] = (start + i[axis]) % dims[axis];
        let at = offset(&dims, &to);
        y.data[at] = values.at(&i);
    }
    let attributes = Attributes::new().with("axis", written).with("mode", if circular { "circular" } else { "linear" });
    let inputs = [Some(x), Some(update), given.then(|| vector(&starts))];
    opt_case(attributes, inputs, [Expected::cells(dtype, &y)])
}

fn one_hot(draw: &mut Draw<'_>) -> Case {
    let (index, count, dtype) = (draw.dtype(NUMERIC), draw.dtype(NUMERIC), draw.dtype(ALL_TENSORS));
    let dims = draw.dims(0..=2, 3);
    let depth = draw.size(1..=4);
    let axis = draw.below(dims.len() + 1);
    let written = if draw.flag() { axis as i64 } else { axis as i64 - dims.len() as i64 - 1 };
    let is_signed = super::array::range(index).0 < 0 || index.is_float();
    let at = draw.integers(index, &dims, if is_signed { -6..=6 } else { 0..=6 });
    let values = draw.any(dtype, &[2]);
    let depths = from_cells(
        count,
        &Array { dims: if draw.flag() { vec![] } else { vec![1] }, data: vec![bits(count, depth as f64)] },
    );
    let (places, off_on) = (reals(&at), cells(&values));
    let to = [&dims[..axis], &[depth], &dims[axis..]].concat();
    let y = Array::from_fn(&to, |i| {
        let place = places.at(&[&i[..axis], &i[axis + 1..]].concat()) as i64;
        let place = if place < 0 { place + depth as i64 } else { place };
        off_on.data[usize::from(place == i[axis] as i64)].clone()
    });
    case(Attributes::new().with("axis", written), [at, depths, values], Expected::cells(dtype, &y))
}

fn compress(draw: &mut Draw<'_>) -> Case {
    let (dtype, dims) = (draw.dtype(CLASSIC_TENSORS), draw.dims(1..=3, 4));
    let x = draw.any(dtype, &dims);
    let along = draw.flag();
    let (axis, written) = draw.axis(dims.len());
    let length = if along { dims[axis] } else { dims.iter().product() };
    let count = draw.size(0..=length);
    let condition = draw.bools(&[count]);
    let kept: Vec<usize> = ints(&condition).data.iter().enumerate().filter(|(_, c)| **c != 0).map(|(i, _)| i).collect();
    let elements = cells(&x);
    let (attributes, y) = if along {
        let mut to = dims;
        to[axis] = kept.len();
        let y = Array::from_fn(&to, |i| {
            let mut from = i.to_vec();
            from[axis] = kept[i[axis]];
            elements.at(&from)
        });
        (Attributes::new().with("axis", written), y)
    } else {
        (Attributes::new(), Array::from_fn(&[kept.len()], |i| elements.data[kept[i[0]]].clone()))
    };
    case(attributes, [x, condition], Expected::cells(dtype, &y))
}

/// The order of elements of a dtype: numbers by value, NaN greatest, complex ones by their parts.
fn compare(dtype: DType, a: &Cell, b: &Cell) -> Ordering {
    let real_order = |dtype: DType, a: u128, b: u128| {
        let (a, b) = (value(dtype, a), value(dtype, b));
        a.is_nan().cmp(&b.is_nan()).then(if a.is_nan() { Ordering::Equal } else { order(a).cmp(&order(b)) })
    };
    match (a, b) {
        (Cell::Bits(a), Cell::Bits(b)) if COMPLEX.contains(dtype) => {
            let half = dtype.bits() / 2;
            let part = if half == 32 { DType::F32 } else { DType::F64 };
            let low = (1 << half) - 1;
            real_order(part, a & low, b & low).then(real_order(part, a >> half, b >> half))
        }
        (Cell::Bits(a), Cell::Bits(b)) if dtype.is_float() => real_order(dtype, *a, *b),
        (Cell::Bits(a), Cell::Bits(b)) => int(dtype, *a).cmp(&int(dtype, *b)),
        _ => a.cmp(b),
    }
}

fn unique(draw: &mut Draw<'_>) -> Case {
    let (dtype, dims) = (draw.dtype(CLASSIC_TENSORS), draw.full_dims(1..=3, 4));
    let (along, sorted, (axis, written)) = (draw.flag(), draw.flag(), draw.axis(dims.len()));
    let x = match NUMERIC.contains(dtype) {
        true if draw.flag() => draw.wild(dtype, &dims),
        true => draw.integers(dtype, &dims, 0..=1),
        false => draw.any(dtype, &dims),
    };
    let elements = cells(&x);
    // What is compared: single elements, or the slices along an axis.
    let slices: Vec<Vec<Cell>> = match along {
        false => elements.data.iter().map(|e| vec![e.clone()]).collect(),
        true => (0..dims[axis]).map(|i| super::movement::part(&elements, axis, i, 1).data).collect(),
    };
    let by = |a: &[Cell], b: &[Cell]| {
        a.iter().zip(b).fold(Ordering::Equal, |order, (a, b)| order.then_with(|| compare(dtype, a, b)))
    };
    let mut firsts: Vec<usize> = (0..slices.len())
        .filter(|&i| (0..i).all(|before| by(&slices[before], &slices[i]) != Ordering::Equal))
        .collect();
    if sorted {
        firsts.sort_by(|&a, &b| by(&slices[a], &slices[b]));
    }
    let inverse: Vec<i64> = slices
        .iter()
        .map(|s| firsts.iter().position(|&f| by(&slices[f], s) == Ordering::Equal).unwrap() as i64)
        .collect();
    let counts: Vec<i64> =
        (0..firsts.len()).map(|u| inverse.iter().filter(|&&i| i == u as i64).count() as i64).collect();
    let y = match along {
        false => Array { dims: vec![firsts.len()], data: firsts.iter().map(|&f| slices[f][0].clone()).collect() },
        true => {
            let mut to = dims;
            to[axis] = firsts.len();
            Array::from_fn(&to, |i| {
                let mut from = i.to_vec();
                from[axis] = firsts[i[axis]];
                elements.at(&from)
            })
        }
    };
    let firsts: Vec<i64> = firsts.iter().map(|&f| f as i64).collect();
    let mut attributes = Attributes::new().with("sorted", i64::from(sorted));
    if along {
        attributes.set("axis", written);
    }
    let expected = [
        Expected::cells(dtype, &y),
        Expected::Exactly(vector(&firsts).into()),
        Expected::Exactly(vector(&inverse).into()),
        Expected::Exactly(vector(&counts).into()),
    ];
    opt_case(attributes, [Some(x)], expected)
}

fn top_k(draw: &mut Draw<'_>) -> Case {
    let (dtype, dims) = (draw.dtype(NUMERIC), draw.full_dims(1..=3, 6));
    let ((axis, written), largest, sorted) = (draw.axis(dims.len()), draw.flag(), !draw.rarely(4));
    let k = draw.size(0..=dims[axis]);
    let wild = draw.flag();
    let x = if wild { draw.wild(dtype, &dims) } else { draw.integers(dtype, &dims, 0..=3) };
    let elements = cells(&x);
    let mut to = dims.clone();
    to[axis] = k;
    let at = |i: &[usize], place: usize| {
        let mut from = i.to_vec();
        from[axis] = place;
        elements.at(&from)
    };
    let places = Array::from_fn(&to, |i| {
        let mut order: Vec<usize> = (0..dims[axis]).collect();
        order.sort_by(|&a, &b| {
            let by = compare(dtype, &at(i, a), &at(i, b));
            if largest { by.reverse() } else { by }
        });
        order[i[axis]]
    });
    let values = Array::from_fn(&to, |i| at(i, places.at(i)));
    let has_nan = dtype.is_float() && reals(&x).data.iter().any(|v| v.is_nan());
    let attributes =
        Attributes::new().with("axis", written).with("largest", i64::from(largest)).with("sorted", i64::from(sorted));
    let expected = match sorted && !has_nan {
        true => [
            Expected::cells(dtype, &values),
            Expected::cells(DType::I64, &places.map(|p| int_bits(DType::I64, p as i128))),
        ],
        false => [Expected::Anything, Expected::Anything],
    };
    opt_case(attributes, [x, vector(&[k as i64])].map(Some), expected)
}

fn range(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(FLOATS.or(INDICES).or(Types::of(&[DType::I16])));
    let number = |draw: &mut Draw<'_>| draw.int(-8..=8) as f64 * if dtype.is_float() { 0.25 } else { 1.0 };
    let (start, limit, delta) = (number(draw), number(draw), number(draw));
    let scalar = |v: f64| from_cells(dtype, &Array { dims: vec![], data: vec![bits(dtype, v)] });
    let inputs = [scalar(start), scalar(limit), scalar(delta)];
    if delta == 0.0 {
        return case(Attributes::new(), inputs, Expected::Refused);
    }
    let count = ((limit - start) / delta).ceil().max(0.0) as usize;
    let y = Array::from_fn(&[count], |i| start + i[0] as f64 * delta);
    case(Attributes::new(), inputs, Expected::numbers(dtype, y))
}

/// Numbers of one dtype, and what they are of another.
fn cast(draw: &mut Draw<'_>, from: DType, to: DType, saturate: bool) -> (Tensor, Expected) {
    let dims = draw.dims(0..=2, 5);
    let whole = |draw: &mut Draw<'_>, low: i64, high: i64| draw.integers(from, &dims, low..=high);
    let (low, high) = super::array::range(if to.is_float() || to == DType::String { DType::I64 } else { to });
    let x = match from {
        DType::String => {
            let numbers = ints(&draw.integers(DType::I8, &dims, if low < 0 { -2..=1 } else { 0..=1 }));
            let shape = Shape::new(&dims).unwrap();
            Tensor::from_strings(shape, numbers.data.iter().map(i128::to_string).collect()).unwrap()
        }
        DType::Bool => draw.bools(&dims),
        DType::F8E8M0 => draw.any(from, &dims),
        _ if INTEGERS.contains(from) => draw.wild(from, &dims),
        _ if from.is_integer() || from.bits() < 8 => draw.any(from, &dims),
        _ if MiniFloat::of(from).is_some() => draw.any(from, &dims),
        // What an integer dtype does not have is not defined.
        _ if to.is_integer() => draw.between(from, &dims, (low.max(-300) as f64).max(-8.0), high.min(100) as f64),
        _ if to == DType::String => whole(draw, -50, 50),
        _ if draw.flag() => draw.wild(from, &dims),
        _ => draw.between(from, &dims, -600.0, 600.0),
    };
    if to == DType::String || from == DType::String {
        let text = |cell: Cell| match cell {
            Cell::Text(text) => text,
            Cell::Bits(word) if from == DType::Bool => (if word == 1 { "True" } else { "False" }).to_owned(),
            Cell::Bits(word) if from.is_float() => value(from, word).to_string(),
            Cell::Bits(word) => int(from, word).to_string(),
        };
        let texts = cells(&x).map(text);
        let expected = match to {
            DType::String if from.is_float() || from == DType::Bool => Expected::Anything,
            DType::String => Expected::cells(to, &texts.map(Cell::Text)),
            DType::Bool => Expected::Anything,
            _ => {
                let y = texts.map(|text| text.parse::<f64>().unwrap());
                if MiniFloat::of(to).is_some() || to == DType::F8E8M0 {
                    Expected::Anything
                } else {
                    Expected::cells(to, &y.map(|v| bits(to, v)))
                }
            }
        };
        return (x, expected);
    }
    let y = cells(&x).map(|cell| match cell {
        Cell::Bits(word) => converted(from, word, to, saturate),
        Cell::Text(_) => None,
    });
    match y.data.contains(&None) {
        true => (x, Expected::Anything),
        false if to.is_float() => {
            let is_same = |got: &f64, is: &f64| got == is || (got.is_nan() && is.is_nan());
            let y = y.map(|cell| match cell {
                Some(Cell::Bits(word)) => value(to, word),
                _ => f64::NAN,
            });
            let check = move |got: &planish_tensor::Value| {
                let got = reals(got.as_tensor().ok_or("not a tensor")?);
                let is_right = got.dims == y.dims && got.data.iter().zip(&y.data).all(|(g, y)| is_same(g, y));
                if is_right { Ok(()) } else { Err(format!("expected {:?}", y.data)) }
            };
            (x, Expected::Such(Box::new(check)))
        }
        false => (x, Expected::cells(to, &y.map(|cell| cell.unwrap_or(Cell::Bits(0))))),
    }
}

/// An element converted by the standard's tables; `None` where they say nothing.
fn converted(from: DType, word: u128, to: DType, saturate: bool) -> Option<Cell> {
    let number = value(from, word);
    if to == DType::Bool {
        return Some(Cell::Bits(u128::from(number != 0.0)));
    }
    if to.is_integer() {
        let (low, high) = super::array::range(to);
        return match from.is_float() {
            true if number.is_finite() && (low..=high).contains(&(number as i128)) => {
                Some(int_bits(to, number as i128))
            }
            true => None,
            false => Some(int_bits(to, int(from, word))),
        };
    }
    let Some(layout) = MiniFloat::of(to) else {
        return if to == DType::F8E8M0 {
            None
        } else if from.is_float() {
            Some(bits(to, number))
        } else {
            // Once from the exact integer.
            Some(match to {
                DType::F32 => Cell::Bits((int(from, word) as f32).to_bits().into()),
                DType::F64 => Cell::Bits((int(from, word) as f64).to_bits().into()),
                _ => return (int(from, word).abs() < 1 << 24).then(|| bits(to, number)),
            })
        };
    };
    let has_infinity = to == DType::F8E5M2;
    let has_nan = !matches!(to, DType::F6E2M3 | DType::F6E3M2 | DType::F4E2M1);
    let max = f64::from(layout.max());
    let special = |v: f64| {
        let found = (0..=255u128).find(|&code| {
            let is = value(to, code);
            is == v && is.is_sign_negative() == v.is_sign_negative() || (is.is_nan() && v.is_nan())
        });
        found.map(Cell::Bits)
    };
    if number.is_nan() {
        return if has_nan { special(f64::NAN) } else { None };
    }
    if number.abs() > max {
        return match (saturate || !has_nan, has_infinity) {
            (true, _) => special(max.copysign(number)),
            // Between the greatest number and half a step beyond, rounding may come back.
            (false, _) if number.abs() < 1.15 * max => None,
            (false, true) => special(f64::INFINITY.copysign(number)),
            (false, false) => special(f64::NAN),
        };
    }
    if number == 0.0 {
        let keeps_sign = !matches!(to, DType::F8E4M3FNUZ | DType::F8E5M2FNUZ);
        return special(if keeps_sign { number } else { 0.0 });
    }
    // The nearest; of two, the one whose last bit is 0.
    let codes = 0..1u128
        << if to == DType::F4E2M1 {
            4
        } else if to.bits() == 8 && has_nan {
            8
        } else {
            6
        };
    let nearest = codes
        .filter(|&code| {
            let is = value(to, code);
            is.is_finite() && (is == 0.0 || is.is_sign_negative() == number.is_sign_negative())
        })
        .min_by(|&a, &b| {
            let far = |code: u128| (value(to, code) - number).abs();
            far(a).total_cmp(&far(b)).then((a & 1).cmp(&(b & 1)))
        });
    nearest.map(Cell::Bits)
}

#[test]
fn indexing_operators_are_as_defined() {
    super::check_all(properties());
}
