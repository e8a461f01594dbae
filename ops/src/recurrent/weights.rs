//! The weights of recurrent operators, packed, as numbers or as codes.

use super::{Cell, Form};
use crate::matmul::gemm_checked;
use crate::packed::Packed;
use crate::quantized::dynamic_quantize_linear::{Dynamic, quantize_dynamically};
use crate::quantized::product::{Codes, pack};
use planish_ir::{EvalCx, OpError};
use planish_kernels::gemm::{Bias, Epilogue, MatRef, PackedB, gemm};
use planish_kernels::int8::{Factors, PackedB8, Quantized, ToFloat, ZeroPoints, gemm_int8_into};
use planish_tensor::{Shape, Tensor};
use smallvec::SmallVec;

/// The weights of all directions.
#[derive(Debug)]
pub struct Weights {
    pub ways: Vec<WayWeights>,
    pub input_size: usize,
    pub hidden_size: usize,
}

/// The weights of one direction.
#[derive(Debug)]
pub struct WayWeights {
    pub input: Matrix,
    pub recurrence: Vec<Matrix>,
}

impl Weights {
    /// Packs W of shape `[directions, gates · hidden, input]` and R of `[directions, gates · hidden, hidden]`.
    pub fn pack<C: Cell>(cell: &C, form: &Form, cx: &EvalCx<'_>, w: &Tensor, r: &Tensor) -> Result<Weights, OpError> {
        let [input_size, hidden_size] = form.weight_sizes::<C>(w, r)?;
        let rows = C::GATES * hidden_size;
        let (w, r) = (w.as_slice::<f32>()?, r.as_slice::<f32>()?);
        let way = |way: usize| -> Result<WayWeights, OpError> {
            let (w_each, r_each) = (rows * input_size, rows * hidden_size);
            Ok(WayWeights {
                input: Matrix::of_rows(cx, &w[way * w_each..][..w_each], rows, input_size)?,
                recurrence: cell.pack(cx, &r[way * r_each..][..r_each], hidden_size)?,
            })
        };
        let ways = (0..form.ways.len()).map(way).collect::<Result<_, _>>()?;
        Ok(Weights { ways, input_size, hidden_size })
    }
}

impl Form {
    /// The input features and hidden units that W and R are for.
    pub fn weight_sizes<C: Cell>(&self, w: &Tensor, r: &Tensor) -> Result<[usize; 2], OpError> {
        let (&[_, rows, input_size], &[_, r_rows, hidden_size]) = (w.shape().dims(), r.shape().dims()) else {
            return Err(OpError::invalid(format!("expected weights of rank 3, got {} and {}", w.shape(), r.shape())));
        };
        self.check_weights([w, r], hidden_size, [rows, r_rows], C::GATES)?;
        Ok([input_size, hidden_size])
    }

    /// An error unless weights of these numbers of gate rows are those of all directions.
    pub fn check_weights(
        &self,
        weights: [&Tensor; 2],
        hidden_size: usize,
        rows: [usize; 2],
        gates: usize,
    ) -> Result<(), OpError> {
        let [w, r] = weights.map(Tensor::shape);
        let is_sized = hidden_size > 0 && self.hidden_size.is_none_or(|size| size == hidden_size);
        let is_whole = rows.iter().all(|&rows| hidden_size.checked_mul(gates) == Some(rows));
        let ways = self.ways.len();
        if is_sized && is_whole && w[0] == ways && r[0] == ways {
            return Ok(());
        }
        Err(OpError::invalid(format!("weights {w} and {r} do not fit {ways} directions of {gates} gates")))
    }
}

/// The right operand of a cell's products.
#[derive(Debug)]
pub enum Matrix {
    /// Numbers.
    Numbers(Packed<PackedB>),
    /// Codes, which a left operand is quantized to meet.
    Codes {
        /// The codes, less their zero points.
        codes: Packed<PackedB8>,
        /// What a step of the codes is worth: one for all columns, or one for each.
        scale: Vec<f32>,
    },
}

impl Matrix {
    /// A matrix whose rows are outputs, as the right operand of `x · rowsᵀ`.
    pub fn of_rows(cx: &EvalCx<'_>, rows: &[f32], outputs: usize, depth: usize) -> Result<Matrix, OpError> {
        let matrix = MatRef::row_major(rows, outputs, depth).transposed();
        let size = PackedB::size_bytes(depth, outputs);
        Ok(Matrix::Numbers(Packed::new(&cx.memory, size, || PackedB::pack(matrix, &cx.threads))?))
    }

    /// A matrix of codes whose columns are outputs.
    pub fn of_codes(cx: &EvalCx<'_>, codes: Codes<'_>, scale: Vec<f32>) -> Result<Matrix, OpError> {
        match pack(cx, codes)? {
            Some(codes) => Ok(Matrix::Codes { codes, scale }),
            None => Err(OpError::invalid(format!("expected a matrix of weights, got shape {}", codes.codes.shape()))),
        }
    }

    fn size(&self) -> [usize; 2] {
        match self {
            Matrix::Numbers(matrix) => [matrix.depth(), matrix.columns()],
            Matrix::Codes { codes, .. } => [codes.depth(), codes.columns()],
        }
    }

    /// y = x · this + bias, rows of y being `stride` apart.
    pub fn multiply(
        &self,
        cx: &EvalCx<'_>,
        x: &[f32],
        bias: Bias<'_>,
        y: &mut [f32],
        stride: usize,
    ) -> Result<(), OpError> {
        self.multiply_onto(cx, x, 0.0, bias, y, stride)
    }

    /// y += x · this, rows of y being `stride` apart.
    pub fn add_product(&self, cx: &EvalCx<'_>, x: &[f32], y: &mut [f32], stride: usize) -> Result<(), OpError> {
        self.multiply_onto(cx, x, 1.0, Bias::None, y, stride)
    }

    fn multiply_onto(
        &self,
        cx: &EvalCx<'_>,
        x: &[f32],
        beta: f32,
        bias: Bias<'_>,
        y: &mut [f32],
        stride: usize,
    ) -> Result<(), OpError> {
        let [depth, columns] = self.size();
        let rows = x.len().checked_div(depth).unwrap_or(y.len().div_ceil(stride));
        match self {
            Matrix::Numbers(matrix) => {
                let epilogue = Epilogue { bias, ..Epilogue::default() };
                let x = MatRef::row_major(x, rows, depth);
                if stride == columns {
                    return gemm_checked(cx, 1.0, x, (&**matrix).into(), beta, y, &epilogue);
                }
                gemm(&cx.threads, 1.0, x, &**matrix, beta, y, stride, &epilogue);
                Ok(())
            }
            Matrix::Codes { codes, scale } => {
                let Dynamic { codes: x, quantization } = quantize_dynamically(cx, x, Shape::new(&[rows, depth])?)?;
                let factors: SmallVec<[f32; 1]> = scale.iter().map(|scale| quantization.scale * scale).collect();
                let factors = match factors.as_slice() {
                    &[factor] => Factors::All(factor),
                    factors => Factors::PerColumn(factors),
                };
                let finish = ToFloat { factors, bias, is_added: beta != 0.0, ..ToFloat::default() };
                let x = MatRef::row_major(&x, rows, depth);
                let x = Quantized::left(x, ZeroPoints::All(quantization.zero));
                gemm_int8_into(&cx.threads, x, &**codes, finish, y, stride);
                Ok(())
            }
        }
    }
}
