//! From tensors to the attention kernels.

use crate::broadcast::expanded_strides;
use crate::dtypes::{Number, for_numeric};
use crate::parallel;
use planish_ir::{EvalCx, OpError};
use planish_kernels::attention::{self, Bias, BiasRows, Heads, Layout, Order, Stage};
use planish_kernels::rounding::Rounding;
use planish_tensor::{DType, Element, Shape, Tensor};
use std::ops::Range;

/// A float that attention computes in.
pub trait Real: Number + attention::Real {
    /// Runs the kernel of this type.
    fn run(
        cx: &EvalCx<'_>,
        a: &attention::Attention<'_, Self>,
        order: Order,
        out: &mut [Self],
        scores: Option<(Stage, &mut [Self])>,
    );
}

impl Real for f32 {
    fn run(
        cx: &EvalCx<'_>,
        a: &attention::Attention<'_, f32>,
        order: Order,
        out: &mut [f32],
        scores: Option<(Stage, &mut [f32])>,
    ) {
        attention::attention(&cx.threads, a, order, out, scores, &|| cx.check().is_ok());
    }
}

impl Real for f64 {
    fn run(
        cx: &EvalCx<'_>,
        a: &attention::Attention<'_, f64>,
        order: Order,
        out: &mut [f64],
        scores: Option<(Stage, &mut [f64])>,
    ) {
        attention::attention_scalar(a, order, out, scores, &|| cx.check().is_ok());
    }
}

/// A tensor seen as heads of positions.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    tensor: &'a Tensor,
    /// Where in the tensor the first head begins.
    offset: usize,
    layout: Layout,
    /// Batch, heads, positions, features.
    pub dims: [usize; 4],
}

impl<'a> View<'a> {
    /// `[batch, head, position, feature]`, or `[batch, position, head · feature]` of so many heads.
    pub fn new(tensor: &'a Tensor, heads: Option<usize>) -> Result<View<'a>, OpError> {
        match (tensor.shape().dims(), heads) {
            (&[batch, heads, positions, features], _) => {
                let layout = Layout::dense(Order::HeadsFirst, heads, positions, features);
                Ok(View { tensor, offset: 0, layout, dims: [batch, heads, positions, features] })
            }
            (&[batch, positions, hidden], Some(heads)) => {
                if heads == 0 || hidden % heads != 0 {
                    return Err(OpError::invalid(format!("{hidden} features do not divide into {heads} heads")));
                }
                let features = hidden / heads;
                let layout = Layout::dense(Order::PositionsFirst, heads, positions, features);
                Ok(View { tensor, offset: 0, layout, dims: [batch, heads, positions, features] })
            }
            _ => Err(OpError::invalid(format!("shape {} is not that of attention heads", tensor.shape()))),
        }
    }

    /// These heads of a tensor `[batch, position, head · feature]` that has so many in all.
    pub fn part(tensor: &'a Tensor, all: usize, heads: Range<usize>) -> Result<View<'a>, OpError> {
        let whole = View::new(tensor, Some(all))?;
        let [batch, _, positions, features] = whole.dims;
        Ok(View { offset: heads.start * features, dims: [batch, heads.len(), positions, features], ..whole })
    }

    /// The shape of the tensor.
    pub fn shape(&self) -> &'a Shape {
        self.tensor.shape()
    }

    /// The same places of another tensor of the same shape.
    pub fn of<'b>(&self, tensor: &'b Tensor) -> View<'b> {
        debug_assert_eq!(tensor.shape(), self.tensor.shape());
        View { tensor, offset: self.offset, layout: self.layout, dims: self.dims }
    }

    /// The vector of a batch, head and position.
    pub fn vector<'d, T>(&self, data: &'d [T], batch: usize, head: usize, position: usize) -> &'d [T] {
        let Layout { batch: b, head: h, position: p } = self.layout;
        let start = self.offset + batch * b + head * h + position * p;
        &data[start..start + self.dims[3]]
    }

    /// The tensor's elements.
    pub fn data<T: Element>(&self) -> Result<&'a [T], OpError> {
        Ok(self.tensor.as_slice::<T>()?)
    }

    fn heads<T: Real>(&self) -> Result<Heads<'a, T>, OpError> {
        let data = self.tensor.as_slice::<T>()?;
        Ok(Heads { data: data.get(self.offset..).unwrap_or_default(), layout: self.layout })
    }
}

/// What attention does with its queries, keys and values.
pub struct Call<'a> {
    /// What products are scaled by, if not 1 / √features.
    pub scale: Option<f32>,
    /// Zero for none.
    pub softcap: f32,
    /// Booleans or numbers that broadcast to `[batch, head, query, key]`. The last axis may be shorter.
    pub bias: Option<&'a Tensor>,
    /// What scores and weights are rounded to, and the steps of the softmax.
    pub roundings: [Option<Rounding>; 2],
    /// A score for each head that has no value.
    pub sinks: Option<&'a [f32]>,
    /// The keys that a query sees, by batch and position.
    pub visible: &'a (dyn Fn(usize, usize) -> Range<usize> + Sync),
    /// The scores that are wanted.
    pub scores: Option<Stage>,
    /// Whether the result is `[batch, position, head · feature]` instead of `[batch, head, position, feature]`.
    pub is_packed: bool,
}

