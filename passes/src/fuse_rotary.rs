//! y = x · cos + Concat(−x₂, x₁) · sin   ⇒   y = RotaryEmbedding(x, cos', sin'),   where x = [x₁, x₂]
//! y = Concat(x₁ · cos − x₂ · sin, x₁ · sin + x₂ · cos)   ⇒   y = RotaryEmbedding(x, cos, sin),   or interleaved, where
//! x₁ and x₂ are the features of even and odd number and each of the results stands beside the other
//! y = x · cos + beside(−x₂, x₁) · sin   ⇒   y = RotaryEmbedding(x, cos', sin', interleaved), where those features stand beside
//! each other and cos and sin repeat each number for its neighbour
//! y = Concat(RotaryEmbedding(x₁, cos, sin), x₂)   ⇒   y = RotaryEmbedding(x, cos, sin, rotary_embedding_dim)
//!
//! when: x is `[batch, heads, positions, features]`, x₁ and x₂ are the halves of its features; the second halves of cos and
//! sin repeat the first, of which cos' and sin' are made, `[batch, positions, features / 2]`. That is shown by following
//! them up to `Concat(angles, angles)` or to a table whose halves are equal.

use crate::heads::operand;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, Axis, Dim, NodeId, ValueId};
use planish_tensor::{DType, Tensor, f16};

/// The form that rotates halves.
pub static RULE: Rule = Rule::matching(
    "fuse-rotary-embedding",
    "first = &Slice(x, ...) | &Split(x, ...)
     second = &Slice(x, ...) | &Split(x, ...)[1]
     rotated = Concat(-second, first)
     y = x * cos + rotated * sin",
    rewrite,
);

/// The form that computes each half of the result.
pub static PAIRS: Rule = Rule::matching(
    "fuse-rotary-pairs",
    "first = &Slice(x, ...) | &Split(x, ...)
     second = &Slice(x, ...) | &Split(x, ...)[1]
     a = first * cos - second * sin
     b = first * sin + second * cos
     beside = Concat(Unsqueeze(a, $axis), Unsqueeze(b, $axis)) | Concat(Reshape(a, _), Reshape(b, _))
     y = Concat(a, b) | Reshape(beside, _)",
    rewrite_pairs,
);

/// The form that rotates neighbours.
pub static NEIGHBOURS: Rule = Rule::matching(
    "fuse-rotary-neighbours",
    "first = &Slice(x, ...)
     second = &Slice(x, ...)
     beside = Concat(Unsqueeze(-second, $axis), Unsqueeze(first, $axis)) | Concat(Reshape(-second, _), Reshape(first, _))
     y = x * cos + Reshape(beside, _) * sin",
    |cx, found| {
        let x = found["x"];
        let Some([batch, _, positions, features]) = cx.shape(x) else {
            return Err("x is not known to be of rank 4".into());
        };
        let size = features.as_known().filter(|size| size % 2 == 0).ok_or("the number of features is not known")?;
        must(cx.same_shape(x, cx.output(found.root())), "the result is not known to be of the shape of x")?;
        must(stand_beside(cx, found["beside"], size), "the pairs are not known to stand beside each other")?;
        let is_pair = is_strided(cx, found["first"], 0, size) && is_strided(cx, found["second"], 1, size);
        must(is_pair, "x₁ and x₂ are not the features of even and odd number")?;
        let mut patch = Patch::new();
        let one_of_pair = |cx: &Cx<'_>, patch: &mut Patch, value: ValueId| {
            part(cx, patch, value, &Repeated::Beside(size), MAX_STEPS_UP)
        };
        let cos = rows(cx, &mut patch, found["cos"], x, [batch, positions], one_of_pair)?;
        let sin = rows(cx, &mut patch, found["sin"], x, [batch, positions], one_of_pair)?;
        let attributes = Attributes::new().with("interleaved", 1i64);
        let new = patch.operator("RotaryEmbedding", attributes, &[x.into(), cos, sin]);
        Ok(patch.replace(cx.output(found.root()), new))
    },
);

