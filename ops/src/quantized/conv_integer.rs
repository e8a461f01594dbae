//! `ConvInteger`: the convolution of x − x_zero_point with w − w_zero_point, 8-bit codes, exact in `int32`.
//!
//! Opsets: 10.

use super::convolution::Filters;
use super::product::BYTES;
use crate::Define;
use crate::conv::{ConvForm, conv_macs};
use planish_ir::{
    AttributeDef, AttributeError, AttributeKind, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Prepared, Schema, Type, Types, arg, int, opt, optional, string,
};
use planish_tensor::DType;
use std::sync::Arc;

/// The attributes of convolutions.
pub const CONV_ATTRIBUTES: &[AttributeDef] = &[
    string("auto_pad", "NOTSET"),
    optional("dilations", AttributeKind::Ints),
    int("group", 1),
    optional("kernel_shape", AttributeKind::Ints),
    optional("pads", AttributeKind::Ints),
    optional("strides", AttributeKind::Ints),
];

/// `ConvInteger`.
#[derive(Debug)]
pub struct ConvInteger {
    form: ConvForm,
    /// Whether w has a zero point.
    has_filter_zero: bool,
    /// w and its zero points, where they are constant.
    filters: Option<Filters>,
}

impl Define for ConvInteger {
    const SCHEMA: Schema = Schema::new("ConvInteger", 10)
        .inputs(&[
            arg("x", BYTES).var("T1"),
            arg("w", BYTES).var("T2"),
            opt("x_zero_point", BYTES).var("T1"),
            opt("w_zero_point", BYTES).var("T2"),
        ])
        .outputs(&[arg("y", Types::of(&[DType::I32]))])
        .attributes(CONV_ATTRIBUTES);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(ConvInteger { form: ConvForm::parse(node)?, has_filter_zero: node.num_inputs > 3, filters: None })
    }
}

impl Op for ConvInteger {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let shape = self.form.output_dims(x, 0, 1, None)?;
        Ok(vec![Fact::of_type(Type::Tensor { dtype: Some(DType::I32), shape })])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, zero) = (inputs.tensor(0)?, inputs.opt_tensor(2)?);
        let y = match &self.filters {
            Some(filters) => filters.convolve(cx, &self.form, x, zero)?,
            None => {
                let filters = Filters::pack(cx, &self.form, inputs.tensor(1)?, inputs.opt_tensor(3)?)?;
                filters.convolve(cx, &self.form, x, zero)?
            }
        };
        Ok(y.freeze().into())
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        conv_macs(x.shape(1), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let constant = |index: usize| x.constant(index);
        let (Some(w), zero) = (constant(1), constant(3)) else { return Ok(None) };
        if self.has_filter_zero && zero.is_none() {
            return Ok(None);
        }
        let filters = Some(Filters::pack(cx, &self.form, w, zero)?);
        let op = ConvInteger { form: self.form.clone(), has_filter_zero: self.has_filter_zero, filters };
        Ok(Some(Prepared { op: Arc::new(op), dropped: vec![1, 3] }))
    }
}
