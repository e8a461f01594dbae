//! `DynamicQuantizeLinear`: `float` to `uint8` with a scale and zero point that fit the values, 0 being exact:
//! y_scale = (max(x, 0) − min(x, 0)) / 255, y_zero_point = round(−min(x, 0) / y_scale), y = saturate(round(x / y_scale) + y_zero_point).
//!
//! Opsets: 11.

use super::integers::{Quantum, round_to};
use crate::Define;
use crate::parallel;
use planish_ir::{
    AttributeError, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, Type,
    Types, arg,
};
use planish_kernels::reduce::{Reduction, reduce};
use planish_tensor::{DType, Shape, Tensor};

/// `uint8` alone.
const CODE: Types = Types::of(&[DType::U8]);

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.5;

/// `DynamicQuantizeLinear`.
#[derive(Debug)]
pub struct DynamicQuantizeLinear;

impl Define for DynamicQuantizeLinear {
    const SCHEMA: Schema = Schema::new("DynamicQuantizeLinear", 11).inputs(&[arg("x", FLOAT).var("T1")]).outputs(&[
        arg("y", CODE).var("T2"),
        arg("y_scale", FLOAT),
        arg("y_zero_point", CODE).var("T2"),
    ]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(DynamicQuantizeLinear)
    }
}

impl Op for DynamicQuantizeLinear {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let y = Type::Tensor { dtype: Some(DType::U8), shape: x.shape(0).map(<[_]>::to_vec) };
        Ok(vec![Fact::of_type(y), Fact::shaped(Some(DType::F32), vec![]), Fact::shaped(Some(DType::U8), vec![])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let Dynamic { codes, scale, zero } = quantize_dynamically(cx, x)?;
        Ok([codes, Tensor::scalar(scale), Tensor::scalar(zero)].into())
    }
}

/// A tensor quantized to fit its values.
pub struct Dynamic {
    /// `uint8` codes.
    pub codes: Tensor,
    /// What one step of the codes is worth.
    pub scale: f32,
    /// The code of 0.
    pub zero: u8,
}

/// The `uint8` codes of a `float` tensor, with a scale that fits its values.
pub fn quantize_dynamically(cx: &EvalCx<'_>, x: &Tensor) -> Result<Dynamic, OpError> {
    quantize_slice(cx, x.as_slice::<f32>()?, x.shape().clone())
}

/// [`quantize_dynamically`] for the elements of a tensor of this shape.
pub fn quantize_slice(cx: &EvalCx<'_>, values: &[f32], shape: Shape) -> Result<Dynamic, OpError> {
    let extreme = |op| -> f32 {
        let mut extreme = [0.0];
        reduce(op, values, values.len(), 1, &mut extreme);
        extreme[0]
    };
    let (least, greatest) = (extreme(Reduction::Min).min(0.0), extreme(Reduction::Max).max(0.0));
    let scale = if least == greatest { 1.0 } else { (greatest - least) / 255.0 };
    let zero = round_to::<u8>(-least / scale, 0.0, u8::RANGE);
    let mut codes = cx.uninit::<u8>(shape)?;
    parallel::fill(cx, &mut codes, NS_PER_ELEMENT, |start, codes| {
        let values = &values[start..];
        codes.iter_mut().zip(values).for_each(|(y, &x)| *y = round_to(x / scale, f32::from(zero), u8::RANGE));
    })?;
    Ok(Dynamic { codes: codes.freeze(), scale, zero })
}
