//! `QLinearMatMul`: the product of two quantized operands, quantized:
//! y = saturate(round((a − a_zero_point) · (b − b_zero_point) · a_scale · b_scale / y_scale) + y_zero_point).
//!
//! Scales and zero points of a and y are one or one a row, those of b one or one a column.
//!
//! Opsets: 10; 21 adds 8-bit floats and 16-bit scales.

use super::integers::as_floats;
use super::product::{BYTES, Codes, Right, pack, product, product_into, row_count};
use super::requantize::{Scales, requantize};
use super::{DequantizeLinear, QuantizeLinear};
use crate::Define;
use crate::dtypes::for_dtypes;
use crate::matmul::{matmul, product_dims, product_macs};
use crate::packed::Packed;
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOAT8, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared,
    Schema, Types, arg,
};
use planish_kernels::int8::{Addends, PackedB8, ToCodes};
use planish_tensor::{DType, Tensor, Value};
use std::sync::Arc;

/// What is multiplied.
const CODES: Types = BYTES.or(FLOAT8);

/// What scales may be.
const SCALE: Types = Types::of(&[DType::F32, DType::F16, DType::BF16]);

/// `QLinearMatMul`.
#[derive(Debug, Default)]
pub struct QLinearMatMul {
    /// b and its zero points, where they are constant.
    weights: Option<Packed<PackedB8>>,
}

impl Define for QLinearMatMul {
    const SCHEMA: Schema = Schema::new("QLinearMatMul", 21)
        .inputs(&[
            arg("a", CODES).var("T1"),
            arg("a_scale", SCALE).var("TS"),
            arg("a_zero_point", CODES).var("T1"),
            arg("b", CODES).var("T2"),
            arg("b_scale", SCALE).var("TS"),
            arg("b_zero_point", CODES).var("T2"),
            arg("y_scale", SCALE).var("TS"),
            arg("y_zero_point", CODES).var("T3"),
        ])
        .outputs(&[arg("y", CODES).var("T3")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(QLinearMatMul::default())
    }
}

impl Op for QLinearMatMul {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (Some(a), Some(b)) = (x.shape(0), x.shape(3)) else { return Ok(vec![Fact::tensor(x.dtype(7))]) };
        Ok(vec![Fact::shaped(x.dtype(7), product_dims(a, b)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        for index in [0, 3, 7] {
            if inputs.has(index) && FLOAT8.contains(inputs.tensor(index)?.dtype()) {
                return eval_floats(cx, &inputs);
            }
        }
        let a = Codes { codes: inputs.tensor(0)?, zero: Some(inputs.tensor(2)?) };
        let b = match &self.weights {
            Some(weights) => Right::Packed(weights),
            None => Right::Codes(Codes { codes: inputs.tensor(3)?, zero: Some(inputs.tensor(5)?) }),
        };
        let rows = row_count(a.codes.shape());
        let columns = b.columns();
        let scale = |i: usize| as_floats(cx, inputs.tensor(i)?);
        let (a_scale, b_scale, y_scale) = (scale(1)?, scale(4)?, scale(6)?);
        let scales = Scales { a: a_scale.as_slice()?, b: b_scale.as_slice()?, y: y_scale.as_slice()? };
        let zero = inputs.tensor(7)?;
        if let Some(uniform) = scales.uniform(zero) {
            let factors = uniform.by_column(columns)?;
            return for_dtypes!(zero.dtype(), Q => {
                let finish = ToCodes { addends: Addends::None, factors, zero: zero.as_slice::<Q>()?[0] };
                Ok(product_into(cx, a, b, |_| finish)?.freeze().into())
            }, [U8 = u8, I8 = i8]);
        }
        let sums = product(cx, a, b)?;
        Ok(requantize(cx, &sums, rows, columns, scales, None, zero)?.into())
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        product_macs(x.shape(0), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let constant = |index: usize| x.constant(index);
        let (Some(codes), Some(zero)) = (constant(3), constant(5)) else { return Ok(None) };
        let are_bytes = |index| constant(index).is_some_and(|zero| BYTES.contains(zero.dtype()));
        if !(are_bytes(2) && are_bytes(5) && are_bytes(7)) {
            return Ok(None);
        }
        let Some(weights) = pack(cx, Codes { codes, zero: Some(zero) })? else { return Ok(None) };
        Ok(Some(Prepared { op: Arc::new(QLinearMatMul { weights: Some(weights) }), dropped: vec![3, 5] }))
    }
}

/// Operands or a result of 8-bit floats: all is dequantized, multiplied as `float`, quantized.
fn eval_floats(cx: &mut EvalCx<'_>, inputs: &Inputs) -> Result<Outputs, OpError> {
    let scaled = |cx: &mut EvalCx<'_>, op: &dyn Op, x: &Tensor, scale: usize| -> Result<Tensor, OpError> {
        let scale_values = as_floats(cx, inputs.tensor(scale)?)?;
        let zero = inputs.tensor(scale + 1)?.clone();
        let values = [x.clone(), scale_values, zero].map(|tensor| Some(Value::Tensor(tensor)));
        let y = op.eval(cx, Inputs::new(values))?.into_values().pop().flatten().and_then(Value::into_tensor);
        y.ok_or_else(|| OpError::Internal("scaling gave no tensor".to_owned()))
    };
    let a = scaled(cx, &DequantizeLinear::along(-2), inputs.tensor(0)?, 1)?;
    let b = scaled(cx, &DequantizeLinear::along(-1), inputs.tensor(3)?, 4)?;
    let product = matmul(cx, &a, &b)?;
    scaled(cx, &QuantizeLinear::along(-2), &product, 6).map(Outputs::from)
}
