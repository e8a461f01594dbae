//! Recurrent operators in `double`: the definitions, gate by gate, one sequence of the batch after another.

use super::{Cell, Form, Run};
use planish_ir::{EvalCx, Inputs, OpError, Outputs};
use planish_kernels::elementwise::Unary;
use planish_tensor::{Shape, Value};

/// What a cell's step reads and writes, for one sequence.
pub struct DoubleStep<'a> {
    /// The direction, as an index.
    pub way: usize,
    /// `[GATES · hidden, hidden]`.
    pub r: &'a [f64],
    /// The recurrence's biases; empty if there are none.
    pub recurrent_bias: &'a [f64],
    /// Weights of the cell state on its gates, for an LSTM that has them.
    pub peephole: Option<&'a [f64]>,
    /// What the input and its bias add to the gates.
    pub gates: &'a [f64],
    /// From the old state to the new one.
    pub hidden: &'a mut [f64],
    /// As `hidden`; empty where the cell has no such state.
    pub cell: &'a mut [f64],
}

impl DoubleStep<'_> {
    /// What a state adds to row `row` of all gates, the recurrence's bias included.
    pub fn recurrence(&self, row: usize, state: &[f64]) -> f64 {
        let weights = &self.r[row * state.len()..][..state.len()];
        dot(weights, state) + self.recurrent_bias.get(row).copied().unwrap_or(0.0)
    }

    /// What row `row` of all gates takes in from its input and the hidden state.
    pub fn sum(&self, row: usize) -> f64 {
        self.gates[row] + self.recurrence(row, self.hidden)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// An activation of what is first bound by `clip`.
pub fn activate(function: Unary, clip: Option<f32>, x: f64) -> f64 {
    let x = clip.map(f64::from).map_or(x, |bound| x.max(-bound).min(bound));
    match function {
        Unary::Relu => x.max(0.0),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Affine { alpha, beta } => f64::from(alpha) * x + f64::from(beta),
        Unary::LeakyRelu { alpha } if x < 0.0 => f64::from(alpha) * x,
        Unary::Elu { alpha } if x < 0.0 => f64::from(alpha) * x.exp_m1(),
        Unary::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
        Unary::ThresholdedRelu { alpha } if x <= f64::from(alpha) => 0.0,
        Unary::ScaledTanh { alpha, beta } => f64::from(alpha) * (f64::from(beta) * x).tanh(),
        Unary::LeakyRelu { .. } | Unary::Elu { .. } | Unary::ThresholdedRelu { .. } => x,
        other => unreachable!("no recurrent activation: {other:?}"),
    }
}

/// Evaluates a recurrent operator whose tensors are `double`.
pub fn eval<C: Cell>(cell: &C, form: &Form, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Outputs, OpError> {
    let (w, r) = (inputs.tensor(1)?, inputs.tensor(2)?);
    let [input, n] = form.weight_sizes::<C>(w, r)?;
    let run: Run<'_, f64> = Run::new::<C>(form, [input, n], inputs)?;
    let e = &run.extents;
    let width = C::GATES * n;
    let (x, w, r) = (inputs.slice::<f64>(0)?, w.as_slice::<f64>()?, r.as_slice::<f64>()?);
    let mut y = cx.zeros::<f64>(e.y_shape()?)?;
    let mut last = run.initial(cx, inputs, 5)?;
    let mut last_cell = if C::HAS_CELL_STATE { Some(run.initial(cx, inputs, 6)?) } else { None };
    let mut gates = cx.uninit::<f64>(Shape::new(&[width])?)?;
    for way in 0..e.ways {
        let (w, r) = (&w[way * width * input..][..width * input], &r[way * width * n..][..width * n]);
        let bias = run.bias.map_or(&[][..], |bias| &bias[way * 2 * width..][..2 * width]);
        let (input_bias, recurrent_bias) = bias.split_at(bias.len() / 2);
        let peephole = run.peephole.map(|p| &p[way * 3 * n..][..3 * n]);
        for b in 0..e.batch {
            let at = e.state(way, b)..e.state(way, b) + n;
            for step in 0..e.sequence {
                let Some(position) = run.position(way, step, b) else { break };
                cx.check()?;
                let x = &x[e.row(position, b) * input..][..input];
                for (row, gate) in gates.iter_mut().enumerate() {
                    *gate = dot(&w[row * input..][..input], x) + input_bias.get(row).copied().unwrap_or(0.0);
                }
                let hidden = &mut last[at.clone()];
                let state = last_cell.as_mut().map_or(&mut [][..], |cell| &mut cell[at.clone()]);
                cell.step_double(DoubleStep { way, r, recurrent_bias, peephole, gates: &gates, hidden, cell: state });
                y[e.y(position, way, b)..][..n].copy_from_slice(&last[at.clone()]);
            }
        }
    }
    let tensors = [Some(y), Some(last), last_cell].into_iter().take(if C::HAS_CELL_STATE { 3 } else { 2 });
    Ok(Outputs::new(tensors.map(|t| t.map(|t| Value::Tensor(t.freeze())))))
}
