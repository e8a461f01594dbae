//! `QLinearAveragePool`, `QLinearGlobalAveragePool`: means of quantized tensors, quantized. Channels come second: the importer
//! moves them there.
//!
//! ```text
//! Y = saturate(round(mean((X − x_zero)·x_scale)/y_scale + y_zero))             over each window
//! Y = saturate(round(Σ (X − x_zero)·(x_scale/(y_scale·size))) + y_zero)        over all of a channel
//! ```

use super::DOMAIN;
use crate::Define;
use crate::dtypes::for_dtypes;
use crate::elementwise::map_to;
use crate::global_pool::pooled_to_one;
use crate::parallel;
use crate::pool::AveragePool;
use crate::quantized::integers::{Quantum, round_to};
use crate::quantized::product::BYTES;
use planish_ir::{
    AttributeDef, AttributeError, AttributeKind, EvalCx, FLOAT, Fact, Facts, Formal, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, arg, int, opt, optional, required, string,
};
use planish_tensor::{Shape, Tensor};

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.5;

const INPUTS: &[Formal] = &[
    arg("X", BYTES).var("T"),
    arg("x_scale", FLOAT),
    opt("x_zero_point", BYTES).var("T"),
    arg("y_scale", FLOAT),
    opt("y_zero_point", BYTES).var("T"),
];

/// The attributes of `AveragePool`.
const ATTRIBUTES: &[AttributeDef] = &[
    string("auto_pad", "NOTSET"),
    int("ceil_mode", 0),
    int("count_include_pad", 0),
    optional("dilations", AttributeKind::Ints),
    required("kernel_shape", AttributeKind::Ints),
    optional("pads", AttributeKind::Ints),
    optional("strides", AttributeKind::Ints),
];

/// Scales and zero points of X and Y.
struct Quantization {
    x_scale: f32,
    x_zero: f32,
    y_scale: f32,
    y_zero: f32,
}

impl Quantization {
    fn new<Q: Quantum>(inputs: &Inputs) -> Result<Quantization, OpError> {
        let zero = |index: usize| match inputs.has(index) {
            true => inputs.scalar::<Q>(index).map(|zero| zero.as_()),
            false => Ok(0.0),
        };
        Ok(Quantization { x_scale: inputs.scalar(1)?, x_zero: zero(2)?, y_scale: inputs.scalar(3)?, y_zero: zero(4)? })
    }
}

/// `QLinearAveragePool`.
#[derive(Debug)]
pub struct QLinearAveragePool {
    pool: AveragePool,
}

impl Define for QLinearAveragePool {
    const SCHEMA: Schema = Schema::new("QLinearAveragePool", 1)
        .domain(DOMAIN)
        .inputs(INPUTS)
        .outputs(&[arg("Y", BYTES).var("T")])
        .attributes(ATTRIBUTES);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(QLinearAveragePool { pool: AveragePool::parse(node)? })
    }
}

impl Op for QLinearAveragePool {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.pool.infer(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        Ok(for_dtypes!(dtype, Q => self.pool::<Q>(cx, &inputs), [U8 = u8, I8 = i8])?.into())
    }
}

impl QLinearAveragePool {
    fn pool<Q: Quantum>(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
        let Quantization { x_scale, x_zero, y_scale, y_zero } = Quantization::new::<Q>(inputs)?;
        let numbers = map_to(cx, inputs.tensor(0)?, NS_PER_ELEMENT, |x: Q| (x.as_() - x_zero) * x_scale)?;
        let means = self.pool.average::<f32>(cx, &numbers)?;
        map_to(cx, &means, NS_PER_ELEMENT, |mean: f32| round_to::<Q>(mean / y_scale + y_zero, 0.0, Q::RANGE))
    }
}

/// `QLinearGlobalAveragePool`.
#[derive(Debug)]
pub struct QLinearGlobalAveragePool;

impl Define for QLinearGlobalAveragePool {
    const SCHEMA: Schema =
        Schema::new("QLinearGlobalAveragePool", 1).domain(DOMAIN).inputs(INPUTS).outputs(&[arg("Y", BYTES).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(QLinearGlobalAveragePool)
    }
}

impl Op for QLinearGlobalAveragePool {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        pooled_to_one(x)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        Ok(for_dtypes!(dtype, Q => pool_channels::<Q>(cx, &inputs), [U8 = u8, I8 = i8])?.into())
    }
}

fn pool_channels<Q: Quantum + Into<i32>>(cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
    let Quantization { x_scale, x_zero, y_scale, y_zero } = Quantization::new::<Q>(inputs)?;
    let x = inputs.tensor(0)?;
    if x.rank() < 3 {
        return Err(OpError::invalid(format!("expected an input of rank 3 or more, got shape {}", x.shape())));
    }
    let size = x.shape().split_at(2).1;
    let dims: Vec<usize> = x.shape().iter().enumerate().map(|(axis, &n)| if axis < 2 { n } else { 1 }).collect();
    let mut y = cx.uninit::<Q>(Shape::new(&dims)?)?;
    let values = x.as_slice::<Q>()?;
    let factor = x_scale / (y_scale * size as f32);
    parallel::fill(cx, &mut y, NS_PER_ELEMENT * size as f64, |start, piece| {
        for (channel, y) in (start..).zip(piece) {
            let codes = &values[channel * size..][..size];
            let sum: i64 = codes.iter().map(|&code| i64::from(code.into())).sum();
            let sum = sum - x_zero as i64 * size as i64;
            *y = round_to(sum as f32 * factor, y_zero, Q::RANGE);
        }
    })?;
    Ok(y.freeze())
}
