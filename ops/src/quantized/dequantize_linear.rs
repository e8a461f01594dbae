//! `DequantizeLinear`: y = (x − x_zero_point) · x_scale.
//!
//! Opsets: 10; 13 adds `axis`; 19 adds 8-bit floats and 16-bit scales; 21 adds blocks, 4-bit and 16-bit types; 23 adds
//! `output_dtype`; 24, 25, 28 add dtypes.

use super::granularity::{Granularity, is_of_scale};
use super::integers::{as_floats, unpacked};
use super::quantize_linear::QUANTIZED;
use crate::Define;
use crate::broadcast::{Operand, Walk};
use crate::dtypes::{for_dtypes, from_f32};
use crate::parallel;
use num_traits::AsPrimitive;
use planish_ir::{
    AttributeError, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, Type, Types, arg,
    int, opt,
};
use planish_kernels::int8::{self as kernel, Code};
use planish_tensor::{DType, Element, Tensor};

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.3;

/// What is dequantized.
const CODES: Types = QUANTIZED.or(Types::of(&[DType::I32]));

/// What it becomes.
const REAL: Types = Types::of(&[DType::F32, DType::F16, DType::BF16]);

/// `DequantizeLinear`.
#[derive(Debug)]
pub struct DequantizeLinear {
    granularity: Granularity,
    output: Option<DType>,
}

impl Define for DequantizeLinear {
    const SCHEMA: Schema = Schema::new("DequantizeLinear", 28)
        .inputs(&[
            arg("x", CODES).var("T1"),
            arg("x_scale", REAL.or(Types::of(&[DType::F8E8M0]))).var("T2"),
            opt("x_zero_point", CODES).var("T1"),
        ])
        .outputs(&[arg("y", REAL).var("T3")])
        .attributes(&[int("axis", 1), int("block_size", 0), int("output_dtype", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let output = node.opt_dtype("output_dtype")?;
        if let Some(dtype) = output.filter(|&d| !REAL.contains(d)) {
            let expected = "a float of 16 or 32 bits";
            return Err(AttributeError::invalid(format!(
                "attribute \"output_dtype\": expected {expected}, got {dtype}"
            )));
        }
        Ok(DequantizeLinear { granularity: Granularity::parse(node)?, output })
    }
}

impl DequantizeLinear {
    /// With one scale for each index along `axis`, or one for all.
    pub fn along(axis: i64) -> DequantizeLinear {
        DequantizeLinear { granularity: Granularity::along(axis), output: None }
    }

    /// As the attribute says, else as the scale is; a scale that is only a power of two gives `float`.
    fn output_dtype(&self, scale: DType) -> DType {
        self.output.unwrap_or(if scale == DType::F8E8M0 { DType::F32 } else { scale })
    }
}

impl Op for DequantizeLinear {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let (Some(x), Some(scale)) = (x.shape(0), x.shape(1)) {
            self.granularity.check(x, scale)?;
        }
        let dtype = x.dtype(1).map(|scale| self.output_dtype(scale)).or(self.output);
        Ok(vec![Fact::of_type(Type::Tensor { dtype, shape: x.shape(0).map(<[_]>::to_vec) })])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (codes, scale, zero) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.opt_tensor(2)?);
        let dtype = self.output_dtype(scale.dtype());
        if let Some(zero) = zero.filter(|zero| !is_of_scale(zero.shape(), scale.shape())) {
            let (zero, scale) = (zero.shape(), scale.shape());
            return Err(OpError::invalid(format!("the scale is of shape {scale}, the zero point of shape {zero}")));
        }
        let spread = self.granularity.spread(codes.shape(), scale.shape())?;
        if let (DType::F32, DType::F32, 1) = (dtype, scale.dtype(), scale.num_elements())
            && matches!(codes.dtype(), DType::U8 | DType::I8)
        {
            let scale = scale.as_slice::<f32>()?[0];
            return for_dtypes!(codes.dtype(), Q => uniform::<Q>(cx, codes, scale, zero), [U8 = u8, I8 = i8])
                .map(Outputs::from);
        }
        let zero = match zero {
            Some(zero) => as_floats(cx, zero)?.reshaped(scale.shape().clone())?,
            None => cx.zeros::<f32>(scale.shape().clone())?.freeze(),
        };
        let zero = spread.stretched::<f32>(cx, zero)?;
        let scale = spread.stretched::<f32>(cx, as_floats(cx, scale)?)?;
        let walk = Walk::new([&spread.x, &spread.scale])?;
        let codes = unpacked(cx, codes)?;
        let y = for_dtypes!(codes.dtype(), T => dequantize::<T>(cx, &walk, &codes, &scale, &zero), [
            U8 = u8, I8 = i8, U16 = u16, I16 = i16, I32 = i32, F32 = f32,
        ])?;
        Ok(from_f32(cx, y, dtype)?.into())
    }
}

/// The numbers of codes with one scale and zero point for all.
fn uniform<Q: Element + Code + Default>(
    cx: &EvalCx<'_>,
    codes: &Tensor,
    scale: f32,
    zero: Option<&Tensor>,
) -> Result<Tensor, OpError> {
    let zero = zero.map_or(Ok(Q::default()), |zero| zero.as_slice::<Q>().map(|zero| zero[0]))?;
    let values = codes.as_slice::<Q>()?;
    let mut y = cx.uninit::<f32>(codes.shape().clone())?;
    parallel::fill(cx, &mut y, NS_PER_ELEMENT, |start, y| {
        kernel::dequantize(&values[start..start + y.len()], scale, zero, y);
    })?;
    Ok(y.freeze())
}

fn dequantize<T: Element + AsPrimitive<f32>>(
    cx: &EvalCx<'_>,
    walk: &Walk<2>,
    codes: &Tensor,
    scale: &Tensor,
    zero: &Tensor,
) -> Result<Tensor, OpError> {
    let (values, scale, zero) = (codes.as_slice::<T>()?, scale.as_slice::<f32>()?, zero.as_slice::<f32>()?);
    let mut y = cx.uninit::<f32>(codes.shape().clone())?;
    walk.fill(cx, &mut y, NS_PER_ELEMENT, |y, [at_x, at_scale]| {
        match (at_x.of(values, y.len()), at_scale.of(scale, y.len()), at_scale.of(zero, y.len())) {
            (Operand::Slice(x), Operand::Repeated(scale), Operand::Repeated(zero)) => {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x.as_() - zero) * scale);
            }
            _ => y.iter_mut().enumerate().for_each(|(i, y)| {
                *y = (at_x.at(values, i).as_() - *at_scale.at(zero, i)) * *at_scale.at(scale, i);
            }),
        }
    })?;
    Ok(y.freeze())
}
