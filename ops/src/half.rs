//! 16-bit floats through operators that compute in `f32`: widened as they come in, rounded once as they go out.

use crate::dtypes::{from_f32, to_f32};
use planish_ir::{EvalCx, Inputs, OpError, Outputs};
use planish_kernels::rounding::Rounding;
use planish_tensor::{DType, Value};
use smallvec::SmallVec;

/// Whether `dtype` is a float of 16 bits.
pub fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// How numbers of a 16-bit float round.
pub fn rounding(dtype: DType) -> Option<Rounding> {
    match dtype {
        DType::F16 => Some(Rounding::F16),
        DType::BF16 => Some(Rounding::Bf16),
        _ => None,
    }
}

/// [`for_dtypes!`](crate::dtypes) over the floats that operators compute in.
macro_rules! for_real {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::dtypes::for_dtypes!($dtype, $T => $body, [F32 = f32, F64 = f64])
    };
}

pub(crate) use for_real;

/// Calls `eval` on `inputs` with every 16-bit float tensor as `float`, and rounds its `float` outputs to `targets`, in
/// order, where those are 16-bit floats. Outputs beyond the end of `targets` stay as they are.
pub fn widened(
    cx: &mut EvalCx<'_>,
    inputs: Inputs,
    targets: &[DType],
    eval: impl FnOnce(&mut EvalCx<'_>, Inputs) -> Result<Outputs, OpError>,
) -> Result<Outputs, OpError> {
    let wide = inputs.into_values().into_iter().map(|value| match value {
        Some(Value::Tensor(tensor)) if is_half(tensor.dtype()) => Ok(Some(Value::Tensor(to_f32(cx, &tensor)?))),
        other => Ok(other),
    });
    let wide = Inputs::new(wide.collect::<Result<SmallVec<[_; 4]>, OpError>>()?);
    let outputs = eval(cx, wide)?.into_values();
    let narrow = outputs.into_iter().enumerate().map(|(i, value)| match (value, targets.get(i)) {
        (Some(Value::Tensor(tensor)), Some(&target)) if tensor.dtype() == DType::F32 && is_half(target) => {
            Ok(Some(Value::Tensor(from_f32(cx, tensor, target)?)))
        }
        (other, _) => Ok(other),
    });
    Ok(Outputs::new(narrow.collect::<Result<SmallVec<[_; 4]>, OpError>>()?))
}
