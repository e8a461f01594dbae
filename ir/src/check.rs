//! Holds the types of a graph's values against the signatures of its operators.

use crate::{Fact, FormalKind, Graph, NodeId, Schema, Type, Types, ValueId};
use planish_tensor::DType;
use std::collections::HashMap;
use std::fmt;

/// A value whose type an operator does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeProblem {
    /// The node's name.
    pub node: String,
    /// The operator's name, with its domain where it is not ONNX's own.
    pub operator: String,
    /// Which value, what was expected, what it is.
    pub message: String,
}

impl fmt::Display for TypeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {:?} ({}): {}", self.node, self.operator, self.message)
    }
}

impl Graph {
    /// Every input of every node, bodies included, whose known type its operator does not take.
    pub fn check_types(&self) -> Vec<TypeProblem> {
        let bodies = self.bodies();
        let graphs = std::iter::once(self).chain(bodies.iter().map(AsRef::as_ref));
        graphs.flat_map(|graph| graph.nodes().flat_map(|(id, _)| graph.check_node(id))).collect()
    }

    fn check_node(&self, id: NodeId) -> Vec<TypeProblem> {
        let node = self.node(id);
        let Some((operator, schema)) = node.operator().and_then(|o| Some((o, o.schema()?))) else {
            return Vec::new();
        };
        let own = node.num_inputs() - node.num_captures();
        let mut bound = HashMap::new();
        let inputs = self.node_inputs(id);
        let check = |(index, value): (usize, &Option<ValueId>)| {
            let message = check_input(schema, index, self.fact((*value)?), &mut bound)?;
            Some(TypeProblem { node: self.describe(id), operator: operator.full_name(), message })
        };
        inputs[..own].iter().enumerate().filter_map(check).collect()
    }
}

/// What is wrong with input `index`, given the dtypes that type variables are bound to so far.
fn check_input(
    schema: &'static Schema,
    index: usize,
    fact: &Fact,
    bound: &mut HashMap<&'static str, DType>,
) -> Option<String> {
    let formal = schema.input(index)?;
    let expected = |got: &dyn fmt::Display| {
        Some(format!("input {index} ({}): expected {}, got {got}", formal.name, Names(formal.types)))
    };
    let dtype = match &fact.ty {
        Type::Tensor { dtype, .. } => (*dtype)?,
        Type::Sequence(_) if formal.types.includes(Types::SEQUENCE) => return None,
        Type::Optional(_) if formal.types.includes(Types::OPTIONAL) => return None,
        Type::Map(..) if formal.types.includes(Types::MAP) => return None,
        Type::Unknown => return None,
        other => return expected(other),
    };
    if !formal.types.contains(dtype) {
        return expected(&dtype);
    }
    let is_mixed = matches!(formal.kind, FormalKind::Variadic { homogeneous: false, .. });
    if formal.variable.is_empty() || is_mixed {
        return None;
    }
    let first = *bound.entry(formal.variable).or_insert(dtype);
    (first != dtype)
        .then(|| format!("input {index} ({}): expected {first} as of the other inputs, got {dtype}", formal.name))
}

/// The names of a set's types.
struct Names(Types);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = self.0.dtypes().map(DType::name).collect();
        let others = [(Types::SEQUENCE, "a sequence"), (Types::OPTIONAL, "an optional"), (Types::MAP, "a map")];
        names.extend(others.iter().filter(|(set, _)| self.0.includes(*set)).map(|(_, name)| name));
        f.write_str(&names.join(" or "))
    }
}
