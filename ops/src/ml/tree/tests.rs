//! Trees through their operators.

use crate::testing::{eval_all, tensor};
use planish_ir::{Attribute, Attributes, OpError};
use planish_tensor::{DType, Element, Shape, Tensor, f16};
use proptest::prelude::*;

fn strings(words: &[&str]) -> Attribute {
    Attribute::Strings(words.iter().map(|&w| w.to_owned()).collect())
}

/// One tree: x₀ ≤ 0 leads to node 1, else to node 2.
fn stump(votes: &str, leaves_targets: &[(i64, i64)], weights: &[f32]) -> Attributes {
    Attributes::new()
        .with("nodes_treeids", vec![0i64; 3])
        .with("nodes_nodeids", vec![0i64, 1, 2])
        .with("nodes_featureids", vec![0i64; 3])
        .with("nodes_values", vec![0f32; 3])
        .with("nodes_modes", strings(&["BRANCH_LEQ", "LEAF", "LEAF"]))
        .with("nodes_truenodeids", vec![1i64, 0, 0])
        .with("nodes_falsenodeids", vec![2i64, 0, 0])
        .with(&format!("{votes}_treeids"), vec![0i64; weights.len()])
        .with(&format!("{votes}_nodeids"), leaves_targets.iter().map(|v| v.0).collect::<Vec<_>>())
        .with(&format!("{votes}_ids"), leaves_targets.iter().map(|v| v.1).collect::<Vec<_>>())
        .with(&format!("{votes}_weights"), weights.to_vec())
}

fn run(name: &str, attributes: Attributes, x: Tensor, num_outputs: usize) -> Result<Vec<Tensor>, OpError> {
    eval_all("ai.onnx.ml", name, attributes, &[Some(x)], num_outputs)
}

fn minus_and_plus() -> Tensor {
    tensor(&[2, 1], &[-1f32, 1.])
}

#[test]
fn two_classes_may_share_one_score() {
    struct Case {
        votes: &'static [(i64, i64)],
        weights: &'static [f32],
        transform: &'static str,
        base: &'static [f32],
        labels: [i64; 2],
        scores: [f32; 4],
    }
    let first: &[(i64, i64)] = &[(1, 0), (2, 0)];
    let second: &[(i64, i64)] = &[(1, 1), (2, 1)];
    let both: &[(i64, i64)] = &[(1, 0), (2, 0), (1, 1), (2, 1)];
    let case =
        |votes, weights, transform, base, labels, scores| Case { votes, weights, transform, base, labels, scores };
    let (low, high) = (0.425_557_5, 0.574_442_5);
    for Case { votes, weights, transform, base, labels, scores } in [
        case(first, &[0.3, 0.7], "NONE", &[], [10, 11], [0.7, 0.3, 0.3, 0.7]),
        case(first, &[0.3, 0.7], "NONE", &[0.25], [11, 11], [0.45, 0.55, 0.05, 0.95]),
        case(first, &[-0.3, 0.3], "NONE", &[], [10, 11], [0.3, -0.3, -0.3, 0.3]),
        case(first, &[-0.3, 0.3], "LOGISTIC", &[], [10, 11], [high, low, low, high]),
        case(first, &[-0.3, 0.3], "SOFTMAX", &[], [10, 11], [0.3, -0.3, -0.3, 0.3]),
        case(second, &[0.3, 0.7], "NONE", &[], [10, 11], [0.0, 0.3, 0.0, 0.7]),
        case(second, &[0.3, 0.3], "SOFTMAX", &[], [10, 10], [low, high, low, high]),
        case(both, &[0.3, 0.6, 0.7, 0.4], "NONE", &[], [11, 10], [0.3, 0.7, 0.6, 0.4]),
    ] {
        let attributes = stump("class", votes, weights)
            .with("classlabels_int64s", vec![10i64, 11])
            .with("post_transform", transform)
            .with("base_values", base.to_vec());
        let y = run("TreeEnsembleClassifier", attributes, minus_and_plus(), 2).unwrap();
        assert_eq!(y[0], tensor(&[2], &labels));
        for (got, expected) in y[1].as_slice::<f32>().unwrap().iter().zip(scores) {
            approx::assert_relative_eq!(*got, expected, epsilon = 1e-6);
        }
    }
}

#[test]
fn classes_without_votes_do_not_win() {
    let attributes =
        stump("class", &[(1, 0), (2, 2)], &[-0.5, 0.5]).with("classlabels_strings", strings(&["a", "b", "c"]));
    let y = run("TreeEnsembleClassifier", attributes, minus_and_plus(), 2).unwrap();
    assert_eq!(y[0].as_strings().unwrap(), ["a", "c"]);
    assert_eq!(y[1], tensor(&[2, 3], &[-0.5f32, 0., 0., 0., 0., 0.5]));
}

