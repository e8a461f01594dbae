//! `planish quantize`: weights of fewer bits, and what that changed.

use super::args::{Common, InputArgs, print, print_json, run_once};
use super::calibration::CalibrationArgs;
use super::failure::Failure;
use super::format::{Align, Table, bytes, milliseconds};
use super::optimize::For;
use super::test::{Verdicts, compare_outputs};
use crate::data::{DataSet, Tolerance};
use crate::language::Feed;
use crate::model::Model;
use crate::onnx::ExportOptions;
use crate::quantize::{
    Budget, Calibration, CalibrationError, Held, LayerReport, Mode, QuantizeError, QuantizeOptions, QuantizeReport,
    Storage,
};
use clap::{Args, ValueEnum};
use planish_ir::Graph;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Make a model's weights smaller, tell what that changed, and write it back as ONNX
#[derive(Args)]
#[command(after_help = "Examples:\n  planish quantize model.onnx -o small.onnx\n  \
    planish quantize model.onnx -o small.onnx --bits 4 --block 32\n  \
    planish quantize model.onnx -o small.onnx --bits 4 --embedding-bits 8 --target ort\n  \
    planish quantize model.onnx -o small.onnx --budget cosine=0.999 --calib data\n  \
    planish quantize model.onnx -o fast.onnx --mode dynamic\n  \
    planish quantize model.onnx -o fast.onnx --mode static --calib data --calibrator percentile\n  \
    planish quantize model.onnx -o small.onnx --weights f16 --exclude lm_head --json")]
pub struct Quantize {
    model: PathBuf,
    /// Where the quantized model goes
    #[arg(short = 'o', value_name = "OUT")]
    out: PathBuf,
    /// What is quantized
    #[arg(long, value_name = "MODE", default_value = "weights")]
    mode: ModeArg,
    /// Bits of a weight: 8 or 4 [default: 8]
    #[arg(long, value_name = "N", value_parser = parse_bits, conflicts_with = "weights")]
    bits: Option<u32>,
    /// How many weights share a scale, from 16 to 256 [default: 64 of 8 bits, 32 of 4]
    #[arg(long, value_name = "N", value_parser = parse_block, conflicts_with = "weights")]
    block: Option<usize>,
    /// Code 0 stands for 0 in every block [default for 8 bits]
    #[arg(long, conflicts_with_all = ["asymmetric", "weights"])]
    symmetric: bool,
    /// Each block has a zero of its own [default for 4 bits]
    #[arg(long, conflicts_with = "weights")]
    asymmetric: bool,
    /// Bits of weights whose rows are gathered, and of a product that shares them [default: 8]
    #[arg(long, value_name = "N", value_parser = parse_bits)]
    embedding_bits: Option<u32>,
    /// Keep weights as floats of 16 bits instead
    #[arg(long, value_name = "TYPE")]
    weights: Option<Short>,
    /// Weights, or nodes that read them, that stay as they are
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    exclude: Vec<String>,
    /// How far outputs may move: cosine=0.999, rel=0.01, kl=0.01 or top1=0.99; each weight is kept as short as that allows, and
    /// where it pays on this machine
    #[arg(long, value_name = "MEASURE=X", value_parser = parse_budget, conflicts_with_all = ["bits", "block", "weights"])]
    budget: Option<Budget>,
    /// Keep what the exporter noted of each node: its source lines and the like
    #[arg(long)]
    keep_remarks: bool,
    /// Who is to run the result
    #[arg(long, value_name = "TARGET", default_value = "standard")]
    target: For,
    #[command(flatten)]
    calibration: CalibrationArgs,
    #[command(flatten)]
    inputs: InputArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    /// Weights of products and embeddings; sums stay floats
    Weights,
    /// Products of integers: what comes is quantized as it comes, row by row
    Dynamic,
    /// Layers of integers, by ranges measured on --calib or --calib-text
    Static,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Short {
    F16,
    Bf16,
}

fn parse_budget(text: &str) -> Result<Budget, String> {
    let expected = "expected cosine=0.999, rel=0.01, kl=0.01 or top1=0.99";
    let (measure, limit) = text.split_once('=').ok_or(expected)?;
    let limit: f64 = limit.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.0).ok_or(expected)?;
    match measure {
        "cosine" if limit <= 1.0 => Ok(Budget::Cosine(limit)),
        "rel" => Ok(Budget::Relative(limit)),
        "kl" => Ok(Budget::Divergence(limit)),
        "top1" if limit <= 1.0 => Ok(Budget::Agreement(limit)),
        _ => Err(expected.to_owned()),
    }
}

