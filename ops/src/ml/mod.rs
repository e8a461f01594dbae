//! The domain `ai.onnx.ml`: classic machine learning, as exported from scikit-learn and its neighbours.

mod encoders;
mod features;
mod keys;
mod labels;
mod linear;
mod maps;
mod post_transform;
mod rows;
mod scaling;
mod scores;
mod svm;
mod tree;

pub use encoders::{CategoryMapper, LabelEncoder, OneHotEncoder};
pub use features::{ArrayFeatureExtractor, FeatureVectorizer};
pub use linear::{LinearClassifier, LinearRegressor};
pub use maps::{CastMap, DictVectorizer, ZipMap};
pub use scaling::{Binarizer, Imputer, Normalizer, Scaler};
pub use svm::{SvmClassifier, SvmRegressor};
pub use tree::{TreeEnsemble, TreeEnsembleClassifier, TreeEnsembleRegressor};

use planish_ir::Types;
use planish_tensor::DType;

/// The domain's name.
const DOMAIN: &str = "ai.onnx.ml";

/// What most operators of the domain take: `float`, `double`, `int64`, `int32`.
const FEATURES: Types = Types::of(&[DType::F32, DType::F64, DType::I64, DType::I32]);
