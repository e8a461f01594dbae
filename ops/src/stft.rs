//! `STFT`: the Fourier transforms of frames that slide over a signal, each weighted by a window.
//!
//! `onesided` leaves out the half of each spectrum that a real signal's symmetry says. A signal without an axis of real and
//! imaginary parts is a real one, as PyTorch exports it.
//!
//! Opsets: 17.

use crate::Define;
use crate::dtypes::{Number, for_float};
use crate::fourier::Transform;
use crate::parallel;
use crate::symbolic::expect_rank;
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, INDICES, InferError, Inputs, NodeView, Op, OpError, Outputs,
    Schema, arg, int, opt,
};
use planish_tensor::{Shape, Tensor};

/// `STFT`.
#[derive(Debug)]
pub struct Stft {
    is_onesided: bool,
}

impl Define for Stft {
    const SCHEMA: Schema = Schema::new("STFT", 17)
        .inputs(&[
            arg("signal", FLOATS).var("T1"),
            arg("frame_step", INDICES).var("T2"),
            opt("window", FLOATS).var("T1"),
            opt("frame_length", INDICES).var("T2"),
        ])
        .outputs(&[arg("output", FLOATS).var("T1")])
        .attributes(&[int("onesided", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Stft { is_onesided: node.flag("onesided")? })
    }
}

impl Op for Stft {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        expect_rank(x, 2, 1)?;
        let scalar = |index| x.elements(index).and_then(|e| e.first().cloned()).unwrap_or_else(Dim::unknown);
        let (batch, signal) = match x.shape(0) {
            Some([batch, signal] | [batch, signal, _]) => (batch.clone(), signal.clone()),
            Some(shape) => {
                return Err(InferError(format!("input 0: expected rank 3, got {shape:?}")));
            }
            None => (Dim::unknown(), Dim::unknown()),
        };
        let length = match x.shape(2) {
            _ if x.has(3) => scalar(3),
            Some([window]) => window.clone(),
            _ if x.has(2) => Dim::unknown(),
            _ => signal.clone(),
        };
        let frames = match scalar(1) {
            step if step.as_known().is_some_and(|step| step <= 0) => {
                return Err(InferError(format!("frame_step is {step}, which is not positive")));
            }
            step => (signal - &length).floor_div(step) + 1,
        };
        let bins = if self.is_onesided { length.floor_div(2) + 1 } else { length };
        Ok(vec![Fact::shaped(x.dtype(0), vec![batch, frames, bins, Dim::known(2)])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let (signal, window) = (inputs.tensor(0)?, inputs.opt_tensor(2)?);
        let (&[_, samples, 1 | 2] | &[_, samples]) = signal.shape().dims() else {
            let got = signal.shape();
            return Err(OpError::invalid(format!("expected a signal of shape [batch, length, 1 or 2], got {got}")));
        };
        let positive = |index: usize, what: &str| {
            let value = inputs.int(index)?;
            let checked = usize::try_from(value).ok().filter(|&v| v > 0);
            checked.ok_or_else(|| OpError::invalid(format!("{what} is {value}, which is not positive")))
        };
        let step = positive(1, "frame_step")?;
        let length = match window {
            _ if inputs.has(3) => positive(3, "frame_length")?,
            Some(window) => window.num_elements(),
            None => samples,
        };
        if let Some(window) = window.filter(|window| window.shape().dims() != [length]) {
            return Err(OpError::invalid(format!("a window of {} does not fit frames of {length}", window.shape())));
        }
        if length > samples {
            return Err(OpError::invalid(format!("frames of {length} are longer than the signal, {samples}")));
        }
        Ok(for_float!(signal.dtype(), T => self.transform::<T>(cx, signal, step, window, length))?.into())
    }
}

impl Stft {
    fn transform<T: Number>(
        &self,
        cx: &EvalCx<'_>,
        signal: &Tensor,
        step: usize,
        window: Option<&Tensor>,
        length: usize,
    ) -> Result<Tensor, OpError> {
        let (batch, samples, parts) =
            (signal.shape()[0], signal.shape()[1], signal.shape().get(2).copied().unwrap_or(1));
        let frames = (samples - length) / step + 1;
        let bins = if self.is_onesided { length / 2 + 1 } else { length };
        let transform = Transform::<f64>::new(cx, length, false)?;
        let mut y = cx.uninit::<T>(Shape::new(&[batch, frames, bins, 2])?)?;
        let x = signal.as_slice::<T>()?;
        let window = window.map(|window| window.as_slice::<T>()).transpose()?;
        let weight = |k: usize| window.map_or(1.0, |window| window[k].to_f64());
        parallel::fill_units(cx, &mut y, bins * 2, transform.ns_per_number(), |start, y| {
            let mut line = transform.line();
            for (frame, y) in (start / (bins * 2)..).zip(y.chunks_exact_mut(bins * 2)) {
                let first = (frame / frames * samples + frame % frames * step) * parts;
                let numbers = x[first..first + length * parts].chunks_exact(parts);
                for (k, (number, x)) in line.numbers.iter_mut().zip(numbers).enumerate() {
                    let weight = weight(k);
                    number.re = x[0].to_f64() * weight;
                    number.im = x.get(1).map_or(0.0, |im| im.to_f64() * weight);
                }
                line.transform();
                for (y, number) in y.chunks_exact_mut(2).zip(&line.numbers) {
                    y.copy_from_slice(&[T::from_f64(number.re), T::from_f64(number.im)]);
                }
            }
        })?;
        Ok(y.freeze())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval_all, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::{Shape, Tensor};

    fn stft(onesided: i64, inputs: [Option<Tensor>; 4]) -> Result<Tensor, OpError> {
        Ok(eval_all("", "STFT", Attributes::new().with("onesided", onesided), &inputs, 1)?.remove(0))
    }

    #[test]
    fn frames_slide_and_are_weighted() {
        let signal = tensor(&[1, 5, 1], &[1f32, 2., 3., 4., 5.]);
        let (step, window) = (tensor(&[], &[2i64]), tensor(&[2], &[1f32, 10.]));
        let y = stft(0, [Some(signal.clone()), Some(step.clone()), Some(window.clone()), None]).unwrap();
        assert_eq!(y, tensor(&[1, 2, 2, 2], &[21f32, 0., -19., 0., 43., 0., -37., 0.]));
        let flat = signal.reshaped(Shape::new(&[1, 5]).unwrap()).unwrap();
        assert_eq!(stft(0, [Some(flat), Some(step.clone()), Some(window), None]).unwrap(), y);
        let y = stft(1, [Some(signal), Some(step), None, Some(tensor(&[], &[4i64]))]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 3, 2], &[10f32, 0., -2., 2., -2., 0.]));
    }

    #[test]
    fn a_complex_signal_keeps_both_parts() {
        let signal = tensor(&[1, 2, 2], &[1f64, 2., 3., 4.]);
        let y = stft(0, [Some(signal), Some(tensor(&[], &[1i64])), None, None]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2, 2], &[4f64, 6., -2., -2.]));
    }

    #[test]
    fn nonsense_is_refused() {
        let signal = || Some(tensor(&[1, 4, 1], &[0f32; 4]));
        let int = |v: i64| Some(tensor(&[], &[v]));
        let window = || Some(tensor(&[3], &[0f32; 3]));
        for inputs in [
            [signal(), int(0), None, None],
            [signal(), int(-1), None, int(2)],
            [signal(), int(1), None, int(0)],
            [signal(), int(1), None, int(5)],
            [signal(), int(1), window(), int(2)],
            [Some(tensor(&[1, 4, 3], &[0f32; 12])), int(1), None, int(2)],
            [Some(tensor(&[4], &[0f32; 4])), int(1), None, int(2)],
        ] {
            assert!(stft(1, inputs).is_err());
        }
    }
}
