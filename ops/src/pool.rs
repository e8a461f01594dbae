//! `MaxPool`, `AveragePool`, `LpPool`: one number for each window over each channel: the maximum, the mean, (Σ |x|ᵖ)^(1/p).
//!
//! Opsets of MaxPool: 1; 8 adds `Indices`; 10 adds dilations and `ceil_mode`; 12 adds 8-bit integers; 22 adds bfloat16.
//! Opsets of AveragePool: 1; 7 adds `count_include_pad`; 10 adds `ceil_mode`; 19 adds dilations; 22 adds bfloat16.
//! Opsets of LpPool: 1; 2 makes `p` an integer; 18 adds dilations and `ceil_mode`; 22 adds bfloat16.

use crate::Define;
use crate::dtypes::{Number, for_dtypes, from_f32, to_f32};
use crate::geometry::{Window, WindowAxes, WindowAxis, for_each_tap, window_at};
use crate::half::{for_real, widened};
use crate::norm::Norm;
use crate::parallel;
use num_traits::{Float, FromPrimitive};
use planish_ir::{
    AttributeDef, AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, INT64, InferError, Inputs, NodeView,
    Op, OpError, Outputs, Schema, Types, arg, int, opt, optional, required, string,
};
use planish_kernels::pool as kernel;
use planish_tensor::{DType, Element, Shape, Tensor};

/// Parses `kernel_shape` and its companions.
fn parse_window(node: &NodeView<'_>) -> Result<Window, AttributeError> {
    let window = Window::parse(node)?;
    match window.kernel() {
        Some([]) | None => Err(AttributeError::invalid("attribute \"kernel_shape\" is empty")),
        Some(_) => Ok(window),
    }
}

/// The dimensions of a pool's output.
fn pooled_dims(window: &Window, x: &Facts<'_>) -> Result<Vec<Dim>, InferError> {
    let kernel: Vec<Dim> = window.kernel().unwrap_or_default().iter().map(|&k| Dim::known(k as i64)).collect();
    let unknown = vec![Dim::unknown(); kernel.len() + 2];
    let shape = x.shape(0).unwrap_or(&unknown);
    let [batch, channels, spatial @ ..] = shape else {
        return Err(InferError(format!("expected an input of rank {}, got {}", kernel.len() + 2, shape.len())));
    };
    let mut y = vec![batch.clone(), channels.clone()];
    y.extend(window.output_dims(spatial, &kernel)?);
    Ok(y)
}

/// The most taps in one channel that the kernel is given: it looks at no deadline.
const FAST_TAPS: usize = 1 << 27;

/// A pool with everything resolved.
struct Pool {
    axes: WindowAxes,
    /// Elements of one channel, and windows over it.
    plane: usize,
    windows: usize,
    shape: Shape,
}

impl Pool {
    fn new(window: &Window, x: &Shape) -> Result<Pool, OpError> {
        let [batch, channels, spatial @ ..] = x.dims() else {
            return Err(OpError::invalid(format!("expected an input of rank 3 or more, got shape {x}")));
        };
        let axes = window.resolve(spatial, window.kernel().unwrap_or_default())?;
        let y: Vec<usize> = [*batch, *channels].into_iter().chain(axes.iter().map(|a| a.output)).collect();
        let (plane, windows) = (spatial.iter().product(), axes.iter().map(|a| a.output).product());
        Ok(Pool { axes, plane, windows, shape: Shape::new(&y)? })
    }

    /// Pools in the kernel, where it takes the number of axes.
    fn fill_fast(&self, cx: &EvalCx<'_>, kind: kernel::Pool, x: &[f32], y: &mut [f32]) -> Result<bool, OpError> {
        let window = |axis: &WindowAxis| kernel::Window {
            input: axis.input,
            output: axis.output,
            kernel: axis.kernel,
            stride: axis.stride,
            dilation: axis.dilation,
            pad_begin: axis.pad_begin,
            pad_end: axis.pad_end,
        };
        let (rows, columns) = match &self.axes[..] {
            [columns] => (kernel::Window::SINGLE, window(columns)),
            [rows, columns] => (window(rows), window(columns)),
            _ => return Ok(false),
        };
        if y.is_empty() {
            return Ok(true);
        }
        if self.taps().saturating_mul(self.windows) > FAST_TAPS {
            return Ok(false);
        }
        let Some(scratch_len) = kernel::scratch_len(&rows, &columns) else { return Ok(false) };
        let ns_per_element = self.taps() as f64 * 0.1;
        parallel::fill_units(cx, y, self.windows, ns_per_element, |start, piece| {
            let channels = start / self.windows..(start + piece.len()) / self.windows;
            let mut scratch = vec![0.0; scratch_len];
            let x = &x[channels.start * self.plane..channels.end * self.plane];
            kernel::pool(kind, x, piece, &rows, &columns, &mut scratch);
        })?;
        Ok(true)
    }

    fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.kernel).fold(1, usize::saturating_mul)
    }

    /// Writes `f(channel of x, window)` for every window of every channel.
    fn fill<T: Element, Y: Send>(
        &self,
        cx: &EvalCx<'_>,
        x: &[T],
        y: &mut [Y],
        f: impl Fn(&[T], usize, &[usize]) -> Y + Sync,
    ) -> Result<(), OpError> {
        parallel::fill(cx, y, self.taps() as f64, |start, piece| {
            for (i, y) in (start..).zip(piece) {
                let (channel, window) = (i / self.windows, i % self.windows);
                let data = &x[channel * self.plane..][..self.plane];
                *y = f(data, channel, &window_at(&self.axes, window));
            }
        })
    }
}

const SHARED_ATTRIBUTES: [AttributeDef; 6] = [
    string("auto_pad", "NOTSET"),
    int("ceil_mode", 0),
    optional("dilations", AttributeKind::Ints),
    required("kernel_shape", AttributeKind::Ints),
    optional("pads", AttributeKind::Ints),
    optional("strides", AttributeKind::Ints),
];

/// The attributes that all pools have, and `own`.
const fn with_shared(own: AttributeDef) -> [AttributeDef; 7] {
    let [a, b, c, d, e, f] = SHARED_ATTRIBUTES;
    [a, b, c, d, e, f, own]
}

/// `MaxPool`.
#[derive(Debug)]
pub struct MaxPool {
    window: Window,
    /// Whether indices count the spatial axes in column-major order.
    is_column_major: bool,
}

const MAX_POOL_TYPES: Types = FLOATS.or(Types::of(&[DType::I8, DType::U8]));

impl Define for MaxPool {
    const SCHEMA: Schema = Schema::new("MaxPool", 22)
        .inputs(&[arg("X", MAX_POOL_TYPES).var("T")])
        .outputs(&[arg("Y", MAX_POOL_TYPES).var("T"), opt("Indices", INT64).var("I")])
        .attributes(&with_shared(int("storage_order", 0)));

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let is_column_major = match node.int("storage_order")? {
            0 => false,
            1 => true,
            got => {
                let message = format!("attribute \"storage_order\": expected 0 or 1, got {got}");
                return Err(AttributeError::invalid(message));
            }
        };
        Ok(MaxPool { window: parse_window(node)?, is_column_major })
    }
}

impl Op for MaxPool {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let dims = pooled_dims(&self.window, x)?;
        let mut facts = vec![Fact::shaped(x.dtype(0), dims.clone()), Fact::shaped(Some(DType::I64), dims)];
        facts.truncate(x.num_outputs());
        Ok(facts)
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let y = for_dtypes!(x.dtype(), T => self.values::<T>(cx, x), [
            F32 = f32, F64 = f64, F16 = planish_tensor::f16, BF16 = planish_tensor::bf16, I8 = i8, U8 = u8,
        ])?;
        if !cx.wants(1) {
            return Ok(y.into());
        }
        let indices = for_dtypes!(x.dtype(), T => self.indices::<T>(cx, x), [
            F32 = f32, F64 = f64, F16 = planish_tensor::f16, BF16 = planish_tensor::bf16, I8 = i8, U8 = u8,
        ])?;
        Ok([y, indices].into())
    }
}

