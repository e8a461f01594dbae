//! `DFT`: y\[k\] = Σ e^(−2πi·kn/N) x\[n\] along one axis; the inverse has the other sign and a factor of 1/N.
//!
//! The last axis holds a real part and, where it is of two elements, an imaginary one. `dft_length` cuts the axis off or
//! continues it by zeros. `onesided` leaves out what symmetry says: of a forward transform's result the second half; an
//! inverse one is given that half and has a real result.
//!
//! Transforms are computed in `f64`, but the inverse of `float` in `f32`: ONNX's reference evaluator does so, and its tests
//! of inverse transforms expect the rounding errors of `f32`, 1.9e-7, where a result is zero.
//!
//! Opsets: 17 has the attribute `axis`, 1 by default; 20 makes it an input, −2 by default.

use crate::Define;
use crate::dtypes::{Number, for_float};
use crate::fourier::{Line, Transform};
use crate::parallel;
use num_traits::Float;
use planish_ir::{
    AttributeError, Axis, Dim, EvalCx, FLOATS, Fact, Facts, INDICES, INT64, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, int, opt,
};
use planish_tensor::{DType, Shape, Tensor};
use rustfft::FftNum;
use rustfft::num_complex::Complex;

/// `DFT`.
#[derive(Debug)]
pub struct Dft {
    is_inverse: bool,
    is_onesided: bool,
}

impl Define for Dft {
    const SCHEMA: Schema = Schema::new("DFT", 20)
        .inputs(&[arg("input", FLOATS).var("T1"), opt("dft_length", INDICES).var("T2"), opt("axis", INT64)])
        .outputs(&[arg("output", FLOATS).var("T1")])
        .attributes(&[int("inverse", 0), int("onesided", 0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Dft { is_inverse: node.flag("inverse")?, is_onesided: node.flag("onesided")? })
    }
}

/// The axis that an index names, which is not the last.
fn signal_axis(index: i64, rank: usize) -> Result<usize, InferError> {
    let axis = Axis::new(index).resolve(rank)?;
    if axis + 1 == rank {
        return Err(InferError(format!("axis {index} is the one of real and imaginary parts")));
    }
    Ok(axis)
}

impl Dft {
    /// Whether the result is real: the inverse of half a spectrum.
    fn is_real(&self) -> bool {
        self.is_onesided && self.is_inverse
    }

    /// Parts of a number of the result.
    fn parts(&self) -> usize {
        if self.is_real() { 1 } else { 2 }
    }
}

impl Op for Dft {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let mut dims = shape.to_vec();
        let Some(parts) = dims.last_mut() else { return Err(InferError::new("expected an input of rank 2 or more")) };
        *parts = Dim::known(self.parts() as i64);
        let axis = if x.has(2) { x.known_ints(2).and_then(|axis| axis.first().copied()) } else { Some(-2) };
        let Some(axis) = axis else {
            dims[..shape.len() - 1].fill_with(Dim::unknown);
            return Ok(vec![Fact::shaped(x.dtype(0), dims)]);
        };
        let axis = signal_axis(axis, shape.len())?;
        let length = match x.elements(1) {
            Some(elements) => elements.first().cloned().unwrap_or_else(Dim::unknown),
            None if x.has(1) => Dim::unknown(),
            None if self.is_real() => (&shape[axis] - 1) * 2,
            None => shape[axis].clone(),
        };
        dims[axis] = if self.is_onesided && !self.is_inverse { length.floor_div(2) + 1 } else { length };
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let axis = signal_axis(if inputs.has(2) { inputs.int(2)? } else { -2 }, x.rank())?;
        let given = if inputs.has(1) { Some(inputs.int(1)?) } else { None };
        let length = match given {
            Some(length) => {
                usize::try_from(length).map_err(|_| OpError::invalid(format!("a transform of {length} elements")))?
            }
            None if self.is_real() => x.shape()[axis].saturating_sub(1) * 2,
            None => x.shape()[axis],
        };
        if self.is_inverse && x.dtype() == DType::F32 {
            return Ok(self.transform::<f32, f32>(cx, x, axis, length)?.into());
        }
        Ok(for_float!(x.dtype(), T => self.transform::<T, f64>(cx, x, axis, length))?.into())
    }
}

