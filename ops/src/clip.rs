//! `Clip`: x inside \[min, max\]. NaN stays; where min > max everything is max.
//!
//! Opsets: 1 and 6 hold the bounds as attributes, which the importer makes inputs; 11 takes inputs; 12 and 13 add dtypes.

use crate::Define;
use crate::dtypes::{Float32, Number, for_dtypes};
use crate::elementwise::{map, map_in_f32, map_runs};
use planish_ir::{
    AttributeError, Dim, EvalCx, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op, OpError, Outputs, Schema, arg,
    opt,
};
use planish_kernels::{elementwise as kernels, simd};
use planish_tensor::{DType, Element, Tensor, bf16, f16};

/// What one element costs.
const NS: f64 = 0.3;

/// `Clip`.
#[derive(Debug)]
pub struct Clip;

impl Define for Clip {
    const SCHEMA: Schema = Schema::new("Clip", 13)
        .inputs(&[arg("input", NUMERIC).var("T"), opt("min", NUMERIC).var("T"), opt("max", NUMERIC).var("T")])
        .outputs(&[arg("output", NUMERIC).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Clip)
    }
}

impl Op for Clip {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let mut fact = Fact::of_type(x.get(0).map(|f| f.ty.clone()).unwrap_or_default());
        fact.contents = contents(x);
        Ok(vec![fact])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, mut inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.take_tensor(0)?;
        Ok(match x.dtype() {
            DType::F32 => {
                let bounds = bounds::<f32>(&inputs)?;
                map_runs(cx, x, NS, |x, y| clip_f32(x, y, bounds))?
            }
            DType::F16 => clip_half::<f16>(cx, x, &inputs)?,
            DType::BF16 => clip_half::<bf16>(cx, x, &inputs)?,
            other => for_dtypes!(other, T => {
                let (min, max) = bounds::<T>(&inputs)?;
                map::<T>(cx, x, NS, |v| Number::min(max, Number::max(min, v)))
            }, [F64 = f64, U8 = u8, U16 = u16, U32 = u32, U64 = u64, I8 = i8, I16 = i16, I32 = i32, I64 = i64])?,
        }
        .into())
    }
}

/// The bounds, or the widest ones in place of absent ones.
fn bounds<T: Number + Element>(inputs: &Inputs) -> Result<(T, T), OpError> {
    let bound = |index, otherwise| if inputs.has(index) { inputs.scalar::<T>(index) } else { Ok(otherwise) };
    Ok((bound(1, T::LOWEST)?, bound(2, T::HIGHEST)?))
}

fn clip_f32(x: Option<&[f32]>, y: &mut [f32], (min, max): (f32, f32)) {
    kernels::unary(kernels::Unary::Clip { min, max }, x.map_or(simd::Operand::Output, simd::Operand::Slice), y);
}

fn clip_half<T: Float32>(cx: &EvalCx<'_>, x: Tensor, inputs: &Inputs) -> Result<Tensor, OpError> {
    let (min, max) = bounds::<T>(inputs)?;
    let mut wide = [0.0; 2];
    T::widen(&[min, max], &mut wide);
    map_runs(cx, x, NS, map_in_f32::<T>(|y| clip_f32(None, y, (wide[0], wide[1]))))
}

fn contents(x: &Facts<'_>) -> Option<Vec<Dim>> {
    let bound = |index: usize| match x.get(index) {
        Some(fact) => fact.elements()?.first().cloned().map(Some),
        None => Some(None),
    };
    let (min, max) = (bound(1)?, bound(2)?);
    let clip = |element: Dim| {
        let element = min.iter().fold(element, |e, min| e.max(min));
        max.iter().fold(element, |e, max| e.min(max))
    };
    Some(x.elements(0)?.into_iter().map(clip).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use planish_ir::Attributes;
    use planish_tensor::f16;

    #[test]
    fn bounds_are_optional() {
        let x = tensor(&[4], &[-2f32, 0.5, 3., f32::NAN]);
        let clip = |min: Option<f32>, max: Option<f32>| {
            let scalar = |v| tensor(&[], &[v]);
            let inputs = [Some(x.clone()), min.map(scalar), max.map(scalar)];
            let y = eval_all("", "Clip", Attributes::new(), &inputs, 1).unwrap().remove(0);
            let y = y.as_slice::<f32>().unwrap().to_vec();
            assert!(y[3].is_nan());
            y[..3].to_vec()
        };
        assert_eq!(clip(Some(-1.), Some(1.)), [-1., 0.5, 1.]);
        assert_eq!(clip(None, Some(1.)), [-2., 0.5, 1.]);
        assert_eq!(clip(Some(0.), None), [0., 0.5, 3.]);
        assert_eq!(clip(Some(2.), Some(1.)), [1., 1., 1.]);
    }

    #[test]
    fn integers_and_halves_clip_too() {
        let y =
            eval("Clip", Attributes::new(), &[tensor(&[2], &[-9i8, 9]), tensor(&[], &[-1i8]), tensor(&[1], &[1i8])]);
        assert_eq!(y.unwrap(), tensor(&[2], &[-1i8, 1]));
        let half = f16::from_f32;
        let y = eval("Clip", Attributes::new(), &[tensor(&[2], &[half(-9.), half(9.)]), tensor(&[], &[half(0.)])]);
        assert_eq!(y.unwrap(), tensor(&[2], &[half(0.), half(9.)]));
    }

    #[test]
    fn a_bound_of_many_elements_is_refused() {
        let x = tensor(&[2], &[0f32; 2]);
        assert!(eval("Clip", Attributes::new(), &[x.clone(), x]).is_err());
    }
}
