//! Operators of ONNX Runtime's domain `com.microsoft` that are more than a spelling of standard ones: those the importer
//! upgrades. What they compute is what ONNX Runtime computes on a CPU.

mod dynamic_quantize_matmul;
mod fused;
mod fused_matmul;
mod gather_block_quantized;
mod gelu;
mod inverse;
mod matmul_integer_to_float;
mod matmul_nbits;
mod murmur_hash3;
mod qgemm;
mod qlinear_binary;
mod qlinear_pool;
mod scaled_product;
mod skip_norm;
mod tokenizer;

pub use dynamic_quantize_matmul::DynamicQuantizeMatMul;
pub use fused::{FusedConv, FusedGemm};
pub use fused_matmul::FusedMatMul;
pub use gather_block_quantized::GatherBlockQuantized;
pub use gelu::{BiasGelu, FastGelu, QuickGelu};
pub use inverse::Inverse;
pub use matmul_integer_to_float::MatMulIntegerToFloat;
pub use matmul_nbits::MatMulNBits;
pub use murmur_hash3::MurmurHash3;
pub use qgemm::QGemm;
pub use qlinear_binary::{QLinearAdd, QLinearMul};
pub use qlinear_pool::{QLinearAveragePool, QLinearGlobalAveragePool};
pub use skip_norm::{SkipLayerNormalization, SkipSimplifiedLayerNormalization};
pub use tokenizer::Tokenizer;

#[cfg(test)]
mod tests;

/// The domain's name.
const DOMAIN: &str = "com.microsoft";
