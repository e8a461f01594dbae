//! What one edge of a graph can carry: tensors, and ONNX's sequences, optionals and maps.

use crate::{DType, Tensor};
use std::fmt;
use std::sync::Arc;

/// The type of a [`Value`], shapes left aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A tensor.
    Tensor(DType),
    /// A sequence of values of one type.
    Sequence(Box<ValueType>),
    /// A value or nothing.
    Optional(Box<ValueType>),
    /// A map from keys of an integer or string type.
    Map(DType, Box<ValueType>),
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueType::Tensor(dtype) => dtype.fmt(f),
            ValueType::Sequence(element) => write!(f, "seq({element})"),
            ValueType::Optional(element) => write!(f, "optional({element})"),
            ValueType::Map(key, value) => write!(f, "map({key}, {value})"),
        }
    }
}

/// A value at run time. Cloning shares the contents.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A tensor.
    Tensor(Tensor),
    /// A sequence.
    Sequence(Sequence),
    /// A value of the type or nothing.
    Optional(ValueType, Option<Arc<Value>>),
    /// A map.
    Map(Map),
}

/// An ordered list of values of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequence {
    /// The type of each item.
    pub element: ValueType,
    /// The items.
    pub items: Arc<Vec<Value>>,
}

/// A map from unique keys to values: `values[i]` belongs to the `i`-th key.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// The keys.
    pub keys: MapKeys,
    /// The values, a rank-1 tensor for maps to numbers and strings.
    pub values: Arc<Vec<Value>>,
    /// The type of each value.
    pub element: ValueType,
}

/// The keys of a [`Map`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapKeys {
    /// `int64` keys (ONNX's narrower integer keys are widened).
    Ints(Arc<Vec<i64>>),
    /// String keys.
    Strings(Arc<Vec<String>>),
}

impl Value {
    /// The value's type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Value::Tensor(tensor) => ValueType::Tensor(tensor.dtype()),
            Value::Sequence(sequence) => ValueType::Sequence(Box::new(sequence.element.clone())),
            Value::Optional(element, _) => ValueType::Optional(Box::new(element.clone())),
            Value::Map(map) => {
                let key = match map.keys {
                    MapKeys::Ints(_) => DType::I64,
                    MapKeys::Strings(_) => DType::String,
                };
                ValueType::Map(key, Box::new(map.element.clone()))
            }
        }
    }

    /// The tensor, where this is one.
    pub fn as_tensor(&self) -> Option<&Tensor> {
        match self {
            Value::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The tensor, where this is one.
    pub fn into_tensor(self) -> Option<Tensor> {
        match self {
            Value::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Value {
        Value::Tensor(tensor)
    }
}
