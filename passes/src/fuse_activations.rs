//! Activations that exporters write out:
//!
//! x · sigmoid(α · x)   ⇒   Swish(x, α)
//! clip(x + 3, 0, 6) / 6   ⇒   HardSigmoid(x, 1/6, 1/2)
//! x · HardSigmoid(x, 1/6, 1/2)   ⇒   HardSwish(x)
//! x where x > 20, else softplus(x)   ⇒   Softplus(x)
//! x · tanh(softplus(x))   ⇒   Mish(x)
//! exp(x − max(x)) / Σ exp(x − max(x))   ⇒   Softmax(x)

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::Attributes;
use planish_tensor::DType;

/// x · sigmoid(α · x).
pub static SWISH: Rule = Rule::matching("fuse-swish", "y = x * Sigmoid(x * $alpha) | x * Sigmoid(x)", |cx, found| {
    let mut attributes = Attributes::new();
    if let Some(alpha) = found.get("alpha") {
        let alpha = cx.scalar(alpha).ok_or("α is not one number")?;
        attributes = attributes.with("alpha", alpha as f32);
    }
    must(cx.same_shape(found["x"], cx.output(found.root())), "α makes the result larger than x")?;
    Ok(Patch::by_operator(found, "Swish", attributes, &[found["x"].into()]))
});

/// clip(x + 3, 0, 6) / 6.
pub static HARD_SIGMOID: Rule = Rule::matching(
    "fuse-hard-sigmoid",
    "c = Clip(x + 3, 0, 6) | Min(Max(x + 3, 0), 6)
     y = c / 6 | c * 0.1666666667",
    |cx, found| {
        must(cx.same_type(found["x"], cx.output(found.root())), "the constants change the shape")?;
        let attributes = Attributes::new().with("alpha", 1f32 / 6.0).with("beta", 0.5f32);
        Ok(Patch::by_operator(found, "HardSigmoid", attributes, &[found["x"].into()]))
    },
);

/// x · clip(x + 3, 0, 6) / 6.
pub static HARD_SWISH: Rule = Rule::matching(
    "fuse-hard-swish",
    "c = Clip(x + 3, 0, 6) | Min(Max(x + 3, 0), 6)
     y = x * c / 6 | x * c * 0.1666666667 | x * (c / 6) | x / 6 * c",
    hard_swish,
);

/// x · HardSigmoid(x).
pub static HARD_SWISH_OF_SIGMOID: Rule =
    Rule::matching("fuse-hard-swish-of-hard-sigmoid", "h = HardSigmoid(x)\n y = x * h", |cx, found| {
        let is = |name: &str, value: f32| cx.float(found.node("h"), name).is_some_and(|v| (v - value).abs() < 1e-4);
        must(is("alpha", 1.0 / 6.0) && is("beta", 0.5), "the slope is not 1/6 around 1/2")?;
        hard_swish(cx, found)
    });

/// Softplus, and x itself from where on nothing of what is added to it is left.
pub static SOFTPLUS: Rule =
    Rule::matching("fuse-softplus", "y = Where(Greater(x, $threshold), x, Softplus(x))", |cx, found| {
        must(matches!(cx.dtype(found["x"]), Some(DType::F32 | DType::F16 | DType::BF16)), "something is left of it")?;
        let threshold = cx.scalar(found["threshold"]).ok_or("the threshold is not one number")?;
        must(threshold >= LARGE, "the function is not yet x at the threshold")?;
        must(cx.same_shape(found["x"], cx.output(found.root())), "the threshold changes the shape")?;
        Ok(Patch::by_operator(found, "Softplus", Attributes::new(), &[found["x"].into()]))
    });

/// Where e⁻ˣ is less than half of a unit in the last place of x as `float`.
const LARGE: f64 = 17.0;

/// x · tanh(softplus(x)).
pub static MISH: Rule = Rule::matching("fuse-mish", "y = x * Tanh(Softplus(x) | Log(1 + Exp(x)))", |cx, found| {
    must(cx.same_shape(found["x"], cx.output(found.root())), "the constant changes the shape")?;
    Ok(Patch::by_operator(found, "Mish", Attributes::new(), &[found["x"].into()]))
});

/// exp(x − max(x)) / Σ exp(x − max(x)).
pub static SOFTMAX: Rule = Rule::matching(
    "fuse-softmax",
    "largest = ReduceMax(x, ...)
     e = Exp(x - largest)
     sum = ReduceSum(e, ...)
     y = e / sum",
    |cx, found| {
        let rank = cx.rank(found["x"]).ok_or("the rank is not known")?;
        let axis = |name: &str| -> Result<usize, No> {
            must(cx.int(found.node(name), "keepdims") == Some(1), "an axis is dropped")?;
            match cx.reduced_axes(found.node(name), rank).as_deref() {
                Some(&[axis]) => Ok(axis),
                _ => Err("it is not over one axis".into()),
            }
        };
        let over = axis("sum")?;
        must(axis("largest")? == over, "largest and sum are taken over different axes")?;
        let attributes = Attributes::new().with("axis", over as i64 - rank as i64);
        Ok(Patch::by_operator(found, "Softmax", attributes, &[found["x"].into()]))
    },
);

