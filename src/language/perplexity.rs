//! How well a language model guesses a text: windows of tokens, each token of a window's second half scored on all those
//! before it in the window.

use super::feed::{Feed, LanguageError};
use planish_runtime::{RunError, RunOptions, Session};
use planish_tensor::{DType, Tensor, bf16, f16};

/// What a text's tokens cost a model, summed over windows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// How many tokens were scored.
    pub tokens: usize,
    /// −Σ ln p(token).
    pub nats: f64,
    /// −Σ ln p(token) of the other model.
    pub other_nats: f64,
    /// Σ KL(other ‖ model).
    pub divergence: f64,
    /// How often both models have the same first choice.
    pub agreements: usize,
}

impl Score {
    /// exp of the mean cost of a token.
    pub fn perplexity(&self) -> f64 {
        (self.nats / self.tokens as f64).exp()
    }

    /// The other model's perplexity.
    pub fn other_perplexity(&self) -> f64 {
        (self.other_nats / self.tokens as f64).exp()
    }

    /// The mean of KL(other ‖ model) over tokens.
    pub fn mean_divergence(&self) -> f64 {
        self.divergence / self.tokens as f64
    }

    /// The share of tokens at which both models have the same first choice.
    pub fn agreement(&self) -> f64 {
        self.agreements as f64 / self.tokens as f64
    }

    /// Adds the score of other tokens.
    pub fn add(&mut self, other: &Score) {
        self.tokens += other.tokens;
        self.nats += other.nats;
        self.other_nats += other.other_nats;
        self.divergence += other.divergence;
        self.agreements += other.agreements;
    }
}

/// A language model to score texts with.
#[derive(Debug)]
pub struct Perplexity<'a> {
    /// The model.
    pub session: &'a Session,
    /// What it is given.
    pub feed: &'a Feed,
}

/// Why a window could not be scored.
#[derive(Debug)]
#[non_exhaustive]
pub enum ScoreError {
    /// The tokens cannot be given to the model.
    Feed(LanguageError),
    /// The model did not run.
    Run(RunError),
    /// The logits are not what the model's tokens demand.
    Logits(String),
}

impl std::fmt::Display for ScoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ScoreError::Feed(error) => error.fmt(f),
            ScoreError::Run(error) => error.fmt(f),
            ScoreError::Logits(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ScoreError {}

impl Perplexity<'_> {
    /// The logits after each token of a window.
    pub fn logits(&self, window: &[i64], options: &RunOptions) -> Result<Logits, ScoreError> {
        let inputs = self.feed.values(window).map_err(ScoreError::Feed)?;
        let inputs = inputs.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let outputs = self.session.run(inputs, options).map_err(ScoreError::Run)?;
        let position = self.session.outputs().iter().position(|o| o.name == self.feed.logits());
        let logits = position.and_then(|i| outputs.get(i)?.as_tensor());
        let logits = logits.ok_or_else(|| ScoreError::Logits("the logits are no tensor".to_owned()))?;
        Logits::new(logits, window.len())
    }
}

/// A row of numbers for each token of a window: how likely each token is to follow.
#[derive(Debug)]
pub struct Logits {
    rows: Vec<f32>,
    vocabulary: usize,
}

impl Logits {
    fn new(tensor: &Tensor, length: usize) -> Result<Logits, ScoreError> {
        let vocabulary = match tensor.shape().dims() {
            &[1, rows, vocabulary] if rows == length && vocabulary > 0 => vocabulary,
            shape => {
                let message = format!("expected logits of shape [1, {length}, vocabulary], got {shape:?}");
                return Err(ScoreError::Logits(message));
            }
        };
        let floats = || -> Option<Vec<f32>> {
            Some(match tensor.dtype() {
                DType::F32 => tensor.as_slice::<f32>().ok()?.to_vec(),
                DType::F16 => tensor.as_slice::<f16>().ok()?.iter().map(|x| x.to_f32()).collect(),
                DType::BF16 => tensor.as_slice::<bf16>().ok()?.iter().map(|x| x.to_f32()).collect(),
                _ => return None,
            })
        };
        let rows = floats().ok_or_else(|| ScoreError::Logits(format!("logits of {} are no floats", tensor.dtype())))?;
        Ok(Logits { rows, vocabulary })
    }

    /// The mean of KL(`reference` ‖ `rows`) over rows of this length, and the share of equal first choices.
    pub(crate) fn compared(rows: &[f32], reference: &[f32], vocabulary: usize) -> (f64, f64) {
        let pairs = rows.chunks_exact(vocabulary.max(1)).zip(reference.chunks_exact(vocabulary.max(1)));
        let mut sums = (0.0, 0.0);
        let mut count = 0.0;
        for (row, reference) in pairs {
            sums.0 += divergence(reference, log_total(reference), row, log_total(row));
            sums.1 += f64::from(u8::from(largest(reference) == largest(row)));
            count += 1.0;
        }
        (sums.0 / count, sums.1 / count)
    }