fn parse_bits(text: &str) -> Result<u32, String> {
    match text {
        "4" => Ok(4),
        "8" => Ok(8),
        _ => Err("expected 4 or 8".to_owned()),
    }
}

fn parse_block(text: &str) -> Result<usize, String> {
    let wrong = || "expected 16, 32, 64, 128 or 256".to_owned();
    text.parse().ok().filter(|n: &usize| n.is_power_of_two() && (16..=256).contains(n)).ok_or_else(wrong)
}

/// Sets of inputs that a budget is measured on: each is run for every layer.
const JUDGED_SETS: usize = 4;

/// Tokens that a language model is given where there is no data: any vocabulary has so many.
const TOKENS: i64 = 32;

impl Quantize {
    pub fn run(&self) -> Result<(), Failure> {
        self.common.apply_isa()?;
        let options = self.options();
        self.check_flags()?;
        let mut model = self.common.load(&self.model)?;
        self.check_excluded(&model)?;
        let set = self.expected(&model)?;
        let report = match self.mode {
            ModeArg::Weights if self.budget.is_some() => self.quantize_within(&mut model, &options)?,
            ModeArg::Static => self.quantize_static(&mut model, &options)?,
            ModeArg::Weights | ModeArg::Dynamic => {
                let bar = self.common.bar(0, "weights");
                let report = model.quantize(&options, &mut |done, all| {
                    bar.set_length(all as u64);
                    bar.set_position(done as u64);
                })?;
                bar.finish_and_clear();
                report
            }
        };
        if !self.keep_remarks {
            drop_remarks(&mut model.graph);
        }
        let spinner = self.common.spinner(format!("writing {}", self.out.display()));
        let export = ExportOptions { target: options.target, ..ExportOptions::default() };
        model.save_with(&self.out, &export)?;
        spinner.finish_and_clear();
        let verdicts = match set {
            Some(set) => self.verdicts(model, &set)?,
            None => Verdicts::new(),
        };
        match self.common.json {
            true => print_json(&self.document(&report, &verdicts)),
            false => print(&self.render(&report, &verdicts)),
        }
    }

    /// Flags that the mode does nothing with are mistakes.
    fn check_flags(&self) -> Result<(), Failure> {
        let is_static = self.mode == ModeArg::Static;
        if self.budget.is_some() && self.mode == ModeArg::Dynamic {
            return Err(Failure::usage("--budget goes with --mode weights or static"));
        }
        if self.calibration.is_given() && !is_static && self.budget.is_none() {
            return Err(Failure::usage("only --mode static and --budget measure on data"));
        }
        if self.mode != ModeArg::Weights && (self.bits == Some(4) || self.weights.is_some()) {
            return Err(Failure::usage("products of integers are of 8 bits").hint("use --mode weights"));
        }
        if is_static && !self.calibration.is_given() {
            return Err(Failure::usage("ranges of values must be measured on data")
                .hint("give --calib DATA, or --calib-text FILE for a language model"));
        }
        Ok(())
    }

    fn quantize_static(&self, model: &mut Model, options: &QuantizeOptions) -> Result<QuantizeReport, Failure> {
        let mut sets = self.calibration.sets(model, &self.model)?;
        let bar = self.common.bar(sets.length as u64, "calibrating");
        let mut calibration = Calibration {
            calibrator: self.calibration.calibrator.into(),
            sets: &mut sets.sets,
            session: self.common.session_options(),
            run: self.common.run_options(),
            progress: &mut || bar.inc(1),
            corrects_biases: !self.calibration.no_bias_correction,
        };
        let Some(budget) = self.budget else {
            let report = model.quantize_static(options, &mut calibration)?;
            bar.finish_and_clear();
            return Ok(report);
        };
        let judged = self.calibration.sets(model, &self.model)?.sets.take(JUDGED_SETS);
        let judged: Vec<DataSet> = judged.collect::<Result<_, _>>()?;
        let measuring = self.common.bar(0, "measuring");
        let mut progress = |done: usize, all: usize| {
            measuring.set_length(all as u64);
            measuring.set_position(done as u64);
        };
        let (session, run) = (self.common.session_options(), self.common.run_options());
        let held = Held { budget, sets: judged, session, run, progress: &mut progress };
        let (report, measured) = model.quantize_static_within(options, &mut calibration, held)?;
        bar.finish_and_clear();
        measuring.finish_and_clear();
        self.judge(budget, measured)?;
        Ok(report)
    }

