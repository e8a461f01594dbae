//! y = f(Conv(x, w, b) + r)   ⇒   y = FusedConv(x, w, b, r)
//! y = f(MatMul(a, w) + c + r)   ⇒   y = FusedMatMul(a, w, c, r)
//!
//! with any function `f` of single elements that has a kernel, or none, and with or without what is added.
//!
//! when: everything is `float`; the weights are constant, those of a product a matrix; nothing in between has another
//! reader; adding gives no larger shape.

use crate::definition::Definition;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{NodeId, ValueId};
use planish_ops::planish::{ScalarFunction, scalar_function};
use planish_tensor::DType;

/// Makes a convolution do what follows it.
pub static CONV: Rule = Rule::everywhere("fuse-conv-epilogue", |cx, found| rewrite(cx, found, &CONVOLUTION));

/// Makes a product with weights do what follows it.
pub static MATMUL: Rule = Rule::everywhere("fuse-matmul-epilogue", |cx, found| rewrite(cx, found, &PRODUCT));

/// What an epilogue follows.
struct Kind {
    operator: &'static str,
    fused: &'static str,
    /// The names of its inputs in a body.
    inputs: &'static [&'static str],
    /// How many values its kernel adds.
    max_addends: usize,
    /// The rank of the weights, if it matters.
    weight_rank: Option<usize>,
}

const CONVOLUTION: Kind =
    Kind { operator: "Conv", fused: "FusedConv", inputs: &["x", "w", "b"], max_addends: 1, weight_rank: None };

const PRODUCT: Kind =
    Kind { operator: "MatMul", fused: "FusedMatMul", inputs: &["a", "b"], max_addends: 2, weight_rank: Some(2) };

/// The names of what is added.
const ADDENDS: [&str; 2] = ["c", "d"];

/// What lies between an operator and the value that its epilogue makes.
#[derive(Default)]
struct Epilogue {
    /// The operator, then what follows.
    nodes: Vec<NodeId>,
    addends: Vec<ValueId>,
    has_activation: bool,
}

fn rewrite(cx: &Cx<'_>, found: &Match<'_>, kind: &Kind) -> Outcome {
    let root = found.root();
    let epilogue = kind.epilogue(cx, root).ok_or(No::SILENT)?;
    must(!kind.goes_on(cx, root, &epilogue), No::SILENT)?;
    let product = *epilogue.nodes.first().ok_or(No::SILENT)?;
    let own = cx.graph.node_inputs(product);
    let own = own.iter().flatten().copied().zip(kind.inputs.iter().copied());
    let inputs = own.chain(epilogue.addends.iter().copied().zip(ADDENDS)).collect();
    let definition = Definition { operator: kind.fused, nodes: epilogue.nodes, inputs };
    let body = definition.body(cx)?;
    definition.patch(cx, body)
}

impl Kind {
    /// Whether the node is what the epilogue follows.
    fn is_it(&self, cx: &Cx<'_>, id: NodeId) -> bool {
        let weights = || cx.input(id, 1).and_then(|w| cx.constant(w)).filter(|w| w.dtype() == DType::F32);
        cx.operator(id).is_some_and(|o| o.is(self.operator))
            && weights().is_some_and(|w| self.weight_rank.is_none_or(|rank| w.rank() == rank))
    }

    /// The way from the operator to `root`: sums, then at most one function, which is `root`'s.
    fn epilogue(&self, cx: &Cx<'_>, root: NodeId) -> Option<Epilogue> {
        if !is_float(cx, cx.output(root)) {
            return None;
        }
        if let ScalarFunction::Unary(_) = scalar_function(cx.graph, root)? {
            let mut epilogue = self.sums(cx, single(cx, cx.input(root, 0)?)?, self.max_addends)?;
            epilogue.nodes.push(root);
            epilogue.has_activation = true;
            return Some(epilogue);
        }
        self.sums(cx, root, self.max_addends).filter(|epilogue| epilogue.nodes.len() > 1)
    }

