//! `QuantizeLinear`: y = saturate(round(x / y_scale) + y_zero_point), ties to even.
//!
//! Opsets: 10; 13 adds `axis`; 19 adds 8-bit floats and `saturate`; 21 adds blocks, 4-bit and 16-bit types, `output_dtype`;
//! 23 adds `precision`; 24, 25, 28 add dtypes.

use super::granularity::{Granularity, Spread, is_of_scale};
use super::integers::{as_floats, range, round_to};
use crate::Define;
use crate::broadcast::{Operand, Walk};
use crate::cast::{Rounding, cast};
use crate::dtypes::for_dtypes;
use crate::parallel;
use planish_ir::{
    AttributeError, EvalCx, FLOAT8, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, Type,
    Types, arg, int, opt,
};
use planish_kernels::int8::{self as kernel, Code};
use planish_tensor::{DType, Element, Tensor, bf16, f16};

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.5;

/// What is quantized.
const REAL: Types = Types::of(&[DType::F32, DType::F16, DType::BF16, DType::I32]);

/// What scales may be.
const SCALE: Types = REAL.or(Types::of(&[DType::F8E8M0]));

/// What quantized tensors are made of.
pub const QUANTIZED: Types = FLOAT8.or(Types::of(&[
    DType::I8,
    DType::U8,
    DType::I16,
    DType::U16,
    DType::U4,
    DType::I4,
    DType::F4E2M1,
    DType::U2,
    DType::I2,
    DType::F6E2M3,
    DType::F6E3M2,
]));

/// `QuantizeLinear`.
#[derive(Debug)]
pub struct QuantizeLinear {
    granularity: Granularity,
    output: Option<DType>,
    precision: Option<DType>,
    saturate: bool,
}

impl Define for QuantizeLinear {
    const SCHEMA: Schema = Schema::new("QuantizeLinear", 28)
        .inputs(&[arg("x", REAL).var("T1"), arg("y_scale", SCALE).var("T2"), opt("y_zero_point", QUANTIZED).var("T3")])
        .outputs(&[arg("y", QUANTIZED).var("T3")])
        .attributes(&[
            int("axis", 1),
            int("block_size", 0),
            int("output_dtype", 0),
            int("precision", 0),
            int("saturate", 1),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let output = node.opt_dtype("output_dtype")?;
        if let Some(dtype) = output.filter(|&d| !QUANTIZED.contains(d)) {
            return Err(AttributeError::invalid(format!(
                "attribute \"output_dtype\": {dtype} is not a quantized type"
            )));
        }
        let precision = node.opt_dtype("precision")?;
        if let Some(dtype) = precision.filter(|d| ![DType::F32, DType::F16, DType::BF16].contains(d)) {
            return Err(AttributeError::invalid(format!(
                "attribute \"precision\": {dtype} is not a float of 16 or 32 bits"
            )));
        }
        let saturate = node.flag("saturate")?;
        Ok(QuantizeLinear { granularity: Granularity::parse(node)?, output, precision, saturate })
    }
}

impl QuantizeLinear {
    /// To the zero point's dtype, with one scale for each index along `axis`, or one for all.
    pub fn along(axis: i64) -> QuantizeLinear {
        QuantizeLinear { granularity: Granularity::along(axis), output: None, precision: None, saturate: true }
    }

