//! What a session holds once it is loaded.

use planish::peak::planned_peak;
use planish::{Graph, Model, RunOptions, SessionOptions, Shape, Tensor};
use planish_ops::StandardRegistry;

const ROWS: usize = 96;
const COLUMNS: usize = 32;

/// A table of embeddings whose transpose is the last product's weight.
fn tied(product: &str) -> Model {
    let text = format!(
        "g (int64[N] ids) => (float[N, {ROWS}] y) <float[{ROWS}, {COLUMNS}] table = {{{}}}, \
         float[{ROWS}] bias = {{{}}}> {{ x = Gather (table, ids) w = Transpose (table) {product} }}",
        (0..ROWS * COLUMNS).map(|i| (i * 7 % 13).to_string()).collect::<Vec<_>>().join(", "),
        (0..ROWS).map(|i| (i % 5).to_string()).collect::<Vec<_>>().join(", "),
    );
    let mut graph = Graph::from_text(&text, &StandardRegistry).unwrap();
    graph.infer().unwrap();
    Model { graph, ..Model::default() }
}

#[test]
fn weights_that_the_graph_transposes_are_packed_as_they_lie() {
    let ids = Tensor::vector(&[3i64, 95]);
    let value = |row: usize, column: usize| (((row * COLUMNS + column) * 7) % 13) as f32;
    let dot = |a: usize, b: usize| (0..COLUMNS).map(|i| value(a, i) * value(b, i)).sum::<f32>();
    for (product, bias) in [("y = MatMul (x, w)", 0), ("p = MatMul (x, w) y = Add (p, bias)", 1)] {
        for optimize in [false, true] {
            let options = SessionOptions { optimize, threads: 1, ..SessionOptions::default() };
            let session = tied(product).into_session(&options).unwrap();
            let packed = ROWS * COLUMNS * size_of::<f32>();
            let peak = session.memory().peak_bytes();
            assert!((packed..packed + packed / 2).contains(&peak), "{product}, {optimize}: {peak} bytes for {packed}");
            let feeds = [("ids", ids.clone().into())];
            let y = session.run(feeds, &RunOptions::default()).unwrap();
            let expected = [3, 95].into_iter().flat_map(|a| (0..ROWS).map(move |b| (a, b)));
            let expected: Vec<f32> = expected.map(|(a, b)| dot(a, b) + (bias * (b % 5)) as f32).collect();
            assert_eq!(y[0].as_tensor().unwrap().as_slice::<f32>().unwrap(), expected);
        }
    }
}

#[test]
fn weights_that_come_as_integers_are_scaled_in_place() {
    let codes = (0..ROWS * COLUMNS).map(|i| (i % 100).to_string()).collect::<Vec<_>>().join(", ");
    let text = format!(
        "g (int64[N] ids) => (float[N, {COLUMNS}] y) <int8[{ROWS}, {COLUMNS}] codes = {{{codes}}}, float scale = {{0.5}}> \
         {{ wide = Cast <to: int = 1> (codes) table = Mul (wide, scale) y = Gather (table, ids) }}"
    );
    let mut graph = Graph::from_text(&text, &StandardRegistry).unwrap();
    graph.infer().unwrap();
    let options = SessionOptions { optimize: false, threads: 1, ..SessionOptions::default() };
    let session = Model { graph, ..Model::default() }.into_session(&options).unwrap();
    let table = ROWS * COLUMNS * size_of::<f32>();
    let peak = session.memory().peak_bytes();
    assert!((table..table * 3 / 2).contains(&peak), "{peak} bytes for a table of {table}");
    let y = session.run([("ids", Tensor::vector(&[0i64]).into())], &RunOptions::default()).unwrap();
    let expected: Vec<f32> = (0..COLUMNS).map(|i| i as f32 * 0.5).collect();
    assert_eq!(y[0].as_tensor().unwrap().as_slice::<f32>().unwrap(), expected);
}

#[test]
fn a_transpose_that_others_read_too_is_made() {
    let model = tied("u = MatMul (x, w) v = ReduceMax (w) y = Add (u, v)");
    let session = model.into_session(&SessionOptions { threads: 1, ..SessionOptions::default() }).unwrap();
    let feeds = [("ids", Tensor::vector(&[0i64]).into())];
    let y = session.run(feeds, &RunOptions::default()).unwrap();
    let first: f32 = (0..COLUMNS).map(|i| ((i * 7 % 13) as f32).powi(2)).sum();
    assert_eq!(y[0].as_tensor().unwrap().as_slice::<f32>().unwrap()[0], first + 12.0);
}

