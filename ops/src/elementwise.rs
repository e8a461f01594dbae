//! Functions of corresponding elements: evaluation with broadcasting, in place where an operand is not read again, and
//! what they make of symbolic contents.

use crate::broadcast::{self, Walk, broadcast_inputs};
use crate::dtypes::Float32;
use crate::parallel;
use planish_ir::{Dim, EvalCx, Fact, Facts, InferError, Inputs, OpError};
use planish_kernels::simd;
use planish_tensor::{DType, Element, Tensor, TensorMut};

/// Elements of a 16-bit float tensor that are widened at a time; two such tiles stay in the first-level cache.
const TILE: usize = 512;

/// Elements that [`zip`] works on at a time: few enough that a copy of them is cheap, and that a short run is.
const ZIPPED: usize = 128;

/// Where a function over runs reads an operand from.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a, T> {
    /// As many elements as the output has.
    Slice(&'a [T]),
    /// The same element for every one of the output.
    Repeated(T),
    /// What the output holds before.
    Output,
}

impl<'a, T: Copy> Operand<'a, T> {
    fn tile(&self, start: usize, length: usize) -> Operand<'a, T> {
        match self {
            Operand::Slice(x) => Operand::Slice(&x[start..start + length]),
            other => *other,
        }
    }

    /// Room for elements that do not lie side by side, or are written over, with those that repeat in it.
    fn room(&self, any: T) -> Option<[T; ZIPPED]> {
        match self {
            Operand::Slice(_) => None,
            Operand::Repeated(x) => Some([*x; ZIPPED]),
            Operand::Output => Some([any; ZIPPED]),
        }
    }

    /// Keeps what the output holds in `room` if it is read.
    fn keep(&self, y: &[T], room: &mut Option<[T; ZIPPED]>) {
        if let (Operand::Output, Some(room)) = (self, room) {
            room[..y.len()].copy_from_slice(y);
        }
    }

    /// `length` elements from `start` on side by side, in `room` unless they are a slice's.
    fn beside<'b>(&self, start: usize, length: usize, room: &'b Option<[T; ZIPPED]>) -> &'b [T]
    where
        'a: 'b,
    {
        match (self, room) {
            (Operand::Slice(x), _) => &x[start..start + length],
            (_, Some(room)) => &room[..length],
            (_, None) => &[],
        }
    }
}

impl<'a, T> From<broadcast::Operand<'a, T>> for Operand<'a, T> {
    fn from(operand: broadcast::Operand<'a, T>) -> Self {
        match operand {
            broadcast::Operand::Slice(x) => Operand::Slice(x),
            broadcast::Operand::Repeated(x) => Operand::Repeated(x),
        }
    }
}

impl<'a> From<Operand<'a, f32>> for simd::Operand<'a> {
    fn from(operand: Operand<'a, f32>) -> Self {
        match operand {
            Operand::Slice(x) => simd::Operand::Slice(x),
            Operand::Repeated(x) => simd::Operand::Scalar(x),
            Operand::Output => simd::Operand::Output,
        }
    }
}

/// `y[i] = f(a[i], b[i])`.
pub fn zip<T: Copy>(a: Operand<'_, T>, b: Operand<'_, T>, y: &mut [T], f: impl Fn(T, T) -> T) {
    let Some(&any) = y.first() else { return };
    let (mut room_a, mut room_b) = (a.room(any), b.room(any));
    for (y, start) in y.chunks_mut(ZIPPED).zip((0..).step_by(ZIPPED)) {
        a.keep(y, &mut room_a);
        b.keep(y, &mut room_b);
        let (a, b) = (a.beside(start, y.len(), &room_a), b.beside(start, y.len(), &room_b));
        y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b));
    }
}

/// A function over runs of `f32` as one over runs of a 16-bit float, which rounds once.
pub fn in_f32<T: Float32>(
    run: impl Fn(Operand<'_, f32>, Operand<'_, f32>, &mut [f32]) + Sync,
) -> impl Fn(Operand<'_, T>, Operand<'_, T>, &mut [T]) + Sync {
    move |a, b, y| {
        let (mut wide_a, mut wide_b, mut wide_y) = ([0f32; TILE], [0f32; TILE], [0f32; TILE]);
        for (tile, start) in y.chunks_mut(TILE).zip((0..).step_by(TILE)) {
            let length = tile.len();
            let wide_a = widened(a.tile(start, length), tile, &mut wide_a[..length]);
            let wide_b = widened(b.tile(start, length), tile, &mut wide_b[..length]);
            run(wide_a, wide_b, &mut wide_y[..length]);
            T::narrow(&wide_y[..length], tile);
        }
    }
}

fn widened<'a, T: Float32>(x: Operand<'_, T>, y: &[T], wide: &'a mut [f32]) -> Operand<'a, f32> {
    match x {
        Operand::Slice(x) => T::widen(x, wide),
        Operand::Output => T::widen(y, wide),
        Operand::Repeated(x) => {
            T::widen(&[x], &mut wide[..1]);
            return Operand::Repeated(wide[0]);
        }
    }
    Operand::Slice(wide)
}

