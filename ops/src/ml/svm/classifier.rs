//! `SVMClassifier`: every pair of classes is decided by one weighted sum over their support vectors, and the class that wins
//! most pairs wins. Without support vectors, each class has a linear score and the highest wins.
//!
//! The scores are those of the pairs, or probabilities of the classes where the attributes `prob_a` and `prob_b` calibrate
//! them. Of two classes without probabilities, the second one's score is that of the pair and the first one's its opposite.

use super::coupling::coupled;
use super::kernel::{KERNEL, Kernel, Vectors};
use crate::Define;
use crate::ml::labels::ClassLabels;
use crate::ml::post_transform::{PostTransform, logistic};
use crate::ml::rows::{Rows, classify_rows};
use crate::ml::scores::{Pair, first_highest};
use crate::ml::{DOMAIN, FEATURES};
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, optional, string,
};
use planish_tensor::DType;
use std::ops::Range;

/// `SVMClassifier`.
#[derive(Debug)]
pub struct SvmClassifier {
    labels: ClassLabels,
    vectors: Vectors,
    method: Method,
    transform: PostTransform,
}

#[derive(Debug)]
enum Method {
    /// Each vector scores one class; this is added.
    Linear { rho: f32 },
    /// The pairs of classes, (0, 1), (0, 2), …, (1, 2), …
    Pairs(Vec<ClassPair>),
}

/// How one class stands against another.
#[derive(Debug)]
struct ClassPair {
    classes: [u32; 2],
    /// Each side's support vectors and their weights.
    sides: [(Range<usize>, Vec<f32>); 2],
    rho: f32,
    /// How a score becomes a probability: 1 / (1 + exp(a·score + b)).
    calibration: Option<(f32, f32)>,
}

impl ClassPair {
    /// Positive where the first class wins.
    fn score(&self, likeness: &[f64]) -> f64 {
        let sum = |(vectors, weights): &(Range<usize>, Vec<f32>)| -> f64 {
            likeness[vectors.clone()].iter().zip(weights).map(|(like, &w)| like * f64::from(w)).sum()
        };
        sum(&self.sides[0]) + sum(&self.sides[1]) + f64::from(self.rho)
    }
}

impl Define for SvmClassifier {
    const SCHEMA: Schema = Schema::new("SVMClassifier", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES)])
        .outputs(&[arg("Y", Types::of(&[DType::String, DType::I64])), arg("Z", FLOAT)])
        .attributes(&[
            optional("classlabels_ints", AttributeKind::Ints),
            optional("classlabels_strings", AttributeKind::Strings),
            optional("coefficients", AttributeKind::Floats),
            KERNEL[0],
            KERNEL[1],
            string("post_transform", "NONE"),
            optional("prob_a", AttributeKind::Floats),
            optional("prob_b", AttributeKind::Floats),
            optional("rho", AttributeKind::Floats),
            optional("support_vectors", AttributeKind::Floats),
            optional("vectors_per_class", AttributeKind::Ints),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let labels = ClassLabels::parse(node, "classlabels_ints", "classlabels_strings")?;
        let ranges = ranges(node.opt_ints("vectors_per_class").unwrap_or_default())?;
        let count = ranges.last().map_or(0, |last| last.end);
        let coefficients = node.opt_floats("coefficients").unwrap_or_default();
        let rho = node.opt_floats("rho").unwrap_or_default();
        let transform = PostTransform::named(node)?;
        if count == 0 {
            let rho = rho.first().copied().unwrap_or(0.0);
            let vectors = Vectors::new(Kernel::LINEAR, coefficients, labels.len())?;
            return Ok(SvmClassifier { labels, vectors, method: Method::Linear { rho }, transform });
        }
        let elements = node.opt_floats("support_vectors").unwrap_or_default();
        let vectors = Vectors::new(Kernel::parse(node)?, elements, count)?;
        if ranges.len() != labels.len() || labels.len() < 2 {
            let message = format!("support vectors of {} classes, labels of {}", ranges.len(), labels.len());
            return Err(AttributeError::invalid(message));
        }
        let pairs = pairs(node, &ranges, coefficients, rho)?;
        Ok(SvmClassifier { labels, vectors, method: Method::Pairs(pairs), transform })
    }
}

/// Where the vectors of each class lie among all.
fn ranges(lengths: &[i64]) -> Result<Vec<Range<usize>>, AttributeError> {
    let wrong = || AttributeError::invalid("attribute \"vectors_per_class\" is out of range");
    let mut end = 0usize;
    let next = |&length: &i64| {
        let start = end;
        end = usize::try_from(length).ok().and_then(|length| start.checked_add(length)).ok_or_else(wrong)?;
        Ok(start..end)
    };
    lengths.iter().map(next).collect()
}

/// The pairs of classes. The coefficients are one row for each class but one: row j − 1 weighs vectors of class i < j, row
/// i those of class j.
fn pairs(
    node: &NodeView<'_>,
    ranges: &[Range<usize>],
    coefficients: &[f32],
    rho: &[f32],
) -> Result<Vec<ClassPair>, AttributeError> {
    let (classes, count) = (ranges.len(), ranges.last().map_or(0, |last| last.end));
    let num_pairs = classes.saturating_mul(classes - 1) / 2;
    if coefficients.len() != count.saturating_mul(classes - 1) || rho.len() < num_pairs {
        let message = format!(
            "{} coefficients and {} rho do not fit {classes} classes of {count} support vectors",
            coefficients.len(),
            rho.len()
        );
        return Err(AttributeError::invalid(message));
    }
    let a = node.opt_floats("prob_a").unwrap_or_default();
    let b = node.opt_floats("prob_b").unwrap_or_default();
    if !a.is_empty() && (a.len() < num_pairs || b.len() < num_pairs) {
        let message = format!("{num_pairs} pairs of classes have {} prob_a and {} prob_b", a.len(), b.len());
        return Err(AttributeError::invalid(message));
    }
    let weights = |row: usize, vectors: &Range<usize>| {
        (vectors.clone(), coefficients[row * count..][..count][vectors.clone()].to_vec())
    };
    let all = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j)));
    let pair = |(index, (i, j)): (usize, (usize, usize))| ClassPair {
        classes: [i as u32, j as u32],
        sides: [weights(j - 1, &ranges[i]), weights(i, &ranges[j])],
        rho: rho[index],
        calibration: a.get(index).copied().zip(b.get(index).copied()),
    };
    Ok(all.enumerate().map(pair).collect())
}

