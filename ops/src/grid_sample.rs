//! `GridSample`: an image, or a volume, read at the places that a grid names.
//!
//! The last axis of the grid holds places in −1 … 1, innermost axis first. Where a place or one of the elements that are
//! interpolated between lies outside, `padding_mode` says what is read.
//!
//! Opsets: 16 for images, with modes `bilinear` and `bicubic`; 20 for any number of axes, with `linear` and `cubic`; 22 adds
//! dtypes.

use crate::Define;
use crate::cast::{Rounding, cast};
use crate::dtypes::{Number, for_dtypes};
use crate::half::{for_real, widened};
use crate::symbolic::unify;
use num_traits::Float;
use planish_ir::{
    AttributeError, BOOL, COMPLEX, Dim, EvalCx, FLOATS, Fact, Facts, InferError, Inputs, NUMERIC, NodeView, Op,
    OpError, Outputs, STRING, Schema, Types, arg, int, string,
};
use planish_tensor::{Complex64, Complex128, DType, Element, Shape, Tensor, Value};
use smallvec::SmallVec;

/// The most spatial axes: interpolation between neighbours along all of them takes exponentially many.
const MAX_AXES: usize = 6;
/// What is sampled.
const SAMPLED: Types = NUMERIC.or(BOOL).or(COMPLEX).or(STRING);
/// The steepness of cubic interpolation.
const CUBIC_A: f64 = -0.75;

/// `GridSample`.
#[derive(Debug)]
pub struct GridSample {
    mode: Mode,
    padding: Padding,
    align_corners: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

impl Define for GridSample {
    const SCHEMA: Schema = Schema::new("GridSample", 22)
        .inputs(&[arg("X", SAMPLED).var("T1"), arg("grid", FLOATS).var("T2")])
        .outputs(&[arg("Y", SAMPLED).var("T1")])
        .attributes(&[int("align_corners", 0), string("mode", "linear"), string("padding_mode", "zeros")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let modes = [("nearest", Mode::Nearest), ("linear", Mode::Linear), ("cubic", Mode::Cubic)];
        let paddings = [("zeros", Padding::Zeros), ("border", Padding::Border), ("reflection", Padding::Reflection)];
        Ok(GridSample {
            mode: node.choice("mode", &modes)?,
            padding: node.choice("padding_mode", &paddings)?,
            align_corners: node.flag("align_corners")?,
        })
    }
}

impl Op for GridSample {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if x.dtype(0) == Some(DType::String) && self.mode != Mode::Nearest {
            return Err(InferError::new("strings cannot be interpolated"));
        }
        let (Some([n, c, space @ ..]), Some([grid_n, places @ .., axes])) = (x.shape(0), x.shape(1)) else {
            return Ok(vec![Fact::tensor(x.dtype(0))]);
        };
        if space.is_empty() || space.len() != places.len() {
            return Err(InferError(format!("a grid of {places:?} places does not fit the axes {space:?}")));
        }
        unify(axes, &Dim::known(space.len() as i64), "last axis of the grid")?;
        let mut dims = vec![unify(n, grid_n, "batch")?, c.clone()];
        dims.extend_from_slice(places);
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (x, grid) = (inputs.tensor(0)?, inputs.tensor(1)?);
        let y = match x.dtype() {
            DType::String => self.eval_strings(cx, x, grid),
            DType::Complex64 => self.eval_complex::<Complex64>(cx, x, grid),
            DType::Complex128 => self.eval_complex::<Complex128>(cx, x, grid),
            dtype if FLOATS.contains(dtype) => self.eval_real(cx, x.clone(), grid),
            _ => self.eval_whole(cx, x, grid),
        };
        y.map(Outputs::from)
    }
}

/// A complex number and its parts.
trait Complex: Element {
    /// What a part is.
    type Part: Number + Float;
    /// The real part and the imaginary one.
    fn parts(self) -> [Self::Part; 2];
    /// The number of these parts.
    fn of(parts: [Self::Part; 2]) -> Self;
}

macro_rules! complex {
    ($($number:ident of $part:ty),*) => {$(
        impl Complex for $number {
            type Part = $part;
            fn parts(self) -> [$part; 2] {
                [self.re, self.im]
            }
            fn of([re, im]: [$part; 2]) -> Self {
                $number { re, im }
            }
        }
    )*};
}

complex!(Complex64 of f32, Complex128 of f64);

/// What is read along one axis: elements, those outside left out, and their weights.
type Taps<T> = SmallVec<[(usize, T); 4]>;

impl GridSample {
    /// Elements that are whole numbers or bools are sampled as `double`, and fractions of results dropped.
    fn eval_whole(&self, cx: &mut EvalCx<'_>, x: &Tensor, grid: &Tensor) -> Result<Tensor, OpError> {
        let numbers = cast(cx, x.clone(), DType::F64, Rounding::new(true))?;
        let y = self.eval_real(cx, numbers, grid)?;
        cast(cx, y, x.dtype(), Rounding::new(true))
    }