/// y = f(a, b) with broadcasting, by `run` over runs of elements. Works in place of an operand of the output's shape that
/// is not read again.
pub fn binary<T: Element>(
    cx: &EvalCx<'_>,
    a: Tensor,
    b: Tensor,
    ns_per_element: f64,
    run: impl Fn(Operand<'_, T>, Operand<'_, T>, &mut [T]) + Sync,
) -> Result<Tensor, OpError> {
    binary_runs(cx, a, b, ns_per_element, &run)
}

/// [`binary`], compiled once for each dtype.
fn binary_runs<T: Element>(
    cx: &EvalCx<'_>,
    a: Tensor,
    b: Tensor,
    ns_per_element: f64,
    run: &(dyn Fn(Operand<'_, T>, Operand<'_, T>, &mut [T]) + Sync),
) -> Result<Tensor, OpError> {
    let walk = Walk::new([a.shape(), b.shape()])?;
    let (mut left, mut right) = (a, b);
    if walk.shape() == left.shape() {
        match left.try_into_mut::<T>() {
            Ok(mut y) => {
                let b = right.as_slice::<T>()?;
                walk.fill_from_data(cx, &mut y, [&[], b], ns_per_element, &|y, [_, b]| {
                    run(Operand::Output, b.into(), y);
                })?;
                return Ok(y.freeze());
            }
            Err(shared) => left = shared,
        }
    }
    if walk.shape() == right.shape() {
        match right.try_into_mut::<T>() {
            Ok(mut y) => {
                let a = left.as_slice::<T>()?;
                walk.fill_from_data(cx, &mut y, [a, &[]], ns_per_element, &|y, [a, _]| {
                    run(a.into(), Operand::Output, y);
                })?;
                return Ok(y.freeze());
            }
            Err(shared) => right = shared,
        }
    }
    let (a, b) = (left.as_slice::<T>()?, right.as_slice::<T>()?);
    let mut y = cx.uninit::<T>(walk.shape().clone())?;
    walk.fill_from_data(cx, &mut y, [a, b], ns_per_element, &|y, [a, b]| run(a.into(), b.into(), y))?;
    Ok(y.freeze())
}

/// y = f(a, b) with broadcasting, where the output is of another dtype.
pub fn binary_to<A: Element, B: Element, Y: Element>(
    cx: &EvalCx<'_>,
    a: &Tensor,
    b: &Tensor,
    ns_per_element: f64,
    f: impl Fn(A, B) -> Y + Sync,
) -> Result<Tensor, OpError> {
    binary_runs_to::<A, B, Y>(cx, a, b, ns_per_element, &|a, b, y| {
        y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b));
    })
}

/// y = f(a, b) with broadcasting by `run` over a few elements at a time, compiled once for each three dtypes.
fn binary_runs_to<A: Element, B: Element, Y: Element>(
    cx: &EvalCx<'_>,
    a: &Tensor,
    b: &Tensor,
    ns_per_element: f64,
    run: &(dyn Fn(&[A], &[B], &mut [Y]) + Sync),
) -> Result<Tensor, OpError> {
    let walk = Walk::new([a.shape(), b.shape()])?;
    let (a, b) = (a.as_slice::<A>()?, b.as_slice::<B>()?);
    let mut y = cx.uninit::<Y>(walk.shape().clone())?;
    walk.fill(cx, &mut y, ns_per_element, |y, [at_a, at_b]| {
        let (any_a, any_b) = (*at_a.at(a, 0), *at_b.at(b, 0));
        let (a, b) = (Operand::from(at_a.of(a, y.len())), Operand::from(at_b.of(b, y.len())));
        let (room_a, room_b) = (a.room(any_a), b.room(any_b));
        for (y, start) in y.chunks_mut(ZIPPED).zip((0..).step_by(ZIPPED)) {
            run(a.beside(start, y.len(), &room_a), b.beside(start, y.len(), &room_b), y);
        }
    })?;
    Ok(y.freeze())
}

/// y = f(x), in place where `x` is not read again.
pub fn map<T: Element>(
    cx: &EvalCx<'_>,
    x: Tensor,
    ns_per_element: f64,
    f: impl Fn(T) -> T + Sync,
) -> Result<Tensor, OpError> {
    map_runs(cx, x, ns_per_element, |x, y| match x {
        Some(x) => y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x)),
        None => y.iter_mut().for_each(|y| *y = f(*y)),
    })
}

/// y = f(x) by `run` over runs of elements, which reads what `y` holds where it is not given an `x`.
pub fn map_runs<T: Element>(
    cx: &EvalCx<'_>,
    x: Tensor,
    ns_per_element: f64,
    run: impl Fn(Option<&[T]>, &mut [T]) + Sync,
) -> Result<Tensor, OpError> {
    map_each_run(cx, x, ns_per_element, &run)
}

