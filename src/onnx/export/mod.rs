//! From a graph to an ONNX file that any runtime can load.
//!
//! Nodes go out in topological order, under the names they came with. Values that bodies capture are read by the names of
//! the graph around them, as ONNX wants it. The file is written beside its final place and then renamed.

mod file;
mod functions;
mod inline;
mod opset;

pub use file::save;

use crate::model::Model;
use crate::onnx::import::UNNAMED;
use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
};
use crate::onnx::tensor::tensor_to_proto;
use crate::onnx::types::type_to_proto;
use bytes::Bytes;
use functions::Functions;
use planish_ir::{Attribute, Graph, GraphError, NodeId, NodeKind, Operator, Type, ValueId};
use planish_passes::Target;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

/// Bodies nested deeper than this are not written.
const MAX_BODY_DEPTH: usize = 32;

/// How a model is to be written.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The opset of ONNX's own domain; the lowest from 17 on that has every operator of the graph if `None`.
    pub opset: Option<u32>,
    /// Who is to read the file. Operators of planish's own are written as functions for planish, which any other runtime
    /// can call too; for all others their standard definitions take their place.
    pub target: Target,
    /// Models whose weights take more bytes than this keep them in a file of their own beside the model.
    pub external_data_above_bytes: u64,
}

impl Default for ExportOptions {
    fn default() -> ExportOptions {
        // Protobuf messages end at 2 GiB; half of that leaves room for readers that copy.
        ExportOptions { opset: None, target: Target::Planish, external_data_above_bytes: 1 << 30 }
    }
}

