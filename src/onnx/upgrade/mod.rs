//! Older operator forms become the newest one.
//!
//! Passes and kernels meet every operator in exactly one form. A node is brought there step by step: each [`Step`] takes
//! it over one version at which the operator's form or meaning changed; versions that only allowed more types need none.
//! Steps may add constants and nodes around the one they upgrade. The list of steps is [`table::STEPS`].

mod broadcast;
mod channels_last;
mod contrib;
mod forerunner;
mod fused;
mod inputs;
mod ml;
mod normalization;
mod qlinear;
mod rename;
mod resize;
mod scan;
mod softmax;
mod table;

use crate::onnx::error::ImportError;
use crate::onnx::import::builder::{GraphBuilder, OperatorDraft};
use planish_ir::{Attribute, Attributes, Dim, ValueId};
use planish_tensor::{DType, Tensor, bf16, f16};

/// Takes a node over one change of its operator.
type Rewrite = fn(&mut Draft, &mut GraphBuilder<'_>) -> Result<(), ImportError>;

/// One change of an operator's form or meaning.
pub(crate) struct Step {
    domain: &'static str,
    operator: &'static str,
    /// The version of the operator set that brought the change; [`ALWAYS`] if every node is rewritten.
    since: i64,
    rewrite: Rewrite,
}

/// Newer than any version: for forms that are not ONNX's at all.
const ALWAYS: i64 = i64::MAX;

/// Brings a node of operator set `version` to the newest form.
pub(crate) fn upgrade(draft: &mut Draft, mut version: i64, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    while let Some(step) = next_step(&draft.operator, version) {
        (step.rewrite)(draft, graph)?;
        version = step.since;
        if draft.operator.unsupported.is_some() {
            break;
        }
    }
    Ok(())
}

/// The first change after `version`.
fn next_step(operator: &OperatorDraft, version: i64) -> Option<&'static Step> {
    let key = (operator.domain.as_str(), operator.name.as_str());
    let first =
        table::STEPS.partition_point(|step| (step.domain, step.operator, step.since) <= (key.0, key.1, version));
    table::STEPS.get(first).filter(|step| (step.domain, step.operator) == key)
}

/// A node between its message and the graph.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) operator: OperatorDraft,
    pub(crate) inputs: Vec<Option<ValueId>>,
    pub(crate) captures: Vec<ValueId>,
    /// Names of the values in the graph; empty for those nobody wants.
    pub(crate) outputs: Vec<String>,
}

impl Draft {
    /// What the names of added values start with: the node's first output.
    fn base(&self) -> &str {
        self.outputs.iter().find(|name| !name.is_empty()).unwrap_or(&self.operator.name)
    }

    /// Input `index`, where it is there.
    fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Input `index`, which the operator needs.
    fn required_input(&self, index: usize) -> Result<ValueId, ImportError> {
        self.input(index).ok_or_else(|| ImportError::invalid(format!("input {index} is absent")))
    }

    fn set_input(&mut self, index: usize, value: Option<ValueId>) {
        if self.inputs.len() <= index {
            self.inputs.resize(index + 1, None);
        }
        self.inputs[index] = value;
    }

