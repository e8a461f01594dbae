//! `Attention`: softmax(scale · Q · Kᵀ + bias) · V for each head, after the keys and values of a cache.
//!
//! Inputs are `[batch, heads, positions, features]`, or `[batch, positions, heads · features]` with the numbers of heads as
//! attributes. A query sees the keys that `is_causal`, the window and `nonpad_kv_seqlen` leave it: its own position is
//! that in its block plus the number of keys before the block. A row that sees no key is zero.
//!
//! Opsets: 23; 24 adds `nonpad_kv_seqlen`; 25 the window. 16-bit floats round after each step that the standard's function
//! body has, in a softmax of their own precision unless `softmax_precision` asks for more.

mod cache;
mod flex;
mod group_query;
mod linear;
mod run;

pub use flex::FlexAttention;
pub use group_query::GroupQueryAttention;
pub use linear::LinearAttention;

use crate::Define;
use crate::cast::{self, cast};
use crate::half::{for_real, rounding, widened};
use crate::parallel;
use cache::joined;
use planish_ir::{
    Attribute, AttributeError, AttributeKind, BOOL, Dim, EvalCx, FLOATS, Fact, Facts, INT64, InferError, Inputs,
    NUMERIC, NodeView, Op, OpError, Outputs, Schema, arg, float, int, opt, optional,
};
use planish_kernels::attention::Stage;
use planish_kernels::rounding::Rounding;
use planish_tensor::{DType, Tensor, Value};
use run::{Call, Real, View};
use std::ops::Range;

/// `Attention`.
#[derive(Debug)]
pub struct Attention {
    /// Heads of queries and of keys, for inputs of rank 3.
    heads: Option<[usize; 2]>,
    scale: Option<f32>,
    softcap: f32,
    is_causal: bool,
    /// Positions that a query sees before and behind its own.
    window: [Option<usize>; 2],
    /// What the scores that are given out have been through.
    stage: Stage,
    /// The dtype that the softmax computes in, if not that of its input.
    precision: Option<DType>,
}

impl Define for Attention {
    const SCHEMA: Schema = Schema::new("Attention", 25)
        .inputs(&[
            arg("Q", FLOATS).var("T1"),
            arg("K", FLOATS).var("T1"),
            arg("V", FLOATS).var("T2"),
            opt("attn_mask", NUMERIC.or(BOOL)).var("U"),
            opt("past_key", FLOATS).var("T1"),
            opt("past_value", FLOATS).var("T2"),
            opt("nonpad_kv_seqlen", INT64),
        ])
        .outputs(&[
            arg("Y", FLOATS).var("T1"),
            opt("present_key", FLOATS).var("T1"),
            opt("present_value", FLOATS).var("T2"),
            opt("qk_matmul_output", FLOATS).var("T1"),
        ])
        .attributes(&[
            int("is_causal", 0),
            optional("kv_num_heads", AttributeKind::Int),
            int("left_window_size", -1),
            optional("q_num_heads", AttributeKind::Int),
            int("qk_matmul_output_mode", 0),
            int("right_window_size", -1),
            optional("scale", AttributeKind::Float),
            float("softcap", 0.0),
            optional("softmax_precision", AttributeKind::Int),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let heads = [heads(node, "q_num_heads")?, heads(node, "kv_num_heads")?];
        let heads = if let [Some(q), Some(kv)] = heads { Some([q, kv]) } else { None };
        if heads.is_some_and(|[q, kv]| q % kv != 0) {
            return Err(AttributeError::invalid("attribute \"q_num_heads\" is not a multiple of \"kv_num_heads\""));
        }
        let stages = [Stage::Product, Stage::Capped, Stage::Biased, Stage::Weights];
        let mode = node.int("qk_matmul_output_mode")?;
        let stage = usize::try_from(mode).ok().and_then(|mode| stages.get(mode).copied());
        let precision = node.opt_dtype("softmax_precision")?;
        if let Some(dtype) = precision.filter(|dtype| !FLOATS.contains(*dtype)) {
            return Err(AttributeError::invalid(format!("attribute \"softmax_precision\": {dtype} is not a float")));
        }
        Ok(Attention {
            heads,
            scale: node.opt_float("scale"),
            softcap: node.float("softcap")?.max(0.0),
            is_causal: node.flag("is_causal")?,
            window: [window(node, "left_window_size")?, window(node, "right_window_size")?],
            stage: stage.ok_or_else(|| {
                AttributeError::invalid(format!("attribute \"qk_matmul_output_mode\": expected 0 to 3, got {mode}"))
            })?,
            precision,
        })
    }
}

/// A number of heads, if the node says it.
fn heads(node: &NodeView<'_>, name: &str) -> Result<Option<usize>, AttributeError> {
    let Some(Attribute::Int(value)) = node.get(name) else { return Ok(None) };
    let heads = u32::try_from(*value).ok().filter(|&heads| heads > 0);
    let heads = heads.ok_or_else(|| {
        AttributeError::invalid(format!("attribute {name:?}: expected a positive number of heads, got {value}"))
    })?;
    Ok(Some(heads as usize))
}

/// A side of the window, if it ends anywhere.
fn window(node: &NodeView<'_>, name: &str) -> Result<Option<usize>, AttributeError> {
    match node.int(name)? {
        -1 => Ok(None),
        size => usize::try_from(size).map(Some).map_err(|_| {
            AttributeError::invalid(format!("attribute {name:?}: expected -1 or a number of positions, got {size}"))
        }),
    }
}

/// Input indices.
const MASK: usize = 3;
const PAST_KEY: usize = 4;
const PAST_VALUE: usize = 5;
const VALID_KEYS: usize = 6;

impl Op for Attention {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (t1, t2) = (x.dtype(0).or(x.dtype(1)), x.dtype(2));
        let facts = match self.all_dims(x)? {
            None => [t1, t1, t2, t1].map(Fact::tensor),
            Some([q, k, v]) => {
                let past = x.shape(PAST_KEY).and_then(|s| s.get(2));
                let keys = match (x.has(PAST_KEY), past) {
                    (false, _) => k[2].clone(),
                    (true, Some(past)) => past + &k[2],
                    (true, None) => Dim::unknown(),
                };
                let [batch, heads, queries, _] = q;
                let y = match x.rank(0) {
                    Some(3) => vec![batch.clone(), queries.clone(), &heads * &v[3]],
                    _ => vec![batch.clone(), heads.clone(), queries.clone(), v[3].clone()],
                };
                let present = |[batch, heads, _, features]: [Dim; 4]| vec![batch, heads, keys.clone(), features];
                [
                    Fact::shaped(t1, y),
                    Fact::shaped(t1, present(k)),
                    Fact::shaped(t2, present(v)),
                    Fact::shaped(t1, vec![batch, heads, queries, keys]),
                ]
            }
        };
        Ok(facts.into_iter().take(x.num_outputs()).collect())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (t1, t2) = (inputs.tensor(0)?.dtype(), inputs.tensor(2)?.dtype());
        let roundings = [t1, self.precision.unwrap_or(t1)].map(rounding);
        widened(cx, inputs, &[t1, t1, t2, t1], |cx, inputs| {
            let dtype = inputs.tensor(0)?.dtype();
            if inputs.tensor(2)?.dtype() != dtype {
                return self.attend_in_double(cx, inputs, [t1, t1, t2, t1]);
            }
            for_real!(dtype, T => self.attend::<T>(cx, &inputs, roundings))
        })
    }

