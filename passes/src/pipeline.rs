//! The passes, in order.
//!
//! The list is run through until a round changes nothing, then that of the target, if it has one. Where a line must stand
//! before another, it says why.

use crate::bodies::{BRING_CONSTANTS_IN, optimize_bodies};
use crate::driver::{Editor, RuleSet, State};
use crate::explain::Report;
use crate::fold::GROWTH_BYTES;
use crate::rule::Rule;
use crate::{
    absorb_expands, add_two, attention_cache, attention_groups, attention_heads, attention_masks, cancel_splits,
    flatten_concats, fold_constants, fold_shape_operands, fuse_activations, fuse_affine_conv, fuse_attention,
    fuse_block_weights, fuse_channel_norm, fuse_conv_affine, fuse_conv_batch_norm, fuse_conv_integer,
    fuse_dynamic_product, fuse_elementwise, fuse_epilogue, fuse_gelu, fuse_gemm, fuse_group_norm, fuse_layer_norm,
    fuse_lookup, fuse_magnitude, fuse_ort_activation, fuse_ort_gelu, fuse_ort_matmul, fuse_pad_conv,
    fuse_quantized_conv, fuse_quantized_gemm, fuse_quantized_product, fuse_rms_norm, fuse_rotary, fuse_skip_norm,
    fuse_swiglu, inline_bodies, merge_casts, merge_clips, merge_equal_constants, merge_equal_nodes, merge_equal_shapes,
    merge_extremes, merge_products, merge_reshapes, merge_transposes, name_outputs, open_gemm, push_quantization,
    push_transposes, remove_dead_nodes, remove_neutral_elements, remove_noops, remove_sequences, remove_zero_states,
    safe_softmax, shape_of_input, shift_ranges, slice_gathered_columns, sum_equal_weights, trim_padding, unbind_heads,
    widen_weights,
};
use planish_ir::{Dim, Fact, Graph, Type};
use std::collections::HashSet;
use std::sync::OnceLock;

