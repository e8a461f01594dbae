//! Every kernel of a body computes what the body computes.

use crate::StandardRegistry;
use crate::testing::{prepare, tensor};
use planish_ir::{Attribute, Attributes, EvalCx, Graph, Inputs, Interpreter, Op, Outputs, Registry, text};
use planish_kernels::Threads;
use planish_tensor::{Shape, Tensor, Value};
use proptest::prelude::*;
use std::sync::Arc;

fn body(text: &str) -> Arc<Graph> {
    Arc::new(text::parse(text, &StandardRegistry).unwrap_or_else(|e| panic!("{text}: {e}")))
}

fn operator(name: &str, body: &Arc<Graph>) -> Arc<dyn Op> {
    let mut attributes = Attributes::new();
    attributes.set("body", Attribute::Graph(body.clone()));
    let operator = StandardRegistry.operator("planish", name, attributes, body.inputs().len(), 1).unwrap();
    operator.op().unwrap().clone()
}

fn only(outputs: Outputs) -> Tensor {
    outputs.into_values().remove(0).and_then(Value::into_tensor).unwrap()
}

/// What the operator says, and what its body says; where `constants` are given, with weights packed at load.
pub(super) fn both(name: &str, text: &str, inputs: &[Tensor], constants: &[usize]) -> (Tensor, Tensor) {
    let body = body(text);
    let mut op = operator(name, &body);
    let mut cx = EvalCx::unlimited(&Interpreter);
    cx.threads = Threads::new(2).unwrap();
    cx.wanted = [true].into_iter().collect();
    let given = || inputs.iter().map(|t| Some(Value::Tensor(t.clone())));
    let expected = Interpreter.run(&body, given().collect(), &mut cx).unwrap().remove(0).into_tensor().unwrap();
    let mut values: Vec<Option<Value>> = given().collect();
    if !constants.is_empty() {
        let known: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
        let prepared = prepare(&*op, &cx, &known, |index| constants.contains(&index)).unwrap();
        let prepared = prepared.expect("weights that can be packed");
        prepared.dropped.iter().for_each(|&index| values[index] = None);
        op = prepared.op;
    }
    cx.wanted = [true].into_iter().collect();
    (only(op.eval(&mut cx, Inputs::new(values)).unwrap()), expected)
}

/// Numbers between −2 and 2 that depend on `seed`.
fn numbers(dims: &[usize], seed: usize) -> Tensor {
    let count: usize = dims.iter().product();
    let data: Vec<f32> = (0..count).map(|i| ((i * 7919 + seed * 104_729) % 401) as f32 / 100.0 - 2.0).collect();
    tensor(dims, &data)
}

