//! `TreeEnsembleRegressor`: the votes of all trees for each target, aggregated, plus the target's base value, transformed.
//!
//! Where there is one target, a leaf has one vote, its first: ONNX Runtime hears no other, and scikit-learn's exporter names
//! leaves by votes that it repeats for each class.
//!
//! Opsets of `ai.onnx.ml`: 1; 3 allows thresholds and weights as `double`; 5 has `TreeEnsemble` in its place.

use super::ensemble::{Aggregate, AnyEnsemble};
use super::listed::{self, VoteNames, numbers, with_nodes};
use super::regression::Regression;
use crate::Define;
use crate::ml::post_transform::PostTransform;
use crate::ml::{DOMAIN, FEATURES};
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, optional, string,
};
use planish_tensor::DType;

const VOTES: VoteNames = VoteNames {
    trees: "target_treeids",
    nodes: "target_nodeids",
    targets: "target_ids",
    weights: "target_weights",
    weights_as_tensor: "target_weights_as_tensor",
};

/// `TreeEnsembleRegressor`.
#[derive(Debug)]
pub struct TreeEnsembleRegressor(Regression);

impl Define for TreeEnsembleRegressor {
    const SCHEMA: Schema = Schema::new("TreeEnsembleRegressor", 3)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES)])
        .outputs(&[arg("Y", FLOAT)])
        .attributes(
            &const {
                with_nodes::<9, 21>([
                    string("aggregate_function", "SUM"),
                    optional("base_values_as_tensor", AttributeKind::Tensor),
                    optional("n_targets", AttributeKind::Int),
                    string("post_transform", "NONE"),
                    optional(VOTES.targets, AttributeKind::Ints),
                    optional(VOTES.nodes, AttributeKind::Ints),
                    optional(VOTES.trees, AttributeKind::Ints),
                    optional(VOTES.weights, AttributeKind::Floats),
                    optional(VOTES.weights_as_tensor, AttributeKind::Tensor),
                ])
            },
        );

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let aggregates = [
            ("AVERAGE", Aggregate::Average),
            ("SUM", Aggregate::Sum),
            ("MIN", Aggregate::Min),
            ("MAX", Aggregate::Max),
        ];
        let aggregate = node.choice("aggregate_function", &aggregates)?;
        let (mut draft, is_double) = listed::parse(node, &VOTES)?;
        let (base, is_double_base) = numbers(node, "base_values", "base_values_as_tensor")?;
        let num_targets = listed::num_targets(node)?;
        if num_targets == 1 {
            draft.leaves.iter_mut().for_each(|votes| votes.end = votes.end.min(votes.start + 1));
        }
        let ensemble = AnyEnsemble::new(draft, num_targets, is_double || is_double_base)?;
        Ok(TreeEnsembleRegressor(Regression::new(ensemble, aggregate, base, PostTransform::named(node)?)?))
    }
}

impl Op for TreeEnsembleRegressor {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.0.infer(x, Some(DType::F32))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(self.0.scores::<f32>(cx, inputs.tensor(0)?)?.into())
    }
}
