//! Moving elements without reading them: one generic body serves every dtype.

use crate::parallel;
use planish_ir::{EvalCx, OpError};
use planish_tensor::{DType, RawTensorMut, Shape, Tensor};

/// How elements travel from some tensors into a new one of the same dtype.
pub trait Movement {
    /// Fills all of `target`, whose elements are unspecified at first, from `sources`.
    fn apply<T: Clone + Send + Sync>(&self, cx: &EvalCx<'_>, sources: &[&[T]], target: &mut [T])
    -> Result<(), OpError>;
}

/// A tensor of `shape` filled by `movement` from `sources`, which are all of one dtype. There is at least one source.
pub fn move_elements(
    cx: &EvalCx<'_>,
    sources: &[&Tensor],
    shape: Shape,
    movement: &impl Movement,
) -> Result<Tensor, OpError> {
    let dtype = sources.first().map(|t| t.dtype()).ok_or_else(|| OpError::Internal("no source to move from".into()))?;
    if let Some(other) = sources.iter().find(|t| t.dtype() != dtype) {
        return Err(OpError::invalid(format!("expected tensors of one dtype, got {dtype} and {}", other.dtype())));
    }
    match dtype.bits() {
        0 => move_strings(cx, sources, shape, movement),
        8 => move_words::<u8>(cx, dtype, sources, shape, movement),
        16 => move_words::<u16>(cx, dtype, sources, shape, movement),
        32 => move_words::<u32>(cx, dtype, sources, shape, movement),
        64 => move_words::<u64>(cx, dtype, sources, shape, movement),
        128 => move_words::<u128>(cx, dtype, sources, shape, movement),
        _ => move_codes(cx, dtype, sources, shape, movement),
    }
}

fn move_words<W: planish_tensor::Word>(
    cx: &EvalCx<'_>,
    dtype: DType,
    sources: &[&Tensor],
    shape: Shape,
    movement: &impl Movement,
) -> Result<Tensor, OpError> {
    let mut target = RawTensorMut::uninit(&cx.memory, dtype, shape)?;
    let words: Vec<&[W]> = sources.iter().filter_map(|t| t.words::<W>()).collect();
    let filled = target.words_mut::<W>().ok_or_else(|| OpError::Internal(format!("{dtype} has another width")))?;
    movement.apply(cx, &words, filled)?;
    Ok(target.freeze())
}

/// Packed elements travel one a byte.
fn move_codes(
    cx: &EvalCx<'_>,
    dtype: DType,
    sources: &[&Tensor],
    shape: Shape,
    movement: &impl Movement,
) -> Result<Tensor, OpError> {
    let codes: Vec<Vec<i8>> = sources.iter().filter_map(|t| t.unpacked_codes()).collect();
    let slices: Vec<&[i8]> = codes.iter().map(Vec::as_slice).collect();
    let mut target = cx.zeros::<i8>(shape.clone())?;
    movement.apply(cx, &slices, &mut target)?;
    let moved: Vec<u8> = target.iter().map(|&code| code.cast_unsigned()).collect();
    Ok(Tensor::from_codes(&cx.memory, dtype, shape, &moved)?)
}

fn move_strings(
    cx: &EvalCx<'_>,
    sources: &[&Tensor],
    shape: Shape,
    movement: &impl Movement,
) -> Result<Tensor, OpError> {
    let slices = sources.iter().map(|t| t.as_strings()).collect::<Result<Vec<_>, _>>()?;
    let count = shape.num_elements();
    let _charged = cx.memory.reserve(count.saturating_mul(size_of::<String>()))?;
    let mut target = vec![String::new(); count];
    movement.apply(cx, &slices, &mut target)?;
    Ok(Tensor::from_strings(shape, target)?)
}

/// A tensor of `shape` whose elements are all the first of `value`, which has one.
pub fn filled(cx: &EvalCx<'_>, value: &Tensor, shape: Shape) -> Result<Tensor, OpError> {
    struct Fill;
    impl Movement for Fill {
        fn apply<T: Clone + Send + Sync>(
            &self,
            cx: &EvalCx<'_>,
            sources: &[&[T]],
            target: &mut [T],
        ) -> Result<(), OpError> {
            let [value, ..] = sources[0] else { return Err(OpError::invalid("there is no element to fill with")) };
            parallel::fill(cx, target, 0.2, |_, piece| piece.fill(value.clone()))
        }
    }
    move_elements(cx, &[value], shape, &Fill)
}
