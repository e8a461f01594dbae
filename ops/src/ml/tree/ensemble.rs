//! Trees and the votes of their leaves.

use crate::dtypes::Number;
use crate::ml::rows::Rows;
use planish_ir::{AttributeError, EvalCx, OpError};
use planish_kernels::forest::{Branch, Feature, Forest, Place};
use std::ops::Range;
use std::sync::OnceLock;

/// Rows that go through the trees together: their features and votes stay in the nearest cache.
const TILE_ROWS: usize = 64;

/// A core's time to take one row down one tree.
const NS_PER_WALK: f64 = 20.0;

/// A number that trees compare and sum.
pub trait Real: Number + Feature {}

impl Real for f32 {}
impl Real for f64 {}

/// How the votes for one target become its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// The sum over the number of trees.
    Average,
    /// The sum.
    Sum,
    /// The least vote.
    Min,
    /// The greatest vote.
    Max,
}

/// What a leaf says of one target.
#[derive(Clone, Copy, Debug)]
pub struct Vote<T> {
    /// The target.
    pub target: u32,
    /// By how much.
    pub weight: T,
}

/// What the trees say of one target, together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally<T> {
    /// The votes, aggregated; 0 if there were none.
    pub score: T,
    /// Whether there were any.
    pub has_vote: bool,
}

/// A forest as attributes write it down, not yet checked.
#[derive(Debug, Default)]
pub struct Draft {
    /// Inner nodes.
    pub branches: Vec<Branch<f64>>,
    /// Of each leaf, where its votes lie.
    pub leaves: Vec<Range<usize>>,
    /// Votes, those of one leaf together.
    pub votes: Vec<Vote<f64>>,
    /// Where each tree begins.
    pub roots: Vec<Place>,
    /// What set memberships are tested against.
    pub members: Vec<f64>,
}

/// Trees over features of type `T`, and the votes of their leaves.
///
/// Always true: every target voted for is below `num_targets`; every leaf's range lies in `votes`.
#[derive(Debug)]
pub struct Ensemble<T> {
    forest: Forest<T>,
    leaves: Vec<Range<usize>>,
    votes: Vec<Vote<T>>,
    num_targets: usize,
}

impl<T: Real> Ensemble<T> {
    fn new(draft: &Draft, num_targets: usize) -> Result<Ensemble<T>, AttributeError> {
        let stray = draft.votes.iter().find(|vote| vote.target as usize >= num_targets);
        if let Some(vote) = stray {
            let message = format!("a leaf votes for target {} of {num_targets}", vote.target);
            return Err(AttributeError::invalid(message));
        }
        let narrow = |b: &Branch<f64>| Branch {
            feature: b.feature,
            comparison: b.comparison,
            threshold: T::from_f64(b.threshold),
            missing_is_true: b.missing_is_true,
            if_true: b.if_true,
            if_false: b.if_false,
        };
        let branches: Vec<Branch<T>> = draft.branches.iter().map(narrow).collect();
        let members = draft.members.iter().map(|&m| T::from_f64(m)).collect();
        let forest = Forest::new(&branches, draft.leaves.len(), &draft.roots, members);
        let forest = forest.map_err(|e| AttributeError::invalid(e.to_string()))?;
        let votes = draft.votes.iter().map(|v| Vote { target: v.target, weight: T::from_f64(v.weight) }).collect();
        Ok(Ensemble { forest, leaves: draft.leaves.clone(), votes, num_targets })
    }

    /// Takes all rows of `x` through the trees. `outputs` hold the places for the results of consecutive runs of
    /// `tile_rows` rows, the last perhaps fewer; `finish` writes those of one row, by its place in its run.
    pub fn evaluate<O: Send>(
        &self,
        cx: &EvalCx<'_>,
        x: &[T],
        width: usize,
        aggregate: Aggregate,
        tile_rows: usize,
        outputs: impl ExactSizeIterator<Item = O>,
        finish: impl Fn(&mut O, usize, &mut [Tally<T>]) + Sync,
    ) -> Result<(), OpError> {
        let needed = self.forest.num_features().max(1);
        if width < needed {
            return Err(OpError::invalid(format!("input 0: expected at least {needed} features, got {width}")));
        }
        if x.is_empty() {
            return Ok(());
        }
        let tallies = tile_rows.min(x.len() / width).saturating_mul(self.num_targets);
        let bytes = tallies.saturating_mul(size_of::<Tally<T>>()).saturating_mul(cx.threads.count());
        let _charged = cx.memory.reserve(bytes)?;
        let tiles = x.chunks(tile_rows * width).zip(outputs);
        cx.threads.for_each_item(tiles, |(rows, mut output)| {
            let mut tallies = vec![Tally::default(); rows.len() / width * self.num_targets];
            if self.tally(cx, rows, width, aggregate, &mut tallies).is_ok() {
                let rows = tallies.chunks_exact_mut(self.num_targets).enumerate();
                rows.for_each(|(row, tallies)| finish(&mut output, row, tallies));
            }
        });
        cx.check()
    }

