//! Operators of `ai.onnx.ml`: features, labels, maps and linear models.

use super::array::{Array, Cell, cells, int_bits, ints, reals};
use super::draw::{Draw, vector};
use super::{Case, Expected, Property, case, opt_case, property};
use planish_ir::{Attribute, Attributes, Types};
use planish_tensor::{DType, Map, MapKeys, Sequence, Shape, Tensor, Value, ValueType};
use std::sync::Arc;

const DOMAIN: &str = "ai.onnx.ml";
const NUMBERS: Types = Types::of(&[DType::F32, DType::F64, DType::I64, DType::I32]);

pub fn properties() -> Vec<Property> {
    [features(), labels(), maps(), models()].into_iter().flatten().map(|p| p.domain(DOMAIN)).collect()
}

/// Rows of features, small whole numbers or fractions.
fn rows(draw: &mut Draw<'_>) -> (Tensor, Array<f64>) {
    let (dtype, dims) = (draw.dtype(NUMBERS), [draw.size(1..=3), draw.size(1..=4)]);
    let x = if dtype.is_float() { draw.numbers(dtype, &dims) } else { draw.integers(dtype, &dims, -3..=3) };
    let values = reals(&x);
    (x, values)
}

fn floats(draw: &mut Draw<'_>, count: usize) -> Vec<f32> {
    reals(&draw.numbers(DType::F32, &[count])).data.iter().map(|&v| v as f32).collect()
}

fn strings(words: &[&str]) -> Attribute {
    Attribute::Strings(words.iter().map(|&w| w.to_owned()).collect())
}

fn words(draw: &mut Draw<'_>, dims: &[usize], list: &[&str]) -> Tensor {
    let words = (0..dims.iter().product()).map(|_| draw.pick(list).to_owned()).collect();
    Tensor::from_strings(Shape::new(dims).unwrap(), words).unwrap()
}

