//! Reshape(Unsqueeze(x))   ⇒   Reshape(x), and so for any two of Reshape, Flatten, Squeeze and Unsqueeze
//!
//! when: the inner has no other reader, or the outer gives x's own shape back; at most one extent of the result is neither
//! known nor that of x at the same place.
//!
//! Reshape(Transpose(x))   ⇒   Reshape(x), and so for the others
//!
//! when: the Transpose moves nothing but axes of extent 1, and the same holds.

use crate::fold_shape_operands::reshape_operand;
use crate::merge_transposes::permutation;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, ValueId};

/// Operators that change the shape and nothing else.
const FAMILY: &[&str] = &["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

/// Merges changes of shape that follow each other.
pub static RULE: Rule = Rule::on("merge-reshapes", FAMILY, rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let outer = found.root();
    let middle = cx.input(outer, 0).ok_or(No::SILENT)?;
    let inner = cx.operator(middle.node).ok_or(No::SILENT)?;
    must(FAMILY.iter().any(|name| inner.is(name)) || keeps_order(cx, middle), No::SILENT)?;
    let x = cx.input(middle.node, 0).ok_or(No::SILENT)?;
    let y = cx.output(outer);
    if cx.same_shape(x, y) {
        return Ok(Patch::by_value(found, x));
    }
    must(cx.is_read_once(middle), "the shape in between is read elsewhere")?;
    let (from, to) = (cx.shape(x).ok_or("a rank is not known")?, cx.shape(y).ok_or("a rank is not known")?);
    let operand = reshape_operand(from, to)?;
    let mut patch = Patch::new();
    let operand = patch.ints(&operand);
    let reshaped = patch.operator("Reshape", Attributes::new(), &[x.into(), operand]);
    Ok(patch.replace(y, reshaped))
}

/// Whether a value is made by a Transpose of which only axes of extent 1 move.
fn keeps_order(cx: &Cx<'_>, value: ValueId) -> bool {
    if !cx.operator(value.node).is_some_and(|operator| operator.is("Transpose")) {
        return false;
    }
    let Some(shape) = cx.input(value.node, 0).and_then(|x| cx.shape(x)) else { return false };
    let Ok(order) = permutation(cx, value.node, shape.len()) else { return false };
    order.into_iter().filter(|&axis| shape[axis].as_known() != Some(1)).is_sorted()
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, S, 6] x) => (float[] y) <int64[1] one = {{1}}, int64[4] heads = {{0, 0, 2, 3}}, int64[3] back = {{0, 0, 6}}, \
             int64[3] flat = {{0, 1, -1}}, int64[4] two = {{0, 0, 2, 3}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn two_changes_of_shape_become_one_or_none() {
        for (nodes, after) in [
            ("a = Reshape (x, heads) b = Unsqueeze (a, one) y = Neg (b)", "b = Reshape (x, b_constant) y = Neg (b)"),
            ("a = Unsqueeze (x, one) b = Reshape (a, flat) y = Neg (b)", "b = Reshape (x, b_constant) y = Neg (b)"),
            ("a = Reshape (x, heads) b = Reshape (a, back) y = Neg (b)", "y = Neg (x)"),
            ("a = Unsqueeze (x, one) b = Squeeze (a, one) y = Neg (b)", "y = Neg (x)"),
            (
                "o = Unsqueeze (x, one) a = Abs (o) t = Transpose <perm = [0, 2, 1, 3]> (a) b = Reshape (t, two) y = Neg (b)",
                "o = Unsqueeze (x, one) a = Abs (o) b = Reshape (a, b_constant) y = Neg (b)",
            ),
        ] {
            Proof::of("merge-reshapes").before(&text(nodes)).after(after).exact();
        }
    }

    #[test]
    fn a_shape_read_elsewhere_stays() {
        let nodes = "a = Reshape (x, heads) b = Unsqueeze (a, one) y = Mul (b, a)";
        Proof::of("merge-reshapes").before(&text(nodes)).does_not_fire("read elsewhere");
        let nodes = "a = Transpose <perm = [1, 0, 2]> (x) y = Reshape (a, heads)";
        Proof::of("merge-reshapes").before(&text(nodes)).does_not_fire("");
    }
}
