//! Arguments that commands share, and what they are turned into.

use super::failure::Failure;
use crate::data::{DataSet, NamedType};
use crate::inputs::{Guess, guesses};
use crate::model::Model;
use crate::onnx::ImportOptions;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use planish_ir::{Dim, Graph};
use planish_kernels::Isa;
use planish_runtime::{DEFAULT_MAX_MEMORY_BYTES, RunOptions, Session, SessionOptions, generate_input};
use planish_tensor::{DType, Memory, PayloadError, Tensor, Value};
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a command prints, and what it may use.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// One JSON document on standard output, nothing else there
    #[arg(long)]
    pub json: bool,
    /// No progress, no remarks
    #[arg(long, short)]
    pub quiet: bool,
    /// Threads to compute on [default: physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Instruction set level: scalar, avx2, avx512, neon [default: the best this CPU has]
    #[arg(long, value_name = "LEVEL")]
    pub isa: Option<String>,
    /// Run the model as it is, without rewriting it first
    #[arg(long)]
    pub no_optimize: bool,
    /// Most memory that tensors may take, with suffix K, M or G [default: 4G]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub max_memory: Option<usize>,
    /// Longest time that a run may take
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((i, 'k' | 'K')) => (&text[..i], 1 << 10),
        Some((i, 'm' | 'M')) => (&text[..i], 1 << 20),
        Some((i, 'g' | 'G')) => (&text[..i], 1 << 30),
        _ => (text, 1),
    };
    let number: usize = digits.trim().parse().map_err(|_| "expected a number of bytes such as 512M".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "more than this machine can address".to_owned())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

impl Common {
    /// Sets the instruction set level that was asked for. To be called before anything computes.
    pub fn apply_isa(&self) -> Result<Isa, Failure> {
        match &self.isa {
            None => Ok(Isa::current()),
            Some(name) => planish_kernels::isa::force(name).map_err(|e| Failure::usage(e.to_string())),
        }
    }

    /// Loads the model.
    pub fn load(&self, path: &Path) -> Result<Model, Failure> {
        let spinner = self.spinner(format!("loading {}", path.display()));
        let mut options = ImportOptions::default();
        if let Some(bytes) = self.max_memory {
            options.memory = Memory::without_pool(bytes);
        }
        let model = Model::load_with(path, &options)?;
        spinner.finish_and_clear();
        if !self.quiet {
            let shown = 3;
            for warning in model.warnings.iter().take(shown) {
                eprintln!("warning: {warning}");
            }
            if model.warnings.len() > shown {
                eprintln!("warning: … and {} more; `planish check` lists them", model.warnings.len() - shown);
            }
        }
        Ok(model)
    }

    /// The most bytes that tensors may take.
    fn max_memory_bytes(&self) -> usize {
        self.max_memory.unwrap_or(DEFAULT_MAX_MEMORY_BYTES)
    }

    /// How sessions of this command are to run.
    pub fn session_options(&self) -> SessionOptions {
        SessionOptions {
            optimize: !self.no_optimize,
            threads: self.threads.map_or(0, usize::from),
            max_memory_bytes: Some(self.max_memory_bytes()),
            ..SessionOptions::default()
        }
    }

    /// How runs of this command are to go.
    pub fn run_options(&self) -> RunOptions {
        RunOptions { timeout: self.timeout, ..RunOptions::default() }
    }

    /// A sign that something long goes on; shown on a terminal only.
    pub fn spinner(&self, message: String) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(message);
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }

    /// A bar for `length` steps; shown on a terminal only.
    pub fn bar(&self, length: u64, message: &str) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
        let bar = ProgressBar::new(length).with_message(message.to_owned());
        style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
    }

    /// Prints a remark for people to standard error.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }
}

/// Prints a JSON document to standard output, in one line.
pub fn print_json(document: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{document}\n"))
}

/// Prints to standard output.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Where a command takes its inputs from.
#[derive(Args, Clone, Debug)]
pub struct InputArgs {
    /// Folder of input_0.pb …, folder of .npy named after inputs, or .npz
    #[arg(long, value_name = "DATA")]
    pub data: Option<PathBuf>,
    /// One input from a .npy file
    #[arg(short = 'i', long = "input", value_name = "NAME=FILE.npy")]
    pub input: Vec<String>,
    /// Seed of generated inputs
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Extent of a symbolic dimension of generated inputs, such as batch=1 [default: 1]
    #[arg(long, value_name = "NAME=N")]
    pub dim: Vec<String>,
}

impl InputArgs {
    /// A value for each input of the graph: from data, from files, the rest generated with an extent of 1 for each symbol
    /// that is not bound.
    pub fn gather(&self, graph: &Graph, common: &Common) -> Result<DataSet, Failure> {
        let bindings = parse_bindings(&self.dim)?;
        let (inputs, _) = signature(graph);
        let symbols = inputs.iter().flat_map(|slot| slot.ty.shape().unwrap_or_default()).flat_map(Dim::symbols);
        let free: BTreeSet<String> =
            symbols.map(|s| s.to_string()).filter(|s| !bindings.iter().any(|(name, _)| name == s)).collect();
        if !free.is_empty() && self.data.is_none() {
            let names: Vec<&str> = free.iter().map(String::as_str).collect();
            common.note(&format!("note: dimensions {} are 1; set them with --dim NAME=N", names.join(", ")));
        }
        let ones = free.into_iter().map(|name| (name, 1));
        let guess = Guess { extents: bindings.into_iter().chain(ones).collect(), has_ones: false };
        self.gather_as(graph, common, &guess)
    }

