//! Inputs and expected outputs on disk: ONNX's own test layout, folders of `.npy`, `.npz` archives.

mod compare;
mod dataset;
mod npy;

pub use compare::{Comparison, Tolerance, compare, to_f64};
pub(crate) use dataset::file_stem;
pub use dataset::{DataError, DataSet, NamedType, save_values};
pub use npy::{read_npy, write_npy};
