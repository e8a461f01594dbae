//! The order of positions, in which no key comes after its query, as exporters write it.

use crate::counting::{Counting, element};
use crate::heads::operand;
use crate::rule::{Cx, uniform};
use planish_ir::{Attribute, Dim, NodeId, ValueId};
use planish_tensor::{DType, Tensor};

/// The most that a masked score may be for it to vanish beside any other, and to swallow what is added to it.
pub(crate) const LOW: f64 = -1e8;

const PAST_KEY: usize = 4;

/// Nodes between a mask and the triangle or the positions that it is made from.
const MAX_STEPS_UP: usize = 6;

/// What an attention attends to: its queries, the keys of its cache, and all keys.
struct Extents {
    queries: Dim,
    past: Dim,
    keys: Dim,
}

impl Extents {
    fn of(cx: &Cx<'_>, attention: NodeId) -> Option<Extents> {
        let positions = |value: ValueId| cx.shape(value).and_then(|s| s.get(s.len().checked_sub(2)?)).cloned();
        let queries = positions(cx.input(attention, 0)?)?;
        let new_keys = positions(cx.input(attention, 1)?)?;
        let past = match cx.input(attention, PAST_KEY) {
            Some(past) => positions(past)?,
            None => Dim::known(0),
        };
        let keys = &past + &new_keys;
        Some(Extents { queries, past, keys })
    }

    /// Whether a value has a row for each query and a column for each key, and nothing else.
    fn is_square(&self, cx: &Cx<'_>, value: ValueId) -> bool {
        let Some([leading @ .., queries, keys]) = cx.shape(value) else { return false };
        let is_one = |d: &Dim| d.as_known() == Some(1);
        leading.iter().all(is_one)
            && Dim::provably_equal(queries, &self.queries)
            && Dim::provably_equal(keys, &self.keys)
    }
}

/// Whether a condition is the order, `true` where a query sees a key, or the opposite of it; `None` if it is neither.
pub(crate) fn of_condition(cx: &Cx<'_>, attention: NodeId, condition: ValueId) -> Option<bool> {
    let extents = Extents::of(cx, attention)?;
    let (mut value, mut sees) = (condition, true);
    for _ in 0..MAX_STEPS_UP {
        let node = value.node;
        if let Some(inner) = operand(cx, value, "Not") {
            (value, sees) = (inner, !sees);
        } else if let Some(inner) = operand(cx, value, "Equal").filter(|_| is_zero(cx, cx.input(node, 1))) {
            (value, sees) = (inner, !sees);
        } else if let Some(inner) = operand(cx, value, "Unsqueeze").or_else(|| kept_apart(cx, value)) {
            value = inner;
        } else if let Some(keys) = operand(cx, value, "LessOrEqual") {
            return counts_in_order(cx, &extents, keys, cx.input(node, 1)?).then_some(sees);
        } else if let Some(queries) = operand(cx, value, "GreaterOrEqual") {
            return counts_in_order(cx, &extents, cx.input(node, 1)?, queries).then_some(sees);
        } else {
            let is_lower = triangle(cx, &extents, value).filter(|_| extents.is_square(cx, condition))?;
            return Some(is_lower == sees);
        }
    }
    None
}

/// What is cast to a type that has room for it, so that nothing becomes 0 that was not.
fn kept_apart(cx: &Cx<'_>, value: ValueId) -> Option<ValueId> {
    operand(cx, value, "Cast").filter(|_| matches!(cx.dtype(value), Some(DType::Bool | DType::F32)))
}

