//! Rows of weights in 8 bits with one scale each, for products of integers.
//!
//! Processors before VNNI add two neighbouring products of 8 bits in 16, where 255 · (|a| + |b|) must fit: codes a and b of a
//! pair are held to |a| + |b| ≤ 128, so that a product of the codes is the same on every processor and in every runtime.

/// The most that the magnitudes of two neighbouring codes may sum to.
const MOST_OF_PAIR: i32 = 128;

/// The most scales that are tried.
const TRIALS: u32 = 24;

/// How far around the extreme value's scale others are tried: twice it leaves room for any pair.
const SHARES: [f32; 2] = [0.8, 2.0];

/// Rows of codes.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Row after row.
    pub codes: Vec<i8>,
    /// A scale for each row.
    pub scales: Vec<f32>,
    /// Σ w².
    pub energy: f64,
    /// Σ (w − what its code stands for)².
    pub error: f64,
}

impl Rows {
    /// Codes of rows of `depth` weights by the scales of least error; neighbours are held together where they `pair`.
    pub fn of(weights: &[f32], depth: usize, pair: bool) -> Rows {
        let mut rows = Rows { codes: vec![0; weights.len()], scales: Vec::new(), energy: 0.0, error: 0.0 };
        let mut trial = vec![0i8; depth];
        for (row, codes) in weights.chunks(depth.max(1)).zip(rows.codes.chunks_mut(depth.max(1))) {
            let largest = row.iter().fold(0f32, |most, w| most.max(w.abs()));
            let extreme = largest / 127.0;
            let extreme = if extreme.is_normal() { extreme } else { 1.0 };
            let mut best = (f64::INFINITY, extreme);
            for i in 0..=TRIALS {
                let share = SHARES[0] + (SHARES[1] - SHARES[0]) * i as f32 / TRIALS as f32;
                // The extreme value's own scale comes first: a tie is its.
                let scale = if i == 0 { extreme } else { extreme * share };
                let error = take(row, scale, pair, &mut trial);
                if error < best.0 {
                    best = (error, scale);
                    codes.copy_from_slice(&trial);
                }
            }
            rows.scales.push(best.1);
            rows.error += best.0;
            rows.energy += row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
        }
        rows
    }

    /// The error relative to the weights.
    pub fn relative_error(&self) -> f64 {
        if self.energy > 0.0 { (self.error / self.energy).sqrt() } else { 0.0 }
    }
}

/// The codes of a row at a scale, and their squared error.
fn take(row: &[f32], scale: f32, pair: bool, codes: &mut [i8]) -> f64 {
    let inverse = 1.0 / scale;
    for (code, &w) in codes.iter_mut().zip(row) {
        *code = (w * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
    }
    if pair {
        codes.chunks_exact_mut(2).for_each(hold_pair);
    }
    let off = |(&code, &w): (&i8, &f32)| f64::from(w - f32::from(code) * scale).powi(2);
    codes.iter().zip(row).map(off).sum()
}

/// Takes what is too much of a pair from both of its codes.
fn hold_pair(pair: &mut [i8]) {
    let [a, b] = [i32::from(pair[0]), i32::from(pair[1])];
    let excess = a.abs() + b.abs() - MOST_OF_PAIR;
    if excess <= 0 {
        return;
    }
    let from_a = (excess + i32::from(a.abs() >= b.abs())) / 2;
    // Both lie within ±127 and lose at most 63, so that neither changes its sign.
    pair[0] = (a - from_a * a.signum()) as i8;
    pair[1] = (b - (excess - from_a) * b.signum()) as i8;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(count: usize) -> Vec<f32> {
        (0..count).map(|i| (((i * 7919 + 13) % 997) as f32 / 500.0 - 0.99).powi(3)).collect()
    }

    #[test]
    fn neighbours_fit_sixteen_bits() {
        let w: Vec<f32> = weights(8 * 33).iter().map(|w| w.signum() * (0.5 + w.abs())).collect();
        let rows = Rows::of(&w, 33, true);
        for row in rows.codes.chunks(33) {
            for pair in row.chunks_exact(2) {
                assert!(pair[0].unsigned_abs() as u32 + pair[1].unsigned_abs() as u32 <= 128, "{pair:?}");
            }
        }
        assert!(rows.relative_error() < 0.02, "{}", rows.relative_error());
    }

    #[test]
    fn the_search_is_never_worse_than_the_extreme_value() {
        for pair in [false, true] {
            let w = weights(40 * 24);
            let rows = Rows::of(&w, 24, pair);
            let mut codes = vec![0; 24];
            let extreme: f64 = w
                .chunks(24)
                .map(|row| take(row, row.iter().fold(0f32, |m, w| m.max(w.abs())) / 127.0, pair, &mut codes))
                .sum();
            assert!(rows.error <= extreme);
            let restored = rows.codes.iter().enumerate().map(|(i, &c)| f32::from(c) * rows.scales[i / 24]);
            let error: f64 = restored.zip(&w).map(|(r, w)| f64::from(w - r).powi(2)).sum();
            assert!((error - rows.error).abs() <= 1e-9 + 1e-6 * error);
        }
    }

    #[test]
    fn rows_of_nothing_have_a_scale() {
        let rows = Rows::of(&[0.0; 8], 4, true);
        assert_eq!((rows.scales, rows.error), (vec![1.0; 2], 0.0));
    }
}