    /// Real and imaginary parts are sampled one after the other.
    fn eval_complex<C: Complex>(&self, cx: &mut EvalCx<'_>, x: &Tensor, grid: &Tensor) -> Result<Tensor, OpError> {
        let numbers = x.as_slice::<C>()?;
        let mut parts = [Tensor::scalar(C::Part::ZERO), Tensor::scalar(C::Part::ZERO)];
        for (i, part) in parts.iter_mut().enumerate() {
            let mut of_x = cx.uninit::<C::Part>(x.shape().clone())?;
            of_x.iter_mut().zip(numbers).for_each(|(part, number)| *part = number.parts()[i]);
            *part = self.eval_real(cx, of_x.freeze(), grid)?;
        }
        let mut y = cx.uninit::<C>(parts[0].shape().clone())?;
        let [re, im] = [parts[0].as_slice()?, parts[1].as_slice()?];
        y.iter_mut().zip(re.iter().zip(im)).for_each(|(y, (&re, &im))| *y = C::of([re, im]));
        Ok(y.freeze())
    }

    /// Strings can be picked, not mixed: their places, counted from 1, are sampled, and 0 is the empty string.
    fn eval_strings(&self, cx: &mut EvalCx<'_>, x: &Tensor, grid: &Tensor) -> Result<Tensor, OpError> {
        if self.mode != Mode::Nearest {
            return Err(OpError::unsupported("interpolation of strings"));
        }
        let mut places = cx.uninit::<f64>(x.shape().clone())?;
        places.iter_mut().enumerate().for_each(|(i, place)| *place = (i + 1) as f64);
        let picked = self.eval_real(cx, places.freeze(), grid)?;
        let strings = x.as_strings()?;
        let pick =
            |&place: &f64| (place as usize).checked_sub(1).and_then(|i| strings.get(i)).cloned().unwrap_or_default();
        let y = picked.as_slice::<f64>()?.iter().map(pick).collect();
        Ok(Tensor::from_strings(picked.shape().clone(), y)?)
    }

    fn eval_real(&self, cx: &mut EvalCx<'_>, x: Tensor, grid: &Tensor) -> Result<Tensor, OpError> {
        let dtype = x.dtype();
        let inputs = Inputs::new([Some(x.into()), Some(grid.clone().into())]);
        let y = widened(cx, inputs, &[dtype], |cx, inputs| {
            let (x, grid) = (inputs.tensor(0)?, inputs.tensor(1)?);
            for_real!(x.dtype(), T => {
                for_dtypes!(grid.dtype(), G => Ok(self.sample::<T, G>(cx, x, grid)?.into()), [F32 = f32, F64 = f64])
            })
        })?;
        let y = y.into_values().pop().flatten().and_then(Value::into_tensor);
        y.ok_or_else(|| OpError::Internal("sampling gave no tensor".to_owned()))
    }

    fn sample<T: Number + Float, G: Number>(
        &self,
        cx: &EvalCx<'_>,
        x: &Tensor,
        grid: &Tensor,
    ) -> Result<Tensor, OpError> {
        let mismatch = || OpError::invalid(format!("a grid of shape {} does not fit {}", grid.shape(), x.shape()));
        let ([n, c, space @ ..], [grid_n, places @ .., axes]) = (x.shape().dims(), grid.shape().dims()) else {
            return Err(mismatch());
        };
        if n != grid_n || space.is_empty() || space.len() != places.len() || *axes != space.len() {
            return Err(mismatch());
        }
        if space.len() > MAX_AXES {
            return Err(OpError::unsupported(format!("GridSample along {} axes", space.len())));
        }
        let mut y = cx.uninit::<T>(Shape::new(&[&[*n, *c], places].concat())?)?;
        let (x, grid) = (x.as_slice::<T>()?, grid.as_slice::<G>()?);
        let (volume, count): (usize, usize) = (space.iter().product(), places.iter().product());
        for (place, coordinates) in grid.chunks_exact(space.len()).enumerate() {
            if place % 1024 == 0 {
                cx.check()?;
            }
            let reads = self.reads::<T, G>(space, coordinates);
            let (entry, place) = (place / count, place % count);
            for channel in entry * c..(entry + 1) * c {
                let source = &x[channel * volume..(channel + 1) * volume];
                y[channel * count + place] = reads.iter().fold(T::zero(), |sum, &(i, w)| sum + w * source[i]);
            }
        }
        Ok(y.freeze())
    }

