//! Guesses at inputs for a model that comes without data.
//!
//! A model names its symbolic dimensions but does not say how they hang together: in a decoder with a cache the mask is as
//! long as the cache and the new tokens together, and one number of the mask may have to be the number of ones in another.
//! The guesses begin with what is simplest; which of them the model runs on shows when it runs.

use planish_ir::{Dim, Graph};
use std::collections::BTreeSet;

/// One guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The extent of each symbol of the inputs.
    pub extents: Vec<(String, i64)>,
    /// Whether integers are 1 instead of random ones: a mask that hides nothing, lengths of 1.
    pub has_ones: bool,
}

impl Guess {
    /// The extent of a symbol.
    pub fn extent(&self, symbol: &str) -> Option<i64> {
        self.extents.iter().find(|(name, _)| name == symbol).map(|&(_, extent)| extent)
    }
}

/// More guesses than this are not made.
const MAX_GUESSES: usize = 100;

/// What to try for the inputs of `graph`: each symbol that is not bound is `extent`, or one of them the sum of two others.
pub fn guesses(graph: &Graph, bound: &[(String, i64)], extent: i64) -> Vec<Guess> {
    let known = [bound, &fixed(graph)].concat();
    let mut symbols: BTreeSet<String> = BTreeSet::new();
    for input in graph.inputs() {
        let shape = graph.fact(input).shape().unwrap_or_default();
        symbols.extend(shape.iter().flat_map(Dim::symbols).map(|s| s.to_string()));
    }
    let find = |name: &String| known.iter().find(|(n, _)| n == name).map(|&(_, extent)| extent);
    let plain: Vec<(String, i64)> = symbols.iter().map(|s| (s.clone(), find(s).unwrap_or(extent))).collect();
    let free: Vec<usize> = (0..plain.len()).filter(|&i| find(&plain[i].0).is_none()).collect();
    let mut extents = vec![plain.clone()];
    for &sum in &free {
        for (index, &a) in free.iter().enumerate() {
            for &b in &free[index + 1..] {
                if sum != a && sum != b {
                    let mut guess = plain.clone();
                    guess[sum].1 = plain[a].1 + plain[b].1;
                    extents.push(guess);
                }
            }
        }
    }
    extents.dedup();
    let both = |extents: Vec<(String, i64)>| [false, true].map(|has_ones| Guess { extents: extents.clone(), has_ones });
    extents.into_iter().flat_map(both).take(MAX_GUESSES).collect()
}

/// Symbols of declared outputs that inference has found to be numbers.
fn fixed(graph: &Graph) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    for output in graph.outputs() {
        let (Some(declared), Some(known)) = (output.declared.shape(), graph.fact(output.value).shape()) else {
            continue;
        };
        for (declared, known) in declared.iter().zip(known) {
            if let (Some(symbol), Some(extent)) = (declared.as_symbol(), known.as_known()) {
                found.push((symbol.to_owned(), extent));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ops::StandardRegistry;

    #[test]
    fn a_mask_may_be_as_long_as_cache_and_tokens() {
        let text = "g (float[seq] x, float[past] cache, float[total] mask) => (float[total] y) \
                    { k = Concat <axis: int = 0> (cache, x) y = Add (k, mask) }";
        let graph = Graph::from_text(text, &StandardRegistry).unwrap();
        let guesses = guesses(&graph, &[], 2);
        let extents = |guess: &Guess| ["past", "seq", "total"].map(|s| guess.extent(s).unwrap());
        assert_eq!(extents(&guesses[0]), [2, 2, 2]);
        assert!(guesses.iter().any(|guess| extents(guess) == [2, 2, 4] && guess.has_ones));
    }

    #[test]
    fn what_is_bound_or_inferred_is_kept() {
        let text = "g (float[N, size] x, float[N, 3] z) => (float[N, size] y) { y = Add (x, z) }";
        let mut graph = Graph::from_text(text, &StandardRegistry).unwrap();
        let output = graph.outputs()[0].value;
        graph.set_fact(
            output,
            planish_ir::Fact::shaped(Some(planish_tensor::DType::F32), vec![Dim::symbol("N"), Dim::known(3)]),
        );
        let guesses = guesses(&graph, &[("N".to_owned(), 5)], 1);
        assert_eq!(guesses[0].extents, [("N".to_owned(), 5), ("size".to_owned(), 3)]);
    }
}
