//! `Gather`: along one axis, the slices that an index tensor names; its shape takes the place of the axis.
//!
//! Opsets: 1; 11 allows negative indices; 13 adds dtypes.

use crate::Define;
use crate::indices::checked_indices;
use crate::movement::{Movement, move_elements};
use crate::parallel;
use crate::symbolic::with_elements;
use planish_ir::{
    AttributeError, Axis, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, INDICES, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, arg, int,
};
use planish_tensor::{Shape, Tensor};

/// The estimated cost of copying one element.
const NS_PER_ELEMENT: f64 = 0.4;

/// `Gather`.
#[derive(Debug)]
pub struct Gather {
    axis: Axis,
}

impl Define for Gather {
    const SCHEMA: Schema = Schema::new("Gather", 13)
        .inputs(&[arg("data", CLASSIC_TENSORS).var("T"), arg("indices", INDICES).var("Tind")])
        .outputs(&[arg("output", CLASSIC_TENSORS).var("T")])
        .attributes(&[int("axis", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Gather { axis: Axis::new(node.int("axis")?) })
    }
}

/// `dims` with `indices` in place of `axis`.
fn gathered<D: Clone>(dims: &[D], axis: usize, indices: &[D]) -> Vec<D> {
    [&dims[..axis], indices, &dims[axis + 1..]].concat()
}

/// The elements that constant `indices` name; an index out of range is an error.
fn gathered_elements(elements: &[Dim], indices: &[i64]) -> Result<Vec<Dim>, InferError> {
    let at = |&index: &i64| {
        Ok(elements[Axis::new(index).resolve(elements.len()).map_err(|_| out_of_range(index, elements.len()))?].clone())
    };
    indices.iter().map(at).collect()
}

fn out_of_range(index: i64, length: usize) -> InferError {
    InferError(format!("index {index} is out of range for {length} elements"))
}

impl Op for Gather {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let axis = self.axis.resolve(shape.len())?;
        let Some(indices) = x.shape(1) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let elements = match (x.elements(0), x.known_ints(1)) {
            (Some(elements), Some(indices)) => Some(gathered_elements(&elements, &indices)?),
            _ => None,
        };
        Ok(vec![with_elements(Fact::shaped(x.dtype(0), gathered(shape, axis, indices)), elements)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let axis = self.axis.resolve(x.rank())?;
        let shape = Shape::new(&gathered(x.shape(), axis, indices.shape()))?;
        let (_charged, indices) = checked_indices(cx, indices, x.shape()[axis])?;
        Ok(gather(cx, x, axis, indices)?.reshaped(shape)?.into())
    }
}

/// The slices of `x` along `axis` that `indices`, all less than its length, name.
pub fn gather(cx: &EvalCx<'_>, x: &Tensor, axis: usize, indices: Vec<usize>) -> Result<Tensor, OpError> {
    let (_, row) = x.shape().split_at(axis);
    let (_, inner) = x.shape().split_at(axis + 1);
    let shape = Shape::new(&gathered(x.shape(), axis, &[indices.len()]))?;
    move_elements(cx, &[x], shape, &Blocks { indices, row, inner })
}

/// From every row of the source, the blocks that the indices name.
struct Blocks {
    indices: Vec<usize>,
    /// Elements of a row.
    row: usize,
    /// Elements of a block.
    inner: usize,
}

impl Movement for Blocks {
    fn apply<T: Clone + Send + Sync>(
        &self,
        cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        if target.is_empty() {
            return Ok(());
        }
        let Blocks { indices, row, inner } = self;
        parallel::fill_units(cx, target, *inner, NS_PER_ELEMENT, |start, piece| {
            for (block, y) in (start / inner..).zip(piece.chunks_exact_mut(*inner)) {
                let from = block / indices.len() * row + indices[block % indices.len()] * inner;
                y.clone_from_slice(&sources[0][from..from + inner]);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval, infer, shaped, tensor};
    use planish_ir::{Attributes, Fact};
    use planish_tensor::DType;

    #[test]
    fn slices_are_gathered() {
        let x = tensor(&[3, 2], &[1f32, 2., 3., 4., 5., 6.]);
        let y = eval("Gather", Attributes::new(), &[x.clone(), tensor(&[2, 1], &[-1i64, 0])]).unwrap();
        assert_eq!(y, tensor(&[2, 1, 2], &[5f32, 6., 1., 2.]));
        let y = eval("Gather", Attributes::new().with("axis", 1i64), &[x.clone(), tensor(&[], &[1i32])]).unwrap();
        assert_eq!(y, tensor(&[3], &[2f32, 4., 6.]));
        let y = eval("Gather", Attributes::new(), &[x.clone(), tensor(&[0], &[0i32; 0])]).unwrap();
        assert_eq!(y.shape().dims(), [0, 2]);
        for wrong in [3i64, -4, i64::MIN] {
            assert!(eval("Gather", Attributes::new(), &[x.clone(), tensor(&[1], &[wrong])]).is_err());
        }
        assert!(eval("Gather", Attributes::new(), &[tensor(&[0], &[0f32; 0]), tensor(&[1], &[0i64])]).is_err());
    }

    #[test]
    fn elements_of_shapes_are_gathered() {
        let index = |i: i64| Fact::constant(tensor(&[], &[i]));
        let y = infer("Gather", Attributes::new(), &[elements("b, s, 64"), index(-2)]).unwrap();
        assert_eq!((y.rank(), y.elements()), (Some(0), elements("s").elements()));
        assert!(infer("Gather", Attributes::new(), &[elements("b, s"), index(2)]).is_err());
        let y = infer("Gather", Attributes::new(), &[shaped(DType::F32, "30522, 384"), shaped(DType::I64, "b, s")])
            .unwrap();
        assert_eq!(y, shaped(DType::F32, "b, s, 384"));
    }
}
