//! `RoiAlign` and `MaxRoiPool`: regions of an image, each reduced to a grid of bins of the same size.
//!
//! `RoiAlign` samples each bin at regular points, interpolating; `MaxRoiPool` takes the greatest of its pixels.
//!
//! Opsets: `RoiAlign` 10; 16 adds `coordinate_transformation_mode` (10 is `output_half_pixel`); 22 adds `bfloat16`.
//! `MaxRoiPool` 1; 22 adds dtypes.

use crate::Define;
use crate::dtypes::Number;
use crate::half::{for_real, widened};
use crate::indices::checked_index;
use crate::parallel;
use crate::symbolic::{expect_rank, unify};
use num_traits::Float;
use planish_ir::{
    AttributeError, AttributeKind, Dim, EvalCx, FLOATS, Fact, Facts, INT64, InferError, Inputs, NodeView, Op, OpError,
    Outputs, Schema, arg, float, int, required, string,
};
use planish_tensor::{Shape, Tensor};

/// The estimated cost of one interpolated sample.
const NS_PER_SAMPLE: f64 = 3.0;
/// The most samples along one axis of a bin: regions that ask for more are nonsense.
const MAX_SAMPLES: f64 = 65536.0;

/// `RoiAlign`.
#[derive(Debug)]
pub struct RoiAlign {
    /// Whether a bin is the greatest of its weighted samples; else their mean.
    is_max: bool,
    /// Whether pixel centers are half a pixel in.
    is_half_pixel: bool,
    pooled: [usize; 2],
    /// Samples along each axis of a bin; 0 for as many as it has pixels.
    sampling_ratio: usize,
    spatial_scale: f32,
}

/// `MaxRoiPool`.
#[derive(Debug)]
pub struct MaxRoiPool {
    pooled: [usize; 2],
    spatial_scale: f32,
}

fn extent(name: &str, value: i64, least: usize) -> Result<usize, AttributeError> {
    let checked = usize::try_from(value).ok().filter(|&v| v >= least);
    checked
        .ok_or_else(|| AttributeError::invalid(format!("attribute {name:?}: expected at least {least}, got {value}")))
}

/// What is known of the output: a grid for each region and channel.
fn pooled_fact(x: &Facts<'_>, pooled: [usize; 2]) -> Result<Fact, InferError> {
    expect_rank(x, 0, 4)?;
    expect_rank(x, 1, 2)?;
    let at = |input: usize, axis: usize| x.shape(input).map_or_else(Dim::unknown, |shape| shape[axis].clone());
    let dims = vec![at(1, 0), at(0, 1), Dim::known(pooled[0] as i64), Dim::known(pooled[1] as i64)];
    Ok(Fact::shaped(x.dtype(0), dims))
}

/// Images as `[batch, channels, height, width]`, and regions of `columns` numbers each.
fn image_and_regions<'a, T: Number>(
    x: &'a Tensor,
    rois: &'a Tensor,
    columns: usize,
) -> Result<([usize; 4], &'a [T], &'a [T]), OpError> {
    match (<[usize; 4]>::try_from(x.shape().dims()), rois.shape().dims()) {
        (Ok(dims), [_, width]) if *width == columns => Ok((dims, x.as_slice()?, rois.as_slice()?)),
        _ => Err(OpError::invalid(format!(
            "expected images of rank 4 and regions [n, {columns}], got {} and {}",
            x.shape(),
            rois.shape()
        ))),
    }
}

impl Define for RoiAlign {
    const SCHEMA: Schema = Schema::new("RoiAlign", 22)
        .inputs(&[arg("X", FLOATS).var("T1"), arg("rois", FLOATS).var("T1"), arg("batch_indices", INT64)])
        .outputs(&[arg("Y", FLOATS).var("T1")])
        .attributes(&[
            string("coordinate_transformation_mode", "half_pixel"),
            string("mode", "avg"),
            int("output_height", 1),
            int("output_width", 1),
            int("sampling_ratio", 0),
            float("spatial_scale", 1.0),
        ]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(RoiAlign {
            is_max: node.choice("mode", &[("avg", false), ("max", true)])?,
            is_half_pixel: node
                .choice("coordinate_transformation_mode", &[("half_pixel", true), ("output_half_pixel", false)])?,
            pooled: [
                extent("output_height", node.int("output_height")?, 1)?,
                extent("output_width", node.int("output_width")?, 1)?,
            ],
            sampling_ratio: extent("sampling_ratio", node.int("sampling_ratio")?, 0)?,
            spatial_scale: node.float("spatial_scale")?,
        })
    }
}

