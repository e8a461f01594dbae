//! Weights of few bits: which constants they are, by which scales they become codes, and how a graph reads the codes.
//!
//! This is no rewrite that keeps what a graph computes; the caller decides which weights change and measures what comes of
//! it.

mod codes;
mod dynamic;
mod fit;
mod qdq;
mod rows;
mod sites;
mod write;

pub use codes::Codes;
pub use dynamic::{Quantized, obstacle, put_dynamic};
pub use fit::{Fit, Grid};
pub use qdq::{Affine, Layer, Placed, find_layers, put_static, quantized_values};
pub use rows::Rows;
pub use sites::{Left, Reader, Role, Weight, find_weights};
pub use write::{QuantizeError, put, put_short};

use planish_ir::Graph;

/// The elements of W, row after row; nothing where one of them is no finite number.
pub fn elements(graph: &Graph, weight: &Weight) -> Option<Vec<f32>> {
    let numbers = graph.constant(weight.value)?.as_slice::<f32>().ok()?;
    if !numbers.iter().all(|w| w.is_finite()) {
        return None;
    }
    let dims = if weight.is_transposed { [weight.depth, weight.rows] } else { [weight.rows, weight.depth] };
    Some(codes::laid_out(numbers, dims, weight.is_transposed))
}
