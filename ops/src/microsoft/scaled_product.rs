//! Products of 8-bit operands as numbers: what `DynamicQuantizeMatMul` and `MatMulIntegerToFloat` have in common.

use crate::matmul::Stack;
use crate::packed::Packed;
use crate::quantized::product::{Codes, Right, pack, product_into};
use planish_ir::{EvalCx, OpError};
use planish_kernels::gemm::Bias;
use planish_kernels::int8::{Factors, PackedB8, ToFloat};
use planish_tensor::{Shape, Tensor};
use std::ops::Range;

/// A constant right operand.
#[derive(Debug)]
pub struct Weights {
    codes: Packed<PackedB8>,
    shape: Shape,
}

impl Weights {
    /// Packs codes and their zero points; `None` unless they are a matrix.
    pub fn pack(cx: &EvalCx<'_>, b: Codes<'_>) -> Result<Option<Weights>, OpError> {
        let shape = b.codes.shape().clone();
        Ok(pack(cx, b)?.map(|codes| Weights { codes, shape }))
    }
}

/// The right operand of a product.
#[derive(Clone, Copy)]
pub enum Factor<'a> {
    /// As it came.
    Codes(Codes<'a>),
    /// Packed before.
    Weights(&'a Weights),
}

impl<'a> Factor<'a> {
    fn shape(&self) -> &'a Shape {
        match self {
            Factor::Codes(b) => b.codes.shape(),
            Factor::Weights(b) => &b.shape,
        }
    }

    fn right(&self) -> Right<'a> {
        match self {
            Factor::Codes(b) => Right::Codes(*b),
            Factor::Weights(b) => Right::Packed(&b.codes),
        }
    }
}

/// a · b · (a_scale · b_scale) + bias. b has one scale, one for each column, or one for each column of each matrix.
pub fn scaled_product(
    cx: &EvalCx<'_>,
    a: Codes<'_>,
    a_scale: f32,
    b: Factor<'_>,
    b_scale: &[f32],
    bias: Option<&[f32]>,
) -> Result<Tensor, OpError> {
    let columns = b.right().columns();
    if let Some(got) = bias.map(<[f32]>::len).filter(|&got| got != columns) {
        return Err(OpError::invalid(format!("expected a bias of {columns} elements, got {got}")));
    }
    let bias = bias.map_or(Bias::None, Bias::PerColumn);
    let factors: Vec<f32> = b_scale.iter().map(|b| a_scale * b).collect();
    let finish = |factors| ToFloat { factors, bias, ..ToFloat::default() };
    if let &[factor] = factors.as_slice() {
        return Ok(product_into(cx, a, b.right(), |_| finish(Factors::All(factor)))?.freeze());
    }
    if factors.len() == columns {
        return Ok(product_into(cx, a, b.right(), |_| finish(Factors::PerColumn(&factors)))?.freeze());
    }
    let (matrices, _) = b.shape().split_at(b.shape().rank().saturating_sub(2));
    if matrices.checked_mul(columns) != Some(b_scale.len()) {
        let (shape, got) = (b.shape(), b_scale.len());
        return Err(OpError::invalid(format!("a right operand of shape {shape} cannot have {got} scales")));
    }
    let stack = Stack::new(a.codes.shape(), b.shape())?;
    let of_matrix = |rows: Range<usize>| {
        let [_, at] = stack.positions(rows.start / stack.m.max(1));
        finish(Factors::PerColumn(&factors[at * columns..][..columns]))
    };
    Ok(product_into(cx, a, b.right(), of_matrix)?.freeze())
}
