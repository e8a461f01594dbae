//! `LabelEncoder`, `CategoryMapper` and `OneHotEncoder`: elements looked up in a list of keys.
//!
//! Opsets of `ai.onnx.ml`: 1, and for `LabelEncoder` 2 (keys and values in place of one list of strings) and 4 (tensors of
//! more dtypes). The importer writes its first form as the newest.

use super::DOMAIN;
use super::keys::Keys;
use crate::Define;
use crate::movement::{Movement, move_elements};
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, float, int, optional, string,
};
use planish_tensor::{DType, Shape, Tensor};

const LABELS: Types = Types::of(&[DType::String, DType::I64, DType::F32, DType::I32, DType::I16, DType::F64]);
const STRING_OR_INT: Types = Types::of(&[DType::String, DType::I64]);
const CATEGORIES: Types = Types::of(&[DType::String, DType::I64, DType::I32, DType::F32, DType::F64]);

/// Keys, the values that stand for them, and the value for all else.
#[derive(Debug)]
struct Encoding {
    keys: Keys,
    /// At least as many as keys.
    values: Tensor,
    /// One element of the values' dtype.
    default: Tensor,
}

/// From each element of the target, the value at a place or the default.
struct Placed(Vec<Option<usize>>);

impl Movement for Placed {
    fn apply<T: Clone + Send + Sync>(
        &self,
        cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        let (values, default) = (sources[0], sources[1]);
        for (y, place) in target.iter_mut().zip(&self.0) {
            *y = place.map_or(&default[0], |place| &values[place]).clone();
        }
        cx.check()
    }
}

impl Encoding {
    fn new(keys: Keys, num_keys: usize, values: Tensor, default: Tensor) -> Result<Encoding, AttributeError> {
        if values.num_elements() != num_keys {
            let message = format!("{num_keys} keys for {} values", values.num_elements());
            return Err(AttributeError::invalid(message));
        }
        if default.num_elements() != 1 || default.dtype() != values.dtype() {
            let message = format!("the default {default:?} is not one {}", values.dtype());
            return Err(AttributeError::invalid(message));
        }
        Ok(Encoding { keys, values, default })
    }

    fn apply(&self, cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let _charged = cx.memory.reserve(x.num_elements().saturating_mul(size_of::<Option<usize>>()))?;
        let places = Placed(self.keys.places(x)?);
        move_elements(cx, &[&self.values, &self.default], x.shape().clone(), &places)
    }
}

/// A list of strings as a tensor.
fn words(words: &[String]) -> Result<Tensor, AttributeError> {
    let shape = Shape::new(&[words.len()]).map_err(|e| AttributeError::invalid(e.to_string()))?;
    Tensor::from_strings(shape, words.to_vec()).map_err(|e| AttributeError::invalid(e.to_string()))
}

fn shaped_as_input(x: &Facts<'_>, dtype: Option<DType>) -> Fact {
    match x.shape(0) {
        Some(shape) => Fact::shaped(dtype, shape.to_vec()),
        None => Fact::tensor(dtype),
    }
}

/// `LabelEncoder`: each element's value.
#[derive(Debug)]
pub struct LabelEncoder(Encoding);