#[test]
fn a_run_takes_what_is_planned() {
    const BATCH: i64 = 256;
    let mut model = Model::load("models/digits/model.onnx").unwrap();
    planish_passes::bind_symbols(&mut model.graph, &[("batch".to_owned(), BATCH)]);
    let options = SessionOptions { optimize: false, threads: 1, ..SessionOptions::default() };
    let planned = planned_peak(&model.graph);
    let session = model.into_session(&options).unwrap();
    let weights = session.memory().used_bytes();
    let image = Tensor::new(Shape::new(&[BATCH as usize, 1, 8, 8]).unwrap(), &[0.5f32; 64 * BATCH as usize]).unwrap();
    drop(session.run([("image", image.into())], &RunOptions::default()).unwrap());
    let taken = (session.memory().peak_bytes() - weights) as u64;
    assert_eq!(planned.num_unknown, 0);
    assert!((planned.bytes..planned.bytes * 3 / 2).contains(&taken), "{taken} bytes of {planned:?}");
}

#[test]
fn a_body_packs_the_weights_that_it_captures() {
    const SIDE: usize = 64;
    let numbers = (0..SIDE * SIDE).map(|i| (i % 7).to_string()).collect::<Vec<_>>().join(", ");
    let text = |after: &str| {
        format!(
            "g (bool c, float[1, {SIDE}] x) => (float[1, {SIDE}] y) <float[{SIDE}, {SIDE}] w = {{{numbers}}}> {{ \
             z = If (c) <then_branch = t () => (float[1, {SIDE}] p) {{ p = MatMul (x, w) }}, \
             else_branch = e () => (float[1, {SIDE}] q) {{ q = Identity (x) }}> {after} }}"
        )
    };
    let x = Tensor::new(Shape::new(&[1, SIDE]).unwrap(), &[1.0f32; SIDE]).unwrap();
    let columns: Vec<f32> = (0..SIDE).map(|j| (0..SIDE).map(|i| ((i * SIDE + j) % 7) as f32).sum()).collect();
    for (after, twice) in [("y = Identity (z)", false), ("m = ReduceMax (w) d = Sub (m, m) y = Add (z, d)", true)] {
        let mut graph = Graph::from_text(&text(after), &StandardRegistry).unwrap();
        graph.infer().unwrap();
        let model = Model { graph, ..Model::default() };
        let options = SessionOptions { optimize: false, threads: 1, ..SessionOptions::default() };
        let session = model.into_session(&options).unwrap();
        for (condition, expected) in [(true, &columns[..]), (false, &[1.0; SIDE]), (true, &columns[..])] {
            let held = session.memory().used_bytes();
            let feeds = [("c", Tensor::scalar(condition).into()), ("x", x.clone().into())];
            let y = session.run(feeds, &RunOptions::default()).unwrap();
            assert_eq!(y[0].as_tensor().unwrap().as_slice::<f32>().unwrap(), expected, "{after}");
            let grown = session.memory().peak_bytes() - held;
            assert!(twice || grown < SIDE * SIDE * size_of::<f32>(), "{grown} bytes more for a run");
        }
    }
}

#[test]
fn weights_that_several_products_share_are_packed_once() {
    let turned = (0..COLUMNS * COLUMNS).map(|i| u8::from((i / COLUMNS + 1) % COLUMNS == i % COLUMNS).to_string());
    let text = format!(
        "g (float[N, {COLUMNS}] x) => (float[N, {COLUMNS}] y) <float[{COLUMNS}, {COLUMNS}] w = {{{}}}> \
         {{ a = MatMul (x, w) b = MatMul (a, w) y = MatMul (b, w) }}",
        turned.collect::<Vec<_>>().join(", "),
    );
    for optimize in [false, true] {
        let mut graph = Graph::from_text(&text, &StandardRegistry).unwrap();
        graph.infer().unwrap();
        let options = SessionOptions { optimize, threads: 1, ..SessionOptions::default() };
        let session = Model { graph, ..Model::default() }.into_session(&options).unwrap();
        let packed = COLUMNS * COLUMNS * size_of::<f32>();
        let used = session.memory().used_bytes();
        assert!((packed..2 * packed).contains(&used), "{used} bytes for {packed}");
        let x: Vec<f32> = (0..COLUMNS).map(|i| i as f32).collect();
        let x = Tensor::new(Shape::new(&[1, COLUMNS]).unwrap(), &x).unwrap();
        let y = session.run([("x", x.into())], &RunOptions::default()).unwrap();
        let expected: Vec<f32> = (0..COLUMNS).map(|i| ((i + COLUMNS - 3) % COLUMNS) as f32).collect();
        assert_eq!(y[0].as_tensor().unwrap().as_slice::<f32>().unwrap(), expected);
    }
}
