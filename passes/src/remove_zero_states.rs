//! LSTM(x, w, r, b, lengths, zeros, zeros)   ⇒   LSTM(x, w, r, b, lengths), and so for `GRU` and `RNN`
//!
//! when: each element of the initial state is zero, which is where these begin if they are not told otherwise. Exporters
//! make such states of the batch's extent and take a piece of them for each layer.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must, uniform};
use planish_ir::{Attribute, ValueId};
use planish_tensor::Tensor;

/// Removes initial states that are zero.
pub static RULE: Rule = Rule::matching(
    "remove-zero-states",
    "y = LSTM(x, ...) | GRU(x, ...) | RNN(x, ...) | com.microsoft.DynamicQuantizeLSTM(x, ...)",
    rewrite,
);

/// The inputs that hold initial states.
const STATES: [usize; 2] = [5, 6];

/// How many operators that move elements are looked through.
const MAX_STEPS: usize = 8;

/// States of more elements are not looked through.
const MAX_ELEMENTS: usize = 1 << 20;

/// Operators whose result has no elements but those of their first input.
const MOVING: &[&str] = &[
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let operator = cx.operator(id).ok_or(No::SILENT)?;
    let mut inputs: Vec<Operand> = cx.graph.node_inputs(id).iter().map(|&v| v.into()).collect();
    let mut is_found = false;
    for index in STATES {
        let Some(state) = cx.input(id, index) else { continue };
        if is_zero(cx, state) {
            inputs[index] = Operand::Absent;
            is_found = true;
        }
    }
    must(is_found, No::SILENT)?;
    let mut patch = Patch::new();
    let outputs: Vec<ValueId> = cx.graph.node_outputs(id).collect();
    let (domain, attributes) = (&operator.domain, operator.attributes.clone());
    let made = patch.domain_operators(domain, &operator.name, attributes, &inputs, outputs.len());
    let pairs = outputs.into_iter().zip(made).filter(|&(output, _)| !cx.graph.value_name(output).is_empty());
    Ok(pairs.fold(patch, |patch, (output, new)| patch.replace(output, new)))
}

/// Whether every element is known to be zero.
fn is_zero(cx: &Cx<'_>, value: ValueId) -> bool {
    let is_zeros = |tensor: &Tensor| tensor.num_elements() <= MAX_ELEMENTS && uniform(tensor) == Some(0.0);
    let mut value = value;
    for _ in 0..MAX_STEPS {
        if let Some(tensor) = cx.constant(value) {
            return is_zeros(tensor);
        }
        match cx.operator(value.node).filter(|operator| operator.domain.is_empty()) {
            Some(operator) if operator.is("ConstantOfShape") => {
                return match operator.attributes.get("value") {
                    None => true,
                    Some(Attribute::Tensor(tensor)) => is_zeros(tensor),
                    Some(_) => false,
                };
            }
            Some(operator) if MOVING.contains(&operator.name.as_str()) => {
                let Some(moved) = cx.input(value.node, 0) else { return false };
                value = moved;
            }
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[S, N, 3] x, float[1, N, 2] h, float[1, 8, 3] w, float[1, 8, 2] r, float[1, 6, 3] u, float[1, 6, 2] v) => (float[] y) \
             <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[2] sizes = {{2, 2}}, int64[1] middle = {{1}}> {{ \
             s = Shape <start: int = 1, end: int = 2> (x) t = Concat (sizes, s) <axis: int = 0> c = ConstantOfShape (t) \
             o = Transpose <perm = [0, 2, 1]> (c) p = Slice (o, zero, one) {nodes} }}"
        )
    }

    #[test]
    fn states_of_zeros_go() {
        for (nodes, after) in [
            (
                "y, a, b = LSTM <hidden_size = 2> (x, w, r, \"\", \"\", p, p)",
                "y, \"\", \"\" = LSTM (x, w, r) <hidden_size: int = 2>",
            ),
            ("y = GRU <hidden_size = 2> (x, u, v, \"\", \"\", p)", "y = GRU (x, u, v) <hidden_size: int = 2>"),
        ] {
            Proof::of("remove-zero-states").before(&text(nodes)).weights(&["w", "r", "u", "v"]).after(after).exact();
        }
    }

    #[test]
    fn other_states_stay() {
        for nodes in [
            "y = GRU <hidden_size = 2> (x, u, v, \"\", \"\", h)",
            "q = Exp (p) y = GRU <hidden_size = 2> (x, u, v, \"\", \"\", q)",
        ] {
            Proof::of("remove-zero-states").before(&text(nodes)).weights(&["w", "r", "u", "v"]).does_not_fire("");
        }
    }
}
