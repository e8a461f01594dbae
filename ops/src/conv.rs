//! `Conv`: each output element is the product of a window of the input, over a group's channels, with that group's filters,
//! plus a bias per output channel.
//!
//! Opsets: 1; 11 gives strides and dilations defaults; 22 adds bfloat16.

use crate::Define;
use crate::arithmetic;
use crate::dtypes::to_f32;
use crate::elementwise::{activated, owned};
use crate::geometry::{Window, WindowAxes, WindowAxis, for_each_tap, window_at};
use crate::half::widened;
use crate::packed::Packed;
use crate::parallel;
use num_traits::Float;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Prepared, Schema, Type, arg, int, opt, optional, string,
};
use planish_kernels::conv::{self as kernel, ConvGeometry, PackedConv, Winograd};
use planish_kernels::elementwise::Unary;
use planish_tensor::{DType, Element, Reservation, Shape, Tensor};
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// `Conv`.
#[derive(Clone, Debug)]
pub struct Conv {
    form: ConvForm,
    /// The filters, where they are constant.
    weights: Option<Arc<Weights>>,
}

/// The attributes that convolutions of every kind share.
#[derive(Clone, Debug)]
pub struct ConvForm {
    window: Window,
    groups: usize,
}

/// Filters made ready at load.
#[derive(Debug)]
struct Weights {
    shape: Shape,
    filters: Filters,
}

/// Filters in the forms that kernels take.
#[derive(Debug)]
enum Filters {
    /// For inputs of any size.
    Packed(PackedFilters),
    /// For inputs of a size that is known at load, for which tiles pay.
    Tiles(TileFilters),
}

/// Filters in a form for inputs of any size, beside those that suit the sizes met better.
#[derive(Debug)]
struct PackedFilters {
    packed: Packed<PackedConv>,
    /// The filters transformed for the first input for which that pays; `None` where the budget had no room for them.
    tiles: OnceLock<Option<Packed<Winograd>>>,
    /// The filters on the right of the product for the first input for which that pays; `None` as above.
    turned: OnceLock<Option<Packed<PackedConv>>>,
}

/// Filters that are transformed in the first run and gone then: what they become is four times as large.
#[derive(Debug)]
struct TileFilters {
    /// The filters as they are, and what their transform will take.
    plain: Mutex<Option<(Tensor, Reservation)>>,
    tiles: OnceLock<Result<Packed<Winograd>, OpError>>,
}

