//! The operator a node holds: its name and attributes as data, and the object that infers and evaluates.

use crate::{
    Attribute, AttributeDef, AttributeDefault, Attributes, Dim, EvalCx, Fact, Graph, Inputs, OpError, Outputs, Schema,
};
use planish_tensor::{DType, Tensor};
use std::fmt;
use std::sync::Arc;

/// What a graph node computes, from attributes already parsed and checked.
///
/// Implementations live in the `ops` crate, one file an operator.
pub trait Op: fmt::Debug + Send + Sync + 'static {
    /// What is known of the outputs, from what is known of the inputs. Never needs values, never allocates by the
    /// size of a tensor. An input that is absent or of unknown type is no reason to fail: the answer then holds less.
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError>;

    /// Computes the outputs. Inputs come in the schema's order, checked for arity and dtype; captured values of
    /// subgraphs follow.
    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError>;

    /// Multiply-accumulate operations, as a formula of the shapes.
    fn macs(&self, _inputs: &Facts<'_>, _outputs: &[Fact]) -> Dim {
        Dim::known(0)
    }

    /// An equivalent operator that holds what it prepared from constant inputs (packed weights) for inputs of the types that
    /// are known, or `None` where there is nothing to gain. It is given the same inputs, but constants that it names in
    /// `dropped` may be absent.
    fn prepare(&self, _cx: &EvalCx<'_>, _x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        Ok(None)
    }

    /// Like [`Op::prepare`], where the constant at `input` is the transpose of `matrix`: what can pack it as it lies
    /// spares memory a copy of it.
    fn prepare_transposed(
        &self,
        _cx: &EvalCx<'_>,
        _input: usize,
        _matrix: &Tensor,
    ) -> Result<Option<Prepared>, OpError> {
        Ok(None)
    }

    /// Whether equal inputs always give equal outputs. Random operators say no: they are neither folded nor merged.
    fn is_deterministic(&self) -> bool {
        true
    }
}

/// What [`Op::prepare`] made of an operator and its constant inputs.
#[derive(Debug)]
pub struct Prepared {
    /// The operator to run instead.
    pub op: Arc<dyn Op>,
    /// Indices of inputs that it no longer reads.
    pub dropped: Vec<usize>,
}

/// What is known of a node's inputs, and how many outputs it has.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    inputs: &'a [Option<&'a Fact>],
    num_outputs: usize,
}

impl<'a> Facts<'a> {
    /// Facts of `inputs`; `None` for an absent optional input.
    pub fn new(inputs: &'a [Option<&'a Fact>], num_outputs: usize) -> Facts<'a> {
        Facts { inputs, num_outputs }
    }

    /// The number of inputs, absent ones included, captured values too.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether there are no inputs.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The number of outputs that the node declares.
    pub fn num_outputs(&self) -> usize {
        self.num_outputs
    }

    /// Whether input `index` is there.
    pub fn has(&self, index: usize) -> bool {
        self.get(index).is_some()
    }

    /// What is known of input `index`, where it is there.
    pub fn get(&self, index: usize) -> Option<&'a Fact> {
        self.inputs.get(index).copied().flatten()
    }

    /// The dtype of input `index`, where it is there and known.
    pub fn dtype(&self, index: usize) -> Option<DType> {
        self.get(index)?.dtype()
    }

    /// The shape of input `index`, where it is there and of known rank.
    pub fn shape(&self, index: usize) -> Option<&'a [Dim]> {
        self.get(index)?.shape()
    }

    /// The rank of input `index`, where it is there and known.
    pub fn rank(&self, index: usize) -> Option<usize> {
        self.get(index)?.rank()
    }

    /// The elements of a small integer input, as expressions. See [`Fact::elements`].
    pub fn elements(&self, index: usize) -> Option<Vec<Dim>> {
        self.get(index)?.elements()
    }

    /// The elements of an integer input, where all are known. See [`Fact::known_ints`].
    pub fn known_ints(&self, index: usize) -> Option<Vec<i64>> {
        self.get(index)?.known_ints()
    }

    /// The contents of a constant input.
    pub fn constant(&self, index: usize) -> Option<&'a Tensor> {
        self.get(index)?.constant.as_ref()
    }

    /// All inputs.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a Fact>> {
        self.inputs.iter().copied()
    }
}

