//! Softmax that is made safe, as PyTorch's `_safe_softmax` is: rows that see nothing, of −∞ throughout, become 0 and not NaN.
//!
//! Where(IsNaN(w), 0, w)   ⇒   w,   where w = Softmax(x) and x is of a bounded magnitude
//! Where(all(x = −∞), 0, w)   ⇒   w,   where no element of x is −∞; it may be NaN, which w is then either way
//! both   ⇒   SafeSoftmax(x) for planish, where nothing of the kind is known of x
//!
//! when: 0 does not make the result larger. An input of the graph may be anything, so what is known comes from operators
//! with a range, such as Clip and Sigmoid, from casts of integers and from constants.

use crate::definition::{Definition, ordered};
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must, uniform};
use planish_ir::{NodeId, ValueId};
use planish_tensor::DType;
use std::collections::HashSet;

const BY_NAN: &str = "weights = Softmax(x)
     y = Where(IsNaN(weights), $zero, weights)";

const BY_ROW: &str = "weights = Softmax(x)
     lost = Cast?(ReduceMin(Cast?(Equal(x, $lowest)), ...))
     y = Where(lost, $zero, weights)";

/// Takes numbers for what they are.
pub static NAN: Rule = Rule::matching("remove-softmax-nan-guard", BY_NAN, |cx, found| {
    check(cx, found)?;
    let is_bounded = magnitude(cx, found["x"], MAX_STEPS_UP).is_some_and(|most| most < f64::from(f32::MAX));
    must(is_bounded, "x is not known to be of numbers alone")?;
    Ok(Patch::by_value(found, found["weights"]))
});

/// Takes rows of which something is seen for what they are.
pub static ROW: Rule = Rule::matching("remove-softmax-row-guard", BY_ROW, |cx, found| {
    check(cx, found)?;
    check_row(cx, found)?;
    must(is_above_nothing(cx, found["x"], MAX_STEPS_UP), "x is not known to be more than −∞")?;
    Ok(Patch::by_value(found, found["weights"]))
});

/// Makes all of it one node, where NaN is told.
pub static FUSED_NAN: Rule = Rule::matching("fuse-safe-softmax-nan", BY_NAN, |cx, found| {
    check(cx, found)?;
    fuse(cx, found)
});

/// Makes all of it one node, where rows are told.
pub static FUSED_ROW: Rule = Rule::matching("fuse-safe-softmax-row", BY_ROW, |cx, found| {
    check(cx, found)?;
    check_row(cx, found)?;
    fuse(cx, found)
});

/// Nodes that are looked through above x.
const MAX_STEPS_UP: usize = 8;

fn check(cx: &Cx<'_>, found: &Match<'_>) -> Result<(), No> {
    let is_zero = cx.constant(found["zero"]).and_then(uniform) == Some(0.0);
    must(is_zero, "rows without a choice do not become 0")?;
    must(cx.same_type(found["weights"], cx.output(found.root())), "0 makes the result larger")
}

fn check_row(cx: &Cx<'_>, found: &Match<'_>) -> Result<(), No> {
    must(cx.scalar(found["lowest"]) == Some(f64::NEG_INFINITY), "x is compared with another number")?;
    let rank = cx.rank(found["x"]).ok_or("the rank is not known")?;
    let softmax = found.node("weights");
    let reduced = reduction(cx, found).ok_or(No::SILENT)?;
    let over = cx.reduced_axes(reduced, rank).ok_or("the axes are not known")?;
    let axis = cx.axis(softmax, "axis", rank).ok_or(No::SILENT)?;
    must(over == [axis] && cx.int(reduced, "keepdims") == Some(1), "rows are told along other axes")
}

/// The node that takes the least of a row.
fn reduction(cx: &Cx<'_>, found: &Match<'_>) -> Option<NodeId> {
    found.nodes().iter().copied().find(|&id| cx.operator(id).is_some_and(|o| o.is("ReduceMin")))
}

fn fuse(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    must(cx.dtype(found["x"]) == Some(DType::F32), "it is not of float")?;
    let nodes: HashSet<NodeId> = found.nodes().iter().copied().collect();
    let definition =
        Definition { operator: "SafeSoftmax", nodes: ordered(cx, &nodes), inputs: vec![(found["x"], "x")] };
    let body = definition.body(cx)?;
    definition.patch(cx, body)
}

/// The most that an element may be away from 0, where all are known to be numbers.
fn magnitude(cx: &Cx<'_>, value: ValueId, steps: usize) -> Option<f64> {
    if let Some(tensor) = cx.constant(value) {
        return uniform(tensor).map(f64::abs).filter(|v| v.is_finite());
    }
    let steps = steps.checked_sub(1)?;
    let operator = cx.operator(value.node).filter(|o| o.domain.is_empty() && value.output == 0)?;
    let of = |index: usize| magnitude(cx, cx.input(value.node, index)?, steps);
    match operator.name.as_str() {
        "Cast" if cx.dtype(value) == Some(DType::F32) => match cx.dtype(cx.input(value.node, 0)?)? {
            DType::Bool => Some(1.0),
            DType::I8 | DType::U8 => Some(256.0),
            DType::I16 | DType::U16 => Some(65_536.0),
            DType::I32 | DType::U32 | DType::I64 | DType::U64 => Some(2e19),
            _ => None,
        },
        "Sigmoid" | "Tanh" | "HardSigmoid" | "Erf" | "Sin" | "Cos" | "Softmax" => of(0).map(|_| 1.0),
        "Neg" | "Abs" | "Relu" | "Reshape" | "Transpose" | "Unsqueeze" | "Squeeze" | "Expand" | "Slice" => of(0),
        "Add" | "Sub" => Some(of(0)? + of(1)?),
        "Mul" => Some(of(0)? * of(1)?),
        "Where" => Some(of(1)?.max(of(2)?)),
        _ => None,
    }
}