impl Op for RoiAlign {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        if let (Some([rois, _]), Some([indices])) = (x.shape(1), x.shape(2)) {
            unify(rois, indices, "number of regions")?;
        }
        Ok(vec![pooled_fact(x, self.pooled)?])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(
            cx,
            inputs,
            &[dtype],
            |cx, inputs| for_real!(inputs.tensor(0)?.dtype(), T => Ok(self.align::<T>(cx, &inputs)?.into())),
        )
    }
}

/// One sample's place on an axis: two neighbouring pixels and their weights.
#[derive(Clone, Copy)]
struct Tap<T> {
    low: usize,
    high: usize,
    weights: [T; 2],
}

impl<T: Float> Tap<T> {
    /// The sample at `position` on an axis of `length` pixels; `None` where it lies outside.
    fn new(position: T, length: usize) -> Option<Tap<T>> {
        let last = length.checked_sub(1)?;
        let is_inside = position >= -T::one() && position <= T::from(length)?;
        let position = position.max(T::zero());
        let low = position.to_usize().filter(|_| is_inside)?;
        if low >= last {
            return Some(Tap { low: last, high: last, weights: [T::one(), T::zero()] });
        }
        let fraction = position - T::from(low)?;
        Some(Tap { low, high: low + 1, weights: [T::one() - fraction, fraction] })
    }
}

/// One axis of a region: where it begins, and its bins.
struct RegionAxis<T> {
    start: T,
    bin: T,
    samples: usize,
    pixels: usize,
}

impl<T: Float> RegionAxis<T> {
    fn taps(&self, bin: usize) -> Vec<Option<Tap<T>>> {
        let number = |n: usize| T::from(n).unwrap_or_else(T::zero);
        let half = T::one() / number(2);
        let place =
            |i: usize| self.start + number(bin) * self.bin + (number(i) + half) * self.bin / number(self.samples);
        (0..self.samples).map(|i| Tap::new(place(i), self.pixels)).collect()
    }
}

impl RoiAlign {
    fn align<T: Number + Float>(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
        let (rois, indices) = (inputs.tensor(1)?, inputs.slice::<i64>(2)?);
        let ([batch, channels, height, width], x, regions) = image_and_regions::<T>(inputs.tensor(0)?, rois, 4)?;
        if indices.len() != rois.shape()[0] {
            return Err(OpError::invalid(format!("{} batch indices for regions {}", indices.len(), rois.shape())));
        }
        let entries = indices.iter().map(|&i| checked_index(i, batch)).collect::<Result<Vec<_>, _>>()?;
        let axes = regions.as_chunks::<4>().0.iter().map(|r| self.region_axes(r, [height, width]));
        let axes = axes.collect::<Result<Vec<_>, _>>()?;
        let [rows, columns] = self.pooled;
        let mut y = cx.uninit::<T>(Shape::new(&[entries.len(), channels, rows, columns])?)?;
        let unit = channels * rows * columns;
        let samples = axes.iter().map(|[h, w]| h.samples * w.samples).max().unwrap_or(0);
        parallel::fill_units(cx, &mut y, unit, NS_PER_SAMPLE * samples as f64, |start, piece| {
            for (region, y) in (start / unit..).zip(piece.chunks_exact_mut(unit)) {
                let image = &x[entries[region] * channels * height * width..][..channels * height * width];
                self.align_region(cx, image, &axes[region], y);
            }
        })?;
        Ok(y.freeze())
    }

