//! What of a graph planish cannot run: all of it at once.

use planish_ir::{Graph, Implementation, TypeProblem};
use std::collections::BTreeMap;
use std::fmt;

/// A node that planish cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The node's name.
    pub node: String,
    /// The operator's name, with its domain where it is not ONNX's own.
    pub operator: String,
    /// What is missing.
    pub reason: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {:?} ({}): {}", self.node, self.operator, self.reason)
    }
}

/// The names of nodes by operator and by what is missing, which is the same for many of them.
pub fn grouped(missing: &[Unsupported]) -> BTreeMap<(&str, &str), Vec<&str>> {
    let mut groups: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for item in missing {
        groups.entry((&item.operator, &item.reason)).or_default().push(&item.node);
    }
    groups
}

impl From<TypeProblem> for Unsupported {
    fn from(problem: TypeProblem) -> Unsupported {
        Unsupported { node: problem.node, operator: problem.operator, reason: problem.message }
    }
}

/// Every node of the graph and its bodies that planish cannot run.
pub fn unsupported(graph: &Graph) -> Vec<Unsupported> {
    let mut found = in_graph(graph);
    graph.bodies().iter().for_each(|body| found.extend(in_graph(body)));
    found
}

fn in_graph(graph: &Graph) -> Vec<Unsupported> {
    let missing = graph.operators().filter_map(|(id, operator)| match &operator.implementation {
        Implementation::Unsupported(reason) => {
            Some(Unsupported { node: graph.describe(id), operator: operator.full_name(), reason: reason.clone() })
        }
        Implementation::Op { .. } => None,
    });
    missing.collect()
}
