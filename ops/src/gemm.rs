//! `Gemm`: y = alpha · a' · b' + beta · c, where a' and b' are a and b or their transposes, and c broadcasts to y.
//!
//! Opsets: 1; 7 broadcasts c without being told; 9 adds integers; 11 makes c optional; 13 adds bfloat16.

use crate::Define;
use crate::broadcast::{Walk, broadcast_dims};
use crate::dtypes::{Number, for_dtypes};
use crate::half::{is_half, widened};
use crate::matmul::{MATRIX_TYPES, gemm_checked};
use crate::packed::{Packed, pack_right};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Prepared, Schema,
    arg, float, int, opt,
};
use planish_kernels::gemm::{self as kernel, Bias, Epilogue, MatRef, PackedB, Rhs, gemm_generic};
use planish_tensor::{DType, Element, Shape, Tensor, TensorMut};
use std::sync::Arc;

/// The attributes of `Gemm`.
#[derive(Clone, Copy, Debug)]
struct Form {
    alpha: f32,
    beta: f32,
    is_a_transposed: bool,
    is_b_transposed: bool,
}

/// `Gemm`.
#[derive(Debug)]
pub struct Gemm {
    form: Form,
    /// b', where b is a constant matrix.
    weights: Option<Packed<PackedB>>,
}

