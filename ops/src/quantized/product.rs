//! Exact products of matrices of 8-bit codes, stacked and broadcast as `MatMul` does.

use crate::dtypes::for_dtypes;
use crate::matmul::{MACS_PER_CHECK, Stack};
use crate::packed::Packed;
use planish_ir::{EvalCx, OpError, Types};
use planish_kernels::gemm::MatRef;
use planish_kernels::int8::{Code, Finish, Lhs8, PackedB8, Quantized, Rhs8, Sums32, ZeroPoints, gemm_int8_into};
use planish_tensor::{DType, Element, Shape, Tensor, TensorMut};
use std::ops::Range;

/// 8-bit integers.
pub const BYTES: Types = Types::of(&[DType::I8, DType::U8]);

/// Codes with their zero points: none for 0, one for all, or one for each row of a left operand or column of a right one.
#[derive(Clone, Copy)]
pub struct Codes<'a> {
    /// The codes.
    pub codes: &'a Tensor,
    /// The zero points.
    pub zero: Option<&'a Tensor>,
}

/// The right operand of a product.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    /// As it came.
    Codes(Codes<'a>),
    /// A constant matrix.
    Packed(&'a PackedB8),
}

impl Right<'_> {
    /// The number of columns.
    pub fn columns(&self) -> usize {
        match self {
            Right::Packed(b) => b.columns(),
            Right::Codes(b) => match b.codes.shape().dims() {
                [.., _, columns] => *columns,
                _ => 1,
            },
        }
    }
}

/// A constant right operand packed with its zero points; `None` unless it is a matrix.
pub fn pack(cx: &EvalCx<'_>, b: Codes<'_>) -> Result<Option<Packed<PackedB8>>, OpError> {
    let &[rows, columns] = b.codes.shape().dims() else { return Ok(None) };
    let size = PackedB8::size_bytes(rows, columns);
    for_dtypes!(b.codes.dtype(), T => {
        let zeros = Zeros::<T>::of_columns(cx, b)?;
        let matrix = MatRef::row_major(b.codes.as_slice::<T>()?, rows, columns);
        let quantized = Quantized::right(matrix, zeros.part(0, columns));
        Packed::new(&cx.memory, size, || PackedB8::pack(quantized, &cx.threads)).map(Some)
    }, [U8 = u8, I8 = i8])
}

/// (a − a_zero) · (b − b_zero).
pub fn product(cx: &EvalCx<'_>, a: Codes<'_>, b: Right<'_>) -> Result<TensorMut<i32>, OpError> {
    product_into(cx, a, b, |_| Sums32)
}

/// [`product`] with what its sums become: `finish` gives it for a range of rows of the result, counted over all matrices.
pub fn product_into<F: Finish<Out: Element>>(
    cx: &EvalCx<'_>,
    a: Codes<'_>,
    b: Right<'_>,
    finish: impl Fn(Range<usize>) -> F,
) -> Result<TensorMut<F::Out>, OpError> {
    for_dtypes!(a.codes.dtype(), A => match b {
        Right::Packed(b) => times_packed::<A, F>(cx, a, b, finish),
        Right::Codes(b) => for_dtypes!(b.codes.dtype(), B => times::<A, B, F>(cx, a, b, finish), [U8 = u8, I8 = i8]),
    }, [U8 = u8, I8 = i8])
}

fn times_packed<A: Code + Element, F: Finish<Out: Element>>(
    cx: &EvalCx<'_>,
    a: Codes<'_>,
    b: &PackedB8,
    finish: impl Fn(Range<usize>) -> F,
) -> Result<TensorMut<F::Out>, OpError>
where
    for<'x> Lhs8<'x>: From<Quantized<'x, A>>,
{
    let shape_b = Shape::new(&[b.depth(), b.columns()])?;
    let stack = Stack::new(a.codes.shape(), &shape_b)?;
    let zeros = Zeros::<A>::of_rows(cx, a)?;
    let mut y = cx.uninit::<F::Out>(stack.shape.clone())?;
    let left = MatRef::row_major(a.codes.as_slice::<A>()?, stack.m, stack.k);
    multiply(cx, left, (&zeros, 0), b.into(), finish, &mut y)?;
    Ok(y)
}

