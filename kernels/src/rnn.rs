//! One step of the recurrent cells, given the products of input and state with their weights.
//!
//! The caller computes `X·W + H·R + b` for all gates, then calls a step for each row of the batch. Activations are any
//! [`Unary`]; `clip` bounds what goes into them.

use crate::elementwise::{Binary, Unary, binary, unary};
use crate::simd::{Kernel, Operand, Simd, dispatch, zip3};

/// The activations of an LSTM, in ONNX's order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LstmActivations {
    /// Of the input, output and forget gates.
    pub gate: Unary,
    /// Of the cell's candidate.
    pub cell: Unary,
    /// Of the cell on its way out.
    pub hidden: Unary,
}

impl Default for LstmActivations {
    fn default() -> Self {
        LstmActivations { gate: Unary::Sigmoid, cell: Unary::Tanh, hidden: Unary::Tanh }
    }
}

/// One LSTM step of one row.
///
/// `gates` holds what goes into the input, output, forget and cell gates, in this order, each as long as `cell`, and is
/// used up. `cell` goes from the old state to the new one, and `hidden` receives the new output:
///
/// ```text
/// i = f(gates.i + peephole.i·C)    f = f(gates.f + peephole.f·C)    C' = f·C + i·g(gates.c)
/// o = f(gates.o + peephole.o·C')   H' = o·h(C')
/// ```
///
/// `peephole` holds the weights of the input, output and forget gates. Where `is_forget_coupled`, `f = 1 - i`.
///
/// # Panics
/// Where the lengths do not fit together.
pub fn lstm_step(
    gates: &mut [f32],
    cell: &mut [f32],
    hidden: &mut [f32],
    peephole: Option<[&[f32]; 3]>,
    activations: &LstmActivations,
    clip: Option<f32>,
    is_forget_coupled: bool,
) {
    let size = cell.len();
    assert_eq!(gates.len(), 4 * size, "four gates");
    let (input, rest) = gates.split_at_mut(size);
    let (output, rest) = rest.split_at_mut(size);
    let (forget, candidate) = rest.split_at_mut(size);
    let [look_input, look_output, look_forget] = peephole.map_or([None; 3], |weights| weights.map(Some));

    gate(input, look_input, cell, activations.gate, clip);
    if is_forget_coupled {
        binary(Binary::Sub, Operand::Scalar(1.0), Operand::Slice(input), forget);
    } else {
        gate(forget, look_forget, cell, activations.gate, clip);
    }
    gate(candidate, None, cell, activations.cell, clip);
    binary(Binary::Mul, Operand::Output, Operand::Slice(forget), cell);
    add_product(input, candidate, cell);
    gate(output, look_output, cell, activations.gate, clip);
    unary(activations.hidden, Operand::Slice(cell), hidden);
    binary(Binary::Mul, Operand::Output, Operand::Slice(output), hidden);
}

/// The update and reset gates of a GRU, in place: `gates` holds what goes into them, one after the other.
pub fn gru_gates(gates: &mut [f32], activation: Unary, clip: Option<f32>) {
    gate(gates, None, &[], activation, clip);
}

/// The end of a GRU step of one row: `H' = (1 - z)·g(candidate) + z·H`, in place in `hidden`.
///
/// `update` is the update gate `z`. `candidate` holds what goes into the candidate, and is used up.
///
/// # Panics
/// Where the lengths differ.
pub fn gru_step(update: &[f32], candidate: &mut [f32], hidden: &mut [f32], activation: Unary, clip: Option<f32>) {
    gate(candidate, None, &[], activation, clip);
    dispatch(Blend { weight: update, other: candidate, y: hidden });
}

/// `y += a·b`, as the reset gate takes in the state: `candidate += r·(H·R + b)`.
///
/// # Panics
/// Where the lengths differ.
pub fn add_product(a: &[f32], b: &[f32], y: &mut [f32]) {
    dispatch(AddProduct { a, b, y });
}

