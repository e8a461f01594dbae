//! Types in messages: `TypeProto` and `ir::Type`, both ways.

use crate::onnx::error::ImportError;
use crate::onnx::proto::tensor_shape_proto::{self, Dimension};
use crate::onnx::proto::{TensorShapeProto, TypeProto, type_proto};
use crate::onnx::tensor::dtype_from_code;
use planish_ir::{Dim, INTEGERS, STRING, Type};
use planish_tensor::DType;
use std::collections::{HashMap, HashSet};

/// The deepest nesting of sequences, optionals and maps in one type.
const MAX_TYPE_DEPTH: usize = 32;

/// The type that a message declares. What it leaves open is unknown; sparse and opaque types are unknown altogether.
pub fn type_from_proto(proto: &TypeProto) -> Result<Type, ImportError> {
    TypeReader::default().read(proto)
}

/// Reads types from messages. Each text of a dimension is understood once: a file says the same ones at every value.
#[derive(Default)]
pub struct TypeReader {
    dims: HashMap<String, Dim>,
    /// Symbols that no file gave.
    invented: HashSet<String>,
}

/// The longest name of a value that symbols are called after.
const MAX_STEM_BYTES: usize = 64;

impl TypeReader {
    /// The type that a message declares, as [`type_from_proto`] gives it.
    pub fn read(&mut self, proto: &TypeProto) -> Result<Type, ImportError> {
        self.read_nested(Some(proto), MAX_TYPE_DEPTH)
    }

    /// The type with a symbol for each dimension that it leaves open: `x.1` for axis 1 of a value x. What is computed from it
    /// can then be told apart from other unknowns.
    pub fn name_dims(&mut self, ty: Type, value: &str) -> Type {
        let Type::Tensor { dtype, shape: Some(shape) } = ty else { return ty };
        let mut stem: String = if value.len() <= MAX_STEM_BYTES { value } else { "" }
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        if !stem.starts_with(|c: char| c.is_ascii_alphabetic()) {
            stem.insert_str(0, "input");
        }
        let mut named = |(axis, dim): (usize, Dim)| {
            if !dim.is_unknown() {
                return dim;
            }
            let mut name = format!("{stem}.{axis}");
            while self.dims.contains_key(&name) || !self.invented.insert(name.clone()) {
                name.push('_');
            }
            Dim::symbol(&name)
        };
        let shape = shape.into_iter().enumerate().map(&mut named).collect();
        Type::Tensor { dtype, shape: Some(shape) }
    }

    fn read_nested(&mut self, proto: Option<&TypeProto>, depth_left: usize) -> Result<Type, ImportError> {
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(ImportError::limit(format!("a type is nested deeper than {MAX_TYPE_DEPTH}")));
        };
        let mut nested = |proto: &Option<Box<TypeProto>>| self.read_nested(proto.as_deref(), depth_left).map(Box::new);
        Ok(match proto.and_then(|p| p.value.as_ref()) {
            None => Type::Unknown,
            Some(type_proto::Value::TensorType(tensor)) => {
                let dtype = if tensor.elem_type == 0 { None } else { Some(dtype_from_code(tensor.elem_type)?) };
                let shape = tensor.shape.as_ref().map(|shape| shape.dim.iter().map(|d| self.dimension(d)).collect());
                Type::Tensor { dtype, shape }
            }
            Some(type_proto::Value::SequenceType(sequence)) => Type::Sequence(nested(&sequence.elem_type)?),
            Some(type_proto::Value::OptionalType(optional)) => Type::Optional(nested(&optional.elem_type)?),
            Some(type_proto::Value::MapType(map)) => Type::Map(read_key_type(map.key_type)?, nested(&map.value_type)?),
            Some(type_proto::Value::SparseTensorType(_) | type_proto::Value::OpaqueType(_)) => Type::Unknown,
        })
    }

    /// Some exporters write −1 for a length they do not know.
    fn dimension(&mut self, dimension: &Dimension) -> Dim {
        match &dimension.value {
            Some(tensor_shape_proto::dimension::Value::DimValue(length)) if *length >= 0 => Dim::known(*length),
            Some(tensor_shape_proto::dimension::Value::DimParam(text)) => match self.dims.get(text) {
                Some(dim) => dim.clone(),
                None => self.dims.entry(text.clone()).or_insert_with(|| Dim::parse(text)).clone(),
            },
            _ => Dim::unknown(),
        }
    }
}

