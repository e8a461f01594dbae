//! The domain `ai.onnx.ml`: classic machine learning, as exported from scikit-learn and its neighbours.

mod labels;
mod post_transform;
mod rows;
mod scores;
mod tree;

pub use tree::{TreeEnsemble, TreeEnsembleClassifier, TreeEnsembleRegressor};

use planish_ir::Types;
use planish_tensor::DType;

/// The domain's name.
const DOMAIN: &str = "ai.onnx.ml";

/// What most operators of the domain take: `float`, `double`, `int64`, `int32`.
const FEATURES: Types = Types::of(&[DType::F32, DType::F64, DType::I64, DType::I32]);
