//! Maximum and average pooling of planes of `f32`, in one or two dimensions.
//!
//! A window is separable: each output row first joins the input rows under it into a line, a vector at a time. The columns of
//! all lines of a band are then joined at once, which a stride beyond 1 first brings into an order that vectors can follow.

use crate::Isa;
use crate::simd::{Kernel, Operand, Simd, dispatch_on, zip};

/// How a window moves along one axis, with padding and output size already worked out.
///
/// Tap `k` of output `o` stands on input `o·stride + k·dilation - pad_begin`, or outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Input places.
    pub input: usize,
    /// Output places.
    pub output: usize,
    /// Taps of the window.
    pub kernel: usize,
    /// Input places from one output to the next; at least 1.
    pub stride: usize,
    /// Input places from one tap to the next; at least 1.
    pub dilation: usize,
    /// Padding before the input.
    pub pad_begin: usize,
    /// Padding after the input; counts in averages that include padding.
    pub pad_end: usize,
}

impl Window {
    /// The missing axis of a one-dimensional pool.
    pub const SINGLE: Window =
        Window { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, pad_begin: 0, pad_end: 0 };

    /// The input places under an output.
    fn places(&self, output: usize) -> impl Iterator<Item = usize> + use<> {
        let Window { input, kernel, stride, dilation, pad_begin, .. } = *self;
        let first = output.saturating_mul(stride);
        let padded = (0..kernel).map(move |tap| first.saturating_add(tap.saturating_mul(dilation)));
        padded.filter_map(move |place| place.checked_sub(pad_begin)).filter(move |place| *place < input)
    }

    /// How many taps of an output stand on the input, or on it and its padding.
    fn count(&self, output: usize, is_pad_included: bool) -> usize {
        let taps_before = |end: usize| {
            let first = output.saturating_mul(self.stride);
            end.saturating_sub(first).div_ceil(self.dilation).min(self.kernel)
        };
        let input_end = self.pad_begin.saturating_add(self.input);
        match is_pad_included {
            true => taps_before(input_end.saturating_add(self.pad_end)),
            false => taps_before(input_end) - taps_before(self.pad_begin),
        }
    }
}

/// What a pool makes of the values under a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The greatest, or NaN where there is one; `-∞` of padding alone.
    Max,
    /// The mean of the values; NaN of padding alone.
    Average,
    /// The mean, with padding as zeros.
    AverageWithPadding,
}

/// How a plane is pooled: some output rows at a time, each with its padding as a line of the same length, so that a tap of
/// all windows of a band lies on one stretch of it.
struct Lines {
    /// A line's length, a multiple of the stride.
    len: usize,
    /// Output rows of a band.
    rows: usize,
}

/// The numbers of a band that the nearest cache holds.
const BAND_LEN: usize = 4 * 1024;

/// Lines that are so much longer than the input are not worth it.
const LONGEST_LINE: usize = 1 << 20;

impl Lines {
    /// `None` where windows reach too far.
    fn new(rows: &Window, columns: &Window) -> Option<Self> {
        let reach = (columns.kernel - 1).checked_mul(columns.dilation)?;
        let last = (columns.output - 1).checked_mul(columns.stride)?;
        let len = last.checked_add(reach)?.checked_add(1)?.checked_next_multiple_of(columns.stride)?;
        let is_near = len <= LONGEST_LINE.max(columns.input.saturating_mul(2));
        is_near.then_some(Self { len, rows: (BAND_LEN / len).clamp(1, rows.output) })
    }

    fn band_len(&self) -> usize {
        self.rows * self.len
    }
}

/// How many values of working space [`pool`] needs; `None` where it does not take these windows, which reach too far.
pub fn scratch_len(rows: &Window, columns: &Window) -> Option<usize> {
    let lines = Lines::new(rows, columns)?;
    lines.band_len().checked_mul(3)?.checked_add(columns.output)
}

/// Pools each plane of `x`, `rows.input × columns.input`, into a plane of `y`, `rows.output × columns.output`.
///
/// # Panics
/// Where the lengths do not fit together, `scratch` is shorter than [`scratch_len`] or there is none, or a kernel, stride or
/// dilation is 0.
pub fn pool(kind: Pool, x: &[f32], y: &mut [f32], rows: &Window, columns: &Window, scratch: &mut [f32]) {
    pool_on(Isa::current(), kind, x, y, rows, columns, scratch);
}

/// [`pool`], with instructions of the caller's choice.
pub fn pool_on(isa: Isa, kind: Pool, x: &[f32], y: &mut [f32], rows: &Window, columns: &Window, scratch: &mut [f32]) {
    let [x_plane, y_plane] = [(rows.input, columns.input), (rows.output, columns.output)]
        .map(|(rows, columns)| rows.checked_mul(columns).expect("a plane fits in memory"));
    if y.is_empty() {
        return;
    }
    assert!(y.len().is_multiple_of(y_plane), "the output is a whole number of planes");
    assert_eq!(x.len(), y.len() / y_plane * x_plane, "a plane of input for each of output");
    assert!([rows, columns].iter().all(|axis| axis.stride > 0 && axis.dilation > 0), "windows move");
    let lines = Lines::new(rows, columns).expect("windows that reach no further than they may");
    let (band, rest) = scratch.split_at_mut(lines.band_len());
    let (phases, rest) = rest.split_at_mut(lines.band_len());
    let (joined, rest) = rest.split_at_mut(lines.band_len());
    let counts = &mut rest[..columns.output];
    for (output, count) in counts.iter_mut().enumerate() {
        *count = columns.count(output, kind == Pool::AverageWithPadding) as f32;
    }
    dispatch_on(isa, Planes { kind, x, y, x_plane, y_plane, rows, columns, lines, band, phases, joined, counts });
}

