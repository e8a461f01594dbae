//! Numeric kernels of planish: slices in, slices out.
//!
//! A kernel knows nothing of tensors or graphs. It takes slices and the sizes that say how to read them, and gives the same
//! answer whatever the number of threads. Row kernels leave the split to their callers; the matrix kernels share
//! themselves out over the [`Threads`] they are given. Which instructions a kernel uses is decided once per call, from
//! [`Isa::current`]. Each fast kernel keeps a plain scalar twin as its definition and its test.

pub mod attention;
pub mod conv;
pub mod copy;
pub mod elementwise;
pub mod forest;
pub mod gemm;
pub mod int8;
pub mod isa;
pub mod machine;
pub mod nbits;
pub mod norm;
pub mod pool;
pub mod reduce;
pub mod rnn;
pub mod rounding;
pub mod simd;
pub mod softmax;
#[cfg(test)]
mod testing;
pub mod threads;
pub mod vecmath;

pub use isa::Isa;
pub use threads::Threads;
