//! `Transpose`: y\[i₀, i₁, …\] = x with its axes in the order `perm`; reversed if there is no `perm`.
//!
//! Opsets: 1; 13, 21, 23, 24, 25 add dtypes.

use crate::Define;
use crate::movement::{Movement, move_elements};
use planish_ir::{
    ALL_TENSORS, AttributeError, AttributeKind, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, optional,
};
use planish_kernels::copy::strided_copy_bytes;
use planish_tensor::{RawTensorMut, Shape, Tensor};

/// `Transpose`.
#[derive(Debug)]
pub struct Transpose {
    /// A permutation of the axes; reversed order if absent.
    perm: Option<Vec<usize>>,
}

impl Transpose {
    fn perm(&self, rank: usize) -> Result<Vec<usize>, InferError> {
        match &self.perm {
            None => Ok((0..rank).rev().collect()),
            Some(perm) if perm.len() == rank => Ok(perm.clone()),
            Some(perm) => Err(InferError(format!("perm {perm:?} does not fit an input of rank {rank}"))),
        }
    }
}

impl Define for Transpose {
    const SCHEMA: Schema = Schema::new("Transpose", 25)
        .inputs(&[arg("data", ALL_TENSORS).var("T")])
        .outputs(&[arg("transposed", ALL_TENSORS).var("T")])
        .attributes(&[optional("perm", AttributeKind::Ints)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let Some(perm) = node.opt_ints("perm") else { return Ok(Transpose { perm: None }) };
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        if sorted.iter().zip(0..).any(|(&axis, i)| axis != i) {
            return Err(AttributeError::invalid(format!("attribute \"perm\": {perm:?} is not a permutation")));
        }
        Ok(Transpose { perm: Some(perm.iter().filter_map(|&axis| usize::try_from(axis).ok()).collect()) })
    }
}

impl Op for Transpose {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let perm = self.perm(shape.len())?;
        Ok(vec![Fact::shaped(x.dtype(0), perm.iter().map(|&axis| shape[axis].clone()).collect())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        Ok(permute(cx, x, &self.perm(x.rank())?)?.into())
    }
}

/// The estimated cost of moving one byte.
const NS_PER_BYTE: f64 = 0.15;
/// The fewest rows of one task: fewer would read less than whole cache lines of the input.
const LEAST_ROWS: usize = 16;

/// `x` with its axes in the order `perm`, which is a permutation of them.
pub fn permute(cx: &EvalCx<'_>, x: &Tensor, perm: &[usize]) -> Result<Tensor, OpError> {
    let strides = x.shape().strides();
    let dims: Vec<usize> = perm.iter().map(|&axis| x.shape()[axis]).collect();
    let steps: Vec<usize> = perm.iter().map(|&axis| strides[axis]).collect();
    strided(cx, x, &dims, &steps)
}

/// A tensor of shape `dims` that begins with the first element of `x` and takes the one `steps[axis]` elements further on for
/// each step along `axis`. Nothing but axes of one element may be left out of `x`, and diagonals taken.
pub fn strided(cx: &EvalCx<'_>, x: &Tensor, dims: &[usize], steps: &[usize]) -> Result<Tensor, OpError> {
    let shape = Shape::new(dims)?;
    let moving = dims.iter().zip(steps).filter(|&(&dim, _)| dim != 1);
    let (moving, steps): (Vec<usize>, Vec<usize>) = moving.unzip();
    let is_in_place = steps[..] == Shape::new(&moving)?.strides()[..];
    if is_in_place && shape.num_elements() == x.num_elements() || x.num_elements() == 0 {
        return Ok(x.reshaped(shape)?);
    }
    match x.dtype().bits() {
        bits @ (8 | 16 | 32 | 64 | 128) => permute_words(cx, x, shape, bits / 8, moving, steps),
        _ => move_elements(cx, &[x], shape, &Permute { dims: moving, steps }),
    }
}

fn permute_words(
    cx: &EvalCx<'_>,
    x: &Tensor,
    shape: Shape,
    element_bytes: usize,
    dims: Vec<usize>,
    steps: Vec<usize>,
) -> Result<Tensor, OpError> {
    let strides: Vec<isize> = steps.iter().map(|&step| step as isize).collect();
    let mut y = RawTensorMut::uninit(&cx.memory, x.dtype(), shape)?;
    let row_bytes = dims[1..].iter().product::<usize>() * element_bytes;
    let tasks = cx.threads.split(dims[0], row_bytes as f64 * NS_PER_BYTE);
    let rows = if tasks == 1 { dims[0] } else { dims[0].div_ceil(tasks).max(LEAST_ROWS) };
    cx.threads.for_each_chunk_mut(y.bytes_mut(), rows * row_bytes, |task, piece| {
        let mut piece_dims = dims.clone();
        piece_dims[0] = piece.len() / row_bytes;
        strided_copy_bytes(element_bytes, x.bytes(), task * rows * steps[0], &piece_dims, &strides, piece);
    });
    Ok(y.freeze())
}

/// Reads a source with `steps[axis]` elements between neighbours along each axis of the target.
struct Permute {
    dims: Vec<usize>,
    steps: Vec<usize>,
}

impl Movement for Permute {
    fn apply<T: Clone + Send + Sync>(
        &self,
        _cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        let (Some((&length, outer)), Some((&step, outer_steps))) = (self.dims.split_last(), self.steps.split_last())
        else {
            target.clone_from_slice(sources[0]);
            return Ok(());
        };
        if target.is_empty() {
            return Ok(());
        }
        let mut index = vec![0; outer.len()];
        let mut start = 0;
        for run in target.chunks_exact_mut(length) {
            for (i, y) in run.iter_mut().enumerate() {
                y.clone_from(&sources[0][start + i * step]);
            }
            for axis in (0..outer.len()).rev() {
                index[axis] += 1;
                start += outer_steps[axis];
                if index[axis] < outer[axis] {
                    break;
                }
                start -= outer_steps[axis] * outer[axis];
                index[axis] = 0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;
    use planish_tensor::{DType, Memory, Shape, Tensor};

    #[test]
    fn axes_are_reversed_without_perm() {
        let x = tensor(&[2, 3], &[1i64, 2, 3, 4, 5, 6]);
        let y = eval("Transpose", Attributes::new(), &[x]).unwrap();
        assert_eq!(y, tensor(&[3, 2], &[1i64, 4, 2, 5, 3, 6]));
    }

    #[test]
    fn strings_and_packed_types_travel_too() {
        let perm = || Attributes::new().with("perm", vec![1i64, 0]);
        let shape = Shape::new(&[1, 2]).unwrap();
        let words = Tensor::from_strings(shape.clone(), vec!["a".into(), "b".into()]).unwrap();
        let y = eval("Transpose", perm(), &[words]).unwrap();
        assert_eq!((y.shape().dims(), y.as_strings().unwrap()), (&[2, 1][..], &["a".to_owned(), "b".to_owned()][..]));
        let codes = Tensor::from_codes(Memory::global(), DType::I4, shape, &[9, 3]).unwrap();
        assert_eq!(eval("Transpose", perm(), &[codes]).unwrap().unpacked_codes(), Some(vec![-7, 3]));
    }

    #[test]
    fn empty_tensors_and_scalars_pass() {
        assert_eq!(
            eval("Transpose", Attributes::new(), &[tensor(&[0, 3], &[0f32; 0])]).unwrap().shape().dims(),
            [3, 0]
        );
        assert_eq!(eval("Transpose", Attributes::new(), &[tensor(&[], &[1f32])]).unwrap(), tensor(&[], &[1f32]));
    }
}