    fn output_dtype(&self, zero_point: Option<DType>) -> Result<DType, InferError> {
        match (zero_point, self.output) {
            (Some(zero), Some(output)) if zero != output => {
                Err(InferError(format!("expected a zero point of {output}, as output_dtype says, got {zero}")))
            }
            (zero, output) => Ok(zero.or(output).unwrap_or(DType::U8)),
        }
    }
}

impl Op for QuantizeLinear {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let (Some(x), Some(scale)) = (x.shape(0), x.shape(1)) {
            self.granularity.check(x, scale)?;
        }
        let dtype = if x.has(2) && x.dtype(2).is_none() { None } else { Some(self.output_dtype(x.dtype(2))?) };
        let shape = x.shape(0).map(<[_]>::to_vec);
        Ok(vec![Fact::of_type(Type::Tensor { dtype, shape })])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, scale, zero) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.opt_tensor(2)?);
        let dtype = self.output_dtype(zero.map(Tensor::dtype))?;
        let precision = self.precision.unwrap_or(scale.dtype());
        let spread = self.granularity.spread(x.shape(), scale.shape())?;
        if let (DType::F32, DType::F32, 1) = (x.dtype(), precision, scale.num_elements())
            && zero.is_none_or(|zero| zero.num_elements() == 1)
            && matches!(dtype, DType::U8 | DType::I8)
        {
            let scale = as_floats(cx, scale)?.as_slice::<f32>()?[0];
            return for_dtypes!(dtype, Q => uniform::<Q>(cx, x, scale, zero), [U8 = u8, I8 = i8]).map(Outputs::from);
        }
        let zero = match zero {
            Some(zero) if !is_of_scale(zero.shape(), scale.shape()) => {
                let (zero, scale) = (zero.shape(), scale.shape());
                return Err(OpError::invalid(format!("the scale is of shape {scale}, the zero point of shape {zero}")));
            }
            Some(zero) => as_floats(cx, zero)?.reshaped(scale.shape().clone())?,
            None => cx.zeros::<f32>(scale.shape().clone())?.freeze(),
        };
        let quantization = Quantization {
            scale: spread.stretched::<f32>(cx, as_floats(cx, scale)?)?,
            zero: spread.stretched::<f32>(cx, zero)?,
            spread,
            saturate: self.saturate,
        };
        let x = as_floats(cx, x)?;
        Ok(match precision {
            DType::F16 => {
                let narrow = |v| f16::from_f32(v).to_f32();
                quantization.quantize(cx, &x, dtype, move |x, scale| narrow(narrow(x) / narrow(scale)))?
            }
            DType::BF16 => {
                let narrow = |v| bf16::from_f32(v).to_f32();
                quantization.quantize(cx, &x, dtype, move |x, scale| narrow(narrow(x) / narrow(scale)))?
            }
            _ => quantization.quantize(cx, &x, dtype, |x, scale| x / scale)?,
        }
        .into())
    }
}

/// The codes of `float` elements with one scale and zero point for all.
fn uniform<Q: Element + Code + Default>(
    cx: &EvalCx<'_>,
    x: &Tensor,
    scale: f32,
    zero: Option<&Tensor>,
) -> Result<Tensor, OpError> {
    let zero = zero.map_or(Ok(Q::default()), |zero| zero.as_slice::<Q>().map(|zero| zero[0]))?;
    let values = x.as_slice::<f32>()?;
    let mut y = cx.uninit::<Q>(x.shape().clone())?;
    parallel::fill(cx, &mut y, NS_PER_ELEMENT, |start, y| {
        kernel::quantize(&values[start..start + y.len()], scale, zero, y);
    })?;
    Ok(y.freeze())
}

/// Scales and zero points, spread over a tensor.
struct Quantization {
    spread: Spread,
    scale: Tensor,
    zero: Tensor,
    saturate: bool,
}

impl Quantization {
    /// The codes of `x`.
    fn quantize(
        &self,
        cx: &EvalCx<'_>,
        x: &Tensor,
        dtype: DType,
        quotient: impl Fn(f32, f32) -> f32 + Sync,
    ) -> Result<Tensor, OpError> {
        match range(dtype) {
            Some(range) if dtype.is_packed() => {
                let codes = self.fill(cx, x, |x, scale, zero| round_to::<u8>(quotient(x, scale), zero, range))?;
                Ok(Tensor::from_codes(&cx.memory, dtype, x.shape().clone(), codes.as_slice()?)?)
            }
            Some(range) => for_dtypes!(dtype, Q => {
                self.fill(cx, x, |x, scale, zero| round_to::<Q>(quotient(x, scale), zero, range))
            }, [U8 = u8, I8 = i8, U16 = u16, I16 = i16]),
            None => {
                let shifted = self.fill(cx, x, |x, scale, zero| quotient(x, scale) + zero)?;
                cast(cx, shifted, dtype, Rounding::new(self.saturate))
            }
        }
    }

    /// The elements of `code(x, scale, zero point)`.
    fn fill<Q: Element>(
        &self,
        cx: &EvalCx<'_>,
        x: &Tensor,
        code: impl Fn(f32, f32, f32) -> Q + Sync,
    ) -> Result<Tensor, OpError> {
        let walk = Walk::new([&self.spread.x, &self.spread.scale])?;
        let (values, scale, zero) = (x.as_slice::<f32>()?, self.scale.as_slice::<f32>()?, self.zero.as_slice::<f32>()?);
        let mut y = cx.uninit::<Q>(x.shape().clone())?;
        walk.fill(cx, &mut y, NS_PER_ELEMENT, |y, [at_x, at_scale]| {
            match (at_x.of(values, y.len()), at_scale.of(scale, y.len()), at_scale.of(zero, y.len())) {
                (Operand::Slice(x), Operand::Repeated(scale), Operand::Repeated(zero)) => {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y = code(x, scale, zero));
                }
                _ => y.iter_mut().enumerate().for_each(|(i, y)| {
                    *y = code(*at_x.at(values, i), *at_scale.at(scale, i), *at_scale.at(zero, i));
                }),
            }
        })?;
        Ok(y.freeze())
    }
}
