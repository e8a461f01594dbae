//! Graphs: inputs, constants, nodes, outputs.

use super::builder::GraphBuilder;
use super::frame::{Frame, FrameKind, GraphFrame, Opsets};
use super::{Importer, MAX_SUBGRAPH_DEPTH, order, pairs};
use crate::onnx::error::ImportError;
use crate::onnx::proto::{GraphProto, SparseTensorProto, StringStringEntryProto, TensorProto, ValueInfoProto};
use crate::onnx::tensor::{dense_from_sparse, tensor_from_proto};
use planish_ir::{Graph, Type, ValueId};
use planish_tensor::Tensor;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// A body, and the values of the graph around it that its captures stand for.
pub(super) struct Body {
    pub(super) graph: Arc<Graph>,
    pub(super) captured: Vec<ValueId>,
}

/// What a graph without a name is called: the standard demands one.
pub(crate) const UNNAMED: &str = "graph";

/// What a body reads from the frame around it: its names, and the values that they stand for there.
type Outside<'a> = Vec<(&'a str, Option<ValueId>)>;

/// Every name that a graph defines: inputs, initializers, outputs of nodes.
pub(super) fn defined_names(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    let initializers = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let made = graph.node.iter().flat_map(|node| &node.output).map(String::as_str).filter(|name| !name.is_empty());
    inputs.chain(initializers).chain(graph.sparse_initializer.iter().map(sparse_name)).chain(made)
}

fn sparse_name(sparse: &SparseTensorProto) -> &str {
    sparse.values.as_ref().map_or("", |values| values.name.as_str())
}

impl<'a> Importer<'a> {
    /// Reads the initializers of the model's own graph, each message losing its elements once they are read: they can be
    /// most of what the model takes in memory.
    pub(super) fn take_initializers(&self, graph: &mut GraphProto) -> Result<Vec<Tensor>, ImportError> {
        let mut tensors = Vec::with_capacity(graph.initializer.len() + graph.sparse_initializer.len());
        for proto in &mut graph.initializer {
            tensors.push(self.tensor(proto)?);
            let TensorProto { name, doc_string, metadata_props, .. } = std::mem::take(proto);
            *proto = TensorProto { name, doc_string, metadata_props, ..TensorProto::default() };
        }
        for proto in &graph.sparse_initializer {
            tensors.push(self.dense(proto)?);
        }
        Ok(tensors)
    }

    fn initializers(&self, graph: &GraphProto) -> Result<Vec<Tensor>, ImportError> {
        let sparse = graph.sparse_initializer.iter().map(|proto| self.dense(proto));
        graph.initializer.iter().map(|proto| self.tensor(proto)).chain(sparse).collect()
    }

    /// Reads a tensor, wherever it hangs.
    pub(super) fn tensor(&self, proto: &TensorProto) -> Result<Tensor, ImportError> {
        tensor_from_proto(proto, self.external, self.memory)
    }

    /// Reads a sparse tensor, wherever it hangs.
    pub(super) fn dense(&self, proto: &SparseTensorProto) -> Result<Tensor, ImportError> {
        dense_from_sparse(proto, self.external, self.memory)
    }

    /// Imports the model's own graph. Also returns what was found odd.
    pub(super) fn main_graph(
        &mut self,
        proto: &'a GraphProto,
        initializers: Vec<Tensor>,
        opsets: Rc<Opsets<'a>>,
    ) -> Result<(Graph, Vec<String>), ImportError> {
        let finished = self.graph(proto, initializers, Vec::new(), opsets)?;
        Ok(finished.builder.finish())
    }

    /// Imports a graph held by an attribute.
    pub(super) fn body(&mut self, proto: &'a GraphProto) -> Result<Body, ImportError> {
        let depth = self.frames.iter().filter(|frame| matches!(frame.kind, FrameKind::Graph(_))).count();
        if depth > MAX_SUBGRAPH_DEPTH {
            return Err(ImportError::limit(format!("graphs are nested deeper than {MAX_SUBGRAPH_DEPTH}")));
        }
        let initializers = self.initializers(proto)?;
        let opsets = Rc::clone(&self.frame().opsets);
        let outside = self.read_outside(proto)?;
        let finished = self
            .graph(proto, initializers, outside, opsets)
            .map_err(|e| e.at(format_args!("graph {:?}", proto.name)))?;
        let (graph, warnings) = finished.builder.finish();
        self.builder().warn(warnings);
        Ok(Body { graph: Arc::new(graph), captured: finished.captured })
    }

