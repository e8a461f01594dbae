//! `DynamicQuantizeLinear`: `float` to `uint8` with a scale and zero point that fit the values, 0 being exact:
//! y_scale = (max(x, 0) − min(x, 0)) / 255, y_zero_point = round(−min(x, 0) / y_scale), y = saturate(round(x / y_scale) + y_zero_point).
//!
//! Opsets: 11.

use crate::Define;
use planish_ir::{
    AttributeError, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, Type,
    Types, arg,
};
use planish_kernels::int8::Quantization;
use planish_tensor::{DType, Shape, Tensor, TensorMut};

/// `uint8` alone.
const CODE: Types = Types::of(&[DType::U8]);

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
        let Dynamic { codes, quantization } = quantize_dynamically(cx, x.as_slice()?, x.shape().clone())?;
        Ok([codes.freeze(), Tensor::scalar(quantization.scale), Tensor::scalar(quantization.zero)].into())
    }
}

/// A tensor quantized to fit its values.
pub struct Dynamic {
    /// `uint8` codes.
    pub codes: TensorMut<u8>,
    /// What one step of the codes is worth, and the code of 0.
    pub quantization: Quantization,
}

/// The `uint8` codes of a tensor's elements, with a scale that fits them.
pub fn quantize_dynamically(cx: &EvalCx<'_>, values: &[f32], shape: Shape) -> Result<Dynamic, OpError> {
    cx.check()?;
    let quantization = Quantization::of(&cx.threads, values);
    let mut codes = cx.uninit::<u8>(shape)?;
    quantization.quantize(&cx.threads, values, &mut codes);
    Ok(Dynamic { codes, quantization })
}