fn times<A: Code + Element, B: Code + Element, F: Finish<Out: Element>>(
    cx: &EvalCx<'_>,
    a: Codes<'_>,
    b: Codes<'_>,
    finish: impl Fn(Range<usize>) -> F,
) -> Result<TensorMut<F::Out>, OpError>
where
    for<'x> Lhs8<'x>: From<Quantized<'x, A>>,
    for<'x> Rhs8<'x>: From<Quantized<'x, B>>,
{
    let stack = Stack::new(a.codes.shape(), b.codes.shape())?;
    let (zeros_a, zeros_b) = (Zeros::<A>::of_rows(cx, a)?, Zeros::<B>::of_columns(cx, b)?);
    let rows = row_count(a.codes.shape());
    let mut y = cx.uninit::<F::Out>(stack.shape.clone())?;
    if y.is_empty() {
        return Ok(y);
    }
    let (codes_a, codes_b) = (a.codes.as_slice::<A>()?, b.codes.as_slice::<B>()?);
    for (i, y) in y.chunks_exact_mut(stack.m * stack.n).enumerate() {
        let (left, right) = stack.operands(i, codes_a, codes_b);
        let [at_a, at_b] = stack.positions(i);
        let right = Quantized::right(right, zeros_b.part(at_b * stack.n, stack.n));
        let of_matrix = |rows: Range<usize>| finish(i * stack.m + rows.start..i * stack.m + rows.end);
        multiply(cx, left, (&zeros_a, at_a * rows), right.into(), of_matrix, y)?;
    }
    Ok(y)
}

/// One product, looking at the deadline once in a while. The zero points of a are those from `zeros.1` on.
fn multiply<A: Code + Element, F: Finish>(
    cx: &EvalCx<'_>,
    a: MatRef<'_, A>,
    zeros: (&Zeros<A>, usize),
    b: Rhs8<'_>,
    finish: impl Fn(Range<usize>) -> F,
    y: &mut [F::Out],
) -> Result<(), OpError>
where
    for<'x> Lhs8<'x>: From<Quantized<'x, A>>,
{
    if y.is_empty() {
        return Ok(());
    }
    let columns = y.len() / a.rows();
    let rows_each = (MACS_PER_CHECK / a.columns().saturating_mul(columns).max(1)).max(64);
    for (start, y) in (0..a.rows()).step_by(rows_each).zip(y.chunks_mut(rows_each.saturating_mul(columns))) {
        cx.check()?;
        let rows = start..start + y.len() / columns;
        let part = Quantized::left(a.row_range(rows.clone()), zeros.0.part(zeros.1 + start, rows.len()));
        gemm_int8_into(&cx.threads, Lhs8::from(part), b, finish(rows), y, columns);
    }
    Ok(())
}

/// Rows of one matrix of a left operand.
pub fn row_count(shape: &Shape) -> usize {
    shape.rank().checked_sub(2).map_or(1, |axis| shape[axis])
}

/// Zero points: one, or one for each row or column of each matrix of an operand.
enum Zeros<T> {
    All(T),
    Each(TensorMut<T>),
}

impl<T: Code + Element> Zeros<T> {
    fn of_rows(cx: &EvalCx<'_>, a: Codes<'_>) -> Result<Zeros<T>, OpError> {
        let shape = a.codes.shape();
        let rows = shape.split_last().map_or(&[][..], |(_, rows)| rows);
        Zeros::new(cx, a, row_count(shape), &[rows, &[1]].concat())
    }

    fn of_columns(cx: &EvalCx<'_>, b: Codes<'_>) -> Result<Zeros<T>, OpError> {
        let shape = b.codes.shape();
        match shape.dims() {
            [stack @ .., _, columns] => Zeros::new(cx, b, *columns, &[stack, &[1, *columns]].concat()),
            _ => Zeros::new(cx, b, 1, &[1]),
        }
    }

    /// Zero points for `each` rows or columns a matrix; `dims` is their shape where each matrix has its own.
    fn new(cx: &EvalCx<'_>, operand: Codes<'_>, each: usize, dims: &[usize]) -> Result<Zeros<T>, OpError> {
        let Some(zero) = operand.zero else { return Ok(Zeros::All(T::default())) };
        let values = zero.as_slice::<T>()?;
        if let [zero] = values {
            return Ok(Zeros::All(*zero));
        }
        if zero.shape().dims() != [each] && zero.shape().dims() != dims {
            let (zero, shape) = (zero.shape(), operand.codes.shape());
            return Err(OpError::invalid(format!(
                "zero points of shape {zero} do not fit an operand of shape {shape}"
            )));
        }
        let mut all = cx.uninit::<T>(Shape::new(dims)?)?;
        if !values.is_empty() {
            all.chunks_mut(values.len()).for_each(|part| part.copy_from_slice(&values[..part.len()]));
        }
        Ok(Zeros::Each(all))
    }

    /// Zero points `start..start + count`.
    fn part(&self, start: usize, count: usize) -> ZeroPoints<'_, T> {
        match self {
            Zeros::All(zero) => ZeroPoints::All(*zero),
            Zeros::Each(all) => ZeroPoints::Each(&all[start..start + count]),
        }
    }
}
