//! Attention and its kin, one score at a time.

use super::array::{Array, cells, ints, offset, reals};
use super::draw::{Draw, vector};
use super::{Case, Expected, Property, opt_case, property};
use planish_ir::{Attributes, FLOATS};
use planish_tensor::{DType, Tensor};

pub fn properties() -> Vec<Property> {
    vec![
        property("Attention", attention),
        property("FlexAttention", |draw| {
            let dtype = draw.dtype(FLOATS);
            let sizes = Sizes::draw(draw);
            let (q, k, v) = sizes.inputs(draw, dtype);
            let scale = draw.flag().then_some(0.5f32);
            let scores = sizes.scores(&reals(&q), &reals(&k), scale.map(f64::from));
            let y = sizes.weighted(&softmaxed(&scores), &reals(&v));
            let attributes = scale.iter().fold(Attributes::new(), |all, &s| all.with("scale", s));
            opt_case(attributes, [q, k, v].map(Some), [Expected::absolute(dtype, y, 10.0)])
        })
        .domain("ai.onnx.preview"),
        property("LinearAttention", linear),
        property("RotaryEmbedding", rotary),
        property("GroupQueryAttention", group_query).domain("com.microsoft"),
    ]
}

struct Sizes {
    batch: usize,
    kv_heads: usize,
    group: usize,
    queries: usize,
    keys: usize,
    head: usize,
    v_head: usize,
}

impl Sizes {
    fn draw(draw: &mut Draw<'_>) -> Sizes {
        Sizes {
            batch: draw.size(1..=2),
            kv_heads: draw.size(1..=2),
            group: draw.size(1..=3),
            queries: draw.size(1..=4),
            keys: draw.size(1..=5),
            head: draw.size(1..=4),
            v_head: draw.size(1..=4),
        }
    }

    fn heads(&self) -> usize {
        self.kv_heads * self.group
    }

    fn inputs(&self, draw: &mut Draw<'_>, dtype: DType) -> (Tensor, Tensor, Tensor) {
        (
            draw.numbers(dtype, &[self.batch, self.heads(), self.queries, self.head]),
            draw.numbers(dtype, &[self.batch, self.kv_heads, self.keys, self.head]),
            draw.numbers(dtype, &[self.batch, self.kv_heads, self.keys, self.v_head]),
        )
    }

    /// Scaled products of queries and keys.
    fn scores(&self, q: &Array<f64>, k: &Array<f64>, scale: Option<f64>) -> Array<f64> {
        let scale = scale.unwrap_or(1.0 / (self.head as f64).sqrt());
        Array::from_fn(&[self.batch, self.heads(), self.queries, k.dims[2]], |i| {
            let key = |f| k.at(&[i[0], i[1] / self.group, i[3], f]);
            (0..self.head).map(|f| q.at(&[i[0], i[1], i[2], f]) * key(f)).sum::<f64>() * scale
        })
    }

    fn weighted(&self, weights: &Array<f64>, v: &Array<f64>) -> Array<f64> {
        Array::from_fn(&[self.batch, self.heads(), self.queries, v.dims[3]], |i| {
            let value = |j| v.at(&[i[0], i[1] / self.group, j, i[3]]);
            (0..v.dims[2]).map(|j| weights.at(&[i[0], i[1], i[2], j]) * value(j)).sum()
        })
    }
}

/// Softmax of the last axis; where nothing is left, 0.
fn softmaxed(scores: &Array<f64>) -> Array<f64> {
    let row = |i: &[usize]| (0..scores.dims[3]).map(|j| scores.at(&[i[0], i[1], i[2], j])).collect::<Vec<f64>>();
    Array::from_fn(&scores.dims, |i| {
        let row = row(i);
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max == f64::NEG_INFINITY {
            0.0
        } else {
            (row[i[3]] - max).exp() / row.iter().map(|v| (v - max).exp()).sum::<f64>()
        }
    })
}

/// `[batch, heads, length, size]` as `[batch, length, heads · size]`.
fn packed(t: &Tensor) -> Tensor {
    let x = cells(t);
    let [batch, heads, length, size] = x.dims[..] else { panic!("rank 4") };
    let dims = [batch, length, heads * size];
    super::from_cells(t.dtype(), &Array::from_fn(&dims, |i| x.at(&[i[0], i[2] / size, i[1], i[2] % size])))
}

fn packed_reals(x: &Array<f64>) -> Array<f64> {
    let [batch, heads, length, size] = x.dims[..] else { panic!("rank 4") };
    Array::from_fn(&[batch, length, heads * size], |i| x.at(&[i[0], i[2] / size, i[1], i[2] % size]))
}

