//! `Resize`: an image, or any tensor, sampled at more or fewer points along some axes.
//!
//! Every axis is treated on its own: an output index is mapped to a coordinate of the input, which picks its nearest
//! element or the weighted sum of neighbours (linear: 2, cubic: 4, more when smoothing on the way down).
//!
//! Opsets: 10 takes scales alone, with the asymmetric mapping; 11 adds sizes, `roi`, the mappings and cubic; 13 adds
//! dtypes; 18 adds `antialias`, `axes`, `keep_aspect_ratio_policy`; 19 the mapping `half_pixel_symmetric`.

use crate::Define;
use crate::dtypes::{Number, for_numeric};
use crate::movement::{Movement, move_elements};
use crate::parallel;
use planish_ir::{
    ALL_TENSORS, AttributeError, AttributeKind, Axis, Dim, EvalCx, FLOAT, FLOATS, Fact, Facts, INT64, InferError,
    Inputs, NUMERIC, NodeView, Op, OpError, Outputs, Schema, arg, float, int, opt, optional, string,
};
use planish_tensor::{DType, Shape, Tensor};

/// `Resize`.
#[derive(Debug)]
pub struct Resize {
    mode: Mode,
    mapping: Mapping,
    is_smoothing: bool,
    excludes_outside: bool,
    extrapolation_value: f32,
    cubic_coefficient: f64,
    axes: Option<Vec<Axis>>,
    policy: Policy,
}

/// How a coordinate between elements becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Nearest(Rounding),
    Linear,
    Cubic,
}

/// Which element is nearest to a coordinate between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

/// From an output index to a coordinate of the input (`coordinate_transformation_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapping {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfCropAndResize,
}

/// What sizes mean when they do not keep the aspect ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    Stretch,
    NotLarger,
    NotSmaller,
}

impl Define for Resize {
    const SCHEMA: Schema = Schema::new("Resize", 19)
        .inputs(&[arg("X", ALL_TENSORS).var("T1"), opt("roi", FLOATS), opt("scales", FLOAT), opt("sizes", INT64)])
        .outputs(&[arg("Y", ALL_TENSORS).var("T1")])
        .attributes(&[
            int("antialias", 0),
            optional("axes", AttributeKind::Ints),
            string("coordinate_transformation_mode", "half_pixel"),
            float("cubic_coeff_a", -0.75),
            int("exclude_outside", 0),
            float("extrapolation_value", 0.0),
            string("keep_aspect_ratio_policy", "stretch"),
            string("mode", "nearest"),
            string("nearest_mode", "round_prefer_floor"),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let rounding = node.choice(
            "nearest_mode",
            &[
                ("round_prefer_floor", Rounding::PreferFloor),
                ("round_prefer_ceil", Rounding::PreferCeil),
                ("floor", Rounding::Floor),
                ("ceil", Rounding::Ceil),
            ],
        )?;
        let modes = [("nearest", Mode::Nearest(rounding)), ("linear", Mode::Linear), ("cubic", Mode::Cubic)];
        let mapping = node.choice(
            "coordinate_transformation_mode",
            &[
                ("half_pixel", Mapping::HalfPixel),
                ("half_pixel_symmetric", Mapping::HalfPixelSymmetric),
                ("pytorch_half_pixel", Mapping::PytorchHalfPixel),
                ("align_corners", Mapping::AlignCorners),
                ("asymmetric", Mapping::Asymmetric),
                ("tf_crop_and_resize", Mapping::TfCropAndResize),
            ],
        )?;
        let policy = node.choice(
            "keep_aspect_ratio_policy",
            &[("stretch", Policy::Stretch), ("not_larger", Policy::NotLarger), ("not_smaller", Policy::NotSmaller)],
        )?;
        Ok(Resize {
            mode: node.choice("mode", &modes)?,
            mapping,
            is_smoothing: node.flag("antialias")?,
            excludes_outside: node.flag("exclude_outside")?,
            extrapolation_value: node.float("extrapolation_value")?,
            cubic_coefficient: f64::from(node.float("cubic_coeff_a")?),
            axes: node.opt_ints("axes").map(|axes| axes.iter().map(|&a| Axis::new(a)).collect()),
            policy,
        })
    }
}

/// How one axis is resized.
#[derive(Clone, Copy, Debug)]
struct AxisPlan {
    axis: usize,
    /// Output elements for one input element.
    scale: f64,
    length: usize,
    /// The part of the axis that is looked at, as fractions of its length; the whole of it for most mappings.
    roi: (f64, f64),
}

/// The weights of one output index, and whether it lies outside of the input.
struct Sample {
    taps: Vec<(usize, f64)>,
    is_outside: bool,
}

impl Resize {
    fn axes(&self, rank: usize) -> Result<Vec<usize>, InferError> {
        match &self.axes {
            None => Ok((0..rank).collect()),
            Some(axes) => axes.iter().map(|axis| axis.resolve(rank)).collect(),
        }
    }

