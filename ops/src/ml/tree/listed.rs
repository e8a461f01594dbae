//! Trees listed by the numbers of trees and nodes, as `TreeEnsembleClassifier` and `TreeEnsembleRegressor` have them.
//!
//! Every node has an entry in the lists `nodes_*`, leaves too; every vote has one in the lists that begin with `class_` or
//! `target_`, and names its leaf. The first node listed of a tree is its root.

use super::ensemble::{Draft, Vote};
use planish_ir::{AttributeDef, AttributeError, AttributeKind, NodeView, optional};
use planish_kernels::forest::{Branch, Comparison, Place};
use planish_tensor::{DType, Tensor};
use std::collections::HashMap;

/// The attributes of the nodes.
const NODES: [AttributeDef; 12] = [
    optional("nodes_falsenodeids", AttributeKind::Ints),
    optional("nodes_featureids", AttributeKind::Ints),
    optional("nodes_hitrates", AttributeKind::Floats),
    optional("nodes_hitrates_as_tensor", AttributeKind::Tensor),
    optional("nodes_missing_value_tracks_true", AttributeKind::Ints),
    optional("nodes_modes", AttributeKind::Strings),
    optional("nodes_nodeids", AttributeKind::Ints),
    optional("nodes_treeids", AttributeKind::Ints),
    optional("nodes_truenodeids", AttributeKind::Ints),
    optional("nodes_values", AttributeKind::Floats),
    optional("nodes_values_as_tensor", AttributeKind::Tensor),
    optional("base_values", AttributeKind::Floats),
];

/// The attributes of an operator: those of the nodes and `own`, all `M` of them.
pub const fn with_nodes<const N: usize, const M: usize>(own: [AttributeDef; N]) -> [AttributeDef; M] {
    let mut all = [NODES[0]; M];
    let mut i = 0;
    while i < M {
        all[i] = if i < N { own[i] } else { NODES[i - N] };
        i += 1;
    }
    all
}

/// Names of the lists of votes.
pub struct VoteNames {
    /// The tree of each.
    pub trees: &'static str,
    /// The leaf of each.
    pub nodes: &'static str,
    /// The target or class of each.
    pub targets: &'static str,
    /// How much each counts.
    pub weights: &'static str,
    /// The same as a tensor.
    pub weights_as_tensor: &'static str,
}

/// Numbers from a list of `float`s or, if there is none, from a tensor; and whether they are `double`.
pub fn numbers(node: &NodeView<'_>, list: &str, tensor: &str) -> Result<(Vec<f64>, bool), AttributeError> {
    match (node.opt_floats(list), node.opt_tensor(tensor)) {
        (Some([]) | None, Some(tensor_value)) => {
            Ok((elements(tensor, tensor_value)?, tensor_value.dtype() == DType::F64))
        }
        (Some(list), None) => Ok((list.iter().map(|&v| f64::from(v)).collect(), false)),
        (None, None) => Ok((Vec::new(), false)),
        (Some(_), Some(_)) => Err(AttributeError::invalid(format!("both {list:?} and {tensor:?} are given"))),
    }
}

/// The numbers in a tensor attribute, any float up to 64 bits.
pub fn elements(name: &str, tensor: &Tensor) -> Result<Vec<f64>, AttributeError> {
    let wrong = |_| AttributeError::invalid(format!("attribute {name:?}: expected floats, got {}", tensor.dtype()));
    match tensor.dtype() {
        DType::F64 => tensor.as_slice::<f64>().map(<[f64]>::to_vec).map_err(wrong),
        DType::F16 => {
            let elements = tensor.as_slice::<planish_tensor::f16>().map_err(wrong)?;
            Ok(elements.iter().map(|v| v.to_f64()).collect())
        }
        _ => tensor.as_slice::<f32>().map(|s| s.iter().map(|&v| f64::from(v)).collect()).map_err(wrong),
    }
}

/// A list of `length` elements.
fn ints<'a>(node: &NodeView<'a>, name: &str, length: usize) -> Result<&'a [i64], AttributeError> {
    let list = node.opt_ints(name).unwrap_or_default();
    check_length(name, list.len(), length)?;
    Ok(list)
}

pub fn check_length(name: &str, got: usize, expected: usize) -> Result<(), AttributeError> {
    if got == expected {
        return Ok(());
    }
    Err(AttributeError::invalid(format!("attribute {name:?}: expected {expected} elements, got {got}")))
}

/// A number that is not negative and fits.
pub fn unsigned(name: &str, value: i64) -> Result<u32, AttributeError> {
    u32::try_from(value).map_err(|_| AttributeError::invalid(format!("attribute {name:?}: {value} is out of range")))
}

/// The comparison of a node; `None` for a leaf.
fn comparison(mode: &str) -> Result<Option<Comparison>, AttributeError> {
    Ok(Some(match mode {
        "BRANCH_LEQ" => Comparison::LessOrEqual,
        "BRANCH_LT" => Comparison::Less,
        "BRANCH_GTE" => Comparison::GreaterOrEqual,
        "BRANCH_GT" => Comparison::Greater,
        "BRANCH_EQ" => Comparison::Equal,
        "BRANCH_NEQ" => Comparison::NotEqual,
        "LEAF" => return Ok(None),
        other => return Err(AttributeError::invalid(format!("attribute \"nodes_modes\": {other:?} is not a mode"))),
    }))
}