/// Whether no element of a value can be −∞.
fn is_above_nothing(cx: &Cx<'_>, value: ValueId, steps: usize) -> bool {
    if magnitude(cx, value, steps).is_some_and(|most| most < f64::from(f32::MAX)) {
        return true;
    }
    let Some(steps) = steps.checked_sub(1) else { return false };
    let Some(operator) = cx.operator(value.node).filter(|o| o.domain.is_empty() && value.output == 0) else {
        return false;
    };
    let of = |index: usize| cx.input(value.node, index).is_some_and(|v| is_above_nothing(cx, v, steps));
    let is_number = |index: usize| cx.input(value.node, index).and_then(|v| cx.scalar(v)).is_some_and(f64::is_finite);
    match operator.name.as_str() {
        "Sigmoid" | "Tanh" | "HardSigmoid" | "Relu" | "Abs" | "Exp" | "Softplus" | "Softmax" | "Erf" | "Sqrt" => true,
        "Clip" => is_number(1) && (cx.input(value.node, 2).is_none() || is_number(2)),
        "Reshape" | "Transpose" | "Unsqueeze" | "Squeeze" | "Expand" | "Slice" => of(0),
        "Where" => of(1) && of(2),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 4] z, int64[N, 4] i, bool[N, 4] hidden) => (float[] y) <float zero = {{0}}, float[1, 1] none = {{0}}, float one = {{1}}, float low = {{-inf}}, float ten = {{-10}}, \
             int64[1] last = {{-1}}, int64[1] first = {{0}}> {{ {nodes} }}"
        )
    }

    const BY_NAN: &str = "w = Softmax (x) n = IsNaN (w) y = Where (n, zero, w)";
    const BY_ROW: &str = "w = Softmax (x) e = Equal (x, low) c = Cast <to = 7> (e) m = ReduceMin (c, last) b = Cast <to = 9> (m) y = Where (b, none, w)";

    #[test]
    fn numbers_need_no_guard() {
        Proof::of_all(&["remove-softmax-nan-guard", "remove-dead-nodes"])
            .before(&text(&format!("f = Cast <to = 1> (i) s = Sigmoid (f) x = Sub (s, ten) {BY_NAN}")))
            .after("f = Cast (i) <to: int = 1> s = Sigmoid (f) x = Sub (s, ten) y = Softmax (x)")
            .exact();
    }

    #[test]
    fn rows_with_something_in_them_need_no_guard() {
        for (nodes, after) in [
            ("x = Sigmoid (z)", "x = Sigmoid (z) y = Softmax (x)"),
            ("x = Clip (z, ten)", "x = Clip (z, ten) y = Softmax (x)"),
            ("a = Relu (z) x = Where (hidden, ten, a)", "a = Relu (z) x = Where (hidden, ten, a) y = Softmax (x)"),
        ] {
            Proof::of_all(&["remove-softmax-row-guard", "remove-dead-nodes"])
                .before(&text(&format!("{nodes} {BY_ROW}")))
                .after(after)
                .exact();
        }
    }

    #[test]
    fn what_may_be_anything_keeps_its_guard() {
        for (rule, nodes, reason) in [
            ("remove-softmax-nan-guard", format!("x = Sigmoid (z) {BY_NAN}"), "numbers alone"),
            ("remove-softmax-nan-guard", format!("x = Where (hidden, low, z) {BY_NAN}"), "numbers alone"),
            ("remove-softmax-row-guard", format!("x = Where (hidden, low, z) {BY_ROW}"), "more than −∞"),
            (
                "remove-softmax-row-guard",
                format!(
                    "x = Sigmoid (z) {}",
                    BY_ROW.replace("(e, last)", "(e, first)").replace("(c, last)", "(c, first)")
                ),
                "other axes",
            ),
            (
                "remove-softmax-row-guard",
                format!("x = Sigmoid (z) {}", BY_ROW.replace("(x, low)", "(x, ten)")),
                "another number",
            ),
            ("remove-softmax-row-guard", format!("x = Sigmoid (z) {}", BY_ROW.replace("none", "one")), "become 0"),
        ] {
            Proof::of(rule).before(&text(&nodes)).does_not_fire(reason);
        }
    }

    #[test]
    fn the_whole_of_it_is_one_node() {
        Proof::of("fuse-safe-softmax-nan")
            .before(&text(&format!("x = Where (hidden, low, z) {BY_NAN}")))
            .after(
                "x = Where (hidden, low, z) y = planish.SafeSoftmax (x) <body: graph = SafeSoftmax (float[] x) => (float[] y) \
                 <float constant = {0.0}> { softmax = Softmax (x) isnan = IsNaN (softmax) y = Where (isnan, constant, softmax) }>",
            )
            .exact();
        Proof::of("fuse-safe-softmax-row")
            .before(&text(&format!("x = Where (hidden, low, z) {}", BY_ROW.replace("none", "zero"))))
            .after(
                "x = Where (hidden, low, z) y = planish.SafeSoftmax (x) <body: graph = SafeSoftmax (float[] x) => (float[] y) \
                 <float constant = {-inf}, int64[1] constant_1 = {-1}, float constant_2 = {0.0}> { softmax = Softmax (x) equal = Equal (x, constant) cast = Cast (equal) <to: int = 7> \
                 reducemin = ReduceMin (cast, constant_1) cast_1 = Cast (reducemin) <to: int = 9> y = Where (cast_1, constant_2, softmax) }>",
            )
            .exact();
    }
}
