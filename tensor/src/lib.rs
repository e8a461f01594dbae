//! Values that flow through a graph: element types, checked shapes, reference-counted buffers and the memory
//! budget that every tensor-sized allocation asks first.
//!
//! A [`Tensor`] is always contiguous and row-major, cheap to clone, and immutable while shared. An operator that
//! is its only owner may take it back as a [`TensorMut`] and write in place. What cannot be true of a tensor
//! (a shape whose element count overflows, a payload of another size, a `bool` that is neither 0 nor 1) is
//! refused when it is made, so nothing downstream checks it again.

mod buffer;
mod dtype;
mod element;
mod file;
mod memory;
mod minifloat;
mod shape;
mod tensor;
mod value;

pub use buffer::Buffer;
pub use dtype::DType;
pub use element::{Complex64, Complex128, Element, F6E2M3, F6E3M2, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0};
pub use file::{map_file, read_file};
pub use half::{bf16, f16};
pub use memory::{Memory, MemoryError, Reservation};
pub use minifloat::{MiniFloat, ScaleRounding, scale_from_code, scale_to_code};
pub use shape::{MAX_RANK, Shape, ShapeError};
pub use tensor::{DTypeMismatch, PayloadError, RawTensorMut, Tensor, TensorMut, Word};
pub use value::{Map, MapKeys, Sequence, Value, ValueType};
