//! `Elementwise`: a tree of functions of corresponding elements, with broadcasting, in one pass over memory.

use super::program::Program;
use super::{Definition, schema};
use crate::Define;
use planish_ir::{AttributeError, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema};
use planish_tensor::{DType, Tensor};

/// `planish::Elementwise`.
#[derive(Debug)]
pub struct Elementwise {
    definition: Definition,
    /// How to run it on `float`.
    program: Option<Program>,
}

impl Define for Elementwise {
    const SCHEMA: Schema = schema("Elementwise");

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let definition = Definition::parse(node)?;
        let program = Program::compile(&definition.body);
        Ok(Elementwise { definition, program })
    }
}

impl Op for Elementwise {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(self.definition.infer(x))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let tensors = || (0..inputs.len()).filter_map(|index| inputs.tensor(index).ok());
        let can_run = |program: &&Program| {
            tensors().filter(|t| t.dtype() == DType::F32).count() == inputs.len()
                && program.takes_ranks(tensors().map(Tensor::rank))
        };
        let Some(program) = self.program.as_ref().filter(can_run) else {
            return self.definition.eval(cx, inputs);
        };
        let operands = inputs.into_values().into_iter().filter_map(|v| v?.into_tensor()).collect();
        Ok(program.run(cx, operands)?.into())
    }
}
