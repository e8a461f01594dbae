//! `If`: the outputs of `then_branch` where `cond` is true, else those of `else_branch`.
//!
//! Opsets: 1; 11 and 13 allow other output types than before, 16 optionals; 19, 21, 23, 24, 25 add dtypes.

use crate::Define;
use planish_ir::{
    ANY, AttributeError, AttributeKind, BOOL, EvalCx, Fact, Facts, Graph, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, mixed_variadic, required,
};
use planish_tensor::Tensor;
use std::sync::Arc;

/// `If`.
#[derive(Debug)]
pub struct If {
    else_branch: Arc<Graph>,
    then_branch: Arc<Graph>,
}

impl Define for If {
    const SCHEMA: Schema = Schema::new("If", 25)
        .inputs(&[arg("cond", BOOL)])
        .outputs(&[mixed_variadic("outputs", ANY, 1)])
        .attributes(&[required("else_branch", AttributeKind::Graph), required("then_branch", AttributeKind::Graph)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let branch = |name: &str| {
            let graph = node.graph(name)?;
            let (inputs, outputs) = (graph.inputs().len(), graph.outputs().len());
            if inputs != 0 || outputs < node.num_outputs {
                let expected = format!("expected a graph of 0 inputs and {} outputs", node.num_outputs);
                let message = format!("attribute {name:?}: {expected}, got one of {inputs} and {outputs}");
                return Err(AttributeError::invalid(message));
            }
            Ok(graph.clone())
        };
        let (else_branch, then_branch) = (branch("else_branch")?, branch("then_branch")?);
        let counts = [&else_branch, &then_branch].map(|graph| graph.outputs().len());
        if counts[0] != counts[1] {
            let [a, b] = counts;
            return Err(AttributeError::invalid(format!("\"else_branch\" has {a} outputs, \"then_branch\" {b}")));
        }
        Ok(If { else_branch, then_branch })
    }
}

impl Op for If {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let captures: Vec<Option<&Fact>> = x.iter().skip(1).collect();
        let (for_else, for_then) = captures.split_at(self.else_branch.captures().len().min(captures.len()));
        match x.constant(0).and_then(condition) {
            Some(true) => return Ok(self.then_branch.infer_outputs(for_then)),
            Some(false) => return Ok(self.else_branch.infer_outputs(for_else)),
            None => {}
        }
        let (a, b) = (self.then_branch.infer_outputs(for_then), self.else_branch.infer_outputs(for_else));
        Ok(a.iter().zip(&b).map(|(a, b)| Fact::of_type(a.ty.join(&b.ty))).collect())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let cond = inputs.tensor(0)?;
        let cond = condition(cond).ok_or_else(|| OpError::invalid(format!("cond: expected one bool, got {cond:?}")))?;
        let captures = inputs.into_values().into_iter().skip(1);
        let (branch, captures) = if cond {
            (&self.then_branch, captures.skip(self.else_branch.captures().len()).collect())
        } else {
            (&self.else_branch, captures.take(self.else_branch.captures().len()).collect())
        };
        Ok(Outputs::new(cx.run_body(branch, captures)?.into_iter().map(Some)))
    }
}

/// The only element of a tensor of bools.
pub(super) fn condition(cond: &Tensor) -> Option<bool> {
    match cond.as_slice::<bool>() {
        Ok([cond]) => Some(*cond),
        _ => None,
    }
}
