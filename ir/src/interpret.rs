//! The plainest executor: every node in topological order, every value kept until the end.
//!
//! Constant folding and tests run through it; sessions have the planned executor of the `runtime` crate.

use crate::{EvalCx, Graph, Inputs, NodeId, NodeKind, OpError, RunBody};
use planish_tensor::Value;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;

/// Runs graphs node by node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter;

impl Interpreter {
    /// The graph's outputs for these inputs, then captured values, in order.
    pub fn run(&self, graph: &Graph, inputs: Vec<Option<Value>>, cx: &mut EvalCx<'_>) -> Result<Vec<Value>, OpError> {
        let mut values: HashMap<NodeId, SmallVec<[Option<Value>; 2]>> = HashMap::new();
        for (source, value) in graph.inputs().chain(graph.captures()).zip(inputs) {
            values.insert(source.node, SmallVec::from_iter([value]));
        }
        let order = graph.topological_order().map_err(|e| OpError::Internal(e.to_string()))?;
        for id in order {
            match &graph.node(id).kind {
                NodeKind::Input => {}
                NodeKind::Constant(tensor) => {
                    values.insert(id, SmallVec::from_iter([Some(Value::Tensor(tensor.clone()))]));
                }
                NodeKind::Operator(operator) => {
                    cx.check()?;
                    let op = operator.op().ok_or_else(|| OpError::unsupported(operator.full_name()))?;
                    let found =
                        |v: &Option<crate::ValueId>| v.and_then(|v| values.get(&v.node)?.get(v.output)?.clone());
                    let inputs = Inputs::new(graph.node_inputs(id).iter().map(found));
                    cx.wanted = graph.node_outputs(id).map(|v| !graph.value_name(v).is_empty()).collect();
                    let in_body = |source| OpError::InBody { node: graph.describe(id), source: Box::new(source) };
                    values.insert(id, op.eval(cx, inputs).map_err(in_body)?.into_values());
                }
            }
        }
        let output = |o: &crate::GraphOutput| {
            let value = values.get(&o.value.node).and_then(|v| v.get(o.value.output)?.clone());
            value.ok_or_else(|| OpError::Invalid(format!("graph output {:?} has no value", o.name)))
        };
        graph.outputs().iter().map(output).collect()
    }
}

impl RunBody for Interpreter {
    fn run_body(
        &self,
        body: &Arc<Graph>,
        inputs: Vec<Option<Value>>,
        cx: &mut EvalCx<'_>,
    ) -> Result<Vec<Value>, OpError> {
        self.run(body, inputs, cx)
    }
}