    fn region_axes<T: Number + Float>(&self, roi: &[T; 4], pixels: [usize; 2]) -> Result<[RegionAxis<T>; 2], OpError> {
        let offset = if self.is_half_pixel { 0.5 } else { 0.0 };
        let place = |i: usize| <T as Number>::from_f64(roi[i].to_f64() * f64::from(self.spatial_scale) - offset);
        let axis = |axis: usize| {
            let (start, end) = (place(1 - axis), place(3 - axis));
            let extent = if self.is_half_pixel { end - start } else { Float::max(end - start, T::one()) };
            let bin = extent / <T as Number>::from_f64(self.pooled[axis] as f64);
            let samples = if self.sampling_ratio > 0 { self.sampling_ratio as f64 } else { bin.ceil().to_f64() };
            if samples.is_nan() || samples > MAX_SAMPLES {
                return Err(OpError::invalid(format!("region {roi:?} needs {samples} samples a bin")));
            }
            Ok(RegionAxis { start, bin, samples: samples.max(0.0) as usize, pixels: pixels[axis] })
        };
        Ok([axis(0)?, axis(1)?])
    }

    /// Fills `y`, the bins of one region in all channels of one image.
    fn align_region<T: Number + Float>(&self, cx: &EvalCx<'_>, image: &[T], [h, w]: &[RegionAxis<T>; 2], y: &mut [T]) {
        let [rows, columns] = self.pooled;
        let pixels = h.pixels * w.pixels;
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            if cx.check().is_err() {
                return;
            }
            let (down, across) = (h.taps(row), w.taps(column));
            for (channel, bins) in y.chunks_exact_mut(rows * columns).enumerate() {
                let plane = &image[channel * pixels..(channel + 1) * pixels];
                bins[row * columns + column] = self.bin(plane, w.pixels, &down, &across);
            }
        }
    }

    fn bin<T: Number + Float>(
        &self,
        plane: &[T],
        width: usize,
        down: &[Option<Tap<T>>],
        across: &[Option<Tap<T>>],
    ) -> T {
        let corners = |v: &Tap<T>, h: &Tap<T>| {
            let at = |row: usize, column: usize| plane[row * width + column];
            [
                v.weights[0] * h.weights[0] * at(v.low, h.low),
                v.weights[0] * h.weights[1] * at(v.low, h.high),
                v.weights[1] * h.weights[0] * at(v.high, h.low),
                v.weights[1] * h.weights[1] * at(v.high, h.high),
            ]
        };
        let samples = down.iter().flat_map(|v| across.iter().map(move |h| (v.as_ref(), h.as_ref())));
        let samples = samples.map(|(v, h)| v.zip(h).map_or([T::zero(); 4], |(v, h)| corners(v, h)));
        if self.is_max {
            return samples.flatten().reduce(Float::max).unwrap_or_else(T::zero);
        }
        let count = (down.len() * across.len()).max(1);
        let sum = samples.fold(T::zero(), |sum, [a, b, c, d]| sum + (a + b + c + d));
        sum / <T as Number>::from_f64(count as f64)
    }
}

impl Define for MaxRoiPool {
    const SCHEMA: Schema = Schema::new("MaxRoiPool", 22)
        .inputs(&[arg("X", FLOATS).var("T"), arg("rois", FLOATS).var("T")])
        .outputs(&[arg("Y", FLOATS).var("T")])
        .attributes(&[required("pooled_shape", AttributeKind::Ints), float("spatial_scale", 1.0)]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let &[rows, columns] = node.ints("pooled_shape")? else {
            return Err(AttributeError::invalid("attribute \"pooled_shape\": expected a height and a width"));
        };
        let pooled = [extent("pooled_shape", rows, 1)?, extent("pooled_shape", columns, 1)?];
        Ok(MaxRoiPool { pooled, spatial_scale: node.float("spatial_scale")? })
    }
}

impl Op for MaxRoiPool {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        Ok(vec![pooled_fact(x, self.pooled)?])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let dtype = inputs.tensor(0)?.dtype();
        widened(
            cx,
            inputs,
            &[dtype],
            |cx, inputs| for_real!(inputs.tensor(0)?.dtype(), T => Ok(self.pool::<T>(cx, &inputs)?.into())),
        )
    }
}

