//! `DeformConv`: a convolution whose taps are moved by offsets of their own for each window, reading between elements by
//! linear interpolation and nothing outside the input; each tap may be weighted by a mask.
//!
//! The elements that taps read become the columns of a matrix, whose product with the filters is the output.
//!
//! Opsets: 19; 22 adds bfloat16.

use crate::Define;
use crate::conv::{dims_or_unknown, kernel_dims, parse_groups};
use crate::dtypes::Number;
use crate::geometry::{Window, WindowAxes, window_at};
use crate::half::{for_real, widened};
use crate::matmul::matmul;
use crate::parallel;
use crate::symbolic::unify;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, int, opt, optional,
};
use planish_tensor::{Shape, Tensor};
use smallvec::SmallVec;

/// A core's time for one element of the columns.
const NS_PER_ELEMENT: f64 = 10.0;
/// The most spatial axes: interpolation between neighbours along all of them takes exponentially many.
const MAX_AXES: usize = 6;

/// `DeformConv`.
#[derive(Debug)]
pub struct DeformConv {
    window: Window,
    groups: usize,
    offset_groups: usize,
}

impl Define for DeformConv {
    const SCHEMA: Schema = Schema::new("DeformConv", 22)
        .inputs(&[
            arg("X", FLOATS).var("T"),
            arg("W", FLOATS).var("T"),
            arg("offset", FLOATS).var("T"),
            opt("B", FLOATS).var("T"),
            opt("mask", FLOATS).var("T"),
        ])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&[
            optional("dilations", AttributeKind::Ints),
            int("group", 1),
            optional("kernel_shape", AttributeKind::Ints),
            int("offset_group", 1),
            optional("pads", AttributeKind::Ints),
            optional("strides", AttributeKind::Ints),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let given = node.int("offset_group")?;
        let offset_groups = usize::try_from(given).ok().filter(|&groups| groups > 0);
        let expected = || AttributeError::invalid(format!("attribute \"offset_group\": {given} is not positive"));
        Ok(DeformConv {
            window: Window::parse(node)?,
            groups: parse_groups(node)?,
            offset_groups: offset_groups.ok_or_else(expected)?,
        })
    }
}

impl Op for DeformConv {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(rank) = (0..3).find_map(|i| x.rank(i)) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let [data, filters, offset] = [0, 1, 2].map(|i| dims_or_unknown(x, i, rank));
        let (data, filters, offset) = (data?, filters?, offset?);
        let kernel = kernel_dims(&self.window, &filters[2..])?;
        let mut dims = vec![unify(&data[0], &offset[0], "batch")?, filters[0].clone()];
        let windows = self.window.output_dims(&data[2..], &kernel)?;
        for (window, offset) in windows.iter().zip(&offset[2..]) {
            dims.push(unify(window, offset, "offsets")?);
        }
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| {
            let form = self.form(&inputs)?;
            for_real!(inputs.tensor(0)?.dtype(), T => Ok(form.convolve::<T>(cx, &inputs)?.into()))
        })
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        crate::conv::conv_macs(x.shape(1), outputs)
    }
}

impl DeformConv {
    /// Everything about shapes, checked.
    fn form(&self, inputs: &Inputs) -> Result<Form, OpError> {
        let (x, w, offset) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.tensor(2)?);
        let mismatch = |what: &str, got: &Shape| {
            OpError::invalid(format!("{what} of shape {got} do not fit the input {}", x.shape()))
        };
        let (&[batch, channels, ref space @ ..], &[filters, per_group, ref kernel @ ..]) =
            (x.shape().dims(), w.shape().dims())
        else {
            return Err(mismatch("filters", w.shape()));
        };
        if space.is_empty() || space.len() > MAX_AXES {
            return Err(OpError::unsupported(format!("DeformConv along {} axes", space.len())));
        }
        if space.contains(&0) {
            return Err(OpError::invalid(format!("an input of shape {} has nothing to read", x.shape())));
        }
        if self.window.kernel().is_some_and(|given| given != kernel)
            || per_group.checked_mul(self.groups) != Some(channels)
            || !filters.is_multiple_of(self.groups)
            || !channels.is_multiple_of(self.offset_groups)
        {
            return Err(mismatch("filters", w.shape()));
        }
        let axes = self.window.resolve(space, kernel)?;
        let taps = Shape::new(kernel)?.num_elements();
        let windows: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
        let shape_of = |channels: usize| Shape::new(&[&[batch, channels], &windows[..]].concat());
        let form = Form {
            batch,
            channels,
            filters,
            groups: self.groups,
            offset_groups: self.offset_groups,
            taps,
            windows: Shape::new(&windows)?.num_elements(),
            shape: shape_of(filters)?,
            axes,
        };
        let masks = shape_of(taps.saturating_mul(self.offset_groups))?;
        if *offset.shape() != shape_of(masks[1].saturating_mul(space.len()))? {
            return Err(mismatch("offsets", offset.shape()));
        }
        if let Some(mask) = inputs.opt_tensor(4)?.filter(|mask| *mask.shape() != masks) {
            return Err(mismatch("masks", mask.shape()));
        }
        match inputs.opt_tensor(3)?.filter(|bias| bias.shape().dims() != [filters]) {
            Some(bias) => Err(mismatch("biases", bias.shape())),
            None => Ok(form),
        }
    }
}

