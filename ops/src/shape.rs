//! `Shape`: the extents of a tensor, or a slice of them, as a rank-1 `int64` tensor.
//!
//! Opsets: 1; 13 and 19 add dtypes; 15 adds `start` and `end`; 21, 23, 24, 25 add dtypes.

use crate::Define;
use planish_ir::{
    ALL_TENSORS, AttributeError, AttributeKind, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, arg, int, optional,
};
use planish_tensor::{DType, Shape as Extents};
use std::ops::Range;

/// `Shape`.
#[derive(Debug)]
pub struct Shape {
    start: i64,
    end: Option<i64>,
}

impl Shape {
    /// The axes asked for of a tensor of this rank: ONNX clamps both bounds.
    fn axes(&self, rank: usize) -> Range<usize> {
        let clamp = |bound: i64| {
            let counted = if bound < 0 { bound.saturating_add(rank as i64) } else { bound };
            usize::try_from(counted).unwrap_or(0).min(rank)
        };
        let start = clamp(self.start);
        start..self.end.map_or(rank, clamp).max(start)
    }
}

impl Define for Shape {
    const SCHEMA: Schema = Schema::new("Shape", 25)
        .inputs(&[arg("data", ALL_TENSORS).var("T")])
        .outputs(&[arg("shape", INT64)])
        .attributes(&[int("start", 0), optional("end", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Shape { start: node.int("start")?, end: node.opt_int("end") })
    }
}

impl Op for Shape {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![match x.shape(0) {
            Some(dims) => Fact::integers(DType::I64, false, dims[self.axes(dims.len())].to_vec()),
            None => Fact::shaped(Some(DType::I64), vec![Dim::unknown()]),
        }])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let shape = inputs.tensor(0)?.shape();
        let dims = &shape.to_i64()[self.axes(shape.rank())];
        Ok(cx.tensor(Extents::new(&[dims.len()])?, dims)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn bounds_are_clamped() {
        struct Case {
            start: i64,
            end: Option<i64>,
            expected: &'static [i64],
        }
        let x = tensor(&[2, 3, 4], &[0.0f32; 24]);
        for Case { start, end, expected } in [
            Case { start: 0, end: None, expected: &[2, 3, 4] },
            Case { start: -1, end: None, expected: &[4] },
            Case { start: 1, end: Some(-1), expected: &[3] },
            Case { start: -9, end: Some(9), expected: &[2, 3, 4] },
            Case { start: 2, end: Some(1), expected: &[] },
        ] {
            let mut attributes = Attributes::new().with("start", start);
            if let Some(end) = end {
                attributes.set("end", end);
            }
            let y = eval("Shape", attributes, &[x.clone()]).unwrap();
            assert_eq!(y.as_slice::<i64>().unwrap(), expected);
        }
    }
}
