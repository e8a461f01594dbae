//! The generator behind the random operators: the Mersenne Twister MT19937, seeded by one word, with uniform and normal
//! numbers drawn as NumPy's `RandomState` draws them, which the standard's reference results come from.

use std::hash::{BuildHasher, RandomState};

/// Words of state.
const N: usize = 624;
/// Distance between words that are combined.
const M: usize = 397;

/// A stream of random numbers.
pub struct Generator {
    state: Box<[u32; N]>,
    next: usize,
    /// The second of the two normal numbers that are made at a time.
    spare_normal: Option<f64>,
}

impl Generator {
    /// The stream of a seed; a different one each time without a seed.
    pub fn new(seed: Option<u32>) -> Generator {
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0) as u32);
        let mut state = Box::new([seed; N]);
        for i in 1..N {
            let before = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(i as u32);
        }
        Generator { state, next: N, spare_normal: None }
    }

    fn refill(&mut self) {
        for i in 0..N {
            let joined = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let twist = if joined % 2 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (joined >> 1) ^ twist;
        }
        self.next = 0;
    }

    fn word(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number in \[0, 1) of 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        let (high, low) = (u64::from(self.word() >> 5), u64::from(self.word() >> 6));
        ((high << 26) | low) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of probability `p` happens.
    pub fn happens(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// A number of the standard normal distribution, by the polar method.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square < 1.0 && square > 0.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.spare_normal = Some(x * scale);
                return y * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_twisters() {
        let mut generator = Generator::new(Some(5489));
        let words: Vec<u32> = (0..10_000).map(|_| generator.word()).collect();
        assert_eq!((words[0], words[9_999]), (3_499_211_612, 4_123_659_995));
    }

    #[test]
    fn numbers_are_numpys() {
        let mut generator = Generator::new(Some(0));
        let uniform = [generator.uniform(), generator.uniform(), generator.uniform()];
        assert_eq!(uniform, [0.5488135039273248, 0.7151893663724195, 0.6027633760716439]);
        let mut generator = Generator::new(Some(0));
        let normal = [generator.normal(), generator.normal(), generator.normal()];
        for (got, expected) in normal.into_iter().zip([1.764052345967664, 0.4001572083672233, 0.9787379841057392]) {
            approx::assert_relative_eq!(got, expected, max_relative = 1e-14);
        }
    }

    #[test]
    fn without_a_seed_streams_differ() {
        assert_ne!(Generator::new(None).uniform(), Generator::new(None).uniform());
    }
}