/// Whether what is joined are pairs along a last axis of 2.
fn stand_beside(cx: &Cx<'_>, beside: ValueId, size: i64) -> bool {
    let is_last = cx.rank(beside).is_some_and(|rank| cx.axis(beside.node, "axis", rank) == Some(rank - 1));
    is_last && cx.known_last(beside, 2).is_some_and(|last| last == [size / 2, 2])
}

/// The form that leaves some features as they are.
pub static PART: Rule = Rule::matching(
    "rotary-embedding-of-part",
    "part = Slice(x, ...) | &Split(x, ...)
     rotated = RotaryEmbedding(part, cos, sin)
     rest = Slice(x, ...) | &Split(x, ...)[1]
     y = Concat(rotated, rest)",
    rewrite_part,
);

fn rewrite_pairs(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (x, y) = (found["x"], cx.output(found.root()));
    let Some([batch, _, positions, features]) = cx.shape(x) else {
        return Err("x is not known to be of rank 4".into());
    };
    let size = features.as_known().filter(|size| size % 2 == 0).ok_or("the number of features is not known")?;
    must(cx.same_shape(x, y), "the result is not known to be of the shape of x")?;
    let is_interleaved = found.get("beside").is_some();
    if let Some(beside) = found.get("beside") {
        must(stand_beside(cx, beside, size), "the pairs are not known to stand beside each other")?;
        let is_pair = |index| is_strided(cx, found[["first", "second"][index]], index as i64, size);
        must(is_pair(0) && is_pair(1), "x₁ and x₂ are not the features of even and odd number")?;
    } else {
        must(cx.axis(found.root(), "axis", 4) == Some(3), "halves are joined along another axis")?;
        must(is_part(cx, found["first"], 0, size / 2), "x₁ is not the first half of the features")?;
        must(is_part(cx, found["second"], size / 2, size), "x₂ is not the second half of the features")?;
    }
    let mut patch = Patch::new();
    let as_is = |_: &Cx<'_>, _: &mut Patch, value: ValueId| Ok(Operand::from(value));
    for name in ["cos", "sin"] {
        let last = cx.shape(found[name]).and_then(|s| s.last()).and_then(Dim::as_known);
        must(last == Some(size / 2), "cos or sin are not of half of the features")?;
    }
    let cos = rows(cx, &mut patch, found["cos"], x, [batch, positions], as_is)?;
    let sin = rows(cx, &mut patch, found["sin"], x, [batch, positions], as_is)?;
    let attributes = if is_interleaved { Attributes::new().with("interleaved", 1i64) } else { Attributes::new() };
    let new = patch.operator("RotaryEmbedding", attributes, &[x.into(), cos, sin]);
    Ok(patch.replace(y, new))
}

/// Whether a value is every second element of its source along the last of 4 axes, from `start` on.
fn is_strided(cx: &Cx<'_>, value: ValueId, start: i64, size: i64) -> bool {
    let ints = |index: usize| cx.input(value.node, index).and_then(|v| cx.ints(v));
    let is_last = matches!(ints(3).as_deref(), Some([3 | -1]));
    let is_second = ints(4).as_deref() == Some(&[2]);
    let is_slice = cx.operator(value.node).is_some_and(|o| o.is("Slice"));
    let (Some(&[from]), Some(&[to])) = (ints(1).as_deref(), ints(2).as_deref()) else { return false };
    is_slice && is_last && is_second && from == start && to >= size
}

