//! The memory that a run takes at most, read off the graph that is run and its facts: which value is there from when to
//! when.

use crate::cost::byte_size;
use planish_ir::{Graph, NodeId, ValueId};
use std::collections::HashMap;

/// Most that the values made in a run take at once, weights and inputs aside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Peak {
    /// Bytes of the values that are there at that moment.
    pub bytes: u64,
    /// The node that runs at that moment, as the graph describes it.
    pub node: String,
    /// How many values count nothing, because their size is not known.
    pub num_unknown: usize,
}

/// Operators whose output is their first input in another shape.
const VIEWS: &[&str] = &["Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"];

/// Operators that write over an input of the output's size which nobody reads later.
const IN_PLACE: &[&str] = &[
    "Abs",
    "Add",
    "BatchNormalization",
    "Clip",
    "Div",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pow",
    "RMSNormalization",
    "Reciprocal",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Sub",
    "Swish",
    "Tanh",
    "planish::Elementwise",
];

/// The peak of a run of `graph` as it is, node by node in the order of a session. What operators take beside their inputs
/// and outputs, and what bodies of control flow take, is not counted.
pub fn planned_peak(graph: &Graph) -> Peak {
    let steps = graph.live_topological_order().unwrap_or_default();
    let lasts = last_reads(graph, &steps);
    let (mut peak, mut live_bytes) = (Peak::default(), 0);
    // Which buffer a value lies in, and for each buffer its size and the values in it that are still to be read.
    let (mut buffer_of, mut buffers): (HashMap<ValueId, usize>, Vec<(u64, usize)>) = Default::default();
    for (step, &id) in steps.iter().enumerate() {
        let Some(operator) = graph.node(id).operator().map(|operator| operator.full_name()) else { continue };
        let ends = |value: &ValueId| lasts.get(value) == Some(&Last::Step(step));
        let mut read: Vec<ValueId> = graph.node_inputs(id).into_iter().flatten().collect();
        read.sort_unstable();
        read.dedup();
        for (i, value) in graph.node_outputs(id).enumerate().filter(|(_, value)| lasts.contains_key(value)) {
            let Some(size) = byte_size(graph.fact(value)).as_known().and_then(|size| u64::try_from(size).ok()) else {
                peak.num_unknown += 1;
                continue;
            };
            let of_input = |value: &ValueId| buffer_of.get(value).copied();
            let reused = if VIEWS.contains(&operator.as_str()) {
                let viewed = graph.node_inputs(id).first().copied().flatten();
                let Some(buffer) = viewed.as_ref().and_then(of_input) else { continue };
                Some(buffer)
            } else if IN_PLACE.contains(&operator.as_str()) && i == 0 {
                let free = read.iter().filter(|value| ends(value)).filter_map(of_input);
                free.into_iter().find(|&buffer| buffers[buffer] == (size, 1))
            } else {
                None
            };
            let buffer = reused.unwrap_or_else(|| {
                live_bytes += size;
                buffers.push((size, 0));
                buffers.len() - 1
            });
            buffers[buffer].1 += 1;
            buffer_of.insert(value, buffer);
        }
        if live_bytes > peak.bytes {
            (peak.bytes, peak.node) = (live_bytes, graph.describe(id));
        }
        for buffer in read.iter().filter(|value| ends(value)).filter_map(|value| buffer_of.get(value)) {
            let (size, readers) = &mut buffers[*buffer];
            *readers -= 1;
            live_bytes -= if *readers == 0 { *size } else { 0 };
        }
    }
    peak
}

/// When a value is read for the last time.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Step(usize),
    /// It is given out.
    Never,
}

/// When each value that is read at all is read for the last time.
fn last_reads(graph: &Graph, steps: &[NodeId]) -> HashMap<ValueId, Last> {
    let mut lasts = HashMap::new();
    for (step, &id) in steps.iter().enumerate() {
        lasts.extend(graph.node_inputs(id).into_iter().flatten().map(|value| (value, Last::Step(step))));
    }
    lasts.extend(graph.outputs().iter().map(|output| (output.value, Last::Never)));
    lasts
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ops::StandardRegistry;

    fn peak(text: &str) -> Peak {
        let mut graph = Graph::from_text(text, &StandardRegistry).expect("the text is a graph");
        graph.infer().expect("its shapes fit");
        planned_peak(&graph)
    }

    #[test]
    fn a_value_is_there_until_it_is_read_last() {
        // What Concat reads and what it makes.
        let text = "g (float[10] x) => (float[40] y) {
            a = Concat <axis = 0> (x, x)
            y = Concat <axis = 0> (a, a)
        }";
        assert_eq!(peak(text).bytes, 4 * (20 + 40));
        let kept = "g (float[10] x) => (float[40] y, float[20] a) {
            a = Concat <axis = 0> (x, x)
            b = Concat <axis = 0> (a, a)
            y = Neg (b)
        }";
        assert_eq!(peak(kept).bytes, 4 * (20 + 40));
    }

    #[test]
    fn what_nobody_reads_later_is_written_over_and_views_take_nothing() {
        let text = "g (float[10] x) => (float[10] y) <int64[2] shape = {2, 5}, int64[1] ten = {10}> {
            a = Neg (x)
            b = Exp (a)
            c = Reshape (b, shape)
            d = Tanh (c)
            y = Reshape (d, ten)
        }";
        assert_eq!(peak(text).bytes, 4 * 10);
        let read_again = "g (float[10] x) => (float[10] y) {
            a = Neg (x)
            b = Exp (a)
            y = Add (a, b)
        }";
        assert_eq!(peak(read_again).bytes, 4 * 20);
    }

    #[test]
    fn sizes_that_are_not_known_are_counted() {
        let peak = peak("g (float[n] x) => (float[n] y) { y = Neg (x) }");
        assert_eq!((peak.bytes, peak.num_unknown), (0, 1));
    }
}
