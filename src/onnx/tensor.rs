//! Tensors in messages: the one function that reads a `TensorProto`, wherever it hangs, and the one that writes it.

use crate::onnx::error::{ImportError, ImportErrorKind};
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::tensor_proto::DataLocation;
use crate::onnx::proto::{SparseTensorProto, TensorProto};
use bytes::Bytes;
use planish_tensor::{
    Complex64, Complex128, DType, Element, F6E2M3, F6E3M2, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, Memory,
    RawTensorMut, Shape, Tensor, TensorMut, bf16, f16,
};

/// The tensor that `proto` holds or points to.
///
/// Every kind of field is held against dtype and shape: the elements must lie in exactly one place, that which the
/// standard gives the dtype, and be exactly as many as the shape says. `raw_data` is shared, not copied, where it is
/// aligned; where it was left in the model's file, it is read from there.
pub fn tensor_from_proto(
    proto: &TensorProto,
    external: &ExternalFiles,
    memory: &Memory,
) -> Result<Tensor, ImportError> {
    read_tensor(proto, external, memory).map_err(|e| e.at(format_args!("tensor {:?}", proto.name)))
}

fn read_tensor(proto: &TensorProto, external: &ExternalFiles, memory: &Memory) -> Result<Tensor, ImportError> {
    let dtype = dtype_from_code(proto.data_type)?;
    let shape = Shape::from_i64(&proto.dims)?;
    if proto.segment.is_some() {
        return Err(ImportError::unsupported("tensors in segments"));
    }
    if proto.data_location == i32::from(DataLocation::External) {
        check_fields(proto, None)?;
        return external.load(&proto.external_data, memory, dtype, shape);
    }
    if let Some(raw) = proto.raw_data.as_ref().filter(|raw| !raw.is_empty()) {
        check_fields(proto, Some("raw_data"))?;
        return external.raw(raw, memory, dtype, shape);
    }
    check_fields(proto, Some(typed_field(dtype)))?;
    from_typed_field(proto, memory, dtype, shape)
}

/// The dtype of ONNX's number `code`.
pub(crate) fn dtype_from_code(code: i32) -> Result<DType, ImportError> {
    DType::from_onnx(code).ok_or_else(|| ImportError::invalid(format!("{code} is not a tensor element type")))
}

/// The field that holds elements of `dtype` where they are not raw.
fn typed_field(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::Complex64 => "float_data",
        DType::F64 | DType::Complex128 => "double_data",
        DType::I64 => "int64_data",
        DType::U32 | DType::U64 => "uint64_data",
        DType::String => "string_data",
        _ => "int32_data",
    }
}

/// Refuses elements in any field but `expected`.
fn check_fields(proto: &TensorProto, expected: Option<&str>) -> Result<(), ImportError> {
    let filled = [
        ("raw_data", proto.raw_data.as_ref().is_some_and(|raw| !raw.is_empty())),
        ("float_data", !proto.float_data.is_empty()),
        ("int32_data", !proto.int32_data.is_empty()),
        ("int64_data", !proto.int64_data.is_empty()),
        ("double_data", !proto.double_data.is_empty()),
        ("uint64_data", !proto.uint64_data.is_empty()),
        ("string_data", !proto.string_data.is_empty()),
    ];
    match filled.iter().find(|(field, is_filled)| *is_filled && Some(*field) != expected) {
        None => Ok(()),
        Some((field, _)) => {
            let expected = expected.unwrap_or("another file");
            Err(ImportError::invalid(format!("expected the elements in {expected}, found some in {field}")))
        }
    }
}

