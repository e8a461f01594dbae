//! `planish check`: everything planish cannot run, all at once.

use super::args::{Common, print, print_json};
use super::failure::Failure;
use super::format::{Align, Table, green, red};
use clap::Args;
use planish_ir::Graph;
use planish_runtime::{Unsupported, grouped, unsupported};
use serde_json::json;
use std::path::PathBuf;

/// Validate a model against the standard and list everything planish cannot run
#[derive(Args)]
#[command(after_help = "Examples:\n  planish check model.onnx\n  planish check model.onnx --json")]
pub struct Check {
    model: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Check {
    pub fn run(&self) -> Result<(), Failure> {
        let model = match self.common.load(&self.model) {
            Ok(model) => model,
            Err(failure) => {
                if self.common.json {
                    print_json(
                        &json!({"ok": false, "error": failure.text(), "unsupported": [], "problems": [], "warnings": []}),
                    )?;
                }
                return Err(failure);
            }
        };
        let missing = unsupported(&model.graph);
        let problems: Vec<String> = type_problems(&model.graph);
        let is_good = missing.is_empty() && problems.is_empty();
        if self.common.json {
            let groups: Vec<_> = grouped(&missing)
                .into_iter()
                .map(|((operator, reason), nodes)| json!({"operator": operator, "reason": reason, "nodes": nodes}))
                .collect();
            print_json(&json!({
                "ok": is_good, "error": null, "unsupported": groups, "problems": problems, "warnings": model.warnings,
            }))?;
        } else {
            print(&render(&missing, &problems, model.graph.operators().count()))?;
        }
        if is_good { Ok(()) } else { Err(Failure::Reported) }
    }
}

/// What of the graph and its bodies breaks the signatures of its operators.
fn type_problems(graph: &Graph) -> Vec<String> {
    graph.check_types().iter().map(ToString::to_string).collect()
}

fn render(missing: &[Unsupported], problems: &[String], nodes: usize) -> String {
    let mut text = String::new();
    if !missing.is_empty() {
        text.push_str(&format!("{}: {} of {nodes} nodes cannot run\n", red("unsupported"), missing.len()));
        let mut table = Table::new(&[
            ("operator", Align::Left),
            ("count", Align::Right),
            ("why", Align::Left),
            ("nodes", Align::Left),
        ]);
        for ((operator, reason), nodes) in grouped(missing) {
            table.row(vec![operator.to_owned(), nodes.len().to_string(), reason.to_owned(), nodes.join(", ")]);
        }
        text.push_str(&table.render());
    }
    if !problems.is_empty() {
        text.push_str(&format!("{}:\n", red("against the standard")));
        problems.iter().for_each(|problem| text.push_str(&format!("  {problem}\n")));
    }
    if text.is_empty() {
        text = format!("{}: all {nodes} nodes can run\n", green("good"));
    }
    text
}
