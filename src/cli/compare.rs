//! `planish compare`: the same inputs through two models, value by value.

use super::args::{Common, InputArgs, print, print_json, run_once};
use super::failure::Failure;
use super::format::{Align, Table};
use super::optimize::For;
use super::test::{ToleranceArgs, Verdicts, compare_outputs, first_mismatch};
use crate::data::DataSet;
use clap::Args;
use planish_ir::{Graph, NodeKind};
use planish_passes::{OptimizeOptions, Optimizer};
use serde_json::json;
use std::path::PathBuf;

/// The name of the stage behind all passes.
const LAST_STAGE: &str = "end";

/// Run the same inputs through two models, or one at two stages, and compare values of the same name
#[derive(Args)]
#[command(after_help = "Examples:\n  planish compare model.onnx optimized.onnx --data test_data_set_0\n  \
    planish compare a.onnx b.onnx --seed 3 --json\n  \
    planish compare model.onnx --b-pass weights            # as loaded, and after the pass that folds weights\n  \
    planish compare model.onnx --a-pass clean --b-pass fuse-layer-norm --data test_data_set_0\n\n\
    A pass stands for the model behind all passes up to its first run, `end` for the model behind all of them.")]
pub struct Compare {
    a: PathBuf,
    /// The other model [default: the same]
    b: Option<PathBuf>,
    /// Compare A as it is behind this pass of the optimizer
    #[arg(long, value_name = "PASS")]
    a_pass: Option<String>,
    /// Compare B as it is behind this pass of the optimizer
    #[arg(long, value_name = "PASS")]
    b_pass: Option<String>,
    /// The target whose passes these are
    #[arg(long, value_name = "TARGET", default_value = "standard")]
    target: For,
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
        if self.b.is_none() && self.a_pass.is_none() && self.b_pass.is_none() {
            return Err(Failure::usage("one model at one stage: give a second one, --a-pass or --b-pass"));
        }
        let (mut a, mut b) = (self.common.load(&self.a)?, self.common.load(self.b.as_ref().unwrap_or(&self.a))?);
        for (model, pass) in [(&mut a, &self.a_pass), (&mut b, &self.b_pass)] {
            if let Some(pass) = pass {
                self.advance(&mut model.graph, pass)?;
            }
        }
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

    /// Optimizes a graph until this pass has run once.
    fn advance(&self, graph: &mut Graph, pass: &str) -> Result<(), Failure> {
        let options = OptimizeOptions { target: self.target.into(), ..OptimizeOptions::default() };
        let mut optimizer = Optimizer::new(&options);
        let mut seen: Vec<&str> = Vec::new();
        while let Some(name) = optimizer.step(graph) {
            if name == pass {
                return Ok(());
            }
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        if pass == LAST_STAGE {
            return Ok(());
        }
        let known = format!("the passes are {}, {LAST_STAGE}", seen.join(", "));
        Err(Failure::usage(format!("no pass {pass:?}")).hint(known))
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
