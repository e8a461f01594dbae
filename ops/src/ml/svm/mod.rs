//! `SVMClassifier` and `SVMRegressor`: weighted sums of how alike a row and each support vector are.
//!
//! Opsets of `ai.onnx.ml`: 1.

mod classifier;
mod coupling;
mod kernel;
mod regressor;

pub use classifier::SvmClassifier;
pub use regressor::SvmRegressor;