impl Dft {
    fn transform<T: Number, F: FftNum + Float>(
        &self,
        cx: &EvalCx<'_>,
        x: &Tensor,
        axis: usize,
        length: usize,
    ) -> Result<Tensor, OpError> {
        let mut dims = x.shape().dims().to_vec();
        let given = Lines {
            length: dims[axis],
            inner: dims[axis + 1..dims.len() - 1].iter().product(),
            parts: dims[dims.len() - 1],
        };
        if given.parts != 1 && given.parts != 2 {
            return Err(OpError::invalid(format!("expected a last axis of 1 or 2 elements, got {}", given.parts)));
        }
        dims[axis] = if self.is_onesided && !self.is_inverse { length / 2 + 1 } else { length };
        let made = Lines { length: dims[axis], parts: self.parts(), ..given };
        if let Some(parts) = dims.last_mut() {
            *parts = made.parts;
        }
        let transform = Transform::<F>::new(cx, length, self.is_inverse)?;
        let mut y = cx.uninit::<T>(Shape::new(&dims)?)?;
        let x = x.as_slice::<T>()?;
        parallel::fill_units(cx, &mut y, made.block(), transform.ns_per_number(), |start, y| {
            let mut line = transform.line();
            for (block, y) in (start / made.block()..).zip(y.chunks_exact_mut(made.block())) {
                let x = &x[block * given.block()..][..given.block()];
                for i in 0..given.inner {
                    given.read(x, i, &mut line);
                    if self.is_real() {
                        complete(&mut line);
                    }
                    line.transform();
                    made.write(&line, if self.is_inverse { 1.0 / length as f64 } else { 1.0 }, i, y);
                }
            }
        })?;
        Ok(y.freeze())
    }
}

/// Numbers along an axis, with `inner` such lines side by side.
#[derive(Clone, Copy)]
struct Lines {
    length: usize,
    inner: usize,
    /// One of a real number, two of a complex one.
    parts: usize,
}

impl Lines {
    /// Elements of all lines that lie side by side.
    fn block(&self) -> usize {
        self.length * self.inner * self.parts
    }

    /// Reads line `i`, cut off or continued by zeros.
    fn read<T: Number, F: FftNum + Float>(&self, x: &[T], i: usize, line: &mut Line<'_, F>) {
        line.numbers.fill(Complex { re: F::zero(), im: F::zero() });
        for (k, number) in line.numbers.iter_mut().take(self.length).enumerate() {
            let at = (k * self.inner + i) * self.parts;
            number.re = real(x[at].to_f64());
            if self.parts == 2 {
                number.im = real(x[at + 1].to_f64());
            }
        }
    }

    /// Writes line `i`.
    fn write<T: Number, F: Float>(&self, line: &Line<'_, F>, factor: f64, i: usize, y: &mut [T]) {
        for (k, number) in line.numbers.iter().take(self.length).enumerate() {
            let at = (k * self.inner + i) * self.parts;
            y[at] = element(number.re, factor);
            if self.parts == 2 {
                y[at + 1] = element(number.im, factor);
            }
        }
    }
}

/// A number in the precision of a transform.
fn real<F: Float>(value: f64) -> F {
    F::from(value).unwrap_or_else(F::nan)
}

/// A number out of a transform, times `factor`.
fn element<T: Number>(value: impl Float, factor: f64) -> T {
    T::from_f64(value.to_f64().unwrap_or(f64::NAN) * factor)
}