fn features() -> Vec<Property> {
    vec![
        property("ArrayFeatureExtractor", |draw| {
            let dtype = draw.dtype(NUMBERS.or(Types::of(&[DType::String])));
            let dims = draw.full_dims(2..=3, 4);
            let (x, count) = (draw.any(dtype, &dims), draw.size(1..=3));
            let last = dims[dims.len() - 1];
            let at = draw.integers(DType::I64, &[1, count], 0..=last as i64 - 1);
            let (elements, places) = (cells(&x), ints(&at));
            let y = Array::from_fn(&[&dims[..dims.len() - 1], &[count]].concat(), |i| {
                let (head, k) = i.split_at(i.len() - 1);
                elements.at(&[head, &[places.data[k[0]] as usize]].concat())
            });
            case(Attributes::new(), [x, at], Expected::cells(dtype, &y))
        }),
        property("Binarizer", |draw| {
            let (x, xs) = rows(draw);
            let threshold = draw.pick(&[0.0f32, 0.5, -1.0]);
            let y = xs.map(|v| f64::from(u8::from(v > f64::from(threshold))));
            case(Attributes::new().with("threshold", threshold), [x.clone()], Expected::numbers(x.dtype(), y))
        }),
        property("FeatureVectorizer", |draw| {
            let (dtype, count, parts) = (draw.dtype(NUMBERS), draw.size(1..=3), draw.size(1..=3));
            let x: Vec<Tensor> = (0..parts)
                .map(|_| {
                    let width = draw.size(1..=3);
                    draw.integers(dtype, &[count, width], -3..=3)
                })
                .collect();
            let widths: Vec<i64> = x.iter().map(|t| t.shape()[1] as i64).collect();
            let total: i64 = widths.iter().sum();
            let y = Array::from_fn(&[count, total as usize], |i| {
                let mut at = i[1];
                let own = x.iter().find(|t| {
                    let is_here = at < t.shape()[1];
                    at -= if is_here { 0 } else { t.shape()[1] };
                    is_here
                });
                reals(own.unwrap()).at(&[i[0], at])
            });
            case(Attributes::new().with("inputdimensions", widths), x, Expected::numbers(DType::F32, y))
        }),
        property("Imputer", |draw| {
            let is_int = draw.flag();
            let dims = [draw.size(1..=3), draw.size(1..=4)];
            let x = draw.integers(if is_int { DType::I64 } else { DType::F32 }, &dims, 0..=2);
            let values: Vec<i64> = (0..if draw.flag() { dims[1] } else { 1 }).map(|_| draw.int(10..=20)).collect();
            let y = Array::from_fn(&dims, |i| match reals(&x).at(i) {
                1.0 => values[i[1].min(values.len() - 1)] as f64,
                other => other,
            });
            let attributes = match is_int {
                true => Attributes::new().with("replaced_value_int64", 1).with("imputed_value_int64s", values),
                false => Attributes::new()
                    .with("replaced_value_float", 1.0f32)
                    .with("imputed_value_floats", values.iter().map(|&v| v as f32).collect::<Vec<f32>>()),
            };
            case(attributes, [x.clone()], Expected::numbers(x.dtype(), y))
        }),
        property("Normalizer", |draw| {
            let (x, xs) = rows(draw);
            let norm = draw.pick(&["MAX", "L1", "L2"]);
            let y = Array::from_fn(&xs.dims, |i| {
                let row: Vec<f64> = (0..xs.dims[1]).map(|k| xs.at(&[i[0], k])).collect();
                let size = match norm {
                    "MAX" => row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v)),
                    "L1" => row.iter().map(|v| v.abs()).sum(),
                    _ => row.iter().map(|v| v * v).sum::<f64>().sqrt(),
                };
                if size == 0.0 { f64::NAN } else { xs.at(i) / size }
            });
            // What becomes of rows of zeros, and of those whose greatest is not positive, is not said.
            let is_open = y.data.iter().any(|v| v.is_nan())
                || (norm == "MAX" && (0..xs.dims[0]).any(|r| (0..xs.dims[1]).all(|k| xs.at(&[r, k]) <= 0.0)));
            let y = if is_open { Expected::Anything } else { Expected::absolute(DType::F32, y, 4.0) };
            case(Attributes::new().with("norm", norm), [x], y)
        }),
        property("Scaler", |draw| {
            let (x, xs) = rows(draw);
            let each = |draw: &mut Draw<'_>| if draw.flag() { xs.dims[1] } else { 1 };
            let (n, m) = (each(draw), each(draw));
            let (offset, scale) = (floats(draw, n), floats(draw, m));
            let y = Array::from_fn(&xs.dims, |i| {
                (xs.at(i) - f64::from(offset[i[1].min(n - 1)])) * f64::from(scale[i[1].min(m - 1)])
            });
            case(
                Attributes::new().with("offset", offset).with("scale", scale),
                [x],
                Expected::absolute(DType::F32, y, 8.0),
            )
        }),
        property("OneHotEncoder", |draw| {
            let dims = draw.full_dims(1..=2, 3);
            let zeros = draw.flag();
            let (x, places, attributes) = match draw.flag() {
                true => {
                    let x = words(draw, &dims, &["a", "b", "c", "d"]);
                    let place = |c: Cell| ["b", "a", "d"].iter().position(|w| Cell::Text((*w).to_owned()) == c);
                    let places = cells(&x).map(place);
                    let mut attributes = Attributes::new();
                    attributes.set("cats_strings", strings(&["b", "a", "d"]));
                    (x, places, attributes)
                }
                false => {
                    let dtype = draw.dtype(NUMBERS);
                    let x = draw.integers(dtype, &dims, 0..=4);
                    let places = reals(&x).map(|v| [3.0, 0.0, 1.0].iter().position(|&c| c == v));
                    (x, places, Attributes::new().with("cats_int64s", vec![3, 0, 1]))
                }
            };
            let y = Array::from_fn(&[&dims[..], &[3]].concat(), |i| {
                f64::from(u8::from(places.at(&i[..dims.len()]) == Some(i[dims.len()])))
            });
            let is_refused = !zeros && places.data.contains(&None);
            let expected = if is_refused { Expected::Refused } else { Expected::numbers(DType::F32, y) };
            case(attributes.with("zeros", i64::from(zeros)), [x], expected)
        }),
    ]
}

