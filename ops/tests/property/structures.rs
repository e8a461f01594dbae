//! Strings, sequences, optionals, bodies, random numbers and optimizers.

use super::array::{Array, Cell, broadcast_dims, cells, from_cells, from_ints, ints, reals};
use super::draw::{Draw, vector};
use super::movement::part;
use super::{Case, Expected, Property, case, opt_case, property};
use planish_ir::{Attribute, Attributes, BOOL, CLASSIC_TENSORS, FLOATS, INDICES, text};
use planish_ops::StandardRegistry;
use planish_tensor::{DType, Sequence, Shape, Tensor, Value, ValueType};
use std::sync::Arc;

pub fn properties() -> Vec<Property> {
    [strings(), sequences(), optionals(), bodies(), random(), optimizers()].into_iter().flatten().collect()
}

const WORDS: [&str; 8] = ["", "a", "Ab", "é", "b c", " a  b ", "a,b,,c", "ÄÖ"];

fn texts(draw: &mut Draw<'_>, dims: &[usize]) -> Tensor {
    let words: Vec<String> = (0..dims.iter().product()).map(|_| draw.pick(&WORDS).to_owned()).collect();
    Tensor::from_strings(Shape::new(dims).unwrap(), words).unwrap()
}

fn text_of(cell: &Cell) -> &str {
    match cell {
        Cell::Text(text) => text,
        Cell::Bits(_) => panic!("no text"),
    }
}

