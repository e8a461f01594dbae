//! Scales of weights in blocks, found by their error.
//!
//! A weight w becomes round(w / scale) + zero, held to the codes that there are, and stands for (code − zero) · scale. The scale that
//! makes the largest weight the largest code is rarely the best: a few weights may be cut off so that all others lie
//! closer to a code. For each of some scales around that one, and each zero near by, the codes are taken, the scale that fits
//! these codes best (least squares) replaces it, and the pair of least squared error is kept.

/// The codes that weights become, and how scales are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// 4 or 8.
    pub bits: u32,
    /// Whether 0 is always the same code.
    pub is_symmetric: bool,
    /// Whether scales are rounded to 16 bits.
    pub has_half_scales: bool,
}

/// What a block's codes mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The distance of two codes; negative where the code of most magnitude is to be a positive weight.
    pub scale: f32,
    /// The code of 0, counted from the lowest code.
    pub zero: u8,
}

/// How far around the extreme value's scale others are tried: from this share of it …
const LEAST: f32 = 0.68;

/// … to this one.
const MOST: f32 = 1.12;

/// Adding and subtracting it rounds a `float` of at most 22 bits to the nearest integer, halves to even.
const ROUNDER: f32 = 12_582_912.0;

impl Grid {
    /// The highest code, counted from 0.
    fn highest(self) -> f32 {
        ((1u32 << self.bits) - 1) as f32
    }

    /// The code of 0 of a symmetric grid.
    pub fn middle(self) -> u8 {
        1 << (self.bits - 1)
    }

    /// How many scales are tried: the more bits there are, the less a cut is worth.
    fn num_trials(self) -> u32 {
        if self.bits == 4 { 16 } else { 4 }
    }

    /// The scale as it is kept.
    fn kept(self, scale: f32) -> f32 {
        if self.has_half_scales { half(scale) } else { scale }
    }

    /// The scale and zero that make the extreme values of a block its extreme codes.
    pub fn extreme(self, block: &[f32]) -> Fit {
        let least = block.iter().copied().fold(0.0, f32::min);
        let most = block.iter().copied().fold(0.0, f32::max);
        let middle = self.middle();
        if self.is_symmetric {
            let largest = if -least > most { least } else { most };
            let scale = self.kept(-largest / f32::from(middle));
            return Fit { scale: usable(scale), zero: middle };
        }
        let scale = usable(self.kept((most - least) / self.highest()));
        Fit { scale, zero: self.zero(least, scale) }
    }

    fn zero(self, least: f32, scale: f32) -> u8 {
        // Saturates and takes no NaN: the scale is not 0.
        (-least / scale).round().clamp(0.0, self.highest()) as u8
    }

    /// The scale and zero of least squared error among those tried, never worse than [`extreme`](Self::extreme).
    pub fn fit(self, block: &[f32]) -> Fit {
        let extreme = self.extreme(block);
        let mut best = (self.error(block, extreme), extreme);
        if best.0 == 0.0 {
            return extreme;
        }
        let least = block.iter().copied().fold(0.0, f32::min);
        for trial in 0..=self.num_trials() {
            let share = LEAST + (MOST - LEAST) * trial as f32 / self.num_trials() as f32;
            let share = if self.bits == 8 { 1.0 + (share - 1.0) / 16.0 } else { share };
            let scale = extreme.scale * share;
            let mut consider = |scale: f32, zero: u8| {
                let refined = self.refined(block, Fit { scale, zero });
                let error = self.error(block, refined);
                if error < best.0 {
                    best = (error, refined);
                }
            };
            if self.is_symmetric {
                consider(scale, extreme.zero);
                consider(-scale, extreme.zero);
            } else {
                let zero = self.zero(least, scale);
                let near = zero.saturating_sub(1)..=zero.saturating_add(1).min(self.highest() as u8);
                near.for_each(|zero| consider(scale, zero));
            }
        }
        best.1
    }

    /// The scale that fits the codes of `fit` best.
    fn refined(self, block: &[f32], fit: Fit) -> Fit {
        let (inverse, [low, high]) = (1.0 / fit.scale, self.range(fit.zero));
        let (mut by_code, mut of_codes) = ([0f32; LANES], [0f32; LANES]);
        each_lane(block, |lane, w| {
            let code = nearest(w * inverse, low, high);
            by_code[lane] += code * w;
            of_codes[lane] += code * code;
        });
        let (by_code, of_codes) = (by_code.iter().sum::<f32>(), of_codes.iter().sum::<f32>());
        let scale = self.kept(by_code / of_codes);
        if scale.is_normal() { Fit { scale, ..fit } } else { fit }
    }

    /// Σ (weight − what its code stands for)².
    pub fn error(self, block: &[f32], fit: Fit) -> f32 {
        let (inverse, [low, high]) = (1.0 / fit.scale, self.range(fit.zero));
        let mut sums = [0f32; LANES];
        each_lane(block, |lane, w| {
            let off = w - nearest(w * inverse, low, high) * fit.scale;
            sums[lane] += off * off;
        });
        sums.iter().sum()
    }

    /// The codes less the zero that there are.
    fn range(self, zero: u8) -> [f32; 2] {
        [-f32::from(zero), self.highest() - f32::from(zero)]
    }

