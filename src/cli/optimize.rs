//! `planish optimize`: rewrites a model, proves the result and writes it back.

use super::args::{Common, InputArgs, parse_bindings, print, print_json};
use super::failure::Failure;
use super::format::{Align, Table, bytes, formula};
use crate::cost::graph_cost;
use crate::onnx::ExportOptions;
use crate::verify::{Culprit, Verified, Verifier, Verify};
use clap::{Args, ValueEnum};
use planish_ir::{Dim, Graph};
use planish_passes::{OptimizeOptions, Report, Target, bind_symbols, optimize_with, rule_names};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Optimize a model, prove that it computes the same, and write it back as ONNX
#[derive(Args)]
#[command(after_help = "Examples:\n  planish optimize model.onnx -o smaller.onnx\n  \
    planish optimize model.onnx -o smaller.onnx --verify each --data test_data_set_0\n  \
    planish optimize model.onnx -o smaller.onnx --dim batch=1 --expect 'LayerNormalization=12'\n  \
    planish optimize model.onnx -o smaller.onnx --only fold-constants,fuse-gelu --explain --json")]
pub struct Optimize {
    model: PathBuf,
    /// Where the optimized model goes
    #[arg(short = 'o', value_name = "OUT")]
    out: PathBuf,
    /// Who is to run the result
    #[arg(long, value_name = "TARGET", default_value = "standard")]
    target: For,
    /// Opset to write [default: the lowest, from 17 on, that has every operator of the model]
    #[arg(long, value_name = "N")]
    opset: Option<u32>,
    /// Write large tensors to a file of their own beside the model [default: above 1 GiB]
    #[arg(long)]
    external_data: bool,
    /// Use only these rules
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Do not use these rules
    #[arg(long, value_name = "RULE,…", value_delimiter = ',')]
    skip: Vec<String>,
    /// Tell why rules left places alone
    #[arg(long)]
    explain: bool,
    /// When to check that the result stays the same; a rule that changes it is named and left out
    #[arg(long, value_name = "WHEN", default_value = "final")]
    verify: When,
    /// Fail if the result has another number of nodes of these operators
    #[arg(long, value_name = "OPERATOR=N,…", value_delimiter = ',')]
    expect: Vec<String>,
    /// Stop after this many rewrites
    #[arg(long, value_name = "N")]
    stop_after: Option<usize>,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    common: Common,
}

/// Who is to run a model.
#[derive(Clone, Copy, ValueEnum)]
pub enum For {
    /// Any runtime: standard operators only
    Standard,
    /// ONNX Runtime
    Ort,
    /// planish: its own operators too, as functions that any runtime can call
    Planish,
}

impl From<For> for Target {
    fn from(target: For) -> Target {
        match target {
            For::Standard => Target::Standard,
            For::Ort => Target::Ort,
            For::Planish => Target::Planish,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Off,
    Final,
    Each,
}

impl From<When> for Verify {
    fn from(when: When) -> Verify {
        match when {
            When::Off => Verify::Off,
            When::Final => Verify::Final,
            When::Each => Verify::Each,
        }
    }
}

/// What is printed of a model before and after.
struct Size {
    nodes: usize,
    bytes: u64,
    macs: Dim,
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
        let cost = graph_cost(graph);
        Size { nodes: operators.values().sum(), bytes: cost.weight_bytes(), macs: cost.macs, operators }
    }

    fn json(&self) -> serde_json::Value {
        let macs = self.macs.as_known().map_or_else(|| json!(self.macs.to_string()), |n| json!(n));
        json!({"nodes": self.nodes, "bytes": self.bytes, "macs": macs, "operators": self.operators})
    }
}

/// What came of proving the result.
struct Proof {
    /// On how many sets of inputs.
    num_sets: usize,
    /// Why there was no proof.
    not_done: Option<String>,
    culprits: Vec<Culprit>,
}

impl Optimize {
    pub fn run(&self) -> Result<(), Failure> {
        self.common.apply_isa()?;
        let expected = self.expected()?;
        let options = self.options()?;
        let mut model = self.common.load(&self.model)?;
        let bindings = parse_bindings(&self.inputs.dim)?;
        if !bindings.is_empty() {
            bind_symbols(&mut model.graph, &bindings);
        }
        let before = Size::of(&model.graph);
        let spinner = self.common.spinner("optimizing".to_owned());
        let (report, proof) = self.rewrite(&mut model.graph, &options)?;
        spinner.finish_and_clear();
        let after = Size::of(&model.graph);
        let spinner = self.common.spinner(format!("writing {}", self.out.display()));
        let mut export = ExportOptions { opset: self.opset, target: self.target.into(), ..ExportOptions::default() };
        if self.external_data {
            export.external_data_above_bytes = 0;
        }
        model.save_with(&self.out, &export)?;
        spinner.finish_and_clear();
        match self.common.json {
            true => print_json(&self.document(&before, &after, &report, &proof))?,
            false => print(&self.render(&before, &after, &report, &proof))?,
        }
        check_expected(&expected, &after)
    }

    /// Counts of operators that the result must have.
    fn expected(&self) -> Result<Vec<(String, usize)>, Failure> {
        let parse = |text: &String| {
            let (name, count) = text.split_once('=')?;
            Some((name.trim().to_owned(), count.trim().parse().ok()?))
        };
        let wrong = |text: &String| Failure::usage(format!("--expect {text:?}: expected OPERATOR=N"));
        self.expect.iter().map(|text| parse(text).ok_or_else(|| wrong(text))).collect()
    }

