//! `FusedConvInteger`: a convolution of 8-bit codes, a bias of its exact sums, their scale, an activation: sums become numbers
//! as they are stored.

use super::scalar::{ScalarFunction, scalar_function};
use super::{Definition, schema};
use crate::Define;
use crate::conv::{ConvForm, conv_macs};
use crate::quantized::ConvInteger;
use crate::quantized::convolution::{Filters, image};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, Graph, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared,
    Schema, ValueId,
};
use planish_kernels::elementwise::{Binary, Unary};
use planish_kernels::int8::{Addends, Factors, ToFloat};
use planish_tensor::{DType, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// `planish::FusedConvInteger`.
#[derive(Debug)]
pub struct FusedConvInteger {
    definition: Definition,
    fused: Option<Fused>,
}

/// `activation((ConvInteger(x, w, x_zero, w_zero) + bias) · scale)`, the numbers being those of inputs.
#[derive(Clone, Debug)]
struct Fused {
    form: ConvForm,
    /// x, w and their zero points, which a body may lack.
    operands: [Option<usize>; 4],
    bias: Option<usize>,
    scale: usize,
    activation: Option<Unary>,
    /// w and its zero points, where they are constant.
    filters: Option<Arc<Filters>>,
}

impl Fused {
    fn parse(body: &Graph) -> Option<Fused> {
        let (first, operator) = body.operators().find(|(_, operator)| operator.is("ConvInteger"))?;
        let inputs: Vec<ValueId> = body.inputs().collect();
        let place = |value: ValueId| inputs.iter().position(|&input| input == value);
        let read = body.node_inputs(first);
        let mut operands = [None; 4];
        for (operand, value) in operands.iter_mut().zip(&read) {
            *operand = value.map(|value| place(value).ok_or(())).transpose().ok()?;
        }
        let node = NodeView::new(&ConvInteger::SCHEMA, &operator.attributes, read.len(), 1).ok()?;
        let form = ConvForm::parse(&node).ok()?;
        let [output] = body.outputs() else { return None };
        let (mut bias, mut scale, mut activation) = (None, None, None);
        let (mut value, mut count, mut is_number) = (ValueId { node: first, output: 0 }, 1, false);
        while value != output.value {
            let &[reader] = body.uses(value).as_slice() else { return None };
            let operator = body.node(reader.node).operator()?;
            let other = || place(body.node_inputs(reader.node).get(1 - reader.input).copied()??);
            if activation.is_some() || body.is_output(value) {
                return None;
            }
            if operator.is("Cast") && !is_number {
                is_number = true;
            } else {
                match scalar_function(body, reader.node)? {
                    ScalarFunction::Binary(Binary::Add) if !is_number && bias.is_none() => bias = Some(other()?),
                    ScalarFunction::Binary(Binary::Mul) if is_number && scale.is_none() => scale = Some(other()?),
                    ScalarFunction::Unary(function) if scale.is_some() && reader.input == 0 => {
                        activation = Some(function);
                    }
                    _ => return None,
                }
            }
            (value, count) = (ValueId { node: reader.node, output: 0 }, count + 1);
        }
        if count != body.operators().count() || body.fact(output.value).dtype() != Some(DType::F32) {
            return None;
        }
        Some(Fused { form, operands, bias, scale: scale?, activation, filters: None })
    }

    /// The result, unless bias or scale are of other shapes than one number, or one for each channel.
    fn convolve(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Option<Tensor>, OpError> {
        let tensor = |index: Option<usize>| -> Result<Option<&Tensor>, OpError> {
            index.map_or(Ok(None), |index| inputs.opt_tensor(index))
        };
        let [x, w, x_zero, w_zero] = self.operands;
        let x = tensor(x)?.ok_or_else(|| OpError::invalid("input 0 is absent"))?;
        let fresh;
        let filters = match &self.filters {
            Some(filters) => filters,
            None => {
                let w = tensor(w)?.ok_or_else(|| OpError::invalid("input 1 is absent"))?;
                fresh = Arc::new(Filters::pack(cx, &self.form, w, tensor(w_zero)?)?);
                &fresh
            }
        };
        let (channels, rank) = (filters.shape[0], x.rank());
        let (bias, scale) = (tensor(self.bias)?, inputs.tensor(self.scale)?);
        if scale.dtype() != DType::F32 || bias.is_some_and(|bias| bias.dtype() != DType::I32) {
            return Ok(None);
        }
        let by_channel = |t: &Tensor| {
            let axis = t.rank().checked_sub(rank.saturating_sub(1));
            t.num_elements() == channels && t.rank() <= rank && axis.is_some_and(|axis| t.shape()[axis] == channels)
        };
        let is_one = |t: &Tensor| t.num_elements() == 1 && t.rank() <= rank;
        if !(is_one(scale) || by_channel(scale)) || bias.is_some_and(|bias| !by_channel(bias)) {
            return Ok(None);
        }
        let (scale, bias) = (scale.as_slice::<f32>()?, bias.map(Tensor::as_slice::<i32>).transpose()?);
        let finish = |rows: Range<usize>| ToFloat {
            addends: bias.map_or(Addends::None, |bias| Addends::PerRow(&bias[rows.clone()])),
            factors: match scale {
                &[factor] => Factors::All(factor),
                factors => Factors::PerRow(&factors[rows]),
            },
            activation: self.activation,
            ..ToFloat::default()
        };
        let image = image(x, tensor(x_zero)?)?;
        Ok(Some(filters.convolve_into(cx, &self.form, x.shape(), image, finish)?.freeze()))
    }
}

impl Define for FusedConvInteger {
    const SCHEMA: Schema = schema("FusedConvInteger");

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let definition = Definition::parse(node)?;
        let fused = Fused::parse(&definition.body);
        Ok(FusedConvInteger { definition, fused })
    }
}

impl Op for FusedConvInteger {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(self.definition.infer(x))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let y = match &self.fused {
            Some(fused) => fused.convolve(cx, &inputs)?,
            None => None,
        };
        match y {
            Some(y) => Ok(y.into()),
            None => self.definition.eval(cx, inputs),
        }
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        conv_macs(self.fused.as_ref().and_then(|fused| x.shape(fused.operands[1]?)), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let Some(fused) = &self.fused else { return Ok(None) };
        let constant = |index: usize| x.constant(index);
        let [_, Some(w), _, w_zero] = fused.operands else { return Ok(None) };
        let zero = w_zero.map(constant);
        let (Some(w), None | Some(Some(_))) = (constant(w), zero) else { return Ok(None) };
        let filters = Some(Arc::new(Filters::pack(cx, &fused.form, w, zero.flatten())?));
        let fused = Some(Fused { filters, ..fused.clone() });
        // The filters stay among the inputs, for the definition.
        let op = FusedConvInteger { definition: self.definition.clone(), fused };
        Ok(Some(Prepared { op: Arc::new(op), dropped: vec![] }))
    }
}
