//! `Scaler`, `Normalizer`, `Imputer` and `Binarizer`: features by features, each its own way.
//!
//! Opsets of `ai.onnx.ml`: 1.

use super::rows::convert;
use super::{DOMAIN, FEATURES};
use crate::Define;
use crate::dtypes::{Number, for_dtypes};
use crate::parallel;
use crate::rowwise::{map_rows, map_units};
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, float, int, optional, string,
};
use planish_tensor::{DType, Tensor};

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 1.0;

/// [`for_dtypes!`] over the domain's feature types.
macro_rules! for_feature {
    ($dtype:expr, $T:ident => $body:expr) => {
        for_dtypes!($dtype, $T => $body, [F32 = f32, F64 = f64, I64 = i64, I32 = i32])
    };
}

/// What is known of an output of the input's shape.
fn shaped_as_input(x: &Facts<'_>, dtype: Option<DType>) -> Vec<Fact> {
    vec![match x.shape(0) {
        Some(shape) => Fact::shaped(dtype, shape.to_vec()),
        None => Fact::tensor(dtype),
    }]
}

/// The number of features: the elements along the last axis.
fn num_features(x: &Tensor) -> usize {
    x.shape().last().copied().unwrap_or(1)
}

/// An error unless a list holds one element, or one for each feature.
fn check_features(name: &str, length: usize, x: &Tensor) -> Result<(), OpError> {
    if length == 1 || length == num_features(x) {
        return Ok(());
    }
    let features = num_features(x);
    Err(OpError::invalid(format!("attribute {name:?}: expected 1 or {features} elements, got {length}")))
}

/// `Scaler`: (x − offset) · scale, of every feature its own or all the same.
#[derive(Debug)]
pub struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

impl Define for Scaler {
    const SCHEMA: Schema = Schema::new("Scaler", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES)])
        .outputs(&[arg("Y", FLOAT)])
        .attributes(&[optional("offset", AttributeKind::Floats), optional("scale", AttributeKind::Floats)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let list = |name, neutral| match node.opt_floats(name) {
            Some(list) if !list.is_empty() => list.to_vec(),
            _ => vec![neutral],
        };
        Ok(Scaler { offset: list("offset", 0.0), scale: list("scale", 1.0) })
    }
}

impl Op for Scaler {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(shaped_as_input(x, Some(DType::F32)))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.take_tensor(0)?;
        check_features("offset", self.offset.len(), &x)?;
        check_features("scale", self.scale.len(), &x)?;
        let y = if x.dtype() == DType::F64 { self.scale::<f64>(cx, &x)? } else { self.scale::<f32>(cx, &x)? };
        Ok(y.into())
    }
}

impl Scaler {
    fn scale<T: Number>(&self, cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let width = num_features(x);
        let x = convert::<T>(cx, x)?;
        let source = x.as_slice::<T>()?;
        let mut y = cx.uninit::<f32>(x.shape().clone())?;
        parallel::fill_units(cx, &mut y, width.max(1), NS_PER_ELEMENT, |start, y| {
            for (row, x) in y.chunks_exact_mut(width).zip(source[start..].chunks_exact(width)) {
                for (i, (y, &x)) in row.iter_mut().zip(x).enumerate() {
                    let (offset, scale) = (of_feature(&self.offset, i), of_feature(&self.scale, i));
                    let scaled = x.sub(T::from_f64(offset.into())).mul(T::from_f64(scale.into()));
                    *y = scaled.to_f64() as f32;
                }
            }
        })?;
        Ok(y.freeze())
    }
}

/// The element for feature `i` of a list that [`check_features`] passed.
fn of_feature<T: Copy>(list: &[T], i: usize) -> T {
    if let [one] = list { *one } else { list[i] }
}

/// `Normalizer`: every row over its maximum, the sum of its magnitudes, or its length. A divisor of zero leaves the row.
#[derive(Debug)]
pub struct Normalizer {
    norm: Norm,
}

#[derive(Clone, Copy, Debug)]
enum Norm {
    Max,
    L1,
    L2,
}

impl Norm {
    fn of(self, row: &[f32]) -> f32 {
        match self {
            Norm::Max => row.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            Norm::L1 => row.iter().map(|x| x.abs()).sum(),
            Norm::L2 => row.iter().map(|x| x * x).sum::<f32>().sqrt(),
        }
    }
}

impl Define for Normalizer {
    const SCHEMA: Schema = Schema::new("Normalizer", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES)])
        .outputs(&[arg("Y", FLOAT)])
        .attributes(&[string("norm", "MAX")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Normalizer { norm: node.choice("norm", &[("MAX", Norm::Max), ("L1", Norm::L1), ("L2", Norm::L2)])? })
    }
}