impl Define for LabelEncoder {
    const SCHEMA: Schema = Schema::new("LabelEncoder", 4)
        .domain(DOMAIN)
        .inputs(&[arg("X", LABELS)])
        .outputs(&[arg("Y", LABELS)])
        .attributes(&[
            float("default_float", -0.0),
            int("default_int64", -1),
            string("default_string", "_Unused"),
            optional("default_tensor", AttributeKind::Tensor),
            optional("keys_floats", AttributeKind::Floats),
            optional("keys_int64s", AttributeKind::Ints),
            optional("keys_strings", AttributeKind::Strings),
            optional("keys_tensor", AttributeKind::Tensor),
            optional("values_floats", AttributeKind::Floats),
            optional("values_int64s", AttributeKind::Ints),
            optional("values_strings", AttributeKind::Strings),
            optional("values_tensor", AttributeKind::Tensor),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let keys = list(node, ["keys_floats", "keys_int64s", "keys_strings", "keys_tensor"])?;
        let values = list(node, ["values_floats", "values_int64s", "values_strings", "values_tensor"])?;
        let default = match node.opt_tensor("default_tensor") {
            Some(tensor) => tensor.clone(),
            None => default(node, values.dtype())?,
        };
        let known = Keys::of_tensor(&keys).map_err(|e| AttributeError::invalid(e.to_string()))?;
        Ok(LabelEncoder(Encoding::new(known, keys.num_elements(), values, default)?))
    }
}

/// The one list that is there of floats, integers, strings or a tensor.
fn list(node: &NodeView<'_>, names: [&str; 4]) -> Result<Tensor, AttributeError> {
    let [floats, ints, strings, tensor] = names;
    let mut found = Vec::new();
    found.extend(node.opt_floats(floats).map(Tensor::vector));
    found.extend(node.opt_ints(ints).map(Tensor::vector));
    found.extend(node.opt_strings(strings).map(words).transpose()?);
    found.extend(node.opt_tensor(tensor).cloned());
    match (found.pop(), found.is_empty()) {
        (Some(list), true) => Ok(list),
        _ => Err(AttributeError::invalid(format!("expected one of the attributes {names:?}"))),
    }
}

/// The value of what is not a key, by the values' dtype.
fn default(node: &NodeView<'_>, dtype: DType) -> Result<Tensor, AttributeError> {
    let int = node.int("default_int64")?;
    let too_large = |_| AttributeError::invalid(format!("attribute \"default_int64\": {int} is no {dtype}"));
    Ok(match dtype {
        DType::F32 => Tensor::scalar(node.float("default_float")?),
        DType::F64 => Tensor::scalar(f64::from(node.float("default_float")?)),
        DType::I64 => Tensor::scalar(int),
        DType::I32 => Tensor::scalar(i32::try_from(int).map_err(too_large)?),
        DType::I16 => Tensor::scalar(i16::try_from(int).map_err(too_large)?),
        DType::String => words(&[node.string("default_string")?.to_owned()])?,
        other => return Err(AttributeError::unsupported(format!("values of {other}"))),
    })
}

impl Op for LabelEncoder {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![shaped_as_input(x, Some(self.0.values.dtype()))])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(self.0.apply(cx, inputs.tensor(0)?)?.into())
    }
}

/// `CategoryMapper`: strings to integers, or integers to strings.
#[derive(Debug)]
pub struct CategoryMapper {
    of_strings: Encoding,
    of_ints: Encoding,
}