#[track_caller]
fn assert_close(got: &Tensor, expected: &Tensor) {
    assert_eq!(got.shape(), expected.shape());
    for (got, expected) in got.as_slice::<f32>().unwrap().iter().zip(expected.as_slice::<f32>().unwrap()) {
        assert!((got - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{got} is not {expected}");
    }
}

/// Trees over three inputs, some with registers that are used again.
const TREES: [&str; 6] = [
    "g (float[?] a, float[?] b, float[?] c) => (float[?] y) { s = Add (a, b) t = Sigmoid (s) u = Mul (s, t) y = Sub (u, c) }",
    "g (float[?] a, float[?] b, float[?] c) => (float[?] y) { s = Mul (a, a) t = Mul (b, b) u = Add (s, t) v = Sqrt (u) y = Max (v, c) }",
    "g (float[?] a, float[?] b, float[?] c) => (float[?] y) { s = Relu (c) t = Sub (a, s) u = Sub (s, b) y = Mul (t, u) }",
    "g (float[?] a, float[?] b, float[?] c) => (float[?] y) <float[1] half = {0.5}, float low = {-1.0}> { s = Mul (a, half) t = Clip (s, low) u = Add (b, t) y = Add (u, c) }",
    "g (float[?] a, float[?] b, float[?] c) => (float[?] y) { s = Add (a, b) t = Add (s, c) u = Tanh (s) v = Mul (u, t) w = Add (v, s) y = LeakyRelu <alpha = 0.5> (w) }",
    "g (float[?] a, float[?] b, float[?] c) => (float[?] y) <float two = {2.0}> { s = Pow (a, two) t = Div (b, two) u = Add (s, t) y = Mul (u, c) }",
];

proptest! {
    #[test]
    fn a_tree_of_functions_is_its_definition(
        tree in 0..TREES.len(),
        dims in prop::collection::vec(1usize..6, 0..4),
        ones in prop::array::uniform3(prop::collection::vec(any::<bool>(), 4)),
        cut in prop::array::uniform3(0usize..4),
        long in any::<bool>(),
    ) {
        let mut dims = dims;
        if let (true, Some(last)) = (long, dims.last_mut()) {
            *last *= 601;
        }
        let inputs: Vec<Tensor> = (0..3).map(|n| {
            let own: Vec<usize> = dims.iter().zip(&ones[n]).map(|(&d, &one)| if one { 1 } else { d }).collect();
            numbers(&own[cut[n].min(own.len())..], n)
        }).collect();
        let text = TREES[tree].replace("[?]", "");
        let (got, expected) = both("Elementwise", &text, &inputs, &[]);
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn a_tree_is_written_over_an_input_that_nobody_else_reads() {
    let body = body(&TREES[0].replace("[?]", ""));
    let op = operator("Elementwise", &body);
    let inputs: Vec<Tensor> = (0..3).map(|n| numbers(&[2, 3000], n)).collect();
    let given = |t: &Tensor| Some(Value::Tensor(tensor(t.shape().dims(), t.as_slice::<f32>().unwrap())));
    let mut cx = EvalCx::unlimited(&Interpreter);
    let expected = Interpreter.run(&body, inputs.iter().map(given).collect(), &mut cx).unwrap();
    let got = only(op.eval(&mut cx, Inputs::new(inputs.iter().map(given))).unwrap());
    assert_eq!(Value::Tensor(got), expected[0]);
}

#[test]
fn other_dtypes_and_functions_go_by_the_definition() {
    let text = "g (int64 a, int64 b) => (int64 y) { s = Add (a, b) y = Mul (s, s) }";
    let inputs = [tensor(&[2], &[1i64, 2]), tensor(&[1], &[3i64])];
    let (got, expected) = both("Elementwise", text, &inputs, &[]);
    assert_eq!((&got, &got), (&expected, &tensor(&[2], &[16i64, 25])));
    let text = "g (float[n, 2] a) => (float[2, n] y) { s = Transpose (a) y = Relu (s) }";
    let (got, expected) = both("Elementwise", text, &[numbers(&[3, 2], 1)], &[]);
    assert_eq!(got, expected);
}

#[test]
fn convolutions_take_a_residual_and_an_activation_with_them() {
    let (x, w, b) = (numbers(&[2, 4, 9, 8], 1), numbers(&[6, 4, 3, 3], 2), numbers(&[6], 3));
    let conv = "c = Conv <pads = [1, 1, 1, 1]> (x, w, b)";
    let cases = [
        (format!("g (float x, float w, float b) => (float y) {{ {conv} y = HardSwish (c) }}"), None),
        (
            format!("g (float x, float w, float b, float r) => (float y) {{ {conv} y = Add (r, c) }}"),
            Some([2, 6, 9, 8]),
        ),
        (
            format!("g (float x, float w, float b, float r) => (float y) {{ {conv} s = Add (c, r) y = Relu (s) }}"),
            Some([2, 6, 9, 8]),
        ),
        (
            format!("g (float x, float w, float b, float r) => (float y) {{ {conv} s = Add (c, r) y = Sigmoid (s) }}"),
            Some([1, 6, 1, 1]),
        ),
    ];
    for (text, residual) in cases {
        let mut inputs = vec![x.clone(), w.clone(), b.clone()];
        inputs.extend(residual.map(|dims| numbers(&dims, 4)));
        for constants in [&[][..], &[1]] {
            let (got, expected) = both("FusedConv", &text, &inputs, constants);
            assert_close(&got, &expected);
        }
    }
}

#[test]
fn depthwise_convolutions_take_a_residual_too() {
    let text = "g (float x, float w, float r) => (float y) { c = Conv <group = 4> (x, w) s = Add (c, r) y = Relu (s) }";
    let inputs = [numbers(&[1, 4, 6, 6], 1), numbers(&[4, 1, 3, 3], 2), numbers(&[1, 4, 4, 4], 3)];
    let (got, expected) = both("FusedConv", text, &inputs, &[1]);
    assert_close(&got, &expected);
}

#[test]
fn products_take_a_bias_a_residual_and_an_activation_with_them() {
    let product = "p = MatMul (a, b)";
    struct Case {
        body: String,
        others: &'static [&'static [usize]],
    }
    let cases = [
        Case { body: format!("g (float a, float b) => (float y) {{ {product} y = Gelu (p) }}"), others: &[] },
        Case {
            body: format!("g (float a, float b, float c) => (float y) {{ {product} y = Add (c, p) }}"),
            others: &[&[5]],
        },
        Case {
            body: format!(
                "g (float a, float b, float c, float r) => (float y) {{ {product} s = Add (p, c) t = Add (r, s) y = Relu (t) }}"
            ),
            others: &[&[5], &[2, 3, 5]],
        },
        Case {
            body: format!(
                "g (float a, float b, float c, float r) => (float y) {{ {product} s = Add (p, c) t = Add (r, s) y = Tanh (t) }}"
            ),
            others: &[&[1], &[4, 1, 3, 1]],
        },
    ];
    for Case { body, others } in cases {
        let mut inputs = vec![numbers(&[2, 3, 4], 1), numbers(&[4, 5], 2)];
        inputs.extend(others.iter().enumerate().map(|(i, dims)| numbers(dims, 3 + i)));
        for constants in [&[][..], &[1]] {
            let (got, expected) = both("FusedMatMul", &body, &inputs, constants);
            assert_close(&got, &expected);
        }
    }
}

#[test]
fn an_empty_product_is_its_bias() {
    let text = "g (float a, float b, float c) => (float y) { p = MatMul (a, b) y = Add (p, c) }";
    let inputs = [numbers(&[2, 0], 1), numbers(&[0, 3], 2), numbers(&[3], 3)];
    let (got, expected) = both("FusedMatMul", text, &inputs, &[1]);
    assert_eq!(got, expected);
    assert_eq!(*got.shape(), Shape::new(&[2, 3]).unwrap());
}
