//! `LayerNormalization`: y = (x − mean) / √(variance + epsilon) · scale + bias, with statistics over the axes from `axis` on.
//! `RMSNormalization`: y = x / √(mean of x² + epsilon) · scale.
//!
//! Opsets: LayerNormalization 17, RMSNormalization 23. `float16` and `bfloat16` compute in `float` throughout, `double` in
//! `double`, whatever `stash_type` says; it decides the type of the statistics that LayerNormalization gives out.

use crate::Define;
use crate::broadcast::{Walk, broadcast_dims};
use crate::dtypes::from_f32;
use crate::half::{for_real, widened};
use crate::parallel;
use crate::rowwise::{map_units, operand};
use num_traits::{Float, ToPrimitive};
use planish_ir::{
    AttributeError, Axis, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs, Schema,
    Types, arg, float, int, opt,
};
use planish_kernels::norm;
use planish_tensor::{DType, Element, Shape, Tensor, Value};

/// `LayerNormalization`.
#[derive(Debug)]
pub struct LayerNormalization {
    rows: Rows,
    /// The dtype of the statistics.
    stash: DType,
}

/// `RMSNormalization`.
#[derive(Debug)]
pub struct RmsNormalization {
    rows: Rows,
}

/// A normalisation of what lies behind an axis.
#[derive(Debug)]
struct Rows {
    axis: Axis,
    epsilon: f32,
    /// Whether the mean is taken away first.
    is_centred: bool,
}

const STASH_TYPES: Types = Types::of(&[DType::F32, DType::BF16]);

