//! `Trilu`: the upper or lower triangle of matrices, the rest zero.
//!
//! Opsets: 14.

use crate::Define;
use crate::movement::{Movement, move_elements};
use planish_ir::{
    ALL_TENSORS, AttributeError, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, int, opt,
};
use planish_tensor::{Shape, Tensor};

/// `Trilu`.
#[derive(Debug)]
pub struct Trilu {
    is_upper: bool,
}

impl Define for Trilu {
    const SCHEMA: Schema = Schema::new("Trilu", 14)
        .inputs(&[arg("input", ALL_TENSORS).var("T"), opt("k", INT64)])
        .outputs(&[arg("output", ALL_TENSORS).var("T")])
        .attributes(&[int("upper", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Trilu { is_upper: node.flag("upper")? })
    }
}

impl Op for Trilu {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let Some(rank @ 0..2) = x.rank(0) {
            return Err(InferError(format!("expected a matrix or a stack of matrices, got rank {rank}")));
        }
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let [.., rows, columns] = x.shape()[..] else {
            return Err(OpError::invalid(format!("expected a matrix or a stack of matrices, got {x:?}")));
        };
        let k = if inputs.has(1) { inputs.int(1)? } else { 0 };
        let zero = Tensor::zeros(&cx.memory, x.dtype(), Shape::scalar())?;
        let triangle = Triangle { rows, columns, k, is_upper: self.is_upper };
        Ok(move_elements(cx, &[x, &zero], x.shape().clone(), &triangle)?.into())
    }
}

struct Triangle {
    rows: usize,
    columns: usize,
    k: i64,
    is_upper: bool,
}

impl Movement for Triangle {
    fn apply<T: Clone + Send + Sync>(
        &self,
        _cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        target.clone_from_slice(sources[0]);
        if self.columns == 0 {
            return Ok(());
        }
        for (i, row) in target.chunks_exact_mut(self.columns).enumerate() {
            // The first column on or above the diagonal k, or above it for the lower triangle.
            let row_index = (i % self.rows) as i64;
            let edge = row_index.saturating_add(self.k).saturating_add(i64::from(!self.is_upper));
            let edge = usize::try_from(edge).unwrap_or(0).min(self.columns);
            let cleared = if self.is_upper { &mut row[..edge] } else { &mut row[edge..] };
            cleared.fill(sources[1][0].clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn the_diagonal_moves_with_k() {
        let x = tensor(&[2, 3], &[1i32, 2, 3, 4, 5, 6]);
        let upper = eval("Trilu", Attributes::new(), &[x.clone()]).unwrap();
        assert_eq!(upper, tensor(&[2, 3], &[1i32, 2, 3, 0, 5, 6]));
        let lower = Attributes::new().with("upper", 0i64);
        let y = eval("Trilu", lower.clone(), &[x.clone(), tensor(&[], &[1i64])]).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[1i32, 2, 0, 4, 5, 6]));
        let y = eval("Trilu", lower, &[x, tensor(&[], &[i64::MIN])]).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[0i32; 6]));
    }
}
