//! Shape inference over a whole graph. It never fails: what is not known stays unknown, what contradicts is reported.

use crate::{Fact, Facts, Graph, GraphError, NodeId, NodeKind, ValueId};
use smallvec::SmallVec;
use std::fmt;

/// A node whose inputs, or declared outputs, contradict its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The node's name.
    pub node: String,
    /// The operator's name, with its domain.
    pub operator: String,
    /// What contradicts what.
    pub message: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {:?} ({}): {}", self.node, self.operator, self.message)
    }
}

/// What is known of every value of a graph, by node and output.
struct FactTable(Vec<SmallVec<[Fact; 1]>>);

impl FactTable {
    fn get(&self, value: ValueId) -> Option<&Fact> {
        self.0.get(value.node.index())?.get(value.output)
    }
}

impl Graph {
    /// Infers what is known of every value and keeps it, on top of what the model declares. Returns contradictions.
    pub fn infer(&mut self) -> Result<Vec<Conflict>, GraphError> {
        let (table, conflicts) = self.infer_table(None)?;
        for (id, facts) in table.0.into_iter().enumerate() {
            for (output, fact) in facts.into_iter().enumerate() {
                let id = self.node_id(id);
                if let Some(id) = id {
                    self.set_fact(ValueId { node: id, output }, fact);
                }
            }
        }
        Ok(conflicts)
    }

    /// Infers what is known of the outputs of one node from what is kept of its inputs, and keeps it. Returns
    /// contradictions. Whoever adds nodes in topological order has the whole graph inferred at the end.
    pub fn infer_node(&mut self, id: NodeId) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        if self.node(id).operator().is_some() {
            let facts = self.node_facts(id, |value| Some(self.fact(value)), &mut conflicts);
            for (value, fact) in self.node_outputs(id).zip(facts) {
                self.set_fact(value, fact);
            }
        }
        conflicts
    }

    /// What is known of the graph outputs if this much is known of the graph inputs, then of the captured values.
    pub fn infer_outputs(&self, inputs: &[Option<&Fact>]) -> Vec<Fact> {
        let Ok((table, _)) = self.infer_table(Some(inputs)) else {
            return vec![Fact::unknown(); self.outputs().len()];
        };
        self.outputs().iter().map(|o| table.get(o.value).cloned().unwrap_or_default()).collect()
    }

    /// What is known of every value, if `given` is known of the inputs and captured values.
    fn infer_table(&self, given: Option<&[Option<&Fact>]>) -> Result<(FactTable, Vec<Conflict>), GraphError> {
        let mut table = FactTable(vec![SmallVec::new(); self.node_bound()]);
        let mut conflicts = Vec::new();
        for id in self.topological_order()? {
            let facts = match &self.node(id).kind {
                NodeKind::Input | NodeKind::Constant(_) => {
                    self.node_outputs(id).map(|v| self.fact(v).clone()).collect()
                }
                NodeKind::Operator(_) => self.node_facts(id, |value| table.get(value), &mut conflicts),
            };
            table.0[id.index()] = facts;
            if let Some(given) = given
                && let Some(position) = self.inputs().chain(self.captures()).position(|v| v.node == id)
                && let Some(Some(fact)) = given.get(position)
            {
                let declared = &self.fact(ValueId { node: id, output: 0 }).ty;
                let mut fact = (*fact).clone();
                fact.ty = fact.ty.unify(declared).unwrap_or(fact.ty);
                table.0[id.index()] = SmallVec::from_iter([fact]);
            }
        }
        Ok((table, conflicts))
    }

    /// What is known of the outputs of an operator's node, `fact_of` being what is known of other values.
    fn node_facts<'a>(
        &'a self,
        id: NodeId,
        fact_of: impl Fn(ValueId) -> Option<&'a Fact>,
        conflicts: &mut Vec<Conflict>,
    ) -> SmallVec<[Fact; 1]> {
        let node = self.node(id);
        let inputs = self.node_inputs(id);
        let known: SmallVec<[Option<&Fact>; 4]> = inputs.iter().map(|v| fact_of((*v)?)).collect();
        let operator = node.operator().expect("node_facts is called for operators");
        let inferred = match operator.op() {
            Some(op) => op.infer(&Facts::new(&known, node.num_outputs())),
            None => Ok(Vec::new()),
        };
        let conflict = |message| Conflict { node: self.describe(id), operator: operator.full_name(), message };
        let mut inferred = inferred.unwrap_or_else(|error| {
            conflicts.push(conflict(error.0));
            Vec::new()
        });
        inferred.resize(node.num_outputs(), Fact::unknown());
        let outputs = self.node_outputs(id).zip(inferred).map(|(value, mut fact)| {
            match fact.ty.unify(&self.fact(value).ty) {
                Ok(ty) => fact.ty = ty,
                Err(message) => {
                    let name = self.value_name(value);
                    conflicts.push(conflict(format!("output {name:?}: inferred {message} as declared")));
                }
            }
            fact
        });
        outputs.collect()
    }
}
