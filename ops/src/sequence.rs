//! `SequenceConstruct`, `SequenceEmpty`, `SequenceInsert`, `SequenceErase`, `SequenceAt` and `SequenceLength`: lists of
//! tensors of one dtype.
//!
//! Opsets: 11.

use crate::Define;
use crate::indices::checked_index;
use planish_ir::{
    AttributeError, AttributeKind, CLASSIC_TENSORS, EvalCx, Fact, Facts, INDICES, INT64, InferError, Inputs, NodeView,
    Op, OpError, Outputs, Schema, Type, Types, arg, opt, optional, variadic,
};
use planish_tensor::{DType, Sequence, Shape, Value, ValueType};
use std::sync::Arc;

/// `SequenceConstruct`.
#[derive(Debug)]
pub struct SequenceConstruct;

/// `SequenceEmpty`.
#[derive(Debug)]
pub struct SequenceEmpty {
    dtype: DType,
}

/// `SequenceInsert`.
#[derive(Debug)]
pub struct SequenceInsert;

/// `SequenceErase`.
#[derive(Debug)]
pub struct SequenceErase;

/// `SequenceAt`.
#[derive(Debug)]
pub struct SequenceAt;

/// `SequenceLength`.
#[derive(Debug)]
pub struct SequenceLength;

/// What is known of the items of the sequence that input `index` is.
pub fn item_type(x: &Facts<'_>, index: usize) -> Result<Type, InferError> {
    match x.get(index).map(|fact| &fact.ty) {
        Some(Type::Sequence(item)) => Ok(item.as_ref().clone()),
        None | Some(Type::Unknown) => Ok(Type::Unknown),
        Some(other) => Err(InferError(format!("input {index}: expected a sequence, got {other}"))),
    }
}

/// The sequence that input `index` is, taken out.
pub fn take_sequence(inputs: &mut Inputs, index: usize) -> Result<Sequence, OpError> {
    match inputs.take(index)? {
        Value::Sequence(sequence) => Ok(sequence),
        other => Err(OpError::invalid(format!("input {index}: expected a sequence, got {}", other.value_type()))),
    }
}

fn sequence_of(item: Type) -> Fact {
    Fact::of_type(Type::Sequence(Box::new(item)))
}

fn tensor_type(x: &Facts<'_>, index: usize) -> Type {
    x.get(index).map(|fact| fact.ty.clone()).unwrap_or_default()
}

impl Define for SequenceConstruct {
    const SCHEMA: Schema = Schema::new("SequenceConstruct", 11)
        .inputs(&[variadic("inputs", CLASSIC_TENSORS, 1).var("T")])
        .outputs(&[arg("output_sequence", Types::SEQUENCE)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SequenceConstruct)
    }
}

impl Op for SequenceConstruct {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let item = (1..x.len()).fold(tensor_type(x, 0), |item, i| item.join(&tensor_type(x, i)));
        Ok(vec![sequence_of(item)])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let items =
            (0..inputs.len()).map(|i| inputs.take_tensor(i).map(Value::Tensor)).collect::<Result<Vec<_>, _>>()?;
        let element = items.first().map(Value::value_type).ok_or_else(|| OpError::invalid("there are no inputs"))?;
        if let Some(other) = items.iter().find(|item| item.value_type() != element) {
            return Err(OpError::invalid(format!("a sequence of {element} does not hold {}", other.value_type())));
        }
        Ok(Value::Sequence(Sequence { element, items: Arc::new(items) }).into())
    }
}

impl Define for SequenceEmpty {
    const SCHEMA: Schema = Schema::new("SequenceEmpty", 11)
        .outputs(&[arg("output", Types::SEQUENCE)])
        .attributes(&[optional("dtype", AttributeKind::Int)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SequenceEmpty { dtype: node.opt_dtype("dtype")?.unwrap_or(DType::F32) })
    }
}

impl Op for SequenceEmpty {
    fn infer(&self, _x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![sequence_of(Type::tensor(self.dtype))])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, _inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(Value::Sequence(Sequence { element: ValueType::Tensor(self.dtype), items: Arc::default() }).into())
    }
}

impl Define for SequenceInsert {
    const SCHEMA: Schema = Schema::new("SequenceInsert", 11)
        .inputs(&[arg("input_sequence", Types::SEQUENCE), arg("tensor", CLASSIC_TENSORS), opt("position", INDICES)])
        .outputs(&[arg("output_sequence", Types::SEQUENCE)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SequenceInsert)
    }
}

