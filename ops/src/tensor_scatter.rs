//! `TensorScatter`: a cache with an update written over part of one axis, from a place given for each batch entry.
//!
//! Opsets: 24.

use crate::Define;
use crate::movement::{Movement, move_elements};
use crate::symbolic::unify;
use planish_ir::{
    ALL_TENSORS, AttributeError, Axis, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, int, opt, string,
};
use planish_tensor::{DType, Shape, Tensor, bf16, f16};

/// `TensorScatter`.
#[derive(Debug)]
pub struct TensorScatter {
    axis: Axis,
    /// Whether places beyond the end of the axis begin again at its start.
    is_circular: bool,
}

impl Define for TensorScatter {
    const SCHEMA: Schema = Schema::new("TensorScatter", 24)
        .inputs(&[
            arg("past_cache", ALL_TENSORS).var("T"),
            arg("update", ALL_TENSORS).var("T"),
            opt("write_indices", INT64),
        ])
        .outputs(&[arg("present_cache", ALL_TENSORS).var("T")])
        .attributes(&[int("axis", -2), string("mode", "linear")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let is_circular = node.choice("mode", &[("linear", false), ("circular", true)])?;
        Ok(TensorScatter { axis: Axis::new(node.int("axis")?), is_circular })
    }
}

impl Op for TensorScatter {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let (Some(cache), Some(update)) = (x.shape(0), x.shape(1)) else {
            return Ok(vec![Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default())]);
        };
        let axis = self.axis.resolve(cache.len())?;
        if axis == 0 || update.len() != cache.len() {
            return Err(InferError(format!("an update of {update:?} does not fit axis {axis} of {cache:?}")));
        }
        let unified = |i: usize| if i == axis { Ok(cache[i].clone()) } else { unify(&cache[i], &update[i], "update") };
        let dims = (0..cache.len()).map(unified).collect::<Result<Vec<Dim>, _>>()?;
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let cache = inputs.take_tensor(0)?;
        let update = inputs.tensor(1)?;
        let places = self.places(cache.shape(), update.shape(), inputs.opt_slice::<i64>(2)?)?;
        let write = Write { places, ..Write::new(cache.shape(), update.shape(), self.axis.resolve(cache.rank())?) };
        Ok(match cache.dtype() {
            DType::F32 => write.in_place::<f32>(cx, cache, update)?,
            DType::F16 => write.in_place::<f16>(cx, cache, update)?,
            DType::BF16 => write.in_place::<bf16>(cx, cache, update)?,
            _ => move_elements(cx, &[&cache, update], cache.shape().clone(), &write)?,
        }
        .into())
    }
}

impl TensorScatter {
    /// For each batch entry, where the update begins; checked so that all of it lies in the cache.
    fn places(&self, cache: &Shape, update: &Shape, given: Option<&[i64]>) -> Result<Vec<usize>, OpError> {
        let axis = self.axis.resolve(cache.rank())?;
        let fits = axis > 0
            && cache.rank() == update.rank()
            && (0..cache.rank()).all(|i| if i == axis { update[i] <= cache[i] } else { update[i] == cache[i] });
        if !fits {
            return Err(OpError::invalid(format!("an update of {update} does not fit axis {axis} of {cache}")));
        }
        let (length, batch) = (cache[axis], cache[0]);
        let Some(given) = given else { return Ok(vec![0; batch]) };
        if given.len() != batch {
            return Err(OpError::invalid(format!("expected {batch} write indices, got {}", given.len())));
        }
        let place = |&index: &i64| {
            let place = usize::try_from(index).ok().filter(|&i| self.is_circular || i <= length - update[axis]);
            let place = place.map(|place| if self.is_circular { place % length.max(1) } else { place });
            place.ok_or_else(|| OpError::invalid(format!("write index {index} is out of range for {length} elements")))
        };
        given.iter().map(place).collect()
    }
}

/// Blocks of an update written over a cache.
struct Write {
    /// For each batch entry, where its rows begin.
    places: Vec<usize>,
    /// How many runs of rows each batch entry has.
    outer: usize,
    /// Rows of the cache's axis, and of the update's.
    rows: [usize; 2],
    /// Elements of a row.
    inner: usize,
}

impl Write {
    fn new(cache: &Shape, update: &Shape, axis: usize) -> Write {
        let outer = cache[1..axis].iter().product();
        let inner = cache[axis + 1..].iter().product();
        Write { places: Vec::new(), outer, rows: [cache[axis], update[axis]], inner }
    }

    fn in_place<T: planish_tensor::Element>(
        &self,
        cx: &EvalCx<'_>,
        cache: Tensor,
        update: &Tensor,
    ) -> Result<Tensor, OpError> {
        match cache.try_into_mut::<T>() {
            Ok(mut target) => {
                self.write(update.as_slice::<T>()?, &mut target);
                Ok(target.freeze())
            }
            Err(cache) => move_elements(cx, &[&cache, update], cache.shape().clone(), self),
        }
    }

    fn write<T: Clone>(&self, update: &[T], target: &mut [T]) {
        let [length, count] = self.rows;
        if update.is_empty() {
            return;
        }
        for (i, rows) in update.chunks_exact(count * self.inner).enumerate() {
            let (entry, cache_start) = (i / self.outer, i * length);
            for (row, source) in rows.chunks_exact(self.inner).enumerate() {
                let start = (cache_start + (self.places[entry] + row) % length) * self.inner;
                target[start..start + self.inner].clone_from_slice(source);
            }
        }
    }
}

impl Movement for Write {
    fn apply<T: Clone + Send + Sync>(
        &self,
        _cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        target.clone_from_slice(sources[0]);
        self.write(sources[1], target);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn updates_are_written_where_asked() {
        let cache = tensor(&[2, 3, 2], &[0f32; 12]);
        let update = tensor(&[2, 2, 2], &[1f32, 2., 3., 4., 5., 6., 7., 8.]);
        let places = |p: [i64; 2]| tensor(&[2], &p);
        let y = eval("TensorScatter", Attributes::new(), &[cache.clone(), update.clone(), places([1, 0])]).unwrap();
        assert_eq!(y, tensor(&[2, 3, 2], &[0f32, 0., 1., 2., 3., 4., 5., 6., 7., 8., 0., 0.]));
        let circular = Attributes::new().with("mode", "circular");
        let y = eval("TensorScatter", circular.clone(), &[cache.clone(), update.clone(), places([2, 3])]).unwrap();
        assert_eq!(y, tensor(&[2, 3, 2], &[3f32, 4., 0., 0., 1., 2., 5., 6., 7., 8., 0., 0.]));
        assert!(eval("TensorScatter", Attributes::new(), &[cache.clone(), update.clone(), places([2, 0])]).is_err());
        assert!(eval("TensorScatter", circular, &[cache.clone(), update.clone(), places([-1, 0])]).is_err());
        assert!(eval("TensorScatter", Attributes::new().with("axis", 0i64), &[cache, update]).is_err());
    }
}
