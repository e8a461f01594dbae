//! y = MatMul(a, w) + c   ⇒   y = Gemm(a, w, c)
//! y = Gemm(a, w, c) · f, or + f, − f, / f   ⇒   y = Gemm(a, w·f, c·f), Gemm(a, w, c + f), …
//! y = BatchNormalization(Gemm(a, w, c))   ⇒   both of these; the same for a MatMul
//!
//! when: w, c and f are constant, a and w are matrices; f has one number a column; nothing in between has another reader.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use crate::weights::{along_axis, factor_and_shift, scalar};
use planish_ir::{Attributes, NodeId, ValueId};

/// Makes a product of matrices and what is added to its rows one operator.
pub static ADD: Rule = Rule::matching("fuse-matmul-add", "y = MatMul(a, $w) + $c", |cx, found| {
    let (a, w, c) = (found["a"], found["w"], found["c"]);
    must(cx.rank(a) == Some(2) && cx.rank(w) == Some(2), "these are no matrices")?;
    let columns = *cx.known_shape(w).ok_or(No::SILENT)?.get(1).ok_or(No::SILENT)?;
    let mut patch = Patch::new();
    let bias = along_axis(cx, &mut patch, c, 2, 1, columns)?;
    let y = patch.operator("Gemm", Attributes::new(), &[a.into(), w.into(), bias]);
    Ok(patch.replace(cx.output(found.root()), y))
});

/// Folds arithmetic with constants into the weights of the product before it.
pub static AFFINE: Rule = Rule::matching(
    "fuse-gemm-affine",
    "gemm = Gemm(a, $w, $c?)
     y = gemm + $f | gemm * $f | gemm - $f | gemm / $f",
    affine,
);

/// Folds statistics into the weights of the product before them.
pub static NORM: Rule = Rule::matching(
    "fuse-gemm-batch-norm",
    "gemm = Gemm(a, $w, $c?) | MatMul(a, $w)
     y = BatchNormalization(gemm, $scale, $bias, $mean, $variance)",
    |cx, found| {
        let product = Product::of(cx, found)?;
        let mut patch = Patch::new();
        let (factor, shift) = factor_and_shift(cx, &mut patch, found.root())?;
        let (w, c) = (product.times(&mut patch, factor), product.bias(cx, &mut patch)?);
        let scaled = c.map(|c| patch.operator("Mul", Attributes::new(), &[c, factor]));
        let c = plus(&mut patch, scaled, shift);
        Ok(product.finish(cx, found, patch, w, Some(c)))
    },
);

fn affine(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let product = Product::of(cx, found)?;
    let name = cx.operator(found.root()).map_or("", |o| o.name.as_str());
    let mut patch = Patch::new();
    let f = along_axis(cx, &mut patch, found["f"], 2, 1, product.columns)?;
    let c = product.bias(cx, &mut patch)?;
    let (w, c) = match name {
        "Add" => (product.w.into(), Some(plus(&mut patch, c, f))),
        "Sub" => {
            let shift = patch.operator("Neg", Attributes::new(), &[f]);
            (product.w.into(), Some(plus(&mut patch, c, shift)))
        }
        _ => {
            let factor = if name == "Div" { patch.operator("Reciprocal", Attributes::new(), &[f]) } else { f };
            let c = c.map(|c| patch.operator("Mul", Attributes::new(), &[c, factor]));
            (product.times(&mut patch, factor), c)
        }
    };
    Ok(product.finish(cx, found, patch, w, c))
}

fn plus(patch: &mut Patch, c: Option<Operand>, shift: Operand) -> Operand {
    c.map_or(shift, |c| patch.operator("Add", Attributes::new(), &[c, shift]))
}

/// A product of matrices whose right one is constant.
struct Product {
    a: ValueId,
    w: ValueId,
    c: Option<ValueId>,
    columns: i64,
    is_transposed: bool,
    beta: f32,
    attributes: Attributes,
}

impl Product {
    fn of(cx: &Cx<'_>, found: &Match<'_>) -> Result<Product, No> {
        let (node, a, w): (NodeId, _, _) = (found.node("gemm"), found["a"], found["w"]);
        must(cx.rank(a) == Some(2) && cx.rank(w) == Some(2), "these are no matrices")?;
        let operator = cx.operator(node).ok_or(No::SILENT)?;
        let is_gemm = operator.is("Gemm");
        let is_transposed = is_gemm && cx.int(node, "transB") == Some(1);
        let columns = cx.known_shape(w).and_then(|dims| dims.get(usize::from(!is_transposed)).copied());
        let beta = if is_gemm { cx.float(node, "beta").ok_or(No::SILENT)? } else { 1.0 };
        let attributes = if is_gemm { operator.attributes.clone() } else { Attributes::new() };
        let columns = columns.ok_or(No::SILENT)?;
        Ok(Product { a, w, c: found.get("c"), columns, is_transposed, beta, attributes })
    }

