//! Numeric kernels of planish: slices in, slices out.
//!
//! A kernel knows nothing of tensors, graphs or threads. Callers hand it contiguous rows that they have checked, split the
//! work between threads themselves, and get the same answer whatever the split. Which instructions a kernel uses is
//! decided once per call, from [`Isa::current`].

pub mod isa;

pub use isa::Isa;
