//! `ai.onnx.preview::FlexAttention`: attention whose scores and weights go through graphs of the model's own.
//!
//! y = prob_mod(softmax(score_mod(scale · Q · Kᵀ))) · V, heads of queries sharing those of keys. The matrix of scores exists
//! as a whole, for the graphs take it so.

use super::cache::transposed_keys;
use crate::Define;
use crate::cast::{Rounding, cast};
use crate::half::{for_real, widened};
use crate::matmul::matmul;
use crate::parallel;
use crate::softmax::softmax_of_rows;
use num_traits::{Float, NumCast};
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, Graph, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, optional,
};
use planish_tensor::{DType, Element, Shape, Tensor, Value};
use std::sync::Arc;

/// `FlexAttention`.
#[derive(Debug)]
pub struct FlexAttention {
    scale: Option<f32>,
    /// The dtype that scores have in the graphs, if not `float`, or `double` for that.
    precision: Option<DType>,
    prob_mod: Option<Arc<Graph>>,
    score_mod: Option<Arc<Graph>>,
}

impl Define for FlexAttention {
    const SCHEMA: Schema = Schema::new("FlexAttention", 1)
        .domain("ai.onnx.preview")
        .inputs(&[arg("Q", FLOATS).var("T1"), arg("K", FLOATS).var("T1"), arg("V", FLOATS).var("T1")])
        .outputs(&[arg("Y", FLOATS).var("T1")])
        .attributes(&[
            optional("prob_mod", AttributeKind::Graph),
            optional("scale", AttributeKind::Float),
            optional("score_mod", AttributeKind::Graph),
            optional("softmax_precision", AttributeKind::Int),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let graph = |name: &str| -> Result<Option<Arc<Graph>>, AttributeError> {
            if node.get(name).is_none() {
                return Ok(None);
            }
            let graph = node.graph(name)?;
            if (graph.inputs().len(), graph.outputs().len()) != (1, 1) {
                return Err(AttributeError::invalid(format!("attribute {name:?}: expected a graph of one tensor")));
            }
            Ok(Some(graph.clone()))
        };
        let precision = node.opt_dtype("softmax_precision")?;
        if precision.is_some_and(|dtype| !FLOATS.contains(dtype)) {
            return Err(AttributeError::invalid("attribute \"softmax_precision\": not a float"));
        }
        Ok(FlexAttention {
            scale: node.opt_float("scale"),
            precision,
            prob_mod: graph("prob_mod")?,
            score_mod: graph("score_mod")?,
        })
    }
}

impl Op for FlexAttention {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (Some(q), Some(v)) = (x.shape(0), x.shape(2)) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let ([batch, heads, queries, _], [.., features]) = (q, v) else {
            return Err(InferError(format!("expected inputs of rank 4, got {q:?} and {v:?}")));
        };
        let dims = [batch, heads, queries, features].map(Dim::clone);
        Ok(vec![Fact::shaped(x.dtype(0), dims.to_vec())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(
            cx,
            inputs,
            &[dtype],
            |cx, inputs| for_real!(inputs.tensor(0)?.dtype(), T => self.attend::<T>(cx, inputs)),
        )
    }

    fn macs(&self, inputs: &Facts<'_>, outputs: &[Fact]) -> Dim {
        match (inputs.shape(0), inputs.shape(1), outputs.first().and_then(Fact::shape)) {
            (Some([batch, heads, queries, features]), Some([_, _, keys, _]), Some([.., values])) => {
                batch * heads * queries * keys * (features + values)
            }
            _ => Dim::unknown(),
        }
    }
}

impl FlexAttention {
    fn attend<T: Element + Float>(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (q, k, v) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        let (&[batch, heads, queries, features], &[_, kv_heads, keys, _], &[_, _, _, value_features]) =
            (q.shape().dims(), k.shape().dims(), v.shape().dims())
        else {
            return Err(OpError::invalid("expected inputs of rank 4"));
        };
        if kv_heads == 0 || heads % kv_heads != 0 || v.shape().dims()[..3] != k.shape().dims()[..3] {
            let (q, k, v) = (q.shape(), k.shape(), v.shape());
            return Err(OpError::invalid(format!("queries {q}, keys {k} and values {v} do not fit together")));
        }
        let rows = (heads / kv_heads).saturating_mul(queries);
        let grouped = q.reshaped(Shape::new(&[batch, kv_heads, rows, features])?)?;
        let scores = matmul(cx, &grouped, &transposed_keys(cx, k)?)?;
        let scale = self.scale.map_or_else(|| 1.0 / (features as f64).sqrt(), <f64 as From<f32>>::from);
        let scores = scaled::<T>(cx, scores, scale)?.reshaped(Shape::new(&[batch, heads, queries, keys])?)?;
        let (for_prob, for_score) = self.captures(&inputs);
        let scores = self.modified(cx, scores, self.score_mod.as_ref(), for_score)?;
        let weights = softmax_of_rows(cx, scores)?;
        let weights = self.modified(cx, weights, self.prob_mod.as_ref(), for_prob)?;
        let weights = weights.reshaped(Shape::new(&[batch, kv_heads, rows, keys])?)?;
        let y = matmul(cx, &weights, v)?;
        Ok(y.reshaped(Shape::new(&[batch, heads, queries, value_features])?)?.into())
    }

    /// The values that the graphs take from around them: those of `prob_mod`, then those of `score_mod`.
    fn captures(&self, inputs: &Inputs) -> (Vec<Option<Value>>, Vec<Option<Value>>) {
        let mut all: Vec<Option<Value>> = (3..inputs.len()).map(|i| inputs.get(i).cloned()).collect();
        let count = self.prob_mod.as_ref().map_or(0, |graph| graph.captures().len());
        let for_score = all.split_off(count.min(all.len()));
        (all, for_score)
    }

    /// Scores after a graph of the model, which keeps their shape.
    fn modified(
        &self,
        cx: &mut EvalCx<'_>,
        scores: Tensor,
        graph: Option<&Arc<Graph>>,
        captures: Vec<Option<Value>>,
    ) -> Result<Tensor, OpError> {
        let Some(graph) = graph else { return Ok(scores) };
        let (shape, dtype) = (scores.shape().clone(), scores.dtype());
        let precision = self.precision.unwrap_or(dtype);
        let scores = cast(cx, scores, precision, Rounding::default())?;
        let inputs = [vec![Some(Value::Tensor(scores))], captures].concat();
        let result = cx.run_body(graph, inputs)?.pop().and_then(Value::into_tensor);
        let result = result.filter(|y| *y.shape() == shape && y.dtype() == precision);
        let result = result.ok_or_else(|| OpError::invalid(format!("a graph must keep {precision} of {shape}")))?;
        cast(cx, result, dtype, Rounding::default())
    }
}

/// `scale · x`, in place of x.
fn scaled<T: Element + Float>(cx: &EvalCx<'_>, x: Tensor, scale: f64) -> Result<Tensor, OpError> {
    let scale = <T as NumCast>::from(scale).unwrap_or_else(T::nan);
    let mut x = x.try_into_mut::<T>().map_err(|_| OpError::Internal("a fresh tensor is shared".into()))?;
    parallel::fill(cx, &mut x, 0.3, |_, piece| piece.iter_mut().for_each(|x| *x = *x * scale))?;
    Ok(x.freeze())
}