impl MaxPool {
    fn values<T: Number>(&self, cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        if matches!(x.dtype(), DType::F16 | DType::BF16) {
            // The greatest of 16-bit numbers is one of them, so that nothing is rounded on the way back.
            let y = self.values::<f32>(cx, &to_f32(cx, x)?)?;
            return from_f32(cx, y, x.dtype());
        }
        let pool = Pool::new(&self.window, x.shape())?;
        if x.dtype() == DType::F32 {
            let mut y = cx.uninit::<f32>(pool.shape.clone())?;
            if pool.fill_fast(cx, kernel::Pool::Max, x.as_slice()?, &mut y)? {
                return Ok(y.freeze());
            }
        }
        let mut y = cx.uninit::<T>(pool.shape.clone())?;
        pool.fill(cx, x.as_slice::<T>()?, &mut y, |data, _, window| {
            let mut max = T::LOWEST;
            for_each_tap(&pool.axes, window, |_, position| max = max.max(data[position]));
            max
        })?;
        Ok(y.freeze())
    }

    /// Where in the whole input each window's first maximum lies.
    fn indices<T: Number>(&self, cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let pool = Pool::new(&self.window, x.shape())?;
        let mut y = cx.uninit::<i64>(pool.shape.clone())?;
        pool.fill(cx, x.as_slice::<T>()?, &mut y, |data, channel, window| {
            let mut best: Option<usize> = None;
            for_each_tap(&pool.axes, window, |_, position| {
                if best.is_none_or(|best| data[position] > data[best]) {
                    best = Some(position);
                }
            });
            let position = best.map_or(0, |best| if self.is_column_major { pool.column_major(best) } else { best });
            (channel * pool.plane + position) as i64
        })?;
        Ok(y.freeze())
    }
}

impl Pool {
    /// The column-major count of a position given in row-major count.
    fn column_major(&self, mut position: usize) -> usize {
        let mut step = self.plane;
        let mut counted = 0;
        for axis in self.axes.iter().rev() {
            step /= axis.input;
            counted += position % axis.input * step;
            position /= axis.input;
        }
        counted
    }
}

/// `AveragePool`.
#[derive(Debug)]
pub struct AveragePool {
    window: Window,
    /// Whether zeros in the padding count as elements.
    counts_padding: bool,
}

impl Define for AveragePool {
    const SCHEMA: Schema = Schema::new("AveragePool", 22)
        .inputs(&[arg("X", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&with_shared(int("count_include_pad", 0)));

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(AveragePool { window: parse_window(node)?, counts_padding: node.flag("count_include_pad")? })
    }
}

impl Op for AveragePool {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![Fact::shaped(x.dtype(0), pooled_dims(&self.window, x)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| {
            let x = inputs.tensor(0)?;
            for_real!(x.dtype(), T => Ok(self.average::<T>(cx, x)?.into()))
        })
    }
}

impl AveragePool {
    /// The mean of each window; NaN where a window reads nothing.
    pub fn average<T: Element + Float + FromPrimitive>(&self, cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let pool = Pool::new(&self.window, x.shape())?;
        if x.dtype() == DType::F32 {
            let kind = if self.counts_padding { kernel::Pool::AverageWithPadding } else { kernel::Pool::Average };
            let mut y = cx.uninit::<f32>(pool.shape.clone())?;
            if pool.fill_fast(cx, kind, x.as_slice()?, &mut y)? {
                return Ok(y.freeze());
            }
        }
        let mut y = cx.uninit::<T>(pool.shape.clone())?;
        pool.fill(cx, x.as_slice::<T>()?, &mut y, |data, _, window| {
            let mut sum = T::zero();
            for_each_tap(&pool.axes, window, |_, position| sum = sum + data[position]);
            let along = pool.axes.iter().zip(window);
            let count: usize = if self.counts_padding {
                along.map(|(axis, &i)| axis.taps_within_padding(i)).product()
            } else {
                along.map(|(axis, &i)| axis.taps_inside(i).len()).product()
            };
            sum / T::from_usize(count).unwrap_or_else(T::infinity)
        })?;
        Ok(y.freeze())
    }
}

/// `LpPool`.
#[derive(Debug)]
pub struct LpPool {
    window: Window,
    norm: Norm,
}

impl Define for LpPool {
    const SCHEMA: Schema = Schema::new("LpPool", 22)
        .inputs(&[arg("X", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&with_shared(int("p", 2)));

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(LpPool { window: parse_window(node)?, norm: Norm::parse(node)? })
    }
}

impl Op for LpPool {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![Fact::shaped(x.dtype(0), pooled_dims(&self.window, x)?)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| {
            let x = inputs.tensor(0)?;
            for_real!(x.dtype(), T => Ok(self.norms::<T>(cx, x)?.into()))
        })
    }
}

impl LpPool {
    fn norms<T: Element + Float>(&self, cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
        let pool = Pool::new(&self.window, x.shape())?;
        let mut y = cx.uninit::<T>(pool.shape.clone())?;
        pool.fill(cx, x.as_slice::<T>()?, &mut y, |data, _, window| {
            let mut sum = T::zero();
            for_each_tap(&pool.axes, window, |_, position| sum = sum + self.norm.power(data[position]));
            self.norm.root(sum)
        })?;
        Ok(y.freeze())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, eval_all, tensor};
    use planish_ir::Attributes;

