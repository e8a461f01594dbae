//! SequenceAt(SequenceConstruct(a, b, c), 1)   ⇒   b
//! ConcatFromSequence(SequenceConstruct(a, b, c))   ⇒   Concat(a, b, c)
//! SequenceAt(SplitToSequence(x, split), 1)   ⇒   the second output of Split(x, split)
//!
//! when: positions and parts are known. torch writes `chunk`, `unbind` and `stack` this way.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, NodeId, ValueId};

/// Takes an element of a sequence that was just made.
pub static ELEMENT: Rule = Rule::matching(
    "take-sequence-element",
    "s = &SequenceConstruct(...)
     y = SequenceAt(s, $position)",
    element,
);

/// Joins the elements of a sequence without making it.
pub static JOINED: Rule = Rule::matching(
    "join-sequence-elements",
    "s = &SequenceConstruct(...)
     y = ConcatFromSequence(s)",
    joined,
);

/// Splits a tensor into parts without making a sequence of them.
pub static SPLIT: Rule = Rule::on("split-without-sequence", &["SplitToSequence"], split);

fn elements(cx: &Cx<'_>, id: NodeId) -> Vec<ValueId> {
    cx.graph.node_inputs(id).iter().flatten().copied().collect()
}

/// The place that a position, perhaps counted from the end, means.
fn place(cx: &Cx<'_>, position: ValueId, count: usize) -> Result<usize, No> {
    let position = cx.ints(position).and_then(|p| p.first().copied()).ok_or("the position is not known")?;
    let counted = if position < 0 { position.checked_add(count as i64) } else { Some(position) };
    let place = counted.and_then(|p| usize::try_from(p).ok()).filter(|&p| p < count);
    place.ok_or_else(|| "the position is outside of the sequence".into())
}

fn element(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let elements = elements(cx, found.node("s"));
    let place = place(cx, found["position"], elements.len())?;
    Ok(Patch::by_value(found, elements[place]))
}

fn joined(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let elements = elements(cx, found.node("s"));
    let axis = cx.int(found.root(), "axis").ok_or(No::SILENT)?;
    let mut patch = Patch::new();
    let mut operands: Vec<Operand> = elements.iter().map(|&v| v.into()).collect();
    if cx.int(found.root(), "new_axis") == Some(1) {
        let axes = patch.ints(&[axis]);
        operands = operands.iter().map(|&v| patch.operator("Unsqueeze", Attributes::new(), &[v, axes])).collect();
    }
    let y = patch.operator("Concat", Attributes::new().with("axis", axis), &operands);
    Ok(patch.replace(cx.output(found.root()), y))
}

fn split(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let x = cx.input(id, 0).ok_or(No::SILENT)?;
    let rank = cx.rank(x).ok_or("the rank is not known")?;
    let axis = cx.axis(id, "axis", rank).ok_or(No::SILENT)?;
    let sequence = cx.output(id);
    must(!cx.graph.is_output(sequence), "the sequence is a graph output")?;
    let extent = cx.shape(x).and_then(|s| s[axis].as_known()).ok_or("the extent is not known")?;
    let parts = parts(cx, id, extent)?;
    let keeps_axis = cx.input(id, 1).is_some() || cx.int(id, "keepdims") == Some(1);
    let mut readers = Vec::new();
    for reader in cx.graph.uses(sequence) {
        must(cx.operator(reader.node).is_some_and(|o| o.is("SequenceAt")), "the sequence is read as a whole")?;
        let position = cx.input(reader.node, 1).ok_or(No::SILENT)?;
        readers.push((cx.output(reader.node), place(cx, position, parts.len())?));
    }
    must(!readers.is_empty(), No::SILENT)?;
    let mut patch = Patch::new();
    let sizes = patch.ints(&parts);
    let attributes = Attributes::new().with("axis", axis as i64);
    let mut made = patch.operators("Split", attributes, &[x.into(), sizes], parts.len());
    if !keeps_axis {
        let axes = patch.ints(&[axis as i64]);
        made = made.iter().map(|&v| patch.operator("Squeeze", Attributes::new(), &[v, axes])).collect();
    }
    Ok(readers.into_iter().fold(patch, |patch, (value, place)| patch.replace(value, made[place])))
}

/// A tensor is not split into more parts than this.
const MAX_PARTS: i64 = 64;

/// The extents of the parts.
fn parts(cx: &Cx<'_>, id: NodeId, extent: i64) -> Result<Vec<i64>, No> {
    let parts = match cx.input(id, 1) {
        None => vec![1; usize::try_from(extent.min(MAX_PARTS + 1)).unwrap_or(0)],
        Some(split) => {
            let sizes = cx.ints(split).ok_or("the extents of the parts are not known")?;
            match (cx.rank(split), sizes.as_slice()) {
                (Some(0), &[size]) => {
                    must(size > 0 && extent / size <= MAX_PARTS, "too many parts")?;
                    let whole = vec![size; usize::try_from(extent / size).unwrap_or(0)];
                    whole.into_iter().chain((extent % size > 0).then_some(extent % size)).collect()
                }
                _ => sizes,
            }
        }
    };
    must((1..=MAX_PARTS as usize).contains(&parts.len()), "too many parts, or none")?;
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[2, 4] x, float[2, 4] z) => (float[] y) <int64 last = {{-1}}, int64 first = {{0}}, int64 two = {{2}}, int64 three = {{3}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn elements_are_taken_without_a_sequence() {
        Proof::of_all(&["take-sequence-element", "remove-dead-nodes"])
            .before(&text(
                "s = SequenceConstruct (x, z) a = SequenceAt (s, last) b = SequenceAt (s, first) y = Sub (a, b)",
            ))
            .after("y = Sub (z, x)")
            .exact();
    }

    #[test]
    fn elements_are_joined_without_a_sequence() {
        Proof::of("join-sequence-elements")
            .before(&text("s = SequenceConstruct (x, z) y = ConcatFromSequence (s) <axis: int = 1>"))
            .after("y = Concat (x, z) <axis: int = 1>")
            .exact();
        Proof::of("join-sequence-elements")
            .before(&text("s = SequenceConstruct (x, z) y = ConcatFromSequence (s) <axis: int = 0, new_axis: int = 1>"))
            .after("y_unsqueeze = Unsqueeze (x, y_constant) y_unsqueeze_1 = Unsqueeze (z, y_constant) y = Concat (y_unsqueeze, y_unsqueeze_1) <axis: int = 0>")
            .exact();
    }

    #[test]
    fn a_tensor_is_split_without_a_sequence() {
        Proof::of("split-without-sequence")
            .before(&text("s = SplitToSequence (x, two) <axis: int = 1> a = SequenceAt (s, first) b = SequenceAt (s, last) y = Sub (a, b)"))
            .after("a, b = Split (x, a_constant) <axis: int = 1> y = Sub (a, b)")
            .exact();
    }

    #[test]
    fn open_positions_and_other_readers_keep_the_sequence() {
        Proof::of("take-sequence-element")
            .before(&text("s = SequenceConstruct (x, z) y = SequenceAt (s, three)"))
            .does_not_fire("outside");
        Proof::of("split-without-sequence")
            .before(&text("s = SplitToSequence (x, two) <axis: int = 1> y = ConcatFromSequence (s) <axis: int = 1>"))
            .does_not_fire("as a whole");
    }
}
