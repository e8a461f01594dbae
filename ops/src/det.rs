//! `Det`: the determinants of a stack of square matrices, by Gaussian elimination with partial pivoting in `f64`.
//!
//! Opsets: 11; 22 adds bfloat16.

use crate::Define;
use crate::dtypes::{Number, for_float};
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, arg,
};
use planish_tensor::{Shape, Tensor};

/// `Det`.
#[derive(Debug)]
pub struct Det;

impl Define for Det {
    const SCHEMA: Schema =
        Schema::new("Det", 22).inputs(&[arg("X", FLOATS).var("T")]).outputs(&[arg("Y", FLOATS).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Det)
    }
}

impl Op for Det {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let [batch @ .., rows, columns] = shape else {
            return Err(InferError(format!("expected rank 2 or more, got rank {}", shape.len())));
        };
        Dim::unify(rows, columns).map_err(|conflict| InferError(format!("expected square matrices: {conflict}")))?;
        Ok(vec![Fact::shaped(x.dtype(0), batch.to_vec())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(for_float!(inputs.tensor(0)?.dtype(), T => determinants::<T>(cx, inputs.tensor(0)?))?.into())
    }
}

fn determinants<T: Number>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    let (batch, n) = match x.shape().dims() {
        [batch @ .., rows, columns] if rows == columns => (batch, *rows),
        other => return Err(OpError::invalid(format!("expected square matrices, got shape {other:?}"))),
    };
    let elements = x.as_slice::<T>()?;
    let mut matrix = cx.uninit::<f64>(Shape::new(&[n, n])?)?;
    let mut y = cx.uninit::<T>(Shape::new(batch)?)?;
    for (i, y) in y.iter_mut().enumerate() {
        let source = &elements[i * n * n..(i + 1) * n * n];
        matrix.iter_mut().zip(source).for_each(|(wide, x)| *wide = x.to_f64());
        *y = T::from_f64(determinant(cx, &mut matrix, n)?);
    }
    Ok(y.freeze())
}

/// The determinant of an n × n matrix, which is overwritten.
fn determinant(cx: &EvalCx<'_>, matrix: &mut [f64], n: usize) -> Result<f64, OpError> {
    let mut determinant = 1.0;
    for k in 0..n {
        cx.check()?;
        let pivot =
            (k..n).fold(k, |best, row| if matrix[row * n + k].abs() > matrix[best * n + k].abs() { row } else { best });
        if pivot != k {
            (k..n).for_each(|column| matrix.swap(k * n + column, pivot * n + column));
            determinant = -determinant;
        }
        let (upper, lower) = matrix.split_at_mut((k + 1) * n);
        let pivot_row = &upper[k * n + k..];
        if pivot_row[0] == 0.0 {
            return Ok(0.0);
        }
        determinant *= pivot_row[0];
        for row in lower.chunks_exact_mut(n) {
            let factor = row[k] / pivot_row[0];
            row[k..].iter_mut().zip(pivot_row).for_each(|(x, pivot)| *x -= factor * pivot);
        }
    }
    Ok(determinant)
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn determinants_of_a_stack() {
        let x = tensor(&[4, 2, 2], &[1f32, 2., 3., 4., 0., 1., 1., 0., 1., 2., 2., 4., 3., 0., 0., 3.]);
        assert_eq!(eval("Det", Attributes::new(), &[x]).unwrap(), tensor(&[4], &[-2f32, -1., 0., 9.]));
        let x = tensor(&[3, 3], &[2f64, 0., 1., 1., 3., 2., 1., 1., 1.]);
        approx::assert_relative_eq!(
            eval("Det", Attributes::new(), &[x]).unwrap().as_slice::<f64>().unwrap()[0],
            0.0,
            epsilon = 1e-15
        );
    }

    #[test]
    fn empty_matrices_have_determinant_1() {
        let y = eval("Det", Attributes::new(), &[tensor::<f32>(&[2, 0, 0], &[])]).unwrap();
        assert_eq!(y, tensor(&[2], &[1f32, 1.]));
        assert!(eval("Det", Attributes::new(), &[tensor(&[1, 2], &[0f32; 2])]).is_err());
    }
}