/// One pass over a graph and its bodies.
#[derive(Debug)]
pub(crate) enum Pass {
    /// Rules that share a traversal, under a name for them all.
    Rules(&'static str, &'static [&'static Rule]),
    /// A function over the whole graph, which applies patches under its own name.
    Whole(&'static str, fn(&mut Editor<'_>)),
}

/// Rules that make graphs smaller without changing any arithmetic, so that the others find what they look for.
const CLEAN: Pass = Pass::Rules(
    "clean",
    &[
        &fold_constants::RULE,
        &inline_bodies::IF,
        &inline_bodies::LOOP,
        &remove_noops::RULE,
        &remove_neutral_elements::RULE,
        &fold_shape_operands::RULE,
        &shape_of_input::RULE,
        &absorb_expands::RULE,
        &absorb_expands::LEADING,
        &merge_reshapes::RULE,
        &merge_transposes::RULE,
        &merge_casts::RULE,
        &merge_clips::RULE,
        &merge_extremes::RULE,
        &add_two::RULE,
        &flatten_concats::RULE,
        &cancel_splits::JOINED,
        &cancel_splits::SPLIT,
        &remove_zero_states::RULE,
        &remove_sequences::ELEMENT,
        &remove_sequences::JOINED,
        &remove_sequences::SPLIT,
        &push_transposes::RULE,
        &shift_ranges::RULE,
        &slice_gathered_columns::PAIRS,
        &slice_gathered_columns::FLAT,
        &unbind_heads::SPLIT,
    ],
);

const PIPELINE: &[Pass] = &[
    // First, so that nothing is done for nodes that nobody needs.
    remove_dead_nodes::PASS,
    name_outputs::PASS,
    // Before folding, which makes constants of small matrices of ones.
    Pass::Rules("sums", &[&sum_equal_weights::RULE]),
    CLEAN,
    // Before nodes are merged: nodes that read equal constants are equal only once these are one.
    merge_equal_constants::PASS,
    // Before fusions: a formula that exporters compute twice, such as x − mean(x), is then one value with two readers.
    merge_equal_nodes::PASS,
    merge_equal_shapes::PASS,
    // Before factors go into weights: a half or a sixth is the last of a function's definition.
    Pass::Rules(
        "fuse-activations",
        &[
            &fuse_gelu::ERF,
            &fuse_gelu::TANH,
            &fuse_activations::SWISH,
            &fuse_activations::HARD_SIGMOID,
            &fuse_activations::HARD_SWISH,
            &fuse_activations::HARD_SWISH_OF_SIGMOID,
            &fuse_activations::SOFTPLUS,
            &fuse_activations::MISH,
            &fuse_activations::SOFTMAX,
            &fuse_magnitude::RULE,
            &safe_softmax::NAN,
            &safe_softmax::ROW,
        ],
    ),
    Pass::Rules(
        "weights",
        &[
            &fuse_pad_conv::RULE,
            &trim_padding::RULE,
            &fuse_conv_batch_norm::RULE,
            &fuse_conv_affine::RULE,
            &fuse_conv_affine::SQUEEZED,
            &fuse_affine_conv::RULE,
            &fuse_affine_conv::NORM,
            &fuse_gemm::ADD,
            &fuse_gemm::AFFINE,
            &fuse_gemm::NORM,
        ],
    ),
    Pass::Rules("fuse-layer-norm", &[&fuse_layer_norm::RULE, &fuse_group_norm::RULE]),
    // Each after the forms of which it is a part: a norm that subtracts no mean is the last of another.
    Pass::Rules("fuse-plain-layer-norm", &[&fuse_layer_norm::PLAIN]),
    Pass::Rules("fuse-rms-norm", &[&fuse_rms_norm::RULE]),
    Pass::Rules("fuse-plain-rms-norm", &[&fuse_rms_norm::PLAIN]),
    Pass::Rules(
        "attention",
        &[
            &fuse_rotary::RULE,
            &fuse_rotary::PAIRS,
            &fuse_rotary::NEIGHBOURS,
            &fuse_rotary::PART,
            &fuse_attention::RULE,
            &attention_groups::RULE,
            &attention_cache::RULE,
        ],
    ),
    // After caches, behind which queries stand in their order.
    Pass::Rules("attention-masks", &[&attention_masks::BOOLEAN, &attention_masks::CAUSAL, &attention_masks::NUMBERS]),
    // After caches too, which join keys and values by head.
    Pass::Rules(
        "attention-heads",
        &[&attention_heads::ROTARY, &attention_heads::ATTENTION, &attention_heads::BATCHED, &unbind_heads::ATTENTION],
    ),
    // Last: what looks for a product with weights would find a part of one.
    Pass::Rules("merge-products", &[&merge_products::RULE]),
];

/// What only the newest opset can say. No other rule looks into these.
const OF_NEWEST_OPSET: &[Pass] = &[Pass::Rules("gates", &[&fuse_swiglu::RULE])];

/// The first opset that has what [`OF_NEWEST_OPSET`] makes.
const NEWEST_OPSET: u32 = 28;

/// What makes operators of domain `planish`. Last of all, for no other rule looks into these.
const FOR_PLANISH: &[Pass] = &[
    // First: all others look for constant weights.
    Pass::Rules("widen-weights", &[&widen_weights::RULE]),
    // Before products are formed, so that quantization meets those that it belongs to.
    Pass::Rules("push-quantization", &[&push_quantization::DOWN, &push_quantization::UP, &push_quantization::BACK]),
    // Before what opens a Gemm and what makes other nodes of biases and activations.
    Pass::Rules(
        "quantized-products",
        &[
            &fuse_quantized_conv::BIASED,
            &fuse_quantized_conv::PLAIN,
            &fuse_quantized_gemm::GEMM,
            &fuse_quantized_product::RULE,
            &fuse_dynamic_product::BIASED,
            &fuse_conv_integer::RULE,
        ],
    ),
    // After the forms with a bias or a quantized result, of which these are parts.
    Pass::Rules("plain-quantized-products", &[&fuse_dynamic_product::PLAIN, &fuse_quantized_gemm::BIASED]),
    Pass::Rules("float-quantized-products", &[&fuse_quantized_gemm::PLAIN]),
    // After products, which quantize by themselves.
    Pass::Rules("fuse-lookup", &[&fuse_lookup::RULE]),
    // After products whose other side is quantized too, before the rest are taken apart and given epilogues.
    fuse_block_weights::PASS,
    // Before epilogues, which follow plain products.
    Pass::Rules("open-gemm", &[&open_gemm::RULE]),
    Pass::Rules("fuse-safe-softmax", &[&safe_softmax::FUSED_NAN, &safe_softmax::FUSED_ROW]),
    Pass::Rules("fuse-epilogues", &[&fuse_epilogue::CONV, &fuse_epilogue::MATMUL]),
    // After epilogues, which cost nothing beside the product that they follow.
    Pass::Rules("fuse-elementwise", &[&fuse_elementwise::RULE]),
];

/// What ONNX Runtime has kernels for: operators of its domain `com.microsoft`, and those on quantized tensors.
const FOR_ORT: &[Pass] = &[
    Pass::Rules(
        "ort-products",
        &[
            &fuse_dynamic_product::BIASED,
            &fuse_ort_activation::CONV,
            &fuse_ort_activation::GEMM,
            &fuse_quantized_product::RULE,
            &fuse_ort_matmul::SCALED,
        ],
    ),
    Pass::Rules("ort-transformers", &[&fuse_ort_gelu::BIAS, &fuse_ort_gelu::QUICK, &fuse_skip_norm::RULE]),
    // After the forms with an activation, a bias or a factor, of which these are parts.
    Pass::Rules(
        "ort-plain-products",
        &[&fuse_dynamic_product::PLAIN, &fuse_ort_activation::SUM, &fuse_ort_matmul::PLAIN],
    ),
];

/// Standard forms that are faster in ONNX Runtime and not in planish. What they need of transposes is pushed about afterwards.
const FORMS_FOR_ORT: &[Pass] = &[
    Pass::Rules("channel-norms", &[&fuse_channel_norm::RULE]),
    // After the norm with a scale, of which it is a part.
    Pass::Rules("plain-channel-norms", &[&fuse_channel_norm::PLAIN]),
];

/// The lists of all targets.
const PHASES: [&[Pass]; 5] = [PIPELINE, FOR_PLANISH, FOR_ORT, OF_NEWEST_OPSET, FORMS_FOR_ORT];

/// Rounds after which the pipeline stops though the last changed something.
const MAX_ROUNDS: usize = 6;

impl Pass {
    fn name(&self) -> &'static str {
        match self {
            Pass::Rules(name, _) | Pass::Whole(name, _) => name,
        }
    }
}

