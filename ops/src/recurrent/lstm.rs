//! `LSTM`: i, o, f = f(x·Wᵀ + H·Rᵀ + P ⊙ C + b); C = f ⊙ C + i ⊙ g(x·Wᵀ + H·Rᵀ + b); H = o ⊙ h(C).
//!
//! Opsets: 1; 7 takes `sequence_lens` to mean what it does now; 14 adds `layout`; 22 adds bfloat16.

use super::double::{DoubleStep, activate};
use super::{Cell, Form, Matrix, SHARED_INPUTS, Step, Weights, activations, is_batch_first, shared_attributes};
use crate::Define;
use planish_ir::{
    AttributeDef, AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, Formal, InferError, Inputs,
    NodeView, Op, OpError, Outputs, Prepared, Schema, int, opt, optional,
};
use planish_kernels::rnn::{LstmActivations, lstm_step};
use std::sync::Arc;

/// `LSTM`.
#[derive(Debug)]
pub struct Lstm {
    form: Form,
    cell: LstmCell,
    weights: Option<Arc<Weights>>,
}

/// What an LSTM does at each step.
#[derive(Clone, Debug)]
pub(super) struct LstmCell {
    /// For each direction.
    activations: Vec<LstmActivations>,
    clip: Option<f32>,
    /// Whether the forget gate is 1 − the input gate.
    is_forget_coupled: bool,
}

const INPUTS: [Formal; 8] = {
    let [x, w, r, b, lengths, h] = SHARED_INPUTS;
    [x, w, r, b, lengths, h, opt("initial_c", FLOATS).var("T"), opt("P", FLOATS).var("T")]
};

const ATTRIBUTES: [AttributeDef; 8] = {
    let [a, b, c, d, e, f] = shared_attributes();
    [a, b, c, d, e, f, optional("activations", AttributeKind::Strings), int("input_forget", 0)]
};

impl Define for Lstm {
    const SCHEMA: Schema = Schema::new("LSTM", 22)
        .inputs(&INPUTS)
        .outputs(&[opt("Y", FLOATS).var("T"), opt("Y_h", FLOATS).var("T"), opt("Y_c", FLOATS).var("T")])
        .attributes(&ATTRIBUTES);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let form = Form::parse(node, is_batch_first(node)?)?;
        let cell = LstmCell::parse(node, &form)?;
        Ok(Lstm { form, cell, weights: None })
    }
}

impl LstmCell {
    pub(super) fn parse(node: &NodeView<'_>, form: &Form) -> Result<LstmCell, AttributeError> {
        let functions = activations::parse(node, form.ways.len(), &["Sigmoid", "Tanh", "Tanh"])?;
        let activations = functions.iter().map(|f| LstmActivations { gate: f[0], cell: f[1], hidden: f[2] }).collect();
        Ok(LstmCell { activations, clip: form.clip, is_forget_coupled: node.flag("input_forget")? })
    }
}

impl Cell for LstmCell {
    const GATES: usize = 4;
    const HAS_CELL_STATE: bool = true;

    fn pack(&self, cx: &EvalCx<'_>, r: &[f32], hidden: usize) -> Result<Vec<Matrix>, OpError> {
        Ok(vec![Matrix::of_rows(cx, r, 4 * hidden, hidden)?])
    }

    fn step(&self, cx: &EvalCx<'_>, step: Step<'_>) -> Result<(), OpError> {
        let Step { way, hidden_size: n, recurrence, peephole, gates, hidden, cell, .. } = step;
        recurrence[0].add_product(cx, hidden, gates, 4 * n)?;
        let peephole = peephole.map(|p| [&p[..n], &p[n..2 * n], &p[2 * n..]]);
        let rows = gates.chunks_exact_mut(4 * n).zip(cell.chunks_exact_mut(n)).zip(hidden.chunks_exact_mut(n));
        for ((gates, cell), hidden) in rows {
            let activations = &self.activations[way];
            lstm_step(gates, cell, hidden, peephole, activations, self.clip, self.is_forget_coupled);
        }
        Ok(())
    }

    fn step_double(&self, step: DoubleStep<'_>) {
        let n = step.hidden.len();
        let LstmActivations { gate, cell, hidden } = self.activations[step.way];
        let sums: Vec<f64> = (0..4 * n).map(|row| step.sum(row)).collect();
        let of_gate = |which: usize, i: usize, state: f64| {
            let seen = step.peephole.map_or(0.0, |weights| weights[which * n + i] * state);
            activate(gate, self.clip, sums[which * n + i] + seen)
        };
        for (i, (h, c)) in step.hidden.iter_mut().zip(step.cell).enumerate() {
            let input = of_gate(0, i, *c);
            let forget = if self.is_forget_coupled { 1.0 - input } else { of_gate(2, i, *c) };
            *c = forget * *c + input * activate(cell, self.clip, sums[3 * n + i]);
            *h = of_gate(1, i, *c) * activate(hidden, None, *c);
        }
    }
}

impl Op for Lstm {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.form.infer(x, LstmCell::GATES, 1)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        super::eval(&self.cell, &self.form, self.weights.as_ref(), cx, inputs)
    }

    fn macs(&self, x: &Facts<'_>, _outputs: &[Fact]) -> Dim {
        self.form.macs(x)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        super::prepare(&self.cell, &self.form, cx, x, |weights| {
            Arc::new(Lstm { form: self.form.clone(), cell: self.cell.clone(), weights: Some(weights) })
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
        check(
            "LSTM",
            4,
            &[
                Case { attributes: plain.clone(), ways: 1, lengths: None },
                Case { attributes: plain.clone().with("direction", "reverse"), ways: 1, lengths: None },
                Case { attributes: plain.clone().with("direction", "bidirectional"), ways: 2, lengths: Some([2, 3]) },
                Case { attributes: plain.with("layout", 1), ways: 1, lengths: Some([1, 2]) },
            ],
            |w, r, b, x, h, c| {
                let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
                let gate = |g: usize| w(g, x) + r(g, h) + b(g);
                let cell = sigmoid(gate(2)) * c + sigmoid(gate(0)) * gate(3).tanh();
                (sigmoid(gate(1)) * cell.tanh(), cell)
            },
        );
    }
}