impl Op for Normalizer {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(shaped_as_input(x, Some(DType::F32)))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let x = convert::<f32>(cx, &inputs.take_tensor(0)?)?;
        if x.rank() == 0 {
            return Err(OpError::invalid("input 0: expected rows of features, got a scalar"));
        }
        // A batch is normalised along its second axis.
        let axis = usize::from(x.rank() > 1);
        let length = x.shape()[axis];
        let y = map_rows::<f32>(cx, x, axis, NS_PER_ELEMENT, |rows| {
            for row in rows.chunks_exact_mut(length) {
                let norm = self.norm.of(row);
                if norm != 0.0 {
                    row.iter_mut().for_each(|x| *x /= norm);
                }
            }
        })?;
        Ok(y.into())
    }
}

/// `Imputer`: one value replaced by another, of every feature its own or all the same.
#[derive(Debug)]
pub struct Imputer {
    floats: Option<Replacement<f32>>,
    ints: Option<Replacement<i64>>,
}

#[derive(Debug)]
struct Replacement<T> {
    replaced: T,
    imputed: Vec<T>,
}

impl Define for Imputer {
    const SCHEMA: Schema = Schema::new("Imputer", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES).var("T")])
        .outputs(&[arg("Y", FEATURES).var("T")])
        .attributes(&[
            optional("imputed_value_floats", AttributeKind::Floats),
            optional("imputed_value_int64s", AttributeKind::Ints),
            float("replaced_value_float", 0.0),
            int("replaced_value_int64", 0),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let floats = node.opt_floats("imputed_value_floats").filter(|list| !list.is_empty());
        let ints = node.opt_ints("imputed_value_int64s").filter(|list| !list.is_empty());
        let (of_floats, of_ints) = (node.float("replaced_value_float")?, node.int("replaced_value_int64")?);
        Ok(Imputer {
            floats: floats.map(|list| Replacement { replaced: of_floats, imputed: list.to_vec() }),
            ints: ints.map(|list| Replacement { replaced: of_ints, imputed: list.to_vec() }),
        })
    }
}

impl Op for Imputer {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(shaped_as_input(x, x.dtype(0)))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.take_tensor(0)?;
        let y = match x.dtype() {
            DType::F32 => impute::<f32, f32>(cx, x, self.floats.as_ref(), |v| v)?,
            DType::F64 => impute::<f64, f32>(cx, x, self.floats.as_ref(), f64::from)?,
            DType::I32 => {
                impute::<i32, i64>(cx, x, self.ints.as_ref(), |v| v.clamp(i32::MIN.into(), i32::MAX.into()) as i32)?
            }
            _ => impute::<i64, i64>(cx, x, self.ints.as_ref(), |v| v)?,
        };
        Ok(y.into())
    }
}

fn impute<T: Number, A: Copy + Sync>(
    cx: &EvalCx<'_>,
    x: Tensor,
    replacement: Option<&Replacement<A>>,
    of: impl Fn(A) -> T + Sync,
) -> Result<Tensor, OpError> {
    let missing = || OpError::invalid(format!("there are no imputed values for an input of {}", x.dtype()));
    let Replacement { replaced, imputed } = replacement.ok_or_else(missing)?;
    check_features("imputed_value", imputed.len(), &x)?;
    let (replaced, width) = (of(*replaced), num_features(&x));
    map_units::<T>(cx, x, width, NS_PER_ELEMENT, |_, x, y| {
        if let Some(x) = x {
            y.copy_from_slice(x);
        }
        for row in y.chunks_exact_mut(width) {
            for (i, y) in row.iter_mut().enumerate() {
                if *y == replaced || (y.is_nan() && replaced.is_nan()) {
                    *y = of(of_feature(imputed, i));
                }
            }
        }
    })
}

/// `Binarizer`: 1 where x is above the threshold, else 0.
#[derive(Debug)]
pub struct Binarizer {
    threshold: f32,
}

impl Define for Binarizer {
    const SCHEMA: Schema = Schema::new("Binarizer", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES).var("T")])
        .outputs(&[arg("Y", FEATURES).var("T")])
        .attributes(&[float("threshold", 0.0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Binarizer { threshold: node.float("threshold")? })
    }
}

impl Op for Binarizer {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(shaped_as_input(x, x.dtype(0)))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.take_tensor(0)?;
        let threshold = f64::from(self.threshold);
        let binarize = |x: Tensor| for_feature!(x.dtype(), T => binarize::<T>(cx, x, threshold));
        Ok(binarize(x)?.into())
    }
}