impl Define for CategoryMapper {
    const SCHEMA: Schema = Schema::new("CategoryMapper", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", STRING_OR_INT)])
        .outputs(&[arg("Y", STRING_OR_INT)])
        .attributes(&[
            optional("cats_int64s", AttributeKind::Ints),
            optional("cats_strings", AttributeKind::Strings),
            int("default_int64", -1),
            string("default_string", "_Unused"),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let strings = node.opt_strings("cats_strings").unwrap_or_default();
        let ints = node.opt_ints("cats_int64s").unwrap_or_default();
        let default_int = Tensor::scalar(node.int("default_int64")?);
        let default_string = words(&[node.string("default_string")?.to_owned()])?;
        let (from_strings, from_ints) = (Keys::of_strings(strings), Keys::of_ints(ints));
        Ok(CategoryMapper {
            of_strings: Encoding::new(from_strings, strings.len(), Tensor::vector(ints), default_int)?,
            of_ints: Encoding::new(from_ints, ints.len(), words(strings)?, default_string)?,
        })
    }
}

impl Op for CategoryMapper {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let other = |dtype| if dtype == DType::String { DType::I64 } else { DType::String };
        Ok(vec![shaped_as_input(x, x.dtype(0).map(other))])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let encoding = if x.dtype() == DType::String { &self.of_strings } else { &self.of_ints };
        Ok(encoding.apply(cx, x)?.into())
    }
}

/// `OneHotEncoder`: along a new last axis, 1 where the element is the category and 0 elsewhere.
#[derive(Debug)]
pub struct OneHotEncoder {
    categories: Keys,
    num_categories: usize,
    /// Whether what is no category gives zeros alone, else it is an error.
    may_be_unknown: bool,
}

impl Define for OneHotEncoder {
    const SCHEMA: Schema = Schema::new("OneHotEncoder", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", CATEGORIES)])
        .outputs(&[arg("Y", FLOAT)])
        .attributes(&[
            optional("cats_int64s", AttributeKind::Ints),
            optional("cats_strings", AttributeKind::Strings),
            int("zeros", 1),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let ints = node.opt_ints("cats_int64s").filter(|list| !list.is_empty());
        let strings = node.opt_strings("cats_strings").filter(|list| !list.is_empty());
        let (categories, num_categories) = match (ints, strings) {
            (Some(ints), None) => (Keys::of_ints(ints), ints.len()),
            (None, Some(strings)) => (Keys::of_strings(strings), strings.len()),
            _ => {
                let message = "expected one of the attributes \"cats_int64s\" and \"cats_strings\"";
                return Err(AttributeError::invalid(message));
            }
        };
        Ok(OneHotEncoder { categories, num_categories, may_be_unknown: node.flag("zeros")? })
    }
}

impl Op for OneHotEncoder {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(Some(DType::F32))]) };
        let mut dims = shape.to_vec();
        dims.push(Dim::known(self.num_categories as i64));
        Ok(vec![Fact::shaped(Some(DType::F32), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let mut dims = x.shape().to_vec();
        dims.push(self.num_categories);
        let mut y = cx.zeros::<f32>(Shape::new(&dims)?)?;
        let _charged = cx.memory.reserve(x.num_elements().saturating_mul(size_of::<Option<usize>>()))?;
        // Numbers of other types are looked up as integers, fractions cut off.
        let places = match x.dtype() {
            DType::F32 | DType::F64 => self.categories.places(&super::rows::convert::<i64>(cx, x)?)?,
            _ => self.categories.places(x)?,
        };
        for (row, place) in y.chunks_exact_mut(self.num_categories).zip(places) {
            match place {
                Some(place) => row[place] = 1.0,
                None if self.may_be_unknown => {}
                None => return Err(OpError::invalid("input 0: an element is none of the categories")),
            }
        }
        Ok(y.freeze().into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::{Attribute, Attributes, OpError};
    use planish_tensor::{Shape, Tensor};
    use proptest::prelude::*;

    fn words(words: &[&str]) -> Tensor {
        let words: Vec<String> = words.iter().map(|&w| w.to_owned()).collect();
        Tensor::from_strings(Shape::new(&[words.len()]).unwrap(), words).unwrap()
    }

    fn strings(words: &[&str]) -> Attribute {
        Attribute::Strings(words.iter().map(|&w| w.to_owned()).collect())
    }

    fn run(name: &str, attributes: Attributes, x: Tensor) -> Result<Tensor, OpError> {
        Ok(eval_all("ai.onnx.ml", name, attributes, &[Some(x)], 1)?.remove(0))
    }

    #[test]
    fn every_pair_of_dtypes_is_encoded() {
        let dtypes = || {
            [
                (words(&["a", "b"]), words(&["b", "z"])),
                (tensor(&[2], &[3i64, 4]), tensor(&[2], &[4i64, 9])),
                (tensor(&[2], &[3i32, 4]), tensor(&[2], &[4i32, 9])),
                (tensor(&[2], &[3i16, 4]), tensor(&[2], &[4i16, 9])),
                (tensor(&[2], &[3f32, f32::NAN]), tensor(&[2], &[-f32::NAN, 9.0])),
                (tensor(&[2], &[3f64, -0.0]), tensor(&[2], &[0f64, f64::NAN])),
            ]
        };
        for (keys, x) in dtypes() {
            for (values, _) in dtypes() {
                let attributes =
                    Attributes::new().with("keys_tensor", keys.clone()).with("values_tensor", values.clone());
                let y = run("LabelEncoder", attributes, x.clone()).unwrap();
                assert_eq!(y.dtype(), values.dtype());
                match (y.as_strings(), values.as_strings()) {
                    (Ok(y), Ok(values)) => assert_eq!(y, [values[1].as_str(), "_Unused"]),
                    _ => assert_eq!(y.bytes()[..y.num_bytes() / 2], values.bytes()[values.num_bytes() / 2..]),
                }
            }
        }
    }

    #[test]
    fn the_last_of_equal_keys_counts_and_defaults_fill() {
        let attributes = Attributes::new()
            .with("keys_strings", strings(&["a", "b", "a"]))
            .with("values_int64s", vec![1i64, 2, 3])
            .with("default_int64", -7i64);
        let y = run("LabelEncoder", attributes.clone(), words(&["a", "b", "c"])).unwrap();
        assert_eq!(y, tensor(&[3], &[3i64, 2, -7]));
        let tensor_default = attributes.with("default_tensor", tensor(&[1], &[8i64]));
        assert_eq!(run("LabelEncoder", tensor_default, words(&["c"])).unwrap(), tensor(&[1], &[8i64]));
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let keys = || Attributes::new().with("keys_int64s", vec![1i64, 2]);
        let x = || tensor(&[1], &[1i64]);
        assert!(run("LabelEncoder", keys().with("values_int64s", vec![1i64]), x()).is_err(), "too few values");
        assert!(run("LabelEncoder", keys(), x()).is_err(), "no values");
        let sound = keys().with("values_int64s", vec![1i64, 2]);
        assert!(run("LabelEncoder", sound.clone(), words(&["a"])).is_err(), "other keys");
        assert!(run("LabelEncoder", sound.clone().with("values_floats", vec![1f32, 2.0]), x()).is_err(), "two lists");
        assert!(run("LabelEncoder", sound.with("default_tensor", tensor(&[1], &[0f32])), x()).is_err(), "a float");
        let small = Attributes::new()
            .with("keys_int64s", vec![1i64])
            .with("values_tensor", tensor(&[1], &[1i16]))
            .with("default_int64", i64::MAX);
        assert!(run("LabelEncoder", small, x()).is_err(), "a default that is no int16");
    }

    #[test]
    fn categories_map_both_ways() {
        let attributes = Attributes::new()
            .with("cats_strings", strings(&["a", "b"]))
            .with("cats_int64s", vec![4i64, 5])
            .with("default_string", "?");
        let y = run("CategoryMapper", attributes.clone(), words(&["b", "z"])).unwrap();
        assert_eq!(y, tensor(&[2], &[5i64, -1]));
        let y = run("CategoryMapper", attributes, tensor(&[2], &[4i64, 9])).unwrap();
        assert_eq!(y, words(&["a", "?"]));
    }

    #[test]
    fn unknown_categories_are_zeros_or_refused() {
        let attributes = Attributes::new().with("cats_strings", strings(&["a", "b"]));
        let y = run("OneHotEncoder", attributes.clone(), words(&["b", "z"])).unwrap();
        assert_eq!(y, tensor(&[2, 2], &[0f32, 1.0, 0.0, 0.0]));
        assert!(run("OneHotEncoder", attributes.clone().with("zeros", 0i64), words(&["z"])).is_err());
        assert!(run("OneHotEncoder", attributes, tensor(&[1], &[1f32])).is_err(), "numbers among words");
    }

    proptest! {
        #[test]
        fn a_category_is_one_and_all_others_zero(
            x in prop::collection::vec(-3i64..4, 0..6),
            categories in prop::collection::hash_set(-3i64..4, 1..5),
        ) {
            let categories: Vec<i64> = categories.into_iter().collect();
            let attributes = Attributes::new().with("cats_int64s", categories.clone());
            let is_hot = |x: &i64| categories.iter().map(|c| f32::from(u8::from(c == x))).collect::<Vec<_>>();
            let expected: Vec<f32> = x.iter().flat_map(is_hot).collect();
            let floats: Vec<f32> = x.iter().map(|&v| v as f32 + 0.25 * v.signum() as f32).collect();
            for input in [tensor(&[x.len()], &x), tensor(&[x.len()], &floats)] {
                let y = run("OneHotEncoder", attributes.clone(), input).unwrap();
                prop_assert_eq!(y.as_slice::<f32>().unwrap(), &expected);
            }
        }
    }
}