    /// How each axis that the inputs name is resized.
    fn plan(&self, shape: &Shape, inputs: &Inputs) -> Result<Vec<AxisPlan>, OpError> {
        let axes = self.axes(shape.rank())?;
        let wrong = |what: &str, got: usize| {
            OpError::invalid(format!("expected {} {what}, one an axis, got {got}", axes.len()))
        };
        let roi = self.roi(inputs, axes.len())?;
        let given = |index| inputs.opt_tensor(index).map(|t| t.filter(|t| t.num_elements() > 0 || axes.is_empty()));
        if let Some(scales) = given(2)? {
            let scales = scales.as_slice::<f32>()?;
            if scales.len() != axes.len() {
                return Err(wrong("scales", scales.len()));
            }
            let plan = |((&axis, &scale), &roi): ((&usize, &f32), &(f64, f64))| {
                let length = (shape[axis] as f64 * f64::from(scale)).floor();
                if !(scale > 0.0 && scale.is_finite() && length < isize::MAX as f64) {
                    return Err(OpError::invalid(format!("scale {scale} of axis {axis} makes no sense")));
                }
                Ok(AxisPlan { axis, scale: f64::from(scale), length: length as usize, roi })
            };
            return axes.iter().zip(scales).zip(&roi).map(plan).collect();
        }
        if given(3)?.is_none() {
            return Err(OpError::invalid("neither scales nor sizes are given"));
        }
        let sizes = inputs.ints(3)?;
        if sizes.len() != axes.len() {
            return Err(wrong("sizes", sizes.len()));
        }
        let lengths: Vec<usize> = sizes
            .iter()
            .map(|&size| usize::try_from(size).map_err(|_| OpError::invalid(format!("size {size} is negative"))))
            .collect::<Result<_, _>>()?;
        Ok(self.plan_sizes(shape, &axes, &lengths, &roi))
    }

    fn plan_sizes(&self, shape: &Shape, axes: &[usize], lengths: &[usize], roi: &[(f64, f64)]) -> Vec<AxisPlan> {
        let ratio = |(&axis, &length): (&usize, &usize)| length as f64 / (shape[axis].max(1)) as f64;
        let ratios = axes.iter().zip(lengths).map(ratio);
        let common = match self.policy {
            Policy::Stretch => None,
            Policy::NotLarger => Some(ratios.clone().fold(f64::INFINITY, f64::min)),
            Policy::NotSmaller => Some(ratios.clone().fold(0.0, f64::max)),
        };
        let plan = |(((&axis, &length), ratio), &roi): (((&usize, &usize), f64), &(f64, f64))| match common {
            None => AxisPlan { axis, scale: ratio, length, roi },
            Some(scale) => {
                let length = (scale * shape[axis] as f64 + 0.5).floor();
                AxisPlan { axis, scale, length: length as usize, roi }
            }
        };
        axes.iter().zip(lengths).zip(ratios.clone()).zip(roi).map(plan).collect()
    }

    /// The lengths that axes get where `sizes` are asked for, unknown if they depend on unknown lengths.
    fn fitted(&self, shape: &[Dim], axes: &[usize], sizes: Vec<Dim>) -> Vec<Dim> {
        if self.policy == Policy::Stretch {
            return sizes;
        }
        let known =
            |dims: &[Dim]| dims.iter().map(|dim| usize::try_from(dim.as_known()?).ok()).collect::<Option<Vec<_>>>();
        let lengths = known(shape).and_then(|dims| Shape::new(&dims).ok()).zip(known(&sizes));
        let Some((shape, lengths)) = lengths else { return sizes.iter().map(|_| Dim::unknown()).collect() };
        let plans = self.plan_sizes(&shape, axes, &lengths, &vec![(0.0, 1.0); axes.len()]);
        let length = |plan: &AxisPlan| i64::try_from(plan.length).map_or_else(|_| Dim::unknown(), Dim::known);
        plans.iter().map(length).collect()
    }

