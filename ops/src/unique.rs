//! `Unique`: the different elements of a tensor, or slices along an axis, in ascending order or that of their first
//! occurrence, with where each occurs first, which one each input is, and how often each occurs.
//!
//! All NaN are one value, greater than every other.
//!
//! Opsets: 11; 28 adds dtypes.

use crate::Define;
use crate::dtypes::for_numeric;
use crate::gather::gather;
use planish_ir::{
    AttributeError, AttributeKind, Axis, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs,
    NodeView, Op, OpError, Outputs, Schema, arg, int, opt, optional,
};
use planish_tensor::{Complex64, Complex128, DType, Shape, Tensor, Value};
use std::cmp::Ordering;

/// `Unique`.
#[derive(Debug)]
pub struct Unique {
    axis: Option<Axis>,
    is_sorted: bool,
}

impl Define for Unique {
    const SCHEMA: Schema = Schema::new("Unique", 28)
        .inputs(&[arg("X", CLASSIC_TENSORS).var("T")])
        .outputs(&[
            arg("Y", CLASSIC_TENSORS).var("T"),
            opt("indices", INT64),
            opt("inverse_indices", INT64),
            opt("counts", INT64),
        ])
        .attributes(&[int("sorted", 1), optional("axis", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Unique { axis: node.opt_int("axis").map(Axis::new), is_sorted: node.flag("sorted")? })
    }
}

impl Op for Unique {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (values, inputs) = match (self.axis, x.shape(0)) {
            (None, shape) => {
                let count = shape.map_or_else(Dim::unknown, |shape| shape.iter().product());
                (Fact::shaped(x.dtype(0), vec![Dim::unknown()]), count)
            }
            (Some(_), None) => (Fact::tensor(x.dtype(0)), Dim::unknown()),
            (Some(axis), Some(shape)) => {
                let axis = axis.resolve(shape.len())?;
                let mut dims = shape.to_vec();
                let count = std::mem::replace(&mut dims[axis], Dim::unknown());
                (Fact::shaped(x.dtype(0), dims), count)
            }
        };
        let list = |length| Fact::shaped(Some(DType::I64), vec![length]);
        Ok(vec![values, list(Dim::unknown()), list(inputs), list(Dim::unknown())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let mut x = inputs.take_tensor(0)?;
        let axis = match self.axis {
            Some(axis) => axis.resolve(x.rank())?,
            None => {
                x = x.reshaped(Shape::new(&[x.num_elements()])?)?;
                0
            }
        };
        let _charged = cx.memory.reserve(x.num_elements().saturating_mul(4 * size_of::<usize>()))?;
        let groups = self.groups(&x, axis)?;
        let mut inverse = vec![0; x.shape()[axis]];
        for (group, members) in groups.iter().enumerate() {
            members.iter().for_each(|&member| inverse[member] = group as i64);
        }
        let first: Vec<usize> = groups.iter().filter_map(|members| members.first().copied()).collect();
        let first_indices: Vec<i64> = first.iter().map(|&i| i as i64).collect();
        let counts: Vec<i64> = groups.iter().map(|members| members.len() as i64).collect();
        let list = |data: &[i64]| Ok::<_, OpError>(Some(Value::Tensor(cx.tensor(Shape::new(&[data.len()])?, data)?)));
        let values = Some(Value::Tensor(gather(cx, &x, axis, first)?));
        Ok(Outputs::new([values, list(&first_indices)?, list(&inverse)?, list(&counts)?]))
    }
}

impl Unique {
    /// The indices of `axis`, those of equal slices together in ascending order; the groups in the order of the output.
    fn groups(&self, x: &Tensor, axis: usize) -> Result<Vec<Vec<usize>>, OpError> {
        let ranks = ranks(x)?;
        let length = x.shape()[axis];
        let ((outer, row), (_, inner)) = (x.shape().split_at(axis), x.shape().split_at(axis + 1));
        let slice = |i: usize| (0..outer).flat_map(move |o| o * row + i * inner..o * row + (i + 1) * inner);
        let compare = |&a: &usize, &b: &usize| slice(a).map(|k| ranks[k]).cmp(slice(b).map(|k| ranks[k]));
        let mut order: Vec<usize> = (0..length).collect();
        order.sort_by(compare);
        let mut groups: Vec<Vec<usize>> =
            order.chunk_by(|a, b| compare(a, b) == Ordering::Equal).map(<[usize]>::to_vec).collect();
        if !self.is_sorted {
            groups.sort_by_key(|members| members.first().copied());
        }
        Ok(groups)
    }
}

/// For each element, a number that orders as the elements do; equal elements have the same.
fn ranks(x: &Tensor) -> Result<Vec<usize>, OpError> {
    let complex = |re: (f64, f64), im: (f64, f64)| float_order(&re.0, &re.1).then(float_order(&im.0, &im.1));
    Ok(match x.dtype() {
        DType::String => ranked(x.as_strings()?, String::cmp),
        DType::Bool => ranked(x.as_slice::<bool>()?, bool::cmp),
        DType::Complex64 => {
            ranked(x.as_slice::<Complex64>()?, |a, b| complex((a.re.into(), b.re.into()), (a.im.into(), b.im.into())))
        }
        DType::Complex128 => ranked(x.as_slice::<Complex128>()?, |a, b| complex((a.re, b.re), (a.im, b.im))),
        dtype => for_numeric!(dtype, T => Ok::<_, OpError>(ranked(x.as_slice::<T>()?, float_order)))?,
    })
}

fn ranked<T>(elements: &[T], compare: impl Fn(&T, &T) -> Ordering) -> Vec<usize> {
    ranks_of(elements.len(), &|a, b| compare(&elements[a], &elements[b]))
}

/// The ranks of so many elements, of which two are compared by their indices; compiled once.
fn ranks_of(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| compare(a, b));
    let mut ranks = vec![0; count];
    for (rank, group) in order.chunk_by(|&a, &b| compare(a, b) == Ordering::Equal).enumerate() {
        group.iter().for_each(|&i| ranks[i] = rank);
    }
    ranks
}

/// The order of numbers; what is not equal to itself comes last.
fn float_order<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    let is_nan = |v: &T| v.partial_cmp(v).is_none();
    a.partial_cmp(b).unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)))
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{Element, Shape, Tensor};

    fn unique(x: Tensor, attributes: Attributes) -> (Tensor, [Vec<i64>; 3]) {
        let mut outputs = eval_all("", "Unique", attributes, &[Some(x)], 4).unwrap();
        let lists = [1, 2, 3].map(|i| outputs[i].as_slice::<i64>().unwrap().to_vec());
        (outputs.remove(0), lists)
    }

    fn vector<T: Element>(data: &[T]) -> Tensor {
        Tensor::vector(data)
    }

    #[test]
    fn elements_are_sorted_or_in_order_of_occurrence() {
        let x = vector(&[2f32, 1., 1., 3., 4., 3.]);
        let (y, lists) = unique(x.clone(), Attributes::new().with("sorted", 0i64));
        assert_eq!(y, vector(&[2f32, 1., 3., 4.]));
        assert_eq!(lists, [vec![0, 1, 3, 4], vec![0, 1, 1, 2, 3, 2], vec![1, 2, 2, 1]]);
        let (y, lists) = unique(x, Attributes::new());
        assert_eq!(y, vector(&[1f32, 2., 3., 4.]));
        assert_eq!(lists, [vec![1, 0, 3, 4], vec![1, 0, 0, 2, 3, 2], vec![2, 1, 2, 1]]);
    }

    #[test]
    fn slices_are_compared_whole() {
        let x = tensor(&[2, 4, 2], &[1i32, 1, 0, 1, 2, 1, 0, 1, 1, 1, 0, 1, 2, 1, 0, 1]);
        let (y, lists) = unique(x, Attributes::new().with("axis", 1i64));
        assert_eq!(y, tensor(&[2, 3, 2], &[0i32, 1, 1, 1, 2, 1, 0, 1, 1, 1, 2, 1]));
        assert_eq!(lists, [vec![1, 0, 2], vec![1, 0, 2, 0], vec![2, 1, 1]]);
    }

    #[test]
    fn nan_strings_and_nothing() {
        let (y, _) = unique(vector(&[f32::NAN, 0.0, f32::NAN, -0.0]), Attributes::new());
        assert_eq!(y.num_elements(), 2);
        let words = ["b", "a", "b"].map(String::from).to_vec();
        let (y, _) = unique(Tensor::from_strings(Shape::new(&[3]).unwrap(), words).unwrap(), Attributes::new());
        assert_eq!(y.as_strings().unwrap(), ["a", "b"]);
        let (y, lists) = unique(vector::<u8>(&[]), Attributes::new());
        assert_eq!((y.num_elements(), lists), (0, [vec![], vec![], vec![]]));
    }
}
