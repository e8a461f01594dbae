//! `LSTM`, `GRU`, `RNN`: a cell applied along a sequence, forwards, backwards or both.
//!
//! What the input adds to the gates is one product for the whole sequence; then each step adds what the state does. The cells
//! are in files of their own; directions, layouts and sequences of different lengths are settled here for all of them.

mod activations;
mod double;
mod dynamic_quantize_lstm;
mod gru;
mod lstm;
mod rnn;
mod weights;

pub use dynamic_quantize_lstm::DynamicQuantizeLstm;
pub use gru::Gru;
pub use lstm::Lstm;
pub use rnn::Rnn;

use crate::dtypes::to_f32;
use crate::half::{is_half, widened};
use double::DoubleStep;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, Formal, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Prepared, Types, arg, opt,
};
use planish_kernels::gemm::Bias;
use planish_tensor::{DType, Element, Shape, TensorMut, Value};
use std::fmt::Debug;
use std::sync::Arc;
use weights::{Matrix, Weights};

const LENGTHS: Types = Types::of(&[DType::I32]);

/// The inputs that all three operators share, in order.
const SHARED_INPUTS: [Formal; 6] = [
    arg("X", FLOATS).var("T"),
    arg("W", FLOATS).var("T"),
    arg("R", FLOATS).var("T"),
    opt("B", FLOATS).var("T"),
    opt("sequence_lens", LENGTHS).var("T1"),
    opt("initial_h", FLOATS).var("T"),
];

/// One way through the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Reverse,
}

/// The attributes that all three operators share.
#[derive(Clone, Debug)]
struct Form {
    ways: Vec<Way>,
    hidden_size: Option<usize>,
    /// Whether the batch is the first axis (`layout` 1).
    is_batch_first: bool,
    clip: Option<f32>,
}

impl Form {
    fn parse(node: &NodeView<'_>, is_batch_first: bool) -> Result<Form, AttributeError> {
        let ways = node.choice(
            "direction",
            &[
                ("forward", &[Way::Forward][..]),
                ("reverse", &[Way::Reverse]),
                ("bidirectional", &[Way::Forward, Way::Reverse]),
            ],
        )?;
        let hidden_size = match node.opt_int("hidden_size") {
            None => None,
            Some(size) => Some(u32::try_from(size).ok().filter(|&size| size > 0).ok_or_else(|| {
                AttributeError::invalid(format!("attribute \"hidden_size\": expected a positive number, got {size}"))
            })? as usize),
        };
        let clip = node.opt_float("clip").filter(|&clip| clip > 0.0);
        Ok(Form { ways: ways.to_vec(), hidden_size, is_batch_first, clip })
    }

    /// What is known of `Y`, `Y_h` and, for an LSTM, `Y_c`, where the weights of all gates lie along axis `gate_axis` of W and
    /// R, and what they apply to along the other one of 1 and 2.
    fn infer(&self, x: &Facts<'_>, gates: usize, gate_axis: usize) -> Result<Vec<Fact>, InferError> {
        for (index, rank) in [(0, 3), (1, 3), (2, 3), (3, 2), (4, 1), (5, 3)] {
            if let Some(got) = x.rank(index).filter(|&got| got != rank) {
                return Err(InferError(format!("input {index}: expected rank {rank}, got rank {got}")));
            }
        }
        let dim = |index: usize, axis: usize| x.shape(index).and_then(|s| s.get(axis)).cloned();
        let ways = Dim::known(self.ways.len() as i64);
        let hidden = match self.hidden_size {
            Some(size) => Dim::known(size as i64),
            None => dim(2, 3 - gate_axis).unwrap_or_else(Dim::unknown),
        };
        for (index, expected) in [(1, &hidden * gates as i64), (2, &hidden * gates as i64)] {
            if let Some(shape) = x.shape(index)
                && (Dim::provably_different(&shape[0], &ways) || Dim::provably_different(&shape[gate_axis], &expected))
            {
                return Err(InferError(format!(
                    "input {index}: expected {ways} directions and {expected} rows of gates, got {shape:?}"
                )));
            }
        }
        let (sequence, batch) = if self.is_batch_first { (1, 0) } else { (0, 1) };
        let sequence = dim(0, sequence).unwrap_or_else(Dim::unknown);
        let batch = dim(0, batch).unwrap_or_else(Dim::unknown);
        let (y, state) = if self.is_batch_first {
            (vec![batch.clone(), sequence, ways.clone(), hidden.clone()], vec![batch, ways, hidden])
        } else {
            (vec![sequence, ways.clone(), batch.clone(), hidden.clone()], vec![ways, batch, hidden])
        };
        let fact = |dims| Fact::shaped(x.dtype(0), dims);
        let mut facts = vec![fact(y), fact(state.clone()), fact(state)];
        facts.truncate(x.num_outputs());
        Ok(facts)
    }

