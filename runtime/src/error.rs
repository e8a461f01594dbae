//! Why a session could not be made or a run not finish.

use crate::{Unsupported, grouped};
use planish_ir::{GraphError, OpError};
use std::fmt;

/// Why a graph cannot become a session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SessionError {
    /// Operators that planish cannot run, and inputs of types that they do not take: all of them.
    Unsupported(Vec<Unsupported>),
    /// The graph breaks a promise that graphs give.
    Graph(GraphError),
    /// A value asked for as an output that the graph does not make.
    NoSuchValue(String),
    /// A node could not prepare its constants.
    Prepare {
        /// The node's name.
        node: String,
        /// What happened.
        source: OpError,
    },
    /// The threads could not be started.
    Threads(String),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SessionError::Unsupported(list) => {
                write!(f, "unsupported: {} node(s) cannot run", list.len())?;
                grouped(list).into_iter().try_for_each(|((operator, reason), nodes)| {
                    write!(f, "\n  {operator}: {reason}\n    {} node(s): {}", nodes.len(), nodes.join(", "))
                })
            }
            SessionError::Graph(error) => error.fmt(f),
            SessionError::NoSuchValue(name) => write!(f, "the model has no value named {name:?}"),
            SessionError::Prepare { node, source } => write!(f, "node {node:?}: {source}"),
            SessionError::Threads(message) => write!(f, "cannot start threads: {message}"),
        }
    }
}

impl std::error::Error for SessionError {}

impl From<GraphError> for SessionError {
    fn from(error: GraphError) -> Self {
        SessionError::Graph(error)
    }
}

/// Why a run did not finish. The session stays usable.
#[derive(Clone, Debug, PartialEq)]
pub struct RunError {
    kind: RunErrorKind,
    node: Option<String>,
    message: String,
}

/// What class of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunErrorKind {
    /// An input is missing, unknown, or of another type or shape than the model declares.
    Input,
    /// A node refused the values it was given.
    Invalid,
    /// A node met something planish cannot compute.
    Unsupported,
    /// The memory limit was hit.
    Memory,
    /// The time limit passed.
    DeadlineExceeded,
    /// The run was cancelled.
    Cancelled,
    /// A broken promise of planish itself.
    Internal,
}

impl RunError {
    /// The class of the error.
    pub fn kind(&self) -> RunErrorKind {
        self.kind
    }

    /// The node it happened in, where it happened in one.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }

    pub(crate) fn input(message: impl Into<String>) -> RunError {
        RunError { kind: RunErrorKind::Input, node: None, message: message.into() }
    }

    pub(crate) fn in_node(node: &str, operator: &str, error: &OpError) -> RunError {
        let kind = match error.root() {
            OpError::Invalid(_) => RunErrorKind::Invalid,
            OpError::Unsupported(_) => RunErrorKind::Unsupported,
            OpError::Memory(_) => RunErrorKind::Memory,
            OpError::DeadlineExceeded => RunErrorKind::DeadlineExceeded,
            OpError::Cancelled => RunErrorKind::Cancelled,
            _ => RunErrorKind::Internal,
        };
        RunError { kind, node: Some(node.to_owned()), message: format!("node {node:?} ({operator}): {error}") }
    }

    pub(crate) fn outside_nodes(error: &OpError) -> RunError {
        RunError { node: None, message: error.to_string(), ..RunError::in_node("", "", error) }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RunError {}
