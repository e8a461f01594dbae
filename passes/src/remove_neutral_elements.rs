//! y = x + 0 | x − 0 | x · 1 | x / 1 | x ^ 1   ⇒   y = x
//! y = x ∧ true | x ∨ false   ⇒   y = x
//!
//! when: every element of the constant is the neutral one, exactly; y is known to have x's shape.
//!
//! −0 + 0 is 0: that a sign of zero is lost by the sum and kept by the rewrite is taken to be no difference.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must, uniform};
use planish_ir::ValueId;

/// Removes operators whose constant changes nothing.
pub static RULE: Rule = Rule::on("remove-neutral-elements", &["Add", "Sub", "Mul", "Div", "Pow", "And", "Or"], rewrite);

/// Constants of more elements are not looked through: biases that are all zeros are folded into what they follow.
const MAX_ELEMENTS: usize = 1 << 16;

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let operator = cx.operator(id).ok_or(No::SILENT)?;
    let (neutral, may_swap) = match operator.name.as_str() {
        "Add" | "Or" => (0.0, true),
        "Mul" | "And" => (1.0, true),
        "Sub" => (0.0, false),
        _ => (1.0, false),
    };
    let (Some(a), Some(b)) = (cx.input(id, 0), cx.input(id, 1)) else { return Err(No::SILENT) };
    let is_neutral =
        |v: ValueId| cx.constant(v).filter(|t| t.num_elements() <= MAX_ELEMENTS).and_then(uniform) == Some(neutral);
    let kept = match (is_neutral(b), may_swap && is_neutral(a)) {
        (true, _) => a,
        (_, true) => b,
        _ => return Err(No::SILENT),
    };
    must(cx.same_type(kept, cx.output(id)), "the result may have another shape or dtype")?;
    Ok(Patch::by_value(found, kept))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 3] x, bool[2] b) => (float[N, 3] y, bool[2] c) \
             <float zero = {{0}}, float[1, 3] ones = {{1, 1, 1}}, float[2, 3] wide = {{0, 0, 0, 0, 0, 0}}, float almost = {{1e-12}}, bool no = {{0}}> \
             {{ {nodes} }}"
        )
    }

    #[test]
    fn neutral_elements_go() {
        for nodes in [
            "a = Abs (x) z = Add (zero, a) y = Neg (z) c = Not (b)",
            "a = Abs (x) z = Sub (a, zero) y = Neg (z) c = Not (b)",
            "a = Abs (x) z = Mul (a, ones) y = Neg (z) c = Not (b)",
            "a = Abs (x) z = Div (a, ones) y = Neg (z) c = Not (b)",
            "a = Abs (x) z = Pow (a, ones) y = Neg (z) c = Not (b)",
            "a = Abs (x) y = Neg (a) d = Or (b, no) c = Not (d)",
        ] {
            Proof::of("remove-neutral-elements")
                .before(&text(nodes))
                .after("a = Abs (x)  y = Neg (a)  c = Not (b)")
                .exact();
        }
    }

    #[test]
    fn what_is_not_neutral_stays() {
        for nodes in ["y = Sub (zero, x)", "y = Add (x, almost)", "y = Div (ones, x)", "y = Mul (x, zero)"] {
            Proof::of("remove-neutral-elements").before(&text(&format!("{nodes} c = Not (b)"))).does_not_fire("");
        }
        let broadcast = text("y = Add (x, wide) c = Not (b)");
        Proof::of("remove-neutral-elements").before(&broadcast).does_not_fire("another shape");
    }
}
