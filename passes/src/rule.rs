//! Rules: what a rewrite looks for, when it applies, and what it puts in place.

use crate::patch::Patch;
use crate::pattern::{Match, Pattern};
use planish_ir::{Dim, Fact, Graph, NodeId, NodeView, Operator, Registry, ValueId};
use planish_ops::StandardRegistry;
use planish_tensor::{DType, Tensor, bf16, f16};
use std::borrow::Cow;

/// A rewrite: its name, where it looks, and what it does there.
///
/// A rule keeps what the graph computes, whatever values the graph is given. It is proved beside its definition.
#[derive(Debug)]
pub struct Rule {
    /// The name in logs, on the command line and in tests.
    pub name: &'static str,
    pub(crate) place: Place,
    pub(crate) rewrite: fn(&Cx<'_>, &Match<'_>) -> Outcome,
}

/// Where a rule looks.
#[derive(Debug)]
pub(crate) enum Place {
    /// Where this pattern is found.
    Pattern(&'static str),
    /// At every node of these operators of ONNX's own domain.
    Operators(&'static [&'static str]),
    /// At every node.
    Everywhere,
}

/// What a rule answers where it looked: a rewrite, or why there is none.
pub type Outcome = Result<Patch, No>;

/// Why a rule leaves a place alone. `optimize --explain` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct No(pub Cow<'static, str>);

impl No {
    /// The place is nothing that the rule is about: not worth a word to anyone.
    pub const SILENT: No = No(Cow::Borrowed(""));
}

impl From<&'static str> for No {
    fn from(reason: &'static str) -> No {
        No(Cow::Borrowed(reason))
    }
}

impl From<String> for No {
    fn from(reason: String) -> No {
        No(Cow::Owned(reason))
    }
}

/// Leaves the place alone for this reason.
pub fn no<T>(reason: impl Into<No>) -> Result<T, No> {
    Err(reason.into())
}

/// Goes on if `holds`, else leaves the place alone for this reason.
pub fn must(holds: bool, reason: impl Into<No>) -> Result<(), No> {
    if holds { Ok(()) } else { Err(reason.into()) }
}

impl Rule {
    /// A rule about the places where a pattern is found; see [`pattern`](crate::pattern) for how it is written.
    pub const fn matching(
        name: &'static str,
        pattern: &'static str,
        rewrite: fn(&Cx<'_>, &Match<'_>) -> Outcome,
    ) -> Rule {
        Rule { name, place: Place::Pattern(pattern), rewrite }
    }

    /// A rule about every node of these operators of ONNX's own domain.
    pub const fn on(
        name: &'static str,
        operators: &'static [&'static str],
        rewrite: fn(&Cx<'_>, &Match<'_>) -> Outcome,
    ) -> Rule {
        Rule { name, place: Place::Operators(operators), rewrite }
    }

    /// A rule about every node.
    pub const fn everywhere(name: &'static str, rewrite: fn(&Cx<'_>, &Match<'_>) -> Outcome) -> Rule {
        Rule { name, place: Place::Everywhere, rewrite }
    }

    /// The pattern to look for. A rule without one is about a node alone.
    pub(crate) fn pattern(&self) -> Pattern {
        let parsed = match self.place {
            Place::Pattern(text) => Pattern::parse(text),
            _ => Pattern::parse("_"),
        };
        parsed.unwrap_or_else(|e| panic!("the pattern of {}: {e}", self.name))
    }
}

/// What a rule may look at: the graph around a match and what is known of its values.
pub struct Cx<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// Bytes that folding may still add to the model.
    pub(crate) growth_left_bytes: usize,
}