/// Who is to run the graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Any runtime: operators of the ONNX standard, and what the model came with.
    #[default]
    Standard,
    /// ONNX Runtime.
    Ort,
    /// planish: its own operators too, each defined by a graph of standard ones.
    Planish,
}

impl Target {
    /// Which lists are run through, each until nothing changes before the next begins, for a model written in this opset.
    fn phases(self, opset: Option<u32>) -> &'static [usize] {
        let has_newest = opset.is_some_and(|opset| opset >= NEWEST_OPSET);
        match self {
            Target::Standard if has_newest => &[0, 3],
            Target::Standard => &[0],
            Target::Planish if has_newest => &[0, 3, 1],
            Target::Planish => &[0, 1],
            Target::Ort => &[0, 4, 0, 2],
        }
    }
}

/// How a graph is to be optimized.
#[derive(Clone, Debug, Default)]
pub struct OptimizeOptions {
    /// Who is to run the graph.
    pub target: Target,
    /// The opset that the result is written in, if that is known. Operators that few runtimes have yet are made only for a
    /// model that asks for them by its opset.
    pub opset: Option<u32>,
    /// The names of the only rules to use; all if empty.
    pub only: Vec<String>,
    /// The names of rules not to use.
    pub skip: Vec<String>,
    /// No rewrite after this many.
    pub stop_after: Option<usize>,
    /// Whether to collect why rules left places alone.
    pub explain: bool,
    /// Rules of the caller's own, brought to the graph when those of the pipeline are done.
    pub extra: Vec<&'static Rule>,
}

