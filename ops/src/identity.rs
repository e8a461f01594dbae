//! `Identity`: the input itself, of any type.
//!
//! Opsets: 1; 13 and 14 add dtypes and sequences; 16 optionals; 19, 21, 23, 24, 25 add dtypes.

use crate::Define;
use planish_ir::{
    ANY, AttributeError, EvalCx, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema, arg,
};

/// `Identity`.
#[derive(Debug)]
pub struct Identity;

impl Define for Identity {
    const SCHEMA: Schema =
        Schema::new("Identity", 25).inputs(&[arg("input", ANY).var("V")]).outputs(&[arg("output", ANY).var("V")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Identity)
    }
}

impl Op for Identity {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![x.get(0).cloned().unwrap_or_default()])
    }

    fn eval(&self, _cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        Ok(inputs.take(0)?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn nothing_is_copied() {
        let x = tensor(&[2], &[1f32, 2.]);
        let y = eval("Identity", Attributes::new(), std::slice::from_ref(&x)).unwrap();
        assert!(y.shares_contents_with(&x));
    }
}
