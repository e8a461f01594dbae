//! `TreeEnsemble`: the votes of all trees for each target, aggregated and transformed.
//!
//! Opsets of `ai.onnx.ml`: 5. Inner nodes and leaves are listed apart and know each other by their places in the lists; a
//! leaf has one vote.

use super::ensemble::{Aggregate, AnyEnsemble, Draft, Vote};
use super::listed::{check_length, elements, num_targets, unsigned};
use super::regression::Regression;
use crate::Define;
use crate::half::widened;
use crate::ml::DOMAIN;
use crate::ml::post_transform::PostTransform;
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema,
    Types, arg, int, optional, required,
};
use planish_kernels::forest::{Branch, Comparison, Place};
use planish_tensor::{DType, Tensor};

const FLOATS: Types = Types::of(&[DType::F32, DType::F64, DType::F16]);

/// `TreeEnsemble`.
#[derive(Debug)]
pub struct TreeEnsemble(Regression);

impl Define for TreeEnsemble {
    const SCHEMA: Schema = Schema::new("TreeEnsemble", 5)
        .domain(DOMAIN)
        .inputs(&[arg("X", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&[
            int("aggregate_function", 1),
            required("leaf_targetids", AttributeKind::Ints),
            required("leaf_weights", AttributeKind::Tensor),
            optional("membership_values", AttributeKind::Tensor),
            optional("n_targets", AttributeKind::Int),
            required("nodes_falseleafs", AttributeKind::Ints),
            required("nodes_falsenodeids", AttributeKind::Ints),
            required("nodes_featureids", AttributeKind::Ints),
            optional("nodes_hitrates", AttributeKind::Tensor),
            optional("nodes_missing_value_tracks_true", AttributeKind::Ints),
            required("nodes_modes", AttributeKind::Tensor),
            required("nodes_splits", AttributeKind::Tensor),
            required("nodes_trueleafs", AttributeKind::Ints),
            required("nodes_truenodeids", AttributeKind::Ints),
            int("post_transform", 0),
            required("tree_roots", AttributeKind::Ints),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let aggregate = match node.int("aggregate_function")? {
            0 => Aggregate::Average,
            1 => Aggregate::Sum,
            2 => Aggregate::Min,
            3 => Aggregate::Max,
            other => {
                let message = format!("attribute \"aggregate_function\": {other} is not 0 to 3");
                return Err(AttributeError::invalid(message));
            }
        };
        let is_double = node.tensor("nodes_splits")?.dtype() == DType::F64;
        let ensemble = AnyEnsemble::new(draft(node)?, num_targets(node)?, is_double)?;
        Ok(TreeEnsemble(Regression::new(ensemble, aggregate, Vec::new(), PostTransform::numbered(node)?)?))
    }
}

impl Op for TreeEnsemble {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.0.infer(x, x.dtype(0))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| {
            let x = inputs.tensor(0)?;
            let y = if dtype == DType::F64 { self.0.scores::<f64>(cx, x)? } else { self.0.scores::<f32>(cx, x)? };
            Ok(y.into())
        })
    }
}

/// The trees as the attributes write them down.
fn draft(node: &NodeView<'_>) -> Result<Draft, AttributeError> {
    let splits = elements("nodes_splits", node.tensor("nodes_splits")?)?;
    let modes = modes(node.tensor("nodes_modes")?)?;
    check_length("nodes_modes", modes.len(), splits.len())?;
    let list = |name: &'static str| {
        let list = node.ints(name)?;
        check_length(name, list.len(), splits.len())?;
        Ok(list)
    };
    let (features, missing) = (list("nodes_featureids")?, node.opt_ints("nodes_missing_value_tracks_true"));
    let missing = missing.filter(|list| !list.is_empty());
    if let Some(missing) = missing {
        check_length("nodes_missing_value_tracks_true", missing.len(), splits.len())?;
    }
    let (if_true, true_leafs) = (list("nodes_truenodeids")?, list("nodes_trueleafs")?);
    let (if_false, false_leafs) = (list("nodes_falsenodeids")?, list("nodes_falseleafs")?);
    let (members, mut sets) = members(node)?;
    let mut branches = Vec::with_capacity(splits.len());
    for (i, &threshold) in splits.iter().enumerate() {
        branches.push(Branch {
            feature: unsigned("nodes_featureids", features[i])?,
            comparison: comparison(modes[i], &mut sets)?,
            threshold,
            missing_is_true: missing.is_some_and(|missing| missing[i] != 0),
            if_true: place("nodes_truenodeids", if_true[i], true_leafs[i])?,
            if_false: place("nodes_falsenodeids", if_false[i], false_leafs[i])?,
        });
    }
    let weights = elements("leaf_weights", node.tensor("leaf_weights")?)?;
    let targets = node.ints("leaf_targetids")?;
    check_length("leaf_targetids", targets.len(), weights.len())?;
    let vote = |(&target, &weight)| Ok(Vote { target: unsigned("leaf_targetids", target)?, weight });
    let votes = targets.iter().zip(&weights).map(vote).collect::<Result<Vec<_>, AttributeError>>()?;
    let leaves = (0..votes.len()).map(|leaf| leaf..leaf + 1).collect();
    let roots = node.ints("tree_roots")?.iter().map(|&root| place("tree_roots", root, 0));
    Ok(Draft { branches, leaves, votes, roots: roots.collect::<Result<_, _>>()?, members })
}

fn modes(tensor: &Tensor) -> Result<&[u8], AttributeError> {
    tensor.as_slice::<u8>().map_err(|e| AttributeError::invalid(format!("attribute \"nodes_modes\": {e}")))
}

fn place(name: &str, index: i64, is_leaf: i64) -> Result<Place, AttributeError> {
    let index = unsigned(name, index)?;
    Ok(if is_leaf != 0 { Place::Leaf(index) } else { Place::Branch(index) })
}

/// All members of sets, and where each set lies among them. Each ends with a NaN, which the last need not have.
fn members(node: &NodeView<'_>) -> Result<(Vec<f64>, std::vec::IntoIter<(u32, u32)>), AttributeError> {
    let values = match node.opt_tensor("membership_values") {
        Some(tensor) => elements("membership_values", tensor)?,
        None => Vec::new(),
    };
    let mut members = Vec::with_capacity(values.len());
    let mut sets = Vec::new();
    for set in values.split_inclusive(|v| v.is_nan()) {
        let start = members.len() as u32;
        members.extend(set.iter().filter(|v| !v.is_nan()));
        sets.push((start, members.len() as u32));
    }
    unsigned("membership_values", values.len() as i64)?;
    Ok((members, sets.into_iter()))
}

fn comparison(mode: u8, sets: &mut impl Iterator<Item = (u32, u32)>) -> Result<Comparison, AttributeError> {
    let no_set = || AttributeError::invalid("attribute \"membership_values\" has too few sets");
    Ok(match mode {
        0 => Comparison::LessOrEqual,
        1 => Comparison::Less,
        2 => Comparison::GreaterOrEqual,
        3 => Comparison::Greater,
        4 => Comparison::Equal,
        5 => Comparison::NotEqual,
        6 => sets.next().map(|(start, end)| Comparison::Member { start, end }).ok_or_else(no_set)?,
        other => return Err(AttributeError::invalid(format!("attribute \"nodes_modes\": {other} is not a mode"))),
    })
}