/// Inputs whose shapes or types contradict each other or the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferError(pub String);

impl InferError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> InferError {
        InferError(message.into())
    }
}

impl fmt::Display for InferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InferError {}

/// A node's operator: what the file says and, where planish has it, what runs.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The domain; empty for ONNX's own.
    pub domain: String,
    /// The operator's name.
    pub name: String,
    /// The attributes, in the canonical form of the newest schema.
    pub attributes: Attributes,
    /// What runs.
    pub implementation: Implementation,
}

/// What stands behind an operator's name.
#[derive(Clone, Debug)]
pub enum Implementation {
    /// An operator that planish runs.
    Op {
        /// Its signature.
        schema: &'static Schema,
        /// The parsed object.
        op: Arc<dyn Op>,
    },
    /// One that it does not, and why. Such a node can be looked at and written back, not run.
    Unsupported(String),
}

impl Operator {
    /// The object that infers and evaluates, where planish has one.
    pub fn op(&self) -> Option<&Arc<dyn Op>> {
        match &self.implementation {
            Implementation::Op { op, .. } => Some(op),
            Implementation::Unsupported(_) => None,
        }
    }

    /// The signature, where planish knows the operator.
    pub fn schema(&self) -> Option<&'static Schema> {
        match &self.implementation {
            Implementation::Op { schema, .. } => Some(schema),
            Implementation::Unsupported(_) => None,
        }
    }

    /// Whether this is `name` of ONNX's own domain.
    pub fn is(&self, name: &str) -> bool {
        self.domain.is_empty() && self.name == name
    }

    /// `Conv`, `com.microsoft::FusedConv`: the name, with the domain where it is not ONNX's own.
    pub fn full_name(&self) -> String {
        if self.domain.is_empty() { self.name.clone() } else { format!("{}::{}", self.domain, self.name) }
    }

    /// The bodies held in attributes, in the order of the attributes' names.
    pub fn subgraphs(&self) -> impl Iterator<Item = &Arc<Graph>> {
        self.attributes.graphs()
    }
}

/// Equality of name, domain and attributes; the implementation follows from them.
impl PartialEq for Operator {
    fn eq(&self, other: &Operator) -> bool {
        (&self.domain, &self.name, &self.attributes) == (&other.domain, &other.name, &other.attributes)
    }
}

/// Turns names and attributes into operators. The `ops` crate has the one registry of planish; importers and the text
/// parser are given it.
pub trait Registry: Send + Sync {
    /// The newest signature of an operator.
    fn schema(&self, domain: &str, name: &str) -> Option<&'static Schema>;

    /// The operator for a node of this many inputs and outputs, its attributes checked against the signature and parsed.
    ///
    /// An operator, attribute value or combination that planish lacks is not an error but an operator whose
    /// implementation is [`Implementation::Unsupported`].
    fn operator(
        &self,
        domain: &str,
        name: &str,
        attributes: Attributes,
        num_inputs: usize,
        num_outputs: usize,
    ) -> Result<Operator, AttributeError>;
}

/// Why a node's attributes, or its numbers of inputs and outputs, do not fit its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttributeError {
    /// The attributes are wrong by the standard.
    Invalid(String),
    /// They are right, but planish cannot run them.
    Unsupported(String),
}

impl AttributeError {
    /// An error of the model.
    pub fn invalid(message: impl Into<String>) -> AttributeError {
        AttributeError::Invalid(message.into())
    }

    /// A feature that planish lacks.
    pub fn unsupported(message: impl Into<String>) -> AttributeError {
        AttributeError::Unsupported(message.into())
    }
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributeError::Invalid(message) => f.write_str(message),
            AttributeError::Unsupported(message) => write!(f, "unsupported: {message}"),
        }
    }
}

impl std::error::Error for AttributeError {}

/// A node as an operator's parser sees it: attributes with the schema's defaults, numbers of inputs and outputs.
#[derive(Clone, Copy)]
pub struct NodeView<'a> {
    schema: &'static Schema,
    attributes: &'a Attributes,
    /// The number of inputs, trailing absent ones left out.
    pub num_inputs: usize,
    /// The number of outputs.
    pub num_outputs: usize,
}

