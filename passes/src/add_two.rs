//! Sum(a, b)   ⇒   Add(a, b), which later rules know.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::Attributes;

/// Makes a sum of two what residuals are added by.
pub static RULE: Rule = Rule::on("add-two", &["Sum"], rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let terms: Vec<Operand> = cx.graph.node_inputs(found.root()).iter().flatten().map(|&v| Operand::from(v)).collect();
    must(terms.len() == 2, No::SILENT)?;
    Ok(Patch::by_operator(found, "Add", Attributes::new(), &terms))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!("g (float[N, 2] x, float[N, 2] z, float[2] w) => (float[] y) {{ {nodes} }}")
    }

    #[test]
    fn sums_of_two_are_additions() {
        Proof::of("add-two").before(&text("y = Sum (x, z)")).after("y = Add (x, z)").exact();
        Proof::of("add-two").before(&text("y = Sum (w, x)")).after("y = Add (w, x)").exact();
    }

    #[test]
    fn sums_of_more_stay() {
        for nodes in ["y = Sum (x, w, z)", "y = Max (x, z)"] {
            Proof::of("add-two").before(&text(nodes)).does_not_fire("");
        }
    }
}
