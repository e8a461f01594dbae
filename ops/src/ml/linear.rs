//! `LinearClassifier` and `LinearRegressor`: for each class or target, a weighted sum of the features.
//!
//! Opsets of `ai.onnx.ml`: 1.

use super::labels::ClassLabels;
use super::post_transform::PostTransform;
use super::rows::{Rows, classify_rows, dot, score_rows};
use super::scores::{Pair, first_highest};
use super::{DOMAIN, FEATURES};
use crate::Define;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, int, optional, required, string,
};
use planish_tensor::{DType, Tensor};
use smallvec::SmallVec;

/// Weighted sums: the weights of each, one after the other, and what is added to each.
#[derive(Debug)]
struct Sums {
    coefficients: Vec<f32>,
    /// As many as sums.
    intercepts: Vec<f32>,
}

impl Sums {
    /// How many features each sum takes, which are as many as the rows have.
    fn width(&self, x: &Tensor) -> Result<usize, OpError> {
        let (rows, sums) = (Rows::of(x)?, self.intercepts.len());
        if rows.width.checked_mul(sums) != Some(self.coefficients.len()) {
            let (got, coefficients) = (rows.width, self.coefficients.len());
            let message = format!("{coefficients} coefficients do not make {sums} sums of {got} features");
            return Err(OpError::invalid(message));
        }
        Ok(rows.width)
    }

    fn of<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        let weights = self.coefficients.chunks_exact(row.len().max(1));
        let sums = weights.map(|weights| dot(row, weights)).chain(std::iter::repeat(0.0));
        self.intercepts.iter().zip(sums).map(|(&intercept, sum)| f64::from(intercept + sum))
    }
}

/// `LinearClassifier`.
#[derive(Debug)]
pub struct LinearClassifier {
    labels: ClassLabels,
    sums: Sums,
    transform: PostTransform,
}

impl LinearClassifier {
    /// Whether one sum speaks for the second of two classes.
    fn is_pair(&self) -> bool {
        self.sums.intercepts.len() == 1 && self.labels.len() == 2
    }
}

impl Define for LinearClassifier {
    const SCHEMA: Schema = Schema::new("LinearClassifier", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES)])
        .outputs(&[arg("Y", Types::of(&[DType::String, DType::I64])), arg("Z", FLOAT)])
        .attributes(&[
            optional("classlabels_ints", AttributeKind::Ints),
            optional("classlabels_strings", AttributeKind::Strings),
            required("coefficients", AttributeKind::Floats),
            optional("intercepts", AttributeKind::Floats),
            int("multi_class", 0),
            string("post_transform", "NONE"),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let labels = ClassLabels::parse(node, "classlabels_ints", "classlabels_strings")?;
        let intercepts = match node.opt_floats("intercepts") {
            Some(intercepts) if !intercepts.is_empty() => intercepts.to_vec(),
            _ => vec![0.0; labels.len()],
        };
        if intercepts.len() != labels.len() && (intercepts.len(), labels.len()) != (1, 2) {
            let message = format!("{} intercepts for {} classes", intercepts.len(), labels.len());
            return Err(AttributeError::invalid(message));
        }
        let sums = Sums { coefficients: node.floats("coefficients")?.to_vec(), intercepts };
        Ok(LinearClassifier { labels, sums, transform: PostTransform::named(node)? })
    }
}

impl Op for LinearClassifier {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(self.labels.infer(&Rows::infer(x)?, self.labels.len()))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        self.sums.width(x)?;
        classify_rows(cx, x, &self.labels, self.labels.len(), self.sums.coefficients.len(), |row, y| {
            let mut scores: SmallVec<[f64; 16]> = self.sums.of(row).collect();
            let winner = if self.is_pair() { u32::from(scores[0] > 0.0) } else { first_highest(&scores) };
            if self.is_pair() {
                scores = Pair::Complement.scores(scores[0], self.transform).into_iter().collect();
            } else {
                self.transform.apply(&mut scores);
            }
            y.iter_mut().zip(&scores).for_each(|(y, &score)| *y = score as f32);
            winner
        })
    }
}

/// `LinearRegressor`.
#[derive(Debug)]
pub struct LinearRegressor {
    sums: Sums,
    transform: PostTransform,
}

