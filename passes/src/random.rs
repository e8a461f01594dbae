//! Random graphs grown around the patterns that rules look for, optimized and run beside the originals.

use crate::pipeline::{OptimizeOptions, Target, optimize_with};
use planish_ir::{EvalCx, Graph, Interpreter};
use planish_ops::StandardRegistry;
use planish_tensor::{Shape, Tensor, Value};
use proptest::prelude::*;

/// Pieces of graphs from values `X` and `Y` of shape `[N, 3, 4]` to a value `O` of that shape; other values that a piece makes
/// begin with `O` too.
const PIECES: &[&str] = &[
    "O = Relu (X)",
    "O = Neg (X)",
    "O = Tanh (X)",
    "O = Add (X, Y)",
    "O = Sub (X, Y)",
    "O = Mul (X, Y)",
    "O = Identity (X)",
    "O = Add (X, zero)",
    "O = Mul (one, X)",
    "O = Sub (X, three)",
    "Oa = Sigmoid (X) O = Mul (X, Oa)",
    "Oa = Add (X, three) Ob = Clip (Oa, zero, six) Oc = Mul (X, Ob) O = Div (Oc, six)",
    "Oa = Add (X, three) Ob = Max (Oa, zero) Oc = Min (Ob, six) O = Div (Oc, six)",
    "Oa = Div (X, root) Ob = Erf (Oa) Oc = Add (Ob, one) Od = Mul (X, Oc) O = Mul (Od, half)",
    "Oa = Softplus (X) Ob = Tanh (Oa) O = Mul (X, Ob)",
    "Om = ReduceMean (X, last) Od = Sub (X, Om) Oq = Mul (Od, Od) Ov = ReduceMean (Oq, last) Oe = Add (Ov, tiny) Os = Sqrt (Oe) On = Div (Od, Os) Og = Mul (On, g) O = Add (Og, b)",
    "Om = ReduceMean (X, last) Oc = Sub (X, Om) Od = Sub (X, Om) Oq = Pow (Od, two) Ov = ReduceMean (Oq, last) Oe = Add (Ov, tiny) Os = Sqrt (Oe) O = Div (Oc, Os)",
    "Oq = Mul (X, X) Om = ReduceMean (Oq, last) Oe = Add (Om, tiny) Os = Sqrt (Oe) Or = Reciprocal (Os) On = Mul (X, Or) O = Mul (g, On)",
    "Om = ReduceMax (X, last) Od = Sub (X, Om) Oe = Exp (Od) Os = ReduceSum (Oe, last) O = Div (Oe, Os)",
    "O = Softmax (X)",
    "Oa = MatMul (X, w) O = Add (Oa, b)",
    "Oa = MatMul (X, w) O = Mul (Oa, g)",
    "Oa = MatMul (X, w) Ob = MatMul (X, v) Oc = MatMul (X, u) Od = Mul (Oa, Ob) O = Add (Od, Oc)",
    "Oa = MatMul (X, w) Os = Sigmoid (Oa) Ot = Mul (Oa, Os) Ob = MatMul (X, v) O = Mul (Ot, Ob)",
    "Oa = Transpose <perm = [0, 2, 1]> (X) Ob = Relu (Oa) O = Transpose <perm = [0, 2, 1]> (Ob)",
    "Oa = Transpose <perm = [2, 0, 1]> (X) Ob = Transpose <perm = [2, 0, 1]> (Oa) O = Transpose <perm = [2, 0, 1]> (Ob)",
    "Oa = Reshape (X, flat) Ob = Relu (Oa) O = Reshape (Ob, whole)",
    "Os = Shape (X) Oa = Reshape (X, flat) O = Reshape (Oa, Os)",
    "Oa = Unsqueeze (X, last) O = Squeeze (Oa, last)",
    "Oa, Ob = Split <axis: int = 2, num_outputs: int = 2> (X) O = Concat <axis: int = -1> (Oa, Ob)",
    "Oa, Ob = Split <axis: int = 2, num_outputs: int = 2> (X) On = Neg (Ob) O = Concat <axis: int = -1> (On, Oa)",
    "Oa = Clip (X, minus, six) O = Clip (Oa, zero)",
    "Oa = Cast <to: int = 11> (X) O = Cast <to: int = 1> (Oa)",
    "Oa = Concat <axis: int = 1> (X, Y) Ob = Slice (Oa, first, third, axis) O = Add (Ob, Y)",
    "Oa = Transpose <perm = [0, 2, 1]> (Y) Op = MatMul (X, Oa) Os = Mul (Op, half) Ow = Softmax (Os) O = MatMul (Ow, X)",
    "Os = Shape <end: int = 1> (X) Oc = Concat <axis: int = 0> (Os, ones) Oa = Expand (one, Oc) O = Mul (X, Oa)",
];

/// A piece, and which values it reads.
type Step = (usize, usize, usize);