    /// The elements of a volume of shape `space` that are read for one place of the grid, and their weights.
    fn reads<T: Number + Float, G: Number>(&self, space: &[usize], coordinates: &[G]) -> Vec<(usize, T)> {
        let mut reads = vec![(0, T::one())];
        for (&length, coordinate) in space.iter().zip(coordinates.iter().rev()) {
            let taps = self.taps(<T as Number>::from_f64(coordinate.to_f64()), length);
            let along = |&(offset, weight): &(usize, T)| {
                taps.iter().map(move |&(i, w)| (offset * length + i, weight * w)).collect::<Taps<T>>()
            };
            reads = reads.iter().flat_map(along).collect();
        }
        reads
    }

    fn taps<T: Number + Float>(&self, coordinate: T, length: usize) -> Taps<T> {
        let number = <T as Number>::from_f64;
        let (half, extent) = (number(0.5), number(length as f64));
        let (low, high) = if self.align_corners { (T::zero(), extent - T::one()) } else { (-half, extent - half) };
        let mut place = if self.align_corners {
            (coordinate + T::one()) * half * (extent - T::one())
        } else {
            ((coordinate + T::one()) * extent - T::one()) * half
        };
        if self.mode == Mode::Nearest {
            place = round_to_even(place);
        }
        if place < low || place > high {
            place = match self.padding {
                Padding::Zeros => place,
                Padding::Border => Float::max(T::zero(), Float::min(place, extent - T::one())),
                Padding::Reflection => reflect(place, low, high),
            };
        }
        let first = place.floor();
        let fraction = place - first;
        let start = Number::to_f64(first) as i64;
        let weights: SmallVec<[(i64, T); 4]> = match self.mode {
            Mode::Nearest => [(0, T::one())].into_iter().collect(),
            Mode::Linear => [(0, T::one() - fraction), (1, fraction)].into_iter().collect(),
            Mode::Cubic => (-1..3).zip(cubic_weights(fraction)).collect(),
        };
        let element = |(step, weight): (i64, T)| {
            let index = start.saturating_add(step);
            Some((self.element(index, length, Number::to_f64(low), Number::to_f64(high))?, weight))
        };
        weights.into_iter().filter_map(element).collect()
    }

