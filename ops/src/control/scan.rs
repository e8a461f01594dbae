//! `Scan`: runs `body` once for each place along an axis of its scan inputs. State goes from each iteration to the next; scan
//! outputs are stacked along a new axis. Each scan input and output has its own axis and direction.
//!
//! Body: (state…, item of each scan input…) → (state…, scan…).
//!
//! Opsets: 8 has a batch axis and sequence lengths; 9 drops them and gives each scan its axis; 11 allows negative axes; 16,
//! 19, 21, 23, 24, 25 add dtypes.

use super::stacked::{Stacked, item};
use super::{Iterated, never_run, scanned, split_captures, without_shape};
use crate::Define;
use planish_ir::{
    ALL_TENSORS, AttributeError, AttributeKind, Axis, Dim, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, mixed_variadic, optional, required,
};
use planish_tensor::{Tensor, Value};

/// `Scan`.
#[derive(Debug)]
pub struct Scan {
    iterated: Iterated,
    num_states: usize,
    inputs: Vec<Along>,
    outputs: Vec<Along>,
}

/// How one scan input is taken apart, or one scan output put together.
#[derive(Clone, Copy, Debug)]
struct Along {
    axis: Axis,
    is_reversed: bool,
}

impl Along {
    /// The axes and directions of `count` scans, from the attributes that hold them.
    fn parse(node: &NodeView<'_>, axes: &str, directions: &str, count: usize) -> Result<Vec<Along>, AttributeError> {
        let list = |name: &str| -> Result<Vec<i64>, AttributeError> {
            match node.opt_ints(name) {
                None => Ok(vec![0; count]),
                Some(list) if list.len() == count => Ok(list.to_vec()),
                Some(list) => {
                    let message = format!("attribute {name:?}: expected {count} numbers, got {list:?}");
                    Err(AttributeError::invalid(message))
                }
            }
        };
        let along = |(axis, direction)| match direction {
            0 | 1 => Ok(Along { axis: Axis::new(axis), is_reversed: direction == 1 }),
            other => Err(AttributeError::invalid(format!("attribute {directions:?}: expected 0 or 1, got {other}"))),
        };
        list(axes)?.into_iter().zip(list(directions)?).map(along).collect()
    }
}

impl Scan {
    /// The extent that all scan inputs share along their axes.
    fn count(&self, inputs: &Inputs) -> Result<usize, OpError> {
        let mut count = None;
        for (i, along) in self.inputs.iter().enumerate() {
            let tensor = inputs.tensor(self.num_states + i)?;
            let length = tensor.shape()[along.axis.resolve(tensor.rank())?];
            match *count.get_or_insert(length) {
                expected if expected != length => {
                    let message = format!("scan input {i}: expected {expected} items along its axis, got {length}");
                    return Err(OpError::invalid(message));
                }
                _ => {}
            }
        }
        count.ok_or_else(|| OpError::Internal("a Scan without scan inputs".into()))
    }
}