    /// The values of the current frame that a body reads, with the body's names for them, in the order of their own
    /// names: the captures of a graph do not depend on the order of its nodes.
    fn read_outside(&mut self, body: &'a GraphProto) -> Result<Outside<'a>, ImportError> {
        let mut outside = Vec::new();
        for name in order::free_names(body, 0)? {
            if let Some(value) = self.resolve(name) {
                outside.push((name, value));
            }
        }
        let graph = &self.builder().graph;
        let name_of = |value: &Option<ValueId>| value.map_or("", |value| graph.value_name(value));
        outside.sort_by(|(a, v), (b, w)| (name_of(v), a).cmp(&(name_of(w), b)));
        Ok(outside)
    }

    fn graph(
        &mut self,
        proto: &'a GraphProto,
        initializers: Vec<Tensor>,
        outside: Outside<'a>,
        opsets: Rc<Opsets<'a>>,
    ) -> Result<GraphFrame<'a>, ImportError> {
        let output_names = proto.output.iter().map(|output| output.name.as_str()).collect();
        let name = if proto.name.is_empty() { UNNAMED } else { &proto.name };
        let mut builder = GraphBuilder::new(name, self.registry, defined_names(proto).collect(), output_names);
        builder.graph.doc.clone_from(&proto.doc_string);
        builder.graph.metadata = pairs(&proto.metadata_props);
        let kind = FrameKind::Graph(Box::new(GraphFrame { builder, captured: Vec::new() }));
        let infos = proto.value_info.iter().chain(&proto.output).map(|info| (info.name.as_str(), info)).collect();
        self.frames.push(Frame { names: HashMap::new(), value_info: infos, opsets, kind });
        for (name, value) in outside {
            match value {
                Some(value) => self.capture(name, value)?,
                None => self.define(name, None)?,
            }
        }
        self.inputs_and_constants(proto, initializers)?;
        let names = &self.frame().names;
        for index in order::topological_order(&proto.node, |name| names.contains_key(name))? {
            self.node(&proto.node[index])?;
        }
        self.outputs(&proto.output)?;
        match self.frames.pop().map(|frame| frame.kind) {
            Some(FrameKind::Graph(finished)) => Ok(*finished),
            _ => unreachable!("every frame that is pushed after this graph's is popped before"),
        }
    }

    /// An initializer that is also an input is the input's default; it is imported as a constant, the input left out.
    fn inputs_and_constants(&mut self, proto: &'a GraphProto, initializers: Vec<Tensor>) -> Result<(), ImportError> {
        let dense = proto.initializer.iter().map(|t| (t.name.as_str(), t.doc_string.as_str(), &t.metadata_props[..]));
        let sparse = proto.sparse_initializer.iter().map(|t| (sparse_name(t), "", &[][..]));
        let constants: Vec<_> = dense.chain(sparse).collect();
        let defaults: HashMap<&str, &Tensor> = constants.iter().map(|(name, ..)| *name).zip(&initializers).collect();
        for input in &proto.input {
            let imported = match defaults.get(input.name.as_str()) {
                Some(default) => self.check_default(input, default),
                None => self.input(input),
            };
            imported.map_err(|e| e.at(format_args!("graph input {:?}", input.name)))?;
        }
        for ((name, doc, metadata), tensor) in constants.into_iter().zip(initializers) {
            let value = self.builder().graph.add_constant(name, tensor);
            let value = value.map_err(|e| ImportError::from(e).at(format_args!("initializer {name:?}")))?;
            self.source(name, value, doc, metadata)?;
        }
        Ok(())
    }

    fn input(&mut self, input: &'a ValueInfoProto) -> Result<(), ImportError> {
        let mut declared = self.declared_type(input)?;
        // The extents of what a body reads may change from call to call.
        let is_of_model = self.frames.len() == 1;
        if is_of_model {
            declared = self.types.name_dims(declared, &input.name);
        }
        let value = self.builder().graph.add_input(&input.name, declared)?;
        self.source(&input.name, value, &input.doc_string, &input.metadata_props)
    }

    /// Lets `name` stand for an input or constant, and keeps remarks.
    fn source(
        &mut self,
        name: &'a str,
        value: ValueId,
        doc: &str,
        metadata: &[StringStringEntryProto],
    ) -> Result<(), ImportError> {
        let node = self.builder().graph.node_mut(value.node);
        node.doc = doc.to_owned();
        node.metadata = pairs(metadata);
        self.define(name, Some(value))
    }

    /// An output that declares no type has the one that is inferred: the standard demands that it declares one.
    fn outputs(&mut self, outputs: &'a [ValueInfoProto]) -> Result<(), ImportError> {
        for output in outputs {
            let name = output.name.as_str();
            let place = format_args!("graph output {name:?}").to_string();
            let declared = self.declared_type(output).map_err(|e| e.at(&place))?;
            let value = match self.resolve(name) {
                Some(Some(value)) => value,
                _ => return Err(ImportError::invalid("no node makes it").at(place)),
            };
            let graph = &mut self.builder().graph;
            let declared = if declared == Type::Unknown { graph.fact(value).ty.clone() } else { declared };
            graph.add_output(name, value, declared).map_err(|e| ImportError::from(e).at(place))?;
        }
        Ok(())
    }

    /// The type that the file declares for a value.
    pub(super) fn declared_type(&mut self, info: &ValueInfoProto) -> Result<Type, ImportError> {
        info.r#type.as_ref().map_or(Ok(Type::Unknown), |proto| self.types.read(proto))
    }

    /// Refuses an initializer of another dtype than the input whose default it is.
    fn check_default(&mut self, input: &ValueInfoProto, default: &Tensor) -> Result<(), ImportError> {
        match self.declared_type(input)? {
            Type::Unknown => Ok(()),
            declared if declared.dtype().is_some_and(|dtype| dtype == default.dtype()) => Ok(()),
            declared => {
                let got = default.dtype();
                Err(ImportError::invalid(format!("expected {declared}, got an initializer of {got}")))
            }
        }
    }
}
