//! `ZipMap`, `DictVectorizer` and `CastMap`: from tensors to maps and back.
//!
//! Opsets of `ai.onnx.ml`: 1.

use super::DOMAIN;
use super::labels::ClassLabels;
use super::rows::Rows;
use crate::Define;
use crate::cast::{Rounding, cast};
use crate::movement::{Movement, move_elements};
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Type, Types, arg, int, optional, string,
};
use planish_tensor::{DType, Map, MapKeys, Sequence, Shape, Tensor, Value, ValueType};
use std::collections::HashMap;
use std::sync::Arc;

/// What the values of maps are.
const VALUES: Types = Types::of(&[DType::I64, DType::F32, DType::F64, DType::String]);

/// `ZipMap`: for each row, a map from the classes' labels to its elements.
#[derive(Debug)]
pub struct ZipMap {
    labels: ClassLabels,
    keys: MapKeys,
}

impl Define for ZipMap {
    const SCHEMA: Schema = Schema::new("ZipMap", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FLOAT)])
        .outputs(&[arg("Z", Types::SEQUENCE)])
        .attributes(&[
            optional("classlabels_int64s", AttributeKind::Ints),
            optional("classlabels_strings", AttributeKind::Strings),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let labels = ClassLabels::parse(node, "classlabels_int64s", "classlabels_strings")?;
        let keys = match &labels {
            ClassLabels::Ints(labels) => MapKeys::Ints(Arc::new(labels.clone())),
            ClassLabels::Strings(labels) => MapKeys::Strings(Arc::new(labels.clone())),
        };
        Ok(ZipMap { labels, keys })
    }
}

impl Op for ZipMap {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Rows::infer(x)?;
        let map = Type::Map(self.labels.dtype(), Box::new(Type::tensor(DType::F32)));
        Ok(vec![Fact::of_type(Type::Sequence(Box::new(map)))])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let (rows, width) = (Rows::of(x)?, self.labels.len());
        if rows.width != width {
            return Err(OpError::invalid(format!("input 0: expected {width} columns, got {}", rows.width)));
        }
        let element = ValueType::Tensor(DType::F32);
        let per_row = size_of::<Value>().saturating_mul(width + 1);
        let _charged = cx.memory.reserve(per_row.saturating_mul(rows.count))?;
        let mut items = Vec::with_capacity(rows.count);
        for row in x.as_slice::<f32>()?.chunks_exact(width) {
            cx.check()?;
            let values = row.iter().map(|&v| Ok(Value::Tensor(cx.tensor(Shape::scalar(), &[v])?)));
            let values = Arc::new(values.collect::<Result<Vec<_>, OpError>>()?);
            items.push(Value::Map(Map { keys: self.keys.clone(), values, element: element.clone() }));
        }
        let map = ValueType::Map(self.labels.dtype(), Box::new(element));
        Ok(Value::Sequence(Sequence { element: map, items: Arc::new(items) }).into())
    }
}

/// The map that input 0 is.
fn take_map(inputs: &mut Inputs) -> Result<Map, OpError> {
    match inputs.take(0)? {
        Value::Map(map) => Ok(map),
        other => Err(OpError::invalid(format!("input 0: expected a map, got {}", other.value_type()))),
    }
}

/// What is known of the values of the map that input 0 is.
fn value_dtype(x: &Facts<'_>) -> Result<Option<DType>, InferError> {
    match x.get(0).map(|fact| &fact.ty) {
        Some(Type::Map(_, value)) => Ok(value.dtype()),
        None | Some(Type::Unknown) => Ok(None),
        Some(other) => Err(InferError(format!("input 0: expected a map, got {other}"))),
    }
}

/// From some of the sources, one element each, to the places in the target that they are given; the last source fills the
/// rest.
struct Scattered(Vec<Option<usize>>);

impl Movement for Scattered {
    fn apply<T: Clone + Send + Sync>(
        &self,
        cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        let none = || OpError::invalid("a value of the map is empty");
        for (y, source) in target.iter_mut().zip(&self.0) {
            let source = sources[source.unwrap_or(sources.len() - 1)];
            *y = source.first().ok_or_else(none)?.clone();
        }
        cx.check()
    }
}

/// A row of the map's values: `places` says which, and `None` stands for zero or the empty string.
fn row(cx: &EvalCx<'_>, map: &Map, places: Vec<Option<usize>>) -> Result<Tensor, OpError> {
    let ValueType::Tensor(dtype) = map.element else {
        return Err(OpError::invalid(format!("input 0: the values are {}", map.element)));
    };
    let zero = Tensor::zeros(&cx.memory, dtype, Shape::new(&[1])?)?;
    let not_a_tensor = || OpError::invalid("a value of the map is not a tensor");
    let values = map.values.iter().map(|value| value.as_tensor().ok_or_else(not_a_tensor));
    let mut sources = values.collect::<Result<Vec<_>, _>>()?;
    sources.push(&zero);
    move_elements(cx, &sources, Shape::new(&[1, places.len()])?, &Scattered(places))
}

