//! `com.microsoft::GroupQueryAttention`: causal attention of a language model with its cache and rotary embedding.
//!
//! The cache holds, for each batch, as many keys as `seqlens_k` says, and the new ones go behind them. Its buffer may be
//! longer than that: what lies beyond is not seen. Queries, keys and values may come as one tensor.

use super::run::{Call, View};
use crate::Define;
use crate::half::widened;
use crate::parallel;
use crate::rotary_embedding::turn;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, float, int, opt, optional, required, string,
};
use planish_tensor::{DType, Shape, Tensor};

/// `GroupQueryAttention`.
#[derive(Debug)]
pub struct GroupQueryAttention {
    heads: usize,
    kv_heads: usize,
    scale: Option<f32>,
    softcap: f32,
    is_rotary: bool,
    is_interleaved: bool,
    is_causal: bool,
    /// Keys that a query sees, its own included, if not all.
    window: Option<usize>,
    /// Whether a score of 0 takes part in each softmax.
    is_smooth: bool,
}

const TYPES: Types = Types::of(&[DType::F32, DType::F16, DType::BF16]);
const INT32: Types = Types::of(&[DType::I32]);

/// Input indices.
const KEY: usize = 1;
const VALUE: usize = 2;
const PAST_KEY: usize = 3;
const PAST_VALUE: usize = 4;
const LENGTHS: usize = 5;
const TOTAL: usize = 6;
const COS: usize = 7;
const SIN: usize = 8;
const POSITIONS: usize = 9;
const BIAS: usize = 10;
const SINK: usize = 11;

