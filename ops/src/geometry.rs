//! Where the windows of convolutions and pools lie: `kernel_shape`, `strides`, `dilations`, `pads`, `auto_pad` and `ceil_mode`
//! become explicit begins and extents along each spatial axis, or symbolic extents while shapes are inferred.

use planish_ir::{Attribute, AttributeError, Dim, InferError, NodeView, OpError};
use smallvec::SmallVec;
use std::ops::Range;

/// How far a window may reach beyond the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// By these many elements before and after each spatial axis: begins first, then ends. Empty for none.
    Explicit(Vec<usize>),
    /// Not at all (`VALID`).
    Valid,
    /// So far that each stride has its window; an odd element goes after the input (`SAME_UPPER`).
    SameUpper,
    /// As `SameUpper`, but an odd element goes before the input (`SAME_LOWER`).
    SameLower,
}

/// The window attributes that convolutions and pools share, as far as the node gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    kernel: Option<Vec<usize>>,
    strides: Option<Vec<usize>>,
    dilations: Option<Vec<usize>>,
    /// How far windows reach beyond the input.
    pub padding: Padding,
    ceil_mode: bool,
}

/// One spatial axis with everything resolved: window `i` reads `i · stride − pad_begin + k · dilation` for each `k < kernel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowAxis {
    /// The input's extent.
    pub input: usize,
    /// Taps of the window.
    pub kernel: usize,
    /// From one window to the next.
    pub stride: usize,
    /// From one tap to the next.
    pub dilation: usize,
    /// Elements before the input that windows may cover.
    pub pad_begin: usize,
    /// Elements after it.
    pub pad_end: usize,
    /// How many windows there are.
    pub output: usize,
}

/// All spatial axes, outermost first.
pub type WindowAxes = SmallVec<[WindowAxis; 3]>;

impl WindowAxis {
    /// The taps of window `i` that lie within the input, as a range of `k`.
    pub fn taps_inside(&self, i: usize) -> Range<usize> {
        let start = i * self.stride;
        let first = self.pad_begin.saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        let last = (self.input + self.pad_begin).saturating_sub(start).div_ceil(self.dilation).min(self.kernel);
        first..last.max(first)
    }

    /// How many taps of window `i` lie within the input or its padding. The last windows of `ceil_mode` reach further.
    pub fn taps_within_padding(&self, i: usize) -> usize {
        let end = self.input + self.pad_begin + self.pad_end;
        end.saturating_sub(i * self.stride).div_ceil(self.dilation).min(self.kernel)
    }

    /// What tap `k` of window `i` reads. The tap is one of [`taps_inside`](Self::taps_inside).
    pub fn position(&self, i: usize, k: usize) -> usize {
        i * self.stride + k * self.dilation - self.pad_begin
    }
}

/// Calls `f(tap, position)` for every tap of a window that reads the input: the tap's index in the kernel and the
/// position's in the input, both row-major over the spatial axes. `window` is the window's index along each axis.
pub fn for_each_tap(axes: &[WindowAxis], window: &[usize], mut f: impl FnMut(usize, usize)) {
    let ranges: SmallVec<[Range<usize>; 3]> = axes.iter().zip(window).map(|(a, &i)| a.taps_inside(i)).collect();
    if ranges.iter().any(Range::is_empty) {
        return;
    }
    let mut taps: SmallVec<[usize; 3]> = ranges.iter().map(|r| r.start).collect();
    loop {
        let (mut tap, mut position) = (0, 0);
        for ((axis, &i), &k) in axes.iter().zip(window).zip(&taps) {
            tap = tap * axis.kernel + k;
            position = position * axis.input + axis.position(i, k);
        }
        f(tap, position);
        let Some(axis) = (0..axes.len()).rev().find(|&axis| taps[axis] + 1 < ranges[axis].end) else { return };
        taps[axis] += 1;
        (axis + 1..axes.len()).for_each(|inner| taps[inner] = ranges[inner].start);
    }
}