/// `DictVectorizer`: the map's values in the order of a vocabulary of keys; zero for keys that the map lacks.
#[derive(Debug)]
pub struct DictVectorizer(ClassLabels);

impl Define for DictVectorizer {
    const SCHEMA: Schema = Schema::new("DictVectorizer", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", Types::MAP)])
        .outputs(&[arg("Y", VALUES)])
        .attributes(&[
            optional("int64_vocabulary", AttributeKind::Ints),
            optional("string_vocabulary", AttributeKind::Strings),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(DictVectorizer(ClassLabels::parse(node, "int64_vocabulary", "string_vocabulary")?))
    }
}

impl Op for DictVectorizer {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dims = vec![Dim::known(1), Dim::known(self.0.len() as i64)];
        Ok(vec![Fact::shaped(value_dtype(x)?, dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let map = take_map(&mut inputs)?;
        let _charged = cx.memory.reserve(self.0.len().saturating_mul(size_of::<Option<usize>>()))?;
        let places = match (&self.0, &map.keys) {
            (ClassLabels::Ints(vocabulary), MapKeys::Ints(keys)) => looked_up(vocabulary, keys),
            (ClassLabels::Strings(vocabulary), MapKeys::Strings(keys)) => looked_up(vocabulary, keys),
            _ => return Err(OpError::invalid("the map's keys are not of the vocabulary's type")),
        };
        Ok(row(cx, &map, places)?.into())
    }
}

/// Where each word of the vocabulary stands among the keys.
fn looked_up<K: Eq + std::hash::Hash>(vocabulary: &[K], keys: &[K]) -> Vec<Option<usize>> {
    let places: HashMap<&K, usize> = keys.iter().zip(0..).collect();
    vocabulary.iter().map(|word| places.get(word).copied()).collect()
}

/// `CastMap`: the map's values in the order of their integer keys, all of them or at the places that their keys say.
#[derive(Debug)]
pub struct CastMap {
    to: DType,
    /// The number of places, where keys say them.
    length: Option<usize>,
}

impl Define for CastMap {
    const SCHEMA: Schema = Schema::new("CastMap", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", Types::MAP)])
        .outputs(&[arg("Y", Types::of(&[DType::String, DType::F32, DType::I64]))])
        .attributes(&[string("cast_to", "TO_FLOAT"), string("map_form", "DENSE"), int("max_map", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let dtypes = [("TO_FLOAT", DType::F32), ("TO_STRING", DType::String), ("TO_INT64", DType::I64)];
        let to = node.choice("cast_to", &dtypes)?;
        let max_map = node.int("max_map")?;
        let length =
            match node.choice("map_form", &[("DENSE", false), ("SPARSE", true)])? {
                false => None,
                true => Some(usize::try_from(max_map).ok().filter(|&length| length > 0).ok_or_else(|| {
                    AttributeError::invalid(format!("attribute \"max_map\": {max_map} is not positive"))
                })?),
            };
        Ok(CastMap { to, length })
    }
}

impl Op for CastMap {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        value_dtype(x)?;
        let length = self.length.and_then(|length| i64::try_from(length).ok());
        Ok(vec![Fact::shaped(Some(self.to), vec![Dim::known(1), length.map_or_else(Dim::unknown, Dim::known)])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let map = take_map(&mut inputs)?;
        let MapKeys::Ints(keys) = &map.keys else {
            return Err(OpError::invalid("input 0: expected a map from integers, got one from strings"));
        };
        let length = self.length.unwrap_or(keys.len());
        let _charged = cx.memory.reserve(length.saturating_mul(size_of::<Option<usize>>()))?;
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|&i| keys[i]);
        let mut places = vec![None; length];
        for (rank, place) in order.into_iter().enumerate() {
            let at = if self.length.is_some() { usize::try_from(keys[place]).unwrap_or(usize::MAX) } else { rank };
            let beyond = || OpError::invalid(format!("key {} is out of range for {length} places", keys[place]));
            *places.get_mut(at).ok_or_else(beyond)? = Some(place);
        }
        let values = Arc::new(cast_all(cx, &map.values, self.to)?);
        Ok(row(cx, &Map { values, element: ValueType::Tensor(self.to), ..map.clone() }, places)?.into())
    }
}

/// The values one by one as `to`. What fills gaps among them is then the zero of that dtype.
fn cast_all(cx: &EvalCx<'_>, values: &[Value], to: DType) -> Result<Vec<Value>, OpError> {
    let not_a_tensor = || OpError::invalid("a value of the map is not a tensor");
    let each = values.iter().map(|value| {
        let tensor = value.as_tensor().ok_or_else(not_a_tensor)?.clone();
        Ok(Value::Tensor(cast(cx, tensor, to, Rounding::default())?))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{eval_values, tensor};
    use planish_ir::{Attribute, Attributes};

    fn run(name: &str, attributes: Attributes, input: Value) -> Result<Value, OpError> {
        Ok(eval_values("ai.onnx.ml", name, attributes, &[Some(input)], 1)?.remove(0))
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&w| w.to_owned()).collect()
    }

    fn floats(keys: MapKeys, values: &[f32]) -> Value {
        let values = values.iter().map(|&v| Value::Tensor(Tensor::scalar(v))).collect();
        Value::Map(Map { keys, values: Arc::new(values), element: ValueType::Tensor(DType::F32) })
    }

    fn texts(keys: &[i64], values: &[&str]) -> Value {
        let text = |v: &&str| Value::Tensor(Tensor::from_strings(Shape::scalar(), words(&[v])).unwrap());
        let values = values.iter().map(text).collect();
        let keys = MapKeys::Ints(Arc::new(keys.to_vec()));
        Value::Map(Map { keys, values: Arc::new(values), element: ValueType::Tensor(DType::String) })
    }

    #[test]
    fn a_row_becomes_a_map_and_a_row_again() {
        let labels = Attribute::Strings(words(&["a", "b"]));
        let x = Value::Tensor(tensor(&[2, 2], &[1f32, 2., 3., 4.]));
        let z = run("ZipMap", Attributes::new().with("classlabels_strings", labels), x.clone()).unwrap();
        let Value::Sequence(rows) = z else { panic!("a sequence") };
        assert_eq!(rows.items[1], floats(MapKeys::Strings(Arc::new(words(&["a", "b"]))), &[3., 4.]));
        let vocabulary = Attribute::Strings(words(&["b", "z", "a"]));
        let attributes = Attributes::new().with("string_vocabulary", vocabulary);
        let y = run("DictVectorizer", attributes, rows.items[1].clone()).unwrap();
        assert_eq!(y, Value::Tensor(tensor(&[1, 3], &[4f32, 0., 3.])));
        let three = Attributes::new().with("classlabels_int64s", vec![1i64, 2, 3]);
        assert!(run("ZipMap", three, x).is_err(), "two columns for three labels");
    }

    #[test]
    fn the_keys_and_the_vocabulary_are_of_one_type() {
        let attributes = Attributes::new().with("int64_vocabulary", vec![5i64, 7]);
        let y = run("DictVectorizer", attributes.clone(), texts(&[7], &["x"])).unwrap();
        assert_eq!(y.as_tensor().unwrap().as_strings().unwrap(), ["", "x"]);
        assert!(run("DictVectorizer", attributes, floats(MapKeys::Strings(Arc::default()), &[])).is_err());
    }

    #[test]
    fn maps_are_cast_densely_or_by_key() {
        let cast = |to: &str, form: &str, length: i64, map: Value| {
            let attributes = Attributes::new().with("cast_to", to).with("map_form", form).with("max_map", length);
            run("CastMap", attributes, map).map(|y| y.into_tensor().unwrap())
        };
        let numbers = || floats(MapKeys::Ints(Arc::new(vec![3, 0])), &[1.5, 2.5]);
        assert_eq!(cast("TO_FLOAT", "DENSE", 1, numbers()).unwrap(), tensor(&[1, 2], &[2.5f32, 1.5]));
        assert_eq!(cast("TO_INT64", "SPARSE", 4, numbers()).unwrap(), tensor(&[1, 4], &[2i64, 0, 0, 1]));
        let y = cast("TO_STRING", "SPARSE", 4, numbers()).unwrap();
        assert_eq!(y.as_strings().unwrap(), ["2.5", "", "", "1.5"]);
        let y = cast("TO_FLOAT", "SPARSE", 2, texts(&[1], &["0.25"])).unwrap();
        assert_eq!(y, tensor(&[1, 2], &[0f32, 0.25]));
        assert!(cast("TO_FLOAT", "SPARSE", 3, numbers()).is_err(), "a key beyond the places");
        assert!(cast("TO_FLOAT", "SPARSE", 0, numbers()).is_err());
        assert!(cast("TO_FLOAT", "DENSE", 1, texts(&[1], &["x"])).is_err(), "no number");
    }
}