fn from_typed_field(proto: &TensorProto, memory: &Memory, dtype: DType, shape: Shape) -> Result<Tensor, ImportError> {
    let small = &proto.int32_data[..];
    /// The element whose bits are the low bits of a number, which must fit them with or without a sign.
    macro_rules! bits {
        ($unsigned:ty, $signed:ty, $make:expr) => {
            convert(memory, shape, small, |v| {
                let bits = <$unsigned>::try_from(v).ok();
                bits.or_else(|| <$signed>::try_from(v).ok().map(<$signed>::cast_unsigned)).map($make)
            })
        };
    }
    match dtype {
        DType::F32 => copy(memory, shape, &proto.float_data),
        DType::F64 => copy(memory, shape, &proto.double_data),
        DType::I64 => copy(memory, shape, &proto.int64_data),
        DType::U64 => copy(memory, shape, &proto.uint64_data),
        DType::I32 => copy(memory, shape, small),
        DType::U32 => convert(memory, shape, &proto.uint64_data, |v| u32::try_from(v).ok()),
        DType::I16 => convert(memory, shape, small, |v| i16::try_from(v).ok()),
        DType::U16 => convert(memory, shape, small, |v| u16::try_from(v).ok()),
        DType::I8 => convert(memory, shape, small, |v| i8::try_from(v).ok()),
        DType::U8 => convert(memory, shape, small, |v| u8::try_from(v).ok()),
        DType::Bool => convert(memory, shape, small, |v| Some(v != 0)),
        DType::F16 => bits!(u16, i16, f16::from_bits),
        DType::BF16 => bits!(u16, i16, bf16::from_bits),
        DType::F8E4M3FN => bits!(u8, i8, F8E4M3FN),
        DType::F8E4M3FNUZ => bits!(u8, i8, F8E4M3FNUZ),
        DType::F8E5M2 => bits!(u8, i8, F8E5M2),
        DType::F8E5M2FNUZ => bits!(u8, i8, F8E5M2FNUZ),
        DType::F8E8M0 => bits!(u8, i8, F8E8M0),
        DType::F6E2M3 => bits!(u8, i8, F6E2M3),
        DType::F6E3M2 => bits!(u8, i8, F6E3M2),
        DType::U4 | DType::I4 | DType::F4E2M1 | DType::U2 | DType::I2 => packed(memory, dtype, shape, small),
        DType::Complex64 => pairs(memory, shape, &proto.float_data, |re, im| Complex64 { re, im }),
        DType::Complex128 => pairs(memory, shape, &proto.double_data, |re, im| Complex128 { re, im }),
        DType::String => strings(proto, shape),
    }
}

fn check_count(shape: &Shape, expected: usize, got: usize) -> Result<(), ImportError> {
    if got == expected {
        return Ok(());
    }
    Err(ImportError::invalid(format!("shape {shape} takes {expected} numbers, got {got}")))
}

fn copy<T: Element>(memory: &Memory, shape: Shape, source: &[T]) -> Result<Tensor, ImportError> {
    check_count(&shape, shape.num_elements(), source.len())?;
    Ok(Tensor::new_in(memory, shape, source)?)
}

fn convert<S: Copy + std::fmt::Display, T: Element>(
    memory: &Memory,
    shape: Shape,
    source: &[S],
    element: impl Fn(S) -> Option<T>,
) -> Result<Tensor, ImportError> {
    check_count(&shape, shape.num_elements(), source.len())?;
    let mut tensor = TensorMut::<T>::zeros(memory, shape)?;
    for (to, &from) in tensor.iter_mut().zip(source) {
        *to = element(from).ok_or_else(|| ImportError::invalid(format!("{from} does not fit {}", T::DTYPE)))?;
    }
    Ok(tensor.freeze())
}

fn pairs<S: Copy, T: Element>(
    memory: &Memory,
    shape: Shape,
    source: &[S],
    element: impl Fn(S, S) -> T,
) -> Result<Tensor, ImportError> {
    check_count(&shape, shape.num_elements().saturating_mul(2), source.len())?;
    let mut tensor = TensorMut::<T>::zeros(memory, shape)?;
    for (to, pair) in tensor.iter_mut().zip(source.chunks_exact(2)) {
        if let [re, im] = pair {
            *to = element(*re, *im);
        }
    }
    Ok(tensor.freeze())
}

/// Elements of 2 or 4 bits: each number holds the byte that several share.
fn packed(memory: &Memory, dtype: DType, shape: Shape, source: &[i32]) -> Result<Tensor, ImportError> {
    check_count(&shape, dtype.bytes_for(shape.num_elements()).unwrap_or(usize::MAX), source.len())?;
    let mut tensor = RawTensorMut::uninit(memory, dtype, shape)?;
    for (to, &from) in tensor.bytes_mut().iter_mut().zip(source) {
        let byte = u8::try_from(from).ok().or_else(|| i8::try_from(from).ok().map(i8::cast_unsigned));
        *to = byte.ok_or_else(|| ImportError::invalid(format!("{from} does not fit a byte of {dtype}")))?;
    }
    Ok(tensor.freeze())
}

