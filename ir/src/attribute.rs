//! Node attributes: constants written into a node instead of flowing to it.

use crate::{Graph, Type};
use planish_tensor::Tensor;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The value of one attribute (`AttributeProto`). Numbers are equal if their bits are, as elements of tensors are.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the variants are ONNX's names")]
pub enum Attribute {
    Int(i64),
    Float(f32),
    String(String),
    Tensor(Tensor),
    Graph(Arc<Graph>),
    Type(Type),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
    Tensors(Vec<Tensor>),
    Graphs(Vec<Arc<Graph>>),
    Types(Vec<Type>),
}

/// The kind of an attribute, as schemas declare it (`AttributeProto.AttributeType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are ONNX's names")]
pub enum AttributeKind {
    Int,
    Float,
    String,
    Tensor,
    Graph,
    Type,
    Ints,
    Floats,
    Strings,
    Tensors,
    Graphs,
    Types,
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Attribute) -> bool {
        match (self, other) {
            (Attribute::Int(a), Attribute::Int(b)) => a == b,
            (Attribute::Float(a), Attribute::Float(b)) => a.to_bits() == b.to_bits(),
            (Attribute::String(a), Attribute::String(b)) => a == b,
            (Attribute::Tensor(a), Attribute::Tensor(b)) => a == b,
            (Attribute::Graph(a), Attribute::Graph(b)) => a == b,
            (Attribute::Type(a), Attribute::Type(b)) => a == b,
            (Attribute::Ints(a), Attribute::Ints(b)) => a == b,
            (Attribute::Floats(a), Attribute::Floats(b)) => {
                a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
            }
            (Attribute::Strings(a), Attribute::Strings(b)) => a == b,
            (Attribute::Tensors(a), Attribute::Tensors(b)) => a == b,
            (Attribute::Graphs(a), Attribute::Graphs(b)) => a == b,
            (Attribute::Types(a), Attribute::Types(b)) => a == b,
            _ => false,
        }
    }
}

impl Attribute {
    /// The attribute's kind.
    pub fn kind(&self) -> AttributeKind {
        match self {
            Attribute::Int(_) => AttributeKind::Int,
            Attribute::Float(_) => AttributeKind::Float,
            Attribute::String(_) => AttributeKind::String,
            Attribute::Tensor(_) => AttributeKind::Tensor,
            Attribute::Graph(_) => AttributeKind::Graph,
            Attribute::Type(_) => AttributeKind::Type,
            Attribute::Ints(_) => AttributeKind::Ints,
            Attribute::Floats(_) => AttributeKind::Floats,
            Attribute::Strings(_) => AttributeKind::Strings,
            Attribute::Tensors(_) => AttributeKind::Tensors,
            Attribute::Graphs(_) => AttributeKind::Graphs,
            Attribute::Types(_) => AttributeKind::Types,
        }
    }

    /// The graphs held by this attribute.
    pub fn graphs(&self) -> &[Arc<Graph>] {
        match self {
            Attribute::Graph(graph) => std::slice::from_ref(graph),
            Attribute::Graphs(graphs) => graphs,
            _ => &[],
        }
    }
}

impl From<i64> for Attribute {
    fn from(v: i64) -> Self {
        Attribute::Int(v)
    }
}

impl From<f32> for Attribute {
    fn from(v: f32) -> Self {
        Attribute::Float(v)
    }
}

impl From<&str> for Attribute {
    fn from(v: &str) -> Self {
        Attribute::String(v.to_owned())
    }
}

impl From<Tensor> for Attribute {
    fn from(v: Tensor) -> Self {
        Attribute::Tensor(v)
    }
}

impl From<Vec<i64>> for Attribute {
    fn from(v: Vec<i64>) -> Self {
        Attribute::Ints(v)
    }
}

impl From<Vec<f32>> for Attribute {
    fn from(v: Vec<f32>) -> Self {
        Attribute::Floats(v)
    }
}

/// A node's attributes by name, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(BTreeMap<String, Attribute>);

impl Attributes {
    /// No attributes.
    pub fn new() -> Attributes {
        Attributes::default()
    }

    /// These attributes and `name = value`, in place of an older value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Attributes {
        self.set(name, value);
        self
    }

    /// Sets `name` to `value`.
    pub fn set(&mut self, name: &str, value: impl Into<Attribute>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Takes `name` out.
    pub fn remove(&mut self, name: &str) -> Option<Attribute> {
        self.0.remove(name)
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.get(name)
    }

    /// All attributes, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of attributes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Every graph held by an attribute, by attribute name.
    pub fn graphs(&self) -> impl Iterator<Item = &Arc<Graph>> {
        self.0.values().flat_map(|a| a.graphs())
    }
}