/// The names of all rules, in the order of the pipeline.
pub fn rule_names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = vec![BRING_CONSTANTS_IN];
    for pass in PHASES.into_iter().flatten() {
        let of_pass = match pass {
            Pass::Rules(_, rules) => rules.iter().map(|r| r.name).collect(),
            Pass::Whole(name, _) => vec![*name],
        };
        for name in of_pass {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// Whether a rule makes operators of ONNX Runtime's domain.
#[cfg(test)]
pub(crate) fn is_for_ort(rule: &str) -> bool {
    FOR_ORT
        .iter()
        .chain(FORMS_FOR_ORT)
        .any(|pass| matches!(pass, Pass::Rules(_, rules) if rules.iter().any(|r| r.name == rule)))
}

/// The rules of each pass of each phase, their patterns compiled once.
fn compiled() -> &'static [Vec<Option<RuleSet>>] {
    static COMPILED: OnceLock<Vec<Vec<Option<RuleSet>>>> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let compile = |pass: &Pass| match pass {
            Pass::Rules(_, rules) => Some(RuleSet::new(rules)),
            Pass::Whole(..) => None,
        };
        PHASES.iter().map(|phase| phase.iter().map(compile).collect()).collect()
    })
}

/// Makes dimensions numbers that the graph knows by these names.
pub fn bind_symbols(graph: &mut Graph, bindings: &[(String, i64)]) {
    let bound = |ty: &Type| match ty {
        Type::Tensor { dtype, shape: Some(shape) } => {
            let bind = |dim: &Dim| {
                bindings.iter().fold(dim.clone(), |dim, (name, value)| dim.substitute(name, &Dim::known(*value)))
            };
            Type::Tensor { dtype: *dtype, shape: Some(shape.iter().map(bind).collect()) }
        }
        other => other.clone(),
    };
    let ids: Vec<_> = graph.nodes().map(|(id, _)| id).collect();
    for value in ids.into_iter().flat_map(|id| graph.node_outputs(id)).collect::<Vec<_>>() {
        let fact = graph.fact(value);
        // Contents are found anew from the types.
        let fact = Fact { ty: bound(&fact.ty), constant: fact.constant.clone(), contents: None };
        graph.set_fact(value, fact);
    }
    for output in graph.clear_outputs() {
        // The name was unique before.
        let _ = graph.add_output(&output.name, output.value, bound(&output.declared));
    }
    // What contradicts the binding stays as it was; running the graph will tell.
    let _ = graph.infer();
}

/// Runs every pass over the graph.
pub fn optimize(graph: &mut Graph) -> Report {
    optimize_with(graph, &OptimizeOptions::default())
}

/// Runs the passes over the graph in the given way.
pub fn optimize_with(graph: &mut Graph, options: &OptimizeOptions) -> Report {
    let mut optimizer = Optimizer::new(options);
    while optimizer.step(graph).is_some() {}
    optimizer.finish(graph)
}

/// The pipeline, pass by pass, for those who look at the graph in between.
pub struct Optimizer {
    state: State,
    phases: &'static [usize],
    /// How many of them are done.
    num_done: usize,
    next: usize,
    round: usize,
    /// How many rewrites there were when the round began.
    begun_with: usize,
    /// The caller's own rules.
    extra: RuleSet,
}

/// The pass of the caller's own rules, which come from the options.
const EXTRA: Pass = Pass::Rules("extra", &[]);

