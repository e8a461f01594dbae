//! y = x · ½ · (1 + erf(x / √2))   ⇒   y = Gelu(x)
//! y = x · ½ · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))   ⇒   y = Gelu(x, approximate = tanh)

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::Rule;
use planish_ir::Attributes;

/// The exact form.
pub static ERF: Rule = Rule::matching(
    "fuse-gelu",
    "e = Erf(x / 1.4142135623 | x * 0.7071067811)
     y = x * 0.5 * (1 + e) | x * (0.5 + 0.5 * e)",
    |_, found| Ok(gelu(found, "none")),
);

/// The approximation by tanh.
pub static TANH: Rule = Rule::matching(
    "fuse-gelu-tanh",
    "cube = Pow(x, 3) | x * x * x | x * Pow(x, 2)
     t = Tanh(0.7978845608 * (x + 0.044715 * cube) | 0.7978845608 * x * (1 + 0.044715 * (Pow(x, 2) | x * x)))
     y = x * 0.5 * (1 + t) | x * (0.5 + 0.5 * t)",
    |_, found| Ok(gelu(found, "tanh")),
);

fn gelu(found: &Match<'_>, approximate: &str) -> Patch {
    let attributes = Attributes::new().with("approximate", approximate);
    Patch::by_operator(found, "Gelu", attributes, &[found["x"].into()])
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[2, N] x, float[2, N] z) => (float[2, N] y) <float half = {{0.5}}, float one = {{1}}, float root = {{1.4142135}}, \
             float inverse = {{0.70710677}}, float wrong = {{1.5}}, float three = {{3}}, float small = {{0.044715}}, float c = {{0.7978846}}> \
             {{ {nodes} }}"
        )
    }

    #[test]
    fn every_order_of_the_exact_form_becomes_gelu() {
        for nodes in [
            "d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)",
            "d = Mul (inverse, x) e = Erf (d) a = Add (one, e) h = Mul (x, half) y = Mul (h, a)",
            "d = Div (x, root) e = Erf (d) a = Add (e, one) h = Mul (half, a) y = Mul (x, h)",
            "d = Div (x, root) e = Erf (d) h = Mul (e, half) a = Add (h, half) y = Mul (a, x)",
        ] {
            Proof::of("fuse-gelu")
                .before(&text(nodes))
                .after("y = Gelu (x) <approximate: string = \"none\">")
                .within(1e-6);
        }
    }

    #[test]
    fn the_form_with_tanh_becomes_gelu() {
        for cube in ["p = Pow (x, three)", "q = Mul (x, x) p = Mul (q, x)"] {
            let nodes = format!(
                "{cube} s = Mul (p, small) a = Add (x, s) b = Mul (a, c) t = Tanh (b) o = Add (t, one) h = Mul (x, half) y = Mul (h, o)"
            );
            Proof::of("fuse-gelu-tanh")
                .before(&text(&nodes))
                .after("y = Gelu (x) <approximate: string = \"tanh\">")
                .within(1e-6);
        }
    }

    #[test]
    fn other_constants_values_or_readers_are_left_alone() {
        for (nodes, reason) in [
            ("d = Div (x, wrong) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)", "expected 1.414"),
            (
                "d = Div (z, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) y = Mul (m, half)",
                "expected the same value",
            ),
            (
                "d = Div (x, root) e = Erf (d) a = Add (e, one) m = Mul (x, a) n = Mul (m, half) y = Add (n, a)",
                "read by",
            ),
        ] {
            Proof::of("fuse-gelu").before(&text(nodes)).does_not_fire(reason);
        }
    }
}
