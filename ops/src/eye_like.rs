//! `EyeLike`: a matrix of the input's shape with ones on one diagonal and zeros elsewhere.
//!
//! Opsets: 9; 22 adds bfloat16.

use crate::Define;
use crate::dtypes::{Number, for_numeric};
use planish_ir::{
    AttributeError, AttributeKind, BOOL, EvalCx, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op, OpError,
    Outputs, Schema, Types, arg, int, optional,
};
use planish_tensor::{DType, Element, Shape, Tensor};

const TYPES: Types = NUMERIC.or(BOOL);

/// `EyeLike`.
#[derive(Debug)]
pub struct EyeLike {
    dtype: Option<DType>,
    /// The diagonal: 0 is the main one, positive ones are above it.
    k: i64,
}

impl Define for EyeLike {
    const SCHEMA: Schema = Schema::new("EyeLike", 22)
        .inputs(&[arg("input", TYPES).var("T1")])
        .outputs(&[arg("output", TYPES).var("T2")])
        .attributes(&[optional("dtype", AttributeKind::Int), int("k", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let dtype = node.opt_dtype("dtype")?;
        if let Some(dtype) = dtype.filter(|&dtype| !TYPES.contains(dtype)) {
            return Err(AttributeError::invalid(format!("attribute \"dtype\": {dtype} has no 0 and 1")));
        }
        Ok(EyeLike { dtype, k: node.int("k")? })
    }
}

impl Op for EyeLike {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = self.dtype.or(x.dtype(0));
        match x.shape(0) {
            Some(shape) if shape.len() != 2 => Err(InferError(format!("expected rank 2, got rank {}", shape.len()))),
            Some(shape) => Ok(vec![Fact::shaped(dtype, shape.to_vec())]),
            None => Ok(vec![Fact::tensor(dtype)]),
        }
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let &[rows, columns] = x.shape().dims() else {
            return Err(OpError::invalid(format!("expected rank 2, got rank {}", x.rank())));
        };
        let shape = x.shape().clone();
        Ok(match self.dtype.unwrap_or(x.dtype()) {
            DType::Bool => diagonal(cx, shape, rows, columns, self.k, true)?,
            other => for_numeric!(other, T => diagonal(cx, shape, rows, columns, self.k, T::ONE))?,
        }
        .into())
    }
}

fn diagonal<T: Element>(
    cx: &EvalCx<'_>,
    shape: Shape,
    rows: usize,
    columns: usize,
    k: i64,
    one: T,
) -> Result<Tensor, OpError> {
    let mut y = cx.zeros::<T>(shape)?;
    for row in 0..rows {
        let column = (row as i64).checked_add(k).and_then(|column| usize::try_from(column).ok());
        if let Some(column) = column.filter(|&column| column < columns) {
            y[row * columns + column] = one;
        }
    }
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::DType;

    #[test]
    fn ones_are_on_the_diagonal() {
        let x = tensor(&[2, 3], &[7i32; 6]);
        let eye = |k: i64| eval("EyeLike", Attributes::new().with("k", k), &[x.clone()]).unwrap();
        assert_eq!(eye(0), tensor(&[2, 3], &[1, 0, 0, 0, 1, 0]));
        assert_eq!(eye(1), tensor(&[2, 3], &[0, 1, 0, 0, 0, 1]));
        assert_eq!(eye(-1), tensor(&[2, 3], &[0, 0, 0, 1, 0, 0]));
        assert_eq!(eye(i64::MAX), tensor(&[2, 3], &[0; 6]));
        let as_bool = Attributes::new().with("dtype", i64::from(DType::Bool.to_onnx()));
        assert_eq!(eval("EyeLike", as_bool, &[tensor(&[1, 2], &[0f32; 2])]).unwrap(), tensor(&[1, 2], &[true, false]));
        assert!(eval("EyeLike", Attributes::new(), &[tensor(&[2], &[0f32; 2])]).is_err());
    }
}
