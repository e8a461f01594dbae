//! `planish compare`: the same inputs through two models, value by value.

use super::args::{Common, InputArgs, print, print_json, run_once};
use super::failure::Failure;
use super::format::{Align, Table};
use super::test::{ToleranceArgs, Verdicts, compare_outputs, first_mismatch};
use crate::data::DataSet;
use clap::Args;
use planish_ir::{Graph, NodeKind};
use serde_json::json;
use std::path::PathBuf;

/// Run the same inputs through two models and compare values of the same name
#[derive(Args)]
#[command(after_help = "Examples:\n  planish compare model.onnx optimized.onnx --data test_data_set_0\n  \
    planish compare a.onnx b.onnx --seed 3 --json")]
pub struct Compare {
    a: PathBuf,
    b: PathBuf,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    tolerance: ToleranceArgs,
    #[command(flatten)]
    common: Common,
}

impl Compare {
    pub fn run(&self) -> Result<(), Failure> {
        self.common.apply_isa()?;
        let (a, b) = (self.common.load(&self.a)?, self.common.load(&self.b)?);
        let mut set = self.inputs.gather(&a.graph, &self.common)?;
        let shared = shared_values(&a.graph, &b.graph);
        let mut options = self.common.session_options();
        options.extra_outputs = shared;
        // What lies inside is compared too, as the files have it.
        options.optimize = false;
        let run_options = self.common.run_options();
        let session = a.into_session(&options)?;
        let outputs = run_once(&session, &set, &run_options)?;
        let names = session.outputs().iter().map(|o| o.name.clone());
        set.outputs = names.zip(outputs).collect();
        let session = b.into_session(&options)?;
        let known: Vec<&str> = session.inputs().iter().map(|i| i.name.as_str()).collect();
        let inputs = set.inputs.iter().filter(|(name, _)| known.contains(&name.as_str())).cloned().collect();
        let outputs = run_once(&session, &DataSet { inputs, outputs: Vec::new() }, &run_options)?;
        let verdicts = compare_outputs(&session, &outputs, &set, self.tolerance.tolerance());
        self.print(&verdicts)?;
        if first_mismatch(&verdicts).is_some() { Err(Failure::Reported) } else { Ok(()) }
    }

    fn print(&self, verdicts: &Verdicts) -> Result<(), Failure> {
        let mismatch = first_mismatch(verdicts);
        if self.common.json {
            let values: Vec<_> = verdicts
                .iter()
                .map(|(name, v)| {
                    json!({"name": name, "ok": v.is_match(), "max_abs_err": v.max_abs_err, "max_rel_err": v.max_rel_err, "cosine": v.cosine})
                })
                .collect();
            return print_json(&json!({"ok": mismatch.is_none(), "first_divergence": mismatch, "values": values}));
        }
        let mut table = Table::new(&[
            ("value", Align::Left),
            ("max abs err", Align::Right),
            ("cosine", Align::Right),
            ("", Align::Left),
        ]);
        for (name, verdict) in verdicts {
            let mark = if verdict.is_match() { "" } else { "differs" };
            let figures = [format!("{:.3e}", verdict.max_abs_err), format!("{:.7}", verdict.cosine)];
            let [error, cosine] = figures;
            table.row(vec![name.clone(), error, cosine, mark.to_owned()]);
        }
        let end = mismatch.map_or_else(|| format!("all {} values match\n", verdicts.len()), |m| format!("{m}\n"));
        print(&(table.render() + &end))
    }
}

/// The values that nodes of both graphs make under one name, in the order `a` makes them.
fn shared_values(a: &Graph, b: &Graph) -> Vec<String> {
    let order = a.topological_order().unwrap_or_default();
    let made = order.iter().filter(|&&id| matches!(a.node(id).kind, NodeKind::Operator(_)));
    let names = made.flat_map(|&id| a.node_outputs(id)).map(|v| a.value_name(v));
    names.filter(|name| !name.is_empty() && b.value(name).is_some()).map(str::to_owned).collect()
}