impl SvmClassifier {
    fn has_probabilities(&self) -> bool {
        matches!(&self.method, Method::Pairs(pairs) if pairs.iter().all(|pair| pair.calibration.is_some()))
    }

    fn num_scores(&self) -> usize {
        match &self.method {
            Method::Pairs(pairs) if !self.has_probabilities() => pairs.len().max(2),
            _ => self.labels.len(),
        }
    }

    /// The class that wins a row, and the scores.
    fn decide(&self, row: &[f32]) -> (u32, Vec<f64>) {
        let likeness: Vec<f64> = self.vectors.compare(row).collect();
        let pairs = match &self.method {
            Method::Linear { rho } => {
                let mut scores: Vec<f64> = likeness.iter().map(|score| score + f64::from(*rho)).collect();
                let winner = first_highest(&scores);
                self.transform.apply(&mut scores);
                return (winner, scores);
            }
            Method::Pairs(pairs) => pairs,
        };
        let mut scores: Vec<f64> = pairs.iter().map(|pair| pair.score(&likeness)).collect();
        let mut votes = vec![0.0; self.labels.len()];
        for (pair, &score) in pairs.iter().zip(&scores) {
            let [first, second] = pair.classes;
            votes[if score > 0.0 { first } else { second } as usize] += 1.0;
        }
        if self.has_probabilities() {
            let certainty = |(pair, &score): (&ClassPair, &f64)| {
                let (a, b) = pair.calibration.unwrap_or_default();
                logistic(-(score * f64::from(a) + f64::from(b)))
            };
            let certainties: Vec<f64> = pairs.iter().zip(&scores).map(certainty).collect();
            scores = coupled(self.labels.len(), &certainties);
        } else if let &[score] = &scores[..] {
            let pair = if self.transform == PostTransform::None { Pair::Opposite } else { Pair::Complement };
            return (first_highest(&votes), pair.scores(score, self.transform).to_vec());
        }
        self.transform.apply(&mut scores);
        (first_highest(&votes), scores)
    }
}

impl Op for SvmClassifier {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(self.labels.infer(&Rows::infer(x)?, self.num_scores()))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        self.vectors.check_width(Rows::of(x)?.width)?;
        classify_rows(cx, x, &self.labels, self.num_scores(), self.vectors.num_elements(), |row, y| {
            let (winner, scores) = self.decide(row);
            y.iter_mut().zip(&scores).for_each(|(y, &score)| *y = score as f32);
            winner
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::Tensor;

    fn three_classes() -> Attributes {
        Attributes::new()
            .with("coefficients", vec![1f32, -0.5, -0.5, 0.25, 1.0, 0.3])
            .with("support_vectors", vec![1f32, 2.0, 0.5, 0.25, 0.0, -1.0])
            .with("vectors_per_class", vec![1i64; 3])
            .with("rho", vec![0.125f32, -0.1, 0.2])
            .with("kernel_type", "RBF")
            .with("kernel_params", vec![0.5f32, 0.25, 3.0])
            .with("classlabels_ints", vec![7i64, 8, 9])
    }

    fn run(attributes: Attributes) -> Result<Vec<Tensor>, OpError> {
        let x = tensor(&[2, 2], &[0.1f32, 0.2, -2.0, 1.0]);
        eval_all("ai.onnx.ml", "SVMClassifier", attributes, &[Some(x)], 2)
    }

    #[test]
    fn pairs_vote_and_probabilities_are_coupled() {
        let y = run(three_classes()).unwrap();
        assert_eq!(y[0], tensor(&[2], &[8i64, 7]));
        let expected = [-0.203_987_72, -0.309_163_8, 1.267_260_6, 0.115_155_28, -0.107_473_34, 0.238_660_04];
        for (got, expected) in y[1].as_slice::<f32>().unwrap().iter().zip(expected) {
            approx::assert_relative_eq!(*got, expected, epsilon = 1e-6);
        }
        let calibrated =
            three_classes().with("prob_a", vec![-2f32, -1.0, -1.5]).with("prob_b", vec![0.25f32, 0.0, 0.0]);
        let y = run(calibrated).unwrap();
        for row in y[1].as_slice::<f32>().unwrap().chunks(3) {
            approx::assert_relative_eq!(row.iter().sum::<f32>(), 1.0, epsilon = 1e-6);
        }
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        for (name, list) in
            [("coefficients", 5), ("rho", 2), ("support_vectors", 4), ("prob_a", 1), ("kernel_params", 2)]
        {
            assert!(run(three_classes().with(name, vec![0f32; list])).is_err(), "{name}");
        }
        for counts in [vec![1i64, 1], vec![-1, 3, 1], vec![i64::MAX; 3], vec![1; 4]] {
            assert!(run(three_classes().with("vectors_per_class", counts)).is_err());
        }
    }
}