    fn macs(&self, inputs: &Facts<'_>, _outputs: &[Fact]) -> Dim {
        let Ok(Some([q, k, v])) = self.all_dims(inputs) else { return Dim::unknown() };
        let keys = match (inputs.has(PAST_KEY), inputs.shape(PAST_KEY).and_then(|s| s.get(2))) {
            (false, _) => k[2].clone(),
            (true, Some(past)) => past + &k[2],
            (true, None) => return Dim::unknown(),
        };
        let [batch, heads, queries, features] = q;
        batch * heads * queries * keys * (features + &v[3])
    }
}

impl Attention {
    /// Batch, heads, positions and features of queries, keys and values, where their ranks are known.
    fn all_dims(&self, x: &Facts<'_>) -> Result<Option<[[Dim; 4]; 3]>, InferError> {
        let dims = [self.dims(x, 0)?, self.dims(x, 1)?, self.dims(x, 2)?];
        Ok(if let [Some(q), Some(k), Some(v)] = dims { Some([q, k, v]) } else { None })
    }

    fn dims(&self, x: &Facts<'_>, index: usize) -> Result<Option<[Dim; 4]>, InferError> {
        match x.shape(index) {
            None => Ok(None),
            Some([batch, heads, positions, features]) => Ok(Some([batch, heads, positions, features].map(Dim::clone))),
            Some([batch, positions, hidden]) => {
                let heads = self.heads.ok_or_else(|| InferError::new("inputs of rank 3 need numbers of heads"))?;
                let heads = Dim::known(heads[usize::from(index > 0)] as i64);
                Ok(Some([batch.clone(), heads.clone(), positions.clone(), hidden.floor_div(heads)]))
            }
            Some(shape) => Err(InferError(format!("input {index}: expected rank 3 or 4, got {shape:?}"))),
        }
    }

