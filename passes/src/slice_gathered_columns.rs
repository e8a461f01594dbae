//! GatherND(x, every pair of a row and one of the columns 0 … n − 1)   ⇒   Unsqueeze(Slice(x, 0, n))
//! Gather(Flatten(x), row · width + column of all of these)   ⇒   the same
//!
//! That is how exporters look a padding mask up for each key.
//! when: x is a matrix; rows and columns count from 0 along axes of their own, the rows of all of x. Where n is the width of
//! x, nothing is cut off.

use crate::counting::{Counting, as_vector};
use crate::heads::operand;
use crate::patch::{Operand, Patch};
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, Dim, ValueId};

/// The form that gathers by pairs.
pub static PAIRS: Rule = Rule::on("slice-gathered-pairs", &["GatherND"], |cx, found| {
    let node = found.root();
    let (x, pairs) = (cx.input(node, 0).ok_or(No::SILENT)?, cx.input(node, 1).ok_or(No::SILENT)?);
    must(cx.int(node, "batch_dims") == Some(0), "the gathering has batches")?;
    let rank = cx.rank(pairs).ok_or(No::SILENT)?;
    must(cx.operator(pairs.node).is_some_and(|o| o.is("Concat")), No::SILENT)?;
    must(cx.axis(pairs.node, "axis", rank) == Some(rank - 1), "pairs are not joined along the last axis")?;
    let &[Some(rows), Some(columns)] = &cx.graph.node_inputs(pairs.node)[..] else { return Err(No::SILENT) };
    let [rows, columns] = [rows, columns].map(|part| counted(cx, part));
    let (Some(rows), Some(columns)) = (rows, columns) else {
        return Err("rows or columns are not known to count".into());
    };
    sliced(cx, x, &rows, &columns, cx.output(node))
});

/// The form that gathers from all rows one behind the other.
pub static FLAT: Rule = Rule::matching(
    "slice-gathered-elements",
    "flat = Flatten(x) | Reshape(x, _)
     y = Gather(flat, columns + rows * width)",
    |cx, found| {
        let (x, y) = (found["x"], cx.output(found.root()));
        let flat = cx.input(found.root(), 0).ok_or(No::SILENT)?;
        must(cx.axis(found.root(), "axis", cx.rank(flat).unwrap_or(0)) == Some(0), "it gathers along another axis")?;
        let others = cx.shape(flat).unwrap_or_default().iter().skip(1);
        must(others.into_iter().all(|d| d.as_known() == Some(1)), "the rows are not made one")?;
        let Some([_, of_x]) = cx.shape(x) else {
            return Err("what is gathered from is not known to be a matrix".into());
        };
        // A product binds its factors in any order.
        let factors = [("rows", "width"), ("width", "rows")];
        let is_width = |value: ValueId| {
            matches!(&cx.fact(value).elements()?[..], [w] if Dim::provably_equal(w, of_x)).then_some(())
        };
        let rows = factors.into_iter().find(|(_, width)| is_width(found[*width]).is_some()).map(|(rows, _)| rows);
        let rows = rows.ok_or("the factor of the row is not known to be the width")?;
        let counts = [found[rows], found["columns"]].map(|value| Counting::of(cx, value));
        let [Some(rows), Some(columns)] = counts else { return Err("rows or columns are not known to count".into()) };
        sliced(cx, x, &rows, &columns, y)
    },
);

/// What counts behind `Unsqueeze(Expand(value, _), -1)`.
fn counted(cx: &Cx<'_>, part: ValueId) -> Option<Counting> {
    let grid = operand(cx, part, "Unsqueeze")?;
    (cx.shape(part)?.last()?.as_known() == Some(1)).then_some(())?;
    let value = operand(cx, grid, "Expand").unwrap_or(grid);
    Counting::of(cx, value)
}

