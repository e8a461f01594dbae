//! If(known condition)   ⇒   the nodes of the branch that runs
//! Loop(at most one iteration, which runs)   ⇒   the nodes of its body
//!
//! when: planish runs every operator of the body. Exporters leave an If behind for shapes that were open when they traced,
//! and a Loop for a sequence whose length turned out to be one.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attribute, Attributes, Graph, NodeId, ValueId};
use planish_tensor::Tensor;
use std::sync::Arc;

/// Takes the one branch that runs.
pub static IF: Rule = Rule::on("inline-if", &["If"], inline_if);

/// Takes the body of a loop that runs once.
pub static LOOP: Rule = Rule::on("inline-loop", &["Loop"], inline_loop);

fn inline_if(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let condition = known_bool(cx, cx.input(id, 0).ok_or(No::SILENT)?).ok_or("the condition is not known")?;
    let (then_branch, else_branch) = (body(cx, id, "then_branch")?, body(cx, id, "else_branch")?);
    // Captured values of the branches follow the condition, by the names of the attributes.
    let captured: Vec<Operand> = cx.graph.node_inputs(id).iter().skip(1).map(|&v| v.into()).collect();
    let (of_else, of_then) = captured.split_at(else_branch.captures().len().min(captured.len()));
    let mut patch = Patch::new();
    let outputs = match condition {
        true => patch.body(then_branch, of_then)?,
        false => patch.body(else_branch, of_else)?,
    };
    Ok(replace_outputs(cx, id, patch, &outputs))
}

fn inline_loop(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let body = body(cx, id, "body")?;
    let begins = cx.input(id, 1).is_none_or(|cond| known_bool(cx, cond) == Some(true));
    must(begins, "it is not known whether it begins")?;
    let most = cx.input(id, 0).and_then(|most| cx.ints(most)).and_then(|most| most.first().copied());
    let goes_on = body.outputs().first().and_then(|o| body.constant(o.value)).and_then(|t| t.as_slice::<bool>().ok());
    must(most == Some(1) || most != Some(0) && goes_on == Some(&[false]), "it may run more than once, or not at all")?;
    let inputs = cx.graph.node_inputs(id);
    let mut patch = Patch::new();
    let mut given = vec![patch.constant(Tensor::scalar(0i64)), patch.constant(Tensor::scalar(true))];
    given.extend(inputs.iter().skip(2).map(|&v| Operand::from(v)));
    let num_states = body.inputs().len() - 2;
    let mut outputs = patch.body(body, &given)?.split_off(1);
    for scan in outputs.iter_mut().skip(num_states) {
        let axis = patch.ints(&[0]);
        *scan = patch.operator("Unsqueeze", Attributes::new(), &[*scan, axis]);
    }
    Ok(replace_outputs(cx, id, patch, &outputs))
}

fn body<'a>(cx: &Cx<'a>, id: NodeId, name: &str) -> Result<&'a Arc<Graph>, No> {
    match cx.operator(id).and_then(|o| o.attributes.get(name)) {
        Some(Attribute::Graph(body)) => Ok(body),
        _ => Err(No::SILENT),
    }
}

/// The only element of a constant of bools.
fn known_bool(cx: &Cx<'_>, value: ValueId) -> Option<bool> {
    match cx.constant(value)?.as_slice::<bool>() {
        Ok([value]) => Some(*value),
        _ => None,
    }
}

fn replace_outputs(cx: &Cx<'_>, id: NodeId, patch: Patch, outputs: &[Operand]) -> Patch {
    let named = cx.graph.node_outputs(id).filter(|&v| !cx.graph.value_name(v).is_empty());
    named.zip(outputs).fold(patch, |patch, (value, &output)| patch.replace(value, output))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    #[test]
    fn the_branch_of_a_known_condition_stays() {
        for (condition, after) in [(1, "a = Mul (x, two) y = Neg (a)"), (0, "y = Abs (x)")] {
            let text = format!(
                "g (float[2] x) => (float[2] y) <bool c = {{{condition}}}, float two = {{2}}> {{ y = If (c) \
                 <then_branch: graph = t () => (float[2] b) {{ a = Mul (x, two) b = Neg (a) }}, \
                 else_branch: graph = e () => (float[2] b) {{ b = Abs (x) }}> }}"
            );
            Proof::of("inline-if")
                .before(&text)
                .after(&after.replace("a =", "y_mul =").replace("(a)", "(y_mul)"))
                .exact();
        }
    }

    #[test]
    fn an_open_condition_stays() {
        Proof::of("inline-if")
            .before("g (bool c, float[2] x) => (float[2] y) { y = If (c) <then_branch: graph = t () => (float[2] b) { b = Neg (x) }, else_branch: graph = e () => (float[2] b) { b = Abs (x) }> }")
            .does_not_fire("not known");
    }

    const BODY: &str = "<body: graph = b (int64 i, bool c, float[2] s) => (bool d, float[2] t, float[2] u) { d = Identity (c) t = Add (s, x) u = Neg (t) }>";

    #[test]
    fn a_loop_that_runs_once_is_its_body() {
        Proof::of("inline-loop")
            .before(&format!("g (float[2] x) => (float[2] y, float[1, 2] z) <int64 once = {{1}}> {{ y, z = Loop (once, \"\", x) {BODY} }}"))
            .after("y = Add (x, x) y_neg = Neg (y) z = Unsqueeze (y_neg, y_constant_2)")
            .exact();
    }

    #[test]
    fn a_loop_of_more_iterations_stays() {
        Proof::of("inline-loop")
            .before(&format!("g (float[2] x) => (float[2] y, float[2, 2] z) <int64 twice = {{2}}> {{ y, z = Loop (twice, \"\", x) {BODY} }}"))
            .does_not_fire("more than once");
    }
}
