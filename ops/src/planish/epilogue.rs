//! What follows a product or a convolution in a body: addends that are inputs of the body, then one activation.

use super::scalar::{ScalarFunction, scalar_function};
use planish_ir::{Graph, NodeId, ValueId};
use planish_kernels::elementwise::{Binary, Unary};
use smallvec::SmallVec;

/// `activation(x + addends[0] + addends[1] + …)`, where `x` is the result of a body's first node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// Inputs of the body.
    pub addends: SmallVec<[usize; 2]>,
    /// The last step.
    pub activation: Option<Unary>,
}

impl Epilogue {
    /// The body's first node, if its inputs are the body's first inputs in order, and what follows it; `None` where the
    /// body is of another form.
    pub fn parse(body: &Graph, name: &str) -> Option<(NodeId, usize, Epilogue)> {
        let (first, _) = body.operators().find(|(_, operator)| operator.is(name))?;
        let inputs: Vec<ValueId> = body.inputs().collect();
        let read: Vec<ValueId> = body.node_inputs(first).into_iter().collect::<Option<_>>()?;
        if !inputs.starts_with(&read) {
            return None;
        }
        let [output] = body.outputs() else { return None };
        let mut epilogue = Epilogue::default();
        let (mut value, mut count) = (ValueId { node: first, output: 0 }, 1);
        while value != output.value {
            let &[reader] = body.uses(value).as_slice() else { return None };
            if epilogue.activation.is_some() || body.is_output(value) {
                return None;
            }
            match scalar_function(body, reader.node)? {
                ScalarFunction::Binary(Binary::Add) => {
                    let other = body.node_inputs(reader.node).get(1 - reader.input).copied()??;
                    epilogue.addends.push(inputs.iter().position(|&input| input == other)?);
                }
                ScalarFunction::Unary(function) if reader.input == 0 => epilogue.activation = Some(function),
                _ => return None,
            }
            (value, count) = (ValueId { node: reader.node, output: 0 }, count + 1);
        }
        (count == body.operators().count()).then_some((first, read.len(), epilogue))
    }
}
