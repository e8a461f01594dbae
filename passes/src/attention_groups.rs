//! Attention(q, repeated(k), repeated(v), …)   ⇒   Attention(q, k, v, …),
//! where repeated(k) = Reshape(Expand(Unsqueeze(k, 2))), or with Tile, gives each head of keys to several heads of queries
//!
//! when: keys and values are repeated equally often, each head next to itself: the operator groups heads by itself.

use crate::heads::operand;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Dim, ValueId};

/// Leaves out the repetition.
pub static RULE: Rule = Rule::on("group-attention-heads", &["Attention"], rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let node = found.root();
    let operator = cx.operator(node).ok_or(No::SILENT)?;
    let repeated = |index: usize| cx.input(node, index).and_then(|v| unrepeated(cx, v)).ok_or(No::SILENT);
    let ((k, heads), (v, of_values)) = (repeated(1)?, repeated(2)?);
    must(heads == of_values, "keys and values have different numbers of heads")?;
    must(cx.graph.node(node).num_outputs() == 1, "it gives out more than its result")?;
    let mut inputs: Vec<Operand> = cx.graph.node_inputs(node).iter().map(|&v| Operand::from(v)).collect();
    must(inputs[3..].iter().skip(1).all(|i| *i == Operand::Absent), "it has a cache")?;
    (inputs[1], inputs[2]) = (k.into(), v.into());
    let mut patch = Patch::new();
    let y = patch.operator("Attention", operator.attributes.clone(), &inputs);
    Ok(patch.replace(cx.output(node), y))
}

/// What is repeated head by head, and its number of heads.
fn unrepeated(cx: &Cx<'_>, value: ValueId) -> Option<(ValueId, i64)> {
    let expanded = operand(cx, value, "Reshape")?;
    let single = operand(cx, expanded, "Expand").or_else(|| operand(cx, expanded, "Tile"))?;
    let x = operand(cx, single, "Unsqueeze").or_else(|| operand(cx, single, "Reshape"))?;
    let (x4, x5) = (cx.shape(x)?, cx.shape(single)?);
    let (whole, joined) = (cx.shape(expanded)?, cx.shape(value)?);
    let ([b, h, p, f], [b1, h1, one, p1, f1]) = (x4, x5) else { return None };
    let ([b2, h2, times, p2, f2], [b3, h3, p3, f3]) = (whole, joined) else { return None };
    let same = [(b, b1), (h, h1), (p, p1), (f, f1), (b, b2), (h, h2), (p, p2), (f, f2), (b, b3), (p, p3), (f, f3)];
    let is_repeated = same.iter().all(|(a, b)| Dim::provably_equal(a, b)) && one.as_known() == Some(1);
    let heads = h.as_known()?;
    (is_repeated && heads.checked_mul(times.as_known()?) == h3.as_known()).then_some((x, heads))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    /// Attention whose keys and values get an axis there, which is expanded to 2 by `times`.
    fn text(axis: i64, times: &str) -> String {
        format!(
            "g (float[N, 4, S, 4] q, float[N, 2, 5, 4] k, float[N, 2, 5, 4] v) => (float[] y) \
             <int64[1] axis = {{{axis}}}, int64[5] times = {{{times}}}, int64[4] joined = {{0, 4, 5, 4}}> \
             {{ a = Unsqueeze (k, axis) b = Expand (a, times) c = Reshape (b, joined) d = Unsqueeze (v, axis) e = Expand (d, times) f = Reshape (e, joined) \
               y = Attention (q, c, f) }}"
        )
    }

    #[test]
    fn repeated_heads_are_grouped() {
        Proof::of("group-attention-heads")
            .before(&text(2, "1, 1, 2, 1, 1"))
            .after("y = Attention (q, k, v)")
            .within(1e-6);
        Proof::of("group-attention-heads")
            .before(&text(2, "1, 1, 2, 1, 1").replace("Expand", "Tile"))
            .after("y = Attention (q, k, v)")
            .within(1e-6);
    }

    #[test]
    fn heads_in_another_order_stay() {
        Proof::of("group-attention-heads").before(&text(1, "1, 2, 1, 1, 1")).does_not_fire("");
    }
}
