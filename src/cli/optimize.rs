//! `planish optimize`: rewrites a model, proves the result and writes it back.

use super::args::{Common, InputArgs, parse_bindings, print, print_json, signature};
use super::failure::Failure;
use super::format::{Align, Table, bytes, formula};
use crate::cost::graph_cost;
use crate::data::DataSet;
use crate::onnx::ExportOptions;
use crate::replace_norms::{Attempt, Replaced, replace_batch_norms};
use crate::verify::{Culprit, Verified, Verifier, Verify};
use clap::{Args, ValueEnum};
use planish_ir::{Dim, Graph};
use planish_passes::{OptimizeOptions, Report, Target, bind_symbols, optimize_with, rule_names};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Optimize a model, prove that it computes the same, and write it back as ONNX
#[derive(Args)]
#[command(after_help = "Examples:\n  planish optimize model.onnx -o smaller.onnx\n  \
    planish optimize model.onnx -o smaller.onnx --verify each --data test_data_set_0\n  \
    planish optimize model.onnx -o smaller.onnx --dim batch=1 --expect 'LayerNormalization=12'\n  \
    planish optimize model.onnx -o smaller.onnx --with replace-batchnorm --calib calibration\n  \
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
    /// Also do what changes the result: `replace-batchnorm` puts layer normalization in the place of batch normalization,
    /// fitted to the data of --calib or --data
    #[arg(long, value_name = "CHANGE,…", value_delimiter = ',')]
    with: Vec<Change>,
    /// Data to fit to: a folder of data, or a folder of such folders [default: that of --data]. With both, the cost is taken on
    /// --data
    #[arg(long, value_name = "DATA")]
    calib: Option<PathBuf>,
    /// How far outputs may move by --with: root mean square of the error over that of the output
    #[arg(long, value_name = "X", default_value = "0.05")]
    max_change: f64,
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

/// What changes the result and is done only where it is asked for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Change {
    /// Layer normalization in the place of batch normalization
    ReplaceBatchnorm,
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
        let cost = graph_cost(graph);
        let mut operators: BTreeMap<String, usize> = BTreeMap::new();
        for node in &cost.nodes {
            *operators.entry(node.operator.clone()).or_default() += 1;
        }
        Size { nodes: cost.nodes.len(), bytes: cost.weight_bytes(), macs: cost.macs, operators }
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
        let changes = self.change(&mut model.graph)?;
        let spinner = self.common.spinner("optimizing".to_owned());
        let begin = Instant::now();
        let (report, proof) = self.rewrite(&mut model.graph, &options)?;
        let taken = begin.elapsed();
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
            true => {
                let mut document = self.document(&before, &after, &report, &proof, changes.as_ref());
                document["optimize_ms"] = json!(taken.as_secs_f64() * 1e3);
                print_json(&document)?;
            }
            false => print(&(render_changes(changes.as_ref()) + &self.render(&before, &after, &report, &proof)))?,
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

    /// Does what changes the result, and tells by how much.
    fn change(&self, graph: &mut Graph) -> Result<Option<Replaced>, Failure> {
        if !self.with.contains(&Change::ReplaceBatchnorm) {
            return Ok(None);
        }
        let given = self.calib.as_ref().or(self.inputs.data.as_ref());
        let given =
            given.ok_or_else(|| Failure::usage("--with replace-batchnorm fits to data: give it with --calib"))?;
        let sets = calibration(given, graph)?;
        // Data besides that which is fitted to tells what the change costs.
        let held_out = self.inputs.data.as_ref().filter(|_| self.calib.is_some());
        let held_out = held_out.map(|path| calibration(path, graph)).transpose()?;
        if held_out.is_none() {
            self.common.note("note: the error is that on the data fitted to; with --calib it is taken on other --data");
        }
        let held_out = held_out.as_ref().unwrap_or(&sets);
        let limits = (self.common.session_options(), self.common.run_options());
        let spinner = self.common.spinner("fitting norms".to_owned());
        let replaced = replace_batch_norms(graph, &sets, held_out, self.max_change, (&limits.0, &limits.1));
        let replaced = replaced.map_err(Failure::bad)?;
        spinner.finish_and_clear();
        graph.clone_from(&replaced.graph);
        Ok(Some(replaced))
    }

    fn rewrite(&self, graph: &mut Graph, options: &OptimizeOptions) -> Result<(Report, Proof), Failure> {
        let mut proof = Proof { num_sets: 0, not_done: None, culprits: Vec::new() };
        if self.verify == When::Off {
            return Ok((optimize_with(graph, options), proof));
        }
        let original = graph.clone();
        let sets = self.data_sets(&original)?;
        let options_of_run = self.common.run_options();
        match Verifier::of_first(&original, sets, self.common.session_options(), options_of_run) {
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

    /// What to verify on, each with what to try in its place where the model does not run on it: the data given, else
    /// generated inputs with symbols of extent 1, and others with extent 2.
    fn data_sets(&self, graph: &Graph) -> Result<Vec<Vec<DataSet>>, Failure> {
        let silent = Common { quiet: true, ..self.common.clone() };
        if self.inputs.data.is_some() {
            return Ok(vec![vec![self.inputs.gather(graph, &silent)?]]);
        }
        [1, 2].into_iter().map(|extent| self.inputs.guess(graph, &silent, extent)).collect()
    }

    fn document(
        &self,
        before: &Size,
        after: &Size,
        report: &Report,
        proof: &Proof,
        changes: Option<&Replaced>,
    ) -> serde_json::Value {
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
        if let Some(replaced) = changes {
            let attempts = replaced.attempts.iter().map(|a| {
                json!({"node": a.node, "norm_error": a.norm_error, "output_error": a.output_error, "left_for": a.left_for})
            });
            document["replaced_norms"] =
                json!({"output_error": replaced.output_error(), "norms": attempts.collect::<Vec<_>>()});
        }
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

/// A folder of data as one set of inputs, or a folder of such folders as several.
fn calibration(path: &Path, graph: &Graph) -> Result<Vec<DataSet>, Failure> {
    let (inputs, outputs) = signature(graph);
    let mut folders: Vec<PathBuf> = std::fs::read_dir(path)
        .map(|entries| entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
        .unwrap_or_default();
    folders.sort();
    if folders.is_empty() {
        folders.push(path.to_owned());
    }
    Ok(folders.iter().map(|folder| DataSet::read(folder, &inputs, &outputs)).collect::<Result<_, _>>()?)
}

/// What came of putting other norms in place.
fn render_changes(changes: Option<&Replaced>) -> String {
    let Some(replaced) = changes else { return String::new() };
    let mut text = String::new();
    for attempt in &replaced.attempts {
        let Attempt { node, norm_error, output_error, left_for } = attempt;
        text.push_str(&match left_for {
            Some(reason) => format!("  batch norm {node:?} stays: {reason}\n"),
            None => format!("  batch norm {node:?} replaced: its result is off by {norm_error:.4}, the outputs by {output_error:.4}\n"),
        });
    }
    let count = replaced.attempts.iter().filter(|a| a.left_for.is_none()).count();
    let (all, error) = (replaced.attempts.len(), replaced.output_error());
    text + &format!("{count} of {all} batch norms replaced; the outputs move by {error:.4}\n")
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
