//! Transpose(f(Transpose(a, p), b), q)   ⇒   f(a, Transpose(b, q)) where p and q cancel
//!
//! f is any tree of elementwise operators, joins and reductions whose values nobody else reads. Its leaves are brought into
//! the order that the Transpose asks for: constants are permuted at once, a leaf that is a Transpose itself is merged.
//!
//! when: fewer Transposes are left than before. Exports of NHWC models are full of such pairs, with a bias or an
//! activation in between.

use crate::merge_transposes::permutation;
use crate::patch::{Operand, Patch};
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Attributes, NodeId, ValueId};
use std::collections::HashMap;

/// Moves a Transpose up to those that it cancels.
pub static RULE: Rule = Rule::on("push-transposes", &["Transpose"], rewrite);

/// Operators of one input that work element by element.
const UNARY: &[&str] = &[
    "Abs",
    "Cast",
    "Ceil",
    "Celu",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Log",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tanh",
    "ThresholdedRelu",
];

/// Operators that broadcast their inputs against each other.
const BROADCASTING: &[&str] = &["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu", "Sum", "Where"];

/// A tree of more nodes than this is left alone.
const MAX_NODES: usize = 64;

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let root = found.root();
    let top = cx.input(root, 0).ok_or(No::SILENT)?;
    let rank = cx.rank(top).ok_or("the rank is not known")?;
    let mut tree =
        Tree { cx, permutation: permutation(cx, root, rank)?, nodes: Vec::new(), gain: 1, leaves: HashMap::new() };
    must(tree.passes(top, rank), No::SILENT)?;
    tree.grow(top, rank)?;
    must(tree.gain > 0, "as many transposes would be left")?;
    let mut patch = Patch::new();
    let y = tree.build(&mut patch);
    Ok(patch.replace(cx.output(root), y))
}

/// The operators that a Transpose is moved through, last first.
struct Tree<'a, 'c> {
    cx: &'c Cx<'a>,
    permutation: Vec<usize>,
    nodes: Vec<NodeId>,
    /// How many Transposes there will be less.
    gain: i64,
    leaves: HashMap<ValueId, Leaf>,
}

/// What becomes of a value that the tree reads.
#[derive(Clone)]
enum Leaf {
    /// It is the same in every order.
    Unchanged,
    /// This value has the order already.
    Cancelled(ValueId),
    /// It gets a Transpose, which is done at once for constants.
    Transposed(Vec<usize>),
    /// It is a constant of lower rank, which needs leading ones first.
    Raised(Vec<i64>, Vec<usize>),
}

impl Tree<'_, '_> {
    /// Whether a Transpose may pass the operator that makes this value.
    fn passes(&self, value: ValueId, rank: usize) -> bool {
        let Some(operator) = self.cx.operator(value.node).filter(|o| o.domain.is_empty()) else { return false };
        let name = operator.name.as_str();
        let keeps_axes = name.starts_with("Reduce")
            && self.cx.int(value.node, "keepdims") == Some(1)
            && self.cx.reduced_axes(value.node, rank).is_some_and(|axes| !axes.is_empty());
        let is_known = UNARY.contains(&name) || BROADCASTING.contains(&name) || matches!(name, "Clip" | "Concat");
        (is_known || keeps_axes)
            && value.output == 0
            && self.cx.graph.node(value.node).num_outputs() == 1
            && self.cx.rank(value) == Some(rank)
            && self.cx.is_read_once(value)
    }

    /// Adds the operator that makes the value, and those above it.
    fn grow(&mut self, top: ValueId, rank: usize) -> Result<(), No> {
        let mut pending = vec![top];
        while let Some(value) = pending.pop() {
            self.nodes.push(value.node);
            must(self.nodes.len() <= MAX_NODES, "the tree of operators is too large")?;
            for input in self.moved_inputs(value.node) {
                if self.passes(input, rank) {
                    pending.push(input);
                } else if !self.leaves.contains_key(&input) {
                    let leaf = self.leaf(input, rank)?;
                    self.leaves.insert(input, leaf);
                }
            }
        }
        Ok(())
    }

    /// The inputs that change their order when the operator's result does; bounds and axes do not.
    fn moved_inputs(&self, id: NodeId) -> Vec<ValueId> {
        let inputs = self.cx.graph.node_inputs(id);
        let is_joined = self.cx.operator(id).is_some_and(|o| BROADCASTING.contains(&o.name.as_str()) || o.is("Concat"));
        inputs.iter().take(if is_joined { inputs.len() } else { 1 }).flatten().copied().collect()
    }