    /// The element read for `index` on an axis of `length`; `None` for zero.
    fn element(&self, index: i64, length: usize, low: f64, high: f64) -> Option<usize> {
        let last = length.checked_sub(1)?;
        match (usize::try_from(index), self.padding) {
            (Ok(index), _) if index <= last => Some(index),
            (_, Padding::Zeros) => None,
            (Ok(_), Padding::Border) => Some(last),
            (Err(_), Padding::Border) => Some(0),
            (_, Padding::Reflection) => Some((reflect(index as f64, low, high).max(0.0) as usize).min(last)),
        }
    }
}

/// The nearest integer, the even one of two.
fn round_to_even<T: Float>(value: T) -> T {
    let rounded = value.round();
    let two = T::one() + T::one();
    let is_tie = (value - value.trunc()).abs() * two == T::one();
    if is_tie && (rounded / two).fract() != T::zero() { rounded - value.signum() } else { rounded }
}

/// `place` reflected at both ends until it lies between them.
fn reflect<T: Float>(place: T, low: T, high: T) -> T {
    let range = high - low;
    let beyond = if place < low { low - place } else { place - high };
    if range <= T::zero() || !beyond.is_finite() {
        return low;
    }
    if beyond <= T::zero() {
        return place;
    }
    let turns = (beyond / range).trunc();
    let rest = beyond - turns * range;
    let two = T::one() + T::one();
    let is_even = (turns / two).fract() == T::zero();
    if (place < low) == is_even { low + rest } else { high - rest }
}

/// The weights of four neighbours for a place `fraction` behind the second.
fn cubic_weights<T: Number + Float>(fraction: T) -> [T; 4] {
    let number = <T as Number>::from_f64;
    let (a, x) = (number(CUBIC_A), fraction);
    let near = |x: T| ((a + number(2.0)) * x - (a + number(3.0))) * x * x + T::one();
    let far = |x: T| ((a * x - number(5.0) * a) * x + number(8.0) * a) * x - number(4.0) * a;
    [far(x + T::one()), near(x), near(T::one() - x), far(number(2.0) - x)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    #[test]
    fn whole_numbers_drop_fractions() {
        let grid = tensor(&[1, 1, 2, 2], &[0f32, 0., -0.5, 0.]);
        let y = eval("GridSample", Attributes::new(), &[tensor(&[1, 1, 1, 3], &[1i32, -9, 7]), grid.clone()]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 1, 2], &[-9i32, -1]));
        let attributes = Attributes::new().with("mode", "nearest");
        let y = eval("GridSample", attributes, &[tensor(&[1, 1, 1, 3], &[true, false, true]), grid]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 1, 2], &[false, true]));
    }

    #[test]
    fn complex_numbers_and_strings_are_sampled() {
        let grid = tensor(&[1, 1, 3, 2], &[0f32, 0., -0.5, 0., 9., 0.]);
        let complex = |re: f64, im: f64| Complex128 { re, im };
        let x = tensor(&[1, 1, 1, 3], &[complex(1.0, 0.0), complex(2.0, 6.0), complex(3.0, 8.0)]);
        let y = eval("GridSample", Attributes::new(), &[x, grid.clone()]).unwrap();
        let expected = [complex(2.0, 6.0), complex(1.25, 0.0 + 0.25 * 6.0), complex(0.0, 0.0)];
        assert_eq!(y, tensor(&[1, 1, 1, 3], &expected));
        let shape = Shape::new(&[1, 1, 1, 3]).unwrap();
        let words = Tensor::from_strings(shape, ["a", "b", "c"].map(str::to_owned).to_vec()).unwrap();
        let nearest = Attributes::new().with("mode", "nearest");
        let y = eval("GridSample", nearest, &[words.clone(), grid.clone()]).unwrap();
        assert_eq!(y.as_strings().unwrap(), ["b", "a", ""]);
        assert!(eval("GridSample", Attributes::new(), &[words, grid]).is_err());
    }

    #[test]
    fn places_outside_are_padded() {
        let x = tensor(&[1, 1, 1, 3], &[1f32, 2., 3.]);
        let places = [-1f32, 0., -0.5, 0., 0., 0., 2., 0., f32::NAN, 0., f32::INFINITY, 0.];
        let grid = tensor(&[1, 1, 6, 2], &places);
        for (padding, expected) in [
            ("zeros", [0.5f32, 1.25, 2.0, 0.0]),
            ("border", [1.0, 1.25, 2.0, 3.0]),
            ("reflection", [1.0, 1.25, 2.0, 2.0]),
        ] {
            let y = eval("GridSample", Attributes::new().with("padding_mode", padding), &[x.clone(), grid.clone()]);
            assert_eq!(y.unwrap().as_slice::<f32>().unwrap()[..4], expected, "{padding}");
        }
        let nearest = Attributes::new().with("mode", "nearest").with("align_corners", 1i64);
        let y =
            eval("GridSample", nearest, &[x.clone(), tensor(&[1, 1, 3, 2], &[-0.5f32, 0., 0.5, 0., 0.6, 0.])]).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [1.0, 3.0, 3.0]);
        assert!(eval("GridSample", Attributes::new(), &[x, tensor(&[1, 1, 1, 3], &[0f32; 3])]).is_err());
    }

    #[test]
    fn cubic_weights_sum_to_one() {
        for fraction in [0.0, 0.25, 0.9] {
            approx::assert_relative_eq!(cubic_weights::<f64>(fraction).iter().sum::<f64>(), 1.0, epsilon = 1e-12);
        }
        assert_eq!(cubic_weights(0f32), [0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn ties_go_to_the_even_neighbour() {
        assert_eq!([0.5, 1.5, 2.5, -0.5, -1.5, 2.4].map(round_to_even::<f64>), [0.0, 2.0, 2.0, 0.0, -2.0, 2.0]);
    }
}
