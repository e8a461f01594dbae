//! `QGemm`: alpha · a_scale · b_scale · ((A' − a_zero_point) · (B' − b_zero_point) + C), where A' and B' may be transposes and C
//! is `int32`. Quantized where y_scale is given, else `float`.

use super::DOMAIN;
use crate::Define;
use crate::broadcast::Walk;
use crate::matmul::product_dims;
use crate::packed::Packed;
use crate::quantized::product::{BYTES, Codes, Right, pack, product};
use crate::quantized::requantize::{Scales, requantize};
use crate::quantized::scaled::scale_sums;
use crate::transpose::permute;
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOAT, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared,
    Schema, Types, arg, float, int, opt,
};
use planish_kernels::int8::PackedB8;
use planish_tensor::{DType, Tensor, TensorMut};
use std::sync::Arc;

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.5;

/// The attributes of `QGemm`.
#[derive(Clone, Copy, Debug)]
struct Form {
    alpha: f32,
    is_a_transposed: bool,
    is_b_transposed: bool,
}

/// `QGemm`.
#[derive(Debug)]
pub struct QGemm {
    form: Form,
    /// B' and its zero points, where they are constant.
    weights: Option<Packed<PackedB8>>,
}

impl Define for QGemm {
    const SCHEMA: Schema = Schema::new("QGemm", 1)
        .domain(DOMAIN)
        .inputs(&[
            arg("A", BYTES).var("TA"),
            arg("a_scale", FLOAT).var("T"),
            arg("a_zero_point", BYTES).var("TA"),
            arg("B", BYTES).var("TB"),
            arg("b_scale", FLOAT).var("T"),
            arg("b_zero_point", BYTES).var("TB"),
            opt("C", Types::of(&[DType::I32])),
            opt("y_scale", FLOAT).var("T"),
            opt("y_zero_point", BYTES).var("TYZ"),
        ])
        .outputs(&[arg("Y", BYTES.or(FLOAT)).var("TY")])
        .attributes(&[float("alpha", 1.0), int("transA", 0), int("transB", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let (is_a_transposed, is_b_transposed) = (node.flag("transA")?, node.flag("transB")?);
        Ok(QGemm { form: Form { alpha: node.float("alpha")?, is_a_transposed, is_b_transposed }, weights: None })
    }
}

impl Op for QGemm {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = if x.has(8) { x.dtype(8) } else { Some(DType::F32) };
        let (Some(a), Some(b)) = (x.shape(0), x.shape(3)) else { return Ok(vec![Fact::tensor(dtype)]) };
        if a.len() != 2 || b.len() != 2 {
            return Err(InferError(format!("expected matrices, got ranks {} and {}", a.len(), b.len())));
        }
        let oriented = |dims: &[Dim], is_transposed: bool| match is_transposed {
            true => dims.iter().rev().cloned().collect(),
            false => dims.to_vec(),
        };
        let (a, b) = (oriented(a, self.form.is_a_transposed), oriented(b, self.form.is_b_transposed));
        Ok(vec![Fact::shaped(dtype, product_dims(&a, &b)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let a = oriented(cx, inputs.tensor(0)?, self.form.is_a_transposed)?;
        let left = Codes { codes: &a, zero: Some(inputs.tensor(2)?) };
        let b = match &self.weights {
            Some(_) => None,
            None => Some(oriented(cx, inputs.tensor(3)?, self.form.is_b_transposed)?),
        };
        let right = match (&self.weights, &b) {
            (Some(weights), _) => Right::Packed(weights),
            (None, Some(codes)) => Right::Codes(Codes { codes, zero: Some(inputs.tensor(5)?) }),
            (None, None) => return Err(OpError::Internal("weights are neither packed nor given".to_owned())),
        };
        let columns = right.columns();
        let mut sums = product(cx, left, right)?;
        if let Some(c) = inputs.opt_tensor(6)? {
            add(cx, &mut sums, c)?;
        }
        let a_scale = self.form.alpha * inputs.scalar::<f32>(1)?;
        let b_scale = inputs.slice::<f32>(4)?;
        match (inputs.opt_slice::<f32>(7)?, inputs.opt_tensor(8)?) {
            (Some(y), Some(zero)) => {
                let rows = sums.len().checked_div(columns).unwrap_or(0);
                let scales = Scales { a: &[a_scale], b: b_scale, y };
                Ok(requantize(cx, &sums, rows, columns, scales, None, zero)?.into())
            }
            (None, None) => {
                let mut y = cx.uninit::<f32>(sums.shape().clone())?;
                scale_sums(cx, &sums, columns, a_scale, b_scale, &mut y)?;
                Ok(y.freeze().into())
            }
            _ => Err(OpError::invalid("expected both y_scale and y_zero_point, or neither")),
        }
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        let depth = x.shape(0).and_then(|a| a.get(usize::from(!self.form.is_a_transposed)));
        match (depth, outputs.first().and_then(Fact::shape)) {
            (Some(depth), Some(y)) => y.iter().cloned().product::<Dim>() * depth,
            _ => Dim::unknown(),
        }
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let constant = |index: usize| x.constant(index);
        let (Some(b), Some(zero)) = (constant(3), constant(5)) else { return Ok(None) };
        if b.rank() != 2 {
            return Ok(None);
        }
        let codes = oriented(cx, b, self.form.is_b_transposed)?;
        let weights = pack(cx, Codes { codes: &codes, zero: Some(zero) })?;
        Ok(Some(Prepared { op: Arc::new(QGemm { form: self.form, weights }), dropped: vec![3, 5] }))
    }
}

/// A matrix or its transpose.
fn oriented(cx: &EvalCx<'_>, x: &Tensor, is_transposed: bool) -> Result<Tensor, OpError> {
    match (x.rank(), is_transposed) {
        (2, true) => permute(cx, x, &[1, 0]),
        (2, false) => Ok(x.clone()),
        _ => Err(OpError::invalid(format!("expected a matrix, got shape {}", x.shape()))),
    }
}

/// sums += c, which broadcasts to them.
fn add(cx: &EvalCx<'_>, sums: &mut TensorMut<i32>, c: &Tensor) -> Result<(), OpError> {
    let walk = Walk::new([sums.shape(), c.shape()])?;
    if walk.shape() != sums.shape() {
        return Err(OpError::invalid(format!("C of shape {} does not broadcast to {}", c.shape(), sums.shape())));
    }
    let c = c.as_slice::<i32>()?;
    walk.fill(cx, sums, NS_PER_ELEMENT, |sums, [_, at]| {
        sums.iter_mut().enumerate().for_each(|(i, sum)| *sum = sum.wrapping_add(*at.at(c, i)));
    })
}