/// The index along each axis of window `i`, counted row-major. No axis is without windows.
pub fn window_at(axes: &[WindowAxis], mut i: usize) -> SmallVec<[usize; 3]> {
    let mut window: SmallVec<[usize; 3]> = SmallVec::from_elem(0, axes.len());
    for (index, axis) in window.iter_mut().zip(axes).rev() {
        *index = i % axis.output;
        i /= axis.output;
    }
    window
}

/// The attribute `name` as a list of numbers of at least `least`.
pub fn extents(node: &NodeView<'_>, name: &str, least: usize) -> Result<Option<Vec<usize>>, AttributeError> {
    let Some(Attribute::Ints(list)) = node.get(name) else { return Ok(None) };
    let bounded = |&v: &i64| i32::try_from(v).ok().and_then(|v| usize::try_from(v).ok()).filter(|&v| v >= least);
    match list.iter().map(bounded).collect() {
        Some(list) => Ok(Some(list)),
        None => Err(AttributeError::invalid(format!(
            "attribute {name:?}: expected numbers from {least} to {}, got {list:?}",
            i32::MAX
        ))),
    }
}

impl Window {
    /// Reads those of the attributes that the node has.
    pub fn parse(node: &NodeView<'_>) -> Result<Window, AttributeError> {
        let pads = extents(node, "pads", 0)?;
        let auto_pad = match node.get("auto_pad") {
            Some(Attribute::String(auto_pad)) => auto_pad,
            _ => "NOTSET",
        };
        let padding = match auto_pad {
            "NOTSET" | "" => Padding::Explicit(pads.unwrap_or_default()),
            "VALID" => Padding::Valid,
            "SAME_UPPER" => Padding::SameUpper,
            "SAME_LOWER" => Padding::SameLower,
            other => {
                let expected = "NOTSET, VALID, SAME_UPPER or SAME_LOWER";
                return Err(AttributeError::invalid(format!(
                    "attribute \"auto_pad\": expected {expected}, got {other:?}"
                )));
            }
        };
        let window = Window {
            kernel: extents(node, "kernel_shape", 1)?,
            strides: extents(node, "strides", 1)?,
            dilations: extents(node, "dilations", 1)?,
            padding,
            ceil_mode: matches!(node.get("ceil_mode"), Some(&Attribute::Int(v)) if v != 0),
        };
        window.check_lengths()?;
        Ok(window)
    }

    fn lengths(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let pads = match &self.padding {
            Padding::Explicit(pads) if !pads.is_empty() => Some(("pads", pads.len() / 2)),
            _ => None,
        };
        let list = |name, list: &Option<Vec<usize>>| list.as_ref().map(|l| (name, l.len()));
        [list("kernel_shape", &self.kernel), list("strides", &self.strides), list("dilations", &self.dilations), pads]
            .into_iter()
            .flatten()
    }

    fn check_lengths(&self) -> Result<(), AttributeError> {
        if let Padding::Explicit(pads) = &self.padding
            && pads.len() % 2 == 1
        {
            return Err(AttributeError::invalid(format!("attribute \"pads\": {pads:?} is of odd length")));
        }
        let Some((first, rank)) = self.lengths().next() else { return Ok(()) };
        match self.lengths().find(|&(_, n)| n != rank) {
            None => Ok(()),
            Some((name, n)) => Err(AttributeError::invalid(format!(
                "attribute {name:?} is for {n} spatial axes, {first:?} for {rank}"
            ))),
        }
    }

    /// The number of spatial axes, where an attribute gives it.
    pub fn rank(&self) -> Option<usize> {
        self.lengths().next().map(|(_, n)| n)
    }

    /// `kernel_shape`, where the node has it.
    pub fn kernel(&self) -> Option<&[usize]> {
        self.kernel.as_deref()
    }

