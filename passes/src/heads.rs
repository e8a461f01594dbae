//! How exporters split features into heads, seen through the rewrites of attention.

use crate::patch::{Operand, Patch};
use crate::rule::Cx;
use planish_ir::{Attributes, Dim, ValueId};

/// What a value is made of that is `Transpose(Reshape(x, [batch, positions, heads, features]), [0, 2, 1, 3])`: x of rank 3
/// and the number of heads.
pub(crate) fn split(cx: &Cx<'_>, value: ValueId) -> Option<(ValueId, i64)> {
    let inner = operand(cx, value, "Transpose")?;
    if cx.int_list(value.node, "perm").as_deref() != Some(&[0, 2, 1, 3]) {
        return None;
    }
    let x = operand(cx, inner, "Reshape")?;
    let ([batch, positions, hidden], [b, p, heads, features]) = (cx.shape(x)?, cx.shape(inner)?) else { return None };
    let heads = heads.as_known()?;
    let is_split = heads.checked_mul(features.as_known()?) == hidden.as_known();
    let is_same = Dim::provably_equal(batch, b) && Dim::provably_equal(positions, p);
    (is_split && is_same).then_some((x, heads))
}

/// The first input of the node that makes a value, if it is of this operator.
pub(crate) fn operand(cx: &Cx<'_>, value: ValueId, operator: &str) -> Option<ValueId> {
    let is_it = value.output == 0 && cx.operator(value.node).is_some_and(|o| o.is(operator));
    is_it.then(|| cx.input(value.node, 0)).flatten()
}

/// A mask with a row for each of these queries, which it has already or has one row for all of them: ONNX Runtime takes no
/// such mask.
pub(crate) fn with_rows(cx: &Cx<'_>, patch: &mut Patch, queries: ValueId, mask: Operand, has_rows: bool) -> Operand {
    let axis = cx.rank(queries).and_then(|rank| rank.checked_sub(2));
    let extent = axis.and_then(|axis| cx.shape(queries)?.get(axis).cloned());
    let (Some(axis), Some(extent)) = (axis, extent) else { return mask };
    if has_rows || extent.as_known() == Some(1) {
        return mask;
    }
    let shape = match extent.as_known() {
        Some(known) => patch.ints(&[known, 1]),
        None => {
            let bounds = Attributes::new().with("start", axis as i64).with("end", axis as i64 + 1);
            let extent = patch.operator("Shape", bounds, &[queries.into()]);
            let one = patch.ints(&[1]);
            patch.operator("Concat", Attributes::new().with("axis", 0), &[extent, one])
        }
    };
    patch.operator("Expand", Attributes::new(), &[mask, shape])
}