fn strings() -> Vec<Property> {
    vec![
        property("StringConcat", |draw| {
            let dims = draw.dims(0..=2, 3);
            let (a, b) = (draw.narrower(&dims), draw.narrower(&dims));
            let x = [texts(draw, &a), texts(draw, &b)];
            let (p, q) = (cells(&x[0]), cells(&x[1]));
            let y = Array::from_fn(&broadcast_dims(&[&a, &b]), |i| {
                Cell::Text(format!("{}{}", text_of(&p.broadcast(i)), text_of(&q.broadcast(i))))
            });
            case(Attributes::new(), x, Expected::cells(DType::String, &y))
        }),
        property("StringSplit", |draw| {
            let dims = draw.full_dims(0..=2, 3);
            let x = texts(draw, &dims);
            let (delimiter, most) =
                (draw.pick(&[None, Some(""), Some(","), Some("b")]), draw.flag().then(|| draw.int(0..=2)));
            let split = |word: &str| -> Vec<String> {
                let (mut parts, mut rest) = (Vec::new(), word);
                let spaces = delimiter.is_none_or(str::is_empty);
                if spaces {
                    rest = rest.trim_start();
                }
                while !rest.is_empty() || (!spaces && parts.is_empty() && word.is_empty()) {
                    let room = most.is_none_or(|most| (parts.len() as i64) < most);
                    let at = if !room {
                        None
                    } else if spaces {
                        rest.find(char::is_whitespace)
                    } else {
                        rest.find(delimiter.unwrap())
                    };
                    let Some(at) = at else {
                        parts.push(if spaces && room { rest.trim_end().to_owned() } else { rest.to_owned() });
                        return parts;
                    };
                    parts.push(rest[..at].to_owned());
                    rest = if spaces { rest[at..].trim_start() } else { &rest[at + delimiter.unwrap().len()..] };
                    if !spaces && rest.is_empty() {
                        parts.push(String::new());
                    }
                }
                parts
            };
            // What becomes of a string without anything in it, and of spaces after the last split, differs between languages.
            let is_clear = cells(&x).data.iter().all(|c| !text_of(c).is_empty() && !text_of(c).ends_with(' '));
            let parts = cells(&x).map(|c| split(text_of(&c)));
            let longest = parts.data.iter().map(Vec::len).max().unwrap_or(0);
            let y = Array::from_fn(&[&dims[..], &[longest]].concat(), |i| {
                let parts = parts.at(&i[..dims.len()]);
                Cell::Text(parts.get(i[dims.len()]).cloned().unwrap_or_default())
            });
            let counts = parts.map(|p| p.len() as i128);
            let mut attributes = Attributes::new();
            delimiter.iter().for_each(|&d| attributes.set("delimiter", d));
            most.iter().for_each(|&m| attributes.set("maxsplit", m));
            let expected = match is_clear {
                true => [Expected::cells(DType::String, &y), Expected::Exactly(from_ints(DType::I64, &counts).into())],
                false => [Expected::Anything, Expected::Anything],
            };
            opt_case(attributes, [Some(x)], expected)
        })
        .of_elements(),
        property("StringNormalizer", |draw| {
            let dims = if draw.flag() { vec![draw.size(1..=4)] } else { vec![1, draw.size(1..=4)] };
            let x = texts(draw, &dims);
            let (change, sensitive) = (draw.pick(&["NONE", "LOWER", "UPPER"]), draw.flag());
            let stops: Vec<String> = (0..draw.size(0..=2)).map(|_| draw.pick(&WORDS).to_owned()).collect();
            let is_stop = |word: &str| {
                stops.iter().any(|stop| match sensitive {
                    true => stop == word,
                    false => stop.to_lowercase() == word.to_lowercase(),
                })
            };
            let mut kept: Vec<String> = cells(&x)
                .data
                .iter()
                .map(text_of)
                .filter(|w| !is_stop(w))
                .map(|w| match change {
                    "LOWER" => w.to_lowercase(),
                    "UPPER" => w.to_uppercase(),
                    _ => w.to_owned(),
                })
                .collect();
            if kept.is_empty() {
                kept.push(String::new());
            }
            let dims = if dims.len() == 1 { vec![kept.len()] } else { vec![1, kept.len()] };
            let y = Tensor::from_strings(Shape::new(&dims).unwrap(), kept).unwrap();
            let mut attributes =
                Attributes::new().with("case_change_action", change).with("is_case_sensitive", i64::from(sensitive));
            attributes.set("stopwords", Attribute::Strings(stops));
            case(attributes, [x], Expected::Exactly(y.into()))
        })
        .of_elements(),
        property("RegexFullMatch", |draw| {
            let dims = draw.dims(0..=2, 3);
            let x = texts(draw, &dims);
            let (pattern, f): (&str, fn(&str) -> bool) = draw.pick(&[
                ("a", |w| w == "a"),
                ("[a-z]*", |w| w.chars().all(|c| c.is_ascii_lowercase())),
                (".", |w| w.chars().count() == 1),
                ("(a|Ab)", |w| w == "a" || w == "Ab"),
            ]);
            let y = cells(&x).map(|c| i128::from(f(text_of(&c))));
            case(Attributes::new().with("pattern", pattern), [x], Expected::Exactly(from_ints(DType::Bool, &y).into()))
        }),
        property("TfIdfVectorizer", |draw| {
            // Single numbers and pairs of them, apart by up to `skips`.
            let (rows, length, skips) = (draw.size(1..=2), draw.size(1..=6), draw.int(0..=2));
            let x = draw.integers(DType::I64, &[rows, length], 0..=3);
            let (singles, pairs) = ([1i64, 2], [[0i64, 1], [2, 2], [1, 3]]);
            let mode = draw.pick(&["TF", "IDF", "TFIDF"]);
            let weights: Vec<f32> = (0..5).map(|i| 0.5 + i as f32).collect();
            let least = draw.int(1..=2);
            let xs = ints(&x);
            let y = Array::from_fn(&[rows, 5], |i| {
                let at = |k: usize| xs.at(&[i[0], k]) as i64;
                let count = match i[1] {
                    n @ (0 | 1) if least == 1 => (0..length).filter(|&k| at(k) == singles[n]).count(),
                    0 | 1 => 0,
                    n => (1..=skips as usize + 1)
                        .map(|apart| {
                            (0..length.saturating_sub(apart))
                                .filter(|&k| [at(k), at(k + apart)] == pairs[n - 2])
                                .count()
                        })
                        .sum(),
                };
                let weight = f64::from(weights[i[1]]);
                match mode {
                    "TF" => count as f64,
                    "IDF" => {
                        if count > 0 {
                            weight
                        } else {
                            0.0
                        }
                    }
                    _ => count as f64 * weight,
                }
            });
            let mut attributes = Attributes::new()
                .with("mode", mode)
                .with("max_gram_length", 2)
                .with("min_gram_length", least)
                .with("max_skip_count", skips)
                .with("ngram_counts", vec![0, 2])
                .with("ngram_indexes", vec![0, 1, 2, 3, 4])
                .with("pool_int64s", [&singles[..], pairs.as_flattened()].concat());
            attributes.set("weights", Attribute::Floats(weights));
            case(attributes, [x], Expected::numbers(DType::F32, y))
        })
        .of_elements(),
    ]
}