fn labels() -> Vec<Property> {
    vec![
        property("CategoryMapper", |draw| {
            let dims = draw.full_dims(1..=2, 3);
            let mut attributes = Attributes::new()
                .with("cats_int64s", vec![5, 7])
                .with("default_int64", -9)
                .with("default_string", "none");
            attributes.set("cats_strings", strings(&["a", "b"]));
            if draw.flag() {
                let x = words(draw, &dims, &["a", "b", "c"]);
                let y = cells(&x).map(|c| match c {
                    Cell::Text(w) if w == "a" => int_bits(DType::I64, 5),
                    Cell::Text(w) if w == "b" => int_bits(DType::I64, 7),
                    _ => int_bits(DType::I64, -9),
                });
                return case(attributes, [x], Expected::cells(DType::I64, &y));
            }
            let x = draw.integers(DType::I64, &dims, 4..=8);
            let y = ints(&x).map(|v| {
                Cell::Text(
                    match v {
                        5 => "a",
                        7 => "b",
                        _ => "none",
                    }
                    .to_owned(),
                )
            });
            case(attributes, [x], Expected::cells(DType::String, &y))
        }),
        property("LabelEncoder", |draw| {
            let dims = draw.full_dims(1..=2, 3);
            // Keys and values as attributes of one kind each.
            let (x, keys) = match draw.below(3) {
                0 => (words(draw, &dims, &["a", "b", "c"]), ("keys_strings", strings(&["b", "a"]))),
                1 => (draw.integers(DType::I64, &dims, 0..=2), ("keys_int64s", Attribute::Ints(vec![1, 0]))),
                _ => (draw.integers(DType::F32, &dims, 0..=2), ("keys_floats", Attribute::Floats(vec![1.0, 0.0]))),
            };
            let place = cells(&x).map(|c| match c {
                Cell::Text(w) => ["b", "a"].iter().position(|k| *k == w),
                Cell::Bits(bits) => [1.0, 0.0].iter().position(|&k| k == super::array::value(x.dtype(), bits)),
            });
            let mut attributes = Attributes::new();
            attributes.set(keys.0, keys.1);
            let (dtype, y) = match draw.below(3) {
                0 => {
                    attributes.set("values_strings", strings(&["x", "y"]));
                    attributes.set("default_string", "none");
                    (
                        DType::String,
                        place.map(|p| Cell::Text(["x", "y"].get(p.unwrap_or(9)).unwrap_or(&"none").to_string())),
                    )
                }
                1 => {
                    attributes.set("values_int64s", vec![7, -8]);
                    attributes.set("default_int64", 99);
                    (
                        DType::I64,
                        place.map(|p| int_bits(DType::I64, [7, -8].get(p.unwrap_or(9)).copied().unwrap_or(99))),
                    )
                }
                _ => {
                    attributes.set("values_floats", vec![0.5, 1.5]);
                    attributes.set("default_float", -2.0f32);
                    (
                        DType::F32,
                        place.map(|p| {
                            super::array::bits(DType::F32, [0.5, 1.5].get(p.unwrap_or(9)).copied().unwrap_or(-2.0))
                        }),
                    )
                }
            };
            case(attributes, [x], Expected::cells(dtype, &y))
        }),
    ]
}

fn map_of(keys: MapKeys, values: Vec<f32>) -> Value {
    let values = values.iter().map(|&v| Value::Tensor(Tensor::scalar(v))).collect();
    Value::Map(Map { keys, values: Arc::new(values), element: ValueType::Tensor(DType::F32) })
}

