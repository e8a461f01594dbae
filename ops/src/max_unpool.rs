//! `MaxUnpool`: puts each element back where `MaxPool` found it, zeros elsewhere.
//!
//! Opsets: 9; 11 gives strides a default; 22 adds bfloat16.

use crate::Define;
use crate::geometry::Window;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, opt, optional, required,
};
use planish_tensor::{DType, RawTensorMut, Shape, Tensor};

/// `MaxUnpool`.
#[derive(Debug)]
pub struct MaxUnpool {
    window: Window,
}

impl Define for MaxUnpool {
    const SCHEMA: Schema = Schema::new("MaxUnpool", 22)
        .inputs(&[arg("X", FLOATS).var("T1"), arg("I", INT64).var("T2"), opt("output_shape", INT64).var("T2")])
        .outputs(&[arg("output", FLOATS).var("T1")])
        .attributes(&[
            required("kernel_shape", AttributeKind::Ints),
            optional("pads", AttributeKind::Ints),
            optional("strides", AttributeKind::Ints),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(MaxUnpool { window: Window::parse(node)? })
    }
}

impl MaxUnpool {
    /// The dimensions of the tensor that was pooled, as far as they can be told from what it was pooled to.
    fn pooled_from(&self, x: &[Dim]) -> Result<Vec<Dim>, InferError> {
        let [batch, channels, spatial @ ..] = x else {
            return Err(InferError(format!("expected an input of rank 3 or more, got {}", x.len())));
        };
        self.window.check_rank(spatial.len())?;
        let kernel = self.window.kernel().unwrap_or_default();
        let extents = spatial.iter().zip(kernel).enumerate().map(|(axis, (dim, &kernel))| {
            let (begin, end) = self.window.explicit_pads(axis, spatial.len());
            (dim - 1) * self.window.stride(axis) as i64 + kernel as i64 - (begin + end) as i64
        });
        Ok([batch.clone(), channels.clone()].into_iter().chain(extents).collect())
    }
}

impl Op for MaxUnpool {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if x.has(2) {
            let given = x.elements(2).or_else(|| Some(vec![Dim::unknown(); x.rank(0)?]));
            return Ok(vec![given.map_or(Fact::tensor(x.dtype(0)), |dims| Fact::shaped(x.dtype(0), dims))]);
        }
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        Ok(vec![Fact::shaped(x.dtype(0), self.pooled_from(shape)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, indices) = (inputs.tensor(0)?, inputs.slice::<i64>(1)?);
        if indices.len() != x.num_elements() {
            let message = format!("expected an index for each of {} elements, got {}", x.num_elements(), indices.len());
            return Err(OpError::invalid(message));
        }
        let dims: Vec<Dim> = x.shape().iter().map(|&d| Dim::known(d as i64)).collect();
        let natural: Option<Vec<i64>> = self.pooled_from(&dims)?.iter().map(Dim::as_known).collect();
        let natural = Shape::from_i64(&natural.ok_or_else(|| OpError::invalid("the output is too large"))?)?;
        let shape = match inputs.opt_ints(2)? {
            Some(dims) => Shape::from_i64(&dims)?,
            None => natural.clone(),
        };
        if shape.rank() != natural.rank() || natural.iter().zip(shape.iter()).any(|(n, s)| n > s) {
            return Err(OpError::invalid(format!("output_shape {shape} does not hold the unpooled {natural}")));
        }
        Ok(unpool(cx, x, indices, &natural, shape)?.into())
    }
}

/// A tensor of `shape`, zero but for `x` at `indices`, which count over `natural`, the corner of `shape` that was pooled.
fn unpool(cx: &EvalCx<'_>, x: &Tensor, indices: &[i64], natural: &Shape, shape: Shape) -> Result<Tensor, OpError> {
    let strides = shape.strides();
    let total = natural.num_elements();
    let place = |index: i64| -> Result<usize, OpError> {
        let mut rest = usize::try_from(index).ok().filter(|&i| i < total).ok_or_else(|| {
            OpError::invalid(format!("index {index} is out of range for the unpooled shape {natural}"))
        })?;
        let mut place = 0;
        for (&dim, &stride) in natural.iter().zip(&strides).rev() {
            place += rest % dim * stride;
            rest /= dim;
        }
        Ok(place)
    };
    let mut y = RawTensorMut::uninit(&cx.memory, x.dtype(), shape)?;
    y.bytes_mut().fill(0);
    let width = x.dtype().bits() / 8;
    debug_assert!(x.dtype() != DType::String && width > 0, "the schema takes floats only");
    let target = y.bytes_mut();
    for (element, &index) in x.bytes().chunks_exact(width).zip(indices) {
        let start = place(index)? * width;
        target[start..start + width].copy_from_slice(element);
    }
    Ok(y.freeze())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn elements_go_back_to_where_they_were() {
        let attributes = Attributes::new().with("kernel_shape", vec![2, 2]).with("strides", vec![2, 2]);
        let x = tensor(&[1, 1, 1, 2], &[1f32, 2.]);
        let indices = tensor(&[1, 1, 1, 2], &[5i64, 2]);
        let y = eval("MaxUnpool", attributes.clone(), &[x.clone(), indices.clone()]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2, 4], &[0f32, 0., 2., 0., 0., 1., 0., 0.]));
        let larger = tensor(&[4], &[1i64, 1, 2, 5]);
        let y = eval("MaxUnpool", attributes.clone(), &[x.clone(), indices, larger]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2, 5], &[0f32, 0., 2., 0., 0., 0., 1., 0., 0., 0.]));
        for bad in [[8i64, 0], [-1, 0]] {
            assert!(eval("MaxUnpool", attributes.clone(), &[x.clone(), tensor(&[1, 1, 1, 2], &bad)]).is_err());
        }
    }
}
