//! Constants of equal contents   ⇒   one constant.
//!
//! Tied weights that an exporter wrote twice take half the memory again, and what reads them can be merged in turn.

use crate::driver::Editor;
use crate::patch::Patch;
use crate::pipeline::Pass;
use planish_ir::{NodeId, ValueId};
use planish_tensor::{DType, Tensor};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Merges equal constants.
pub(crate) const PASS: Pass = Pass::Whole("merge-equal-constants", run);

/// How many bytes at each end of a tensor are hashed; tensors of equal hash are compared whole.
const SAMPLE_BYTES: usize = 512;

/// How many different tensors of one hash are compared with another.
const MAX_CANDIDATES: usize = 8;

fn run(editor: &mut Editor<'_>) {
    let mut seen: HashMap<(DType, Vec<usize>, u64), Vec<NodeId>> = HashMap::new();
    let constants: Vec<NodeId> =
        editor.graph.nodes().filter(|(_, node)| node.constant().is_some()).map(|(id, _)| id).collect();
    for id in constants {
        let Some(tensor) = editor.graph.node(id).constant() else { continue };
        let key = (tensor.dtype(), tensor.shape().dims().to_vec(), sample_hash(tensor));
        let candidates = seen.entry(key).or_default();
        let is_twin = |&&earlier: &&NodeId| {
            let other = editor.graph.node(earlier).constant();
            other.is_some_and(|other| other.shares_contents_with(tensor) || other == tensor)
        };
        let twin = candidates.iter().find(is_twin).copied();
        match twin {
            Some(earlier) => {
                let value = |node| ValueId { node, output: 0 };
                let patch = Patch::new().replace(value(id), value(earlier));
                let _ = editor.apply("merge-equal-constants", id, &[id], patch);
            }
            None if candidates.len() < MAX_CANDIDATES => candidates.push(id),
            None => {}
        }
    }
}

fn sample_hash(tensor: &Tensor) -> u64 {
    let mut hasher = DefaultHasher::new();
    match tensor.as_strings() {
        Ok(strings) => strings.hash(&mut hasher),
        Err(_) => {
            let bytes = tensor.bytes();
            bytes[..bytes.len().min(SAMPLE_BYTES)].hash(&mut hasher);
            bytes[bytes.len().saturating_sub(SAMPLE_BYTES)..].hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    #[test]
    fn equal_constants_become_one() {
        Proof::of("merge-equal-constants")
            .before("g (float[2] x) => (float[2] y) <float[2] v = {1, 2}, float[2] w = {1, 2}> { a = Add (x, v) y = Mul (a, w) }")
            .after("a = Add (x, v)  y = Mul (a, v)")
            .exact();
    }

    #[test]
    fn another_dtype_shape_or_bit_keeps_them_apart() {
        for constants in
            ["float[2] v = {1, 2}, float[1, 2] w = {1, 2}", "float[2] v = {0.0, 2}, float[2] w = {-0.0, 2}"]
        {
            let text = format!("g (float[2] x) => (float[] y) <{constants}> {{ a = Add (x, v) y = Mul (a, w) }}");
            Proof::of("merge-equal-constants").before(&text).does_not_fire("");
        }
    }
}
