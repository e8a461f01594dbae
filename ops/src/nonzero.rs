//! `NonZero`: the indices of all elements that are not zero, one column each, in row-major order.
//!
//! Opsets: 9; 13 adds dtypes.

use crate::Define;
use crate::dtypes::for_dtypes;
use crate::elements::Odometer;
use planish_ir::{
    AttributeError, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg,
};
use planish_tensor::{DType, Element, Shape, Tensor};

/// `NonZero`.
#[derive(Debug)]
pub struct NonZero;

impl Define for NonZero {
    const SCHEMA: Schema = Schema::new("NonZero", 13).inputs(&[arg("X", CLASSIC_TENSORS)]).outputs(&[arg("Y", INT64)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(NonZero)
    }
}

impl Op for NonZero {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let rank = x.rank(0).map_or_else(Dim::unknown, |rank| Dim::known(rank as i64));
        Ok(vec![Fact::shaped(Some(DType::I64), vec![rank, Dim::unknown()])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let found: Result<Vec<bool>, OpError> = if x.dtype() == DType::String {
            Ok(x.as_strings()?.iter().map(|s| !s.is_empty()).collect())
        } else {
            for_dtypes!(x.dtype(), T => differs_from_zero::<T>(x), [
                F32 = f32, F64 = f64, F16 = planish_tensor::f16, BF16 = planish_tensor::bf16, Bool = bool,
                U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
                Complex64 = planish_tensor::Complex64, Complex128 = planish_tensor::Complex128,
            ])
        };
        let found = found?;
        let count = found.iter().filter(|&&is_found| is_found).count();
        let rank = x.rank();
        let mut y = cx.uninit::<i64>(Shape::new(&[rank, count])?)?;
        let mut walk = Odometer::new(x.shape());
        let mut column = 0;
        for is_found in found {
            if is_found {
                walk.index.iter().enumerate().for_each(|(axis, &i)| y[axis * count + column] = i as i64);
                column += 1;
            }
            walk.advance();
        }
        Ok(y.freeze().into())
    }
}

fn differs_from_zero<T: Element>(x: &Tensor) -> Result<Vec<bool>, OpError> {
    let zero = T::default();
    Ok(x.as_slice::<T>()?.iter().map(|v| *v != zero).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn columns_are_indices() {
        let y = eval("NonZero", Attributes::new(), &[tensor(&[2, 2], &[true, false, true, true])]).unwrap();
        assert_eq!(y, tensor(&[2, 3], &[0i64, 1, 1, 0, 0, 1]));
        let scalar = eval("NonZero", Attributes::new(), &[tensor(&[], &[3f32])]).unwrap();
        assert_eq!(scalar.shape().dims(), [0, 1]);
        let nan = eval("NonZero", Attributes::new(), &[tensor(&[2], &[f32::NAN, -0.0])]).unwrap();
        assert_eq!(nan, tensor(&[1, 1], &[0i64]));
    }
}
