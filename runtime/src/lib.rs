//! The executor: plans a graph once, then runs it many times, from any number of threads.
//!
//! A [`Session`] takes a graph in and lets go of it: what remains is a [`Plan`] of steps in order, constants that
//! operators could not pack into a form of their own, and for each value the step that reads it last, which gets the
//! value to keep. Freed buffers go back to the session's [`Memory`](planish_tensor::Memory) and serve the next step.
#![forbid(unsafe_code)]

mod error;
mod generate;
mod plan;
mod session;
mod support;

pub use error::{RunError, RunErrorKind, SessionError};
pub use generate::generate_input;
pub use session::{
    DEFAULT_MAX_MEMORY_BYTES, InputInfo, NodeProfile, OutputInfo, RunOptions, Session, SessionOptions, check_runs,
    choose_outputs, physical_cores,
};
pub use support::{Unsupported, grouped, unsupported};
