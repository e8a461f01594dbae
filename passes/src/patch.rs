//! Patches: the nodes that a rule puts in place of others.

use crate::pattern::Match;
use planish_ir::{Attributes, ValueId};
use planish_tensor::Tensor;

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
    /// Where the node is an operator.
    pub inputs: Vec<Operand>,
    pub num_outputs: usize,
}

#[derive(Debug)]
pub(crate) enum NewKind {
    Constant(Tensor),
    Operator { domain: &'static str, name: String, attributes: Attributes },
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
        domain: &'static str,
        name: &str,
        attributes: Attributes,
        inputs: &[Operand],
        num_outputs: usize,
    ) -> Vec<Operand> {
        let kind = NewKind::Operator { domain, name: name.to_owned(), attributes };
        let Operand::New { node, .. } = self.add(kind, inputs.to_vec(), num_outputs) else { return Vec::new() };
        (0..num_outputs).map(|output| Operand::New { node, output }).collect()
    }

    fn add(&mut self, kind: NewKind, inputs: Vec<Operand>, num_outputs: usize) -> Operand {
        self.nodes.push(NewNode { kind, inputs, num_outputs });
        Operand::New { node: self.nodes.len() - 1, output: 0 }
    }

    /// Whoever reads `old` shall read `new`.
    #[must_use]
    pub fn replace(mut self, old: ValueId, new: impl Into<Operand>) -> Patch {
        self.replaced.push((old, new.into()));
        self
    }
}
