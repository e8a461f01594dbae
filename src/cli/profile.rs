//! What each node of a run took, beside the least that this machine could take.

use super::format::{Align, Table, grouped, milliseconds};
use super::machine;
use planish_kernels::machine::{Bound, Machine, Work};
use planish_runtime::NodeProfile;
use serde_json::{Value as Json, json};
use std::cmp::Reverse;
use std::time::Duration;

/// A profiled run and the limits of the machine that it ran on.
pub struct Profile {
    nodes: Vec<NodeProfile>,
    total: Duration,
    machine: Machine,
}

impl Profile {
    /// Measures the machine with as many threads as the run had.
    pub fn new(nodes: Vec<NodeProfile>, total: Duration, threads: usize) -> Profile {
        Profile { nodes, total, machine: Machine::measure(threads) }
    }

    /// The least time that a node could take. The weights of the whole run were touched since a node's own were.
    fn bound(&self, node: &NodeProfile) -> Bound<'_> {
        let weights: u64 = self.nodes.iter().map(|node| node.weight_bytes).sum();
        self.machine.bound(&Work {
            operations: 2.0 * node.macs as f64,
            is_int8: node.has_codes,
            fresh_bytes: node.bytes.saturating_sub(node.weight_bytes) as f64,
            stale_bytes: node.weight_bytes as f64,
            stale_among_bytes: weights as f64,
        })
    }

    /// The nodes in the order they ran in.
    pub fn nodes_json(&self) -> Json {
        let node_json = |node: &NodeProfile| {
            let bound = self.bound(node);
            json!({
                "node": node.node, "operator": node.operator, "ms": node.time.as_secs_f64() * 1e3, "macs": node.macs,
                "bytes": node.bytes, "weight_bytes": node.weight_bytes, "output": node.output,
                "least_ms": bound.seconds * 1e3, "bound_by": bound.by,
            })
        };
        self.nodes.iter().map(node_json).collect()
    }

    /// The limits that nodes are held against.
    pub fn machine_json(&self) -> Json {
        machine::document(&self.machine)
    }

    /// The nodes as a table, slowest first.
    pub fn render(&self) -> String {
        let mut table = Table::new(&[
            ("ms", Align::Right),
            ("share", Align::Right),
            ("GFLOP/s", Align::Right),
            ("GB/s", Align::Right),
            ("of limit", Align::Right),
            ("by", Align::Left),
            ("operator", Align::Left),
            ("node", Align::Left),
            ("output", Align::Left),
        ]);
        let total_s = self.total.as_secs_f64();
        let mut sorted: Vec<&NodeProfile> = self.nodes.iter().collect();
        sorted.sort_by_key(|node| Reverse(node.time));
        for node in sorted {
            let (seconds, bound) = (node.time.as_secs_f64().max(1e-9), self.bound(node));
            let rate =
                |count: u64| if count > 0 { format!("{:.1}", count as f64 / seconds / 1e9) } else { String::new() };
            let is_bound = bound.seconds > 0.0;
            table.row(vec![
                milliseconds(seconds * 1e3),
                percent(seconds, total_s),
                rate(2 * node.macs),
                rate(node.bytes),
                if is_bound { percent(bound.seconds, seconds) } else { String::new() },
                if is_bound { bound.by.to_owned() } else { String::new() },
                node.operator.clone(),
                node.node.clone(),
                node.output.clone(),
            ]);
        }
        table.render() + &self.summary(total_s) + "\n"
    }

    fn summary(&self, total_s: f64) -> String {
        let macs: u64 = self.nodes.iter().map(|n| n.macs).sum();
        let least_s: f64 = self.nodes.iter().map(|node| self.bound(node).seconds).sum();
        let memory = self.machine.reads.last().map_or(0.0, |reads| reads.gb_s.all);
        format!(
            "{} ms, {} nodes, {} MACs; {} ms ({}) at the limits of {} thread(s): {:.0} GFLOP/s f32, {:.0} GOP/s int8, {memory:.0} GB/s\n",
            milliseconds(total_s * 1e3),
            self.nodes.len(),
            grouped(macs),
            milliseconds(least_s * 1e3),
            percent(least_s, total_s),
            self.machine.threads,
            self.machine.f32_gflops.all,
            self.machine.int8_gops.all,
        )
    }
}

fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", 100.0 * part / whole.max(1e-9))
}