    /// The stride along spatial axis `axis`.
    pub fn stride(&self, axis: usize) -> usize {
        self.strides.as_ref().map_or(1, |s| s[axis])
    }

    /// The dilation along spatial axis `axis`.
    pub fn dilation(&self, axis: usize) -> usize {
        self.dilations.as_ref().map_or(1, |d| d[axis])
    }

    /// Explicit pads of spatial axis `axis` of `rank`; none otherwise.
    pub fn explicit_pads(&self, axis: usize, rank: usize) -> (usize, usize) {
        match &self.padding {
            Padding::Explicit(pads) if !pads.is_empty() => (pads[axis], pads[rank + axis]),
            _ => (0, 0),
        }
    }

    /// An error if an attribute is for another number of spatial axes than `rank`.
    pub fn check_rank(&self, rank: usize) -> Result<(), InferError> {
        match self.lengths().find(|&(_, n)| n != rank) {
            None => Ok(()),
            Some((name, n)) => {
                Err(InferError(format!("attribute {name:?} is for {n} spatial axes, but the input has {rank}")))
            }
        }
    }

    /// The output's spatial extents, from the input's and the kernel's.
    pub fn output_dims(&self, input: &[Dim], kernel: &[Dim]) -> Result<Vec<Dim>, InferError> {
        self.check_rank(input.len())?;
        input.iter().zip(kernel).enumerate().map(|(axis, (x, k))| self.output_dim(axis, input.len(), x, k)).collect()
    }

    fn output_dim(&self, axis: usize, rank: usize, input: &Dim, kernel: &Dim) -> Result<Dim, InferError> {
        if let (Some(input), Some(kernel)) = (input.as_known(), kernel.as_known())
            && let (Ok(input), Ok(kernel)) = (usize::try_from(input), usize::try_from(kernel))
        {
            let resolved = self.resolve_axis(axis, rank, input, kernel)?;
            return Ok(i64::try_from(resolved.output).map_or(Dim::unknown(), Dim::known));
        }
        let stride = self.stride(axis) as i64;
        if matches!(self.padding, Padding::SameUpper | Padding::SameLower) {
            return Ok(input.ceil_div(stride));
        }
        let (begin, end) = self.explicit_pads(axis, rank);
        let reach = (kernel - 1) * (self.dilation(axis) as i64) + 1;
        let last_start = input + (begin + end) as i64 - reach;
        Ok(if self.ceil_mode {
            let all = last_start.ceil_div(stride) + 1;
            all.min((input + begin as i64).ceil_div(stride))
        } else {
            last_start.floor_div(stride) + 1
        })
    }

    /// Every spatial axis resolved for an input and kernel of these extents.
    pub fn resolve(&self, input: &[usize], kernel: &[usize]) -> Result<WindowAxes, OpError> {
        self.check_rank(input.len())?;
        if kernel.len() != input.len() {
            return Err(OpError::invalid(format!("a kernel of {kernel:?} does not fit an input of {input:?}")));
        }
        let axes = input.iter().zip(kernel).enumerate();
        axes.map(|(axis, (&x, &k))| Ok(self.resolve_axis(axis, input.len(), x, k)?)).collect()
    }

