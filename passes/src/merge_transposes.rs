//! Transpose(Transpose(x, p), q)   ⇒   Transpose(x, p ∘ q), or x where that moves nothing
//!
//! when: the inner has no other reader, or nothing is moved in the end.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, NodeId};

/// Merges permutations that follow each other.
pub static RULE: Rule = Rule::matching("merge-transposes", "inner = &Transpose(x)\n y = Transpose(inner)", rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let rank = cx.rank(found["x"]).ok_or("the rank is not known")?;
    let (p, q) = (permutation(cx, found.node("inner"), rank)?, permutation(cx, found.root(), rank)?);
    let both: Vec<i64> = q.iter().map(|&axis| p[axis] as i64).collect();
    if both.iter().enumerate().all(|(to, &from)| from == to as i64) {
        return Ok(Patch::by_value(found, found["x"]));
    }
    must(cx.is_read_once(found["inner"]), "the inner is read elsewhere")?;
    Ok(Patch::by_operator(found, "Transpose", Attributes::new().with("perm", both), &[found["x"].into()]))
}

/// Where each axis of a Transpose comes from.
pub(crate) fn permutation(cx: &Cx<'_>, id: NodeId, rank: usize) -> Result<Vec<usize>, No> {
    let Some(given) = cx.int_list(id, "perm") else { return Ok((0..rank).rev().collect()) };
    let axes: Vec<usize> = given.iter().filter_map(|&axis| usize::try_from(axis).ok()).collect();
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    must(sorted.into_iter().eq(0..rank), "perm is not a permutation of the axes")?;
    Ok(axes)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!("g (float[2, N, 4] x) => (float[] y) {{ {nodes} }}")
    }

    #[test]
    fn two_become_one_or_none() {
        for (nodes, after) in [
            (
                "a = Transpose (x) <perm: ints = [1, 2, 0]> y = Transpose (a) <perm: ints = [1, 0, 2]>",
                "y = Transpose (x) <perm: ints = [2, 1, 0]>",
            ),
            (
                "a = Transpose (x) <perm: ints = [1, 2, 0]> b = Transpose (a) <perm: ints = [2, 0, 1]> y = Neg (b)",
                "y = Neg (x)",
            ),
            ("a = Transpose (x) b = Transpose (a) y = Add (a, b)", "a = Transpose (x) y = Add (a, x)"),
        ] {
            let square =
                text(nodes).replace("[2, N, 4]", if nodes.contains("Add") { "[3, 3, 3]" } else { "[2, N, 4]" });
            Proof::of("merge-transposes").before(&square).after(after).exact();
        }
    }

    #[test]
    fn an_inner_one_read_elsewhere_stays() {
        let nodes = "a = Transpose (x) <perm: ints = [1, 2, 0]> b = Transpose (a) <perm: ints = [1, 0, 2]> c = Neg (a) d = Neg (b) e = Shape (c) f = Shape (d) y = Add (e, f)";
        Proof::of("merge-transposes")
            .before(&text(nodes).replace("float[] y", "int64[] y"))
            .does_not_fire("read elsewhere");
    }
}
