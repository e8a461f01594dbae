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
mod dtypes;
mod elementwise;
mod gemm;
mod geometry;
mod half;
mod logic;
mod matmul;
mod modulo;
mod movement;
mod packed;
mod parallel;
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
    entry::<bit_shift::BitShift>(),
    entry::<logic::BitwiseAnd>(),
    entry::<logic::BitwiseNot>(),
    entry::<logic::BitwiseOr>(),
    entry::<logic::BitwiseXor>(),
    entry::<clip::Clip>(),
    entry::<arithmetic::Div>(),
    entry::<compare::Equal>(),
    entry::<gemm::Gemm>(),
    entry::<compare::Greater>(),
    entry::<compare::GreaterOrEqual>(),
    entry::<compare::Less>(),
    entry::<compare::LessOrEqual>(),
    entry::<softmax::LogSoftmax>(),
    entry::<matmul::MatMul>(),
    entry::<variadic::Max>(),
    entry::<variadic::Mean>(),
    entry::<variadic::Min>(),
    entry::<modulo::Mod>(),
    entry::<arithmetic::Mul>(),
    entry::<logic::Not>(),
    entry::<logic::Or>(),
    entry::<prelu::PRelu>(),
    entry::<pow::Pow>(),
    entry::<shape::Shape>(),
    entry::<softmax::Softmax>(),
    entry::<arithmetic::Sub>(),
    entry::<variadic::Sum>(),
    entry::<transpose::Transpose>(),
    entry::<select::Where>(),
    entry::<logic::Xor>(),
];