    /// Multiply-accumulates of all products.
    fn macs(&self, x: &Facts<'_>) -> Dim {
        let (Some([a, b, _]), Some([ways, rows, columns]), Some([_, r_rows, r_columns])) =
            (x.shape(0), x.shape(1), x.shape(2))
        else {
            return Dim::unknown();
        };
        a * b * ways * (rows * columns + r_rows * r_columns)
    }
}

/// A cell: what one step makes of gates and state.
trait Cell: Debug + Send + Sync {
    /// Gates, each as wide as the hidden state.
    const GATES: usize;
    /// Whether there is a second state besides the hidden one.
    const HAS_CELL_STATE: bool = false;

    /// The weights of one direction's recurrence, packed. `r` is `[GATES · hidden, hidden]`.
    fn pack(&self, cx: &EvalCx<'_>, r: &[f32], hidden: usize) -> Result<Vec<Matrix>, OpError>;

    /// The bias that is added to the gates together with the input's part, from the input's and the recurrence's biases.
    fn gate_bias(&self, input: &[f32], recurrent: &[f32]) -> Vec<f32> {
        input.iter().zip(recurrent).map(|(w, r)| w + r).collect()
    }

    /// One step of a batch.
    fn step(&self, cx: &EvalCx<'_>, step: Step<'_>) -> Result<(), OpError>;

    /// One step of one sequence, by the definition.
    fn step_double(&self, step: DoubleStep<'_>);
}

/// What a cell's step reads and writes.
struct Step<'a> {
    /// The direction, as an index.
    way: usize,
    hidden_size: usize,
    recurrence: &'a [Matrix],
    /// The recurrence's biases, a gate each; zeros if there are none.
    recurrent_bias: &'a [f32],
    /// Weights of the cell state on its gates, for an LSTM that has them.
    peephole: Option<&'a [f32]>,
    /// `[batch, GATES · hidden]`: what input and bias add; used up.
    gates: &'a mut [f32],
    /// `[batch, hidden]`, from the old state to the new one.
    hidden: &'a mut [f32],
    /// As `hidden`; empty where the cell has no such state.
    cell: &'a mut [f32],
}

/// The state of a batch in one direction, and where sequences end.
struct Extents {
    sequence: usize,
    batch: usize,
    hidden: usize,
    ways: usize,
    is_batch_first: bool,
}

impl Extents {
    /// The row of `X` for element `b` of the batch at `position`.
    fn row(&self, position: usize, b: usize) -> usize {
        if self.is_batch_first { b * self.sequence + position } else { position * self.batch + b }
    }

    /// Where `Y` holds that element for one direction.
    fn y(&self, position: usize, way: usize, b: usize) -> usize {
        let row = if self.is_batch_first {
            (b * self.sequence + position) * self.ways + way
        } else {
            (position * self.ways + way) * self.batch + b
        };
        row * self.hidden
    }

    /// Where a state holds that element for one direction.
    fn state(&self, way: usize, b: usize) -> usize {
        self.hidden * if self.is_batch_first { b * self.ways + way } else { way * self.batch + b }
    }

    fn y_shape(&self) -> Result<Shape, OpError> {
        let &Extents { sequence, batch, hidden, ways, is_batch_first } = self;
        let dims = if is_batch_first { [batch, sequence, ways, hidden] } else { [sequence, ways, batch, hidden] };
        Ok(Shape::new(&dims)?)
    }

