//! `ReverseSequence`: in each batch entry, the first `sequence_lens[entry]` time steps in reverse.
//!
//! Opsets: 10; 28 adds dtypes.

use crate::Define;
use crate::gather::gather;
use planish_ir::{
    AttributeError, CLASSIC_TENSORS, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, int,
};
use planish_tensor::Shape;

/// `ReverseSequence`.
#[derive(Debug)]
pub struct ReverseSequence {
    /// Whether axis 0 is time and axis 1 the batch; else the other way round.
    is_time_first: bool,
}

impl Define for ReverseSequence {
    const SCHEMA: Schema = Schema::new("ReverseSequence", 28)
        .inputs(&[arg("input", CLASSIC_TENSORS).var("T"), arg("sequence_lens", INT64)])
        .outputs(&[arg("Y", CLASSIC_TENSORS).var("T")])
        .attributes(&[int("time_axis", 0), int("batch_axis", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        match (node.int("time_axis")?, node.int("batch_axis")?) {
            (0, 1) => Ok(ReverseSequence { is_time_first: true }),
            (1, 0) => Ok(ReverseSequence { is_time_first: false }),
            (time, batch) => Err(AttributeError::invalid(format!(
                "attributes \"time_axis\" and \"batch_axis\": expected 0 and 1 or 1 and 0, got {time} and {batch}"
            ))),
        }
    }
}

impl Op for ReverseSequence {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        match x.shape(0) {
            Some(shape @ ([] | [_])) => Err(InferError(format!("expected rank 2 or more, got {shape:?}"))),
            _ => Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())]),
        }
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, lengths) = (inputs.tensor(0)?, inputs.slice::<i64>(1)?);
        let &[rows, columns, ..] = x.shape().dims() else {
            return Err(OpError::invalid(format!("expected rank 2 or more, got shape {}", x.shape())));
        };
        let (time, batch) = if self.is_time_first { (rows, columns) } else { (columns, rows) };
        let lengths: Option<Vec<usize>> =
            lengths.iter().map(|&n| usize::try_from(n).ok().filter(|&n| n <= time)).collect();
        let lengths = lengths.filter(|l| l.len() == batch).ok_or_else(|| {
            OpError::invalid(format!("sequence_lens are not {batch} lengths of at most {time} time steps"))
        })?;
        let _charged = cx.memory.reserve((rows * columns).saturating_mul(size_of::<usize>()))?;
        let source = |time: usize, entry: usize| if time < lengths[entry] { lengths[entry] - 1 - time } else { time };
        let place = |(row, column): (usize, usize)| match self.is_time_first {
            true => source(row, column) * columns + column,
            false => row * columns + source(column, row),
        };
        let places = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(place).collect();
        let (_, inner) = x.shape().split_at(2);
        let flat = x.reshaped(Shape::new(&[rows * columns, inner])?)?;
        Ok(gather(cx, &flat, 0, places)?.reshaped(x.shape().clone())?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn each_entry_is_reversed_as_far_as_its_length() {
        let x = tensor(&[2, 3], &[0f32, 1., 2., 3., 4., 5.]);
        let batch_first = Attributes::new().with("time_axis", 1i64).with("batch_axis", 0i64);
        let y = eval("ReverseSequence", batch_first, &[x.clone(), tensor(&[2], &[2i64, 3])]).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[1f32, 0., 2., 5., 4., 3.]));
        let y = eval("ReverseSequence", Attributes::new(), &[x.clone(), tensor(&[3], &[2i64, 1, 0])]).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[3f32, 1., 2., 0., 4., 5.]));
        for wrong in [&[3i64, 1, 0][..], &[1, 1], &[-1, 1, 1]] {
            assert!(eval("ReverseSequence", Attributes::new(), &[x.clone(), tensor(&[wrong.len()], wrong)]).is_err());
        }
    }
}