/// The shapes of one convolution.
struct Form {
    batch: usize,
    channels: usize,
    filters: usize,
    groups: usize,
    offset_groups: usize,
    /// Taps of a window.
    taps: usize,
    windows: usize,
    shape: Shape,
    axes: WindowAxes,
}

/// What one tap reads: elements of a channel and their weights.
type Reads<T> = SmallVec<[(usize, T); 8]>;

impl Form {
    fn convolve<T: Number>(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
        let rows = self.channels / self.groups * self.taps;
        let mut columns = cx.uninit::<T>(Shape::new(&[self.batch, self.groups, rows, self.windows])?)?;
        let (x, offset) = (inputs.slice::<T>(0)?, inputs.slice::<T>(2)?);
        let mask = inputs.opt_slice::<T>(4)?;
        let volume: usize = self.axes.iter().map(|axis| axis.input).product();
        let together = self.channels / self.offset_groups;
        let unit = together * self.taps * self.windows;
        parallel::fill_units(cx, &mut columns, unit.max(1), NS_PER_ELEMENT, |start, piece| {
            for (group, y) in (start / unit..).zip(piece.chunks_exact_mut(unit)) {
                let source = &x[group * together * volume..][..together * volume];
                for tap in (0..self.taps).take_while(|_| cx.check().is_ok()) {
                    let place = (group * self.taps + tap) * self.windows;
                    let offset = &offset[place * self.axes.len()..][..self.windows * self.axes.len()];
                    for window in 0..self.windows {
                        let reads = self.reads(tap, window, offset);
                        let weight = mask.map_or(T::ONE, |mask| mask[place + window]);
                        for (channel, source) in source.chunks_exact(volume).enumerate() {
                            let value = reads.iter().fold(T::ZERO, |sum, &(at, w)| sum.add(source[at].mul(w)));
                            y[(channel * self.taps + tap) * self.windows + window] = value.mul(weight);
                        }
                    }
                }
            }
        })?;
        let w = inputs.tensor(1)?.reshaped(Shape::new(&[self.groups, self.filters / self.groups, rows])?)?;
        let product = matmul(cx, &w, &columns.freeze())?.reshaped(self.shape.clone())?;
        match inputs.opt_slice::<T>(3)? {
            Some(bias) => self.biased(cx, product, bias),
            None => Ok(product),
        }
    }

    /// What tap `tap` of window `window` reads, given the offsets of that tap for all windows, axis by axis.
    fn reads<T: Number>(&self, tap: usize, window: usize, offset: &[T]) -> Reads<T> {
        let mut reads: Reads<T> = SmallVec::from_slice(&[(0, T::ONE)]);
        let indices = window_at(&self.axes, window);
        let mut inner: usize = self.taps;
        for (i, (axis, &index)) in self.axes.iter().zip(&indices).enumerate() {
            inner /= axis.kernel;
            let k = tap / inner % axis.kernel;
            let start = (index * axis.stride + k * axis.dilation) as f64 - axis.pad_begin as f64;
            let at = start + offset[i * self.windows + window].to_f64();
            let below = at.floor();
            let neighbours = [(below, 1.0 - (at - below)), (below + 1.0, at - below)];
            let inside = neighbours.iter().filter(|(at, _)| *at >= 0.0 && *at < axis.input as f64);
            let inside: SmallVec<[(usize, T); 2]> =
                inside.map(|&(at, weight)| (at as usize, T::from_f64(weight))).collect();
            let pairs = reads.iter().flat_map(|&(place, product)| {
                inside.iter().map(move |&(at, weight)| (place * axis.input + at, product.mul(weight)))
            });
            reads = pairs.collect();
        }
        reads
    }

