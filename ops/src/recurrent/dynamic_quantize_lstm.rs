//! `com.microsoft::DynamicQuantizeLSTM`: an [`LSTM`](super::Lstm) whose weights are 8-bit codes. The input as a whole, and the
//! hidden state at each step, are quantized as `DynamicQuantizeLinear` does to meet them.
//!
//! W is `[directions, input, 4 · hidden]` and R `[directions, hidden, 4 · hidden]`, with one scale and zero point for each
//! direction, or one for each of its columns.

use super::lstm::LstmCell;
use super::weights::WayWeights;
use super::{Cell, Form, Matrix, SHARED_INPUTS, Weights, shared_attributes};
use crate::Define;
use crate::quantized::product::{BYTES, Codes};
use planish_ir::{
    AttributeDef, AttributeError, AttributeKind, Dim, EvalCx, FLOAT, Fact, Facts, Formal, InferError, Inputs, NodeView,
    Op, OpError, Outputs, Prepared, Schema, arg, int, opt, optional,
};
use planish_tensor::{DType, Shape, Tensor};
use std::sync::Arc;

/// `DynamicQuantizeLSTM`.
#[derive(Debug)]
pub struct DynamicQuantizeLstm {
    form: Form,
    cell: LstmCell,
    weights: Option<Arc<Weights>>,
}

/// The inputs that weights are made of: codes, scales and zero points of W and of R.
const WEIGHTS: [[usize; 3]; 2] = [[1, 8, 9], [2, 10, 11]];

const INPUTS: [Formal; 12] = {
    let [_, _, _, _, lengths, _] = SHARED_INPUTS;
    [
        arg("X", FLOAT).var("T"),
        arg("W", BYTES).var("T2"),
        arg("R", BYTES).var("T2"),
        opt("B", FLOAT).var("T"),
        lengths,
        opt("initial_h", FLOAT).var("T"),
        opt("initial_c", FLOAT).var("T"),
        opt("P", FLOAT).var("T"),
        arg("W_scale", FLOAT).var("T"),
        arg("W_zero_point", BYTES).var("T2"),
        arg("R_scale", FLOAT).var("T"),
        arg("R_zero_point", BYTES).var("T2"),
    ]
};

const ATTRIBUTES: [AttributeDef; 7] = {
    let [alpha, beta, clip, direction, hidden_size, _] = shared_attributes();
    [alpha, beta, clip, direction, hidden_size, optional("activations", AttributeKind::Strings), int("input_forget", 0)]
};

impl Define for DynamicQuantizeLstm {
    const SCHEMA: Schema = Schema::new("DynamicQuantizeLSTM", 1)
        .domain("com.microsoft")
        .inputs(&INPUTS)
        .outputs(&[opt("Y", FLOAT).var("T"), opt("Y_h", FLOAT).var("T"), opt("Y_c", FLOAT).var("T")])
        .attributes(&ATTRIBUTES);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let form = Form::parse(node, false)?;
        let cell = LstmCell::parse(node, &form)?;
        Ok(DynamicQuantizeLstm { form, cell, weights: None })
    }
}

impl DynamicQuantizeLstm {
    fn pack(&self, cx: &EvalCx<'_>, w: [&Tensor; 3], r: [&Tensor; 3]) -> Result<Weights, OpError> {
        let (w_shape, r_shape) = (w[0].shape(), r[0].shape());
        let (&[_, input_size, rows], &[_, hidden_size, r_rows]) = (w_shape.dims(), r_shape.dims()) else {
            return Err(OpError::invalid(format!("expected weights of rank 3, got {w_shape} and {r_shape}")));
        };
        self.form.check_weights([w[0], r[0]], hidden_size, [rows, r_rows], LstmCell::GATES)?;
        let way = |way: usize| -> Result<WayWeights, OpError> {
            Ok(WayWeights { input: of_way(cx, w, way)?, recurrence: vec![of_way(cx, r, way)?] })
        };
        let ways = (0..w_shape[0]).map(way).collect::<Result<_, _>>()?;
        Ok(Weights { ways, input_size, hidden_size })
    }
}

