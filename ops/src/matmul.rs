//! `MatMul`: y = a · b over the last two axes, the axes before them broadcast; a rank-1 operand is one row or column.
//!
//! Opsets: 1; 9 adds integers; 13 adds bfloat16.

use crate::Define;
use crate::broadcast::{broadcast_dims, broadcast_shapes, expanded_strides};
use crate::dtypes::{for_dtypes, from_f32, to_f32};
use crate::elementwise::owned;
use crate::half::is_half;
use crate::packed::{Packed, pack_right};
use crate::parallel;
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared,
    Schema, Types, arg,
};
use planish_kernels::Threads;
use planish_kernels::gemm::{Bias, Epilogue, MatRef, Number, PackedB, Rhs, gemm, gemm_generic};
use planish_tensor::{DType, Element, Shape, Tensor};
use smallvec::SmallVec;
use std::sync::Arc;

/// What matrices may be made of.
pub const MATRIX_TYPES: Types = FLOATS.or(Types::of(&[DType::I32, DType::I64, DType::U32, DType::U64]));

/// Multiply-accumulates between two looks at the deadline.
pub const MACS_PER_CHECK: usize = 1 << 32;

/// A core's time for one multiply-accumulate of a small product.
const NS_PER_MAC: f64 = 0.05;

/// `MatMul`.
#[derive(Debug, Default)]
pub struct MatMul {
    /// b, where it is a constant matrix.
    weights: Option<Packed<PackedB>>,
}

