//! Attention by its definition.

use super::{Attention, BiasRows, Layout, Order, Stage};

/// A float that the definition computes with, in `f64`.
pub trait Real: Copy + Send + Sync + 'static {
    /// The number in `f64`.
    fn to_f64(self) -> f64;
    /// The nearest number of this type.
    fn from_f64(x: f64) -> Self;
}

impl Real for f32 {
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn from_f64(x: f64) -> Self {
        x as f32
    }
}

impl Real for f64 {
    fn to_f64(self) -> f64 {
        self
    }
    fn from_f64(x: f64) -> Self {
        x
    }
}

/// Writes the attention's result to `out`, a dense tensor in this order, and its scores `[batch, head, query, key]` at a
/// stage. Stops early, with the rest of the result unwritten, once `may_go_on` says no.
///
/// # Panics
/// If the sizes do not fit together.
pub fn attention_scalar<T: Real>(
    a: &Attention<'_, T>,
    order: Order,
    out: &mut [T],
    mut scores: Option<(Stage, &mut [T])>,
    may_go_on: &dyn Fn() -> bool,
) {
    a.check(out.len(), scores.as_ref().map(|(_, scores)| scores.len()));
    let layout = Layout::dense(order, a.heads, a.queries, a.value_features);
    let mut row = vec![0.0; a.keys];
    for index in 0..a.batch * a.heads * a.queries {
        if !may_go_on() {
            return;
        }
        let place = [index / (a.heads * a.queries), index / a.queries % a.heads, index % a.queries];
        let mut at_stage = |stage: Stage, row: &[f64]| {
            if let Some((wanted, scores)) = scores.as_mut().filter(|(wanted, _)| *wanted == stage) {
                debug_assert_eq!(*wanted, stage);
                let scores = &mut scores[index * a.keys..][..a.keys];
                scores.iter_mut().zip(row).for_each(|(y, &x)| *y = T::from_f64(x));
            }
        };
        weigh(a, place, &mut row, &mut at_stage);
        let [batch, head, query] = place;
        let out = &mut out[layout.at(batch, head, query)..][..a.value_features];
        for (feature, y) in out.iter_mut().enumerate() {
            let kv_head = head / (a.heads / a.kv_heads);
            let value = |key| a.v.from(batch, kv_head, key)[feature].to_f64();
            let sum = row.iter().enumerate().filter(|(_, weight)| **weight != 0.0).map(|(key, w)| w * value(key)).sum();
            *y = T::from_f64(sum);
        }
    }
}

/// Fills `row` with the weights of a query's keys.
fn weigh<T: Real>(
    a: &Attention<'_, T>,
    place @ [batch, head, query]: [usize; 3],
    row: &mut [f64],
    at_stage: &mut dyn FnMut(Stage, &[f64]),
) {
    let q = a.q.from(batch, head, query);
    for (key, x) in row.iter_mut().enumerate() {
        let k = a.k.from(batch, head / (a.heads / a.kv_heads), key);
        let products = q.iter().zip(k).take(a.features).map(|(q, k)| q.to_f64() * k.to_f64());
        *x = a.scale * products.sum::<f64>();
    }
    at_stage(Stage::Product, row);
    if a.softcap != 0.0 {
        let cap = f64::from(a.softcap);
        row.iter_mut().for_each(|x| *x = cap * (*x / cap).tanh());
    }
    at_stage(Stage::Capped, row);
    let visible = a.visible(batch, query);
    for (key, x) in row.iter_mut().enumerate() {
        *x = if visible.contains(&key) { biased(a, place, key, *x) } else { f64::NEG_INFINITY };
    }
    at_stage(Stage::Biased, row);
    if a.sees_any(place, visible) {
        softmax(row, a.sinks.map(|sinks| f64::from(sinks[head])));
    } else {
        row.fill(0.0);
    }
    at_stage(Stage::Weights, row);
}

fn biased<T: Real>(a: &Attention<'_, T>, [batch, head, query]: [usize; 3], key: usize, x: f64) -> f64 {
    let Some(bias) = &a.bias else { return x };
    if key >= bias.keys {
        return f64::NEG_INFINITY;
    }
    let at = bias.layout.at(batch, head, query) + key;
    match bias.rows {
        BiasRows::Allowed(rows) if rows[at] => x,
        BiasRows::Allowed(_) => f64::NEG_INFINITY,
        BiasRows::Added(rows) => x + rows[at].to_f64(),
    }
}

fn softmax(row: &mut [f64], sink: Option<f64>) {
    let max = row.iter().copied().chain(sink).fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY && !row.iter().any(|x| x.is_nan()) {
        return row.fill(0.0);
    }
    row.iter_mut().for_each(|x| *x = (*x - max).exp());
    let sum = row.iter().sum::<f64>() + sink.map_or(0.0, |sink| (sink - max).exp());
    row.iter_mut().for_each(|x| *x /= sum);
}