struct Planes<'a> {
    kind: Pool,
    x: &'a [f32],
    y: &'a mut [f32],
    x_plane: usize,
    y_plane: usize,
    rows: &'a Window,
    columns: &'a Window,
    lines: Lines,
    /// The input rows under each output row of a band, as one line.
    band: &'a mut [f32],
    /// The same in the order of [`split_phases`].
    phases: &'a mut [f32],
    /// The same with the columns under each output joined.
    joined: &'a mut [f32],
    /// Taps that each output column averages over.
    counts: &'a [f32],
}

impl Kernel for Planes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.kind {
            Pool::Max => self.each_plane(
                s,
                f32::NEG_INFINITY,
                #[inline(always)]
                |y, x| s.maximum(y, x),
                |_, _| {},
            ),
            Pool::Average | Pool::AverageWithPadding => {
                let (rows, counts) = (*self.rows, self.counts);
                let is_pad_included = self.kind == Pool::AverageWithPadding;
                let divide = |output_row, y: &mut [f32]| {
                    let count = s.splat(rows.count(output_row, is_pad_included) as f32);
                    zip(
                        s,
                        Operand::Output,
                        Operand::Slice(counts),
                        y,
                        #[inline(always)]
                        |y, column_count| s.div(y, s.mul(count, column_count)),
                    );
                };
                self.each_plane(
                    s,
                    0.0,
                    #[inline(always)]
                    |y, x| s.add(y, x),
                    divide,
                );
            }
        }
    }
}

impl Planes<'_> {
    /// `join` combines two values; `finish` is given each output row and its index.
    #[inline(always)]
    fn each_plane<S: Simd>(
        self,
        s: S,
        neutral: f32,
        join: impl Fn(S::F32, S::F32) -> S::F32,
        finish: impl Fn(usize, &mut [f32]),
    ) {
        let Planes { x, y, x_plane, y_plane, rows, columns, lines, band, phases, joined, .. } = self;
        let pad = columns.pad_begin.min(lines.len);
        let inner = columns.input.min(lines.len - pad);
        // Padding stays as it is now.
        band.fill(neutral);
        for (plane, y) in y.chunks_exact_mut(y_plane).enumerate() {
            let x = &x[plane * x_plane..][..x_plane];
            for (index, y) in y.chunks_mut(lines.rows * columns.output).enumerate() {
                let first = index * lines.rows;
                let count = y.len() / columns.output;
                for (i, line) in band.chunks_exact_mut(lines.len).take(count).enumerate() {
                    let line = &mut line[pad..][..inner];
                    let sources = rows.places(first + i).map(|place| &x[place * columns.input..][..inner]);
                    if !join_all(s, sources, line, &join) {
                        line.fill(neutral);
                    }
                }
                let len = count * lines.len;
                let band = split_phases(columns.stride, &band[..len], &mut phases[..len]);
                let line = lines.len / columns.stride;
                let wanted = (count - 1) * line + columns.output;
                let joined = &mut joined[..wanted];
                let sources = (0..columns.kernel).map(|tap| {
                    let shift = tap * columns.dilation;
                    &band[shift % columns.stride * (len / columns.stride) + shift / columns.stride..][..wanted]
                });
                join_all(s, sources, joined, &join);
                for (i, y) in y.chunks_exact_mut(columns.output).enumerate() {
                    y.copy_from_slice(&joined[i * line..][..y.len()]);
                    finish(first + i, y);
                }
            }
        }
    }
}

/// `y[i]` joins what all sources hold at `i`. Says whether there is a source.
#[inline(always)]
fn join_all<'x, S: Simd>(
    s: S,
    mut sources: impl Iterator<Item = &'x [f32]>,
    y: &mut [f32],
    join: &impl Fn(S::F32, S::F32) -> S::F32,
) -> bool {
    match (sources.next(), sources.next()) {
        (None, _) => return false,
        (Some(only), None) => y.copy_from_slice(only),
        (Some(a), Some(b)) => zip(s, Operand::Slice(a), Operand::Slice(b), y, join),
    }
    for x in sources {
        zip(s, Operand::Output, Operand::Slice(x), y, join);
    }
    true
}

