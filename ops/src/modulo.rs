//! `Mod`: what division leaves, with multidirectional broadcasting.
//!
//! `fmod = 0` rounds the quotient down, so that the result has the divisor's sign; `fmod = 1` rounds it towards zero, so that
//! it has the dividend's. An integer modulo zero is an error.
//!
//! Opsets: 10; 13 adds bfloat16; 28 allows floats with `fmod = 0`.

use crate::Define;
use crate::arithmetic::refuse_integer_zero;
use crate::dtypes::{Number, for_numeric};
use crate::elementwise::{binary, common_dtype, infer_broadcast, take_two, zip};
use planish_ir::{
    AttributeError, EvalCx, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op, OpError, Outputs, Schema, arg, int,
};

/// `Mod`.
#[derive(Debug)]
pub struct Mod {
    truncates: bool,
}

impl Define for Mod {
    const SCHEMA: Schema = Schema::new("Mod", 28)
        .inputs(&[arg("A", NUMERIC).var("T"), arg("B", NUMERIC).var("T")])
        .outputs(&[arg("C", NUMERIC).var("T")])
        .attributes(&[int("fmod", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        match node.int("fmod")? {
            0 => Ok(Mod { truncates: false }),
            1 => Ok(Mod { truncates: true }),
            other => Err(AttributeError::invalid(format!("attribute \"fmod\": expected 0 or 1, got {other}"))),
        }
    }
}

impl Op for Mod {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        infer_broadcast(x, common_dtype(x), |elements| {
            let (a, b) = (&elements[0], &elements[1]);
            if self.truncates { a - a.trunc_div(b) * b } else { a.modulo(b) }
        })
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let (a, b) = take_two(&mut inputs)?;
        refuse_integer_zero(&a, &b)?;
        let truncates = self.truncates;
        let y = for_numeric!(a.dtype(), T => binary::<T>(cx, a, b, 5.0, |a, b, y| match truncates {
            true => zip(a, b, y, Number::rem),
            false => zip(a, b, y, Number::modulo),
        }));
        Ok(y?.into())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn the_sign_is_the_divisors_or_the_dividends() {
        let (a, b) = (tensor(&[4], &[-4i64, 7, 5, i64::MIN]), tensor(&[4], &[2i64, -3, 8, -1]));
        let fmod = |v: i64| Attributes::new().with("fmod", v);
        assert_eq!(eval("Mod", fmod(0), &[a.clone(), b.clone()]).unwrap(), tensor(&[4], &[0i64, -2, 5, 0]));
        assert_eq!(eval("Mod", fmod(1), &[a, b]).unwrap(), tensor(&[4], &[0i64, 1, 5, 0]));
        let (a, b) = (tensor(&[3], &[-4.3f32, 7.2, 5.0]), tensor(&[3], &[2.1f32, -3.4, f32::NEG_INFINITY]));
        let y = eval("Mod", fmod(1), &[a.clone(), b.clone()]).unwrap();
        assert_eq!(y, tensor(&[3], &[-4.3f32 % 2.1, 7.2 % -3.4, 5.0]));
        let y = eval("Mod", fmod(0), &[a, b]).unwrap();
        assert_eq!(y, tensor(&[3], &[-4.3f32 % 2.1 + 2.1, 7.2 % -3.4 + -3.4, f32::NEG_INFINITY]));
    }

    #[test]
    fn nonsense_is_refused() {
        let x = tensor(&[1], &[0i32]);
        assert!(eval("Mod", Attributes::new(), &[x.clone(), x.clone()]).is_err());
        let nothing = eval("Mod", Attributes::new(), &[tensor::<i32>(&[0], &[]), x.clone()]).unwrap();
        assert_eq!(nothing, tensor::<i32>(&[0], &[]));
        assert!(eval("Mod", Attributes::new().with("fmod", 2i64), &[x.clone(), x]).is_err());
    }
}
