//! Scaled dot-product attention: `softmax(scale · q · kᵀ + bias) · v` for each head.
//!
//! Heads are read in place through strides, whichever way they lie, and several heads of queries may share one of keys and
//! values. [`attention`] works tile by tile of query rows, so that the matrix of all scores never exists, and skips keys
//! that no row of a tile sees; [`attention_scalar`] is the definition.
//!
//! A row that sees no key, because its range is empty or its bias `-∞` throughout, is zero. So are its weights.

mod scalar;
#[cfg(test)]
mod tests;
mod tile;

use crate::rounding::Rounding;
use std::ops::Range;

pub use scalar::{Real, attention_scalar};
pub use tile::attention;

/// Where the vectors of a tensor's heads lie: that of a batch, head and position begins at the sum of its indices times
/// these strides. The features of a vector are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// From one batch to the next.
    pub batch: usize,
    /// From one head to the next.
    pub head: usize,
    /// From one position to the next.
    pub position: usize,
}

/// The order of a dense tensor's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `[batch, head, position, feature]`
    HeadsFirst,
    /// `[batch, position, head, feature]`
    PositionsFirst,
}

impl Layout {
    /// The layout of a dense tensor.
    pub fn dense(order: Order, heads: usize, positions: usize, features: usize) -> Layout {
        let batch = heads * positions * features;
        match order {
            Order::HeadsFirst => Layout { batch, head: positions * features, position: features },
            Order::PositionsFirst => Layout { batch, head: features, position: heads * features },
        }
    }

    /// Where the vector of this batch, head and position begins.
    fn at(self, batch: usize, head: usize, position: usize) -> usize {
        batch * self.batch + head * self.head + position * self.position
    }

    /// The elements that a tensor of these extents reaches over; `None` where that cannot be counted.
    fn reach(self, [batch, heads, positions, features]: [usize; 4]) -> Option<usize> {
        if [batch, heads, positions, features].contains(&0) {
            return Some(0);
        }
        let steps = [(batch, self.batch), (heads, self.head), (positions, self.position)];
        steps.iter().try_fold(features, |sum, &(count, stride)| sum.checked_add((count - 1).checked_mul(stride)?))
    }
}

/// The heads of a tensor, in place.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a, T> {
    /// The tensor's elements.
    pub data: &'a [T],
    /// Where in them heads lie.
    pub layout: Layout,
}

impl<'a, T> Heads<'a, T> {
    /// The vector of this batch, head and position, and what lies behind it.
    fn from(&self, batch: usize, head: usize, position: usize) -> &'a [T] {
        self.data.get(self.layout.at(batch, head, position)..).unwrap_or_default()
    }
}

/// What is added to scores, for each batch, head and query a row of one number a key. Keys beyond its end are not seen.
#[derive(Debug, Clone, Copy)]
pub struct Bias<'a, T> {
    /// The rows.
    pub rows: BiasRows<'a, T>,
    /// Where the rows of batches, heads and queries begin: a stride of zero gives all the same.
    pub layout: Layout,
    /// The length of a row.
    pub keys: usize,
}

/// The elements of a [`Bias`].
#[derive(Debug, Clone, Copy)]
pub enum BiasRows<'a, T> {
    /// 0 where true, `-∞` where false.
    Allowed(&'a [bool]),
    /// Numbers as they are.
    Added(&'a [T]),
}

/// A step of the computation at which scores can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// `scale · q · kᵀ`
    Product,
    /// The product within its soft cap.
    Capped,
    /// With the bias; `-∞` for keys that a query does not see.
    Biased,
    /// After the softmax.
    Weights,
}

/// One attention to be computed.
#[derive(Clone, Copy)]
pub struct Attention<'a, T> {
    /// Batches.
    pub batch: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, a divisor of `heads`: each serves as many heads of queries that follow each other.
    pub kv_heads: usize,
    /// Positions of queries.
    pub queries: usize,
    /// Positions of keys and values.
    pub keys: usize,
    /// Features of a query or key.
    pub features: usize,
    /// Features of a value.
    pub value_features: usize,
    /// Queries.
    pub q: Heads<'a, T>,
    /// Keys.
    pub k: Heads<'a, T>,
    /// Values.
    pub v: Heads<'a, T>,
    /// What products are scaled by.
    pub scale: f64,
    /// Scores `x` become `softcap · tanh(x / softcap)`, if this is not zero.
    pub softcap: f32,
    /// What is added to scores.
    pub bias: Option<Bias<'a, T>>,
    /// What scores and weights are rounded to. The definition does not round.
    pub rounding: Option<Rounding>,
    /// What each step of the softmax is rounded to.
    pub softmax_rounding: Option<Rounding>,
    /// A score for each head that takes part in its softmax but has no value.
    pub sinks: Option<&'a [f32]>,
    /// The keys that a query sees, by batch and position; what lies beyond the last key does not count.
    pub visible: &'a (dyn Fn(usize, usize) -> Range<usize> + Sync),
}

impl<T> Attention<'_, T> {
    /// Elements of the result.
    pub fn output_len(&self) -> usize {
        self.batch * self.heads * self.queries * self.value_features
    }

    /// Elements of all scores.
    pub fn scores_len(&self) -> usize {
        self.batch * self.heads * self.queries * self.keys
    }

    /// The keys that a query sees.
    fn visible(&self, batch: usize, query: usize) -> Range<usize> {
        let range = (self.visible)(batch, query);
        let end = range.end.min(self.keys);
        range.start.min(end)..end
    }

    /// Whether a query sees any key.
    fn sees_any(&self, [batch, head, query]: [usize; 3], range: Range<usize>) -> bool
    where
        T: Real,
    {
        let Some(bias) = &self.bias else { return !range.is_empty() };
        let start = bias.layout.at(batch, head, query);
        let within = start + range.start.min(bias.keys)..start + range.end.min(bias.keys);
        match bias.rows {
            BiasRows::Allowed(rows) => rows[within].contains(&true),
            BiasRows::Added(rows) => rows[within].iter().any(|x| x.to_f64() != f64::NEG_INFINITY),
        }
    }

    /// Panics where sizes do not fit together.
    fn check(&self, out: usize, scores: Option<usize>) {
        let (batch, queries, keys) = (self.batch, self.queries, self.keys);
        let kv = self.kv_heads;
        assert!(self.heads == 0 || (kv > 0 && self.heads.is_multiple_of(kv)), "{} heads share {kv}", self.heads);
        let operands = [
            (self.q.data.len(), self.q.layout, [batch, self.heads, queries, self.features]),
            (self.k.data.len(), self.k.layout, [batch, kv, keys, self.features]),
            (self.v.data.len(), self.v.layout, [batch, kv, keys, self.value_features]),
        ];
        for (len, layout, extents) in operands {
            assert!(layout.reach(extents).is_some_and(|reach| reach <= len), "{extents:?} of {len} elements");
        }
        if let Some(bias) = &self.bias {
            let len = match bias.rows {
                BiasRows::Allowed(rows) => rows.len(),
                BiasRows::Added(rows) => rows.len(),
            };
            let reach = bias.layout.reach([batch, self.heads, queries, bias.keys]);
            assert!(reach.is_some_and(|reach| reach <= len), "a bias of {len} elements");
        }
        assert!(self.sinks.is_none_or(|sinks| sinks.len() == self.heads), "a sink for each head");
        assert_eq!(out, self.output_len(), "the result's size");
        assert!(scores.is_none_or(|len| len == self.scores_len()), "the scores' size");
    }
}