    /// The way from the operator to `id` with up to `num_left` sums.
    fn sums(&self, cx: &Cx<'_>, id: NodeId, num_left: usize) -> Option<Epilogue> {
        if self.is_it(cx, id) {
            return Some(Epilogue { nodes: vec![id], ..Epilogue::default() });
        }
        if num_left == 0 || !cx.operator(id)?.is("Add") {
            return None;
        }
        let (a, b) = (cx.input(id, 0)?, cx.input(id, 1)?);
        [(a, b), (b, a)].into_iter().find_map(|(value, addend)| {
            let keeps_shape = cx.same_shape(value, cx.output(id));
            if !keeps_shape || !is_float(cx, addend) {
                return None;
            }
            let mut epilogue = self.sums(cx, single(cx, value)?, num_left - 1)?;
            epilogue.nodes.push(id);
            epilogue.addends.push(addend);
            Some(epilogue)
        })
    }

    /// Whether a larger epilogue ends further on.
    fn goes_on(&self, cx: &Cx<'_>, root: NodeId, epilogue: &Epilogue) -> bool {
        let value = cx.output(root);
        let reader = cx.graph.readers(value).next().filter(|_| cx.is_read_once(value));
        reader.is_some_and(|reader| {
            let longer = self.epilogue(cx, reader.node);
            longer.is_some_and(|longer| longer.nodes.first() == epilogue.nodes.first())
        })
    }
}

fn is_float(cx: &Cx<'_>, value: ValueId) -> bool {
    cx.dtype(value) == Some(DType::F32)
}

/// The node that makes a value which nobody else reads.
fn single(cx: &Cx<'_>, value: ValueId) -> Option<NodeId> {
    (cx.is_read_once(value) && value.output == 0).then_some(value.node)
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn conv(nodes: &str) -> String {
        format!(
            "g (float[N, 4, 5, 5] x, float[N, 6, 5, 5] r, float[6, 4, 3, 3] w, float[6] b) => (float[] y) {{ {nodes} }}"
        )
    }

    #[test]
    fn convolutions_take_what_follows_them() {
        for (nodes, body) in [
            (
                "u = Conv <pads = [1, 1, 1, 1]> (x, w, b) y = Relu (u)",
                "y = planish.FusedConv (x, w, b) <body: graph = FusedConv (float[] x, float[] w, float[] b) => (float[] y) \
                 { conv = Conv (x, w, b) <pads: ints = [1, 1, 1, 1]> y = Relu (conv) }>",
            ),
            (
                "u = Conv <pads = [1, 1, 1, 1]> (x, w, b) v = Add (r, u) y = HardSwish (v)",
                "y = planish.FusedConv (x, w, b, r) <body: graph = FusedConv (float[] x, float[] w, float[] b, float[] c) => (float[] y) \
                 { conv = Conv (x, w, b) <pads: ints = [1, 1, 1, 1]> add = Add (c, conv) y = HardSwish (add) }>",
            ),
            (
                "u = Conv <auto_pad = \"SAME_UPPER\"> (x, w) y = Add (u, r)",
                "y = planish.FusedConv (x, w, r) <body: graph = FusedConv (float[] x, float[] w, float[] c) => (float[] y) \
                 { conv = Conv (x, w) <auto_pad: string = \"SAME_UPPER\"> y = Add (conv, c) }>",
            ),
        ] {
            Proof::of("fuse-conv-epilogue").before(&conv(nodes)).weights(&["w", "b"]).after(body).within(1e-5);
        }
    }

    #[test]
    fn products_take_what_follows_them() {
        Proof::of("fuse-matmul-epilogue")
            .before(
                "g (float[N, 3, 4] x, float[N, 3, 5] r, float[4, 5] w, float[5] b) => (float[] y) \
                 { u = MatMul (x, w) v = Add (b, u) s = Add (v, r) y = Gelu (s) }",
            )
            .weights(&["w", "b"])
            .after(
                "y = planish.FusedMatMul (x, w, b, r) <body: graph = FusedMatMul (float[] a, float[] b, float[] c, float[] d) => (float[] y) \
                 { matmul = MatMul (a, b) add = Add (c, matmul) add_1 = Add (add, d) y = Gelu (add_1) }>",
            )
            .within(1e-5);
    }

    #[test]
    fn what_others_read_or_what_grows_stays() {
        for nodes in [
            "u = Conv <pads = [1, 1, 1, 1]> (x, w, b) v = Relu (u) y = Concat <axis = 1> (u, v)",
            "u = Conv <pads = [1, 1, 1, 1]> (x, w, b) y = Softmax (u)",
            "u = Conv <kernel_shape = [3, 3], strides = [5, 5]> (x, w) y = Add (u, r)",
        ] {
            Proof::of("fuse-conv-epilogue").before(&conv(nodes)).weights(&["w", "b"]).does_not_fire("");
        }
    }
}
