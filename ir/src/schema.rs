//! What an operator is from the outside: its name, its formal inputs and outputs, its attributes.
//!
//! Import dispatch, arity and dtype checks, `planish ops`, the support table and test generators all read schemas.

use crate::AttributeKind;
use planish_tensor::DType;
use std::fmt;

/// The default domain's name; ONNX writes it as the empty string.
pub const ONNX_DOMAIN: &str = "";

/// An operator's signature in the one form that graphs hold, its newest.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The domain; empty for ONNX's own.
    pub domain: &'static str,
    /// The operator's name.
    pub name: &'static str,
    /// The opset version that brought this form.
    pub since: u32,
    /// Formal inputs, in order. Only the last may be variadic.
    pub inputs: &'static [Formal],
    /// Formal outputs, in order. Only the last may be variadic.
    pub outputs: &'static [Formal],
    /// Attributes.
    pub attributes: &'static [AttributeDef],
}

impl Schema {
    /// An operator of ONNX's own domain, without inputs, outputs or attributes yet.
    pub const fn new(name: &'static str, since: u32) -> Schema {
        Schema { domain: ONNX_DOMAIN, name, since, inputs: &[], outputs: &[], attributes: &[] }
    }

    /// The same in another domain.
    pub const fn domain(self, domain: &'static str) -> Schema {
        Schema { domain, ..self }
    }

    /// With these formal inputs.
    pub const fn inputs(self, inputs: &'static [Formal]) -> Schema {
        Schema { inputs, ..self }
    }

    /// With these formal outputs.
    pub const fn outputs(self, outputs: &'static [Formal]) -> Schema {
        Schema { outputs, ..self }
    }

    /// With these attributes.
    pub const fn attributes(self, attributes: &'static [AttributeDef]) -> Schema {
        Schema { attributes, ..self }
    }

    /// The definition of attribute `name`.
    pub fn attribute(&self, name: &str) -> Option<&'static AttributeDef> {
        self.attributes.iter().find(|a| a.name == name)
    }

    /// The formal input that actual input `index` belongs to.
    pub fn input(&self, index: usize) -> Option<&'static Formal> {
        formal(self.inputs, index)
    }

    /// The formal output that actual output `index` belongs to.
    pub fn output(&self, index: usize) -> Option<&'static Formal> {
        formal(self.outputs, index)
    }

    /// The fewest and most inputs.
    pub fn input_arity(&self) -> (usize, usize) {
        arity(self.inputs)
    }

    /// The fewest and most outputs.
    pub fn output_arity(&self) -> (usize, usize) {
        arity(self.outputs)
    }
}

fn formal(formals: &'static [Formal], index: usize) -> Option<&'static Formal> {
    formals.get(index).or_else(|| formals.last().filter(|f| matches!(f.kind, FormalKind::Variadic { .. })))
}

fn arity(formals: &[Formal]) -> (usize, usize) {
    let last_required = formals.iter().rposition(|f| f.kind == FormalKind::Required).map_or(0, |i| i + 1);
    match formals.last().map(|f| f.kind) {
        Some(FormalKind::Variadic { least, .. }) => (last_required.max(formals.len() - 1 + least), usize::MAX),
        _ => (last_required, formals.len()),
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.domain.is_empty() {
            write!(f, "{}::", self.domain)?;
        }
        f.write_str(self.name)
    }
}

/// A formal input or output.
#[derive(Clone, Copy, Debug)]
pub struct Formal {
    /// ONNX's name for it.
    pub name: &'static str,
    /// What it may hold.
    pub types: Types,
    /// Whether and how often it occurs.
    pub kind: FormalKind,
    /// ONNX's type variable (`"T"`): formals with the same one have the same dtype. Empty where the type stands alone.
    pub variable: &'static str,
}

/// Whether and how often a formal input or output occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormalKind {
    /// Exactly once.
    Required,
    /// At most once; may be absent in the middle of the list.
    Optional,
    /// Any number of times, at least `least`; of one type if `homogeneous`.
    Variadic {
        /// The fewest.
        least: usize,
        /// Whether all are of the same type.
        homogeneous: bool,
    },
}