impl Define for GroupQueryAttention {
    const SCHEMA: Schema = Schema::new("GroupQueryAttention", 1)
        .domain("com.microsoft")
        .inputs(&[
            arg("query", TYPES).var("T"),
            opt("key", TYPES).var("T"),
            opt("value", TYPES).var("T"),
            opt("past_key", TYPES),
            opt("past_value", TYPES),
            arg("seqlens_k", INT32).var("M"),
            arg("total_sequence_length", INT32).var("M"),
            opt("cos_cache", TYPES).var("T"),
            opt("sin_cache", TYPES).var("T"),
            opt("position_ids", INT64),
            opt("attention_bias", TYPES).var("T"),
            opt("head_sink", TYPES).var("T"),
            opt("k_scale", TYPES),
            opt("v_scale", TYPES),
            opt("q_norm_weight", TYPES).var("T"),
            opt("k_norm_weight", TYPES).var("T"),
            opt("query_seqlens", INT32).var("M"),
        ])
        .outputs(&[
            arg("output", TYPES).var("T"),
            opt("present_key", TYPES),
            opt("present_value", TYPES),
            opt("output_qk", TYPES).var("T"),
        ])
        .attributes(&[
            int("causal", 1),
            int("do_rotary", 0),
            optional("k_norm_epsilon", AttributeKind::Float),
            string("k_quant_type", "NONE"),
            int("kv_cache_bit_width", 0),
            required("kv_num_heads", AttributeKind::Int),
            int("local_window_size", -1),
            required("num_heads", AttributeKind::Int),
            optional("q_norm_epsilon", AttributeKind::Float),
            optional("qk_norm_epsilon", AttributeKind::Float),
            int("qk_output", 0),
            int("rotary_interleaved", 0),
            float("scale", 0.0),
            int("sliding_window_cache", 0),
            int("smooth_softmax", 0),
            float("softcap", 0.0),
            string("v_quant_type", "NONE"),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let heads = |name: &str| -> Result<usize, AttributeError> {
            let value = node.int(name)?;
            let heads = u32::try_from(value).ok().filter(|&heads| heads > 0);
            heads.map(|heads| heads as usize).ok_or_else(|| {
                AttributeError::invalid(format!("attribute {name:?}: expected a positive integer, got {value}"))
            })
        };
        let (heads, kv_heads) = (heads("num_heads")?, heads("kv_num_heads")?);
        if heads % kv_heads != 0 {
            return Err(AttributeError::invalid("attribute \"num_heads\" is not a multiple of \"kv_num_heads\""));
        }
        let lacks = [
            (node.num_inputs > SINK + 1, "quantized caches, normalized queries and padded queries"),
            (node.num_outputs > 3 || node.int("qk_output")? != 0, "scores as an output"),
            (node.string("k_quant_type")? != "NONE" || node.string("v_quant_type")? != "NONE", "quantized caches"),
            (node.int("sliding_window_cache")? != 0, "caches that slide"),
        ];
        if let Some((_, what)) = lacks.iter().find(|(lacks, _)| *lacks) {
            return Err(AttributeError::unsupported(*what));
        }
        Ok(GroupQueryAttention {
            heads,
            kv_heads,
            scale: Some(node.float("scale")?).filter(|&scale| scale != 0.0),
            softcap: node.float("softcap")?.max(0.0),
            is_rotary: node.flag("do_rotary")?,
            is_interleaved: node.flag("rotary_interleaved")?,
            is_causal: node.flag("causal")?,
            window: usize::try_from(node.int("local_window_size")?).ok().filter(|&size| size > 0),
            is_smooth: node.flag("smooth_softmax")?,
        })
    }
}

impl Op for GroupQueryAttention {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = x.dtype(0);
        let cache = x.dtype(PAST_KEY).or(dtype);
        let mut facts = vec![Fact::tensor(dtype), Fact::tensor(cache), Fact::tensor(cache)];
        if let Some(shape) = x.shape(0) {
            let [batch, positions, hidden] = shape else {
                return Err(InferError(format!("expected queries of rank 3, got {shape:?}")));
            };
            let features = hidden.floor_div(self.heads_of_query(!x.has(KEY)) as i64);
            let total = x.elements(TOTAL).and_then(|t| t.first().cloned()).unwrap_or_else(Dim::unknown);
            let keys = match x.has(PAST_KEY) {
                false => total,
                true => x.shape(PAST_KEY).and_then(|s| s.get(2)).map_or_else(Dim::unknown, |past| past.max(total)),
            };
            let y = vec![batch.clone(), positions.clone(), &features * self.heads as i64];
            let present = vec![batch.clone(), Dim::known(self.kv_heads as i64), keys, features];
            facts = vec![Fact::shaped(dtype, y), Fact::shaped(cache, present.clone()), Fact::shaped(cache, present)];
        }
        facts.truncate(x.num_outputs());
        Ok(facts)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        let cache = inputs.opt_tensor(PAST_KEY)?.map_or(dtype, Tensor::dtype);
        widened(cx, inputs, &[dtype, cache, cache], |cx, inputs| self.attend(cx, &inputs))
    }

    fn macs(&self, inputs: &Facts<'_>, outputs: &[Fact]) -> Dim {
        match (inputs.shape(0), outputs.get(1).and_then(Fact::shape)) {
            (Some([batch, positions, _]), Some([_, _, keys, features])) => {
                batch * positions * keys * features * (2 * self.heads as i64)
            }
            _ => Dim::unknown(),
        }
    }
}

/// How far the cache goes in each batch.
struct Lengths {
    /// Keys of earlier runs.
    past: Vec<usize>,
    /// Keys in all.
    all: Vec<usize>,
    /// Whether there are no earlier keys.
    is_first: bool,
    /// Keys that the cache's buffer has room for.
    room: usize,
}

impl GroupQueryAttention {
    /// Heads of the first input, which may hold keys and values too.
    fn heads_of_query(&self, is_packed: bool) -> usize {
        if is_packed { self.heads + 2 * self.kv_heads } else { self.heads }
    }

