//! y = f(g(a, b), h(c), …)   ⇒   y = Elementwise(a, b, c, …)
//!
//! when: all are functions of corresponding elements that have a kernel for `float`; values in between have y's shape, so
//! that nothing is computed more often than before, and are read within the tree alone.

use crate::definition::{Definition, ordered};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{NodeId, ValueId};
use planish_ops::planish::{MAX_OPERANDS, is_program, scalar_function};
use planish_tensor::DType;
use std::collections::HashSet;

/// Makes trees of elementwise operators one pass over memory.
pub static RULE: Rule = Rule::everywhere("fuse-elementwise", rewrite);

/// Nodes of one tree, at most: longer chains become several.
const MAX_NODES: usize = 32;

/// The names of inputs in a body.
const NAMES: [&str; MAX_OPERANDS] = ["a", "b", "c", "d", "e", "f", "g", "h"];

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let root = found.root();
    must(is_elementwise(cx, root) && !goes_on(cx, root), No::SILENT)?;
    let nodes = ordered(cx, &tree(cx, root));
    must(nodes.len() > 1, No::SILENT)?;
    let inputs = operands(cx, &nodes).into_iter().zip(NAMES).collect();
    let definition = Definition { operator: "Elementwise", nodes, inputs };
    let body = definition.body(cx)?;
    must(is_program(&body), "the tree needs too many values at once")?;
    definition.patch(cx, body)
}

/// The nodes whose values the root is made from, as far as they are of its kind.
fn tree(cx: &Cx<'_>, root: NodeId) -> HashSet<NodeId> {
    let mut nodes: HashSet<NodeId> = HashSet::from([root]);
    let mut refused: HashSet<ValueId> = HashSet::new();
    let mut read = operands(cx, &[root]);
    while nodes.len() < MAX_NODES {
        let candidate = read.iter().position(|v| !refused.contains(v) && may_join(cx, root, &nodes, *v));
        let Some(place) = candidate else { break };
        let value = read[place];
        let new: Vec<ValueId> = operands(cx, &[value.node]).into_iter().filter(|v| !read.contains(v)).collect();
        if read.len() - 1 + new.len() > MAX_OPERANDS {
            refused.insert(value);
            continue;
        }
        nodes.insert(value.node);
        read.splice(place..=place, new);
    }
    nodes
}

fn may_join(cx: &Cx<'_>, root: NodeId, nodes: &HashSet<NodeId>, value: ValueId) -> bool {
    is_elementwise(cx, value.node)
        && !cx.graph.is_output(value)
        && cx.same_shape(value, cx.output(root))
        && cx.graph.readers(value).all(|reader| nodes.contains(&reader.node))
}

/// Whether some reader's tree takes the node in.
fn goes_on(cx: &Cx<'_>, id: NodeId) -> bool {
    let value = cx.output(id);
    let takes = |reader: NodeId| is_elementwise(cx, reader) && cx.same_shape(value, cx.output(reader));
    !cx.graph.is_output(value)
        && cx.graph.readers(value).next().is_some()
        && cx.graph.readers(value).all(|reader| takes(reader.node))
}

/// Whether the node is a function of corresponding elements of `float` tensors.
fn is_elementwise(cx: &Cx<'_>, id: NodeId) -> bool {
    let is_float = |value: ValueId| cx.dtype(value) == Some(DType::F32);
    scalar_function(cx.graph, id).is_some()
        && is_float(cx.output(id))
        && cx.graph.node_inputs(id).iter().flatten().all(|&v| is_float(v))
}

/// What the nodes read beside each other's values and plain numbers, in order.
fn operands(cx: &Cx<'_>, nodes: &[NodeId]) -> Vec<ValueId> {
    let mut operands = Vec::new();
    for &id in nodes {
        for value in cx.graph.node_inputs(id).into_iter().flatten() {
            let is_number = cx.constant(value).is_some_and(|t| t.num_elements() == 1);
            if !is_number && !nodes.contains(&value.node) && !operands.contains(&value) {
                operands.push(value);
            }
        }
    }
    operands
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;
    use crate::{OptimizeOptions, Target, optimize_with};
    use planish_ir::Graph;
    use planish_ops::StandardRegistry;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 3, 5] x, float[N, 3, 5] z, float[5] b, int64[N] i) => (float[] y) <float[1] half = {{0.5}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn trees_become_one_node() {
        Proof::of("fuse-elementwise")
            .before(&text(
                "s = Add (x, b) t = Sigmoid (s) u = Mul (half, s) v = Mul (u, t) w = Tanh (z) y = Sub (v, w)",
            ))
            .after(
                "y = planish.Elementwise (x, b, z) <body: graph = Elementwise (float[] a, float[] b, float[] c) => (float[] y) \
                 <float constant = {0.5}> { add = Add (a, b) sigmoid = Sigmoid (add) mul = Mul (constant, add) \
                 mul_1 = Mul (mul, sigmoid) tanh = Tanh (c) y = Sub (mul_1, tanh) }>",
            )
            .within(1e-6);
    }

    #[test]
    fn a_value_of_two_trees_ends_one() {
        Proof::of("fuse-elementwise")
            .before(&text("s = Abs (x) t = Neg (s) u = Exp (t) v = Concat <axis = 0> (t, u) w = Abs (v) y = Neg (w)"))
            .after(
                "t = planish.Elementwise (x) <body: graph = Elementwise (float[] a) => (float[] y) { abs = Abs (a) y = Neg (abs) }> \
                 u = Exp (t) v = Concat (t, u) <axis: int = 0> \
                 y = planish.Elementwise (v) <body: graph = Elementwise (float[] a) => (float[] y) { abs = Abs (a) y = Neg (abs) }>",
            )
            .within(1e-6);
    }

    #[test]
    fn small_values_stay_small() {
        for nodes in [
            "s = Exp (b) y = Add (x, s)",
            "s = ReduceMax (x) y = Sub (x, s)",
            "j = Add (i, i) k = Mul (j, i) y = Cast <to = 1> (k)",
        ] {
            Proof::of("fuse-elementwise").before(&text(nodes)).does_not_fire("");
        }
    }

    #[test]
    fn a_chain_of_any_length_is_fused_piece_by_piece() {
        let mut nodes = "v0 = Relu (x) ".to_owned();
        let num_pieces = 9;
        for i in 1..num_pieces * super::MAX_NODES {
            nodes += &format!("v{i} = Sigmoid (v{}) ", i - 1);
        }
        nodes += &format!("y = Neg (v{})", num_pieces * super::MAX_NODES - 1);
        let mut graph = Graph::from_text(&text(&nodes), &StandardRegistry).unwrap();
        graph.infer().unwrap();
        let only = vec!["fuse-elementwise".to_owned()];
        optimize_with(&mut graph, &OptimizeOptions { only, target: Target::Planish, ..OptimizeOptions::default() });
        assert_eq!(graph.operators().count(), num_pieces + 1);
    }
}
