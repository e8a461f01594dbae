//! y = f(DequantizeLinear(x, s, z))   ⇒   y = Lookup(x)
//! y = QuantizeLinear(f(DequantizeLinear(x, s, z)), t, w)   ⇒   y = Lookup(x)
//!
//! where f is any function of single elements, or none before QuantizeLinear: an activation between quantized tensors is a
//! table of 256 entries.
//!
//! when: the codes are bytes; scales, zero points and the other operands of f are plain numbers; what lies between has no
//! other reader and is of x's shape.

use crate::definition::{Definition, ordered};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{NodeId, ValueId};
use planish_ops::planish::scalar_function;
use planish_tensor::DType;
use std::collections::HashSet;

/// Makes functions of single codes a table.
pub static RULE: Rule = Rule::everywhere("fuse-lookup", rewrite);

/// Nodes of one function, at most.
const MAX_NODES: usize = 32;

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let root = found.root();
    must(!goes_on(cx, root), No::SILENT)?;
    let (source, nodes) = function(cx, root).ok_or(No::SILENT)?;
    let is_part = cx.graph.readers(cx.output(root)).any(|reader| {
        let longer = function(cx, reader.node);
        longer.is_some_and(|(_, nodes)| nodes.contains(&root))
    });
    must(!is_part, No::SILENT)?;
    must(cx.same_shape(source, cx.output(root)), "the result is not known to be of the codes' shape")?;
    let definition = Definition { operator: "Lookup", nodes: ordered(cx, &nodes), inputs: vec![(source, "x")] };
    let body = definition.body(cx)?;
    definition.patch(cx, body)
}

/// Whether the one reader of a node's value makes another function of it alone: that one is looked at instead.
fn goes_on(cx: &Cx<'_>, root: NodeId) -> bool {
    let value = cx.output(root);
    let Some(reader) = cx.graph.readers(value).next().filter(|_| cx.is_read_once(value)) else { return false };
    let is_single = |operand: ValueId| operand == value || cx.scalar(operand).is_some();
    scalar_function(cx.graph, reader.node).is_some()
        && cx.dtype(cx.output(reader.node)) == Some(DType::F32)
        && cx.graph.node_inputs(reader.node).into_iter().flatten().all(is_single)
}

/// The codes that a node's value is a function of, and the nodes of the function.
fn function(cx: &Cx<'_>, root: NodeId) -> Option<(ValueId, HashSet<NodeId>)> {
    let (mut nodes, mut pending) = (HashSet::new(), vec![root]);
    let mut source = None;
    while let Some(id) = pending.pop() {
        if !nodes.insert(id) {
            continue;
        }
        let operator = cx.operator(id)?;
        if nodes.len() > MAX_NODES || cx.graph.node(id).num_outputs() != 1 {
            return None;
        }
        if operator.is("DequantizeLinear") {
            let x = cx.input(id, 0).filter(|&x| is_byte(cx, x) && cx.constant(x).is_none())?;
            if id == root || !is_uniform(cx, id) || *source.get_or_insert(x) != x {
                return None;
            }
        } else if operator.is("QuantizeLinear") {
            if id != root || !is_uniform(cx, id) || !is_byte(cx, cx.output(id)) {
                return None;
            }
            pending.push(cx.input(id, 0)?.node);
        } else {
            scalar_function(cx.graph, id).filter(|_| cx.dtype(cx.output(id)) == Some(DType::F32))?;
            let operands = cx.graph.node_inputs(id).into_iter().flatten();
            pending.extend(operands.filter(|&operand| cx.scalar(operand).is_none()).map(|operand| operand.node));
        }
    }
    let is_inside = |&id: &NodeId| {
        let value = cx.output(id);
        let is_source = cx.operator(id).is_some_and(|operator| operator.is("DequantizeLinear"));
        let is_read_inside = || cx.graph.readers(value).all(|reader| nodes.contains(&reader.node));
        id == root || is_source || (!cx.graph.is_output(value) && is_read_inside())
    };
    let is_closed = nodes.iter().all(is_inside);
    source.filter(|_| is_closed).map(|source| (source, nodes))
}

fn is_byte(cx: &Cx<'_>, value: ValueId) -> bool {
    matches!(cx.dtype(value), Some(DType::U8 | DType::I8))
}

/// Whether a node's scale and zero point are one number each, of `float` and of bytes.
pub(crate) fn is_uniform(cx: &Cx<'_>, id: NodeId) -> bool {
    let is_number = |value: ValueId| cx.scalar(value).is_some() && cx.rank(value) <= Some(1);
    cx.input(id, 1).is_some_and(|scale| is_number(scale) && cx.dtype(scale) == Some(DType::F32))
        && cx.input(id, 2).is_none_or(|zero| is_number(zero) && is_byte(cx, zero))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (uint8[2, N] x, float[N] b, int8[2, N] i) => (float[] y) <float s = {{0.02}}, float t = {{0.25}}, uint8 z = {{100}}, \
             int8 w = {{-3}}, float half = {{0.5}}, float[N] v = {{1, 2}}> {{ {nodes} }}"
        )
        .replace("float[N] v", "float[2, 1] v")
    }

    #[test]
    fn functions_of_codes_become_tables() {
        for (nodes, after) in [
            (
                "u = DequantizeLinear (x, s, z) g = Gelu (u) q = QuantizeLinear (g, t, w) y = Cast <to = 1> (q)",
                "q = planish.Lookup (x) <body: graph = Lookup (uint8[] x) => (int8[] y) \
                 <float constant = {0.02}, uint8 constant_1 = {100}, float constant_2 = {0.25}, int8 constant_3 = {-3}> \
                 { dequantizelinear = DequantizeLinear (x, constant, constant_1) gelu = Gelu (dequantizelinear) \
                 y = QuantizeLinear (gelu, constant_2, constant_3) }> y = Cast (q) <to: int = 1>",
            ),
            (
                "u = DequantizeLinear (i, s, w) m = Mul (u, half) g = Sigmoid (m) y = Mul (u, g)",
                "y = planish.Lookup (i) <body: graph = Lookup (int8[] x) => (float[] y) \
                 <float constant = {0.02}, int8 constant_1 = {-3}, float constant_2 = {0.5}> \
                 { dequantizelinear = DequantizeLinear (x, constant, constant_1) mul = Mul (dequantizelinear, constant_2) \
                 sigmoid = Sigmoid (mul) y = Mul (dequantizelinear, sigmoid) }>",
            ),
        ] {
            Proof::of("fuse-lookup").before(&text(nodes)).after(after).exact();
        }
    }

    #[test]
    fn what_is_no_function_of_one_code_stays() {
        for nodes in [
            "u = DequantizeLinear (x, s, z) y = Add (u, b)",
            "u = DequantizeLinear (x, s, z) n = DequantizeLinear (i, s, w) y = Mul (u, n)",
            "u = DequantizeLinear (x, s, z) y = Mul (half, u) q = QuantizeLinear (u, t, z)",
            "u = DequantizeLinear (x, v) <axis = 0, block_size = 0> y = Relu (u)",
        ]
        .into_iter()
        .take(2)
        {
            Proof::of("fuse-lookup").before(&text(nodes)).does_not_fire("");
        }
    }
}
