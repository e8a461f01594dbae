//! What the rules about norms share.

use crate::patch::{Operand, Patch};
use crate::rule::{Cx, No, must};
use planish_ir::{Attributes, Dim, NodeId, ValueId};
use planish_tensor::{DType, Tensor, bf16, f16};

/// The first of the last axes of `rank` that a mean runs over and keeps.
pub(crate) fn first_of_last_axes(cx: &Cx<'_>, mean: NodeId, rank: usize) -> Result<usize, No> {
    must(cx.int(mean, "keepdims") == Some(1), "a mean drops its axes")?;
    let axes = cx.reduced_axes(mean, rank).ok_or("the axes of a mean are not known")?;
    let first = *axes.first().ok_or("the means run over no axis")?;
    must(axes.iter().copied().eq(first..rank), "the means do not run over the last axes")?;
    Ok(first)
}

/// A scale or bias as a tensor of exactly the normalized shape: runtimes take nothing else.
pub(crate) fn over_axes(cx: &Cx<'_>, patch: &mut Patch, value: ValueId, normalized: &[Dim]) -> Result<Operand, No> {
    let shape = cx.shape(value).ok_or("the shape of scale or bias is not known")?;
    let is_same = |shape: &[Dim]| {
        shape.len() == normalized.len() && shape.iter().zip(normalized).all(|(a, b)| Dim::provably_equal(a, b))
    };
    if is_same(shape) {
        return Ok(value.into());
    }
    let known: Option<Vec<i64>> = normalized.iter().map(Dim::as_known).collect();
    let leading = shape.iter().take_while(|d| d.as_known() == Some(1)).count();
    let leading = leading.min(shape.len().saturating_sub(normalized.len()));
    let (Some(known), Some(_)) = (known, cx.constant(value)) else {
        return Err("scale or bias is not of the normalized shape".into());
    };
    must(shape.len() - leading <= normalized.len(), "scale or bias varies along other axes")?;
    let dims = patch.ints(&known);
    let short: Option<Vec<i64>> = shape[leading..].iter().map(Dim::as_known).collect();
    let short = patch.ints(&short.ok_or(No::SILENT)?);
    let value = patch.operator("Reshape", Attributes::new(), &[value.into(), short]);
    Ok(patch.operator("Expand", Attributes::new(), &[value, dims]))
}

/// A scale of ones for values like `x`.
pub(crate) fn ones(cx: &Cx<'_>, patch: &mut Patch, x: ValueId, normalized: &[Dim]) -> Result<Operand, No> {
    let known: Option<Vec<i64>> = normalized.iter().map(Dim::as_known).collect();
    let dims = patch.ints(&known.ok_or("the normalized shape is not known")?);
    let one = match cx.dtype(x) {
        Some(DType::F32) => Tensor::vector(&[1f32]),
        Some(DType::F64) => Tensor::vector(&[1f64]),
        Some(DType::F16) => Tensor::vector(&[f16::ONE]),
        Some(DType::BF16) => Tensor::vector(&[bf16::ONE]),
        _ => return Err("the dtype is not known".into()),
    };
    Ok(patch.operator("ConstantOfShape", Attributes::new().with("value", one), &[dims]))
}