    /// w with each column multiplied by its element of `factor`.
    fn times(&self, patch: &mut Patch, factor: Operand) -> Operand {
        let shape = patch.ints(if self.is_transposed { &[-1, 1] } else { &[1, -1] });
        let factor = patch.operator("Reshape", Attributes::new(), &[factor, shape]);
        patch.operator("Mul", Attributes::new(), &[self.w.into(), factor])
    }

    /// What is added, β in it.
    fn bias(&self, cx: &Cx<'_>, patch: &mut Patch) -> Result<Option<Operand>, No> {
        let Some(c) = self.c else { return Ok(None) };
        if self.beta == 1.0 {
            return Ok(Some(c.into()));
        }
        let beta = patch.constant(scalar(cx.dtype(c).ok_or(No::SILENT)?, self.beta)?);
        Ok(Some(patch.operator("Mul", Attributes::new(), &[c.into(), beta])))
    }

    fn finish(&self, cx: &Cx<'_>, found: &Match<'_>, mut patch: Patch, w: Operand, c: Option<Operand>) -> Patch {
        let mut attributes = self.attributes.clone();
        attributes.remove("beta");
        let y = match c {
            Some(c) => patch.operator("Gemm", attributes, &[self.a.into(), w, c]),
            None => patch.operator("Gemm", attributes, &[self.a.into(), w]),
        };
        patch.replace(cx.output(found.root()), y)
    }
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    const WEIGHTS: [&str; 6] = ["w", "t", "c", "f", "m", "col"];

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 4] a, float[N, 2, 4] three, float[4, 3] w, float[3, 4] t, float[3] c, float[1, 3] f, float[3] m, float[2, 1] col) \
             => (float[] y) <float half = {{0.5}}> {{ {nodes} }}"
        )
    }

    #[test]
    fn products_take_arithmetic_in() {
        for (rule, nodes, after) in [
            ("fuse-matmul-add", "u = MatMul (a, w) y = Add (f, u)", "y = Gemm (a, w, y_expand)"),
            ("fuse-gemm-affine", "u = Gemm (a, w, c) y = Mul (u, f)", "y = Gemm (a, y_mul_1, y_mul)"),
            (
                "fuse-gemm-affine",
                "u = Gemm <transB = 1> (a, t) y = Div (u, half)",
                "y = Gemm (a, y_mul) <transB: int = 1>",
            ),
            (
                "fuse-gemm-affine",
                "u = Gemm <alpha = 0.5, beta = 2.0> (a, w, c) y = Sub (u, f)",
                "y = Gemm (a, w, y_add) <alpha: float = 0.5>",
            ),
        ] {
            Proof::of(rule).before(&text(nodes)).weights(&WEIGHTS).after(after).within(1e-5);
        }
    }

    #[test]
    fn products_take_statistics_in() {
        for (product, after) in [
            ("u = MatMul (a, w)", "y = Gemm (a, y_mul_1, y_sub)"),
            ("u = Gemm <transB = 1, beta = 0.5> (a, t, c)", "y = Gemm (a, y_mul_1, y_add_1) <transB: int = 1>"),
        ] {
            let nodes = format!("v = Mul (m, m) {product} y = BatchNormalization (u, c, c, m, v)");
            Proof::of_all(&["fold-constants", "fuse-gemm-batch-norm"])
                .before(&text(&nodes))
                .weights(&WEIGHTS)
                .after(after)
                .within(1e-4);
        }
    }

    #[test]
    fn other_products_stay() {
        for (rule, nodes, reason) in [
            ("fuse-matmul-add", "u = MatMul (three, w) y = Add (u, c)", "no matrices"),
            ("fuse-matmul-add", "u = MatMul (a, w) y = Add (u, col)", "one number a channel"),
            ("fuse-gemm-affine", "u = Gemm (a, w) y = Mul (u, col)", "one number a channel"),
            ("fuse-gemm-batch-norm", "u = MatMul (three, w) y = BatchNormalization (u, p, p, p, p)", "no matrices"),
        ] {
            let text = text(nodes).replace("<float half", "<float[2] p = {1, 2}, float half");
            Proof::of(rule).before(&text).weights(&WEIGHTS).does_not_fire(reason);
        }
    }
}