/// [`map_runs`], compiled once for each dtype.
fn map_each_run<T: Element>(
    cx: &EvalCx<'_>,
    x: Tensor,
    ns_per_element: f64,
    run: &(dyn Fn(Option<&[T]>, &mut [T]) + Sync),
) -> Result<Tensor, OpError> {
    match x.try_into_mut::<T>() {
        Ok(mut y) => {
            parallel::fill(cx, &mut y, ns_per_element, |_, y| run(None, y))?;
            Ok(y.freeze())
        }
        Err(shared) => {
            let x = shared.as_slice::<T>()?;
            let mut y = cx.uninit::<T>(shared.shape().clone())?;
            parallel::fill(cx, &mut y, ns_per_element, |start, y| run(Some(&x[start..start + y.len()]), y))?;
            Ok(y.freeze())
        }
    }
}

/// y = f(x), where the output is of another dtype.
pub fn map_to<T: Element, Y: Element>(
    cx: &EvalCx<'_>,
    x: &Tensor,
    ns_per_element: f64,
    f: impl Fn(T) -> Y + Sync,
) -> Result<Tensor, OpError> {
    let source = x.as_slice::<T>()?;
    let mut y = cx.uninit::<Y>(x.shape().clone())?;
    parallel::fill(cx, &mut y, ns_per_element, |start, y| {
        y.iter_mut().zip(&source[start..]).for_each(|(y, &x)| *y = f(x));
    })?;
    Ok(y.freeze())
}

/// A function over runs of `f32` as one over runs of a 16-bit float, which rounds once.
pub fn map_in_f32<T: Float32>(run: impl Fn(&mut [f32]) + Sync) -> impl Fn(Option<&[T]>, &mut [T]) + Sync {
    move |x, y| {
        let mut wide = [0f32; TILE];
        for (tile, start) in y.chunks_mut(TILE).zip((0..).step_by(TILE)) {
            let wide = &mut wide[..tile.len()];
            match x {
                Some(x) => T::widen(&x[start..start + tile.len()], wide),
                None => T::widen(tile, wide),
            }
            run(wide);
            T::narrow(wide, tile);
        }
    }
}

/// The elements of `x` to write over: its own where nobody else reads them.
pub fn owned(cx: &EvalCx<'_>, x: Tensor) -> Result<TensorMut<f32>, OpError> {
    match x.try_into_mut::<f32>() {
        Ok(y) => Ok(y),
        Err(shared) => {
            let mut y = cx.uninit::<f32>(shared.shape().clone())?;
            y.copy_from_slice(shared.as_slice()?);
            Ok(y)
        }
    }
}

/// activation(x) of `float`, or x itself.
pub fn activated(
    cx: &EvalCx<'_>,
    x: Tensor,
    activation: Option<planish_kernels::elementwise::Unary>,
) -> Result<Tensor, OpError> {
    let Some(activation) = activation else { return Ok(x) };
    map_runs::<f32>(cx, x, 1.0, |x, y| {
        planish_kernels::elementwise::unary(activation, x.map_or(simd::Operand::Output, simd::Operand::Slice), y);
    })
}

/// Takes the two inputs of a binary operator out.
pub fn take_two(inputs: &mut Inputs) -> Result<(Tensor, Tensor), OpError> {
    Ok((inputs.take_tensor(0)?, inputs.take_tensor(1)?))
}

/// What is known of the result of an elementwise function with broadcasting. `contents` is the function on one element of
/// each integer input.
pub fn infer_broadcast(
    x: &Facts<'_>,
    dtype: Option<DType>,
    contents: impl Fn(&[Dim]) -> Dim,
) -> Result<Vec<Fact>, InferError> {
    let Some(shape) = broadcast_inputs(x)? else { return Ok(vec![Fact::tensor(dtype)]) };
    let mut fact = Fact::shaped(dtype, shape);
    if matches!(dtype, Some(DType::I64 | DType::I32)) && fact.rank() <= Some(1) {
        fact.contents = zip_contents(x, |elements| in_range(contents(elements), dtype))
            .filter(|elements| elements.iter().any(|dim| !dim.is_unknown()));
    }
    Ok(vec![fact])
}

/// What an elementwise function makes of the contents of its inputs, where all are tracked.
pub fn zip_contents<R>(x: &Facts<'_>, f: impl Fn(&[Dim]) -> R) -> Option<Vec<R>> {
    let inputs: Vec<Vec<Dim>> = (0..x.len()).map(|i| x.elements(i)).collect::<Option<_>>()?;
    let length = inputs.iter().map(Vec::len).find(|&n| n != 1).unwrap_or(1);
    if inputs.iter().any(|v| v.len() != 1 && v.len() != length) {
        return None;
    }
    let element = |i: usize| {
        let elements: Vec<Dim> = inputs.iter().map(|v| v[if v.len() == 1 { 0 } else { i }].clone()).collect();
        f(&elements)
    };
    Some((0..length).map(element).collect())
}

/// An element, or unknown where integers of `dtype` would have wrapped.
pub fn in_range(element: Dim, dtype: Option<DType>) -> Dim {
    match element.as_known() {
        Some(value) if dtype == Some(DType::I32) && i32::try_from(value).is_err() => Dim::unknown(),
        _ => element,
    }
}

/// The dtype shared by all inputs of one type variable, where any is known.
pub fn common_dtype(x: &Facts<'_>) -> Option<DType> {
    (0..x.len()).find_map(|i| x.dtype(i))
}