/// Tensors of one dtype.
fn items(draw: &mut Draw<'_>, dtype: DType) -> Vec<Tensor> {
    (0..draw.size(0..=4))
        .map(|_| {
            let dims = draw.dims(0..=2, 3);
            draw.any(dtype, &dims)
        })
        .collect()
}

fn sequence(dtype: DType, items: &[Tensor]) -> Value {
    let items = Arc::new(items.iter().cloned().map(Value::Tensor).collect());
    Value::Sequence(Sequence { element: ValueType::Tensor(dtype), items })
}

fn values(attributes: Attributes, inputs: Vec<Option<Value>>, expected: Expected) -> Case {
    Case { attributes, inputs, expected: vec![expected] }
}

fn sequences() -> Vec<Property> {
    let position = |draw: &mut Draw<'_>, count: usize| draw.int(-(count as i64) - 1..=count as i64);
    vec![
        property("SequenceConstruct", |draw| {
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let mut items = items(draw, dtype);
            items.push(draw.any(dtype, &[2]));
            let y = sequence(dtype, &items);
            case(Attributes::new(), items, Expected::Exactly(y))
        }),
        property("SequenceEmpty", |draw| {
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let attributes = Attributes::new().with("dtype", i64::from(dtype.to_onnx()));
            values(attributes, vec![], Expected::Exactly(sequence(dtype, &[])))
        }),
        property("SequenceLength", |draw| {
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let items = items(draw, dtype);
            let length = Tensor::scalar(items.len() as i64);
            values(Attributes::new(), vec![Some(sequence(dtype, &items))], Expected::Exactly(length.into()))
        }),
        property("SequenceAt", move |draw| {
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let items = items(draw, dtype);
            let at = position(draw, items.len());
            let found =
                usize::try_from(if at < 0 { at + items.len() as i64 } else { at }).ok().and_then(|at| items.get(at));
            let expected = found.map_or(Expected::Refused, |t| Expected::Exactly(t.clone().into()));
            values(Attributes::new(), vec![Some(sequence(dtype, &items)), Some(Tensor::scalar(at).into())], expected)
        })
        .of_elements(),
        property("SequenceErase", move |draw| {
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let items = items(draw, dtype);
            let given = draw.flag().then(|| position(draw, items.len()));
            let at = given.unwrap_or(-1);
            let place =
                usize::try_from(if at < 0 { at + items.len() as i64 } else { at }).ok().filter(|&at| at < items.len());
            let expected = place.map_or(Expected::Refused, |place| {
                let mut rest = items.clone();
                rest.remove(place);
                Expected::Exactly(sequence(dtype, &rest))
            });
            let inputs = vec![Some(sequence(dtype, &items)), given.map(|at| Tensor::scalar(at).into())];
            values(Attributes::new(), inputs, expected)
        }),
        property("SequenceInsert", move |draw| {
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let items = items(draw, dtype);
            let tensor = draw.any(dtype, &[2]);
            let given = draw.flag().then(|| position(draw, items.len()));
            let at = given.unwrap_or(items.len() as i64);
            let place =
                usize::try_from(if at < 0 { at + items.len() as i64 } else { at }).ok().filter(|&at| at <= items.len());
            let expected = place.map_or(Expected::Refused, |place| {
                let mut more = items.clone();
                more.insert(place, tensor.clone());
                Expected::Exactly(sequence(dtype, &more))
            });
            let inputs =
                vec![Some(sequence(dtype, &items)), Some(tensor.into()), given.map(|at| Tensor::scalar(at).into())];
            values(Attributes::new(), inputs, expected)
        }),
        property("ConcatFromSequence", |draw| {
            let (dtype, mut dims) = (draw.dtype(CLASSIC_TENSORS), draw.full_dims(1..=3, 3));
            let (new_axis, count) = (draw.flag(), draw.size(1..=3));
            let rank = dims.len() + usize::from(new_axis);
            let (axis, written) = draw.axis(rank);
            let parts: Vec<Tensor> = (0..count)
                .map(|_| {
                    if !new_axis {
                        dims[axis] = draw.size(1..=3);
                    }
                    draw.any(dtype, &dims)
                })
                .collect();
            let arrays: Vec<Array<Cell>> = parts
                .iter()
                .map(|t| {
                    let mut array = cells(t);
                    if new_axis {
                        array.dims.insert(axis, 1);
                    }
                    array
                })
                .collect();
            let mut to = arrays[0].dims.clone();
            to[axis] = arrays.iter().map(|a| a.dims[axis]).sum();
            let y = Array::from_fn(&to, |i| {
                let mut at = i.to_vec();
                let own = arrays.iter().find(|a| {
                    let is_here = at[axis] < a.dims[axis];
                    at[axis] -= if is_here { 0 } else { a.dims[axis] };
                    is_here
                });
                own.unwrap().at(&at)
            });
            let attributes = Attributes::new().with("axis", written).with("new_axis", i64::from(new_axis));
            values(attributes, vec![Some(sequence(dtype, &parts))], Expected::cells(dtype, &y))
        })
        .of_elements(),
        property("SplitToSequence", |draw| {
            let (dtype, dims) = (draw.dtype(CLASSIC_TENSORS), draw.full_dims(1..=3, 4));
            let ((axis, written), keepdims) = (draw.axis(dims.len()), draw.flag());
            let x = draw.any(dtype, &dims);
            let length = dims[axis];
            let each = draw.size(1..=3);
            let (lengths, split) = match draw.below(3) {
                0 => (vec![1; length], None),
                1 => {
                    let lengths = (0..length.div_ceil(each)).map(|i| each.min(length - i * each)).collect();
                    (lengths, Some(Tensor::scalar(each as i64)))
                }
                _ => {
                    let first = draw.size(0..=length);
                    (vec![first, length - first], Some(vector(&[first as i64, (length - first) as i64])))
                }
            };
            let mut start = 0;
            let parts: Vec<Tensor> = lengths
                .iter()
                .map(|&length| {
                    start += length;
                    let mut part = part(&cells(&x), axis, start - length, length);
                    if split.is_none() && !keepdims {
                        part.dims.remove(axis);
                    }
                    from_cells(dtype, &part)
                })
                .collect();
            let attributes = Attributes::new().with("axis", written).with("keepdims", i64::from(keepdims));
            let inputs = vec![Some(x.into()), split.map(Value::Tensor)];
            values(attributes, inputs, Expected::Exactly(sequence(dtype, &parts)))
        })
        .of_elements(),
        property("SequenceMap", |draw| {
            let items: Vec<Tensor> = (0..draw.size(0..=3)).map(|_| draw.numbers(DType::F32, &[2])).collect();
            let more = draw.numbers(DType::F32, &[2]);
            let sums: Vec<Tensor> = items
                .iter()
                .map(|t| {
                    let (a, b) = (reals(t), reals(&more));
                    super::array::from_reals(DType::F32, &Array::from_fn(&[2], |i| a.at(i) + b.at(i)))
                })
                .collect();
            let body = "b (float[2] x, float[2] y) => (float[2] z) { z = Add (x, y) }";
            values(
                graph("body", body),
                vec![Some(sequence(DType::F32, &items)), Some(more.into())],
                Expected::Exactly(sequence(DType::F32, &sums)),
            )
        })
        .of_elements(),
    ]
}

