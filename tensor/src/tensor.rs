//! Tensors: a dtype, a shape and shared contents.

use crate::buffer::Buffer;
use crate::{DType, Element, Memory, MemoryError, Shape};
use bytes::Bytes;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A contiguous row-major array of one [`DType`]. Cloning shares the contents.
///
/// Always true: the contents hold exactly `shape.num_elements()` elements, aligned for the dtype, in the machine's
/// byte order (little-endian, as ONNX files are); every `bool` is 0 or 1.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Shape,
    data: Data,
}

#[derive(Clone)]
enum Data {
    Bytes(Arc<Buffer>),
    Strings(Arc<Vec<String>>),
}

/// A tensor read as another dtype than it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DTypeMismatch {
    /// The dtype asked for.
    pub expected: DType,
    /// The tensor's dtype.
    pub got: DType,
}

impl fmt::Display for DTypeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a tensor of {}, got {}", self.expected, self.got)
    }
}

impl std::error::Error for DTypeMismatch {}

/// Contents that do not belong to the dtype and shape they came with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// The payload has another size than dtype and shape demand.
    Size {
        /// The dtype.
        dtype: DType,
        /// The shape.
        shape: Shape,
        /// What they demand, in bytes (elements for strings).
        expected: usize,
        /// What there was.
        got: usize,
    },
    /// Strings do not come as bytes.
    StringBytes,
    /// The copy that alignment demands did not fit the budget.
    Memory(MemoryError),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadError::Size { dtype, shape, expected, got } => {
                let unit = if *dtype == DType::String { "strings" } else { "bytes" };
                write!(f, "{dtype} tensor of shape {shape} takes {expected} {unit}, got {got}")
            }
            PayloadError::StringBytes => f.write_str("a string tensor cannot be made from raw bytes"),
            PayloadError::Memory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PayloadError {}

impl From<MemoryError> for PayloadError {
    fn from(error: MemoryError) -> Self {
        PayloadError::Memory(error)
    }
}

impl Tensor {
    /// A tensor of the elements `data`, outside any session's budget.
    pub fn new<T: Element>(shape: Shape, data: &[T]) -> Result<Tensor, PayloadError> {
        Tensor::new_in(Memory::global(), shape, data)
    }

    /// A tensor of the elements `data`, charged to `memory`.
    pub fn new_in<T: Element>(memory: &Memory, shape: Shape, data: &[T]) -> Result<Tensor, PayloadError> {
        if data.len() != shape.num_elements() {
            let expected = shape.num_elements() * size_of::<T>();
            return Err(PayloadError::Size { dtype: T::DTYPE, shape, expected, got: size_of_val(data) });
        }
        let mut tensor = TensorMut::<T>::uninit(memory, shape)?;
        tensor.copy_from_slice(data);
        Ok(tensor.freeze())
    }