impl MaxRoiPool {
    fn pool<T: Number>(&self, cx: &EvalCx<'_>, inputs: &Inputs) -> Result<Tensor, OpError> {
        let ([batch, channels, height, width], x, regions) =
            image_and_regions::<T>(inputs.tensor(0)?, inputs.tensor(1)?, 5)?;
        let regions = regions.as_chunks::<5>().0;
        let entries =
            regions.iter().map(|r| checked_index(r[0].to_f64() as i64, batch)).collect::<Result<Vec<_>, _>>()?;
        let [rows, columns] = self.pooled;
        let mut y = cx.uninit::<T>(Shape::new(&[regions.len(), channels, rows, columns])?)?;
        let grid = rows * columns;
        parallel::fill_units(cx, &mut y, grid, NS_PER_SAMPLE, |start, piece| {
            for (plane, bins) in (start / grid..).zip(piece.chunks_exact_mut(grid)) {
                let (region, channel) = (plane / channels, plane % channels);
                let pixels = &x[(entries[region] * channels + channel) * height * width..][..height * width];
                for (i, bin) in bins.iter_mut().enumerate() {
                    let [_, x1, y1, x2, y2] = regions[region];
                    let down = self.pixels([y1, y2], i / columns, rows, height);
                    let across = self.pixels([x1, x2], i % columns, columns, width);
                    let inside = down.flat_map(|row| pixels[row * width..][across.clone()].iter().copied());
                    *bin = inside.reduce(Number::max).unwrap_or(T::ZERO);
                }
            }
        })?;
        Ok(y.freeze())
    }

    /// The pixels of bin `bin` of `bins` along one axis of `length` pixels.
    fn pixels<T: Number>(&self, ends: [T; 2], bin: usize, bins: usize, length: usize) -> std::ops::Range<usize> {
        let [start, end] = ends.map(|end| (end.to_f64() * f64::from(self.spatial_scale)).round());
        let size = (end - start + 1.0).max(1.0) / bins as f64;
        let clamp = |place: f64| (place.max(0.0) as usize).min(length);
        let first = clamp((bin as f64 * size).floor() + start);
        first..clamp(((bin + 1) as f64 * size).ceil() + start).max(first)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    fn image() -> planish_tensor::Tensor {
        tensor(&[1, 1, 4, 4], &(0..16).map(|v| v as f32).collect::<Vec<_>>())
    }

    #[test]
    fn bins_are_means_of_samples() {
        let align = |mode: &str, roi: [f32; 4], index: i64| {
            let attributes =
                Attributes::new().with("output_height", 2i64).with("output_width", 2i64).with("mode", mode);
            eval("RoiAlign", attributes, &[image(), tensor(&[1, 4], &roi), tensor(&[1], &[index])])
        };
        assert_eq!(align("avg", [0.0, 0.0, 4.0, 4.0], 0).unwrap(), tensor(&[1, 1, 2, 2], &[2.5f32, 4.5, 10.5, 12.5]));
        assert_eq!(align("max", [0.0, 0.0, 4.0, 4.0], 0).unwrap(), tensor(&[1, 1, 2, 2], &[5f32, 7., 13., 15.]));
        assert_eq!(align("avg", [90.0, 90.0, 92.0, 92.0], 0).unwrap(), tensor(&[1, 1, 2, 2], &[0f32; 4]));
        assert!(align("avg", [0.0, 0.0, f32::NAN, 4.0], 0).is_err());
        assert!(align("avg", [0.0, 0.0, 1e30, 4.0], 0).is_err());
        assert!(align("avg", [0.0, 0.0, 4.0, 4.0], 1).is_err());
    }

    #[test]
    fn bins_are_greatest_pixels() {
        let pool = |roi: [f32; 5]| {
            eval("MaxRoiPool", Attributes::new().with("pooled_shape", vec![2i64, 2]), &[image(), tensor(&[1, 5], &roi)])
        };
        assert_eq!(pool([0.0, 0.0, 0.0, 3.0, 3.0]).unwrap(), tensor(&[1, 1, 2, 2], &[5f32, 7., 13., 15.]));
        assert_eq!(pool([0.0, 9.0, 9.0, 12.0, 12.0]).unwrap(), tensor(&[1, 1, 2, 2], &[0f32; 4]));
        assert_eq!(pool([0.0, f32::NAN, 0.0, f32::INFINITY, 3.0]).unwrap().num_elements(), 4);
        assert!(pool([1.0, 0.0, 0.0, 3.0, 3.0]).is_err());
    }
}