impl Define for MatMul {
    const SCHEMA: Schema = Schema::new("MatMul", 13)
        .inputs(&[arg("A", MATRIX_TYPES).var("T"), arg("B", MATRIX_TYPES).var("T")])
        .outputs(&[arg("Y", MATRIX_TYPES).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(MatMul::default())
    }
}

impl Op for MatMul {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = x.dtype(0).or(x.dtype(1));
        let (Some(a), Some(b)) = (x.shape(0), x.shape(1)) else { return Ok(vec![Fact::tensor(dtype)]) };
        Ok(vec![Fact::shaped(dtype, product_dims(a, b)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let a = inputs.tensor(0)?;
        if let Some(weights) = &self.weights {
            let y = times_packed(cx, &to_f32(cx, a)?, weights)?;
            return Ok(from_f32(cx, y, a.dtype())?.into());
        }
        Ok(matmul(cx, a, inputs.tensor(1)?)?.into())
    }

    fn macs(&self, inputs: &Facts<'_>, outputs: &[Fact]) -> Dim {
        product_macs(inputs.shape(0), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        x.constant(1).map_or(Ok(None), |b| self.packed(cx, b, false))
    }

    fn prepare_transposed(&self, cx: &EvalCx<'_>, input: usize, b: &Tensor) -> Result<Option<Prepared>, OpError> {
        if input == 1 { self.packed(cx, b, true) } else { Ok(None) }
    }
}

impl MatMul {
    fn packed(&self, cx: &EvalCx<'_>, b: &Tensor, is_transposed: bool) -> Result<Option<Prepared>, OpError> {
        let Some(weights) = pack_right(cx, b, is_transposed)? else { return Ok(None) };
        Ok(Some(Prepared { op: Arc::new(MatMul { weights: Some(weights) }), dropped: vec![1] }))
    }
}

/// Multiply-accumulates of a product whose left operand is of shape `a`.
pub fn product_macs(a: Option<&[Dim]>, outputs: &[Fact]) -> Dim {
    match (a.and_then(<[Dim]>::last), outputs.first().and_then(Fact::shape)) {
        (Some(depth), Some(y)) => y.iter().cloned().product::<Dim>() * depth,
        _ => Dim::unknown(),
    }
}

/// A left or right operand as a stack of matrices: the axes of the stack, rows, columns. A rank-1 operand is one row on the
/// left, one column on the right, which `one` stands for.
fn as_matrices<'a, D>(dims: &'a [D], is_left: bool, one: &'a D) -> Result<(&'a [D], &'a D, &'a D), InferError> {
    match dims {
        [] => Err(InferError::new("expected operands of rank 1 or more, got a scalar")),
        [k] if is_left => Ok((&[], one, k)),
        [k] => Ok((&[], k, one)),
        [stack @ .., rows, columns] => Ok((stack, rows, columns)),
    }
}

/// The dimensions of a · b.
pub fn product_dims(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, InferError> {
    let one = Dim::known(1);
    let (stack_a, m, depth_a) = as_matrices(a, true, &one)?;
    let (stack_b, depth_b, n) = as_matrices(b, false, &one)?;
    Dim::unify(depth_a, depth_b).map_err(|_| {
        InferError(format!("the left operand has {depth_a} columns, but the right one has {depth_b} rows"))
    })?;
    let mut y = broadcast_dims([stack_a, stack_b])?;
    y.extend((a.len() > 1).then(|| m.clone()));
    y.extend((b.len() > 1).then(|| n.clone()));
    Ok(y)
}

/// A product of two stacks of matrices: `y[i] = a[i] · b[i]`.
pub struct Stack {
    /// Rows of one product.
    pub m: usize,
    /// Terms of one sum.
    pub k: usize,
    /// Columns.
    pub n: usize,
    /// Extents of the axes along which matrices are stacked in y.
    dims: SmallVec<[usize; 4]>,
    /// Matrices to step over in a and in b, for one step along each of these axes.
    steps: SmallVec<[[usize; 2]; 4]>,
    /// Elements of one matrix of a and of b.
    matrices: [usize; 2],
    /// The shape of y.
    pub shape: Shape,
}

impl Stack {
    /// The products of tensors of these shapes.
    pub fn new(a: &Shape, b: &Shape) -> Result<Stack, OpError> {
        let (stack_a, &m, &k) = as_matrices(a.dims(), true, &1)?;
        let (stack_b, &depth, &n) = as_matrices(b.dims(), false, &1)?;
        if k != depth {
            return Err(OpError::invalid(format!("shapes {a} and {b} do not fit a matrix product")));
        }
        let (stack_a, stack_b) = (Shape::new(stack_a)?, Shape::new(stack_b)?);
        let stack = broadcast_shapes(&[&stack_a, &stack_b])?;
        let [steps_a, steps_b] = [&stack_a, &stack_b].map(|s| expanded_strides(s, &stack));
        let matrix = [(a.rank() > 1).then_some(m), (b.rank() > 1).then_some(n)];
        let dims: Vec<usize> = stack.iter().copied().chain(matrix.into_iter().flatten()).collect();
        let steps = steps_a.iter().zip(&steps_b).map(|(&a, &b)| [a, b]).collect();
        let mut stack = Stack {
            m,
            k,
            n,
            dims: SmallVec::from_slice(&stack),
            steps,
            matrices: [m * k, k * n],
            shape: Shape::new(&dims)?,
        };
        stack.merge_rows();
        Ok(stack)
    }

    /// Takes the innermost axes along which b stays the same as more rows of a: one large product instead of many small
    /// ones.
    fn merge_rows(&mut self) {
        let mut merged = 1;
        while let (Some(&dim), Some(&[a, b])) = (self.dims.last(), self.steps.last()) {
            if dim != 1 && (b != 0 || a != merged) {
                break;
            }
            merged *= dim;
            self.m *= dim;
            self.dims.pop();
            self.steps.pop();
        }
    }

    /// The number of products.
    pub fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// The operands of product `i`, out of the elements of a and b.
    pub fn operands<'a, A: Element, B: Element>(
        &self,
        i: usize,
        a: &'a [A],
        b: &'a [B],
    ) -> (MatRef<'a, A>, MatRef<'a, B>) {
        let [at_a, at_b] = self.positions(i);
        (
            MatRef::row_major(&a[at_a * self.matrices[0]..], self.m, self.k),
            MatRef::row_major(&b[at_b * self.matrices[1]..], self.k, self.n),
        )
    }

    /// Which matrices of a and b product `i` is of.
    pub fn positions(&self, mut i: usize) -> [usize; 2] {
        let mut at = [0, 0];
        for (&dim, steps) in self.dims.iter().zip(&self.steps).rev() {
            let index = i % dim;
            i /= dim;
            at = [at[0] + index * steps[0], at[1] + index * steps[1]];
        }
        at
    }
}

/// a · b, by ONNX's rules.
pub fn matmul(cx: &EvalCx<'_>, a: &Tensor, b: &Tensor) -> Result<Tensor, OpError> {
    if is_half(a.dtype()) {
        let y = matmul_f32(cx, &to_f32(cx, a)?, &to_f32(cx, b)?)?;
        return from_f32(cx, y, a.dtype());
    }
    if a.dtype() == DType::F32 {
        return matmul_f32(cx, a, b);
    }
    for_dtypes!(a.dtype(), T => matmul_generic::<T>(cx, a, b), [F64 = f64, I32 = i32, I64 = i64, U32 = u32, U64 = u64])
}

fn matmul_generic<T: Element + Number>(cx: &EvalCx<'_>, a: &Tensor, b: &Tensor) -> Result<Tensor, OpError> {
    let stack = Stack::new(a.shape(), b.shape())?;
    let (a, b) = (a.as_slice::<T>()?, b.as_slice::<T>()?);
    let mut y = cx.uninit::<T>(stack.shape.clone())?;
    if !y.is_empty() {
        for (i, y) in y.chunks_exact_mut(stack.m * stack.n).enumerate() {
            cx.check()?;
            let (a, b) = stack.operands(i, a, b);
            gemm_generic(&cx.threads, a, b, y);
        }
    }
    Ok(y.freeze())
}

fn matmul_f32(cx: &EvalCx<'_>, a: &Tensor, b: &Tensor) -> Result<Tensor, OpError> {
    let stack = Stack::new(a.shape(), b.shape())?;
    let (a, b) = (a.as_slice::<f32>()?, b.as_slice::<f32>()?);
    let mut y = cx.uninit::<f32>(stack.shape.clone())?;
    if y.is_empty() {
        return Ok(y.freeze());
    }
    let each = stack.m * stack.n;
    if stack.count() >= 2 * cx.threads.count() {
        let ns_per_element = stack.k.max(1) as f64 * NS_PER_MAC;
        parallel::fill_units(cx, &mut y, each, ns_per_element, |start, piece| {
            for (i, y) in piece.chunks_exact_mut(each).enumerate() {
                let (a, b) = stack.operands(start / each + i, a, b);
                gemm(&Threads::single(), 1.0, a, b, 0.0, y, stack.n, &Epilogue::default());
            }
        })?;
    } else {
        for (i, y) in y.chunks_exact_mut(each).enumerate() {
            let (a, b) = stack.operands(i, a, b);
            gemm_checked(cx, 1.0, a, b.into(), 0.0, y, &Epilogue::default())?;
        }
    }
    Ok(y.freeze())
}

/// a · b, where b is a packed matrix of constants.
fn times_packed(cx: &EvalCx<'_>, a: &Tensor, b: &PackedB) -> Result<Tensor, OpError> {
    times_packed_into(cx, a, b, None, &Epilogue::default())
}

/// The shape of a · b, where b is a packed matrix.
pub fn packed_product_shape(a: &Shape, b: &PackedB) -> Result<Shape, OpError> {
    let Some((&depth, rows)) = a.split_last() else {
        return Err(OpError::invalid("expected operands of rank 1 or more, got a scalar"));
    };
    if depth != b.depth() {
        let (rows, columns) = (b.depth(), b.columns());
        return Err(OpError::invalid(format!("shapes {a} and [{rows}, {columns}] do not fit a matrix product")));
    }
    let dims: Vec<usize> = rows.iter().copied().chain([b.columns()]).collect();
    Ok(Shape::new(&dims)?)
}

/// `activation(residual + a · b + bias)`, where b is a packed matrix of constants and the residual is of the product's
/// shape.
pub fn times_packed_into(
    cx: &EvalCx<'_>,
    a: &Tensor,
    b: &PackedB,
    residual: Option<Tensor>,
    epilogue: &Epilogue<'_>,
) -> Result<Tensor, OpError> {
    let shape = packed_product_shape(a.shape(), b)?;
    let (mut y, beta) = match residual {
        Some(residual) => (owned(cx, residual)?, 1.0),
        None => (cx.uninit::<f32>(shape)?, 0.0),
    };
    let rows = a.num_elements().checked_div(b.depth()).unwrap_or_else(|| y.len().checked_div(b.columns()).unwrap_or(0));
    let a = MatRef::row_major(a.as_slice()?, rows, b.depth());
    gemm_checked(cx, 1.0, a, b.into(), beta, &mut y, epilogue)?;
    Ok(y.freeze())
}

/// [`gemm`] into a contiguous matrix, looking at the deadline once in a while.
pub fn gemm_checked(
    cx: &EvalCx<'_>,
    alpha: f32,
    a: MatRef<'_>,
    b: Rhs<'_>,
    beta: f32,
    y: &mut [f32],
    epilogue: &Epilogue<'_>,
) -> Result<(), OpError> {
    let n = match b {
        Rhs::Mat(b) => b.columns(),
        Rhs::Packed(b) => b.columns(),
    };
    if y.is_empty() {
        return Ok(());
    }
    let macs_per_row = a.columns().saturating_mul(n).max(1);
    let rows_each = (MACS_PER_CHECK / macs_per_row).max(64);
    for (i, y) in y.chunks_mut(rows_each * n).enumerate() {
        cx.check()?;
        let rows = i * rows_each..(i * rows_each + y.len() / n);
        let bias = match epilogue.bias {
            Bias::PerRow(bias) => Bias::PerRow(&bias[rows.clone()]),
            other => other,
        };
        gemm(&cx.threads, alpha, a.row_range(rows), b, beta, y, n, &Epilogue { bias, ..*epilogue });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::{Attributes, Dim};
    use planish_tensor::f16;

    fn matmul(a: &[usize], b: &[usize]) -> Option<(Vec<usize>, Vec<f32>)> {
        let counted = |dims: &[usize]| -> Vec<f32> { (0..dims.iter().product::<usize>()).map(|i| i as f32).collect() };
        let y = eval("MatMul", Attributes::new(), &[tensor(a, &counted(a)), tensor(b, &counted(b))]).ok()?;
        Some((y.shape().to_vec(), y.as_slice::<f32>().unwrap().to_vec()))
    }

    #[test]
    fn stacks_broadcast_and_vectors_are_rows_or_columns() {
        struct Case {
            a: &'static [usize],
            b: &'static [usize],
            expected: (&'static [usize], &'static [f32]),
        }
        for Case { a, b, expected } in [
            Case { a: &[2, 3], b: &[3, 2], expected: (&[2, 2], &[10., 13., 28., 40.]) },
            Case { a: &[3], b: &[3], expected: (&[], &[5.]) },
            Case { a: &[3], b: &[3, 2], expected: (&[2], &[10., 13.]) },
            Case { a: &[2, 3], b: &[3], expected: (&[2], &[5., 14.]) },
            Case { a: &[2, 1, 2], b: &[2, 1], expected: (&[2, 1, 1], &[1., 3.]) },
            Case { a: &[1, 2], b: &[2, 2, 1], expected: (&[2, 1, 1], &[1., 3.]) },
            Case { a: &[2, 1, 1, 1], b: &[3, 1, 1], expected: (&[2, 3, 1, 1], &[0., 0., 0., 0., 1., 2.]) },
            Case { a: &[1, 2, 1, 2], b: &[2, 1, 2, 1], expected: (&[2, 2, 1, 1], &[1., 3., 3., 13.]) },
            Case { a: &[2, 0], b: &[0, 1], expected: (&[2, 1], &[0., 0.]) },
            Case { a: &[0, 2], b: &[2, 1], expected: (&[0, 1], &[]) },
        ] {
            assert_eq!(matmul(a, b), Some((expected.0.to_vec(), expected.1.to_vec())), "{a:?} · {b:?}");
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        for (a, b) in [(&[2, 3][..], &[2, 3][..]), (&[][..], &[1][..]), (&[2, 1, 1][..], &[3, 1, 1][..])] {
            assert_eq!(matmul(a, b), None);
        }
    }

    #[test]
    fn other_dtypes_multiply_too() {
        let y = eval("MatMul", Attributes::new(), &[tensor(&[1, 2], &[i32::MAX, 1]), tensor(&[2, 1], &[2, 3])]);
        assert_eq!(y.unwrap(), tensor(&[1, 1], &[1i32]));
        let halves = [1.5f32, 2.0].map(f16::from_f32);
        let y = eval("MatMul", Attributes::new(), &[tensor(&[1, 2], &halves), tensor(&[2, 1], &halves)]);
        assert_eq!(y.unwrap(), tensor(&[1, 1], &[f16::from_f32(6.25)]));
    }

    #[test]
    fn symbols_come_through() {
        let symbol = Dim::symbol;
        let y = super::product_dims(&[symbol("batch"), symbol("seq"), Dim::known(8)], &[Dim::known(8), symbol("n")]);
        assert_eq!(y.unwrap(), [symbol("batch"), symbol("seq"), symbol("n")]);
    }
}