    fn state_shape(&self) -> Result<Shape, OpError> {
        let &Extents { batch, hidden, ways, is_batch_first, .. } = self;
        Ok(Shape::new(&if is_batch_first { [batch, ways, hidden] } else { [ways, batch, hidden] })?)
    }
}

/// Evaluates a recurrent operator. Inputs beyond `initial_h` are `initial_c` and the peepholes of an LSTM.
fn eval<C: Cell>(
    cell: &C,
    form: &Form,
    weights: Option<&Arc<Weights>>,
    cx: &mut EvalCx<'_>,
    inputs: Inputs,
) -> Result<Outputs, OpError> {
    let dtype = inputs.tensor(0)?.dtype();
    if dtype == DType::F64 {
        return double::eval(cell, form, cx, &inputs);
    }
    if dtype != DType::F32 && !is_half(dtype) {
        return Err(OpError::unsupported(format!("dtype {dtype}")));
    }
    widened(cx, inputs, &[dtype; 3], |cx, inputs| {
        let weights = match weights {
            Some(weights) => weights.clone(),
            None => Arc::new(Weights::pack(cell, form, cx, inputs.tensor(1)?, inputs.tensor(2)?)?),
        };
        Run::new::<C>(form, [weights.input_size, weights.hidden_size], &inputs)?.run(cell, &weights, cx, &inputs)
    })
}

/// One evaluation, its inputs checked.
struct Run<'a, T> {
    form: &'a Form,
    extents: Extents,
    lengths: Option<Vec<usize>>,
    bias: Option<&'a [T]>,
    peephole: Option<&'a [T]>,
}

impl<'a, T: Element> Run<'a, T> {
    /// For weights of these numbers of input features and hidden units.
    fn new<C: Cell>(
        form: &'a Form,
        [input_size, hidden]: [usize; 2],
        inputs: &'a Inputs,
    ) -> Result<Run<'a, T>, OpError> {
        let x = inputs.tensor(0)?.shape();
        let &[a, b, input] = x.dims() else {
            return Err(OpError::invalid(format!("expected an input of rank 3, got shape {x}")));
        };
        if input != input_size {
            return Err(OpError::invalid(format!("the input has {input} features, W is for {input_size}")));
        }
        let (sequence, batch) = if form.is_batch_first { (b, a) } else { (a, b) };
        let ways = form.ways.len();
        let extents = Extents { sequence, batch, hidden, ways, is_batch_first: form.is_batch_first };
        let lengths = inputs.opt_slice::<i32>(4)?.map(|lengths| extents.check_lengths(lengths)).transpose()?;
        let sized = |index: usize, shape: &[usize]| -> Result<Option<&'a [T]>, OpError> {
            let Some(tensor) = inputs.opt_tensor(index)? else { return Ok(None) };
            if tensor.shape().dims() != shape {
                return Err(OpError::invalid(format!(
                    "input {index}: expected shape {shape:?}, got {}",
                    tensor.shape()
                )));
            }
            Ok(Some(tensor.as_slice()?))
        };
        let bias = sized(3, &[ways, 2 * C::GATES * hidden])?;
        let state = extents.state_shape()?;
        sized(5, &state)?;
        let peephole = if C::HAS_CELL_STATE {
            sized(6, &state)?;
            sized(7, &[ways, 3 * hidden])?
        } else {
            None
        };
        Ok(Run { form, extents, lengths, bias, peephole })
    }

    /// The initial state of all directions, zeros if it is not given.
    fn initial(&self, cx: &EvalCx<'_>, inputs: &Inputs, index: usize) -> Result<TensorMut<T>, OpError> {
        let mut state = cx.zeros::<T>(self.extents.state_shape()?)?;
        if let Some(given) = inputs.opt_slice::<T>(index)? {
            state.copy_from_slice(given);
        }
        Ok(state)
    }

    /// Where in its sequence element `b` stands at `step`; nowhere once it has ended.
    fn position(&self, way: usize, step: usize, b: usize) -> Option<usize> {
        let length = self.lengths.as_ref().map_or(self.extents.sequence, |lengths| lengths[b]);
        let left = length.checked_sub(step + 1)?;
        Some(if self.form.ways[way] == Way::Reverse { left } else { step })
    }
}

