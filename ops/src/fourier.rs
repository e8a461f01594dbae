//! Discrete Fourier transforms, which `DFT` and `STFT` are made of, in a precision of their own.

use num_traits::Float;
use planish_ir::{EvalCx, OpError};
use planish_tensor::Reservation;
use rustfft::algorithm::MixedRadix;
use rustfft::algorithm::butterflies::Butterfly2;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftNum, FftPlanner};
use std::sync::Arc;

/// What planning a transform may keep for each of its numbers: factors of its own, and those of a longer transform of a
/// friendlier length.
const NUMBERS_PLANNED: usize = 12;

/// A transform of one length, charged for what it keeps.
pub struct Transform<F> {
    fft: Arc<dyn Fft<F>>,
    _charge: Reservation,
}

impl<F: FftNum + Float> Transform<F> {
    /// The transform of `length` numbers, without the inverse's factor of 1 / `length`.
    pub fn new(cx: &EvalCx<'_>, length: usize, is_inverse: bool) -> Result<Transform<F>, OpError> {
        if length == 0 {
            return Err(OpError::invalid("a transform of no elements"));
        }
        let each = (NUMBERS_PLANNED + 3 * cx.threads.count()) * size_of::<Complex<F>>();
        let charge = cx.memory.reserve(length.saturating_mul(each))?;
        let direction = if is_inverse { FftDirection::Inverse } else { FftDirection::Forward };
        Ok(Transform { fft: plan(length, direction), _charge: charge })
    }

    /// A line of numbers to transform in place, again and again.
    pub fn line(&self) -> Line<'_, F> {
        let zero = Complex { re: F::zero(), im: F::zero() };
        let scratch = vec![zero; self.fft.get_inplace_scratch_len()];
        Line { transform: self, numbers: vec![zero; self.fft.len()], scratch }
    }

    /// The time that one number takes on one core.
    pub fn ns_per_number(&self) -> f64 {
        2.0 * (self.fft.len() as f64).log2() + 4.0
    }
}

/// Twice an odd length goes by the radix 2 first, the order of the transform that ONNX's reference evaluator uses.
fn plan<F: FftNum>(length: usize, direction: FftDirection) -> Arc<dyn Fft<F>> {
    let mut planner = FftPlanner::new();
    if length % 4 != 2 || length == 2 {
        return planner.plan_fft(length, direction);
    }
    let odd = planner.plan_fft(length / 2, direction);
    Arc::new(MixedRadix::new(odd, Arc::new(Butterfly2::new(direction))))
}

/// Numbers that are transformed together.
pub struct Line<'a, F> {
    transform: &'a Transform<F>,
    /// As many as the transform's length.
    pub numbers: Vec<Complex<F>>,
    scratch: Vec<Complex<F>>,
}

impl<F: FftNum> Line<'_, F> {
    /// Replaces the numbers by their transform.
    pub fn transform(&mut self) {
        self.transform.fft.process_with_scratch(&mut self.numbers, &mut self.scratch);
    }
}