impl Call<'_> {
    /// The result, and the scores where they are wanted.
    pub fn run<T: Real>(
        &self,
        cx: &EvalCx<'_>,
        q: &View<'_>,
        k: &View<'_>,
        v: &View<'_>,
    ) -> Result<(Tensor, Option<Tensor>), OpError> {
        let [batch, heads, queries, features] = q.dims;
        let [_, kv_heads, keys, value_features] = v.dims;
        if k.dims != [batch, kv_heads, keys, features] || v.dims[0] != batch {
            let (q, k, v) = (q.tensor.shape(), k.tensor.shape(), v.tensor.shape());
            return Err(OpError::invalid(format!("queries {q}, keys {k} and values {v} do not fit together")));
        }
        if heads % kv_heads.max(1) != 0 {
            return Err(OpError::invalid(format!("{heads} heads of queries cannot share {kv_heads} of keys")));
        }
        let shape = match self.is_packed {
            true => Shape::new(&[batch, queries, heads.saturating_mul(value_features)])?,
            false => Shape::new(&[batch, heads, queries, value_features])?,
        };
        let order = if self.is_packed { Order::PositionsFirst } else { Order::HeadsFirst };
        let scores_shape = [batch, heads, queries, keys];
        let mut y = cx.zeros::<T>(shape)?;
        let mut scores = match self.scores {
            Some(_) => Some(cx.zeros::<T>(Shape::new(&scores_shape)?)?),
            None => None,
        };
        if y.is_empty() && scores.as_ref().is_none_or(|scores| scores.is_empty()) {
            return Ok((y.freeze(), scores.map(|scores| scores.freeze())));
        }
        if kv_heads == 0 {
            return Err(OpError::invalid("there are no heads of keys"));
        }
        let added = self.bias.filter(|bias| bias.dtype() != DType::Bool);
        let added = added.map(|bias| numbers::<T>(cx, bias)).transpose()?;
        let bias = self.bias.map(|bias| bias_rows(bias, added.as_ref(), scores_shape)).transpose()?;
        let a = attention::Attention {
            batch,
            heads,
            kv_heads,
            queries,
            keys,
            features,
            value_features,
            q: q.heads::<T>()?,
            k: k.heads::<T>()?,
            v: v.heads::<T>()?,
            scale: self.scale.map_or_else(|| 1.0 / (features as f64).sqrt(), <f64 as From<f32>>::from),
            softcap: self.softcap,
            bias,
            rounding: self.roundings[0],
            softmax_rounding: self.roundings[1],
            sinks: self.sinks,
            visible: self.visible,
        };
        let _scratch = cx.memory.reserve(a.scratch_bytes(cx.threads.count()))?;
        let stages = self.scores.zip(scores.as_mut().map(|scores| &mut scores[..]));
        <T as Real>::run(cx, &a, order, &mut y, stages);
        cx.check()?;
        Ok((y.freeze(), scores.map(|scores| scores.freeze())))
    }
}

/// The elements of a tensor of numbers, as `T`.
fn numbers<T: Real>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    if x.dtype() == T::DTYPE {
        return Ok(x.clone());
    }
    let mut y = cx.uninit::<T>(x.shape().clone())?;
    for_numeric!(x.dtype(), N => {
        let numbers = x.as_slice::<N>()?;
        parallel::fill(cx, &mut y, 1.0, |start, piece| {
            let numbers = &numbers[start..start + piece.len()];
            piece.iter_mut().zip(numbers).for_each(|(y, x)| *y = Number::from_f64(Number::to_f64(*x)));
        })
    })?;
    Ok(y.freeze())
}

/// The rows of a bias, or of what was `added` in its place, for scores of a shape.
fn bias_rows<'a, T: Real>(
    bias: &'a Tensor,
    added: Option<&'a Tensor>,
    [batch, heads, queries, keys]: [usize; 4],
) -> Result<Bias<'a, T>, OpError> {
    let misfit = || {
        let scores = format!("[{batch}, {heads}, {queries}, {keys}]");
        OpError::invalid(format!("a mask of shape {} does not broadcast to scores of {scores}", bias.shape()))
    };
    let length = bias.shape().last().copied().filter(|&length| length <= keys).ok_or_else(misfit)?;
    let target = Shape::new(&[batch, heads, queries, length])?;
    if bias.shape().broadcast(&target).as_ref() != Some(&target) {
        return Err(misfit());
    }
    let strides = expanded_strides(bias.shape(), &target);
    let layout = Layout { batch: strides[0], head: strides[1], position: strides[2] };
    let rows = match added {
        None => BiasRows::Allowed(bias.as_slice::<bool>()?),
        Some(added) => BiasRows::Added(added.as_slice::<T>()?),
    };
    Ok(Bias { rows, layout, keys: length })
}
