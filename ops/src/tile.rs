//! `Tile`: a tensor repeated along each axis.
//!
//! Opsets: 1 takes `tiles` and `axis`; 6 takes `repeats`; 13 adds dtypes.

use crate::Define;
use crate::pick::{Run, pick};
use planish_ir::{
    ALL_TENSORS, AttributeError, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg,
};

/// `Tile`.
#[derive(Debug)]
pub struct Tile;

impl Define for Tile {
    const SCHEMA: Schema = Schema::new("Tile", 13)
        .inputs(&[arg("input", ALL_TENSORS).var("T"), arg("repeats", INT64)])
        .outputs(&[arg("output", ALL_TENSORS).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Tile)
    }
}

fn expect_repeats(got: usize, rank: usize) -> Result<(), InferError> {
    if got == rank { Ok(()) } else { Err(InferError(format!("expected {rank} repeats, one an axis, got {got}"))) }
}

impl Op for Tile {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let dims = match x.elements(1) {
            Some(repeats) => {
                expect_repeats(repeats.len(), shape.len())?;
                shape.iter().zip(&repeats).map(|(dim, repeat)| dim * repeat).collect()
            }
            None => vec![Dim::unknown(); shape.len()],
        };
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let repeats = inputs.ints(1)?;
        expect_repeats(repeats.len(), x.rank())?;
        let mut axes = Vec::new();
        for (&dim, &repeat) in x.shape().iter().zip(&repeats) {
            let repeat = usize::try_from(repeat)
                .map_err(|_| OpError::invalid(format!("repeats {repeats:?}: expected numbers of at least 0")))?;
            // One run a repetition: charged before it is made, since a few bytes can ask for any number.
            let _charged = cx.memory.reserve(repeat.saturating_mul(size_of::<Run>()))?;
            axes.push(if dim == 1 { vec![Run::repeated(0, repeat)] } else { vec![Run::range(0, dim); repeat] });
        }
        Ok(pick(cx, x, &axes, None)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn axes_repeat() {
        let y = eval("Tile", Attributes::new(), &[tensor(&[1, 2], &[1u8, 2]), tensor(&[2], &[2i64, 2])]).unwrap();
        assert_eq!(y, tensor(&[2, 4], &[1u8, 2, 1, 2, 1, 2, 1, 2]));
        let none = eval("Tile", Attributes::new(), &[tensor(&[2], &[1u8, 2]), tensor(&[1], &[0i64])]).unwrap();
        assert_eq!(none.shape().dims(), [0]);
    }

    #[test]
    fn negative_or_missing_repeats_are_refused() {
        for repeats in [&[-1i64][..], &[1, 1]] {
            let inputs = [tensor(&[2], &[1u8, 2]), tensor(&[repeats.len()], repeats)];
            assert!(eval("Tile", Attributes::new(), &inputs).is_err());
        }
    }
}
