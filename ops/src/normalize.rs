//! Normalisations over any axes: `LpNormalization`, x / (Σ |x|ᵖ)^(1/p) along an axis, 0 where that norm is 0; and
//! `MeanVarianceNormalization`, (x − mean) / (deviation + 1e-9) over a set of axes.
//!
//! Opsets: LpNormalization 1; 22 adds bfloat16. MeanVarianceNormalization 9; 13 adds bfloat16.

use crate::Define;
use crate::elementwise::{binary, zip};
use crate::fold::Fold;
use crate::half::{for_real, widened};
use crate::indices::axes_mask;
use crate::reduce::{Finish, reduce};
use planish_ir::{
    AttributeError, Axis, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, arg,
    int, ints,
};
use planish_tensor::Tensor;

/// `LpNormalization`.
#[derive(Debug)]
pub struct LpNormalization {
    axis: Axis,
    fold: Fold,
    finish: Finish,
}

/// `MeanVarianceNormalization`.
#[derive(Debug)]
pub struct MeanVarianceNormalization {
    axes: Vec<i64>,
}

/// What is added to the deviation, so that equal elements become 0.
const EPSILON: f32 = 1e-9;

impl Define for LpNormalization {
    const SCHEMA: Schema = Schema::new("LpNormalization", 22)
        .inputs(&[arg("input", FLOATS).var("T")])
        .outputs(&[arg("output", FLOATS).var("T")])
        .attributes(&[int("axis", -1), int("p", 2)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let (fold, finish) = match node.int("p")? {
            1 => (Fold::L1, Finish::Nothing),
            2 => (Fold::SumSquare, Finish::Root),
            p => return Err(AttributeError::invalid(format!("attribute \"p\": expected 1 or 2, got {p}"))),
        };
        Ok(LpNormalization { axis: Axis::new(node.int("axis")?), fold, finish })
    }
}

impl Op for LpNormalization {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let Some(rank) = x.rank(0) {
            self.axis.resolve(rank)?;
        }
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, mut inputs| {
            let x = inputs.take_tensor(0)?;
            let mut is_normed = vec![false; x.rank()];
            is_normed[self.axis.resolve(x.rank())?] = true;
            let norm = reduce(cx, self.fold, self.finish, x.clone(), &is_normed)?;
            let y: Result<Tensor, OpError> = for_real!(x.dtype(), T => {
                binary::<T>(cx, x, norm, 0.5, |x, norm, y| zip(x, norm, y, |x, n| if n == 0.0 { 0.0 } else { x / n }))
            });
            Ok(y?.into())
        })
    }
}

impl Define for MeanVarianceNormalization {
    const SCHEMA: Schema = Schema::new("MeanVarianceNormalization", 13)
        .inputs(&[arg("X", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&[ints("axes", &[0, 2, 3])]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(MeanVarianceNormalization { axes: node.ints("axes")?.to_vec() })
    }
}

impl MeanVarianceNormalization {
    /// For each axis, whether elements along it share their statistics.
    fn mask(&self, rank: usize) -> Result<Vec<bool>, InferError> {
        if self.axes.is_empty() { Ok(vec![true; rank]) } else { axes_mask(&self.axes, rank) }
    }
}

impl Op for MeanVarianceNormalization {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let Some(rank) = x.rank(0) {
            self.mask(rank)?;
        }
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, mut inputs| {
            let x = inputs.take_tensor(0)?;
            let is_shared = self.mask(x.rank())?;
            let y: Result<Tensor, OpError> = for_real!(x.dtype(), T => {
                let mean = reduce(cx, Fold::Sum, Finish::Mean, x.clone(), &is_shared)?;
                let centred = binary::<T>(cx, x, mean, 0.3, |x, mean, y| zip(x, mean, y, |x, mean| x - mean))?;
                let variance = reduce(cx, Fold::SumSquare, Finish::Mean, centred.clone(), &is_shared)?;
                binary::<T>(cx, centred, variance, 1.0, |x, variance, y| {
                    zip(x, variance, y, |x, variance| x / (variance.sqrt() + T::from(EPSILON)));
                })
            });
            Ok(y?.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::f16;

    #[test]
    fn rows_and_columns_have_norm_one_and_zeros_stay() {
        let x = tensor(&[2, 2], &[3f32, 4., 0., 0.]);
        let run = |axis: i64, p: i64| {
            let attributes = Attributes::new().with("axis", axis).with("p", p);
            eval("LpNormalization", attributes, std::slice::from_ref(&x))
        };
        assert_eq!(run(-1, 2).unwrap(), tensor(&[2, 2], &[0.6f32, 0.8, 0., 0.]));
        assert_eq!(run(1, 1).unwrap(), tensor(&[2, 2], &[3f32 / 7., 4. / 7., 0., 0.]));
        assert_eq!(run(0, 2).unwrap(), tensor(&[2, 2], &[1f32, 1., 0., 0.]));
        assert!(run(0, 3).is_err() && run(2, 2).is_err());
        let halves = tensor(&[2], &[f16::from_f32(300.), f16::from_f32(400.)]);
        let y = eval("LpNormalization", Attributes::new(), &[halves]).unwrap();
        assert_eq!(y, tensor(&[2], &[f16::from_f32(0.6), f16::from_f32(0.8)]));
    }

    #[test]
    fn each_channel_has_mean_zero_and_deviation_one() {
        let x = tensor(&[2, 2, 1, 1], &[1f64, 10., 3., 10.]);
        let y = eval("MeanVarianceNormalization", Attributes::new(), &[x]).unwrap();
        let expected = [-1.0, 0.0, 1.0, 0.0];
        for (y, expected) in y.as_slice::<f64>().unwrap().iter().zip(expected) {
            approx::assert_abs_diff_eq!(*y, expected, epsilon = 1e-8);
        }
        let rows = Attributes::new().with("axes", vec![-1i64]);
        let y = eval("MeanVarianceNormalization", rows, &[tensor(&[1, 2], &[5f32, 7.])]).unwrap();
        assert_eq!(y, tensor(&[1, 2], &[-1f32, 1.]));
        let wrong = Attributes::new().with("axes", vec![4i64]);
        assert!(eval("MeanVarianceNormalization", wrong, &[tensor(&[1], &[5f32])]).is_err());
    }
}