fn optionals() -> Vec<Property> {
    let optional = |value: Value| Value::Optional(value.value_type(), Some(Arc::new(value)));
    vec![
        property("Optional", move |draw| {
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let x: Value =
                if draw.flag() { draw.any(dtype, &[2]).into() } else { sequence(dtype, &items(draw, dtype)) };
            values(Attributes::new(), vec![Some(x.clone())], Expected::Exactly(optional(x)))
        })
        .of_elements(),
        property("OptionalHasElement", move |draw| {
            let x: Value = draw.any(DType::F32, &[2]).into();
            let (input, has) = match draw.below(4) {
                0 => (None, false),
                1 => (Some(Value::Optional(x.value_type(), None)), false),
                2 => (Some(optional(x)), true),
                _ => (Some(x), true),
            };
            values(Attributes::new(), vec![input], Expected::Exactly(Tensor::scalar(has).into()))
        }),
        property("OptionalGetElement", move |draw| {
            let dtype = draw.dtype(CLASSIC_TENSORS);
            let x: Value =
                if draw.flag() { draw.any(dtype, &[2]).into() } else { sequence(dtype, &items(draw, dtype)) };
            match draw.below(3) {
                0 => values(Attributes::new(), vec![Some(x.clone())], Expected::Exactly(x)),
                1 => values(Attributes::new(), vec![Some(optional(x.clone()))], Expected::Exactly(x)),
                _ => values(Attributes::new(), vec![Some(Value::Optional(x.value_type(), None))], Expected::Refused),
            }
        })
        .of_elements(),
    ]
}

