//! `MelWeightMatrix`: triangles that gather the bins of a spectrum into bands of equal width on the mel scale,
//! mel(f) = 2595 log₁₀(1 + f / 700).
//!
//! Opsets: 17.

use crate::Define;
use crate::dtypes::{Number, for_float, for_numeric};
use planish_ir::{
    AttributeError, Dim, EvalCx, FLOATS, Fact, Facts, INDICES, InferError, Inputs, NUMERIC, NodeView, Op, OpError,
    Outputs, Schema, arg, int,
};
use planish_tensor::{DType, Shape, Tensor};

/// `MelWeightMatrix`.
#[derive(Debug)]
pub struct MelWeightMatrix {
    dtype: DType,
}

impl Define for MelWeightMatrix {
    const SCHEMA: Schema = Schema::new("MelWeightMatrix", 17)
        .inputs(&[
            arg("num_mel_bins", INDICES).var("T1"),
            arg("dft_length", INDICES).var("T1"),
            arg("sample_rate", INDICES).var("T1"),
            arg("lower_edge_hertz", FLOATS).var("T2"),
            arg("upper_edge_hertz", FLOATS).var("T2"),
        ])
        .outputs(&[arg("output", NUMERIC).var("T3")])
        .attributes(&[int("output_datatype", 1)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let dtype = node.dtype("output_datatype")?;
        if !NUMERIC.contains(dtype) {
            return Err(AttributeError::invalid(format!("attribute \"output_datatype\": no weights are of {dtype}")));
        }
        Ok(MelWeightMatrix { dtype })
    }
}

impl Op for MelWeightMatrix {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let scalar = |index| x.elements(index).and_then(|e| e.first().cloned()).unwrap_or_else(Dim::unknown);
        Ok(vec![Fact::shaped(Some(self.dtype), vec![scalar(1).floor_div(2) + 1, scalar(0)])])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let count = |index: usize| {
            let value = inputs.int(index)?;
            usize::try_from(value).map_err(|_| OpError::invalid(format!("input {index} is {value}, which is negative")))
        };
        let edge = |index: usize| {
            let x = inputs.tensor(index)?;
            for_float!(x.dtype(), T => Ok::<f64, OpError>(inputs.scalar::<T>(index)?.to_f64()))
        };
        let bands =
            Bands { count: count(0)?, dft_length: count(1)?, sample_rate: count(2)?, low: edge(3)?, high: edge(4)? };
        Ok(for_numeric!(self.dtype, T => bands.weights::<T>(cx))?.into())
    }
}

fn mel(hertz: f64) -> f64 {
    2595.0 * (hertz / 700.0).ln_1p() / 10f64.ln()
}

fn hertz(mel: f64) -> f64 {
    700.0 * (mel / 2595.0 * 10f64.ln()).exp_m1()
}

/// Bands of equal width on the mel scale.
struct Bands {
    count: usize,
    dft_length: usize,
    sample_rate: usize,
    /// The lower edge of the first band, in hertz.
    low: f64,
    /// The upper edge of the last one, in hertz.
    high: f64,
}

impl Bands {
    /// The bin of edge `i`. Edges are apart by the range over their number, as the standard's reference has it, so that the
    /// last lies below `high`.
    fn edge(&self, i: usize) -> Result<usize, OpError> {
        let low = mel(self.low);
        let step = (mel(self.high) - low) / (self.count + 2) as f64;
        let bin = ((self.dft_length as f64 + 1.0) * hertz(i as f64 * step + low) / self.sample_rate as f64).floor();
        if bin >= 0.0 && bin <= (self.dft_length / 2) as f64 {
            return Ok(bin as usize);
        }
        let Bands { dft_length, sample_rate, low, high, .. } = self;
        Err(OpError::invalid(format!(
            "bands from {low} to {high} Hz do not fit the spectrum of {dft_length} samples at {sample_rate} Hz"
        )))
    }

    fn weights<T: Number>(&self, cx: &EvalCx<'_>) -> Result<Tensor, OpError> {
        let mut y = cx.zeros::<T>(Shape::new(&[self.dft_length / 2 + 1, self.count])?)?;
        for i in 0..self.count {
            cx.check()?;
            let (left, center, right) = (self.edge(i)?, self.edge(i + 1)?, self.edge(i + 2)?);
            let mut set = |bin: usize, weight: f64| y[bin * self.count + i] = T::from_f64(weight);
            if left == center {
                set(center, 1.0);
            }
            let slope = |from: usize, over: usize| from as f64 / over as f64;
            (left..=center).filter(|_| left < center).for_each(|bin| set(bin, slope(bin - left, center - left)));
            (center..right).for_each(|bin| set(bin, slope(right - bin, right - center)));
        }
        Ok(y.freeze())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::{Attributes, OpError};
    use planish_tensor::Tensor;

    fn matrix(counts: [i64; 3], edges: [f32; 2]) -> Result<Tensor, OpError> {
        let inputs: Vec<Tensor> =
            counts.iter().map(|&n| tensor(&[], &[n])).chain(edges.iter().map(|&f| tensor(&[], &[f]))).collect();
        eval("MelWeightMatrix", Attributes::new(), &inputs)
    }

    #[test]
    fn every_band_peaks_at_one() {
        let weights = matrix([8, 64, 8192], [0.0, 4096.0]).unwrap();
        assert_eq!(weights.shape().dims(), &[33, 8]);
        let weights = weights.as_slice::<f32>().unwrap();
        for band in 0..8 {
            let column = weights.iter().skip(band).step_by(8);
            assert_eq!(column.copied().fold(0.0, f32::max), 1.0);
        }
    }

    #[test]
    fn bands_outside_the_spectrum_are_refused() {
        for (counts, edges) in [
            ([4, 16, 8000], [0.0, 1e6]),
            ([4, 16, 0], [0.0, 4000.0]),
            ([-1, 16, 8000], [0.0, 4000.0]),
            ([4, 16, 8000], [f32::NAN, 4000.0]),
            ([4, 16, 8000], [-900.0, 4000.0]),
        ] {
            assert!(matrix(counts, edges).is_err(), "{counts:?} {edges:?}");
        }
    }
}
