//! A model: a graph and what the file says about it.

use crate::onnx::{ExportError, ExportOptions, ImportError, ImportOptions, import_bytes, import_file, save};
use bytes::Bytes;
use planish_ir::Graph;
use planish_ir::text::quoted;
use planish_passes::{OptimizeOptions, Report, Target};
use planish_runtime::{Session, SessionError, SessionOptions, check_runs, choose_outputs};
use std::path::Path;

/// A model: a graph to look into, rewrite, run and write back, and what its file says about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// What the model computes.
    pub graph: Graph,
    /// What its file says about it.
    pub info: ModelInfo,
    /// What is odd about the model but does not keep it from being used: shapes that contradict each other, parts that
    /// were left aside.
    pub warnings: Vec<String>,
}

/// What a model's file says about it (`ModelProto`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// The version of the file format.
    pub ir_version: i64,
    /// The tool that made the model.
    pub producer_name: String,
    /// That tool's version.
    pub producer_version: String,
    /// The model's name space, as a reversed domain name.
    pub domain: String,
    /// The model's own version.
    pub model_version: i64,
    /// A human-readable remark.
    pub doc: String,
    /// Metadata as pairs of key and value.
    pub metadata: Vec<(String, String)>,
    /// The opsets that the file was written in, by domain; ONNX's own is the empty string.
    pub opset_imports: Vec<(String, i64)>,
    /// Whether the file also holds training graphs, which are not imported.
    pub has_training_info: bool,
}

impl Model {
    /// Loads an ONNX file, and external data from beneath its folder.
    pub fn load(path: impl AsRef<Path>) -> Result<Model, ImportError> {
        Model::load_with(path, &ImportOptions::default())
    }

    /// Loads an ONNX file in the given way.
    pub fn load_with(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Model, ImportError> {
        import_file(path.as_ref(), options)
    }

    /// Reads a model that is in memory already. It has no folder, so external data is refused.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Model, ImportError> {
        import_bytes(bytes.into(), &ImportOptions::default())
    }

    /// Rewrites the graph so that it computes the same with less, and tells what was done.
    pub fn optimize(&mut self) -> Report {
        self.optimize_with(&OptimizeOptions::default())
    }

    /// Rewrites the graph with chosen rules.
    pub fn optimize_with(&mut self, options: &OptimizeOptions) -> Report {
        planish_passes::optimize_with(&mut self.graph, options)
    }

    /// Writes the model as an ONNX file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ExportError> {
        self.save_with(path, &ExportOptions::default())
    }

    /// Writes the model as an ONNX file in the given way.
    pub fn save_with(&self, path: impl AsRef<Path>, options: &ExportOptions) -> Result<(), ExportError> {
        save(self, path.as_ref(), options)
    }

    /// Loads the model to run and keeps it.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, SessionError> {
        self.clone().into_session(options)
    }

    /// Loads the model to run and lets go of it, so that weights are in memory once.
    pub fn into_session(mut self, options: &SessionOptions) -> Result<Session, SessionError> {
        self.rewrite_to_run(options)?;
        Session::new(self.graph, options)
    }

    /// Makes of the graph what a session runs.
    pub(crate) fn rewrite_to_run(&mut self, options: &SessionOptions) -> Result<(), SessionError> {
        if options.optimize {
            // What cannot run is told of the graph as it came: rules may do away with it.
            check_runs(&self.graph)?;
            // First, so that values asked for by name are there afterwards.
            choose_outputs(&mut self.graph, options)?;
            // Joined weights are copies that a session would hold beside the file while it loads, and its products gain nothing.
            let skip = vec!["merge-products".to_owned()];
            self.optimize_with(&OptimizeOptions { target: Target::Planish, skip, ..OptimizeOptions::default() });
        }
        Ok(())
    }

    /// The model in ONNX's own textual syntax: a header, then the graph.
    pub fn to_text(&self) -> String {
        let info = &self.info;
        let opsets: Vec<String> =
            info.opset_imports.iter().map(|(domain, version)| format!("{}: {version}", quoted(domain))).collect();
        let mut text = format!("<\n   ir_version: {},\n   opset_import: [{}]", info.ir_version, opsets.join(", "));
        for (key, value) in [
            ("producer_name", &info.producer_name),
            ("producer_version", &info.producer_version),
            ("domain", &info.domain),
            ("doc_string", &info.doc),
        ] {
            if !value.is_empty() {
                text.push_str(&format!(",\n   {key}: {}", quoted(value)));
            }
        }
        if !info.metadata.is_empty() {
            let pairs: Vec<String> =
                info.metadata.iter().map(|(k, v)| format!("{}: {}", quoted(k), quoted(v))).collect();
            text.push_str(&format!(",\n   metadata_props: [{}]", pairs.join(", ")));
        }
        text + "\n>\n" + &self.graph.to_text()
    }
}
