//! Graphs in ONNX's own textual syntax, written and read.
//!
//! ```text
//! mlp (float[batch, 4] x) => (float[batch, 2] y)
//! <float[4, 2] w = {1, 0, 0, 1, 0, 0, 0, 0}>
//! {
//!    [first] h = MatMul (x, w)
//!    y = Relu (h)
//! }
//! ```
//!
//! What that syntax has no place for stands in lines that other readers skip as comments: `#! doc "…"` and
//! `#! meta "key" "value"` before the graph, input, constant or node they belong to. Numbers that decimals do not give
//! back exactly (NaNs with payload, 8-bit floats) are written as the bits of the element, `0x7fc00001`.

mod lex;
mod parse;
mod print;

pub use parse::{ParseError, parse};
pub use print::{print, quoted};

/// Bodies and types nested deeper than this are refused.
const MAX_DEPTH: usize = 32;

#[cfg(test)]
mod tests;
