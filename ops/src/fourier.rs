//! Discrete Fourier transforms, which `DFT` and `STFT` are made of, in `f64` whatever the dtype.

use planish_ir::{EvalCx, OpError};
use planish_tensor::Reservation;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftPlanner};
use std::sync::Arc;

/// A complex number as transforms take and give it.
pub type Number = Complex<f64>;

/// What planning a transform may keep for each of its numbers: factors of its own, and those of a longer transform of a
/// friendlier length.
const NUMBERS_PLANNED: usize = 12;

/// A transform of one length, charged for what it keeps.
pub struct Transform {
    fft: Arc<dyn Fft<f64>>,
    _charge: Reservation,
}

impl Transform {
    /// The transform of `length` numbers, without the inverse's factor of 1 / `length`.
    pub fn new(cx: &EvalCx<'_>, length: usize, is_inverse: bool) -> Result<Transform, OpError> {
        if length == 0 {
            return Err(OpError::invalid("a transform of no elements"));
        }
        let each = (NUMBERS_PLANNED + 3 * cx.threads.count()) * size_of::<Number>();
        let charge = cx.memory.reserve(length.saturating_mul(each))?;
        let direction = if is_inverse { FftDirection::Inverse } else { FftDirection::Forward };
        Ok(Transform { fft: FftPlanner::new().plan_fft(length, direction), _charge: charge })
    }

    /// A line of numbers to transform in place, again and again.
    pub fn line(&self) -> Line<'_> {
        let scratch = vec![Number::default(); self.fft.get_inplace_scratch_len()];
        Line { transform: self, numbers: vec![Number::default(); self.fft.len()], scratch }
    }

    /// The time that one number takes on one core.
    pub fn ns_per_number(&self) -> f64 {
        2.0 * (self.fft.len() as f64).log2() + 4.0
    }
}

/// Numbers that are transformed together.
pub struct Line<'a> {
    transform: &'a Transform,
    /// As many as the transform's length.
    pub numbers: Vec<Number>,
    scratch: Vec<Number>,
}

impl Line<'_> {
    /// Replaces the numbers by their transform.
    pub fn transform(&mut self) {
        self.transform.fft.process_with_scratch(&mut self.numbers, &mut self.scratch);
    }
}