    fn attend(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Outputs, OpError> {
        let [q, k, v] = self.views(inputs)?;
        if [k.dims[0], k.dims[2], k.dims[3]] != [q.dims[0], q.dims[2], q.dims[3]] || k.dims != v.dims {
            let (q, k, v) = (q.dims, k.dims, v.dims);
            return Err(OpError::invalid(format!("queries {q:?}, keys {k:?} and values {v:?} do not fit together")));
        }
        if q.dims[3] == 0 {
            return Err(OpError::invalid("queries have no features"));
        }
        let lengths = self.lengths(inputs, &q)?;
        let angles = if self.is_rotary { Some(Angles::new(inputs, &q, &lengths, self.is_interleaved)?) } else { None };
        let key = grown(cx, inputs.opt_tensor(PAST_KEY)?, &k, &lengths, angles.as_ref())?;
        let value = grown(cx, inputs.opt_tensor(PAST_VALUE)?, &v, &lengths, None)?;
        let turned = angles.as_ref().map(|angles| turned(cx, &q, angles)).transpose()?;
        let q = match &turned {
            Some(turned) => View::new(turned, None)?,
            None => q,
        };
        let visible = |batch: usize, query: usize| match self.is_causal {
            false => 0..lengths.all[batch],
            true => {
                let end = lengths.past[batch] + query + 1;
                let start = self.window.map_or(0, |window| end.saturating_sub(window));
                start..end.min(lengths.all[batch])
            }
        };
        let smooth = vec![0.0; if self.is_smooth { self.heads } else { 0 }];
        let sinks = inputs.opt_slice::<f32>(SINK)?.or_else(|| Some(&smooth[..]).filter(|_| self.is_smooth));
        if sinks.is_some_and(|sinks| sinks.len() != self.heads) {
            return Err(OpError::invalid("head_sink: expected one number a head"));
        }
        let call = Call {
            scale: self.scale,
            softcap: self.softcap,
            bias: inputs.opt_tensor(BIAS)?,
            roundings: [None; 2],
            sinks,
            visible: &visible,
            scores: None,
            is_packed: true,
        };
        let (y, _) = call.run::<f32>(cx, &q, &View::new(&key, None)?, &View::new(&value, None)?)?;
        Ok([y, key, value].into())
    }

    fn views<'a>(&self, inputs: &'a Inputs) -> Result<[View<'a>; 3], OpError> {
        let query = inputs.tensor(0)?;
        if query.rank() != 3 {
            return Err(OpError::invalid(format!("expected queries of rank 3, got shape {}", query.shape())));
        }
        let all = self.heads_of_query(!inputs.has(KEY));
        let (heads, kv_heads) = (self.heads, self.kv_heads);
        match inputs.has(KEY) {
            true => Ok([
                View::new(query, Some(heads))?,
                View::new(inputs.tensor(KEY)?, Some(kv_heads))?,
                View::new(inputs.tensor(VALUE)?, Some(kv_heads))?,
            ]),
            false => Ok([
                View::part(query, all, 0..heads)?,
                View::part(query, all, heads..heads + kv_heads)?,
                View::part(query, all, heads + kv_heads..all)?,
            ]),
        }
    }