    fn roi(&self, inputs: &Inputs, axes: usize) -> Result<Vec<(f64, f64)>, OpError> {
        if self.mapping != Mapping::TfCropAndResize {
            return Ok(vec![(0.0, 1.0); axes]);
        }
        let roi = inputs.tensor(1)?;
        fn read<T: Number>(x: &Tensor) -> Result<Vec<f64>, OpError> {
            Ok(x.as_slice::<T>()?.iter().map(|v| v.to_f64()).collect())
        }
        let bounds: Vec<f64> = for_numeric!(roi.dtype(), T => read::<T>(roi))?;
        if bounds.len() != 2 * axes {
            return Err(OpError::invalid(format!("expected {} bounds in roi, got {}", 2 * axes, bounds.len())));
        }
        Ok((0..axes).map(|i| (bounds[i], bounds[i + axes])).collect())
    }

    /// The coordinate of the input that output index `i` of an axis of `dim` elements stands for.
    fn coordinate(&self, plan: &AxisPlan, dim: usize, i: usize) -> f64 {
        let (x, dim, scale) = (i as f64, dim as f64, plan.scale);
        let resized = scale * dim;
        let half_pixel = (x + 0.5) / scale - 0.5;
        match self.mapping {
            Mapping::HalfPixel => half_pixel,
            Mapping::HalfPixelSymmetric => {
                let adjustment = plan.length as f64 / resized;
                dim / 2.0 * (1.0 - adjustment) + half_pixel
            }
            Mapping::PytorchHalfPixel if plan.length == 1 => 0.0,
            Mapping::PytorchHalfPixel => half_pixel,
            Mapping::AlignCorners if plan.length == 1 => 0.0,
            Mapping::AlignCorners => x * (dim - 1.0) / (resized - 1.0),
            Mapping::Asymmetric => x / scale,
            Mapping::TfCropAndResize => {
                let (start, end) = plan.roi;
                let within = match plan.length {
                    1 => (end - start) * (dim - 1.0) / 2.0,
                    _ => x * (end - start) * (dim - 1.0) / (resized - 1.0),
                };
                within + start * (dim - 1.0)
            }
        }
    }

    fn is_outside(&self, coordinate: f64, dim: usize) -> bool {
        self.mapping == Mapping::TfCropAndResize && !(0.0..=dim as f64 - 1.0).contains(&coordinate)
    }

    /// The element nearest to output index `i`.
    fn nearest(&self, plan: &AxisPlan, dim: usize, i: usize, rounding: Rounding) -> Option<usize> {
        let coordinate = self.coordinate(plan, dim, i);
        let (floor, ceil) = (coordinate.floor(), coordinate.ceil());
        let fraction = coordinate - floor;
        let rounded = match rounding {
            Rounding::Floor => floor,
            Rounding::Ceil => ceil,
            Rounding::PreferFloor => {
                if fraction <= 0.5 {
                    floor
                } else {
                    ceil
                }
            }
            Rounding::PreferCeil => {
                if fraction < 0.5 {
                    floor
                } else {
                    ceil
                }
            }
        };
        let clamped = rounded.clamp(0.0, dim as f64 - 1.0) as usize;
        Some(clamped).filter(|_| !self.is_outside(coordinate, dim))
    }

    /// The weights of output index `i`.
    fn sample(&self, plan: &AxisPlan, dim: usize, i: usize) -> Sample {
        let coordinate = self.coordinate(plan, dim, i);
        // The element on the left, strictly; the coordinate lies at `ratio` in (0, 1] behind it.
        let left = coordinate.ceil() - 1.0;
        let ratio = coordinate - left;
        let reach = if self.mode == Mode::Cubic { 2.0 } else { 1.0 };
        let squeeze = if self.is_smoothing { plan.scale.min(1.0) } else { 1.0 };
        let first = (-reach / squeeze).floor() + 1.0;
        let count = (2.0 - 2.0 * first) as usize;
        let weight = |j: usize| {
            let distance = ((first + j as f64 - ratio) * squeeze).abs();
            if self.mode == Mode::Cubic { self.cubic(distance) } else { (1.0 - distance).max(0.0) }
        };
        let last = dim as f64 - 1.0;
        let mut taps: Vec<(usize, f64)> = Vec::with_capacity(count);
        for j in 0..count {
            let place = left + first + j as f64;
            let is_excluded = self.excludes_outside && !(0.0..=last).contains(&place);
            taps.push((place.clamp(0.0, last) as usize, if is_excluded { 0.0 } else { weight(j) }));
        }
        if self.is_smoothing || self.excludes_outside {
            let sum: f64 = taps.iter().map(|&(_, w)| w).sum();
            taps.iter_mut().for_each(|(_, w)| *w /= sum);
        }
        taps.retain(|&(_, w)| w != 0.0);
        Sample { taps, is_outside: self.is_outside(coordinate, dim) }
    }