/// The graph that these steps grow, each from values made before. Values that `taps` picks are given out besides the last.
fn grown(steps: &[Step], taps: &[usize]) -> String {
    let mut values = vec!["x".to_owned(), "y".to_owned()];
    let mut body = String::new();
    for (number, &(piece, x, y)) in steps.iter().enumerate() {
        let name = format!("r{number}_");
        let (x, y) = (&values[x % values.len()], &values[y % values.len()]);
        let words = PIECES[piece % PIECES.len()].split_inclusive(|c: char| !c.is_alphanumeric());
        for word in words {
            let (stem, end) = word.split_at(word.trim_end_matches(|c: char| !c.is_alphanumeric()).len());
            body.push_str(&match stem {
                "X" => x.clone(),
                "Y" => y.clone(),
                "O" => name.clone(),
                _ if stem.len() == 2 && stem.starts_with('O') => format!("{name}{}", &stem[1..]),
                _ => stem.to_owned(),
            });
            body.push_str(end);
        }
        body.push(' ');
        values.push(name);
    }
    let mut outputs: Vec<&String> = values.last().into_iter().collect();
    for &tap in taps {
        let value = &values[2 + tap % (values.len() - 2)];
        if !outputs.contains(&value) {
            outputs.push(value);
        }
    }
    let outputs: Vec<String> = outputs.iter().map(|name| format!("float[N, 3, 4] {name}")).collect();
    format!(
        "g (float[N, 3, 4] x, float[N, 3, 4] y) => ({}) <float zero = {{0}}, float one = {{1}}, float two = {{2}}, float three = {{3}}, float six = {{6}}, float minus = {{-1}}, \
         float half = {{0.5}}, float root = {{1.4142135}}, float tiny = {{1e-3}}, int64[1] last = {{-1}}, int64[1] first = {{0}}, int64[1] third = {{3}}, int64[1] axis = {{1}}, \
         int64[2] flat = {{-1, 4}}, int64[3] whole = {{-1, 3, 4}}, int64[2] ones = {{1, 1}}, float[4] g = {{1, 2, 0.5, -1}}, float[4] b = {{0, 1, -1, 0.5}}, \
         float[4, 4] w = {{1, 0, 2, 1, 0, 1, 1, 0.5, -1, 0, 0.5, 1, 2, 0, 0, 1}}, float[4, 4] v = {{0, 1, 0, 1, 1, 0, -1, 0, 0.5, 1, 0, 0, 0, 0, 1, 1}}, \
         float[4, 4] u = {{1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1}}> {{ {body} }}",
        outputs.join(", ")
    )
}

fn run(graph: &Graph, batch: usize) -> Vec<Tensor> {
    let input = |seed: usize| {
        let elements: Vec<f32> = (0..batch * 12).map(|i| ((i * 7 + seed * 5) % 11) as f32 * 0.3 - 1.5).collect();
        Some(Value::Tensor(Tensor::new(Shape::new(&[batch, 3, 4]).unwrap(), &elements).unwrap()))
    };
    let mut cx = EvalCx::unlimited(&Interpreter);
    let outputs = Interpreter.run(graph, vec![input(1), input(2)], &mut cx);
    let outputs = outputs.unwrap_or_else(|e| panic!("{e}\n{}", graph.to_text()));
    outputs.into_iter().filter_map(Value::into_tensor).collect()
}

/// Whether both are the same but for what rounding may do, which grows with the numbers on the way.
fn is_close(a: &Tensor, b: &Tensor) -> bool {
    let (a, b) = (a.as_slice::<f32>().unwrap(), b.as_slice::<f32>().unwrap());
    let largest = a.iter().filter(|v| v.is_finite()).fold(1f32, |m, v| m.max(v.abs()));
    let close = |(a, b): (&f32, &f32)| a == b || (a - b).abs() <= 1e-3 * largest || !a.is_finite() || !b.is_finite();
    a.len() == b.len() && a.iter().zip(b).all(close)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn optimized_graphs_compute_the_same(
        steps in prop::collection::vec((0..PIECES.len(), 0..64usize, 0..64usize), 1..10),
        taps in prop::collection::vec(0..64usize, 0..3),
    ) {
        let text = grown(&steps, &taps);
        let mut before = Graph::from_text(&text, &StandardRegistry).unwrap_or_else(|e| panic!("{e}\n{text}"));
        // As the importer does: a rewrite that is the first to know a shape may come after those that ask for it.
        before.infer().unwrap();
        for target in [Target::Standard, Target::Ort, Target::Planish] {
            let options = OptimizeOptions { target, opset: Some(28), ..OptimizeOptions::default() };
            let mut after = before.clone();
            let report = optimize_with(&mut after, &options);
            after.verify().unwrap();
            prop_assert!(after.operators().count() <= before.operators().count(), "{:?} in\n{}", report.passes(), text);
            for batch in [1, 2] {
                let (expected, got) = (run(&before, batch), run(&after, batch));
                let is_same = expected.len() == got.len() && expected.iter().zip(&got).all(|(a, b)| is_close(a, b));
                prop_assert!(is_same, "{target:?} changes the result: {:?}\n{text}\n{}", report.passes(), after.to_text());
            }
            let again = optimize_with(&mut after, &options);
            prop_assert!(again.rewrites.is_empty(), "a second run changes something: {:?}\n{}", again.rewrites, text);
        }
    }
}