    fn lengths(&self, inputs: &Inputs, q: &View<'_>) -> Result<Lengths, OpError> {
        let [batch, _, positions, features] = q.dims;
        let total = usize::try_from(inputs.int(TOTAL)?)
            .map_err(|_| OpError::invalid("total_sequence_length: expected a number of keys"))?;
        let mut room = total;
        for index in [PAST_KEY, PAST_VALUE] {
            if let Some(past) = inputs.opt_tensor(index)? {
                match *past.shape().dims() {
                    [b, h, length, f] if [b, h, f] == [batch, self.kv_heads, features] => room = total.max(length),
                    _ => {
                        let shape = past.shape();
                        let expected = format!("[{batch}, {}, …, {features}]", self.kv_heads);
                        return Err(OpError::invalid(format!("a cache of shape {shape}, expected {expected}")));
                    }
                }
            }
        }
        if inputs.has(PAST_KEY) != inputs.has(PAST_VALUE) {
            return Err(OpError::invalid("past_key, past_value: expected both or neither"));
        }
        let is_first = total == positions;
        let all: Option<Vec<usize>> =
            inputs.ints(LENGTHS)?.iter().map(|&last| usize::try_from(last.checked_add(1)?).ok()).collect();
        let all = all.filter(|all| all.len() == batch && all.iter().all(|&all| all <= room));
        let all = all.ok_or_else(|| OpError::invalid("seqlens_k: expected the last key's index in each batch"))?;
        let past = match is_first {
            true => Some(vec![0; batch]),
            false => all.iter().map(|all| all.checked_sub(positions)).collect(),
        };
        let past_room = inputs.opt_tensor(PAST_KEY)?.map_or(0, |past| past.shape()[2]);
        if inputs.opt_tensor(PAST_VALUE)?.is_some_and(|past| past.shape()[2] != past_room) {
            return Err(OpError::invalid("past_key and past_value are of different lengths"));
        }
        let past: Option<Vec<usize>> = past.filter(|past: &Vec<usize>| past.iter().all(|&past| past <= past_room));
        let past = past.ok_or_else(|| OpError::invalid("seqlens_k: the cache does not hold as many keys"))?;
        if past.iter().any(|past| past + positions > room) {
            return Err(OpError::invalid(format!("{positions} keys do not fit into a cache of {room}")));
        }
        Ok(Lengths { past, all, is_first, room })
    }
}

/// The cosines and sines of each position.
struct Angles<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    half: usize,
    /// Positions that the model gives, by batch; of the first run only the first one counts.
    ids: Option<&'a [i64]>,
    lengths: &'a Lengths,
    positions: usize,
    is_interleaved: bool,
}

impl<'a> Angles<'a> {
    fn new(
        inputs: &'a Inputs,
        q: &View<'_>,
        lengths: &'a Lengths,
        is_interleaved: bool,
    ) -> Result<Angles<'a>, OpError> {
        let (cos, sin) = (inputs.tensor(COS)?, inputs.tensor(SIN)?);
        let [batch, _, positions, features] = q.dims;
        let &[count, half] = cos.shape().dims() else {
            return Err(OpError::invalid(format!("cos_cache: expected rank 2, got shape {}", cos.shape())));
        };
        if sin.shape() != cos.shape() || half > features / 2 {
            let (cos, sin) = (cos.shape(), sin.shape());
            return Err(OpError::invalid(format!("caches of shapes {cos} and {sin} do not fit {features} features")));
        }
        let ids = inputs.opt_slice::<i64>(POSITIONS)?;
        let (cos, sin) = (cos.as_slice()?, sin.as_slice()?);
        let angles = Angles { cos, sin, half, ids, lengths, positions, is_interleaved };
        let is_within = |b: usize, i: usize| angles.row(b, i).is_some_and(|row| row < count);
        if !(0..batch).all(|b| (0..positions).all(|i| is_within(b, i))) {
            return Err(OpError::invalid(format!("positions beyond a cache of {count} rows")));
        }
        Ok(angles)
    }

    /// The row of the caches for a batch and position.
    fn row(&self, batch: usize, position: usize) -> Option<usize> {
        match self.ids {
            None => Some(self.lengths.past[batch] + position),
            Some(ids) if self.lengths.is_first => usize::try_from(*ids.first()?).ok()?.checked_add(position),
            Some(ids) => usize::try_from(*ids.get(batch * self.positions + position)?).ok(),
        }
    }

    /// Turns a vector of a batch and position.
    fn turn(&self, batch: usize, position: usize, x: &[f32], y: &mut [f32]) {
        let row = self.row(batch, position).unwrap_or_default();
        let angles = row * self.half..(row + 1) * self.half;
        turn(x, &self.cos[angles.clone()], &self.sin[angles], self.is_interleaved, y);
    }
}