/// Why a graph cannot be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportError {
    /// Nodes that the opset asked for, or any opset, cannot express: all of them.
    Inexpressible {
        /// The opset.
        opset: u32,
        /// Each node, its operator, and what stands in the way.
        nodes: Vec<String>,
    },
    /// The graph breaks a promise that graphs give.
    Graph(GraphError),
    /// Bodies are nested too deeply.
    TooDeep,
    /// The file could not be written.
    Io {
        /// Which file.
        path: std::path::PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExportError::Inexpressible { opset, nodes } => {
                write!(f, "opset {opset} cannot express {} node(s)", nodes.len())?;
                nodes.iter().try_for_each(|node| write!(f, "\n  {node}"))
            }
            ExportError::Graph(error) => error.fmt(f),
            ExportError::TooDeep => write!(f, "bodies are nested deeper than {MAX_BODY_DEPTH}"),
            ExportError::Io { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ExportError::Graph(error) => Some(error),
            ExportError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<GraphError> for ExportError {
    fn from(error: GraphError) -> Self {
        ExportError::Graph(error)
    }
}

/// The message for a model, its weights inside.
pub fn export(model: &Model, options: &ExportOptions) -> Result<ModelProto, ExportError> {
    let graph = match options.target {
        Target::Planish => Cow::Borrowed(&model.graph),
        _ => inline::inlined(&model.graph)?,
    };
    let opset = opset::choose(&graph, options.opset)?;
    let info = &model.info;
    let writer = Writer { opset, functions: RefCell::default() };
    let proto = writer.graph(&graph, None, 0)?;
    let functions = writer.functions.into_inner().into_protos();
    let ir_version = opset::ir_version(opset);
    let domains = used_domains(&graph);
    let version = |domain: &str| {
        let declared = info.opset_imports.iter().find(|(d, _)| d == domain).map(|&(_, version)| version);
        if domain.is_empty() { i64::from(opset) } else { declared.unwrap_or_else(|| opset::newest_version(domain)) }
    };
    let opset_import = domains.iter().map(|d| OperatorSetIdProto { domain: d.clone(), version: version(d) }).collect();
    Ok(ModelProto {
        ir_version: if functions.is_empty() { ir_version } else { ir_version.max(functions::IR_VERSION) },
        opset_import,
        producer_name: info.producer_name.clone(),
        producer_version: info.producer_version.clone(),
        domain: info.domain.clone(),
        model_version: info.model_version,
        doc_string: info.doc.clone(),
        graph: Some(proto),
        functions,
        metadata_props: entries(&info.metadata),
        ..ModelProto::default()
    })
}

/// ONNX's own domain and every other one that a node belongs to, in order.
fn used_domains(graph: &Graph) -> BTreeSet<String> {
    let bodies = graph.bodies();
    let graphs = std::iter::once(graph).chain(bodies.iter().map(AsRef::as_ref));
    let operators = graphs.flat_map(Graph::operators).map(|(_, operator)| operator.domain.clone());
    operators.chain([String::new()]).collect()
}

fn entries(metadata: &[(String, String)]) -> Vec<StringStringEntryProto> {
    metadata.iter().map(|(k, v)| StringStringEntryProto { key: k.clone(), value: v.clone() }).collect()
}

struct Writer {
    opset: u32,
    functions: RefCell<Functions>,
}

/// The names under which values of one graph are written, and the graph around it.
struct Scope<'a> {
    names: HashMap<ValueId, String>,
    taken: HashSet<String>,
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn is_taken(&self, name: &str) -> bool {
        let mut scope = Some(self);
        while let Some(s) = scope {
            if s.taken.contains(name) {
                return true;
            }
            scope = s.outer;
        }
        false
    }

    fn name(&self, value: ValueId) -> String {
        self.names.get(&value).cloned().unwrap_or_default()
    }

    /// A name nobody has within sight, made from `base`.
    fn claim(&mut self, base: &str) -> String {
        let numbered = (1..).map(|i| format!("{base}_{i}"));
        let mut candidates = std::iter::once(base.to_owned()).chain(numbered);
        let name = candidates.find(|name| !self.is_taken(name)).expect("there are more numbers than names");
        self.taken.insert(name.clone());
        name
    }
}

impl Writer {
    /// The message for a graph; `captured` names its captures where it is a body.
    fn graph(
        &self,
        graph: &Graph,
        around: Option<(&Scope<'_>, &[String])>,
        depth: usize,
    ) -> Result<GraphProto, ExportError> {
        if depth > MAX_BODY_DEPTH {
            return Err(ExportError::TooDeep);
        }
        let order = graph.topological_order()?;
        let scope = name_values(graph, &order, around);
        let mut proto = GraphProto {
            name: if graph.name.is_empty() { UNNAMED.to_owned() } else { graph.name.clone() },
            doc_string: graph.doc.clone(),
            metadata_props: entries(&graph.metadata),
            ..GraphProto::default()
        };
        for input in graph.inputs() {
            proto.input.push(value_info(graph, input, &scope.name(input)));
        }
        for &id in &order {
            match &graph.node(id).kind {
                NodeKind::Input => {}
                NodeKind::Constant(tensor) => {
                    proto.initializer.push(tensor_to_proto(&scope.name(ValueId { node: id, output: 0 }), tensor));
                }
                NodeKind::Operator(operator) => self.node(graph, id, operator, &scope, depth, &mut proto)?,
            }
        }
        for output in graph.outputs() {
            let made_as = scope.name(output.value);
            if made_as != output.name {
                proto.node.push(identity(made_as, output.name.clone()));
            }
            let known = &graph.fact(output.value).ty;
            let ty = if output.declared == Type::Unknown { known } else { &output.declared };
            let info =
                ValueInfoProto { name: output.name.clone(), r#type: Some(type_to_proto(ty)), ..Default::default() };
            proto.output.push(info);
        }
        Ok(proto)
    }

    fn node(
        &self,
        graph: &Graph,
        id: NodeId,
        operator: &Operator,
        scope: &Scope<'_>,
        depth: usize,
        proto: &mut GraphProto,
    ) -> Result<(), ExportError> {
        let node = graph.node(id);
        let inputs = graph.node_inputs(id);
        let (own, captured) = inputs.split_at(inputs.len() - node.num_captures());
        let captured: Vec<String> = captured.iter().flatten().map(|&v| scope.name(v)).collect();
        let fewest_inputs = operator.schema().map_or(0, |schema| schema.input_arity().0);
        let mut message = NodeProto {
            input: trimmed(own.iter().map(|v| v.map_or_else(String::new, |v| scope.name(v))).collect(), fewest_inputs),
            output: trimmed(graph.node_outputs(id).map(|v| scope.name(v)).collect(), 0),
            name: node.name.clone(),
            op_type: operator.name.clone(),
            domain: operator.domain.clone(),
            doc_string: node.doc.clone(),
            metadata_props: entries(&node.metadata),
            ..NodeProto::default()
        };
        if let Some(body) = inline::body_of(operator) {
            message.overload = self.function(&operator.name, body, depth)?;
            proto.node.push(message);
            return Ok(());
        }
        let mut captured = captured.as_slice();
        for (name, value) in operator.attributes.iter() {
            message.attribute.push(self.attribute(name, value, scope, &mut captured, depth)?);
        }
        opset::rewrite(graph, id, &mut message, self.opset);
        proto.node.push(message);
        Ok(())
    }

    /// The overload of the function that this body of an operator of planish's own is.
    fn function(&self, operator: &str, body: &Graph, depth: usize) -> Result<String, ExportError> {
        let text = body.to_text();
        if let Some(overload) = self.functions.borrow().overload(operator, &text) {
            return Ok(overload);
        }
        let message = self.graph(body, None, depth + 1)?;
        Ok(self.functions.borrow_mut().add(operator, text, message, self.opset))
    }

    fn attribute(
        &self,
        name: &str,
        value: &Attribute,
        scope: &Scope<'_>,
        captured: &mut &[String],
        depth: usize,
    ) -> Result<AttributeProto, ExportError> {
        let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
        let mut body = |graph: &Graph| {
            let (own, rest) = captured.split_at(graph.captures().len().min(captured.len()));
            *captured = rest;
            self.graph(graph, Some((scope, own)), depth + 1)
        };
        let kind = match value {
            Attribute::Int(v) => {
                proto.i = Some(*v);
                AttributeType::Int
            }
            Attribute::Float(v) => {
                proto.f = Some(*v);
                AttributeType::Float
            }
            Attribute::String(v) => {
                proto.s = Some(Bytes::copy_from_slice(v.as_bytes()));
                AttributeType::String
            }
            Attribute::Tensor(v) => {
                proto.t = Some(Box::new(tensor_to_proto("", v)));
                AttributeType::Tensor
            }
            Attribute::Graph(v) => {
                proto.g = Some(Box::new(body(v)?));
                AttributeType::Graph
            }
            Attribute::Type(v) => {
                proto.tp = Some(Box::new(type_to_proto(v)));
                AttributeType::TypeProto
            }
            Attribute::Ints(v) => {
                proto.ints.clone_from(v);
                AttributeType::Ints
            }
            Attribute::Floats(v) => {
                proto.floats.clone_from(v);
                AttributeType::Floats
            }
            Attribute::Strings(v) => {
                proto.strings = v.iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect();
                AttributeType::Strings
            }
            Attribute::Tensors(v) => {
                proto.tensors = v.iter().map(|t| tensor_to_proto("", t)).collect();
                AttributeType::Tensors
            }
            Attribute::Graphs(v) => {
                proto.graphs = v.iter().map(|g| body(g)).collect::<Result<_, _>>()?;
                AttributeType::Graphs
            }
            Attribute::Types(v) => {
                proto.type_protos = v.iter().map(type_to_proto).collect();
                AttributeType::TypeProtos
            }
        };
        proto.r#type = kind.into();
        Ok(proto)
    }
}

/// Names for all values of a graph: their own, unless a graph around has a value of that name.
fn name_values<'a>(graph: &Graph, order: &[NodeId], around: Option<(&'a Scope<'a>, &[String])>) -> Scope<'a> {
    let mut scope = Scope { names: HashMap::new(), taken: HashSet::new(), outer: around.map(|(scope, _)| scope) };
    if let Some((_, captured)) = around {
        scope.names.extend(graph.captures().zip(captured.iter().cloned()));
    }
    // The names that callers know come first; a value of another name must not take them.
    let known: HashSet<&str> = graph.outputs().iter().map(|o| o.name.as_str()).collect();
    for output in graph.outputs() {
        if graph.value_name(output.value) == output.name && !scope.names.contains_key(&output.value) {
            scope.names.insert(output.value, output.name.clone());
        }
    }
    scope.taken.extend(known.iter().map(|&name| name.to_owned()));
    for value in order.iter().flat_map(|&id| graph.node_outputs(id)) {
        let own = graph.value_name(value);
        if !own.is_empty() && !scope.names.contains_key(&value) {
            let name = scope.claim(own);
            scope.names.insert(value, name);
        }
    }
    scope
}

fn identity(from: String, to: String) -> NodeProto {
    NodeProto { input: vec![from], output: vec![to], op_type: "Identity".to_owned(), ..NodeProto::default() }
}

fn value_info(graph: &Graph, value: ValueId, name: &str) -> ValueInfoProto {
    let node = graph.node(value.node);
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(type_to_proto(&graph.fact(value).ty)),
        doc_string: node.doc.clone(),
        metadata_props: entries(&node.metadata),
    }
}

/// Absent inputs and outputs at the end of a list are left out, beyond the fewest there may be.
fn trimmed(mut names: Vec<String>, fewest: usize) -> Vec<String> {
    while names.len() > fewest && names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    names
}
