//! Copies that rearrange: transposes, slices with steps, broadcasts, of elements of any fixed size.
//!
//! A copy is told where in the input each output element comes from by an offset and a stride for each output axis.
//! Axes that lie behind one another are first joined; runs are then copied whole and transposes in tiles, so that each
//! cache line is fetched about once.

use std::ops::Range;

/// Copies `y[i, j, …] = x[offset + i·strides[0] + j·strides[1] + …]` for all `i < dims[0]`, `j < dims[1]`, ….
///
/// A stride may be 0, which repeats, or negative, which reverses.
///
/// ```
/// // The transpose of a 2×3 matrix.
/// let mut y = [0; 6];
/// planish_kernels::copy::strided_copy(&[1, 2, 3, 4, 5, 6], 0, &[3, 2], &[1, 3], &mut y);
/// assert_eq!(y, [1, 4, 2, 5, 3, 6]);
/// ```
///
/// # Panics
/// Where `dims` and `strides` differ in length, `dims` do not multiply to the length of `y`, or an element would come from
/// outside `x`.
pub fn strided_copy<T: Copy>(x: &[T], offset: usize, dims: &[usize], strides: &[isize], y: &mut [T]) {
    assert_eq!(dims.len(), strides.len(), "a stride for each axis");
    let count = dims.iter().try_fold(1_usize, |count, &dim| count.checked_mul(dim));
    assert_eq!(count, Some(y.len()), "the axes hold the output");
    if y.is_empty() {
        return;
    }
    assert!(is_inside(x.len(), offset, dims, strides), "every element comes from the input");
    let axes = joined_axes(dims, strides);
    Copier { x, y }.copy(offset as isize, &axes);
}

/// [`strided_copy`] of elements of 1, 2, 4, 8 or 16 bytes that lie in byte slices; `offset` and `strides` count elements.
///
/// # Panics
/// As [`strided_copy`] does, and where elements are of another size or `x` or `y` is not a whole number of them.
pub fn strided_copy_bytes(
    element_bytes: usize,
    x: &[u8],
    offset: usize,
    dims: &[usize],
    strides: &[isize],
    y: &mut [u8],
) {
    match element_bytes {
        1 => strided_copy(x, offset, dims, strides, y),
        2 => strided_copy_arrays::<2>(x, offset, dims, strides, y),
        4 => strided_copy_arrays::<4>(x, offset, dims, strides, y),
        8 => strided_copy_arrays::<8>(x, offset, dims, strides, y),
        16 => strided_copy_arrays::<16>(x, offset, dims, strides, y),
        _ => panic!("elements of {element_bytes} bytes"),
    }
}

fn strided_copy_arrays<const N: usize>(x: &[u8], offset: usize, dims: &[usize], strides: &[isize], y: &mut [u8]) {
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<N>(), y.as_chunks_mut::<N>());
    assert!(x_rest.is_empty() && y_rest.is_empty(), "a whole number of elements");
    strided_copy(x, offset, dims, strides, y);
}

/// Whether every element that the axes reach, each of at least one place, is among `len`.
fn is_inside(len: usize, offset: usize, dims: &[usize], strides: &[isize]) -> bool {
    let (mut low, mut high) = (offset as i128, offset as i128);
    for (&dim, &stride) in dims.iter().zip(strides) {
        // Both factors fit in 64 bits, and a sum of fewer than 2^64 products cannot be reached in memory.
        let Some(reach) = (dim as i128 - 1).checked_mul(stride as i128) else { return false };
        let end = if reach < 0 { &mut low } else { &mut high };
        let Some(sum) = end.checked_add(reach) else { return false };
        *end = sum;
    }
    low >= 0 && high < len as i128
}

/// An axis of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Axis {
    dim: usize,
    /// Elements of the input from one place to the next.
    stride: isize,
    /// Elements of the output from one place to the next.
    step: usize,
}

