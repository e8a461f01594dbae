//! y = Reshape(InstanceNormalization(Reshape(x, [batch, groups, −1]), 1, 0), shape of x) · γ + β
//! ⇒   y = GroupNormalization(x, γ, β, num_groups)
//!
//! when: shapes show that channels are cut into groups; γ and β vary along channels only.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must, uniform};
use planish_ir::{Attributes, Dim, ValueId};

/// The form that torch writes.
pub static RULE: Rule = Rule::matching(
    "fuse-group-norm",
    "grouped = Reshape(x, _)
     norm = InstanceNormalization(grouped, $ones, $zeros)
     y = Reshape(norm, _) * $scale + $bias",
    rewrite,
);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (x, y) = (found["x"], cx.output(found.root()));
    let is_all = |name: &str, value: f64| cx.constant(found[name]).and_then(uniform) == Some(value);
    must(is_all("ones", 1.0) && is_all("zeros", 0.0), "groups have a scale or bias of their own")?;
    must(cx.same_type(x, y), "the result is not known to be of the type of x")?;
    let (Some([batch, channels, ..]), Some([b, groups, _])) = (cx.shape(x), cx.shape(found["grouped"])) else {
        return Err("the groups are not known".into());
    };
    let (channels, groups) = (channels.as_known().unwrap_or(0), groups.as_known().unwrap_or(0));
    let is_cut = groups > 0 && channels > 0 && channels % groups == 0 && Dim::provably_equal(batch, b);
    must(is_cut, "the groups are not known to be of whole channels")?;
    let rank = cx.rank(x).ok_or(No::SILENT)?;
    let mut patch = Patch::new();
    let scale = by_channel(cx, &mut patch, found["scale"], channels, rank)?;
    let bias = by_channel(cx, &mut patch, found["bias"], channels, rank)?;
    let epsilon = cx.float(found.node("norm"), "epsilon").ok_or(No::SILENT)?;
    let attributes = Attributes::new().with("epsilon", epsilon).with("num_groups", groups);
    let new = patch.operator("GroupNormalization", attributes, &[x.into(), scale, bias]);
    Ok(patch.replace(y, new))
}

/// A constant that varies along channels of values of `rank` as a vector.
fn by_channel(cx: &Cx<'_>, patch: &mut Patch, value: ValueId, channels: i64, rank: usize) -> Result<Operand, No> {
    let shape = cx.known_shape(value).ok_or(No::SILENT)?;
    let from_end = |axis: usize| shape.len() + axis >= rank && shape[shape.len() + axis - rank] == channels;
    let is_vector = shape.iter().product::<i64>() == channels && from_end(1);
    must(is_vector, "scale or bias varies along other axes than channels")?;
    let flat = patch.ints(&[-1]);
    Ok(patch.operator("Reshape", Attributes::new(), &[value.into(), flat]))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(ones: &str, scale: &str) -> String {
        format!(
            "g (float[N, 4, 3, H] x) => (float[] y) <int64[3] groups = {{0, 2, -1}}, int64[4] whole = {{0, 4, 3, -1}}, float[2] o = {{{ones}}}, float[2] z = {{0, 0}}, \
             {scale}, float[4, 1, 1] b = {{4, 3, 2, 1}}> \
             {{ r = Reshape (x, groups) i = InstanceNormalization (r, o, z) w = Reshape (i, whole) m = Mul (w, s) y = Add (m, b) }}"
        )
    }

    #[test]
    fn grouped_instances_become_one_node() {
        Proof::of("fuse-group-norm")
            .before(&text("1, 1", "float[4, 1, 1] s = {1, 2, 3, 4}"))
            .after("y = GroupNormalization (x, y_reshape, y_reshape_1) <epsilon: float = 1e-5, num_groups: int = 2>")
            .within(1e-5);
    }

    #[test]
    fn other_scales_are_left_alone() {
        for (ones, scale, reason) in [
            ("1, 2", "float[4, 1, 1] s = {1, 2, 3, 4}", "of their own"),
            ("1, 1", "float[3, 1] s = {1, 2, 3}", "other axes"),
        ] {
            Proof::of("fuse-group-norm").before(&text(ones, scale)).does_not_fire(reason);
        }
    }
}
