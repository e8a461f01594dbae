//! f(Expand(x, …), b)   ⇒   f(x, b)
//! f(Unsqueeze(x, [0, …]), b)   ⇒   f(x, b),   and with a Reshape that adds axes in front, for comparisons and logic
//!
//! when: f broadcasts: elementwise operators, and MatMul in all axes but the last two; what f gives keeps its shape, which is
//! known.

use crate::heads::operand;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule};
use planish_ir::{Dim, ValueId};

/// Leaves broadcasting to the operator that does it anyway.
pub static RULE: Rule = Rule::on(
    "absorb-expands",
    &[
        "Add",
        "And",
        "Div",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "MatMul",
        "Max",
        "Min",
        "Mul",
        "Or",
        "Pow",
        "Sub",
        "Where",
        "Xor",
    ],
    rewrite,
);

/// Leaves axes in front to the operator. Not where numbers are added: what fuses such operators tells masks by their rank.
pub static LEADING: Rule = Rule::on(
    "absorb-leading-axes",
    &["And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor"],
    |cx, found| {
        let node = found.root();
        let operator = cx.operator(node).ok_or(No::SILENT)?;
        let inputs: Option<Vec<ValueId>> = cx.graph.node_inputs(node).iter().copied().collect();
        let inputs = inputs.ok_or(No::SILENT)?;
        let y = cx.output(node);
        for (index, &input) in inputs.iter().enumerate() {
            let Some(x) = without_leading(cx, input).filter(|_| cx.is_read_once(input)) else { continue };
            let mut narrow = inputs.clone();
            narrow[index] = x;
            let ranks = narrow.iter().map(|&v| cx.rank(v));
            if ranks.max().flatten() == cx.rank(y) && keeps_shape(cx, &narrow, input, x, y, false) {
                let narrow: Vec<Operand> = narrow.into_iter().map(Operand::from).collect();
                let mut patch = Patch::new();
                let new = patch.operator(&operator.name, operator.attributes.clone(), &narrow);
                return Ok(patch.replace(y, new));
            }
        }
        Err(No::SILENT)
    },
);

/// What is given nothing but axes of 1 in front.
fn without_leading(cx: &Cx<'_>, value: ValueId) -> Option<ValueId> {
    let x = operand(cx, value, "Unsqueeze").or_else(|| operand(cx, value, "Reshape"))?;
    let (after, before) = (cx.shape(value)?, cx.shape(x)?);
    let (leading, same) = after.split_at(after.len().checked_sub(before.len())?);
    let is_kept = same.iter().zip(before).all(|(a, b)| Dim::provably_equal(a, b));
    (!leading.is_empty() && is_kept && leading.iter().all(|d| d.as_known() == Some(1))).then_some(x)
}

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let node = found.root();
    let operator = cx.operator(node).ok_or(No::SILENT)?;
    let inputs: Option<Vec<ValueId>> = cx.graph.node_inputs(node).iter().copied().collect();
    let inputs = inputs.ok_or(No::SILENT)?;
    let y = cx.output(node);
    for (index, &input) in inputs.iter().enumerate() {
        let Some(x) = operand(cx, input, "Expand") else { continue };
        let mut narrow = inputs.clone();
        narrow[index] = x;
        if keeps_shape(cx, &narrow, input, x, y, operator.name == "MatMul") {
            let narrow: Vec<Operand> = narrow.into_iter().map(Operand::from).collect();
            let mut patch = Patch::new();
            let new = patch.operator(&operator.name, operator.attributes.clone(), &narrow);
            return Ok(patch.replace(y, new));
        }
    }
    Err(No::SILENT)
}

/// Whether an operator of these inputs, of which `x` stands for `expanded`, gives what has the shape of `y`.
fn keeps_shape(cx: &Cx<'_>, inputs: &[ValueId], expanded: ValueId, x: ValueId, y: ValueId, is_product: bool) -> bool {
    let shapes: Option<Vec<&[Dim]>> = inputs.iter().map(|&v| cx.shape(v)).collect();
    let (Some(mut shapes), Some(mut to)) = (shapes, cx.shape(y)) else { return false };
    if is_product {
        let (Some(before), Some(after)) = (cx.shape(expanded), cx.shape(x)) else { return false };
        if before.len() < 2 || after.len() < 2 || shapes.iter().any(|s| s.len() < 2) || to.len() < 2 {
            return false;
        }
        let matrix = |shape: &[Dim]| shape[shape.len() - 2..].to_vec();
        let is_same = matrix(before).iter().zip(&matrix(after)).all(|(a, b)| Dim::provably_equal(a, b));
        if !is_same {
            return false;
        }
        shapes = shapes.into_iter().map(|shape| &shape[..shape.len() - 2]).collect();
        to = &to[..to.len() - 2];
    }
    shapes.iter().all(|shape| shape.len() <= to.len())
        && to.iter().rev().enumerate().all(|(axis, extent)| {
            let extents = shapes.iter().filter_map(|shape| shape.iter().rev().nth(axis));
            let joined = extents.cloned().try_fold(Dim::known(1), |a, b| Dim::broadcast(&a, &b));
            joined.is_ok_and(|joined| Dim::provably_equal(&joined, extent))
        })
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 3, 4] x, float[1, 3, 1] row, float[1, 4, 2] w, int64[3] like) => (float[] y) <int64[1] three = {{3}}, int64[1] four = {{4}}, int64[1] two = {{2}}> \
             {{ {nodes} }}"
        )
    }

    const SHAPE: &str = "n = Shape <end: int = 1> (x) s = Concat <axis: int = 0> (n, three, four)";

    #[test]
    fn operators_broadcast_by_themselves() {
        Proof::of("absorb-expands")
            .before(&text(&format!("{SHAPE} e = Expand (row, s) y = Mul (e, x)")))
            .after("y = Mul (row, x)")
            .exact();
        Proof::of("absorb-expands")
            .before(&text("n = Shape <end: int = 1> (x) t = Concat <axis: int = 0> (n, four, two) e = Expand (w, t) y = MatMul (x, e)"))
            .after("y = MatMul (x, w)")
            .within(1e-6);
    }

    #[test]
    fn axes_in_front_are_there_anyway() {
        let text = |nodes: &str| {
            format!(
                "g (float[N, 3, 4] x, float[4] row, float[4, 1, 1] column) => (bool[] y) <int64[2] first = {{0, 1}}, int64[2] last = {{1, 2}}, int64[3] long = {{1, 1, -1}}> {{ {nodes} }}"
            )
        };
        for nodes in ["u = Unsqueeze (row, first) y = Less (x, u)", "u = Reshape (row, long) y = Less (x, u)"] {
            Proof::of("absorb-leading-axes").before(&text(nodes)).after("y = Less (x, row)").exact();
        }
        for nodes in ["u = Unsqueeze (row, last) y = Less (u, column)", "u = Unsqueeze (row, first) y = Less (u, row)"]
        {
            Proof::of("absorb-leading-axes").before(&text(nodes)).does_not_fire("");
        }
    }

    #[test]
    fn what_nothing_else_makes_as_large_is_expanded() {
        Proof::of("absorb-expands")
            .before(&text(&format!("{SHAPE} e = Expand (row, s) y = Mul (e, row)")))
            .does_not_fire("");
        Proof::of("absorb-expands").before(&text("e = Expand (x, like) y = Mul (e, row)")).does_not_fire("");
    }
}
