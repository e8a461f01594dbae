//! 16-bit floats through operators that compute in `f32`: widened as they come in, rounded once as they go out.

use crate::dtypes::{from_f32, to_f32};
use planish_ir::{EvalCx, Inputs, OpError, Outputs};
use planish_tensor::{DType, Tensor, Value};

/// Whether `dtype` is a float of 16 bits.
pub fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Calls `eval` on `inputs` with every 16-bit float tensor as `float`, and rounds its `float` outputs to `targets`, in
/// order. Outputs beyond the end of `targets`, and those of another dtype, stay as they are.
pub fn through_f32(
    cx: &mut EvalCx<'_>,
    inputs: Inputs,
    targets: &[DType],
    eval: impl FnOnce(&mut EvalCx<'_>, Inputs) -> Result<Outputs, OpError>,
) -> Result<Outputs, OpError> {
    let widened = inputs.into_values().into_iter().map(|value| match value {
        Some(Value::Tensor(tensor)) if is_half(tensor.dtype()) => Ok(Some(Value::Tensor(to_f32(cx, &tensor)?))),
        other => Ok(other),
    });
    let widened = Inputs::new(widened.collect::<Result<Vec<_>, OpError>>()?);
    let outputs = eval(cx, widened)?.into_values();
    let narrowed = outputs.into_iter().enumerate().map(|(i, value)| match (value, targets.get(i)) {
        (Some(Value::Tensor(tensor)), Some(&target)) => Ok(Some(Value::Tensor(narrow(cx, tensor, target)?))),
        (other, _) => Ok(other),
    });
    Ok(Outputs::new(narrowed.collect::<Result<Vec<_>, OpError>>()?))
}

fn narrow(cx: &EvalCx<'_>, tensor: Tensor, target: DType) -> Result<Tensor, OpError> {
    if tensor.dtype() == DType::F32 && is_half(target) { from_f32(cx, tensor, target) } else { Ok(tensor) }
}