fn strings(proto: &TensorProto, shape: Shape) -> Result<Tensor, ImportError> {
    let strings: Result<Vec<String>, ImportError> = proto.string_data.iter().map(|s| utf8(s)).collect();
    Ok(Tensor::from_strings(shape, strings?)?)
}

/// The text in a field that the wire format leaves free to hold any bytes.
pub(crate) fn utf8(bytes: &[u8]) -> Result<String, ImportError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            Err(ImportError::caused(ImportErrorKind::Invalid, format!("a string is not UTF-8: {error}"), error))
        }
    }
}

/// The message for a tensor. Its contents are shared, not copied.
pub fn tensor_to_proto(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = TensorProto {
        name: name.to_owned(),
        dims: tensor.shape().to_i64(),
        data_type: tensor.dtype().to_onnx(),
        ..TensorProto::default()
    };
    match tensor.as_strings() {
        Ok(strings) => proto.string_data = strings.iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect(),
        Err(_) => proto.raw_data = Some(little_endian_bytes(tensor)),
    }
    proto
}

/// The contents of a tensor other than of strings, as files hold them.
fn little_endian_bytes(tensor: &Tensor) -> Bytes {
    struct Contents(Tensor);
    impl AsRef<[u8]> for Contents {
        fn as_ref(&self) -> &[u8] {
            self.0.bytes()
        }
    }
    if cfg!(target_endian = "little") || tensor.dtype().bits() <= 8 {
        return Bytes::from_owner(Contents(tensor.clone()));
    }
    let is_complex = matches!(tensor.dtype(), DType::Complex64 | DType::Complex128);
    let part = if is_complex { tensor.dtype().bits() / 16 } else { tensor.dtype().bits() / 8 };
    let mut bytes = tensor.bytes().to_vec();
    bytes.chunks_exact_mut(part).for_each(<[u8]>::reverse);
    bytes.into()
}

/// Dense tensors up to this size are made of any sparse one.
const FREE_DENSE_BYTES: usize = 16 << 20;

/// Beyond that, a dense tensor may be this many times the size of the sparse one it comes from: a matrix in which one
/// element of 32 is given costs 64 times its values and indices at the very most, and below that density a model that
/// runs as dense tensors makes no sense.
const DENSE_PER_SPARSE_BYTE: usize = 64;

/// The dense tensor that a sparse one stands for. A few bytes can claim any shape, so the size is bounded by that of
/// the elements given, before the budget is asked.
pub fn dense_from_sparse(
    proto: &SparseTensorProto,
    external: &ExternalFiles,
    memory: &Memory,
) -> Result<Tensor, ImportError> {
    let name = proto.values.as_ref().map_or("", |v| v.name.as_str());
    densify(proto, external, memory).map_err(|e| e.at(format_args!("sparse tensor {name:?}")))
}

fn densify(proto: &SparseTensorProto, external: &ExternalFiles, memory: &Memory) -> Result<Tensor, ImportError> {
    let part = |part: &Option<Box<TensorProto>>, what| match part {
        Some(proto) => tensor_from_proto(proto, external, memory),
        None => Err(ImportError::invalid(format!("it has no {what}"))),
    };
    let values = part(&proto.values, "values")?;
    let shape = Shape::from_i64(&proto.dims)?;
    let dtype = values.dtype();
    if dtype == DType::String || dtype.bits() < 8 {
        return Err(ImportError::unsupported(format!("sparse tensors of {dtype}")));
    }
    let indices = match &proto.indices {
        None if values.num_elements() == 0 => Tensor::vector::<i64>(&[]),
        indices => part(indices, "indices")?,
    };
    let given = indices.as_slice::<i64>().map_err(|e| ImportError::invalid(format!("indices: {e}")))?;
    let dense_bytes = dtype.bytes_for(shape.num_elements()).unwrap_or(usize::MAX);
    let sparse_bytes = values.num_bytes().saturating_add(indices.num_bytes());
    let allowed = FREE_DENSE_BYTES.max(sparse_bytes.saturating_mul(DENSE_PER_SPARSE_BYTE));
    if dense_bytes > allowed {
        return Err(ImportError::limit(format!(
            "shape {shape} would take {dense_bytes} bytes, at most {allowed} are made of {sparse_bytes} sparse ones"
        )));
    }
    let positions = positions(given, indices.shape(), &shape, values.num_elements())?;
    let element_bytes = dtype.bits() / 8;
    let mut dense = RawTensorMut::uninit(memory, dtype, shape)?;
    let bytes = dense.bytes_mut();
    bytes.fill(0);
    for (position, value) in positions.into_iter().zip(values.bytes().chunks_exact(element_bytes)) {
        let start = position * element_bytes;
        bytes[start..start + element_bytes].copy_from_slice(value);
    }
    Ok(dense.freeze())
}