/// `values = activation(values + weights·state)`
fn gate(values: &mut [f32], weights: Option<&[f32]>, state: &[f32], activation: Unary, clip: Option<f32>) {
    if let Some(weights) = weights {
        add_product(weights, state, values);
    }
    if let Some(bound) = clip {
        unary(Unary::Clip { min: -bound, max: bound }, Operand::Output, values);
    }
    unary(activation, Operand::Output, values);
}

struct AddProduct<'a> {
    a: &'a [f32],
    b: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for AddProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let operands = [Operand::Slice(self.a), Operand::Slice(self.b), Operand::Output];
        zip3(s, operands, self.y, |a, b, y| s.mul_add(a, b, y));
    }
}

/// `y = (1 - weight)·other + weight·y`
struct Blend<'a> {
    weight: &'a [f32],
    other: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Blend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let operands = [Operand::Slice(self.weight), Operand::Slice(self.other), Operand::Output];
        zip3(s, operands, self.y, |weight, other, y| s.mul_add(weight, s.sub(y, other), other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{every_length, noise};

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    fn assert_near(y: &[f32], truth: impl Iterator<Item = f64>, what: &str) {
        for (i, (y, truth)) in y.iter().zip(truth).enumerate() {
            assert!((f64::from(*y) - truth).abs() < 1e-6, "{what} [{i}]: expected {truth}, got {y}");
        }
    }

    #[test]
    fn lstm_step_equals_its_formula() {
        for size in every_length() {
            let gates = noise(4 * size, 4.0);
            let old_cell: Vec<f32> = noise(5 * size, 1.0).split_off(4 * size);
            let weights = noise(3 * size, 0.5);
            let peephole: Vec<&[f32]> = weights.chunks(size).collect();
            for (is_peeping, is_forget_coupled, clip) in
                [(false, false, None), (true, false, Some(2.0)), (true, true, None)]
            {
                let look = if is_peeping { 1.0 } else { 0.0 };
                let bound = clip.map_or(f64::INFINITY, f64::from);
                let input = |gate: usize, i: usize| f64::from(gates[gate * size + i]);
                let peep = |gate: usize, i: usize| look * f64::from(peephole[gate][i]);
                let formula = |i: usize| {
                    let old = f64::from(old_cell[i]);
                    let input_gate = sigmoid((input(0, i) + peep(0, i) * old).clamp(-bound, bound));
                    let forget = sigmoid((input(2, i) + peep(2, i) * old).clamp(-bound, bound));
                    let forget = if is_forget_coupled { 1.0 - input_gate } else { forget };
                    let cell = forget * old + input_gate * input(3, i).clamp(-bound, bound).tanh();
                    let output = sigmoid((input(1, i) + peep(1, i) * cell).clamp(-bound, bound));
                    (cell, output * cell.tanh())
                };
                let (mut used, mut cell, mut hidden) = (gates.clone(), old_cell.clone(), vec![0.0; size]);
                let peephole = is_peeping.then(|| [peephole[0], peephole[1], peephole[2]]);
                let activations = LstmActivations::default();
                lstm_step(&mut used, &mut cell, &mut hidden, peephole, &activations, clip, is_forget_coupled);
                assert_near(&cell, (0..size).map(|i| formula(i).0), "cell");
                assert_near(&hidden, (0..size).map(|i| formula(i).1), "hidden");
            }
        }
    }

    #[test]
    fn gru_step_equals_its_formula() {
        for size in every_length() {
            let (gates, candidate, old) = (noise(2 * size, 4.0), noise(size + 1, 4.0), noise(size + 2, 1.0));
            let (candidate, old) = (&candidate[..size], &old[..size]);
            let mut opened = gates.clone();
            gru_gates(&mut opened, Unary::Sigmoid, None);
            assert_near(&opened, gates.iter().map(|x| sigmoid(f64::from(*x))), "gates");
            let (mut used, mut hidden) = (candidate.to_vec(), old.to_vec());
            gru_step(&opened[..size], &mut used, &mut hidden, Unary::Tanh, None);
            let truth = (0..size).map(|i| {
                let z = sigmoid(f64::from(gates[i]));
                (1.0 - z) * f64::from(candidate[i]).tanh() + z * f64::from(old[i])
            });
            assert_near(&hidden, truth, "hidden");
        }
    }
}
