use crate::StandardRegistry;
use crate::testing::tensor;
use planish_ir::{EvalCx, Graph, Interpreter, OpError, text};
use planish_tensor::{Tensor, Value};

fn graph(text: &str) -> Graph {
    let mut graph = text::parse(text, &StandardRegistry).unwrap_or_else(|e| panic!("{e}"));
    graph.verify().unwrap();
    assert_eq!(graph.infer().unwrap(), []);
    graph
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, OpError> {
    let inputs = inputs.iter().map(|t| Some(Value::Tensor(t.clone()))).collect();
    let outputs = Interpreter.run(graph, inputs, &mut EvalCx::unlimited(&Interpreter))?;
    Ok(outputs.into_iter().filter_map(Value::into_tensor).collect())
}

fn output_types(graph: &Graph) -> Vec<String> {
    graph.outputs().iter().map(|o| graph.fact(o.value).ty.to_string()).collect()
}

#[test]
fn if_runs_one_branch_on_what_both_capture() {
    let graph = graph(
        "g (bool cond, float[n] x, float[n] w) => (float[n] y) {
            y = If (cond) <
                else_branch: graph = e () => (float[n] a) { a = Sub (x, w) },
                then_branch: graph = t () => (float[n] b) { b = Add (w, w) }>
        }",
    );
    let (x, w) = (tensor(&[2], &[5f32, 6.]), tensor(&[2], &[1f32, 2.]));
    for (cond, expected) in [(true, [2f32, 4.]), (false, [4., 4.])] {
        let y = run(&graph, &[Tensor::scalar(cond), x.clone(), w.clone()]).unwrap();
        assert_eq!(y, [tensor(&[2], &expected)]);
    }
    assert_eq!(output_types(&graph), ["float[n]"]);
    assert!(run(&graph, &[tensor(&[2], &[true; 2]), x, w]).is_err());
}

#[test]
fn if_knows_what_both_branches_agree_on() {
    let graph = graph(
        "g (bool cond, float[n, 2] x) => (undefined y) {
            y = If (cond) <
                else_branch: graph = e () => (undefined a) { a = Transpose (x) },
                then_branch: graph = t () => (undefined b) { b = Add (x, x) }>
        }",
    );
    assert_eq!(output_types(&graph), ["float[?, ?]"]);
}

/// Powers of two: state doubles, each state is given out too.
const DOUBLING: &str = "g (int64 m, bool cond, float[1] x) => (undefined last, undefined all) {
    last, all = Loop (m, cond, x) <
        body: graph = b (int64 i, bool c, float[1] s) => (bool go, float[1] t, float[1] u) {
            t = Add (s, s)
            u = Mul (t, w)
            go = Less (t, limit)
        }>
}";

fn doubling() -> Graph {
    let body = DOUBLING.replace("float[1] u) {", "float[1] u) <float[1] w = {1}, float[1] limit = {40}> {");
    graph(&body)
}

#[test]
fn loop_ends_by_count_or_condition() {
    struct Case {
        m: i64,
        cond: bool,
        last: f32,
        all: &'static [f32],
    }
    for Case { m, cond, last, all } in [
        Case { m: 3, cond: true, last: 8., all: &[2., 4., 8.] },
        Case { m: i64::MAX, cond: true, last: 64., all: &[2., 4., 8., 16., 32., 64.] },
        Case { m: 3, cond: false, last: 1., all: &[] },
        Case { m: -1, cond: true, last: 1., all: &[] },
    ] {
        let y = run(&doubling(), &[Tensor::scalar(m), Tensor::scalar(cond), tensor(&[1], &[1f32])]).unwrap();
        assert_eq!(y, [tensor(&[1], &[last]), tensor(&[all.len(), 1], all)], "m = {m}");
    }
    assert_eq!(output_types(&doubling()), ["float[1]", "float[?, 1]"]);
}

#[test]
fn a_counted_loop_has_outputs_of_its_count() {
    let graph = graph(
        "g (float[n, 2] x) => (undefined all) <int64 m = {3}> {
            all = Loop (m, \"\") <
                body: graph = b (int64 i, bool c) => (undefined go, undefined item) { go = And (c, c) item = Add (x, x) }>
        }",
    );
    assert_eq!(output_types(&graph), ["float[?, n, 2]"]);
    let y = run(&graph, &[tensor(&[1, 2], &[1f32, 2.])]).unwrap();
    assert_eq!(y, [tensor(&[3, 1, 2], &[2f32, 4., 2., 4., 2., 4.])]);
}

