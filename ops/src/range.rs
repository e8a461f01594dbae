//! `Range`: start, start + delta, start + 2·delta, … up to `limit`, which is excluded.
//!
//! Opsets: 11; 27 adds `float16`, `bfloat16` and `stash_type`, the precision that these compute in.

use crate::Define;
use crate::dtypes::{Number, for_dtypes, for_float};
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, MAX_TRACKED_CONTENTS, NodeView, Op, OpError,
    Outputs, Schema, Types, arg, int,
};
use planish_tensor::{DType, Shape, Tensor, bf16, f16};

const RANGE_TYPES: Types = FLOATS.or(Types::of(&[DType::I16, DType::I32, DType::I64]));

/// `Range`.
#[derive(Debug)]
pub struct Range;

impl Define for Range {
    const SCHEMA: Schema = Schema::new("Range", 27)
        .inputs(&[
            arg("start", RANGE_TYPES).var("T"),
            arg("limit", RANGE_TYPES).var("T"),
            arg("delta", RANGE_TYPES).var("T"),
        ])
        .outputs(&[arg("output", RANGE_TYPES).var("T")])
        .attributes(&[int("stash_type", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        match node.dtype("stash_type")? {
            DType::F32 => Ok(Range),
            other => Err(AttributeError::unsupported(format!("attribute \"stash_type\": {other}"))),
        }
    }
}

impl Op for Range {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = (0..3).find_map(|i| x.dtype(i));
        if let (Some(start), Some(limit), Some(delta)) = (float(x, 0), float(x, 1), float(x, 2)) {
            let count = float_count(start, limit, delta).map_err(|e| InferError(e.to_string()))?;
            let length = i64::try_from(count).map_or_else(|_| Dim::unknown(), Dim::known);
            return Ok(vec![Fact::shaped(dtype, vec![length])]);
        }
        let one = |i: usize| x.elements(i).filter(|e| e.len() == 1).map(|mut e| e.remove(0));
        let (Some(start), Some(limit), Some(delta)) = (one(0), one(1), one(2)) else {
            return Ok(vec![Fact::shaped(dtype, vec![Dim::unknown()])]);
        };
        let count = match delta.as_known() {
            Some(0) => return Err(InferError::new("delta is 0")),
            Some(delta @ ..0) => (&start - &limit).ceil_div(delta.saturating_neg()).max(0),
            Some(delta) => (&limit - &start).ceil_div(delta).max(0),
            None => Dim::unknown(),
        };
        let mut fact = Fact::shaped(dtype, vec![count.clone()]);
        if let Some(count @ 0..) = count.as_known()
            && count <= MAX_TRACKED_CONTENTS as i64
        {
            fact.contents = Some((0..count).map(|i| &start + &delta * i).collect());
        }
        Ok(vec![fact])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        if matches!(dtype, DType::I16 | DType::I32 | DType::I64) {
            return for_dtypes!(dtype, T => integers::<T>(cx, &inputs), [I16 = i16, I32 = i32, I64 = i64])
                .map(Outputs::from);
        }
        Ok(match dtype {
            DType::F32 => floats::<f32>(cx, &inputs, |start, delta, i| start + i as f32 * delta)?,
            DType::F64 => floats::<f64>(cx, &inputs, |start, delta, i| start + i as f64 * delta)?,
            DType::F16 => {
                floats::<f16>(cx, &inputs, |start, delta, i| f16::from_f32(start.to_f32() + i as f32 * delta.to_f32()))?
            }
            DType::BF16 => floats::<bf16>(cx, &inputs, |start, delta, i| {
                bf16::from_f32(start.to_f32() + i as f32 * delta.to_f32())
            })?,
            other => return Err(OpError::unsupported(format!("dtype {other}"))),
        }
        .into())
    }
}

fn integers<T: Number + Into<i64> + TryFrom<i64>>(cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
    let at = |i| inputs.scalar::<T>(i).map(|v| i128::from(v.into()));
    let (start, limit, delta) = (at(0)?, at(1)?, at(2)?);
    if delta == 0 {
        return Err(OpError::invalid("delta is 0"));
    }
    let towards = (limit - start) * delta.signum();
    let count = towards.max(0).unsigned_abs().div_ceil(delta.unsigned_abs());
    let mut y = cx.uninit::<T>(Shape::new(&[usize::try_from(count).unwrap_or(usize::MAX)])?)?;
    let (mut next, delta) = (inputs.scalar::<T>(0)?, inputs.scalar::<T>(2)?);
    for y in y.iter_mut() {
        *y = next;
        next = next.add(delta);
    }
    Ok(y.freeze())
}

fn floats<T: Number>(cx: &EvalCx<'_>, inputs: &Inputs, at: impl Fn(T, T, usize) -> T) -> Result<Tensor, OpError> {
    let (start, limit, delta) = (inputs.scalar::<T>(0)?, inputs.scalar::<T>(1)?, inputs.scalar::<T>(2)?);
    let count = float_count(start.to_f64(), limit.to_f64(), delta.to_f64())?;
    let mut y = cx.uninit::<T>(Shape::new(&[count])?)?;
    y.iter_mut().enumerate().for_each(|(i, y)| *y = at(start, delta, i));
    Ok(y.freeze())
}

/// How many numbers there are from `start` on before `limit`.
fn float_count(start: f64, limit: f64, delta: f64) -> Result<usize, OpError> {
    let count = (limit - start) / delta;
    if count.is_nan() || count == f64::INFINITY || delta == 0.0 {
        return Err(OpError::invalid(format!("no range goes from {start:?} to {limit:?} by {delta:?}")));
    }
    Ok(count.ceil().max(0.0) as usize)
}

/// The number that input `index` is, if it is a constant of a type whose contents are not tracked.
fn float(x: &Facts<'_>, index: usize) -> Option<f64> {
    fn first<T: Number>(x: &Tensor) -> Result<Option<f64>, OpError> {
        Ok(x.as_slice::<T>()?.first().map(|v| v.to_f64()))
    }
    let x = x.constant(index).filter(|x| x.num_elements() == 1)?;
    if x.dtype() == DType::I16 {
        return first::<i16>(x).ok().flatten();
    }
    for_float!(x.dtype(), T => first::<T>(x)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{elements, eval, infer, tensor};
    use planish_ir::Attributes;
    use planish_tensor::Element;

    fn range<T: Element>(start: T, limit: T, delta: T) -> Result<Vec<T>, OpError> {
        let given = [start, limit, delta].map(|v| tensor(&[], &[v]));
        eval("Range", Attributes::new(), &given).map(|y| y.as_slice::<T>().unwrap().to_vec())
    }

    #[test]
    fn the_limit_is_excluded() {
        assert_eq!(range(3i64, 9, 3).unwrap(), [3, 6]);
        assert_eq!(range(10i32, 4, -2).unwrap(), [10, 8, 6]);
        assert_eq!(range(1i16, 0, 1).unwrap(), []);
        assert_eq!(range(0f32, 1.0, 0.3).unwrap(), [0.0, 0.3, 0.6, 3.0 * 0.3]);
        assert_eq!(range(1f64, -1.0, -1.0).unwrap(), [1.0, 0.0]);
        assert_eq!(range(f16::from_f32(0.0), f16::from_f32(3.0), f16::ONE).unwrap().len(), 3);
        assert_eq!(range(i64::MAX - 1, i64::MAX, i64::MAX).unwrap(), [i64::MAX - 1]);
    }

    #[test]
    fn endless_ranges_are_refused() {
        assert!(range(0i64, 1, 0).is_err());
        assert!(range(i64::MIN, i64::MAX, 1).is_err());
        for (limit, delta) in [(1.0, 0.0), (-1.0, 0.0), (f32::NAN, 1.0), (f32::INFINITY, 1.0), (1e30, 1e-10)] {
            assert!(range(0f32, limit, delta).is_err(), "{limit} by {delta}");
        }
    }

    #[test]
    fn lengths_are_symbolic() {
        let scalar = |text: &str| Fact::integers(DType::I64, true, elements(text).elements().unwrap());
        let y = infer("Range", Attributes::new(), &[scalar("past"), scalar("past + seq"), scalar("1")]).unwrap();
        assert_eq!(y, Fact::shaped(Some(DType::I64), vec![Dim::symbol("seq")]));
        let y = infer("Range", Attributes::new(), &[scalar("s"), scalar("s + 3"), scalar("2")]).unwrap();
        assert_eq!(y, elements("s, s + 2"));
        let numbers = [0i16, 4, 3].map(|v| Fact::constant(tensor(&[], &[v])));
        let y = infer("Range", Attributes::new(), &numbers).unwrap();
        assert_eq!(y, Fact::shaped(Some(DType::I16), vec![Dim::known(2)]));
        let numbers = [0f32, 1.0, 0.3].map(|v| Fact::constant(tensor(&[], &[v])));
        let y = infer("Range", Attributes::new(), &numbers).unwrap();
        assert_eq!(y, Fact::shaped(Some(DType::F32), vec![Dim::known(4)]));
    }
}
