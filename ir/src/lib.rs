//! The intermediate representation: a graph of operators over values, what is known of each value, and what an operator
//! must be able to do.
//!
//! A [`Graph`] holds operators in exactly one form, that of ONNX's newest opset. Edits go through its methods, which
//! keep producers, readers and names right; [`Graph::verify`] checks what is always true. Operators themselves live one
//! crate above and come in through [`Op`] and [`Registry`].
#![forbid(unsafe_code)]

mod attribute;
mod check;
mod compare;
pub mod dim;
mod eval;
mod fact;
mod graph;
mod infer;
mod interpret;
mod op;
mod schema;
pub mod text;

pub use attribute::{Attribute, AttributeKind, Attributes};
pub use check::TypeProblem;
pub use dim::Dim;
pub use eval::{CancelToken, EvalCx, Inputs, OpError, Outputs, RunBody};
pub use fact::{Fact, MAX_TRACKED_CONTENTS, Type};
pub use graph::{Graph, GraphError, GraphOutput, Node, NodeId, NodeKind, Use, ValueId};
pub use infer::Conflict;
pub use interpret::Interpreter;
pub use op::{AttributeError, Axis, Facts, Implementation, InferError, NodeView, Op, Operator, Prepared, Registry};
pub use schema::*;
