//! `planish run`: runs a model once and shows or saves what comes out.

use super::args::{Common, InputArgs, print, print_json, signature};
use super::failure::Failure;
use super::format::bold;
use super::profile::Profile;
use crate::data::{save_values, to_f64};
use clap::Args;
use planish_tensor::{DType, Tensor, Value};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Run a model once
#[derive(Args)]
#[command(after_help = "Examples:\n  planish run model.onnx --data test_data_set_0\n  \
    planish run model.onnx -i image=digit.npy -o results\n  \
    planish run model.onnx --dim batch=4 --output hidden_state --profile")]
pub struct Run {
    model: PathBuf,
    #[command(flatten)]
    inputs: InputArgs,
    /// Save outputs to a folder, or to an .npz archive
    #[arg(short = 'o', value_name = "DIR|FILE.npz")]
    save: Option<PathBuf>,
    /// Give out this value inside the graph too
    #[arg(long = "output", value_name = "NAME")]
    output: Vec<String>,
    /// Show what each node takes in a second run, when buffers and packed weights are there, and how near that is to what
    /// this machine can do
    #[arg(long)]
    profile: bool,
    #[command(flatten)]
    common: Common,
}

impl Run {
    pub fn run(&self) -> Result<(), Failure> {
        let isa = self.common.apply_isa()?;
        let model = self.common.load(&self.model)?;
        let set = self.inputs.gather(&model.graph, &self.common)?;
        let declared: Vec<String> = signature(&model.graph).1.into_iter().map(|o| o.name).collect();
        let mut options = self.common.session_options();
        options.extra_outputs.clone_from(&self.output);
        let session = model.into_session(&options)?;
        let inputs = set.inputs.iter().map(|(name, value)| (name.as_str(), value.clone()));
        if self.profile {
            // The first run alone makes buffers and what depends on shapes.
            session.run(inputs.clone(), &self.common.run_options())?;
        }
        let start = Instant::now();
        let (values, nodes) = if self.profile {
            session.run_profiled(inputs, &self.common.run_options())?
        } else {
            (session.run(inputs, &self.common.run_options())?, Vec::new())
        };
        let time = start.elapsed();
        let profile = self.profile.then(|| Profile::new(nodes, time, session.num_threads()));
        let names = session.outputs().iter().map(|o| o.name.clone());
        let results: Vec<(String, Value)> = names.zip(values).collect();
        if let Some(path) = &self.save {
            let written = save_values(path, &results)?;
            self.common.note(&format!("saved {} file(s) to {}", written.len(), path.display()));
        }
        if self.common.json {
            let outputs: Vec<_> = results.iter().map(|(name, value)| summary_json(name, value)).collect();
            let mut document = json!({
                "model": self.model.display().to_string(), "isa": isa.to_string(), "threads": session.num_threads(),
                "time_ms": time.as_secs_f64() * 1e3, "outputs": outputs,
            });
            if let Some(profile) = &profile {
                document["profile"] = profile.nodes_json();
                document["machine"] = profile.machine_json();
            }
            return print_json(&document);
        }
        let mut text = String::new();
        if let Some(profile) = &profile {
            text.push_str(&profile.render());
        }
        if self.save.is_none() {
            for (name, value) in &results {
                let mark = if declared.contains(name) { "" } else { " (inside the graph)" };
                text.push_str(&format!("{}{mark}: {}\n", bold(name), describe(value)));
            }
        }
        print(&text)
    }
}

/// Statistics of a tensor's numbers.
struct Statistics {
    min: f64,
    max: f64,
    mean: f64,
    argmax: usize,
    num_nan: usize,
}

fn statistics(values: &[f64]) -> Option<Statistics> {
    let numbers: Vec<(usize, f64)> = values.iter().copied().enumerate().filter(|(_, v)| !v.is_nan()).collect();
    let (argmax, max) = numbers.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a })?;
    let min = numbers.iter().map(|&(_, v)| v).fold(f64::INFINITY, f64::min);
    let mean = numbers.iter().map(|(_, v)| v).sum::<f64>() / numbers.len() as f64;
    Some(Statistics { min, max, mean, argmax, num_nan: values.len() - numbers.len() })
}

const SHOWN_ELEMENTS: usize = 10;

fn first_elements(tensor: &Tensor) -> Vec<serde_json::Value> {
    match tensor.as_strings() {
        Ok(strings) => strings.iter().take(SHOWN_ELEMENTS).map(|s| json!(s)).collect(),
        Err(_) => {
            let values = to_f64(tensor).unwrap_or_default();
            let is_whole = tensor.dtype().is_integer();
            let shown = values.into_iter().take(SHOWN_ELEMENTS);
            match tensor.dtype() {
                DType::Bool => shown.map(|v| json!(v != 0.0)).collect(),
                _ if is_whole => shown.map(|v| json!(v as i64)).collect(),
                _ => shown.map(|v| if v.is_finite() { json!(v) } else { json!(v.to_string()) }).collect(),
            }
        }
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Tensor(tensor) => describe_tensor(tensor),
        Value::Sequence(sequence) => {
            let items: Vec<String> = sequence.items.iter().take(4).map(describe).collect();
            let more = if sequence.items.len() > 4 { "\n  …" } else { "" };
            let lines: String = items.iter().map(|item| format!("\n  {}", item.replace('\n', "\n  "))).collect();
            format!("{} of {} items{lines}{more}", value.value_type(), sequence.items.len())
        }
        Value::Optional(_, None) => format!("{}: nothing", value.value_type()),
        Value::Optional(_, Some(inner)) => format!("optional {}", describe(inner)),
        Value::Map(map) => format!("{} of {} entries", value.value_type(), map.values.len()),
    }
}

fn describe_tensor(tensor: &Tensor) -> String {
    let shown = first_elements(tensor).iter().map(short_number).collect::<Vec<_>>().join(", ");
    let more = if tensor.num_elements() > SHOWN_ELEMENTS { ", …" } else { "" };
    let values = to_f64(tensor).unwrap_or_default();
    let figures = match statistics(&values) {
        Some(s) if values.len() > 1 => {
            let nan = if s.num_nan > 0 { format!(", {} NaN", s.num_nan) } else { String::new() };
            format!("\n  min {:.6} max {:.6} (at {}) mean {:.6}{nan}", s.min, s.max, s.argmax, s.mean)
        }
        _ => String::new(),
    };
    format!("{}{}{figures}\n  [{shown}{more}]", tensor.dtype(), tensor.shape())
}

fn short_number(value: &serde_json::Value) -> String {
    match value.as_f64() {
        Some(v) if value.is_f64() => format!("{}", (v * 1e6).round() / 1e6),
        _ => value.to_string(),
    }
}

fn summary_json(name: &str, value: &Value) -> serde_json::Value {
    let Value::Tensor(tensor) = value else {
        return json!({"name": name, "type": value.value_type().to_string()});
    };
    let values = to_f64(tensor).unwrap_or_default();
    let figures = statistics(&values);
    let finite = |v: f64| if v.is_finite() { json!(v) } else { json!(v.to_string()) };
    json!({
        "name": name, "type": tensor.dtype().name(), "shape": tensor.shape().dims(),
        "min": figures.as_ref().map(|s| finite(s.min)), "max": figures.as_ref().map(|s| finite(s.max)),
        "mean": figures.as_ref().map(|s| finite(s.mean)), "argmax": figures.as_ref().map(|s| s.argmax),
        "nan": figures.as_ref().map(|s| s.num_nan), "first": first_elements(tensor),
    })
}