/// One array after the other along axis 2.
fn joined(past: Option<&Array<f64>>, new: &Array<f64>) -> Array<f64> {
    let before = past.map_or(0, |p| p.dims[2]);
    let mut dims = new.dims.clone();
    dims[2] += before;
    Array::from_fn(&dims, |i| match i[2].checked_sub(before) {
        None => past.unwrap().at(i),
        Some(at) => new.at(&[i[0], i[1], at, i[3]]),
    })
}

fn attention(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.dtype(FLOATS);
    let sizes = Sizes::draw(draw);
    let (q, k, v) = sizes.inputs(draw, dtype);
    let cache = draw.below(3);
    let before = draw.size(0..=3);
    let past = (cache == 1).then(|| {
        let kv = |draw: &mut Draw<'_>, size| draw.numbers(dtype, &[sizes.batch, sizes.kv_heads, before, size]);
        (kv(draw, sizes.head), kv(draw, sizes.v_head))
    });
    let valid: Option<Vec<i64>> =
        (cache == 2).then(|| (0..sizes.batch).map(|_| draw.int(0..=sizes.keys as i64)).collect());
    let total = sizes.keys + if past.is_some() { before } else { 0 };
    let (causal, left, right) = (draw.flag(), draw.int(-1..=2), draw.int(-1..=2));
    let (left, right) = if draw.flag() { (left, right) } else { (-1, -1) };
    let (softcap, scale) = (draw.pick(&[0.0f32, 1.5]), draw.flag().then_some(0.75f32));
    let mode = draw.int(0..=3);
    // A mask may be shorter than the keys, down to those that are valid.
    let valid_most = valid.as_ref().map_or(total, |v| v.iter().copied().max().unwrap_or(0).max(1) as usize);
    let mask = draw.flag().then(|| {
        let own = if draw.rarely(3) { draw.size(valid_most..=total) } else { total };
        let full = [sizes.batch, sizes.heads(), sizes.queries, own];
        let rank = draw.size(2..=4);
        let mut dims = full[4 - rank..].to_vec();
        dims[..rank - 1].iter_mut().for_each(|d| *d = if draw.rarely(3) { 1 } else { *d });
        if draw.flag() { draw.bools(&dims) } else { draw.numbers(dtype, &dims) }
    });
    let keys = joined(past.as_ref().map(|p| reals(&p.0)).as_ref(), &reals(&k));
    let values = joined(past.as_ref().map(|p| reals(&p.1)).as_ref(), &reals(&v));
    let scale64 = scale.map(f64::from);
    let raw = sizes.scores(&reals(&q), &keys, scale64);
    let cap = f64::from(softcap);
    let capped = raw.map(|s| if cap > 0.0 { cap * (s / cap).tanh() } else { s });
    let biased = Array::from_fn(&raw.dims, |i| {
        let (b, query, key) = (i[0], i[2] as i64, i[3] as i64);
        let shift = match (&past, &valid) {
            (Some(_), _) => before as i64,
            (None, Some(valid)) => valid[b] - sizes.queries as i64,
            _ => 0,
        };
        let place = query + shift;
        let is_hidden = (causal && key > place)
            || (left >= 0 && key < place - left)
            || (right >= 0 && key > place + right)
            || valid.as_ref().is_some_and(|valid| key >= valid[b]);
        let bias = mask.as_ref().map_or(0.0, |mask| {
            let (dims, is_flag) = (mask.shape().dims(), mask.dtype() == DType::Bool);
            if i[3] >= dims[dims.len() - 1] {
                return f64::NEG_INFINITY;
            }
            match reals_or_flags(mask).broadcast(i) {
                bias if !is_flag => bias,
                0.0 => f64::NEG_INFINITY,
                _ => 0.0,
            }
        });
        if is_hidden { f64::NEG_INFINITY } else { capped.at(i) + bias }
    });
    let weights = softmaxed(&biased);
    let y = sizes.weighted(&weights, &values);
    let mut attributes = Attributes::new()
        .with("is_causal", i64::from(causal))
        .with("softcap", softcap)
        .with("qk_matmul_output_mode", mode)
        .with("left_window_size", left)
        .with("right_window_size", right);
    scale.iter().for_each(|&s| attributes.set("scale", s));
    let three = draw.flag();
    if three {
        attributes.set("q_num_heads", sizes.heads() as i64);
        attributes.set("kv_num_heads", sizes.kv_heads as i64);
    }
    let put = |t: &Tensor| if three { packed(t) } else { t.clone() };
    let y = if three { packed_reals(&y) } else { y };
    let stage = [raw, capped, biased, weights][mode as usize].clone();
    let inputs = [
        Some(put(&q)),
        Some(put(&k)),
        Some(put(&v)),
        mask,
        past.as_ref().map(|p| p.0.clone()),
        past.as_ref().map(|p| p.1.clone()),
        valid.as_ref().map(|v| vector(v)),
    ];
    let mut expected = vec![Expected::absolute(dtype, y, 10.0)];
    if valid.is_none() && draw.flag() {
        expected.push(Expected::within(dtype, keys, 0.0));
        expected.push(Expected::within(dtype, values, 0.0));
        expected.push(Expected::absolute(dtype, stage, 16.0));
    }
    opt_case(attributes, inputs, expected)
}

