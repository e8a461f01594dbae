//! Values in files of their own: `TensorProto`, `SequenceProto`, `OptionalProto`, `MapProto`, as ONNX's test data has them.

use crate::onnx::error::ImportError;
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::{MapProto, OptionalProto, SequenceProto, TensorProto, sequence_proto};
use crate::onnx::tensor::{dtype_from_code, tensor_from_proto, tensor_to_proto};
use crate::onnx::wire::decode;
use bytes::Bytes;
use planish_ir::Type;
use planish_tensor::{DType, Map, MapKeys, Memory, Sequence, Tensor, Value, ValueType, read_file};
use prost::Message;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Sequences, optionals and maps may be nested this deeply in one another.
const MAX_VALUE_DEPTH: usize = 32;

/// Reads the value in a file, by the type that the model declares for it; an unknown type is read as a tensor.
pub fn read_value_file(path: &Path, declared: &Type) -> Result<Value, ImportError> {
    let mut file = File::open(path).map_err(|e| ImportError::io(path.display(), e))?;
    let bytes = read_file(&mut file, i32::MAX as u64).map_err(|e| ImportError::io(path.display(), e))?;
    read_value(bytes, declared)
}

/// Reads a value by its declared type. An optional may be written as what it holds.
pub fn read_value(bytes: Bytes, declared: &Type) -> Result<Value, ImportError> {
    match declared {
        Type::Unknown | Type::Tensor { .. } => tensor(&decode::<TensorProto>(bytes)?).map(Value::Tensor),
        Type::Sequence(element) => sequence(&decode::<SequenceProto>(bytes)?, element, MAX_VALUE_DEPTH),
        Type::Map(key, value) => map(&decode::<MapProto>(bytes)?, *key, value, MAX_VALUE_DEPTH),
        Type::Optional(element) => optional(&decode::<OptionalProto>(bytes)?, element, MAX_VALUE_DEPTH),
    }
}

fn tensor(proto: &TensorProto) -> Result<Tensor, ImportError> {
    tensor_from_proto(proto, &ExternalFiles::none(), Memory::global())
}

fn deeper(depth_left: usize) -> Result<usize, ImportError> {
    let too_deep = || ImportError::limit(format!("values are nested deeper than {MAX_VALUE_DEPTH}"));
    depth_left.checked_sub(1).ok_or_else(too_deep)
}

fn sequence(proto: &SequenceProto, element: &Type, depth_left: usize) -> Result<Value, ImportError> {
    let depth_left = deeper(depth_left)?;
    if !proto.sparse_tensor_values.is_empty() {
        return Err(ImportError::unsupported("sequences of sparse tensors"));
    }
    let unknown = &Type::Unknown;
    let mut items = Vec::new();
    for t in &proto.tensor_values {
        items.push(Value::Tensor(tensor(t)?));
    }
    let inner = match element {
        Type::Sequence(inner) | Type::Optional(inner) => inner,
        _ => unknown,
    };
    for s in &proto.sequence_values {
        items.push(sequence(s, inner, depth_left)?);
    }
    for o in &proto.optional_values {
        items.push(optional(o, inner, depth_left)?);
    }
    for m in &proto.map_values {
        let (key, value) = match element {
            Type::Map(key, value) => (*key, value.as_ref()),
            _ => (dtype_from_code(m.key_type)?, unknown),
        };
        items.push(map(m, key, value, depth_left)?);
    }
    Ok(Value::Sequence(Sequence { element: item_type(&items, element), items: Arc::new(items) }))
}

/// The type of the items: that of the first, else the declared one, else `float`.
fn item_type(items: &[Value], declared: &Type) -> ValueType {
    let found = items.first().map(Value::value_type);
    found.or_else(|| declared.value_type()).unwrap_or(ValueType::Tensor(DType::F32))
}

fn optional(proto: &OptionalProto, element: &Type, depth_left: usize) -> Result<Value, ImportError> {
    let depth_left = deeper(depth_left)?;
    let unknown = &Type::Unknown;
    let inner = match element {
        Type::Sequence(inner) | Type::Optional(inner) => inner,
        _ => unknown,
    };
    let held = if let Some(t) = &proto.tensor_value {
        Some(Value::Tensor(tensor(t)?))
    } else if let Some(s) = &proto.sequence_value {
        Some(sequence(s, inner, depth_left)?)
    } else if let Some(o) = &proto.optional_value {
        Some(optional(o, inner, depth_left)?)
    } else if let Some(m) = &proto.map_value {
        Some(map(m, dtype_from_code(m.key_type)?, unknown, depth_left)?)
    } else {
        None
    };
    let ty = item_type(held.as_slice(), element);
    Ok(Value::Optional(ty, held.map(Arc::new)))
}

