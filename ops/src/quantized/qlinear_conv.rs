//! `QLinearConv`: the convolution of quantized operands, quantized:
//! y = saturate(round((conv(x − x_zero_point, w − w_zero_point) + b) · x_scale · w_scale / y_scale) + y_zero_point).
//!
//! Scales and zero points of w are one, or one for each output channel.
//!
//! Opsets: 10.

use super::conv_integer::CONV_ATTRIBUTES;
use super::convolution::{Filters, image};
use super::product::BYTES;
use super::requantize::Scales;
use crate::Define;
use crate::conv::{ConvForm, conv_macs};
use crate::dtypes::for_dtypes;
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared,
    Schema, Type, Types, arg, opt,
};
use planish_kernels::int8::{Addends, ToCodes};
use planish_tensor::DType;
use std::ops::Range;
use std::sync::Arc;

/// `QLinearConv`.
#[derive(Debug)]
pub struct QLinearConv {
    form: ConvForm,
    /// w and its zero points, where they are constant.
    filters: Option<Filters>,
}

impl Define for QLinearConv {
    const SCHEMA: Schema = Schema::new("QLinearConv", 10)
        .inputs(&[
            arg("x", BYTES).var("T1"),
            arg("x_scale", FLOAT),
            arg("x_zero_point", BYTES).var("T1"),
            arg("w", BYTES).var("T2"),
            arg("w_scale", FLOAT),
            arg("w_zero_point", BYTES).var("T2"),
            arg("y_scale", FLOAT),
            arg("y_zero_point", BYTES).var("T3"),
            opt("B", Types::of(&[DType::I32])),
        ])
        .outputs(&[arg("y", BYTES).var("T3")])
        .attributes(CONV_ATTRIBUTES);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(QLinearConv { form: ConvForm::parse(node)?, filters: None })
    }
}

impl QLinearConv {
    fn convolve(&self, cx: &EvalCx<'_>, filters: &Filters, inputs: &Inputs) -> Result<Outputs, OpError> {
        let (x, zero) = (inputs.tensor(0)?, inputs.tensor(7)?);
        let channels = filters.shape[0];
        let scales = Scales { a: inputs.slice(1)?, b: inputs.slice(4)?, y: inputs.slice(6)? };
        let bias = inputs.opt_slice::<i32>(8)?;
        if let Some(got) = bias.map(<[i32]>::len).filter(|&got| got != channels) {
            return Err(OpError::invalid(format!("expected a bias of {channels} elements, got {got}")));
        }
        let uniform = scales.uniform(zero).ok_or_else(|| {
            OpError::invalid("expected one scale and zero point of the input and of the output".to_owned())
        })?;
        let factors = uniform.by_channel(channels)?;
        let addends = |rows: Range<usize>| bias.map_or(Addends::None, |bias| Addends::PerRow(&bias[rows]));
        let image = image(x, Some(inputs.tensor(2)?))?;
        for_dtypes!(zero.dtype(), Q => {
            let zero = zero.as_slice::<Q>()?[0];
            let finish = |rows: Range<usize>| ToCodes { addends: addends(rows.clone()), factors: factors(rows), zero };
            Ok(filters.convolve_into(cx, &self.form, x.shape(), image, finish)?.freeze().into())
        }, [U8 = u8, I8 = i8])
    }
}

impl Op for QLinearConv {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let shape = self.form.output_dims(x, 0, 3, x.shape(8))?;
        Ok(vec![Fact::of_type(Type::Tensor { dtype: x.dtype(7), shape })])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        match &self.filters {
            Some(filters) => self.convolve(cx, filters, &inputs),
            None => {
                let filters = Filters::pack(cx, &self.form, inputs.tensor(3)?, Some(inputs.tensor(5)?))?;
                self.convolve(cx, &filters, &inputs)
            }
        }
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        conv_macs(x.shape(3), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let constant = |index: usize| x.constant(index);
        let (Some(w), Some(zero)) = (constant(3), constant(5)) else { return Ok(None) };
        let filters = Some(Filters::pack(cx, &self.form, w, Some(zero))?);
        Ok(Some(Prepared { op: Arc::new(QLinearConv { form: self.form.clone(), filters }), dropped: vec![3, 5] }))
    }
}
