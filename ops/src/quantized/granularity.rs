//! Which elements share a scale and zero point: all of a tensor, those of one index along an axis, or a block of such.

use planish_ir::{AttributeError, Axis, Dim, EvalCx, InferError, NodeView, OpError};
use planish_tensor::{Element, Shape, Tensor};

/// The attributes `axis` and `block_size`.
#[derive(Clone, Copy, Debug)]
pub struct Granularity {
    axis: Axis,
    /// How many elements along the axis share a scale, where scales come in blocks.
    block: Option<usize>,
}

impl Granularity {
    /// One scale for each index along `axis`, or one for all.
    pub fn along(axis: i64) -> Granularity {
        Granularity { axis: Axis::new(axis), block: None }
    }

    /// Reads the attributes.
    pub fn parse(node: &NodeView<'_>) -> Result<Granularity, AttributeError> {
        let size = node.opt_int("block_size").unwrap_or(0);
        let block = usize::try_from(size)
            .map_err(|_| AttributeError::invalid(format!("attribute \"block_size\": {size} is negative")))?;
        Ok(Granularity { axis: Axis::new(node.int("axis")?), block: (block > 0).then_some(block) })
    }

    /// An error if scales of these dimensions do not fit a tensor of these.
    pub fn check(&self, x: &[Dim], scale: &[Dim]) -> Result<(), InferError> {
        let mismatch = |expected: &[Dim]| {
            let list = |dims: &[Dim]| dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ");
            InferError(format!("expected a scale of shape [{}], got [{}]", list(expected), list(scale)))
        };
        let expected = match (self.block, scale) {
            (_, []) => return Ok(()),
            (_, [one]) if *one == Dim::known(1) => return Ok(()),
            (None, [_]) => vec![x[self.axis.resolve(x.len())?].clone()],
            (None, _) => return Err(InferError(format!("expected a scale of rank 0 or 1, got rank {}", scale.len()))),
            (Some(block), _) => {
                let axis = self.axis.resolve(x.len())?;
                let mut expected = x.to_vec();
                expected[axis] = expected[axis].ceil_div(i64::try_from(block).unwrap_or(i64::MAX));
                expected
            }
        };
        let fits =
            expected.len() == scale.len() && !expected.iter().zip(scale).any(|(e, s)| Dim::provably_different(e, s));
        if fits { Ok(()) } else { Err(mismatch(&expected)) }
    }

    /// How scales of shape `scale` spread over a tensor of shape `x`.
    pub fn spread(&self, x: &Shape, scale: &Shape) -> Result<Spread, OpError> {
        let dims = |shape: &Shape| -> Vec<Dim> { shape.iter().map(|&d| Dim::known(d as i64)).collect() };
        self.check(&dims(x), &dims(scale))?;
        if scale.num_elements() == 1 && (self.block.is_none() || scale.rank() <= 1) {
            return Ok(Spread { x: x.clone(), scale: Shape::scalar(), stretch: None });
        }
        let axis = self.axis.resolve(x.rank())?;
        let (outer, inner) = (x.split_at(axis).0, x.split_at(axis + 1).1);
        let length = x[axis];
        let Some(block) = self.block else {
            return Ok(Spread {
                x: Shape::new(&[outer, length, inner])?,
                scale: Shape::new(&[length, 1])?,
                stretch: None,
            });
        };
        if length.is_multiple_of(block) {
            let blocks = length / block;
            let scale = Shape::new(&[outer, blocks, 1, inner])?;
            return Ok(Spread { x: Shape::new(&[outer, blocks, block, inner])?, scale, stretch: None });
        }
        let stretch = Stretch { length, block, inner };
        Ok(Spread { x: x.clone(), scale: x.clone(), stretch: Some(stretch) })
    }
}

/// How scales spread over a tensor: both under other shapes, in which scales broadcast.
pub struct Spread {
    /// The tensor's elements under another shape.
    pub x: Shape,
    /// The scales, once stretched, under another shape.
    pub scale: Shape,
    /// Where the last block of a row is shorter, scales are repeated first, one for each element.
    stretch: Option<Stretch>,
}

struct Stretch {
    length: usize,
    block: usize,
    inner: usize,
}

impl Spread {
    /// Scales or zero points so that they broadcast under [`scale`](Self::scale).
    pub fn stretched<T: Element>(&self, cx: &EvalCx<'_>, values: Tensor) -> Result<Tensor, OpError> {
        let Some(Stretch { length, block, inner }) = self.stretch else { return Ok(values) };
        let source = values.as_slice::<T>()?;
        let mut y = cx.uninit::<T>(self.scale.clone())?;
        if !y.is_empty() {
            let blocks = length.div_ceil(block);
            for (i, y) in y.chunks_exact_mut(inner).enumerate() {
                let (row, k) = (i / length, i % length);
                y.copy_from_slice(&source[(row * blocks + k / block) * inner..][..inner]);
            }
        }
        Ok(y.freeze())
    }
}
/// Whether a zero point belongs to a scale: they are of one shape, or both of a single element.
pub fn is_of_scale(zero: &Shape, scale: &Shape) -> bool {
    zero == scale || (zero.num_elements() == 1 && scale.num_elements() == 1)
}
