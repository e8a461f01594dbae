//! `ConvTranspose`: the gradient of `Conv` as an operator: each input element spreads its window of filters over the output.
//!
//! Opsets: 1; 11 gives strides and dilations defaults; 22 adds bfloat16.

use crate::Define;
use crate::conv::{dims_or_unknown, kernel_dims, parse_groups};
use crate::geometry::{Padding, Window, WindowAxes, WindowAxis, extents, for_each_tap, window_at};
use crate::half::widened;
use crate::parallel;
use num_traits::Float;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, int, opt, optional, string,
};
use planish_kernels::conv::{self as kernel, ConvGeometry};
use planish_tensor::{DType, Element, Shape, Tensor};
use smallvec::SmallVec;

/// `ConvTranspose`.
#[derive(Debug)]
pub struct ConvTranspose {
    window: Window,
    groups: usize,
    /// Elements added after each spatial axis of the output.
    output_padding: Option<Vec<usize>>,
    /// The output's spatial extents, where the model gives them.
    output_shape: Option<Vec<usize>>,
}

impl Define for ConvTranspose {
    const SCHEMA: Schema = Schema::new("ConvTranspose", 22)
        .inputs(&[arg("X", FLOATS).var("T"), arg("W", FLOATS).var("T"), opt("B", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&[
            string("auto_pad", "NOTSET"),
            optional("dilations", AttributeKind::Ints),
            int("group", 1),
            optional("kernel_shape", AttributeKind::Ints),
            optional("output_padding", AttributeKind::Ints),
            optional("output_shape", AttributeKind::Ints),
            optional("pads", AttributeKind::Ints),
            optional("strides", AttributeKind::Ints),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(ConvTranspose {
            window: Window::parse(node)?,
            groups: parse_groups(node)?,
            output_padding: extents(node, "output_padding", 0)?,
            output_shape: extents(node, "output_shape", 0)?.filter(|dims| !dims.is_empty()),
        })
    }
}

impl ConvTranspose {
    /// The output's extent along spatial axis `axis` of `rank`, and the pads before it.
    fn along(&self, axis: usize, rank: usize, input: &Dim, kernel: &Dim) -> Result<(Dim, Dim), InferError> {
        let list = |name: &str, list: &Option<Vec<usize>>| match list {
            Some(list) if list.len() != rank => {
                Err(InferError(format!("attribute {name:?} is for {} spatial axes, the input has {rank}", list.len())))
            }
            other => Ok(other.as_ref().map(|list| list[axis] as i64)),
        };
        let added = list("output_padding", &self.output_padding)?.unwrap_or(0);
        let given = match &self.output_shape {
            Some(dims) if dims.len() == rank + 2 => Some(dims[axis + 2] as i64),
            dims => list("output_shape", dims)?,
        };
        let (stride, dilation) = (self.window.stride(axis) as i64, self.window.dilation(axis) as i64);
        let natural = (input - 1) * stride + (kernel - 1) * dilation + 1 + added;
        let is_same = matches!(self.window.padding, Padding::SameUpper | Padding::SameLower);
        let output = match given {
            Some(given) => Dim::known(given),
            None if is_same => input * stride,
            None => {
                let (begin, end) = self.window.explicit_pads(axis, rank);
                return Ok((natural - (begin + end) as i64, Dim::known(begin as i64)));
            }
        };
        let total = (natural - &output).max(0);
        let half = total.floor_div(2);
        let begin = if self.window.padding == Padding::SameUpper { half } else { total - half };
        Ok((output, begin))
    }

    /// The filters' shape is `[in, out / group, kernel…]`.
    fn check_channels(&self, channels: &Dim, filters: &[Dim], bias: Option<&[Dim]>) -> Result<(), InferError> {
        if Dim::provably_different(channels, &filters[0]) {
            return Err(InferError(format!("the input has {channels} channels, the filters are for {}", filters[0])));
        }
        if channels.as_known().is_some_and(|channels| channels % self.groups as i64 != 0) {
            return Err(InferError(format!("{channels} channels do not divide into {} groups", self.groups)));
        }
        let out = &filters[1] * self.groups as i64;
        match bias {
            Some([length]) if !Dim::provably_different(length, &out) => Ok(()),
            None => Ok(()),
            Some(other) => Err(InferError(format!("a bias of shape {other:?} does not fit {out} output channels"))),
        }
    }
}

impl Op for ConvTranspose {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dtype = x.dtype(0).or(x.dtype(1));
        let Some(rank) = x.rank(0).or(x.rank(1)).or(self.window.rank().map(|n| n + 2)) else {
            return Ok(vec![Fact::tensor(dtype)]);
        };
        let data = dims_or_unknown(x, 0, rank)?;
        let filters = dims_or_unknown(x, 1, rank)?;
        self.check_channels(&data[1], &filters[..2], x.shape(2))?;
        let kernel = kernel_dims(&self.window, &filters[2..])?;
        self.window.check_rank(rank - 2)?;
        let mut y = vec![data[0].clone(), &filters[1] * self.groups as i64];
        for (axis, (input, kernel)) in data[2..].iter().zip(&kernel).enumerate() {
            y.push(self.along(axis, rank - 2, input, kernel)?.0);
        }
        Ok(vec![Fact::shaped(dtype, y)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| match inputs.tensor(0)?.dtype() {
            DType::F32 => Ok(self.spread_f32(cx, &inputs)?.into()),
            _ => Ok(self.spread_f64(cx, &inputs)?.into()),
        })
    }

    fn macs(&self, x: &Facts<'_>, _outputs: &[Fact]) -> Dim {
        match (x.shape(0), x.shape(1)) {
            (Some(data), Some([_, taps @ ..])) => {
                data.iter().cloned().product::<Dim>() * taps.iter().cloned().product::<Dim>()
            }
            _ => Dim::unknown(),
        }
    }
}

/// A transposed convolution with everything resolved. Its axes are those of the convolution that it transposes: their
/// input is the output here.
struct Resolved {
    groups: usize,
    channels: usize,
    group_out: usize,
    axes: WindowAxes,
    shape: Shape,
}

impl ConvTranspose {
    fn resolve(&self, x: &Shape, w: &Shape, b: Option<&Shape>) -> Result<Resolved, OpError> {
        if x.rank() < 3 || w.rank() != x.rank() {
            return Err(OpError::invalid(format!("input {x} and filters {w} do not fit a transposed convolution")));
        }
        let dims = |shape: &Shape| -> Vec<Dim> { shape.iter().map(|&d| Dim::known(d as i64)).collect() };
        let (data, filters) = (dims(x), dims(w));
        self.check_channels(&data[1], &filters[..2], b.map(dims).as_deref())?;
        kernel_dims(&self.window, &filters[2..])?;
        self.window.check_rank(x.rank() - 2)?;
        let axis = |axis: usize| -> Result<WindowAxis, OpError> {
            let (input, kernel) = (&data[axis + 2], &filters[axis + 2]);
            let (output, begin) = self.along(axis, x.rank() - 2, input, kernel)?;
            let extent = |dim: Dim| dim.as_known().and_then(|d| usize::try_from(d).ok());
            let impossible = || OpError::invalid(format!("the output has extent {output} along spatial axis {axis}"));
            Ok(WindowAxis {
                input: extent(output.clone()).ok_or_else(impossible)?,
                kernel: w[axis + 2],
                stride: self.window.stride(axis),
                dilation: self.window.dilation(axis),
                pad_begin: extent(begin).ok_or_else(impossible)?,
                pad_end: 0,
                output: x[axis + 2],
            })
        };
        let axes: WindowAxes = (0..x.rank() - 2).map(axis).collect::<Result<_, _>>()?;
        let out = w[1].saturating_mul(self.groups);
        let y: Vec<usize> = [x[0], out].into_iter().chain(axes.iter().map(|a| a.input)).collect();
        Ok(Resolved { groups: self.groups, channels: x[1], group_out: w[1], axes, shape: Shape::new(&y)? })
    }

    fn spread_f32(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
        let (x, w, b) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.opt_tensor(2)?);
        let resolved = self.resolve(x.shape(), w.shape(), b.map(Tensor::shape))?;
        let mut y = cx.uninit::<f32>(resolved.shape.clone())?;
        let (values, filters) = (x.as_slice()?, w.as_slice()?);
        let bias = b.map(Tensor::as_slice::<f32>).transpose()?;
        match resolved.geometry(x.shape()) {
            Some(geometry) => {
                kernel::conv_transpose(&cx.threads, &geometry, values, filters, bias, None, &mut y);
            }
            None => resolved.spread(cx, values, filters, bias, &mut y)?,
        }
        Ok(y.freeze())
    }

    fn spread_f64(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
        let (x, w, b) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.opt_tensor(2)?);
        let resolved = self.resolve(x.shape(), w.shape(), b.map(Tensor::shape))?;
        let mut y = cx.uninit::<f64>(resolved.shape.clone())?;
        let bias = b.map(Tensor::as_slice::<f64>).transpose()?;
        resolved.spread(cx, x.as_slice()?, w.as_slice()?, bias, &mut y)?;
        Ok(y.freeze())
    }
}

impl Resolved {
    /// The sizes as the kernel takes them, if it does.
    fn geometry(&self, x: &Shape) -> Option<ConvGeometry> {
        let along = |f: fn(&WindowAxis) -> usize| -> SmallVec<[usize; 3]> { self.axes.iter().map(f).collect() };
        let reach =
            |a: &WindowAxis| a.output.saturating_sub(1) * a.stride + a.kernel.saturating_sub(1) * a.dilation + 1;
        let ends: SmallVec<[usize; 3]> =
            self.axes.iter().map(|a| reach(a).saturating_sub(a.pad_begin + a.input)).collect();
        let added: SmallVec<[usize; 3]> =
            self.axes.iter().map(|a| (a.pad_begin + a.input).saturating_sub(reach(a))).collect();
        let window = kernel::Window {
            kernel: &along(|a| a.kernel),
            strides: &along(|a| a.stride),
            dilations: &along(|a| a.dilation),
            pads_begin: &along(|a| a.pad_begin),
            pads_end: &ends,
        };
        let out = self.group_out * self.groups;
        let geometry = ConvGeometry::transposed(x[0], x[1], out, self.groups, &x[2..], window, &added).ok()?;
        (geometry.output_len() == self.shape.num_elements()).then_some(geometry)
    }

