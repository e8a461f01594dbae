//! `Loop`: runs `body` again and again, at most `M` times and while its condition holds. State goes from each iteration to
//! the next; scan outputs are stacked along a new first axis.
//!
//! Body: (iteration, cond, state…) → (cond, state…, scan…).
//!
//! Opsets: 1; 11 and 13 allow other state types than before, 16 optionals; 19, 21, 23, 24, 25 add dtypes.

use super::if_op::condition;
use super::stacked::Stacked;
use super::{Iterated, never_run, scanned, split_captures, without_shape};
use crate::Define;
use planish_ir::{
    ANY, AttributeError, AttributeKind, Axis, BOOL, Dim, EvalCx, Fact, Facts, INT64, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, Type, mixed_variadic, opt, required,
};
use planish_tensor::{DType, Tensor, Value};

/// `Loop`.
#[derive(Debug)]
pub struct Loop {
    iterated: Iterated,
    /// How many values go from each iteration to the next, the condition left out.
    num_states: usize,
}

impl Loop {
    fn num_scans(&self) -> usize {
        self.iterated.body.outputs().len() - 1 - self.num_states
    }
}

impl Define for Loop {
    const SCHEMA: Schema = Schema::new("Loop", 25)
        .inputs(&[opt("M", INT64), opt("cond", BOOL), mixed_variadic("v_initial", ANY, 0)])
        .outputs(&[mixed_variadic("v_final_and_scan_outputs", ANY, 1)])
        .attributes(&[required("body", AttributeKind::Graph)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let body = node.graph("body")?;
        let (inputs, outputs) = (body.inputs().len(), body.outputs().len());
        let num_states = node.num_inputs.saturating_sub(2);
        if inputs != 2 + num_states || outputs < 1 + num_states || outputs - 1 < node.num_outputs {
            let expected = format!("{} inputs and {} outputs", 2 + num_states, 1 + node.num_outputs.max(num_states));
            let message =
                format!("attribute \"body\": expected a graph of {expected}, got one of {inputs} and {outputs}");
            return Err(AttributeError::invalid(message));
        }
        Ok(Loop { iterated: Iterated::new(body), num_states })
    }
}

impl Op for Loop {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let begins = x.constant(1).and_then(condition).or((!x.has(1)).then_some(true));
        let cond = match begins {
            Some(true) => Fact::constant(Tensor::scalar(true)),
            _ => Fact::shaped(Some(DType::Bool), vec![]),
        };
        let iteration = Fact::shaped(Some(DType::I64), vec![]);
        let captures_from = x.len().saturating_sub(self.iterated.num_captures());
        let initial: Vec<Option<Fact>> = (0..self.num_states).map(|i| x.get(2 + i).cloned()).collect();
        let captured = (captures_from..x.len()).map(|i| x.get(i).cloned());
        let inputs: Vec<Option<Fact>> =
            [Some(iteration), Some(cond)].into_iter().chain(initial.iter().cloned()).chain(captured).collect();
        let outputs = self.iterated.infer(inputs, 2..2 + self.num_states, 1);
        let goes_on = outputs.first().and_then(|f| f.constant.as_ref()).and_then(condition);
        let count = match (x.elements(0).as_deref(), goes_on) {
            (Some([most]), Some(true)) => most.max(0),
            _ => Dim::unknown(),
        };
        let states = outputs.iter().skip(1).zip(&initial).map(|(after, before)| match before {
            Some(before) => Fact::of_type(after.ty.join(&before.ty)),
            None => Fact::of_type(without_shape(&after.ty)),
        });
        let scans = outputs.iter().skip(1 + self.num_states).map(|f| Fact::of_type(stacked(&f.ty, &count)));
        Ok(states.chain(scans).collect())
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let most = if inputs.has(0) { inputs.int(0)? } else { i64::MAX };
        let mut cond = match inputs.opt_tensor(1)? {
            Some(cond) => condition(cond).ok_or_else(|| OpError::invalid("cond: expected one bool"))?,
            None => true,
        };
        if !cond || most <= 0 {
            let axes = (0..self.num_scans()).map(|_| Axis::new(0));
            return never_run(self, cx, inputs, 2..2 + self.num_states, axes);
        }
        let [own, captures] = split_captures(inputs, self.iterated.num_captures())?;
        let mut states: Vec<Option<Value>> = own.into_iter().skip(2).collect();
        let mut scans: Vec<Stacked> = (0..self.num_scans()).map(|_| Stacked::default()).collect();
        let mut iteration = 0;
        while cond && iteration < most {
            cx.check()?;
            let own = [Tensor::scalar(iteration), Tensor::scalar(cond)].map(|t| Some(Value::Tensor(t)));
            let given = own.into_iter().chain(states).chain(captures.iter().cloned()).collect();
            let mut outputs = cx.run_body(&self.iterated.body, given)?.into_iter();
            cond = outputs
                .next()
                .and_then(|cond| condition(cond.as_tensor()?))
                .ok_or_else(|| OpError::invalid("the body's condition is not one bool"))?;
            states = outputs.by_ref().take(self.num_states).map(Some).collect();
            for (scan, value) in scans.iter_mut().zip(outputs) {
                scan.push(cx, scanned(value)?)?;
            }
            iteration += 1;
        }
        for scan in scans {
            states.push(Some(Value::Tensor(scan.stack(cx, Axis::new(0), false)?)));
        }
        Ok(Outputs::new(states))
    }
}

/// The type of `count` tensors of one type, stacked.
fn stacked(ty: &Type, count: &Dim) -> Type {
    let with_count = |shape: &Vec<Dim>| std::iter::once(count.clone()).chain(shape.iter().cloned()).collect();
    match ty {
        Type::Tensor { dtype, shape } => Type::Tensor { dtype: *dtype, shape: shape.as_ref().map(with_count) },
        _ => Type::Tensor { dtype: None, shape: None },
    }
}
