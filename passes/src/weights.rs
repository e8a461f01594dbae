//! Constant weights of convolutions and products, with factors and shifts of channels taken into them.
//!
//! The arithmetic is written with operators on constants, which the driver folds.

use crate::patch::{Operand, Patch};
use crate::rule::{Cx, No, must};
use planish_ir::{Attributes, NodeId, ValueId};
use planish_tensor::{DType, Tensor, bf16, f16};

/// A `Conv` or `ConvTranspose` whose weights are constant and whose extents are known.
pub(crate) struct ConvWeights {
    node: NodeId,
    is_transposed: bool,
    groups: i64,
    dims: Vec<i64>,
    x: ValueId,
    w: ValueId,
    b: Option<ValueId>,
}

impl ConvWeights {
    /// The weights of this convolution.
    pub(crate) fn of(cx: &Cx<'_>, node: NodeId) -> Result<ConvWeights, No> {
        let is_transposed = cx.operator(node).is_some_and(|o| o.is("ConvTranspose"));
        let (x, w) = (cx.input(node, 0).ok_or(No::SILENT)?, cx.input(node, 1).ok_or(No::SILENT)?);
        let dims = cx.known_shape(w).ok_or(No::SILENT)?;
        let groups = cx.int(node, "group").ok_or(No::SILENT)?;
        let fits = dims.len() >= 3 && groups > 0 && dims[0] % groups == 0;
        must(fits, "the weights have another shape")?;
        Ok(ConvWeights { node, is_transposed, groups, dims, x, w, b: cx.input(node, 2) })
    }

    /// The rank of the input and the output.
    pub(crate) fn rank(&self) -> usize {
        self.dims.len()
    }

    /// How many channels the output has.
    pub(crate) fn num_outputs(&self) -> i64 {
        if self.is_transposed { self.dims[1] * self.groups } else { self.dims[0] }
    }

    /// How many channels the input has.
    pub(crate) fn num_inputs(&self) -> i64 {
        if self.is_transposed { self.dims[0] } else { self.dims[1] * self.groups }
    }

    /// The weights with each output channel multiplied by its element of `factor`.
    pub(crate) fn times_outputs(&self, patch: &mut Patch, factor: Operand) -> Operand {
        if !self.is_transposed {
            return self.times_first_axis(patch, factor);
        }
        self.times_by_group(patch, factor)
    }

    /// The weights with each input channel multiplied by its element of `factor`.
    pub(crate) fn times_inputs(&self, patch: &mut Patch, factor: Operand) -> Operand {
        if self.is_transposed {
            return self.times_first_axis(patch, factor);
        }
        self.times_by_group(patch, factor)
    }

    /// What an input whose channels are all `shift` adds to each output channel of a convolution without padding.
    pub(crate) fn response_to(&self, patch: &mut Patch, shift: Operand) -> Operand {
        let weighted = self.times_inputs(patch, shift);
        let axes: Vec<i64> = (1..).take(self.dims.len() - 1).collect();
        let axes = patch.ints(&axes);
        patch.operator("ReduceSum", Attributes::new().with("keepdims", 0i64), &[weighted, axes])
    }

    /// The bias, with `shift` added.
    pub(crate) fn bias_plus(&self, patch: &mut Patch, shift: Operand) -> Operand {
        match self.b {
            Some(b) => patch.operator("Add", Attributes::new(), &[b.into(), shift]),
            None => shift,
        }
    }

    /// The convolution with other weights and another bias.
    pub(crate) fn rebuilt(
        &self,
        cx: &Cx<'_>,
        patch: &mut Patch,
        x: Option<ValueId>,
        w: Operand,
        b: Operand,
    ) -> Operand {
        let Some(operator) = cx.operator(self.node) else { return Operand::Absent };
        let x = x.unwrap_or(self.x).into();
        let inputs: &[Operand] = if b == Operand::Absent { &[x, w] } else { &[x, w, b] };
        patch.operator(&operator.name, operator.attributes.clone(), inputs)
    }

    /// The weights as they are.
    pub(crate) fn w(&self) -> ValueId {
        self.w
    }

    /// The bias, where there is one.
    pub(crate) fn b(&self) -> Option<ValueId> {
        self.b
    }

