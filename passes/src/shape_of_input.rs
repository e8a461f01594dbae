//! Shape(y, start = i, end = i + 1)   ⇒   Shape(x, start = j, end = j + 1),   where x is an input of the graph
//!
//! What y is made of is then not computed for its extent alone.
//! when: the extent is not a number, and is known to be that of x along axis j.

use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, Axis, Dim, NodeKind, ValueId};

/// Takes an extent from the input that it comes from.
pub static RULE: Rule = Rule::on("shape-of-input", &["Shape"], rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let root = found.root();
    let y = cx.input(root, 0).ok_or(No::SILENT)?;
    must(!matches!(cx.graph.node(y.node).kind, NodeKind::Input), No::SILENT)?;
    let shape = cx.shape(y).ok_or("the rank is not known")?;
    let rank = shape.len();
    let start = cx.axis(root, "start", rank).ok_or("the start is out of range")?;
    let end = match cx.int(root, "end") {
        Some(end) if end < rank as i64 => Axis::new(end).resolve(rank).map_err(|_| No::SILENT)?,
        _ => rank,
    };
    must(end == start + 1, "it is more than one extent")?;
    let extent = &shape[start];
    must(!extent.is_unknown() && extent.as_known().is_none(), "the extent is not known to be that of anything else")?;
    let axis_of = |x: ValueId| Some((x, cx.shape(x)?.iter().position(|d| Dim::provably_equal(d, extent))? as i64));
    let (x, axis) = cx.graph.inputs().find_map(axis_of).ok_or("no input has this extent")?;
    let attributes = Attributes::new().with("start", axis).with("end", axis + 1);
    Ok(Patch::by_operator(found, "Shape", attributes, &[x.into()]))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, S, 4] x) => (int64[] y) <int64[2] axes = {{0, 1}}> {{ a = Transpose <perm = [2, 0, 1]> (x) {nodes} }}"
        )
    }

    #[test]
    fn an_extent_is_taken_from_where_it_comes() {
        for shape in ["y = Shape <start: int = -1> (a)", "y = Shape <start: int = 2, end: int = 3> (a)"] {
            Proof::of_all(&["shape-of-input", "remove-dead-nodes"])
                .before(&text(shape))
                .after("y = Shape (x) <end: int = 2, start: int = 1>")
                .exact();
        }
    }

    #[test]
    fn several_known_and_foreign_extents_stay() {
        for (nodes, reason) in [
            ("y = Shape (a)", "more than one"),
            ("y = Shape <end: int = 1> (a)", "anything else"),
            ("n = NonZero (a) y = Shape <start: int = 1> (n)", ""),
            ("y = Shape <end: int = 1> (x)", ""),
        ] {
            Proof::of("shape-of-input").before(&text(nodes)).does_not_fire(reason);
        }
    }
}
