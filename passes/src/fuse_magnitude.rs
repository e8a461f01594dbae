//! y = √(a² + b²)   ⇒   y = ReduceL2(Reshape(x, [.., 2, n, ..])),   where x = [a, b]
//!
//! That is how a spectrum's magnitude is computed whose real and imaginary parts come out of one convolution.
//! when: a and b are the halves of one axis of x, by `Slice` or `Split`; what else the slices cut off they cut off alike.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, Outcome, Rule, must};
use planish_ir::{Attributes, Axis, Dim, ValueId};

/// Makes a magnitude a norm.
pub static RULE: Rule = Rule::matching(
    "fuse-magnitude",
    "re = Pow(a, 2) | a * a
     im = Pow(b, 2) | b * b
     y = Sqrt(re + im)",
    rewrite,
);

/// A part of a value: along some axes, the elements from a start to an end.
struct Part {
    x: ValueId,
    bounds: Vec<Option<[i64; 2]>>,
}

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let halves = [found["a"], found["b"]];
    let parts = halves.map(|half| part(cx, half));
    let [Some(a), Some(b)] = parts else { return Err("they are not known to be parts of one value".into()) };
    must(a.x == b.x && a.bounds.len() == b.bounds.len(), "they are parts of different values")?;
    let shapes = [a.x, halves[0], halves[1]].map(|value| cx.shape(value));
    let [Some(whole), Some(of_a), Some(of_b)] = shapes else { return Err("shapes are not known".into()) };
    let differing: Vec<usize> = (0..whole.len()).filter(|&i| a.bounds[i] != b.bounds[i]).collect();
    let &[axis] = differing.as_slice() else { return Err("they do not differ along one axis".into()) };
    let extents = [&whole[axis], &of_a[axis], &of_b[axis]].map(Dim::as_known);
    let [Some(all), Some(n), Some(of_b)] = extents else { return Err("the extent is not known".into()) };
    must(n == of_b && n.checked_mul(2) == Some(all), "they are not halves")?;
    let mut starts = [a.bounds[axis], b.bounds[axis]].map(|bounds| bounds.map_or(0, |[start, _]| start));
    starts.sort_unstable();
    must(starts == [0, n], "they are not the two halves")?;
    let mut patch = Patch::new();
    let kept: Vec<(i64, [i64; 2])> =
        (0..).zip(&a.bounds).filter(|&(i, _)| i != axis as i64).filter_map(|(i, b)| b.map(|b| (i, b))).collect();
    let mut x: Operand = a.x.into();
    if !kept.is_empty() {
        let column = |of: fn(&(i64, [i64; 2])) -> i64| kept.iter().map(of).collect::<Vec<i64>>();
        let [starts, ends, axes] = [column(|k| k.1[0]), column(|k| k.1[1]), column(|k| k.0)].map(|c| patch.ints(&c));
        x = patch.operator("Slice", Attributes::new(), &[x, starts, ends, axes]);
    }
    let mut shape = vec![0; axis];
    shape.extend([2, n]);
    shape.extend(of_a[axis + 1..].iter().map(|dim| dim.as_known().unwrap_or(-1)));
    must(shape.iter().filter(|&&extent| extent == -1).count() <= 1, "more than one extent behind is not known")?;
    let shape = patch.ints(&shape);
    let pairs = patch.operator("Reshape", Attributes::new(), &[x, shape]);
    let axes = patch.ints(&[axis as i64]);
    let y = patch.operator("ReduceL2", Attributes::new().with("keepdims", 0i64), &[pairs, axes]);
    Ok(patch.replace(cx.output(found.root()), y))
}