fn reals_or_flags(mask: &Tensor) -> Array<f64> {
    if mask.dtype() == DType::Bool { ints(mask).map(|v| v as f64) } else { reals(mask) }
}

fn linear(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.pick(&[DType::F32, DType::F16, DType::BF16]);
    let sizes = Sizes::draw(draw);
    let (batch, steps, heads) = (sizes.batch, sizes.queries, sizes.kv_heads);
    let rule = draw.pick(&["linear", "gated", "delta", "gated_delta"]);
    let three = |draw: &mut Draw<'_>, size: usize| draw.between(dtype, &[batch, steps, size], -0.7, 0.7);
    let (q, k, v) =
        (three(draw, sizes.heads() * sizes.head), three(draw, heads * sizes.head), three(draw, heads * sizes.v_head));
    let past = draw.flag().then(|| draw.between(dtype, &[batch, heads, sizes.head, sizes.v_head], -1.0, 1.0));
    let (per_key, per_head) = (draw.flag(), draw.flag());
    let decay = rule
        .starts_with("gated")
        .then(|| draw.between(dtype, &[batch, steps, if per_key { heads * sizes.head } else { heads }], -1.0, 0.0));
    let beta = rule
        .ends_with("delta")
        .then(|| draw.between(dtype, &[batch, steps, if per_head { heads } else { 1 }], 0.0, 1.0));
    let scale = draw.flag().then_some(0.5f32);
    let factor = scale.map_or(1.0 / (sizes.head as f64).sqrt(), f64::from);
    let (qs, ks, vs) = (reals(&q), reals(&k), reals(&v));
    let (decays, betas) = (decay.as_ref().map(reals), beta.as_ref().map(reals));
    let mut states =
        past.as_ref().map_or_else(|| Array::from_fn(&[batch, heads, sizes.head, sizes.v_head], |_| 0.0), reals);
    let mut y = Array::from_fn(&[batch, steps, sizes.heads() * sizes.v_head], |_| 0.0);
    for b in 0..batch {
        for h in 0..heads {
            for t in 0..steps {
                let at = |i: usize, j: usize| offset(&[batch, heads, sizes.head, sizes.v_head], &[b, h, i, j]);
                if let Some(decays) = &decays {
                    let per_key = decays.dims[2] != heads || (per_key && sizes.head == 1);
                    for i in 0..sizes.head {
                        let g = decays.at(&[b, t, if per_key { h * sizes.head + i } else { h }]);
                        (0..sizes.v_head).for_each(|j| states.data[at(i, j)] *= g.exp());
                    }
                }
                let rate = betas.as_ref().map_or(1.0, |beta| beta.at(&[b, t, if beta.dims[2] == 1 { 0 } else { h }]));
                for j in 0..sizes.v_head {
                    let key = |i: usize| ks.at(&[b, t, h * sizes.head + i]);
                    let known: f64 = match rule.ends_with("delta") {
                        true => (0..sizes.head).map(|i| states.data[at(i, j)] * key(i)).sum(),
                        false => 0.0,
                    };
                    let change = rate * (vs.at(&[b, t, h * sizes.v_head + j]) - known);
                    (0..sizes.head).for_each(|i| states.data[at(i, j)] += key(i) * change);
                    for g in 0..sizes.group {
                        let head = h * sizes.group + g;
                        let query = |i: usize| qs.at(&[b, t, head * sizes.head + i]);
                        let sum: f64 = (0..sizes.head).map(|i| query(i) * states.data[at(i, j)]).sum();
                        let to = offset(&y.dims, &[b, t, head * sizes.v_head + j]);
                        y.data[to] = factor * sum;
                    }
                }
            }
        }
    }
    let mut attributes = Attributes::new()
        .with("q_num_heads", sizes.heads() as i64)
        .with("kv_num_heads", heads as i64)
        .with("update_rule", rule);
    scale.iter().for_each(|&s| attributes.set("scale", s));
    let expected = [Expected::absolute(dtype, y, 20.0), Expected::absolute(dtype, states, 20.0)];
    opt_case(attributes, [Some(q), Some(k), Some(v), past, decay, beta], expected)
}

