//! Runs one operator in a test, and holds what it infers against what it evaluates.

use crate::StandardRegistry;
use planish_ir::{
    Attributes, Dim, EvalCx, Fact, Facts, InferError, Inputs, Interpreter, Op, OpError, Prepared, Registry,
};
use planish_tensor::{DType, Element, Shape, Tensor, Value};

/// A tensor of `dims` and `data`.
pub fn tensor<T: Element>(dims: &[usize], data: &[T]) -> Tensor {
    Tensor::new(Shape::new(dims).unwrap(), data).unwrap()
}

/// The only output of operator `name` on these inputs. Fails where inference says something else than evaluation.
pub fn eval(name: &str, attributes: Attributes, inputs: &[Tensor]) -> Result<Tensor, OpError> {
    let given: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
    Ok(eval_all("", name, attributes, &given, 1)?.remove(0))
}

/// The outputs of an operator of any domain on inputs of which some may be absent.
pub fn eval_all(
    domain: &str,
    name: &str,
    attributes: Attributes,
    inputs: &[Option<Tensor>],
    num_outputs: usize,
) -> Result<Vec<Tensor>, OpError> {
    let values: Vec<Option<Value>> = inputs.iter().map(|t| t.clone().map(Value::Tensor)).collect();
    let outputs = eval_values(domain, name, attributes, &values, num_outputs)?;
    Ok(outputs.into_iter().map(|v| v.into_tensor().expect("a tensor")).collect())
}

/// What `op` prepares for `inputs` of which those that `is_constant` are constant.
pub fn prepare(
    op: &dyn Op,
    cx: &EvalCx<'_>,
    inputs: &[Option<Tensor>],
    is_constant: impl Fn(usize) -> bool,
) -> Result<Option<Prepared>, OpError> {
    let known = |(index, tensor): (usize, &Option<Tensor>)| match Fact::constant(tensor.clone()?) {
        fact if is_constant(index) => Some(fact),
        fact => Some(Fact::of_type(fact.ty)),
    };
    let facts: Vec<Option<Fact>> = inputs.iter().enumerate().map(known).collect();
    let facts: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
    op.prepare(cx, &Facts::new(&facts, 1))
}

/// The outputs of an operator of any domain on values of any kind, of which some may be absent.
pub fn eval_values(
    domain: &str,
    name: &str,
    attributes: Attributes,
    inputs: &[Option<Value>],
    num_outputs: usize,
) -> Result<Vec<Value>, OpError> {
    let operator = StandardRegistry.operator(domain, name, attributes, inputs.len(), num_outputs);
    let operator = operator.map_err(|e| OpError::invalid(e.to_string()))?;
    let op = operator.op().unwrap_or_else(|| panic!("{:?}", operator.implementation)).clone();
    let mut cx = EvalCx::unlimited(&Interpreter);
    cx.wanted = std::iter::repeat_n(true, num_outputs).collect();
    let outputs = op.eval(&mut cx, Inputs::new(inputs.iter().cloned()))?.into_values();
    for facts in [whole_facts(inputs), shapes_only(inputs)] {
        let known: Vec<Option<&Fact>> = facts.iter().map(Option::as_ref).collect();
        let inferred = op.infer(&Facts::new(&known, num_outputs)).expect("what evaluates can be inferred");
        for (fact, value) in inferred.iter().zip(&outputs) {
            if let Some(value) = value {
                let actual = Fact::of_value(value);
                fact.ty.unify(&actual.ty).unwrap_or_else(|e| panic!("{name}: inferred {e}"));
                if let (Some(said), Some(is)) = (fact.elements(), actual.elements()) {
                    let agree = said.iter().zip(&is).all(|(s, i)| Dim::unify(s, i).is_ok());
                    assert!(said.len() == is.len() && agree, "{name}: inferred contents {said:?}, got {is:?}");
                }
            }
        }
    }
    Ok(outputs.into_iter().take(num_outputs).map(|v| v.expect("every output was wanted")).collect())
}

/// What operator `name` infers of its only output from these facts.
pub fn infer(name: &str, attributes: Attributes, inputs: &[Fact]) -> Result<Fact, InferError> {
    let operator =
        StandardRegistry.operator("", name, attributes, inputs.len(), 1).map_err(|e| InferError::new(e.to_string()))?;
    let op = operator.op().unwrap_or_else(|| panic!("{:?}", operator.implementation));
    let known: Vec<Option<&Fact>> = inputs.iter().map(Some).collect();
    Ok(op.infer(&Facts::new(&known, 1))?.remove(0))
}

/// What is known of a tensor of these dimensions, written as text: `"batch, 3, ?"`.
pub fn shaped(dtype: DType, dims: &str) -> Fact {
    Fact::shaped(Some(dtype), parse_dims(dims))
}

/// What is known of an `int64` vector of these elements, written as text.
pub fn elements(elements: &str) -> Fact {
    Fact::integers(DType::I64, false, parse_dims(elements))
}

/// Commas within parentheses belong to a dimension.
fn parse_dims(text: &str) -> Vec<Dim> {
    let mut depth = 0;
    let is_separator = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    text.split(is_separator).map(str::trim).filter(|part| !part.is_empty()).map(Dim::parse).collect()
}

fn whole_facts(inputs: &[Option<Value>]) -> Vec<Option<Fact>> {
    inputs.iter().map(|v| v.as_ref().map(Fact::of_value)).collect()
}

fn shapes_only(inputs: &[Option<Value>]) -> Vec<Option<Fact>> {
    inputs.iter().map(|v| v.as_ref().map(|v| Fact::of_type(Fact::of_value(v).ty))).collect()
}