/// Queries turned to their positions, as `[batch, head, position, feature]`.
fn turned(cx: &EvalCx<'_>, q: &View<'_>, angles: &Angles<'_>) -> Result<Tensor, OpError> {
    let [_, heads, positions, features] = q.dims;
    let data = q.data::<f32>()?;
    let mut y = cx.uninit::<f32>(Shape::new(&q.dims)?)?;
    parallel::fill_units(cx, &mut y, features.max(1), 1.0, |start, piece| {
        for (i, y) in (start / features..).zip(piece.chunks_exact_mut(features)) {
            let (batch, head, position) = (i / (heads * positions), i / positions % heads, i % positions);
            angles.turn(batch, position, q.vector(data, batch, head, position), y);
        }
    })?;
    Ok(y.freeze())
}

/// The cache with new keys or values behind those that each batch has.
fn grown(
    cx: &EvalCx<'_>,
    past: Option<&Tensor>,
    now: &View<'_>,
    lengths: &Lengths,
    angles: Option<&Angles<'_>>,
) -> Result<Tensor, OpError> {
    let [batch, heads, positions, features] = now.dims;
    let mut y = cx.zeros::<f32>(Shape::new(&[batch, heads, lengths.room, features])?)?;
    let (data, old) = (now.data::<f32>()?, past.map(Tensor::as_slice::<f32>).transpose()?);
    let old_head = past.map_or(0, |past| past.shape()[2] * features);
    let head_len = lengths.room * features;
    parallel::fill_units(cx, &mut y, head_len.max(1), 0.5, |start, piece| {
        for (i, y) in (start / head_len..).zip(piece.chunks_exact_mut(head_len)) {
            let (batch, head) = (i / heads, i % heads);
            let (kept, rest) = y.split_at_mut(lengths.past[batch] * features);
            if let Some(old) = old {
                kept.copy_from_slice(&old[i * old_head..][..kept.len()]);
            }
            for (position, y) in rest.chunks_exact_mut(features).take(positions).enumerate() {
                let x = now.vector(data, batch, head, position);
                match angles {
                    Some(angles) => angles.turn(batch, position, x, y),
                    None => y.copy_from_slice(x),
                }
            }
        }
    })?;
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;
    use planish_tensor::Tensor;

    fn heads(heads: i64, kv_heads: i64) -> Attributes {
        Attributes::new().with("num_heads", heads).with("kv_num_heads", kv_heads)
    }

    /// One batch, one new position of two features a head, and a cache of this length.
    fn inputs(cache: usize, last: i32, total: i32) -> Vec<Option<Tensor>> {
        let now = tensor(&[1, 1, 2], &[1f32, 1.]);
        let past = tensor(&[1, 1, cache, 2], &vec![2f32; 2 * cache]);
        let numbers = [tensor(&[1], &[last]), tensor(&[], &[total])];
        [now.clone(), now.clone(), now, past.clone(), past].into_iter().chain(numbers).map(Some).collect()
    }

    #[test]
    fn new_values_go_behind_those_that_a_batch_has() {
        let out = eval_all("com.microsoft", "GroupQueryAttention", heads(1, 1), &inputs(3, 1, 2), 3).unwrap();
        assert_eq!(out[2], tensor(&[1, 1, 3, 2], &[2f32, 2., 1., 1., 0., 0.]));
    }

    #[test]
    fn lengths_beyond_the_cache_are_refused() {
        for (cache, last, total) in [(3, 5, 2), (0, 1, 2), (3, -1, 2), (3, 1, -2), (3, i32::MAX, i32::MAX)] {
            let out = eval_all("com.microsoft", "GroupQueryAttention", heads(1, 1), &inputs(cache, last, total), 3);
            assert!(out.is_err(), "{cache} {last} {total}");
        }
    }

    #[test]
    fn positions_beyond_the_angles_are_refused() {
        let mut given = inputs(3, 3, 4);
        given.extend([Some(tensor(&[3, 1], &[1f32; 3])), Some(tensor(&[3, 1], &[0f32; 3]))]);
        let rotary = || heads(1, 1).with("do_rotary", 1i64);
        assert!(eval_all("com.microsoft", "GroupQueryAttention", rotary(), &given, 3).is_err());
        assert!(eval_all("com.microsoft", "GroupQueryAttention", rotary(), &given[..7], 3).is_err());
    }
}
