//! `LinearAttention`: a recurrence over a state S of one matrix a head, `[features, value features]`.
//!
//! For each position, by `update_rule`: S decays by exp(g) (`gated`, `gated_delta`); S gains k ⊗ v (`linear`, `gated`) or
//! β · k ⊗ (v − Sᵀ · k) (`delta`, `gated_delta`); the result is scale · Sᵀ · q for each head of queries that shares the state.
//!
//! Opsets: 27. All is computed in `f32`.

use super::cache::{heads_first, packed};
use crate::Define;
use crate::half::widened;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, Types, arg, float, int, opt, required, string,
};
use planish_kernels::elementwise::add_scaled;
use planish_tensor::{DType, Shape, Tensor};

/// `LinearAttention`.
#[derive(Debug)]
pub struct LinearAttention {
    heads: usize,
    kv_heads: usize,
    scale: Option<f32>,
    is_gated: bool,
    /// Whether what the state gives for a key is taken away from its value.
    is_delta: bool,
}

const TYPES: Types = Types::of(&[DType::F32, DType::F16, DType::BF16]);

/// Input indices.
const STATE: usize = 3;
const DECAY: usize = 4;
const BETA: usize = 5;

impl Define for LinearAttention {
    const SCHEMA: Schema = Schema::new("LinearAttention", 27)
        .inputs(&[
            arg("query", TYPES).var("T"),
            arg("key", TYPES).var("T"),
            arg("value", TYPES).var("T"),
            opt("past_state", TYPES).var("S"),
            opt("decay", TYPES).var("T"),
            opt("beta", TYPES).var("T"),
        ])
        .outputs(&[arg("output", TYPES).var("T"), arg("present_state", TYPES).var("S")])
        .attributes(&[
            int("chunk_size", 64),
            required("kv_num_heads", AttributeKind::Int),
            required("q_num_heads", AttributeKind::Int),
            float("scale", 0.0),
            string("update_rule", "gated_delta"),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let heads = |name: &str| -> Result<usize, AttributeError> {
            let value = node.int(name)?;
            let heads = u32::try_from(value).ok().filter(|&heads| heads > 0).map(|heads| heads as usize);
            heads.ok_or_else(|| AttributeError::invalid(format!("attribute {name:?}: {value} is not positive")))
        };
        let (heads, kv_heads) = (heads("q_num_heads")?, heads("kv_num_heads")?);
        if heads % kv_heads != 0 {
            return Err(AttributeError::invalid("attribute \"q_num_heads\" is not a multiple of \"kv_num_heads\""));
        }
        let rules =
            [("linear", [false; 2]), ("gated", [true, false]), ("delta", [false, true]), ("gated_delta", [true; 2])];
        let [is_gated, is_delta] = node.choice("update_rule", &rules)?;
        let scale = Some(node.float("scale")?).filter(|&scale| scale != 0.0);
        Ok(LinearAttention { heads, kv_heads, scale, is_gated, is_delta })
    }
}

impl Op for LinearAttention {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (dtype, state) = (x.dtype(0), if x.has(STATE) { x.dtype(STATE) } else { x.dtype(0) });
        let (Some(q), Some(v)) = (x.shape(0), x.shape(2)) else {
            return Ok(vec![Fact::tensor(dtype), Fact::tensor(state)]);
        };
        let ([batch, positions, hidden], [_, _, value_hidden]) = (q, v) else {
            return Err(InferError(format!("expected inputs of rank 3, got {q:?} and {v:?}")));
        };
        let (heads, kv_heads) = (self.heads as i64, self.kv_heads as i64);
        let (features, values) = (hidden.floor_div(heads), value_hidden.floor_div(kv_heads));
        let y = vec![batch.clone(), positions.clone(), &values * heads];
        let state_dims = vec![batch.clone(), Dim::known(kv_heads), features, values];
        Ok(vec![Fact::shaped(dtype, y), Fact::shaped(state, state_dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        let state = inputs.opt_tensor(STATE)?.map_or(dtype, Tensor::dtype);
        widened(cx, inputs, &[dtype, state], |cx, inputs| self.attend(cx, &inputs))
    }

    fn macs(&self, inputs: &Facts<'_>, outputs: &[Fact]) -> Dim {
        match (inputs.shape(0), outputs.get(1).and_then(Fact::shape)) {
            (Some([_, positions, _]), Some(state)) => {
                let updates = 1 + i64::from(self.is_delta) + (self.heads / self.kv_heads) as i64;
                state.iter().cloned().product::<Dim>() * positions * updates
            }
            _ => Dim::unknown(),
        }
    }
}

/// One head of keys and values: rows of its positions.
struct Sequences<'a> {
    /// Queries of each head that shares the state, one head behind the other.
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    /// Numbers a position, one for all features or one each.
    decay: Option<&'a [f32]>,
    beta: Option<&'a [f32]>,
    positions: usize,
    features: usize,
    values: usize,
    scale: f32,
}

impl LinearAttention {
    fn attend(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Outputs, OpError> {
        if (inputs.has(DECAY), inputs.has(BETA)) != (self.is_gated, self.is_delta) {
            return Err(OpError::invalid("update_rule: decay or beta is missing, or not its input"));
        }
        let q = heads_first(cx, inputs.tensor(0)?, Some(self.heads))?;
        let k = heads_first(cx, inputs.tensor(1)?, Some(self.kv_heads))?;
        let v = heads_first(cx, inputs.tensor(2)?, Some(self.kv_heads))?;
        let (&[batch, heads, positions, features], &[.., values]) = (q.shape().dims(), v.shape().dims()) else {
            return Err(OpError::invalid("expected inputs of rank 3"));
        };
        let kv = [batch, self.kv_heads, positions];
        if k.shape().dims() != [kv[0], kv[1], kv[2], features] || v.shape().dims() != [kv[0], kv[1], kv[2], values] {
            let (q, k, v) = (q.shape(), k.shape(), v.shape());
            return Err(OpError::invalid(format!("queries {q}, keys {k} and values {v} do not fit together")));
        }
        let decay = gate(cx, inputs.opt_tensor(DECAY)?, kv, &[features, 1])?;
        let beta = match inputs.opt_tensor(BETA)? {
            Some(beta) if beta.shape().last() == Some(&1) && self.kv_heads > 1 => {
                let spread = Shape::new(&[batch, positions, self.kv_heads])?;
                gate(cx, Some(&crate::expand::expand(cx, beta, &spread)?), kv, &[1])?
            }
            beta => gate(cx, beta, kv, &[1])?,
        };
        let state_shape = Shape::new(&[batch, self.kv_heads, features, values])?;
        let mut state = cx.zeros::<f32>(state_shape.clone())?;
        if let Some(past) = inputs.opt_tensor(STATE)? {
            if *past.shape() != state_shape {
                return Err(OpError::invalid(format!("past_state: expected {state_shape}, got {}", past.shape())));
            }
            state.copy_from_slice(past.as_slice()?);
        }
        let mut y = cx.zeros::<f32>(Shape::new(&[batch, heads, positions, values])?)?;
        let scale = self.scale.unwrap_or_else(|| 1.0 / (features as f32).sqrt());
        let (q, k, v) = (q.as_slice::<f32>()?, k.as_slice::<f32>()?, v.as_slice::<f32>()?);
        let [decay, beta] = [&decay, &beta].map(|gate| gate.as_ref().map(|t| t.as_slice::<f32>()).transpose());
        let (decay, beta) = (decay?, beta?);
        let count = batch * self.kv_heads;
        if !y.is_empty() && !state.is_empty() {
            let pieces = y.chunks_exact_mut(heads / self.kv_heads * positions * values);
            let states = state.chunks_exact_mut(features * values);
            cx.threads.for_each_item(pieces.zip(states).enumerate(), |(i, (y, state))| {
                let sequences = Sequences {
                    q: share(q, i, count),
                    k: share(k, i, count),
                    v: share(v, i, count),
                    decay: decay.map(|decay| share(decay, i, count)),
                    beta: beta.map(|beta| share(beta, i, count)),
                    positions,
                    features,
                    values,
                    scale,
                };
                sequences.run(cx, state, y);
            });
            cx.check()?;
        }
        Ok([packed(cx, &y.freeze())?, state.freeze()].into())
    }
}

/// Part `index` of `count` equal ones.
fn share(x: &[f32], index: usize, count: usize) -> &[f32] {
    let length = x.len() / count;
    &x[index * length..][..length]
}

/// A gate by head, of one of these numbers of features.
fn gate(
    cx: &EvalCx<'_>,
    gate: Option<&Tensor>,
    [batch, heads, positions]: [usize; 3],
    features: &[usize],
) -> Result<Option<Tensor>, OpError> {
    let Some(gate) = gate else { return Ok(None) };
    let fits = |&&f: &&usize| gate.shape().dims() == [batch, positions, heads.saturating_mul(f)];
    if features.iter().find(fits).is_none() {
        let expected = format!("[{batch}, {positions}, {heads}]");
        return Err(OpError::invalid(format!("a gate of shape {} does not fit {expected}", gate.shape())));
    }
    heads_first(cx, gate, Some(heads)).map(Some)
}

impl Sequences<'_> {
    fn run(&self, cx: &EvalCx<'_>, state: &mut [f32], y: &mut [f32]) {
        let (features, values) = (self.features, self.values);
        let mut update = vec![0.0; values];
        for t in 0..self.positions {
            if t % 64 == 0 && cx.check().is_err() {
                return;
            }
            let k = &self.k[t * features..][..features];
            if let Some(decay) = self.decay {
                let decay = share(decay, t, self.positions);
                for (d, row) in state.chunks_exact_mut(values).enumerate() {
                    let factor = decay[d % decay.len()].exp();
                    row.iter_mut().for_each(|s| *s *= factor);
                }
            }
            update.copy_from_slice(&self.v[t * values..][..values]);
            if let Some(beta) = self.beta {
                for (k, row) in k.iter().zip(state.chunks_exact(values)) {
                    add_scaled(-k, row, &mut update);
                }
                update.iter_mut().for_each(|u| *u *= beta[t]);
            }
            for (k, row) in k.iter().zip(state.chunks_exact_mut(values)) {
                add_scaled(*k, &update, row);
            }
            let each = self.positions * values;
            for (q, y) in self.q.chunks_exact(self.positions * features).zip(y.chunks_exact_mut(each)) {
                let y = &mut y[t * values..][..values];
                for (q, row) in q[t * features..][..features].iter().zip(state.chunks_exact(values)) {
                    add_scaled(self.scale * q, row, y);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;
    use planish_tensor::Tensor;

    fn attributes(rule: &str) -> Attributes {
        let heads = Attributes::new().with("q_num_heads", 2i64).with("kv_num_heads", 1i64);
        heads.with("update_rule", rule).with("scale", 1f32)
    }

    fn inputs() -> Vec<Option<Tensor>> {
        let q = tensor(&[1, 2, 2], &[1f32, 2., 1., 2.]);
        vec![Some(q), Some(tensor(&[1, 2, 1], &[1f32, 1.])), Some(tensor(&[1, 2, 1], &[3f32, 4.]))]
    }

    #[test]
    fn the_state_takes_keys_and_values_in() {
        struct Case {
            rule: &'static str,
            decay: Option<f32>,
            beta: Option<f32>,
            states: [f32; 2],
        }
        let half = Some(0.5f32.ln());
        for Case { rule, decay, beta, states } in [
            Case { rule: "linear", decay: None, beta: None, states: [4., 8.] },
            Case { rule: "gated", decay: half, beta: None, states: [3.5, 5.75] },
            Case { rule: "delta", decay: None, beta: Some(0.5), states: [2., 3.] },
            Case { rule: "gated_delta", decay: half, beta: Some(1.0), states: [3., 4.] },
        ] {
            let mut inputs = inputs();
            let gate = |v: Option<f32>| v.map(|v| tensor(&[1, 2, 1], &[v; 2]));
            inputs.extend([Some(tensor(&[1, 1, 1, 1], &[1f32])), gate(decay), gate(beta)]);
            let out = eval_all("", "LinearAttention", attributes(rule), &inputs, 2).unwrap();
            assert_eq!(out[1], tensor(&[1, 1, 1, 1], &states[1..]), "{rule}");
            let [a, b] = states;
            assert_eq!(out[0], tensor(&[1, 2, 2], &[a, 2. * a, b, 2. * b]), "{rule}");
        }
    }

    #[test]
    fn gates_that_do_not_belong_are_refused() {
        let mut given = inputs();
        assert!(eval_all("", "LinearAttention", attributes("gated"), &given, 2).is_err());
        given.extend([None, Some(tensor(&[1, 2, 3], &[0f32; 6]))]);
        assert!(eval_all("", "LinearAttention", attributes("linear"), &given, 2).is_err());
        assert!(eval_all("", "LinearAttention", attributes("gated"), &given, 2).is_err());
        assert!(eval_all("", "LinearAttention", attributes("best"), &inputs(), 2).is_err());
    }
}
