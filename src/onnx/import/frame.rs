//! Which value a name stands for, in nested graphs and function calls.

use super::builder::GraphBuilder;
use super::{Importer, NEWEST_OPSET, canonical_domain};
use crate::onnx::error::ImportError;
use crate::onnx::proto::{AttributeProto, FunctionProto, OperatorSetIdProto, ValueInfoProto};
use planish_ir::ValueId;
use std::collections::HashMap;
use std::rc::Rc;

/// The names of one graph or function call.
///
/// A graph sees the names of the frame around it; a function's body sees only its own.
pub(super) struct Frame<'a> {
    /// The values by name; `None` for a function's parameter that the call leaves out.
    pub(super) names: HashMap<&'a str, Option<ValueId>>,
    pub(super) value_info: HashMap<&'a str, &'a ValueInfoProto>,
    pub(super) opsets: Rc<Opsets<'a>>,
    pub(super) kind: FrameKind<'a>,
}

/// What a frame's nodes go into.
pub(super) enum FrameKind<'a> {
    /// A graph of its own.
    Graph(Box<GraphFrame<'a>>),
    /// The graph of the frame around it.
    Call(Box<CallFrame<'a>>),
}

/// A graph under construction.
pub(super) struct GraphFrame<'a> {
    pub(super) builder: GraphBuilder<'a>,
    /// For each captured value of the graph, the value of the graph around it.
    pub(super) captured: Vec<ValueId>,
}

/// A function's body being inlined.
pub(super) struct CallFrame<'a> {
    pub(super) function: &'a FunctionProto,
    /// What the names of inner nodes and values start with.
    pub(super) prefix: String,
    /// The names that the caller gives to results, by the function's own names for them.
    pub(super) results: HashMap<&'a str, String>,
    pub(super) attributes: HashMap<&'a str, &'a AttributeProto>,
}

/// Versions of operator sets by domain.
pub(super) struct Opsets<'a>(HashMap<&'a str, i64>);

impl<'a> Opsets<'a> {
    pub(super) fn new(imports: &'a [OperatorSetIdProto]) -> Result<Opsets<'a>, ImportError> {
        let mut versions = HashMap::new();
        for import in imports {
            let (domain, version) = (canonical_domain(&import.domain), import.version);
            if version < 1 {
                return Err(ImportError::invalid(format!("operator set {domain:?} has version {version}")));
            }
            if domain.is_empty() && version > NEWEST_OPSET {
                return Err(ImportError::unsupported(format!("opset {version}: the newest known is {NEWEST_OPSET}")));
            }
            if let Some(other) = versions.insert(domain, version).filter(|&other| other != version) {
                let message = format!("operator set {domain:?} is imported in versions {other} and {version}");
                return Err(ImportError::invalid(message));
            }
        }
        Ok(Opsets(versions))
    }

    pub(super) fn version(&self, domain: &str) -> Option<i64> {
        self.0.get(domain).copied()
    }
}

impl<'a> Importer<'a> {
    pub(super) fn level(&self) -> usize {
        self.frames.len().saturating_sub(1)
    }

    pub(super) fn frame(&mut self) -> &mut Frame<'a> {
        self.frames.last_mut().expect("a frame is open while nodes are imported")
    }

    /// The graph that the frame at `level` adds to.
    fn graph_frame_at(&mut self, level: usize) -> &mut GraphFrame<'a> {
        let frames = self.frames.iter_mut().take(level + 1).rev();
        let mut graphs = frames.filter_map(|frame| match &mut frame.kind {
            FrameKind::Graph(graph) => Some(graph.as_mut()),
            FrameKind::Call(_) => None,
        });
        graphs.next().expect("the outermost frame is a graph")
    }

    /// The graph that nodes are added to.
    pub(super) fn builder(&mut self) -> &mut GraphBuilder<'a> {
        let level = self.level();
        &mut self.graph_frame_at(level).builder
    }

    /// The innermost function call that what is being imported lies in.
    pub(super) fn call(&self) -> Option<&CallFrame<'a>> {
        self.frames.iter().rev().find_map(|frame| match &frame.kind {
            FrameKind::Call(call) => Some(call.as_ref()),
            FrameKind::Graph(_) => None,
        })
    }

    /// The value that `name` stands for: `Some(None)` for a parameter that the call leaves out, `None` if there is no
    /// such name. What a graph takes from outside is captured before its nodes are imported, so names are looked for in
    /// the current frame only.
    pub(super) fn resolve(&self, name: &str) -> Option<Option<ValueId>> {
        self.frames.last()?.names.get(name).copied()
    }

    /// Lets `name` stand, in the graph that has just been begun, for `outer`, a value of the frame around it. Names for
    /// the same value come one after the other.
    pub(super) fn capture(&mut self, name: &'a str, outer: ValueId) -> Result<(), ImportError> {
        let level = self.level();
        let around = &self.graph_frame_at(level.saturating_sub(1)).builder.graph;
        let (outer_name, ty) = (around.value_name(outer).to_owned(), around.fact(outer).ty.clone());
        let GraphFrame { builder, captured } = self.graph_frame_at(level);
        let last = builder.graph.captures().next_back();
        let value = match last {
            Some(last) if captured.last() == Some(&outer) => last,
            _ => {
                captured.push(outer);
                let own_name = builder.fresh(&outer_name);
                builder.graph.add_capture(&own_name, ty)?
            }
        };
        self.define(name, Some(value))
    }

    /// The name in the graph of the value that the current frame's nodes call `name`.
    pub(super) fn value_name(&mut self, name: &str) -> Result<String, ImportError> {
        let base = match &self.frame().kind {
            FrameKind::Graph(_) => return Ok(name.to_owned()),
            FrameKind::Call(call) => match call.results.get(name) {
                Some(result) => return Ok(result.clone()),
                None => format!("{}/{name}", call.prefix),
            },
        };
        self.charge_copy(base.len())?;
        Ok(self.builder().fresh(&base))
    }

    /// Lets `name` stand for `value` in the current frame.
    pub(super) fn define(&mut self, name: &'a str, value: Option<ValueId>) -> Result<(), ImportError> {
        match self.frame().names.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(ImportError::invalid(format!("two values are named {name:?}"))),
        }
    }
}
