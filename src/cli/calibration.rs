//! The data that `planish quantize` measures ranges on.

use super::args::signature;
use super::failure::Failure;
use super::perplexity::{WINDOW, context, read_tokens, windows};
use crate::data::{DataError, DataSet, NamedType};
use crate::language::Feed;
use crate::model::Model;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Windows of a text that are read unless `--calib-limit` says otherwise: ranges hardly change after these.
const TEXT_WINDOWS: u32 = 16;

/// What ranges of values are measured on.
#[derive(Args, Clone, Debug)]
pub struct CalibrationArgs {
    /// Data to measure ranges on: a set of inputs, or a folder of such sets
    #[arg(long, value_name = "DATA", conflicts_with = "calib_text")]
    pub calib: Option<PathBuf>,
    /// Text to measure a language model's ranges on
    #[arg(long, value_name = "FILE")]
    pub calib_text: Option<PathBuf>,
    /// What turns text into tokens [default: tokenizer.json beside the model]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// No more sets or windows than this [default: all sets, 16 windows]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub calib_limit: Option<u32>,
    /// How ranges are chosen from what is seen
    #[arg(long, value_name = "HOW", default_value = "mse")]
    pub calibrator: Calibrator,
    /// Leave biases as they are
    #[arg(long)]
    pub no_bias_correction: bool,
}

/// How ranges are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Calibrator {
    /// All that is seen
    MinMax,
    /// The mean extremes of runs
    MovingAverage,
    /// All but the outermost 0.01 %
    Percentile,
    /// What keeps most of the distribution
    Entropy,
    /// What gives the least squared error
    Mse,
}

impl From<Calibrator> for crate::quantize::Calibrator {
    fn from(calibrator: Calibrator) -> Self {
        match calibrator {
            Calibrator::MinMax => Self::MinMax,
            Calibrator::MovingAverage => Self::MovingAverage,
            Calibrator::Percentile => Self::Percentile,
            Calibrator::Entropy => Self::Entropy,
            Calibrator::Mse => Self::Mse,
        }
    }
}

/// Sets of inputs, read one after the other.
pub struct Sets {
    pub length: usize,
    pub sets: Box<dyn Iterator<Item = Result<DataSet, DataError>>>,
}

impl CalibrationArgs {
    /// Whether there is any data.
    pub fn is_given(&self) -> bool {
        self.calib.is_some() || self.calib_text.is_some()
    }

    /// The sets to measure on.
    pub fn sets(&self, model: &Model, path: &Path) -> Result<Sets, Failure> {
        match (&self.calib, &self.calib_text) {
            (Some(data), _) => self.data_sets(model, data),
            (None, Some(text)) => self.text_windows(model, path, text),
            (None, None) => Err(Failure::usage("ranges of values must be measured on data")
                .hint("give --calib DATA, or --calib-text FILE for a language model")),
        }
    }

    fn data_sets(&self, model: &Model, data: &Path) -> Result<Sets, Failure> {
        let (inputs, outputs) = signature(&model.graph);
        let mut paths = sets_in(data, &inputs)?;
        paths.truncate(self.calib_limit.map_or(usize::MAX, |limit| limit as usize));
        if paths.is_empty() {
            return Err(Failure::bad(format!("{}: there is no data in it", data.display())));
        }
        let length = paths.len();
        let sets = paths.into_iter().map(move |path| DataSet::read(&path, &inputs, &outputs));
        Ok(Sets { length, sets: Box::new(sets) })
    }

    fn text_windows(&self, model: &Model, path: &Path, text: &Path) -> Result<Sets, Failure> {
        let feed = Feed::of(&model.graph)?;
        let tokens = read_tokens(text, self.tokenizer.as_deref(), &[path])?;
        let window = WINDOW.min(context(model).unwrap_or(WINDOW));
        let windows = windows(&tokens, window, self.calib_limit.or(Some(TEXT_WINDOWS)))?;
        let windows: Vec<Vec<i64>> = windows.into_iter().map(<[i64]>::to_vec).collect();
        let text = text.display().to_string();
        let length = windows.len();
        let sets = windows.into_iter().map(move |window| match feed.values(&window) {
            Ok(inputs) => Ok(DataSet { inputs, outputs: Vec::new() }),
            Err(error) => Err(DataError::new(&text, error.to_string())),
        });
        Ok(Sets { length, sets: Box::new(sets) })
    }
}

/// The set that a path is, or the sets in a folder, by name.
fn sets_in(path: &Path, inputs: &[NamedType]) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |e: std::io::Error| Failure::bad(format!("{}: {e}", path.display()));
    let mut inside: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        inside.push(entry.map_err(failed)?.path());
    }
    let is_of = |path: &PathBuf, extension: &str| path.extension().is_some_and(|e| e == extension);
    let names = inputs.iter().map(|input| format!("{}.npy", crate::data::file_stem(&input.name)));
    if names.chain(["input_0.pb".to_owned()]).any(|name| path.join(name).exists()) {
        return Ok(vec![path.to_owned()]);
    }
    inside.retain(|path| path.is_dir() || is_of(path, "npz"));
    inside.sort();
    Ok(inside)
}
