//! Operators of planish's own, domain `planish`: what passes make where no standard operator says it in one.
//!
//! Each *is* a graph of standard operators, its attribute `body`, whose inputs and outputs are the node's, in order. That
//! graph is what the node computes: it infers, it is the oracle in tests and it is what an exported file holds as a
//! model-local function. A body of a form that has a kernel runs by the kernel, any other as the graph it is.

mod elementwise;
mod epilogue;
mod fused_conv;
mod fused_conv_integer;
mod fused_matmul;
mod lookup;
mod program;
mod safe_softmax;
mod scalar;

pub use elementwise::Elementwise;
pub use fused_conv::FusedConv;
pub use fused_conv_integer::FusedConvInteger;
pub use fused_matmul::FusedMatMul;
pub use lookup::Lookup;
pub use program::{MAX_OPERANDS, is_program};
pub use safe_softmax::SafeSoftmax;
pub use scalar::{ScalarFunction, scalar_function};

use planish_ir::{
    ALL_TENSORS, AttributeDef, AttributeError, AttributeKind, EvalCx, Fact, Facts, Formal, Graph, Inputs, NodeView,
    OpError, Outputs, Schema, arg, mixed_variadic, required,
};
use std::sync::Arc;

/// The domain of planish's own operators.
pub const DOMAIN: &str = "planish";

/// The signature of an operator that its body defines.
const fn schema(name: &'static str) -> Schema {
    const INPUTS: &[Formal] = &[mixed_variadic("inputs", ALL_TENSORS, 1)];
    const OUTPUTS: &[Formal] = &[arg("output", ALL_TENSORS)];
    const ATTRIBUTES: &[AttributeDef] = &[required("body", AttributeKind::Graph)];
    Schema::new(name, 1).domain(DOMAIN).inputs(INPUTS).outputs(OUTPUTS).attributes(ATTRIBUTES)
}

/// What an operator is by definition.
#[derive(Clone, Debug)]
struct Definition {
    body: Arc<Graph>,
}

impl Definition {
    /// The body of a node, which has the node's inputs and its one output and captures nothing.
    fn parse(node: &NodeView<'_>) -> Result<Definition, AttributeError> {
        let body = node.graph("body")?;
        let (inputs, captures, outputs) = (body.inputs().len(), body.captures().len(), body.outputs().len());
        if (inputs, captures, outputs) != (node.num_inputs, 0, node.num_outputs) {
            let expected = format!("expected a graph of {} inputs and {} outputs", node.num_inputs, node.num_outputs);
            return Err(AttributeError::invalid(format!(
                "attribute \"body\": {expected}, got one of {inputs}, {captures} captured values and {outputs}"
            )));
        }
        Ok(Definition { body: body.clone() })
    }

    fn infer(&self, x: &Facts<'_>) -> Vec<Fact> {
        let inputs: Vec<Option<&Fact>> = x.iter().collect();
        self.body.infer_outputs(&inputs)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let outputs = cx.run_body(&self.body, inputs.into_values().into_vec())?;
        Ok(Outputs::new(outputs.into_iter().map(Some)))
    }
}

#[cfg(test)]
mod tests;
