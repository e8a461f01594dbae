//! `AffineGrid`: the places that an affine map gives to the pixels of an image, or a volume; `GridSample` reads there.
//!
//! Opsets: 20.

use crate::Define;
use crate::dtypes::Number;
use crate::half::{for_real, widened};
use crate::parallel;
use crate::symbolic::elements;
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, int,
};
use planish_tensor::{Shape, Tensor};

/// `AffineGrid`.
#[derive(Debug)]
pub struct AffineGrid {
    align_corners: bool,
}

impl Define for AffineGrid {
    const SCHEMA: Schema = Schema::new("AffineGrid", 20)
        .inputs(&[arg("theta", FLOATS).var("T1"), arg("size", INT64)])
        .outputs(&[arg("grid", FLOATS).var("T1")])
        .attributes(&[int("align_corners", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(AffineGrid { align_corners: node.flag("align_corners")? })
    }
}

impl Op for AffineGrid {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(size) = elements(x, 1) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        match &size[..] {
            [n, _, space @ ..] if matches!(space.len(), 2 | 3) => {
                let dims = [&[n.clone()], space, &[Dim::known(space.len() as i64)]].concat();
                Ok(vec![Fact::shaped(x.dtype(0), dims)])
            }
            _ => Err(InferError(format!("size {size:?} is not that of images or volumes"))),
        }
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        let size = Shape::from_i64(inputs.slice::<i64>(1)?)?;
        widened(cx, inputs, &[dtype], |cx, inputs| {
            let theta = inputs.tensor(0)?;
            for_real!(theta.dtype(), T => Ok(self.grid::<T>(cx, theta, &size)?.into()))
        })
    }
}

impl AffineGrid {
    fn grid<T: Number>(&self, cx: &EvalCx<'_>, theta: &Tensor, size: &Shape) -> Result<Tensor, OpError> {
        let mismatch = || OpError::invalid(format!("theta of shape {} does not fit size {size}", theta.shape()));
        let [n, _, space @ ..] = size.dims() else { return Err(mismatch()) };
        let axes = space.len();
        if !matches!(axes, 2 | 3) || theta.shape().dims() != [*n, axes, axes + 1] {
            return Err(mismatch());
        }
        let mut y = cx.uninit::<T>(Shape::new(&[&[*n], space, &[axes]].concat())?)?;
        let theta = theta.as_slice::<T>()?;
        let count: usize = space.iter().product();
        parallel::fill_units(cx, &mut y, axes, 2.0, |start, piece| {
            for (place, y) in (start / axes..).zip(piece.chunks_exact_mut(axes)) {
                let entry = &theta[place / count * axes * (axes + 1)..];
                let mut rest = place % count;
                let mut coordinates = [T::ZERO; 3];
                for (coordinate, &length) in coordinates.iter_mut().zip(space.iter().rev()) {
                    *coordinate = T::from_f64(self.coordinate(rest % length, length));
                    rest /= length;
                }
                for (y, row) in y.iter_mut().zip(entry.chunks_exact(axes + 1)) {
                    let terms = row.iter().zip(coordinates).take(axes).map(|(&a, b)| a.mul(b));
                    *y = terms.fold(row[axes], Number::add);
                }
            }
        })?;
        Ok(y.freeze())
    }

    /// The place in −1 … 1 of pixel `i` of `length`.
    fn coordinate(&self, i: usize, length: usize) -> f64 {
        match (self.align_corners, length) {
            (true, 1) => 0.0,
            (true, _) => 2.0 * i as f64 / (length - 1) as f64 - 1.0,
            (false, _) => (2 * i + 1) as f64 / length as f64 - 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn pixels_are_mapped() {
        let theta = tensor(&[1, 2, 3], &[1f32, 0., 0.5, 0., 2., 0.]);
        let size = tensor(&[4], &[1i64, 1, 2, 2]);
        let y = eval("AffineGrid", Attributes::new(), &[theta.clone(), size.clone()]).unwrap();
        assert_eq!(y, tensor(&[1, 2, 2, 2], &[0f32, -1., 1., -1., 0., 1., 1., 1.]));
        let y = eval("AffineGrid", Attributes::new().with("align_corners", 1i64), &[theta.clone(), size]).unwrap();
        assert_eq!(y, tensor(&[1, 2, 2, 2], &[-0.5f32, -2., 1.5, -2., -0.5, 2., 1.5, 2.]));
        for wrong in [&[2i64, 1, 2, 2][..], &[1, 1, 2], &[1, 1, 2, 2, 2], &[1, 1, -2, 2]] {
            assert!(eval("AffineGrid", Attributes::new(), &[theta.clone(), tensor(&[wrong.len()], wrong)]).is_err());
        }
    }
}