    /// Tells how far the outputs are, and fails where that is too far.
    fn judge(&self, budget: Budget, measured: f64) -> Result<(), Failure> {
        let limit = budget.limit();
        self.common.note(&format!("measured {measured:.3e} of {limit:.3e} allowed"));
        if measured > limit {
            return Err(Failure::bad(format!("the budget cannot be kept: {measured:.3e} of {limit:.3e} allowed")));
        }
        Ok(())
    }

    fn quantize_within(&self, model: &mut Model, options: &QuantizeOptions) -> Result<QuantizeReport, Failure> {
        let Some(budget) = self.budget else { return Ok(QuantizeReport::default()) };
        let sets: Vec<DataSet> = match self.calibration.is_given() {
            true => self.calibration.sets(model, &self.model)?.sets.take(JUDGED_SETS).collect::<Result<_, _>>()?,
            false => vec![self.inputs_of(model)?],
        };
        let bar = self.common.bar(0, "measuring");
        let mut progress = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        };
        let (session, run) = (self.common.session_options(), self.common.run_options());
        let held = Held { budget, sets, session, run, progress: &mut progress };
        let (report, measured) = model.quantize_within(options, held)?;
        bar.finish_and_clear();
        self.judge(budget, measured)?;
        Ok(report)
    }

    fn options(&self) -> QuantizeOptions {
        let with_block = |bits: u32| match Storage::blocks(bits) {
            Storage::Blocks { bits, block, is_symmetric } => Storage::Blocks {
                bits,
                block: self.block.unwrap_or(block),
                is_symmetric: self.symmetric || is_symmetric && !self.asymmetric,
            },
            other => other,
        };
        // Rows of an embedding and the last product answer for most of the error that 4 bits make.
        let embedding_bits = self.embedding_bits.or((self.bits == Some(4)).then_some(8));
        let storage = match self.weights {
            Some(Short::F16) => Storage::Half,
            Some(Short::Bf16) => Storage::BFloat,
            None => with_block(self.bits.unwrap_or(8)),
        };
        QuantizeOptions {
            mode: match self.mode {
                ModeArg::Weights => Mode::Weights,
                ModeArg::Dynamic => Mode::Dynamic,
                ModeArg::Static => Mode::Static,
            },
            storage,
            embeddings: embedding_bits.map(with_block),
            target: self.target.into(),
            exclude: self.exclude.clone(),
            threads: self.common.threads.map_or_else(planish_runtime::physical_cores, usize::from),
        }
    }

    /// Names to be left out must be there: a misspelt one would be quantized without a word.
    fn check_excluded(&self, model: &Model) -> Result<(), Failure> {
        let is_there = |name: &String| {
            let graph = &model.graph;
            graph.value(name).is_some() || graph.operators().any(|(id, _)| graph.describe(id) == *name)
        };
        match self.exclude.iter().find(|name| !is_there(name)) {
            Some(name) => Err(Failure::usage(format!("--exclude: the model has no weight or node {name:?}"))
                .hint("`planish inspect MODEL --weights` lists the weights")),
            None => Ok(()),
        }
    }

    /// What the model computes as it came, from the data given or from generated inputs; nothing where it does not run.
    fn expected(&self, model: &Model) -> Result<Option<DataSet>, Failure> {
        let is_given = self.inputs.data.is_some() || !self.inputs.input.is_empty();
        let run = || -> Result<DataSet, Failure> {
            let set = self.inputs_of(model)?;
            let session = model.session(&self.common.session_options())?;
            let outputs = run_once(&session, &set, &self.common.run_options())?;
            let names = session.outputs().iter().map(|o| o.name.clone());
            Ok(DataSet { outputs: names.zip(outputs).collect(), ..set })
        };
        match run() {
            Ok(set) => Ok(Some(set)),
            Err(failure) if is_given => Err(failure),
            Err(failure) => {
                self.common.note(&format!("warning: the outputs are not compared: {}", failure.text()));
                Ok(None)
            }
        }
    }

    /// The inputs given, or such as the model is made for.
    fn inputs_of(&self, model: &Model) -> Result<DataSet, Failure> {
        let silent = Common { quiet: true, ..self.common.clone() };
        if self.inputs.data.is_some() || !self.inputs.input.is_empty() {
            return self.inputs.gather(&model.graph, &silent);
        }
        if self.calibration.is_given() {
            // Codes know nothing of what lies beyond their ranges, as generated numbers may.
            return self.first_calibration_set(model);
        }
        match Feed::of(&model.graph) {
            // Positions, masks and caches of a language model go together.
            Ok(feed) => {
                let tokens: Vec<i64> = (0..TOKENS).map(|i| i * 7 % TOKENS).collect();
                Ok(DataSet { inputs: feed.values(&tokens)?, outputs: Vec::new() })
            }
            Err(_) => self.inputs.gather(&model.graph, &silent),
        }
    }

    fn first_calibration_set(&self, model: &Model) -> Result<DataSet, Failure> {
        let first = self.calibration.sets(model, &self.model)?.sets.next();
        let set = first.ok_or_else(|| Failure::bad(CalibrationError::NoData.to_string()))??;
        Ok(DataSet { outputs: Vec::new(), ..set })
    }

    fn verdicts(&self, model: Model, set: &DataSet) -> Result<Verdicts, Failure> {
        let session = model.into_session(&self.common.session_options())?;
        let outputs = run_once(&session, set, &self.common.run_options())?;
        Ok(compare_outputs(&session, &outputs, set, Tolerance::default()))
    }

    fn document(&self, report: &QuantizeReport, verdicts: &Verdicts) -> serde_json::Value {
        let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
        let layer = |layer: &LayerReport| {
            json!({
                "name": layer.name, "readers": layer.readers, "elements": layer.elements,
                "storage": layer.storage.to_string(), "error": layer.error, "bytes_before": layer.bytes_before,
                "bytes_after": layer.bytes_after, "sensitivity": layer.sensitivity,
                "ms_before": ms(layer.time_before), "ms_after": ms(layer.time_after), "reason": layer.reason,
            })
        };
        let output = |(name, v): &(String, crate::data::Comparison)| json!({"name": name, "cosine": v.cosine, "max_abs_err": v.max_abs_err});
        json!({
            "model": self.model.display().to_string(), "out": self.out.display().to_string(),
            "bytes_before": report.bytes_before(), "bytes_after": report.bytes_after(),
            "quantized": report.num_quantized(), "layers": report.layers.iter().map(layer).collect::<Vec<_>>(),
            "outputs": verdicts.iter().map(output).collect::<Vec<_>>(),
        })
    }

    fn render(&self, report: &QuantizeReport, verdicts: &Verdicts) -> String {
        let columns = vec![
            ("weight", Align::Left),
            ("elements", Align::Right),
            ("kept as", Align::Left),
            ("error", Align::Right),
            ("before", Align::Right),
            ("after", Align::Right),
            ("does", Align::Right),
            ("ms before", Align::Right),
            ("ms after", Align::Right),
            ("", Align::Left),
        ];
        let optional = |value: Option<String>| value.unwrap_or_default();
        let ms = |time: Option<Duration>| optional(time.map(|time| milliseconds(time.as_secs_f64() * 1e3)));
        let mut table = Table::new(&columns);
        for layer in &report.layers {
            let error = if layer.storage == Storage::Float { String::new() } else { format!("{:.5}", layer.error) };
            table.row(vec![
                layer.name.clone(),
                layer.elements.to_string(),
                layer.storage.to_string(),
                error,
                bytes(layer.bytes_before as u64),
                bytes(layer.bytes_after as u64),
                optional(layer.sensitivity.map(|distance| format!("{distance:.1e}"))),
                ms(layer.time_before),
                ms(layer.time_after),
                layer.reason.clone().unwrap_or_default(),
            ]);
        }
        let mut text = table.render();
        let (before, after) = (report.bytes_before() as u64, report.bytes_after() as u64);
        let (quantized, all) = (report.num_quantized(), report.layers.len());
        text.push_str(&format!(
            "{quantized} of {all} weights quantized, {} before, {} after\n",
            bytes(before),
            bytes(after)
        ));
        for (name, verdict) in verdicts {
            let (cosine, error) = (verdict.cosine, verdict.max_abs_err);
            text.push_str(&format!("output {name}: cosine {cosine:.6}, largest difference {error:.3e}\n"));
        }
        text
    }
}

/// Forgets what nodes say of themselves besides their names: the remarks of an exporter can take twenty times what the nodes
/// of a language model take.
fn drop_remarks(graph: &mut Graph) {
    let ids: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        let node = graph.node_mut(id);
        node.metadata.clear();
        node.doc.clear();
    }
}

impl From<QuantizeError> for Failure {
    fn from(error: QuantizeError) -> Failure {
        Failure::bad(error.to_string())
    }
}

impl From<CalibrationError> for Failure {
    fn from(error: CalibrationError) -> Failure {
        match error {
            CalibrationError::Data(error) => error.into(),
            CalibrationError::Session(error) => error.into(),
            CalibrationError::Run(error) => error.into(),
            _ => Failure::bad(error.to_string()),
        }
    }
}