/// One direction's part of codes, scales and zero points.
fn of_way(cx: &EvalCx<'_>, [codes, scale, zero]: [&Tensor; 3], way: usize) -> Result<Matrix, OpError> {
    let (ways, matrix) = (codes.shape()[0], Shape::new(&codes.shape()[1..])?);
    let columns = matrix[1];
    let granules = |tensor: &Tensor| match *tensor.shape().dims() {
        [count] if count == ways => Ok(1),
        [count, each] if count == ways && each == columns => Ok(columns),
        _ => Err(OpError::invalid(format!(
            "expected a scale or zero point of shape [{ways}] or [{ways}, {columns}], got {}",
            tensor.shape()
        ))),
    };
    let (scales, zeros) = (granules(scale)?, granules(zero)?);
    let scale = scale.as_slice::<f32>()?[way * scales..][..scales].to_vec();
    let part = |tensor: &Tensor, shape: Shape| -> Result<Tensor, OpError> {
        let range = way * shape.num_elements()..(way + 1) * shape.num_elements();
        match tensor.dtype() {
            DType::U8 => cx.tensor(shape, &tensor.as_slice::<u8>()?[range]),
            _ => cx.tensor(shape, &tensor.as_slice::<i8>()?[range]),
        }
    };
    let zero = part(zero, Shape::new(&[zeros])?)?;
    Matrix::of_codes(cx, Codes { codes: &part(codes, matrix)?, zero: Some(&zero) }, scale)
}

impl Op for DynamicQuantizeLstm {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.form.infer(x, LstmCell::GATES, 2)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let weights = match &self.weights {
            Some(weights) => weights.clone(),
            None => {
                let tensors = |indices: [usize; 3]| -> Result<[&Tensor; 3], OpError> {
                    let [codes, scale, zero] = indices;
                    Ok([inputs.tensor(codes)?, inputs.tensor(scale)?, inputs.tensor(zero)?])
                };
                Arc::new(self.pack(cx, tensors(WEIGHTS[0])?, tensors(WEIGHTS[1])?)?)
            }
        };
        super::eval(&self.cell, &self.form, Some(&weights), cx, inputs)
    }

    fn macs(&self, x: &Facts<'_>, _outputs: &[Fact]) -> Dim {
        self.form.macs(x)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let constant = |index: usize| x.constant(index);
        let tensors = |[codes, scale, zero]: [usize; 3]| Some([constant(codes)?, constant(scale)?, constant(zero)?]);
        let (Some(w), Some(r)) = (tensors(WEIGHTS[0]), tensors(WEIGHTS[1])) else { return Ok(None) };
        let weights = Some(Arc::new(self.pack(cx, w, r)?));
        let op = Arc::new(DynamicQuantizeLstm { form: self.form.clone(), cell: self.cell.clone(), weights });
        Ok(Some(Prepared { op, dropped: WEIGHTS.concat() }))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;
    use planish_tensor::Tensor;

    /// One step of one sequence of two features, with one hidden unit, all weights being 1.
    fn inputs() -> Vec<Option<Tensor>> {
        let (weights, one) = (|rows: usize| Some(tensor(&[1, rows, 4], &vec![1i8; rows * 4])), [1f32]);
        let quantization = [Some(tensor(&[1], &one)), Some(tensor(&[1], &[0i8]))];
        let plain = [Some(tensor(&[1, 1, 2], &[1f32; 2])), weights(2), weights(1), None, None, None, None, None];
        plain.into_iter().chain(quantization.clone()).chain(quantization).collect()
    }

    fn error(attributes: Attributes, index: usize, input: Tensor) -> String {
        let mut inputs = inputs();
        inputs[index] = Some(input);
        eval_all("com.microsoft", "DynamicQuantizeLSTM", attributes, &inputs, 1).expect_err("nonsense").to_string()
    }

    #[test]
    fn what_does_not_fit_the_weights_is_refused() {
        let none = Attributes::new;
        assert!(eval_all("com.microsoft", "DynamicQuantizeLSTM", none(), &inputs(), 3).is_ok());
        for (index, input, expected) in [
            (0, tensor(&[1, 1, 3], &[1f32; 3]), "3 features"),
            (1, tensor(&[2, 2, 4], &[1i8; 16]), "do not fit"),
            (2, tensor(&[1, 0, 4], &[1i8; 0]), "do not fit"),
            (4, tensor(&[1], &[2i32]), "sequence_lens"),
            (5, tensor(&[1, 1, 2], &[1f32; 2]), "input 5"),
            (8, tensor(&[2], &[1f32; 2]), "scale or zero point"),
            (9, tensor(&[1, 3], &[0i8; 3]), "scale or zero point"),
        ] {
            let message = error(none(), index, input);
            assert!(message.contains(expected), "{expected}: {message}");
        }
        let same = || tensor(&[1, 1, 2], &[1f32; 2]);
        assert!(error(none().with("hidden_size", 2), 0, same()).contains("do not fit"));
        assert!(error(none().with("hidden_size", -1), 0, same()).contains("hidden_size"));
        assert!(error(none().with("direction", "both"), 0, same()).contains("direction"));
    }
}
