//! `Softmax`, `LogSoftmax`: exp(x) / Σ exp(x) along one axis, and its logarithm.
//!
//! Opsets: 1 and 11 flatten the input to two axes at `axis` (default 1); 13 works along one axis (default −1). The
//! importer writes the older form as a Reshape around the newer one.

use crate::Define;
use planish_ir::{
    AttributeError, Axis, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, arg,
    int,
};
use planish_tensor::{DType, Element, Tensor, bf16, f16};
use std::marker::PhantomData;

/// `Softmax`.
pub type Softmax = AlongAxis<Plain>;
/// `LogSoftmax`.
pub type LogSoftmax = AlongAxis<Log>;

/// A softmax of one kind along one axis.
#[derive(Debug)]
pub struct AlongAxis<K> {
    axis: Axis,
    kind: PhantomData<K>,
}

/// Softmax itself or its logarithm.
pub trait Kind: std::fmt::Debug + Send + Sync + 'static {
    /// The operator's name.
    const NAME: &'static str;
    /// The result from x − max, its exponential and the sum of exponentials.
    fn finish(shifted: f64, exp: f64, sum: f64) -> f64;
}

/// Softmax.
#[derive(Debug)]
pub struct Plain;

/// LogSoftmax.
#[derive(Debug)]
pub struct Log;

impl Kind for Plain {
    const NAME: &'static str = "Softmax";
    fn finish(_shifted: f64, exp: f64, sum: f64) -> f64 {
        exp / sum
    }
}

impl Kind for Log {
    const NAME: &'static str = "LogSoftmax";
    fn finish(shifted: f64, _exp: f64, sum: f64) -> f64 {
        shifted - sum.ln()
    }
}

impl<K: Kind> Define for AlongAxis<K> {
    const SCHEMA: Schema = Schema::new(K::NAME, 13)
        .inputs(&[arg("input", FLOATS).var("T")])
        .outputs(&[arg("output", FLOATS).var("T")])
        .attributes(&[int("axis", -1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(AlongAxis { axis: Axis::new(node.int("axis")?), kind: PhantomData })
    }
}

impl<K: Kind> Op for AlongAxis<K> {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let Some(rank) = x.rank(0) {
            self.axis.resolve(rank)?;
        }
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let axis = self.axis.resolve(x.rank())?;
        Ok(match x.dtype() {
            DType::F32 => softmax::<f32, K>(cx, x, axis, f64::from, |v| v as f32)?,
            DType::F64 => softmax::<f64, K>(cx, x, axis, |v| v, |v| v)?,
            DType::F16 => softmax::<f16, K>(cx, x, axis, f64::from, f16::from_f64)?,
            DType::BF16 => softmax::<bf16, K>(cx, x, axis, f64::from, bf16::from_f64)?,
            other => return Err(OpError::unsupported(format!("dtype {other}"))),
        }
        .into())
    }
}

/// The definition, in f64.
fn softmax<T: Element, K: Kind>(
    cx: &EvalCx<'_>,
    x: &Tensor,
    axis: usize,
    widen: fn(T) -> f64,
    narrow: fn(f64) -> T,
) -> Result<Tensor, OpError> {
    let source = x.as_slice::<T>()?;
    let mut y = cx.uninit::<T>(x.shape().clone())?;
    let (outer, _) = x.shape().split_at(axis);
    let length = x.shape()[axis];
    let (_, inner) = x.shape().split_at(axis + 1);
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        let at = |k: usize| (o * length + k) * inner + i;
        let max = (0..length).map(|k| widen(source[at(k)])).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = (0..length).map(|k| (widen(source[at(k)]) - max).exp()).sum();
        for k in 0..length {
            let shifted = widen(source[at(k)]) - max;
            y[at(k)] = narrow(K::finish(shifted, shifted.exp(), sum));
        }
    }
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn rows_sum_to_one() {
        let x = tensor(&[2, 3], &[1f32, 2., 3., 1000., 1000., 1000.]);
        let y = eval("Softmax", Attributes::new(), &[x.clone()]).unwrap();
        let y = y.as_slice::<f32>().unwrap();
        approx::assert_relative_eq!(y[..3].iter().sum::<f32>(), 1.0);
        assert_eq!(y[3..], [1.0 / 3.0; 3]);
        let log = eval("LogSoftmax", Attributes::new().with("axis", 0i64), &[x]).unwrap();
        assert_eq!(log.as_slice::<f32>().unwrap()[3], 0.0);
    }

    #[test]
    fn an_axis_out_of_range_is_refused() {
        assert!(eval("Softmax", Attributes::new().with("axis", 2i64), &[tensor(&[2, 1], &[0f32; 2])]).is_err());
    }
}
