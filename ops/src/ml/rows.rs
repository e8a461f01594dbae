//! Inputs as rows of features.

use crate::dtypes::{Number, for_dtypes};
use planish_ir::{Dim, EvalCx, Facts, InferError, OpError};
use planish_tensor::{Element, Tensor};

/// How many rows there are, and how many features in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<N = usize> {
    /// The number of rows.
    pub count: N,
    /// The number of features in each.
    pub width: N,
}

impl Rows {
    /// A matrix is its rows, a vector is one row.
    pub fn of(x: &Tensor) -> Result<Rows, OpError> {
        match x.shape()[..] {
            [width] => Ok(Rows { count: 1, width }),
            [count, width] => Ok(Rows { count, width }),
            _ => Err(OpError::invalid(format!("input 0: expected a matrix or a vector, got shape {}", x.shape()))),
        }
    }
}

impl Rows<Dim> {
    /// The same of what is known of input 0.
    pub fn infer(x: &Facts<'_>) -> Result<Rows<Dim>, InferError> {
        match x.shape(0) {
            None => Ok(Rows { count: Dim::unknown(), width: Dim::unknown() }),
            Some([width]) => Ok(Rows { count: Dim::known(1), width: width.clone() }),
            Some([count, width]) => Ok(Rows { count: count.clone(), width: width.clone() }),
            Some(shape) => Err(InferError(format!("input 0: expected a matrix or a vector, got rank {}", shape.len()))),
        }
    }
}

/// A tensor of any of the domain's feature types as one of `T`; the tensor itself if it is one already.
pub fn convert<T: Number>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    fn each<S: Number, T: Number>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let mut y = cx.uninit::<T>(x.shape().clone())?;
        y.iter_mut().zip(x.as_slice::<S>()?).for_each(|(y, x)| *y = T::from_f64(x.to_f64()));
        Ok(y.freeze())
    }
    if x.dtype() == <T as Element>::DTYPE {
        return Ok(x.clone());
    }
    for_dtypes!(x.dtype(), S => each::<S, T>(cx, x), [F32 = f32, F64 = f64, I64 = i64, I32 = i32])
}
