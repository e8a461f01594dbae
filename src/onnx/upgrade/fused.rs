//! Operators of `com.microsoft` that are two or three standard ones in a row.

use super::{Draft, wrong_kind};
use crate::onnx::error::ImportError;
use crate::onnx::import::builder::GraphBuilder;
use planish_ir::{Attribute, Attributes, ValueId};
use std::mem::take;

impl Draft {
    /// Puts another operator of ONNX's own domain behind this one: what the draft was becomes a node of its own, whose output
    /// is the first input of `operator`, before those of `rest`.
    pub(super) fn then(
        &mut self,
        graph: &mut GraphBuilder<'_>,
        operator: &str,
        attributes: Attributes,
        rest: &[Option<ValueId>],
    ) -> Result<(), ImportError> {
        let name = graph.fresh(&format!("{}_{}", self.base(), self.operator.name.to_lowercase()));
        let values = graph.add("", self.operator.clone(), &take(&mut self.inputs), &[], &[&name])?;
        self.rename(operator);
        self.operator.attributes = attributes;
        self.inputs = [values.first().copied()].into_iter().chain(rest.iter().copied()).collect();
        Ok(())
    }

    fn take_string(&mut self, name: &str) -> Result<Option<String>, ImportError> {
        match self.attributes().remove(name) {
            None => Ok(None),
            Some(Attribute::String(v)) => Ok(Some(v)),
            Some(other) => Err(wrong_kind(name, "a string", &other)),
        }
    }

    fn take_flag(&mut self, name: &str) -> Result<bool, ImportError> {
        Ok(self.take_int(name)?.is_some_and(|flag| flag != 0))
    }
}

/// `FusedMatMul`, `TransposeMatMul`: alpha · a' · b', where a' and b' may be transposes.
pub(super) fn matmul(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let alpha = draft.take_float("alpha")?.unwrap_or(1.0);
    for (index, matrices, batch) in [(0, "transA", "transBatchA"), (1, "transB", "transBatchB")] {
        let x = draft.required_input(index)?;
        let (has_matrices, has_batch) = (draft.take_flag(matrices)?, draft.take_flag(batch)?);
        if !has_matrices && !has_batch {
            continue;
        }
        let Some(rank) = graph.fact(x).rank() else {
            return draft.unsupported("the transpose of an operand of unknown rank");
        };
        let mut order: Vec<i64> = (0..).take(rank).collect();
        if has_batch && rank > 2 {
            order[..rank - 1].rotate_left(1);
        }
        if has_matrices && rank > 1 {
            order.swap(rank - 2, rank - 1);
        }
        let x = draft.node(graph, "Transpose", Attributes::new().with("perm", order), &[Some(x)])?;
        draft.set_input(index, Some(x));
    }
    draft.rename("MatMul");
    if alpha.to_bits() == 1f32.to_bits() {
        return Ok(());
    }
    let factor = draft.required_input(0)?;
    let factor = draft.scalar_like(graph, "alpha", alpha, factor)?;
    draft.then(graph, "Mul", Attributes::new(), &[Some(factor)])
}

/// `FusedMatMulActivation`.
pub(super) fn matmul_activation(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let activation = Activation::take(draft)?;
    draft.take_int("activation_axis")?;
    matmul(draft, graph)?;
    activation.apply(draft, graph)
}

/// `FusedGemm`: `Gemm` and an activation.
pub(super) fn gemm(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let activation = Activation::take(draft)?;
    draft.rename("Gemm");
    activation.apply(draft, graph)
}

/// `FusedConv`: `Conv`, to which Z is added, and an activation.
pub(super) fn conv(draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
    let activation = Activation::take(draft)?;
    let addend = draft.input(3);
    draft.inputs.truncate(3);
    draft.rename("Conv");
    if addend.is_some() {
        draft.then(graph, "Add", Attributes::new(), &[addend])?;
    }
    activation.apply(draft, graph)
}

/// The function at the end of a fused operator.
struct Activation {
    /// Nothing where there is none.
    operator: Option<String>,
    /// Its numbers, in the order of the standard operator's attributes or inputs.
    params: Vec<f32>,
}

impl Activation {
    /// Takes `activation` and its numbers, which are one list or up to three attributes.
    fn take(draft: &mut Draft) -> Result<Activation, ImportError> {
        let operator = draft.take_string("activation")?.filter(|name| !name.is_empty());
        let mut params = draft.take_floats("activation_params")?.unwrap_or_default();
        for name in ["activation_alpha", "activation_beta", "activation_gamma"] {
            params.extend(draft.take_float(name)?);
        }
        Ok(Activation { operator, params })
    }

    /// Puts the activation behind what the draft is.
    fn apply(self, draft: &mut Draft, graph: &mut GraphBuilder<'_>) -> Result<(), ImportError> {
        let Some(operator) = self.operator.filter(|_| draft.operator.unsupported.is_none()) else { return Ok(()) };
        let names: &[&str] = match operator.as_str() {
            "Relu" | "Tanh" | "Sigmoid" | "Softplus" | "Softsign" | "HardSwish" => &[],
            "LeakyRelu" | "Elu" | "ThresholdedRelu" => &["alpha"],
            "HardSigmoid" => &["alpha", "beta"],
            "Selu" => &["alpha", "gamma"],
            "Clip" => return clip(draft, graph, &self.params),
            _ => return Err(ImportError::invalid(format!("attribute \"activation\": no function {operator:?}"))),
        };
        let mut attributes = Attributes::new();
        for (name, value) in names.iter().zip(&self.params) {
            attributes.set(name, *value);
        }
        draft.then(graph, &operator, attributes, &[])
    }
}

/// `Clip` behind what the draft is, with these bounds.
fn clip(draft: &mut Draft, graph: &mut GraphBuilder<'_>, bounds: &[f32]) -> Result<(), ImportError> {
    let &[min, max] = bounds else {
        return Err(ImportError::invalid(format!(
            "attribute \"activation_params\": expected 2 bounds, got {bounds:?}"
        )));
    };
    let like = draft.required_input(0)?;
    let (min, max) = (draft.scalar_like(graph, "min", min, like)?, draft.scalar_like(graph, "max", max, like)?);
    draft.then(graph, "Clip", Attributes::new(), &[Some(min), Some(max)])
}
