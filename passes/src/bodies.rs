//! Brings a pass to the bodies of If, Loop, Scan and the like.
//!
//! What is known of a captured value outside is known of it inside. Captured values that a body no longer reads are no
//! longer handed to it.

use crate::driver::{Editor, RuleSet, State};
use crate::pipeline::{Pass, run_pass};
use planish_ir::{Attribute, Attributes, Fact, Graph, NodeId, Operator, Registry, ValueId};
use planish_ops::StandardRegistry;
use planish_tensor::Tensor;
use std::sync::Arc;

/// Bodies nested deeper than this are left as they are.
const MAX_DEPTH: usize = 32;

/// Captured constants up to this size are written into the body that reads them, where they can be folded.
const MAX_COPIED_BYTES: usize = 4 << 10;

/// The name under which captured constants are brought in.
pub(crate) const BRING_CONSTANTS_IN: &str = "bring-constants-into-bodies";

/// Runs a pass over the bodies of all nodes of a graph.
pub(crate) fn optimize_bodies(editor: &mut Editor<'_>, pass: &Pass, rules: Option<&RuleSet>, depth: usize) {
    if depth == MAX_DEPTH {
        return;
    }
    // A body of planish's own operators is what the operator is: rules that made it would find it in there again.
    let is_holder = |o: &Operator| o.domain != planish_ops::planish::DOMAIN && o.subgraphs().next().is_some();
    let holders: Vec<NodeId> = editor.graph.operators().filter(|(_, o)| is_holder(o)).map(|(id, _)| id).collect();
    for id in holders {
        if editor.state.is_spent() {
            return;
        }
        let before = editor.state.report.rewrites.len();
        let rewritten = rewrite_bodies(editor.graph, editor.state, id, |body, state| {
            run_pass(body, pass, rules, state, depth + 1);
        });
        if editor.state.report.rewrites.len() > before {
            put_back(editor, id, rewritten);
        }
    }
}

/// A node's attributes with rewritten bodies, and the values that these capture.
struct Rewritten {
    attributes: Attributes,
    captures: Vec<ValueId>,
}

fn rewrite_bodies(
    graph: &Graph,
    state: &mut State,
    id: NodeId,
    mut rewrite: impl FnMut(&mut Graph, &mut State),
) -> Rewritten {
    let inputs = graph.node_inputs(id);
    let mut captured = inputs[inputs.len() - graph.node(id).num_captures()..].iter().flatten().copied();
    let mut rewritten = Rewritten { attributes: Attributes::new(), captures: Vec::new() };
    let Some(operator) = graph.node(id).operator() else { return rewritten };
    for (name, attribute) in operator.attributes.iter() {
        let mut bodies = attribute.graphs().iter().map(|body| {
            let outside: Vec<ValueId> = captured.by_ref().take(body.captures().len()).collect();
            let mut body = Graph::clone(body);
            let outside = enter(graph, &mut body, outside, state, &graph.describe(id));
            rewrite(&mut body, state);
            rewritten.captures.extend(leave(&mut body, outside));
            Arc::new(body)
        });
        let attribute = match attribute {
            Attribute::Graph(_) => bodies.next().map(Attribute::Graph),
            Attribute::Graphs(_) => Some(Attribute::Graphs(bodies.by_ref().collect())),
            other => Some(other.clone()),
        };
        drop(bodies);
        if let Some(attribute) = attribute {
            rewritten.attributes.set(name, attribute);
        }
    }
    rewritten
}

/// Tells the body what is known outside of what it captures. The values that it still captures.
fn enter(graph: &Graph, body: &mut Graph, outside: Vec<ValueId>, state: &mut State, node: &str) -> Vec<ValueId> {
    let inside: Vec<ValueId> = body.captures().collect();
    let mut still = Vec::new();
    for (inner, outer) in inside.into_iter().zip(outside) {
        let fact = graph.fact(outer);
        let constant = graph.constant(outer).filter(|t| t.num_bytes() <= MAX_COPIED_BYTES);
        let is_wanted = body.readers(inner).next().is_some() || body.is_output(inner);
        if let Some(tensor) = constant
            && is_wanted
            && !state.is_spent()
            && (state.is_enabled)(BRING_CONSTANTS_IN)
        {
            bring_in(body, inner, tensor);
            state.report.add(BRING_CONSTANTS_IN, node.to_owned());
            continue;
        }
        if let Ok(ty) = body.fact(inner).ty.unify(&fact.ty) {
            body.set_fact(inner, Fact::of_type(ty));
        }
        still.push(outer);
    }
    // Contradictions were reported when the model was read.
    let _ = body.infer();
    still
}

fn bring_in(body: &mut Graph, inner: ValueId, tensor: &Tensor) {
    let name = body.value_name(inner).to_owned();
    let _ = body.rename_value(inner, &body.fresh_name(&format!("{name}_captured")));
    if let Ok(constant) = body.add_constant(&body.fresh_name(&name), tensor.clone()) {
        body.replace_uses(inner, constant);
        let _ = body.remove_node(inner.node);
    }
}

/// Takes away captured values that the body does not read. The values outside that it still captures.
fn leave(body: &mut Graph, outside: Vec<ValueId>) -> Vec<ValueId> {
    let inside: Vec<ValueId> = body.captures().collect();
    let pairs = inside.into_iter().zip(outside);
    pairs.filter(|(inner, _)| body.remove_node(inner.node).is_err()).map(|(_, outer)| outer).collect()
}

/// Gives the node its rewritten bodies and takes what is known of its outputs from them.
fn put_back(editor: &mut Editor<'_>, id: NodeId, rewritten: Rewritten) {
    let node = editor.graph.node(id);
    let inputs = editor.graph.node_inputs(id);
    let own = inputs[..inputs.len() - node.num_captures()].to_vec();
    let Some((domain, name)) = node.operator().map(|o| (o.domain.clone(), o.name.clone())) else { return };
    let made = StandardRegistry.operator(&domain, &name, rewritten.attributes, own.len(), node.num_outputs());
    let Ok(operator) = made else { return };
    editor.graph.set_operator(id, operator, &own, &rewritten.captures);
    editor.graph.infer_node(id);
    editor.sweep(inputs.iter().flatten().map(|v| v.node).collect());
    editor.propagate(editor.graph.node_outputs(id).collect());
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    #[test]
    fn bodies_are_optimized_too() {
        Proof::of_all(&["remove-noops", "bring-constants-into-bodies"])
            .before(
                "g (bool c, float[2] x) => (float[2] y) <float two = {2}> { y = If (c) \
                 <then_branch: graph = t () => (float[2] a) { i = Identity (x) a = Mul (i, two) }, \
                 else_branch: graph = e () => (float[2] b) { b = Abs (x) }> }",
            )
            .after(
                "y = If (c) <else_branch: graph = e () => (float[2] b) { b = Abs (x) }, \
                 then_branch: graph = t () => (float[2] a) <float two = {2.0}> { a = Mul (x, two) }>",
            )
            .exact();
    }
}
