//! Rewrites of a graph that keep what it computes.
//!
//! A [`Rule`] is one file: the formula it looks for, when it applies, what it puts in place, and its proof. The
//! pipeline is one list of passes, each some rules that share a traversal or a function over the whole graph.
//! The driver brings rules to nodes and sees to everything that is the same for all of them.
#![forbid(unsafe_code)]

mod bodies;
mod counting;
mod definition;
mod driver;
mod explain;
mod fold;
mod heads;
mod norm;
mod order;
mod patch;
pub mod pattern;
mod pipeline;
#[cfg(test)]
mod proof;
pub mod quantize;
#[cfg(test)]
mod random;
mod rule;
mod weights;

mod absorb_expands;
mod add_two;
mod attention_cache;
mod attention_groups;
mod attention_heads;
mod attention_masks;
mod cancel_splits;
mod flatten_concats;
mod fold_constants;
mod fold_shape_operands;
mod fuse_activations;
mod fuse_affine_conv;
mod fuse_attention;
mod fuse_block_weights;
mod fuse_channel_norm;
mod fuse_conv_affine;
mod fuse_conv_batch_norm;
mod fuse_conv_integer;
mod fuse_dynamic_product;
mod fuse_elementwise;
mod fuse_epilogue;
mod fuse_gelu;
mod fuse_gemm;
mod fuse_group_norm;
mod fuse_layer_norm;
mod fuse_lookup;
mod fuse_magnitude;
mod fuse_ort_activation;
mod fuse_ort_gelu;
mod fuse_ort_matmul;
mod fuse_pad_conv;
mod fuse_quantized_conv;
mod fuse_quantized_gemm;
mod fuse_quantized_product;
mod fuse_rms_norm;
mod fuse_rotary;
mod fuse_skip_norm;
mod fuse_swiglu;
mod inline_bodies;
mod merge_casts;
mod merge_clips;
mod merge_equal_constants;
mod merge_equal_nodes;
mod merge_equal_shapes;
mod merge_extremes;
mod merge_products;
mod merge_reshapes;
mod merge_transposes;
mod name_outputs;
mod open_gemm;
mod push_quantization;
mod push_transposes;
mod remove_dead_nodes;
mod remove_neutral_elements;
mod remove_noops;
mod remove_sequences;
mod remove_zero_states;
mod safe_softmax;
mod shape_of_input;
mod shift_ranges;
mod slice_gathered_columns;
mod sum_equal_weights;
mod trim_padding;
mod unbind_heads;
mod widen_weights;

pub use driver::PROVENANCE_KEY;
pub use explain::{Missed, PassReport, Report, Rewrite};
pub use patch::{Operand, Patch};
pub use pattern::Match;
pub use pipeline::{OptimizeOptions, Optimizer, Target, bind_symbols, optimize, optimize_with, rule_names};
pub use rule::{Cx, No, Outcome, Rule, must, no};
