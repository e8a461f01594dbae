//! What is known of a value before anything runs: its type, its symbolic shape, its contents.

use crate::Dim;
use planish_tensor::{DType, Tensor, Value, ValueType};
use std::fmt;

/// The type of a value as far as it is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Type {
    /// Nothing is known.
    #[default]
    Unknown,
    /// A tensor, of a known dtype, perhaps of a known rank and shape.
    Tensor {
        /// The dtype, if known.
        dtype: Option<DType>,
        /// The shape, if its rank is known.
        shape: Option<Vec<Dim>>,
    },
    /// A sequence.
    Sequence(Box<Type>),
    /// A value or nothing.
    Optional(Box<Type>),
    /// A map from an integer or string type.
    Map(DType, Box<Type>),
}

impl Type {
    /// A tensor of `dtype`, its rank unknown.
    pub fn tensor(dtype: DType) -> Type {
        Type::Tensor { dtype: Some(dtype), shape: None }
    }

    /// A tensor of `dtype` and `shape`.
    pub fn shaped(dtype: DType, shape: impl IntoIterator<Item = Dim>) -> Type {
        Type::Tensor { dtype: Some(dtype), shape: Some(shape.into_iter().collect()) }
    }

    /// The dtype of a tensor.
    pub fn dtype(&self) -> Option<DType> {
        match self {
            Type::Tensor { dtype, .. } => *dtype,
            _ => None,
        }
    }

    /// The shape of a tensor of known rank.
    pub fn shape(&self) -> Option<&[Dim]> {
        match self {
            Type::Tensor { shape, .. } => shape.as_deref(),
            _ => None,
        }
    }

    /// The run-time type, where all of it is known.
    pub fn value_type(&self) -> Option<ValueType> {
        Some(match self {
            Type::Unknown => return None,
            Type::Tensor { dtype, .. } => ValueType::Tensor((*dtype)?),
            Type::Sequence(element) => ValueType::Sequence(Box::new(element.value_type()?)),
            Type::Optional(element) => ValueType::Optional(Box::new(element.value_type()?)),
            Type::Map(key, value) => ValueType::Map(*key, Box::new(value.value_type()?)),
        })
    }

    /// What both types say together: the more precise of the two at every place, or why they contradict.
    pub fn unify(&self, other: &Type) -> Result<Type, String> {
        let conflict = || format!("{self} contradicts {other}");
        Ok(match (self, other) {
            (Type::Unknown, t) | (t, Type::Unknown) => t.clone(),
            (Type::Tensor { dtype: a, shape: p }, Type::Tensor { dtype: b, shape: q }) => {
                if a.is_some() && b.is_some() && a != b {
                    return Err(conflict());
                }
                let shape = match (p, q) {
                    (Some(p), Some(q)) if p.len() == q.len() => {
                        let dims: Result<Vec<Dim>, _> = p.iter().zip(q).map(|(p, q)| Dim::unify(p, q)).collect();
                        Some(dims.map_err(|_| conflict())?)
                    }
                    (Some(_), Some(_)) => return Err(conflict()),
                    (p, q) => p.clone().or_else(|| q.clone()),
                };
                Type::Tensor { dtype: a.or(*b), shape }
            }
            (Type::Sequence(a), Type::Sequence(b)) => Type::Sequence(Box::new(a.unify(b)?)),
            (Type::Optional(a), Type::Optional(b)) => Type::Optional(Box::new(a.unify(b)?)),
            (Type::Map(k, a), Type::Map(l, b)) if k == l => Type::Map(*k, Box::new(a.unify(b)?)),
            _ => return Err(conflict()),
        })
    }

    /// What holds for a value that is of one type or the other: what both agree on.
    pub fn join(&self, other: &Type) -> Type {
        match (self, other) {
            (Type::Tensor { dtype: a, shape: p }, Type::Tensor { dtype: b, shape: q }) => {
                let shape = match (p, q) {
                    (Some(p), Some(q)) if p.len() == q.len() => {
                        let join = |(p, q): (&Dim, &Dim)| if p == q { p.clone() } else { Dim::unknown() };
                        Some(p.iter().zip(q).map(join).collect())
                    }
                    _ => None,
                };
                Type::Tensor { dtype: if a == b { *a } else { None }, shape }
            }
            (Type::Sequence(a), Type::Sequence(b)) => Type::Sequence(Box::new(a.join(b))),
            (Type::Optional(a), Type::Optional(b)) => Type::Optional(Box::new(a.join(b))),
            (Type::Map(k, a), Type::Map(l, b)) if k == l => Type::Map(*k, Box::new(a.join(b))),
            _ => Type::Unknown,
        }
    }
}