    /// A rank-0 tensor.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor::vector(&[value]).with_known_shape(Shape::scalar())
    }

    /// A rank-1 tensor of the elements `data`.
    ///
    /// # Panics
    /// If the system has no memory for a second copy of `data`.
    pub fn vector<T: Element>(data: &[T]) -> Tensor {
        let shape = Shape::new(&[data.len()]).expect("a slice's length is at most isize::MAX");
        Tensor::new(shape, data).expect("the global account has no limit")
    }

    /// A tensor of strings.
    pub fn from_strings(shape: Shape, data: Vec<String>) -> Result<Tensor, PayloadError> {
        if data.len() != shape.num_elements() {
            let (expected, got) = (shape.num_elements(), data.len());
            return Err(PayloadError::Size { dtype: DType::String, shape, expected, got });
        }
        Ok(Tensor { dtype: DType::String, shape, data: Data::Strings(Arc::new(data)) })
    }

    /// A tensor over little-endian `bytes` of exactly the size that dtype and shape demand.
    ///
    /// The bytes are shared, not copied, unless they are not aligned for the dtype; `bool` bytes other than 0 become 1.
    pub fn from_bytes(memory: &Memory, dtype: DType, shape: Shape, bytes: Bytes) -> Result<Tensor, PayloadError> {
        if dtype == DType::String {
            return Err(PayloadError::StringBytes);
        }
        let expected = dtype.bytes_for(shape.num_elements()).unwrap_or(usize::MAX);
        if bytes.len() != expected {
            return Err(PayloadError::Size { dtype, shape, expected, got: bytes.len() });
        }
        let is_aligned = (bytes.as_ptr() as usize).is_multiple_of(Self::alignment(dtype));
        let is_valid = dtype != DType::Bool || bytes.iter().all(|&b| b <= 1);
        let buffer = if is_aligned && is_valid && cfg!(target_endian = "little") {
            Buffer::shared(bytes)
        } else {
            let mut buffer = memory.alloc(bytes.len())?;
            let copy = buffer.bytes_mut().expect("a fresh buffer is owned");
            copy.copy_from_slice(&bytes);
            if dtype == DType::Bool {
                copy.iter_mut().for_each(|b| *b = u8::from(*b != 0));
            }
            if cfg!(target_endian = "big") && dtype.bits() > 8 {
                let part =
                    if dtype.bits() == 128 || dtype == DType::Complex64 { dtype.bits() / 16 } else { dtype.bits() / 8 };
                copy.chunks_exact_mut(part).for_each(<[u8]>::reverse);
            }
            buffer
        };
        Ok(Tensor { dtype, shape, data: Data::Bytes(Arc::new(buffer)) })
    }

    /// A tensor of any dtype but strings whose elements are all zero bits (0, `false`, code 0).
    pub fn zeros(memory: &Memory, dtype: DType, shape: Shape) -> Result<Tensor, PayloadError> {
        if dtype == DType::String {
            let count = shape.num_elements();
            return Tensor::from_strings(shape, vec![String::new(); count]);
        }
        let bytes = dtype.bytes_for(shape.num_elements()).unwrap_or(usize::MAX);
        let buffer = memory.alloc_zeroed(bytes)?;
        Ok(Tensor { dtype, shape, data: Data::Bytes(Arc::new(buffer)) })
    }

    /// Contents are aligned for a machine word as wide as one element.
    const fn alignment(dtype: DType) -> usize {
        match dtype.bits() / 8 {
            0 => 1,
            bytes => bytes,
        }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// The number of elements.
    pub fn num_elements(&self) -> usize {
        self.shape.num_elements()
    }

    /// The size of the contents in bytes; for strings, of their text.
    pub fn num_bytes(&self) -> usize {
        match &self.data {
            Data::Bytes(buffer) => buffer.bytes().len(),
            Data::Strings(strings) => strings.iter().map(String::len).sum(),
        }
    }

    /// The elements, where `T` is the tensor's dtype.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], DTypeMismatch> {
        match &self.data {
            Data::Bytes(buffer) if self.dtype == T::DTYPE => Ok(cast(buffer.bytes())),
            _ => Err(DTypeMismatch { expected: T::DTYPE, got: self.dtype }),
        }
    }

    /// The elements of a string tensor.
    pub fn as_strings(&self) -> Result<&[String], DTypeMismatch> {
        match &self.data {
            Data::Strings(strings) => Ok(strings),
            Data::Bytes(_) => Err(DTypeMismatch { expected: DType::String, got: self.dtype }),
        }
    }

    /// The elements as bare words of their width, for operators that move elements without reading them. `None` where
    /// elements of this dtype are not as wide as `W`.
    pub fn words<W: Word>(&self) -> Option<&[W]> {
        match &self.data {
            Data::Bytes(buffer) if self.dtype.bits() == W::DTYPE_BITS => Some(cast(buffer.bytes())),
            _ => None,
        }
    }

    /// The little-endian contents; empty for strings.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Bytes(buffer) => buffer.bytes(),
            Data::Strings(_) => &[],
        }
    }

    /// The same contents under another shape of as many elements.
    pub fn reshaped(&self, shape: Shape) -> Result<Tensor, PayloadError> {
        if shape.num_elements() != self.num_elements() {
            let bytes = |n| self.dtype.bytes_for(n).unwrap_or(usize::MAX);
            let (expected, got) = (bytes(shape.num_elements()), bytes(self.num_elements()));
            return Err(PayloadError::Size { dtype: self.dtype, shape, expected, got });
        }
        Ok(self.clone().with_known_shape(shape))
    }

    /// The same bits as elements of another dtype of the same width; `None` for strings and other widths. What is neither 0
    /// nor 1 is 1 as a `bool`.
    pub fn bit_cast(&self, dtype: DType) -> Option<Tensor> {
        let Data::Bytes(buffer) = &self.data else { return None };
        if dtype.bits() != self.dtype.bits() {
            return None;
        }
        if dtype == DType::Bool && self.dtype != DType::Bool {
            let bits: Vec<bool> = buffer.bytes().iter().map(|&b| b != 0).collect();
            return Tensor::new(self.shape.clone(), &bits).ok();
        }
        Some(Tensor { dtype, ..self.clone() })
    }

    fn with_known_shape(mut self, shape: Shape) -> Tensor {
        debug_assert_eq!(shape.num_elements(), self.shape.num_elements());
        self.shape = shape;
        self
    }

    /// Takes the tensor to write in place, where nobody shares its contents; else gives it back.
    pub fn try_into_mut<T: Element>(self) -> Result<TensorMut<T>, Tensor> {
        let Tensor { dtype, shape, data } = self;
        match data {
            Data::Bytes(buffer) if dtype == T::DTYPE && buffer.is_owned() => match Arc::try_unwrap(buffer) {
                Ok(buffer) => Ok(TensorMut { shape, buffer, element: PhantomData }),
                Err(buffer) => Err(Tensor { dtype, shape, data: Data::Bytes(buffer) }),
            },
            data => Err(Tensor { dtype, shape, data }),
        }
    }

    /// The codes of a 2- or 4-bit tensor, one a byte: sign-extended for signed integers, zero-extended otherwise.
    /// Other dtypes give `None`.
    pub fn unpacked_codes(&self) -> Option<Vec<i8>> {
        if !self.dtype.is_packed() {
            return None;
        }
        let (bits, bytes) = (self.dtype.bits(), self.bytes());
        let unused = 8 - bits;
        let per_byte = 8 / bits;
        let code = |i: usize| {
            let code = (bytes[i / per_byte] >> (bits * (i % per_byte))) << unused;
            if self.dtype.is_signed_integer() { (code as i8) >> unused } else { (code >> unused) as i8 }
        };
        Some((0..self.num_elements()).map(code).collect())
    }

    /// A tensor of the 2- or 4-bit type `dtype` whose element codes are the low bits of `codes`.
    ///
    /// # Panics
    /// If `dtype` is not a packed type: that is the caller's choice, never the model's.
    pub fn from_codes(memory: &Memory, dtype: DType, shape: Shape, codes: &[u8]) -> Result<Tensor, PayloadError> {
        assert!(dtype.is_packed(), "{dtype} is not a packed type");
        if codes.len() != shape.num_elements() {
            let (expected, got) = (shape.num_elements(), codes.len());
            return Err(PayloadError::Size { dtype, shape, expected, got });
        }
        let bits = dtype.bits();
        let mask = (1u8 << bits) - 1;
        let per_byte = 8 / bits;
        let mut buffer = memory.alloc_zeroed(codes.len().div_ceil(per_byte))?;
        let bytes = buffer.bytes_mut().expect("a fresh buffer is owned");
        for (byte, group) in bytes.iter_mut().zip(codes.chunks(per_byte)) {
            *byte = group.iter().enumerate().fold(0, |b, (i, code)| b | ((code & mask) << (bits * i)));
        }
        Ok(Tensor { dtype, shape, data: Data::Bytes(Arc::new(buffer)) })
    }

    /// Whether both tensors share the same contents in memory.
    pub fn shares_contents_with(&self, other: &Tensor) -> bool {
        match (&self.data, &other.data) {
            (Data::Bytes(a), Data::Bytes(b)) => Arc::ptr_eq(a, b),
            (Data::Strings(a), Data::Strings(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// Equality of dtype, shape and bits: two NaNs of the same bits are equal, 0 and −0 are not.
impl PartialEq for Tensor {
    fn eq(&self, other: &Tensor) -> bool {
        self.dtype == other.dtype
            && self.shape == other.shape
            && match (&self.data, &other.data) {
                (Data::Bytes(a), Data::Bytes(b)) => a.bytes() == b.bytes(),
                (Data::Strings(a), Data::Strings(b)) => a == b,
                _ => false,
            }
    }
}

impl Eq for Tensor {}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// A tensor of `T` that nobody else sees yet: a slice to fill, then [`freeze`](TensorMut::freeze).
pub struct TensorMut<T> {
    shape: Shape,
    buffer: Buffer,
    element: PhantomData<T>,
}

impl<T: Element> TensorMut<T> {
    /// A tensor of valid but unspecified elements.
    pub fn uninit(memory: &Memory, shape: Shape) -> Result<TensorMut<T>, MemoryError> {
        let bytes = shape.num_elements().saturating_mul(size_of::<T>());
        let buffer = if T::ANY_BITS { memory.alloc(bytes)? } else { memory.alloc_zeroed(bytes)? };
        Ok(TensorMut { shape, buffer, element: PhantomData })
    }

    /// A tensor of zeros.
    pub fn zeros(memory: &Memory, shape: Shape) -> Result<TensorMut<T>, MemoryError> {
        let bytes = shape.num_elements().saturating_mul(size_of::<T>());
        Ok(TensorMut { buffer: memory.alloc_zeroed(bytes)?, shape, element: PhantomData })
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The finished tensor.
    pub fn freeze(self) -> Tensor {
        Tensor { dtype: T::DTYPE, shape: self.shape, data: Data::Bytes(Arc::new(self.buffer)) }
    }

    /// The finished tensor under another shape of as many elements.
    pub fn freeze_as(self, shape: Shape) -> Result<Tensor, PayloadError> {
        self.freeze().reshaped(shape)
    }
}

impl<T: Element> Deref for TensorMut<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        cast(self.buffer.bytes())
    }
}

impl<T: Element> DerefMut for TensorMut<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let bytes = self.buffer.bytes_mut().expect("a TensorMut owns its buffer");
        let count = whole_elements::<T>(bytes);
        // SAFETY: `whole_elements` checked alignment and length. The bytes are valid elements: buffers are made
        // initialised, those of types without `ANY_BITS` zeroed, and only written through `&mut [T]` since; a buffer
        // that comes from a `Tensor` of dtype `T` holds valid elements by that type's invariant.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast::<T>(), count) }
    }
}

/// An unsigned integer that stands for any element of its width, moved but not read.
pub trait Word: Element {
    /// The width.
    const DTYPE_BITS: usize = 8 * size_of::<Self>();
}

impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}
impl Word for u128 {}