fn maps() -> Vec<Property> {
    vec![
        property("CastMap", |draw| {
            let keys: Vec<i64> = (0..4).filter(|_| draw.flag()).collect();
            let values = floats(draw, keys.len());
            let sparse = draw.flag();
            let width = if sparse { 5 } else { keys.len() };
            let y = Array::from_fn(&[1, width], |i| match sparse {
                true => keys.iter().position(|&k| k == i[1] as i64).map_or(0.0, |p| values[p].into()),
                false => values[i[1]].into(),
            });
            let attributes = match sparse {
                true => Attributes::new().with("map_form", "SPARSE").with("max_map", 5),
                false => Attributes::new(),
            };
            let map = map_of(MapKeys::Ints(Arc::new(keys)), values);
            Case { attributes, inputs: vec![Some(map)], expected: vec![Expected::numbers(DType::F32, y)] }
        })
        .of_elements(),
        property("DictVectorizer", |draw| {
            let names = ["a", "b", "c", "d"];
            let keys: Vec<String> = names.iter().filter(|_| draw.flag()).map(|&n| n.to_owned()).collect();
            let values = floats(draw, keys.len());
            let vocabulary = ["d", "b", "z"];
            let y = Array::from_fn(&[1, 3], |i| {
                keys.iter().position(|k| k == vocabulary[i[1]]).map_or(0.0, |p| values[p].into())
            });
            let mut attributes = Attributes::new();
            attributes.set("string_vocabulary", strings(&vocabulary));
            let map = map_of(MapKeys::Strings(Arc::new(keys)), values);
            Case { attributes, inputs: vec![Some(map)], expected: vec![Expected::numbers(DType::F32, y)] }
        })
        .of_elements(),
        property("ZipMap", |draw| {
            let (count, labels) = (draw.size(1..=3), [4i64, 2, 9]);
            let x = draw.numbers(DType::F32, &[count, 3]);
            let row = |r: usize| (0..3).map(|k| reals(&x).at(&[r, k]) as f32).collect::<Vec<f32>>();
            let rows: Vec<Vec<f32>> = (0..count).map(row).collect();
            let check = move |got: &Value| {
                let Value::Sequence(Sequence { items, .. }) = got else { return Err("not a sequence".to_owned()) };
                let is_right = items.len() == rows.len()
                    && items.iter().zip(&rows).all(|(item, row)| match item {
                        Value::Map(map) => {
                            let values: Vec<f64> =
                                map.values.iter().flat_map(|v| reals(v.as_tensor().unwrap()).data).collect();
                            map.keys == MapKeys::Ints(Arc::new(labels.to_vec()))
                                && values == row.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>()
                        }
                        _ => false,
                    });
                if is_right { Ok(()) } else { Err(format!("expected {rows:?}")) }
            };
            let attributes = Attributes::new().with("classlabels_int64s", labels.to_vec());
            case(attributes, [x], Expected::Such(Box::new(check)))
        })
        .of_elements(),
    ]
}

/// Scores after what `post_transform` names.
fn transformed(name: &str, scores: &[f64]) -> Vec<f64> {
    match name {
        "LOGISTIC" => scores.iter().map(|v| 1.0 / (1.0 + (-v).exp())).collect(),
        "SOFTMAX" => {
            let sum: f64 = scores.iter().map(|v| v.exp()).sum();
            scores.iter().map(|v| v.exp() / sum).collect()
        }
        _ => scores.to_vec(),
    }
}

