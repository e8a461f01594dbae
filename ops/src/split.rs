//! `Split`: a tensor cut along one axis, into parts of given lengths or into equal ones.
//!
//! Opsets: 1, 2 and 11 have the lengths as an attribute (11 allows a negative `axis`); 13 has them as an input; 18 adds
//! `num_outputs`, whose last part may be shorter.

use crate::Define;
use crate::pick::{Run, everything, pick};
use crate::symbolic::elements;
use planish_ir::{
    AttributeError, AttributeKind, Axis, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs,
    NodeView, Op, OpError, Outputs, Schema, arg, int, opt, optional, variadic,
};
use planish_tensor::{Tensor, Value};

/// `Split`.
#[derive(Debug)]
pub struct Split {
    axis: Axis,
    num_outputs: usize,
}

impl Define for Split {
    const SCHEMA: Schema = Schema::new("Split", 18)
        .inputs(&[arg("input", CLASSIC_TENSORS).var("T"), opt("split", INT64)])
        .outputs(&[variadic("outputs", CLASSIC_TENSORS, 1).var("T")])
        .attributes(&[int("axis", 0), optional("num_outputs", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let num_outputs = node.num_outputs;
        if let Some(given) = node.opt_int("num_outputs")
            && usize::try_from(given) != Ok(num_outputs)
        {
            return Err(AttributeError::invalid(format!(
                "attribute \"num_outputs\": {given}, but the node has {num_outputs} outputs"
            )));
        }
        Ok(Split { axis: Axis::new(node.int("axis")?), num_outputs })
    }
}

impl Split {
    fn infer_lengths(&self, x: &Facts<'_>, dim: Option<&Dim>) -> Result<Vec<Dim>, InferError> {
        let count = self.num_outputs;
        if x.has(1) {
            let lengths = elements(x, 1).unwrap_or_else(|| vec![Dim::unknown(); count]);
            if lengths.len() != count {
                return Err(InferError(format!("split {lengths:?} does not fit {count} outputs")));
            }
            let sum: Dim = lengths.iter().sum();
            if dim.is_some_and(|dim| Dim::provably_different(dim, &sum)) {
                return Err(InferError(format!("split {lengths:?} does not add up to {dim:?}")));
            }
            return Ok(lengths);
        }
        let Some(dim) = dim else { return Ok(vec![Dim::unknown(); count]) };
        let whole = Dim::known(count as i64);
        let part = dim.divide_exact(&whole).unwrap_or_else(|| dim.ceil_div(whole));
        let start = |i: usize| (Dim::known(i as i64) * &part).min(dim);
        Ok((0..count).map(|i| start(i + 1) - start(i)).collect())
    }
}

impl Op for Split {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0)); self.num_outputs]) };
        let axis = self.axis.resolve(shape.len())?;
        let lengths = self.infer_lengths(x, shape.get(axis))?;
        let mut whole = x.elements(0);
        let part = |length: Dim| {
            let count = length.as_known().and_then(|n| usize::try_from(n).ok());
            let mut dims = shape.to_vec();
            dims[axis] = length;
            let mut fact = Fact::shaped(x.dtype(0), dims);
            fact.contents = match (whole.as_mut(), count) {
                (Some(rest), Some(count)) if count <= rest.len() => Some(rest.drain(..count).collect()),
                _ => {
                    whole = None;
                    None
                }
            };
            fact
        };
        Ok(lengths.into_iter().map(part).collect())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let axis = self.axis.resolve(x.rank())?;
        let lengths = match inputs.opt_ints(1)? {
            Some(lengths) => given_lengths(&lengths, x.shape()[axis])?,
            None => equal_lengths(x.shape()[axis], self.num_outputs),
        };
        if lengths.len() != self.num_outputs {
            let expected = self.num_outputs;
            return Err(OpError::invalid(format!("split {lengths:?} does not fit {expected} outputs")));
        }
        let parts = split(cx, x, axis, &lengths, |i| cx.wants(i))?;
        Ok(Outputs::new(parts.into_iter().map(|part| part.map(Value::Tensor))))
    }
}

/// The lengths that a model gives for the parts of an axis of `dim` elements, checked.
pub fn given_lengths(lengths: &[i64], dim: usize) -> Result<Vec<usize>, OpError> {
    let checked: Option<Vec<usize>> = lengths.iter().map(|&n| usize::try_from(n).ok()).collect();
    let sum = checked.as_ref().and_then(|l| l.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)));
    checked
        .filter(|_| sum == Some(dim))
        .ok_or_else(|| OpError::invalid(format!("split {lengths:?} does not add up to the axis' {dim} elements")))
}

/// `count` parts of `dim` elements, as long as the first as far as they go.
fn equal_lengths(dim: usize, count: usize) -> Vec<usize> {
    let part = dim.div_ceil(count.max(1));
    let start = |i: usize| (part.saturating_mul(i)).min(dim);
    (0..count).map(|i| start(i + 1) - start(i)).collect()
}

/// The parts of `x` of `lengths`, which add up to its axis `axis`; those that are not wanted are left out.
pub fn split(
    cx: &EvalCx<'_>,
    x: &Tensor,
    axis: usize,
    lengths: &[usize],
    is_wanted: impl Fn(usize) -> bool,
) -> Result<Vec<Option<Tensor>>, OpError> {
    let mut start = 0;
    let mut axes = everything(x.shape());
    let part = |(i, &length): (usize, &usize)| {
        axes[axis] = vec![Run::range(start, length)];
        start += length;
        is_wanted(i).then(|| pick(cx, x, &axes, None)).transpose()
    };
    lengths.iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::{Attributes, OpError};

    fn lengths(dim: usize, split: Option<&[i64]>, num_outputs: usize) -> Result<Vec<usize>, OpError> {
        let data: Vec<i64> = (0..dim as i64 * 2).collect();
        let x = tensor(&[2, dim], &data);
        let split = split.map(|s| tensor(&[s.len()], s));
        let parts = eval_all("", "Split", Attributes::new().with("axis", -1i64), &[Some(x), split], num_outputs)?;
        let mut start = 0;
        for part in &parts {
            let length = part.shape()[1];
            let expected: Vec<i64> =
                (0..2).flat_map(|row| (0..length).map(move |i| (row * dim + start + i) as i64)).collect();
            assert_eq!(part.as_slice::<i64>().unwrap(), expected);
            start += length;
        }
        Ok(parts.iter().map(|p| p.shape()[1]).collect())
    }

    #[test]
    fn parts_are_as_asked() {
        assert_eq!(lengths(6, None, 3).unwrap(), [2, 2, 2]);
        assert_eq!(lengths(7, None, 3).unwrap(), [3, 3, 1]);
        assert_eq!(lengths(5, None, 4).unwrap(), [2, 2, 1, 0]);
        assert_eq!(lengths(6, Some(&[4, 0, 2]), 3).unwrap(), [4, 0, 2]);
        for wrong in [&[4, 1][..], &[7, -1], &[6], &[i64::MAX, i64::MAX]] {
            assert!(lengths(6, Some(wrong), 2).is_err(), "{wrong:?}");
        }
    }
}
