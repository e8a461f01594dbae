//! Weights rearranged once at load for the kernels that read them on every run.

use crate::dtypes::to_f32;
use crate::half::is_half;
use planish_ir::{EvalCx, OpError};
use planish_kernels::gemm::{MatRef, PackedB};
use planish_tensor::{DType, Memory, Reservation, Tensor};
use std::fmt;
use std::ops::Deref;

/// Panels of weights, charged to the session's memory for as long as they live.
pub struct Packed<P> {
    panels: P,
    _charge: Reservation,
}

impl<P> Packed<P> {
    /// What `pack` makes, once `memory` has `size_bytes` to spare for it. A size that overflows is more than any memory.
    pub fn new(memory: &Memory, size_bytes: Option<usize>, pack: impl FnOnce() -> P) -> Result<Packed<P>, OpError> {
        let charge = memory.reserve(size_bytes.unwrap_or(usize::MAX))?;
        Ok(Packed::charged(pack(), charge))
    }

    /// What has been packed after memory was reserved for it.
    pub fn charged(panels: P, charge: Reservation) -> Packed<P> {
        Packed { panels, _charge: charge }
    }
}

impl<P> Deref for Packed<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.panels
    }
}

impl<P> fmt::Debug for Packed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("packed weights")
    }
}

/// The right operand of a product, packed; `None` unless `weights` is a matrix of floats of at most 32 bits.
pub fn pack_right(cx: &EvalCx<'_>, weights: &Tensor, is_transposed: bool) -> Result<Option<Packed<PackedB>>, OpError> {
    let &[rows, columns] = weights.shape().dims() else { return Ok(None) };
    if weights.dtype() != DType::F32 && !is_half(weights.dtype()) {
        return Ok(None);
    }
    let widened = to_f32(cx, weights)?;
    let matrix = MatRef::row_major(widened.as_slice()?, rows, columns);
    let matrix = if is_transposed { matrix.transposed() } else { matrix };
    let size = PackedB::size_bytes(matrix.rows(), matrix.columns());
    Packed::new(&cx.memory, size, || PackedB::pack(matrix, &cx.threads)).map(Some)
}