/// The axes, without those of one place, and with those joined that the input holds behind one another.
fn joined_axes(dims: &[usize], strides: &[isize]) -> Vec<Axis> {
    let mut axes: Vec<Axis> = Vec::with_capacity(dims.len());
    for (&dim, &stride) in dims.iter().zip(strides).filter(|(dim, _)| **dim != 1) {
        match axes.last_mut() {
            Some(last) if last.stride == stride.wrapping_mul(dim as isize) => {
                *last = Axis { dim: last.dim * dim, stride, step: 0 };
            }
            _ => axes.push(Axis { dim, stride, step: 0 }),
        }
    }
    let mut step = 1;
    for axis in axes.iter_mut().rev() {
        axis.step = step;
        step *= axis.dim;
    }
    axes
}

/// Edge of the square that is transposed at a time: a cache line of 4-byte elements.
const TILE: usize = 16;

struct Copier<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Copy> Copier<'_, T> {
    fn copy(&mut self, offset: isize, axes: &[Axis]) {
        let Some((&inner, outer)) = axes.split_last() else {
            self.y[0] = self.x[offset as usize];
            return;
        };
        match outer.iter().position(|axis| axis.stride == 1) {
            Some(position) if inner.stride != 1 => {
                let (near, mut outer) = (outer[position], outer.to_vec());
                outer.remove(position);
                for_each_place(&outer, offset, |from, to| self.copy_transposed(from, to, near, inner));
            }
            _ => for_each_place(outer, offset, |from, to| self.copy_run(from, to..to + inner.dim, inner.stride)),
        }
    }

    /// Copies the innermost axis.
    fn copy_run(&mut self, from: isize, to: Range<usize>, stride: isize) {
        let y = &mut self.y[to];
        match stride {
            0 => y.fill(self.x[from as usize]),
            1 => y.copy_from_slice(&self.x[from as usize..][..y.len()]),
            _ => {
                for (i, y) in y.iter_mut().enumerate() {
                    *y = self.x[(from + i as isize * stride) as usize];
                }
            }
        }
    }

    /// Copies the plane of an axis `near`, whose neighbours touch in the input, and the innermost axis.
    fn copy_transposed(&mut self, from: isize, to: usize, near: Axis, inner: Axis) {
        for near_start in (0..near.dim).step_by(TILE) {
            let near_end = near.dim.min(near_start + TILE);
            for inner_start in (0..inner.dim).step_by(TILE) {
                let inner_end = inner.dim.min(inner_start + TILE);
                for place in near_start..near_end {
                    let to = to + place * near.step;
                    let y = &mut self.y[to + inner_start..to + inner_end];
                    let from = from + place as isize;
                    for (i, y) in (inner_start..).zip(y) {
                        let index = from + i as isize * inner.stride;
                        debug_assert!(usize::try_from(index).is_ok_and(|index| index < self.x.len()));
                        // SAFETY: `strided_copy` checked with `is_inside` that the places of the axes, all of which are
                        // inside their `dim`, lead to elements of `x`.
                        *y = unsafe { *self.x.get_unchecked(index as usize) };
                    }
                }
            }
        }
    }
}

