//! Exact convolutions of 8-bit codes.

use crate::conv::ConvForm;
use crate::dtypes::for_dtypes;
use crate::packed::Packed;
use planish_ir::{EvalCx, OpError};
use planish_kernels::int8::{PackedConv8, ZeroPoints, conv_int8};
use planish_tensor::{Shape, Tensor, TensorMut};

/// Filters and their zero points, packed.
#[derive(Debug)]
pub struct Filters {
    packed: Packed<PackedConv8>,
    /// The shape they came in.
    pub shape: Shape,
}

impl Filters {
    /// Packs filters with one zero point for all, or one for each output channel; 0 without any.
    pub fn pack(cx: &EvalCx<'_>, form: &ConvForm, w: &Tensor, zero: Option<&Tensor>) -> Result<Filters, OpError> {
        let shape = w.shape().clone();
        let geometry = form
            .filter_geometry(&shape)
            .ok_or_else(|| OpError::unsupported(format!("an integer convolution with filters of shape {shape}")))?;
        let packed = for_dtypes!(w.dtype(), W => {
            let zeros = match zero.map(Tensor::as_slice::<W>).transpose()? {
                None => ZeroPoints::All(0),
                Some([zero]) => ZeroPoints::All(*zero),
                Some(zeros) if zeros.len() == shape[0] => ZeroPoints::Each(zeros),
                Some(zeros) => {
                    let message = format!("expected one zero point or {}, got {}", shape[0], zeros.len());
                    return Err(OpError::invalid(message));
                }
            };
            let codes = w.as_slice::<W>()?;
            let pack = || PackedConv8::pack(&geometry, codes, zeros, &cx.threads);
            Packed::new(&cx.memory, PackedConv8::size_bytes(&geometry), pack)
        }, [U8 = u8, I8 = i8])?;
        Ok(Filters { packed, shape })
    }

    /// conv(x − zero, filters − zero points); padding is `zero`.
    pub fn convolve(
        &self,
        cx: &EvalCx<'_>,
        form: &ConvForm,
        x: &Tensor,
        zero: Option<&Tensor>,
    ) -> Result<TensorMut<i32>, OpError> {
        let resolved = form.resolve(x.shape(), &self.shape, None)?;
        let mut y = cx.uninit::<i32>(resolved.shape.clone())?;
        if y.is_empty() {
            return Ok(y);
        }
        let geometry = resolved.geometry(x.shape()).ok_or_else(|| {
            OpError::unsupported(format!("an integer convolution over an input of shape {}", x.shape()))
        })?;
        let _scratch = cx.memory.reserve(self.packed.scratch_bytes(&geometry))?;
        for_dtypes!(x.dtype(), X => {
            let zero = match zero.map(Tensor::as_slice::<X>).transpose()? {
                None => 0,
                Some([zero]) => *zero,
                Some(zeros) => {
                    return Err(OpError::invalid(format!("expected one zero point of the input, got {}", zeros.len())));
                }
            };
            conv_int8(&cx.threads, &geometry, x.as_slice::<X>()?, zero, &self.packed, &mut y);
            Ok::<(), OpError>(())
        }, [U8 = u8, I8 = i8])?;
        Ok(y)
    }
}