    /// Whether somebody wants output `index`.
    fn wants(&self, index: usize) -> bool {
        self.outputs.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Makes this a node of another operator of ONNX's own domain.
    fn rename(&mut self, operator: &str) {
        self.operator.domain.clear();
        operator.clone_into(&mut self.operator.name);
    }

    /// Marks the node as one that planish cannot run.
    fn unsupported(&mut self, why: impl Into<String>) -> Result<(), ImportError> {
        self.operator.unsupported = Some(why.into());
        Ok(())
    }

    fn attributes(&mut self) -> &mut Attributes {
        &mut self.operator.attributes
    }

    fn take_int(&mut self, name: &str) -> Result<Option<i64>, ImportError> {
        match self.attributes().remove(name) {
            None => Ok(None),
            Some(Attribute::Int(v)) => Ok(Some(v)),
            Some(other) => Err(wrong_kind(name, "an integer", &other)),
        }
    }

    fn take_ints(&mut self, name: &str) -> Result<Option<Vec<i64>>, ImportError> {
        match self.attributes().remove(name) {
            None => Ok(None),
            Some(Attribute::Ints(v)) => Ok(Some(v)),
            Some(other) => Err(wrong_kind(name, "a list of integers", &other)),
        }
    }

    fn take_float(&mut self, name: &str) -> Result<Option<f32>, ImportError> {
        match self.attributes().remove(name) {
            None => Ok(None),
            Some(Attribute::Float(v)) => Ok(Some(v)),
            Some(other) => Err(wrong_kind(name, "a number", &other)),
        }
    }

    fn take_floats(&mut self, name: &str) -> Result<Option<Vec<f32>>, ImportError> {
        match self.attributes().remove(name) {
            None => Ok(None),
            Some(Attribute::Floats(v)) => Ok(Some(v)),
            Some(other) => Err(wrong_kind(name, "a list of numbers", &other)),
        }
    }

    fn string(&self, name: &str) -> Option<&str> {
        match self.operator.attributes.get(name) {
            Some(Attribute::String(v)) => Some(v),
            _ => None,
        }
    }

    /// Adds a constant list of integers.
    fn ints(&self, graph: &mut GraphBuilder<'_>, what: &str, values: &[i64]) -> Result<ValueId, ImportError> {
        graph.constant(&format!("{}_{what}", self.base()), Tensor::vector(values))
    }

    /// Adds a node of ONNX's own domain.
    fn node(
        &self,
        graph: &mut GraphBuilder<'_>,
        operator: &str,
        attributes: Attributes,
        inputs: &[Option<ValueId>],
    ) -> Result<ValueId, ImportError> {
        graph.node(&format!("{}_{}", self.base(), operator.to_lowercase()), operator, attributes, inputs)
    }

    /// Adds the constant `value` in the dtype of the value `like`: through a `CastLike` where that is not known.
    fn scalar_like(
        &self,
        graph: &mut GraphBuilder<'_>,
        what: &str,
        value: f32,
        like: ValueId,
    ) -> Result<ValueId, ImportError> {
        let base = format!("{}_{what}", self.base());
        match graph.fact(like).dtype() {
            Some(dtype) => match scalar(dtype, value) {
                Some(tensor) => graph.constant(&base, tensor),
                None => Err(ImportError::invalid(format!("attribute {what:?}: {value} is not a number of {dtype}"))),
            },
            None => {
                let constant = graph.constant(&base, Tensor::scalar(value))?;
                self.node(graph, "CastLike", Attributes::new(), &[Some(constant), Some(like)])
            }
        }
    }
}

fn wrong_kind(name: &str, expected: &str, got: &Attribute) -> ImportError {
    ImportError::invalid(format!("attribute {name:?}: expected {expected}, got {:?}", got.kind()))
}

/// `value` as a scalar of `dtype`, if it is a number of that type.
fn scalar(dtype: DType, value: f32) -> Option<Tensor> {
    /// Every integer of a float's exactly represented range, found without a cast that could wrap.
    fn integer(value: f32) -> Option<i64> {
        let is_integer = value.fract() == 0.0 && value.abs() < 9.0e18;
        if is_integer { format!("{value:.0}").parse().ok() } else { None }
    }
    macro_rules! int {
        ($t:ty) => {
            Tensor::scalar(<$t>::try_from(integer(value)?).ok()?)
        };
    }
    Some(match dtype {
        DType::F32 => Tensor::scalar(value),
        DType::F64 => Tensor::scalar(f64::from(value)),
        DType::F16 => Tensor::scalar(f16::from_f32(value)),
        DType::BF16 => Tensor::scalar(bf16::from_f32(value)),
        DType::I8 => int!(i8),
        DType::I16 => int!(i16),
        DType::I32 => int!(i32),
        DType::I64 => int!(i64),
        DType::U8 => int!(u8),
        DType::U16 => int!(u16),
        DType::U32 => int!(u32),
        DType::U64 => int!(u64),
        DType::Bool => Tensor::scalar(value != 0.0),
        _ => return None,
    })
}

/// The length of axis `axis`, if known.
fn known_length(graph: &GraphBuilder<'_>, value: ValueId, axis: usize) -> Option<i64> {
    graph.fact(value).shape()?.get(axis).and_then(Dim::as_known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_sorted() {
        let keys: Vec<_> = table::STEPS.iter().map(|s| (s.domain, s.operator, s.since)).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    }

    /// Changes of signature that leave older nodes as right as they were, beside additions.
    const HARMLESS: &[(&str, i64, &str)] = &[
        ("Constant", 11, "the importer reads every form of it"),
        ("TreeEnsembleClassifier", 5, "kept beside its successor"),
        ("TreeEnsembleRegressor", 5, "kept beside its successor"),
    ];

    /// Changes of meaning that the signature's names do not show.
    const UNSEEN: &[(&str, i64, &str)] = &[
        ("Cast", 6, "`to` was a string"),
        ("Dropout", 10, "the mask was of the data's type"),
        ("GlobalLpPool", 2, "`p` was a float"),
        ("PRelu", 7, "the slope was one a channel"),
        ("ReduceLogSum", 28, "integers were taken too"),
        ("ReduceLogSumExp", 28, "integers were taken too"),
        ("Resize", 18, "coordinates of TensorFlow's own were taken too"),
    ];

    /// Whether nothing but optional things with a default came with the change. That the default is the older meaning was
    /// looked at for each line of changes.tsv; where it is not, the change has a step.
    fn is_addition(changes: &str) -> bool {
        changes.split("; ").all(|change| match change.strip_prefix(['+', 'i', 'o']) {
            Some(_) if change.starts_with('+') => !change.ends_with("=required"),
            Some(_) => {
                let marks = change.split_once(' ').and_then(|(_, marks)| marks.split_once(" -> "));
                marks.is_some_and(|(old, new)| {
                    new.len() >= old.len()
                        && old.chars().zip(new.chars()).all(|(o, n)| o == n || (o, n) == ('!', '?'))
                        && new.chars().skip(old.len()).all(|mark| mark == '?')
                })
            }
            None => false,
        })
    }

    #[test]
    fn every_change_of_the_standard_is_accounted_for() {
        let has_step = |domain: &str, operator: &str, version: i64| {
            table::STEPS.iter().any(|s| (s.domain, s.operator, s.since) == (domain, operator, version))
        };
        let listed =
            |list: &[(&str, i64, &str)], operator, version| list.iter().any(|&(o, v, _)| (o, v) == (operator, version));
        let mut changed = Vec::new();
        for line in include_str!("changes.tsv").lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            let &[domain, operator, version, changes] = &columns[..] else { panic!("{line}") };
            let version: i64 = version.parse().unwrap();
            let accounted =
                has_step(domain, operator, version) || is_addition(changes) || listed(HARMLESS, operator, version);
            assert!(accounted, "{line}");
            changed.push((domain, operator, version));
        }
        for step in table::STEPS.iter().filter(|step| step.since != ALWAYS) {
            let key = (step.domain, step.operator, step.since);
            assert!(changed.contains(&key) || listed(UNSEEN, step.operator, step.since), "{key:?} changed nothing");
        }
    }

    #[test]
    fn scalars_are_numbers_of_their_dtype() {
        assert_eq!(scalar(DType::I8, -128.0), Some(Tensor::scalar(-128i8)));
        assert_eq!(scalar(DType::I8, 128.0), None);
        assert_eq!(scalar(DType::U8, 0.5), None);
        assert_eq!(scalar(DType::I64, f32::MAX), None);
        assert_eq!(scalar(DType::F16, 1.0), Some(Tensor::scalar(f16::ONE)));
    }
}