    /// The codes of a block, counted from 0.
    pub fn codes(self, block: &[f32], fit: Fit, codes: &mut [u8]) {
        let (inverse, [low, high]) = (1.0 / fit.scale, self.range(fit.zero));
        for (code, &w) in codes.iter_mut().zip(block) {
            *code = (nearest(w * inverse, low, high) + f32::from(fit.zero)) as u8;
        }
    }
}

/// Weights that are taken together.
const LANES: usize = 8;

/// Brings `take` to each weight with the lane that sums it.
#[inline(always)]
fn each_lane(block: &[f32], mut take: impl FnMut(usize, f32)) {
    let (whole, rest) = block.as_chunks::<LANES>();
    for weights in whole {
        (0..LANES).for_each(|lane| take(lane, weights[lane]));
    }
    rest.iter().enumerate().for_each(|(lane, &w)| take(lane, w));
}

/// The integer nearest to `x` from `low` to `high`.
#[inline(always)]
fn nearest(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > low { x } else { low };
    let x = if x < high { x } else { high };
    (x + ROUNDER) - ROUNDER
}

/// A scale to divide by.
fn usable(scale: f32) -> f32 {
    if scale.is_normal() { scale } else { 1.0 }
}

/// The nearest number of 16 bits, as long as it is no subnormal of them.
fn half(scale: f32) -> f32 {
    let rounded = planish_tensor::f16::from_f32(scale);
    if rounded.is_normal() { rounded.to_f32() } else { scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grids() -> impl Iterator<Item = Grid> {
        let of = |bits| {
            [false, true].into_iter().flat_map(move |is_symmetric| {
                [false, true].map(|has_half_scales| Grid { bits, is_symmetric, has_half_scales })
            })
        };
        [4, 8].into_iter().flat_map(of)
    }

    /// What the codes of a block stand for.
    fn restored(grid: Grid, block: &[f32], fit: Fit) -> Vec<f32> {
        let mut codes = vec![0; block.len()];
        grid.codes(block, fit, &mut codes);
        assert!(codes.iter().all(|&code| f32::from(code) <= grid.highest()));
        codes.iter().map(|&code| (f32::from(code) - f32::from(fit.zero)) * fit.scale).collect()
    }

    fn squared_error(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    }

    /// Numbers that look random, of `kind` distributions.
    fn block(seed: u64, length: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let magnitude = 10f32.powi((seed % 7) as i32 - 4);
        let shift = if seed.is_multiple_of(3) { 0.0 } else { uniform() - 0.5 };
        let mut draw = || match seed % 4 {
            0 => uniform() - 0.5,
            1 => (0..6).map(|_| uniform() - 0.5).sum::<f32>(),
            2 => (uniform() - 0.5).powi(5) * 16.0,
            _ => (uniform() * 4.0).floor() - 1.0,
        };
        (0..length).map(|_| (draw() + shift) * magnitude).collect()
    }

    #[test]
    fn the_search_is_never_worse_than_the_extreme_value() {
        let (mut searched, mut extreme) = (0.0, 0.0);
        for grid in grids() {
            for (seed, length) in (0..400).zip([16, 32, 64, 128, 7, 1, 33].into_iter().cycle()) {
                let block = block(seed, length);
                let (fit, plain) = (grid.fit(&block), grid.extreme(&block));
                let got = squared_error(&block, &restored(grid, &block, fit));
                let limit = squared_error(&block, &restored(grid, &block, plain));
                assert!(
                    got <= limit * (1.0 + 1e-4),
                    "{grid:?}, seed {seed}: {got} with {fit:?}, {limit} with {plain:?}"
                );
                if grid.bits == 4 {
                    let energy = squared_error(&block, &vec![0.0; block.len()]).max(1e-30);
                    searched += got / energy;
                    extreme += limit / energy;
                }
            }
        }
        assert!(searched < 0.85 * extreme, "the search gains little: {searched} of {extreme}");
    }

    #[test]
    fn what_lies_on_a_grid_is_found_again() {
        for grid in grids() {
            let zero = if grid.is_symmetric { grid.middle() } else { 3 };
            let made = Fit { scale: 0.125, zero };
            let highest = grid.highest() as u32;
            // Every code there is, the extreme ones among them.
            let block: Vec<f32> =
                (0..=highest).map(|i| ((i * 7 % (highest + 1)) as f32 - f32::from(zero)) * made.scale).collect();
            assert_eq!(restored(grid, &block, grid.fit(&block)), block, "{grid:?}");
        }
    }

    #[test]
    fn blocks_of_nothing_stay_nothing() {
        for grid in grids() {
            for block in [&[0.0; 8][..], &[1e-42, 0.0], &[-0.0]] {
                let fit = grid.fit(block);
                assert!(fit.scale.is_normal());
                assert!(restored(grid, block, fit).iter().all(|w| w.abs() <= 1e-41));
            }
        }
    }

    #[test]
    fn half_scales_are_halves() {
        for grid in grids().filter(|grid| grid.has_half_scales) {
            let fit = grid.fit(&block(5, 32));
            assert_eq!(planish_tensor::f16::from_f32(fit.scale).to_f32(), fit.scale);
        }
    }
}