impl Op for SequenceInsert {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![sequence_of(item_type(x, 0)?.join(&tensor_type(x, 1)))])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let mut sequence = take_sequence(&mut inputs, 0)?;
        let item = Value::Tensor(inputs.take_tensor(1)?);
        if item.value_type() != sequence.element {
            let (holder, got) = (&sequence.element, item.value_type());
            return Err(OpError::invalid(format!("a sequence of {holder} does not hold {got}")));
        }
        let count = sequence.items.len();
        let position = match inputs.has(2).then(|| inputs.int(2)).transpose()? {
            None => count,
            Some(position) if position == count as i64 => count,
            Some(position) => checked_index(position, count)?,
        };
        Arc::make_mut(&mut sequence.items).insert(position, item);
        Ok(Value::Sequence(sequence).into())
    }
}

impl Define for SequenceErase {
    const SCHEMA: Schema = Schema::new("SequenceErase", 11)
        .inputs(&[arg("input_sequence", Types::SEQUENCE), opt("position", INDICES)])
        .outputs(&[arg("output_sequence", Types::SEQUENCE)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SequenceErase)
    }
}

impl Op for SequenceErase {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![sequence_of(item_type(x, 0)?)])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let mut sequence = take_sequence(&mut inputs, 0)?;
        let position = if inputs.has(1) { inputs.int(1)? } else { -1 };
        let position = checked_index(position, sequence.items.len())?;
        Arc::make_mut(&mut sequence.items).remove(position);
        Ok(Value::Sequence(sequence).into())
    }
}

impl Define for SequenceAt {
    const SCHEMA: Schema = Schema::new("SequenceAt", 11)
        .inputs(&[arg("input_sequence", Types::SEQUENCE), arg("position", INDICES)])
        .outputs(&[arg("tensor", CLASSIC_TENSORS)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SequenceAt)
    }
}

impl Op for SequenceAt {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![Fact::of_type(item_type(x, 0)?)])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let sequence = take_sequence(&mut inputs, 0)?;
        let position = checked_index(inputs.int(1)?, sequence.items.len())?;
        Ok(sequence.items[position].clone().into())
    }
}

impl Define for SequenceLength {
    const SCHEMA: Schema = Schema::new("SequenceLength", 11)
        .inputs(&[arg("input_sequence", Types::SEQUENCE)])
        .outputs(&[arg("length", INT64)]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(SequenceLength)
    }
}

impl Op for SequenceLength {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        item_type(x, 0)?;
        Ok(vec![Fact::shaped(Some(DType::I64), Vec::new())])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let length = take_sequence(&mut inputs, 0)?.items.len() as i64;
        Ok(cx.tensor(Shape::scalar(), &[length])?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_values, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::{Tensor, Value};

    fn run(name: &str, inputs: &[Value]) -> Result<Value, OpError> {
        let given: Vec<Option<Value>> = inputs.iter().cloned().map(Some).collect();
        Ok(eval_values("", name, Attributes::new(), &given, 1)?.remove(0))
    }

    fn items(value: &Value) -> Vec<Value> {
        let Value::Sequence(sequence) = value else { panic!("a sequence") };
        sequence.items.to_vec()
    }

    #[test]
    fn items_are_inserted_erased_and_read() {
        let [a, b, c] = [1f32, 2., 3.].map(|v| Value::Tensor(tensor(&[1], &[v])));
        let at = |i: i64| Value::Tensor(Tensor::scalar(i));
        let pair = run("SequenceConstruct", &[a.clone(), b.clone()]).unwrap();
        for (position, expected) in [(0, [&c, &a, &b]), (2, [&a, &b, &c]), (-1, [&a, &c, &b])] {
            let y = run("SequenceInsert", &[pair.clone(), c.clone(), at(position)]).unwrap();
            assert_eq!(items(&y).iter().collect::<Vec<_>>(), expected);
        }
        assert_eq!(
            items(&run("SequenceInsert", &[pair.clone(), c.clone()]).unwrap()),
            [a.clone(), b.clone(), c.clone()]
        );
        assert_eq!(items(&run("SequenceErase", &[pair.clone()]).unwrap()), [a.clone()]);
        assert_eq!(items(&run("SequenceErase", &[pair.clone(), at(0)]).unwrap()), [b]);
        assert_eq!(run("SequenceAt", &[pair.clone(), at(-2)]).unwrap(), a);
        assert_eq!(run("SequenceLength", &[pair.clone()]).unwrap(), at(2));
        for wrong in [3, -3, i64::MIN] {
            assert!(run("SequenceInsert", &[pair.clone(), c.clone(), at(wrong)]).is_err());
            assert!(run("SequenceErase", &[pair.clone(), at(wrong)]).is_err());
            assert!(run("SequenceAt", &[pair.clone(), at(wrong)]).is_err());
        }
        assert!(run("SequenceInsert", &[pair, at(0)]).is_err(), "another dtype");
    }

    #[test]
    fn nothing_can_be_taken_from_an_empty_sequence() {
        let empty = run("SequenceEmpty", &[]).unwrap();
        assert_eq!(items(&empty), []);
        assert!(run("SequenceErase", &[empty]).is_err());
    }
}
