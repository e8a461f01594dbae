//! The product with numbers: codes become numbers in registers.
//!
//! A lane is an output. A code is masked out of its word where it stands and becomes a number that is larger by the power of two
//! of its place, which the left row's element makes up for: nothing is shifted but the topmost code. The sum of a block is
//! scaled at its end, when its zero is taken off by way of the sum of the left row's block.

use super::pack::{LINE, Output, PANEL, PackedBlocks};
use crate::simd::{Kernel, MAX_LANES, Simd, dispatch_on};
use crate::{Isa, Threads};

/// The most left rows that are multiplied with a code while it is at hand.
const ROWS: usize = 4;

/// A core's time for one weight, for each of a few left rows.
const NS_PER_WEIGHT: f64 = 0.04;

/// Left rows as the product reads them.
struct Left {
    /// `[row][depth, whole blocks]`, each element divided by the power of two of its code's place.
    values: Vec<f32>,
    /// `[row][block]`: the sums of elements.
    sums: Vec<f32>,
    rows: usize,
}

impl Left {
    fn new(weights: &PackedBlocks, x: &[f32], rows: usize) -> Left {
        let (bits, per_word) = (weights.bits, 32 / weights.bits);
        let padded = weights.blocks() * weights.block;
        let mut values = vec![0.0; rows * padded];
        let mut sums = vec![0.0; rows * weights.blocks()];
        // The topmost code of a word is shifted down.
        let place = |i: usize| if i % per_word + 1 == per_word { 0 } else { i % per_word * bits };
        let factors: Vec<f32> = (0..per_word).map(|i| 1.0 / (1u32 << place(i)) as f32).collect();
        for row in 0..rows {
            let x = &x[row * weights.depth..][..weights.depth];
            for (values, x) in values[row * padded..][..padded].chunks_mut(per_word).zip(x.chunks(per_word)) {
                values.iter_mut().zip(x).zip(&factors).for_each(|((value, x), factor)| *value = x * factor);
            }
            let sums = &mut sums[row * weights.blocks()..][..weights.blocks()];
            sums.iter_mut().zip(x.chunks(weights.block)).for_each(|(sum, x)| *sum = x.iter().sum());
        }
        Left { values, sums, rows }
    }
}

impl PackedBlocks {
    /// `y = x · weightsᵀ + bias`: `rows` rows of x, each as long as a row of weights, and as many of y, each of a number for each row of
    /// weights.
    ///
    /// # Panics
    /// If lengths do not fit together.
    pub fn multiply(&self, threads: &Threads, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &mut [f32]) {
        self.multiply_with(Isa::current(), threads, x, rows, bias, y);
    }

    pub(super) fn multiply_with(
        &self,
        isa: Isa,
        threads: &Threads,
        x: &[f32],
        rows: usize,
        bias: Option<&[f32]>,
        y: &mut [f32],
    ) {
        self.check(x, rows, bias, y);
        if y.is_empty() {
            return;
        }
        let left = &Left::new(self, x, rows);
        let output = Output { start: y.as_mut_ptr(), row_stride: self.rows };
        let output = &output;
        let panel_ns = (PANEL * self.depth.max(1) * rows) as f64 * NS_PER_WEIGHT;
        // As many tasks as threads: each reads its part of the weights from its own cache each time.
        let tasks = threads.split(self.panels(), panel_ns).min(threads.count());
        threads.for_each(tasks, &|task| {
            let panels = self.panels() * task / tasks..self.panels() * (task + 1) / tasks;
            for panel in panels {
                dispatch_on(isa, Panel { weights: self, panel, left, bias, output: *output });
            }
        });
    }

    pub(super) fn check(&self, x: &[f32], rows: usize, bias: Option<&[f32]>, y: &[f32]) {
        assert_eq!(Some(x.len()), rows.checked_mul(self.depth), "whole rows of x");
        assert_eq!(Some(y.len()), rows.checked_mul(self.rows), "an output for each row of weights");
        assert!(bias.is_none_or(|bias| bias.len() == self.rows), "a bias for each row of weights");
    }
}

/// The products of one panel with all left rows.
struct Panel<'a> {
    weights: &'a PackedBlocks,
    panel: usize,
    left: &'a Left,
    bias: Option<&'a [f32]>,
    output: Output,
}

