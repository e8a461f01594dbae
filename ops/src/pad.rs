//! `Pad`: a tensor with elements added, or taken away, before and after each axis: a constant, the edge, a reflection, or
//! the other end. What is taken away is gone before elements are added.
//!
//! Opsets: 2 has `pads` and `value` as attributes; 11 makes them inputs; 13 adds dtypes; 18 adds the input `axes`; 19 the
//! mode `wrap`; 21, 23, 24, 25 add dtypes.

use crate::Define;
use crate::pick::{Run, everything, pick};
use planish_ir::{
    ALL_TENSORS, AttributeError, Axis, Dim, EvalCx, Fact, Facts, INDICES, INT64, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, arg, opt, string,
};
use planish_tensor::Shape;

/// `Pad`.
#[derive(Debug)]
pub struct Pad {
    mode: Mode,
}

/// Where added elements come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Constant,
    Edge,
    /// Mirrored at the first and last element, which are not repeated.
    Reflect,
    /// From the other end of the axis.
    Wrap,
}

impl Define for Pad {
    const SCHEMA: Schema = Schema::new("Pad", 25)
        .inputs(&[
            arg("data", ALL_TENSORS).var("T"),
            arg("pads", INT64),
            opt("constant_value", ALL_TENSORS).var("T"),
            opt("axes", INDICES),
        ])
        .outputs(&[arg("output", ALL_TENSORS).var("T")])
        .attributes(&[string("mode", "constant")]);

    fn parse(node: &NodeView<'_>) -> Result<Self, AttributeError> {
        let modes =
            [("constant", Mode::Constant), ("edge", Mode::Edge), ("reflect", Mode::Reflect), ("wrap", Mode::Wrap)];
        Ok(Pad { mode: node.choice("mode", &modes)? })
    }
}

/// The pads before and after each axis, from the inputs `pads` and `axes`.
fn pads_of_axes<T: Clone>(pads: &[T], axes: Option<&[i64]>, rank: usize, zero: T) -> Result<Vec<(T, T)>, InferError> {
    let axes: Vec<usize> = match axes {
        Some(axes) => axes.iter().map(|&axis| Axis::new(axis).resolve(rank)).collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(InferError(format!(
            "expected {} pads for {} axes, got {}",
            2 * axes.len(),
            axes.len(),
            pads.len()
        )));
    }
    let mut all = vec![(zero.clone(), zero); rank];
    for (i, &axis) in axes.iter().enumerate() {
        all[axis] = (pads[i].clone(), pads[i + axes.len()].clone());
    }
    Ok(all)
}

impl Op for Pad {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let unknown = || Fact::shaped(x.dtype(0), vec![Dim::unknown(); shape.len()]);
        let axes = match x.has(3) {
            true => match x.known_ints(3) {
                Some(axes) => Some(axes),
                None => return Ok(vec![unknown()]),
            },
            false => None,
        };
        let Some(pads) = x.elements(1) else { return Ok(vec![unknown()]) };
        let pads = pads_of_axes(&pads, axes.as_deref(), shape.len(), Dim::known(0))?;
        let dims = shape.iter().zip(pads).map(|(dim, (before, after))| &(dim + &before) + &after).collect();
        Ok(vec![Fact::shaped(x.dtype(0), dims)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let pads = pads_of_axes(&inputs.ints(1)?, inputs.opt_ints(3)?.as_deref(), x.rank(), 0)?;
        let padded = x.shape().iter().zip(pads).map(|(&dim, (before, after))| self.axis(dim, before, after));
        let padded: Vec<PaddedAxis> = padded.collect::<Result<_, _>>()?;
        let shape = Shape::new(&padded.iter().map(|axis| axis.length).collect::<Vec<_>>())?;
        // Where there are no elements at all, it does not matter where they come from.
        let mode = if shape.num_elements() == 0 { Mode::Constant } else { self.mode };
        let room = cx.memory.reserve(x.dtype().bytes_for(shape.num_elements()).unwrap_or(usize::MAX))?;
        let num_runs = padded.iter().map(|axis| axis.num_runs(mode)).fold(0usize, usize::saturating_add);
        let _charged = cx.memory.reserve(num_runs.saturating_mul(size_of::<Run>()))?;
        drop(room);
        let mut axes = everything(x.shape());
        for ((runs, axis), &dim) in axes.iter_mut().zip(&padded).zip(x.shape().iter()) {
            if axis.kept != dim || axis.length != dim {
                *runs = axis.runs(mode);
            }
        }
        let fill = inputs.opt_tensor(2)?.filter(|_| self.mode == Mode::Constant);
        Ok(pick(cx, x, &axes, fill)?.into())
    }
}

/// An axis and what becomes of it: what is left of it once elements are taken away, and how many are added.
struct PaddedAxis {
    /// The first element that is left.
    start: usize,
    /// How many are left.
    left: usize,
    /// How many of these come out.
    kept: usize,
    before: usize,
    length: usize,
}

impl Pad {
    /// What becomes of an axis of `dim` elements.
    fn axis(&self, dim: usize, before: i64, after: i64) -> Result<PaddedAxis, OpError> {
        let wrong = || OpError::invalid(format!("an axis of {dim} elements cannot be padded by {before} and {after}"));
        let length = i64::try_from(dim).ok().and_then(|d| d.checked_add(before)?.checked_add(after));
        let length = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(wrong)?;
        let count = |pad: i64| usize::try_from(pad.max(0)).map_err(|_| wrong());
        let [cut, cut_after] = [before, after].map(|pad| usize::try_from(pad.min(0).unsigned_abs()));
        let (cut, cut_after) = (cut.map_err(|_| wrong())?, cut_after.map_err(|_| wrong())?);
        let before = count(before)?.min(length);
        let left = dim.saturating_sub(cut).saturating_sub(cut_after);
        if left == 0 && self.mode != Mode::Constant && length > 0 {
            return Err(wrong());
        }
        let kept = dim.saturating_sub(cut).min(length - before);
        Ok(PaddedAxis { start: cut.min(dim), left, kept, before, length })
    }
}

impl PaddedAxis {
    /// How many runs are picked, at most.
    fn num_runs(&self, mode: Mode) -> usize {
        match mode {
            Mode::Constant | Mode::Edge => 3,
            Mode::Reflect => self.length / self.left.saturating_sub(1).max(1) + 2,
            Mode::Wrap => self.length / self.left.max(1) + 2,
        }
    }

