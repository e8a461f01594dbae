//! y = Swish(a) · b   ⇒   y = SwiGLU(a, b)
//!
//! when: a and b are of one type, for the operator does not broadcast.

use crate::patch::Patch;
use crate::rule::{Rule, must};
use planish_ir::Attributes;

/// Makes a gate one node.
pub static RULE: Rule = Rule::matching("fuse-swiglu", "gate = Swish(a)\n y = gate * b", |cx, found| {
    must(cx.same_type(found["a"], found["b"]), "gate and value are not known to be of one type")?;
    let alpha = cx.float(found.node("gate"), "alpha").ok_or("alpha is not known")?;
    let attributes = if alpha == 1.0 { Attributes::new() } else { Attributes::new().with("alpha", alpha) };
    Ok(Patch::by_operator(found, "SwiGLU", attributes, &[found["a"].into(), found["b"].into()]))
});

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!("g (float[N, 4] a, float[N, 4] b, float[4] c) => (float[N, 4] y) {{ {nodes} }}")
    }

    #[test]
    fn a_gate_and_its_value_are_one_node() {
        Proof::of("fuse-swiglu").before(&text("s = Swish (a) y = Mul (b, s)")).after("y = SwiGLU (a, b)").within(1e-6);
        Proof::of("fuse-swiglu")
            .before(&text("s = Swish <alpha: float = 1.5> (a) y = Mul (s, b)"))
            .after("y = SwiGLU (a, b) <alpha: float = 1.5>")
            .within(1e-6);
    }

    #[test]
    fn values_of_another_shape_and_gates_read_elsewhere_stay() {
        Proof::of("fuse-swiglu").before(&text("s = Swish (a) y = Mul (s, c)")).does_not_fire("one type");
        Proof::of("fuse-swiglu").before(&text("s = Swish (a) m = Mul (s, b) y = Add (m, s)")).does_not_fire("read by");
    }
}
