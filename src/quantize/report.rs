//! What quantizing did.

use planish_passes::quantize::Grid;
use std::fmt;
use std::time::Duration;

/// The shortest blocks that every form knows.
const SHORTEST: usize = 16;

/// How a weight is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As it came.
    Float,
    /// Numbers of 16 bits.
    Half,
    /// Numbers of 16 bits with the range of `float`.
    BFloat,
    /// Codes of 8 bits, one scale for each output, multiplied with codes of what comes.
    Integers,
    /// Codes in blocks along the sums of a product.
    Blocks {
        /// Bits of a code: 4 or 8.
        bits: u32,
        /// How many codes share a scale.
        block: usize,
        /// Whether the code of 0 is the same for all blocks.
        is_symmetric: bool,
    },
}

impl Storage {
    /// Blocks of codes of so many bits, as they pay best.
    ///
    /// Eight bits need neither short blocks nor a zero for each; of four, every code counts.
    pub fn blocks(bits: u32) -> Storage {
        match bits {
            4 => Storage::Blocks { bits, block: 32, is_symmetric: false },
            _ => Storage::Blocks { bits, block: 64, is_symmetric: true },
        }
    }

    /// The same in shorter blocks where rows of this depth are whole numbers of those only: a last block that is not full takes
    /// as much as a full one in some forms.
    pub(super) fn fitted_to(self, depth: usize) -> Storage {
        match self {
            Storage::Blocks { bits, block, is_symmetric } if !depth.is_multiple_of(block) => {
                let shorter = 1usize << depth.trailing_zeros().min(31);
                let block = if shorter >= SHORTEST { shorter.min(block) } else { block };
                Storage::Blocks { bits, block, is_symmetric }
            }
            other => other,
        }
    }

    /// The grid of codes, and the length of blocks, where there are codes.
    pub(super) fn grid(self, has_half_scales: bool) -> Option<(Grid, usize)> {
        match self {
            Storage::Blocks { bits, block, is_symmetric } => {
                Some((Grid { bits, is_symmetric, has_half_scales }, block))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Storage::Float => f.write_str("float"),
            Storage::Half => f.write_str("float16"),
            Storage::BFloat => f.write_str("bfloat16"),
            Storage::Integers => f.write_str("int8 product"),
            Storage::Blocks { bits, block, is_symmetric } => {
                let sign = if *is_symmetric { "int" } else { "uint" };
                write!(f, "{sign}{bits} x {block}")
            }
        }
    }
}

/// What became of one weight.
#[derive(Clone, Debug)]
pub struct LayerReport {
    /// The weight's name.
    pub name: String,
    /// The nodes that read it.
    pub readers: Vec<String>,
    /// How many numbers it has.
    pub elements: usize,
    /// How it is kept now.
    pub storage: Storage,
    /// ‖w − what is kept‖ / ‖w‖.
    pub error: f64,
    /// Its bytes before.
    pub bytes_before: usize,
    /// Its bytes now, scales and zeros with them.
    pub bytes_after: usize,
    /// What the shortest storage that was tried does to the outputs alone: a distance that is 0 for equal outputs.
    pub sensitivity: Option<f64>,
    /// The time of its layer before, where that was measured.
    pub time_before: Option<Duration>,
    /// The time of its layer now.
    pub time_after: Option<Duration>,
    /// Why it is kept that way, where that is not what was asked for.
    pub reason: Option<String>,
}

impl LayerReport {
    /// A float of which nothing is known but its name.
    pub(super) fn of(name: String) -> LayerReport {
        LayerReport {
            name,
            readers: Vec::new(),
            elements: 0,
            storage: Storage::Float,
            error: 0.0,
            bytes_before: 0,
            bytes_after: 0,
            sensitivity: None,
            time_before: None,
            time_after: None,
            reason: None,
        }
    }
}

/// What became of a model.
#[derive(Clone, Debug, Default)]
pub struct QuantizeReport {
    /// Every weight, in the order of the graph; those that stayed as they were say why.
    pub layers: Vec<LayerReport>,
}

impl QuantizeReport {
    /// The bytes of all weights before.
    pub fn bytes_before(&self) -> usize {
        self.layers.iter().map(|layer| layer.bytes_before).sum()
    }

    /// The bytes of all weights now.
    pub fn bytes_after(&self) -> usize {
        self.layers.iter().map(|layer| layer.bytes_after).sum()
    }

    /// How many weights became codes or shorter numbers.
    pub fn num_quantized(&self) -> usize {
        self.layers.iter().filter(|layer| layer.storage != Storage::Float).count()
    }
}
