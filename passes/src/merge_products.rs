//! y₁ = MatMul(x, w₁), y₂ = MatMul(x, w₂), …   ⇒   y₁, y₂, … = Split(MatMul(x, [w₁ w₂ …]))
//!
//! with a vector added to any of the products or none: the bias of the others is zero.
//! when: there are at least three, for two would be as many nodes as before; the weights are constant matrices that nobody
//! else reads, for they would be there twice.

use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must, scalar_of};
use planish_ir::{Attributes, NodeId, ValueId};

/// Makes one product of the projections of one value.
pub static RULE: Rule = Rule::on("merge-products", &["MatMul"], rewrite);

/// Fewer products are not merged: the result has two nodes.
const MIN_PRODUCTS: usize = 3;

/// One of the products.
struct Projection {
    w: ValueId,
    columns: i64,
    bias: Option<ValueId>,
    y: ValueId,
}

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let root = found.root();
    let x = cx.input(root, 0).ok_or(No::SILENT)?;
    let rank = cx.rank(x).filter(|&rank| rank >= 2).ok_or(No::SILENT)?;
    let readers = cx.graph.readers(x).filter(|r| r.input == 0);
    let mut siblings: Vec<NodeId> = readers.map(|r| r.node).filter(|&id| product(cx, id).is_some()).collect();
    siblings.sort_unstable();
    must(siblings.first() == Some(&root) && siblings.len() >= MIN_PRODUCTS, No::SILENT)?;
    let parts: Vec<Projection> = siblings.iter().filter_map(|&id| product(cx, id)).collect();
    let is_alone = |part: &Projection| cx.is_read_once(part.w);
    must(parts.iter().all(is_alone), "weights are read elsewhere too")?;
    must(parts.iter().all(|part| cx.dtype(part.w) == cx.dtype(x)), "dtypes differ")?;
    let mut patch = Patch::new();
    let last = Attributes::new().with("axis", -1);
    let weights: Vec<Operand> = parts.iter().map(|part| part.w.into()).collect();
    let weights = patch.operator("Concat", last.clone(), &weights);
    let mut product = patch.operator("MatMul", Attributes::new(), &[x.into(), weights]);
    if parts.iter().any(|part| part.bias.is_some()) {
        let biases: Vec<Operand> = parts.iter().map(|part| bias(cx, &mut patch, part)).collect::<Result<_, No>>()?;
        let biases = patch.operator("Concat", last, &biases);
        product = patch.operator("Add", Attributes::new(), &[product, biases]);
    }
    let extents: Vec<i64> = parts.iter().map(|part| part.columns).collect();
    let extents = patch.ints(&extents);
    let attributes = Attributes::new().with("axis", rank as i64 - 1);
    let made = patch.operators("Split", attributes, &[product, extents], parts.len());
    Ok(parts.iter().zip(made).fold(patch, |patch, (part, made)| patch.replace(part.y, made)))
}

/// A product with constant weights, with what is added to it.
fn product(cx: &Cx<'_>, id: NodeId) -> Option<Projection> {
    let w = cx.input(id, 1).filter(|&w| cx.operator(id).is_some_and(|o| o.is("MatMul")) && cx.constant(w).is_some())?;
    let &[_, columns] = &cx.known_shape(w)?[..] else { return None };
    let y = cx.output(id);
    let plain = Projection { w, columns, bias: None, y };
    let sum = cx.graph.readers(y).next().filter(|_| cx.is_read_once(y)).map(|r| r.node);
    let Some(sum) = sum.filter(|&sum| cx.operator(sum).is_some_and(|o| o.is("Add"))) else { return Some(plain) };
    let bias = [0, 1].into_iter().filter_map(|i| cx.input(sum, i)).find(|&v| v != y)?;
    let is_bias = cx.constant(bias).is_some() && cx.known_shape(bias) == Some(vec![columns]);
    Some(if is_bias { Projection { bias: Some(bias), y: cx.output(sum), ..plain } } else { plain })
}

/// What is added to a product, or zeros.
fn bias(cx: &Cx<'_>, patch: &mut Patch, part: &Projection) -> Result<Operand, No> {
    let Some(bias) = part.bias else {
        let zero = patch.constant(scalar_of(cx.dtype(part.w), 0.0).ok_or("the weights are no floats")?);
        let extent = patch.ints(&[part.columns]);
        return Ok(patch.operator("Expand", Attributes::new(), &[zero, extent]));
    };
    Ok(bias.into())
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn products(nodes: &str) -> Proof {
        let text = format!(
            "g (float[N, S, 4] x, float[4, 6] a, float[4, 2] b, float[4, 3] c, float[6] d) => (float[] y, float[] z, float[] w) {{ {nodes} }}"
        );
        Proof::of("merge-products").before(&text).weights(&["a", "b", "c", "d"])
    }

    #[test]
    fn three_products_of_one_value_become_one() {
        products("y = MatMul (x, a) z = MatMul (x, b) w = MatMul (x, c)")
            .after("y_matmul = MatMul (x, y_concat) y, z, w = Split (y_matmul, y_constant) <axis: int = 2>")
            .within(1e-5);
    }

    #[test]
    fn biases_are_joined_and_missing_ones_are_zero() {
        products("u = MatMul (x, a) y = Add (d, u) z = MatMul (x, b) w = MatMul (x, c)")
            .after(
                "y_matmul = MatMul (x, y_concat) y_add = Add (y_matmul, y_concat_1) \
                 y, z, w = Split (y_add, y_constant_4) <axis: int = 2>",
            )
            .within(1e-5);
    }

    #[test]
    fn two_products_and_shared_weights_stay() {
        products("y = MatMul (x, a) z = MatMul (x, b) w = Neg (x)").does_not_fire("");
        products("y = MatMul (x, a) z = MatMul (x, b) v = MatMul (x, a) w = Neg (v)").does_not_fire("elsewhere");
        products("y = MatMul (x, a) z = MatMul (x, b) v = Neg (x) w = MatMul (v, c)").does_not_fire("");
    }
}
