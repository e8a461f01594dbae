//! `SafeSoftmax`: a softmax whose rows are 0 where there is nothing to choose from.
//!
//! The body is `Where(lost, 0, Softmax(x))`, where `lost` is `IsNaN(Softmax(x))` or tells which rows of x are −∞
//! throughout, as PyTorch's `_safe_softmax` has it.

use super::{Definition, schema};
use crate::rowwise::map_units;
use crate::{Define, StandardRegistry};
use planish_ir::{
    Attribute, AttributeError, Attributes, Axis, EvalCx, Fact, Facts, Graph, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Registry, Schema, ValueId,
};
use planish_tensor::{DType, Tensor, Value};
use std::sync::Arc;

/// A core's time for one element.
const NS_PER_ELEMENT: f64 = 0.3;

/// `planish::SafeSoftmax`.
#[derive(Debug)]
pub struct SafeSoftmax {
    definition: Definition,
    form: Option<Form>,
}

/// A body that has a kernel.
#[derive(Debug)]
struct Form {
    softmax: Arc<dyn Op>,
    axis: Axis,
    /// Whether rows of −∞ become 0, and not all that is no number.
    is_by_row: bool,
}

impl Define for SafeSoftmax {
    const SCHEMA: Schema = schema("SafeSoftmax");

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let definition = Definition::parse(node)?;
        let form = Form::of(&definition.body);
        Ok(SafeSoftmax { definition, form })
    }
}

impl Op for SafeSoftmax {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(self.definition.infer(x))
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?.clone();
        let is_last = |form: &&Form| form.axis.resolve(x.rank()).is_ok_and(|axis| axis + 1 == x.rank());
        let form = self.form.as_ref().filter(|form| x.dtype() == DType::F32 && x.num_elements() > 0 && is_last(form));
        let Some(form) = form else { return self.definition.eval(cx, inputs) };
        let given = form.is_by_row.then(|| x.clone());
        let y = form.softmax.eval(cx, Inputs::new([Some(Value::Tensor(x))]))?;
        let y = y
            .into_values()
            .into_iter()
            .next()
            .flatten()
            .and_then(Value::into_tensor)
            .ok_or_else(|| OpError::Internal("no softmax".to_owned()))?;
        let length = y.shape().last().copied().unwrap_or(1);
        let given = given.as_ref().map(Tensor::as_slice::<f32>).transpose()?;
        let y = map_units(cx, y, length, NS_PER_ELEMENT, |start, from, y: &mut [f32]| {
            if let Some(from) = from {
                y.copy_from_slice(from);
            }
            for (row, y) in (start / length..).zip(y.chunks_exact_mut(length)) {
                match given {
                    None => y.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = 0.0),
                    Some(x) if x[row * length..][..length].iter().all(|v| *v == f32::NEG_INFINITY) => y.fill(0.0),
                    Some(_) => {}
                }
            }
        })?;
        Ok(y.into())
    }
}

impl Form {
    /// The form of a body, if it has a kernel.
    fn of(body: &Graph) -> Option<Form> {
        let input = body.inputs().next()?;
        let [output] = body.outputs() else { return None };
        let [lost, zero, weights] = operands(body, output.value, "Where")?;
        let is_zero = |tensor: &Tensor| tensor.rank() == 0 && tensor.as_slice::<f32>().is_ok_and(|v| v == [0.0]);
        let [x] = operands(body, weights, "Softmax")?;
        if x != input || !body.constant(zero).is_some_and(is_zero) {
            return None;
        }
        let operator = body.node(weights.node).operator()?;
        let is_nan = operands(body, lost, "IsNaN").is_some_and(|[of]: [ValueId; 1]| of == weights);
        let axis = int(&operator.attributes, "axis").unwrap_or(-1);
        if !is_nan && !is_row_of_nothing(body, lost, input, axis)? {
            return None;
        }
        let softmax = StandardRegistry.operator("", "Softmax", Attributes::new().with("axis", axis), 1, 1).ok()?;
        Some(Form { softmax: softmax.op()?.clone(), axis: Axis::new(axis), is_by_row: !is_nan })
    }
}

/// Whether a value is `Cast(ReduceMin(Cast(Equal(x, −∞)), axis))`, which keeps the axis.
fn is_row_of_nothing(body: &Graph, lost: ValueId, x: ValueId, axis: i64) -> Option<bool> {
    let [least] = operands(body, lost, "Cast")?;
    let [flags, axes] = operands(body, least, "ReduceMin")?;
    let [equal] = operands(body, flags, "Cast")?;
    let [of, lowest] = operands(body, equal, "Equal")?;
    let is_lowest = body.constant(lowest)?.as_slice::<f32>().is_ok_and(|v| v == [f32::NEG_INFINITY]);
    let is_along = body.constant(axes)?.as_slice::<i64>().is_ok_and(|v| v == [axis]);
    let attributes = &body.node(least.node).operator()?.attributes;
    let keeps = int(attributes, "keepdims") != Some(0);
    Some(of == x && is_lowest && is_along && keeps)
}

fn int(attributes: &Attributes, name: &str) -> Option<i64> {
    match attributes.get(name) {
        Some(Attribute::Int(value)) => Some(*value),
        _ => None,
    }
}

/// The inputs of the node that makes a value, if it is of this operator and has just so many.
fn operands<const N: usize>(body: &Graph, value: ValueId, name: &str) -> Option<[ValueId; N]> {
    body.node(value.node).operator().filter(|operator| operator.is(name) && value.output == 0)?;
    let inputs: Option<Vec<ValueId>> = body.node_inputs(value.node).iter().copied().collect();
    inputs?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use crate::planish::tests::both;
    use crate::testing::tensor;

    const BY_NAN: &str =
        "g (float[] x) => (float[] y) <float zero = {0}> { s = Softmax (x) n = IsNaN (s) y = Where (n, zero, s) }";
    const BY_ROW: &str = "g (float[] x) => (float[] y) <float zero = {0}, float low = {-inf}, int64[1] last = {-1}> \
        { s = Softmax (x) e = Equal (x, low) c = Cast <to = 7> (e) m = ReduceMin (c, last) b = Cast <to = 9> (m) y = Where (b, zero, s) }";

    #[test]
    fn rows_without_a_choice_are_zero() {
        let low = f32::NEG_INFINITY;
        let x = tensor(&[4, 3], &[low, low, low, 1.0, low, 2.0, 0.5, f32::NAN, 0.0, 1.0, 2.0, 3.0]);
        for text in [BY_NAN, BY_ROW] {
            let (got, expected) = both("SafeSoftmax", text, std::slice::from_ref(&x), &[]);
            let numbers = |t: &planish_tensor::Tensor| t.as_slice::<f32>().unwrap().to_vec();
            for (got, expected) in numbers(&got).into_iter().zip(numbers(&expected)) {
                assert!(got == expected || got.is_nan() && expected.is_nan(), "{got} is not {expected}");
            }
            assert_eq!(numbers(&got)[..3], [0.0; 3]);
        }
    }
}