impl Run<'_, f32> {
    fn run<C: Cell>(&self, cell: &C, weights: &Weights, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Outputs, OpError> {
        let e = &self.extents;
        let mut y = cx.wants(0).then(|| cx.zeros::<f32>(e.y_shape()?)).transpose()?;
        let mut last = self.initial(cx, inputs, 5)?;
        let mut last_cell = if C::HAS_CELL_STATE { Some(self.initial(cx, inputs, 6)?) } else { None };
        let x = inputs.slice::<f32>(0)?;
        if e.ways > 1 && cx.threads.count() > 1 {
            self.run_abreast(cell, weights, cx, x, y.as_deref_mut(), &mut last, last_cell.as_deref_mut())?;
        } else {
            for way in 0..e.ways {
                let states = [Some(&mut *last), last_cell.as_deref_mut()];
                self.run_way(cell, weights, cx, x, way, (e, way), y.as_deref_mut(), states)?;
            }
        }
        let tensors = [y, Some(last), last_cell];
        let outputs = tensors.into_iter().map(|t| t.map(|t| Value::Tensor(t.freeze())));
        Ok(Outputs::new(outputs.take(if C::HAS_CELL_STATE { 3 } else { 2 })))
    }

    /// All directions at once, a thread each: steps are too short to be shared out.
    fn run_abreast<C: Cell>(
        &self,
        cell: &C,
        weights: &Weights,
        cx: &EvalCx<'_>,
        x: &[f32],
        mut y: Option<&mut [f32]>,
        last: &mut [f32],
        mut last_cell: Option<&mut [f32]>,
    ) -> Result<(), OpError> {
        let (all, one) = (&self.extents, Extents { ways: 1, ..self.extents });
        let mut runs = (0..all.ways)
            .map(|way| {
                let own = |from: &[f32]| -> Result<TensorMut<f32>, OpError> {
                    let mut state = cx.uninit::<f32>(one.state_shape()?)?;
                    copy_state((&one, 0), &mut state, (all, way), from);
                    Ok(state)
                };
                let y = y.as_ref().map(|_| cx.zeros::<f32>(one.y_shape()?)).transpose()?;
                Ok((way, y, own(last)?, last_cell.as_deref().map(own).transpose()?, Ok(())))
            })
            .collect::<Result<Vec<_>, OpError>>()?;
        let alone = EvalCx {
            memory: cx.memory.clone(),
            threads: cx.threads.alone(),
            deadline: cx.deadline,
            cancel: cx.cancel.clone(),
            bodies: cx.bodies,
            wanted: cx.wanted.clone(),
        };
        cx.threads.for_each_item(&mut runs, |(way, y, last, last_cell, result)| {
            let states = [Some(&mut **last), last_cell.as_deref_mut()];
            *result = self.run_way(cell, weights, &alone, x, *way, (&one, 0), y.as_deref_mut(), states);
        });
        for (way, own_y, own_last, own_cell, result) in runs {
            result?;
            if let (Some(y), Some(own)) = (&mut y, own_y) {
                for (position, b) in (0..all.sequence).flat_map(|position| (0..all.batch).map(move |b| (position, b))) {
                    let from = &own[one.y(position, 0, b)..][..all.hidden];
                    y[all.y(position, way, b)..][..all.hidden].copy_from_slice(from);
                }
            }
            copy_state((all, way), last, (&one, 0), &own_last);
            if let (Some(last_cell), Some(own)) = (&mut last_cell, own_cell) {
                copy_state((all, way), last_cell, (&one, 0), &own);
            }
        }
        Ok(())
    }

    /// One direction, whose outputs and states are those of direction `slot` in `y` and states of these extents.
    fn run_way<C: Cell>(
        &self,
        cell: &C,
        weights: &Weights,
        cx: &EvalCx<'_>,
        x: &[f32],
        way: usize,
        (e, slot): (&Extents, usize),
        mut y: Option<&mut [f32]>,
        [last, last_cell]: [Option<&mut [f32]>; 2],
    ) -> Result<(), OpError> {
        let width = C::GATES * e.hidden;
        let own = &weights.ways[way];
        let longest = self.lengths.as_ref().map_or(e.sequence, |lengths| lengths.iter().copied().max().unwrap_or(0));
        let rows = if e.is_batch_first { e.sequence } else { longest } * e.batch;
        let (input_bias, recurrent_bias) = match self.bias {
            Some(bias) => bias[way * 2 * width..][..2 * width].split_at(width),
            None => (&[][..], &[][..]),
        };
        let bias = cell.gate_bias(input_bias, recurrent_bias);
        let bias = if bias.is_empty() { Bias::None } else { Bias::PerColumn(&bias) };
        let mut from_input = cx.uninit::<f32>(Shape::new(&[rows, width])?)?;
        own.input.multiply(cx, &x[..rows * weights.input_size], bias, &mut from_input, width)?;

        let matrix = |columns: usize| Shape::new(&[e.batch, columns]);
        let mut gates = cx.uninit::<f32>(matrix(width)?)?;
        let mut hidden = e.gather(cx, slot, last.as_deref())?;
        let mut cell_state = e.gather(cx, slot, last_cell.as_deref())?;
        let peephole = self.peephole.map(|p| &p[way * 3 * e.hidden..][..3 * e.hidden]);
        let mut kept = (cx.uninit::<f32>(matrix(e.hidden)?)?, cx.uninit::<f32>(Shape::new(&[cell_state.len()])?)?);
        for step in 0..longest {
            cx.check()?;
            if self.lengths.is_some() {
                kept.0.copy_from_slice(&hidden);
                kept.1.copy_from_slice(&cell_state);
            }
            for (b, gates) in gates.chunks_exact_mut(width.max(1)).enumerate() {
                let row = e.row(self.position(way, step, b).unwrap_or(step), b);
                gates.copy_from_slice(&from_input[row * width..][..width]);
            }
            cell.step(
                cx,
                Step {
                    way,
                    hidden_size: e.hidden,
                    recurrence: &own.recurrence,
                    recurrent_bias,
                    peephole,
                    gates: &mut gates,
                    hidden: &mut hidden,
                    cell: &mut cell_state,
                },
            )?;
            for b in 0..e.batch {
                let part = b * e.hidden..(b + 1) * e.hidden;
                match (self.position(way, step, b), &mut y) {
                    (Some(position), Some(y)) => {
                        y[e.y(position, slot, b)..][..e.hidden].copy_from_slice(&hidden[part]);
                    }
                    (Some(_), None) => {}
                    (None, _) => {
                        hidden[part.clone()].copy_from_slice(&kept.0[part.clone()]);
                        if C::HAS_CELL_STATE {
                            cell_state[part.clone()].copy_from_slice(&kept.1[part]);
                        }
                    }
                }
            }
        }
        e.scatter(slot, &hidden, last);
        e.scatter(slot, &cell_state, last_cell);
        Ok(())
    }
}