/// Lines, whose length is a multiple of the stride, with their places in another order: those that leave no rest when
/// divided by the stride, then those that leave 1, and so on. What a tap meets on its way is then contiguous.
#[inline(always)]
fn split_phases<'a>(stride: usize, lines: &'a [f32], phases: &'a mut [f32]) -> &'a [f32] {
    match stride {
        1 => return lines,
        2 => {
            let (even, odd) = phases.split_at_mut(lines.len() / 2);
            for ((pair, even), odd) in lines.as_chunks::<2>().0.iter().zip(even).zip(odd) {
                [*even, *odd] = *pair;
            }
        }
        _ => {
            for (phase, to) in phases.chunks_exact_mut(lines.len() / stride).enumerate() {
                to.iter_mut().zip(lines[phase..].iter().step_by(stride)).for_each(|(to, from)| *to = *from);
            }
        }
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;
    use proptest::prelude::*;

    /// The definition, window by window.
    fn reference(kind: Pool, x: &[f32], rows: &Window, columns: &Window) -> Vec<f64> {
        let mut y = vec![];
        for plane in x.chunks(rows.input * columns.input) {
            for i in 0..rows.output {
                for j in 0..columns.output {
                    y.push(reference_window(kind, plane, rows, columns, i, j));
                }
            }
        }
        y
    }

    fn reference_window(kind: Pool, plane: &[f32], rows: &Window, columns: &Window, i: usize, j: usize) -> f64 {
        let (mut values, mut padding) = (vec![], 0);
        let place = |axis: &Window, output: usize, tap: usize| output * axis.stride + tap * axis.dilation;
        let is_padded = |axis: &Window, place: usize| place < axis.pad_begin + axis.input + axis.pad_end;
        for (a, b) in (0..rows.kernel).flat_map(|a| (0..columns.kernel).map(move |b| (a, b))) {
            let (row, column) = (place(rows, i, a), place(columns, j, b));
            let inner = (row.wrapping_sub(rows.pad_begin), column.wrapping_sub(columns.pad_begin));
            if inner.0 < rows.input && inner.1 < columns.input {
                values.push(f64::from(plane[inner.0 * columns.input + inner.1]));
            } else if is_padded(rows, row) && is_padded(columns, column) {
                padding += 1;
            }
        }
        match kind {
            Pool::Max => values.into_iter().fold(f64::NEG_INFINITY, f64::max),
            Pool::Average => values.iter().sum::<f64>() / values.len() as f64,
            Pool::AverageWithPadding => values.iter().sum::<f64>() / (values.len() + padding) as f64,
        }
    }

    fn window() -> impl Strategy<Value = Window> {
        let sizes = (1..40_usize, 1..5_usize, 1..4_usize, 1..3_usize, 0..4_usize, 0..4_usize, any::<bool>());
        sizes.prop_map(|(input, kernel, stride, dilation, pad_begin, pad_end, is_ceil)| {
            let extent = (kernel - 1) * dilation + 1;
            let padded = (input + pad_begin + pad_end).max(extent);
            let pad_end = padded - input - pad_begin;
            let steps = if is_ceil { (padded - extent).div_ceil(stride) } else { (padded - extent) / stride };
            Window { input, output: steps + 1, kernel, stride, dilation, pad_begin, pad_end }
        })
    }

    proptest! {
        #[test]
        fn every_pool_equals_its_definition(rows in window(), columns in window(), planes in 1..3_usize) {
            let x = noise(planes * rows.input * columns.input, 2.0);
            let mut scratch = vec![f32::NAN; scratch_len(&rows, &columns).unwrap()];
            for kind in [Pool::Max, Pool::Average, Pool::AverageWithPadding] {
                let truth = reference(kind, &x, &rows, &columns);
                for isa in Isa::available() {
                    let mut y = vec![f32::NAN; truth.len()];
                    pool_on(isa, kind, &x, &mut y, &rows, &columns, &mut scratch);
                    for (y, truth) in y.iter().map(|y| f64::from(*y)).zip(&truth) {
                        let is_near = (y - truth).abs() < 1e-5 || y == *truth || y.is_nan() && truth.is_nan();
                        prop_assert!(is_near, "{:?} on {}: expected {}, got {}", kind, isa, truth, y);
                    }
                }
            }
        }
    }

    #[test]
    fn max_keeps_nan() {
        let columns = Window { input: 5, output: 3, kernel: 3, ..Window::SINGLE };
        let mut y = [0.0; 3];
        pool(
            Pool::Max,
            &[f32::NAN, 1.0, 2.0, 3.0, 4.0],
            &mut y,
            &Window::SINGLE,
            &columns,
            &mut vec![0.0; scratch_len(&Window::SINGLE, &columns).unwrap()],
        );
        assert!(y[0].is_nan());
        assert_eq!(y[1..], [3.0, 4.0]);
    }

    #[test]
    fn sizes_that_overflow_reach_nothing() {
        let far = Window { kernel: 3, dilation: usize::MAX, ..Window::SINGLE };
        assert_eq!(far.count(0, true), 1);
        assert_eq!(far.places(0).collect::<Vec<_>>(), [0]);
        assert_eq!(scratch_len(&Window::SINGLE, &far), None);
        let far = Window { kernel: 2, dilation: 1 << 30, ..Window::SINGLE };
        assert_eq!(scratch_len(&Window::SINGLE, &far), None);
    }
}