    /// The cubic convolution kernel (Keys, 1981).
    fn cubic(&self, x: f64) -> f64 {
        let a = self.cubic_coefficient;
        if x <= 1.0 {
            ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
        } else if x < 2.0 {
            ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
        } else {
            0.0
        }
    }
}

impl Op for Resize {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let is_interpolated = matches!(self.mode, Mode::Linear | Mode::Cubic);
        if let Some(dtype) = x.dtype(0).filter(|&dtype| is_interpolated && !NUMERIC.contains(dtype)) {
            return Err(InferError(format!("attribute \"mode\": elements of {dtype} cannot be interpolated")));
        }
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let axes = self.axes(shape.len())?;
        let mut dims = shape.to_vec();
        axes.iter().for_each(|&axis| dims[axis] = Dim::unknown());
        let scales = x.constant(2).and_then(|t| t.as_slice::<f32>().ok()).filter(|s| s.len() == axes.len());
        let sizes = x.elements(3).filter(|s| s.len() == axes.len()).map(|sizes| self.fitted(shape, &axes, sizes));
        for (i, &axis) in axes.iter().enumerate() {
            if let Some(scales) = scales {
                dims[axis] = scaled(&shape[axis], scales[i]);
            } else if let Some(sizes) = &sizes {
                dims[axis] = sizes[i].clone();
            }
        }
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let plans = self.plan(x.shape(), &inputs)?;
        let mut dims = x.shape().to_vec();
        plans.iter().for_each(|plan| dims[plan.axis] = plan.length);
        let shape = Shape::new(&dims)?;
        if x.num_elements() == 0 && shape.num_elements() > 0 {
            return Err(OpError::invalid(format!("an empty tensor of shape {} cannot be resized", x.shape())));
        }
        // Every axis gets a table of what its indices pick: charged before it is made.
        let table_entries = dims.iter().fold(0usize, |sum, &d| sum.saturating_add(d));
        let _charged = cx.memory.reserve(table_entries.saturating_mul(size_of::<Sample>() + 64))?;
        let is_resized = |plan: &&AxisPlan| {
            plan.length != x.shape()[plan.axis] || plan.scale != 1.0 || self.mapping == Mapping::TfCropAndResize
        };
        let plans: Vec<AxisPlan> = plans.iter().filter(is_resized).copied().collect();
        match self.mode {
            Mode::Nearest(rounding) => self.eval_nearest(cx, x, shape, &plans, rounding),
            Mode::Linear | Mode::Cubic => self.eval_weighted(cx, x, &plans),
        }
    }
}

/// A dimension times a scale, rounded down.
fn scaled(dim: &Dim, scale: f32) -> Dim {
    match dim.as_known() {
        Some(known) => {
            let length = (known as f64 * f64::from(scale)).floor();
            if (0.0..9e15).contains(&length) { Dim::known(length as i64) } else { Dim::unknown() }
        }
        None if scale.fract() == 0.0 && (1.0..1e6).contains(&scale) => dim * &Dim::known(scale as i64),
        None => Dim::unknown(),
    }
}

impl Resize {
    fn eval_nearest(
        &self,
        cx: &EvalCx<'_>,
        x: &Tensor,
        shape: Shape,
        plans: &[AxisPlan],
        rounding: Rounding,
    ) -> Result<Outputs, OpError> {
        let mut picks: Vec<Vec<Option<usize>>> = x.shape().iter().map(|&dim| (0..dim).map(Some).collect()).collect();
        for plan in plans {
            let dim = x.shape()[plan.axis];
            picks[plan.axis] = (0..plan.length).map(|i| self.nearest(plan, dim, i, rounding)).collect();
        }
        let outside = self.extrapolated(cx, x.dtype())?;
        let strides = x.shape().strides().to_vec();
        Ok(move_elements(cx, &[x, &outside], shape, &Nearest { picks, strides })?.into())
    }

