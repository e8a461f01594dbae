//! Functions of whole rows: the runs of elements along an axis that are taken together, such as a softmax's.

use crate::parallel;
use planish_ir::{EvalCx, OpError};
use planish_kernels::simd::Operand;
use planish_tensor::{Element, Tensor};

/// Columns that are gathered together where the elements of a row are not neighbours.
const COLUMNS: usize = 16;

/// y = f(x) by `run(start, x, y)` over pieces of whole units of `unit` elements, the first of which is element `start`.
/// Works in place where `x` is not read again: `run` is then given no `x` and finds it in `y`.
pub fn map_units<T: Element>(
    cx: &EvalCx<'_>,
    x: Tensor,
    unit: usize,
    ns_per_element: f64,
    run: impl Fn(usize, Option<&[T]>, &mut [T]) + Sync,
) -> Result<Tensor, OpError> {
    map_each_unit(cx, x, unit, ns_per_element, &run)
}

/// [`map_units`], compiled once for each dtype.
fn map_each_unit<T: Element>(
    cx: &EvalCx<'_>,
    x: Tensor,
    unit: usize,
    ns_per_element: f64,
    run: &(dyn Fn(usize, Option<&[T]>, &mut [T]) + Sync),
) -> Result<Tensor, OpError> {
    let unit = unit.max(1);
    match x.try_into_mut::<T>() {
        Ok(mut y) => {
            parallel::fill_units(cx, &mut y, unit, ns_per_element, |start, y| run(start, None, y))?;
            Ok(y.freeze())
        }
        Err(shared) => {
            let x = shared.as_slice::<T>()?;
            let mut y = cx.uninit::<T>(shared.shape().clone())?;
            parallel::fill_units(cx, &mut y, unit, ns_per_element, |start, y| {
                run(start, Some(&x[start..start + y.len()]), y);
            })?;
            Ok(y.freeze())
        }
    }
}

/// What a kernel reads: `x`, or its output where there is none.
pub fn operand(x: Option<&[f32]>) -> Operand<'_> {
    x.map_or(Operand::Output, Operand::Slice)
}

/// y = f(x) by `run` over whole rows along `axis`, in place of what it is given.
pub fn map_rows<T: Element>(
    cx: &EvalCx<'_>,
    x: Tensor,
    axis: usize,
    ns_per_element: f64,
    run: impl Fn(&mut [T]) + Sync,
) -> Result<Tensor, OpError> {
    let (length, inner) = (x.shape()[axis], x.shape().split_at(axis + 1).1);
    map_units(cx, x, length * inner, ns_per_element, |_, x: Option<&[T]>, y| {
        if let Some(x) = x {
            y.copy_from_slice(x);
        }
        if inner == 1 {
            return run(y);
        }
        let mut rows = vec![T::default(); length * COLUMNS.min(inner)];
        for block in y.chunks_exact_mut(length * inner) {
            for start in (0..inner).step_by(COLUMNS) {
                let columns = COLUMNS.min(inner - start);
                let rows = &mut rows[..length * columns];
                for (k, line) in block.chunks_exact(inner).enumerate() {
                    line[start..start + columns].iter().enumerate().for_each(|(c, &v)| rows[c * length + k] = v);
                }
                run(rows);
                for (k, line) in block.chunks_exact_mut(inner).enumerate() {
                    line[start..start + columns].iter_mut().enumerate().for_each(|(c, v)| *v = rows[c * length + k]);
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::Interpreter;
    use planish_tensor::Shape;

    #[test]
    fn rows_along_any_axis_are_whole() {
        let cx = EvalCx::unlimited(&Interpreter);
        let data: Vec<i32> = (0..3 * 2 * 35).collect();
        let x = Tensor::new(Shape::new(&[3, 2, 35]).unwrap(), &data).unwrap();
        for axis in 0..3 {
            let kept = x.clone();
            let (length, inner) = (x.shape()[axis], x.shape().split_at(axis + 1).1);
            let y = map_rows(&cx, kept, axis, 1.0, |rows: &mut [i32]| {
                for row in rows.chunks_exact_mut(length) {
                    assert!(row.windows(2).all(|pair| pair[1] - pair[0] == inner as i32));
                    row.iter_mut().for_each(|v| *v += 1);
                }
            });
            assert!(y.unwrap().as_slice::<i32>().unwrap().iter().zip(&data).all(|(y, x)| *y == x + 1));
        }
    }
}