fn binarize<T: Number>(cx: &EvalCx<'_>, x: Tensor, threshold: f64) -> Result<Tensor, OpError> {
    let of = |x: T| if x.to_f64() > threshold { T::ONE } else { T::ZERO };
    map_units::<T>(cx, x, 1, NS_PER_ELEMENT, |_, x, y| match x {
        Some(x) => y.iter_mut().zip(x).for_each(|(y, &x)| *y = of(x)),
        None => y.iter_mut().for_each(|y| *y = of(*y)),
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::Tensor;
    use proptest::prelude::*;

    fn run(name: &str, attributes: Attributes, x: Tensor) -> Result<Tensor, OpError> {
        Ok(eval_all("ai.onnx.ml", name, attributes, &[Some(x)], 1)?.remove(0))
    }

    #[test]
    fn rows_are_divided_by_their_norm() {
        let x = || tensor(&[3, 2], &[3i64, -4, 0, 0, -1, -2]);
        for (norm, expected) in [
            ("MAX", [1.0f32, -4.0 / 3.0, 0.0, 0.0, 1.0, 2.0]),
            ("L1", [3.0 / 7.0, -4.0 / 7.0, 0.0, 0.0, -1.0 / 3.0, -2.0 / 3.0]),
            ("L2", [0.6, -0.8, 0.0, 0.0, -0.447_213_6, -0.894_427_2]),
        ] {
            let y = run("Normalizer", Attributes::new().with("norm", norm), x()).unwrap();
            for (got, expected) in y.as_slice::<f32>().unwrap().iter().zip(expected) {
                approx::assert_relative_eq!(*got, expected, epsilon = 1e-6);
            }
        }
        assert!(run("Normalizer", Attributes::new().with("norm", "L3"), x()).is_err());
    }

    #[test]
    fn missing_values_are_imputed() {
        let floats = |replaced: f32| {
            Attributes::new().with("imputed_value_floats", vec![7f32, 8.0]).with("replaced_value_float", replaced)
        };
        let x = tensor(&[2, 2], &[f32::NAN, 1.0, 2.0, f32::NAN]);
        assert_eq!(run("Imputer", floats(f32::NAN), x).unwrap(), tensor(&[2, 2], &[7f32, 1.0, 2.0, 8.0]));
        assert_eq!(run("Imputer", floats(2.0), tensor(&[2], &[2f64, 2.0])).unwrap(), tensor(&[2], &[7f64, 8.0]));
        assert!(run("Imputer", floats(2.0), tensor(&[3], &[2f32; 3])).is_err(), "two values for three features");
        assert!(run("Imputer", floats(2.0), tensor(&[2], &[2i64; 2])).is_err(), "no integers to impute");
        let ints = Attributes::new().with("imputed_value_int64s", vec![7i64]).with("replaced_value_int64", 2i64);
        assert_eq!(run("Imputer", ints.clone(), tensor(&[3], &[2i64, 1, 2])).unwrap(), tensor(&[3], &[7i64, 1, 7]));
        assert_eq!(run("Imputer", ints, tensor(&[1], &[2i32])).unwrap(), tensor(&[1], &[7i32]));
    }

    #[test]
    fn above_the_threshold_is_one() {
        let attributes = Attributes::new().with("threshold", 0.5f32);
        let x = tensor(&[4], &[0.5f32, 0.75, -1.0, f32::NAN]);
        assert_eq!(run("Binarizer", attributes.clone(), x).unwrap(), tensor(&[4], &[0f32, 1.0, 0.0, 0.0]));
        assert_eq!(run("Binarizer", attributes, tensor(&[2], &[0i32, 1])).unwrap(), tensor(&[2], &[0i32, 1]));
    }

    proptest! {
        #[test]
        fn features_are_scaled_by_the_formula(
            (rows, width) in (0usize..4, 1usize..5),
            numbers in prop::collection::vec(-4i8..5, 30),
            is_shared in any::<bool>(),
        ) {
            let numbers: Vec<f64> = numbers.into_iter().map(|v| f64::from(v) / 2.0).collect();
            let count = if is_shared { 1 } else { width };
            let (x, offset, scale) = (&numbers[..rows * width], &numbers[16..16 + count], &numbers[21..21 + count]);
            let floats = |list: &[f64]| list.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let attributes = Attributes::new().with("offset", floats(offset)).with("scale", floats(scale));
            let of = |i: usize| if is_shared { 0 } else { i % width };
            let expected: Vec<f32> = x.iter().enumerate().map(|(i, x)| ((x - offset[of(i)]) * scale[of(i)]) as f32).collect();
            for x in [tensor(&[rows, width], x), tensor(&[rows, width], &floats(x))] {
                let y = run("Scaler", attributes.clone(), x).unwrap();
                prop_assert_eq!(y.as_slice::<f32>().unwrap(), &expected);
            }
        }
    }
}
