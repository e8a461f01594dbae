//! `Slice`: from each of some axes, every `step`-th index from `start` (included) to `end` (excluded).
//!
//! Opsets: 1 has starts, ends and axes as attributes; 10 has them as inputs and adds `steps`; 11 allows negative axes; 13
//! adds dtypes. Bounds count from the back if negative and are clamped to the axis.

use crate::Define;
use crate::pick::{Run, everything, pick};
use crate::symbolic::{elements, with_elements};
use planish_ir::{
    AttributeError, Axis, CLASSIC_TENSORS, Dim, EvalCx, Fact, Facts, INDICES, InferError, Inputs, NodeView, Op,
    OpError, Outputs, Schema, arg, opt,
};

/// `Slice`.
#[derive(Debug)]
pub struct Slice;

impl Define for Slice {
    const SCHEMA: Schema = Schema::new("Slice", 13)
        .inputs(&[
            arg("data", CLASSIC_TENSORS).var("T"),
            arg("starts", INDICES).var("Tind"),
            arg("ends", INDICES).var("Tind"),
            opt("axes", INDICES).var("Tind"),
            opt("steps", INDICES).var("Tind"),
        ])
        .outputs(&[arg("output", CLASSIC_TENSORS).var("T")]);

    fn parse(_node: &NodeView<'_>) -> Result<Self, AttributeError> {
        Ok(Slice)
    }
}

impl Op for Slice {
    fn infer(&self, x: &Facts<'_>) -> Result<Vec<Fact>, InferError> {
        let Some(shape) = x.shape(0) else { return Ok(vec![Fact::tensor(x.dtype(0))]) };
        let unknown = || Ok(vec![Fact::shaped(x.dtype(0), vec![Dim::unknown(); shape.len()])]);
        let (Some(starts), Some(ends)) = (elements(x, 1), elements(x, 2)) else { return unknown() };
        let axes = if x.has(3) { x.known_ints(3) } else { Some((0..starts.len() as i64).collect()) };
        let steps = if x.has(4) { elements(x, 4) } else { Some(vec![Dim::known(1); starts.len()]) };
        let (Some(axes), Some(steps)) = (axes, steps) else { return unknown() };
        let axes = checked_axes(&axes, [starts.len(), ends.len(), steps.len()], shape.len())?;
        let mut dims = shape.to_vec();
        for (i, axis) in axes.into_iter().enumerate() {
            dims[axis] = sliced_dim(&shape[axis], &starts[i], &ends[i], &steps[i]);
        }
        let elements = x.elements(0).zip(Some((starts, ends, steps))).and_then(|(whole, (starts, ends, steps))| {
            let bounds = Bounds {
                start: starts.first()?.as_known()?,
                end: ends.first()?.as_known()?,
                step: steps.first()?.as_known()?,
            };
            let (start, length) = bounds.clamp(whole.len());
            let step = isize::try_from(bounds.step).ok()?;
            (0..length as isize).map(|i| whole.get(start.checked_add_signed(step.checked_mul(i)?)?).cloned()).collect()
        });
        Ok(vec![with_elements(Fact::shaped(x.dtype(0), dims), elements)])
    }

