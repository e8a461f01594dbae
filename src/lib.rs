//! planish imports ONNX models, makes them smaller and faster, proves that they still compute the same thing, runs them
//! on a CPU and writes them back.
//!
//! Loading a model and running it, any number of times, from any number of threads:
//!
//! ```
//! use planish::{Model, RunOptions, SessionOptions, Tensor, Shape};
//!
//! let mut model = Model::load("models/digits/model.onnx")?;
//! model.optimize();
//! let session = model.into_session(&SessionOptions::default())?;
//! let image = Tensor::new(Shape::new(&[1, 1, 8, 8])?, &[0.5f32; 64])?;
//! let outputs = session.run([("image", image.into())], &RunOptions::default())?;
//! let logits = outputs[0].as_tensor().expect("the digit classifier gives a tensor").as_slice::<f32>()?;
//! assert_eq!(logits.len(), 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The way of a tensor from file to output: [`onnx`] reads the file into a [`Graph`]; passes rewrite the graph; a
//! [`Session`] plans it and packs its weights; [`Session::run`] evaluates one operator after the other. [`Model::save`]
//! writes the graph back for any runtime that reads ONNX.

#![forbid(unsafe_code)]

pub mod array;
pub mod bisect;
pub mod cli;
pub mod cost;
pub mod data;
pub mod diff;
pub mod inputs;
pub mod language;
mod model;
pub mod onnx;
pub mod peak;
pub mod quantize;
pub mod replace_norms;
pub mod verify;

pub use model::{Model, ModelInfo};
pub use onnx::{ExportError, ExportOptions, ImportError, ImportErrorKind, ImportOptions};
pub use planish_ir::{CancelToken, Dim, Graph, Type};
pub use planish_passes::{OptimizeOptions, PassReport, Report, Target};
pub use planish_runtime::{
    DEFAULT_MAX_MEMORY_BYTES, InputInfo, NodeProfile, OutputInfo, RunError, RunErrorKind, RunOptions, Session,
    SessionError, SessionOptions,
};
pub use planish_tensor::{DType, Element, Memory, Shape, Tensor, Value, bf16, f16};
pub use quantize::{Mode, QuantizeOptions, QuantizeReport, Storage};
