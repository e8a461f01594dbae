//! y = Op(constants…)   ⇒   y is a constant
//! y whose contents inference knows   ⇒   y is a constant
//!
//! when: equal inputs always give equal outputs, and the result fits what the model may grow by (see `fold`).

use crate::fold::fold;
use crate::patch::Patch;
use crate::pattern::Match;
use crate::rule::{Cx, No, Outcome, Rule, must};
use planish_ir::{Fact, NodeId, ValueId};
use planish_tensor::{DType, Tensor};

/// Computes what depends on constants alone.
pub static RULE: Rule = Rule::everywhere("fold-constants", rewrite);

fn rewrite(cx: &Cx<'_>, found: &Match<'_>) -> Outcome {
    let id = found.root();
    let outputs: Vec<ValueId> = cx.graph.node_outputs(id).filter(|&v| !cx.graph.value_name(v).is_empty()).collect();
    if let Some(known) = outputs.iter().map(|&v| known_contents(cx.fact(v))).collect::<Option<Vec<Tensor>>>()
        && is_deterministic(cx, id)
    {
        return Ok(constants(outputs.into_iter().zip(known)));
    }
    let inputs = constant_inputs(cx, id)?;
    let operator = cx.operator(id).ok_or(No::SILENT)?;
    let freed: usize = cx
        .graph
        .node_inputs(id)
        .iter()
        .flatten()
        .filter(|&&v| cx.is_read_once(v))
        .filter_map(|&v| cx.constant(v))
        .map(Tensor::num_bytes)
        .sum();
    let all: Vec<ValueId> = cx.graph.node_outputs(id).collect();
    let facts: Vec<&Fact> = all.iter().map(|&v| cx.fact(v)).collect();
    let results = fold(operator, inputs, &facts, freed, cx.growth_left_bytes)?;
    let made = all.iter().zip(results).filter(|(v, _)| outputs.contains(v));
    let made: Option<Vec<(ValueId, Tensor)>> = made.map(|(&v, t)| Some((v, t?))).collect();
    let made = made.ok_or("an output is no tensor")?;
    must(made.len() == outputs.len(), "an output was not made")?;
    Ok(constants(made))
}

fn is_deterministic(cx: &Cx<'_>, id: NodeId) -> bool {
    cx.operator(id).and_then(|o| o.op()).is_some_and(|op| op.is_deterministic())
}

fn constants(values: impl IntoIterator<Item = (ValueId, Tensor)>) -> Patch {
    let mut patch = Patch::new();
    for (value, tensor) in values {
        let constant = patch.constant(tensor);
        patch = patch.replace(value, constant);
    }
    patch
}

/// The constants that a node reads, if it reads nothing else.
fn constant_inputs(cx: &Cx<'_>, id: NodeId) -> Result<Vec<Option<Tensor>>, No> {
    let constant = |v: &Option<ValueId>| match v {
        None => Ok(None),
        Some(v) => cx.constant(*v).cloned().map(Some).ok_or(No::SILENT),
    };
    cx.graph.node_inputs(id).iter().map(constant).collect()
}

/// The tensor that inference knows: carried along whole, or as integers that all turned out to be numbers.
fn known_contents(fact: &Fact) -> Option<Tensor> {
    if let Some(tensor) = &fact.constant {
        return Some(tensor.clone());
    }
    let (elements, rank) = (fact.known_ints()?, fact.rank()?);
    match (fact.dtype()?, rank, elements.as_slice()) {
        (DType::I64, 0, &[element]) => Some(Tensor::scalar(element)),
        (DType::I64, 1, elements) => Some(Tensor::vector(elements)),
        (DType::I32, rank, elements) if rank <= 1 => {
            let narrow: Vec<i32> = elements.iter().map(|&e| i32::try_from(e).ok()).collect::<Option<_>>()?;
            Some(if rank == 0 { Tensor::scalar(*narrow.first()?) } else { Tensor::vector(&narrow) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::proof::Proof;

    #[test]
    fn operators_on_constants_become_constants() {
        Proof::of("fold-constants")
            .before("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { a = Neg (w) b = Exp (a) y = Mul (x, b) }")
            .after("y = Mul (x, b)")
            .exact();
    }

    #[test]
    fn every_output_of_a_node_is_folded() {
        Proof::of("fold-constants")
            .before("g (float[2] x) => (float[2] y) <float[4] w = {1, 2, 3, 4}> { a, b = Split (w) <num_outputs: int = 2> c = Mul (x, a) y = Add (c, b) }")
            .after("c = Mul (x, a)  y = Add (c, b)")
            .exact();
    }

    #[test]
    fn shapes_that_are_known_become_constants() {
        Proof::of("fold-constants")
            .before("g (float[N, 3, 4] x) => (float[] y) <int64[1] last = {2}, int64[1] minus = {-1}, int64 zero = {0}> { s = Shape (x) d = Gather (s, last) t = Concat (minus, d) <axis: int = 0> y = Reshape (x, t) }")
            .after("y = Reshape (x, t)")
            .exact();
    }

    #[test]
    fn random_and_large_results_stay() {
        let random = "g (float[2] x) => (float[2] y) { r = RandomNormal () <shape: ints = [2]> y = Add (x, r) }";
        Proof::of("fold-constants").before(random).does_not_fire("");
        let large = "g (float[2] x) => (float[] y) <int64[1] n = {9000000}> { r = ConstantOfShape (n) y = Concat (x, r) <axis: int = 0> }";
        Proof::of("fold-constants").before(large).does_not_fire("36000000 bytes");
    }
}
