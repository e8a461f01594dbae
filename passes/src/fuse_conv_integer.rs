//! y = f((ConvInteger(x, w, zx, zw) + b) · s)   ⇒   y = FusedConvInteger(x, w, zx, zw, b, s)
//!
//! with any function `f` of single elements that has a kernel, or none, and with or without the bias b of exact sums.
//!
//! when: the sums become `float` in between; w is constant; nothing in between has another reader; b and s are of the shape of numbers or of
//! one number a channel.

use crate::definition::Definition;
use crate::pattern::Match;
use crate::rule::{Cx, Outcome, Rule, must};
use planish_ir::{Dim, NodeId, ValueId};
use planish_ops::planish::{ScalarFunction, scalar_function};
use planish_tensor::DType;

/// Makes an integer convolution do what follows it.
pub static RULE: Rule = Rule::on("fuse-conv-integer", &["ConvInteger"], rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let conv = found.root();
    must(cx.input(conv, 1).is_some_and(|w| cx.constant(w).is_some()), "the filters are not constant")?;
    let mut chain = Chain { cx, nodes: vec![conv], added: Vec::new() };
    chain.bias();
    chain.step(|cx, id| cx.operator(id)?.is("Cast").then_some(None)).ok_or("the sums do not become numbers")?;
    must(cx.dtype(chain.value()) == Some(DType::F32), "the sums do not become float")?;
    chain.step(|cx, id| binary(cx, id, "Mul")).ok_or("the numbers are not scaled")?;
    chain.step(|cx, id| matches!(scalar_function(cx.graph, id), Some(ScalarFunction::Unary(_))).then_some(None));
    let own = cx.graph.node_inputs(conv);
    let inputs = own.iter().flatten().copied().zip(["x", "w", "x_zero", "w_zero"]);
    let inputs = inputs.chain(chain.added.iter().copied().zip(["c", "d"])).collect();
    let definition = Definition { operator: "FusedConvInteger", nodes: chain.nodes, inputs };
    let body = definition.body(cx)?;
    definition.patch(cx, body)
}

/// A convolution and what follows it, each the only reader of the one before.
struct Chain<'a, 'c> {
    cx: &'c Cx<'a>,
    nodes: Vec<NodeId>,
    /// What is added and multiplied by.
    added: Vec<ValueId>,
}

impl Chain<'_, '_> {
    fn value(&self) -> ValueId {
        self.cx.output(*self.nodes.last().unwrap_or(&self.nodes[0]))
    }

    /// Goes on to the reader, if it is the one that `accept` accepts, which also says what the reader brings in.
    fn step(&mut self, accept: impl Fn(&Cx<'_>, NodeId) -> Option<Option<usize>>) -> Option<()> {
        let (cx, value) = (self.cx, self.value());
        let reader = cx.graph.readers(value).next().filter(|_| cx.is_read_once(value))?;
        if let Some(other) = accept(cx, reader.node)? {
            let other = if cx.input(reader.node, 0) == Some(value) { 1 } else { other };
            let other = cx.input(reader.node, other).filter(|&other| self.is_by_channel(other))?;
            self.added.push(other);
        }
        self.nodes.push(reader.node);
        Some(())
    }

    fn bias(&mut self) {
        self.step(|cx, id| binary(cx, id, "Add"));
    }

    /// Whether a value is of the shape of one number, or one for each channel.
    fn is_by_channel(&self, value: ValueId) -> bool {
        let rank = self.cx.rank(self.cx.output(self.nodes[0])).unwrap_or(0);
        let Some(shape) = self.cx.shape(value).filter(|shape| shape.len() <= rank) else { return false };
        let is_one = |dim: &Dim| dim.as_known() == Some(1);
        let channel = (shape.len() + 1).checked_sub(rank);
        shape.iter().enumerate().all(|(axis, dim)| is_one(dim) || (Some(axis) == channel && dim.as_known().is_some()))
    }
}

/// Of a binary operator of this name, the place of the operand that came first.
fn binary(cx: &Cx<'_>, id: NodeId, name: &str) -> Option<Option<usize>> {
    cx.operator(id)?.is(name).then_some(Some(0))
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    fn text(nodes: &str) -> String {
        format!(
            "g (float[N, 2, 5, 4] x, int8[3, 2, 3, 3] w, int32[1, 3, 1, 1] b, float s, float[3, 1, 1] t) => (float[] y) <int8 zw = {{0}}> \
             {{ q, r, z = DynamicQuantizeLinear (x) {nodes} }}"
        )
    }

    #[test]
    fn convolutions_take_what_follows_them() {
        for (nodes, after) in [
            (
                "i = ConvInteger <pads = [1, 1, 1, 1]> (q, w, z, zw) j = Add (i, b) f = Cast <to = 1> (j) m = Mul (f, s) y = Swish (m)",
                "q, r, z = DynamicQuantizeLinear (x) y = planish.FusedConvInteger (q, w, z, zw, b, s) \
                 <body: graph = FusedConvInteger (uint8[] x, int8[] w, uint8[] x_zero, int8[] w_zero, int32[] c, float[] d) => (float[] y) \
                 { convinteger = ConvInteger (x, w, x_zero, w_zero) <pads: ints = [1, 1, 1, 1]> add = Add (convinteger, c) \
                 cast = Cast (add) <to: int = 1> mul = Mul (cast, d) y = Swish (mul) }>",
            ),
            (
                "i = ConvInteger (q, w, z) f = Cast <to = 1> (i) y = Mul (t, f)",
                "q, r, z = DynamicQuantizeLinear (x) y = planish.FusedConvInteger (q, w, z, t) \
                 <body: graph = FusedConvInteger (uint8[] x, int8[] w, uint8[] x_zero, float[] c) => (float[] y) \
                 { convinteger = ConvInteger (x, w, x_zero) cast = Cast (convinteger) <to: int = 1> y = Mul (c, cast) }>",
            ),
        ] {
            Proof::of("fuse-conv-integer").before(&text(nodes)).weights(&["w", "b"]).after(after).within(1e-6);
        }
    }

    #[test]
    fn sums_that_others_read_stay() {
        for (nodes, reason) in [
            ("i = ConvInteger (q, w, z) y = Cast <to = 1> (i)", "not scaled"),
            (
                "i = ConvInteger (q, w, z) f = Cast <to = 1> (i) m = Mul (f, s) j = Cast <to = 1> (i) y = Add (m, j)",
                "do not become numbers",
            ),
        ] {
            Proof::of("fuse-conv-integer").before(&text(nodes)).weights(&["w", "b"]).does_not_fire(reason);
        }
    }
}
