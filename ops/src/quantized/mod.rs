//! Quantization: numbers as codes of few bits, `x = (code − zero point) · scale`, and arithmetic on such codes.

mod dequantize_linear;
mod dynamic_quantize_linear;
mod granularity;
mod integers;
mod quantize_linear;

pub use dequantize_linear::DequantizeLinear;
pub use dynamic_quantize_linear::DynamicQuantizeLinear;
pub use quantize_linear::QuantizeLinear;

#[cfg(test)]
mod tests;
