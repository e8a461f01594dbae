//! `Softmax`, `LogSoftmax`: exp(x) / Σ exp(x) along one axis, and its logarithm.
//!
//! Opsets: 1 and 11 flatten the input to two axes at `axis` (default 1); 13 works along one axis (default −1). The
//! importer writes the older form as a Reshape around the newer one. A softmax of 16-bit floats rounds after each step, as the
//! standard's function body has it.

use crate::Define;
use crate::half::{rounding, widened};
use crate::rowwise::{map_rows, map_units, operand};
use planish_ir::{
    AttributeError, Axis, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, arg,
    int,
};
use planish_kernels::rounding::Rounding;
use planish_kernels::simd::Operand;
use planish_kernels::softmax::{log_softmax, softmax, softmax_rounded};
use planish_tensor::{DType, Tensor};
use std::marker::PhantomData;

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 1.0;

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
    /// The kernel over rows of a 16-bit float that rounds each step, where there is one.
    const ROUNDED: Option<fn(&mut [f32], Rounding)> = None;
    /// The kernel over whole rows of `f32`.
    fn kernel(x: Operand<'_>, y: &mut [f32], row: usize);
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
    const ROUNDED: Option<fn(&mut [f32], Rounding)> = Some(softmax_rounded);
    fn kernel(x: Operand<'_>, y: &mut [f32], row: usize) {
        softmax(x, y, row);
    }
}

impl Kind for Log {
    const NAME: &'static str = "LogSoftmax";
    fn finish(shifted: f64, _exp: f64, sum: f64) -> f64 {
        shifted - sum.ln()
    }
    fn kernel(x: Operand<'_>, y: &mut [f32], row: usize) {
        log_softmax(x, y, row);
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
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, mut inputs| {
            let x = inputs.take_tensor(0)?;
            let axis = self.axis.resolve(x.rank())?;
            let length = x.shape()[axis];
            if let (Some(rounding), Some(kernel)) = (rounding(dtype), K::ROUNDED) {
                let rows = |rows: &mut [f32]| rows.chunks_exact_mut(length).for_each(|row| kernel(row, rounding));
                return Ok(map_rows(cx, x, axis, 10.0, rows)?.into());
            }
            Ok(match x.dtype() {
                DType::F32 if axis + 1 == x.rank() => {
                    map_units(cx, x, length, NS_PER_ELEMENT, |_, x, y| K::kernel(operand(x), y, length))?
                }
                DType::F32 => map_rows(cx, x, axis, NS_PER_ELEMENT, |rows| K::kernel(Operand::Output, rows, length))?,
                _ => map_rows::<f64>(cx, x, axis, 10.0, |rows| rows.chunks_exact_mut(length).for_each(define::<K>))?,
            }
            .into())
        })
    }
}

/// The softmax along the last axis, in `float` or `double`.
pub fn softmax_of_rows(cx: &EvalCx<'_>, x: Tensor) -> Result<Tensor, OpError> {
    let length = x.shape().last().copied().unwrap_or(1);
    match x.dtype() {
        DType::F32 => map_units(cx, x, length, NS_PER_ELEMENT, |_, x, y| softmax(operand(x), y, length)),
        _ => map_units::<f64>(cx, x, length, 10.0, |_, x, y| {
            if let Some(x) = x {
                y.copy_from_slice(x);
            }
            y.chunks_exact_mut(length).for_each(define::<Plain>);
        }),
    }
}

/// The definition.
fn define<K: Kind>(row: &mut [f64]) {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|v| (v - max).exp()).sum();
    for v in row {
        let shifted = *v - max;
        *v = K::finish(shifted, shifted.exp(), sum);
    }
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
