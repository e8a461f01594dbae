//! `planish optimize`: rewrites a model and writes it back.

use super::args::{Common, print, print_json};
use super::failure::Failure;
use super::format::{Align, Table, bytes};
use crate::onnx::ExportOptions;
use clap::Args;
use planish_ir::Graph;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Optimize a model and write it back as ONNX
#[derive(Args)]
#[command(after_help = "Examples:\n  planish optimize model.onnx -o smaller.onnx\n  \
    planish optimize model.onnx -o smaller.onnx --opset 17 --json")]
pub struct Optimize {
    model: PathBuf,
    /// Where the optimized model goes
    #[arg(short = 'o', value_name = "OUT")]
    out: PathBuf,
    /// Opset to write [default: the lowest, from 17 on, that has every operator of the model]
    #[arg(long, value_name = "N")]
    opset: Option<u32>,
    /// Write large tensors to a file of their own beside the model [default: above 1 GiB]
    #[arg(long)]
    external_data: bool,
    #[command(flatten)]
    common: Common,
}

/// What is printed of a model before and after.
struct Size {
    nodes: usize,
    bytes: u64,
    operators: BTreeMap<String, usize>,
}

impl Size {
    fn of(graph: &Graph) -> Size {
        let bodies = graph.bodies();
        let graphs = || std::iter::once(graph).chain(bodies.iter().map(AsRef::as_ref));
        let mut operators: BTreeMap<String, usize> = BTreeMap::new();
        for (_, operator) in graphs().flat_map(Graph::operators) {
            *operators.entry(operator.full_name()).or_default() += 1;
        }
        let constants = graphs().flat_map(Graph::nodes).filter_map(|(_, node)| node.constant());
        let bytes = constants.map(|t| t.num_bytes() as u64).sum();
        Size { nodes: operators.values().sum(), bytes, operators }
    }
}

impl Optimize {
    pub fn run(&self) -> Result<(), Failure> {
        let mut model = self.common.load(&self.model)?;
        let before = Size::of(&model.graph);
        let report = model.optimize();
        let after = Size::of(&model.graph);
        let spinner = self.common.spinner(format!("writing {}", self.out.display()));
        let mut options = ExportOptions { opset: self.opset, ..ExportOptions::default() };
        if self.external_data {
            options.external_data_above_bytes = 0;
        }
        model.save_with(&self.out, &options)?;
        spinner.finish_and_clear();
        if self.common.json {
            let passes: Vec<_> =
                report.passes().iter().map(|p| json!({"pass": p.name, "changes": p.changes})).collect();
            return print_json(&json!({
                "model": self.model.display().to_string(), "out": self.out.display().to_string(),
                "before": {"nodes": before.nodes, "bytes": before.bytes, "operators": before.operators},
                "after": {"nodes": after.nodes, "bytes": after.bytes, "operators": after.operators},
                "passes": passes,
            }));
        }
        let mut table = Table::new(&[("", Align::Left), ("before", Align::Right), ("after", Align::Right)]);
        table.row(vec!["nodes".into(), before.nodes.to_string(), after.nodes.to_string()]);
        table.row(vec!["weights".into(), bytes(before.bytes), bytes(after.bytes)]);
        let names: std::collections::BTreeSet<&String> =
            before.operators.keys().chain(after.operators.keys()).collect();
        for name in names {
            let count = |size: &Size| size.operators.get(name).copied().unwrap_or(0);
            if count(&before) != count(&after) {
                table.row(vec![name.clone(), count(&before).to_string(), count(&after).to_string()]);
            }
        }
        let done: String = report.passes().iter().map(|p| format!("  {}: {} change(s)\n", p.name, p.changes)).collect();
        print(&(table.render() + &done))
    }
}