    /// What lies outside of the input, as a tensor of one element.
    fn extrapolated(&self, cx: &EvalCx<'_>, dtype: DType) -> Result<Tensor, OpError> {
        fn of<T: Number>(value: f64) -> Result<Tensor, OpError> {
            Ok(Tensor::scalar(T::from_f64(value)))
        }
        let value = f64::from(self.extrapolation_value);
        let made: Result<Tensor, OpError> = for_numeric!(dtype, T => of::<T>(value));
        made.or_else(|_| Ok(Tensor::zeros(&cx.memory, dtype, Shape::scalar())?))
    }

    fn eval_weighted(&self, cx: &EvalCx<'_>, x: &Tensor, plans: &[AxisPlan]) -> Result<Outputs, OpError> {
        fn widen<T: Number>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
            let mut y = cx.uninit::<f32>(x.shape().clone())?;
            y.iter_mut().zip(x.as_slice::<T>()?).for_each(|(y, v)| *y = v.to_f64() as f32);
            Ok(y.freeze())
        }
        fn narrow<T: Number>(cx: &EvalCx<'_>, x: &Tensor) -> Result<Tensor, OpError> {
            let mut y = cx.uninit::<T>(x.shape().clone())?;
            y.iter_mut().zip(x.as_slice::<f32>()?).for_each(|(y, &v)| *y = T::from_f64(f64::from(v)));
            Ok(y.freeze())
        }
        let mut y = match x.dtype() {
            DType::F32 | DType::F64 => x.clone(),
            other => for_numeric!(other, T => widen::<T>(cx, x))?,
        };
        // Shrinking axes first leaves less to do for the others.
        let mut plans = plans.to_vec();
        plans.sort_by(|a, b| a.scale.total_cmp(&b.scale));
        for plan in &plans {
            y = match x.dtype() {
                DType::F64 => self.resize_axis::<f64>(cx, &y, plan)?,
                _ => self.resize_axis::<f32>(cx, &y, plan)?,
            };
        }
        if x.dtype() == y.dtype() {
            return Ok(y.into());
        }
        let narrowed: Result<Tensor, OpError> = for_numeric!(x.dtype(), T => narrow::<T>(cx, &y));
        Ok(narrowed?.into())
    }

    /// One axis resized: each output row is a weighted sum of input rows.
    fn resize_axis<T: Number>(&self, cx: &EvalCx<'_>, x: &Tensor, plan: &AxisPlan) -> Result<Tensor, OpError> {
        let dim = x.shape()[plan.axis];
        let samples: Vec<Sample> = (0..plan.length).map(|i| self.sample(plan, dim, i)).collect();
        let mut dims = x.shape().to_vec();
        dims[plan.axis] = plan.length;
        let (_, inner) = x.shape().split_at(plan.axis + 1);
        let source = x.as_slice::<T>()?;
        let mut y = cx.uninit::<T>(Shape::new(&dims)?)?;
        if y.is_empty() {
            return Ok(y.freeze());
        }
        if inner == 1 && samples.iter().all(|s| !s.is_outside && (1..=2).contains(&s.taps.len())) {
            resize_rows(cx, source, dim, &samples, &mut y)?;
            return Ok(y.freeze());
        }
        let taps = samples.iter().map(|s| s.taps.len()).max().unwrap_or(1);
        parallel::fill_units(cx, &mut y, inner, 0.5 * taps as f64, |start, rows| {
            for (r, row) in rows.chunks_exact_mut(inner).enumerate() {
                let index = start / inner + r;
                let (outer, sample) = (index / plan.length, &samples[index % plan.length]);
                if sample.is_outside {
                    row.fill(T::from_f64(self.extrapolation_value.into()));
                    continue;
                }
                row.fill(T::ZERO);
                for &(place, weight) in &sample.taps {
                    let from = (outer * dim + place) * inner;
                    let weight = T::from_f64(weight);
                    row.iter_mut().zip(&source[from..from + inner]).for_each(|(y, &v)| *y = y.add(weight.mul(v)));
                }
            }
        })?;
        Ok(y.freeze())
    }
}

