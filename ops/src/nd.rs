//! `GatherND`, `ScatterND`: each row of the indices names an element, or a block, of the data.
//!
//! Opsets: `GatherND` 11; 12 adds `batch_dims`; 13 adds dtypes. `ScatterND` 11; 13 adds dtypes; 16 adds `reduction` none,
//! add, mul; 18 adds max and min.

use crate::Define;
use crate::elements::{Reduction, Scatter, in_range};
use crate::movement::{Movement, move_elements};
use planish_ir::{
    ALL_TENSORS, AttributeError, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, int, string,
};
use planish_tensor::Shape;

/// `GatherND`.
#[derive(Debug)]
pub struct GatherNd {
    batch_dims: usize,
}

impl Define for GatherNd {
    const SCHEMA: Schema = Schema::new("GatherND", 13)
        .inputs(&[arg("data", ALL_TENSORS).var("T"), arg("indices", INT64)])
        .outputs(&[arg("output", ALL_TENSORS).var("T")])
        .attributes(&[int("batch_dims", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let batch_dims = node.int("batch_dims")?;
        let checked = usize::try_from(batch_dims);
        let batch_dims =
            checked.map_err(|_| AttributeError::invalid(format!("batch_dims {batch_dims} is negative")))?;
        Ok(GatherNd { batch_dims })
    }
}

/// The blocks that the rows of indices name: how long a row is, how the data lies.
struct Rows {
    /// The elements of an index row.
    length: usize,
    /// The elements of a block.
    block: usize,
    /// Where in the data each block begins.
    positions: Vec<usize>,
}

/// Checks `indices` against `data` behind `batch_dims` axes that both share.
fn rows(data: &Shape, indices: &Shape, given: &[i64], batch_dims: usize) -> Result<Rows, OpError> {
    let wrong = || {
        OpError::invalid(format!(
            "indices of shape {indices} do not fit data of shape {data} with {batch_dims} batch axes"
        ))
    };
    let (&length, outer) = indices.split_last().ok_or_else(wrong)?;
    let fits = batch_dims <= outer.len()
        && batch_dims.checked_add(length).is_some_and(|n| n <= data.rank())
        && data[..batch_dims] == outer[..batch_dims];
    if !fits {
        return Err(wrong());
    }
    let strides = data.strides();
    let (batches, batch_size) = data.split_at(batch_dims);
    let named = &data[batch_dims..batch_dims + length];
    let block: usize = data[batch_dims + length..].iter().product();
    let count: usize = outer.iter().product();
    let per_batch = count.checked_div(batches).unwrap_or(0);
    let mut positions = Vec::with_capacity(count);
    for i in 0..count {
        let mut position = i.checked_div(per_batch).unwrap_or(0) * batch_size;
        let row = &given[i * length..(i + 1) * length];
        for (axis, (&index, &dim)) in row.iter().zip(named).enumerate() {
            position += in_range(index, dim)? * strides[batch_dims + axis];
        }
        positions.push(position);
    }
    Ok(Rows { length, block, positions })
}

impl Movement for Rows {
    fn apply<T: Clone + Send + Sync>(
        &self,
        _cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        if self.block > 0 {
            for (y, &position) in target.chunks_exact_mut(self.block).zip(&self.positions) {
                y.clone_from_slice(&sources[0][position..position + self.block]);
            }
        }
        Ok(())
    }
}

impl Op for GatherNd {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let length = |indices: &[Dim]| usize::try_from(indices.last()?.as_known()?).ok();
        let (Some(data), Some(indices)) = (x.shape(0), x.shape(1)) else {
            return Ok(vec![Fact::tensor(x.dtype(0))]);
        };
        let Some(length) = length(indices) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let Some(block) = self.batch_dims.checked_add(length).and_then(|n| data.get(n..)) else {
            return Err(InferError(format!("rows of {length} indices do not fit data of rank {}", data.len())));
        };
        let dims = indices[..indices.len() - 1].iter().chain(block).cloned().collect();
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (data, indices) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let rows = rows(data.shape(), indices.shape(), inputs.slice(1)?, self.batch_dims)?;
        let outer = &indices.shape()[..indices.rank() - 1];
        let dims: Vec<usize> = outer.iter().chain(&data.shape()[self.batch_dims + rows.length..]).copied().collect();
        Ok(move_elements(cx, &[data], Shape::new(&dims)?, &rows)?.into())
    }
}

/// `ScatterND`.
#[derive(Debug)]
pub struct ScatterNd {
    reduction: Reduction,
}

impl Define for ScatterNd {
    const SCHEMA: Schema = Schema::new("ScatterND", 18)
        .inputs(&[arg("data", ALL_TENSORS).var("T"), arg("indices", INT64), arg("updates", ALL_TENSORS).var("T")])
        .outputs(&[arg("output", ALL_TENSORS).var("T")])
        .attributes(&[string("reduction", "none")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(ScatterNd { reduction: Reduction::parse(node)? })
    }
}

impl Op for ScatterNd {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.reduction.check(x.dtype(0))?;
        Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let data = inputs.take_tensor(0)?;
        let (indices, updates) = (inputs.tensor(1)?, inputs.tensor(2)?);
        let Rows { length, block, positions } = rows(data.shape(), indices.shape(), inputs.slice(1)?, 0)?;
        let expected = indices.shape()[..indices.rank() - 1].iter().chain(&data.shape()[length..]);
        if !expected.eq(updates.shape().iter()) {
            let (u, i) = (updates.shape(), indices.shape());
            return Err(OpError::invalid(format!("updates of shape {u} do not fit indices of shape {i}")));
        }
        Ok(Scatter { positions, block }.eval(cx, data, updates, self.reduction)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn rows_name_elements_or_blocks() {
        let x = tensor(&[2, 2], &[1i32, 2, 3, 4]);
        let y = eval("GatherND", Attributes::new(), &[x.clone(), tensor(&[2, 2], &[0i64, 0, 1, -1])]).unwrap();
        assert_eq!(y, tensor(&[2], &[1i32, 4]));
        let y = eval("GatherND", Attributes::new(), &[x.clone(), tensor(&[1, 1], &[1i64])]).unwrap();
        assert_eq!(y, tensor(&[1, 2], &[3i32, 4]));
        let batched = Attributes::new().with("batch_dims", 1i64);
        let y = eval("GatherND", batched, &[x, tensor(&[2, 1], &[1i64, 0])]).unwrap();
        assert_eq!(y, tensor(&[2], &[2i32, 3]));
    }

    #[test]
    fn blocks_are_scattered() {
        let x = tensor(&[2, 2], &[1f32, 2., 3., 4.]);
        let inputs = [x, tensor(&[1, 1], &[1i64]), tensor(&[1, 2], &[9f32, 8.])];
        assert_eq!(eval("ScatterND", Attributes::new(), &inputs).unwrap(), tensor(&[2, 2], &[1f32, 2., 9., 8.]));
    }

    #[test]
    fn rows_out_of_range_are_refused() {
        let x = tensor(&[2, 2], &[1i32, 2, 3, 4]);
        for indices in [tensor(&[1, 2], &[0i64, 2]), tensor(&[1, 3], &[0i64, 0, 0])] {
            assert!(eval("GatherND", Attributes::new(), &[x.clone(), indices]).is_err());
        }
    }
}