fn hard_swish(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    must(cx.same_type(found["x"], cx.output(found.root())), "the constants change the shape")?;
    Ok(Patch::by_operator(found, "HardSwish", Attributes::new(), &[found["x"].into()]))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[2, N] x, float[2, N] z) => (float[2, N] y) <float three = {{3}}, float zero = {{0}}, float six = {{6}}, float sixth = {{0.16666667}}, \
             float quick = {{1.702}}, float one = {{1}}, float twenty = {{20}}, int64[1] last = {{-1}}, int64[1] first = {{0}}> {{ {nodes} }}"
        )
    }

    fn becomes(rule: &str, nodes: &str, after: &str) {
        Proof::of(rule).before(&text(nodes)).after(after).within(1e-6);
    }

    #[test]
    fn swish_with_and_without_a_slope() {
        becomes("fuse-swish", "s = Sigmoid (x) y = Mul (s, x)", "y = Swish (x)");
        becomes(
            "fuse-swish",
            "m = Mul (quick, x) s = Sigmoid (m) y = Mul (x, s)",
            "y = Swish (x) <alpha: float = 1.702>",
        );
        Proof::of("fuse-swish").before(&text("s = Sigmoid (z) m = Mul (x, s) y = Relu (m)")).does_not_fire("");
        Proof::of("fuse-swish").before(&text("s = Sigmoid (x) m = Mul (x, s) y = Add (m, s)")).does_not_fire("read by");
    }

    #[test]
    fn hard_sigmoid_and_hard_swish() {
        let clip = "a = Add (x, three) c = Clip (a, zero, six)";
        becomes(
            "fuse-hard-sigmoid",
            &format!("{clip} y = Div (c, six)"),
            "y = HardSigmoid (x) <alpha: float = 0.16666667, beta: float = 0.5>",
        );
        for nodes in [
            "m = Mul (x, c) y = Div (m, six)",
            "m = Mul (c, x) y = Mul (sixth, m)",
            "m = Div (c, six) y = Mul (m, x)",
            "m = Mul (c, sixth) y = Mul (x, m)",
        ] {
            becomes("fuse-hard-swish", &format!("{clip} {nodes}"), "y = HardSwish (x)");
        }
        let relu6 = "a = Add (three, x) b = Max (a, zero) c = Min (b, six) m = Mul (x, c) y = Div (m, six)";
        becomes("fuse-hard-swish", relu6, "y = HardSwish (x)");
        let sigmoid = "h = HardSigmoid <alpha: float = 0.16666667, beta: float = 0.5> (x) y = Mul (x, h)";
        becomes("fuse-hard-swish-of-hard-sigmoid", sigmoid, "y = HardSwish (x)");
    }

    #[test]
    fn other_bounds_and_slopes_are_left_alone() {
        let nodes = "a = Add (x, three) c = Clip (a, one, six) m = Mul (x, c) y = Div (m, six)";
        Proof::of("fuse-hard-swish").before(&text(nodes)).does_not_fire("expected");
        let nodes = "h = HardSigmoid (x) y = Mul (x, h)";
        Proof::of("fuse-hard-swish-of-hard-sigmoid").before(&text(nodes)).does_not_fire("slope");
    }

    #[test]
    fn mish_with_either_softplus() {
        becomes("fuse-mish", "s = Softplus (x) t = Tanh (s) y = Mul (x, t)", "y = Mish (x)");
        becomes("fuse-mish", "e = Exp (x) a = Add (e, one) s = Log (a) t = Tanh (s) y = Mul (t, x)", "y = Mish (x)");
        Proof::of("fuse-mish").before(&text("s = Softplus (z) t = Tanh (s) y = Mul (x, t)")).does_not_fire("");
    }

    #[test]
    fn softplus_may_be_cut_off_where_it_is_straight() {
        let cut = |of: &str, at: &str| format!("g = Greater ({of}, {at}) s = Softplus (x) y = Where (g, x, s)");
        becomes("fuse-softplus", &cut("x", "twenty"), "y = Softplus (x)");
        Proof::of("fuse-softplus").before(&text(&cut("x", "six"))).does_not_fire("not yet x");
        Proof::of("fuse-softplus").before(&text(&cut("z", "twenty"))).does_not_fire("");
        let double = "g (double[N] x) => (double[N] y) <double twenty = {20}> { g = Greater (x, twenty) s = Softplus (x) y = Where (g, x, s) }";
        Proof::of("fuse-softplus").before(double).does_not_fire("is left");
    }

    #[test]
    fn softmax_over_one_axis() {
        let softmax = |largest: &str| {
            format!("m = ReduceMax (x, {largest}) d = Sub (x, m) e = Exp (d) s = ReduceSum (e, last) y = Div (e, s)")
        };
        becomes("fuse-softmax", &softmax("last"), "y = Softmax (x) <axis: int = -1>");
        Proof::of("fuse-softmax").before(&text(&softmax("first"))).does_not_fire("different axes");
    }
}
