//! `Concat`: tensors put one behind the other along one axis.
//!
//! Opsets: 1 has axis 1 as its default; 4 requires `axis`; 11 allows a negative one; 13 adds dtypes.

use crate::Define;
use crate::movement::{Movement, move_elements};
use crate::parallel;
use crate::symbolic::{elements, unify, with_elements};
use planish_ir::{
    AttributeError, AttributeKind, Axis, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, arg, required, variadic,
};
use planish_tensor::{Shape, Tensor};

/// The estimated cost of copying one element.
const NS_PER_ELEMENT: f64 = 0.4;

/// `Concat`.
#[derive(Debug)]
pub struct Concat {
    axis: Axis,
}

impl Define for Concat {
    const SCHEMA: Schema = Schema::new("Concat", 13)
        .inputs(&[variadic("inputs", CLASSIC_TENSORS, 1).var("T")])
        .outputs(&[arg("concat_result", CLASSIC_TENSORS).var("T")])
        .attributes(&[required("axis", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Concat { axis: Axis::new(node.int("axis")?) })
    }
}

impl Op for Concat {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = (0..x.len()).find_map(|i| x.dtype(i));
        let shapes: Vec<Option<&[Dim]>> = (0..x.len()).map(|i| x.shape(i)).collect();
        let Some(dims) = concat_dims(self.axis, &shapes)? else { return Ok(vec![Fact::tensor(dtype)]) };
        let elements: Option<Vec<Vec<Dim>>> = (0..x.len()).map(|i| elements(x, i)).collect();
        Ok(vec![with_elements(Fact::shaped(dtype, dims), elements.map(|parts| parts.concat()))])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let tensors = (0..inputs.len()).map(|i| inputs.tensor(i)).collect::<Result<Vec<_>, _>>()?;
        Ok(concat(cx, &tensors, self.axis)?.into())
    }
}

/// The dimensions of tensors of these shapes behind each other, or `None` where no rank is known.
pub fn concat_dims(axis: Axis, shapes: &[Option<&[Dim]>]) -> Result<Option<Vec<Dim>>, InferError> {
    let Some(first) = shapes.iter().find_map(|s| *s) else { return Ok(None) };
    let axis = axis.resolve(first.len())?;
    let mut dims = first.to_vec();
    dims[axis] = Dim::known(0);
    for (input, shape) in shapes.iter().enumerate() {
        let Some(shape) = shape else {
            dims[axis] = Dim::unknown();
            continue;
        };
        if shape.len() != dims.len() {
            return Err(InferError(format!(
                "input {input}: expected rank {}, got rank {} {shape:?}",
                dims.len(),
                shape.len()
            )));
        }
        for (i, dim) in dims.iter_mut().enumerate() {
            *dim =
                if i == axis { &*dim + &shape[i] } else { unify(dim, &shape[i], &format!("input {input}, axis {i}"))? };
        }
    }
    Ok(Some(dims))
}

/// `tensors`, of which there is at least one, behind each other along `axis`.
pub fn concat(cx: &EvalCx<'_>, tensors: &[&Tensor], axis: Axis) -> Result<Tensor, OpError> {
    let (first, others) = tensors.split_first().ok_or_else(|| OpError::invalid("there is nothing to concatenate"))?;
    let axis = axis.resolve(first.rank())?;
    let mut dims = first.shape().to_vec();
    for other in others {
        let fits = other.rank() == dims.len() && (0..dims.len()).all(|i| i == axis || other.shape()[i] == dims[i]);
        if !fits {
            let (expected, got) = (first.shape(), other.shape());
            return Err(OpError::invalid(format!("shape {got} does not go behind {expected} along axis {axis}")));
        }
        dims[axis] = dims[axis].saturating_add(other.shape()[axis]);
    }
    if others.is_empty() {
        return Ok((*first).clone());
    }
    let blocks = tensors.iter().map(|t| t.shape().split_at(axis).1).collect();
    move_elements(cx, tensors, Shape::new(&dims)?, &Interleave { blocks })
}

/// Takes a block of each source in turn, over and over.
struct Interleave {
    /// Elements of a block of each source.
    blocks: Vec<usize>,
}

impl Movement for Interleave {
    fn apply<T: Clone + Send + Sync>(
        &self,
        cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        let turn: usize = self.blocks.iter().sum();
        if target.is_empty() {
            return Ok(());
        }
        parallel::fill_units(cx, target, turn, NS_PER_ELEMENT, |start, piece| {
            for (i, turn) in (start / turn..).zip(piece.chunks_exact_mut(turn)) {
                let mut rest = turn;
                for (source, &block) in sources.iter().zip(&self.blocks) {
                    let (part, behind) = rest.split_at_mut(block);
                    part.clone_from_slice(&source[i * block..(i + 1) * block]);
                    rest = behind;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval, infer, shaped, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{DType, Shape, Tensor};

    #[test]
    fn tensors_go_behind_each_other() {
        let (a, b) = (tensor(&[2, 1], &[1i8, 2]), tensor(&[2, 2], &[3i8, 4, 5, 6]));
        let y = eval("Concat", Attributes::new().with("axis", 1i64), &[a.clone(), b.clone()]).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[1i8, 3, 4, 2, 5, 6]));
        let y = eval("Concat", Attributes::new().with("axis", -2i64), &[b.clone(), b.clone()]).unwrap();
        assert_eq!(y, tensor(&[4, 2], &[3i8, 4, 5, 6, 3, 4, 5, 6]));
        assert!(eval("Concat", Attributes::new().with("axis", 0i64), &[a, b]).is_err());
        assert!(eval("Concat", Attributes::new().with("axis", 0i64), &[tensor(&[], &[1f32])]).is_err());
    }

    #[test]
    fn empty_tensors_and_strings_pass() {
        let empty = tensor(&[0, 2], &[0f32; 0]);
        let y = eval("Concat", Attributes::new().with("axis", 0i64), &[empty.clone(), empty]).unwrap();
        assert_eq!(y.shape().dims(), [0, 2]);
        let word = |w: &str| Tensor::from_strings(Shape::new(&[1]).unwrap(), vec![w.to_owned()]).unwrap();
        let y = eval("Concat", Attributes::new().with("axis", 0i64), &[word("a"), word("b")]).unwrap();
        assert_eq!(y.as_strings().unwrap(), ["a", "b"]);
    }

    #[test]
    fn symbols_are_added_and_elements_joined() {
        let axis = |axis: i64| Attributes::new().with("axis", axis);
        let y = infer("Concat", axis(1), &[shaped(DType::F32, "?, past"), shaped(DType::F32, "b, seq")]).unwrap();
        assert_eq!(y, shaped(DType::F32, "b, past + seq"));
        let y = infer("Concat", axis(0), &[elements("b, s"), shaped(DType::I64, "1"), elements("-1")]).unwrap();
        assert_eq!(y, elements("b, s, ?, -1"));
        assert!(infer("Concat", axis(0), &[shaped(DType::F32, "2, 3"), shaped(DType::F32, "2, 4")]).is_err());
    }
}
