//! Ranges of values, measured while a model runs on data.

use super::QuantizeError;
use super::observe::Observed;
use crate::data::{DataError, DataSet};
use crate::model::Model;
use planish_ir::{Graph, ValueId};
use planish_runtime::{RunError, RunOptions, SessionError, SessionOptions};
use planish_tensor::Value;
use std::collections::HashMap;
use std::fmt;

/// How a range is chosen from what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calibrator {
    /// All that was seen.
    MinMax,
    /// The mean of the extremes of each run, later runs weighing more.
    MovingAverage,
    /// All but the outermost 0.01 %.
    Percentile,
    /// Where the codes tell most of how numbers are spread.
    Entropy,
    /// Where the squared error is least.
    #[default]
    Mse,
}

/// What a model is measured on.
pub struct Calibration<'a> {
    /// How ranges are chosen.
    pub calibrator: Calibrator,
    /// Inputs, one set after the other; only one is in memory at a time.
    pub sets: &'a mut dyn Iterator<Item = Result<DataSet, DataError>>,
    /// How the model runs.
    pub session: SessionOptions,
    /// How each run goes.
    pub run: RunOptions,
    /// Told of each set that is done.
    pub progress: &'a mut dyn FnMut(),
    /// Whether biases take over what errors of weights shift sums by on average.
    pub corrects_biases: bool,
}

/// Why a model could not be calibrated.
#[derive(Debug)]
#[non_exhaustive]
pub enum CalibrationError {
    /// There is no data.
    NoData,
    /// A set could not be read.
    Data(DataError),
    /// The model cannot run.
    Session(SessionError),
    /// It did not run on a set.
    Run(RunError),
    /// The graph could not be changed.
    Quantize(QuantizeError),
}

impl fmt::Display for CalibrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CalibrationError::NoData => f.write_str("there is no data to calibrate on"),
            CalibrationError::Data(error) => error.fmt(f),
            CalibrationError::Session(error) => error.fmt(f),
            CalibrationError::Run(error) => error.fmt(f),
            CalibrationError::Quantize(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CalibrationError {}

impl From<QuantizeError> for CalibrationError {
    fn from(error: QuantizeError) -> Self {
        CalibrationError::Quantize(error)
    }
}

/// Runs the model on every set and tells what was seen of each value; `axes` counts the channels of each.
pub(super) fn observe(
    graph: &Graph,
    values: &[ValueId],
    axes: &HashMap<ValueId, usize>,
    calibration: &mut Calibration<'_>,
) -> Result<HashMap<ValueId, Observed>, CalibrationError> {
    let names: HashMap<&str, ValueId> = values.iter().map(|&v| (graph.value_name(v), v)).collect();
    let is_input = |v: &ValueId| graph.inputs().any(|input| input == *v);
    let mut options = calibration.session.clone();
    options.only_outputs =
        Some(values.iter().filter(|v| !is_input(v)).map(|&v| graph.value_name(v).to_owned()).collect());
    let session = Model { graph: graph.clone(), ..Model::default() }.into_session(&options);
    let session = session.map_err(CalibrationError::Session)?;
    let mut observed: HashMap<ValueId, Observed> = HashMap::new();
    let mut take = |name: &str, value: &Value| {
        let (Some(&id), Some(tensor)) = (names.get(name), value.as_tensor()) else { return };
        let Ok(numbers) = tensor.as_slice::<f32>() else { return };
        let axis = axes.get(&id).copied().unwrap_or(usize::MAX);
        observed.entry(id).or_default().add(numbers, tensor.shape().dims(), axis);
    };
    let mut runs = 0;
    for set in &mut *calibration.sets {
        let set = set.map_err(CalibrationError::Data)?;
        let known = |name: &String| session.inputs().iter().any(|input| input.name == *name);
        let inputs = set.inputs.iter().filter(|(name, _)| known(name));
        let inputs = inputs.map(|(name, value)| (name.as_str(), value.clone()));
        let outputs = session.run(inputs, &calibration.run).map_err(CalibrationError::Run)?;
        set.inputs.iter().for_each(|(name, value)| take(name, value));
        session.outputs().iter().zip(&outputs).for_each(|(output, value)| take(&output.name, value));
        runs += 1;
        (calibration.progress)();
    }
    if runs == 0 { Err(CalibrationError::NoData) } else { Ok(observed) }
}
