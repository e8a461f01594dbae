//! `OneHot`: along a new axis of `depth` elements, the on-value where the index says and the off-value elsewhere.
//!
//! Opsets: 9; 11 lets indices count from the back; 28 adds bfloat16.

use crate::Define;
use crate::dtypes::{Number, for_numeric};
use crate::movement::{Movement, move_elements};
use planish_ir::{
    ALL_TENSORS, AttributeError, Axis, Dim, EvalCx, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op, OpError,
    Outputs, Schema, arg, int,
};
use planish_tensor::{Shape, Tensor};

/// `OneHot`.
#[derive(Debug)]
pub struct OneHot {
    axis: Axis,
}

impl Define for OneHot {
    const SCHEMA: Schema = Schema::new("OneHot", 28)
        .inputs(&[arg("indices", NUMERIC), arg("depth", NUMERIC), arg("values", ALL_TENSORS).var("T3")])
        .outputs(&[arg("output", ALL_TENSORS).var("T3")])
        .attributes(&[int("axis", -1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(OneHot { axis: Axis::new(node.int("axis")?) })
    }
}

/// The elements of a numeric tensor as integers, fractions cut off.
fn whole_numbers(x: &Tensor) -> Result<Vec<i64>, OpError> {
    fn read<T: Number>(x: &Tensor) -> Result<Vec<i64>, OpError> {
        Ok(x.as_slice::<T>()?.iter().map(|v| v.to_f64() as i64).collect())
    }
    match x.as_slice::<i64>() {
        Ok(ints) => Ok(ints.to_vec()),
        Err(_) => for_numeric!(x.dtype(), T => read::<T>(x)),
    }
}

impl Op for OneHot {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(2))]) };
        let axis = self.axis.resolve(shape.len() + 1)?;
        let constant = x.constant(1).and_then(|depth| whole_numbers(depth).ok()?.first().copied().map(Dim::known));
        let depth = constant.or_else(|| x.elements(1)?.first().cloned()).unwrap_or_else(Dim::unknown);
        let mut dims = shape.to_vec();
        dims.insert(axis, depth);
        Ok(vec![Fact::shaped(x.dtype(2), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (indices, values) = (inputs.tensor(0)?, inputs.tensor(2)?);
        let axis = self.axis.resolve(indices.rank() + 1)?;
        let depth = match whole_numbers(inputs.tensor(1)?)?[..] {
            [depth] => usize::try_from(depth).map_err(|_| OpError::invalid(format!("depth {depth} is negative")))?,
            ref other => return Err(OpError::invalid(format!("expected one depth, got {}", other.len()))),
        };
        if values.num_elements() != 2 {
            return Err(OpError::invalid(format!("expected an off-value and an on-value, got {values:?}")));
        }
        let mut dims = indices.shape().to_vec();
        dims.insert(axis, depth);
        let inner = indices.shape()[axis..].iter().product();
        let hot = Hot { indices: whole_numbers(indices)?, depth, inner };
        Ok(move_elements(cx, &[values], Shape::new(&dims)?, &hot)?.into())
    }
}

struct Hot {
    indices: Vec<i64>,
    depth: usize,
    /// The elements of the indices within the new axis.
    inner: usize,
}

impl Movement for Hot {
    fn apply<T: Clone + Send + Sync>(
        &self,
        _cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        target.fill(sources[0][0].clone());
        for (i, &index) in self.indices.iter().enumerate() {
            let counted = if index < 0 { index.checked_add(self.depth as i64) } else { Some(index) };
            // An index out of range is off everywhere.
            if let Some(place) = counted.and_then(|c| usize::try_from(c).ok()).filter(|&c| c < self.depth) {
                let (outer, within) = (i / self.inner, i % self.inner);
                target[(outer * self.depth + place) * self.inner + within] = sources[0][1].clone();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn the_new_axis_is_on_at_the_index() {
        let inputs = [tensor(&[3], &[0i64, -1, 7]), tensor(&[], &[3i64]), tensor(&[2], &[0u8, 5])];
        let y = eval("OneHot", Attributes::new(), &inputs).unwrap();
        assert_eq!(y, tensor(&[3, 3], &[5u8, 0, 0, 0, 0, 5, 0, 0, 0]));
        let y = eval("OneHot", Attributes::new().with("axis", 0i64), &inputs).unwrap();
        assert_eq!(y, tensor(&[3, 3], &[5u8, 0, 0, 0, 0, 0, 0, 5, 0]));
    }
}