impl From<&ValueType> for Type {
    fn from(value_type: &ValueType) -> Type {
        match value_type {
            ValueType::Tensor(dtype) => Type::tensor(*dtype),
            ValueType::Sequence(element) => Type::Sequence(Box::new(element.as_ref().into())),
            ValueType::Optional(element) => Type::Optional(Box::new(element.as_ref().into())),
            ValueType::Map(key, value) => Type::Map(*key, Box::new(value.as_ref().into())),
        }
    }
}

/// Writes the type in ONNX's textual syntax: `float[batch, 3]`; a scalar is `float`, an unknown rank `float[]`, an unknown
/// dimension `?`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Unknown => f.write_str("?"),
            Type::Tensor { dtype, shape } => {
                f.write_str(dtype.map_or("?", DType::name))?;
                let Some(shape) = shape else { return f.write_str("[]") };
                if shape.is_empty() {
                    return Ok(());
                }
                f.write_str("[")?;
                for (i, dim) in shape.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    if dim.is_unknown() { f.write_str("?")? } else { write!(f, "{dim}")? }
                }
                f.write_str("]")
            }
            Type::Sequence(element) => write!(f, "seq({element})"),
            Type::Optional(element) => write!(f, "optional({element})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
        }
    }
}

/// The longest integer tensor whose contents are tracked symbolically: shapes, axes, pads and slice bounds fit.
pub const MAX_TRACKED_CONTENTS: usize = 64;

/// What is known of a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// Its type and shape.
    pub ty: Type,
    /// Its contents, where constant.
    pub constant: Option<Tensor>,
    /// The elements of a scalar or rank-1 integer tensor as expressions, where not constant but partly known.
    pub contents: Option<Vec<Dim>>,
}

impl Fact {
    /// Nothing is known.
    pub fn unknown() -> Fact {
        Fact::default()
    }

    /// Only the type is known.
    pub fn of_type(ty: Type) -> Fact {
        Fact { ty, constant: None, contents: None }
    }

    /// A tensor of `dtype`, if known, its rank unknown.
    pub fn tensor(dtype: Option<DType>) -> Fact {
        Fact::of_type(Type::Tensor { dtype, shape: None })
    }

    /// A tensor of `dtype`, if known, and `shape`.
    pub fn shaped(dtype: Option<DType>, shape: Vec<Dim>) -> Fact {
        Fact::of_type(Type::Tensor { dtype, shape: Some(shape) })
    }

    /// A constant.
    pub fn constant(tensor: Tensor) -> Fact {
        let dims = tensor.shape().iter().map(|&d| Dim::known(d as i64));
        Fact { ty: Type::shaped(tensor.dtype(), dims), constant: Some(tensor), contents: None }
    }

    /// A scalar or rank-1 `dtype` tensor (`int64` or `int32`) of these elements. More than [`MAX_TRACKED_CONTENTS`]
    /// elements are not tracked.
    pub fn integers(dtype: DType, is_scalar: bool, elements: Vec<Dim>) -> Fact {
        let shape = if is_scalar { vec![] } else { vec![Dim::known(elements.len() as i64)] };
        let contents = (elements.len() <= MAX_TRACKED_CONTENTS).then_some(elements);
        Fact { ty: Type::shaped(dtype, shape), constant: None, contents }
    }

    /// What is known of a value at hand.
    pub fn of_value(value: &Value) -> Fact {
        match value {
            Value::Tensor(tensor) => Fact::constant(tensor.clone()),
            other => Fact::of_type(Type::from(&other.value_type())),
        }
    }

    /// The dtype of a tensor.
    pub fn dtype(&self) -> Option<DType> {
        self.ty.dtype()
    }

    /// The shape of a tensor of known rank.
    pub fn shape(&self) -> Option<&[Dim]> {
        self.ty.shape()
    }

    /// The rank of a tensor.
    pub fn rank(&self) -> Option<usize> {
        self.shape().map(<[Dim]>::len)
    }

    /// The elements of a scalar or rank-1 `int64` or `int32` tensor, constant or symbolic, where they are tracked.
    pub fn elements(&self) -> Option<Vec<Dim>> {
        let Some(tensor) = &self.constant else { return self.contents.clone() };
        if tensor.rank() > 1 || tensor.num_elements() > MAX_TRACKED_CONTENTS {
            return None;
        }
        Some(constant_ints(tensor)?.into_iter().map(Dim::known).collect())
    }

    /// The elements of a constant `int64` or `int32` tensor of any size.
    pub fn known_ints(&self) -> Option<Vec<i64>> {
        match &self.constant {
            Some(tensor) => constant_ints(tensor),
            None => self.contents.as_ref()?.iter().map(Dim::as_known).collect(),
        }
    }
}

fn constant_ints(tensor: &Tensor) -> Option<Vec<i64>> {
    match tensor.dtype() {
        DType::I64 => tensor.as_slice::<i64>().ok().map(<[i64]>::to_vec),
        DType::I32 => tensor.as_slice::<i32>().ok().map(|s| s.iter().map(|&v| i64::from(v)).collect()),
        _ => None,
    }
}