impl Kernel for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.weights.bits {
            2 => self.all_rows::<S, 2, 16, 30>(s),
            4 => self.all_rows::<S, 4, 8, 28>(s),
            _ => self.all_rows::<S, 8, 4, 24>(s),
        }
    }
}

impl Panel<'_> {
    #[inline(always)]
    fn all_rows<S: Simd, const BITS: i32, const PLACES: usize, const TOP: i32>(&self, s: S) {
        let mut row = 0;
        while row < self.left.rows {
            match self.left.rows - row {
                1 => self.sums::<S, BITS, PLACES, TOP, 1, 4>(s, row),
                2 | 3 => self.sums::<S, BITS, PLACES, TOP, 2, 2>(s, row),
                _ => self.sums::<S, BITS, PLACES, TOP, ROWS, 1>(s, row),
            }
            row += match self.left.rows - row {
                1 => 1,
                2 | 3 => 2,
                _ => ROWS,
            };
        }
    }

    /// The products with `M` left rows, summed in `WAYS` sums at once.
    #[inline(always)]
    fn sums<S: Simd, const BITS: i32, const PLACES: usize, const TOP: i32, const M: usize, const WAYS: usize>(
        &self,
        s: S,
        row: usize,
    ) {
        let weights = self.weights;
        let (blocks, words) = (weights.blocks(), weights.words());
        let padded = blocks * weights.block;
        let codes = &weights.codes.as_floats()[self.panel * blocks * words * PANEL..][..blocks * words * PANEL];
        let at = self.panel * blocks * PANEL;
        let scales = &weights.scales[at..][..blocks * PANEL];
        let zeros = weights.zeros.as_ref().map(|zeros| &zeros[at..][..blocks * PANEL]);
        let middle = s.splat(weights.middle());
        let x: [&[f32]; M] = std::array::from_fn(|m| &self.left.values[(row + m) * padded..][..padded]);
        let x_sums: [&[f32]; M] = std::array::from_fn(|m| &self.left.sums[(row + m) * blocks..][..blocks]);
        let low = (1i32 << BITS) - 1;
        for lane in (0..PANEL).step_by(S::LANES) {
            let mut totals = [s.splat(0.0); M];
            for block in 0..blocks {
                let mut sums = [[s.splat(0.0); M]; WAYS];
                for word in block * words..(block + 1) * words {
                    let line = s.bits(s.load(&codes[word * (LINE / 4) + lane..]));
                    let mut of_word = [&[0.0; PLACES]; M];
                    for (of_word, x) in of_word.iter_mut().zip(x) {
                        if let Some(x) = x[word * PLACES..].first_chunk() {
                            *of_word = x;
                        }
                    }
                    for place in 0..PLACES {
                        let code = if place + 1 == PLACES {
                            s.and_i32(s.shift_right::<TOP>(line), s.splat_i32(low))
                        } else {
                            s.and_i32(line, s.splat_i32(low << (BITS * place as i32)))
                        };
                        let code = s.to_f32(code);
                        for (sum, x) in sums[place % WAYS].iter_mut().zip(of_word) {
                            *sum = s.mul_add(code, s.splat(x[place]), *sum);
                        }
                    }
                }
                let scale = s.load(&scales[block * PANEL + lane..]);
                let zero = match zeros {
                    Some(zeros) => s.load(&zeros[block * PANEL + lane..]),
                    None => middle,
                };
                for m in 0..M {
                    let mut sum = sums[0][m];
                    for sums in &sums[1..] {
                        sum = s.add(sum, sums[m]);
                    }
                    let sum = s.neg_mul_add(zero, s.splat(x_sums[m][block]), sum);
                    totals[m] = s.mul_add(sum, scale, totals[m]);
                }
            }
            let first = self.panel * PANEL + lane;
            let width = S::LANES.min(weights.rows.saturating_sub(first));
            for (m, total) in totals.into_iter().enumerate() {
                let mut values = [0.0; MAX_LANES];
                s.store(&mut values, total);
                if let Some(bias) = self.bias.filter(|_| width > 0) {
                    values.iter_mut().zip(&bias[first..first + width]).for_each(|(value, bias)| *value += bias);
                }
                if width > 0 {
                    // SAFETY: `check` has compared the result's length, and the panel's columns are this task's alone.
                    unsafe { self.output.write(row + m, first, &values[..width]) };
                }
            }
        }
    }
}
