//! Operators: one file each, or one for a small close family. A file holds what the operator computes, its opset history,
//! its parsed attributes, schema, inference, evaluation and tests; the list below is the only other place that knows it.
//!
//! Everything else is derived from the schemas: import dispatch, arity and dtype checks, the support table, generators.
#![forbid(unsafe_code)]

mod broadcast;
mod conv;
mod conv_transpose;
mod dtypes;
mod gemm;
mod geometry;
mod global_pool;
mod half;
mod matmul;
mod max_unpool;
mod movement;
mod norm;
mod packed;
mod parallel;
mod pool;
mod registry;
mod shape;
mod softmax;
#[cfg(test)]
mod testing;
mod transpose;

pub use registry::{Define, Entry, StandardRegistry, entry};

/// Every operator, by domain and name.
pub static OPERATORS: &[Entry] = &[
    entry::<pool::AveragePool>(),
    entry::<conv::Conv>(),
    entry::<conv_transpose::ConvTranspose>(),
    entry::<gemm::Gemm>(),
    entry::<global_pool::GlobalAveragePool>(),
    entry::<global_pool::GlobalLpPool>(),
    entry::<global_pool::GlobalMaxPool>(),
    entry::<softmax::LogSoftmax>(),
    entry::<pool::LpPool>(),
    entry::<matmul::MatMul>(),
    entry::<pool::MaxPool>(),
    entry::<max_unpool::MaxUnpool>(),
    entry::<shape::Shape>(),
    entry::<softmax::Softmax>(),
    entry::<transpose::Transpose>(),
];
