//! `TopK`: the k greatest, or smallest, elements along an axis and where they are.
//!
//! Opsets: 1 has the attribute `k`; 10 makes it an input; 11 adds `largest` and `sorted`; 24 adds dtypes.

use crate::Define;
use crate::dtypes::{Number, for_numeric};
use planish_ir::{
    AttributeError, Axis, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NUMERIC, NodeView, Op, OpError, Outputs,
    Schema, arg, int,
};
use planish_tensor::{DType, Shape, Tensor};
use std::cmp::Ordering;

/// `TopK`.
#[derive(Debug)]
pub struct TopK {
    axis: Axis,
    is_largest: bool,
}

impl Define for TopK {
    const SCHEMA: Schema = Schema::new("TopK", 24)
        .inputs(&[arg("X", NUMERIC).var("T"), arg("K", INT64)])
        .outputs(&[arg("Values", NUMERIC).var("T"), arg("Indices", INT64)])
        .attributes(&[int("axis", -1), int("largest", 1), int("sorted", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        // Elements that need not be sorted may be.
        Ok(TopK { axis: Axis::new(node.int("axis")?), is_largest: node.flag("largest")? })
    }
}

impl Op for TopK {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else {
            return Ok(vec![Fact::tensor(x.dtype(0)), Fact::tensor(Some(DType::I64))]);
        };
        let mut dims = shape.to_vec();
        let axis = self.axis.resolve(dims.len())?;
        dims[axis] = x.elements(1).and_then(|k| k.first().cloned()).unwrap_or_else(Dim::unknown);
        Ok(vec![Fact::shaped(x.dtype(0), dims.clone()), Fact::shaped(Some(DType::I64), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let axis = self.axis.resolve(x.rank())?;
        let k = inputs.int(1)?;
        let length = x.shape()[axis];
        let k = usize::try_from(k).ok().filter(|&k| k <= length);
        let k = k.ok_or_else(|| OpError::invalid(format!("K {k:?} is not within 0 and {length}")))?;
        let pair: Result<[Tensor; 2], OpError> = match x.dtype() {
            DType::I64 => top_k::<i64, i64>(cx, x, axis, k, self.is_largest, |v| v),
            DType::U64 => top_k::<u64, u64>(cx, x, axis, k, self.is_largest, |v| v),
            other => for_numeric!(other, T => top_k::<T, f64>(cx, x, axis, k, self.is_largest, Number::to_f64)),
        };
        Ok(pair?.into())
    }
}

/// The greater first; of equal ones that at the lower index. NaN counts as greater than any number.
fn greater_first<T: Number>(a: (T, usize), b: (T, usize)) -> Ordering {
    let by_value = b.0.partial_cmp(&a.0).unwrap_or_else(|| b.0.is_nan().cmp(&a.0.is_nan()));
    by_value.then(a.1.cmp(&b.1))
}

fn smaller_first<T: Number>(a: (T, usize), b: (T, usize)) -> Ordering {
    let by_value = a.0.partial_cmp(&b.0).unwrap_or_else(|| a.0.is_nan().cmp(&b.0.is_nan()));
    by_value.then(a.1.cmp(&b.1))
}

/// Leaves the `k` elements that come first, with where they were, in order.
fn choose<W: Number>(row: &mut Vec<(W, usize)>, k: usize, is_largest: bool) {
    let compare = if is_largest { greater_first::<W> } else { smaller_first::<W> };
    if k > 0 && k < row.len() {
        row.select_nth_unstable_by(k - 1, |a, b| compare(*a, *b));
    }
    row.truncate(k);
    row.sort_unstable_by(|a, b| compare(*a, *b));
}

/// The elements are compared as `W`, which `wide` makes of them exactly.
fn top_k<T: Number, W: Number>(
    cx: &EvalCx<'_>,
    x: &Tensor,
    axis: usize,
    k: usize,
    is_largest: bool,
    wide: impl Fn(T) -> W,
) -> Result<[Tensor; 2], OpError> {
    let source = x.as_slice::<T>()?;
    let length = x.shape()[axis];
    let (outer, _) = x.shape().split_at(axis);
    let (_, inner) = x.shape().split_at(axis + 1);
    let mut dims = x.shape().to_vec();
    dims[axis] = k;
    let shape = Shape::new(&dims)?;
    let mut values = cx.uninit::<T>(shape.clone())?;
    let mut indices = cx.uninit::<i64>(shape)?;
    let mut row: Vec<(W, usize)> = Vec::with_capacity(length);
    for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
        cx.check()?;
        row.clear();
        let at = |l: usize| (o * length + l) * inner + i;
        row.extend((0..length).map(|l| (wide(source[at(l)]), l)));
        choose(&mut row, k, is_largest);
        for (place, &(_, index)) in row.iter().enumerate() {
            let to = (o * k + place) * inner + i;
            values[to] = source[at(index)];
            indices[to] = index as i64;
        }
    }
    Ok([values.freeze(), indices.freeze()])
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;

    #[test]
    fn equal_elements_come_by_index() {
        let x = Some(tensor(&[4], &[1f32, 3., 3., 2.]));
        let k = Some(tensor(&[1], &[3i64]));
        let out = eval_all("", "TopK", Attributes::new(), &[x.clone(), k.clone()], 2).unwrap();
        assert_eq!(out, [tensor(&[3], &[3f32, 3., 2.]), tensor(&[3], &[1i64, 2, 3])]);
        let smallest = Attributes::new().with("largest", 0i64);
        let out = eval_all("", "TopK", smallest, &[x, k], 2).unwrap();
        assert_eq!(out, [tensor(&[3], &[1f32, 2., 3.]), tensor(&[3], &[0i64, 3, 1])]);
    }

    #[test]
    fn more_than_there_are_is_refused() {
        for k in [5i64, -1] {
            let inputs = [Some(tensor(&[4], &[0f32; 4])), Some(tensor(&[1], &[k]))];
            assert!(eval_all("", "TopK", Attributes::new(), &inputs, 2).is_err());
        }
    }
}