impl Extents {
    /// One direction's part of a state; empty where there is no such state.
    fn gather(&self, cx: &EvalCx<'_>, way: usize, state: Option<&[f32]>) -> Result<TensorMut<f32>, OpError> {
        let Some(state) = state else { return cx.uninit::<f32>(Shape::new(&[0])?) };
        let mut part = cx.uninit::<f32>(Shape::new(&[self.batch, self.hidden])?)?;
        for (b, row) in part.chunks_exact_mut(self.hidden.max(1)).enumerate() {
            row.copy_from_slice(&state[self.state(way, b)..][..self.hidden]);
        }
        Ok(part)
    }

    fn scatter(&self, way: usize, part: &[f32], state: Option<&mut [f32]>) {
        let Some(state) = state else { return };
        for (b, row) in part.chunks_exact(self.hidden.max(1)).enumerate() {
            state[self.state(way, b)..][..self.hidden].copy_from_slice(row);
        }
    }

    fn check_lengths(&self, lengths: &[i32]) -> Result<Vec<usize>, OpError> {
        let checked: Option<Vec<usize>> =
            lengths.iter().map(|&n| usize::try_from(n).ok().filter(|&n| n <= self.sequence)).collect();
        checked.filter(|lengths| lengths.len() == self.batch).ok_or_else(|| {
            OpError::invalid(format!(
                "sequence_lens: expected {} numbers from 0 to {}, got {lengths:?}",
                self.batch, self.sequence
            ))
        })
    }
}

/// Copies one direction's part of a state into a state of another number of directions.
fn copy_state((to_form, to_way): (&Extents, usize), to: &mut [f32], (form, way): (&Extents, usize), from: &[f32]) {
    for b in 0..form.batch {
        let from = &from[form.state(way, b)..][..form.hidden];
        to[to_form.state(to_way, b)..][..form.hidden].copy_from_slice(from);
    }
}

/// Whether `layout` makes the batch the first axis.
fn is_batch_first(node: &NodeView<'_>) -> Result<bool, AttributeError> {
    match node.int("layout")? {
        0 => Ok(false),
        1 => Ok(true),
        got => Err(AttributeError::invalid(format!("attribute \"layout\": expected 0 or 1, got {got}"))),
    }
}

/// The attributes that all three operators share, for their schemas.
const fn shared_attributes() -> [planish_ir::AttributeDef; 6] {
    use planish_ir::{int, optional, string};
    [
        optional("activation_alpha", AttributeKind::Floats),
        optional("activation_beta", AttributeKind::Floats),
        optional("clip", AttributeKind::Float),
        string("direction", "forward"),
        optional("hidden_size", AttributeKind::Int),
        int("layout", 0),
    ]
}