impl Define for LayerNormalization {
    const SCHEMA: Schema = Schema::new("LayerNormalization", 17)
        .inputs(&[arg("X", FLOATS).var("T"), arg("Scale", FLOATS).var("T"), opt("B", FLOATS).var("T")])
        .outputs(&[
            arg("Y", FLOATS).var("T"),
            opt("Mean", STASH_TYPES).var("U"),
            opt("InvStdDev", STASH_TYPES).var("U"),
        ])
        .attributes(&[int("axis", -1), float("epsilon", 1e-5), int("stash_type", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let stash = node.dtype("stash_type")?;
        if !STASH_TYPES.contains(stash) {
            return Err(AttributeError::invalid(format!(
                "attribute \"stash_type\": expected float or bfloat16, got {stash}"
            )));
        }
        let rows = Rows { axis: Axis::new(node.int("axis")?), epsilon: node.float("epsilon")?, is_centred: true };
        Ok(LayerNormalization { rows, stash })
    }
}

impl Define for RmsNormalization {
    const SCHEMA: Schema = Schema::new("RMSNormalization", 23)
        .inputs(&[arg("X", FLOATS).var("T"), arg("scale", FLOATS).var("V")])
        .outputs(&[arg("Y", FLOATS).var("V")])
        .attributes(&[int("axis", -1), float("epsilon", 1e-5), int("stash_type", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let rows = Rows { axis: Axis::new(node.int("axis")?), epsilon: node.float("epsilon")?, is_centred: false };
        Ok(RmsNormalization { rows })
    }
}

impl Rows {
    /// Checks that parameters broadcast to x; the shape of x, if known, and the axis.
    fn check<'a>(&self, x: &Facts<'a>) -> Result<Option<(&'a [Dim], usize)>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(None) };
        let axis = self.axis.resolve(shape.len())?;
        for parameter in [1, 2].into_iter().filter_map(|index| x.shape(index)) {
            let joint = broadcast_dims([shape, parameter])?;
            if joint.len() != shape.len() || joint.iter().zip(shape).any(|(a, b)| Dim::provably_different(a, b)) {
                return Err(InferError(format!("a parameter of shape {parameter:?} does not broadcast to {shape:?}")));
            }
        }
        Ok(Some((shape, axis)))
    }

    fn normalize(
        &self,
        cx: &EvalCx<'_>,
        x: Tensor,
        scale: Option<&Tensor>,
        bias: Option<&Tensor>,
    ) -> Result<Tensor, OpError> {
        let axis = self.axis.resolve(x.rank())?;
        let row = Shape::new(&x.shape()[axis..])?;
        let parameters = [scale, bias].map(|p| p.map(|p| Parameter::new(cx, p, &row)).transpose());
        let [scale, bias] = parameters;
        let (scale, bias) = (scale?, bias?);
        if x.dtype() == DType::F64 {
            let y = self.define::<f64>(cx, x, axis)?;
            let y = adjusted::<f64>(cx, y, scale.as_ref().map(Parameter::tensor), |y, s| y * s)?;
            return adjusted::<f64>(cx, y, bias.as_ref().map(Parameter::tensor), |y, b| y + b);
        }
        let each = row.num_elements();
        let per_row = |p: &Option<Parameter>| match p {
            Some(Parameter::PerRow(p)) => Some(p.clone()),
            _ => None,
        };
        let is_bias_fused = !matches!(scale, Some(Parameter::Broadcast(_)));
        let (fused_scale, fused_bias) = (per_row(&scale), per_row(&bias).filter(|_| is_bias_fused));
        let s = fused_scale.as_ref().map(Tensor::as_slice::<f32>).transpose()?;
        let b = fused_bias.as_ref().map(Tensor::as_slice::<f32>).transpose()?;
        let y = map_units(cx, x, each, 0.6, |_, x, y| {
            if self.is_centred {
                norm::layer_norm(operand(x), y, each, s, b, self.epsilon);
            } else {
                norm::rms_norm(operand(x), y, each, s, self.epsilon);
            }
        })?;
        let rest = |p: &Option<Parameter>, is_fused: bool| match p {
            Some(p) if !is_fused => Some(p.tensor().clone()),
            _ => None,
        };
        let y = adjusted::<f32>(cx, y, rest(&scale, fused_scale.is_some()).as_ref(), |y, s| y * s)?;
        adjusted::<f32>(cx, y, rest(&bias, fused_bias.is_some()).as_ref(), |y, b| y + b)
    }

    /// The definition, without scale and bias.
    fn define<T: Element + Float>(&self, cx: &EvalCx<'_>, x: Tensor, axis: usize) -> Result<Tensor, OpError> {
        let each = x.shape().split_at(axis).1;
        map_units(cx, x, each, 2.0, |_, x: Option<&[T]>, y| {
            if let Some(x) = x {
                y.copy_from_slice(x);
            }
            for row in y.chunks_exact_mut(each) {
                let (mean, inverse) = self.statistics(row);
                row.iter_mut().for_each(|y| *y = (*y - mean) * inverse);
            }
        })
    }

    /// Mean, or 0 where it is not taken away, and inverse deviation.
    fn statistics<T: Float>(&self, row: &[T]) -> (T, T) {
        let count = T::from(row.len()).unwrap_or_else(T::infinity);
        let sum = row.iter().fold(T::zero(), |sum, &x| sum + x);
        let mean = if self.is_centred { sum / count } else { T::zero() };
        let squares = row.iter().fold(T::zero(), |sum, &x| sum + (x - mean) * (x - mean));
        let epsilon = T::from(self.epsilon).unwrap_or_else(T::zero);
        (mean, (squares / count + epsilon).sqrt().recip())
    }
}

/// A scale or bias as it reaches the elements of a row.
enum Parameter {
    /// One value for each place in a row.
    PerRow(Tensor),
    /// Values that broadcast in another way.
    Broadcast(Tensor),
}

impl Parameter {
    fn new(cx: &EvalCx<'_>, parameter: &Tensor, row: &Shape) -> Result<Parameter, OpError> {
        let leading = parameter.shape().iter().take_while(|&&d| d == 1).count();
        let own = Shape::new(&parameter.shape()[leading..])?;
        if own == *row || row.iter().skip_while(|&&d| d == 1).eq(own.iter()) {
            return Ok(Parameter::PerRow(parameter.clone()));
        }
        if row.broadcast(&own).as_ref() != Some(row) || parameter.dtype() != DType::F32 {
            return Ok(Parameter::Broadcast(parameter.clone()));
        }
        let values = parameter.as_slice::<f32>()?;
        let walk = Walk::new([row, &own])?;
        let mut expanded = cx.uninit::<f32>(row.clone())?;
        walk.fill(cx, &mut expanded, 1.0, |run, [_, p]| {
            run.iter_mut().enumerate().for_each(|(i, y)| *y = *p.at(values, i));
        })?;
        Ok(Parameter::PerRow(expanded.freeze()))
    }

    fn tensor(&self) -> &Tensor {
        match self {
            Parameter::PerRow(tensor) | Parameter::Broadcast(tensor) => tensor,
        }
    }
}

/// `f(y, p)` of each element and what `parameter` broadcasts to there.
fn adjusted<T: Element>(
    cx: &EvalCx<'_>,
    y: Tensor,
    parameter: Option<&Tensor>,
    f: impl Fn(T, T) -> T + Sync,
) -> Result<Tensor, OpError> {
    let Some(parameter) = parameter else { return Ok(y) };
    let shape = y.shape().clone();
    let walk = Walk::new([&shape, parameter.shape()])?;
    if *walk.shape() != shape {
        return Err(OpError::invalid(format!(
            "a parameter of shape {} does not broadcast to {shape}",
            parameter.shape()
        )));
    }
    let values = parameter.as_slice::<T>()?;
    let mut y = y.try_into_mut::<T>().map_err(|_| OpError::Internal("a fresh tensor is shared".into()))?;
    walk.fill(cx, &mut y, 1.0, |run, [_, p]| {
        run.iter_mut().enumerate().for_each(|(i, y)| *y = f(*y, *p.at(values, i)));
    })?;
    Ok(y.freeze())
}

impl LayerNormalization {
    /// Mean and inverse deviation of each row.
    fn statistics(&self, cx: &EvalCx<'_>, x: &Tensor) -> Result<[Tensor; 2], OpError> {
        let axis = self.rows.axis.resolve(x.rank())?;
        let mut dims = x.shape().to_vec();
        dims[axis..].fill(1);
        let shape = Shape::new(&dims)?;
        let each = x.shape().split_at(axis).1;
        let mut pairs = cx.uninit::<f32>(Shape::new(&[shape.num_elements(), 2])?)?;
        for_real!(x.dtype(), T => {
            let values = x.as_slice::<T>()?;
            parallel::fill_units(cx, &mut pairs, 2, each as f64, |start, pairs| {
                for (i, pair) in (start / 2..).zip(pairs.chunks_exact_mut(2)) {
                    let (mean, inverse) = self.rows.statistics(&values[i * each..][..each]);
                    let narrow = |v: T| v.to_f32().unwrap_or(f32::NAN);
                    pair.copy_from_slice(&[narrow(mean), narrow(inverse)]);
                }
            })
        })?;
        let column = |index: usize| -> Result<Tensor, OpError> {
            let mut y = cx.uninit::<f32>(shape.clone())?;
            y.iter_mut().zip(pairs.chunks_exact(2)).for_each(|(y, pair)| *y = pair[index]);
            from_f32(cx, y.freeze(), self.stash)
        };
        Ok([column(0)?, column(1)?])
    }
}

impl Op for LayerNormalization {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let statistics = match self.rows.check(x)? {
            Some((shape, axis)) => {
                let ones = shape[axis..].iter().map(|_| Dim::known(1));
                Fact::shaped(Some(self.stash), shape[..axis].iter().cloned().chain(ones).collect())
            }
            None => Fact::tensor(Some(self.stash)),
        };
        let y = x.get(0).map(|f| Fact::of_type(f.ty.clone())).unwrap_or_default();
        let mut facts = vec![y, statistics.clone(), statistics];
        facts.truncate(x.num_outputs());
        Ok(facts)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, mut inputs| {
            let x = inputs.take_tensor(0)?;
            let statistics = (cx.wants(1) || cx.wants(2)).then(|| self.statistics(cx, &x)).transpose()?;
            let y = self.rows.normalize(cx, x, inputs.opt_tensor(1)?, inputs.opt_tensor(2)?)?;
            let statistics = statistics.into_iter().flatten().map(|t| Some(Value::Tensor(t)));
            Ok(Outputs::new([Some(Value::Tensor(y))].into_iter().chain(statistics)))
        })
    }
}

impl Op for RmsNormalization {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        self.rows.check(x)?;
        Ok(vec![match x.shape(0) {
            Some(shape) => Fact::shaped(x.dtype(1), shape.to_vec()),
            None => Fact::tensor(x.dtype(1)),
        }])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(1)?.dtype();
        widened(cx, inputs, &[dtype], |cx, mut inputs| {
            let x = inputs.take_tensor(0)?;
            let (x, scale) = to_common(cx, x, inputs.tensor(1)?)?;
            let y = self.rows.normalize(cx, x, Some(&scale), None)?;
            Ok(to_dtype(cx, y, dtype)?.into())
        })
    }
}

