//! What the optimizer did, and what it nearly did.

use std::collections::{BTreeMap, HashMap, HashSet};

/// One rewrite that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Its number, from 1; `stop_after` counts by it.
    pub number: usize,
    /// The rule.
    pub rule: &'static str,
    /// The node that was replaced.
    pub node: String,
}

/// What one rule did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// The rule's name.
    pub name: &'static str,
    /// How many changes it made.
    pub changes: usize,
}

/// A reason why a rule left nodes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The rule.
    pub rule: &'static str,
    /// The reason.
    pub reason: String,
    /// How many nodes it kept.
    pub count: usize,
    /// The first of them, by name.
    pub examples: Vec<String>,
}

/// What the optimizer did to a graph.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Every rewrite, in order.
    pub rewrites: Vec<Rewrite>,
    /// Why rules left nodes alone that are still there; only where an explanation was asked for.
    pub missed: Vec<Missed>,
    /// The reasons by rule and node.
    reasons: HashMap<(&'static str, String), String>,
}

/// How many nodes are named for one reason.
const MAX_EXAMPLES: usize = 5;

impl Report {
    /// What each rule that changed something did, by its first change.
    pub fn passes(&self) -> Vec<PassReport> {
        let mut passes: Vec<PassReport> = Vec::new();
        for rewrite in &self.rewrites {
            match passes.iter_mut().find(|p| p.name == rewrite.rule) {
                Some(pass) => pass.changes += 1,
                None => passes.push(PassReport { name: rewrite.rule, changes: 1 }),
            }
        }
        passes
    }

    /// Adds one rewrite.
    pub(crate) fn add(&mut self, rule: &'static str, node: String) {
        let number = self.rewrites.len() + 1;
        self.rewrites.push(Rewrite { number, rule, node });
    }

    pub(crate) fn note(&mut self, rule: &'static str, node: String, reason: String) {
        self.reasons.insert((rule, node), reason);
    }

    /// Sums the reasons up, of nodes that are still there.
    pub(crate) fn conclude(&mut self, nodes: &HashSet<String>) {
        let mut by_reason: BTreeMap<(&'static str, String), Vec<String>> = BTreeMap::new();
        for ((rule, node), reason) in self.reasons.drain() {
            if nodes.contains(&node) {
                by_reason.entry((rule, reason)).or_default().push(node);
            }
        }
        self.missed = by_reason
            .into_iter()
            .map(|((rule, reason), mut examples)| {
                let count = examples.len();
                examples.sort();
                examples.truncate(MAX_EXAMPLES);
                Missed { rule, reason, count, examples }
            })
            .collect();
    }
}
