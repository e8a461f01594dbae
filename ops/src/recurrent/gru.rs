//! `GRU`: z, r = f(x·Wᵀ + H·Rᵀ + b); h = g(x·Wᵀ + (r ⊙ H)·Rᵀ + b); H = (1 − z) ⊙ h + z ⊙ H.
//!
//! With `linear_before_reset`, h = g(x·Wᵀ + r ⊙ (H·Rᵀ + Rb) + Wb).
//!
//! Opsets: 1; 3 adds `linear_before_reset`; 7 takes `sequence_lens` to mean what it does now; 14 adds `layout`; 22 adds
//! bfloat16.

use super::double::{DoubleStep, activate};
use super::{Cell, Form, Matrix, SHARED_INPUTS, Step, Weights, activations, is_batch_first, shared_attributes};
use crate::Define;
use planish_ir::{
    AttributeDef, AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Prepared, Schema, int, opt, optional,
};
use planish_kernels::elementwise::Unary;
use planish_kernels::gemm::Bias;
use planish_kernels::rnn::{add_product, gru_gates, gru_step};
use planish_tensor::Shape;
use std::sync::Arc;

/// `GRU`.
#[derive(Debug)]
pub struct Gru {
    form: Form,
    cell: GruCell,
    weights: Option<Arc<Weights>>,
}

#[derive(Clone, Debug)]
struct GruCell {
    /// Of the gates and of the candidate, for each direction.
    activations: Vec<[Unary; 2]>,
    clip: Option<f32>,
    /// Whether the reset gate acts on the state's product instead of the state.
    is_linear_before_reset: bool,
}

const ATTRIBUTES: [AttributeDef; 8] = {
    let [a, b, c, d, e, f] = shared_attributes();
    [a, b, c, d, e, f, optional("activations", AttributeKind::Strings), int("linear_before_reset", 0)]
};

impl Define for Gru {
    const SCHEMA: Schema = Schema::new("GRU", 22)
        .inputs(&SHARED_INPUTS)
        .outputs(&[opt("Y", FLOATS).var("T"), opt("Y_h", FLOATS).var("T")])
        .attributes(&ATTRIBUTES);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let form = Form::parse(node, is_batch_first(node)?)?;
        let functions = activations::parse(node, form.ways.len(), &["Sigmoid", "Tanh"])?;
        let cell = GruCell {
            activations: functions.iter().map(|f| [f[0], f[1]]).collect(),
            clip: form.clip,
            is_linear_before_reset: node.flag("linear_before_reset")?,
        };
        Ok(Gru { form, cell, weights: None })
    }
}

impl Cell for GruCell {
    const GATES: usize = 3;

    /// The gates' weights and the candidate's.
    fn pack(&self, cx: &EvalCx<'_>, r: &[f32], hidden: usize) -> Result<Vec<Matrix>, OpError> {
        let (gates, candidate) = r.split_at(2 * hidden * hidden);
        Ok(vec![Matrix::of_rows(cx, gates, 2 * hidden, hidden)?, Matrix::of_rows(cx, candidate, hidden, hidden)?])
    }

    fn gate_bias(&self, input: &[f32], recurrent: &[f32]) -> Vec<f32> {
        let fused = if self.is_linear_before_reset { input.len() / 3 * 2 } else { input.len() };
        let recurrent = recurrent.iter().enumerate().map(|(i, &r)| if i < fused { r } else { 0.0 });
        input.iter().zip(recurrent).map(|(w, r)| w + r).collect()
    }

    fn step(&self, cx: &EvalCx<'_>, step: Step<'_>) -> Result<(), OpError> {
        let Step { way, hidden_size: n, recurrence, recurrent_bias, gates, hidden, .. } = step;
        let [gate, candidate] = self.activations[way];
        let batch = hidden.len() / n;
        recurrence[0].add_product(cx, hidden, gates, 3 * n)?;
        let mut product = cx.uninit::<f32>(Shape::new(&[batch, n])?)?;
        if self.is_linear_before_reset {
            let bias = if recurrent_bias.is_empty() { Bias::None } else { Bias::PerColumn(&recurrent_bias[2 * n..]) };
            recurrence[1].multiply(cx, hidden, bias, &mut product, n)?;
        }
        for (gates, product) in gates.chunks_exact_mut(3 * n).zip(product.chunks_exact_mut(n)) {
            gru_gates(&mut gates[..2 * n], gate, self.clip);
            if self.is_linear_before_reset {
                let (gates, candidate) = gates.split_at_mut(2 * n);
                add_product(&gates[n..], product, candidate);
            }
        }
        if !self.is_linear_before_reset {
            let rows = product.chunks_exact_mut(n).zip(gates.chunks_exact(3 * n)).zip(hidden.chunks_exact(n));
            for ((product, gates), hidden) in rows {
                product.fill(0.0);
                add_product(&gates[n..2 * n], hidden, product);
            }
            if batch > 0 {
                recurrence[1].add_product(cx, &product, &mut gates[2 * n..], 3 * n)?;
            }
        }
        for (gates, hidden) in gates.chunks_exact_mut(3 * n).zip(hidden.chunks_exact_mut(n)) {
            let (gates, own) = gates.split_at_mut(2 * n);
            gru_step(&gates[..n], own, hidden, candidate, self.clip);
        }
        Ok(())
    }

    fn step_double(&self, step: DoubleStep<'_>) {
        let n = step.hidden.len();
        let [gate, candidate] = self.activations[step.way];
        let gates: Vec<f64> = (0..2 * n).map(|row| activate(gate, self.clip, step.sum(row))).collect();
        let (update, reset) = gates.split_at(n);
        let kept: Vec<f64> = reset.iter().zip(&*step.hidden).map(|(r, h)| r * h).collect();
        let new = |i: usize| {
            let row = 2 * n + i;
            let from_state = match self.is_linear_before_reset {
                true => reset[i] * step.recurrence(row, step.hidden),
                false => step.recurrence(row, &kept),
            };
            activate(candidate, self.clip, step.gates[row] + from_state)
        };
        let new: Vec<f64> = (0..n).map(new).collect();
        for ((h, z), new) in step.hidden.iter_mut().zip(update).zip(new) {
            *h = (1.0 - z) * new + z * *h;
        }
    }
}

impl Op for Gru {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.form.infer(x, GruCell::GATES, 1)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        super::eval(&self.cell, &self.form, self.weights.as_ref(), cx, inputs)
    }

    fn macs(&self, x: &Facts<'_>, _outputs: &[Fact]) -> Dim {
        self.form.macs(x)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        super::prepare(&self.cell, &self.form, cx, x, |weights| {
            Arc::new(Gru { form: self.form.clone(), cell: self.cell.clone(), weights: Some(weights) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, check};
    use planish_ir::Attributes;

    #[test]
    fn sequences_of_any_layout_and_direction() {
        let plain = Attributes::new();
        let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
        check(
            "GRU",
            3,
            &[
                Case { attributes: plain.clone(), ways: 1, lengths: None },
                Case { attributes: plain.clone().with("direction", "bidirectional"), ways: 2, lengths: Some([2, 3]) },
                Case { attributes: plain.with("layout", 1), ways: 1, lengths: None },
            ],
            |w, r, b, x, h, c| {
                let z = sigmoid(w(0, x) + r(0, h) + b(0));
                let reset = sigmoid(w(1, x) + r(1, h) + b(1));
                let candidate = (w(2, x) + r(2, reset * h) + b(2)).tanh();
                ((1.0 - z) * candidate + z * h, c)
            },
        );
    }
}