impl<'a> NodeView<'a> {
    /// Checks the attributes' names and kinds, and the numbers of inputs and outputs, against `schema`.
    pub fn new(
        schema: &'static Schema,
        attributes: &'a Attributes,
        num_inputs: usize,
        num_outputs: usize,
    ) -> Result<NodeView<'a>, AttributeError> {
        for (name, value) in attributes.iter() {
            let Some(def) = schema.attribute(name) else {
                return Err(AttributeError::invalid(format!("{schema} has no attribute {name:?}")));
            };
            if value.kind() != def.kind {
                let (expected, got) = (def.kind, value.kind());
                return Err(AttributeError::invalid(format!("attribute {name:?}: expected {expected:?}, got {got:?}")));
            }
        }
        if let Some(def) = schema.attributes.iter().find(|def| is_missing(def, attributes)) {
            return Err(AttributeError::invalid(format!("attribute {:?} is required", def.name)));
        }
        check_arity("inputs", schema.input_arity(), num_inputs)?;
        check_arity("outputs", schema.output_arity(), num_outputs)?;
        Ok(NodeView { schema, attributes, num_inputs, num_outputs })
    }

    /// The attribute, or nothing if the node does not have it; defaults are left aside.
    pub fn get(&self, name: &str) -> Option<&'a Attribute> {
        self.attributes.get(name)
    }

    fn default(&self, name: &str) -> AttributeDefault {
        let def = self.schema.attribute(name);
        debug_assert!(def.is_some(), "{} declares no attribute {name}", self.schema);
        def.map_or(AttributeDefault::Absent, |def| def.default)
    }

    /// An integer, if the node has it or the schema gives it a default.
    pub fn opt_int(&self, name: &str) -> Option<i64> {
        match (self.get(name), self.default(name)) {
            (Some(Attribute::Int(v)), _) => Some(*v),
            (None, AttributeDefault::Int(v)) => Some(v),
            _ => None,
        }
    }

    /// A number, if the node has it or the schema gives it a default.
    pub fn opt_float(&self, name: &str) -> Option<f32> {
        match (self.get(name), self.default(name)) {
            (Some(Attribute::Float(v)), _) => Some(*v),
            (None, AttributeDefault::Float(v)) => Some(v),
            _ => None,
        }
    }

    /// A string, if the node has it or the schema gives it a default.
    pub fn opt_string(&self, name: &str) -> Option<&'a str> {
        match (self.get(name), self.default(name)) {
            (Some(Attribute::String(v)), _) => Some(v),
            (None, AttributeDefault::String(v)) => Some(v),
            _ => None,
        }
    }

    /// A list of integers, if the node has it or the schema gives it a default.
    pub fn opt_ints(&self, name: &str) -> Option<&'a [i64]> {
        match (self.get(name), self.default(name)) {
            (Some(Attribute::Ints(v)), _) => Some(v),
            (None, AttributeDefault::Ints(v)) => Some(v),
            _ => None,
        }
    }

    /// A list of numbers, if the node has it or the schema gives it a default.
    pub fn opt_floats(&self, name: &str) -> Option<&'a [f32]> {
        match (self.get(name), self.default(name)) {
            (Some(Attribute::Floats(v)), _) => Some(v),
            (None, AttributeDefault::Floats(v)) => Some(v),
            _ => None,
        }
    }

    /// A list of strings, if the node has it.
    pub fn opt_strings(&self, name: &str) -> Option<&'a [String]> {
        match self.get(name) {
            Some(Attribute::Strings(v)) => Some(v),
            _ => None,
        }
    }

    /// A tensor, if the node has it.
    pub fn opt_tensor(&self, name: &str) -> Option<&'a Tensor> {
        match self.get(name) {
            Some(Attribute::Tensor(v)) => Some(v),
            _ => None,
        }
    }

    /// An integer that is required or has a default.
    pub fn int(&self, name: &str) -> Result<i64, AttributeError> {
        self.opt_int(name).ok_or_else(|| missing(name))
    }

    /// A flag: an integer where anything but 0 is true, as in ONNX.
    pub fn flag(&self, name: &str) -> Result<bool, AttributeError> {
        Ok(self.int(name)? != 0)
    }

    /// A number that is required or has a default.
    pub fn float(&self, name: &str) -> Result<f32, AttributeError> {
        self.opt_float(name).ok_or_else(|| missing(name))
    }

    /// A string that is required or has a default.
    pub fn string(&self, name: &str) -> Result<&'a str, AttributeError> {
        self.opt_string(name).ok_or_else(|| missing(name))
    }

    /// A list of integers that is required or has a default.
    pub fn ints(&self, name: &str) -> Result<&'a [i64], AttributeError> {
        self.opt_ints(name).ok_or_else(|| missing(name))
    }

    /// A list of numbers that is required or has a default.
    pub fn floats(&self, name: &str) -> Result<&'a [f32], AttributeError> {
        self.opt_floats(name).ok_or_else(|| missing(name))
    }

    /// A tensor that is required.
    pub fn tensor(&self, name: &str) -> Result<&'a Tensor, AttributeError> {
        self.opt_tensor(name).ok_or_else(|| missing(name))
    }

    /// A body that is required.
    pub fn graph(&self, name: &str) -> Result<&'a Arc<Graph>, AttributeError> {
        match self.get(name) {
            Some(Attribute::Graph(graph)) => Ok(graph),
            _ => Err(missing(name)),
        }
    }

    /// A dtype written as ONNX's number, required or with a default.
    pub fn dtype(&self, name: &str) -> Result<DType, AttributeError> {
        let code = self.int(name)?;
        self.dtype_from(name, code)
    }

    /// A dtype written as ONNX's number, if the node has it and it is not 0 (undefined).
    pub fn opt_dtype(&self, name: &str) -> Result<Option<DType>, AttributeError> {
        match self.opt_int(name) {
            None | Some(0) => Ok(None),
            Some(code) => self.dtype_from(name, code).map(Some),
        }
    }

    fn dtype_from(&self, name: &str, code: i64) -> Result<DType, AttributeError> {
        let dtype = i32::try_from(code).ok().and_then(DType::from_onnx);
        dtype.ok_or_else(|| AttributeError::invalid(format!("attribute {name:?}: {code} is not a tensor element type")))
    }

    /// One of `choices`, by the name that the string attribute holds.
    pub fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<T, AttributeError> {
        let got = self.string(name)?;
        choices.iter().find(|(choice, _)| *choice == got).map(|&(_, value)| value).ok_or_else(|| {
            let expected: Vec<&str> = choices.iter().map(|&(choice, _)| choice).collect();
            AttributeError::invalid(format!("attribute {name:?}: expected one of {expected:?}, got {got:?}"))
        })
    }
}