/// Whether numbers are 0 where a query sees a key in order, and else so low that nothing else is left of the score.
pub(crate) fn of_numbers(cx: &Cx<'_>, attention: NodeId, mask: ValueId) -> bool {
    let is_low = |v: ValueId| cx.scalar(v).is_some_and(|low| low <= LOW);
    if let Some(condition) = operand(cx, mask, "Where") {
        let (Some(a), Some(b)) = (cx.input(mask.node, 1), cx.input(mask.node, 2)) else { return false };
        let order = cx.same_shape(condition, mask).then(|| of_condition(cx, attention, condition)).flatten();
        return match order {
            Some(true) => cx.scalar(a) == Some(0.0) && is_low(b),
            Some(false) => is_low(a) && cx.scalar(b) == Some(0.0),
            None => false,
        };
    }
    let Some(extents) = Extents::of(cx, attention).filter(|extents| extents.is_square(cx, mask)) else { return false };
    if let Some(tensor) = cx.constant(mask) {
        let offset = extents.past.as_known();
        return offset.is_some_and(|offset| is_triangle(tensor, offset, |seen| seen == 0.0, |unseen| unseen <= LOW));
    }
    let Some(inner) = operand(cx, mask, "Trilu") else { return false };
    triangle(cx, &extents, mask) == Some(false) && filling(cx, inner).is_some_and(|low| low <= LOW)
}

/// Whether a value is other than 0 in just those places where a key does not come after its query, or just in the others.
fn triangle(cx: &Cx<'_>, extents: &Extents, value: ValueId) -> Option<bool> {
    if let Some(tensor) = cx.constant(value) {
        let (offset, is_set) = (extents.past.as_known()?, |v: f64| v != 0.0);
        let is_lower = is_triangle(tensor, offset, is_set, |v| v == 0.0);
        return (is_lower || is_triangle(tensor, offset, |v| v == 0.0, is_set)).then_some(is_lower);
    }
    let inner = operand(cx, value, "Trilu")?;
    filling(cx, inner).filter(|&v| v != 0.0)?;
    let shift = match cx.input(value.node, 1) {
        Some(k) => element(cx, k)?,
        None => Dim::known(0),
    };
    let is_lower = cx.int(value.node, "upper")? == 0;
    let expected = if is_lower { extents.past.clone() } else { &extents.past + &Dim::known(1) };
    Dim::provably_equal(&shift, &expected).then_some(is_lower)
}

/// The number that a value is filled with.
fn filling(cx: &Cx<'_>, value: ValueId) -> Option<f64> {
    if let Some(inner) = operand(cx, value, "Expand") {
        return cx.scalar(inner);
    }
    if operand(cx, value, "ConstantOfShape").is_some() {
        return match cx.operator(value.node)?.attributes.get("value") {
            Some(Attribute::Tensor(tensor)) => uniform(tensor),
            _ => None,
        };
    }
    uniform(cx.constant(value)?)
}

/// Whether elements of a matrix satisfy one condition up to `offset` behind the diagonal, and another one beyond.
fn is_triangle(tensor: &Tensor, offset: i64, seen: impl Fn(f64) -> bool, unseen: impl Fn(f64) -> bool) -> bool {
    let Some(elements) = numbers(tensor) else { return false };
    let columns = tensor.shape().dims().last().copied().unwrap_or(0).max(1);
    elements.chunks(columns).enumerate().all(|(row, elements)| {
        let num_seen = usize::try_from(row as i64 + offset + 1).unwrap_or(0).min(columns);
        elements[..num_seen].iter().all(|&v| seen(v)) && elements[num_seen..].iter().all(|&v| unseen(v))
    })
}

fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    Some(match tensor.dtype() {
        DType::F32 => tensor.as_slice::<f32>().ok()?.iter().map(|&v| f64::from(v)).collect(),
        DType::Bool => tensor.as_slice::<bool>().ok()?.iter().map(|&v| f64::from(u8::from(v))).collect(),
        _ => return None,
    })
}

fn is_zero(cx: &Cx<'_>, value: Option<ValueId>) -> bool {
    value.and_then(|v| cx.scalar(v)) == Some(0.0)
}

/// Whether one value counts keys and the other one queries, from behind the cache on.
fn counts_in_order(cx: &Cx<'_>, extents: &Extents, key: ValueId, query: ValueId) -> bool {
    let (Some(key), Some(query)) = (Counting::of(cx, key), Counting::of(cx, query)) else { return false };
    let counts = |c: &Counting, axis: usize, start: &Dim, extent: &Dim| {
        c.axis_from_end == axis && Dim::provably_equal(&c.start, start) && Dim::provably_equal(&c.extent, extent)
    };
    counts(&key, 0, &Dim::known(0), &extents.keys) && counts(&query, 1, &extents.past, &extents.queries)
}
