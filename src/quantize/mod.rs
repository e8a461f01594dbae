//! Quantization: a model whose weights, and perhaps whose sums, are of few bits, and a report of what that changed.

mod report;
mod weights;

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

impl Model {
    /// Quantizes the model and tells what became of each weight. `progress` is told how many of how many weights are done.
    pub fn quantize(
        &mut self,
        options: &QuantizeOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<QuantizeReport, QuantizeError> {
        match options.mode {
            Mode::Weights => weights::quantize(&mut self.graph, options, progress),
        }
    }
}
