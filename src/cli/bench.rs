//! `planish bench`: how long a model takes to load and to run, and what this machine can do at most.

use super::args::{Common, InputArgs, print, print_json, run_once};
use super::failure::Failure;
use super::format::milliseconds;
use super::machine;
use super::test::{ToleranceArgs, compare_outputs, first_mismatch, overall};
use crate::data::DataSet;
use crate::onnx::read_signature;
use clap::Args;
use planish_kernels::Isa;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Time a model: load, first run, median of many runs; or measure this machine's limits
#[derive(Args)]
#[command(
    after_help = "Examples:\n  planish bench model.onnx --data test_data_set_0 --repeat 50 --threads 1 --json\n  \
    planish bench model.onnx --dim batch=8\n  planish bench --machine --threads 2"
)]
pub struct Bench {
    #[arg(required_unless_present = "machine")]
    model: Option<PathBuf>,
    /// Measure what no kernel can exceed: multiply-adds, products of bytes, bytes read from caches and memory
    #[arg(long, conflicts_with = "model")]
    machine: bool,
    #[command(flatten)]
    inputs: InputArgs,
    /// Timed runs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Runs before the timed ones, the first run included
    #[arg(long, default_value_t = 2)]
    warmup: u32,
    #[command(flatten)]
    tolerance: ToleranceArgs,
    #[command(flatten)]
    common: Common,
}

/// What was measured.
struct Figures {
    threads: usize,
    isa: Isa,
    load_ms: f64,
    first_run_ms: f64,
    sorted_ms: Vec<f64>,
    load_peak_rss_mb: Option<f64>,
    peak_rss_mb: Option<f64>,
    mismatch: Option<String>,
    max_abs_err: Option<f64>,
    max_rel_err: Option<f64>,
}

impl Bench {
    pub fn run(&self) -> Result<(), Failure> {
        let Some(model) = self.model.as_deref().filter(|_| !self.machine) else {
            return machine::run(&self.common);
        };
        let figures = self.measure(model);
        let name = model.display().to_string();
        if self.common.json {
            print_json(&document(&name, &figures))?;
        }
        let figures = figures?;
        if !self.common.json {
            print(&render(&name, &figures))?;
        }
        if figures.mismatch.is_some() { Err(Failure::Reported) } else { Ok(()) }
    }

    fn measure(&self, model: &Path) -> Result<Figures, Failure> {
        let isa = self.common.apply_isa()?;
        let set = self.read_data_first(model)?;
        let base_rss_mb = current_rss_mb();
        let start = Instant::now();
        let model = self.common.load(model)?;
        let set = match set {
            Some(set) => set,
            None => self.inputs.gather(&model.graph, &self.common)?,
        };
        let session = model.into_session(&self.common.session_options())?;
        let load_ms = start.elapsed().as_secs_f64() * 1e3;
        let peak_over_base_mb = || peak_rss_mb().map(|peak| (peak - base_rss_mb.unwrap_or(0.0)).max(0.0));
        let load_peak_rss_mb = peak_over_base_mb();
        let options = self.common.run_options();
        let start = Instant::now();
        let outputs = run_once(&session, &set, &options)?;
        let first_run_ms = start.elapsed().as_secs_f64() * 1e3;
        let verdicts = compare_outputs(&session, &outputs, &set, self.tolerance.tolerance());
        drop(outputs);
        for _ in 1..self.warmup {
            run_once(&session, &set, &options)?;
        }
        let bar = self.common.bar(u64::from(self.repeat), "running");
        let mut sorted_ms = Vec::new();
        for _ in 0..self.repeat {
            let start = Instant::now();
            run_once(&session, &set, &options)?;
            sorted_ms.push(start.elapsed().as_secs_f64() * 1e3);
            bar.inc(1);
        }
        bar.finish_and_clear();
        sorted_ms.sort_by(f64::total_cmp);
        let worst = overall(&verdicts);
        Ok(Figures {
            threads: session.num_threads(),
            isa,
            load_ms,
            first_run_ms,
            sorted_ms,
            load_peak_rss_mb,
            peak_rss_mb: peak_over_base_mb(),
            mismatch: first_mismatch(&verdicts),
            max_abs_err: worst.as_ref().map(|w| w.max_abs_err),
            max_rel_err: worst.as_ref().map(|w| w.max_rel_err),
        })
    }

    /// Data given in files is read before anything is measured.
    fn read_data_first(&self, model: &Path) -> Result<Option<DataSet>, Failure> {
        let Some(path) = &self.inputs.data else { return Ok(None) };
        let (inputs, outputs) = read_signature(model)?;
        Ok(Some(DataSet::read(path, &inputs, &outputs)?))
    }
}

fn document(model: &str, figures: &Result<Figures, Failure>) -> serde_json::Value {
    match figures {
        Ok(f) => json!({
            "model": model, "threads": f.threads, "isa": f.isa.to_string(), "load_ms": f.load_ms,
            "first_run_ms": f.first_run_ms, "median_ms": median(&f.sorted_ms), "min_ms": f.sorted_ms.first(),
            "load_peak_rss_mb": f.load_peak_rss_mb, "peak_rss_mb": f.peak_rss_mb, "ok": f.mismatch.is_none(), "error": f.mismatch,
            "max_abs_err": f.max_abs_err, "max_rel_err": f.max_rel_err,
        }),
        Err(failure) => json!({
            "model": model, "threads": null, "isa": null, "load_ms": null, "first_run_ms": null, "median_ms": null,
            "min_ms": null, "load_peak_rss_mb": null, "peak_rss_mb": null, "ok": false, "error": failure.text(), "max_abs_err": null,
            "max_rel_err": null,
        }),
    }
}

fn render(model: &str, f: &Figures) -> String {
    let slowest = f.sorted_ms.last().copied().unwrap_or(0.0);
    let fastest = f.sorted_ms.first().copied().unwrap_or(0.0);
    let mut text = format!(
        "{}: {} thread(s), {}\n  load   {} ms\n  first  {} ms\n  median {} ms  ({} to {} over {} runs)\n",
        model,
        f.threads,
        f.isa,
        milliseconds(f.load_ms),
        milliseconds(f.first_run_ms),
        milliseconds(median(&f.sorted_ms)),
        milliseconds(fastest),
        milliseconds(slowest),
        f.sorted_ms.len(),
    );
    if let Some(peak) = f.peak_rss_mb {
        let while_loading = f.load_peak_rss_mb.map_or(String::new(), |mb| format!("  ({mb:.1} MB while loading)"));
        text.push_str(&format!("  peak   {peak:.1} MB{while_loading}\n"));
    }
    if let Some(mismatch) = &f.mismatch {
        text.push_str(&format!("{mismatch}\n"));
    }
    text
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted {
        [] => 0.0,
        _ if sorted.len() % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// The most memory this process has had, in MB; `None` where the system does not tell.
fn peak_rss_mb() -> Option<f64> {
    process_status_mb("VmHWM:")
}

fn current_rss_mb() -> Option<f64> {
    process_status_mb("VmRSS:")
}

fn process_status_mb(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
