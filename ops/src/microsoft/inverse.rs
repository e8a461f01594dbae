//! `Inverse`: the inverses of a stack of square matrices, by Gauss–Jordan elimination with partial pivoting in `f64`. A singular
//! matrix has no inverse: its result holds infinities or NaN.

use super::DOMAIN;
use crate::Define;
use crate::dtypes::{Number, for_dtypes};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, Types, arg,
};
use planish_tensor::{DType, Shape, Tensor};

const REAL: Types = Types::of(&[DType::F32, DType::F64, DType::F16]);

/// `Inverse`.
#[derive(Debug)]
pub struct Inverse;

impl Define for Inverse {
    const SCHEMA: Schema =
        Schema::new("Inverse", 1).domain(DOMAIN).inputs(&[arg("X", REAL).var("T")]).outputs(&[arg("Y", REAL).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Inverse)
    }
}

impl Op for Inverse {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        match x.shape(0) {
            None => {}
            Some([.., rows, columns]) => {
                let unified = Dim::unify(rows, columns);
                unified.map_err(|conflict| InferError(format!("expected square matrices: {conflict}")))?;
            }
            Some(shape) => return Err(InferError(format!("expected rank 2 or more, got rank {}", shape.len()))),
        }
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let y = for_dtypes!(x.dtype(), T => inverses::<T>(cx, x), [
            F32 = f32, F64 = f64, F16 = planish_tensor::f16,
        ])?;
        Ok(y.into())
    }
}

fn inverses<T: Number>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    let n = match x.shape().dims() {
        [.., rows, columns] if rows == columns => *rows,
        other => return Err(OpError::invalid(format!("expected square matrices, got shape {other:?}"))),
    };
    let mut y = cx.uninit::<T>(x.shape().clone())?;
    if y.is_empty() {
        return Ok(y.freeze());
    }
    let width = n.checked_mul(2).ok_or_else(|| OpError::invalid(format!("matrices of {n} rows")))?;
    let mut matrix = cx.uninit::<f64>(Shape::new(&[n, width])?)?;
    for (y, x) in y.chunks_exact_mut(n * n).zip(x.as_slice::<T>()?.chunks_exact(n * n)) {
        for (i, (line, x)) in matrix.chunks_exact_mut(width).zip(x.chunks_exact(n)).enumerate() {
            line.fill(0.0);
            line.iter_mut().zip(x).for_each(|(wide, x)| *wide = x.to_f64());
            line[n + i] = 1.0;
        }
        eliminate(cx, &mut matrix, n)?;
        for (y, line) in y.chunks_exact_mut(n).zip(matrix.chunks_exact(width)) {
            y.iter_mut().zip(&line[n..]).for_each(|(y, &wide)| *y = T::from_f64(wide));
        }
    }
    Ok(y.freeze())
}

/// Takes `[M | I]` to `[I | M⁻¹]`.
fn eliminate(cx: &EvalCx<'_>, matrix: &mut [f64], n: usize) -> Result<(), OpError> {
    let width = 2 * n;
    for k in 0..n {
        cx.check()?;
        let size = |row: usize| matrix[row * width + k].abs();
        let pivot = (k..n).fold(k, |best, row| if size(row) > size(best) { row } else { best });
        let (upper, lower) = matrix.split_at_mut((k + 1) * width);
        if pivot > k {
            upper[k * width..].swap_with_slice(&mut lower[(pivot - k - 1) * width..][..width]);
        }
        let (above, line) = upper.split_at_mut(k * width);
        let inverse = 1.0 / line[k];
        line.iter_mut().for_each(|v| *v *= inverse);
        for other in above.chunks_exact_mut(width).chain(lower.chunks_exact_mut(width)) {
            let factor = other[k];
            if factor != 0.0 {
                other.iter_mut().zip(&*line).for_each(|(v, pivot)| *v -= factor * pivot);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;

    #[test]
    fn only_square_matrices_are_inverted() {
        let inverse = |dims: &[usize], data: &[f64]| {
            let x = [Some(tensor(dims, data))];
            eval_all("com.microsoft", "Inverse", Attributes::new(), &x, 1)
        };
        let y = inverse(&[1, 2, 2], &[0.0, 2.0, 4.0, 8.0]).unwrap();
        assert_eq!(y[0].as_slice::<f64>().unwrap(), [-1.0, 0.25, 0.5, 0.0]);
        assert!(inverse(&[2, 2], &[1.0; 4]).unwrap()[0].as_slice::<f64>().unwrap().iter().any(|v| !v.is_finite()));
        assert!(inverse(&[1, 2], &[1.0; 2]).is_err());
        assert!(inverse(&[2], &[1.0; 2]).is_err());
    }
}
