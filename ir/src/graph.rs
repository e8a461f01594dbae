//! The graph: operators as nodes, uses of values as edges.

use crate::{Fact, Operator, Type};
use petgraph::Direction::{Incoming, Outgoing};
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use planish_tensor::Tensor;
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Identifies a node of one graph. Stays valid while other nodes come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NodeIndex);

impl NodeId {
    /// A number below [`Graph::node_bound`], for tables by node.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// Identifies a value: one output of one node. Graph inputs and constants are outputs of source nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId {
    /// The node that makes the value.
    pub node: NodeId,
    /// Which of its outputs.
    pub output: usize,
}

/// One use of a value: input `input` of node `node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Use {
    /// The node that reads the value.
    pub node: NodeId,
    /// Which of its inputs.
    pub input: usize,
}

/// A node: where values come from.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node's name; may be empty, need not be unique.
    pub name: String,
    /// A human-readable remark.
    pub doc: String,
    /// Metadata as pairs of key and value.
    pub metadata: Vec<(String, String)>,
    /// What the node is.
    pub kind: NodeKind,
    outputs: SmallVec<[Output; 1]>,
    num_inputs: usize,
    num_captures: usize,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A graph input, or in a body a value captured from outside.
    Input,
    /// A constant.
    Constant(Tensor),
    /// An operator.
    Operator(Operator),
}

#[derive(Clone, Debug)]
struct Output {
    /// Empty where nobody asks for this output.
    name: String,
    fact: Fact,
}

impl Node {
    /// The operator, where the node is one.
    pub fn operator(&self) -> Option<&Operator> {
        match &self.kind {
            NodeKind::Operator(operator) => Some(operator),
            _ => None,
        }
    }

    /// The contents of a constant.
    pub fn constant(&self) -> Option<&Tensor> {
        match &self.kind {
            NodeKind::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The number of inputs, absent ones and captured values included.
    pub fn num_inputs(&self) -> usize {
        self.num_inputs
    }

    /// How many of the last inputs are values that the node's bodies capture, in the order of the bodies and of
    /// [`Graph::captures`].
    pub fn num_captures(&self) -> usize {
        self.num_captures
    }

    /// The number of outputs, unused ones included.
    pub fn num_outputs(&self) -> usize {
        self.outputs.len()
    }
}

/// One use of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edge {
    from_output: usize,
    to_input: usize,
}

/// An output of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphOutput {
    /// The name callers know it by. It may differ from the value's own name.
    pub name: String,
    /// The value given out.
    pub value: ValueId,
    /// The type that the model declares for it.
    pub declared: Type,
}