    fn biased<T: Number>(&self, cx: &EvalCx<'_>, y: Tensor, bias: &[T]) -> Result<Tensor, OpError> {
        let mut y = match y.try_into_mut::<T>() {
            Ok(y) => y,
            Err(shared) => {
                let mut copy = cx.uninit::<T>(shared.shape().clone())?;
                copy.copy_from_slice(shared.as_slice()?);
                copy
            }
        };
        for (i, map) in y.chunks_exact_mut(self.windows.max(1)).enumerate() {
            let bias = bias[i % self.filters];
            map.iter_mut().for_each(|y| *y = y.add(bias));
        }
        Ok(y.freeze())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::Tensor;

    fn noise(dims: &[usize], seed: f32) -> Tensor {
        let count = dims.iter().product::<usize>();
        tensor(dims, &(0..count).map(|i| (i as f32 * 0.37 + seed).sin()).collect::<Vec<_>>())
    }

    #[test]
    fn without_offsets_it_is_a_convolution() {
        let (x, w, b) = (noise(&[2, 4, 5, 6], 0.0), noise(&[6, 2, 3, 2], 1.0), noise(&[6], 2.0));
        let common = || {
            Attributes::new()
                .with("pads", vec![1i64, 0, 1, 1])
                .with("strides", vec![2i64, 1])
                .with("dilations", vec![1i64, 2])
                .with("group", 2i64)
        };
        let expected = eval("Conv", common(), &[x.clone(), w.clone(), b.clone()]).unwrap();
        let windows = [expected.shape()[2], expected.shape()[3]];
        let offset = tensor(&[2, 24, windows[0], windows[1]], &vec![0f32; 48 * windows[0] * windows[1]]);
        let attributes = common().with("offset_group", 2i64);
        let y = eval("DeformConv", attributes, &[x, w, offset, b]).unwrap();
        approx::assert_abs_diff_eq!(y.as_slice::<f32>().unwrap(), expected.as_slice::<f32>().unwrap(), epsilon = 1e-5);
    }

    #[test]
    fn taps_move_and_are_masked() {
        let x = tensor(&[1, 1, 1, 4], &[1f64, 2., 4., 8.]);
        let w = tensor(&[1, 1, 1, 2], &[1f64, 10.]);
        // Rows first, then columns, for each of the two taps; three windows.
        let offset = tensor(&[1, 4, 1, 3], &[0., 0.5, 0., 0.5, 0., -9., 0., 0., 0., 0., 0.25, 1.0f64]);
        let mask = tensor(&[1, 2, 1, 3], &[1., 1., 1., 1., 2., 1.0f64]);
        let inputs = [Some(x), Some(w), Some(offset), None, Some(mask)];
        let y = eval_all("", "DeformConv", Attributes::new(), &inputs, 1).unwrap().remove(0);
        let expected = [1.5 + 20.0, 1.0 + 2.0 * 10.0 * 5.0, 0.0 + 0.0f64];
        assert_eq!(y, tensor(&[1, 1, 1, 3], &expected));
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let run = |w: &[usize], offset: &[usize], attributes: Attributes| -> Result<Tensor, OpError> {
            eval("DeformConv", attributes, &[noise(&[1, 2, 3, 3], 0.0), noise(w, 0.0), noise(offset, 0.0)])
        };
        assert!(run(&[1, 2, 2, 2], &[1, 8, 2, 2], Attributes::new()).is_ok());
        for (w, offset, attributes) in [
            ([1, 1, 2, 2], [1, 8, 2, 2], Attributes::new()),
            ([1, 2, 2, 2], [1, 8, 3, 2], Attributes::new()),
            ([1, 2, 2, 2], [1, 4, 2, 2], Attributes::new()),
            ([1, 2, 2, 2], [1, 8, 2, 2], Attributes::new().with("offset_group", 3i64)),
            ([1, 2, 2, 2], [1, 8, 2, 2], Attributes::new().with("offset_group", 0i64)),
            ([1, 2, 2, 2], [1, 8, 2, 2], Attributes::new().with("group", 2i64)),
            ([1, 2, 2, 2], [1, 8, 2, 2], Attributes::new().with("kernel_shape", vec![3i64, 3])),
        ] {
            assert!(run(&w, &offset, attributes).is_err());
        }
    }
}
