//! Quantization: a model whose weights, and perhaps whose sums, are of few bits, and a report of what that changed.

mod budget;
mod calibrate;
mod choose;
mod fixed;
mod observe;
mod report;
mod weights;

pub use budget::Budget;
pub use calibrate::{Calibration, CalibrationError, Calibrator};
pub use choose::Held;
pub use planish_passes::quantize::{Grid, QuantizeError};
pub use report::{LayerReport, QuantizeReport, Storage};

use crate::model::Model;
use planish_passes::Target;

/// What is quantized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Weights of products and rows that are gathered; sums stay floats.
    #[default]
    Weights,
    /// Products: weights once, and what they are multiplied with as it comes, each row by a scale of its own.
    Dynamic,
    /// Layers, and what lies between them by ranges measured beforehand.
    Static,
}

/// How a model is to be quantized.
#[derive(Clone, Debug)]
pub struct QuantizeOptions {
    /// What is quantized.
    pub mode: Mode,
    /// How weights are kept.
    pub storage: Storage,
    /// How rows that are gathered are kept, and a last product that shares them; as all others if `None`.
    pub embeddings: Option<Storage>,
    /// Who is to run the result.
    pub target: Target,
    /// Weights, or nodes that read them, that stay as they are.
    pub exclude: Vec<String>,
    /// Threads to search scales on.
    pub threads: usize,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        QuantizeOptions {
            mode: Mode::Weights,
            storage: Storage::blocks(8),
            embeddings: None,
            target: Target::Standard,
            exclude: Vec::new(),
            threads: 1,
        }
    }
}

impl QuantizeOptions {
    /// Whether a weight is to stay as it is.
    fn excludes(&self, layer: &LayerReport) -> bool {
        self.exclude.iter().any(|name| *name == layer.name || layer.readers.contains(name))
    }
}

impl Model {
    /// Quantizes weights, and with [`Mode::Dynamic`] what they are multiplied with, and tells what became of each weight.
    /// `progress` is told how many of how many weights are done.
    pub fn quantize(
        &mut self,
        options: &QuantizeOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<QuantizeReport, QuantizeError> {
        weights::quantize(&mut self.graph, options, progress)
    }

    /// Quantizes layers and what lies between them, by ranges measured on calibration data. The graph is optimized first: a
    /// batch norm that is part of a convolution has no range of its own.
    pub fn quantize_static(
        &mut self,
        options: &QuantizeOptions,
        calibration: &mut Calibration<'_>,
    ) -> Result<QuantizeReport, CalibrationError> {
        fixed::quantize(self, options, calibration, None).map(|(report, _)| report)
    }

    /// The same for as many layers as a budget allows, where integers pay on this machine; and how far the outputs are then.
    pub fn quantize_static_within(
        &mut self,
        options: &QuantizeOptions,
        calibration: &mut Calibration<'_>,
        held: Held<'_>,
    ) -> Result<(QuantizeReport, f64), CalibrationError> {
        let (report, measured) = fixed::quantize(self, options, calibration, Some(held))?;
        Ok((report, measured.unwrap_or(0.0)))
    }
}