/// Calls `visit` with the input offset and the output offset of each place of the axes, in order.
fn for_each_place(axes: &[Axis], offset: isize, mut visit: impl FnMut(isize, usize)) {
    let mut place = vec![0; axes.len()];
    let (mut from, mut to) = (offset, 0);
    loop {
        visit(from, to);
        let mut remaining = axes.iter().zip(&mut place).rev();
        loop {
            let Some((axis, place)) = remaining.next() else { return };
            *place += 1;
            from += axis.stride;
            to += axis.step;
            if *place < axis.dim {
                break;
            }
            from -= axis.dim as isize * axis.stride;
            to -= axis.dim * axis.step;
            *place = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, index by index.
    fn reference(x: &[u32], offset: usize, dims: &[usize], strides: &[isize]) -> Vec<u32> {
        let count: usize = dims.iter().product();
        let element = |mut i: usize| {
            let mut at = offset as isize;
            for (dim, stride) in dims.iter().zip(strides).rev() {
                at += (i % dim) as isize * stride;
                i /= dim;
            }
            x[at as usize]
        };
        (0..count).map(element).collect()
    }

    /// Axes of a small input in some order, some reversed, some stepped over, some repeated.
    fn rearrangement() -> impl Strategy<Value = (Vec<usize>, Vec<isize>, usize, usize)> {
        let axes = prop::collection::vec((0..20_usize, 0..5_u8), 0..4);
        axes.prop_flat_map(|axes| (Just(axes.clone()), Just((0..axes.len()).collect::<Vec<_>>()).prop_shuffle()))
            .prop_map(|(axes, order)| {
                let (mut natural, mut len) = (vec![], 1);
                for &(dim, _) in axes.iter().rev() {
                    natural.insert(0, len);
                    len *= dim.max(1);
                }
                let (mut dims, mut strides, mut offset) = (vec![], vec![], 0);
                for axis in order {
                    let ((dim, kind), stride) = (axes[axis], natural[axis]);
                    let (dim, stride) = match kind {
                        0 => (dim, 0),
                        1 => {
                            offset += dim.saturating_sub(1) * stride;
                            (dim, -(stride as isize))
                        }
                        2 => (dim.div_ceil(2), 2 * stride as isize),
                        _ => (dim, stride as isize),
                    };
                    dims.push(dim);
                    strides.push(stride);
                }
                (dims, strides, offset, len)
            })
    }

    proptest! {
        #[test]
        fn every_rearrangement_equals_the_definition((dims, strides, offset, len) in rearrangement()) {
            let x: Vec<u32> = (0..len as u32).collect();
            let expected = reference(&x, offset, &dims, &strides);
            let mut y = vec![u32::MAX; expected.len()];
            strided_copy(&x, offset, &dims, &strides, &mut y);
            prop_assert_eq!(&y, &expected);

            let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
            let mut y = vec![0; 4 * expected.len()];
            strided_copy_bytes(4, &bytes, offset, &dims, &strides, &mut y);
            prop_assert_eq!(y, expected.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn elements_of_every_size_are_copied_whole() {
        for size in [1, 2, 4, 8, 16] {
            let x: Vec<u8> = (0..3 * size as u8).collect();
            let mut y = vec![0; x.len()];
            strided_copy_bytes(size, &x, 2, &[3], &[-1], &mut y);
            let expected: Vec<u8> = x.rchunks(size).flatten().copied().collect();
            assert_eq!(y, expected);
        }
    }

    #[test]
    fn axes_behind_one_another_are_joined() {
        let axes = joined_axes(&[2, 1, 3, 4, 5], &[60, 7, 20, 5, 1]);
        assert_eq!(axes, [Axis { dim: 120, stride: 1, step: 1 }]);
        let axes = joined_axes(&[4, 2, 3], &[1, 12, 4]);
        assert_eq!(axes, [Axis { dim: 4, stride: 1, step: 6 }, Axis { dim: 6, stride: 4, step: 1 }]);
    }

    #[test]
    #[should_panic(expected = "every element comes from the input")]
    fn reading_past_the_end_is_refused() {
        strided_copy(&[1, 2, 3], 1, &[3], &[1], &mut [0; 3]);
    }

    #[test]
    #[should_panic(expected = "every element comes from the input")]
    fn reading_before_the_start_is_refused() {
        strided_copy(&[1, 2, 3], 1, &[3], &[-1], &mut [0; 3]);
    }

    #[test]
    #[should_panic(expected = "every element comes from the input")]
    fn a_stride_that_overflows_is_refused() {
        strided_copy(&[1, 2, 3], 0, &[3, 1], &[isize::MAX, isize::MIN], &mut [0; 3]);
    }
}
