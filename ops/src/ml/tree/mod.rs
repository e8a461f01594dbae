//! `TreeEnsemble`, and `TreeEnsembleClassifier` and `TreeEnsembleRegressor` before it: many decision trees whose leaves vote.
//!
//! Each form of writing the trees down is parsed into the one [`Ensemble`].

mod classifier;
mod ensemble;
mod listed;
mod regression;
mod regressor;
#[cfg(test)]
mod tests;
mod tree_ensemble;

pub use classifier::TreeEnsembleClassifier;
pub use regressor::TreeEnsembleRegressor;
pub use tree_ensemble::TreeEnsemble;
