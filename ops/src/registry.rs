//! From names and attributes to operators.

use crate::OPERATORS;
use planish_ir::{AttributeError, Attributes, Implementation, NodeView, Op, Operator, Registry, Schema};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The static side of an operator: its signature, and how a node becomes one.
pub trait Define: Op + Sized {
    /// The signature.
    const SCHEMA: Schema;

    /// The operator of a node whose attributes' kinds and numbers of inputs and outputs fit the signature. Values that
    /// make no sense are refused here, values that planish cannot run are [`AttributeError::Unsupported`].
    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError>;
}

/// One line of the list of operators.
pub struct Entry {
    /// The signature.
    pub schema: &'static Schema,
    parse: fn(&NodeView<'_>) -> Result<Arc<dyn Op>, AttributeError>,
}

/// The list's line for an operator.
pub const fn entry<T: Define>() -> Entry {
    Entry { schema: &T::SCHEMA, parse: |node| Ok(Arc::new(T::parse(node)?)) }
}

/// The registry of everything in [`OPERATORS`].
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardRegistry;

impl StandardRegistry {
    fn find(&self, domain: &str, name: &str) -> Option<&'static Entry> {
        static BY_NAME: OnceLock<HashMap<(&'static str, &'static str), &'static Entry>> = OnceLock::new();
        let by_name = BY_NAME.get_or_init(|| OPERATORS.iter().map(|e| ((e.schema.domain, e.schema.name), e)).collect());
        by_name.get(&(domain, name)).copied()
    }
}

impl Registry for StandardRegistry {
    fn schema(&self, domain: &str, name: &str) -> Option<&'static Schema> {
        self.find(domain, name).map(|entry| entry.schema)
    }

    fn operator(
        &self,
        domain: &str,
        name: &str,
        attributes: Attributes,
        num_inputs: usize,
        num_outputs: usize,
    ) -> Result<Operator, AttributeError> {
        let implementation = match self.find(domain, name) {
            None => Implementation::Unsupported(why_not(domain, name).to_owned()),
            Some(entry) => {
                let parsed = NodeView::new(entry.schema, &attributes, num_inputs, num_outputs)
                    .and_then(|node| (entry.parse)(&node));
                match parsed {
                    Ok(op) => Implementation::Op { schema: entry.schema, op },
                    Err(AttributeError::Unsupported(what)) => Implementation::Unsupported(what),
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(Operator { domain: domain.to_owned(), name: name.to_owned(), attributes, implementation })
    }
}

/// Why an operator that is not in the list cannot run.
fn why_not(domain: &str, name: &str) -> &'static str {
    match (domain, name) {
        ("ai.onnx.preview.training", "Gradient") => {
            "planish does not differentiate graphs; export the gradient's own nodes instead"
        }
        _ => "no such operator in planish",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_has_no_duplicates() {
        let names: Vec<_> = OPERATORS.iter().map(|e| (e.schema.domain, e.schema.name)).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }
}
