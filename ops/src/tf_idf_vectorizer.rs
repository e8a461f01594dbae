//! `TfIdfVectorizer`: how often each n-gram of a pool occurs in a sequence, weighted.
//!
//! The items of an n-gram may lie apart: 1, 2, … up to `max_skip_count` + 1 items from one to the next.
//!
//! Opsets: 9.

use crate::Define;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOAT, Fact, Facts, INDICES, InferError, Inputs, NodeView, Op, OpError,
    Outputs, STRING, Schema, arg, optional, required,
};
use planish_tensor::{DType, Shape, Tensor};
use std::collections::HashMap;

/// `TfIdfVectorizer`.
#[derive(Debug)]
pub struct TfIdfVectorizer {
    mode: Mode,
    /// The lengths of n-grams that are looked for.
    lengths: std::ops::RangeInclusive<usize>,
    max_skip_count: usize,
    /// The place in the output of each n-gram, by its items.
    places: HashMap<Vec<i64>, usize>,
    /// The item that each string of the pool stands for; `None` for pools of integers.
    words: Option<HashMap<String, i64>>,
    /// The weight of each place in the output.
    weights: HashMap<usize, f32>,
    width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// How often the n-gram occurs.
    Tf,
    /// Its weight, if it occurs.
    Idf,
    /// Both multiplied.
    TfIdf,
}

impl Define for TfIdfVectorizer {
    const SCHEMA: Schema = Schema::new("TfIdfVectorizer", 9)
        .inputs(&[arg("X", STRING.or(INDICES))])
        .outputs(&[arg("Y", FLOAT)])
        .attributes(&[
            required("max_gram_length", AttributeKind::Int),
            required("max_skip_count", AttributeKind::Int),
            required("min_gram_length", AttributeKind::Int),
            required("mode", AttributeKind::String),
            required("ngram_counts", AttributeKind::Ints),
            required("ngram_indexes", AttributeKind::Ints),
            optional("pool_int64s", AttributeKind::Ints),
            optional("pool_strings", AttributeKind::Strings),
            optional("weights", AttributeKind::Floats),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let (pool, words) = pool(node)?;
        let indexes = sizes(node, "ngram_indexes")?;
        let width = indexes.iter().max().map_or(0, |&last| last.saturating_add(1));
        let ngrams = ngrams(&pool, &sizes(node, "ngram_counts")?)?;
        if ngrams.len() != indexes.len() {
            let (expected, got) = (ngrams.len(), indexes.len());
            return Err(AttributeError::invalid(format!(
                "attribute \"ngram_indexes\": expected {expected}, got {got}"
            )));
        }
        let weights = match node.opt_floats("weights") {
            Some(weights) if weights.len() != indexes.len() => {
                let (expected, got) = (indexes.len(), weights.len());
                return Err(AttributeError::invalid(format!("attribute \"weights\": expected {expected}, got {got}")));
            }
            weights => indexes.iter().copied().zip(weights.unwrap_or_default().iter().copied()).collect(),
        };
        let length = |name: &str, least: usize| {
            let value = node.int(name)?;
            let checked = usize::try_from(value).ok().filter(|&v| v >= least);
            checked.ok_or_else(|| AttributeError::invalid(format!("attribute {name:?}: {value} is too small")))
        };
        let lengths = length("min_gram_length", 1)?..=length("max_gram_length", 1)?;
        if lengths.is_empty() {
            return Err(AttributeError::invalid(format!("attribute \"max_gram_length\": {lengths:?} is empty")));
        }
        Ok(TfIdfVectorizer {
            mode: node.choice("mode", &[("TF", Mode::Tf), ("IDF", Mode::Idf), ("TFIDF", Mode::TfIdf)])?,
            lengths,
            max_skip_count: length("max_skip_count", 0)?,
            places: ngrams.into_iter().map(<[i64]>::to_vec).zip(indexes).collect(),
            words,
            weights,
            width,
        })
    }
}

fn sizes(node: &NodeView<'_>, name: &str) -> Result<Vec<usize>, AttributeError> {
    let given = node.ints(name)?;
    let checked: Option<Vec<usize>> = given.iter().map(|&v| usize::try_from(v).ok()).collect();
    checked.ok_or_else(|| AttributeError::invalid(format!("attribute {name:?}: a number is negative")))
}

/// The pool's items, and what each string stands for.
fn pool(node: &NodeView<'_>) -> Result<(Vec<i64>, Option<HashMap<String, i64>>), AttributeError> {
    match (node.opt_ints("pool_int64s"), node.opt_strings("pool_strings")) {
        (Some(items), None) => Ok((items.to_vec(), None)),
        (None, Some(strings)) => {
            let mut words: HashMap<String, i64> = HashMap::new();
            let item = |word: &String| {
                let next = words.len() as i64;
                *words.entry(word.clone()).or_insert(next)
            };
            Ok((strings.iter().map(item).collect(), Some(words)))
        }
        _ => Err(AttributeError::invalid("expected either attribute \"pool_int64s\" or \"pool_strings\"")),
    }
}

/// The n-grams of the pool: from `starts[n - 1]` on, those of n items.
fn ngrams<'a>(pool: &'a [i64], starts: &[usize]) -> Result<Vec<&'a [i64]>, AttributeError> {
    let mut ngrams = Vec::new();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(pool.len());
        let items = pool.get(start..end).filter(|items| items.len().is_multiple_of(i + 1));
        let refused =
            || AttributeError::invalid(format!("attribute \"ngram_counts\": {starts:?} do not divide the pool"));
        ngrams.extend(items.ok_or_else(refused)?.chunks_exact(i + 1));
    }
    Ok(ngrams)
}

