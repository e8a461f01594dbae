//! `TreeEnsembleClassifier`: the class that the trees vote for most, and the scores of all classes.
//!
//! Opsets of `ai.onnx.ml`: 1; 3 allows thresholds and weights as `double`; 5 has `TreeEnsemble` in its place.
//!
//! Of two classes, all votes may be for the first one alone; they are then what speaks for the *second*, and the first
//! has what is left of 1, or the opposite where votes can be negative. The standard does not say so, but exporters rely on
//! it.

use super::ensemble::{Aggregate, AnyEnsemble, Ensemble, Real, Tally, Vote, tile_rows};
use super::listed::{self, VoteNames, numbers, with_nodes};
use crate::Define;
use crate::ml::labels::ClassLabels;
use crate::ml::post_transform::PostTransform;
use crate::ml::rows::{Rows, convert};
use crate::ml::scores::Pair;
use crate::ml::{DOMAIN, FEATURES};
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, optional, string,
};
use planish_tensor::{DType, Shape, Tensor};
use smallvec::SmallVec;

const VOTES: VoteNames = VoteNames {
    trees: "class_treeids",
    nodes: "class_nodeids",
    targets: "class_ids",
    weights: "class_weights",
    weights_as_tensor: "class_weights_as_tensor",
};

/// `TreeEnsembleClassifier`.
#[derive(Debug)]
pub struct TreeEnsembleClassifier {
    ensemble: AnyEnsemble,
    labels: ClassLabels,
    base: Vec<f64>,
    transform: PostTransform,
    verdict: Verdict,
}

/// How votes decide.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// The class with the highest score wins.
    Highest,
    /// One score speaks for the second of two classes.
    Pair(Pair),
    /// The second of two classes wins above this score, the first has no votes.
    Second(f64),
}

impl Verdict {
    fn new(num_classes: usize, num_base: usize, votes: &[Vote<f64>]) -> Verdict {
        let Some(first) = votes.first().filter(|_| num_classes == 2 && num_base < 2) else { return Verdict::Highest };
        if votes.iter().any(|vote| vote.target != first.target) {
            return Verdict::Highest;
        }
        let pair = if votes.iter().any(|vote| vote.weight < 0.0) { Pair::Opposite } else { Pair::Complement };
        if first.target == 0 { Verdict::Pair(pair) } else { Verdict::Second(pair.threshold()) }
    }
}

impl Define for TreeEnsembleClassifier {
    const SCHEMA: Schema = Schema::new("TreeEnsembleClassifier", 3)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES)])
        .outputs(&[arg("Y", Types::of(&[DType::String, DType::I64])), arg("Z", FLOAT)])
        .attributes(
            &const {
                with_nodes::<9, 21>([
                    optional("base_values_as_tensor", AttributeKind::Tensor),
                    optional("classlabels_int64s", AttributeKind::Ints),
                    optional("classlabels_strings", AttributeKind::Strings),
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
        let labels = ClassLabels::parse(node, "classlabels_int64s", "classlabels_strings")?;
        let (draft, is_double) = listed::parse(node, &VOTES)?;
        let (base, is_double_base) = numbers(node, "base_values", "base_values_as_tensor")?;
        let ensemble = AnyEnsemble::new(draft, labels.len(), is_double || is_double_base)?;
        if base.len() > labels.len() {
            let message = format!("{} base values for {} classes", base.len(), labels.len());
            return Err(AttributeError::invalid(message));
        }
        let verdict = Verdict::new(labels.len(), base.len(), ensemble.votes());
        Ok(TreeEnsembleClassifier { ensemble, labels, base, transform: PostTransform::named(node)?, verdict })
    }
}

impl Op for TreeEnsembleClassifier {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(self.labels.infer(&Rows::infer(x)?, self.labels.len()))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        if self.ensemble.is_double() || x.dtype() == DType::F64 {
            self.classify(cx, self.ensemble.double()?, x)
        } else {
            self.classify(cx, self.ensemble.single()?, x)
        }
    }
}

impl TreeEnsembleClassifier {
    fn classify<T: Real>(&self, cx: &EvalCx<'_>, ensemble: &Ensemble<T>, x: &Tensor) -> Result<Outputs, OpError> {
        let (rows, num_classes) = (Rows::of(x)?, self.labels.len());
        let x = convert::<T>(cx, x)?;
        let mut scores = cx.uninit::<f32>(Shape::new(&[rows.count, num_classes])?)?;
        let _charged = cx.memory.reserve(rows.count.saturating_mul(size_of::<u32>()))?;
        let mut winners = vec![0; rows.count];
        let tile = tile_rows(cx, &rows, self.ensemble.num_trees());
        let outputs = scores.chunks_mut(tile * num_classes).zip(winners.chunks_mut(tile));
        let finish = |(scores, winners): &mut (&mut [f32], &mut [u32]), row: usize, tallies: &mut [Tally<T>]| {
            winners[row] = self.decide(tallies, &mut scores[row * num_classes..(row + 1) * num_classes]);
        };
        ensemble.evaluate(cx, x.as_slice()?, rows.width, Aggregate::Sum, tile, outputs, finish)?;
        Ok([self.labels.pick(cx, &winners)?, scores.freeze()].into())
    }

    /// Writes the scores of one row and answers which class wins.
    fn decide<T: Real>(&self, tallies: &mut [Tally<T>], y: &mut [f32]) -> u32 {
        for (tally, &base) in tallies.iter_mut().zip(&self.base) {
            *tally = Tally { score: tally.score.add(T::from_f64(base)), has_vote: true };
        }
        let mut scores: SmallVec<[f64; 16]> = tallies.iter().map(|tally| tally.score.to_f64()).collect();
        let winner = match self.verdict {
            Verdict::Pair(pair) => {
                let score = scores[0];
                scores.copy_from_slice(&pair.scores(score, self.transform));
                write(&scores, y);
                return u32::from(score > pair.threshold());
            }
            Verdict::Second(threshold) => u32::from(scores[1] > threshold),
            Verdict::Highest => highest(tallies),
        };
        self.transform.apply(&mut scores);
        write(&scores, y);
        winner
    }
}

fn write(scores: &[f64], y: &mut [f32]) {
    y.iter_mut().zip(scores).for_each(|(y, &score)| *y = score as f32);
}

/// The first of the classes with the highest score; classes without votes do not take part.
fn highest<T: Real>(tallies: &[Tally<T>]) -> u32 {
    let voted = (0..).zip(tallies).filter(|(_, tally)| tally.has_vote);
    let best = voted.reduce(|best, next| if next.1.score > best.1.score { next } else { best });
    best.map_or(0, |(class, _)| class)
}