impl Define for Scan {
    const SCHEMA: Schema = Schema::new("Scan", 25)
        .inputs(&[mixed_variadic("initial_state_and_scan_inputs", ALL_TENSORS, 1)])
        .outputs(&[mixed_variadic("final_state_and_scan_outputs", ALL_TENSORS, 1)])
        .attributes(&[
            required("body", AttributeKind::Graph),
            required("num_scan_inputs", AttributeKind::Int),
            optional("scan_input_axes", AttributeKind::Ints),
            optional("scan_input_directions", AttributeKind::Ints),
            optional("scan_output_axes", AttributeKind::Ints),
            optional("scan_output_directions", AttributeKind::Ints),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let body = node.graph("body")?;
        let count = node.int("num_scan_inputs")?;
        let num_scans = usize::try_from(count).ok().filter(|n| (1..=node.num_inputs).contains(n)).ok_or_else(|| {
            let most = node.num_inputs;
            AttributeError::invalid(format!("attribute \"num_scan_inputs\": expected 1 to {most}, got {count}"))
        })?;
        let num_states = node.num_inputs - num_scans;
        let (inputs, outputs) = (body.inputs().len(), body.outputs().len());
        let least = node.num_outputs.max(num_states);
        if inputs != node.num_inputs || outputs < least {
            let expected = format!("{} inputs and {least} outputs", node.num_inputs);
            let message =
                format!("attribute \"body\": expected a graph of {expected}, got one of {inputs} and {outputs}");
            return Err(AttributeError::invalid(message));
        }
        Ok(Scan {
            iterated: Iterated::new(body),
            num_states,
            inputs: Along::parse(node, "scan_input_axes", "scan_input_directions", num_scans)?,
            outputs: Along::parse(node, "scan_output_axes", "scan_output_directions", outputs - num_states)?,
        })
    }
}

impl Op for Scan {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let mut count = Dim::unknown();
        let mut given: Vec<Option<Fact>> = (0..self.num_states).map(|i| x.get(i).cloned()).collect();
        for (i, along) in self.inputs.iter().enumerate() {
            let Some(shape) = x.shape(self.num_states + i) else {
                given.push(Some(Fact::tensor(x.dtype(self.num_states + i))));
                continue;
            };
            let mut dims = shape.to_vec();
            let length = dims.remove(along.axis.resolve(shape.len())?);
            count = Dim::unify(&count, &length)
                .map_err(|e| InferError(format!("scan inputs have different lengths along their axes: {e}")))?;
            given.push(Some(Fact::shaped(x.dtype(self.num_states + i), dims)));
        }
        given.extend((given.len()..x.len()).map(|i| x.get(i).cloned()));
        let outputs = self.iterated.infer(given, 0..self.num_states, 0);
        let states = outputs.iter().take(self.num_states).enumerate().map(|(i, after)| match x.get(i) {
            Some(before) => Ok(Fact::of_type(after.ty.join(&before.ty))),
            None => Ok(Fact::of_type(without_shape(&after.ty))),
        });
        let scans = outputs.iter().skip(self.num_states).zip(&self.outputs).map(|(item, along)| {
            let Some(shape) = item.shape() else { return Ok(Fact::tensor(item.dtype())) };
            let mut dims = shape.to_vec();
            dims.insert(along.axis.resolve(shape.len() + 1)?, count.clone());
            Ok(Fact::shaped(item.dtype(), dims))
        });
        states.chain(scans).collect()
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let count = self.count(&inputs)?;
        if count == 0 {
            return never_run(self, cx, inputs, 0..self.num_states, self.outputs.iter().map(|along| along.axis));
        }
        let [mut states, captures] = split_captures(inputs, self.iterated.num_captures())?;
        let sources: Vec<Tensor> =
            states.split_off(self.num_states).into_iter().filter_map(|v| v?.into_tensor()).collect();
        let mut scans: Vec<Stacked> = self.outputs.iter().map(|_| Stacked::default()).collect();
        for iteration in 0..count {
            cx.check()?;
            let mut given = std::mem::take(&mut states);
            for (tensor, along) in sources.iter().zip(&self.inputs) {
                let index = if along.is_reversed { count - 1 - iteration } else { iteration };
                let axis = along.axis.resolve(tensor.rank())?;
                given.push(Some(Value::Tensor(item(cx, tensor, axis, index)?)));
            }
            given.extend(captures.iter().cloned());
            let mut outputs = cx.run_body(&self.iterated.body, given)?.into_iter();
            states = outputs.by_ref().take(self.num_states).map(Some).collect();
            for (scan, value) in scans.iter_mut().zip(outputs) {
                scan.push(cx, scanned(value)?)?;
            }
        }
        for (scan, along) in scans.into_iter().zip(&self.outputs) {
            states.push(Some(Value::Tensor(scan.stack(cx, along.axis, along.is_reversed)?)));
        }
        Ok(Outputs::new(states))
    }
}