    fn row(&self, position: usize) -> &[f32] {
        &self.rows[position * self.vocabulary..][..self.vocabulary]
    }

    /// The score of the second half of `window`: each token but the half's first is guessed from those before it, and
    /// from `other`, the reference, the same.
    pub fn score(&self, window: &[i64], other: Option<&Logits>) -> Result<Score, ScoreError> {
        let first = window.len() / 2;
        let mut score = Score::default();
        if other.is_some_and(|other| other.vocabulary != self.vocabulary) {
            return Err(ScoreError::Logits("the two models have different vocabularies".to_owned()));
        }
        for position in first..window.len().saturating_sub(1) {
            let target = usize::try_from(window[position + 1]).ok().filter(|&t| t < self.vocabulary);
            let target = target.ok_or_else(|| {
                let (token, size) = (window[position + 1], self.vocabulary);
                ScoreError::Logits(format!("token {token} is none of the model's {size}: is this its tokenizer?"))
            })?;
            let row = self.row(position);
            let total = log_total(row);
            score.tokens += 1;
            score.nats += total - f64::from(row[target]);
            if let Some(other) = other {
                let reference = other.row(position);
                let reference_total = log_total(reference);
                score.other_nats += reference_total - f64::from(reference[target]);
                score.divergence += divergence(reference, reference_total, row, total);
                score.agreements += usize::from(largest(reference) == largest(row));
            }
        }
        Ok(score)
    }
}

/// ln Σ exp(x).
fn log_total(row: &[f32]) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    largest + row.iter().map(|&x| (f64::from(x) - largest).exp()).sum::<f64>().ln()
}

/// Σ p (ln p − ln q) over the softmax of both rows, whose totals are given.
fn divergence(p: &[f32], p_total: f64, q: &[f32], q_total: f64) -> f64 {
    let term = |(&p, &q): (&f32, &f32)| {
        let (log_p, log_q) = (f64::from(p) - p_total, f64::from(q) - q_total);
        let weight = log_p.exp();
        // A token that is impossible adds nothing, also where its logit is −∞ in both.
        if weight == 0.0 { 0.0 } else { weight * (log_p - log_q) }
    };
    p.iter().zip(q).map(term).sum()
}

/// The place of the first of the largest numbers.
fn largest(row: &[f32]) -> usize {
    row.iter().enumerate().fold(0, |best, (i, &x)| if x > row[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(rows: &[[f32; 3]]) -> Logits {
        Logits { rows: rows.concat(), vocabulary: 3 }
    }

    #[test]
    fn the_second_half_is_scored_on_what_comes_before() {
        let even = logits(&[[0.0; 3]; 4]);
        let sure = logits(&[[9.0, 9.0, 9.0], [9.0, 9.0, 9.0], [0.0, 1e3, 0.0], [0.0; 3]]);
        let window = [0, 0, 0, 1];
        let score = even.score(&window, None).unwrap();
        assert_eq!(score.tokens, 1);
        assert!((score.perplexity() - 3.0).abs() < 1e-9);
        let score = sure.score(&window, Some(&even)).unwrap();
        assert!((score.perplexity() - 1.0).abs() < 1e-9 && (score.other_perplexity() - 3.0).abs() < 1e-9);
        assert_eq!(score.agreements, 0);
        assert!(score.mean_divergence() > 100.0);
    }

    #[test]
    fn a_model_diverges_not_from_itself() {
        let rows = logits(&[[1.0, 2.0, 3.0], [0.5, f32::NEG_INFINITY, 0.0], [3.0, 1.0, 2.0], [0.0; 3]]);
        let score = rows.score(&[0, 1, 2, 0], Some(&rows)).unwrap();
        assert_eq!((score.divergence, score.agreements), (0.0, score.tokens));
        assert_eq!(score.nats, score.other_nats);
    }

    #[test]
    fn the_divergence_is_that_of_the_definition() {
        let (p, q) = ([0.1f32.ln(), 0.2f32.ln(), 0.7f32.ln()], [0.3f32.ln(), 0.3f32.ln(), 0.4f32.ln()]);
        let expected: f64 = [(0.1f64, 0.3f64), (0.2, 0.3), (0.7, 0.4)].iter().map(|(p, q)| p * (p / q).ln()).sum();
        assert!((divergence(&p, log_total(&p), &q, log_total(&q)) - expected).abs() < 1e-6);
    }

    #[test]
    fn tokens_of_another_model_are_refused() {
        let even = logits(&[[0.0; 3]; 4]);
        assert!(even.score(&[0, 0, 0, 3], None).unwrap_err().to_string().contains("tokenizer"));
        let wide = Logits { rows: vec![0.0; 16], vocabulary: 4 };
        assert!(wide.score(&[0; 4], Some(&even)).is_err());
    }
}