fn rewrite_part(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let (x, rotated) = (found["x"], found["rotated"].node);
    let Some([_, heads, _, features]) = cx.shape(x) else {
        return Err("x is not known to be of rank 4".into());
    };
    let size = features.as_known().ok_or("the number of features is not known")?;
    let of_part = cx.known_last(found["part"], 1).ok_or("the number of rotated features is not known")?[0];
    must(cx.axis(found.root(), "axis", 4) == Some(3), "features are joined along another axis")?;
    must(cx.int(rotated, "rotary_embedding_dim") == Some(0), "a part of the part is rotated")?;
    must(is_part(cx, found["part"], 0, of_part), "x₁ is not the first features")?;
    must(is_part(cx, found["rest"], of_part, size), "x₂ is not the other features")?;
    let mut attributes = Attributes::new().with("rotary_embedding_dim", of_part);
    if cx.int(rotated, "interleaved") == Some(1) {
        attributes = attributes.with("interleaved", 1i64);
    }
    // ONNX Runtime wants the number though x has an axis of heads.
    attributes = attributes.with("num_heads", heads.as_known().ok_or("the number of heads is not known")?);
    Ok(Patch::by_operator(found, "RotaryEmbedding", attributes, &[x.into(), found["cos"].into(), found["sin"].into()]))
}

/// Steps that are taken up from cos or sin.
const MAX_STEPS_UP: usize = 12;

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let x = found["x"];
    let Some([batch, _, positions, features]) = cx.shape(x) else {
        return Err("x is not known to be of rank 4".into());
    };
    let size = features.as_known().filter(|size| size % 2 == 0).ok_or("the number of features is not known")?;
    must(cx.axis(found.node("rotated"), "axis", 4) == Some(3), "halves are joined along another axis")?;
    must(is_part(cx, found["first"], 0, size / 2), "x₁ is not the first half of the features")?;
    must(is_part(cx, found["second"], size / 2, size), "x₂ is not the second half of the features")?;
    let mut patch = Patch::new();
    let first_half =
        |cx: &Cx<'_>, patch: &mut Patch, value: ValueId| part(cx, patch, value, &Repeated::Halves(size), MAX_STEPS_UP);
    let cos = rows(cx, &mut patch, found["cos"], x, [batch, positions], first_half)?;
    let sin = rows(cx, &mut patch, found["sin"], x, [batch, positions], first_half)?;
    let new = patch.operator("RotaryEmbedding", Attributes::new(), &[x.into(), cos, sin]);
    Ok(patch.replace(cx.output(found.root()), new))
}

/// Whether a value made by `Slice` or `Split` is its source's elements from `start` to `end` along the last of 4 axes.
fn is_part(cx: &Cx<'_>, value: ValueId, start: i64, end: i64) -> bool {
    let node = value.node;
    if cx.operator(node).is_some_and(|o| o.is("Split")) {
        let size = cx.shape(value).and_then(|s| s.last()).and_then(Dim::as_known);
        return cx.axis(node, "axis", 4) == Some(3)
            && size == Some(end - start)
            && (value.output == 0) == (start == 0)
            && cx.graph.node(node).num_outputs() == 2;
    }
    let ints = |index: usize| cx.input(node, index).and_then(|v| cx.ints(v));
    let is_last = matches!(ints(3).as_deref(), Some([3 | -1]));
    let is_dense = cx.input(node, 4).is_none() || ints(4).as_deref() == Some(&[1]);
    let (Some(&[from]), Some(&[to])) = (ints(1).as_deref(), ints(2).as_deref()) else { return false };
    let is_end = to == end || start > 0 && to > end;
    is_last && is_dense && from == start && is_end
}