/// The attribute that holds a body.
fn graph(name: &str, body: &str) -> Attributes {
    let body = text::parse(body, &StandardRegistry).unwrap_or_else(|e| panic!("{body}: {e}"));
    let mut attributes = Attributes::new();
    attributes.set(name, Attribute::Graph(Arc::new(body)));
    attributes
}

fn bodies() -> Vec<Property> {
    vec![
        property("If", |draw| {
            let condition = draw.flag();
            let mut attributes = graph("then_branch", "t () => (float[2] y) <float[2] a = {1, 2}> { y = Add (a, a) }");
            let other = graph("else_branch", "e () => (float[1] y) <float[1] a = {3}> { y = Neg (a) }");
            attributes.set("else_branch", other.get("else_branch").unwrap().clone());
            let y = if condition { Tensor::vector(&[2f32, 4.0]) } else { Tensor::vector(&[-3f32]) };
            case(attributes, [Tensor::scalar(condition)], Expected::Exactly(y.into()))
        })
        .of_elements(),
        property("Loop", |draw| {
            // The state grows by its step until the limit of 9; each state is given out.
            let (count, go, start) = (draw.flag().then(|| draw.int(-1..=6)), draw.flag(), draw.int(-3..=9));
            let body = "b (int64 i, bool c, int64[1] s) => (bool go, int64[1] t, int64[1] u)
                <int64 limit = {9}, int64 two = {2}> {
                    t = Add (s, two) u = Add (t, i) r = ReduceSum <keepdims = 0> (t) go = Less (r, limit)
                }";
            let (mut state, mut all, mut goes) = (start, Vec::new(), go);
            let mut i = 0;
            while goes && count.is_none_or(|count| i < count) {
                state += 2;
                all.push(state + i);
                goes = state < 9;
                i += 1;
            }
            let length = all.len();
            let expected = [
                Expected::Exactly(vector(&[state]).into()),
                Expected::Exactly(super::draw::reshaped(&vector(&all), &[length, 1]).into()),
            ];
            let inputs = [count.map(Tensor::scalar), Some(Tensor::scalar(go)), Some(vector(&[start]))];
            opt_case(graph("body", body), inputs, expected)
        })
        .of_elements(),
        property("Scan", |draw| {
            // Running sums along an axis, forwards or backwards, written along an axis, forwards or backwards.
            let (steps, width) = (draw.size(0..=4), 2);
            let (axis, out_axis, backwards, out_backwards) = (draw.below(2), draw.below(2), draw.flag(), draw.flag());
            let dims = if axis == 0 { [steps, width] } else { [width, steps] };
            let x = draw.integers(DType::F32, &dims, -4..=4);
            let start = draw.integers(DType::F32, &[width], -4..=4);
            let body = "b (float[2] s, float[2] x) => (float[2] t, float[2] y) { t = Add (s, x) y = Sub (t, s) }";
            let attributes = graph("body", body)
                .with("num_scan_inputs", 1)
                .with("scan_input_axes", vec![axis as i64])
                .with("scan_input_directions", vec![i64::from(backwards)])
                .with("scan_output_axes", vec![out_axis as i64])
                .with("scan_output_directions", vec![i64::from(out_backwards)]);
            let (xs, from) = (reals(&x), reals(&start));
            let at = |t: usize, i: usize| xs.at(&if axis == 0 { [t, i] } else { [i, t] });
            let last = Array::from_fn(&[width], |i| from.at(i) + (0..steps).map(|t| at(t, i[0])).sum::<f64>());
            let to = if out_axis == 0 { [steps, width] } else { [width, steps] };
            let y = Array::from_fn(&to, |i| {
                let (t, i) = if out_axis == 0 { (i[0], i[1]) } else { (i[1], i[0]) };
                at(if backwards == out_backwards { t } else { steps - 1 - t }, i)
            });
            opt_case(
                attributes,
                [start, x].map(Some),
                [Expected::numbers(DType::F32, last), Expected::numbers(DType::F32, y)],
            )
        })
        .of_elements(),
    ]
}