/// Resizes rows of `dim` elements whose every sample is the mean of one or two.
fn resize_rows<T: Number>(
    cx: &EvalCx<'_>,
    x: &[T],
    dim: usize,
    samples: &[Sample],
    y: &mut [T],
) -> Result<(), OpError> {
    const NS_PER_ELEMENT: f64 = 1.0;
    let pair = |sample: &Sample| {
        let (first, last) = (sample.taps[0], sample.taps[sample.taps.len() - 1]);
        let second = (sample.taps.len() == 2).then(|| (last.0, T::from_f64(last.1)));
        ((first.0, T::from_f64(first.1)), second)
    };
    let pairs: Vec<((usize, T), Option<(usize, T)>)> = samples.iter().map(pair).collect();
    let length = pairs.len();
    parallel::fill_units(cx, y, length, NS_PER_ELEMENT, |start, rows| {
        for (r, row) in rows.chunks_exact_mut(length).enumerate() {
            let x = &x[(start / length + r) * dim..][..dim];
            for (y, &((a, left), second)) in row.iter_mut().zip(&pairs) {
                let first = left.mul(x[a]);
                *y = second.map_or(first, |(b, right)| first.add(right.mul(x[b])));
            }
        }
    })
}

/// Along each axis, the input index that each output index picks; `None` for the extrapolation value.
struct Nearest {
    picks: Vec<Vec<Option<usize>>>,
    strides: Vec<usize>,
}

impl Nearest {
    /// Where the input of row `row` of the output begins; `None` where it lies outside.
    fn row_start(&self, mut row: usize) -> Option<usize> {
        let mut start = Some(0);
        for (picks, stride) in self.picks.iter().zip(&self.strides).rev().skip(1) {
            start = start.zip(picks[row % picks.len()]).map(|(start, pick)| start + pick * stride);
            row /= picks.len();
        }
        start
    }
}

/// How the elements of a row are picked.
enum RowPicks<'a> {
    /// The row as it is.
    Same,
    /// Each element twice.
    Twice,
    /// None lies outside.
    Inside(Vec<usize>),
    Any(&'a [Option<usize>]),
}

impl RowPicks<'_> {
    fn new(picks: &[Option<usize>]) -> RowPicks<'_> {
        let is_every = |times: usize| picks.iter().enumerate().all(|(i, &pick)| pick == Some(i / times));
        match picks.iter().copied().collect() {
            Some(_) if is_every(1) => RowPicks::Same,
            Some(_) if is_every(2) && picks.len().is_multiple_of(2) => RowPicks::Twice,
            Some(inside) => RowPicks::Inside(inside),
            None => RowPicks::Any(picks),
        }
    }

    fn fill<T: Clone>(&self, source: &[T], outside: &T, row: &mut [T]) {
        match self {
            RowPicks::Same => row.clone_from_slice(&source[..row.len()]),
            RowPicks::Twice => {
                for (pair, x) in row.as_chunks_mut::<2>().0.iter_mut().zip(source) {
                    *pair = [x.clone(), x.clone()];
                }
            }
            RowPicks::Inside(picks) => row.iter_mut().zip(picks).for_each(|(y, &pick)| y.clone_from(&source[pick])),
            RowPicks::Any(picks) => {
                row.iter_mut()
                    .zip(*picks)
                    .for_each(|(y, pick)| y.clone_from(pick.map_or(outside, |pick| &source[pick])));
            }
        }
    }
}

