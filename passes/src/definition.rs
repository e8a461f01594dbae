//! Nodes of a graph as one node of domain `planish`, whose body they become.
//!
//! Bodies say nothing of shapes, and their values are named for what they are: equal formulas give equal bodies, wherever
//! in a model they stand.

use crate::patch::Patch;
use crate::rule::{Cx, No};
use planish_ir::{Attribute, Attributes, Graph, GraphError, NodeId, Type, ValueId};
use planish_tensor::{DType, Tensor};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Nodes that become one.
pub(crate) struct Definition {
    /// The operator of domain `planish` that they become.
    pub operator: &'static str,
    /// The nodes, each after those that it reads; the last one makes the output.
    pub nodes: Vec<NodeId>,
    /// What the operator reads, under the names that the body has for it.
    pub inputs: Vec<(ValueId, &'static str)>,
}

impl Definition {
    /// The nodes as a graph. Constants that are no inputs are written into it.
    pub(crate) fn body(&self, cx: &Cx<'_>) -> Result<Graph, No> {
        self.build(cx).map_err(|error| No(format!("the body is no valid graph: {error}").into()))
    }

    /// The one node in place of them all.
    pub(crate) fn patch(&self, cx: &Cx<'_>, body: Graph) -> Result<Patch, No> {
        let last = *self.nodes.last().ok_or(No::SILENT)?;
        let attributes = Attributes::new().with("body", Attribute::Graph(Arc::new(body)));
        let inputs: Vec<_> = self.inputs.iter().map(|&(value, _)| value.into()).collect();
        let mut patch = Patch::new();
        let made = patch.domain_operators(planish_ops::planish::DOMAIN, self.operator, attributes, &inputs, 1);
        let y = *made.first().ok_or(No::SILENT)?;
        Ok(patch.replace(cx.output(last), y))
    }

    fn build(&self, cx: &Cx<'_>) -> Result<Graph, GraphError> {
        let mut body = Graph::new(self.operator);
        let mut inside: HashMap<ValueId, ValueId> = HashMap::new();
        for &(value, name) in &self.inputs {
            inside.insert(value, body.add_input(name, type_of(cx, value))?);
        }
        for (index, &id) in self.nodes.iter().enumerate() {
            let Some(operator) = cx.operator(id) else { continue };
            let mut inputs = Vec::new();
            for value in cx.graph.node_inputs(id) {
                inputs.push(match value {
                    Some(value) => Some(match inside.get(&value) {
                        Some(&own) => own,
                        None => own_constant(cx, &mut body, id, value)?,
                    }),
                    None => None,
                });
            }
            let is_last = index + 1 == self.nodes.len();
            let name = if is_last { "y".to_owned() } else { body.fresh_name(&operator.name.to_lowercase()) };
            let own = body.add_node("", operator.clone(), &inputs, &[], &[&name])?;
            inside.insert(cx.output(id), ValueId { node: own, output: 0 });
        }
        if let (Some(y), Some(&last)) = (body.value("y"), self.nodes.last()) {
            body.add_output("y", y, type_of(cx, cx.output(last)))?;
        }
        body.infer()?;
        Ok(body)
    }
}

/// The type of a value, `float` if it is not known, and nothing of its shape.
fn type_of(cx: &Cx<'_>, value: ValueId) -> Type {
    Type::tensor(cx.dtype(value).unwrap_or(DType::F32))
}

/// A constant for the body: a plain number where its rank does not matter.
fn own_constant(cx: &Cx<'_>, body: &mut Graph, reader: NodeId, value: ValueId) -> Result<ValueId, GraphError> {
    let tensor = cx.constant(value).cloned().unwrap_or_else(|| Tensor::scalar(f32::NAN));
    let outranks = |other: &ValueId| *other != value && cx.rank(*other).is_some_and(|rank| rank >= tensor.rank());
    let does_rank_matter = !cx.graph.node_inputs(reader).iter().flatten().any(outranks);
    let plain = tensor.as_slice::<f32>().ok().and_then(|elements| elements.first().copied());
    let tensor = match plain.filter(|_| tensor.num_elements() == 1 && !does_rank_matter) {
        Some(number) => Tensor::scalar(number),
        None => tensor,
    };
    body.add_constant(&body.fresh_name("constant"), tensor)
}

/// The nodes of a set, each after those that it reads.
pub(crate) fn ordered(cx: &Cx<'_>, nodes: &HashSet<NodeId>) -> Vec<NodeId> {
    let mut left: Vec<NodeId> = nodes.iter().copied().collect();
    left.sort();
    let mut placed: Vec<NodeId> = Vec::new();
    while !left.is_empty() {
        let waits = |id: NodeId| {
            cx.graph.node_inputs(id).iter().flatten().any(|v| nodes.contains(&v.node) && !placed.contains(&v.node))
        };
        let Some(next) = left.iter().position(|&id| !waits(id)) else { break };
        placed.push(left.remove(next));
    }
    placed
}
