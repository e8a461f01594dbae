//! What becomes of the scores of a row in the end.

use planish_ir::{AttributeError, NodeView};

/// Below this, a score counts as zero in `SOFTMAX_ZERO`.
const NEARLY_ZERO: f64 = 1e-7;

/// The attribute `post_transform`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostTransform {
    /// The scores themselves.
    None,
    /// exp(x) / Σ exp(x).
    Softmax,
    /// 1 / (1 + exp(−x)), each score on its own.
    Logistic,
    /// As softmax, but a score of zero stays nearly so and takes no part in the sum.
    SoftmaxZero,
    /// The normal distribution's quantile of each score.
    Probit,
}

/// By the numbers that `TreeEnsemble` writes.
const ALL: [(&str, PostTransform); 5] = [
    ("NONE", PostTransform::None),
    ("SOFTMAX", PostTransform::Softmax),
    ("LOGISTIC", PostTransform::Logistic),
    ("SOFTMAX_ZERO", PostTransform::SoftmaxZero),
    ("PROBIT", PostTransform::Probit),
];

impl PostTransform {
    /// The transform that the string attribute names.
    pub fn named(node: &NodeView<'_>) -> Result<PostTransform, AttributeError> {
        node.choice("post_transform", &ALL)
    }

    /// The transform that the integer attribute numbers.
    pub fn numbered(node: &NodeView<'_>) -> Result<PostTransform, AttributeError> {
        let number = node.int("post_transform")?;
        let found = usize::try_from(number).ok().and_then(|number| ALL.get(number));
        found
            .map(|&(_, transform)| transform)
            .ok_or_else(|| AttributeError::invalid(format!("attribute \"post_transform\": {number} is not 0 to 4")))
    }

    /// Transforms the scores of one row.
    pub fn apply(self, scores: &mut [f64]) {
        match self {
            PostTransform::None => {}
            PostTransform::Logistic => scores.iter_mut().for_each(|x| *x = logistic(*x)),
            PostTransform::Probit => scores.iter_mut().for_each(|x| *x = probit(*x)),
            PostTransform::Softmax => softmax(scores, |_| false),
            PostTransform::SoftmaxZero => softmax(scores, |x| x.abs() <= NEARLY_ZERO),
        }
    }
}

/// 1 / (1 + exp(−x)).
pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The x that a share `p` of the normal distribution lies below, by the approximation of the error function's inverse that
/// the standard's reference uses (S. Winitzki, a = 0.147).
pub fn probit(p: f64) -> f64 {
    const A: f64 = 0.147;
    let x = 2.0 * p - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f64::consts::PI * A) + 0.5 * log;
    let magnitude = ((half * half - log / A).sqrt() - half).sqrt();
    std::f64::consts::SQRT_2 * magnitude.copysign(x)
}

/// exp(x − max) over its sum; what `is_zero` is left out of the sum and only scaled.
fn softmax(scores: &mut [f64], is_zero: impl Fn(f64) -> bool) {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for x in scores.iter_mut() {
        if is_zero(*x) {
            *x *= (-max).exp();
        } else {
            *x = (*x - max).exp();
            sum += *x;
        }
    }
    if sum > 0.0 {
        scores.iter_mut().for_each(|x| *x /= sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    #[test]
    fn probit_inverts_the_normal_distribution() {
        for (p, x) in [(0.5, 0.0), (0.975, 1.959964), (0.1, -1.281552), (0.8413447, 1.0)] {
            assert_relative_eq!(probit(p), x, epsilon = 4e-3);
        }
        assert_eq!(probit(0.0), f64::NEG_INFINITY);
        assert_eq!(probit(1.0), f64::INFINITY);
        assert!(probit(-0.1).is_nan());
    }

    #[test]
    fn zeros_take_no_part() {
        let mut scores = [0.0, 1.0, 1.0];
        PostTransform::SoftmaxZero.apply(&mut scores);
        assert_eq!(scores, [0.0, 0.5, 0.5]);
        let mut zeros = [0.0; 2];
        PostTransform::SoftmaxZero.apply(&mut zeros);
        assert_eq!(zeros, [0.0; 2]);
        let mut scores = [1000.0, 1000.0];
        PostTransform::Softmax.apply(&mut scores);
        assert_eq!(scores, [0.5; 2]);
    }
}
