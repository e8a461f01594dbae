//! `BatchNormalization`: y = (x − mean) / √(variance + epsilon) · scale + bias, with statistics per channel: given ones, or in
//! training mode those of the batch, which then also move the running statistics.
//!
//! Opsets: 1; 6 and 7 drop `consumed_inputs` and `is_test`; 9 drops `spatial`; 14 adds `training_mode`; 15 separates the types
//! of scale and statistics.

use crate::Define;
use crate::dtypes::{Number, for_float};
use crate::half::{for_real, widened};
use crate::rowwise::{map_units, operand};
use num_traits::Float;
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, arg,
    float, int, opt,
};
use planish_kernels::norm::channel_affine;
use planish_tensor::{DType, Element, Shape, Tensor, Value};

/// `BatchNormalization`.
#[derive(Debug)]
pub struct BatchNormalization {
    epsilon: f64,
    momentum: f64,
    is_training: bool,
}

impl Define for BatchNormalization {
    const SCHEMA: Schema = Schema::new("BatchNormalization", 15)
        .inputs(&[
            arg("X", FLOATS).var("T"),
            arg("scale", FLOATS).var("T1"),
            arg("B", FLOATS).var("T1"),
            arg("input_mean", FLOATS).var("T2"),
            arg("input_var", FLOATS).var("T2"),
        ])
        .outputs(&[
            arg("Y", FLOATS).var("T"),
            opt("running_mean", FLOATS).var("T2"),
            opt("running_var", FLOATS).var("T2"),
        ])
        .attributes(&[float("epsilon", 1e-5), float("momentum", 0.9), int("training_mode", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let is_training = node.flag("training_mode")?;
        if !is_training && node.num_outputs > 1 {
            return Err(AttributeError::invalid("running statistics are outputs of training mode only"));
        }
        Ok(BatchNormalization {
            epsilon: f64::from(node.float("epsilon")?),
            momentum: f64::from(node.float("momentum")?),
            is_training,
        })
    }
}

/// Images, channels and elements of one channel. A rank-1 tensor has a single channel.
pub fn channel_extents(x: &Shape) -> (usize, usize, usize) {
    match x.dims() {
        [] => (1, 1, 1),
        &[images] => (images, 1, 1),
        &[images, channels, ref plane @ ..] => (images, channels, plane.iter().product()),
    }
}

/// An error if input `index` is not a vector of one element for each of `channels`.
pub fn check_per_channel(x: &Facts<'_>, index: usize, channels: &Dim) -> Result<(), InferError> {
    match x.shape(index) {
        Some([length]) if !Dim::provably_different(length, channels) => Ok(()),
        None => Ok(()),
        Some(shape) => Err(InferError(format!(
            "input {index}: expected one element for each of {channels} channels, got {shape:?}"
        ))),
    }
}

impl Op for BatchNormalization {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let channels = match x.shape(0) {
            Some([_, channels, ..]) => channels.clone(),
            Some(_) => Dim::known(1),
            None => x.shape(1).and_then(<[Dim]>::first).cloned().unwrap_or_else(Dim::unknown),
        };
        (1..5).try_for_each(|index| check_per_channel(x, index, &channels))?;
        let statistics = || Fact::shaped(x.dtype(3).or(x.dtype(4)), vec![channels.clone()]);
        let mut facts =
            vec![x.get(0).map(|f| Fact::of_type(f.ty.clone())).unwrap_or_default(), statistics(), statistics()];
        facts.truncate(x.num_outputs());
        Ok(facts)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let targets = [inputs.tensor(0)?.dtype(), inputs.tensor(3)?.dtype(), inputs.tensor(3)?.dtype()];
        let (_, channels, _) = channel_extents(inputs.tensor(0)?.shape());
        let vectors = [1, 2, 3, 4].map(|index| per_channel(inputs.tensor(index)?, channels));
        let [scale, bias, mean, variance] = vectors;
        let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
        widened(cx, inputs, &targets, |cx, mut inputs| {
            let x = inputs.take_tensor(0)?;
            if !self.is_training {
                return Ok(self.normalize(cx, x, &scale, &bias, &mean, &variance)?.into());
            }
            let (batch_mean, batch_variance) = for_real!(x.dtype(), T => statistics::<T>(cx, &x))?;
            let y = self.normalize(cx, x, &scale, &bias, &batch_mean, &batch_variance)?;
            let moved = |old: &[f64], now: &[f64]| -> Vec<f64> {
                old.iter().zip(now).map(|(old, now)| old * self.momentum + now * (1.0 - self.momentum)).collect()
            };
            let running = [moved(&mean, &batch_mean), moved(&variance, &batch_variance)];
            let running = running.map(|values| vector(cx, targets[1], &values).map(|t| Some(Value::Tensor(t))));
            let [running_mean, running_variance] = running;
            Ok(Outputs::new([Some(Value::Tensor(y)), running_mean?, running_variance?]))
        })
    }
}

/// The elements of a parameter, one for each channel.
fn per_channel(parameter: &Tensor, channels: usize) -> Result<Vec<f64>, OpError> {
    if parameter.shape().dims() != [channels] {
        let shape = parameter.shape();
        return Err(OpError::invalid(format!(
            "expected one element for each of {channels} channels, got shape {shape}"
        )));
    }
    for_float!(parameter.dtype(), T => Ok(parameter.as_slice::<T>()?.iter().map(|v| v.to_f64()).collect()))
}

/// A vector of any float dtype.
fn vector(cx: &EvalCx<'_>, dtype: DType, values: &[f64]) -> Result<Tensor, OpError> {
    let shape = Shape::new(&[values.len()])?;
    for_float!(dtype, T => {
        let mut y = cx.uninit::<T>(shape)?;
        y.iter_mut().zip(values).for_each(|(y, &v)| *y = T::from_f64(v));
        Ok(y.freeze())
    })
}

/// Mean and variance of each channel over the batch.
fn statistics<T: Element + Float>(cx: &EvalCx<'_>, x: &Tensor) -> Result<(Vec<f64>, Vec<f64>), OpError> {
    let (images, channels, plane) = channel_extents(x.shape());
    let values = x.as_slice::<T>()?;
    let count = (images * plane) as f64;
    let wide = |v: &T| v.to_f64().unwrap_or(f64::NAN);
    let (mut means, mut variances) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
    for channel in 0..channels {
        cx.check()?;
        let planes = || (0..images).flat_map(|image| &values[(image * channels + channel) * plane..][..plane]);
        let mean = planes().map(wide).sum::<f64>() / count;
        means.push(mean);
        variances.push(planes().map(|v| (wide(v) - mean).powi(2)).sum::<f64>() / count);
    }
    Ok((means, variances))
}

impl BatchNormalization {
    fn normalize(
        &self,
        cx: &EvalCx<'_>,
        x: Tensor,
        scale: &[f64],
        bias: &[f64],
        mean: &[f64],
        variance: &[f64],
    ) -> Result<Tensor, OpError> {
        let factor: Vec<f64> = scale.iter().zip(variance).map(|(s, v)| s / (v + self.epsilon).sqrt()).collect();
        let shift: Vec<f64> = bias.iter().zip(mean).zip(&factor).map(|((b, m), f)| b - m * f).collect();
        let (_, channels, plane) = channel_extents(x.shape());
        if x.dtype() == DType::F64 {
            return map_units(cx, x, plane, 1.0, |start, x: Option<&[f64]>, y| {
                if let Some(x) = x {
                    y.copy_from_slice(x);
                }
                for (i, y) in (start / plane..).zip(y.chunks_exact_mut(plane)) {
                    let (factor, shift) = (factor[i % channels], shift[i % channels]);
                    y.iter_mut().for_each(|y| *y = *y * factor + shift);
                }
            });
        }
        let narrow = |v: &[f64]| -> Vec<f32> { v.iter().map(|&v| v as f32).collect() };
        let (factor, shift) = (narrow(&factor), narrow(&shift));
        map_units(cx, x, channels * plane, 0.3, |_, x, y| channel_affine(operand(x), y, plane, &factor, &shift))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use planish_ir::Attributes;
    use planish_tensor::Tensor;

    fn inputs() -> [Tensor; 5] {
        [
            tensor(&[2, 2, 2], &[1f32, 3., 2., 2., 5., 7., 0., 4.]),
            tensor(&[2], &[2f32, 1.]),
            tensor(&[2], &[0f32, 10.]),
            tensor(&[2], &[1f32, 2.]),
            tensor(&[2], &[4f32, 1.]),
        ]
    }

    #[test]
    fn given_statistics_normalise() {
        let attributes = Attributes::new().with("epsilon", 0f32);
        let y = eval("BatchNormalization", attributes.clone(), &inputs()).unwrap();
        assert_eq!(y, tensor(&[2, 2, 2], &[0f32, 2., 10., 10., 4., 6., 8., 12.]));
        let doubles = inputs().map(|t| {
            let data: Vec<f64> = t.as_slice::<f32>().unwrap().iter().map(|&v| f64::from(v)).collect();
            tensor(t.shape(), &data)
        });
        let y = eval("BatchNormalization", attributes, &doubles).unwrap();
        assert_eq!(y, tensor(&[2, 2, 2], &[0f64, 2., 10., 10., 4., 6., 8., 12.]));
    }

    #[test]
    fn training_takes_the_statistics_of_the_batch() {
        let attributes = Attributes::new().with("epsilon", 0f32).with("momentum", 0.5f32).with("training_mode", 1);
        let outputs = eval_all("", "BatchNormalization", attributes, &inputs().map(Some), 3).unwrap();
        assert_eq!(outputs[1], tensor(&[2], &[2.5f32, 2.0]));
        assert_eq!(outputs[2], tensor(&[2], &[4.5f32, 1.5]));
        let y = outputs[0].as_slice::<f32>().unwrap();
        approx::assert_relative_eq!(y[0], -2.0 * 3.0 / 5f32.sqrt(), max_relative = 1e-6);
        approx::assert_relative_eq!(y[7], 10.0 + 2.0 / 2f32.sqrt(), max_relative = 1e-6);
    }

    #[test]
    fn parameters_of_another_length_are_refused() {
        let mut inputs = inputs();
        inputs[1] = tensor(&[3], &[1f32; 3]);
        assert!(eval("BatchNormalization", Attributes::new(), &inputs).is_err());
    }
}