#[test]
fn state_may_change_its_shape() {
    let graph = graph(
        "g (int64 m, float[1, 1] x, float[n, 1] w) => (undefined last) <bool go = {1}> {
            last = Loop (m, go, x) <
                body: graph = b (int64 i, bool c, undefined s) => (undefined c2, undefined t) { c2 = Or (c, c) t = Add (s, w) }>
        }",
    );
    assert_eq!(output_types(&graph), ["float[]"]);
    let inputs = [Tensor::scalar(2i64), tensor(&[1, 1], &[1f32]), tensor(&[2, 1], &[1f32, 2.])];
    assert_eq!(run(&graph, &inputs).unwrap(), [tensor(&[2, 1], &[3f32, 5.])]);
}

#[test]
fn an_endless_loop_meets_the_deadline() {
    let graph = graph(
        "g (bool go) => (undefined last) {
            last = Loop (\"\", go, go) <body: graph = b (int64 i, bool c, bool s) => (bool c, bool t) { t = Not (s) }>
        }",
    );
    let mut cx = EvalCx::unlimited(&Interpreter);
    cx.deadline = std::time::Instant::now().checked_add(std::time::Duration::from_millis(5));
    let inputs = vec![Some(Value::Tensor(Tensor::scalar(true)))];
    assert_eq!(Interpreter.run(&graph, inputs, &mut cx).unwrap_err().root(), &OpError::DeadlineExceeded);
}

#[test]
fn scan_runs_along_each_axis_in_its_direction() {
    let graph = graph(
        "g (float[2] x, float[2, k] a, float[k, 2] b) => (undefined last, undefined all) {
            last, all = Scan (x, a, b) <
                num_scan_inputs: int = 2, scan_input_axes: ints = [-1, 0], scan_input_directions: ints = [0, 1],
                scan_output_axes: ints = [1], scan_output_directions: ints = [1],
                body: graph = b (float[2] s, float[2] p, float[2] q) => (undefined t, undefined u) { t = Add (s, p) u = Sub (p, q) }>
        }",
    );
    assert_eq!(output_types(&graph), ["float[2]", "float[2, k]"]);
    let (x, b) = (tensor(&[2], &[0f32, 1.]), tensor(&[3, 2], &[10f32, 20., 30., 40., 50., 60.]));
    let y = run(&graph, &[x.clone(), tensor(&[2, 3], &[1f32, 2., 3., 4., 5., 6.]), b.clone()]).unwrap();
    assert_eq!(y, [tensor(&[2], &[6f32, 16.]), tensor(&[2, 3], &[-7f32, -28., -49., -14., -35., -56.])]);
    assert!(run(&graph, &[x.clone(), tensor(&[2, 2], &[1f32; 4]), b]).is_err());
    let empty = run(&graph, &[x.clone(), tensor::<f32>(&[2, 0], &[]), tensor::<f32>(&[0, 2], &[])]).unwrap();
    assert_eq!(empty, [x, tensor::<f32>(&[2, 0], &[])]);
}

#[test]
fn bodies_of_another_arity_are_refused() {
    for (text, part) in [
        (
            "g (bool c) => () { y = If (c) <else_branch: graph = e () => () {}, then_branch: graph = t () => () {}> }",
            "1 outputs",
        ),
        ("g (int64 m) => () { y = Loop (m) <body: graph = b (int64 i) => () {}> }", "2 inputs"),
        (
            "g (float[2] x) => () { y = Scan (x) <num_scan_inputs: int = 2, body: graph = b () => () {}> }",
            "expected 1 to 1",
        ),
        (
            "g (float[2] x) => () { y = Scan (x) <num_scan_inputs: int = 1, scan_output_axes: ints = [0, 1],
             body: graph = b (float s) => (float s) {}> }",
            "expected 1 numbers",
        ),
    ] {
        let error = text::parse(text, &StandardRegistry).unwrap_err();
        assert!(error.message.contains(part), "{error}");
    }
}
