//! Keys and values that grow behind those of earlier runs.

use crate::concat::concat;
use crate::transpose::permute;
use planish_ir::{Axis, EvalCx, OpError};
use planish_tensor::{Shape, Tensor};

/// The keys or values `now` behind those of `past`, as `[batch, head, position, feature]`. Without a past they stay as
/// they are, unless `is_wanted` in that form.
pub fn joined(
    cx: &EvalCx<'_>,
    past: Option<&Tensor>,
    now: &Tensor,
    heads: Option<usize>,
    is_wanted: bool,
) -> Result<Tensor, OpError> {
    if past.is_none() && !is_wanted {
        return Ok(now.clone());
    }
    let now = heads_first(cx, now, heads)?;
    match past {
        Some(past) => concat(cx, &[past, &now], Axis::new(2)),
        None => Ok(now),
    }
}

/// `[batch, position, head · feature]` as `[batch, head, position, feature]`, which another rank is already.
pub fn heads_first(cx: &EvalCx<'_>, x: &Tensor, heads: Option<usize>) -> Result<Tensor, OpError> {
    let (&[batch, positions, hidden], Some(heads)) = (x.shape().dims(), heads) else { return Ok(x.clone()) };
    if heads == 0 || hidden % heads != 0 {
        return Err(OpError::invalid(format!("{hidden} features do not divide into {heads} heads")));
    }
    let split = x.reshaped(Shape::new(&[batch, positions, heads, hidden / heads])?)?;
    permute(cx, &split, &[0, 2, 1, 3])
}

/// `[batch, head, position, feature]` as `[batch, head, feature, position]`.
pub fn transposed_keys(cx: &EvalCx<'_>, k: &Tensor) -> Result<Tensor, OpError> {
    permute(cx, k, &[0, 1, 3, 2])
}

/// `[batch, head, position, feature]` as `[batch, position, head · feature]`.
pub fn packed(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
    let &[batch, heads, positions, features] = x.shape().dims() else {
        return Err(OpError::Internal(format!("expected heads, got shape {}", x.shape())));
    };
    let shape = Shape::new(&[batch, positions, heads.saturating_mul(features)])?;
    Ok(permute(cx, x, &[0, 2, 1, 3])?.reshaped(shape)?)
}
