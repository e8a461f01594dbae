//! Reshape(Unsqueeze(x))   ⇒   Reshape(x), and so for any two of Reshape, Flatten, Squeeze and Unsqueeze
//!
//! when: the inner has no other reader, or the outer gives x's own shape back; at most one extent of the result is neither
//! known nor that of x at the same place.

use crate::fold_shape_operands::reshape_operand;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::Attributes;

/// Operators that change the shape and nothing else.
const FAMILY: &[&str] = &["Reshape", "Flatten", "Squeeze", "Unsqueeze"];

/// Merges changes of shape that follow each other.
pub static RULE: Rule = Rule::on("merge-reshapes", FAMILY, rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let outer = found.root();
    let middle = cx.input(outer, 0).ok_or(No::SILENT)?;
    let inner = cx.operator(middle.node).ok_or(No::SILENT)?;
    must(FAMILY.iter().any(|name| inner.is(name)), No::SILENT)?;
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

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, S, 6] x) => (float[] y) <int64[1] one = {{1}}, int64[4] heads = {{0, 0, 2, 3}}, int64[3] back = {{0, 0, 6}}, \
             int64[3] flat = {{0, 1, -1}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn two_changes_of_shape_become_one_or_none() {
        for (nodes, after) in [
            ("a = Reshape (x, heads) b = Unsqueeze (a, one) y = Neg (b)", "b = Reshape (x, b_constant) y = Neg (b)"),
            ("a = Unsqueeze (x, one) b = Reshape (a, flat) y = Neg (b)", "b = Reshape (x, b_constant) y = Neg (b)"),
            ("a = Reshape (x, heads) b = Reshape (a, back) y = Neg (b)", "y = Neg (x)"),
            ("a = Unsqueeze (x, one) b = Squeeze (a, one) y = Neg (b)", "y = Neg (x)"),
        ] {
            Proof::of("merge-reshapes").before(&text(nodes)).after(after).exact();
        }
    }

    #[test]
    fn a_shape_read_elsewhere_stays() {
        let nodes = "a = Reshape (x, heads) b = Unsqueeze (a, one) y = Mul (b, a)";
        Proof::of("merge-reshapes").before(&text(nodes)).does_not_fire("read elsewhere");
    }
}