fn is_missing(def: &AttributeDef, attributes: &Attributes) -> bool {
    def.default == AttributeDefault::Required && attributes.get(def.name).is_none()
}

fn missing(name: &str) -> AttributeError {
    AttributeError::invalid(format!("attribute {name:?} is required"))
}

fn check_arity(what: &str, (least, most): (usize, usize), got: usize) -> Result<(), AttributeError> {
    if (least..=most).contains(&got) {
        return Ok(());
    }
    let expected = match (least, most) {
        (l, usize::MAX) => format!("at least {l}"),
        (l, m) if l == m => l.to_string(),
        (l, m) => format!("{l} to {m}"),
    };
    Err(AttributeError::invalid(format!("expected {expected} {what}, got {got}")))
}

/// An axis attribute or input: counted from the front, or from the back if negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis(i64);

impl Axis {
    /// The axis as ONNX writes it.
    pub const fn new(axis: i64) -> Axis {
        Axis(axis)
    }

    /// The axis of a tensor of this rank, or an error that names it.
    pub fn resolve(self, rank: usize) -> Result<usize, InferError> {
        self.resolve_within(rank, rank)
    }

    /// As [`resolve`](Self::resolve), where `axis == rank` is allowed too (`Flatten`, `Unsqueeze` and the like).
    pub fn resolve_inclusive(self, rank: usize) -> Result<usize, InferError> {
        self.resolve_within(rank, rank + 1)
    }

    fn resolve_within(self, rank: usize, end: usize) -> Result<usize, InferError> {
        let counted = if self.0 < 0 { self.0.checked_add(rank as i64) } else { Some(self.0) };
        counted
            .and_then(|axis| usize::try_from(axis).ok())
            .filter(|&axis| axis < end)
            .ok_or_else(|| InferError(format!("axis {} is out of range for rank {rank}", self.0)))
    }
}
