//! `SwiGLU`: y = a · sigmoid(alpha · a) · b. Opsets: 28.

use crate::Define;
use crate::half::{rounding, widened};
use crate::parallel;
use planish_ir::{
    AttributeError, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, arg, float,
};
use planish_kernels::elementwise::{Binary, Unary, binary, unary};
use planish_kernels::rounding::Rounding;
use planish_kernels::simd::Operand;
use planish_tensor::{DType, Tensor};

/// `SwiGLU`.
#[derive(Debug)]
pub struct SwiGlu {
    alpha: f32,
}

impl Define for SwiGlu {
    const SCHEMA: Schema = Schema::new("SwiGLU", 28)
        .inputs(&[arg("A", FLOATS).var("T"), arg("B", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&[float("alpha", 1.0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SwiGlu { alpha: node.float("alpha")? })
    }
}

impl Op for SwiGlu {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let types = [0, 1].map(|i| x.get(i).map(|f| &f.ty));
        let ty = match types {
            [Some(a), Some(b)] => a.unify(b).map_err(InferError)?,
            [a, b] => a.or(b).cloned().unwrap_or_default(),
        };
        Ok(vec![Fact::of_type(ty)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| {
            let (a, b) = (inputs.tensor(0)?, inputs.tensor(1)?);
            if a.shape() != b.shape() {
                return Err(OpError::invalid(format!("shapes {} and {} differ", a.shape(), b.shape())));
            }
            Ok(match a.dtype() {
                DType::F64 => self.in_f64(cx, a, b)?,
                _ => self.in_f32(cx, a, b, rounding(dtype))?,
            }
            .into())
        })
    }
}

impl SwiGlu {
    fn in_f64(&self, cx: &EvalCx<'_>, a: &Tensor, b: &Tensor) -> Result<Tensor, OpError> {
        let (shape, alpha) = (a.shape().clone(), f64::from(self.alpha));
        let (a, b) = (a.as_slice::<f64>()?, b.as_slice::<f64>()?);
        let mut y = cx.uninit::<f64>(shape)?;
        parallel::fill(cx, &mut y, 8.0, |start, y| {
            for ((y, a), b) in y.iter_mut().zip(&a[start..]).zip(&b[start..]) {
                *y = a / (1.0 + (-alpha * a).exp()) * b;
            }
        })?;
        Ok(y.freeze())
    }

    /// The gate rounds before the product, as a node of its own would.
    fn in_f32(&self, cx: &EvalCx<'_>, a: &Tensor, b: &Tensor, rounding: Option<Rounding>) -> Result<Tensor, OpError> {
        let shape = a.shape().clone();
        let (a, b) = (a.as_slice::<f32>()?, b.as_slice::<f32>()?);
        let mut y = cx.uninit::<f32>(shape)?;
        parallel::fill(cx, &mut y, 1.0, |start, y| {
            let [a, b] = [a, b].map(|x| Operand::Slice(&x[start..start + y.len()]));
            if self.alpha == 1.0 {
                unary(Unary::Silu, a, y);
            } else {
                binary(Binary::Mul, a, Operand::Scalar(self.alpha), y);
                unary(Unary::Sigmoid, Operand::Output, y);
                binary(Binary::Mul, a, Operand::Output, y);
            }
            if let Some(rounding) = rounding {
                rounding.all(y);
            }
            binary(Binary::Mul, Operand::Output, b, y);
        })?;
        Ok(y.freeze())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn the_gate_opens_the_value() {
        for alpha in [1f32, 0.5] {
            let (a, b) = ([-1f32, 0., 2.], [3f32, 4., 5.]);
            let attributes = Attributes::new().with("alpha", alpha);
            let expected = |i: usize| a[i] / (1.0 + (-alpha * a[i]).exp()) * b[i];
            let y = eval("SwiGLU", attributes.clone(), &[tensor(&[3], &a), tensor(&[3], &b)]).unwrap();
            for (i, y) in y.as_slice::<f32>().unwrap().iter().enumerate() {
                approx::assert_relative_eq!(*y, expected(i), max_relative = 1e-6);
            }
            let wide = [tensor(&[3], &a.map(f64::from)), tensor(&[3], &b.map(f64::from))];
            let y = eval("SwiGLU", attributes, &wide).unwrap();
            for (i, y) in y.as_slice::<f64>().unwrap().iter().enumerate() {
                approx::assert_relative_eq!(*y, f64::from(expected(i)), max_relative = 1e-6);
            }
        }
        assert!(eval("SwiGLU", Attributes::new(), &[tensor(&[3], &[0f32; 3]), tensor(&[1], &[0f32])]).is_err());
    }
}
