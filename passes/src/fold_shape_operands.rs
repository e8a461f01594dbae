//! Reshape(x, computed)   ⇒   Reshape(x, [0, −1, 64, …])
//! Expand(x, computed)   ⇒   Expand(x, [1, 3, …])
//! Slice(x, computed, computed, …)   ⇒   Slice(x, [0], [∞], …)
//!
//! when: of the computed numbers, each is known, or says what an extent of x says already; Reshape may infer one more.
//! What computed them is then read by nobody.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must, no};
use planish_ir::Dim;

/// Writes down shapes that are computed from shapes.
pub static RULE: Rule = Rule::on("fold-shape-operands", &["Reshape", "Expand", "Slice"], rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let operator = cx.operator(id).ok_or(No::SILENT)?;
    let inputs = cx.graph.node_inputs(id);
    let x = cx.input(id, 0).ok_or(No::SILENT)?;
    let computed = |index| cx.input(id, index).is_some_and(|v| cx.constant(v).is_none());
    must(computed(1) || operator.name == "Slice" && computed(2), No::SILENT)?;
    let from = cx.shape(x).ok_or("the rank of the input is not known")?;
    let mut patch = Patch::new();
    let mut operands: Vec<Operand> = inputs.iter().map(|&v| v.into()).collect();
    match operator.name.as_str() {
        "Reshape" => {
            must(cx.int(id, "allowzero") == Some(0), "zeros in the shape mean zero")?;
            let to = cx.shape(cx.output(id)).ok_or("the rank of the result is not known")?;
            operands[1] = patch.ints(&reshape_operand(from, to)?);
        }
        "Expand" => {
            let to = cx.shape(cx.output(id)).ok_or("the rank of the result is not known")?;
            operands[1] = patch.ints(&expand_operand(from, to)?);
        }
        _ => {
            let bounds = slice_bounds(cx, found, from)?;
            (operands[1], operands[2]) = (patch.ints(&bounds.0), patch.ints(&bounds.1));
        }
    }
    let y = patch.operator(&operator.name, operator.attributes.clone(), &operands);
    Ok(patch.replace(cx.output(id), y))
}

/// What to tell Reshape to come from one shape to another: 0 keeps an extent, −1 stands for one that is not known.
pub(crate) fn reshape_operand(from: &[Dim], to: &[Dim]) -> Result<Vec<i64>, No> {
    let mut has_inferred = false;
    let mut operand = Vec::with_capacity(to.len());
    for (i, extent) in to.iter().enumerate() {
        operand.push(match extent.as_known() {
            Some(0) => return no("an extent is zero"),
            Some(known) => known,
            None if from.get(i).is_some_and(|same| Dim::provably_equal(same, extent)) => 0,
            None if !has_inferred => {
                has_inferred = true;
                -1
            }
            None => return no("two extents of the result are not known"),
        });
    }
    Ok(operand)
}

/// What to tell Expand: 1 keeps an extent.
fn expand_operand(from: &[Dim], to: &[Dim]) -> Result<Vec<i64>, No> {
    let added = to.len().checked_sub(from.len()).ok_or(No::SILENT)?;
    let operand = to.iter().enumerate().map(|(i, extent)| {
        let keeps = i >= added && Dim::provably_equal(&from[i - added], extent);
        if keeps { Some(1) } else { extent.as_known() }
    });
    operand.collect::<Option<Vec<i64>>>().ok_or_else(|| "an extent of the result is not known".into())
}

/// Starts and ends, where every end is known or is the extent.
fn slice_bounds(cx: &Cx<'_>, found: &Match<'_>, shape: &[Dim]) -> Result<(Vec<i64>, Vec<i64>), No> {
    let id = found.root();
    let read = |index| cx.input(id, index).map(|v| cx.fact(v).elements().ok_or("bounds are not known"));
    let (starts, ends) = (read(1).ok_or(No::SILENT)??, read(2).ok_or(No::SILENT)??);
    let axes = match cx.input(id, 3) {
        Some(axes) => cx.ints(axes).ok_or("axes are not known")?,
        None => (0..starts.len() as i64).collect(),
    };
    let forwards = cx.input(id, 4).is_none_or(|s| cx.ints(s).is_some_and(|s| s.iter().all(|&s| s > 0)));
    must(forwards, "steps are not positive")?;
    must(axes.len() == ends.len() && starts.len() == ends.len(), No::SILENT)?;
    let starts: Option<Vec<i64>> = starts.iter().map(Dim::as_known).collect();
    let end = |(end, &axis): (&Dim, &i64)| {
        let axis = planish_ir::Axis::new(axis).resolve(shape.len()).ok()?;
        end.as_known().or_else(|| Dim::provably_equal(end, &shape[axis]).then_some(i64::MAX))
    };
    let ends: Option<Vec<i64>> = ends.iter().zip(&axes).map(end).collect();
    match (starts, ends) {
        (Some(starts), Some(ends)) => Ok((starts, ends)),
        _ => no("bounds are not known"),
    }
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, S, 6] x, float[N, 1, 1] z) => (float[] y) <int64[2] first = {{0, 1}}, int64[1] second = {{1}}, \
             int64[2] heads = {{2, 3}}, int64[1] one = {{1}}, int64[1] zero = {{0}}, int64[1] three = {{3}}, int64[1] flat = {{6}}> {{ s = Shape (x) {nodes} }}"
        )
    }

    #[test]
    fn shapes_that_repeat_the_input_are_written_down() {
        let nodes = "f = Gather (s, first) t = Concat (f, heads) <axis: int = 0> y = Reshape (x, t)";
        Proof::of_all(&["fold-shape-operands", "remove-dead-nodes"])
            .before(&text(nodes))
            .after("y = Reshape (x, y_constant)")
            .exact();
        Proof::of("fold-shape-operands")
            .before(&text("f = Gather (s, second) t = Concat (one, f, three) <axis: int = 0> y = Expand (z, t)"))
            .does_not_fire("extent of the result");
        Proof::of("fold-shape-operands")
            .before(&text("e = Gather (s, second) y = Slice (x, zero, e, one)"))
            .after("y = Slice (x, y_constant, y_constant_1, one)")
            .exact();
        Proof::of("fold-shape-operands")
            .before(&text("n = Gather (s, zero) t = Concat (n, one, three) <axis: int = 0> y = Expand (z, t)"))
            .after("y = Expand (z, y_constant)")
            .exact();
    }

    #[test]
    fn two_unknown_extents_are_left_alone() {
        Proof::of("fold-shape-operands")
            .before(&text("a = Gather (s, second) n = Gather (s, zero) t = Concat (a, n, flat) <axis: int = 0> y = Reshape (x, t)"))
            .does_not_fire("two extents");
    }
}