/// Each pair of a vector's first `2 · cos.len()` features turned by the angle of its position.
fn turned(x: &Array<f64>, cos: impl Fn(&[usize], usize) -> (f64, f64), rotary: usize, interleaved: bool) -> Array<f64> {
    let half = rotary / 2;
    Array::from_fn(&x.dims, |i| {
        let feature = i[3];
        if feature >= rotary {
            return x.at(i);
        }
        let (pair, is_second) =
            if interleaved { (feature / 2, feature % 2 == 1) } else { (feature % half, feature >= half) };
        let (first, second) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + half) };
        let (a, b) = (x.at(&[i[0], i[1], i[2], first]), x.at(&[i[0], i[1], i[2], second]));
        let (c, s) = cos(i, pair);
        if is_second { s * a + c * b } else { c * a - s * b }
    })
}

fn rotary(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.pick(&[DType::F32, DType::F16, DType::BF16]);
    let (batch, heads, length) = (draw.size(1..=2), draw.size(1..=2), draw.size(1..=3));
    let head = 2 * draw.size(1..=3);
    let partial = draw.flag();
    let rotary = if partial { 2 * draw.size(1..=head / 2) } else { head };
    let (interleaved, three, by_position) = (draw.flag(), draw.flag(), draw.flag());
    let x = draw.numbers(dtype, &[batch, heads, length, head]);
    let dims = if by_position { vec![5, rotary / 2] } else { vec![batch, length, rotary / 2] };
    let (cos, sin) = (draw.numbers(dtype, &dims), draw.numbers(dtype, &dims));
    let positions = by_position.then(|| draw.integers(DType::I64, &[batch, length], 0..=4));
    let (cs, ss, ps) = (reals(&cos), reals(&sin), positions.as_ref().map(ints));
    let y = turned(
        &reals(&x),
        |i, pair| {
            let at = match &ps {
                Some(p) => vec![p.at(&[i[0], i[2]]) as usize, pair],
                None => vec![i[0], i[2], pair],
            };
            (cs.at(&at), ss.at(&at))
        },
        rotary,
        interleaved,
    );
    let mut attributes = Attributes::new().with("interleaved", i64::from(interleaved));
    if partial {
        attributes.set("rotary_embedding_dim", rotary as i64);
    }
    if three {
        attributes.set("num_heads", heads as i64);
    }
    let (x, y) = if three { (packed(&x), packed_reals(&y)) } else { (x, y) };
    opt_case(attributes, [Some(x), Some(cos), Some(sin), positions], [Expected::absolute(dtype, y, 8.0)])
}

/// A cache in its own buffer, of as many keys as there are: what generators run.
fn group_query(draw: &mut Draw<'_>) -> Case {
    let dtype = draw.pick(&[DType::F32, DType::F16]);
    let mut sizes = Sizes::draw(draw);
    (sizes.v_head, sizes.keys) = (sizes.head, sizes.queries);
    let before = draw.size(0..=3);
    let (q, k, v) = sizes.inputs(draw, dtype);
    let cache = |draw: &mut Draw<'_>| draw.numbers(dtype, &[sizes.batch, sizes.kv_heads, before, sizes.head]);
    let (past_key, past_value) = (cache(draw), cache(draw));
    let total = before + sizes.queries;
    let window = draw.pick(&[-1i64, 1, 2]);
    let (softcap, scale) = (draw.pick(&[0.0f32, 1.5]), draw.flag().then_some(0.75f32));
    let (keys, values) = (joined(Some(&reals(&past_key)), &reals(&k)), joined(Some(&reals(&past_value)), &reals(&v)));
    let cap = f64::from(softcap);
    let raw = sizes.scores(&reals(&q), &keys, scale.map(f64::from));
    let scores = Array::from_fn(&raw.dims, |i| {
        let (place, key) = ((before + i[2]) as i64, i[3] as i64);
        let is_hidden = key > place || (window > 0 && key <= place - window);
        let score = raw.at(i);
        let score = if cap > 0.0 { cap * (score / cap).tanh() } else { score };
        if is_hidden { f64::NEG_INFINITY } else { score }
    });
    let y = packed_reals(&sizes.weighted(&softmaxed(&scores), &values));
    let mut attributes = Attributes::new()
        .with("num_heads", sizes.heads() as i64)
        .with("kv_num_heads", sizes.kv_heads as i64)
        .with("local_window_size", window)
        .with("softcap", softcap);
    scale.iter().for_each(|&s| attributes.set("scale", s));
    let lengths = draw.integers(DType::I32, &[sizes.batch], total as i64 - 1..=total as i64 - 1);
    let inputs = [packed(&q), packed(&k), packed(&v), past_key, past_value, lengths, Tensor::scalar(total as i32)];
    let expected =
        [Expected::absolute(dtype, y, 10.0), Expected::within(dtype, keys, 0.0), Expected::within(dtype, values, 0.0)];
    opt_case(attributes, inputs.map(Some), expected)
}

#[test]
fn attention_is_as_defined() {
    super::check_all(properties());
}