#[test]
fn votes_are_aggregated_and_the_base_is_added() {
    for (aggregate, transform, expected) in [
        ("SUM", "NONE", [4.0f32, 1.0, 5.0, 1.0]),
        ("AVERAGE", "NONE", [4.0, 1.0, 5.0, 1.0]),
        ("MIN", "NONE", [2.0, 1.0, 5.0, 1.0]),
        ("MAX", "NONE", [3.0, 1.0, 5.0, 1.0]),
    ] {
        let attributes = stump("target", &[(1, 0), (1, 0), (2, 0)], &[1.0, 2.0, 4.0])
            .with("n_targets", 2i64)
            .with("aggregate_function", aggregate)
            .with("post_transform", transform)
            .with("base_values", vec![1f32, 1.0]);
        let y = run("TreeEnsembleRegressor", attributes, minus_and_plus(), 1).unwrap();
        assert_eq!(y[0], tensor(&[2, 2], &expected), "{aggregate}");
    }
}

#[test]
fn a_leaf_votes_once_for_the_only_target() {
    let attributes = stump("target", &[(1, 0), (1, 0), (2, 0), (2, 0)], &[1.0, 2.0, 4.0, 4.0]);
    let y = run("TreeEnsembleRegressor", attributes.with("n_targets", 1i64), minus_and_plus(), 1).unwrap();
    assert_eq!(y[0], tensor(&[2, 1], &[1f32, 4.0]));
}

#[test]
fn a_threshold_as_double_is_compared_as_one() {
    let split = 1.0 + f64::EPSILON;
    let mut attributes = stump("target", &[(1, 0), (2, 0)], &[1.0, 2.0]);
    attributes.remove("nodes_values");
    attributes.set("nodes_values_as_tensor", tensor(&[3], &[split, 0., 0.]));
    let x = tensor(&[2, 1], &[1f64, 1.0 + 2.0 * f64::EPSILON]);
    let y = run("TreeEnsembleRegressor", attributes, x, 1).unwrap();
    assert_eq!(y[0], tensor(&[2, 1], &[1f32, 2.]));
}

#[test]
fn nonsense_is_refused() {
    type Spoil = fn(Attributes) -> Attributes;
    let spoils: [(&str, Spoil); 11] = [
        ("a node beyond", |a| a.with("nodes_truenodeids", vec![7i64, 0, 0])),
        ("a cycle", |a| a.with("nodes_truenodeids", vec![0i64, 0, 0])),
        ("a negative feature", |a| a.with("nodes_featureids", vec![-1i64, 0, 0])),
        ("a far feature", |a| a.with("nodes_featureids", vec![9i64, 0, 0])),
        ("a short list", |a| a.with("nodes_values", vec![0f32; 2])),
        ("a node twice", |a| a.with("nodes_nodeids", vec![0i64, 1, 1])),
        ("a mode unknown", |a| a.with("nodes_modes", strings(&["BRANCH", "LEAF", "LEAF"]))),
        ("a target beyond", |a| a.with("target_ids", vec![0i64, 1])),
        ("a leaf beyond", |a| a.with("target_nodeids", vec![0i64, 9])),
        ("no targets", |a| a.with("n_targets", 0i64)),
        ("too many bases", |a| a.with("base_values", vec![0f32; 2])),
    ];
    for (what, spoil) in spoils {
        let sound = stump("target", &[(1, 0), (2, 0)], &[1.0, 2.0]);
        assert!(run("TreeEnsembleRegressor", spoil(sound), minus_and_plus(), 1).is_err(), "{what}");
    }
}

/// A stump in the newest form: x₀ compared with 1 by `mode`.
fn newest<T: Element>(mode: u8, numbers: [T; 4], members: Option<Tensor>) -> Attributes {
    let [split, yes, no, _] = numbers;
    let attributes = Attributes::new()
        .with("nodes_splits", Tensor::vector(&[split]))
        .with("nodes_modes", Tensor::vector(&[mode]))
        .with("nodes_featureids", vec![0i64])
        .with("nodes_truenodeids", vec![0i64])
        .with("nodes_trueleafs", vec![1i64])
        .with("nodes_falsenodeids", vec![1i64])
        .with("nodes_falseleafs", vec![1i64])
        .with("leaf_weights", Tensor::vector(&[yes, no]))
        .with("leaf_targetids", vec![0i64, 0])
        .with("tree_roots", vec![0i64]);
    match members {
        Some(members) => attributes.with("membership_values", members),
        None => attributes,
    }
}

