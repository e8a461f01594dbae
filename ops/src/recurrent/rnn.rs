//! `RNN`: H = f(x·Wᵀ + H·Rᵀ + b).
//!
//! Opsets: 1; 7 takes `sequence_lens` to mean what it does now; 14 adds `layout`; 22 adds bfloat16.

use super::double::{DoubleStep, activate};
use super::{Cell, Form, Matrix, SHARED_INPUTS, Step, Weights, activations, is_batch_first, shared_attributes};
use crate::Define;
use planish_ir::{
    AttributeDef, AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Prepared, Schema, opt, optional,
};
use planish_kernels::elementwise::{Unary, unary};
use planish_kernels::simd::Operand;
use std::sync::Arc;

/// `RNN`.
#[derive(Debug)]
pub struct Rnn {
    form: Form,
    cell: RnnCell,
    weights: Option<Arc<Weights>>,
}

#[derive(Clone, Debug)]
struct RnnCell {
    /// For each direction.
    activations: Vec<Unary>,
    clip: Option<f32>,
}

const ATTRIBUTES: [AttributeDef; 7] = {
    let [a, b, c, d, e, f] = shared_attributes();
    [a, b, c, d, e, f, optional("activations", AttributeKind::Strings)]
};

impl Define for Rnn {
    const SCHEMA: Schema = Schema::new("RNN", 22)
        .inputs(&SHARED_INPUTS)
        .outputs(&[opt("Y", FLOATS).var("T"), opt("Y_h", FLOATS).var("T")])
        .attributes(&ATTRIBUTES);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let form = Form::parse(node, is_batch_first(node)?)?;
        let activations = activations::parse(node, form.ways.len(), &["Tanh"])?.concat();
        let cell = RnnCell { activations, clip: form.clip };
        Ok(Rnn { form, cell, weights: None })
    }
}

impl Cell for RnnCell {
    const GATES: usize = 1;

    fn pack(&self, cx: &EvalCx<'_>, r: &[f32], hidden: usize) -> Result<Vec<Matrix>, OpError> {
        Ok(vec![Matrix::of_rows(cx, r, hidden, hidden)?])
    }

    fn step(&self, cx: &EvalCx<'_>, step: Step<'_>) -> Result<(), OpError> {
        let Step { way, hidden_size: n, recurrence, gates, hidden, .. } = step;
        recurrence[0].add_product(cx, hidden, gates, n)?;
        if let Some(bound) = self.clip {
            unary(Unary::Clip { min: -bound, max: bound }, Operand::Output, gates);
        }
        unary(self.activations[way], Operand::Slice(gates), hidden);
        Ok(())
    }

    fn step_double(&self, step: DoubleStep<'_>) {
        let sums: Vec<f64> = (0..step.hidden.len()).map(|row| step.sum(row)).collect();
        let function = self.activations[step.way];
        step.hidden.iter_mut().zip(sums).for_each(|(h, sum)| *h = activate(function, self.clip, sum));
    }
}

impl Op for Rnn {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.form.infer(x, RnnCell::GATES, 1)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        super::eval(&self.cell, &self.form, self.weights.as_ref(), cx, inputs)
    }

    fn macs(&self, x: &Facts<'_>, _outputs: &[Fact]) -> Dim {
        self.form.macs(x)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        super::prepare(&self.cell, &self.form, cx, x, |weights| {
            Arc::new(Rnn { form: self.form.clone(), cell: self.cell.clone(), weights: Some(weights) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Case, check};
    use planish_ir::{Attribute, Attributes};

    #[test]
    fn sequences_of_any_layout_and_direction() {
        let plain = Attributes::new();
        check(
            "RNN",
            1,
            &[
                Case { attributes: plain.clone(), ways: 1, lengths: None },
                Case { attributes: plain.clone().with("direction", "bidirectional"), ways: 2, lengths: Some([2, 3]) },
                Case { attributes: plain.clone().with("layout", 1), ways: 1, lengths: None },
                Case {
                    attributes: plain.with("activations", Attribute::Strings(vec!["Tanh".to_owned(); 2])),
                    ways: 1,
                    lengths: None,
                },
            ],
            |w, r, b, x, h, c| ((w(0, x) + r(0, h) + b(0)).tanh(), c),
        );
    }
}
