//! What a graph costs, read off its facts before anything runs: weights, operations, activation memory.

use planish_ir::{Dim, Fact, Facts, Graph, NodeId, Operator, ValueId};
use planish_ops::planish::DOMAIN;
use planish_tensor::DType;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one node costs.
#[derive(Clone, Debug)]
pub struct NodeCost {
    /// The node's name.
    pub node: String,
    /// The operator's name, with its domain where it is not ONNX's own.
    pub operator: String,
    /// Multiply-accumulate operations, as a formula of the symbolic dimensions.
    pub macs: Dim,
    /// Elements of constants that the node reads.
    pub parameters: u64,
    /// Bytes of the outputs, as a formula.
    pub output_bytes: Dim,
    /// The first output's type and shape.
    pub output: String,
}

/// What a whole graph costs, the bodies of its control flow counted once. An operator of domain `planish` is one node: of
/// its definition only the weights count.
#[derive(Clone, Debug)]
pub struct GraphCost {
    /// Each operator node, in topological order.
    pub nodes: Vec<NodeCost>,
    /// The sum of multiply-accumulate operations, as far as they are known.
    pub macs: Dim,
    /// How many nodes take multiply-accumulate operations that are not known.
    pub num_unknown_macs: usize,
    /// The sum of output bytes: activation memory if nothing were freed.
    pub activation_bytes: Dim,
    /// Elements and bytes of constants by dtype, each constant counted once.
    pub weights: BTreeMap<DType, (u64, u64)>,
}

impl GraphCost {
    /// The elements of all constants.
    pub fn num_parameters(&self) -> u64 {
        self.weights.values().map(|&(elements, _)| elements).sum()
    }

    /// The bytes of all constants.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.values().map(|&(_, bytes)| bytes).sum()
    }
}

/// The cost of `graph`, whose facts are inferred.
pub fn graph_cost(graph: &Graph) -> GraphCost {
    let bodies = bodies(graph);
    let mut cost = GraphCost {
        nodes: Vec::new(),
        macs: Dim::known(0),
        num_unknown_macs: 0,
        activation_bytes: Dim::known(0),
        weights: BTreeMap::new(),
    };
    let all =
        std::iter::once((graph, false)).chain(bodies.iter().map(|(body, is_definition)| (&**body, *is_definition)));
    for (graph, is_definition) in all {
        for (_, node) in graph.nodes() {
            if let Some(tensor) = node.constant() {
                let (elements, bytes) = cost.weights.entry(tensor.dtype()).or_default();
                *elements += tensor.num_elements() as u64;
                *bytes += tensor.num_bytes() as u64;
            }
        }
        if is_definition {
            continue;
        }
        for id in graph.topological_order().unwrap_or_default() {
            if let Some(node) = node_cost(graph, id) {
                cost.macs = add_known(&cost.macs, &node.macs);
                cost.num_unknown_macs += usize::from(node.macs.is_unknown());
                cost.activation_bytes = add_known(&cost.activation_bytes, &node.output_bytes);
                cost.nodes.push(node);
            }
        }
    }
    cost
}

/// Every body nested in the graph's nodes, and whether it belongs to the definition of an operator.
fn bodies(graph: &Graph) -> Vec<(Arc<Graph>, bool)> {
    let held = |graph: &Graph, is_defined: bool| -> Vec<(Arc<Graph>, bool)> {
        let of = |operator: &Operator| {
            let is_definition = is_defined || operator.domain == DOMAIN;
            operator.subgraphs().map(|body| (Arc::clone(body), is_definition)).collect::<Vec<_>>()
        };
        graph.operators().flat_map(|(_, operator)| of(operator)).collect()
    };
    let mut found = held(graph, false);
    let mut next = 0;
    while let Some((body, is_definition)) = found.get(next).cloned() {
        found.extend(held(&body, is_definition));
        next += 1;
    }
    found
}

/// A node whose cost is unknown does not make the sum unknown.
fn add_known(sum: &Dim, term: &Dim) -> Dim {
    if term.is_unknown() { sum.clone() } else { sum + term }
}

fn node_cost(graph: &Graph, id: NodeId) -> Option<NodeCost> {
    let node = graph.node(id);
    let operator = node.operator()?;
    let inputs = graph.node_inputs(id);
    let known: Vec<Option<&Fact>> = inputs.iter().map(|v| v.map(|v| graph.fact(v))).collect();
    let outputs: Vec<Fact> = graph.node_outputs(id).map(|v| graph.fact(v).clone()).collect();
    let macs = operator.op().map_or_else(Dim::unknown, |op| op.macs(&Facts::new(&known, outputs.len()), &outputs));
    let constants = inputs.iter().flatten().filter_map(|&v| graph.constant(v));
    let is_named = |v: &ValueId| !graph.value_name(*v).is_empty();
    let sizes = graph.node_outputs(id).filter(is_named).map(|v| byte_size(graph.fact(v)));
    Some(NodeCost {
        node: graph.describe(id),
        operator: operator.full_name(),
        macs,
        parameters: constants.map(|t| t.num_elements() as u64).sum(),
        output_bytes: sizes.fold(Dim::known(0), |sum, size| add_known(&sum, &size)),
        output: outputs.first().map(|f| f.ty.to_string()).unwrap_or_default(),
    })
}

pub(crate) fn byte_size(fact: &Fact) -> Dim {
    let (Some(dtype), Some(shape)) = (fact.dtype(), fact.shape()) else { return Dim::unknown() };
    let bits = Dim::known(i64::try_from(dtype.bits()).unwrap_or(0));
    let elements = shape.iter().fold(Dim::known(1), |product, dim| &product * dim);
    if dtype.is_packed() { (&elements * &bits).ceil_div(8) } else { &elements * &bits.floor_div(8) }
}