    /// w · f with an element of f for each place along the first axis.
    fn times_first_axis(&self, patch: &mut Patch, factor: Operand) -> Operand {
        let mut shape = vec![1; self.dims.len()];
        shape[0] = -1;
        times(patch, self.w.into(), factor, &shape)
    }

    /// w · f where the first axis lies group by group and f has an element for each group and place along the second.
    fn times_by_group(&self, patch: &mut Patch, factor: Operand) -> Operand {
        let mut grouped = vec![self.groups, self.dims[0] / self.groups];
        grouped.extend(&self.dims[1..]);
        let mut shape = vec![1; grouped.len()];
        (shape[0], shape[2]) = (self.groups, self.dims[1]);
        let (grouped, whole) = (patch.ints(&grouped), patch.ints(&self.dims));
        let by_group = patch.operator("Reshape", Attributes::new(), &[self.w.into(), grouped]);
        let product = times(patch, by_group, factor, &shape);
        patch.operator("Reshape", Attributes::new(), &[product, whole])
    }
}

/// w · f with f reshaped.
fn times(patch: &mut Patch, w: Operand, factor: Operand, shape: &[i64]) -> Operand {
    let shape = patch.ints(shape);
    let factor = patch.operator("Reshape", Attributes::new(), &[factor, shape]);
    patch.operator("Mul", Attributes::new(), &[w, factor])
}

/// The constant `c` as a vector over `axis` of a value of rank `rank` that it broadcasts with, where it is the same along
/// all other axes and leaves the value's shape as it is.
pub(crate) fn along_axis(
    cx: &Cx<'_>,
    patch: &mut Patch,
    c: ValueId,
    rank: usize,
    axis: usize,
    extent: i64,
) -> Result<Operand, No> {
    let dims = cx.known_shape(c).ok_or(No::SILENT)?;
    let fits = dims.len() <= rank
        && dims.iter().enumerate().all(|(i, &d)| d == 1 || i + rank - dims.len() == axis && d == extent);
    must(fits, "the other operand is not one number a channel")?;
    let flat = patch.ints(&[-1]);
    let vector = patch.operator("Reshape", Attributes::new(), &[c.into(), flat]);
    let shape = patch.ints(&[extent]);
    Ok(patch.operator("Expand", Attributes::new(), &[vector, shape]))
}

/// γ / √(σ² + ε) and β − μ · that, of a `BatchNormalization` whose parameters are constant.
pub(crate) fn factor_and_shift(cx: &Cx<'_>, patch: &mut Patch, norm: NodeId) -> Result<(Operand, Operand), No> {
    must(cx.int(norm, "training_mode") == Some(0), "it trains")?;
    let parameter = |index| cx.input(norm, index).filter(|&v| cx.constant(v).is_some()).ok_or(No::SILENT);
    let [scale, bias, mean, variance] = [parameter(1)?, parameter(2)?, parameter(3)?, parameter(4)?];
    let epsilon = cx.float(norm, "epsilon").ok_or(No::SILENT)?;
    let epsilon = patch.constant(scalar(cx.dtype(variance).ok_or(No::SILENT)?, epsilon)?);
    let shifted = patch.operator("Add", Attributes::new(), &[variance.into(), epsilon]);
    let deviation = patch.operator("Sqrt", Attributes::new(), &[shifted]);
    let factor = patch.operator("Div", Attributes::new(), &[scale.into(), deviation]);
    let moved = patch.operator("Mul", Attributes::new(), &[mean.into(), factor]);
    let shift = patch.operator("Sub", Attributes::new(), &[bias.into(), moved]);
    Ok((factor, shift))
}

/// A rank-0 tensor of this dtype.
pub(crate) fn scalar(dtype: DType, value: f32) -> Result<Tensor, No> {
    Ok(match dtype {
        DType::F32 => Tensor::scalar(value),
        DType::F64 => Tensor::scalar(f64::from(value)),
        DType::F16 => Tensor::scalar(f16::from_f32(value)),
        DType::BF16 => Tensor::scalar(bf16::from_f32(value)),
        _ => return Err("the weights are no floats".into()),
    })
}