/// Enough numbers of a distribution for their mean to tell, in bounds, and the same for the same seed.
fn statistic(dtype: DType, dims: &[usize], low: f64, high: f64, mean: f64, slack: f64) -> Expected {
    let dims = dims.to_vec();
    Expected::Such(Box::new(move |got| {
        let tensor = got.as_tensor().ok_or("not a tensor")?;
        let y = reals(tensor);
        if tensor.dtype() != dtype || y.dims != dims {
            return Err(format!("expected {dtype}{dims:?}"));
        }
        let is_inside = y.data.iter().all(|v| (low..=high).contains(v));
        let got = y.data.iter().sum::<f64>() / y.data.len() as f64;
        if is_inside && (got - mean).abs() <= slack {
            Ok(())
        } else {
            Err(format!("a mean of {got}, not {mean}, or not in bounds"))
        }
    }))
}

fn random() -> Vec<Property> {
    let fill = |name: &'static str, is_uniform: bool, is_like: bool| {
        property(name, move |draw| {
            let (dtype, rows) = (draw.dtype(FLOATS), draw.size(1..=3));
            let dims = [rows, 400];
            let (low, spread) = (draw.pick(&[0.0f32, -2.0]), draw.pick(&[1.0f32, 3.0]));
            let mut attributes = match is_uniform {
                true => Attributes::new().with("low", low).with("high", low + spread),
                false => Attributes::new().with("mean", low).with("scale", spread),
            };
            attributes.set("dtype", i64::from(dtype.to_onnx()));
            attributes.set("seed", draw.int(0..=99) as f32);
            let (low, spread) = (f64::from(low), f64::from(spread));
            let expected = match is_uniform {
                true => statistic(dtype, &dims, low, low + spread, low + spread / 2.0, 0.15 * spread),
                false => statistic(dtype, &dims, f64::NEG_INFINITY, f64::INFINITY, low, 0.3 * spread),
            };
            if !is_like {
                attributes.set("shape", dims.map(|d| d as i64).to_vec());
            }
            let like = is_like.then(|| draw.any(DType::U8, &dims));
            case(attributes, like, expected)
        })
    };
    vec![
        fill("RandomUniform", true, false),
        fill("RandomUniformLike", true, true),
        fill("RandomNormal", false, false),
        fill("RandomNormalLike", false, true),
        property("Bernoulli", |draw| {
            let (dtype, p) = (draw.dtype(FLOATS), draw.pick(&[0.0, 1.0, 0.25, 0.5]));
            let x = draw.between(dtype, &[2, 400], p, p);
            let to = draw.dtype(FLOATS.or(INDICES).or(BOOL));
            let attributes =
                Attributes::new().with("dtype", i64::from(to.to_onnx())).with("seed", draw.int(0..=99) as f32);
            let slack = if p == 0.0 || p == 1.0 { 0.0 } else { 0.12 };
            case(attributes, [x], statistic(to, &[2, 400], 0.0, 1.0, p, slack))
        }),
        property("Multinomial", |draw| {
            let (dtype, to) = (draw.dtype(FLOATS), draw.dtype(INDICES));
            // The middle one of three is four times as likely as each other.
            let x =
                super::array::from_reals(dtype, &Array::from_fn(&[2, 3], |i| if i[1] == 1 { 4f64.ln() } else { 0.0 }));
            let attributes = Attributes::new()
                .with("sample_size", 400)
                .with("dtype", i64::from(to.to_onnx()))
                .with("seed", draw.int(0..=99) as f32);
            case(attributes, [x], statistic(to, &[2, 400], 0.0, 2.0, 1.0, 0.12))
        }),
    ]
}