    fn leaf(&mut self, value: ValueId, rank: usize) -> Result<Leaf, No> {
        let shape = self.cx.shape(value).ok_or("the rank of an operand is not known")?;
        if shape.iter().all(|d| d.as_known() == Some(1)) {
            return Ok(Leaf::Unchanged);
        }
        if self.cx.constant(value).is_some() {
            let dims = self.cx.known_shape(value).ok_or(No::SILENT)?;
            must(dims.len() <= rank, "an operand has a higher rank")?;
            let raised: Vec<i64> = std::iter::repeat_n(1, rank - dims.len()).chain(dims.iter().copied()).collect();
            let is_raised = dims.len() < rank;
            let order = self.permutation.clone();
            return Ok(if is_raised { Leaf::Raised(raised, order) } else { Leaf::Transposed(order) });
        }
        must(shape.len() == rank, "an operand has another rank")?;
        if self.cx.operator(value.node).is_some_and(|o| o.is("Transpose")) {
            let x = self.cx.input(value.node, 0).ok_or(No::SILENT)?;
            let inner = permutation(self.cx, value.node, rank)?;
            let cancels = self.permutation.iter().enumerate().all(|(to, &axis)| inner[axis] == to);
            if cancels {
                self.gain += i64::from(self.cx.is_read_once(value));
                return Ok(Leaf::Cancelled(x));
            }
        }
        self.gain -= 1;
        Ok(Leaf::Transposed(self.permutation.clone()))
    }

    fn build(&self, patch: &mut Patch) -> Operand {
        let mut made: HashMap<ValueId, Operand> = HashMap::new();
        for (&value, leaf) in self.leaves.iter().collect::<std::collections::BTreeMap<_, _>>() {
            made.insert(value, transposed(patch, value, leaf));
        }
        let mut last = Operand::Absent;
        for &id in self.nodes.iter().rev() {
            let operator = self.cx.operator(id).expect("the tree is made of operators");
            let moved = self.moved_inputs(id).len();
            let mut operands: Vec<Operand> = self.cx.graph.node_inputs(id).iter().map(|&v| v.into()).collect();
            for operand in operands.iter_mut().take(moved) {
                if let Operand::Value(value) = operand {
                    *operand = made[value];
                }
            }
            let mut attributes = operator.attributes.clone();
            if operator.is("Concat") {
                let axis = self.cx.axis(id, "axis", self.permutation.len()).unwrap_or(0);
                attributes.set("axis", self.moved_axis(axis));
            }
            if operator.name.starts_with("Reduce") {
                let axes = self.cx.reduced_axes(id, self.permutation.len()).unwrap_or_default();
                let mut axes: Vec<i64> = axes.iter().map(|&axis| self.moved_axis(axis)).collect();
                axes.sort_unstable();
                operands.truncate(1);
                operands.push(patch.ints(&axes));
            }
            last = patch.operator(&operator.name, attributes, &operands);
            made.insert(self.cx.output(id), last);
        }
        last
    }

    /// Where an axis is in the new order.
    fn moved_axis(&self, axis: usize) -> i64 {
        self.permutation.iter().position(|&from| from == axis).unwrap_or(axis) as i64
    }
}

fn transposed(patch: &mut Patch, value: ValueId, leaf: &Leaf) -> Operand {
    let order =
        |order: &[usize]| Attributes::new().with("perm", order.iter().map(|&axis| axis as i64).collect::<Vec<i64>>());
    match leaf {
        Leaf::Unchanged => value.into(),
        Leaf::Cancelled(x) => (*x).into(),
        Leaf::Transposed(permutation) => patch.operator("Transpose", order(permutation), &[value.into()]),
        Leaf::Raised(dims, permutation) => {
            let dims = patch.ints(dims);
            let raised = patch.operator("Reshape", Attributes::new(), &[value.into(), dims]);
            patch.operator("Transpose", order(permutation), &[raised])
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 2, 3, 4] x, float[N, 2, 3, 4] z) => (float[] y) <float[2] bias = {{1, 2}}, float one = {{1}}, int64[1] last = {{3}}> {{ \
             a = Transpose (x) <perm: ints = [0, 2, 3, 1]> {nodes} }}"
        )
    }

    const BACK: &str = "y = Transpose (c) <perm: ints = [0, 3, 1, 2]>";

    #[test]
    fn transposes_around_a_tree_cancel() {
        for (nodes, after) in [
            ("b = Add (a, bias) c = Relu (b)", "y_add = Add (x, y_transpose) y = Relu (y_add)"),
            ("b = Transpose (z) <perm: ints = [0, 2, 3, 1]> c = Mul (a, b)", "y = Mul (x, z)"),
            (
                "b = Transpose (z) <perm: ints = [0, 2, 3, 1]> c = Concat (a, b) <axis: int = -1>",
                "y = Concat (x, z) <axis: int = 1>",
            ),
            ("c = ReduceMean (a, last)", "y = ReduceMean (x, y_constant)"),
            ("b = Clip (a, one) c = Div (b, one)", "y_clip = Clip (x, one) y = Div (y_clip, one)"),
        ] {
            Proof::of("push-transposes").before(&text(&format!("{nodes} {BACK}"))).after(after).exact();
        }
    }

    #[test]
    fn nothing_moves_where_nothing_is_won() {
        for (nodes, reason) in
            [("b = Abs (x) c = Add (b, z)", "as many"), ("c = Softmax (a)", ""), ("c = Relu (a) d = Neg (c)", "")]
        {
            let text = text(&format!(
                "{nodes} t = Transpose (c) <perm: ints = [0, 3, 1, 2]> u = Shape (t) v = Shape (c) w = Add (u, v) y = Cast (w) <to: int = 1>"
            ));
            Proof::of("push-transposes")
                .before(
                    &text.replace("v = Shape (c)", if reason.is_empty() { "v = Shape (c)" } else { "v = Shape (x)" }),
                )
                .does_not_fire(reason);
        }
    }
}
