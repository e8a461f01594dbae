use super::*;
use crate::Threads;
use crate::testing::noise;

/// Extents of a case: batch, heads, heads of keys, queries, keys, features of keys and of values.
const CASES: &[[usize; 7]] = &[
    [1, 1, 1, 1, 1, 1, 1],
    [2, 3, 1, 1, 7, 5, 3],
    [1, 4, 2, 5, 9, 8, 16],
    [2, 2, 2, 1, 130, 64, 64],
    [1, 2, 1, 101, 101, 20, 12],
    [1, 6, 2, 3, 33, 17, 9],
    [1, 1, 1, 3, 0, 4, 4],
    [1, 2, 2, 0, 4, 4, 4],
];

type Visible = fn(usize, usize) -> Range<usize>;

struct Tensors {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

fn problem<'a>(extents: &[usize; 7], order: Order, tensors: &'a Tensors, visible: &'a Visible) -> Attention<'a, f32> {
    let &[batch, heads, kv_heads, queries, keys, features, value_features] = extents;
    let heads_of =
        |data, heads, positions, features| Heads { data, layout: Layout::dense(order, heads, positions, features) };
    Attention {
        batch,
        heads,
        kv_heads,
        queries,
        keys,
        features,
        value_features,
        q: heads_of(&tensors.q, heads, queries, features),
        k: heads_of(&tensors.k, kv_heads, keys, features),
        v: heads_of(&tensors.v, kv_heads, keys, value_features),
        scale: 0.7,
        softcap: 0.0,
        bias: None,
        rounding: None,
        softmax_rounding: None,
        sinks: None,
        visible,
    }
}

fn tensors(&[batch, heads, kv_heads, queries, keys, features, value_features]: &[usize; 7]) -> Tensors {
    Tensors {
        q: noise(batch * heads * queries * features, 1.0),
        k: noise(batch * kv_heads * keys * features, 1.0),
        v: noise(batch * kv_heads * keys * value_features, 1.0),
    }
}

fn near(got: &[f32], expected: &[f32], what: &str) {
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!(got == expected || (got - expected).abs() < 1e-5, "{what} [{i}]: expected {expected}, got {got}");
    }
}

/// Holds the tiles against the definition, at every stage.
fn agree(a: &Attention<'_, f32>, order: Order, what: &str) {
    for threads in [Threads::single(), Threads::new(3).unwrap()] {
        let stages = [Stage::Product, Stage::Capped, Stage::Biased, Stage::Weights];
        for stage in stages.map(Some).into_iter().chain([None]) {
            let (mut out, mut expected) = (vec![f32::NAN; a.output_len()], vec![f32::NAN; a.output_len()]);
            let (mut scores, mut expected_scores) = (vec![f32::NAN; a.scores_len()], vec![f32::NAN; a.scores_len()]);
            attention(&threads, a, order, &mut out, stage.map(|stage| (stage, &mut scores[..])), &|| true);
            attention_scalar(a, order, &mut expected, stage.map(|s| (s, &mut expected_scores[..])), &|| true);
            near(&out, &expected, what);
            if stage.is_some() {
                near(&scores, &expected_scores, what);
            }
        }
    }
}

#[test]
fn tiles_equal_the_definition() {
    let ranges: [Visible; 4] = [|_, _| 0..usize::MAX, |_, i| 0..i + 1, |b, i| i..i + 3 + b, |_, i| 2..i];
    for extents in CASES {
        let tensors = tensors(extents);
        for order in [Order::HeadsFirst, Order::PositionsFirst] {
            for visible in &ranges {
                let plain = problem(extents, order, &tensors, visible);
                agree(&plain, order, &format!("{extents:?} {order:?}"));
                let sinks = noise(plain.heads, 1.0);
                let capped = Attention { softcap: 0.5, sinks: Some(&sinks), ..plain };
                agree(&capped, order, &format!("{extents:?} {order:?} capped"));
            }
        }
    }
}

#[test]
fn biases_are_added_row_by_row() {
    for extents in CASES {
        let tensors = tensors(extents);
        let &[batch, heads, _, queries, keys, ..] = extents;
        let visible: Visible = |_, i| 0..i + 5;
        let plain = problem(extents, Order::HeadsFirst, &tensors, &visible);
        for row in [keys, keys / 2] {
            let full = Layout::dense(Order::HeadsFirst, heads, queries, row);
            for layout in [full, Layout { batch: 0, head: 0, position: 0 }, Layout { head: 0, ..full }] {
                let mut added = noise(batch * heads * queries * row, 1.0);
                added.iter_mut().step_by(3).for_each(|x| *x = f32::NEG_INFINITY);
                let allowed: Vec<bool> = added.iter().map(|x| *x > 0.0).collect();
                for rows in [BiasRows::Added(&added[..]), BiasRows::Allowed(&allowed)] {
                    let a = Attention { bias: Some(Bias { rows, layout, keys: row }), ..plain };
                    agree(&a, Order::HeadsFirst, &format!("{extents:?} {layout:?}"));
                }
            }
        }
    }
}

#[test]
fn a_row_without_keys_is_zero_whatever_its_scores_are() {
    let tensors = Tensors { q: vec![f32::NAN; 4], k: vec![1.0; 12], v: vec![1.0; 12] };
    let everything: Visible = |_, _| 0..3;
    let a = problem(&[1, 1, 1, 1, 3, 4, 4], Order::HeadsFirst, &tensors, &everything);
    let added = [f32::NEG_INFINITY; 3];
    let layout = Layout { batch: 0, head: 0, position: 0 };
    for rows in [BiasRows::Added(&added[..]), BiasRows::Allowed(&[false; 3])] {
        let a = Attention { bias: Some(Bias { rows, layout, keys: 3 }), ..a };
        let mut out = [1.0; 4];
        attention(&Threads::single(), &a, Order::HeadsFirst, &mut out, None, &|| true);
        assert_eq!(out, [0.0; 4]);
    }
}

#[test]
#[should_panic(expected = "elements")]
fn heads_beyond_the_data_are_refused() {
    let tensors = Tensors { q: vec![0.0; 4], k: vec![0.0; 11], v: vec![0.0; 12] };
    let everything: Visible = |_, _| 0..3;
    let a = problem(&[1, 1, 1, 1, 3, 4, 4], Order::HeadsFirst, &tensors, &everything);
    attention(&Threads::single(), &a, Order::HeadsFirst, &mut [0.0; 4], None, &|| true);
}

#[test]
fn scores_and_weights_are_rounded_where_asked() {
    let tensors = Tensors { q: vec![1.0], k: vec![1.0039, 2.0], v: vec![1.0, 0.0] };
    let everything: Visible = |_, _| 0..2;
    let a = problem(&[1, 1, 1, 1, 2, 1, 1], Order::HeadsFirst, &tensors, &everything);
    let rounding = Some(Rounding::Bf16);
    let a = Attention { scale: 1.0, rounding, softmax_rounding: rounding, ..a };
    for (stage, expected) in [(Stage::Product, [1.0, 2.0]), (Stage::Weights, [0.269_531_25, 0.730_468_75])] {
        let (mut out, mut scores) = ([0.0], [0.0; 2]);
        attention(&Threads::single(), &a, Order::HeadsFirst, &mut out, Some((stage, &mut scores)), &|| true);
        assert_eq!((scores, out), (expected, [0.269_531_25]));
    }
}