    /// What is picked.
    fn runs(&self, mode: Mode) -> Vec<Run> {
        let &PaddedAxis { start, left, kept, before, length } = self;
        let middle = Run::range(start, kept);
        let after = length - before - kept;
        let runs = match mode {
            Mode::Constant => vec![Run::fill(before), middle, Run::fill(after)],
            Mode::Edge => {
                let last = (start + left).saturating_sub(1);
                vec![Run::repeated(start, before), middle, Run::repeated(last, after)]
            }
            Mode::Reflect => bounced(start, left, before, length),
            Mode::Wrap => wrapped(start, left, before, length),
        };
        runs.into_iter().filter(|run| !run.is_empty()).collect()
    }
}

/// Back and forth between the ends of `dim` elements from `start` on, so that output index `before` picks the first.
fn bounced(start: usize, dim: usize, before: usize, length: usize) -> Vec<Run> {
    if dim == 1 {
        return vec![Run::repeated(start, length)];
    }
    let Some(period @ 1..) = dim.checked_sub(1).map(|last| 2 * last) else { return Vec::new() };
    // The place in the period that output index 0 picks: `before` steps back from the first.
    let mut place = (period - before % period) % period;
    let mut runs = Vec::new();
    let mut left = length;
    while left > 0 {
        let run = if place < dim - 1 {
            Run::strided(start + place, 1, left.min(dim - 1 - place))
        } else {
            Run::strided(start + period - place, -1, left.min(period - place))
        };
        left -= run.length();
        place = (place + run.length()) % period;
        runs.push(run);
    }
    runs
}

/// Round and round `dim` elements from `start` on, so that output index `before` picks the first.
fn wrapped(start: usize, dim: usize, before: usize, length: usize) -> Vec<Run> {
    let mut place = (dim - before % dim.max(1)) % dim.max(1);
    let mut runs = Vec::new();
    let mut left = length;
    while left > 0 {
        let run = Run::range(start + place, left.min(dim - place));
        left -= run.length();
        place = 0;
        runs.push(run);
    }
    runs
}

#[cfg(test)]
mod tests {
    use crate::testing::{eval, tensor};
    use planish_ir::Attributes;

    fn padded(mode: &str, x: &[i32], pads: [i64; 2]) -> Vec<i32> {
        let mode = Attributes::new().with("mode", mode);
        let y = eval("Pad", mode, &[tensor(&[x.len()], x), tensor(&[2], &pads)]).unwrap();
        y.as_slice::<i32>().unwrap().to_vec()
    }

    #[test]
    fn each_mode_adds_what_it_says() {
        assert_eq!(padded("constant", &[1, 2], [1, 2]), [0, 1, 2, 0, 0]);
        assert_eq!(padded("edge", &[1, 2], [1, 2]), [1, 1, 2, 2, 2]);
        assert_eq!(padded("reflect", &[1, 2, 3], [2, 2]), [3, 2, 1, 2, 3, 2, 1]);
        assert_eq!(padded("reflect", &[1, 2, 3], [5, 0]), [2, 1, 2, 3, 2, 1, 2, 3]);
        assert_eq!(padded("wrap", &[1, 2, 3], [2, 4]), [2, 3, 1, 2, 3, 1, 2, 3, 1]);
    }

    #[test]
    fn negative_pads_cut() {
        assert_eq!(padded("constant", &[1, 2, 3], [-1, 1]), [2, 3, 0]);
        assert_eq!(padded("edge", &[1, 2, 3], [1, -2]), [1, 1]);
        assert_eq!(padded("wrap", &[1, 2, 3, 4], [2, -1]), [2, 3, 1, 2, 3]);
        assert_eq!(padded("wrap", &[1, 2, 3, 4], [-1, 2]), [2, 3, 4, 2, 3]);
        assert_eq!(padded("reflect", &[1, 2, 3, 4], [-1, 3]), [2, 3, 4, 3, 2, 3]);
    }

    #[test]
    fn axes_and_a_constant_value_apply() {
        let x = tensor(&[1, 2], &[1f32, 2.]);
        let inputs = [x, tensor(&[2], &[0i64, 1]), tensor(&[], &[9f32]), tensor(&[1], &[-1i64])];
        assert_eq!(eval("Pad", Attributes::new(), &inputs).unwrap(), tensor(&[1, 3], &[1f32, 2., 9.]));
    }

    #[test]
    fn more_cut_than_there_is_is_refused() {
        let inputs = [tensor(&[2], &[1f32, 2.]), tensor(&[2], &[-1i64, -2])];
        assert!(eval("Pad", Attributes::new(), &inputs).is_err());
    }
}