/// The patch that puts columns of all rows of `x` in the place of `y`.
fn sliced(cx: &Cx<'_>, x: ValueId, rows: &Counting, columns: &Counting, y: ValueId) -> Outcome {
    let (Some([height, width]), Some(to)) = (cx.shape(x), cx.shape(y)) else {
        return Err("what is gathered from is not known to be a matrix".into());
    };
    must(rows.start.as_known() == Some(0) && Dim::provably_equal(&rows.extent, height), "it takes not every row")?;
    must(columns.start.as_known() == Some(0) && columns.is_from_zero, "the columns do not count from zero")?;
    must(rows.axis_from_end > columns.axis_from_end, "rows do not lie outside of columns")?;
    let matters: Vec<usize> = (0..to.len()).filter(|&i| to[i].as_known() != Some(1)).collect();
    let is_grid = |&[r, c]: &[usize; 2]| {
        Dim::provably_equal(&to[r], &rows.extent) && Dim::provably_equal(&to[c], &columns.extent)
    };
    let axes = <[usize; 2]>::try_from(matters).ok().filter(is_grid);
    let axes = axes.ok_or("the result is no grid of rows and columns")?;
    let mut patch = Patch::new();
    let mut kept: Operand = x.into();
    if !Dim::provably_equal(width, &columns.extent) {
        let (start, end, axis) = (patch.ints(&[0]), as_vector(cx, &mut patch, columns.limit), patch.ints(&[1]));
        kept = patch.operator("Slice", Attributes::new(), &[kept, start, end, axis]);
    }
    let added: Vec<i64> = (0..to.len()).filter(|i| !axes.contains(i)).map(|i| i as i64).collect();
    if !added.is_empty() {
        let added = patch.ints(&added);
        kept = patch.operator("Unsqueeze", Attributes::new(), &[kept, added]);
    }
    Ok(patch.replace(y, kept))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str, result: &str) -> String {
        format!(
            "g (bool[N, W] x, bool[N, T] left, float[N, T] like) => (bool[{result}] y) <int64 zero = {{0}}, int64 one = {{1}}, int64[1] first = {{0}}, int64[1] second = {{1}}, int64[1] last = {{-1}}, \
             int64[4] column = {{-1, 1, 1, 1}}, int64[4] row = {{1, 1, 1, -1}}> {{ s = Shape <end: int = 1> (like) n = Squeeze (s) t1 = Shape <start: int = 1> (like) t = Squeeze (t1) \
             w = Shape <start: int = 1> (x) rr = Range (zero, n, one) r = Reshape (rr, column) cc = Range (zero, t, one) c = Reshape (cc, row) {nodes} }}"
        )
    }

    const PAIRS: &str = "m = Max (r, c) sh = Shape (m) er = Expand (r, sh) ec = Expand (c, sh) ur = Unsqueeze (er, last) uc = Unsqueeze (ec, last) \
                         i = Concat <axis: int = -1> (ur, uc) y = GatherND (x, i)";

    #[test]
    fn pairs_of_rows_and_columns_are_a_slice() {
        let before = text(
            &format!("z = Concat <axis: int = 1> (left, x) {}", PAIRS.replace("GatherND (x", "GatherND (z")),
            "N, 1, 1, T",
        );
        Proof::of_all(&["slice-gathered-pairs", "remove-dead-nodes"])
            .before(&before)
            .after(
                "t1 = Shape (like) <start: int = 1> z = Concat (left, x) <axis: int = 1> y_slice = Slice (z, y_constant, t1, y_constant_1) y = Unsqueeze (y_slice, y_constant_2)",
            )
            .exact();
        let whole = text(PAIRS, "N, 1, 1, T").replace("bool[N, W] x", "bool[N, T] x");
        Proof::of_all(&["slice-gathered-pairs", "remove-dead-nodes"])
            .before(&whole)
            .after("y = Unsqueeze (x, y_constant)")
            .exact();
    }

    #[test]
    fn elements_of_rows_behind_each_other_are_a_slice() {
        let nodes = "f = Flatten <axis: int = 2> (x) p = Mul (r, w) i = Add (c, p) y = Gather (f, i)";
        let whole = text(nodes, "N, 1, 1, T, 1").replace("bool[N, W] x", "bool[N, T] x");
        Proof::of_all(&["slice-gathered-elements", "remove-dead-nodes"])
            .before(&whole)
            .after("y = Unsqueeze (x, y_constant)")
            .exact();
    }

    #[test]
    fn other_rows_or_widths_are_left_alone() {
        let some = text(PAIRS, "N, 1, 1, T").replace("Range (zero, t, one)", "Range (one, t, one)");
        Proof::of("slice-gathered-pairs").before(&some.replace("bool[N, 1, 1, T] y", "bool[] y")).does_not_fire("zero");
        let nodes = "f = Flatten <axis: int = 2> (x) p = Mul (r, t1) i = Add (c, p) y = Gather (f, i)";
        Proof::of("slice-gathered-elements").before(&text(nodes, "N, 1, 1, T, 1")).does_not_fire("width");
    }
}