    /// What to try in turn where there is no data: the same with this extent for symbols, and with extents that hang together
    /// in other ways.
    pub fn guess(&self, graph: &Graph, common: &Common, extent: i64) -> Result<Vec<DataSet>, Failure> {
        let bindings = parse_bindings(&self.dim)?;
        let sets = guesses(graph, &bindings, extent).into_iter().map(|guess| self.gather_as(graph, common, &guess));
        Ok(sets.filter_map(Result::ok).collect())
    }

    fn gather_as(&self, graph: &Graph, common: &Common, guess: &Guess) -> Result<DataSet, Failure> {
        let (inputs, outputs) = signature(graph);
        let mut set = match &self.data {
            Some(path) => DataSet::read(path, &inputs, &outputs)?,
            None => DataSet::default(),
        };
        for given in &self.input {
            let (name, file) =
                given.split_once('=').ok_or_else(|| Failure::usage(format!("-i {given:?}: expected NAME=FILE.npy")))?;
            let opened = std::fs::File::open(file).map_err(|e| Failure::bad(format!("{file}: {e}")))?;
            let tensor = crate::data::read_npy(std::io::BufReader::new(opened), file)?;
            set.inputs.retain(|(n, _)| n != name);
            set.inputs.push((name.to_owned(), tensor.into()));
        }
        self.generate_missing(&inputs, &mut set, common, guess)?;
        Ok(set)
    }

    fn generate_missing(
        &self,
        inputs: &[NamedType],
        set: &mut DataSet,
        common: &Common,
        guess: &Guess,
    ) -> Result<(), Failure> {
        let missing: Vec<&NamedType> =
            inputs.iter().filter(|slot| !set.inputs.iter().any(|(name, _)| *name == slot.name)).collect();
        let memory = Memory::with_limit(common.max_memory_bytes());
        for (seed, slot) in (self.seed..).zip(missing) {
            let extent = |dim: &Dim| {
                dim.eval(&|name| guess.extent(name).or(Some(1))).and_then(|v| v.try_into().ok()).unwrap_or(1)
            };
            let tensor = generate_input(&memory, &slot.ty, seed, &extent).ok_or_else(|| {
                Failure::usage(format!("input {:?} ({}) cannot be generated; give it with --data", slot.name, slot.ty))
            })?;
            let tensor = tensor.map_err(|e| {
                let text = format!("input {:?}: {e}", slot.name);
                if matches!(e, PayloadError::Memory(_)) { Failure::limit(text) } else { Failure::bad(text) }
            })?;
            let tensor = if guess.has_ones { ones_for_integers(tensor) } else { tensor };
            set.inputs.push((slot.name.clone(), Value::Tensor(tensor)));
        }
        Ok(())
    }
}

/// A tensor of ones in the place of one of integers or bools.
fn ones_for_integers(tensor: Tensor) -> Tensor {
    let shape = tensor.shape().clone();
    let count = shape.num_elements();
    let ones = match tensor.dtype() {
        DType::I64 => Tensor::new(shape, &vec![1i64; count]),
        DType::I32 => Tensor::new(shape, &vec![1i32; count]),
        DType::Bool => Tensor::new(shape, &vec![true; count]),
        _ => return tensor,
    };
    ones.unwrap_or(tensor)
}

/// `NAME=N` pairs.
pub fn parse_bindings(given: &[String]) -> Result<Vec<(String, i64)>, Failure> {
    let parse = |text: &String| {
        let (name, value) = text.split_once('=')?;
        Some((name.to_owned(), value.parse().ok().filter(|&v: &i64| v >= 0)?))
    };
    given
        .iter()
        .map(|text| parse(text).ok_or_else(|| Failure::usage(format!("--dim {text:?}: expected NAME=N, N at least 0"))))
        .collect()
}

/// The graph's inputs and outputs with the types that data is read by.
pub fn signature(graph: &Graph) -> (Vec<NamedType>, Vec<NamedType>) {
    let inputs = graph
        .inputs()
        .map(|v| NamedType { name: graph.value_name(v).to_owned(), ty: graph.fact(v).ty.clone() })
        .collect();
    let output = |o: &planish_ir::GraphOutput| NamedType { name: o.name.clone(), ty: o.declared.clone() };
    (inputs, graph.outputs().iter().map(output).collect())
}

/// One run on the inputs of a data set.
pub fn run_once(session: &Session, set: &DataSet, options: &RunOptions) -> Result<Vec<Value>, Failure> {
    Ok(session.run(set.inputs.iter().map(|(name, value)| (name.as_str(), value.clone())), options)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_take_suffixes() {
        assert_eq!(parse_bytes("512"), Ok(512));
        assert_eq!(parse_bytes("2K"), Ok(2048));
        assert_eq!(parse_bytes("3g"), Ok(3 << 30));
        assert!(parse_bytes("many").is_err());
        assert!(parse_bytes("99999999999999999G").is_err());
    }

    #[test]
    fn bindings_are_names_and_numbers() {
        assert_eq!(parse_bindings(&["batch=4".to_owned()]).unwrap(), [("batch".to_owned(), 4)]);
        assert!(parse_bindings(&["batch".to_owned()]).is_err());
        assert!(parse_bindings(&["batch=-1".to_owned()]).is_err());
    }
}
