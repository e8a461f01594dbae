//! `LRN`: y = x / (bias + alpha / size · Σ x²)^beta, the sum over `size` neighbouring channels at the same place.
//!
//! Opsets: 1; 13 adds bfloat16.

use crate::Define;
use crate::batch_normalization::channel_extents;
use crate::half::{for_real, widened};
use crate::parallel;
use num_traits::Float;
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, float, required,
};
use planish_tensor::{Element, Tensor};
use std::ops::Range;

/// `LRN`.
#[derive(Debug)]
pub struct Lrn {
    size: usize,
    alpha: f32,
    beta: f32,
    bias: f32,
}

impl Define for Lrn {
    const SCHEMA: Schema =
        Schema::new("LRN", 13).inputs(&[arg("X", FLOATS).var("T")]).outputs(&[arg("Y", FLOATS).var("T")]).attributes(
            &[float("alpha", 1e-4), float("beta", 0.75), float("bias", 1.0), required("size", AttributeKind::Int)],
        );

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let size = node.int("size")?;
        let size = u32::try_from(size).ok().filter(|&size| size > 0).ok_or_else(|| {
            AttributeError::invalid(format!("attribute \"size\": expected a positive number, got {size}"))
        })?;
        Ok(Lrn {
            size: size as usize,
            alpha: node.float("alpha")?,
            beta: node.float("beta")?,
            bias: node.float("bias")?,
        })
    }
}

impl Op for Lrn {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if x.rank(0).is_some_and(|rank| rank < 2) {
            return Err(InferError::new("expected an input of rank 2 or more"));
        }
        Ok(vec![x.get(0).map(|f| Fact::of_type(f.ty.clone())).unwrap_or_default()])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| {
            let x = inputs.tensor(0)?;
            for_real!(x.dtype(), T => Ok(self.normalize::<T>(cx, x)?.into()))
        })
    }
}

impl Lrn {
    /// The neighbours of a channel, itself among them.
    fn neighbours(&self, channel: usize, channels: usize) -> Range<usize> {
        let (before, after) = ((self.size - 1) / 2, self.size / 2);
        channel.saturating_sub(before)..channels.min(channel + after + 1)
    }

    fn normalize<T: Element + Float>(&self, cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let (_, channels, plane) = channel_extents(x.shape());
        let values = x.as_slice::<T>()?;
        let mut y = cx.uninit::<T>(x.shape().clone())?;
        let number = |v: f64| T::from(v).unwrap_or_else(T::nan);
        let (alpha, beta, bias) =
            (number(f64::from(self.alpha) / self.size as f64), number(self.beta.into()), number(self.bias.into()));
        let ns_per_element = self.size.min(channels) as f64 + 20.0;
        parallel::fill_units(cx, &mut y, plane.max(1), ns_per_element, |start, piece| {
            for (i, y) in (start / plane..).zip(piece.chunks_exact_mut(plane)) {
                let (image, channel) = (i / channels, i % channels);
                y.fill(T::zero());
                for neighbour in self.neighbours(channel, channels) {
                    let x = &values[(image * channels + neighbour) * plane..][..plane];
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y = *y + x * x);
                }
                let x = &values[i * plane..][..plane];
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = x / (bias + alpha * *y).powf(beta));
            }
        })?;
        Ok(y.freeze())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn neighbouring_channels_divide() {
        let attributes = |size: i64| {
            Attributes::new().with("size", size).with("alpha", size as f32).with("beta", 1f32).with("bias", 0f32)
        };
        let x = tensor(&[1, 3, 1], &[1f64, 2., 3.]);
        let y = eval("LRN", attributes(3), std::slice::from_ref(&x)).unwrap();
        assert_eq!(y, tensor(&[1, 3, 1], &[1. / 5., 2. / 14., 3. / 13.]));
        let y = eval("LRN", attributes(2), &[x]).unwrap();
        assert_eq!(y, tensor(&[1, 3, 1], &[1. / 5., 2. / 13., 3. / 9.]));
    }
}