impl Define for Gemm {
    const SCHEMA: Schema = Schema::new("Gemm", 13)
        .inputs(&[arg("A", MATRIX_TYPES).var("T"), arg("B", MATRIX_TYPES).var("T"), opt("C", MATRIX_TYPES).var("T")])
        .outputs(&[arg("Y", MATRIX_TYPES).var("T")])
        .attributes(&[float("alpha", 1.0), float("beta", 1.0), int("transA", 0), int("transB", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let form = Form {
            alpha: node.float("alpha")?,
            beta: node.float("beta")?,
            is_a_transposed: node.flag("transA")?,
            is_b_transposed: node.flag("transB")?,
        };
        Ok(Gemm { form, weights: None })
    }
}

impl Op for Gemm {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let [m, depth_a] = matrix_dims(x, 0, self.form.is_a_transposed)?;
        let [depth_b, n] = matrix_dims(x, 1, self.form.is_b_transposed)?;
        Dim::unify(&depth_a, &depth_b)
            .map_err(|_| InferError(format!("a' has {depth_a} columns, but b' has {depth_b} rows")))?;
        let y = [m, n];
        if let Some(c) = x.shape(2)
            && (c.len() > 2 || broadcast_dims([&y[..], c])?.iter().zip(&y).any(|(a, b)| Dim::provably_different(a, b)))
        {
            return Err(InferError(format!("c does not broadcast to [{}, {}]", y[0], y[1])));
        }
        Ok(vec![Fact::shaped(x.dtype(0).or(x.dtype(1)), y.to_vec())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        if dtype == DType::F32 || is_half(dtype) {
            return widened(cx, inputs, &[dtype], |cx, inputs| self.eval_f32(cx, inputs));
        }
        let form = &self.form;
        let y = for_dtypes!(dtype, T => eval_generic::<T>(form, cx, &inputs), [
            F64 = f64, I32 = i32, I64 = i64, U32 = u32, U64 = u64,
        ])?;
        Ok(y.into())
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        let depth = matrix_dims(x, 0, self.form.is_a_transposed).map_or(Dim::unknown(), |[_, depth]| depth);
        match outputs.first().and_then(Fact::shape) {
            Some(y) => y.iter().cloned().product::<Dim>() * depth,
            None => Dim::unknown(),
        }
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let Some(b) = x.constant(1) else { return Ok(None) };
        let Some(weights) = pack_right(cx, b, self.form.is_b_transposed)? else { return Ok(None) };
        Ok(Some(Prepared { op: Arc::new(Gemm { form: self.form, weights: Some(weights) }), dropped: vec![1] }))
    }
}

/// Rows and columns of input `index`, transposed or not.
fn matrix_dims(x: &Facts<'_>, index: usize, is_transposed: bool) -> Result<[Dim; 2], InferError> {
    match x.shape(index) {
        None => Ok([Dim::unknown(), Dim::unknown()]),
        Some([rows, columns]) if is_transposed => Ok([columns.clone(), rows.clone()]),
        Some([rows, columns]) => Ok([rows.clone(), columns.clone()]),
        Some(other) => Err(InferError(format!("input {index}: expected rank 2, got rank {}", other.len()))),
    }
}

/// A tensor as a matrix, transposed or not.
fn matrix<T: Element>(x: &Tensor, is_transposed: bool) -> Result<MatRef<'_, T>, OpError> {
    let &[rows, columns] = x.shape().dims() else {
        return Err(OpError::invalid(format!("expected a matrix, got shape {}", x.shape())));
    };
    let matrix = MatRef::row_major(x.as_slice::<T>()?, rows, columns);
    Ok(if is_transposed { matrix.transposed() } else { matrix })
}

/// The shape of a · b + c.
fn output_shape(a: [usize; 2], b: [usize; 2], c: Option<&Tensor>) -> Result<Shape, OpError> {
    if a[1] != b[0] {
        return Err(OpError::invalid(format!("a' {a:?} and b' {b:?} do not fit a matrix product")));
    }
    let y = Shape::new(&[a[0], b[1]])?;
    match c {
        Some(c) if y.broadcast(c.shape()).as_ref() != Some(&y) => {
            Err(OpError::invalid(format!("c of shape {} does not broadcast to {y}", c.shape())))
        }
        _ => Ok(y),
    }
}

impl Gemm {
    fn eval_f32(&self, cx: &EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let Form { alpha, beta, is_a_transposed, is_b_transposed } = self.form;
        let c = if inputs.has(2) && beta != 0.0 { Some(inputs.take_tensor(2)?) } else { None };
        let a = matrix::<f32>(inputs.tensor(0)?, is_a_transposed)?;
        let b: Rhs<'_> = match &self.weights {
            Some(weights) => Rhs::Packed(weights),
            None => Rhs::Mat(matrix(inputs.tensor(1)?, is_b_transposed)?),
        };
        let size_b = match &b {
            Rhs::Packed(b) => [b.depth(), b.columns()],
            Rhs::Mat(b) => [b.rows(), b.columns()],
        };
        let shape = output_shape([a.rows(), a.columns()], size_b, c.as_ref())?;
        let c = c.map(|c| if beta == 1.0 { Ok(c) } else { scaled(cx, c, beta) }).transpose()?;
        let (mut y, beta, c) = match c {
            Some(c) if c.num_elements() == shape.num_elements() && a.rows() > 1 => (owned(cx, c, &shape)?, 1.0, None),
            c => (cx.uninit::<f32>(shape.clone())?, 0.0, c),
        };
        let bias = c.as_ref().map_or(Ok(Bias::None), |c| bias(c, shape[1]))?;
        gemm_checked(cx, alpha, a, b, beta, &mut y, &Epilogue { bias, ..Epilogue::default() })?;
        Ok(y.freeze().into())
    }
}

/// c as the kernel's bias, where it is smaller than an output of `columns` columns or that is one row.
fn bias(c: &Tensor, columns: usize) -> Result<Bias<'_>, OpError> {
    let values = c.as_slice::<f32>()?;
    Ok(match values {
        [] => Bias::None,
        [value] => Bias::Scalar(*value),
        _ if values.len() == columns && c.shape().last() == Some(&columns) => Bias::PerColumn(values),
        _ => Bias::PerRow(values),
    })
}

/// beta · c.
fn scaled(cx: &EvalCx<'_>, c: Tensor, beta: f32) -> Result<Tensor, OpError> {
    let shape = c.shape().clone();
    let mut c = owned(cx, c, &shape)?;
    c.iter_mut().for_each(|c| *c *= beta);
    Ok(c.freeze())
}

/// The tensor itself where nobody shares it, else a copy, to write in. It has as many elements as `shape`.
fn owned(cx: &EvalCx<'_>, tensor: Tensor, shape: &Shape) -> Result<TensorMut<f32>, OpError> {
    match tensor.reshaped(shape.clone())?.try_into_mut::<f32>() {
        Ok(owned) => Ok(owned),
        Err(shared) => {
            let mut copy = cx.uninit::<f32>(shape.clone())?;
            copy.copy_from_slice(shared.as_slice()?);
            Ok(copy)
        }
    }
}