impl Movement for Nearest {
    fn apply<T: Clone + Send + Sync>(
        &self,
        cx: &EvalCx<'_>,
        sources: &[&[T]],
        target: &mut [T],
    ) -> Result<(), OpError> {
        const NS_PER_ELEMENT: f64 = 0.3;
        let (source, outside) = (sources[0], &sources[1][0]);
        let Some(last) = self.picks.last() else {
            target.clone_from_slice(source);
            return Ok(());
        };
        let (picks, length) = (RowPicks::new(last), last.len());
        parallel::fill_units(cx, target, length.max(1), NS_PER_ELEMENT, |first, rows| {
            let mut before = None;
            for at in (0..rows.len()).step_by(length) {
                let start = self.row_start((first + at) / length);
                let (done, rest) = rows.split_at_mut(at);
                let row = &mut rest[..length];
                match start {
                    Some(_) if before == Some(start) => row.clone_from_slice(&done[at - length..]),
                    Some(start) => picks.fill(&source[start..], outside, row),
                    None => row.fill(outside.clone()),
                }
                before = Some(start);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval_all, infer, tensor};
    use planish_ir::{Attributes, Dim, Fact};
    use planish_tensor::{DType, Tensor};

    fn resize(attributes: Attributes, x: Tensor, scales: &[f32], sizes: &[i64]) -> Vec<f32> {
        let scales = (!scales.is_empty()).then(|| tensor(&[scales.len()], scales));
        let sizes = (!sizes.is_empty()).then(|| tensor(&[sizes.len()], sizes));
        let y = eval_all("", "Resize", attributes, &[Some(x), None, scales, sizes], 1).unwrap();
        y[0].as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn one_pytorch_half_pixel_is_the_first_element() {
        let attributes =
            Attributes::new().with("mode", "cubic").with("coordinate_transformation_mode", "pytorch_half_pixel");
        assert_eq!(resize(attributes, tensor(&[2], &[3f32, -1.0]), &[0.5], &[]), [3.0]);
    }

    #[test]
    fn double_keeps_its_precision() {
        let x = tensor(&[1], &[0.1f64]);
        let inputs = [Some(x), None, None, Some(tensor(&[1], &[3i64]))];
        let y = eval_all("", "Resize", Attributes::new().with("mode", "linear"), &inputs, 1).unwrap();
        assert_eq!(y, [tensor(&[3], &[0.1f64; 3])]);
    }

    #[test]
    fn kept_aspects_have_known_lengths() {
        let image = Fact::shaped(Some(DType::F32), [3, 40, 20].map(Dim::known).to_vec());
        let absent = Fact::constant(tensor(&[0], &[0f32; 0]));
        let given = [image, absent.clone(), absent, elements("30, 10")];
        for (policy, lengths) in [("not_larger", [20, 10]), ("not_smaller", [30, 15])] {
            let attributes = Attributes::new().with("axes", vec![1i64, 2]).with("keep_aspect_ratio_policy", policy);
            let y = infer("Resize", attributes, &given).unwrap();
            assert_eq!(y, Fact::shaped(Some(DType::F32), [3, lengths[0], lengths[1]].map(Dim::known).to_vec()));
        }
    }

    #[test]
    fn nearest_elements_repeat() {
        let x = || tensor(&[1, 1, 2, 2], &[1f32, 2., 3., 4.]);
        let y = resize(Attributes::new(), x(), &[1., 1., 2., 2.], &[]);
        assert_eq!(y, [1., 1., 2., 2., 1., 1., 2., 2., 3., 3., 4., 4., 3., 3., 4., 4.]);
        assert_eq!(resize(Attributes::new(), x(), &[], &[1, 1, 1, 2]), [1., 2.]);
    }

    #[test]
    fn linear_mappings_differ_at_the_edges() {
        let x = || tensor(&[2], &[0f32, 4.]);
        let linear =
            |mapping: &str| Attributes::new().with("mode", "linear").with("coordinate_transformation_mode", mapping);
        assert_eq!(resize(linear("half_pixel"), x(), &[2.], &[]), [0., 1., 3., 4.]);
        assert_eq!(resize(linear("asymmetric"), x(), &[2.], &[]), [0., 2., 4., 4.]);
        assert_eq!(resize(linear("align_corners"), x(), &[], &[3]), [0., 2., 4.]);
    }

    #[test]
    fn smoothing_averages_on_the_way_down() {
        let smooth = Attributes::new().with("mode", "linear").with("antialias", 1i64);
        let y = resize(smooth, tensor(&[4], &[1f32, 2., 3., 4.]), &[0.5], &[]);
        approx::assert_relative_eq!(y[0] + y[1], 5.0, max_relative = 1e-6);
        assert!(y[0] > 1.5 && y[1] < 3.5);
    }

    #[test]
    fn nonsense_scales_are_refused() {
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let inputs = [Some(tensor(&[1], &[1f32])), None, Some(tensor(&[1], &[scale]))];
            assert!(eval_all("", "Resize", Attributes::new(), &inputs, 1).is_err(), "{scale}");
        }
    }
}