impl Define for LinearRegressor {
    const SCHEMA: Schema = Schema::new("LinearRegressor", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", FEATURES)])
        .outputs(&[arg("Y", FLOAT)])
        .attributes(&[
            optional("coefficients", AttributeKind::Floats),
            optional("intercepts", AttributeKind::Floats),
            string("post_transform", "NONE"),
            int("targets", 1),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let coefficients = node.opt_floats("coefficients").unwrap_or_default().to_vec();
        let targets = node.int("targets")?;
        let targets = usize::try_from(targets).ok().filter(|&n| n > 0 && n <= coefficients.len().max(1));
        let targets = targets.ok_or_else(|| AttributeError::invalid("attribute \"targets\" is out of range"))?;
        let intercepts = match node.opt_floats("intercepts") {
            Some(intercepts) if !intercepts.is_empty() => intercepts.to_vec(),
            _ => vec![0.0; targets],
        };
        if intercepts.len() != targets {
            return Err(AttributeError::invalid(format!("{} intercepts for {targets} targets", intercepts.len())));
        }
        Ok(LinearRegressor { sums: Sums { coefficients, intercepts }, transform: PostTransform::named(node)? })
    }
}

impl Op for LinearRegressor {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let targets = Dim::known(self.sums.intercepts.len() as i64);
        Ok(vec![Fact::shaped(Some(DType::F32), vec![Rows::infer(x)?.count, targets])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        self.sums.width(x)?;
        let y = score_rows(cx, x, self.sums.intercepts.len(), self.sums.coefficients.len(), |row, y| {
            let mut scores: SmallVec<[f64; 16]> = self.sums.of(row).collect();
            self.transform.apply(&mut scores);
            y.iter_mut().zip(&scores).for_each(|(y, &score)| *y = score as f32);
        })?;
        Ok(y.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;
    use proptest::prelude::*;

    fn linear(coefficients: &[f32], intercepts: &[f32]) -> Attributes {
        Attributes::new().with("coefficients", coefficients.to_vec()).with("intercepts", intercepts.to_vec())
    }

    #[test]
    fn one_sum_speaks_for_the_second_of_two_classes() {
        let x = || Some(tensor(&[2, 2], &[0.5f32, 0.25, -1.0, 0.0]));
        let attributes = linear(&[1.0, 2.0], &[-0.25]).with("classlabels_ints", vec![5i64, 6]);
        let y = eval_all("ai.onnx.ml", "LinearClassifier", attributes.clone(), &[x()], 2).unwrap();
        assert_eq!(y, [tensor(&[2], &[6i64, 5]), tensor(&[2, 2], &[0.25f32, 0.75, 2.25, -1.25])]);
        let logistic = attributes.with("post_transform", "LOGISTIC");
        let y = eval_all("ai.onnx.ml", "LinearClassifier", logistic, &[x()], 2).unwrap();
        approx::assert_relative_eq!(y[1].as_slice::<f32>().unwrap()[1], 0.6791787, epsilon = 1e-6);
    }

    #[test]
    fn another_number_of_features_is_refused() {
        let attributes = linear(&[1.0, 2.0, 3.0], &[0.0, 0.0, 0.0]).with("classlabels_ints", vec![5i64, 6, 7]);
        let x = tensor(&[1, 2], &[0f32; 2]);
        assert!(eval_all("ai.onnx.ml", "LinearClassifier", attributes, &[Some(x)], 2).is_err());
        let wide = linear(&[1.0], &[]).with("targets", i64::MAX);
        assert!(eval_all("ai.onnx.ml", "LinearRegressor", wide, &[Some(tensor(&[1], &[0f32]))], 1).is_err());
    }

    proptest! {
        #[test]
        fn targets_are_weighted_sums(
            (rows, width, targets) in (0usize..4, 1usize..20, 1usize..4),
            seed in prop::collection::vec(-4i8..5, 200),
        ) {
            let numbers: Vec<f32> = seed.iter().map(|&v| f32::from(v) / 2.0).collect();
            let (x, weights) = (&numbers[..rows * width], &numbers[100..100 + targets * width]);
            let intercepts = &numbers[190..190 + targets];
            let attributes = linear(weights, intercepts).with("targets", targets as i64);
            let input = tensor(&[rows, width], x);
            let y = eval_all("ai.onnx.ml", "LinearRegressor", attributes, &[Some(input)], 1).unwrap();
            let sum = |row: &[f32], t: usize| (0..width).map(|f| row[f] * weights[t * width + f]).sum::<f32>();
            let expected: Vec<f32> = x
                .chunks(width)
                .flat_map(|row| (0..targets).map(|t| intercepts[t] + sum(row, t)).collect::<Vec<_>>())
                .collect();
            prop_assert_eq!(y[0].as_slice::<f32>().unwrap(), &expected);
        }
    }
}