impl<'a> Cx<'a> {
    /// What is known of a value.
    pub fn fact(&self, value: ValueId) -> &'a Fact {
        self.graph.fact(value)
    }

    /// The dtype, where known.
    pub fn dtype(&self, value: ValueId) -> Option<DType> {
        self.fact(value).dtype()
    }

    /// The shape, where the rank is known.
    pub fn shape(&self, value: ValueId) -> Option<&'a [Dim]> {
        self.fact(value).shape()
    }

    /// The extents, where all are numbers.
    pub fn known_shape(&self, value: ValueId) -> Option<Vec<i64>> {
        self.shape(value)?.iter().map(Dim::as_known).collect()
    }

    /// The last extents, as many as these, where they are numbers.
    pub fn known_last(&self, value: ValueId, count: usize) -> Option<Vec<i64>> {
        let shape = self.shape(value)?;
        shape.get(shape.len().checked_sub(count)?..)?.iter().map(Dim::as_known).collect()
    }

    /// The rank, where known.
    pub fn rank(&self, value: ValueId) -> Option<usize> {
        self.fact(value).rank()
    }

    /// The contents of a constant.
    pub fn constant(&self, value: ValueId) -> Option<&'a Tensor> {
        self.graph.constant(value)
    }

    /// The number that a constant of one element holds.
    pub fn scalar(&self, value: ValueId) -> Option<f64> {
        self.constant(value).and_then(scalar)
    }

    /// The integers of a value whose contents are known, constant or not.
    pub fn ints(&self, value: ValueId) -> Option<Vec<i64>> {
        self.fact(value).known_ints()
    }

    /// The operator of a node, if it is one.
    pub fn operator(&self, node: NodeId) -> Option<&'a Operator> {
        self.graph.node(node).operator()
    }

    /// Input `index` of a node, where it is there.
    pub fn input(&self, node: NodeId, index: usize) -> Option<ValueId> {
        self.graph.node_inputs(node).get(index).copied().flatten()
    }

    /// The first output of a node.
    pub fn output(&self, node: NodeId) -> ValueId {
        ValueId { node, output: 0 }
    }

    /// A node's attributes with the defaults of its schema; the rule leaves alone what planish does not know.
    pub fn attributes(&self, node: NodeId) -> Result<NodeView<'a>, No> {
        let operator = self.operator(node).ok_or(No::SILENT)?;
        let schema = operator.schema().ok_or_else(|| No(format!("unknown form of {}", operator.full_name()).into()))?;
        let node = self.graph.node(node);
        NodeView::new(schema, &operator.attributes, node.num_inputs(), node.num_outputs())
            .map_err(|e| No(e.to_string().into()))
    }

    /// An integer attribute, or the schema's default.
    pub fn int(&self, node: NodeId, name: &str) -> Option<i64> {
        self.attributes(node).ok()?.opt_int(name)
    }

    /// A number attribute, or the schema's default.
    pub fn float(&self, node: NodeId, name: &str) -> Option<f32> {
        self.attributes(node).ok()?.opt_float(name)
    }

    /// A list attribute, or the schema's default.
    pub fn int_list(&self, node: NodeId, name: &str) -> Option<Vec<i64>> {
        self.attributes(node).ok()?.opt_ints(name).map(<[i64]>::to_vec)
    }

    /// An axis attribute, counted from the front.
    pub fn axis(&self, node: NodeId, name: &str, rank: usize) -> Option<usize> {
        planish_ir::Axis::new(self.int(node, name)?).resolve(rank).ok()
    }

    /// The axes that a reduction runs over, in order: its second input, or all of `rank`, or none where
    /// `noop_with_empty_axes` says so. `None` where they are not known.
    pub fn reduced_axes(&self, node: NodeId, rank: usize) -> Option<Vec<usize>> {
        let given = match self.input(node, 1) {
            Some(axes) => self.ints(axes)?,
            None => Vec::new(),
        };
        if given.is_empty() {
            let stays = self.int(node, "noop_with_empty_axes")? != 0;
            return Some(if stays { Vec::new() } else { (0..rank).collect() });
        }
        let resolved: Option<Vec<usize>> =
            given.iter().map(|&axis| planish_ir::Axis::new(axis).resolve(rank).ok()).collect();
        let mut axes = resolved?;
        axes.sort_unstable();
        Some(axes)
    }

    /// Whether both values are known to be of one dtype and shape.
    pub fn same_type(&self, a: ValueId, b: ValueId) -> bool {
        self.dtype(a).is_some() && self.dtype(a) == self.dtype(b) && self.same_shape(a, b)
    }

    /// Whether both values are known to be of one shape.
    pub fn same_shape(&self, a: ValueId, b: ValueId) -> bool {
        match (self.shape(a), self.shape(b)) {
            (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Dim::provably_equal(a, b)),
            _ => false,
        }
    }

    /// Whether a value goes to one input of one node and is no graph output.
    pub fn is_read_once(&self, value: ValueId) -> bool {
        !self.graph.is_output(value) && self.graph.readers(value).take(2).count() == 1
    }

    /// Whether planish has the operator: a rule must not make what nothing runs.
    pub fn has_operator(&self, domain: &str, name: &str) -> bool {
        StandardRegistry.schema(domain, name).is_some()
    }
}

/// The number that a tensor of one element holds.
pub(crate) fn scalar(tensor: &Tensor) -> Option<f64> {
    uniform(tensor).filter(|_| tensor.num_elements() == 1)
}

/// A rank-0 tensor of a float dtype.
pub(crate) fn scalar_of(dtype: Option<DType>, value: f32) -> Option<Tensor> {
    Some(match dtype? {
        DType::F32 => Tensor::scalar(value),
        DType::F64 => Tensor::scalar(f64::from(value)),
        DType::F16 => Tensor::scalar(f16::from_f32(value)),
        DType::BF16 => Tensor::scalar(bf16::from_f32(value)),
        _ => return None,
    })
}

/// The number that every element of the tensor is, where they are all the same.
pub(crate) fn uniform(tensor: &Tensor) -> Option<f64> {
    fn of<T: planish_tensor::Element + Copy + PartialEq>(tensor: &Tensor, widen: impl Fn(T) -> f64) -> Option<f64> {
        let (first, rest) = tensor.as_slice::<T>().ok()?.split_first()?;
        rest.iter().all(|v| v == first).then(|| widen(*first))
    }
    match tensor.dtype() {
        DType::F32 => of::<f32>(tensor, f64::from),
        DType::F64 => of::<f64>(tensor, |v| v),
        DType::F16 => of::<f16>(tensor, f64::from),
        DType::BF16 => of::<bf16>(tensor, f64::from),
        DType::I64 => of::<i64>(tensor, |v| v as f64),
        DType::I32 => of::<i32>(tensor, f64::from),
        DType::I16 => of::<i16>(tensor, f64::from),
        DType::I8 => of::<i8>(tensor, f64::from),
        DType::U64 => of::<u64>(tensor, |v| v as f64),
        DType::U32 => of::<u32>(tensor, f64::from),
        DType::U16 => of::<u16>(tensor, f64::from),
        DType::U8 => of::<u8>(tensor, f64::from),
        DType::Bool => of::<bool>(tensor, |v| f64::from(u8::from(v))),
        _ => None,
    }
}
