//! From a model's message to a graph.
//!
//! Comes in: a [`ModelProto`], of which nothing is believed. Goes out: a [`Model`] whose graph verifies and holds every
//! operator in its newest form, or an [`ImportError`] that names node and value. On the way initializers and `Constant`
//! nodes become constants, model-local functions are inlined, values that bodies read from outside become captures, nodes
//! are put in order, and older operator forms are upgraded (see [`upgrade`](crate::onnx::upgrade)).
//!
//! An operator that planish does not know, or cannot run with these attributes, is kept as it is: the graph can be looked
//! at, and asked what it lacks.

pub(crate) mod builder;
mod frame;
mod function;
mod graph;
mod node;
mod order;
#[cfg(test)]
mod tests;

use crate::model::{Model, ModelInfo};
use crate::onnx::error::ImportError;
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto};
use crate::onnx::types::TypeReader;
use crate::onnx::wire::{self, Outline};
use bytes::Bytes;
use frame::{Frame, Opsets};
pub(crate) use graph::UNNAMED;
use planish_ir::{Graph, Registry};
use planish_ops::StandardRegistry;
use planish_tensor::{Memory, map_file};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// The deepest nesting of graphs in graphs.
pub const MAX_SUBGRAPH_DEPTH: usize = 32;

/// The deepest nesting of calls of model-local functions.
pub const MAX_CALL_DEPTH: usize = 32;

/// Inlining functions may always bring a model to this many nodes.
const FREE_EXPANDED_NODES: usize = 100_000;

/// Beyond that, a model may have this many times the nodes of its file once its functions are inlined: a few functions
/// that call each other twice could otherwise stand for any number. Layers written as functions call one of twenty nodes
/// twenty times.
const EXPANDED_PER_NODE: usize = 32;

/// The most bytes of names and attribute lists that inlining functions may copy.
pub const MAX_COPIED_BYTES: usize = 64 << 20;

/// The newest version of ONNX's own operator set that is understood.
pub const NEWEST_OPSET: i64 = 28;

/// What an import may use.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// What the tensors are charged to. Contents that are shared with the file are not charged.
    pub memory: Memory,
    /// Maps the model's files into memory instead of reading them. See [`map_file`] for what that demands of them.
    pub map_files: bool,
}

/// The memory of an import unless the caller says otherwise.
const DEFAULT_MEMORY_BYTES: usize = 4 << 30;

impl Default for ImportOptions {
    fn default() -> ImportOptions {
        ImportOptions { memory: Memory::without_pool(DEFAULT_MEMORY_BYTES), map_files: false }
    }
}

/// Imports the model in a file, with the data files beneath the file's folder.
pub fn import_file(path: &Path, options: &ImportOptions) -> Result<Model, ImportError> {
    let external = ExternalFiles::beneath(path.parent().unwrap_or(Path::new("")))?.mapped(options.map_files);
    let (bytes, external) =
        read_model(path, options, external).map_err(|e| ImportError::io("cannot read", e).at(path.display()))?;
    let model = wire::decode_model(bytes).map_err(ImportError::from).and_then(|m| import(m, &external, options));
    model.map_err(|e| e.at(path.display()))
}

/// The bytes of a model's file; those of large tensors are left to `external` where the file is not mapped.
fn read_model(path: &Path, options: &ImportOptions, external: ExternalFiles) -> io::Result<(Bytes, ExternalFiles)> {
    let mut file = File::open(path)?;
    if options.map_files && file.metadata()?.is_file() {
        return Ok((map_file(&file)?, external));
    }
    let outline = Outline::read(&mut file)?;
    Ok((outline.bytes.clone(), external.with_gaps(outline, file)))
}

/// Imports the model in `bytes`, which has no data files.
pub fn import_bytes(bytes: Bytes, options: &ImportOptions) -> Result<Model, ImportError> {
    import(wire::decode_model(bytes)?, &ExternalFiles::none(), options)
}

/// Imports a decoded model.
pub fn import(mut model: ModelProto, external: &ExternalFiles, options: &ImportOptions) -> Result<Model, ImportError> {
    let info = info(&model)?;
    let Some(mut graph) = model.graph.take() else {
        return Err(ImportError::invalid("the model has no graph"));
    };
    let functions = function::index(&model.functions)?;
    let mut importer = Importer {
        registry: &StandardRegistry,
        external,
        memory: &options.memory,
        functions,
        definitions: HashMap::new(),
        frames: Vec::new(),
        types: TypeReader::default(),
        nodes_left: max_expanded_nodes(&graph, &model.functions),
        copied_bytes_left: MAX_COPIED_BYTES,
    };
    let initializers = importer.take_initializers(&mut graph)?;
    let opsets = Rc::new(Opsets::new(&model.opset_import)?);
    let (graph, warnings) = importer.main_graph(&graph, initializers, opsets)?;
    graph.verify()?;
    options.memory.trim();
    Ok(Model { graph, info, warnings })
}

/// The state of an import.
struct Importer<'a> {
    registry: &'a dyn Registry,
    external: &'a ExternalFiles,
    memory: &'a Memory,
    functions: function::Index<'a>,
    /// The bodies of planish's own operators that were read already, by name and overload.
    definitions: HashMap<(&'a str, &'a str), Arc<Graph>>,
    /// The graph being imported, around it the graphs and function calls that it lies in, outermost first.
    frames: Vec<Frame<'a>>,
    types: TypeReader,
    nodes_left: usize,
    copied_bytes_left: usize,
}

/// The most nodes that the model may have once its functions are inlined. Nodes in bodies do not raise it.
fn max_expanded_nodes(graph: &GraphProto, functions: &[FunctionProto]) -> usize {
    let in_functions: usize = functions.iter().map(|function| function.node.len()).sum();
    let written = graph.node.len().saturating_add(in_functions);
    written.saturating_mul(EXPANDED_PER_NODE).clamp(FREE_EXPANDED_NODES, wire::MAX_NODES)
}

fn info(model: &ModelProto) -> Result<ModelInfo, ImportError> {
    if model.ir_version < 3 {
        let version = model.ir_version;
        return Err(ImportError::unsupported(format!(
            "ir_version {version}: version 3 of the format or newer is needed"
        )));
    }
    Ok(ModelInfo {
        ir_version: model.ir_version,
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        domain: model.domain.clone(),
        model_version: model.model_version,
        doc: model.doc_string.clone(),
        metadata: pairs(&model.metadata_props),
        opset_imports: model.opset_import.iter().map(|o| (canonical_domain(&o.domain).to_owned(), o.version)).collect(),
        has_training_info: !model.training_info.is_empty(),
    })
}

fn pairs(entries: &[StringStringEntryProto]) -> Vec<(String, String)> {
    entries.iter().map(|e| (e.key.clone(), e.value.clone())).collect()
}

/// ONNX's own domain has two spellings.
fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// What a node is called in messages: its name, or that of its first value.
fn node_name(node: &NodeProto) -> &str {
    if node.name.is_empty() {
        node.output.iter().find(|o| !o.is_empty()).map_or("", String::as_str)
    } else {
        &node.name
    }
}