/// The type of a map's keys: an integer or string.
fn read_key_type(code: i32) -> Result<DType, ImportError> {
    let dtype = dtype_from_code(code)?;
    if INTEGERS.or(STRING).contains(dtype) {
        Ok(dtype)
    } else {
        Err(ImportError::invalid(format!("expected keys of integers or strings, got {dtype}")))
    }
}

/// The message for a type; an unknown type is an empty one.
pub fn type_to_proto(ty: &Type) -> TypeProto {
    let nested = |ty: &Type| Some(Box::new(type_to_proto(ty)));
    let value = match ty {
        Type::Unknown => None,
        Type::Tensor { dtype, shape } => Some(type_proto::Value::TensorType(type_proto::Tensor {
            elem_type: dtype.map_or(0, |d| d.to_onnx()),
            shape: shape.as_ref().map(|dims| TensorShapeProto { dim: dims.iter().map(write_dimension).collect() }),
        })),
        Type::Sequence(element) => {
            Some(type_proto::Value::SequenceType(Box::new(type_proto::Sequence { elem_type: nested(element) })))
        }
        Type::Optional(element) => {
            Some(type_proto::Value::OptionalType(Box::new(type_proto::Optional { elem_type: nested(element) })))
        }
        Type::Map(key, value) => Some(type_proto::Value::MapType(Box::new(type_proto::Map {
            key_type: key.to_onnx(),
            value_type: nested(value),
        }))),
    };
    TypeProto { denotation: String::new(), value }
}

fn write_dimension(dim: &Dim) -> Dimension {
    use tensor_shape_proto::dimension::Value;
    let value = match dim.as_known() {
        Some(length) => Some(Value::DimValue(length)),
        None if dim.is_unknown() => None,
        None => Some(Value::DimParam(dim.to_string())),
    };
    Dimension { denotation: String::new(), value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_tensor::DType;

    #[test]
    fn open_dimensions_are_named_after_their_value() {
        let mut reader = TypeReader::default();
        let mut named = |name: &str| {
            let open = Type::shaped(DType::F32, [Dim::unknown(), Dim::known(3), Dim::symbol("n")]);
            reader.name_dims(open, name).to_string()
        };
        assert_eq!(named("x"), "float[x.0, 3, n]");
        assert_eq!(named("a/b"), "float[a_b.0, 3, n]");
        assert_eq!(named("a_b"), "float[a_b.0_, 3, n]");
        assert_eq!(named("7"), "float[input7.0, 3, n]");
        assert_eq!(Dim::parse("a_b.0_"), Dim::symbol("a_b.0_"));
    }

    #[test]
    fn types_survive_a_round_trip() {
        let tensor =
            Type::shaped(DType::F32, [Dim::symbol("batch"), Dim::known(3), Dim::unknown(), Dim::parse("a + b")]);
        let cases = [
            Type::Unknown,
            Type::Tensor { dtype: None, shape: None },
            Type::tensor(DType::String),
            Type::Optional(Box::new(Type::Sequence(Box::new(tensor.clone())))),
            Type::Map(DType::I64, Box::new(tensor.clone())),
            tensor,
        ];
        for ty in cases {
            assert_eq!(type_from_proto(&type_to_proto(&ty)).unwrap(), ty);
        }
    }

    #[test]
    fn deep_types_are_refused() {
        let mut ty = Type::tensor(DType::F32);
        for _ in 0..MAX_TYPE_DEPTH {
            ty = Type::Sequence(Box::new(ty));
        }
        assert!(type_from_proto(&type_to_proto(&ty)).is_err());
    }
}