    fn options(&self) -> Result<OptimizeOptions, Failure> {
        let known = rule_names();
        if let Some(name) = self.only.iter().chain(&self.skip).find(|name| !known.contains(&name.as_str())) {
            return Err(Failure::usage(format!("no rule {name:?}")).hint(format!("the rules are {}", known.join(", "))));
        }
        let (only, skip) = (self.only.clone(), self.skip.clone());
        let (target, stop_after, explain) = (self.target.into(), self.stop_after, self.explain);
        Ok(OptimizeOptions { target, opset: self.opset, only, skip, stop_after, explain, extra: Vec::new() })
    }

    fn rewrite(&self, graph: &mut Graph, options: &OptimizeOptions) -> Result<(Report, Proof), Failure> {
        let mut proof = Proof { num_sets: 0, not_done: None, culprits: Vec::new() };
        if self.verify == When::Off {
            return Ok((optimize_with(graph, options), proof));
        }
        let original = graph.clone();
        let sets = self.data_sets(&original)?;
        let options_of_run = self.common.run_options();
        match Verifier::new(&original, sets, self.common.session_options(), options_of_run) {
            Ok(verifier) => {
                let Verified { graph: optimized, report, culprits } = verifier.optimize(options, self.verify.into());
                *graph = optimized;
                (proof.num_sets, proof.culprits) = (verifier.num_sets(), culprits);
                Ok((report, proof))
            }
            Err(reason) => {
                self.common.note(&format!("warning: the result is not verified: {reason}"));
                proof.not_done = Some(reason);
                Ok((optimize_with(graph, options), proof))
            }
        }
    }

    /// What to verify on: the data given, else generated inputs with symbols of extent 1, and others with extent 2.
    fn data_sets(&self, graph: &Graph) -> Result<Vec<crate::data::DataSet>, Failure> {
        let silent = Common { quiet: true, ..self.common.clone() };
        if self.inputs.data.is_some() {
            return Ok(vec![self.inputs.gather(graph, &silent)?]);
        }
        let generated = [1, 2].map(|extent| self.inputs.gather_with(graph, &silent, extent));
        // What cannot be generated is left to the verifier to regret.
        Ok(generated.into_iter().filter_map(Result::ok).collect())
    }

    fn document(&self, before: &Size, after: &Size, report: &Report, proof: &Proof) -> serde_json::Value {
        let passes: Vec<_> = report.passes().iter().map(|p| json!({"pass": p.name, "changes": p.changes})).collect();
        let culprits: Vec<_> = proof
            .culprits
            .iter()
            .map(|c| json!({"pass": c.rule, "node": c.node, "rewrite": c.number, "difference": c.difference}))
            .collect();
        let mut document = json!({
            "model": self.model.display().to_string(), "out": self.out.display().to_string(),
            "before": before.json(), "after": after.json(), "passes": passes, "rewrites": report.rewrites.len(),
            "verified": {
                "ok": proof.not_done.is_none() && self.verify != When::Off, "sets": proof.num_sets,
                "not_done": proof.not_done, "rolled_back": culprits,
            },
        });
        if self.explain {
            let missed = report.missed.iter();
            let missed =
                missed.map(|m| json!({"pass": m.rule, "reason": m.reason, "count": m.count, "examples": m.examples}));
            document["missed"] = missed.collect();
        }
        document
    }

    fn render(&self, before: &Size, after: &Size, report: &Report, proof: &Proof) -> String {
        let mut table = Table::new(&[("", Align::Left), ("before", Align::Right), ("after", Align::Right)]);
        table.row(vec!["nodes".into(), before.nodes.to_string(), after.nodes.to_string()]);
        table.row(vec!["weights".into(), bytes(before.bytes), bytes(after.bytes)]);
        table.row(vec!["MACs".into(), formula(&before.macs), formula(&after.macs)]);
        let names: BTreeSet<&String> = before.operators.keys().chain(after.operators.keys()).collect();
        for name in names {
            let count = |size: &Size| size.operators.get(name).copied().unwrap_or(0);
            if count(before) != count(after) {
                table.row(vec![name.clone(), count(before).to_string(), count(after).to_string()]);
            }
        }
        let mut text = table.render();
        for pass in report.passes() {
            text.push_str(&format!("  {}: {} change(s)\n", pass.name, pass.changes));
        }
        for culprit in &proof.culprits {
            text.push_str(&format!(
                "rolled back: {} changed the result at {:?} (rewrite {}): {}\n",
                culprit.rule, culprit.node, culprit.number, culprit.difference
            ));
        }
        if proof.num_sets > 0 {
            text.push_str(&format!("verified on {} set(s) of inputs\n", proof.num_sets));
        }
        for missed in &report.missed {
            let (rule, count, examples) = (missed.rule, missed.count, missed.examples.join(", "));
            text.push_str(&format!("  {rule}: not {count} x: {} ({examples})\n", missed.reason));
        }
        text
    }
}

/// Fails where the result has other counts than asked for.
fn check_expected(expected: &[(String, usize)], after: &Size) -> Result<(), Failure> {
    let wrong = expected.iter().filter_map(|(name, count)| {
        let got = after.operators.get(name).copied().unwrap_or(0);
        (got != *count).then(|| format!("expected {count} {name}, got {got}"))
    });
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::bad(wrong.join("; "))) }
}
