//! Operators: one file each, or one for a small close family. A file holds what the operator computes, its opset history,
//! its parsed attributes, schema, inference, evaluation and tests; the list below is the only other place that knows it.
//!
//! Everything else is derived from the schemas: import dispatch, arity and dtype checks, the support table, generators.
#![forbid(unsafe_code)]

mod arithmetic;
mod bit_shift;
mod broadcast;
mod clip;
mod compare;
mod control;
mod conv;
mod conv_transpose;
mod dtypes;
mod elementwise;
mod gemm;
mod geometry;
mod global_pool;
mod half;
mod logic;
mod matmul;
mod max_unpool;
mod modulo;
mod movement;
mod norm;
mod packed;
mod parallel;
mod pool;
mod pow;
mod prelu;
mod registry;
mod select;
mod shape;
mod softmax;
#[cfg(test)]
mod testing;
mod transpose;
mod variadic;

pub use registry::{Define, Entry, StandardRegistry, entry};

/// Every operator, by domain and name.
pub static OPERATORS: &[Entry] = &[
    entry::<arithmetic::Add>(),
    entry::<logic::And>(),
    entry::<pool::AveragePool>(),
    entry::<bit_shift::BitShift>(),
    entry::<logic::BitwiseAnd>(),
    entry::<logic::BitwiseNot>(),
    entry::<logic::BitwiseOr>(),
    entry::<logic::BitwiseXor>(),
    entry::<clip::Clip>(),
    entry::<conv::Conv>(),
    entry::<conv_transpose::ConvTranspose>(),
    entry::<arithmetic::Div>(),
    entry::<compare::Equal>(),
    entry::<gemm::Gemm>(),
    entry::<global_pool::GlobalAveragePool>(),
    entry::<global_pool::GlobalLpPool>(),
    entry::<global_pool::GlobalMaxPool>(),
    entry::<compare::Greater>(),
    entry::<compare::GreaterOrEqual>(),
    entry::<control::If>(),
    entry::<compare::Less>(),
    entry::<compare::LessOrEqual>(),
    entry::<softmax::LogSoftmax>(),
    entry::<control::Loop>(),
    entry::<pool::LpPool>(),
    entry::<matmul::MatMul>(),
    entry::<variadic::Max>(),
    entry::<pool::MaxPool>(),
    entry::<max_unpool::MaxUnpool>(),
    entry::<variadic::Mean>(),
    entry::<variadic::Min>(),
    entry::<modulo::Mod>(),
    entry::<arithmetic::Mul>(),
    entry::<logic::Not>(),
    entry::<logic::Or>(),
    entry::<prelu::PRelu>(),
    entry::<pow::Pow>(),
    entry::<control::Scan>(),
    entry::<shape::Shape>(),
    entry::<softmax::Softmax>(),
    entry::<arithmetic::Sub>(),
    entry::<variadic::Sum>(),
    entry::<transpose::Transpose>(),
    entry::<select::Where>(),
    entry::<logic::Xor>(),
];
