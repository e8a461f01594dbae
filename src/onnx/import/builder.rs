//! A graph under construction: unique names, and facts inferred as nodes come in.

use crate::onnx::error::ImportError;
use planish_ir::{AttributeError, Attributes, Dim, Fact, Graph, Implementation, Operator, Registry, Type, ValueId};
use planish_tensor::Tensor;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A graph under construction. Nodes come in topological order, so that what is known of a node's inputs is known when
/// the node is added.
pub(crate) struct GraphBuilder<'a> {
    pub(crate) graph: Graph,
    registry: &'a dyn Registry,
    /// Every name that the graph's message defines, used already or not.
    defined: HashSet<&'a str>,
    /// The names of the graph's outputs.
    output_names: HashSet<&'a str>,
    next_number: HashMap<String, usize>,
    warnings: Vec<String>,
    /// The names of extents of the graph's inputs, once they were asked for.
    input_symbols: Option<BTreeSet<Arc<str>>>,
}

/// An operator's name, domain and attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct OperatorDraft {
    pub(crate) domain: String,
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
    /// Why planish cannot run the node as it stands, if that is known before the registry is asked.
    pub(crate) unsupported: Option<String>,
}

impl<'a> GraphBuilder<'a> {
    pub(crate) fn new(
        name: &str,
        registry: &'a dyn Registry,
        defined: HashSet<&'a str>,
        output_names: HashSet<&'a str>,
    ) -> GraphBuilder<'a> {
        let graph = Graph::new(name);
        GraphBuilder {
            graph,
            registry,
            defined,
            output_names,
            next_number: HashMap::new(),
            warnings: Vec::new(),
            input_symbols: None,
        }
    }

    /// A graph without anything in it, to be held by a node of this one.
    pub(crate) fn empty_body(&self, name: &str) -> GraphBuilder<'a> {
        GraphBuilder::new(name, self.registry, HashSet::new(), HashSet::new())
    }

    /// Whether `name` is the name of a graph output.
    pub(crate) fn is_output_name(&self, name: &str) -> bool {
        self.output_names.contains(name)
    }

    /// The finished graph, and what contradicted in it.
    pub(crate) fn finish(self) -> (Graph, Vec<String>) {
        (self.graph, self.warnings)
    }

    /// A name made from `base` that no value has or will get.
    pub(crate) fn fresh(&mut self, base: &str) -> String {
        let base = if base.is_empty() { "value" } else { base };
        let is_free = |name: &str| !self.defined.contains(name) && self.graph.value(name).is_none();
        if is_free(base) {
            return base.to_owned();
        }
        let number = self.next_number.entry(base.to_owned()).or_insert(0);
        loop {
            *number += 1;
            let name = format!("{base}_{number}");
            if is_free(&name) {
                return name;
            }
        }
    }

    /// What is known of a value.
    pub(crate) fn fact(&self, value: ValueId) -> &Fact {
        self.graph.fact(value)
    }

    /// Adds a constant of a new name made from `base`.
    pub(crate) fn constant(&mut self, base: &str, tensor: Tensor) -> Result<ValueId, ImportError> {
        let name = self.fresh(base);
        Ok(self.graph.add_constant(&name, tensor)?)
    }

    /// Adds a node of ONNX's own domain with one output of a new name made from `base`.
    pub(crate) fn node(
        &mut self,
        base: &str,
        operator: &str,
        attributes: Attributes,
        inputs: &[Option<ValueId>],
    ) -> Result<ValueId, ImportError> {
        let draft = OperatorDraft { name: operator.to_owned(), attributes, ..OperatorDraft::default() };
        let name = self.fresh(base);
        let values = self.add("", draft, inputs, &[], &[&name])?;
        values.into_iter().next().ok_or_else(|| ImportError::invalid("a node without outputs"))
    }

    /// Adds a node and infers what its outputs are.
    pub(crate) fn add(
        &mut self,
        name: &str,
        draft: OperatorDraft,
        inputs: &[Option<ValueId>],
        captures: &[ValueId],
        outputs: &[&str],
    ) -> Result<Vec<ValueId>, ImportError> {
        let operator = self.operator(draft, inputs.len(), outputs.len())?;
        let id = self.graph.add_node(name, operator, inputs, captures, outputs)?;
        let conflicts = self.graph.infer_node(id);
        self.warnings.extend(conflicts.iter().map(ToString::to_string));
        Ok(self.graph.node_outputs(id).collect())
    }

    fn operator(&self, draft: OperatorDraft, num_inputs: usize, num_outputs: usize) -> Result<Operator, ImportError> {
        let OperatorDraft { domain, name, attributes, unsupported } = draft;
        if let Some(why) = unsupported {
            return Ok(Operator { domain, name, attributes, implementation: Implementation::Unsupported(why) });
        }
        self.registry.operator(&domain, &name, attributes, num_inputs, num_outputs).map_err(|error| match error {
            AttributeError::Unsupported(_) => ImportError::unsupported(error.to_string()),
            _ => ImportError::invalid(error.to_string()),
        })
    }

    /// Puts a declared type on top of what is known of a value.
    pub(crate) fn declare(&mut self, value: ValueId, declared: Type) {
        let mut fact = self.graph.fact(value).clone();
        let declared = self.without_new_names(&fact.ty, declared);
        match fact.ty.unify(&declared) {
            Ok(ty) => {
                fact.ty = ty;
                self.graph.set_fact(value, fact);
            }
            Err(message) => {
                let name = self.graph.value_name(value);
                self.warnings.push(format!("value {name:?}: inferred {message} as declared"));
            }
        }
    }

    /// A declared type in which extents that inference has found are those: exporters give an extent such as `past + seq`
    /// a name of its own, which says less.
    fn without_new_names(&mut self, inferred: &Type, declared: Type) -> Type {
        let (Type::Tensor { shape: Some(found), .. }, Type::Tensor { dtype, shape: Some(named) }) =
            (inferred, &declared)
        else {
            return declared;
        };
        if found.len() != named.len() {
            return declared;
        }
        let graph = &self.graph;
        let of_inputs = self.input_symbols.get_or_insert_with(|| {
            let dims = graph.inputs().chain(graph.captures()).filter_map(|input| graph.fact(input).shape());
            dims.flatten().flat_map(Dim::symbols).collect()
        });
        let is_new = |dim: &Dim| dim.as_symbol().is_some_and(|name| !of_inputs.contains(name));
        let dims = found.iter().zip(named).map(|(found, named)| {
            let stays = found.is_unknown() || !is_new(named);
            if stays { named.clone() } else { found.clone() }
        });
        Type::Tensor { dtype: *dtype, shape: Some(dims.collect()) }
    }

    /// Adds warnings from a body.
    pub(crate) fn warn(&mut self, warnings: Vec<String>) {
        self.warnings.extend(warnings);
    }
}
