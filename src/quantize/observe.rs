//! What was seen of a value while a model ran on calibration data, and the range that it is given.

use super::Calibrator;

/// Bins of a histogram, on both sides of 0.
const BINS: usize = 4096;

/// The share of numbers that a percentile leaves outside on each side.
const TAIL: f64 = 5e-5;

/// How much of a moving average each run replaces.
const MOMENTUM: f64 = 0.1;

/// Ranges that are tried, from all that was seen downwards.
const TRIALS: usize = 48;

/// How many codes a range is cut into.
const CODES: f64 = 255.0;

/// What was seen of a value.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    least: f64,
    most: f64,
    average: Option<[f64; 2]>,
    /// From −reach to +reach.
    histogram: Vec<u64>,
    reach: f64,
    /// The sum of each channel, and how many numbers of it there were.
    sums: Vec<f64>,
    counted: u64,
}

impl Default for Observed {
    fn default() -> Self {
        let histogram = vec![0; BINS];
        let (least, most) = (f64::INFINITY, f64::NEG_INFINITY);
        Observed { least, most, average: None, histogram, reach: 0.0, sums: Vec::new(), counted: 0 }
    }
}

impl Observed {
    /// Takes the numbers of one run, of this shape; `channel_axis` counts channels.
    pub(super) fn add(&mut self, numbers: &[f32], shape: &[usize], channel_axis: usize) {
        let finite = || numbers.iter().copied().filter(|x| x.is_finite()).map(f64::from);
        let (least, most) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), x| (l.min(x), m.max(x)));
        if least > most {
            return;
        }
        (self.least, self.most) = (self.least.min(least), self.most.max(most));
        let moved = |old: f64, new: f64| old + MOMENTUM * (new - old);
        self.average = Some(match self.average {
            Some([l, m]) => [moved(l, least), moved(m, most)],
            None => [least, most],
        });
        self.reach_out(least.abs().max(most.abs()));
        for x in finite() {
            let bin = self.bin(x);
            self.histogram[bin] += 1;
        }
        let Some(&channels) = shape.get(channel_axis) else { return };
        let inner: usize = shape[channel_axis + 1..].iter().product();
        if self.sums.is_empty() {
            self.sums = vec![0.0; channels];
        }
        if channels == 0 || inner == 0 || self.sums.len() != channels {
            return;
        }
        for (i, piece) in numbers.chunks_exact(inner).enumerate() {
            self.sums[i % channels] += piece.iter().map(|&x| f64::from(x)).sum::<f64>();
        }
        self.counted += (numbers.len() / channels) as u64;
    }

    /// The mean of each channel; nothing where channels changed their number.
    pub(super) fn means(&self) -> Vec<f64> {
        let count = self.counted.max(1) as f64;
        let means: Vec<f64> = self.sums.iter().map(|sum| sum / count).collect();
        if means.iter().all(|mean| mean.is_finite()) { means } else { Vec::new() }
    }

    fn bin(&self, x: f64) -> usize {
        let place = (x / self.reach + 1.0) / 2.0 * BINS as f64;
        // Saturates at both ends.
        (place as usize).min(BINS - 1)
    }

    /// Widens the histogram until it holds numbers of this magnitude: two bins become one, as often as need be.
    fn reach_out(&mut self, magnitude: f64) {
        if self.reach == 0.0 {
            self.reach = if magnitude > 0.0 { magnitude } else { f64::MIN_POSITIVE };
        }
        while self.reach < magnitude && self.reach.is_finite() {
            let mut wider = vec![0; BINS];
            for (i, &count) in self.histogram.iter().enumerate() {
                wider[BINS / 4 + i / 2] += count;
            }
            self.histogram = wider;
            self.reach *= 2.0;
        }
    }

    /// The lower end of a bin.
    fn begin(&self, bin: usize) -> f64 {
        (2.0 * bin as f64 / BINS as f64 - 1.0) * self.reach
    }

    /// The range to cut into codes; nothing where nothing was seen.
    pub(super) fn range(&self, calibrator: Calibrator) -> Option<[f32; 2]> {
        let seen = [self.least, self.most];
        if self.least > self.most {
            return None;
        }
        let range = match calibrator {
            Calibrator::MinMax => seen,
            Calibrator::MovingAverage => self.average.unwrap_or(seen),
            Calibrator::Percentile => self.percentile(),
            Calibrator::Entropy => self.best(seen, |range| self.entropy(range)),
            Calibrator::Mse => self.best(seen, |range| self.squared_error(range)),
        };
        Some(range.map(|end| end as f32))
    }

    fn percentile(&self) -> [f64; 2] {
        let all: u64 = self.histogram.iter().sum();
        let outside = (all as f64 * TAIL) as u64;
        let beyond = |mut bins: Box<dyn Iterator<Item = usize>>| {
            let mut passed = 0;
            bins.by_ref().find(|&bin| {
                passed += self.histogram[bin];
                passed > outside
            })
        };
        let low = beyond(Box::new(0..BINS)).map_or(self.least, |bin| self.begin(bin));
        let high = beyond(Box::new((0..BINS).rev())).map_or(self.most, |bin| self.begin(bin + 1));
        [low.max(self.least), high.min(self.most)]
    }

    /// The range of least cost among those that lie within what was seen.
    fn best(&self, [least, most]: [f64; 2], cost: impl Fn([f64; 2]) -> f64) -> [f64; 2] {
        let trial = |i: usize| {
            let share = 1.0 - 0.8 * i as f64 / TRIALS as f64;
            [least * share, most * share]
        };
        let mut best = ([least, most], f64::INFINITY);
        for range in (0..TRIALS).map(trial) {
            let cost = cost(range);
            if cost < best.1 {
                best = (range, cost);
            }
        }
        best.0
    }

    /// Σ (number − what its code stands for)², each number in the middle of its bin.
    fn squared_error(&self, [low, high]: [f64; 2]) -> f64 {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let step = (high - low) / CODES;
        let rounding = step * step / 12.0;
        let half = self.reach / BINS as f64;
        let cost = |(bin, &count): (usize, &u64)| {
            let x = self.begin(bin) + half;
            let cut = (x - x.clamp(low, high)).powi(2);
            count as f64 * if cut > 0.0 { cut } else { rounding }
        };
        self.histogram.iter().enumerate().map(cost).sum()
    }

    /// KL(what is seen ‖ what the codes tell of it): within the range each code's numbers are spread over its bins, and
    /// what lies outside is at the ends.
    fn entropy(&self, [low, high]: [f64; 2]) -> f64 {
        let (first, last) = (self.bin(low.min(0.0)), self.bin(high.max(0.0)));
        let mut seen: Vec<f64> = self.histogram[first..=last].iter().map(|&count| count as f64).collect();
        let mut told = vec![0.0; seen.len()];
        let each = (seen.len() as f64 / (CODES + 1.0)).max(1.0);
        let mut begin = 0;
        while begin < seen.len() {
            let code = (begin as f64 / each) as usize + 1;
            let end = ((code as f64 * each).ceil() as usize).clamp(begin + 1, seen.len());
            let bins = &seen[begin..end];
            let filled = bins.iter().filter(|&&count| count > 0.0).count().max(1) as f64;
            let share = bins.iter().sum::<f64>() / filled;
            for (told, &seen) in told[begin..end].iter_mut().zip(bins) {
                *told = if seen > 0.0 { share } else { 0.0 };
            }
            begin = end;
        }
        let count = |bins: &[u64]| bins.iter().sum::<u64>() as f64;
        if let Some(first_bin) = seen.first_mut() {
            *first_bin += count(&self.histogram[..first]);
        }
        if let Some(last_bin) = seen.last_mut() {
            *last_bin += count(&self.histogram[last + 1..]);
        }
        let (all_seen, all_told) = (seen.iter().sum::<f64>(), told.iter().sum::<f64>());
        if all_told == 0.0 {
            return f64::INFINITY;
        }
        let term = |(&p, &q): (&f64, &f64)| {
            let (p, q) = (p / all_seen, (q / all_told).max(1e-12));
            if p > 0.0 { p * (p / q).ln() } else { 0.0 }
        };
        seen.iter().zip(&told).map(term).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Calibrator; 5] =
        [Calibrator::MinMax, Calibrator::MovingAverage, Calibrator::Percentile, Calibrator::Entropy, Calibrator::Mse];

    /// Numbers that look normal, most of them within ±3.
    fn normal(count: usize) -> Vec<f32> {
        let mut state = 1u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        (0..count).map(|_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0).collect()
    }

    #[test]
    fn every_calibrator_stays_within_what_was_seen() {
        let mut observed = Observed::default();
        let numbers = normal(20_000);
        for piece in numbers.chunks(1000) {
            observed.add(piece, &[10, 100], 1);
        }
        let [least, most] = observed.range(Calibrator::MinMax).unwrap();
        for calibrator in ALL {
            let [low, high] = observed.range(calibrator).unwrap();
            assert!(low >= least && high <= most && low < -1.0 && high > 1.0, "{calibrator:?}: {low} to {high}");
        }
        assert_eq!(observed.histogram.iter().sum::<u64>(), 20_000);
        assert!(observed.means().iter().all(|mean| mean.abs() < 0.5));
    }

    #[test]
    fn one_far_number_is_cut_off_by_those_that_weigh() {
        let mut observed = Observed::default();
        observed.add(&normal(50_000), &[50_000], 0);
        observed.add(&[40.0], &[1], 0);
        assert_eq!(observed.range(Calibrator::MinMax).unwrap()[1], 40.0);
        for (calibrator, most) in
            [(Calibrator::MovingAverage, 20.0), (Calibrator::Percentile, 20.0), (Calibrator::Entropy, 39.0)]
        {
            let [_, high] = observed.range(calibrator).unwrap();
            assert!(high < most, "{calibrator:?}: {high}");
        }
        let errors = [Calibrator::Mse, Calibrator::MinMax]
            .map(|c| observed.squared_error(observed.range(c).unwrap().map(f64::from)));
        assert!(errors[0] <= errors[1]);
    }

    #[test]
    fn nothing_seen_is_no_range() {
        let mut observed = Observed::default();
        assert_eq!(observed.range(Calibrator::Mse), None);
        observed.add(&[f32::NAN, f32::INFINITY], &[2], 0);
        assert_eq!(observed.range(Calibrator::MinMax), None);
        observed.add(&[0.0; 4], &[4], 0);
        for calibrator in ALL {
            assert_eq!(observed.range(calibrator), Some([0.0, 0.0]), "{calibrator:?}");
        }
    }
}
