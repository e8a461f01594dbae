//! Scores from trees, one for each target: what `TreeEnsembleRegressor` and `TreeEnsemble` have in common.

use super::ensemble::{Aggregate, AnyEnsemble, Ensemble, Real, tile_rows};
use crate::dtypes::Number;
use crate::ml::post_transform::PostTransform;
use crate::ml::rows::{Rows, convert};
use planish_ir::{AttributeError, Dim, EvalCx, Fact, Facts, InferError, OpError};
use planish_tensor::{DType, Shape, Tensor};
use smallvec::SmallVec;

/// The scores of trees.
#[derive(Debug)]
pub struct Regression {
    ensemble: AnyEnsemble,
    aggregate: Aggregate,
    /// What is added to each target's score; empty for nothing.
    base: Vec<f64>,
    transform: PostTransform,
}

impl Regression {
    /// Scores of `ensemble`, aggregated, plus `base`, transformed.
    pub fn new(
        ensemble: AnyEnsemble,
        aggregate: Aggregate,
        base: Vec<f64>,
        transform: PostTransform,
    ) -> Result<Regression, AttributeError> {
        if !base.is_empty() && base.len() != ensemble.num_targets() {
            let (expected, got) = (ensemble.num_targets(), base.len());
            return Err(AttributeError::invalid(format!("expected {expected} base values, got {got}")));
        }
        Ok(Regression { ensemble, aggregate, base, transform })
    }

    /// What is known of the scores.
    pub fn infer(&self, x: &Facts<'_>, dtype: Option<DType>) -> Result<Vec<Fact>, InferError> {
        let targets = Dim::known(self.ensemble.num_targets() as i64);
        Ok(vec![Fact::shaped(dtype, vec![Rows::infer(x)?.count, targets])])
    }

    /// The scores of all rows, as `Z`.
    pub fn scores<Z: Number>(&self, cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        if self.ensemble.is_double() || x.dtype() == DType::F64 {
            self.scores_of::<f64, Z>(cx, self.ensemble.double()?, x)
        } else {
            self.scores_of::<f32, Z>(cx, self.ensemble.single()?, x)
        }
    }

    fn scores_of<T: Real, Z: Number>(
        &self,
        cx: &EvalCx<'_>,
        ensemble: &Ensemble<T>,
        x: &Tensor,
    ) -> Result<Tensor, OpError> {
        let (rows, num_targets) = (Rows::of(x)?, self.ensemble.num_targets());
        let x = convert::<T>(cx, x)?;
        let mut y = cx.uninit::<Z>(Shape::new(&[rows.count, num_targets])?)?;
        let tile = tile_rows(cx, &rows, self.ensemble.num_trees());
        let outputs = y.chunks_mut(tile * num_targets);
        ensemble.evaluate(cx, x.as_slice()?, rows.width, self.aggregate, tile, outputs, |y, row, tallies| {
            let mut scores: SmallVec<[f64; 16]> = tallies.iter().map(|tally| tally.score.to_f64()).collect();
            scores.iter_mut().zip(&self.base).for_each(|(score, base)| *score += base);
            self.transform.apply(&mut scores);
            let y = &mut y[row * num_targets..(row + 1) * num_targets];
            y.iter_mut().zip(&scores).for_each(|(y, &score)| *y = Z::from_f64(score));
        })?;
        Ok(y.freeze())
    }
}