#[test]
fn every_mode_compares_in_every_dtype() {
    let expected = [[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 1, 0], [1, 0, 1], [1, 0, 1]];
    for (mode, expected) in (0..).zip(expected) {
        let members = tensor(&[4], &[0f64, f64::NAN, 2.0, f64::NAN]);
        let y = run("TreeEnsemble", newest(mode, [1f64, 1., 0., 0.], None), tensor(&[3, 1], &[0f64, 1., 2.]), 1);
        if mode == 6 {
            assert!(y.is_err(), "no members");
            let y = run("TreeEnsemble", newest(mode, [1f64, 1., 0., 0.], Some(members)), tensor(&[1, 1], &[0f64]), 1);
            assert_eq!(y.unwrap()[0], tensor(&[1, 1], &[1f64]));
            continue;
        }
        assert_eq!(y.unwrap()[0], tensor(&[3, 1], &expected.map(f64::from)), "mode {mode}");
        let half = |v: i32| f16::from_f64(f64::from(v));
        let x = tensor(&[3, 1], &[0, 1, 2].map(half));
        let y = run("TreeEnsemble", newest(mode, [1, 1, 0, 0].map(half), None), x, 1).unwrap();
        assert_eq!(y[0], tensor(&[3, 1], &expected.map(half)), "mode {mode}");
    }
}

/// A full tree of depth 2 over three features, in lists whose order is shuffled by tree.
#[derive(Clone, Debug)]
struct Tree {
    splits: [(usize, f32); 3],
    weights: [(usize, f32); 4],
}

impl Tree {
    fn vote(&self, row: &[f32; 3]) -> (usize, f32) {
        let goes = |at: usize| usize::from(row[self.splits[at].0] > self.splits[at].1);
        let first = goes(0);
        self.weights[2 * first + goes(1 + first)]
    }
}

fn trees() -> impl Strategy<Value = Vec<Tree>> {
    let split = (0..3usize, (-4i8..5).prop_map(|v| f32::from(v) / 2.0));
    let weight = (0..3usize, (-8i8..9).prop_map(|v| f32::from(v) / 4.0));
    let tree = (prop::array::uniform3(split), prop::array::uniform4(weight));
    prop::collection::vec(tree.prop_map(|(splits, weights)| Tree { splits, weights }), 1..12)
}

fn listed(trees: &[Tree]) -> Attributes {
    let mut ints: [Vec<i64>; 8] = Default::default();
    let (mut values, mut weights, mut modes) = (Vec::new(), Vec::new(), Vec::new());
    for (id, tree) in (0i64..).zip(trees) {
        for node in 0..7i64 {
            let split = tree.splits.get(node as usize);
            let inner = split.is_some();
            let children = if inner { [2 * node + 1, 2 * node + 2] } else { [0, 0] };
            let feature = split.map_or(0, |s| s.0 as i64);
            for (list, value) in ints.iter_mut().zip([id, node, feature, children[0], children[1]]) {
                list.push(value);
            }
            values.push(split.map_or(0.0, |s| s.1));
            modes.push(if inner { "BRANCH_LEQ" } else { "LEAF" });
        }
        for (leaf, &(target, weight)) in (3i64..).zip(&tree.weights) {
            ints[5].push(id);
            ints[6].push(leaf);
            ints[7].push(target as i64);
            weights.push(weight);
        }
    }
    let names = [
        "nodes_treeids",
        "nodes_nodeids",
        "nodes_featureids",
        "nodes_truenodeids",
        "nodes_falsenodeids",
        "target_treeids",
        "target_nodeids",
        "target_ids",
    ];
    let mut attributes = Attributes::new().with("nodes_modes", strings(&modes)).with("n_targets", 3i64);
    for (name, list) in names.into_iter().zip(ints) {
        attributes.set(name, list);
    }
    attributes.with("nodes_values", values).with("target_weights", weights)
}

proptest! {
    #[test]
    fn forests_sum_what_each_tree_says(
        trees in trees(),
        rows in prop::collection::vec(prop::array::uniform3((-4i8..5).prop_map(f32::from)), 1..80),
    ) {
        let x = tensor(&[rows.len(), 3], rows.as_flattened());
        let y = run("TreeEnsembleRegressor", listed(&trees), x, 1).unwrap();
        let mut expected = vec![[0f32; 3]; rows.len()];
        for (row, sums) in rows.iter().zip(&mut expected) {
            for (target, weight) in trees.iter().map(|tree| tree.vote(row)) {
                sums[target] += weight;
            }
        }
        prop_assert_eq!(y[0].as_slice::<f32>().unwrap(), expected.as_flattened());
    }
}

#[test]
fn integers_are_features_too() {
    let attributes = stump("target", &[(1, 0), (2, 0)], &[1.0, 2.0]);
    for x in [tensor(&[2, 1], &[0i32, 1]), tensor(&[2, 1], &[0i64, 1])] {
        let y = run("TreeEnsembleRegressor", attributes.clone(), x, 1).unwrap();
        assert_eq!(y[0], tensor(&[2, 1], &[1f32, 2.]));
    }
    let none = Tensor::zeros(planish_tensor::Memory::global(), DType::F32, Shape::new(&[0, 1]).unwrap()).unwrap();
    let y = run("TreeEnsembleRegressor", attributes, none, 1).unwrap();
    assert_eq!(y[0].shape().dims(), [0, 1]);
}