impl Op for TfIdfVectorizer {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let width = Dim::known(self.width as i64);
        Ok(vec![match x.shape(0) {
            None => Fact::tensor(Some(DType::F32)),
            Some([] | [_]) => Fact::shaped(Some(DType::F32), vec![width]),
            Some([rows, _]) => Fact::shaped(Some(DType::F32), vec![rows.clone(), width]),
            Some(other) => return Err(InferError(format!("expected rank 1 or 2, got {other:?}"))),
        }])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let (rows, columns) = match x.shape().dims() {
            [] => (None, 1),
            &[columns] => (None, columns),
            &[rows, columns] => (Some(rows), columns),
            _ => return Err(OpError::invalid(format!("expected rank 1 or 2, got shape {}", x.shape()))),
        };
        let dims: Vec<usize> = rows.into_iter().chain([self.width]).collect();
        let mut y = cx.zeros::<f32>(Shape::new(&dims)?)?;
        let _charged = cx.memory.reserve(x.num_elements().saturating_mul(size_of::<Option<i64>>()))?;
        let items = self.items(x)?;
        if columns > 0 && self.width > 0 {
            for (y, row) in y.chunks_exact_mut(self.width).zip(items.chunks_exact(columns)) {
                self.count(cx, row, y)?;
                self.weigh(y);
            }
        }
        Ok(y.freeze().into())
    }
}

impl TfIdfVectorizer {
    /// The elements as items of the pool; `None` for strings that it does not have.
    fn items(&self, x: &Tensor) -> Result<Vec<Option<i64>>, OpError> {
        Ok(match (x.dtype(), &self.words) {
            (DType::String, Some(words)) => x.as_strings()?.iter().map(|word| words.get(word).copied()).collect(),
            (DType::I32, None) => x.as_slice::<i32>()?.iter().map(|&v| Some(i64::from(v))).collect(),
            (DType::I64, None) => x.as_slice::<i64>()?.iter().map(|&v| Some(v)).collect(),
            (other, _) => return Err(OpError::invalid(format!("the pool has no items of {other}"))),
        })
    }

