//! Why a file could not become a graph.

use crate::onnx::wire::{WireError, WireErrorKind};
use planish_ir::GraphError;
use planish_tensor::{MemoryError, PayloadError, ShapeError};
use std::error::Error;
use std::fmt;

/// Why a model, or a tensor file, could not be imported.
///
/// The message says what was wrong and where: `node "layer3/conv" (Conv, opset 11): attribute "pads": expected …`.
#[derive(Debug)]
pub struct ImportError {
    kind: ImportErrorKind,
    message: String,
    node: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What sort of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImportErrorKind {
    /// The file could not be read.
    Io,
    /// The bytes are not the message they should be.
    Wire,
    /// The model breaks a rule of the standard.
    Invalid,
    /// The model is right, but needs something that planish does not have.
    Unsupported,
    /// Data in another file is refused or missing.
    External,
    /// A limit on the model's size or nesting is exceeded.
    Limit,
    /// The memory budget is spent.
    Memory,
}

impl ImportError {
    pub(crate) fn new(kind: ImportErrorKind, message: impl Into<String>) -> ImportError {
        ImportError { kind, message: message.into(), node: None, source: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> ImportError {
        ImportError::new(ImportErrorKind::Invalid, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> ImportError {
        ImportError::new(ImportErrorKind::Unsupported, message)
    }

    pub(crate) fn external(message: impl Into<String>) -> ImportError {
        ImportError::new(ImportErrorKind::External, message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> ImportError {
        ImportError::new(ImportErrorKind::Limit, message)
    }

    pub(crate) fn io(what: impl fmt::Display, source: std::io::Error) -> ImportError {
        ImportError::caused(ImportErrorKind::Io, format!("{what}: {source}"), source)
    }

    pub(crate) fn caused(
        kind: ImportErrorKind,
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> ImportError {
        ImportError { kind, message: message.into(), node: None, source: Some(Box::new(source)) }
    }

    /// The same error, found within `place`.
    #[must_use]
    pub(crate) fn at(mut self, place: impl fmt::Display) -> ImportError {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same error, found within the node that `place` describes; the innermost node is the one named.
    #[must_use]
    pub(crate) fn at_node(mut self, name: &str, place: impl fmt::Display) -> ImportError {
        self.node.get_or_insert_with(|| name.to_owned());
        self.at(place)
    }

    /// What sort of thing went wrong.
    pub fn kind(&self) -> ImportErrorKind {
        self.kind
    }

    /// The name of the node it went wrong in, if it did in one; its first output where it has no name.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ImportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn Error + 'static))
    }
}

impl From<WireError> for ImportError {
    fn from(error: WireError) -> ImportError {
        let kind = match error.kind() {
            WireErrorKind::TooDeep | WireErrorKind::TooMany | WireErrorKind::TooMuchMemory => ImportErrorKind::Limit,
            _ => ImportErrorKind::Wire,
        };
        ImportError::caused(kind, error.to_string(), error)
    }
}

impl From<MemoryError> for ImportError {
    fn from(error: MemoryError) -> ImportError {
        ImportError::caused(ImportErrorKind::Memory, error.to_string(), error)
    }
}

impl From<PayloadError> for ImportError {
    fn from(error: PayloadError) -> ImportError {
        match error {
            PayloadError::Memory(error) => error.into(),
            other => ImportError::caused(ImportErrorKind::Invalid, other.to_string(), other),
        }
    }
}

impl From<ShapeError> for ImportError {
    fn from(error: ShapeError) -> ImportError {
        ImportError::caused(ImportErrorKind::Invalid, error.to_string(), error)
    }
}

impl From<GraphError> for ImportError {
    fn from(error: GraphError) -> ImportError {
        ImportError::caused(ImportErrorKind::Invalid, error.to_string(), error)
    }
}
