//! Control flow: operators whose attributes hold graphs, run by the executor through [`EvalCx::run_body`].
//!
//! Values that a body captures from the graph around it follow the operator's own inputs, bodies in the order of their
//! attributes' names.
//!
//! [`EvalCx::run_body`]: planish_ir::EvalCx::run_body

mod if_op;
mod loop_op;
mod scan;
mod sequence_map;
mod stacked;

pub use if_op::If;
pub use loop_op::Loop;
pub use scan::Scan;
pub use sequence_map::SequenceMap;

use planish_ir::{Axis, Dim, EvalCx, Fact, Facts, Graph, Inputs, Op, OpError, Outputs, Type};
use planish_tensor::{Shape, Tensor, Value};
use std::ops::Range;
use std::sync::Arc;

/// Bodies nested deeper than this are inferred once, from less, so that the work stays linear in the model's size.
const MAX_REFINED_DEPTH: usize = 4;

/// A body that runs many times, its state handed from one iteration to the next.
#[derive(Debug)]
struct Iterated {
    body: Arc<Graph>,
    /// Whether it may be inferred twice.
    is_shallow: bool,
}

impl Iterated {
    fn new(body: &Arc<Graph>) -> Iterated {
        Iterated { body: body.clone(), is_shallow: depth_is_within(body, MAX_REFINED_DEPTH) }
    }

    fn num_captures(&self) -> usize {
        self.body.captures().len()
    }

    /// What is known of the body's outputs in any iteration, from what is known of its inputs in the first one. Those of
    /// `states` are in later iterations what the outputs from `first_output` on were.
    fn infer(&self, mut inputs: Vec<Option<Fact>>, states: Range<usize>, first_output: usize) -> Vec<Fact> {
        if self.is_shallow {
            forget(&mut inputs[states.clone()], Type::clone);
            let outputs = self.infer_once(&inputs);
            let stays = |(before, after): (&Option<Fact>, &Fact)| before.as_ref().is_some_and(|b| b.ty == after.ty);
            if inputs[states.clone()].iter().zip(outputs.iter().skip(first_output)).all(stays) {
                return outputs;
            }
        }
        forget(&mut inputs[states], without_shape);
        self.infer_once(&inputs)
    }

    fn infer_once(&self, inputs: &[Option<Fact>]) -> Vec<Fact> {
        let known: Vec<Option<&Fact>> = inputs.iter().map(Option::as_ref).collect();
        self.body.infer_outputs(&known)
    }
}

/// The outputs of an operator whose body does not run at all: `states` as they came, and scan outputs without elements, of
/// the shapes that inference knows; extents that it does not know are 0.
fn never_run(
    op: &impl Op,
    cx: &EvalCx<'_>,
    inputs: Inputs,
    states: Range<usize>,
    axes: impl Iterator<Item = Axis>,
) -> Result<Outputs, OpError> {
    let facts: Vec<Option<Fact>> = (0..inputs.len()).map(|i| inputs.get(i).map(Fact::of_value)).collect();
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    let inferred = op.infer(&Facts::new(&facts, 0))?;
    let empty = |(fact, axis): (&Fact, Axis)| {
        let (Some(dtype), Some(shape)) = (fact.dtype(), fact.shape()) else {
            return Err(OpError::unsupported("an empty scan output of unknown type"));
        };
        let extent = |d: &Dim| d.as_known().and_then(|d| usize::try_from(d).ok()).unwrap_or(0);
        let mut dims: Vec<usize> = shape.iter().map(extent).collect();
        dims[axis.resolve(shape.len())?] = 0;
        Ok(Some(Value::Tensor(Tensor::zeros(&cx.memory, dtype, Shape::new(&dims)?)?)))
    };
    let scans: Result<Vec<_>, OpError> = inferred.iter().skip(states.len()).zip(axes).map(empty).collect();
    let states = inputs.into_values().into_iter().skip(states.start).take(states.len());
    Ok(Outputs::new(states.chain(scans?)))
}

/// Leaves of each fact what `keep` keeps of its type.
fn forget(facts: &mut [Option<Fact>], keep: impl Fn(&Type) -> Type) {
    facts.iter_mut().flatten().for_each(|fact| *fact = Fact::of_type(keep(&fact.ty)));
}

/// The type without what may change from one iteration to the next.
fn without_shape(ty: &Type) -> Type {
    match ty {
        Type::Tensor { dtype, .. } => Type::Tensor { dtype: *dtype, shape: None },
        Type::Sequence(element) => Type::Sequence(Box::new(without_shape(element))),
        Type::Optional(element) => Type::Optional(Box::new(without_shape(element))),
        Type::Map(key, value) => Type::Map(*key, Box::new(without_shape(value))),
        Type::Unknown => Type::Unknown,
    }
}

/// Whether bodies are nested in `graph` at most `most` levels deep.
fn depth_is_within(graph: &Graph, most: usize) -> bool {
    let mut level: Vec<Arc<Graph>> = held(graph);
    for _ in 0..most {
        if level.is_empty() {
            return true;
        }
        level = level.iter().flat_map(|body| held(body)).collect();
    }
    level.is_empty()
}

fn held(graph: &Graph) -> Vec<Arc<Graph>> {
    graph.operators().flat_map(|(_, operator)| operator.subgraphs().cloned()).collect()
}

/// An operator's own inputs, and the last `count`, which its bodies capture.
fn split_captures(inputs: Inputs, count: usize) -> Result<[Vec<Option<Value>>; 2], OpError> {
    let mut own: Vec<Option<Value>> = inputs.into_values().into_vec();
    match own.len().checked_sub(count) {
        Some(start) => {
            let captures = own.split_off(start);
            Ok([own, captures])
        }
        None => Err(OpError::Internal(format!("{} inputs do not hold {count} captured values", own.len()))),
    }
}

/// A value that a body gave for a scan output.
fn scanned(value: Value) -> Result<Tensor, OpError> {
    value.into_tensor().ok_or_else(|| OpError::invalid("a scan output is not a tensor"))
}

#[cfg(test)]
mod tests;