    /// Adds up the votes for each target of each row.
    fn tally(
        &self,
        cx: &EvalCx<'_>,
        rows: &[T],
        width: usize,
        aggregate: Aggregate,
        tallies: &mut [Tally<T>],
    ) -> Result<(), OpError> {
        let num_trees = self.forest.num_trees();
        if rows.len() == width {
            let mut leaves = vec![0; num_trees];
            self.forest.leaves_of_trees(rows, &mut leaves);
            leaves.iter().for_each(|&leaf| self.count(leaf, aggregate, tallies));
        } else {
            let mut leaves = vec![0; rows.len() / width];
            for tree in 0..num_trees {
                cx.check()?;
                self.forest.leaves_of_rows(tree, rows, width, &mut leaves);
                let rows = leaves.iter().zip(tallies.chunks_exact_mut(self.num_targets));
                rows.for_each(|(&leaf, tallies)| self.count(leaf, aggregate, tallies));
            }
        }
        if aggregate == Aggregate::Average {
            let count = T::from_f64(num_trees as f64);
            tallies.iter_mut().for_each(|tally| tally.score = tally.score.div(count));
        }
        Ok(())
    }

    /// Counts the votes of one leaf for one row.
    #[inline]
    fn count(&self, leaf: u32, aggregate: Aggregate, tallies: &mut [Tally<T>]) {
        for vote in &self.votes[self.leaves[leaf as usize].clone()] {
            let tally = &mut tallies[vote.target as usize];
            tally.score = match aggregate {
                _ if !tally.has_vote => vote.weight,
                Aggregate::Average | Aggregate::Sum => tally.score.add(vote.weight),
                Aggregate::Min => Number::min(tally.score, vote.weight),
                Aggregate::Max => Number::max(tally.score, vote.weight),
            };
            tally.has_vote = true;
        }
    }
}

/// How many rows one task takes.
pub fn tile_rows(cx: &EvalCx<'_>, rows: &Rows, num_trees: usize) -> usize {
    let tasks = cx.threads.split(rows.count, NS_PER_WALK * num_trees as f64);
    rows.count.div_ceil(tasks).clamp(1, TILE_ROWS)
}

/// An ensemble in the precision that the features come in. Thresholds written as `double` are compared as such, whatever
/// the features are.
#[derive(Debug)]
pub struct AnyEnsemble {
    draft: Draft,
    num_targets: usize,
    is_double: bool,
    single: OnceLock<Ensemble<f32>>,
    double: OnceLock<Ensemble<f64>>,
}

impl AnyEnsemble {
    /// The ensemble of `draft`, whose numbers were written as `double` or, exact in `f64` too, as `float`.
    pub fn new(draft: Draft, num_targets: usize, is_double: bool) -> Result<AnyEnsemble, AttributeError> {
        let (single, double) = (OnceLock::new(), OnceLock::new());
        if is_double {
            let _ = double.set(Ensemble::new(&draft, num_targets)?);
        } else {
            let _ = single.set(Ensemble::new(&draft, num_targets)?);
        }
        Ok(AnyEnsemble { draft, num_targets, is_double, single, double })
    }

    /// The number of targets or classes.
    pub fn num_targets(&self) -> usize {
        self.num_targets
    }

    /// The number of trees.
    pub fn num_trees(&self) -> usize {
        self.draft.roots.len()
    }

    /// All votes there are.
    pub fn votes(&self) -> &[Vote<f64>] {
        &self.draft.votes
    }

    /// Whether the numbers were written as `double`.
    pub fn is_double(&self) -> bool {
        self.is_double
    }

    /// The ensemble over `float` features.
    pub fn single(&self) -> Result<&Ensemble<f32>, OpError> {
        made(&self.single, &self.draft, self.num_targets)
    }

    /// The ensemble over `double` features.
    pub fn double(&self) -> Result<&Ensemble<f64>, OpError> {
        made(&self.double, &self.draft, self.num_targets)
    }
}

fn made<'a, T: Real>(
    cell: &'a OnceLock<Ensemble<T>>,
    draft: &Draft,
    num_targets: usize,
) -> Result<&'a Ensemble<T>, OpError> {
    if let Some(ensemble) = cell.get() {
        return Ok(ensemble);
    }
    let ensemble = Ensemble::new(draft, num_targets).map_err(|e| OpError::invalid(e.to_string()))?;
    Ok(cell.get_or_init(|| ensemble))
}
