//! Tensors of one shape that come one by one and become one tensor with an axis more.

use crate::movement::{Movement, move_elements};
use planish_ir::{Axis, EvalCx, OpError};
use planish_tensor::{Reservation, Shape, Tensor};

/// What keeping one more tensor costs beside its contents.
const BYTES_PER_ITEM: usize = 512;

/// Tensors to be stacked. All are of one dtype and shape.
#[derive(Default)]
pub struct Stacked {
    items: Vec<Tensor>,
    charges: Vec<Reservation>,
}

impl Stacked {
    /// Adds one more tensor.
    pub fn push(&mut self, cx: &EvalCx<'_>, item: Tensor) -> Result<(), OpError> {
        if let Some(first) = self.items.first()
            && (first.dtype(), first.shape()) != (item.dtype(), item.shape())
        {
            return Err(OpError::invalid(format!("a scan output was {first:?} before and is {item:?} now")));
        }
        if self.items.len() == self.items.capacity() {
            let more = self.items.len().max(4);
            self.charges.push(cx.memory.reserve(more.saturating_mul(BYTES_PER_ITEM))?);
            self.items.reserve_exact(more);
        }
        self.items.push(item);
        Ok(())
    }

    /// All tensors stacked along a new axis, counted in the result; backwards if `is_reversed`. There is at least one.
    pub fn stack(mut self, cx: &EvalCx<'_>, axis: Axis, is_reversed: bool) -> Result<Tensor, OpError> {
        let first = self.items.first().ok_or_else(|| OpError::Internal("nothing to stack".into()))?;
        let axis = axis.resolve(first.rank() + 1)?;
        let (outer, inner) = first.shape().split_at(axis);
        let mut dims = first.shape().to_vec();
        dims.insert(axis, self.items.len());
        if is_reversed {
            self.items.reverse();
        }
        let sources: Vec<&Tensor> = self.items.iter().collect();
        move_elements(cx, &sources, Shape::new(&dims)?, &Interleave { outer, inner })
    }
}

/// Takes `inner` elements of each source in turn, `outer` times.
struct Interleave {
    outer: usize,
    inner: usize,
}

impl Movement for Interleave {
    fn apply<T: Clone + Send + Sync>(
        &self,
        _cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        if target.is_empty() {
            return Ok(());
        }
        let parts = (0..self.outer).flat_map(|o| sources.iter().map(move |source| (o, source)));
        for (part, (o, source)) in target.chunks_exact_mut(self.inner).zip(parts) {
            part.clone_from_slice(&source[o * self.inner..(o + 1) * self.inner]);
        }
        Ok(())
    }
}

/// The tensor at `index` along `axis`, without that axis. The index is in range.
pub fn item(cx: &EvalCx<'_>, tensor: &Tensor, axis: usize, index: usize) -> Result<Tensor, OpError> {
    let mut dims = tensor.shape().to_vec();
    let length = dims.remove(axis);
    let (_, inner) = tensor.shape().split_at(axis + 1);
    move_elements(cx, &[tensor], Shape::new(&dims)?, &Item { inner, length, index })
}

/// Takes `inner` elements from place `index` of each `length` such places.
struct Item {
    inner: usize,
    length: usize,
    index: usize,
}

impl Movement for Item {
    fn apply<T: Clone + Send + Sync>(
        &self,
        _cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        if let [source] = sources
            && !target.is_empty()
        {
            let groups = source.chunks_exact(self.length * self.inner);
            for (part, group) in target.chunks_exact_mut(self.inner).zip(groups) {
                part.clone_from_slice(&group[self.index * self.inner..(self.index + 1) * self.inner]);
            }
        }
        Ok(())
    }
}