    fn kernel(kernel: &[i64]) -> Attributes {
        Attributes::new().with("kernel_shape", kernel.to_vec())
    }

    #[test]
    fn windows_are_pooled() {
        struct Case {
            name: &'static str,
            attributes: Attributes,
            expected: &'static [f32],
        }
        let padded = || kernel(&[2]).with("pads", vec![1, 1]);
        for Case { name, attributes, expected } in [
            Case { name: "MaxPool", attributes: kernel(&[2]), expected: &[3., 4., 4., -2.] },
            Case { name: "MaxPool", attributes: padded(), expected: &[3., 3., 4., 4., -2., -4.] },
            Case { name: "AveragePool", attributes: kernel(&[2]).with("strides", vec![2]), expected: &[2., 1.] },
            Case {
                name: "AveragePool",
                attributes: kernel(&[2]).with("strides", vec![2]).with("ceil_mode", 1),
                expected: &[2., 1., -4.],
            },
            Case { name: "AveragePool", attributes: padded(), expected: &[3., 2., 2.5, 1., -3., -4.] },
            Case {
                name: "AveragePool",
                attributes: padded().with("count_include_pad", 1),
                expected: &[1.5, 2., 2.5, 1., -3., -2.],
            },
            Case { name: "AveragePool", attributes: kernel(&[2]).with("dilations", vec![3]), expected: &[0.5, -1.5] },
            Case { name: "LpPool", attributes: kernel(&[3]).with("p", 1), expected: &[8., 7., 10.] },
            Case {
                name: "LpPool",
                attributes: kernel(&[2]).with("strides", vec![3]),
                expected: &[3.1622777, 4.472136],
            },
        ] {
            let x = tensor(&[1, 1, 5], &[3f32, 1., 4., -2., -4.]);
            let y = eval(name, attributes.clone(), &[x]).unwrap();
            assert_eq!(y.as_slice::<f32>().unwrap(), expected, "{name} {attributes:?}");
        }
    }

    #[test]
    fn indices_count_over_the_whole_input() {
        let x = tensor(&[1, 2, 2, 2], &[1i8, 2, 3, 4, 8, 7, 6, 5]);
        let attributes = kernel(&[1, 2]);
        let outputs = eval_all("", "MaxPool", attributes.clone(), &[Some(x.clone())], 2).unwrap();
        assert_eq!(outputs[0].as_slice::<i8>().unwrap(), [2, 4, 8, 6]);
        assert_eq!(outputs[1].as_slice::<i64>().unwrap(), [1, 3, 4, 6]);
        let outputs = eval_all("", "MaxPool", attributes.with("storage_order", 1), &[Some(x)], 2).unwrap();
        assert_eq!(outputs[1].as_slice::<i64>().unwrap(), [2, 3, 4, 5]);
    }

    #[test]
    fn nonsense_is_refused() {
        let x = tensor(&[1, 1, 3], &[0f32; 3]);
        for attributes in
            [kernel(&[]), kernel(&[0]), kernel(&[1, 1]), kernel(&[4]), kernel(&[1]).with("auto_pad", "SAME")]
        {
            assert!(eval("MaxPool", attributes, std::slice::from_ref(&x)).is_err());
        }
        assert!(eval("LpPool", kernel(&[1]).with("p", 0), &[x]).is_err());
    }
}