    fn resolve_axis(&self, axis: usize, rank: usize, input: usize, kernel: usize) -> Result<WindowAxis, InferError> {
        let (stride, dilation) = (self.stride(axis), self.dilation(axis));
        let reach = kernel
            .checked_sub(1)
            .and_then(|taps| taps.checked_mul(dilation)?.checked_add(1))
            .ok_or_else(|| InferError(format!("a kernel of extent {kernel} at spatial axis {axis}")))?;
        let resolved =
            |pad_begin, pad_end, output| WindowAxis { input, kernel, stride, dilation, pad_begin, pad_end, output };
        let (begin, end) = match self.padding {
            Padding::SameUpper | Padding::SameLower => {
                let output = input.div_ceil(stride);
                let total = output.saturating_sub(1).saturating_mul(stride).saturating_add(reach).saturating_sub(input);
                let (less, more) = (total / 2, total - total / 2);
                let is_lower = self.padding == Padding::SameLower;
                return Ok(if is_lower { resolved(more, less, output) } else { resolved(less, more, output) });
            }
            _ => self.explicit_pads(axis, rank),
        };
        let padded = input.saturating_add(begin).saturating_add(end);
        let last_start = padded.checked_sub(reach).ok_or_else(|| {
            InferError(format!(
                "a window of extent {reach} does not fit the padded extent {padded} of spatial axis {axis}"
            ))
        })?;
        let output = if self.ceil_mode {
            (last_start.div_ceil(stride) + 1).min((input + begin).div_ceil(stride))
        } else {
            last_start / stride + 1
        };
        Ok(resolved(begin, end, output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(padding: Padding, stride: usize, dilation: usize, ceil_mode: bool) -> Window {
        Window { kernel: None, strides: Some(vec![stride]), dilations: Some(vec![dilation]), padding, ceil_mode }
    }

    #[test]
    fn pads_and_extents_follow_from_the_attributes() {
        struct Case {
            window: Window,
            input: usize,
            kernel: usize,
            expected: (usize, usize, usize),
        }
        let explicit = |begin, end| Padding::Explicit(vec![begin, end]);
        for Case { window, input, kernel, expected } in [
            Case { window: window(explicit(1, 1), 1, 1, false), input: 5, kernel: 3, expected: (1, 1, 5) },
            Case { window: window(explicit(0, 0), 2, 1, false), input: 5, kernel: 2, expected: (0, 0, 2) },
            Case { window: window(explicit(0, 0), 2, 1, true), input: 5, kernel: 2, expected: (0, 0, 3) },
            Case { window: window(explicit(1, 1), 3, 1, true), input: 2, kernel: 1, expected: (1, 1, 1) },
            Case { window: window(explicit(2, 2), 1, 2, false), input: 5, kernel: 3, expected: (2, 2, 5) },
            Case { window: window(Padding::Valid, 2, 1, false), input: 5, kernel: 3, expected: (0, 0, 2) },
            Case { window: window(Padding::SameUpper, 2, 1, false), input: 6, kernel: 3, expected: (0, 1, 3) },
            Case { window: window(Padding::SameLower, 2, 1, false), input: 6, kernel: 3, expected: (1, 0, 3) },
            Case { window: window(Padding::SameUpper, 4, 1, false), input: 6, kernel: 1, expected: (0, 0, 2) },
        ] {
            let axis = window.resolve(&[input], &[kernel]).unwrap()[0];
            assert_eq!((axis.pad_begin, axis.pad_end, axis.output), expected, "{window:?}");
            let symbolic = window.output_dims(&[Dim::symbol("n")], &[Dim::known(kernel as i64)]).unwrap();
            assert_eq!(symbolic[0].eval(&|_| Some(input as i64)), Some(expected.2 as i64), "{window:?}");
        }
    }

    #[test]
    fn taps_beyond_the_input_are_left_out() {
        let window = window(Padding::Explicit(vec![2, 2]), 1, 2, false);
        let axis = window.resolve(&[3], &[3]).unwrap()[0];
        let inside: Vec<_> = (0..axis.output).map(|i| axis.taps_inside(i)).collect();
        assert_eq!(inside, [1..3, 1..2, 0..2]);
        assert_eq!(axis.position(0, 1), 0);
        assert_eq!(axis.taps_within_padding(0), 3);
    }

    #[test]
    fn a_window_wider_than_the_input_is_refused() {
        assert!(window(Padding::Valid, 1, 1, false).resolve(&[2], &[3]).is_err());
        assert!(window(Padding::Valid, 1, 1, false).resolve(&[2, 2], &[3, 3]).is_err());
    }
}
