//! NumPy's `.npy` format ↔ tensors.

use super::DataError;
use npyz::{Order, TypeChar, WriterBuilder};
use planish_tensor::{DType, Element, Memory, Shape, Tensor, f16};
use std::io::{Read, Write};

/// Reads one array. Fortran order is turned into row-major order, big-endian numbers into the machine's own.
pub fn read_npy(mut reader: impl Read, what: &str) -> Result<Tensor, DataError> {
    let wrong = |message: String| DataError::new(what, message);
    let header = npyz::NpyHeader::from_reader(&mut reader).map_err(|e| wrong(format!("not a .npy file: {e}")))?;
    let npyz::DType::Plain(ty) = header.dtype() else {
        return Err(wrong("arrays of records are not tensors".to_owned()));
    };
    let width = usize::try_from(ty.size_field()).unwrap_or(usize::MAX);
    let dtype =
        numpy_dtype(ty.type_char(), width).ok_or_else(|| wrong(format!("{ty} is not the element type of a tensor")))?;
    let dims: Option<Vec<usize>> = header.shape().iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = Shape::new(&dims.unwrap_or_else(|| vec![usize::MAX; 2])).map_err(|e| wrong(e.to_string()))?;
    let expected = dtype.bytes_for(shape.num_elements()).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    let limit = u64::try_from(expected).unwrap_or(u64::MAX);
    reader.take(limit).read_to_end(&mut bytes).map_err(|e| wrong(e.to_string()))?;
    if matches!(ty.endianness(), npyz::Endianness::Big) && width > 1 {
        let part = if ty.type_char() == TypeChar::Complex { width / 2 } else { width };
        bytes.chunks_exact_mut(part).for_each(<[u8]>::reverse);
    }
    if header.order() == Order::Fortran && bytes.len() == expected {
        bytes = row_major(&bytes, &shape, width);
    }
    Tensor::from_bytes(Memory::global(), dtype, shape, bytes.into()).map_err(|e| wrong(e.to_string()))
}

fn numpy_dtype(kind: TypeChar, width: usize) -> Option<DType> {
    Some(match (kind, width) {
        (TypeChar::Bool, 1) => DType::Bool,
        (TypeChar::Int, 1) => DType::I8,
        (TypeChar::Int, 2) => DType::I16,
        (TypeChar::Int, 4) => DType::I32,
        (TypeChar::Int, 8) => DType::I64,
        (TypeChar::Uint, 1) => DType::U8,
        (TypeChar::Uint, 2) => DType::U16,
        (TypeChar::Uint, 4) => DType::U32,
        (TypeChar::Uint, 8) => DType::U64,
        (TypeChar::Float, 2) => DType::F16,
        (TypeChar::Float, 4) => DType::F32,
        (TypeChar::Float, 8) => DType::F64,
        (TypeChar::Complex, 8) => DType::Complex64,
        (TypeChar::Complex, 16) => DType::Complex128,
        _ => return None,
    })
}

/// Elements of `width` bytes stored first axis fastest, put last axis fastest.
fn row_major(bytes: &[u8], shape: &Shape, width: usize) -> Vec<u8> {
    let mut sorted = Vec::with_capacity(bytes.len());
    let mut index = vec![0usize; shape.rank()];
    for _ in 0..shape.num_elements() {
        let position = index.iter().zip(shape.iter()).rev().fold(0, |p, (&i, &d)| p * d + i);
        sorted.extend_from_slice(&bytes[position * width..(position + 1) * width]);
        for axis in (0..shape.rank()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    sorted
}

/// Writes one array. `None` where NumPy has no such element type.
pub fn write_npy(writer: impl Write, tensor: &Tensor) -> Option<std::io::Result<()>> {
    macro_rules! typed {
        ($($dtype:ident: $rust:ty),*) => {
            match tensor.dtype() {
                $(DType::$dtype => write_elements::<$rust>(writer, tensor),)*
                _ => return None,
            }
        };
    }
    Some(typed! {
        F32: f32, F64: f64, F16: f16, Bool: bool,
        U8: u8, U16: u16, U32: u32, U64: u64, I8: i8, I16: i16, I32: i32, I64: i64
    })
}

fn write_elements<T: Element + npyz::AutoSerialize>(writer: impl Write, tensor: &Tensor) -> std::io::Result<()> {
    let dims: Vec<u64> = tensor.shape().iter().map(|&d| d as u64).collect();
    let mut npy = npyz::WriteOptions::new().default_dtype().shape(&dims).writer(writer).begin_nd()?;
    let elements = tensor.as_slice::<T>().map_err(std::io::Error::other)?;
    npy.extend(elements.iter().copied())?;
    npy.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Element>(data: &[T]) {
        let tensor = Tensor::new(Shape::new(&[2, data.len() / 2]).unwrap(), data).unwrap();
        let mut bytes = Vec::new();
        write_npy(&mut bytes, &tensor).unwrap().unwrap();
        assert_eq!(read_npy(bytes.as_slice(), "test").unwrap(), tensor);
    }

    #[test]
    fn what_is_written_is_read_again() {
        round_trip(&[1.5f32, -0.0, f32::INFINITY, 3.0]);
        round_trip(&[f16::from_f32(0.1), f16::ONE]);
        round_trip(&[true, false]);
        round_trip(&[i64::MIN, 7, 0, 1, 2, 3]);
    }

    #[test]
    fn a_short_file_is_refused() {
        let mut bytes = Vec::new();
        write_npy(&mut bytes, &Tensor::vector(&[1f32, 2.0])).unwrap().unwrap();
        bytes.pop();
        assert!(read_npy(bytes.as_slice(), "short.npy").unwrap_err().to_string().contains("short.npy"));
    }

    #[test]
    fn fortran_order_becomes_row_major() {
        let shape = Shape::new(&[2, 3]).unwrap();
        assert_eq!(row_major(&[1, 4, 2, 5, 3, 6], &shape, 1), [1, 2, 3, 4, 5, 6]);
    }
}