/// A tensor of any dtype but strings that nobody else sees yet, as bytes or words to fill.
pub struct RawTensorMut {
    dtype: DType,
    shape: Shape,
    buffer: Buffer,
}

impl RawTensorMut {
    /// A tensor of valid but unspecified elements.
    pub fn uninit(memory: &Memory, dtype: DType, shape: Shape) -> Result<RawTensorMut, PayloadError> {
        if dtype == DType::String {
            return Err(PayloadError::StringBytes);
        }
        let bytes = dtype.bytes_for(shape.num_elements()).unwrap_or(usize::MAX);
        Ok(RawTensorMut { dtype, shape, buffer: memory.alloc(bytes)? })
    }

    /// The little-endian contents.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.bytes_mut().expect("a RawTensorMut owns its buffer")
    }

    /// The elements as bare words of their width. `None` where elements of this dtype are not as wide as `W`.
    pub fn words_mut<W: Word>(&mut self) -> Option<&mut [W]> {
        (self.dtype.bits() == W::DTYPE_BITS).then(|| cast_mut(self.bytes_mut()))
    }

    /// The finished tensor. `bool` bytes other than 0 become 1.
    pub fn freeze(mut self) -> Tensor {
        if self.dtype == DType::Bool {
            self.bytes_mut().iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
        Tensor { dtype: self.dtype, shape: self.shape, data: Data::Bytes(Arc::new(self.buffer)) }
    }
}