/// The second half of a real signal's spectrum, from the first.
fn complete<F: FftNum + Float>(line: &mut Line<'_, F>) {
    let n = line.numbers.len();
    line.numbers[0].im = F::zero();
    for k in 1..n.div_ceil(2) {
        line.numbers[n - k] = line.numbers[k].conj();
    }
    if n.is_multiple_of(2) {
        line.numbers[n / 2].im = F::zero();
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval_all, infer, shaped, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::{DType, Tensor};
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    fn dft(attributes: &[(&str, i64)], x: Tensor, length: Option<i64>, axis: i64) -> Result<Tensor, OpError> {
        let attributes = attributes.iter().fold(Attributes::new(), |all, &(name, value)| all.with(name, value));
        let inputs = [Some(x), length.map(|n| tensor(&[], &[n])), Some(tensor(&[], &[axis]))];
        Ok(eval_all("", "DFT", attributes, &inputs, 1)?.remove(0))
    }

    /// The definition over complex numbers.
    fn definition(x: &[[f64; 2]], sign: f64) -> Vec<[f64; 2]> {
        let n = x.len() as f64;
        let term = |k: usize, i: usize, [re, im]: [f64; 2]| {
            let (sin, cos) = (sign * TAU * (k * i) as f64 / n).sin_cos();
            [re * cos - im * sin, re * sin + im * cos]
        };
        let sum = |a: [f64; 2], b: [f64; 2]| [a[0] + b[0], a[1] + b[1]];
        (0..x.len()).map(|k| x.iter().enumerate().map(|(i, &v)| term(k, i, v)).fold([0.0; 2], sum)).collect()
    }

    proptest! {
        #[test]
        fn transforms_are_as_defined(numbers in prop::collection::vec([-1.0..1.0f64, -1.0..1.0], 1..20)) {
            let x = tensor(&[1, numbers.len(), 2], numbers.as_flattened());
            let y = dft(&[], x, None, 1).unwrap();
            approx::assert_abs_diff_eq!(y.as_slice::<f64>().unwrap(), definition(&numbers, -1.0).as_flattened(), epsilon = 1e-12);
            let back = dft(&[("inverse", 1)], y, None, -2).unwrap();
            approx::assert_abs_diff_eq!(back.as_slice::<f64>().unwrap(), numbers.as_flattened(), epsilon = 1e-12);
        }

        #[test]
        fn half_a_spectrum_is_enough_of_a_real_signal(x in prop::collection::vec(-1.0..1.0f32, 1..20)) {
            let signal = tensor(&[x.len(), 1], &x);
            let half = dft(&[("onesided", 1)], signal.clone(), None, 0).unwrap();
            prop_assert_eq!(half.shape().dims(), &[x.len() / 2 + 1, 2]);
            let inverse = [("onesided", 1), ("inverse", 1)];
            let back = dft(&inverse, half.clone(), Some(x.len() as i64), 0).unwrap();
            approx::assert_abs_diff_eq!(back.as_slice::<f32>().unwrap(), &x[..], epsilon = 1e-5);
            if x.len() % 2 == 0 {
                let back = dft(&inverse, half, None, 0).unwrap();
                prop_assert_eq!(back.shape(), signal.shape());
            }
        }
    }

    /// What ONNX's `test_dft_inverse` expects of a column.
    #[test]
    fn the_inverse_of_float_has_the_rounding_of_float() {
        let x: Vec<f32> = (0..10).flat_map(|i| [10.0 * i as f32, 0.0]).collect();
        let y = dft(&[("inverse", 1)], tensor(&[10, 2], &x), None, 0).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap()[10..12], [-5.0, 1.907_348_6e-7]);
    }

    #[test]
    fn lines_lie_along_any_axis_and_are_cut_or_continued() {
        let x = tensor(&[2, 2, 1], &[1f32, 2., 3., 4.]);
        let y = dft(&[], x.clone(), None, 0).unwrap();
        assert_eq!(y, tensor(&[2, 2, 2], &[4f32, 0., 6., 0., -2., 0., -2., 0.]));
        assert_eq!(dft(&[], x.clone(), Some(1), 1).unwrap(), tensor(&[2, 1, 2], &[1f32, 0., 3., 0.]));
        let longer = dft(&[("onesided", 1)], x, Some(4), 1).unwrap();
        assert_eq!(longer, tensor(&[2, 3, 2], &[3f32, 0., 1., -2., -1., 0., 7., 0., 3., -4., -1., 0.]));
    }

    #[test]
    fn nonsense_is_refused() {
        let x = tensor(&[2, 2, 1], &[0f32; 4]);
        for (length, axis) in [(Some(0), 0), (Some(-3), 0), (None, -1), (None, 3), (Some(i64::MAX), 0)] {
            assert!(dft(&[], x.clone(), length, axis).is_err());
        }
        assert!(dft(&[], tensor(&[2, 3], &[0f32; 6]), None, 0).is_err());
    }

    #[test]
    fn shapes_follow_symbols() {
        let attributes = Attributes::new().with("onesided", 1i64);
        let y = infer("DFT", attributes, &[shaped(DType::F32, "b, n, 1"), elements("k")]).unwrap();
        assert_eq!(y, shaped(DType::F32, "b, k / 2 + 1, 2"));
    }
}