    /// Where one of keys and values is `double`: computes all in it, and rounds the outputs to `targets`.
    fn attend_in_double(&self, cx: &EvalCx<'_>, inputs: Inputs, targets: [DType; 4]) -> Result<Outputs, OpError> {
        let convert = |index: usize, value: Option<Value>, to: DType| match value {
            Some(Value::Tensor(x)) if index != MASK && index != VALID_KEYS => {
                Ok(Some(Value::Tensor(cast(cx, x, to, cast::Rounding::default())?)))
            }
            other => Ok(other),
        };
        let wide = inputs.into_values().into_iter().enumerate().map(|(i, value)| convert(i, value, DType::F64));
        let wide = Inputs::new(wide.collect::<Result<Vec<_>, OpError>>()?);
        let outputs = self.attend::<f64>(cx, &wide, [None; 2])?.into_values();
        let outputs = outputs.into_iter().zip(targets).map(|(value, to)| match value {
            Some(Value::Tensor(y)) => Ok(Some(Value::Tensor(cast(cx, y, to, cast::Rounding::default())?))),
            other => Ok(other),
        });
        Ok(Outputs::new(outputs.collect::<Result<Vec<_>, OpError>>()?))
    }

    fn attend<T: Real>(
        &self,
        cx: &EvalCx<'_>,
        inputs: &Inputs,
        roundings: [Option<Rounding>; 2],
    ) -> Result<Outputs, OpError> {
        let [q_heads, kv_heads] = self.heads.map_or([None, None], |heads| heads.map(Some));
        let past = inputs.opt_tensor(PAST_KEY)?;
        if past.is_some() != inputs.has(PAST_VALUE) || (past.is_some() && inputs.has(VALID_KEYS)) {
            return Err(OpError::invalid("past_key, past_value: expected both and no nonpad_kv_seqlen, or neither"));
        }
        let q = View::new(inputs.tensor(0)?, q_heads)?;
        let present = |index: usize, past: usize| -> Result<Tensor, OpError> {
            joined(cx, inputs.opt_tensor(past)?, inputs.tensor(index)?, kv_heads, cx.wants(index))
        };
        let (key, value) = (present(1, PAST_KEY)?, present(2, PAST_VALUE)?);
        let (k, v) = (View::new(&key, kv_heads)?, View::new(&value, kv_heads)?);
        let valid = inputs.opt_slice::<i64>(VALID_KEYS)?;
        if valid.is_some_and(|valid| valid.len() != q.dims[0]) {
            return Err(OpError::invalid("nonpad_kv_seqlen: expected one number a batch"));
        }
        let queries = q.dims[2];
        let visible = |batch: usize, query: usize| {
            let valid = valid.map(|valid| valid[batch]);
            let before = match (past, valid) {
                (Some(past), _) => past.shape()[2] as i64,
                (None, Some(valid)) => valid.saturating_sub(queries as i64),
                (None, None) => 0,
            };
            self.visible(before.saturating_add(query as i64), valid)
        };
        let scaled = roundings[0].map(|rounding| self.scaled(cx, &q, &k, rounding)).transpose()?;
        let (q, k) = match &scaled {
            Some([query, key]) => (q.of(query), k.of(key)),
            None => (q, k),
        };
        let call = Call {
            scale: if scaled.is_some() { Some(1.0) } else { self.scale },
            roundings,
            softcap: self.softcap,
            bias: inputs.opt_tensor(MASK)?,
            sinks: None,
            visible: &visible,
            scores: cx.wants(3).then_some(self.stage),
            is_packed: inputs.tensor(0)?.rank() == 3,
        };
        let (y, scores) = call.run::<T>(cx, &q, &k, &v)?;
        let tensors = [Some(y), Some(key), Some(value), scores];
        Ok(Outputs::new(tensors.into_iter().map(|t| t.map(Value::Tensor))))
    }

    /// Queries and keys times the root of the scale, rounded.
    fn scaled(&self, cx: &EvalCx<'_>, q: &View<'_>, k: &View<'_>, rounding: Rounding) -> Result<[Tensor; 2], OpError> {
        let scale = self.scale.unwrap_or_else(|| 1.0 / (q.dims[3] as f32).sqrt());
        let root = rounding.one(scale.sqrt());
        let scaled = |x: &View<'_>| -> Result<Tensor, OpError> {
            let data = x.data::<f32>()?;
            let mut y = cx.uninit::<f32>(x.shape().clone())?;
            parallel::fill(cx, &mut y, 1.0, |start, y| {
                y.iter_mut().zip(&data[start..]).for_each(|(y, x)| *y = x * root);
                rounding.all(y);
            })?;
            Ok(y.freeze())
        };
        Ok([scaled(q)?, scaled(k)?])
    }

    /// The keys that the query at a position sees, of which the first `valid` are there.
    fn visible(&self, position: i64, valid: Option<i64>) -> Range<usize> {
        let [left, right] = self.window.map(|size| size.map(|size| i64::try_from(size).unwrap_or(i64::MAX)));
        let start = left.map_or(0, |left| position.saturating_sub(left));
        let right = if self.is_causal { Some(right.unwrap_or(0).min(0)) } else { right };
        let end = right.map_or(i64::MAX, |right| position.saturating_add(right).saturating_add(1));
        let end = end.min(valid.unwrap_or(i64::MAX));
        let index = |key: i64| usize::try_from(key.max(0)).unwrap_or(usize::MAX);
        index(start)..index(end)
    }
}

#[cfg(test)]
mod tests;
