//! Quantization: numbers as codes of few bits, `x = (code − zero point) · scale`, and arithmetic on such codes.

mod conv_integer;
pub mod convolution;
mod dequantize_linear;
pub mod dynamic_quantize_linear;
mod granularity;
pub mod integers;
mod matmul_integer;
pub mod product;
mod qlinear_conv;
mod qlinear_matmul;
mod quantize_linear;
pub mod requantize;
pub mod scaled;

pub use conv_integer::ConvInteger;
pub use dequantize_linear::DequantizeLinear;
pub use dynamic_quantize_linear::DynamicQuantizeLinear;
pub use matmul_integer::MatMulInteger;
pub use qlinear_conv::QLinearConv;
pub use qlinear_matmul::QLinearMatMul;
pub use quantize_linear::QuantizeLinear;

#[cfg(test)]
mod tests;