    fn count(&self, cx: &EvalCx<'_>, row: &[Option<i64>], counts: &mut [f32]) -> Result<(), OpError> {
        let longest = self.places.keys().map(Vec::len).max().unwrap_or(0).min(*self.lengths.end());
        for length in *self.lengths.start()..=longest {
            let skips = if length == 1 { 0 } else { self.max_skip_count };
            for step in (0..=skips).map(|skip| skip.saturating_add(1)) {
                cx.check()?;
                let Some(reach) = step.checked_mul(length - 1).filter(|&reach| reach < row.len()) else { break };
                for start in 0..row.len() - reach {
                    let ngram: Option<Vec<i64>> = (0..length).map(|i| row[start + i * step]).collect();
                    if let Some(count) = ngram.and_then(|ngram| counts.get_mut(*self.places.get(&ngram)?)) {
                        *count += 1.0;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes results of counts.
    fn weigh(&self, counts: &mut [f32]) {
        for (place, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count > 0.0) {
            let weight = self.weights.get(&place).copied().unwrap_or(1.0);
            *count = match self.mode {
                Mode::Tf => *count,
                Mode::Idf => weight,
                Mode::TfIdf => *count * weight,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::{Attribute, Attributes};
    use planish_tensor::{Shape, Tensor};

    fn attributes(mode: &str, lengths: [i64; 2], skips: i64) -> Attributes {
        Attributes::new()
            .with("mode", mode)
            .with("min_gram_length", lengths[0])
            .with("max_gram_length", lengths[1])
            .with("max_skip_count", skips)
            .with("ngram_counts", vec![0i64, 4])
            .with("ngram_indexes", (0..7).collect::<Vec<i64>>())
            .with("pool_int64s", vec![2i64, 3, 5, 4, 5, 6, 7, 8, 6, 7])
    }

    #[test]
    fn ngrams_are_counted() {
        let x = tensor(&[12], &[1i32, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8]);
        let run = |attributes| eval("TfIdfVectorizer", attributes, &[x.clone()]).unwrap();
        assert_eq!(run(attributes("TF", [2, 2], 0)), tensor(&[7], &[0f32, 0., 0., 0., 1., 1., 1.]));
        assert_eq!(run(attributes("TF", [2, 2], 5)), tensor(&[7], &[0f32, 0., 0., 0., 1., 3., 1.]));
        assert_eq!(run(attributes("TF", [1, 2], i64::MAX)), tensor(&[7], &[0f32, 3., 1., 0., 1., 3., 1.]));
        let weighted = attributes("IDF", [1, 1], 0).with("weights", vec![2f32; 7]);
        assert_eq!(run(weighted), tensor(&[7], &[0f32, 2., 2., 0., 0., 0., 0.]));
    }

    #[test]
    fn strings_are_items_too() {
        let mut words =
            attributes("TF", [1, 1], 0).with("ngram_counts", vec![0i64]).with("ngram_indexes", vec![1i64, 0]);
        words.remove("pool_int64s");
        words.set("pool_strings", Attribute::Strings(vec!["a".into(), "b".into()]));
        let x = Tensor::from_strings(Shape::new(&[1, 3]).unwrap(), ["b", "c", "b"].map(String::from).to_vec()).unwrap();
        assert_eq!(eval("TfIdfVectorizer", words, &[x]).unwrap(), tensor(&[1, 2], &[2f32, 0.]));
    }

    #[test]
    fn nonsense_is_refused() {
        for (name, value) in [("ngram_counts", vec![0i64, 5]), ("ngram_counts", vec![-1]), ("ngram_indexes", vec![0])] {
            let attributes = attributes("TF", [1, 2], 0).with(name, value);
            assert!(eval("TfIdfVectorizer", attributes, &[tensor(&[1], &[1i64])]).is_err());
        }
        assert!(eval("TfIdfVectorizer", attributes("TF", [2, 1], 0), &[tensor(&[1], &[1i64])]).is_err());
    }
}