/// The row-major positions that `indices` name, each checked to lie in `shape`.
fn positions(indices: &[i64], indices_shape: &Shape, shape: &Shape, count: usize) -> Result<Vec<usize>, ImportError> {
    let num_elements = shape.num_elements();
    let within = |index: i64, extent: usize| {
        let index = usize::try_from(index).ok().filter(|&i| i < extent);
        index.ok_or_else(|| ImportError::invalid(format!("an index is out of range for shape {shape}")))
    };
    match indices_shape.dims() {
        [n] if *n == count => indices.iter().map(|&index| within(index, num_elements)).collect(),
        [n, rank] if *n == count && *rank == shape.rank() && *rank > 0 => {
            let position = |coordinates: &[i64]| -> Result<usize, ImportError> {
                let mut position = 0;
                for (&index, &extent) in coordinates.iter().zip(shape.dims()) {
                    position = position * extent + within(index, extent)?;
                }
                Ok(position)
            };
            indices.chunks_exact(*rank).map(position).collect()
        }
        _ => Err(ImportError::invalid(format!(
            "{count} values of a tensor of rank {} cannot have indices of shape {indices_shape}",
            shape.rank()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(proto: &TensorProto) -> Result<Tensor, ImportError> {
        tensor_from_proto(proto, &ExternalFiles::none(), Memory::global())
    }

    fn proto(dtype: DType, dims: &[i64]) -> TensorProto {
        TensorProto { name: "w".to_owned(), data_type: dtype.to_onnx(), dims: dims.to_vec(), ..TensorProto::default() }
    }

    #[test]
    fn every_dtype_survives_a_round_trip() {
        for dtype in DType::ALL {
            let tensor = match dtype {
                DType::String => Tensor::from_strings(Shape::new(&[2]).unwrap(), vec!["a".into(), "é".into()]).unwrap(),
                _ => {
                    let bytes: Vec<u8> = (0..dtype.bytes_for(3).unwrap()).map(|i| u8::from(i % 2 == 0)).collect();
                    Tensor::from_bytes(Memory::global(), dtype, Shape::new(&[3]).unwrap(), bytes.into()).unwrap()
                }
            };
            assert_eq!(read(&tensor_to_proto("w", &tensor)).unwrap(), tensor, "{dtype}");
        }
    }

    #[test]
    fn typed_fields_hold_what_the_standard_says() {
        let f16s = TensorProto { int32_data: vec![0x3c00, 0xc000, -0x4000], ..proto(DType::F16, &[3]) };
        let expected = [f16::ONE, f16::from_f32(-2.0), f16::from_f32(-2.0)];
        assert_eq!(read(&f16s).unwrap().as_slice::<f16>().unwrap(), &expected);
        let int4s = TensorProto { int32_data: vec![0x7f, 0x01], ..proto(DType::I4, &[3]) };
        assert_eq!(read(&int4s).unwrap().unpacked_codes(), Some(vec![-1, 7, 1]));
        let bools = TensorProto { int32_data: vec![0, 2], ..proto(DType::Bool, &[2]) };
        assert_eq!(read(&bools).unwrap().as_slice::<bool>().unwrap(), &[false, true]);
        let complex = TensorProto { float_data: vec![1.0, 2.0], ..proto(DType::Complex64, &[]) };
        assert_eq!(read(&complex).unwrap().as_slice::<Complex64>().unwrap(), &[Complex64 { re: 1.0, im: 2.0 }]);
        let u32s = TensorProto { uint64_data: vec![u64::from(u32::MAX)], ..proto(DType::U32, &[1]) };
        assert_eq!(read(&u32s).unwrap().as_slice::<u32>().unwrap(), &[u32::MAX]);
        assert_eq!(read(&proto(DType::F32, &[0, 4])).unwrap().num_elements(), 0);
    }

    #[test]
    fn payloads_that_do_not_fit_are_refused() {
        let cases = [
            proto(DType::F32, &[2]),
            TensorProto { raw_data: Some(vec![0; 7].into()), ..proto(DType::F32, &[2]) },
            TensorProto { raw_data: Some(vec![0; 12].into()), ..proto(DType::F32, &[2]) },
            TensorProto { float_data: vec![0.0; 3], ..proto(DType::F32, &[2]) },
            TensorProto { int32_data: vec![0; 2], ..proto(DType::F32, &[2]) },
            TensorProto { raw_data: Some(vec![0; 8].into()), float_data: vec![0.0; 2], ..proto(DType::F32, &[2]) },
            TensorProto { int32_data: vec![0, 256], ..proto(DType::U8, &[2]) },
            TensorProto { int32_data: vec![0, -129], ..proto(DType::F8E5M2, &[2]) },
            TensorProto { int32_data: vec![0; 3], ..proto(DType::I4, &[3]) },
            TensorProto { uint64_data: vec![1 << 32], ..proto(DType::U32, &[1]) },
            TensorProto { float_data: vec![0.0; 3], ..proto(DType::Complex64, &[1]) },
            TensorProto { string_data: vec![vec![0xff].into()], ..proto(DType::String, &[1]) },
            TensorProto { raw_data: Some(vec![0; 8].into()), ..proto(DType::String, &[1]) },
            proto(DType::F32, &[-1]),
            proto(DType::F32, &[i64::MAX, i64::MAX]),
            TensorProto { data_type: 99, ..proto(DType::F32, &[0]) },
            TensorProto { data_type: 0, ..proto(DType::F32, &[0]) },
        ];
        for case in cases {
            let error = read(&case).unwrap_err();
            assert_eq!(error.kind(), ImportErrorKind::Invalid, "{error}");
            assert!(error.to_string().starts_with("tensor \"w\": "), "{error}");
        }
    }

    fn sparse(indices: &[i64], indices_dims: &[i64], values: &[f32], dims: &[i64]) -> SparseTensorProto {
        let count = i64::try_from(values.len()).unwrap();
        let values = TensorProto { float_data: values.to_vec(), ..proto(DType::F32, &[count]) };
        let indices = TensorProto { int64_data: indices.to_vec(), ..proto(DType::I64, indices_dims) };
        SparseTensorProto { values: Some(values.into()), indices: Some(indices.into()), dims: dims.to_vec() }
    }

    fn dense(proto: &SparseTensorProto) -> Result<Tensor, ImportError> {
        dense_from_sparse(proto, &ExternalFiles::none(), Memory::global())
    }

    #[test]
    fn sparse_tensors_become_dense() {
        let expected = [0.0f32, 0.0, 5.0, 0.0, 6.0, 0.0];
        for case in [sparse(&[2, 4], &[2], &[5.0, 6.0], &[2, 3]), sparse(&[0, 2, 1, 1], &[2, 2], &[5.0, 6.0], &[2, 3])]
        {
            assert_eq!(dense(&case).unwrap().as_slice::<f32>().unwrap(), &expected);
        }
    }

    #[test]
    fn sparse_tensors_do_not_amplify() {
        let error = dense(&sparse(&[0], &[1], &[1.0], &[1 << 28])).unwrap_err();
        assert_eq!(error.kind(), ImportErrorKind::Limit, "{error}");
        for case in [
            sparse(&[6], &[1], &[1.0], &[2, 3]),
            sparse(&[-1], &[1], &[1.0], &[2, 3]),
            sparse(&[0, 3], &[1, 2], &[1.0], &[2, 3]),
            sparse(&[0, 0, 0], &[1, 3], &[1.0], &[2, 3]),
            sparse(&[0, 0], &[2], &[1.0], &[2, 3]),
            SparseTensorProto { values: None, ..sparse(&[0], &[1], &[1.0], &[2]) },
        ] {
            assert_eq!(dense(&case).unwrap_err().kind(), ImportErrorKind::Invalid);
        }
    }
}
