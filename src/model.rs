//! A model: a graph and what its file says about it.

use planish_ir::Graph;

/// A model as it was imported, or is to be exported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The computation.
    pub graph: Graph,
    /// What the file says about itself.
    pub info: ModelInfo,
    /// What the importer found odd without having to refuse it, such as declared shapes that contradict the inferred
    /// ones.
    pub warnings: Vec<String>,
}

/// What a model's file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// The version of the file format.
    pub ir_version: i64,
    /// The tool that wrote the file.
    pub producer_name: String,
    /// That tool's version.
    pub producer_version: String,
    /// The model's namespace, a reversed domain name.
    pub domain: String,
    /// The model's own version.
    pub model_version: i64,
    /// Documentation for people.
    pub doc: String,
    /// Free-form notes, as pairs of key and value.
    pub metadata: Vec<(String, String)>,
    /// The operator sets that the file uses: domain and version. The graph itself holds every operator in its newest
    /// form.
    pub opset_imports: Vec<(String, i64)>,
    /// Whether the file also holds training graphs, which are not imported.
    pub has_training_info: bool,
}