/// Packs constant weights and gives them to `rebuild`.
fn prepare<C: Cell>(
    cell: &C,
    form: &Form,
    cx: &EvalCx<'_>,
    x: &Facts<'_>,
    rebuild: impl FnOnce(Arc<Weights>) -> Arc<dyn Op>,
) -> Result<Option<Prepared>, OpError> {
    let (Some(w), Some(r)) = (x.constant(1), x.constant(2)) else { return Ok(None) };
    if w.dtype() == DType::F64 || w.rank() != 3 || r.rank() != 3 {
        return Ok(None);
    }
    let weights = Weights::pack(cell, form, cx, &to_f32(cx, w)?, &to_f32(cx, r)?)?;
    Ok(Some(Prepared { op: rebuild(Arc::new(weights)), dropped: vec![1, 2] }))
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use approx::assert_relative_eq;
    use planish_ir::Attributes;

    /// A way through two sequences of three steps.
    pub struct Case {
        pub attributes: Attributes,
        pub ways: usize,
        pub lengths: Option<[i32; 2]>,
    }

    /// Weights of one gate, applied to a number.
    type Weight<'a> = &'a dyn Fn(usize, f64) -> f64;

    const X: [[f64; 2]; 3] = [[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]];

    /// Holds an operator with one input feature and one hidden unit against `step(w, r, b, x, h, c) = (h, c)`.
    pub fn check(
        name: &str,
        gates: usize,
        cases: &[Case],
        step: impl Fn(Weight<'_>, Weight<'_>, &dyn Fn(usize) -> f64, f64, f64, f64) -> (f64, f64),
    ) {
        for Case { attributes, ways, lengths } in cases {
            let weight = |i: usize| 0.3 + 0.2 * i as f64;
            let is_batch_first = attributes.get("layout").is_some();
            let (mut expected, mut last) = ([[[0f64; 2]; 2]; 3], [[0f64; 2]; 2]);
            for way in 0..*ways {
                let is_reverse = way == 1 || attributes.get("direction") == Some(&"reverse".into());
                for b in 0..2 {
                    let length = lengths.map_or(3, |l| l[b] as usize);
                    let (mut h, mut c) = (0.0, 0.0);
                    for t in 0..length {
                        let position = if is_reverse { length - 1 - t } else { t };
                        let w = |g: usize, v: f64| weight(way * gates + g) * v;
                        let r = |g: usize, v: f64| -weight(way * gates + g) * v;
                        let bias = |g: usize| 0.1 * g as f64;
                        (h, c) = step(&w, &r, &bias, X[position][b], h, c);
                        expected[position][way][b] = h;
                    }
                    last[way][b] = h;
                }
            }
            let numbers = |f: &dyn Fn(usize) -> f64, n: usize| -> Vec<f32> { (0..n).map(|i| f(i) as f32).collect() };
            let w = tensor(&[*ways, gates, 1], &numbers(&weight, ways * gates));
            let r = tensor(&[*ways, gates, 1], &numbers(&|i| -weight(i), ways * gates));
            let of_gate = |i: usize| if i % (2 * gates) < gates { 0.1 * (i % gates) as f64 } else { 0.0 };
            let b = tensor(&[*ways, 2 * gates], &numbers(&of_gate, 2 * ways * gates));
            let x = |i: usize| if is_batch_first { X[i % 3][i / 3] } else { X[i / 2][i % 2] };
            let x = tensor(&if is_batch_first { [2, 3, 1] } else { [3, 2, 1] }, &numbers(&x, 6));
            let lengths = lengths.map(|l| tensor(&[2], &l));
            let inputs = [Some(x), Some(w), Some(r), Some(b), lengths];
            let outputs = eval_all("", name, attributes.clone().with("hidden_size", 1), &inputs, 2).unwrap();
            let y = outputs[0].as_slice::<f32>().unwrap();
            let y_h = outputs[1].as_slice::<f32>().unwrap();
            for (way, b) in (0..*ways).flat_map(|way| (0..2).map(move |b| (way, b))) {
                for t in 0..3 {
                    let at = if is_batch_first { (b * 3 + t) * ways + way } else { (t * ways + way) * 2 + b };
                    assert_relative_eq!(f64::from(y[at]), expected[t][way][b], epsilon = 1e-5);
                }
                let at = if is_batch_first { b * ways + way } else { way * 2 + b };
                assert_relative_eq!(f64::from(y_h[at]), last[way][b], epsilon = 1e-5);
            }
        }
    }
}