/// What one input is convolved with.
enum Form<'a> {
    Packed(&'a PackedConv),
    Tiles(&'a Winograd),
}

impl Weights {
    /// The filters in the form that suits an input of this geometry.
    fn form_for(&self, cx: &EvalCx<'_>, geometry: &ConvGeometry) -> Result<Form<'_>, OpError> {
        match &self.filters {
            Filters::Packed(filters) => Ok(filters.form_for(cx, geometry)),
            Filters::Tiles(filters) => Ok(Form::Tiles(filters.tiles(cx, geometry)?)),
        }
    }

    /// Whether a convolution can begin with what the output holds.
    fn accumulates(&self) -> bool {
        match &self.filters {
            Filters::Packed(filters) => filters.packed.accumulates(),
            Filters::Tiles(_) => true,
        }
    }
}

impl PackedFilters {
    fn new(packed: Packed<PackedConv>) -> PackedFilters {
        PackedFilters { packed, tiles: OnceLock::new(), turned: OnceLock::new() }
    }

    fn form_for(&self, cx: &EvalCx<'_>, geometry: &ConvGeometry) -> Form<'_> {
        match self.tiles_for(cx, geometry) {
            Some(tiles) => Form::Tiles(tiles),
            None => Form::Packed(self.turned_for(cx, geometry).unwrap_or(&self.packed)),
        }
    }

    /// The transformed filters, where an input of this geometry is convolved faster with them.
    fn tiles_for(&self, cx: &EvalCx<'_>, geometry: &ConvGeometry) -> Option<&Winograd> {
        if !self.packed.is_matrix() || !Winograd::pays(geometry) {
            return None;
        }
        let transform = || {
            let charge = cx.memory.reserve(Winograd::size_bytes(geometry)?).ok()?;
            Some(Packed::charged(Winograd::of_packed(&self.packed, geometry, &cx.threads)?, charge))
        };
        self.tiles.get_or_init(transform).as_deref()
    }

    /// The filters on the right of the product, where an input of this geometry is convolved faster so.
    fn turned_for(&self, cx: &EvalCx<'_>, geometry: &ConvGeometry) -> Option<&PackedConv> {
        if !self.packed.is_matrix() || !PackedConv::turning_pays(geometry) {
            return None;
        }
        let turn = || {
            let charge = cx.memory.reserve(PackedConv::turned_size_bytes(geometry)?).ok()?;
            Some(Packed::charged(self.packed.to_turned(geometry, &cx.threads)?, charge))
        };
        self.turned.get_or_init(turn).as_deref()
    }
}

impl TileFilters {
    /// `None` where the budget has no room for the transform.
    fn new(cx: &EvalCx<'_>, filters: &Tensor, geometry: &ConvGeometry) -> Option<TileFilters> {
        let charge = cx.memory.reserve(Winograd::size_bytes(geometry)?).ok()?;
        Some(TileFilters { plain: Mutex::new(Some((filters.clone(), charge))), tiles: OnceLock::new() })
    }

    fn tiles(&self, cx: &EvalCx<'_>, geometry: &ConvGeometry) -> Result<&Winograd, OpError> {
        let transform = || {
            let plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (filters, charge) =
                plain.ok_or_else(|| OpError::Internal("filters are transformed once".to_owned()))?;
            Ok(Packed::charged(Winograd::pack(geometry, filters.as_slice()?, &cx.threads), charge))
        };
        self.tiles.get_or_init(transform).as_deref().map_err(Clone::clone)
    }
}

/// Parses `group`.
pub fn parse_groups(node: &NodeView<'_>) -> Result<usize, AttributeError> {
    let groups = node.int("group")?;
    match usize::try_from(groups) {
        Ok(groups) if groups > 0 => Ok(groups),
        _ => Err(AttributeError::invalid(format!("attribute \"group\": expected a positive number, got {groups}"))),
    }
}

impl Define for Conv {
    const SCHEMA: Schema = Schema::new("Conv", 22)
        .inputs(&[arg("X", FLOATS).var("T"), arg("W", FLOATS).var("T"), opt("B", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&[
            string("auto_pad", "NOTSET"),
            optional("dilations", AttributeKind::Ints),
            int("group", 1),
            optional("kernel_shape", AttributeKind::Ints),
            optional("pads", AttributeKind::Ints),
            optional("strides", AttributeKind::Ints),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Conv { form: ConvForm::parse(node)?, weights: None })
    }
}

impl Op for Conv {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let shape = self.form.output_dims(x, 0, 1, x.shape(2))?;
        Ok(vec![Fact::of_type(Type::Tensor { dtype: x.dtype(0).or(x.dtype(1)), shape })])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(cx, inputs, &[dtype], |cx, inputs| match inputs.tensor(0)?.dtype() {
            DType::F32 => {
                let (x, w, b) = (inputs.tensor(0)?, inputs.opt_tensor(1)?, inputs.opt_tensor(2)?);
                Ok(self.convolve(cx, x, w, b, None, None)?.into())
            }
            _ => Ok(self.convolve_f64(cx, &inputs)?.into()),
        })
    }

    fn macs(&self, x: &Facts<'_>, outputs: &[Fact]) -> Dim {
        conv_macs(x.shape(1), outputs)
    }

    fn prepare(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Prepared>, OpError> {
        let packed = self.packed(cx, x)?;
        Ok(packed.map(|op| Prepared { op: Arc::new(op), dropped: vec![1] }))
    }
}

/// Multiply-accumulates of a convolution with filters of shape `filters`.
pub fn conv_macs(filters: Option<&[Dim]>, outputs: &[Fact]) -> Dim {
    match (filters, outputs.first().and_then(Fact::shape)) {
        (Some([_, taps @ ..]), Some(y)) => y.iter().cloned().product::<Dim>() * taps.iter().cloned().product::<Dim>(),
        _ => Dim::unknown(),
    }
}

/// The shape of input `index`, which must be of rank `rank` if it is known.
pub fn dims_or_unknown(x: &Facts<'_>, index: usize, rank: usize) -> Result<Vec<Dim>, InferError> {
    match x.shape(index) {
        _ if rank < 3 => Err(InferError(format!("expected an input of rank 3 or more, got {rank}"))),
        Some(shape) if shape.len() == rank => Ok(shape.to_vec()),
        Some(shape) => Err(InferError(format!("input {index}: expected rank {rank}, got rank {}", shape.len()))),
        None => Ok(vec![Dim::unknown(); rank]),
    }
}

/// The kernel's extents, known from the filters, the attribute, or both, which must agree.
pub fn kernel_dims(window: &Window, filters: &[Dim]) -> Result<Vec<Dim>, InferError> {
    let Some(given) = window.kernel() else { return Ok(filters.to_vec()) };
    window.check_rank(filters.len())?;
    let pairs = given.iter().zip(filters);
    pairs
        .map(|(&given, filter)| {
            Dim::unify(&Dim::known(given as i64), filter)
                .map_err(|_| InferError(format!("attribute \"kernel_shape\" says {given}, the filters have {filter}")))
        })
        .collect()
}

impl ConvForm {
    /// Reads the attributes.
    pub fn parse(node: &NodeView<'_>) -> Result<ConvForm, AttributeError> {
        Ok(ConvForm { window: Window::parse(node)?, groups: parse_groups(node)? })
    }

    /// The dimensions of the output, where a rank is known. `data` and `filters` are indices of inputs.
    pub fn output_dims(
        &self,
        x: &Facts<'_>,
        data: usize,
        filters: usize,
        bias: Option<&[Dim]>,
    ) -> Result<Option<Vec<Dim>>, InferError> {
        let Some(rank) = x.rank(data).or(x.rank(filters)).or(self.window.rank().map(|n| n + 2)) else {
            return Ok(None);
        };
        let data = dims_or_unknown(x, data, rank)?;
        let filters = dims_or_unknown(x, filters, rank)?;
        self.check_channels(&data[1], &filters[..2], bias)?;
        let kernel = kernel_dims(&self.window, &filters[2..])?;
        let mut y = vec![data[0].clone(), filters[0].clone()];
        y.extend(self.window.output_dims(&data[2..], &kernel)?);
        Ok(Some(y))
    }

    /// Channels of data, `[out, in / group]` of filters and the bias: do they fit together?
    fn check_channels(&self, channels: &Dim, filters: &[Dim], bias: Option<&[Dim]>) -> Result<(), InferError> {
        let groups = self.groups as i64;
        let expected = &filters[1] * groups;
        if Dim::provably_different(channels, &expected) {
            return Err(InferError(format!("the input has {channels} channels, the filters are for {expected}")));
        }
        if filters[0].as_known().is_some_and(|out| out % groups != 0) {
            return Err(InferError(format!("{} filters do not divide into {groups} groups", filters[0])));
        }
        match bias {
            Some([length]) if !Dim::provably_different(length, &filters[0]) => Ok(()),
            None => Ok(()),
            Some(other) => Err(InferError(format!("a bias of shape {other:?} does not fit {} filters", filters[0]))),
        }
    }

    /// The sizes of a convolution, checked against each other.
    pub fn resolve(&self, x: &Shape, w: &Shape, b: Option<&Shape>) -> Result<Resolved, OpError> {
        if x.rank() < 3 || w.rank() != x.rank() {
            return Err(OpError::invalid(format!("input {x} and filters {w} do not fit a convolution")));
        }
        let dims = |shape: &Shape| -> Vec<Dim> { shape.iter().map(|&d| Dim::known(d as i64)).collect() };
        let filters = dims(w);
        self.check_channels(&Dim::known(x[1] as i64), &filters[..2], b.map(dims).as_deref())?;
        kernel_dims(&self.window, &filters[2..])?;
        let axes = self.window.resolve(&x[2..], &w[2..])?;
        let y: Vec<usize> = [x[0], w[0]].into_iter().chain(axes.iter().map(|a| a.output)).collect();
        Ok(Resolved { groups: self.groups, out_channels: w[0], group_channels: w[1], axes, shape: Shape::new(&y)? })
    }

    /// The sizes that filters of shape `w` are packed by, where the kernel takes their rank and size: an input just as large
    /// as one window.
    pub fn filter_geometry(&self, w: &Shape) -> Option<ConvGeometry> {
        let &[filters, group_channels, ref kernel @ ..] = w.dims() else { return None };
        let (ones, zeros) = (vec![1; kernel.len()], vec![0; kernel.len()]);
        let window = kernel::Window { kernel, strides: &ones, dilations: &ones, pads_begin: &zeros, pads_end: &zeros };
        let channels = group_channels.saturating_mul(self.groups);
        ConvGeometry::new(1, channels, filters, self.groups, kernel, window).ok()
    }

    /// The sizes of a convolution of an input whose dimensions are known, but perhaps for how many images there are: of one
    /// of them then.
    fn geometry_of(&self, x: &[Dim], w: &Shape) -> Option<ConvGeometry> {
        let known = |(i, dim): (usize, &Dim)| match dim.as_known() {
            None if i == 0 => Some(1),
            size => usize::try_from(size?).ok(),
        };
        let x: Vec<usize> = x.iter().enumerate().map(known).collect::<Option<_>>()?;
        let x = Shape::new(&x).ok()?;
        self.resolve(&x, w, None).ok()?.geometry(&x)
    }
}

impl Conv {
    /// The filters made ready, where the kernel takes their rank and size, in the form for an input of size `sized` where
    /// that is known.
    fn ready(&self, cx: &EvalCx<'_>, w: &Tensor, sized: Option<&ConvGeometry>) -> Result<Option<Weights>, OpError> {
        let Some(geometry) = self.form.filter_geometry(w.shape()) else { return Ok(None) };
        let shape = w.shape().clone();
        let tiles = sized.filter(|sized| Winograd::pays(sized)).and_then(|sized| TileFilters::new(cx, w, sized));
        if let Some(tiles) = tiles {
            return Ok(Some(Weights { shape, filters: Filters::Tiles(tiles) }));
        }
        let values = w.as_slice::<f32>()?;
        let packed = match sized.filter(|sized| PackedConv::turning_pays(sized) && !Winograd::pays(sized)) {
            Some(sized) => Packed::new(&cx.memory, PackedConv::turned_size_bytes(sized), || {
                PackedConv::pack_turned(sized, values, &cx.threads)
            }),
            None => Packed::new(&cx.memory, PackedConv::size_bytes(&geometry), || {
                PackedConv::pack(&geometry, values, &cx.threads)
            }),
        };
        Ok(Some(Weights { shape, filters: Filters::Packed(PackedFilters::new(packed?)) }))
    }

    /// The same with the filters packed, where they are constant and the kernel takes them.
    pub fn packed(&self, cx: &EvalCx<'_>, x: &Facts<'_>) -> Result<Option<Conv>, OpError> {
        let Some(w) = x.constant(1).filter(|w| w.dtype() != DType::F64) else { return Ok(None) };
        let sized = x.shape(0).and_then(|dims| self.form.geometry_of(dims, w.shape()));
        let weights = self.ready(cx, &to_f32(cx, w)?, sized.as_ref())?;
        Ok(weights.map(|weights| Conv { form: self.form.clone(), weights: Some(Arc::new(weights)) }))
    }

    /// `activation(conv(x, w, b) + residual)` of `float`; `w` may be absent where it is packed, `residual` is of the
    /// output's shape.
    pub fn convolve(
        &self,
        cx: &EvalCx<'_>,
        x: &Tensor,
        w: Option<&Tensor>,
        b: Option<&Tensor>,
        residual: Option<Tensor>,
        activation: Option<Unary>,
    ) -> Result<Tensor, OpError> {
        let absent = || OpError::invalid("input 1 is absent");
        let packed = match (&self.weights, w) {
            (Some(weights), _) => Some(weights.clone()),
            (None, w) => self.ready(cx, w.ok_or_else(absent)?, None)?.map(Arc::new),
        };
        let filters = match (&packed, w) {
            (Some(weights), _) => &weights.shape,
            (None, w) => w.ok_or_else(absent)?.shape(),
        };
        let resolved = self.form.resolve(x.shape(), filters, b.map(Tensor::shape))?;
        let (values, bias) = (x.as_slice()?, b.map(Tensor::as_slice::<f32>).transpose()?);
        match (&packed, resolved.geometry(x.shape())) {
            (Some(weights), Some(geometry)) => {
                let (mut y, accumulates) = match residual {
                    Some(residual) if weights.accumulates() && *residual.shape() == resolved.shape => {
                        (owned(cx, residual)?, true)
                    }
                    None => (cx.uninit::<f32>(resolved.shape)?, false),
                    Some(residual) => {
                        let y = self.convolve(cx, x, w, b, None, None)?;
                        return activated(cx, arithmetic::apply::<arithmetic::Sum>(cx, y, residual)?, activation);
                    }
                };
                let start = if accumulates { kernel::Start::Output } else { kernel::Start::Zero };
                let form = match (&self.weights, &weights.filters) {
                    // What is packed for one product is not worth another form.
                    (None, Filters::Packed(filters)) => Form::Packed(&filters.packed),
                    _ => weights.form_for(cx, &geometry)?,
                };
                match form {
                    Form::Tiles(tiles) => {
                        kernel::conv_winograd(&cx.threads, &geometry, values, tiles, bias, start, activation, &mut y);
                    }
                    Form::Packed(packed) => {
                        kernel::conv(&cx.threads, &geometry, values, packed, bias, start, activation, &mut y);
                    }
                }
                Ok(y.freeze())
            }
            (_, None) if self.weights.is_some() => {
                Err(OpError::unsupported(format!("a convolution over an input of shape {}", x.shape())))
            }
            _ => {
                let mut y = cx.uninit::<f32>(resolved.shape.clone())?;
                resolved.convolve(cx, values, w.ok_or_else(absent)?.as_slice()?, bias, &mut y)?;
                let y = match residual {
                    Some(residual) => arithmetic::apply::<arithmetic::Sum>(cx, y.freeze(), residual)?,
                    None => y.freeze(),
                };
                activated(cx, y, activation)
            }
        }
    }

    fn convolve_f64(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
        let (x, w, b) = (inputs.tensor(0)?, inputs.tensor(1)?, inputs.opt_tensor(2)?);
        let resolved = self.form.resolve(x.shape(), w.shape(), b.map(Tensor::shape))?;
        let mut y = cx.uninit::<f64>(resolved.shape.clone())?;
        let bias = b.map(Tensor::as_slice::<f64>).transpose()?;
        resolved.convolve(cx, x.as_slice()?, w.as_slice()?, bias, &mut y)?;
        Ok(y.freeze())
    }
}

/// A convolution with everything resolved.
pub struct Resolved {
    groups: usize,
    out_channels: usize,
    /// Input channels of one group.
    group_channels: usize,
    axes: WindowAxes,
    /// The output's shape.
    pub shape: Shape,
}

impl Resolved {
    /// The sizes as the kernel takes them, if it does.
    pub fn geometry(&self, x: &Shape) -> Option<ConvGeometry> {
        let along = |f: fn(&WindowAxis) -> usize| -> SmallVec<[usize; 3]> { self.axes.iter().map(f).collect() };
        let window = kernel::Window {
            kernel: &along(|a| a.kernel),
            strides: &along(|a| a.stride),
            dilations: &along(|a| a.dilation),
            pads_begin: &along(|a| a.pad_begin),
            pads_end: &along(|a| a.pad_end),
        };
        ConvGeometry::new(x[0], x[1], self.out_channels, self.groups, &x[2..], window).ok()
    }

    /// The definition, plane by plane.
    fn convolve<T: Element + Float>(
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
        if windows == 0 {
            return Ok(());
        }
        let filters_each = self.out_channels / self.groups;
        let ns_per_element = (self.group_channels * taps) as f64;
        parallel::fill(cx, y, ns_per_element, |start, piece| {
            for (i, y) in piece.iter_mut().enumerate().map(|(i, y)| (start + i, y)) {
                let (image_channel, window) = (i / windows, i % windows);
                let (image, channel) = (image_channel / self.out_channels, image_channel % self.out_channels);
                let first = (image * self.groups + channel / filters_each) * self.group_channels;
                let mut sum = bias.map_or(T::zero(), |b| b[channel]);
                for_each_tap(&self.axes, &window_at(&self.axes, window), |tap, position| {
                    for c in 0..self.group_channels {
                        let weight = w[(channel * self.group_channels + c) * taps + tap];
                        sum = sum + weight * x[(first + c) * plane + position];
                    }
                });
                *y = sum;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{eval, tensor};
    use planish_ir::{Attributes, Interpreter};
    use planish_tensor::Memory;

    #[test]
    fn packed_filters_convolve_by_tiles_where_that_pays() {
        let numbers = |dims: &[usize]| {
            let count: usize = dims.iter().product();
            tensor(dims, &(0..count).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect::<Vec<_>>())
        };
        let (x, w, b) = (numbers(&[1, 16, 18, 14]), numbers(&[20, 16, 3, 3]), numbers(&[20]));
        let attributes = || Attributes::new().with("pads", vec![1i64; 4]);
        let expected = eval("Conv", attributes(), &[x.clone(), w.clone(), b.clone()]).unwrap();
        let node = NodeView::new(&Conv::SCHEMA, &attributes(), 3, 1).and_then(|node| Conv::parse(&node)).unwrap();
        let sized = Fact::shaped(Some(DType::F32), vec![Dim::unknown(), 16.into(), 18.into(), 14.into()]);
        let tight = Memory::with_limit(PackedConv::size_bytes(&node.form.filter_geometry(w.shape()).unwrap()).unwrap());
        for (fact, memory, has_tiles) in [
            (Fact::unknown(), Memory::unlimited(), true),
            (sized.clone(), Memory::unlimited(), true),
            (sized, tight, false),
        ] {
            let is_sized = fact.rank().is_some();
            let mut cx = EvalCx::unlimited(&Interpreter);
            cx.memory = memory;
            let weights = Fact::constant(w.clone());
            let conv = node.packed(&cx, &Facts::new(&[Some(&fact), Some(&weights)], 1)).unwrap().unwrap();
            cx.memory = Memory::unlimited();
            for _ in 0..2 {
                let y = conv.convolve(&cx, &x, None, Some(&b), None, None).unwrap();
                for (y, expected) in y.as_slice::<f32>().unwrap().iter().zip(expected.as_slice::<f32>().unwrap()) {
                    assert!((y - expected).abs() <= 1e-4 * 10.0, "{y} is not {expected}");
                }
            }
            match &conv.weights.unwrap().filters {
                Filters::Packed(filters) => assert!(!(is_sized && has_tiles) && filters.tiles.get().is_some()),
                Filters::Tiles(filters) => {
                    assert!(has_tiles && filters.plain.lock().unwrap().is_none(), "the filters are gone");
                }
            }
        }
    }

    #[test]
    fn windows_groups_and_pads() {
        struct Case {
            x: &'static [usize],
            w: &'static [usize],
            attributes: Attributes,
            expected: (&'static [usize], &'static [f64]),
        }
        let none = Attributes::new;
        for Case { x, w, attributes, expected } in [
            Case { x: &[1, 1, 3], w: &[1, 1, 2], attributes: none(), expected: (&[1, 1, 2], &[1., 2.]) },
            Case {
                x: &[1, 1, 3],
                w: &[1, 1, 3],
                attributes: none().with("pads", vec![1, 1]),
                expected: (&[1, 1, 3], &[2., 5., 2.]),
            },
            Case {
                x: &[1, 1, 3],
                w: &[1, 1, 3],
                attributes: none().with("auto_pad", "SAME_LOWER").with("strides", vec![2]),
                expected: (&[1, 1, 2], &[2., 2.]),
            },
            Case {
                x: &[1, 2, 2],
                w: &[2, 1, 1],
                attributes: none().with("group", 2),
                expected: (&[1, 2, 2], &[0., 0., 2., 3.]),
            },
            Case { x: &[1, 2, 2], w: &[1, 2, 1], attributes: none(), expected: (&[1, 1, 2], &[2., 3.]) },
            Case {
                x: &[1, 1, 3, 3],
                w: &[1, 1, 2, 2],
                attributes: none().with("dilations", vec![2, 2]),
                expected: (&[1, 1, 1, 1], &[0. + 2. + 2. * 6. + 3. * 8.]),
            },
            Case { x: &[0, 1, 3], w: &[1, 1, 2], attributes: none(), expected: (&[0, 1, 2], &[]) },
        ] {
            let counted =
                |dims: &[usize]| -> Vec<f64> { (0..dims.iter().product()).map(|i: usize| i as f64).collect() };
            let y = eval("Conv", attributes.clone(), &[tensor(x, &counted(x)), tensor(w, &counted(w))]).unwrap();
            assert_eq!((y.shape().dims(), y.as_slice::<f64>().unwrap()), expected);
            let narrow = |dims: &[usize]| -> Vec<f32> { counted(dims).iter().map(|&v| v as f32).collect() };
            let y = eval("Conv", attributes, &[tensor(x, &narrow(x)), tensor(w, &narrow(w))]).unwrap();
            let y: Vec<f64> = y.as_slice::<f32>().unwrap().iter().map(|&v| f64::from(v)).collect();
            assert_eq!(y, expected.1);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let x = tensor(&[1, 2, 3], &[0f32; 6]);
        for (w, attributes) in [
            (&[1, 1, 1][..], Attributes::new()),
            (&[1, 2, 4][..], Attributes::new()),
            (&[1, 2, 2][..], Attributes::new().with("kernel_shape", vec![3])),
            (&[1, 2, 2][..], Attributes::new().with("strides", vec![0])),
            (&[1, 2, 2][..], Attributes::new().with("group", 0)),
            (&[1, 2, 2][..], Attributes::new().with("pads", vec![-1, 0])),
            (&[1, 2, 1, 1][..], Attributes::new()),
        ] {
            let size = w.iter().product();
            assert!(eval("Conv", attributes, &[x.clone(), tensor(w, &vec![0f32; size])]).is_err());
        }
    }
}