/// What a `Slice` of steps 1 or a `Split` takes of its source.
fn part(cx: &Cx<'_>, value: ValueId) -> Option<Part> {
    let node = value.node;
    let x = cx.input(node, 0)?;
    let rank = cx.rank(x)?;
    let mut bounds = vec![None; rank];
    if cx.operator(node)?.is("Split") {
        let axis = cx.axis(node, "axis", rank)?;
        let extents: Option<Vec<i64>> =
            cx.graph.node_outputs(node).map(|part| cx.shape(part)?.get(axis)?.as_known()).collect();
        let extents = extents?;
        let start: i64 = extents.get(..value.output)?.iter().sum();
        bounds[axis] = Some([start, start + extents.get(value.output)?]);
    } else if cx.operator(node)?.is("Slice") {
        let ints = |index| cx.input(node, index).map(|v| cx.ints(v));
        let (starts, ends) = (ints(1)??, ints(2)??);
        let axes = ints(3).unwrap_or_else(|| Some((0..starts.len() as i64).collect()))?;
        let is_dense = ints(4).is_none_or(|steps| steps.is_some_and(|steps| steps.iter().all(|&step| step == 1)));
        if !is_dense || ends.len() != starts.len() || axes.len() != starts.len() {
            return None;
        }
        for ((axis, start), end) in axes.into_iter().zip(starts).zip(ends) {
            let axis = Axis::new(axis).resolve(rank).ok()?;
            let from_front = |at: i64| match cx.shape(x)?.get(axis)?.as_known() {
                Some(extent) => Some(if at < 0 { (at + extent).max(0) } else { at.min(extent) }),
                None => Some(at),
            };
            bounds[axis] = Some([from_front(start)?, from_front(end)?]);
        }
    } else {
        return None;
    }
    Some(Part { x, bounds })
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 6, 5] x, float[N, 6, 5] z) => (float[] y) <int64[2] zeros = {{0, 1}}, int64[2] halves = {{3, 1}}, int64[2] middle = {{3, 99}}, \
             int64[2] all = {{9223372036854775807, 9223372036854775807}}, int64[2] axes = {{1, 2}}, int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] three = {{3}}, \
             int64[1] four = {{4}}, int64[1] six = {{6}}, int64[2] twice = {{3, 3}}, int64[2] moved = {{3, 0}}, int64[2] short = {{6, 4}}, float two = {{2}}> {{ {nodes} }}"
        )
    }

    const ROOT: &str = "p = Pow (a, two) q = Mul (b, b) s = Add (q, p) y = Sqrt (s)";

    #[test]
    fn halves_of_an_axis_become_a_norm() {
        let after = "y_reshape = Reshape (x, y_constant) y = ReduceL2 (y_reshape, y_constant_1) <keepdims: int = 0>";
        for halves in [
            "a, b = Split <axis: int = 1> (x, twice)",
            "b, a = Split <axis: int = -2> (x, twice)",
            "a = Slice (x, zero, three, one) b = Slice (x, three, six, one)",
        ] {
            Proof::of("fuse-magnitude").before(&text(&format!("{halves} {ROOT}"))).after(after).within(1e-6);
        }
    }

    #[test]
    fn what_both_cut_off_is_cut_off_first() {
        Proof::of("fuse-magnitude")
            .before(&text(&format!("a = Slice (x, zeros, middle, axes) b = Slice (x, halves, all, axes) {ROOT}")))
            .after(
                "y_slice = Slice (x, y_constant, y_constant_1, y_constant_2) y_reshape = Reshape (y_slice, y_constant_3) \
                 y = ReduceL2 (y_reshape, y_constant_4) <keepdims: int = 0>",
            )
            .within(1e-6);
    }

    #[test]
    fn other_parts_stay() {
        for (parts, reason) in [
            ("a = Slice (x, zero, three, one) b = Slice (z, three, six, one)", "different values"),
            ("a = Slice (x, one, four, one) b = Slice (x, three, six, one)", "two halves"),
            ("a = Slice (x, zero, one, one) b = Slice (x, one, four, one)", "halves"),
            ("a = Slice (x, zeros, middle, axes) b = Slice (x, moved, short, axes)", "along one axis"),
            ("a = Relu (x) b = Slice (x, zero, six, one)", "parts of one value"),
        ] {
            Proof::of("fuse-magnitude").before(&text(&format!("{parts} {ROOT}"))).does_not_fire(reason);
        }
    }
}
