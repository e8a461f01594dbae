//! Concat(a, Concat(b, c), d)   ⇒   Concat(a, b, c, d)
//!
//! when: both join along the same axis; the inner has no other reader.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{NodeId, ValueId};

/// Joins in one step what is joined in two.
pub static RULE: Rule = Rule::on("flatten-concats", &["Concat"], rewrite);

/// A node of more inputs than this is not made longer still.
const MAX_INPUTS: usize = 256;

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let rank = cx.rank(cx.output(id)).ok_or(No::SILENT)?;
    let axis = cx.axis(id, "axis", rank).ok_or(No::SILENT)?;
    let own: Vec<ValueId> = cx.graph.node_inputs(id).iter().flatten().copied().collect();
    let inner = |value: ValueId| -> Option<NodeId> {
        let is_concat = cx.operator(value.node).is_some_and(|o| o.is("Concat"));
        (is_concat && cx.axis(value.node, "axis", rank) == Some(axis) && cx.is_read_once(value)).then_some(value.node)
    };
    must(own.iter().any(|&v| inner(v).is_some()), No::SILENT)?;
    let mut operands: Vec<Operand> = Vec::new();
    for &value in &own {
        match inner(value) {
            Some(node) => operands.extend(cx.graph.node_inputs(node).iter().flatten().map(|&v| Operand::from(v))),
            None => operands.push(value.into()),
        }
    }
    must(operands.len() <= MAX_INPUTS, "too many inputs")?;
    let operator = cx.operator(id).ok_or(No::SILENT)?;
    Ok(Patch::by_operator(found, "Concat", operator.attributes.clone(), &operands))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!("g (float[2, 2] x, float[2, 2] z) => (float[] y) {{ {nodes} }}")
    }

    #[test]
    fn nested_joins_become_one() {
        Proof::of("flatten-concats")
            .before(&text("a = Concat (x, z) <axis: int = 1> b = Concat (z, a, x) <axis: int = -1> y = Concat (b, z) <axis: int = 1>"))
            .after("y = Concat (z, x, z, x, z) <axis: int = 1>")
            .exact();
    }

    #[test]
    fn other_axes_and_other_readers_stay() {
        for nodes in [
            "a = Concat (x, z) <axis: int = 0> b = Concat (a, a) <axis: int = 1> y = Neg (b)",
            "a = Concat (x, z) <axis: int = 1> b = Concat (x, a) <axis: int = 1> c = Shape (b) d = Shape (a) e = Add (c, d) y = Cast (e) <to: int = 1>",
        ] {
            Proof::of("flatten-concats").before(&text(nodes)).does_not_fire("");
        }
    }
}