/// An edit that would break the graph, or a graph found broken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphError {
    /// Two values of one name.
    DuplicateName(String),
    /// A graph input or constant without a name.
    EmptyName,
    /// Nodes that wait for each other; the names of some.
    Cycle(Vec<String>),
    /// A node still read by others cannot be removed.
    InUse(String),
    /// An invariant found broken by [`Graph::verify`].
    Broken(String),
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GraphError::DuplicateName(name) => write!(f, "two values are named {name:?}"),
            GraphError::EmptyName => f.write_str("a graph input or constant has no name"),
            GraphError::Cycle(nodes) => write!(f, "the graph has a cycle through {nodes:?}"),
            GraphError::InUse(name) => write!(f, "value {name:?} is still in use"),
            GraphError::Broken(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for GraphError {}

/// A dataflow graph.
///
/// Always true, and checked by [`verify`](Graph::verify): the graph is acyclic; every input of a node is filled by one
/// value or explicitly absent; names of values are unique; graph outputs are values of the graph; a node that holds
/// bodies has one input for each value that they capture.
#[derive(Clone, Default)]
pub struct Graph {
    /// The graph's name.
    pub name: String,
    /// A human-readable remark.
    pub doc: String,
    /// Metadata as pairs of key and value.
    pub metadata: Vec<(String, String)>,
    nodes: StableDiGraph<Node, Edge>,
    inputs: Vec<NodeId>,
    captures: Vec<NodeId>,
    outputs: Vec<GraphOutput>,
    /// How many graph outputs give out each value.
    given_out: HashMap<ValueId, usize>,
    output_names: HashSet<String>,
    names: HashMap<String, ValueId>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Graph {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Adds a graph input of a declared type.
    pub fn add_input(&mut self, name: &str, ty: Type) -> Result<ValueId, GraphError> {
        let value = self.add_source(name, NodeKind::Input, Fact::of_type(ty))?;
        self.inputs.push(value.node);
        Ok(value)
    }

    /// Adds a value that this graph, a body, takes from the graph around it.
    pub fn add_capture(&mut self, name: &str, ty: Type) -> Result<ValueId, GraphError> {
        let value = self.add_source(name, NodeKind::Input, Fact::of_type(ty))?;
        self.captures.push(value.node);
        Ok(value)
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: &str, tensor: Tensor) -> Result<ValueId, GraphError> {
        let fact = Fact::constant(tensor.clone());
        self.add_source(name, NodeKind::Constant(tensor), fact)
    }

    fn add_source(&mut self, name: &str, kind: NodeKind, fact: Fact) -> Result<ValueId, GraphError> {
        if name.is_empty() {
            return Err(GraphError::EmptyName);
        }
        let node = self.insert(Node {
            name: String::new(),
            doc: String::new(),
            metadata: Vec::new(),
            kind,
            outputs: SmallVec::from_iter([Output { name: name.to_owned(), fact }]),
            num_inputs: 0,
            num_captures: 0,
        })?;
        Ok(ValueId { node, output: 0 })
    }

    /// Adds an operator node reading `inputs`, then the values captured by its bodies, and making one value for each
    /// name in `outputs`; an empty name is an output that nobody reads.
    pub fn add_node(
        &mut self,
        name: &str,
        operator: Operator,
        inputs: &[Option<ValueId>],
        captures: &[ValueId],
        outputs: &[&str],
    ) -> Result<NodeId, GraphError> {
        let unknown = |name: &&str| Output { name: (*name).to_owned(), fact: Fact::unknown() };
        let id = self.insert(Node {
            name: name.to_owned(),
            doc: String::new(),
            metadata: Vec::new(),
            kind: NodeKind::Operator(operator),
            outputs: outputs.iter().map(unknown).collect(),
            num_inputs: inputs.len() + captures.len(),
            num_captures: captures.len(),
        })?;
        let all = inputs.iter().copied().chain(captures.iter().copied().map(Some));
        for (to_input, value) in all.enumerate() {
            if let Some(value) = value {
                self.nodes.add_edge(value.node.0, id.0, Edge { from_output: value.output, to_input });
            }
        }
        Ok(id)
    }

    fn insert(&mut self, node: Node) -> Result<NodeId, GraphError> {
        let mut seen: SmallVec<[&str; 4]> = SmallVec::new();
        for output in node.outputs.iter().filter(|o| !o.name.is_empty()) {
            if self.names.contains_key(&output.name) || seen.contains(&output.name.as_str()) {
                return Err(GraphError::DuplicateName(output.name.clone()));
            }
            seen.push(&output.name);
        }
        drop(seen);
        let names: Vec<String> = node.outputs.iter().map(|o| o.name.clone()).collect();
        let id = NodeId(self.nodes.add_node(node));
        for (output, name) in names.into_iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            self.names.insert(name, ValueId { node: id, output });
        }
        Ok(id)
    }

    /// Adds a graph output that callers know as `name`.
    pub fn add_output(&mut self, name: &str, value: ValueId, declared: Type) -> Result<(), GraphError> {
        if !self.output_names.insert(name.to_owned()) {
            return Err(GraphError::DuplicateName(name.to_owned()));
        }
        *self.given_out.entry(value).or_default() += 1;
        self.outputs.push(GraphOutput { name: name.to_owned(), value, declared });
        Ok(())
    }

    /// Takes all graph outputs away, to add others.
    pub fn clear_outputs(&mut self) -> Vec<GraphOutput> {
        self.given_out.clear();
        self.output_names.clear();
        std::mem::take(&mut self.outputs)
    }

    /// The graph inputs, in order.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = ValueId> + DoubleEndedIterator + '_ {
        self.inputs.iter().map(|&node| ValueId { node, output: 0 })
    }

    /// The values that this graph, a body, takes from the graph around it, in order.
    pub fn captures(&self) -> impl ExactSizeIterator<Item = ValueId> + DoubleEndedIterator + '_ {
        self.captures.iter().map(|&node| ValueId { node, output: 0 })
    }

    /// The graph outputs, in order.
    pub fn outputs(&self) -> &[GraphOutput] {
        &self.outputs
    }

    /// A node.
    ///
    /// # Panics
    /// If the node was removed: ids come from this graph and are not kept past a removal.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.node_weight(id.0).expect("a node id outlived its node")
    }

    /// A node, to change its name, remarks or kind.
    ///
    /// # Panics
    /// If the node was removed.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.node_weight_mut(id.0).expect("a node id outlived its node")
    }

    /// Whether the node is still part of the graph.
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_node(id.0)
    }

    /// All nodes, in the order they were added where none was removed.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.node_indices().map(|i| (NodeId(i), &self.nodes[i]))
    }

    /// All operator nodes.
    pub fn operators(&self) -> impl Iterator<Item = (NodeId, &Operator)> {
        self.nodes().filter_map(|(id, node)| Some((id, node.operator()?)))
    }

    /// The node of this [`NodeId::index`], where it is still there.
    pub fn node_id(&self, index: usize) -> Option<NodeId> {
        let id = NodeId(NodeIndex::new(index));
        self.contains(id).then_some(id)
    }

    /// One more than the highest [`NodeId::index`].
    pub fn node_bound(&self) -> usize {
        self.nodes.node_indices().next_back().map_or(0, |i| i.index() + 1)
    }

    /// The number of nodes, sources included.
    pub fn num_nodes(&self) -> usize {
        self.nodes.node_count()
    }

    /// The values that node `id` reads, captured ones last; `None` for an absent optional input.
    pub fn node_inputs(&self, id: NodeId) -> SmallVec<[Option<ValueId>; 4]> {
        let mut inputs = SmallVec::from_elem(None, self.node(id).num_inputs);
        for edge in self.nodes.edges_directed(id.0, Incoming) {
            let Edge { from_output, to_input } = *edge.weight();
            inputs[to_input] = Some(ValueId { node: NodeId(edge.source()), output: from_output });
        }
        inputs
    }

    /// The values that node `id` makes.
    pub fn node_outputs(&self, id: NodeId) -> impl ExactSizeIterator<Item = ValueId> + use<> {
        (0..self.node(id).outputs.len()).map(move |output| ValueId { node: id, output })
    }

    /// Every use of a value by a node, in the order of nodes and inputs.
    pub fn uses(&self, value: ValueId) -> SmallVec<[Use; 4]> {
        let mut uses: SmallVec<[Use; 4]> = self.readers(value).collect();
        uses.sort_unstable();
        uses
    }

    /// The uses of a value by nodes, in no particular order, found one by one: to ask for the first few of many.
    pub fn readers(&self, value: ValueId) -> impl Iterator<Item = Use> + '_ {
        self.nodes
            .edges_directed(value.node.0, Outgoing)
            .filter(move |edge| edge.weight().from_output == value.output)
            .map(|edge| Use { node: NodeId(edge.target()), input: edge.weight().to_input })
    }

    /// Whether the value is given out by the graph.
    pub fn is_output(&self, value: ValueId) -> bool {
        self.given_out.contains_key(&value)
    }

    /// The value's name; empty for an output that nobody reads.
    pub fn value_name(&self, value: ValueId) -> &str {
        self.node(value.node).outputs.get(value.output).map_or("", |o| &o.name)
    }

    /// The value of this name.
    pub fn value(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// Gives the value another name.
    pub fn rename_value(&mut self, value: ValueId, name: &str) -> Result<(), GraphError> {
        if self.value_name(value) == name {
            return Ok(());
        }
        if self.names.contains_key(name) {
            return Err(GraphError::DuplicateName(name.to_owned()));
        }
        if let Some(output) = self.node_mut(value.node).outputs.get_mut(value.output) {
            let old = std::mem::replace(&mut output.name, name.to_owned());
            self.names.remove(&old);
            if !name.is_empty() {
                self.names.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// A name that no value has, made from `base`.
    pub fn fresh_name(&self, base: &str) -> String {
        let taken = |name: &str| self.names.contains_key(name) || self.output_names.contains(name);
        if !base.is_empty() && !taken(base) {
            return base.to_owned();
        }
        let numbered = |i: usize| format!("{base}_{i}");
        (1..).map(numbered).find(|name| !taken(name)).expect("there are more numbers than names")
    }

    /// What is known of a value.
    pub fn fact(&self, value: ValueId) -> &Fact {
        static UNKNOWN: Fact = Fact { ty: Type::Unknown, constant: None, contents: None };
        self.node(value.node).outputs.get(value.output).map_or(&UNKNOWN, |o| &o.fact)
    }

    /// Sets what is known of a value.
    pub fn set_fact(&mut self, value: ValueId, fact: Fact) {
        if let Some(output) = self.node_mut(value.node).outputs.get_mut(value.output) {
            output.fact = fact;
        }
    }

    /// The contents of a value that is a constant.
    pub fn constant(&self, value: ValueId) -> Option<&Tensor> {
        self.node(value.node).constant()
    }

    /// Makes input `index` of node `id` read `value`, or nothing.
    pub fn set_input(&mut self, id: NodeId, index: usize, value: Option<ValueId>) {
        let old = self.nodes.edges_directed(id.0, Incoming).find(|e| e.weight().to_input == index).map(|e| e.id());
        if let Some(old) = old {
            self.nodes.remove_edge(old);
        }
        if let Some(value) = value {
            self.nodes.add_edge(value.node.0, id.0, Edge { from_output: value.output, to_input: index });
        }
        let node = self.node_mut(id);
        node.num_inputs = node.num_inputs.max(index + 1);
    }

    /// Makes node `id` another operator, reading `inputs`, then the values captured by its bodies. Its outputs stay.
    pub fn set_operator(&mut self, id: NodeId, operator: Operator, inputs: &[Option<ValueId>], captures: &[ValueId]) {
        for index in 0..self.node(id).num_inputs {
            self.set_input(id, index, None);
        }
        let node = self.node_mut(id);
        node.kind = NodeKind::Operator(operator);
        node.num_inputs = inputs.len() + captures.len();
        node.num_captures = captures.len();
        let all = inputs.iter().copied().chain(captures.iter().copied().map(Some));
        for (index, value) in all.enumerate().filter(|(_, value)| value.is_some()) {
            self.set_input(id, index, value);
        }
    }

    /// Makes every reader of `old`, graph outputs included, read `new` instead.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        for reader in self.uses(old) {
            self.set_input(reader.node, reader.input, Some(new));
        }
        if let Some(count) = self.given_out.remove(&old) {
            *self.given_out.entry(new).or_default() += count;
            self.outputs.iter_mut().filter(|o| o.value == old).for_each(|o| o.value = new);
        }
    }

    /// Removes a node whose values nobody reads.
    pub fn remove_node(&mut self, id: NodeId) -> Result<(), GraphError> {
        let read = self.node_outputs(id).find(|&v| self.is_output(v) || self.readers(v).next().is_some());
        if let Some(value) = read {
            return Err(GraphError::InUse(self.value_name(value).to_owned()));
        }
        if let Some(node) = self.nodes.remove_node(id.0) {
            for output in &node.outputs {
                self.names.remove(&output.name);
            }
        }
        self.inputs.retain(|&n| n != id);
        self.captures.retain(|&n| n != id);
        Ok(())
    }

    /// Removes every operator and constant that no graph output depends on; inputs stay. Returns how many went.
    pub fn remove_dead_nodes(&mut self) -> usize {
        let mut live = self.live_nodes();
        self.inputs.iter().chain(&self.captures).for_each(|id| live[id.index()] = true);
        let dead: Vec<NodeId> = self.nodes().map(|(id, _)| id).filter(|id| !live[id.index()]).collect();
        for id in &dead {
            if let Some(node) = self.nodes.remove_node(id.0) {
                for output in &node.outputs {
                    self.names.remove(&output.name);
                }
            }
        }
        dead.len()
    }

    /// By the index of a node, whether a graph output depends on it.
    fn live_nodes(&self) -> Vec<bool> {
        let mut live = vec![false; self.node_bound()];
        let mut pending: Vec<NodeId> = self.outputs.iter().map(|o| o.value.node).collect();
        while let Some(id) = pending.pop() {
            if !std::mem::replace(&mut live[id.index()], true) {
                pending.extend(self.nodes.neighbors_directed(id.0, Incoming).map(NodeId));
            }
        }
        live
    }

    /// The nodes that a graph output depends on, in the order of [`topological_order`](Self::topological_order).
    pub fn live_topological_order(&self) -> Result<Vec<NodeId>, GraphError> {
        let live = self.live_nodes();
        Ok(self.topological_order()?.into_iter().filter(|id| live[id.index()]).collect())
    }

    /// All nodes so that each comes after those it reads, otherwise in the order they were added.
    pub fn topological_order(&self) -> Result<Vec<NodeId>, GraphError> {
        let mut waiting_for = vec![0usize; self.node_bound()];
        let mut ready = BinaryHeap::new();
        for i in self.nodes.node_indices() {
            let count = self.nodes.edges_directed(i, Incoming).count();
            waiting_for[i.index()] = count;
            if count == 0 {
                ready.push(Reverse(i));
            }
        }
        let mut order = Vec::with_capacity(self.nodes.node_count());
        while let Some(Reverse(i)) = ready.pop() {
            order.push(NodeId(i));
            for reader in self.nodes.neighbors_directed(i, Outgoing) {
                let count = &mut waiting_for[reader.index()];
                *count -= 1;
                if *count == 0 {
                    ready.push(Reverse(reader));
                }
            }
        }
        if order.len() == self.nodes.node_count() {
            return Ok(order);
        }
        let stuck = self.nodes.node_indices().filter(|i| waiting_for[i.index()] > 0);
        Err(GraphError::Cycle(stuck.take(8).map(|i| self.describe(NodeId(i))).collect()))
    }

    /// The node's name, or where it has none that of its first value.
    pub fn describe(&self, id: NodeId) -> String {
        let node = self.node(id);
        let first_value = || node.outputs.iter().map(|o| &o.name).find(|n| !n.is_empty()).cloned().unwrap_or_default();
        if node.name.is_empty() { first_value() } else { node.name.clone() }
    }

    /// Every body nested in this graph's nodes, outermost first, this graph left out. Iterative: depth costs no stack.
    pub fn bodies(&self) -> Vec<Arc<Graph>> {
        let held = |graph: &Graph| -> Vec<Arc<Graph>> {
            graph.operators().flat_map(|(_, operator)| operator.subgraphs().cloned().collect::<Vec<_>>()).collect()
        };
        let mut found = held(self);
        let mut next = 0;
        while let Some(body) = found.get(next).cloned() {
            found.extend(held(&body));
            next += 1;
        }
        found
    }
}

/// Equality of structure, names, attributes, constants and remarks; facts are derived and left aside. Node ids and
/// the order of nodes may differ: nodes are found by the names of their values.
impl PartialEq for Graph {
    fn eq(&self, other: &Graph) -> bool {
        crate::compare::same_graph(self, other)
    }
}

impl Graph {
    /// Checks everything that is always true of a graph, of this one and of every body in it.
    pub fn verify(&self) -> Result<(), GraphError> {
        self.verify_alone()?;
        self.bodies().iter().try_for_each(|body| body.verify_alone())
    }

    fn verify_alone(&self) -> Result<(), GraphError> {
        for (id, node) in self.nodes() {
            self.verify_inputs(id, node)?;
            self.verify_names(id, node)?;
            let captured: usize = node.operator().map_or(0, |o| o.subgraphs().map(|g| g.captures.len()).sum());
            if captured != node.num_captures {
                let who = self.describe(id);
                let message =
                    format!("node {who:?} has {} captured inputs, its bodies take {captured}", node.num_captures);
                return Err(GraphError::Broken(message));
            }
        }
        for output in &self.outputs {
            let node = self.nodes.node_weight(output.value.node.0);
            if node.is_none_or(|n| n.outputs.get(output.value.output).is_none_or(|o| o.name.is_empty())) {
                return Err(GraphError::Broken(format!("graph output {:?} is made by no node", output.name)));
            }
        }
        self.topological_order().map(drop)
    }

    fn verify_inputs(&self, id: NodeId, node: &Node) -> Result<(), GraphError> {
        let mut filled = vec![false; node.num_inputs];
        for edge in self.nodes.edges_directed(id.0, Incoming) {
            let Edge { from_output, to_input } = *edge.weight();
            let is_made = self.nodes[edge.source()].outputs.get(from_output).is_some_and(|o| !o.name.is_empty());
            let is_first = filled.get_mut(to_input).is_some_and(|f| !std::mem::replace(f, true));
            if !is_made || !is_first {
                let who = self.describe(id);
                return Err(GraphError::Broken(format!("input {to_input} of node {who:?} is not filled by one value")));
            }
        }
        let operator = node.operator().and_then(|o| Some((o, o.schema()?)));
        let required = operator.map_or(0, |(_, schema)| schema.input_arity().0);
        match filled
            .iter()
            .zip(operator.map_or(&[][..], |(_, s)| s.inputs))
            .take(required)
            .position(|(is_filled, formal)| !is_filled && formal.kind == crate::FormalKind::Required)
        {
            Some(index) => {
                let who = self.describe(id);
                Err(GraphError::Broken(format!("required input {index} of node {who:?} is absent")))
            }
            None => Ok(()),
        }
    }

    fn verify_names(&self, id: NodeId, node: &Node) -> Result<(), GraphError> {
        for (output, named) in node.outputs.iter().enumerate().filter(|(_, o)| !o.name.is_empty()) {
            if self.names.get(&named.name) != Some(&ValueId { node: id, output }) {
                return Err(GraphError::DuplicateName(named.name.clone()));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({:?}, {} nodes)", self.name, self.num_nodes())
    }
}
