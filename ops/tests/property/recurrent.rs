//! `RNN`, `GRU` and `LSTM`, step by step, and its quantized form.

use super::array::{Array, cells, from_cells, reals};
use super::draw::{Draw, index_tensor};
use super::{Case, Expected, Property, opt_case, property};
use planish_ir::{Attribute, Attributes, FLOATS};
use planish_tensor::{DType, Tensor};

pub fn properties() -> Vec<Property> {
    vec![
        property("RNN", |draw| recurrent(draw, Cell::Rnn)),
        property("GRU", |draw| recurrent(draw, Cell::Gru)),
        property("LSTM", |draw| recurrent(draw, Cell::Lstm)),
        property("DynamicQuantizeLSTM", quantized).domain("com.microsoft"),
    ]
}

#[derive(Clone, Copy, PartialEq)]
enum Cell {
    Rnn,
    Gru,
    Lstm,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        }
    }

    /// The activations of one direction, where none are named.
    fn usual(self) -> &'static [&'static str] {
        match self {
            Cell::Rnn => &["Tanh"],
            Cell::Gru => &["Sigmoid", "Tanh"],
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

const ACTIVATIONS: [&str; 9] =
    ["Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid", "Elu", "Softsign", "Softplus", "ThresholdedRelu"];

fn activate(name: &str, x: f64) -> f64 {
    match name {
        "Relu" => x.max(0.0),
        "Tanh" => x.tanh(),
        "Sigmoid" => 1.0 / (1.0 + (-x).exp()),
        "LeakyRelu" => {
            if x < 0.0 {
                f64::from(0.01f32) * x
            } else {
                x
            }
        }
        "HardSigmoid" => (f64::from(0.2f32) * x + 0.5).clamp(0.0, 1.0),
        "Elu" => {
            if x < 0.0 {
                x.exp_m1()
            } else {
                x
            }
        }
        "Softsign" => x / (1.0 + x.abs()),
        "Softplus" => x.exp().ln_1p(),
        "ThresholdedRelu" => {
            if x > 1.0 {
                x
            } else {
                0.0
            }
        }
        other => panic!("{other}"),
    }
}

/// A layer and its weights as numbers.
struct Layer {
    cell: Cell,
    hidden: usize,
    /// Of each direction.
    activations: Vec<Vec<&'static str>>,
    clip: Option<f64>,
    linear_before_reset: bool,
    input_forget: bool,
    w: Array<f64>,
    r: Array<f64>,
    b: Option<Array<f64>>,
    p: Option<Array<f64>>,
}

impl Layer {
    /// The states after a step.
    fn step(&self, d: usize, x: &[f64], h: &[f64], c: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let n = self.hidden;
        let bias = |at: usize| self.b.as_ref().map_or(0.0, |b| b.at(&[d, at]));
        let of_x = |gate: usize, i: usize| {
            x.iter().enumerate().map(|(k, x)| x * self.w.at(&[d, gate * n + i, k])).sum::<f64>() + bias(gate * n + i)
        };
        let of_h = |gate: usize, i: usize, h: &[f64]| {
            let rows = self.cell.gates() * n;
            h.iter().enumerate().map(|(k, h)| h * self.r.at(&[d, gate * n + i, k])).sum::<f64>()
                + bias(rows + gate * n + i)
        };
        let f = |index: usize, v: f64| {
            let v = self.clip.map_or(v, |clip| v.clamp(-clip, clip));
            activate(self.activations[d][index], v)
        };
        let peep = |which: usize, i: usize, c: f64| self.p.as_ref().map_or(0.0, |p| p.at(&[d, which * n + i]) * c);
        match self.cell {
            Cell::Rnn => ((0..n).map(|i| f(0, of_x(0, i) + of_h(0, i, h))).collect(), vec![]),
            Cell::Gru => {
                let z: Vec<f64> = (0..n).map(|i| f(0, of_x(0, i) + of_h(0, i, h))).collect();
                let r: Vec<f64> = (0..n).map(|i| f(0, of_x(1, i) + of_h(1, i, h))).collect();
                let reset: Vec<f64> = r.iter().zip(h).map(|(r, h)| r * h).collect();
                let new = |i: usize| match self.linear_before_reset {
                    true => f(1, of_x(2, i) + r[i] * of_h(2, i, h)),
                    false => f(1, of_x(2, i) + of_h(2, i, &reset)),
                };
                ((0..n).map(|i| (1.0 - z[i]) * new(i) + z[i] * h[i]).collect(), vec![])
            }
            Cell::Lstm => {
                let gate = |gate: usize, i: usize| of_x(gate, i) + of_h(gate, i, h);
                let cells: Vec<f64> = (0..n)
                    .map(|i| {
                        let input = f(0, gate(0, i) + peep(0, i, c[i]));
                        let forget = match self.input_forget {
                            true => 1.0 - input,
                            false => f(0, gate(2, i) + peep(2, i, c[i])),
                        };
                        forget * c[i] + input * f(1, gate(3, i))
                    })
                    .collect();
                let output =
                    |i: usize| f(0, gate(1, i) + peep(1, i, cells[i])) * activate(self.activations[d][2], cells[i]);
                ((0..n).map(output).collect(), cells)
            }
        }
    }
}

fn recurrent(draw: &mut Draw<'_>, cell: Cell) -> Case {
    let dtype = draw.dtype(FLOATS);
    let (steps, batch, inputs, hidden) = (draw.size(1..=4), draw.size(1..=3), draw.size(1..=4), draw.size(1..=4));
    let direction = draw.pick(&["forward", "reverse", "bidirectional"]);
    let dirs = if direction == "bidirectional" { 2 } else { 1 };
    let rows = cell.gates() * hidden;
    let w = draw.between(dtype, &[dirs, rows, inputs], -1.0, 1.0);
    let r = draw.between(dtype, &[dirs, rows, hidden], -1.0, 1.0);
    let b = draw.flag().then(|| draw.between(dtype, &[dirs, 2 * rows], -1.0, 1.0));
    let p = (cell == Cell::Lstm && draw.flag()).then(|| draw.between(dtype, &[dirs, 3 * hidden], -1.0, 1.0));
    let named = draw.rarely(3);
    let activations: Vec<Vec<&str>> = (0..dirs)
        .map(|_| {
            let choose = |&usual: &&'static str| if named { draw.pick(&ACTIVATIONS) } else { usual };
            cell.usual().iter().map(choose).collect()
        })
        .collect();
    let clip = draw.rarely(4).then_some(0.5f32);
    let layer = Layer {
        cell,
        hidden,
        activations,
        clip: clip.map(f64::from),
        linear_before_reset: cell == Cell::Gru && draw.flag(),
        input_forget: cell == Cell::Lstm && draw.rarely(4),
        w: reals(&w),
        r: reals(&r),
        b: b.as_ref().map(reals),
        p: p.as_ref().map(reals),
    };
    let mut attributes = Attributes::new().with("hidden_size", hidden as i64).with("direction", direction);
    if named {
        let names = layer.activations.concat().into_iter().map(str::to_owned).collect();
        attributes.set("activations", Attribute::Strings(names));
    }
    clip.iter().for_each(|&clip| attributes.set("clip", clip));
    if layer.linear_before_reset {
        attributes.set("linear_before_reset", 1);
    }
    if layer.input_forget {
        attributes.set("input_forget", 1);
    }
    run(
        draw,
        dtype,
        &layer,
        direction,
        (steps, batch, inputs),
        attributes,
        |x, lens, h, c| {
            let mut all = vec![Some(x), Some(w), Some(r), b, lens, h];
            if cell == Cell::Lstm {
                all.extend([c, p]);
            }
            all
        },
        1.0,
    )
}

/// A case of a layer on drawn inputs and states, whose operator's inputs `inputs` puts in order.
fn run(
    draw: &mut Draw<'_>,
    dtype: DType,
    layer: &Layer,
    direction: &str,
    (steps, batch, inputs): (usize, usize, usize),
    attributes: Attributes,
    arrange: impl FnOnce(Tensor, Option<Tensor>, Option<Tensor>, Option<Tensor>) -> Vec<Option<Tensor>>,
    roundings: f64,
) -> Case {
    let hidden = layer.hidden;
    let dirs = if direction == "bidirectional" { 2 } else { 1 };
    let layout = roundings == 1.0 && draw.rarely(3);
    let x = draw.between(dtype, &[steps, batch, inputs], -1.0, 1.0);
    let lens = draw.flag().then(|| (0..batch).map(|_| draw.int(0..=steps as i64)).collect::<Vec<i64>>());
    let h0 = draw.flag().then(|| draw.between(dtype, &[dirs, batch, hidden], -1.0, 1.0));
    let c0 = (layer.cell == Cell::Lstm && draw.flag()).then(|| draw.between(dtype, &[dirs, batch, hidden], -1.0, 1.0));
    let xs = reals(&x);
    let start = |state: &Option<Tensor>, d: usize, b: usize| -> Vec<f64> {
        (0..hidden).map(|i| state.as_ref().map_or(0.0, |s| reals(s).at(&[d, b, i]))).collect()
    };
    let mut y = Array::from_fn(&[steps, dirs, batch, hidden], |_| 0.0);
    let mut last = [Array::from_fn(&[dirs, batch, hidden], |_| 0.0), Array::from_fn(&[dirs, batch, hidden], |_| 0.0)];
    for d in 0..dirs {
        let backwards = direction == "reverse" || d == 1;
        for b in 0..batch {
            let (mut h, mut c) = (start(&h0, d, b), start(&c0, d, b));
            let length = lens.as_ref().map_or(steps, |l| l[b] as usize);
            for step in 0..length {
                let t = if backwards { length - 1 - step } else { step };
                let x: Vec<f64> = (0..inputs).map(|k| xs.at(&[t, b, k])).collect();
                (h, c) = layer.step(d, &x, &h, &c);
                for (i, &h) in h.iter().enumerate() {
                    let at = super::array::offset(&y.dims, &[t, d, b, i]);
                    y.data[at] = h;
                }
            }
            for i in 0..hidden {
                let at = super::array::offset(&last[0].dims, &[d, b, i]);
                last[0].data[at] = h[i];
                if layer.cell == Cell::Lstm {
                    last[1].data[at] = c[i];
                }
            }
        }
    }
    // With `layout`, the batch comes first.
    let swap = |t: &Tensor| {
        let all = cells(t);
        let dims = [&[all.dims[1], all.dims[0]], &all.dims[2..]].concat();
        from_cells(t.dtype(), &Array::from_fn(&dims, |i| all.at(&[&[i[1], i[0]], &i[2..]].concat())))
    };
    let (y, last) = match layout {
        false => (y, last),
        true => (
            Array::from_fn(&[batch, steps, dirs, hidden], |i| y.at(&[i[1], i[2], i[0], i[3]])),
            last.map(|s| Array::from_fn(&[batch, dirs, hidden], |i| s.at(&[i[1], i[0], i[2]]))),
        ),
    };
    let put = |t: Option<Tensor>| if layout { t.as_ref().map(swap) } else { t };
    let attributes = if layout { attributes.with("layout", 1) } else { attributes };
    let lens = lens.map(|l| index_tensor(DType::I32, &[batch], &l));
    let inputs = arrange(put(Some(x)).unwrap(), lens, put(h0), put(c0));
    let scale = 20.0 * roundings;
    let [h, c] = last;
    let mut expected = vec![Expected::absolute(dtype, y, scale), Expected::absolute(dtype, h, scale)];
    if layer.cell == Cell::Lstm {
        expected.push(Expected::absolute(dtype, c, scale));
    }
    opt_case(attributes, inputs, expected)
}

/// Weights of codes, one scale a direction; the inputs are quantized as they come, which moves results by a hundredth.
fn quantized(draw: &mut Draw<'_>) -> Case {
    let (steps, batch, inputs, hidden) = (draw.size(1..=3), draw.size(1..=2), draw.size(1..=4), draw.size(1..=4));
    let direction = draw.pick(&["forward", "reverse", "bidirectional"]);
    let dirs = if direction == "bidirectional" { 2 } else { 1 };
    let codes = draw.pick(&[DType::I8, DType::U8]);
    let rows = 4 * hidden;
    let weight = |draw: &mut Draw<'_>, depth: usize| {
        let w = draw.any(codes, &[dirs, depth, rows]);
        let scale = draw.between(DType::F32, &[dirs], 0.004, 0.008);
        let zero = if codes == DType::I8 {
            draw.integers(codes, &[dirs], 0..=0)
        } else {
            draw.integers(codes, &[dirs], 120..=130)
        };
        let (ws, scales, zeros) = (reals(&w), reals(&scale), reals(&zero));
        let real = Array::from_fn(&[dirs, rows, depth], |i| {
            (ws.at(&[i[0], i[2], i[1]]) - zeros.data[i[0]]) * scales.data[i[0]]
        });
        (w, scale, zero, real)
    };
    let (w, w_scale, w_zero, w_real) = weight(draw, inputs);
    let (r, r_scale, r_zero, r_real) = weight(draw, hidden);
    let b = draw.flag().then(|| draw.between(DType::F32, &[dirs, 2 * rows], -1.0, 1.0));
    let layer = Layer {
        cell: Cell::Lstm,
        hidden,
        activations: vec![Cell::Lstm.usual().to_vec(); dirs],
        clip: None,
        linear_before_reset: false,
        input_forget: false,
        w: w_real,
        r: r_real,
        b: b.as_ref().map(reals),
        p: None,
    };
    let attributes = Attributes::new().with("hidden_size", hidden as i64).with("direction", direction);
    run(
        draw,
        DType::F32,
        &layer,
        direction,
        (steps, batch, inputs),
        attributes,
        |x, lens, h, c| {
            let scales = [w_scale, w_zero, r_scale, r_zero].map(Some);
            [Some(x), Some(w), Some(r), b, lens, h, c, None].into_iter().chain(scales).collect()
        },
        1e3,
    )
}

#[test]
fn recurrent_layers_are_as_defined() {
    super::check_all(properties());
}