/// The trees and their votes, and whether their numbers are `double`.
pub fn parse(node: &NodeView<'_>, names: &VoteNames) -> Result<(Draft, bool), AttributeError> {
    let modes = node.opt_strings("nodes_modes").unwrap_or_default();
    let count = modes.len();
    let comparisons = modes.iter().map(|mode| comparison(mode)).collect::<Result<Vec<_>, _>>()?;
    let trees = ints(node, "nodes_treeids", count)?;
    let ids = ints(node, "nodes_nodeids", count)?;
    let mut draft = Draft::default();
    let mut places = HashMap::with_capacity(count);
    let mut known_trees = std::collections::HashSet::new();
    let (mut num_branches, mut num_leaves) = (0, 0);
    for ((&tree, &id), comparison) in trees.iter().zip(ids).zip(&comparisons) {
        let (next, place): (&mut u32, fn(u32) -> Place) = match comparison {
            Some(_) => (&mut num_branches, Place::Branch),
            None => (&mut num_leaves, Place::Leaf),
        };
        let place = place(*next);
        *next += 1;
        if places.insert((tree, id), place).is_some() {
            return Err(AttributeError::invalid(format!("node {id} of tree {tree} is listed twice")));
        }
        if known_trees.insert(tree) {
            draft.roots.push(place);
        }
    }
    let is_double_values = branches(node, &comparisons, trees, &places, &mut draft)?;
    let is_double_weights = votes(node, names, &places, num_leaves as usize, &mut draft)?;
    Ok((draft, is_double_values || is_double_weights))
}

/// Reads the inner nodes. Answers whether their thresholds are `double`.
fn branches(
    node: &NodeView<'_>,
    comparisons: &[Option<Comparison>],
    trees: &[i64],
    places: &HashMap<(i64, i64), Place>,
    draft: &mut Draft,
) -> Result<bool, AttributeError> {
    let count = comparisons.len();
    let features = ints(node, "nodes_featureids", count)?;
    let if_true = ints(node, "nodes_truenodeids", count)?;
    let if_false = ints(node, "nodes_falsenodeids", count)?;
    let (values, is_double) = numbers(node, "nodes_values", "nodes_values_as_tensor")?;
    check_length("nodes_values", values.len(), count)?;
    let missing = node.opt_ints("nodes_missing_value_tracks_true").filter(|list| !list.is_empty());
    if let Some(missing) = missing {
        check_length("nodes_missing_value_tracks_true", missing.len(), count)?;
    }
    let child = |tree: i64, id: i64| {
        let found = places.get(&(tree, id)).copied();
        found.ok_or_else(|| AttributeError::invalid(format!("tree {tree} has no node {id}")))
    };
    for (i, comparison) in comparisons.iter().enumerate() {
        let Some(comparison) = *comparison else { continue };
        draft.branches.push(Branch {
            feature: unsigned("nodes_featureids", features[i])?,
            comparison,
            threshold: values[i],
            missing_is_true: missing.is_some_and(|missing| missing[i] != 0),
            if_true: child(trees[i], if_true[i])?,
            if_false: child(trees[i], if_false[i])?,
        });
    }
    Ok(is_double)
}

/// Reads the votes and gathers those of each leaf. Answers whether their weights are `double`.
fn votes(
    node: &NodeView<'_>,
    names: &VoteNames,
    places: &HashMap<(i64, i64), Place>,
    num_leaves: usize,
    draft: &mut Draft,
) -> Result<bool, AttributeError> {
    let (weights, is_double) = numbers(node, names.weights, names.weights_as_tensor)?;
    let trees = ints(node, names.trees, weights.len())?;
    let nodes = ints(node, names.nodes, weights.len())?;
    let targets = ints(node, names.targets, weights.len())?;
    let mut of_leaves: Vec<(u32, Vote<f64>)> = Vec::with_capacity(weights.len());
    for (i, &weight) in weights.iter().enumerate() {
        let vote = Vote { target: unsigned(names.targets, targets[i])?, weight };
        match places.get(&(trees[i], nodes[i])) {
            Some(Place::Leaf(leaf)) => of_leaves.push((*leaf, vote)),
            // What is said at an inner node is never heard.
            Some(Place::Branch(_)) => {}
            None => {
                let message = format!("attribute {:?}: tree {} has no node {}", names.nodes, trees[i], nodes[i]);
                return Err(AttributeError::invalid(message));
            }
        }
    }
    of_leaves.sort_by_key(|&(leaf, _)| leaf);
    let mut start = 0;
    for leaf in 0..num_leaves {
        let length = of_leaves[start..].iter().take_while(|&&(of, _)| of as usize == leaf).count();
        draft.leaves.push(start..start + length);
        start += length;
    }
    draft.votes = of_leaves.into_iter().map(|(_, vote)| vote).collect();
    Ok(is_double)
}

/// The attribute `n_targets`, at least 1; 1 where it is absent.
pub fn num_targets(node: &NodeView<'_>) -> Result<usize, AttributeError> {
    let count = node.opt_int("n_targets").unwrap_or(1);
    let count = usize::try_from(count).ok().filter(|&count| count > 0 && u32::try_from(count).is_ok());
    count.ok_or_else(|| AttributeError::invalid("attribute \"n_targets\" is out of range"))
}