    /// The definition, channel by channel of the output.
    fn spread<T: Element + Float>(
        &self,
        cx: &EvalCx<'_>,
        x: &[T],
        w: &[T],
        bias: Option<&[T]>,
        y: &mut [T],
    ) -> Result<(), OpError> {
        let plane: usize = self.axes.iter().map(|a| a.input).product();
        let taps: usize = self.axes.iter().map(|a| a.kernel).product();
        let windows: usize = self.axes.iter().map(|a| a.output).product();
        let (out_channels, group_in) = (self.group_out * self.groups, self.channels / self.groups);
        if y.is_empty() {
            return Ok(());
        }
        let ns_per_element = (group_in * taps * windows / plane) as f64;
        parallel::fill_units(cx, y, plane, ns_per_element, |start, piece| {
            for (i, y) in (start / plane..).zip(piece.chunks_exact_mut(plane)) {
                let (image, channel) = (i / out_channels, i % out_channels);
                let (group, filter) = (channel / self.group_out, channel % self.group_out);
                y.fill(bias.map_or(T::zero(), |b| b[channel]));
                for c in group * group_in..(group + 1) * group_in {
                    let data = &x[(image * self.channels + c) * windows..][..windows];
                    let filter = &w[(c * self.group_out + filter) * taps..][..taps];
                    for (window, &x) in data.iter().enumerate() {
                        for_each_tap(&self.axes, &window_at(&self.axes, window), |tap, position| {
                            y[position] = y[position] + x * filter[tap];
                        });
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn windows_spread_over_the_output() {
        struct Case {
            attributes: Attributes,
            expected: &'static [f64],
        }
        let stride = || Attributes::new().with("strides", vec![2]);
        for Case { attributes, expected } in [
            Case { attributes: Attributes::new(), expected: &[1., 4., 7., 6.] },
            Case { attributes: Attributes::new().with("pads", vec![1, 1]), expected: &[4., 7.] },
            Case { attributes: stride(), expected: &[1., 2., 5., 4., 6.] },
            Case { attributes: stride().with("output_padding", vec![1]), expected: &[1., 2., 5., 4., 6., 0.] },
            Case { attributes: stride().with("output_shape", vec![4]), expected: &[2., 5., 4., 6.] },
            Case { attributes: stride().with("auto_pad", "SAME_UPPER"), expected: &[1., 2., 5., 4.] },
            Case { attributes: stride().with("auto_pad", "SAME_LOWER"), expected: &[2., 5., 4., 6.] },
            Case { attributes: Attributes::new().with("dilations", vec![2]), expected: &[1., 2., 2., 4., 3., 6.] },
        ] {
            let (x, w) = ([1f64, 2.], [1f64, 2., 3.]);
            let y = eval("ConvTranspose", attributes.clone(), &[tensor(&[1, 1, 2], &x), tensor(&[1, 1, 3], &w)]);
            assert_eq!(y.unwrap().as_slice::<f64>().unwrap(), expected, "{attributes:?}");
            let (x, w) = (x.map(|v| v as f32), w.map(|v| v as f32));
            let y = eval("ConvTranspose", attributes.clone(), &[tensor(&[1, 1, 2], &x), tensor(&[1, 1, 3], &w)]);
            let y: Vec<f64> = y.unwrap().as_slice::<f32>().unwrap().iter().map(|&v| f64::from(v)).collect();
            assert_eq!(y, expected, "{attributes:?}");
        }
    }

    #[test]
    fn groups_have_their_own_filters() {
        let x = tensor(&[1, 2, 1], &[1f64, 10.]);
        let w = tensor(&[2, 2, 1], &[1f64, 2., 3., 4.]);
        let b = tensor(&[4], &[0.5f64; 4]);
        let y = eval("ConvTranspose", Attributes::new().with("group", 2), &[x, w, b]).unwrap();
        assert_eq!(y, tensor(&[1, 4, 1], &[1.5f64, 2.5, 30.5, 40.5]));
    }
}