/// What `half` makes of cos or sin, as `[batch, positions, features / 2]`.
fn rows(
    cx: &Cx<'_>,
    patch: &mut Patch,
    value: ValueId,
    x: ValueId,
    [batch, positions]: [&Dim; 2],
    half: impl Fn(&Cx<'_>, &mut Patch, ValueId) -> Result<Operand, No>,
) -> Result<Operand, No> {
    let shape = cx.shape(value).ok_or("the shape of cos or sin is not known")?;
    let (rows, half) = match shape {
        [b, _, p, _] if without_heads(cx, value).is_some() => {
            let inner = without_heads(cx, value).ok_or(No::SILENT)?;
            ([b.clone(), p.clone()], half(cx, patch, inner)?)
        }
        [b, heads, p, _] if heads.as_known() == Some(1) => {
            let half = half(cx, patch, value)?;
            let axis = patch.ints(&[1]);
            ([b.clone(), p.clone()], patch.operator("Squeeze", Attributes::new(), &[half, axis]))
        }
        [p, _] => {
            let half = half(cx, patch, value)?;
            let axis = patch.ints(&[0]);
            ([Dim::known(1), p.clone()], patch.operator("Unsqueeze", Attributes::new(), &[half, axis]))
        }
        _ => return Err("cos or sin are not the same for all heads".into()),
    };
    must(Dim::provably_equal(&rows[1], positions), "cos or sin have other positions than x")?;
    if Dim::provably_equal(&rows[0], batch) {
        return Ok(half);
    }
    must(rows[0].as_known() == Some(1), "cos or sin have another batch than x")?;
    let batch = patch.operator("Shape", Attributes::new().with("start", 0i64).with("end", 1i64), &[x.into()]);
    let rest = patch.ints(&[1, 1]);
    let shape = patch.operator("Concat", Attributes::new().with("axis", 0i64), &[batch, rest]);
    Ok(patch.operator("Expand", Attributes::new(), &[half, shape]))
}

/// What is given an axis of 1 for heads by `Unsqueeze`.
fn without_heads(cx: &Cx<'_>, value: ValueId) -> Option<ValueId> {
    let inner = operand(cx, value, "Unsqueeze")?;
    let axes = cx.ints(cx.input(value.node, 1)?)?;
    (cx.rank(inner) == Some(3) && axes == [1]).then_some(inner)
}

/// How cos and sin have each of their numbers twice, along a last axis of this size.
enum Repeated {
    /// The second half repeats the first.
    Halves(i64),
    /// Each is followed by itself.
    Beside(i64),
}

/// What of a value along its last axis is repeated there.
fn part(cx: &Cx<'_>, patch: &mut Patch, value: ValueId, repeated: &Repeated, steps: usize) -> Result<Operand, No> {
    let shape = cx.shape(value).ok_or("the shape of what cos or sin are made from is not known")?;
    let rank = shape.len();
    if shape.last().is_none_or(|d| d.as_known() == Some(1)) {
        return Ok(value.into());
    }
    if let Some(tensor) = cx.constant(value) {
        must(has_equal_parts(tensor, repeated), "the halves of a table of cos or sin differ")?;
        let bounds = match *repeated {
            Repeated::Halves(size) => [0, size / 2, -1, 1],
            Repeated::Beside(size) => [0, size, -1, 2],
        };
        let [start, end, axis, step] = bounds.map(|i| patch.ints(&[i]));
        return Ok(patch.operator("Slice", Attributes::new(), &[value.into(), start, end, axis, step]));
    }
    let node = value.node;
    let operator = cx.operator(node).filter(|_| steps > 0 && value.output == 0);
    let operator =
        operator.filter(|o| o.domain.is_empty()).ok_or("the halves of cos or sin are not known to be equal")?;
    let input = |index: usize| cx.input(node, index).ok_or(No::SILENT);
    let first = input(0)?;
    let inputs = match operator.name.as_str() {
        "Concat" if matches!(repeated, Repeated::Halves(_)) => {
            let is_twice =
                cx.graph.node_inputs(node)[..] == [Some(first); 2] && cx.axis(node, "axis", rank) == Some(rank - 1);
            must(is_twice, "cos or sin are made of two different halves")?;
            return Ok(first.into());
        }
        "Cos" | "Sin" | "Cast" | "Neg" => vec![part(cx, patch, first, repeated, steps - 1)?],
        "Mul" | "Add" => {
            let other = part(cx, patch, input(1)?, repeated, steps - 1)?;
            vec![part(cx, patch, first, repeated, steps - 1)?, other]
        }
        "Unsqueeze" if keeps_last_axis(cx, node, 1, rank) => {
            vec![part(cx, patch, first, repeated, steps - 1)?, input(1)?.into()]
        }
        "Slice" if keeps_last_axis(cx, node, 3, rank) => {
            let mut inputs = vec![part(cx, patch, first, repeated, steps - 1)?];
            inputs.extend(cx.graph.node_inputs(node).iter().skip(1).map(|&v| Operand::from(v)));
            inputs
        }
        "Gather" if cx.rank(first).is_some_and(|r| r > 1 && cx.axis(node, "axis", r) == Some(0)) => {
            vec![part(cx, patch, first, repeated, steps - 1)?, input(1)?.into()]
        }
        "Reshape" if matches!(repeated, Repeated::Beside(_)) => return once(cx, patch, value, first),
        other => return Err(format!("cos or sin are made by {other}").into()),
    };
    Ok(patch.operator(&operator.name, operator.attributes.clone(), &inputs))
}

/// Whether the axes that input `index` of a node names leave out the last of `rank`.
fn keeps_last_axis(cx: &Cx<'_>, node: NodeId, index: usize, rank: usize) -> bool {
    let axes = cx.input(node, index).and_then(|axes| cx.ints(axes));
    let keeps = |&axis: &i64| Axis::new(axis).resolve(rank).is_ok_and(|axis| axis + 1 < rank);
    axes.is_some_and(|axes| axes.iter().all(keeps))
}

/// What `Reshape(Expand(x))` or `Reshape(Concat(x, x))` has twice, x having a last axis of 1 for that.
fn once(cx: &Cx<'_>, patch: &mut Patch, value: ValueId, twice: ValueId) -> Result<Operand, No> {
    let whole = || {
        let (Some(value), Some([leading @ .., count, two])) = (cx.shape(value), cx.shape(twice)) else { return false };
        let Some((last, rest)) = value.split_last() else { return false };
        let is_same = leading.len() == rest.len() && leading.iter().zip(rest).all(|(a, b)| Dim::provably_equal(a, b));
        let size = count.as_known().and_then(|count| count.checked_mul(2));
        is_same && two.as_known() == Some(2) && size.is_some() && size == last.as_known()
    };
    must(whole(), "the numbers of cos or sin are not known to be repeated for their neighbours")?;
    let rank = cx.rank(twice).ok_or(No::SILENT)?;
    let is_one = |x: ValueId| {
        let last = cx.shape(x).and_then(|s| s.last()).and_then(Dim::as_known);
        cx.rank(x) == Some(rank) && last == Some(1)
    };
    let single = match cx.operator(twice.node).map(|o| o.name.as_str()) {
        Some("Expand" | "Tile") => cx.input(twice.node, 0),
        Some("Concat") if cx.axis(twice.node, "axis", rank) == Some(rank - 1) => {
            let inputs = cx.graph.node_inputs(twice.node);
            cx.input(twice.node, 0).filter(|&x| inputs[..] == [Some(x); 2])
        }
        _ => None,
    };
    let single = single.filter(|&x| is_one(x)).ok_or("the neighbours in cos or sin are not known to be equal")?;
    let same_before = |(a, b): (&Dim, &Dim)| Dim::provably_equal(a, b);
    let (before, after) = (cx.shape(single).ok_or(No::SILENT)?, cx.shape(twice).ok_or(No::SILENT)?);
    let is_kept = before[..rank - 1].iter().zip(after).all(same_before);
    must(is_kept, "the numbers of cos or sin are repeated along another axis")?;
    let axis = patch.ints(&[-1]);
    Ok(patch.operator("Squeeze", Attributes::new(), &[single.into(), axis]))
}

fn has_equal_parts(tensor: &Tensor, repeated: &Repeated) -> bool {
    fn check<T: PartialEq>(elements: &[T], repeated: &Repeated) -> bool {
        match *repeated {
            Repeated::Halves(size) => {
                let Ok(size) = usize::try_from(size) else { return false };
                size > 1 && elements.chunks(size).all(|row| row.len() == size && row[..size / 2] == row[size / 2..])
            }
            Repeated::Beside(_) => elements.chunks(2).all(|pair| pair.len() == 2 && pair[0] == pair[1]),
        }
    }
    let (Repeated::Halves(size) | Repeated::Beside(size)) = *repeated;
    let is_last = tensor.shape().dims().last().is_some_and(|&last| i64::try_from(last) == Ok(size));
    is_last
        && match tensor.dtype() {
            DType::F32 => tensor.as_slice::<f32>().is_ok_and(|e| check(e, repeated)),
            DType::F16 => tensor.as_slice::<f16>().is_ok_and(|e| check(e, repeated)),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    const CACHES: &str = "d = Cos (t) e = Sin (t) c = Unsqueeze (d, one) s = Unsqueeze (e, one)";
    const TURN: &str = "a = Slice (x, zero, two, three, one) b = Slice (x, two, many, three, one) m = Neg (b) r = Concat <axis: int = -1> (m, a) \
                        p = Mul (x, c) q = Mul (r, s) y = Add (p, q)";

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 3, S, 4] x, float[N, S, 2] f, float[N, S, 2] k, float[1, S, 2] l) => (float[] y) <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, \
             int64[1] three = {{3}}, int64[1] many = {{9223372036854775807}}, float[1, 1, 1, 4] table = {{1, 2, 1, 2}}, float[1, 1, 1, 4] other = {{1, 2, 1, 3}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn rotated_halves_become_one_node() {
        Proof::of("fuse-rotary-embedding")
            .before(&text(&format!("t = Concat <axis: int = -1> (f, f) {CACHES} {TURN}")))
            .after("y_cos = Cos (f) y_sin = Sin (f) y = RotaryEmbedding (x, y_cos, y_sin)")
            .within(1e-6);
    }

    fn pairs(first: &str, second: &str, joined: &str) -> String {
        format!(
            "g (float[N, 3, S, 4] x, float[N, S, 2] f, float[N, S, 4] k) => (float[] y) <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}}, \
             int64[1] many = {{9223372036854775807}}, int64[1] last = {{-1}}, int64[4] whole = {{0, 3, -1, 4}}> \
             {{ d = Cos (f) e = Sin (f) c = Unsqueeze (d, one) s = Unsqueeze (e, one) u = Slice (x, {first}) v = Slice (x, {second}) \
             p = Mul (u, c) q = Mul (v, s) a = Sub (p, q) m = Mul (s, u) n = Mul (v, c) b = Add (m, n) {joined} }}"
        )
    }

    const BESIDE: &str =
        "h = Unsqueeze (a, last) i = Unsqueeze (b, last) j = Concat <axis: int = -1> (h, i) y = Reshape (j, whole)";

    #[test]
    fn halves_of_the_result_become_one_node() {
        Proof::of("fuse-rotary-pairs")
            .before(&pairs("zero, two, three", "two, many, three", "y = Concat <axis: int = 3> (a, b)"))
            .after("d = Cos (f) e = Sin (f) y = RotaryEmbedding (x, d, e)")
            .within(1e-6);
        Proof::of("fuse-rotary-pairs")
            .before(&pairs("zero, many, three, two", "one, many, three, two", BESIDE))
            .after("d = Cos (f) e = Sin (f) y = RotaryEmbedding (x, d, e) <interleaved: int = 1>")
            .within(1e-6);
    }

    #[test]
    fn other_pairs_are_left_alone() {
        for (graph, reason) in [
            (pairs("zero, two, three", "two, many, three", BESIDE), "even and odd"),
            (pairs("one, many, three, two", "zero, many, three, two", BESIDE), "even and odd"),
            (
                pairs("zero, many, three, two", "one, many, three, two", "y = Concat <axis: int = 3> (a, b)"),
                "first half",
            ),
            (pairs("zero, two, three", "two, many, three", "y = Concat <axis: int = 2> (a, b)"), "shape of x"),
        ] {
            Proof::of("fuse-rotary-pairs").before(&graph).does_not_fire(reason);
        }
    }

    #[test]
    fn neighbours_become_one_node() {
        let text = |repeat: &str| {
            format!(
                "g (float[N, 3, S, 4] x, float[N, S, 2] f, float[N, S, 1, 2] k) => (float[] y) <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] three = {{3}}, \
                 int64[1] many = {{9223372036854775807}}, int64[1] last = {{-1}}, int64[4] whole = {{0, 3, -1, 4}}, int64[3] joined = {{0, 0, 4}}, int64[4] twice = {{1, 1, 1, 2}}> \
                 {{ u = Slice (x, zero, many, three, two) v = Slice (x, one, many, three, two) m = Neg (v) h = Unsqueeze (m, last) i = Unsqueeze (u, last) \
                 j = Concat <axis: int = -1> (h, i) r = Reshape (j, whole) {repeat} w = Reshape (t, joined) d = Cos (w) e = Sin (w) c = Unsqueeze (d, one) s = Unsqueeze (e, one) \
                 p = Mul (x, c) q = Mul (r, s) y = Add (p, q) }}"
            )
        };
        for repeat in [
            "a = Unsqueeze (f, last) t = Expand (a, twice)",
            "a = Unsqueeze (f, last) t = Concat <axis: int = 3> (a, a)",
        ] {
            Proof::of("fuse-rotary-neighbours")
                .before(&text(repeat))
                .after(
                    "a = Unsqueeze (f, last) y_squeeze = Squeeze (a, y_constant) y_cos = Cos (y_squeeze) y_squeeze_1 = Squeeze (a, y_constant_1) \
                     y_sin = Sin (y_squeeze_1) y = RotaryEmbedding (x, y_cos, y_sin) <interleaved: int = 1>",
                )
                .within(1e-6);
        }
        let halves = "a = Unsqueeze (f, two) t = Concat <axis: int = 2> (a, a)";
        Proof::of("fuse-rotary-neighbours").before(&text(halves)).does_not_fire("not known to be equal");
    }

    fn part(rest: &str, nodes: &str) -> String {
        format!(
            "g (float[N, 3, S, 6] x, float[N, S, 2] c, float[N, S, 2] s) => (float[] y) <int64[1] zero = {{0}}, int64[1] four = {{4}}, int64[1] three = {{3}}, \
             int64[1] many = {{9223372036854775807}}, int64[1] two = {{2}}> {{ u = Slice (x, zero, four, three) v = Slice (x, {rest}) {nodes} }}"
        )
    }

    #[test]
    fn features_that_stay_are_left_to_the_operator() {
        let nodes = "r = RotaryEmbedding (u, c, s) y = Concat <axis: int = -1> (r, v)";
        Proof::of("rotary-embedding-of-part")
            .before(&part("four, many, three", nodes))
            .after("y = RotaryEmbedding (x, c, s) <num_heads: int = 3, rotary_embedding_dim: int = 4>")
            .within(1e-6);
        for (rest, reason) in [("two, many, three", "other features"), ("zero, two, three", "other features")] {
            Proof::of("rotary-embedding-of-part").before(&part(rest, nodes)).does_not_fire(reason);
        }
    }

    #[test]
    fn other_halves_or_angles_are_left_alone() {
        let wrong = TURN.replace("Slice (x, zero, two", "Slice (x, one, three");
        for (nodes, reason) in [
            (format!("t = Concat <axis: int = -1> (f, k) {CACHES} {TURN}"), "different halves"),
            (format!("t = Concat <axis: int = -1> (f, f) {CACHES} {wrong}"), "not the first half"),
            (format!("c = Mul (table, other) s = Mul (table, table) {TURN}"), "differ"),
        ] {
            Proof::of("fuse-rotary-embedding").before(&text(&nodes)).does_not_fire(reason);
        }
    }
}
