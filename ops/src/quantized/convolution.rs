//! Exact convolutions of 8-bit codes.

use crate::conv::ConvForm;
use crate::dtypes::for_dtypes;
use crate::packed::Packed;
use planish_ir::{EvalCx, OpError};
use planish_kernels::int8::{Finish, Image, PackedConv8, Sums32, ZeroPoints, conv_int8_into};
use planish_tensor::{DType, Element, Shape, Tensor, TensorMut};
use std::ops::Range;

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
            let pack = || PackedConv8::pack(&geometry, codes, zeros);
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
        self.convolve_into(cx, form, x.shape(), image(x, zero)?, |_| Sums32)
    }

    /// [`convolve`](Self::convolve) with what its sums become: `finish` gives it for a range of output channels.
    pub fn convolve_into<F: Finish<Out: Element>>(
        &self,
        cx: &EvalCx<'_>,
        form: &ConvForm,
        shape: &Shape,
        x: Image<'_>,
        finish: impl Fn(Range<usize>) -> F,
    ) -> Result<TensorMut<F::Out>, OpError> {
        cx.check()?;
        let resolved = form.resolve(shape, &self.shape, None)?;
        let mut y = cx.uninit::<F::Out>(resolved.shape.clone())?;
        if y.is_empty() {
            return Ok(y);
        }
        let geometry = resolved
            .geometry(shape)
            .ok_or_else(|| OpError::unsupported(format!("an integer convolution over an input of shape {shape}")))?;
        let _scratch = cx.memory.reserve(self.packed.scratch_bytes(&cx.threads, &geometry))?;
        conv_int8_into(&cx.threads, &geometry, x, &self.packed, finish, &mut y);
        Ok(y)
    }
}

/// Codes and the one of 0; 0 itself without any.
pub fn image<'a>(x: &'a Tensor, zero: Option<&Tensor>) -> Result<Image<'a>, OpError> {
    fn one<T: Element + Default>(zero: Option<&Tensor>) -> Result<T, OpError> {
        match zero.map(Tensor::as_slice::<T>).transpose()? {
            None => Ok(T::default()),
            Some([zero]) => Ok(*zero),
            Some(zeros) => Err(OpError::invalid(format!("expected one zero point of the input, got {}", zeros.len()))),
        }
    }
    match x.dtype() {
        DType::I8 => Ok(Image::I8(x.as_slice()?, one(zero)?)),
        _ => Ok(Image::U8(x.as_slice()?, one(zero)?)),
    }
}