/// The words in bytes, to write.
fn cast_mut<W: Word>(bytes: &mut [u8]) -> &mut [W] {
    let count = whole_elements::<W>(bytes);
    // SAFETY: `whole_elements` checked alignment and length; any bits are a valid word.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast::<W>(), count) }
}

/// The elements in bytes which hold elements of `T`, as the callers' dtype says.
fn cast<T: Element>(bytes: &[u8]) -> &[T] {
    let count = whole_elements::<T>(bytes);
    // SAFETY: `whole_elements` checked alignment and length; the bytes are valid elements by the invariant of `Tensor`
    // and `TensorMut`, whose dtype is `T` in every caller, or `T` is a word, for which any bits are valid.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<T>(), count) }
}

/// The number of elements of `T` in `bytes`.
///
/// # Panics
/// If the bytes are not aligned for `T` or end within an element, which constructors rule out.
fn whole_elements<T: Element>(bytes: &[u8]) -> usize {
    assert!(bytes.as_ptr().cast::<T>().is_aligned(), "tensor contents are aligned");
    assert!(bytes.len().is_multiple_of(size_of::<T>()), "tensor contents are whole elements");
    bytes.len() / size_of::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: &[usize]) -> Shape {
        Shape::new(dims).unwrap()
    }

    #[test]
    fn payload_and_shape_must_agree() {
        assert!(Tensor::new(shape(&[3]), &[1.0f32, 2.0]).is_err());
        for got in [0, 11, 13] {
            let error = Tensor::from_bytes(Memory::global(), DType::F32, shape(&[3]), vec![0; got].into()).unwrap_err();
            assert!(matches!(error, PayloadError::Size { expected: 12, .. }), "{error}");
        }
    }

    #[test]
    fn unaligned_bytes_are_copied() {
        let bytes = Bytes::from(vec![0u8; 64]);
        for start in 0..8 {
            let t =
                Tensor::from_bytes(Memory::global(), DType::I64, shape(&[2]), bytes.slice(start..start + 16)).unwrap();
            assert_eq!(t.as_slice::<i64>().unwrap(), &[0, 0]);
        }
    }

    #[test]
    fn bool_bytes_are_normalised() {
        let t = Tensor::from_bytes(Memory::global(), DType::Bool, shape(&[3]), vec![0, 7, 1].into()).unwrap();
        assert_eq!(t.as_slice::<bool>().unwrap(), &[false, true, true]);
    }

    #[test]
    fn reading_as_another_dtype_is_refused() {
        let t = Tensor::vector(&[1.0f32]);
        assert!(t.as_slice::<i32>().is_err());
        assert!(t.as_strings().is_err());
    }

    #[test]
    fn only_the_sole_owner_writes_in_place() {
        let t = Tensor::vector(&[1i32, 2]);
        let other = t.clone();
        let t = t.try_into_mut::<i32>().err().unwrap();
        drop(other);
        let mut t = t.try_into_mut::<i32>().unwrap();
        t[0] = 5;
        assert_eq!(t.freeze().as_slice::<i32>().unwrap(), &[5, 2]);
    }

    #[test]
    fn codes_pack_lowest_bits_first() {
        for (dtype, codes) in [(DType::U4, [1u8, 15, 7]), (DType::U2, [1, 3, 2])] {
            let t = Tensor::from_codes(Memory::global(), dtype, shape(&[3]), &codes).unwrap();
            let expected: Vec<i8> = codes.iter().map(|&c| c as i8).collect();
            assert_eq!(t.unpacked_codes(), Some(expected));
        }
        let t = Tensor::from_codes(Memory::global(), DType::I4, shape(&[2]), &[0xf, 7]).unwrap();
        assert_eq!(t.bytes(), &[0x7f]);
        assert_eq!(t.unpacked_codes(), Some(vec![-1, 7]));
    }
}