/// A required formal input or output of a fixed set of types.
pub const fn arg(name: &'static str, types: Types) -> Formal {
    Formal { name, types, kind: FormalKind::Required, variable: "" }
}

/// An optional formal input or output of a fixed set of types.
pub const fn opt(name: &'static str, types: Types) -> Formal {
    Formal { name, types, kind: FormalKind::Optional, variable: "" }
}

/// A variadic formal input or output, all of one type, at least `least` times.
pub const fn variadic(name: &'static str, types: Types, least: usize) -> Formal {
    Formal { name, types, kind: FormalKind::Variadic { least, homogeneous: true }, variable: "" }
}

/// A variadic formal input or output whose members may differ in type, at least `least` times.
pub const fn mixed_variadic(name: &'static str, types: Types, least: usize) -> Formal {
    Formal { name, types, kind: FormalKind::Variadic { least, homogeneous: false }, variable: "" }
}

impl Formal {
    /// The same, bound to the type variable `variable`.
    pub const fn var(self, variable: &'static str) -> Formal {
        Formal { variable, ..self }
    }
}

/// A set of types: tensors of some dtypes, and whether sequences, optionals or maps are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types(u64);

impl Types {
    /// No type at all.
    pub const NONE: Types = Types(0);
    /// Any sequence.
    pub const SEQUENCE: Types = Types(1 << 60);
    /// Any optional.
    pub const OPTIONAL: Types = Types(1 << 61);
    /// Any map.
    pub const MAP: Types = Types(1 << 62);

    /// Tensors of these dtypes.
    pub const fn of(dtypes: &[DType]) -> Types {
        let mut bits = 0;
        let mut i = 0;
        while i < dtypes.len() {
            bits |= 1 << dtypes[i].to_onnx();
            i += 1;
        }
        Types(bits)
    }

    /// The union of both sets.
    pub const fn or(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }

    /// This set without `other`'s members.
    pub const fn without(self, other: Types) -> Types {
        Types(self.0 & !other.0)
    }

    /// Whether tensors of `dtype` are in the set.
    pub const fn contains(self, dtype: DType) -> bool {
        self.0 & (1 << dtype.to_onnx()) != 0
    }

    /// Whether `other` is a subset.
    pub const fn includes(self, other: Types) -> bool {
        self.0 & other.0 == other.0
    }

    /// The dtypes in the set, in ONNX's order.
    pub fn dtypes(self) -> impl Iterator<Item = DType> {
        DType::ALL.into_iter().filter(move |&d| self.contains(d))
    }
}

/// `float`, `double`, `float16`, `bfloat16`.
pub const FLOATS: Types = Types::of(&[DType::F32, DType::F64, DType::F16, DType::BF16]);
/// `int8` to `int64`.
pub const SIGNED: Types = Types::of(&[DType::I8, DType::I16, DType::I32, DType::I64]);
/// `uint8` to `uint64`.
pub const UNSIGNED: Types = Types::of(&[DType::U8, DType::U16, DType::U32, DType::U64]);
/// `int32` and `int64`, the index types.
pub const INDICES: Types = Types::of(&[DType::I32, DType::I64]);
/// `int64` alone.
pub const INT64: Types = Types::of(&[DType::I64]);
/// `bool` alone.
pub const BOOL: Types = Types::of(&[DType::Bool]);
/// `string` alone.
pub const STRING: Types = Types::of(&[DType::String]);
/// `float` alone.
pub const FLOAT: Types = Types::of(&[DType::F32]);
/// All integers of 8 bits and more.
pub const INTEGERS: Types = SIGNED.or(UNSIGNED);
/// All integers of 8 bits and more, and floats of 16 bits and more.
pub const NUMERIC: Types = INTEGERS.or(FLOATS);
/// `complex64` and `complex128`.
pub const COMPLEX: Types = Types::of(&[DType::Complex64, DType::Complex128]);
/// The 8-bit floats.
pub const FLOAT8: Types = Types::of(&[DType::F8E4M3FN, DType::F8E4M3FNUZ, DType::F8E5M2, DType::F8E5M2FNUZ]);
/// Every dtype that ONNX had before its 8-bit floats: what operators take that move elements and are no newer.
pub const CLASSIC_TENSORS: Types = NUMERIC.or(BOOL).or(STRING).or(COMPLEX);
/// Every dtype of ONNX.
pub const ALL_TENSORS: Types = Types::of(&DType::ALL);
/// Every tensor, sequence, optional and map.
pub const ANY: Types = ALL_TENSORS.or(Types::SEQUENCE).or(Types::OPTIONAL).or(Types::MAP);