fn map(proto: &MapProto, key: DType, value: &Type, depth_left: usize) -> Result<Value, ImportError> {
    let depth_left = deeper(depth_left)?;
    let keys = if key == DType::String {
        let keys: Result<Vec<String>, _> = proto.string_keys.iter().map(|k| super::tensor::utf8(k)).collect();
        MapKeys::Strings(Arc::new(keys?))
    } else {
        MapKeys::Ints(Arc::new(proto.keys.clone()))
    };
    let values = match proto.values.as_ref().map(|v| sequence(v, value, depth_left)).transpose()? {
        Some(Value::Sequence(sequence)) => sequence.items,
        _ => Arc::new(Vec::new()),
    };
    let count = match &keys {
        MapKeys::Ints(keys) => keys.len(),
        MapKeys::Strings(keys) => keys.len(),
    };
    if count != values.len() {
        return Err(ImportError::invalid(format!("a map has {count} keys and {} values", values.len())));
    }
    let element = item_type(&values, value);
    Ok(Value::Map(Map { keys, values, element }))
}

/// The bytes of a file that holds `value`.
pub fn write_value(value: &Value, name: &str) -> Vec<u8> {
    match value {
        Value::Tensor(tensor) => tensor_to_proto(name, tensor).encode_to_vec(),
        Value::Sequence(sequence) => sequence_to_proto(sequence, name).encode_to_vec(),
        Value::Optional(_, held) => optional_to_proto(held.as_deref(), name).encode_to_vec(),
        Value::Map(map) => map_to_proto(map, name).encode_to_vec(),
    }
}

fn sequence_to_proto(sequence: &Sequence, name: &str) -> SequenceProto {
    let mut proto = SequenceProto { name: name.to_owned(), ..SequenceProto::default() };
    proto.elem_type = kind_of(&sequence.element).into();
    for item in sequence.items.iter() {
        match item {
            Value::Tensor(t) => proto.tensor_values.push(tensor_to_proto("", t)),
            Value::Sequence(s) => proto.sequence_values.push(sequence_to_proto(s, "")),
            Value::Optional(_, held) => proto.optional_values.push(optional_to_proto(held.as_deref(), "")),
            Value::Map(m) => proto.map_values.push(map_to_proto(m, "")),
        }
    }
    proto
}

fn kind_of(ty: &ValueType) -> sequence_proto::DataType {
    match ty {
        ValueType::Tensor(_) => sequence_proto::DataType::Tensor,
        ValueType::Sequence(_) => sequence_proto::DataType::Sequence,
        ValueType::Optional(_) => sequence_proto::DataType::Optional,
        ValueType::Map(..) => sequence_proto::DataType::Map,
    }
}

fn optional_to_proto(held: Option<&Value>, name: &str) -> OptionalProto {
    let mut proto = OptionalProto { name: name.to_owned(), ..OptionalProto::default() };
    let Some(held) = held else { return proto };
    proto.elem_type = kind_of(&held.value_type()).into();
    match held {
        Value::Tensor(t) => proto.tensor_value = Some(tensor_to_proto("", t).into()),
        Value::Sequence(s) => proto.sequence_value = Some(sequence_to_proto(s, "")),
        Value::Optional(_, inner) => proto.optional_value = Some(Box::new(optional_to_proto(inner.as_deref(), ""))),
        Value::Map(m) => proto.map_value = Some(map_to_proto(m, "")),
    }
    proto
}

fn map_to_proto(map: &Map, name: &str) -> MapProto {
    let values = Sequence { element: map.element.clone(), items: map.values.clone() };
    let mut proto = MapProto { name: name.to_owned(), ..MapProto::default() };
    proto.values = Some(sequence_to_proto(&values, ""));
    match &map.keys {
        MapKeys::Ints(keys) => {
            proto.key_type = DType::I64.to_onnx();
            proto.keys.clone_from(keys);
        }
        MapKeys::Strings(keys) => {
            proto.key_type = DType::String.to_onnx();
            proto.string_keys = keys.iter().map(|k| Bytes::copy_from_slice(k.as_bytes())).collect();
        }
    }
    proto
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_a_round_trip() {
        let numbers = Value::Tensor(Tensor::vector(&[1f32, 2.0]));
        let sequence =
            Value::Sequence(Sequence { element: numbers.value_type(), items: Arc::new(vec![numbers.clone()]) });
        let map = Value::Map(Map {
            keys: MapKeys::Strings(Arc::new(vec!["a".to_owned()])),
            values: Arc::new(vec![numbers.clone()]),
            element: numbers.value_type(),
        });
        let optional = Value::Optional(sequence.value_type(), Some(Arc::new(sequence.clone())));
        for value in [numbers, sequence, map, optional] {
            let declared = Type::from(&value.value_type());
            assert_eq!(read_value(write_value(&value, "v").into(), &declared).unwrap(), value);
        }
    }
}
