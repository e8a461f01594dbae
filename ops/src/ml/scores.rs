//! Two classes from one score.

use super::post_transform::{PostTransform, logistic};

/// What one score, which speaks for the second of two classes, says of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// What is left of 1.
    Complement,
    /// The opposite.
    Opposite,
}

impl Pair {
    /// The score above which the second class wins.
    pub fn threshold(self) -> f64 {
        match self {
            Pair::Complement => 0.5,
            Pair::Opposite => 0.0,
        }
    }

    /// The scores of both classes. Only transforms that work on each score alone apply.
    pub fn scores(self, score: f64, transform: PostTransform) -> [f64; 2] {
        if transform == PostTransform::Logistic {
            return [logistic(-score), logistic(score)];
        }
        let mut scores = match self {
            Pair::Complement => [1.0 - score, score],
            Pair::Opposite => [-score, score],
        };
        if transform == PostTransform::Probit {
            transform.apply(&mut scores);
        }
        scores
    }
}

/// The first of the classes with the highest score.
pub fn first_highest(scores: &[f64]) -> u32 {
    let best = (0..).zip(scores).reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(0, |(class, _)| class)
}