fn models() -> Vec<Property> {
    let weighted = |xs: &Array<f64>, row: usize, weights: &[f32], bias: f32| {
        (0..xs.dims[1]).map(|k| xs.at(&[row, k]) * f64::from(weights[k])).sum::<f64>() + f64::from(bias)
    };
    vec![
        property("LinearRegressor", move |draw| {
            let ((x, xs), targets, post) = (rows(draw), draw.size(1..=3), draw.pick(&["NONE", "SOFTMAX", "LOGISTIC"]));
            let width = xs.dims[1];
            let (weights, biases) = (floats(draw, targets * width), floats(draw, targets));
            let given = draw.flag();
            let scores = |row: usize| -> Vec<f64> {
                let raw: Vec<f64> = (0..targets)
                    .map(|t| weighted(&xs, row, &weights[t * width..], if given { biases[t] } else { 0.0 }))
                    .collect();
                transformed(post, &raw)
            };
            let y = Array::from_fn(&[xs.dims[0], targets], |i| scores(i[0])[i[1]]);
            let mut attributes = Attributes::new()
                .with("coefficients", weights.clone())
                .with("targets", targets as i64)
                .with("post_transform", post);
            if given {
                attributes.set("intercepts", biases.clone());
            }
            case(attributes, [x], Expected::absolute(DType::F32, y, 20.0))
        }),
        property("LinearClassifier", move |draw| {
            let ((x, xs), classes, post) = (rows(draw), draw.size(3..=4), draw.pick(&["NONE", "SOFTMAX", "LOGISTIC"]));
            let width = xs.dims[1];
            let (weights, biases) = (floats(draw, classes * width), floats(draw, classes));
            let raw = |row: usize| -> Vec<f64> {
                (0..classes).map(|c| weighted(&xs, row, &weights[c * width..], biases[c])).collect()
            };
            let labels: Vec<i64> = (0..classes as i64).map(|c| 10 - c).collect();
            let best = |row: usize| {
                let raw = raw(row);
                (1..classes).fold(0, |best, c| if raw[c] > raw[best] { c } else { best })
            };
            let chosen: Vec<i64> = (0..xs.dims[0]).map(|row| labels[best(row)]).collect();
            // Two scores that are nearly equal may be told apart otherwise.
            let is_close = (0..xs.dims[0]).any(|row| {
                let mut raw = raw(row);
                raw.sort_by(f64::total_cmp);
                raw[classes - 1] - raw[classes - 2] < 1e-4
            });
            let y = Array::from_fn(&[xs.dims[0], classes], |i| transformed(post, &raw(i[0]))[i[1]]);
            let attributes = Attributes::new()
                .with("coefficients", weights.clone())
                .with("intercepts", biases.clone())
                .with("classlabels_ints", labels)
                .with("post_transform", post);
            let label =
                if is_close { Expected::Such(Box::new(|_| Ok(()))) } else { Expected::Exactly(vector(&chosen).into()) };
            opt_case(attributes, [Some(x)], [label, Expected::absolute(DType::F32, y, 20.0)])
        }),
        property("SVMRegressor", move |draw| {
            let ((x, xs), vectors) = (rows(draw), draw.size(1..=3));
            let width = xs.dims[1];
            let (support, weights, rho) = (floats(draw, vectors * width), floats(draw, vectors), floats(draw, 1));
            let kernel = draw.pick(&["LINEAR", "RBF", "POLY", "SIGMOID"]);
            let (gamma, shift, degree) = (0.25f32, 0.5f32, 2.0f32);
            let k = |row: usize, v: usize| {
                let pair = |f: fn(f64, f64) -> f64| {
                    (0..width).map(|i| f(xs.at(&[row, i]), support[v * width + i].into())).sum::<f64>()
                };
                let dot = pair(|a, b| a * b);
                match kernel {
                    "RBF" => (-f64::from(gamma) * pair(|a, b| (a - b).powi(2))).exp(),
                    "POLY" => (f64::from(gamma) * dot + f64::from(shift)).powf(degree.into()),
                    "SIGMOID" => (f64::from(gamma) * dot + f64::from(shift)).tanh(),
                    _ => dot,
                }
            };
            let y = Array::from_fn(&[xs.dims[0], 1], |i| {
                (0..vectors).map(|v| f64::from(weights[v]) * k(i[0], v)).sum::<f64>() + f64::from(rho[0])
            });
            let attributes = Attributes::new()
                .with("coefficients", weights)
                .with("support_vectors", support.clone())
                .with("n_supports", vectors as i64)
                .with("rho", rho)
                .with("kernel_type", kernel)
                .with("kernel_params", vec![gamma, shift, degree]);
            case(attributes, [x], Expected::absolute(DType::F32, y, 60.0))
        }),
    ]
}

#[test]
fn learned_models_are_as_defined() {
    super::check_all(properties());
}
