//! Rewrites of a graph that keep what it computes.
#![forbid(unsafe_code)]

mod pipeline;
mod remove_dead_nodes;

pub use pipeline::{PassReport, optimize};
