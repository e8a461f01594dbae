//! Operators: one file each, or one for a small close family. A file holds what the operator computes, its opset history,
//! its parsed attributes, schema, inference, evaluation and tests; the list below is the only other place that knows it.
//!
//! Everything else is derived from the schemas: import dispatch, arity and dtype checks, the support table, generators.
#![forbid(unsafe_code)]

mod broadcast;
mod dtypes;
mod gemm;
mod geometry;
mod half;
mod matmul;
mod movement;
mod packed;
mod parallel;
mod registry;
mod shape;
mod softmax;
#[cfg(test)]
mod testing;
mod transpose;

pub use registry::{Define, Entry, StandardRegistry, entry};

/// Every operator, by domain and name.
pub static OPERATORS: &[Entry] = &[
    entry::<gemm::Gemm>(),
    entry::<softmax::LogSoftmax>(),
    entry::<matmul::MatMul>(),
    entry::<shape::Shape>(),
    entry::<softmax::Softmax>(),
    entry::<transpose::Transpose>(),
];
