//! Indices and axes that come from data: checked once, then used without further thought.

use planish_ir::{Axis, EvalCx, InferError, OpError};
use planish_tensor::{DType, Reservation, Tensor};

/// The elements of an `int32` or `int64` tensor as indices of an axis of `length` elements, negative ones counted from the
/// back; with the charge for the memory that they take.
pub fn checked_indices(cx: &EvalCx<'_>, indices: &Tensor, length: usize) -> Result<(Reservation, Vec<usize>), OpError> {
    let charged = cx.memory.reserve(indices.num_elements().saturating_mul(size_of::<usize>()))?;
    let checked: Result<Vec<usize>, OpError> = match indices.dtype() {
        DType::I32 => indices.as_slice::<i32>()?.iter().map(|&i| checked_index(i64::from(i), length)).collect(),
        _ => indices.as_slice::<i64>()?.iter().map(|&i| checked_index(i, length)).collect(),
    };
    Ok((charged, checked?))
}

/// `index` in an axis of `length` elements, counted from the back if negative.
pub fn checked_index(index: i64, length: usize) -> Result<usize, OpError> {
    let counted = if index < 0 { index.checked_add(length as i64) } else { Some(index) };
    counted
        .and_then(|index| usize::try_from(index).ok())
        .filter(|&index| index < length)
        .ok_or_else(|| OpError::invalid(format!("index {index} is out of range for {length} elements")))
}

/// For each axis of a tensor of this rank, whether `axes` names it. An axis named twice is an error.
pub fn axes_mask(axes: &[i64], rank: usize) -> Result<Vec<bool>, InferError> {
    let mut mask = vec![false; rank];
    for &axis in axes {
        if std::mem::replace(&mut mask[Axis::new(axis).resolve(rank)?], true) {
            return Err(InferError(format!("axes {axes:?} name axis {axis} twice")));
        }
    }
    Ok(mask)
}