/// The definition. Where a factor is not 1, integers are scaled as `f64` and rounded towards zero.
fn eval_generic<T: Number + kernel::Number>(form: &Form, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
    let a = matrix::<T>(inputs.tensor(0)?, form.is_a_transposed)?;
    let b = matrix::<T>(inputs.tensor(1)?, form.is_b_transposed)?;
    let c = inputs.opt_tensor(2)?;
    let shape = output_shape([a.rows(), a.columns()], [b.rows(), b.columns()], c)?;
    let mut y = cx.uninit::<T>(shape.clone())?;
    gemm_generic(&cx.threads, a, b, &mut y);
    let times = |factor: f32, x: T| if factor == 1.0 { x } else { T::from_f64(f64::from(factor) * x.to_f64()) };
    y.iter_mut().for_each(|y| *y = times(form.alpha, *y));
    if let Some(c) = c {
        let values = c.as_slice::<T>()?;
        let walk = Walk::new([&shape, c.shape()])?;
        walk.fill(cx, &mut y, 1.0, |run, [_, c]| {
            run.iter_mut().enumerate().for_each(|(i, y)| *y = y.add(times(form.beta, *c.at(values, i))));
        })?;
    }
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{eval, prepare, tensor};
    use planish_ir::{Attributes, Interpreter};

    #[test]
    fn factors_transposes_and_addends() {
        struct Case {
            attributes: Attributes,
            c: (&'static [usize], &'static [f64]),
            expected: [f64; 6],
        }
        let none = Attributes::new;
        for Case { attributes, c, expected } in [
            Case { attributes: none(), c: (&[], &[1.]), expected: [5., 6., 7., 15., 20., 25.] },
            Case { attributes: none(), c: (&[3], &[1., 2., 3.]), expected: [5., 7., 9., 15., 21., 27.] },
            Case { attributes: none(), c: (&[2, 1], &[1., 2.]), expected: [5., 6., 7., 16., 21., 26.] },
            Case {
                attributes: none().with("beta", 2f32),
                c: (&[2, 3], &[0., 1., 2., 3., 4., 5.]),
                expected: [4., 7., 10., 20., 27., 34.],
            },
            Case { attributes: none().with("alpha", 0.5f32), c: (&[1], &[0.]), expected: [2., 2.5, 3., 7., 9.5, 12.] },
        ] {
            for trans in [false, true] {
                let attributes = attributes.clone().with("transA", i64::from(trans)).with("transB", i64::from(trans));
                let (a, b) = if trans {
                    ((&[2, 2], [0., 2., 1., 3.]), (&[3, 2], [1., 4., 2., 5., 3., 6.]))
                } else {
                    ((&[2, 2], [0., 1., 2., 3.]), (&[2, 3], [1., 2., 3., 4., 5., 6.]))
                };
                let doubles = [tensor(a.0, &a.1), tensor(b.0, &b.1), tensor(c.0, c.1)];
                let y = eval("Gemm", attributes.clone(), &doubles).unwrap();
                assert_eq!(y, tensor(&[2, 3], &expected), "{attributes:?}");
                let floats = doubles.map(|t| {
                    let data: Vec<f32> = t.as_slice::<f64>().unwrap().iter().map(|&v| v as f32).collect();
                    tensor(t.shape(), &data)
                });
                let y = eval("Gemm", attributes.clone(), &floats).unwrap();
                assert_eq!(y, tensor(&[2, 3], &expected.map(|v| v as f32)), "{attributes:?}");
            }
        }
    }

    #[test]
    fn packed_weights_change_nothing() {
        let form = Form { alpha: 1.0, beta: 1.0, is_a_transposed: false, is_b_transposed: true };
        let gemm = Gemm { form, weights: None };
        let b = tensor(&[2, 2], &[1f32, 2., 3., 4.]);
        let mut cx = EvalCx::unlimited(&Interpreter);
        let prepared = prepare(&gemm, &cx, &[None, Some(b)], |index| index == 1).unwrap().unwrap();
        assert_eq!(prepared.dropped, [1]);
        let a = tensor(&[1, 2], &[1f32, 10.]);
        let y = prepared.op.eval(&mut cx, Inputs::new([Some(a.into()), None])).unwrap().into_values().remove(0);
        assert_eq!(y.and_then(planish_tensor::Value::into_tensor), Some(tensor(&[1, 2], &[21f32, 43.])));
    }

    #[test]
    fn an_addend_that_does_not_broadcast_is_refused() {
        let x = tensor(&[1, 2], &[1f32; 2]);
        let c = tensor(&[2, 2], &[1f32; 4]);
        let attributes = Attributes::new().with("transB", 1i64);
        assert!(eval("Gemm", attributes, &[x.clone(), x, c]).is_err());
    }
}
