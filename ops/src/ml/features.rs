//! `FeatureVectorizer` and `ArrayFeatureExtractor`: features side by side, and some of them apart.
//!
//! Opsets of `ai.onnx.ml`: 1.

use super::rows::{Rows, convert};
use super::{DOMAIN, FEATURES};
use crate::Define;
use crate::gather::gather;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOAT, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, Types, arg, optional, variadic,
};
use planish_tensor::{DType, Shape};

/// What `ArrayFeatureExtractor` takes.
const ELEMENTS: Types = FEATURES.or(Types::of(&[DType::String]));

/// `FeatureVectorizer`: the rows of all inputs side by side, each cut or filled up with zeros to its length.
#[derive(Debug)]
pub struct FeatureVectorizer {
    /// One an input; none for the inputs' own lengths.
    lengths: Vec<usize>,
}

impl Define for FeatureVectorizer {
    const SCHEMA: Schema = Schema::new("FeatureVectorizer", 1)
        .domain(DOMAIN)
        .inputs(&[variadic("X", FEATURES, 1).var("T1")])
        .outputs(&[arg("Y", FLOAT)])
        .attributes(&[optional("inputdimensions", AttributeKind::Ints)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let lengths = node.opt_ints("inputdimensions").unwrap_or_default();
        let checked: Option<Vec<usize>> = lengths.iter().map(|&n| usize::try_from(n).ok()).collect();
        match checked {
            Some(lengths) if lengths.is_empty() || lengths.len() == node.num_inputs => {
                Ok(FeatureVectorizer { lengths })
            }
            _ => {
                let inputs = node.num_inputs;
                let message = format!("attribute \"inputdimensions\": {lengths:?} are not lengths of {inputs} inputs");
                Err(AttributeError::invalid(message))
            }
        }
    }
}

impl Op for FeatureVectorizer {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let rows = Rows::infer(x)?;
        let total = match self.lengths.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) {
            Some(total) if !self.lengths.is_empty() => i64::try_from(total).map_or_else(|_| Dim::unknown(), Dim::known),
            _ => Dim::unknown(),
        };
        Ok(vec![Fact::shaped(Some(DType::F32), vec![rows.count, total])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let mut parts = Vec::with_capacity(inputs.len());
        for i in 0..inputs.len() {
            let x = inputs.tensor(i)?;
            let rows = Rows::of(x)?;
            let length = self.lengths.get(i).copied().unwrap_or(rows.width);
            parts.push((convert::<f32>(cx, x)?, rows, length));
        }
        let count = parts.first().map_or(0, |(_, rows, _)| rows.count);
        if let Some((_, rows, _)) = parts.iter().find(|(_, rows, _)| rows.count != count) {
            return Err(OpError::invalid(format!("inputs of {count} and of {} rows", rows.count)));
        }
        let total = parts.iter().try_fold(0usize, |sum, (_, _, length)| sum.checked_add(*length));
        let total = total.ok_or_else(|| OpError::invalid("the rows are longer than memory"))?;
        let mut y = cx.zeros::<f32>(Shape::new(&[count, total])?)?;
        let mut start = 0;
        for (x, rows, length) in &parts {
            let x = x.as_slice::<f32>()?;
            let taken = rows.width.min(*length);
            for row in 0..count {
                let from = &x[row * rows.width..][..taken];
                y[row * total + start..][..taken].copy_from_slice(from);
            }
            start += length;
        }
        Ok(y.freeze().into())
    }
}

/// `ArrayFeatureExtractor`: along the last axis, the elements that the indices name.
#[derive(Debug)]
pub struct ArrayFeatureExtractor;

impl Define for ArrayFeatureExtractor {
    const SCHEMA: Schema = Schema::new("ArrayFeatureExtractor", 1)
        .domain(DOMAIN)
        .inputs(&[arg("X", ELEMENTS).var("T"), arg("Y", INT64)])
        .outputs(&[arg("Z", ELEMENTS).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(ArrayFeatureExtractor)
    }
}

impl Op for ArrayFeatureExtractor {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let Some((_, outer)) = shape.split_last() else {
            return Err(InferError::new("input 0: expected at least one axis, got a scalar"));
        };
        let known = |dims: &[Dim]| dims.iter().try_fold(1i64, |n, dim| n.checked_mul(dim.as_known()?));
        let count = x.shape(1).and_then(known).map_or_else(Dim::unknown, Dim::known);
        let mut dims = if outer.is_empty() { vec![Dim::known(1)] } else { outer.to_vec() };
        dims.push(count);
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, indices) = (inputs.tensor(0)?, inputs.slice::<i64>(1)?);
        let Some((&length, outer)) = x.shape().split_last() else {
            return Err(OpError::invalid("input 0: expected at least one axis, got a scalar"));
        };
        let _charged = cx.memory.reserve(size_of_val(indices))?;
        let checked = |&index: &i64| {
            let found = usize::try_from(index).ok().filter(|&index| index < length);
            found.ok_or_else(|| OpError::invalid(format!("index {index} is out of range for {length} elements")))
        };
        let picked = indices.iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        let mut dims = if outer.is_empty() { vec![1] } else { outer.to_vec() };
        dims.push(picked.len());
        let y = gather(cx, x, x.rank() - 1, picked)?;
        Ok(y.reshaped(Shape::new(&dims)?)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::Tensor;
    use proptest::prelude::*;

    fn run(name: &str, attributes: Attributes, inputs: &[Tensor]) -> Result<Tensor, OpError> {
        let inputs: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
        Ok(eval_all("ai.onnx.ml", name, attributes, &inputs, 1)?.remove(0))
    }

    #[test]
    fn rows_lie_side_by_side_in_their_lengths() {
        let inputs = [tensor(&[2, 2], &[1i32, 2, 3, 4]), tensor(&[2, 1], &[5i32, 6])];
        let lengths = |lengths: &[i64]| Attributes::new().with("inputdimensions", lengths.to_vec());
        let y = run("FeatureVectorizer", lengths(&[2, 1]), &inputs).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[1f32, 2., 5., 3., 4., 6.]));
        let y = run("FeatureVectorizer", lengths(&[1, 2]), &inputs).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[1f32, 5., 0., 3., 6., 0.]));
        let y = run("FeatureVectorizer", Attributes::new(), &[tensor(&[2], &[1f64, 2.])]).unwrap();
        assert_eq!(y, tensor(&[1, 2], &[1f32, 2.]));
        for wrong in [&[2i64][..], &[-1, 1], &[i64::MAX, i64::MAX]] {
            assert!(run("FeatureVectorizer", lengths(wrong), &inputs).is_err());
        }
        let uneven = [tensor(&[2, 1], &[1f32, 2.]), tensor(&[1, 1], &[5f32])];
        assert!(run("FeatureVectorizer", lengths(&[1, 1]), &uneven).is_err());
    }

    #[test]
    fn indices_out_of_range_are_refused() {
        for index in [-1i64, 3, i64::MIN] {
            let inputs = [tensor(&[3], &[0f32; 3]), tensor(&[1], &[index])];
            assert!(run("ArrayFeatureExtractor", Attributes::new(), &inputs).is_err());
        }
    }

    proptest! {
        #[test]
        fn each_row_gives_the_named_elements(
            outer in prop::collection::vec(1usize..4, 0..3),
            indices in prop::collection::vec(0i64..5, 0..4),
        ) {
            let rows: usize = outer.iter().product();
            let x: Vec<i64> = (0..rows as i64 * 5).collect();
            let shape = [&outer[..], &[5]].concat();
            let inputs = [tensor(&shape, &x), tensor(&[indices.len()], &indices)];
            let y = run("ArrayFeatureExtractor", Attributes::new(), &inputs).unwrap();
            let expected: Vec<i64> =
                (0..rows as i64).flat_map(|row| indices.iter().map(move |i| row * 5 + i)).collect();
            prop_assert_eq!(y.as_slice::<i64>().unwrap(), &expected);
        }
    }
}
