//! `GroupNormalization`, `InstanceNormalization`: y = (x − mean) / √(variance + epsilon) · scale + bias, with statistics per
//! image over groups of channels, or each channel by itself.
//!
//! Opsets: InstanceNormalization 1; 6 drops `consumed_inputs`; 22 adds bfloat16. GroupNormalization 18 scales groups; 21
//! scales channels and adds `stash_type`, which is met by computing in `float` or `double`.

use crate::Define;
use crate::batch_normalization::{channel_extents, check_per_channel};
use crate::half::widened;
use crate::rowwise::{map_units, operand};
use planish_ir::{
    AttributeError, AttributeKind, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, float, int, required,
};
use planish_kernels::norm::group_norm;
use planish_tensor::{DType, Tensor};

/// `GroupNormalization`.
#[derive(Debug)]
pub struct GroupNormalization {
    groups: usize,
    epsilon: f32,
}

/// `InstanceNormalization`.
#[derive(Debug)]
pub struct InstanceNormalization {
    epsilon: f32,
}

impl Define for GroupNormalization {
    const SCHEMA: Schema = Schema::new("GroupNormalization", 21)
        .inputs(&[arg("X", FLOATS).var("T"), arg("scale", FLOATS).var("T"), arg("bias", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&[float("epsilon", 1e-5), required("num_groups", AttributeKind::Int), int("stash_type", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let groups = node.int("num_groups")?;
        match usize::try_from(groups) {
            Ok(groups) if groups > 0 => Ok(GroupNormalization { groups, epsilon: node.float("epsilon")? }),
            _ => {
                let message = format!("attribute \"num_groups\": expected a positive number, got {groups}");
                Err(AttributeError::invalid(message))
            }
        }
    }
}

impl Define for InstanceNormalization {
    const SCHEMA: Schema = Schema::new("InstanceNormalization", 22)
        .inputs(&[arg("input", FLOATS).var("T"), arg("scale", FLOATS).var("T"), arg("B", FLOATS).var("T")])
        .outputs(&[arg("output", FLOATS).var("T")])
        .attributes(&[float("epsilon", 1e-5)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(InstanceNormalization { epsilon: node.float("epsilon")? })
    }
}

impl Op for GroupNormalization {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        infer(x, self.groups)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        eval(cx, inputs, Some(self.groups), self.epsilon)
    }
}

impl Op for InstanceNormalization {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        infer(x, 1)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        eval(cx, inputs, None, self.epsilon)
    }
}

fn infer(x: &Facts<'_>, groups: usize) -> Result<Vec<Fact>, InferError> {
    if let Some(shape) = x.shape(0) {
        let [_, channels, ..] = shape else {
            return Err(InferError(format!("expected an input of rank 2 or more, got {}", shape.len())));
        };
        (1..3).try_for_each(|index| check_per_channel(x, index, channels))?;
        if channels.as_known().is_some_and(|channels| channels % groups as i64 != 0) {
            return Err(InferError(format!("{channels} channels do not divide into {groups} groups")));
        }
    }
    Ok(vec![x.get(0).map(|f| Fact::of_type(f.ty.clone())).unwrap_or_default()])
}

/// Normalises by `groups`, or every channel by itself.
fn eval(cx: &mut EvalCx<'_>, inputs: Inputs, groups: Option<usize>, epsilon: f32) -> Result<Outputs, OpError> {
    let dtype = inputs.tensor(0)?.dtype();
    widened(cx, inputs, &[dtype], |cx, mut inputs| {
        let x = inputs.take_tensor(0)?;
        let (scale, bias) = (inputs.tensor(1)?, inputs.tensor(2)?);
        let (_, channels, _) = channel_extents(x.shape());
        let groups = groups.unwrap_or(channels);
        let fits = |p: &Tensor| p.shape().dims() == [channels];
        if x.rank() < 2 || !fits(scale) || !fits(bias) || (channels > 0 && channels % groups != 0) {
            let shapes = format!("{}, {}, {}", x.shape(), scale.shape(), bias.shape());
            return Err(OpError::invalid(format!("shapes {shapes} do not fit {groups} groups")));
        }
        Ok(match x.dtype() {
            DType::F64 => normalize_f64(cx, x, groups, scale.as_slice()?, bias.as_slice()?, epsilon)?,
            _ => normalize_f32(cx, x, groups, scale.as_slice()?, bias.as_slice()?, epsilon)?,
        }
        .into())
    })
}

fn normalize_f32(
    cx: &EvalCx<'_>,
    x: Tensor,
    groups: usize,
    scale: &[f32],
    bias: &[f32],
    epsilon: f32,
) -> Result<Tensor, OpError> {
    let (_, channels, plane) = channel_extents(x.shape());
    let each = channels / groups.max(1);
    map_units(cx, x, each * plane, 0.6, |start, x, y| {
        let group = each * plane;
        for (i, y) in y.chunks_exact_mut(group).enumerate() {
            let first = (start / group + i) % groups * each;
            let x = x.map(|x| &x[i * group..(i + 1) * group]);
            group_norm(operand(x), y, plane, 1, &scale[first..first + each], &bias[first..first + each], epsilon);
        }
    })
}

/// The definition.
fn normalize_f64(
    cx: &EvalCx<'_>,
    x: Tensor,
    groups: usize,
    scale: &[f64],
    bias: &[f64],
    epsilon: f32,
) -> Result<Tensor, OpError> {
    let (_, channels, plane) = channel_extents(x.shape());
    let each = channels / groups.max(1);
    map_units(cx, x, each * plane, 2.0, |start, x: Option<&[f64]>, y| {
        if let Some(x) = x {
            y.copy_from_slice(x);
        }
        for (i, group) in (start / (each * plane)..).zip(y.chunks_exact_mut(each * plane)) {
            let count = group.len() as f64;
            let mean = group.iter().sum::<f64>() / count;
            let variance = group.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
            for (channel, values) in (i % groups * each..).zip(group.chunks_exact_mut(plane)) {
                values.iter_mut().for_each(|v| *v = (*v - mean) * inverse * scale[channel] + bias[channel]);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use approx::assert_relative_eq;
    use planish_ir::Attributes;

    #[test]
    fn groups_are_normalised_and_channels_scaled() {
        struct Case {
            name: &'static str,
            groups: Option<i64>,
            expected: [f64; 8],
        }
        let half = 0.5f64.sqrt();
        for Case { name, groups, expected } in [
            Case { name: "InstanceNormalization", groups: None, expected: [-1., 1., -2., 2., -2., 4., -3., 5.] },
            Case { name: "GroupNormalization", groups: Some(4), expected: [-1., 1., -2., 2., -2., 4., -3., 5.] },
            Case {
                name: "GroupNormalization",
                groups: Some(2),
                expected: [0., half * 2., -half * 4., 0., 1., 1.0 + 6.0 * half, 1.0 - 8.0 * half, 1.],
            },
        ] {
            let mut attributes = Attributes::new().with("epsilon", 0f32);
            if let Some(groups) = groups {
                attributes.set("num_groups", groups);
            }
            let x = [2f64, 4., 0., 2., 1., 3., -1., 1.];
            let (scale, bias) = ([1f64, 2., 3., 4.], [0f64, 0., 1., 1.]);
            let y =
                eval(name, attributes.clone(), &[tensor(&[1, 4, 2], &x), tensor(&[4], &scale), tensor(&[4], &bias)]);
            assert_relative_eq!(y.unwrap().as_slice::<f64>().unwrap(), &expected[..], max_relative = 1e-12);
            let [x, expected] = [x, expected].map(|v| v.map(|v| v as f32));
            let [scale, bias] = [scale, bias].map(|v| v.map(|v| v as f32));
            let y = eval(name, attributes, &[tensor(&[1, 4, 2], &x), tensor(&[4], &scale), tensor(&[4], &bias)]);
            assert_relative_eq!(y.unwrap().as_slice::<f32>().unwrap(), &expected[..], max_relative = 1e-5);
        }
    }

    #[test]
    fn groups_must_divide_the_channels() {
        let vector = || tensor(&[4], &[1f32; 4]);
        let inputs = [tensor(&[1, 4, 1], &[1f32; 4]), vector(), vector()];
        assert!(eval("GroupNormalization", Attributes::new().with("num_groups", 3), &inputs).is_err());
        assert!(eval("GroupNormalization", Attributes::new().with("num_groups", 0), &inputs).is_err());
    }
}
