//! Max(Max(a, b), c)   ⇒   Max(a, b, c), and so for Min
//!
//! when: the inner has no other reader, and the shape of the outer, so that nothing is compared more often than before.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, ValueId};

/// Takes the extreme in one step that is taken in several.
pub static RULE: Rule = Rule::on("merge-extremes", &["Max", "Min"], rewrite);

/// A node of more inputs than this is not made longer still.
const MAX_INPUTS: usize = 256;

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let name = cx.operator(id).ok_or(No::SILENT)?.name.as_str();
    let is_same = |value: ValueId| cx.operator(value.node).is_some_and(|o| o.is(name));
    let own: Vec<ValueId> = cx.graph.node_inputs(id).iter().flatten().copied().collect();
    must(own.iter().any(|&v| is_same(v)), No::SILENT)?;
    let is_inner = |value: ValueId| is_same(value) && cx.is_read_once(value) && cx.same_type(value, cx.output(id));
    must(own.iter().any(|&v| is_inner(v)), "the inner is read elsewhere or smaller")?;
    let mut operands: Vec<Operand> = Vec::new();
    for &value in &own {
        if is_inner(value) {
            operands.extend(cx.graph.node_inputs(value.node).iter().flatten().map(|&v| Operand::from(v)));
        } else {
            operands.push(value.into());
        }
    }
    must(operands.len() <= MAX_INPUTS, "too many inputs")?;
    Ok(Patch::by_operator(found, name, Attributes::new(), &operands))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!("g (float[N, 2] x, float[N, 2] z, float[2] w, float[2] v) => (float[] y) {{ {nodes} }}")
    }

    #[test]
    fn nested_extremes_become_one() {
        let merged = Proof::of("merge-extremes").before(&text("a = Max (x, w) b = Max (v, a) y = Max (b, z)"));
        merged.after("y = Max (v, x, w, z)").exact();
        Proof::of("merge-extremes").before(&text("a = Min (x, z) y = Min (a, w)")).after("y = Min (x, z, w)").exact();
    }

    #[test]
    fn smaller_shared_and_other_extremes_stay() {
        for (nodes, reason) in [
            ("a = Max (w, v) y = Max (a, x)", "smaller"),
            ("a = Max (x, w) b = Max (a, z) y = Sub (a, b)", "elsewhere"),
            ("a = Max (x, w) y = Min (a, z)", ""),
        ] {
            Proof::of("merge-extremes").before(&text(nodes)).does_not_fire(reason);
        }
    }
}