impl Optimizer {
    /// A pipeline that has not begun.
    pub fn new(options: &OptimizeOptions) -> Optimizer {
        let (only, skip) = (options.only.clone(), options.skip.clone());
        let is_enabled =
            move |name: &str| (only.is_empty() || only.iter().any(|n| n == name)) && !skip.iter().any(|n| n == name);
        let state = State {
            report: Report::default(),
            wants_explanation: options.explain,
            stop_after: options.stop_after.unwrap_or(usize::MAX),
            growth_left_bytes: GROWTH_BYTES,
            is_enabled: Box::new(is_enabled),
        };
        let extra = RuleSet::new(&options.extra);
        Optimizer {
            state,
            phases: options.target.phases(options.opset),
            num_done: 0,
            next: 0,
            round: 0,
            begun_with: 0,
            extra,
        }
    }

    /// Runs the next pass and tells its name; `None` when there is nothing left to do.
    pub fn step(&mut self, graph: &mut Graph) -> Option<&'static str> {
        let mut phase = *self.phases.get(self.num_done)?;
        // Those of the caller's own come last of the first phase.
        let num_passes = PHASES[phase].len() + usize::from(self.num_done == 0);
        if self.next == num_passes {
            let has_changed = self.num_rewrites() > self.begun_with;
            self.round += 1;
            if !has_changed || self.round == MAX_ROUNDS {
                (self.num_done, self.round) = (self.num_done + 1, 0);
                phase = *self.phases.get(self.num_done)?;
            }
            (self.next, self.begun_with) = (0, self.num_rewrites());
        }
        if self.state.is_spent() {
            return None;
        }
        let (pass, rules) = match PHASES[phase].get(self.next) {
            Some(pass) => (pass, compiled()[phase][self.next].as_ref()),
            None => (&EXTRA, Some(&self.extra)),
        };
        run_pass(graph, pass, rules, &mut self.state, 0);
        self.next += 1;
        Some(pass.name())
    }

    /// How many rewrites there were so far.
    pub fn num_rewrites(&self) -> usize {
        self.state.report.rewrites.len()
    }

    /// What was done, and what nearly was.
    pub fn finish(mut self, graph: &Graph) -> Report {
        if self.state.wants_explanation {
            let bodies = graph.bodies();
            let graphs = std::iter::once(graph).chain(bodies.iter().map(AsRef::as_ref));
            let nodes: HashSet<String> = graphs.flat_map(|g| g.operators().map(|(id, _)| g.describe(id))).collect();
            self.state.report.conclude(&nodes);
        }
        self.state.report
    }
}

/// Runs one pass over a graph, then over the bodies in it.
pub(crate) fn run_pass(graph: &mut Graph, pass: &Pass, rules: Option<&RuleSet>, state: &mut State, depth: usize) {
    let mut editor = Editor::new(graph, state);
    match (pass, rules) {
        (Pass::Whole(name, run), _) => {
            if (editor.state.is_enabled)(name) {
                run(&mut editor);
            }
        }
        (Pass::Rules(..), Some(rules)) => editor.run(rules),
        (Pass::Rules(..), None) => {}
    }
    optimize_bodies(&mut editor, pass, rules, depth);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(compiled().len(), PHASES.len());
    }

    #[test]
    fn bound_symbols_become_numbers_everywhere() {
        let text = "g (float[batch, 3] x) => (float[batch, 3] y) { s = Shape (x) y = Expand (x, s) }";
        let mut graph = Graph::from_text(text, &planish_ops::StandardRegistry).unwrap();
        bind_symbols(&mut graph, &[("batch".to_owned(), 4)]);
        let s = graph.value("s").unwrap();
        assert_eq!(graph.fact(s).known_ints(), Some(vec![4, 3]));
        assert_eq!(graph.outputs()[0].declared.to_string(), "float[4, 3]");
    }

    #[test]
    fn names_are_unique_among_rules() {
        let names = rule_names();
        let distinct: HashSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len());
    }
}
