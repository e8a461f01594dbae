//! Integers that count along one axis, as exporters make positions of queries and keys of.

use crate::heads::operand;
use crate::patch::{Operand, Patch};
use crate::rule::Cx;
use planish_ir::{Attributes, Dim, ValueId};

/// `start`, `start + 1`, … along one axis of a value whose other extents are 1.
pub(crate) struct Counting {
    /// The axis, counted from the last one, which is 0.
    pub axis_from_end: usize,
    pub start: Dim,
    pub extent: Dim,
    /// What the `Range` was told to stop before, less the start that it was given.
    pub limit: ValueId,
    /// Whether the `Range` begins at 0.
    pub is_from_zero: bool,
}

/// Nodes between a `Range` and what is made of it.
const MAX_STEPS_UP: usize = 6;

impl Counting {
    /// What a value counts, if it does.
    pub(crate) fn of(cx: &Cx<'_>, value: ValueId) -> Option<Counting> {
        let mut shift = Dim::known(0);
        let mut inner = value;
        for _ in 0..MAX_STEPS_UP {
            let node = inner.node;
            if let Some(start) = operand(cx, inner, "Range") {
                let (limit, delta) = (cx.input(node, 1)?, cx.input(node, 2)?);
                let start = element(cx, start)?;
                if cx.scalar(delta) != Some(1.0) {
                    return None;
                }
                let is_from_zero = start.as_known() == Some(0);
                let extent = cx.shape(inner)?.first()?.clone();
                let axis_from_end = only_axis(cx, value, &extent)?;
                return Some(Counting { axis_from_end, start: &start + &shift, extent, limit, is_from_zero });
            }
            let reshaped = ["Reshape", "Unsqueeze", "Squeeze"].iter().find_map(|name| operand(cx, inner, name));
            inner = match reshaped {
                Some(source) => source,
                None => {
                    let (a, b) = (operand(cx, inner, "Add")?, cx.input(node, 1)?);
                    let (counting, number) = if element(cx, b).is_some() { (a, b) } else { (b, a) };
                    shift = &shift + &element(cx, number)?;
                    counting
                }
            };
        }
        None
    }
}

/// The axis, counted from the last, of this extent where all others are 1.
fn only_axis(cx: &Cx<'_>, value: ValueId, extent: &Dim) -> Option<usize> {
    let shape = cx.shape(value)?;
    let is_one = |d: &Dim| d.as_known() == Some(1);
    let axis = shape.iter().rev().position(|d| !is_one(d))?;
    let others = shape.iter().rev().enumerate().all(|(i, d)| i == axis || is_one(d));
    (others && Dim::provably_equal(&shape[shape.len() - 1 - axis], extent)).then_some(axis)
}

/// The one integer that a value holds, as an expression.
pub(crate) fn element(cx: &Cx<'_>, value: ValueId) -> Option<Dim> {
    match &cx.fact(value).elements()?[..] {
        [element] if !element.is_unknown() => Some(element.clone()),
        _ => None,
    }
}

/// An integer of rank 0 as a vector of one element. Where it was made from such vectors, their sum.
pub(crate) fn as_vector(cx: &Cx<'_>, patch: &mut Patch, value: ValueId) -> Operand {
    if let Some(inner) = operand(cx, value, "Squeeze").filter(|&v| cx.known_shape(v).as_deref() == Some(&[1])) {
        return inner.into();
    }
    if let (Some(a), Some(b)) = (operand(cx, value, "Add"), cx.input(value.node, 1)) {
        let (a, b) = (as_vector(cx, patch, a), as_vector(cx, patch, b));
        return patch.operator("Add", Attributes::new(), &[a, b]);
    }
    let shape = patch.ints(&[1]);
    patch.operator("Reshape", Attributes::new(), &[value.into(), shape])
}
