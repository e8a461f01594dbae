//! Range(0, n, d) + c   ⇒   Range(c, n + c, d)
//!
//! Positions behind a cache are counted from its length on; how far is mostly computed already.
//! when: they are integers; c is of rank 0; nobody else reads the `Range`.

use crate::patch::Patch;
use crate::rule::{Cx, Rule, must};
use planish_ir::Attributes;
use planish_tensor::DType;

/// Counts from where the numbers begin.
pub static RULE: Rule = Rule::matching("shift-ranges", "y = c + Range(first, n, step)", |cx: &Cx<'_>, found| {
    let (c, n, step) = (found["c"], found["n"], found["step"]);
    must(matches!(cx.dtype(c), Some(DType::I64 | DType::I32)), "they are no integers")?;
    must(cx.scalar(found["first"]) == Some(0.0), "it does not begin at 0")?;
    must(cx.rank(c) == Some(0), "what is added is not one number")?;
    let mut patch = Patch::new();
    let end = patch.operator("Add", Attributes::new(), &[n.into(), c.into()]);
    let y = patch.operator("Range", Attributes::new(), &[c.into(), end, step.into()]);
    Ok(patch.replace(cx.output(found.root()), y))
});

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, S] x, float[P, 2] p, int64[S] v) => (int64[] y) <int64 zero = {{0}}, int64 one = {{1}}, int64 two = {{2}}> \
             {{ s1 = Shape <start = 1> (x) s = Squeeze (s1) p1 = Shape <end = 1> (p) c = Squeeze (p1) {nodes} }}"
        )
    }

    #[test]
    fn a_range_begins_at_what_was_added() {
        Proof::of("shift-ranges")
            .before(&text("r = Range (zero, s, two) y = Add (r, c)"))
            .after(
                "s1 = Shape (x) <start: int = 1> s = Squeeze (s1) p1 = Shape (p) <end: int = 1> c = Squeeze (p1) \
                 y_add = Add (s, c) y = Range (c, y_add, two)",
            )
            .exact();
    }

    #[test]
    fn other_ranges_stay() {
        for (nodes, reason) in [
            ("r = Range (one, s, one) y = Add (r, c)", "begin at 0"),
            ("r = Range (zero, s, one) y = Add (r, v)", "one number"),
            ("r = Range (zero, s, one) a = Add (r, c) y = Mul (a, r)", "read by"),
        ] {
            Proof::of("shift-ranges").before(&text(nodes)).does_not_fire(reason);
        }
    }
}
