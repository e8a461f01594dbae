//! planish imports ONNX models, makes them smaller and faster, proves that they still compute the same thing, runs them
//! on a CPU and writes them back.

#![forbid(unsafe_code)]

mod model;
pub mod onnx;

pub use model::{Model, ModelInfo};
