//! `CausalConvWithState`: a convolution of each channel with its own kernel over the positions up to its own.
//!
//! y[l] = activation(bias + Σⱼ w[j] · x[l + j]), x being `past_state`, or zeros, with the input behind it. The last positions
//! of x are the next state. Opsets: 27.

use crate::Define;
use crate::half::widened;
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, Types, arg,
    opt, string,
};
use planish_kernels::elementwise::{Unary, add_scaled, unary};
use planish_kernels::simd::Operand;
use planish_tensor::{DType, Shape, Tensor};

/// `CausalConvWithState`.
#[derive(Debug)]
pub struct CausalConvWithState {
    /// Whether y goes through y · sigmoid(y).
    is_activated: bool,
}

const TYPES: Types = Types::of(&[DType::F32, DType::F16, DType::BF16]);

impl Define for CausalConvWithState {
    const SCHEMA: Schema = Schema::new("CausalConvWithState", 27)
        .inputs(&[
            arg("input", TYPES).var("T"),
            arg("weight", TYPES).var("T"),
            opt("bias", TYPES).var("T"),
            opt("past_state", TYPES).var("T"),
        ])
        .outputs(&[arg("output", TYPES).var("T"), arg("present_state", TYPES).var("T")])
        .attributes(&[string("activation", "none")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let choices = [("none", false), ("silu", true), ("swish", true)];
        Ok(CausalConvWithState { is_activated: node.choice("activation", &choices)? })
    }
}

impl Op for CausalConvWithState {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = x.dtype(0);
        let state = match (x.shape(0), x.shape(1)) {
            (Some([batch, channels, _]), Some([_, _, taps])) => {
                Fact::shaped(dtype, vec![batch.clone(), channels.clone(), taps - 1])
            }
            (None, _) | (_, None) => Fact::tensor(dtype),
            (Some(x), Some(w)) => return Err(InferError(format!("expected tensors of rank 3, got {x:?} and {w:?}"))),
        };
        Ok(vec![x.get(0).map(|f| Fact::of_type(f.ty.clone())).unwrap_or_default(), state])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype, dtype], |cx, inputs| self.convolve(cx, &inputs))
    }

    fn macs(&self, inputs: &Facts<'_>, outputs: &[Fact]) -> Dim {
        match (inputs.shape(1), outputs.first().and_then(Fact::shape)) {
            (Some([_, _, taps]), Some(y)) => y.iter().cloned().product::<Dim>() * taps,
            _ => Dim::unknown(),
        }
    }
}

impl CausalConvWithState {
    fn convolve(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Outputs, OpError> {
        let (x, w) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let (bias, past) = (inputs.opt_tensor(2)?, inputs.opt_tensor(3)?);
        let misfit = || OpError::invalid(format!("input {} and weight {} do not fit together", x.shape(), w.shape()));
        let (&[batch, channels, length], &[filters, 1, taps]) = (x.shape().dims(), w.shape().dims()) else {
            return Err(misfit());
        };
        let Some(kept) = taps.checked_sub(1).filter(|_| filters == channels) else { return Err(misfit()) };
        let state_shape = Shape::new(&[batch, channels, kept])?;
        if bias.is_some_and(|bias| bias.shape().dims() != [channels]) {
            return Err(OpError::invalid("bias: expected one number a channel"));
        }
        if let Some(past) = past.filter(|past| *past.shape() != state_shape) {
            return Err(OpError::invalid(format!("past_state: expected {state_shape}, got {}", past.shape())));
        }
        let mut y = cx.uninit::<f32>(x.shape().clone())?;
        let mut state = cx.zeros::<f32>(state_shape)?;
        if y.is_empty() && state.is_empty() {
            return Ok([y.freeze(), state.freeze()].into());
        }
        let (x, w) = (x.as_slice::<f32>()?, w.as_slice::<f32>()?);
        let bias = bias.map(Tensor::as_slice::<f32>).transpose()?;
        let past = past.map(Tensor::as_slice::<f32>).transpose()?;
        let mut row = cx.zeros::<f32>(Shape::new(&[kept.saturating_add(length)])?)?;
        for index in 0..batch * channels {
            cx.check()?;
            let (before, now) = row.split_at_mut(kept);
            if let Some(past) = past {
                before.copy_from_slice(&past[index * kept..][..kept]);
            } else {
                before.fill(0.0);
            }
            now.copy_from_slice(&x[index * length..][..length]);
            state[index * kept..][..kept].copy_from_slice(&row[length..]);
            let channel = index % channels;
            let y = &mut y[index * length..][..length];
            y.fill(bias.map_or(0.0, |bias| bias[channel]));
            for (j, w) in w[channel * taps..][..taps].iter().enumerate() {
                add_scaled(*w, &row[j..j + length], y);
            }
            if self.is_activated {
                unary(Unary::Silu, Operand::Output, y);
            }
        }
        Ok([y.freeze(), state.freeze()].into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;

    #[test]
    fn a_position_sees_itself_and_those_before() {
        let x = tensor(&[1, 2, 3], &[1f32, 2., 3., 4., 5., 6.]);
        let w = tensor(&[2, 1, 2], &[10f32, 1., 0., 2.]);
        let past = tensor(&[1, 2, 1], &[7f32, 8.]);
        let bias = tensor(&[2], &[0f32, 0.5]);
        let out = eval_all("", "CausalConvWithState", Attributes::new(), &[x.clone(), w.clone()].map(Some), 2).unwrap();
        assert_eq!(out[0], tensor(&[1, 2, 3], &[1f32, 12., 23., 8., 10., 12.]));
        assert_eq!(out[1], tensor(&[1, 2, 1], &[3f32, 6.]));
        let inputs = [x, w, bias, past].map(Some);
        let out = eval_all("", "CausalConvWithState", Attributes::new(), &inputs, 2).unwrap();
        assert_eq!(out[0], tensor(&[1, 2, 3], &[71f32, 12., 23., 8.5, 10.5, 12.5]));
    }

    #[test]
    fn short_inputs_leave_some_of_the_state() {
        let x = tensor(&[1, 1, 1], &[1f32]);
        let w = tensor(&[1, 1, 3], &[1f32, 1., 1.]);
        let past = tensor(&[1, 1, 2], &[7f32, 8.]);
        let out = eval_all("", "CausalConvWithState", Attributes::new(), &[Some(x), Some(w), None, Some(past)], 2);
        assert_eq!(out.unwrap(), [tensor(&[1, 1, 1], &[16f32]), tensor(&[1, 1, 2], &[8f32, 1.])]);
    }

    #[test]
    fn tensors_that_do_not_fit_are_refused() {
        for (x, w) in [(&[1, 2, 3][..], &[1, 1, 2][..]), (&[1, 2, 3], &[2, 1, 0]), (&[1, 2, 3], &[2, 2, 2])] {
            let zeros = |dims: &[usize]| Some(tensor(dims, &vec![0f32; dims.iter().product()]));
            let out = eval_all("", "CausalConvWithState", Attributes::new(), &[zeros(x), zeros(w)], 2);
            assert!(out.is_err(), "{x:?} {w:?}");
        }
    }
}
