//! The passes, in order.

use crate::remove_dead_nodes::remove_dead_nodes;
use planish_ir::Graph;

/// What one pass did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// The pass's name.
    pub name: &'static str,
    /// How many changes it made.
    pub changes: usize,
}

/// Runs every pass over the graph.
pub fn optimize(graph: &mut Graph) -> Vec<PassReport> {
    const PASSES: &[(&str, fn(&mut Graph) -> usize)] = &[("remove-dead-nodes", remove_dead_nodes)];
    PASSES.iter().map(|(name, pass)| PassReport { name, changes: pass(graph) }).collect()
}
