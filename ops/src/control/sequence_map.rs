//! `SequenceMap`: a body run on each item of a sequence, its outputs put into sequences.
//!
//! Further inputs that are sequences give the body their items in step; others are the same for every item.
//!
//! Opsets: 17.

use super::Iterated;
use crate::Define;
use planish_ir::{
    ALL_TENSORS, AttributeError, AttributeKind, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, Type, Types, arg, mixed_variadic, required,
};
use planish_tensor::{Sequence, Value, ValueType};
use std::sync::Arc;

/// `SequenceMap`.
#[derive(Debug)]
pub struct SequenceMap {
    body: Iterated,
    num_outputs: usize,
}

impl Define for SequenceMap {
    const SCHEMA: Schema = Schema::new("SequenceMap", 17)
        .inputs(&[
            arg("input_sequence", Types::SEQUENCE),
            mixed_variadic("additional_inputs", ALL_TENSORS.or(Types::SEQUENCE), 0),
        ])
        .outputs(&[mixed_variadic("out_sequence", Types::SEQUENCE, 1)])
        .attributes(&[required("body", AttributeKind::Graph)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let body = node.graph("body")?;
        let (inputs, outputs) = (body.inputs().len(), body.outputs().len());
        if inputs != node.num_inputs || outputs != node.num_outputs {
            let expected = format!("expected a graph of {} inputs and {} outputs", node.num_inputs, node.num_outputs);
            return Err(AttributeError::invalid(format!(
                "attribute \"body\": {expected}, got one of {inputs} and {outputs}"
            )));
        }
        Ok(SequenceMap { body: Iterated::new(body), num_outputs: outputs })
    }
}

impl Op for SequenceMap {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let num_inputs = self.body.body.inputs().len();
        let item = |(i, fact): (usize, Option<&Fact>)| match fact {
            Some(Fact { ty: Type::Sequence(item), .. }) if i < num_inputs => Some(Fact::of_type(item.as_ref().clone())),
            other => other.cloned(),
        };
        let inputs: Vec<Option<Fact>> = x.iter().enumerate().map(item).collect();
        let outputs = self.body.infer_once(&inputs).into_iter();
        Ok(outputs.map(|fact| Fact::of_type(Type::Sequence(Box::new(fact.ty)))).collect())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let num_inputs = self.body.body.inputs().len();
        let inputs = inputs.into_values();
        let Some(Some(Value::Sequence(first))) = inputs.first() else {
            return Err(OpError::invalid("input 0 is not a sequence"));
        };
        let mut outputs: Vec<Vec<Value>> = vec![Vec::new(); self.num_outputs];
        for i in 0..first.items.len() {
            cx.check()?;
            let item = |(index, value): (usize, &Option<Value>)| match value {
                Some(Value::Sequence(sequence)) if index < num_inputs => {
                    let item = sequence.items.get(i).cloned();
                    item.map(Some)
                        .ok_or_else(|| OpError::invalid(format!("input {index}: the sequence has no item {i}")))
                }
                other => Ok(other.clone()),
            };
            let given = inputs.iter().enumerate().map(item).collect::<Result<Vec<_>, OpError>>()?;
            let results = cx.run_body(&self.body.body, given)?;
            outputs.iter_mut().zip(results).for_each(|(items, value)| items.push(value));
        }
        let sequences = outputs.into_iter().enumerate().map(|(i, items)| self.sequence(i, items));
        Ok(Outputs::new(sequences.collect::<Result<Vec<_>, OpError>>()?.into_iter().map(Some)))
    }
}

impl SequenceMap {
    /// The sequence that output `index` is.
    fn sequence(&self, index: usize, items: Vec<Value>) -> Result<Value, OpError> {
        let declared = || {
            let output = self.body.body.outputs().get(index)?;
            let ty: Option<ValueType> = self.body.body.fact(output.value).ty.value_type();
            ty.or_else(|| output.declared.value_type())
        };
        let element = items.first().map(Value::value_type).or_else(declared);
        let element = element.ok_or_else(|| OpError::unsupported("an empty sequence of unknown type"))?;
        if let Some(other) = items.iter().find(|item| item.value_type() != element) {
            return Err(OpError::invalid(format!("a sequence of {element} does not hold {}", other.value_type())));
        }
        Ok(Value::Sequence(Sequence { element, items: Arc::new(items) }))
    }
}