fn optimizers() -> Vec<Property> {
    const DOMAIN: &str = "ai.onnx.preview.training";
    let scalars = |draw: &mut Draw<'_>, dtype: DType| {
        let (rate, step) = (draw.between(dtype, &[], 0.01, 0.5), draw.int(0..=3));
        (rate, step)
    };
    vec![
        property("Adagrad", move |draw| {
            let (dtype, dims) = (draw.pick(&[DType::F32, DType::F64]), draw.full_dims(0..=2, 3));
            let (rate, step) = scalars(draw, dtype);
            let (decay, epsilon, norm) = (draw.pick(&[0.0f32, 0.1]), 0.01f32, draw.pick(&[0.0f32, 0.1]));
            let (x, g, h) =
                (draw.numbers(dtype, &dims), draw.numbers(dtype, &dims), draw.between(dtype, &dims, 0.0, 2.0));
            let r = reals(&rate).data[0] / (1.0 + step as f64 * f64::from(decay));
            let (xs, gs, hs) = (reals(&x), reals(&g), reals(&h));
            let gradient = |i: &[usize]| f64::from(norm) * xs.at(i) + gs.at(i);
            let memory = Array::from_fn(&dims, |i| hs.at(i) + gradient(i).powi(2));
            let y = Array::from_fn(&dims, |i| xs.at(i) - r * gradient(i) / (memory.at(i).sqrt() + f64::from(epsilon)));
            let attributes =
                Attributes::new().with("decay_factor", decay).with("epsilon", epsilon).with("norm_coefficient", norm);
            let expected = [Expected::absolute(dtype, y, 4.0), Expected::absolute(dtype, memory, 4.0)];
            opt_case(attributes, [rate, Tensor::scalar(step), x, g, h].map(Some), expected)
        })
        .domain(DOMAIN),
        property("Adam", move |draw| {
            let (dtype, dims) = (draw.pick(&[DType::F32, DType::F64]), draw.full_dims(0..=2, 3));
            let (rate, step) = scalars(draw, dtype);
            let (alpha, beta, epsilon) = (0.75f32, 0.5f32, 0.01f32);
            let (norm, post) = (draw.pick(&[0.0f32, 0.1]), draw.pick(&[0.0f32, 0.2]));
            let (x, g) = (draw.numbers(dtype, &dims), draw.numbers(dtype, &dims));
            let (v, h) = (draw.numbers(dtype, &dims), draw.between(dtype, &dims, 0.1, 2.0));
            let (xs, gs, vs, hs) = (reals(&x), reals(&g), reals(&v), reals(&h));
            let (a, b) = (f64::from(alpha), f64::from(beta));
            let gradient = |i: &[usize]| f64::from(norm) * xs.at(i) + gs.at(i);
            let v_new = Array::from_fn(&dims, |i| a * vs.at(i) + (1.0 - a) * gradient(i));
            let h_new = Array::from_fn(&dims, |i| b * hs.at(i) + (1.0 - b) * gradient(i).powi(2));
            let r = reals(&rate).data[0]
                * match step {
                    0 => 1.0,
                    step => (1.0 - b.powi(step as i32)).sqrt() / (1.0 - a.powi(step as i32)),
                };
            let y = Array::from_fn(&dims, |i| {
                let moved = xs.at(i) - r * v_new.at(i) / (h_new.at(i).sqrt() + f64::from(epsilon));
                (1.0 - f64::from(post)) * moved
            });
            let attributes = Attributes::new()
                .with("alpha", alpha)
                .with("beta", beta)
                .with("epsilon", epsilon)
                .with("norm_coefficient", norm)
                .with("norm_coefficient_post", post);
            let expected = [y, v_new, h_new].map(|y| Expected::absolute(dtype, y, 8.0));
            opt_case(attributes, [rate, Tensor::scalar(step), x, g, v, h].map(Some), expected)
        })
        .domain(DOMAIN),
        property("Momentum", move |draw| {
            let (dtype, dims) = (draw.pick(&[DType::F32, DType::F64]), draw.full_dims(0..=2, 3));
            let (rate, step) = scalars(draw, dtype);
            let (alpha, beta, norm, mode) =
                (0.75f32, 0.5f32, draw.pick(&[0.0f32, 0.1]), draw.pick(&["standard", "nesterov"]));
            let (x, g, v) = (draw.numbers(dtype, &dims), draw.numbers(dtype, &dims), draw.numbers(dtype, &dims));
            let (xs, gs, vs) = (reals(&x), reals(&g), reals(&v));
            let gradient = |i: &[usize]| f64::from(norm) * xs.at(i) + gs.at(i);
            let factor = if step > 0 { f64::from(beta) } else { 1.0 };
            let v_new = Array::from_fn(&dims, |i| f64::from(alpha) * vs.at(i) + factor * gradient(i));
            let r = reals(&rate).data[0];
            let y = Array::from_fn(&dims, |i| match mode {
                "standard" => xs.at(i) - r * v_new.at(i),
                _ => xs.at(i) - r * (gradient(i) + f64::from(alpha) * v_new.at(i)),
            });
            let attributes = Attributes::new()
                .with("alpha", alpha)
                .with("beta", beta)
                .with("norm_coefficient", norm)
                .with("mode", mode);
            let expected = [y, v_new].map(|y| Expected::absolute(dtype, y, 8.0));
            opt_case(attributes, [rate, Tensor::scalar(step), x, g, v].map(Some), expected)
        })
        .domain(DOMAIN),
    ]
}

#[test]
fn structures_are_as_defined() {
    super::check_all(properties());
}
