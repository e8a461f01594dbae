//! Patches: the nodes that a rule puts in place of others.

use crate::pattern::Match;
use crate::rule::No;
use planish_ir::{Attributes, Graph, NodeKind, ValueId};
use planish_tensor::Tensor;
use std::collections::HashMap;

/// New nodes, and which values they stand in for. The driver applies it: names, readers and what is known of values follow.
#[derive(Debug, Default)]
pub struct Patch {
    pub(crate) nodes: Vec<NewNode>,
    pub(crate) replaced: Vec<(ValueId, Operand)>,
}

/// A node to be added.
#[derive(Debug)]
pub(crate) struct NewNode {
    pub kind: NewKind,
    /// The node's name; mostly none.
    pub name: String,
    /// Where the node is an operator.
    pub inputs: Vec<Operand>,
    /// How many of the last inputs its bodies capture.
    pub num_captures: usize,
    pub num_outputs: usize,
}

#[derive(Debug)]
pub(crate) enum NewKind {
    Constant(Tensor),
    Operator { domain: String, name: String, attributes: Attributes },
}

/// What a new node reads: a value of the graph, a value that the patch makes, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A value of the graph.
    Value(ValueId),
    /// Output `output` of the patch's new node `node`.
    New {
        /// Which of the new nodes.
        node: usize,
        /// Which of its outputs.
        output: usize,
    },
    /// An optional input left out.
    Absent,
}

impl From<ValueId> for Operand {
    fn from(value: ValueId) -> Operand {
        Operand::Value(value)
    }
}

impl From<Option<ValueId>> for Operand {
    fn from(value: Option<ValueId>) -> Operand {
        value.map_or(Operand::Absent, Operand::Value)
    }
}

impl Patch {
    /// A patch that changes nothing yet.
    pub fn new() -> Patch {
        Patch::default()
    }

    /// The match's value is `value`, which the graph has already.
    pub fn by_value(found: &Match<'_>, value: ValueId) -> Patch {
        Patch::new().replace(ValueId { node: found.root(), output: 0 }, value)
    }

    /// The match's value is made by one operator of ONNX's own domain.
    pub fn by_operator(found: &Match<'_>, name: &str, attributes: Attributes, inputs: &[Operand]) -> Patch {
        let mut patch = Patch::new();
        let value = patch.operator(name, attributes, inputs);
        patch.replace(ValueId { node: found.root(), output: 0 }, value)
    }

    /// Adds a constant.
    pub fn constant(&mut self, tensor: Tensor) -> Operand {
        self.add(NewKind::Constant(tensor), Vec::new(), 1)
    }

    /// Adds an `int64` vector.
    pub fn ints(&mut self, elements: &[i64]) -> Operand {
        self.constant(Tensor::vector(elements))
    }

    /// Adds an operator of ONNX's own domain. Where all its inputs are constant and folding allows it, it becomes a
    /// constant at once, so that arithmetic on weights is written with operators.
    pub fn operator(&mut self, name: &str, attributes: Attributes, inputs: &[Operand]) -> Operand {
        self.operators(name, attributes, inputs, 1)[0]
    }

    /// Adds an operator of several outputs.
    pub fn operators(
        &mut self,
        name: &str,
        attributes: Attributes,
        inputs: &[Operand],
        num_outputs: usize,
    ) -> Vec<Operand> {
        self.domain_operators("", name, attributes, inputs, num_outputs)
    }

    /// Adds an operator of any domain.
    pub fn domain_operators(
        &mut self,
        domain: &str,
        name: &str,
        attributes: Attributes,
        inputs: &[Operand],
        num_outputs: usize,
    ) -> Vec<Operand> {
        let kind = NewKind::Operator { domain: domain.to_owned(), name: name.to_owned(), attributes };
        // Optional inputs left out at the end are not there.
        let length = inputs.iter().rposition(|&i| i != Operand::Absent).map_or(0, |last| last + 1);
        let Operand::New { node, .. } = self.add(kind, inputs[..length].to_vec(), num_outputs) else {
            return Vec::new();
        };
        (0..num_outputs).map(|output| Operand::New { node, output }).collect()
    }

    /// Adds every node of a body that is given these inputs, then captured values. What the body gives out.
    pub fn body(&mut self, body: &Graph, inputs: &[Operand]) -> Result<Vec<Operand>, No> {
        let sources = body.inputs().chain(body.captures());
        let mut made: HashMap<ValueId, Operand> = sources.zip(inputs.iter().copied()).collect();
        let order = body.topological_order().map_err(|e| No(e.to_string().into()))?;
        for id in order {
            let node = body.node(id);
            match &node.kind {
                NodeKind::Input => {}
                NodeKind::Constant(tensor) => {
                    made.insert(ValueId { node: id, output: 0 }, self.constant(tensor.clone()));
                }
                NodeKind::Operator(operator) => {
                    let read = |v: &Option<ValueId>| v.map_or(Some(Operand::Absent), |v| made.get(&v).copied());
                    let inputs: Option<Vec<Operand>> = body.node_inputs(id).iter().map(read).collect();
                    let (domain, name) = (operator.domain.clone(), operator.name.clone());
                    let kind = NewKind::Operator { domain, name, attributes: operator.attributes.clone() };
                    self.nodes.push(NewNode {
                        kind,
                        name: node.name.clone(),
                        inputs: inputs.ok_or("the body reads a value that nothing makes")?,
                        num_captures: node.num_captures(),
                        num_outputs: node.num_outputs(),
                    });
                    let new = self.nodes.len() - 1;
                    for value in body.node_outputs(id) {
                        made.insert(value, Operand::New { node: new, output: value.output });
                    }
                }
            }
        }
        let outputs = body.outputs().iter().map(|o| made.get(&o.value).copied());
        outputs.collect::<Option<Vec<Operand>>>().ok_or_else(|| "the body gives out what nothing makes".into())
    }

    fn add(&mut self, kind: NewKind, inputs: Vec<Operand>, num_outputs: usize) -> Operand {
        self.nodes.push(NewNode { kind, name: String::new(), inputs, num_captures: 0, num_outputs });
        Operand::New { node: self.nodes.len() - 1, output: 0 }
    }

    /// Whoever reads `old` shall read `new`.
    #[must_use]
    pub fn replace(mut self, old: ValueId, new: impl Into<Operand>) -> Patch {
        self.replaced.push((old, new.into()));
        self
    }
}