/// Both tensors as `double` if either is.
fn to_common(cx: &EvalCx<'_>, a: Tensor, b: &Tensor) -> Result<(Tensor, Tensor), OpError> {
    let dtype = if a.dtype() == b.dtype() { a.dtype() } else { DType::F64 };
    Ok((to_dtype(cx, a, dtype)?, to_dtype(cx, b.clone(), dtype)?))
}

/// A `float` or `double` tensor as the other, where `dtype` is that.
fn to_dtype(cx: &EvalCx<'_>, x: Tensor, dtype: DType) -> Result<Tensor, OpError> {
    fn cast<A: Element + Float, B: Element + Float>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let mut y = cx.uninit::<B>(x.shape().clone())?;
        y.iter_mut().zip(x.as_slice::<A>()?).for_each(|(y, &v)| *y = B::from(v).unwrap_or_else(B::nan));
        Ok(y.freeze())
    }
    match (x.dtype(), dtype) {
        (DType::F32, DType::F64) => cast::<f32, f64>(cx, &x),
        (DType::F64, DType::F32 | DType::F16 | DType::BF16) => cast::<f64, f32>(cx, &x),
        _ => Ok(x),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use approx::assert_relative_eq;
    use planish_ir::Attributes;
    use planish_tensor::{DType, f16};

    #[test]
    fn rows_get_mean_zero_and_deviation_one() {
        struct Case {
            scale: (&'static [usize], &'static [f32]),
            bias: (&'static [usize], &'static [f32]),
            expected: [f32; 4],
        }
        for Case { scale, bias, expected } in [
            Case { scale: (&[2], &[1., 1.]), bias: (&[2], &[0., 0.]), expected: [-1., 1., -1., 1.] },
            Case { scale: (&[2], &[2., 3.]), bias: (&[], &[1.]), expected: [-1., 4., -1., 4.] },
            Case { scale: (&[2, 1], &[2., 3.]), bias: (&[1, 2], &[1., 0.]), expected: [-1., 2., -2., 3.] },
            Case { scale: (&[1], &[2.]), bias: (&[2, 2], &[1., 2., 3., 4.]), expected: [-1., 4., 1., 6.] },
        ] {
            let attributes = Attributes::new().with("epsilon", 0f32);
            let x = tensor(&[2, 2], &[1f32, 3., -4., 4.]);
            let inputs = [x, tensor(scale.0, scale.1), tensor(bias.0, bias.1)];
            let y = eval("LayerNormalization", attributes.clone(), &inputs).unwrap();
            assert_relative_eq!(y.as_slice::<f32>().unwrap(), &expected[..], max_relative = 1e-6);
            let doubles = inputs.map(|t| {
                let data: Vec<f64> = t.as_slice::<f32>().unwrap().iter().map(|&v| f64::from(v)).collect();
                tensor(t.shape(), &data)
            });
            let y = eval("LayerNormalization", attributes, &doubles).unwrap();
            assert_relative_eq!(y.as_slice::<f64>().unwrap(), &expected.map(f64::from)[..], max_relative = 1e-12);
        }
    }

    #[test]
    fn statistics_are_given_out() {
        let x = tensor(&[1, 2, 2], &[1f32, 3., -4., 4.]);
        let attributes = Attributes::new().with("epsilon", 0f32).with("axis", 1);
        let inputs = [Some(x), Some(tensor(&[], &[1f32]))];
        let outputs = eval_all("", "LayerNormalization", attributes, &inputs, 3).unwrap();
        assert_eq!(outputs[1], tensor(&[1, 1, 1], &[1f32]));
        assert_relative_eq!(outputs[2].as_slice::<f32>().unwrap()[0], 1.0 / 9.5f32.sqrt(), max_relative = 1e-6);
    }

    #[test]
    fn root_mean_squares_scale_rows() {
        let x = tensor(&[2, 2], &[1f32, 7., -5., 5.]);
        let attributes = Attributes::new().with("epsilon", 0f32);
        let y = eval("RMSNormalization", attributes.clone(), &[x.clone(), tensor(&[2], &[1f32, 2.])]).unwrap();
        assert_relative_eq!(y.as_slice::<f32>().unwrap(), &[0.2, 2.8, -1., 2.][..], max_relative = 1e-6);
        let y = eval("RMSNormalization", attributes, &[x, tensor(&[1], &[f16::ONE])]).unwrap();
        assert_eq!((y.dtype(), y.as_slice::<f16>().unwrap()[2]), (DType::F16, -f16::ONE));
    }

    #[test]
    fn parameters_that_do_not_broadcast_are_refused() {
        let x = tensor(&[2, 2], &[0f32; 4]);
        for scale in [tensor(&[3], &[1f32; 3]), tensor(&[2, 1, 1], &[1f32; 2])] {
            assert!(eval("LayerNormalization", Attributes::new(), &[x.clone(), scale]).is_err());
        }
    }
}