/// An attribute that an operator takes.
#[derive(Clone, Copy, Debug)]
pub struct AttributeDef {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: AttributeKind,
    /// What stands for it when a node does not have it.
    pub default: AttributeDefault,
}

/// What stands for an attribute that a node does not have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttributeDefault {
    /// Nothing: a node without it is wrong.
    Required,
    /// Its absence, which means something of its own.
    Absent,
    /// An integer.
    Int(i64),
    /// A number.
    Float(f32),
    /// A string.
    String(&'static str),
    /// A list of integers.
    Ints(&'static [i64]),
    /// A list of numbers.
    Floats(&'static [f32]),
}

/// An attribute that must be there.
pub const fn required(name: &'static str, kind: AttributeKind) -> AttributeDef {
    AttributeDef { name, kind, default: AttributeDefault::Required }
}

/// An attribute whose absence means something of its own.
pub const fn optional(name: &'static str, kind: AttributeKind) -> AttributeDef {
    AttributeDef { name, kind, default: AttributeDefault::Absent }
}

/// An integer attribute with a default.
pub const fn int(name: &'static str, default: i64) -> AttributeDef {
    AttributeDef { name, kind: AttributeKind::Int, default: AttributeDefault::Int(default) }
}

/// A float attribute with a default.
pub const fn float(name: &'static str, default: f32) -> AttributeDef {
    AttributeDef { name, kind: AttributeKind::Float, default: AttributeDefault::Float(default) }
}

/// A string attribute with a default.
pub const fn string(name: &'static str, default: &'static str) -> AttributeDef {
    AttributeDef { name, kind: AttributeKind::String, default: AttributeDefault::String(default) }
}

/// A list-of-integers attribute with a default.
pub const fn ints(name: &'static str, default: &'static [i64]) -> AttributeDef {
    AttributeDef { name, kind: AttributeKind::Ints, default: AttributeDefault::Ints(default) }
}

/// A list-of-numbers attribute with a default.
pub const fn floats(name: &'static str, default: &'static [f32]) -> AttributeDef {
    AttributeDef { name, kind: AttributeKind::Floats, default: AttributeDefault::Floats(default) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIP: Schema = Schema::new("Clip", 13)
        .inputs(&[arg("input", NUMERIC).var("T"), opt("min", NUMERIC).var("T"), opt("max", NUMERIC).var("T")])
        .outputs(&[arg("output", NUMERIC).var("T")]);
    const CONCAT: Schema = Schema::new("Concat", 13)
        .inputs(&[variadic("inputs", ALL_TENSORS, 1).var("T")])
        .outputs(&[arg("concat_result", ALL_TENSORS).var("T")])
        .attributes(&[required("axis", AttributeKind::Int)]);

    #[test]
    fn arity_follows_from_formals() {
        assert_eq!(CLIP.input_arity(), (1, 3));
        assert_eq!(CONCAT.input_arity(), (1, usize::MAX));
        assert_eq!(CONCAT.input(7).map(|f| f.name), Some("inputs"));
        assert!(CLIP.input(3).is_none());
    }

    #[test]
    fn type_sets_know_their_members() {
        assert!(NUMERIC.contains(DType::BF16) && !NUMERIC.contains(DType::Bool));
        assert_eq!(BOOL.or(STRING).dtypes().count(), 2);
        assert!(ANY.includes(NUMERIC));
    }
}