    fn eval(&self, cx: &mut EvalCx<'_>, inputs: Inputs) -> Result<Outputs, OpError> {
        let x = inputs.tensor(0)?;
        let (starts, ends) = (inputs.ints(1)?, inputs.ints(2)?);
        let axes = inputs.opt_ints(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = inputs.opt_ints(4)?.unwrap_or_else(|| vec![1; starts.len()]);
        let axes = checked_axes(&axes, [starts.len(), ends.len(), steps.len()], x.rank())?;
        let mut runs = everything(x.shape());
        for (i, axis) in axes.into_iter().enumerate() {
            let bounds = Bounds { start: starts[i], end: ends[i], step: steps[i] };
            if bounds.step == 0 {
                return Err(OpError::invalid(format!("the step along axis {axis} is 0")));
            }
            let (start, length) = bounds.clamp(x.shape()[axis]);
            let step = if length > 1 { bounds.step } else { 1 };
            runs[axis] = vec![Run::strided(start, step as isize, length)];
        }
        Ok(pick(cx, x, &runs, None)?.into())
    }
}

/// The axes that are sliced, counted from the front, each once; the other lists' lengths are as many.
fn checked_axes(axes: &[i64], lengths: [usize; 3], rank: usize) -> Result<Vec<usize>, InferError> {
    if lengths.iter().any(|&n| n != axes.len()) {
        return Err(InferError(format!("{} axes, but starts, ends and steps of {lengths:?} elements", axes.len())));
    }
    let resolved = axes.iter().map(|&axis| Axis::new(axis).resolve(rank)).collect::<Result<Vec<_>, _>>()?;
    let is_repeated = |i: usize| resolved[..i].contains(&resolved[i]);
    if (0..resolved.len()).any(is_repeated) {
        return Err(InferError(format!("axes {axes:?} name an axis twice")));
    }
    Ok(resolved)
}

/// What ONNX says of one axis.
struct Bounds {
    start: i64,
    end: i64,
    step: i64,
}

impl Bounds {
    /// The first index taken of an axis of `dim` elements, and how many are. The step is not 0.
    fn clamp(&self, dim: usize) -> (usize, usize) {
        let Some(dim) = i64::try_from(dim).ok().filter(|&dim| dim > 0) else { return (0, 0) };
        let counted = |bound: i64| if bound < 0 { bound.saturating_add(dim) } else { bound };
        let (start, end) = (counted(self.start), counted(self.end));
        let (start, distance) = if self.step > 0 {
            let start = start.clamp(0, dim);
            (start, end.clamp(0, dim) - start)
        } else {
            let start = start.clamp(0, dim - 1);
            (start, start - end.clamp(-1, dim - 1))
        };
        let length = distance.max(0).unsigned_abs().div_ceil(self.step.unsigned_abs().max(1));
        (start.unsigned_abs() as usize, length as usize)
    }
}

/// Bounds at least this far out mean the end of the axis, whatever its length.
const FAR: i64 = i32::MAX as i64;
/// Bounds at least this far back mean the start of the axis, whatever its length.
const FAR_BACK: i64 = -FAR;

/// The number of indices taken of an axis of `dim` elements.
fn sliced_dim(dim: &Dim, start: &Dim, end: &Dim, step: &Dim) -> Dim {
    let Some(step) = step.as_known() else { return Dim::unknown() };
    match (dim.as_known().map(usize::try_from), start.as_known(), end.as_known()) {
        (Some(Ok(dim)), Some(start), Some(end)) => Dim::known(Bounds { start, end, step }.clamp(dim).1 as i64),
        (_, Some(-1 | FAR..), Some(..=FAR_BACK)) if step < 0 => dim.ceil_div(-step),
        _ if step > 0 => match (counted(start, dim), counted(end, dim)) {
            (Some(start), Some(end)) => (end.min(dim) - start).max(0).ceil_div(step),
            _ => Dim::unknown(),
        },
        _ => Dim::unknown(),
    }
}

/// A bound counted from the front and not negative, where its sign is known.
fn counted(bound: &Dim, dim: &Dim) -> Option<Dim> {
    match bound.as_known() {
        Some(FAR..) => Some(dim.clone()),
        Some(..=FAR_BACK) => Some(Dim::known(0)),
        Some(negative @ ..=-1) => Some((dim + negative).max(0)),
        _ if bound.at_least().is_some_and(|least| least >= 0) => Some(bound.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{elements, eval, infer, shaped, tensor};
    use planish_ir::Attributes;
    use planish_tensor::DType;

    #[test]
    fn bounds_are_clamped_and_steps_taken() {
        struct Case {
            start: i64,
            end: i64,
            step: i64,
            expected: &'static [i32],
        }
        let x = tensor(&[5], &[0i32, 1, 2, 3, 4]);
        for Case { start, end, step, expected } in [
            Case { start: 1, end: 3, step: 1, expected: &[1, 2] },
            Case { start: 0, end: i64::MAX, step: 2, expected: &[0, 2, 4] },
            Case { start: -2, end: 100, step: 1, expected: &[3, 4] },
            Case { start: -1, end: i64::MIN, step: -1, expected: &[4, 3, 2, 1, 0] },
            Case { start: 9, end: 0, step: -3, expected: &[4, 1] },
            Case { start: 4, end: -6, step: -2, expected: &[4, 2, 0] },
            Case { start: 3, end: 3, step: 1, expected: &[] },
            Case { start: 4, end: 2, step: 1, expected: &[] },
            Case { start: 0, end: 5, step: i64::MAX, expected: &[0] },
            Case { start: 4, end: i64::MIN, step: i64::MIN, expected: &[4] },
        ] {
            let one = |v: i64| tensor(&[1], &[v]);
            let y = eval("Slice", Attributes::new(), &[x.clone(), one(start), one(end), one(0), one(step)]).unwrap();
            assert_eq!(y.as_slice::<i32>().unwrap(), expected, "{start}..{end} by {step}");
        }
    }

    #[test]
    fn several_axes_are_sliced() {
        let x = tensor(&[2, 3, 2], &(0..12).collect::<Vec<i32>>());
        let two = |a: i32, b: i32| tensor(&[2], &[a, b]);
        let y = eval("Slice", Attributes::new(), &[x.clone(), two(1, 0), two(9, 1), two(1, -1)]).unwrap();
        assert_eq!(y, tensor(&[2, 2, 1], &[2, 4, 8, 10]));
        let y = eval("Slice", Attributes::new(), &[x.clone(), two(1, 0), two(2, 1)]).unwrap();
        assert_eq!(y, tensor(&[1, 1, 2], &[6, 7]));
        for [axes, steps] in [[two(1, -2), two(1, 1)], [two(0, 3), two(1, 1)], [two(0, 1), two(1, 0)]] {
            assert!(eval("Slice", Attributes::new(), &[x.clone(), two(0, 0), two(1, 1), axes, steps]).is_err());
        }
    }

    #[test]
    fn lengths_are_symbolic() {
        for (dim, start, end, step, expected) in [
            ("past + seq", "past", "past + seq", "1", "seq"),
            ("s", "0", "9223372036854775807", "1", "s"),
            ("s", "-9223372036854775807", "s", "2", "(s + 1)//2"),
            ("s", "1", "9223372036854775807", "1", "max(s - 1, 0)"),
            ("s + 3", "0", "-1", "1", "s + 2"),
            ("512", "0", "s", "1", "min(s, 512)"),
            ("s", "-1", "-9223372036854775807", "-1", "s"),
            ("s", "?", "9", "1", "?"),
        ] {
            let facts = [shaped(DType::F32, dim), elements(start), elements(end), elements("0"), elements(step)];
            let y = infer("Slice", Attributes::new(), &facts).unwrap();
            assert_eq!(y, shaped(DType::F32, expected), "{dim}[{start}:{end}:{step}]");
        }
    }

    #[test]
    fn elements_are_sliced() {
        let facts = [elements("b, c, h, w"), elements("2"), elements("9")];
        assert_eq!(infer("Slice", Attributes::new(), &facts).unwrap(), elements("h, w"));
    }
}
