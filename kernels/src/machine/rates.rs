//! How fast threads do work that is known, and the work that limits are measured with.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::int8::{LEFT_STEP, Level, RIGHT_STEP, full_tile};
use crate::simd::{Kernel, Simd, dispatch};

/// Rounds that a rate is the best of.
const ROUNDS: usize = 60;

/// Long enough that the threads of a round begin together, and short enough to fit between interruptions.
const ROUND: Duration = Duration::from_millis(1);

/// The longest that all rounds of one rate may take, on a machine that is busy.
const LONGEST: Duration = Duration::from_millis(100);

fn time(work: impl FnOnce() -> f64) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The highest rate in 10⁹ per second of `threads` threads that each call `work` with their number, over and over. `work` says
/// how much it did.
fn best_rate(threads: usize, work: impl Fn(usize) -> f64 + Sync) -> f64 {
    let (barrier, end) = (Barrier::new(threads), AtomicUsize::new(ROUNDS));
    let rounds = |thread: usize| -> Vec<(f64, Instant, Instant)> {
        // The first call may wait for pages and caches.
        let once = [(); 2].map(|()| time(|| work(thread))).into_iter().min().unwrap_or(ROUND);
        let calls = (ROUND.as_secs_f64() / once.as_secs_f64().max(1e-9)).ceil().clamp(1.0, 1e7) as usize;
        let begin = Instant::now();
        let round = |round: usize| {
            // One thread alone decides which round is the last, before any can begin that round.
            if thread == 0 && round > 0 && begin.elapsed() > LONGEST {
                end.store(round, Ordering::Relaxed);
            }
            barrier.wait();
            (round < end.load(Ordering::Relaxed)).then(|| {
                let start = Instant::now();
                let done = (0..calls).map(|_| work(thread)).sum();
                (done, start, Instant::now())
            })
        };
        (0..ROUNDS).map_while(round).collect()
    };
    let by_thread: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || rounds(thread))).collect();
        let own = rounds(0);
        let others = others.into_iter().map(|other| other.join().unwrap_or_default());
        std::iter::once(own).chain(others).collect()
    });
    let rate = |round: usize| {
        let of_round = || by_thread.iter().filter_map(|rounds| rounds.get(round));
        let done: f64 = of_round().map(|(done, ..)| done).sum();
        let start = of_round().map(|&(_, start, _)| start).min()?;
        let end = of_round().map(|&(.., end)| end).max()?;
        Some(done / (end - start).as_secs_f64().max(1e-9) / 1e9)
    };
    (0..ROUNDS).filter_map(rate).fold(0.0, f64::max)
}

pub(super) fn f32_gflops(threads: usize) -> f64 {
    best_rate(threads, |_| dispatch(MultiplyAdds { rounds: 10_000 }))
}

pub(super) fn int8_gops(threads: usize) -> f64 {
    const GROUPS: usize = 64;
    let (a, b) = ([1; GROUPS * LEFT_STEP], vec![1; 4 * GROUPS * RIGHT_STEP]);
    let level = Level::current();
    best_rate(threads, |_| 2.0 * full_tile(level, black_box(&a), black_box(&b)) as f64)
}

/// Numbers read between two looks at the clock.
const PIECE: usize = 1 << 18;

/// The rate at which each thread reads its part, again and again, in GB/s.
pub(super) fn read_gb_s(parts: &[&[f32]]) -> f64 {
    let next: Vec<AtomicUsize> = parts.iter().map(|_| AtomicUsize::new(0)).collect();
    best_rate(parts.len(), |thread| {
        let pieces = parts[thread].len().div_ceil(PIECE).max(1);
        let at = PIECE * (next[thread].fetch_add(1, Ordering::Relaxed) % pieces);
        let piece = &parts[thread][at..parts[thread].len().min(at + PIECE)];
        dispatch(Read { values: black_box(piece) });
        size_of_val(piece) as f64
    })
}

/// Independent chains of multiply-adds: enough for the longest latency times the most units, few enough for 16 registers.
const CHAINS: usize = 12;

struct MultiplyAdds {
    rounds: usize,
}

impl Kernel for MultiplyAdds {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let factor = s.splat(black_box(0.999));
        let mut sums = [s.splat(black_box(1.0)); CHAINS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = s.mul_add(*sum, factor, factor);
            }
        }
        let total = sums.into_iter().fold(s.splat(0.0), |x, y| s.add(x, y));
        black_box(s.reduce_add(total));
        (self.rounds * CHAINS * S::LANES * 2) as f64
    }
}

/// Numbers that lie beside each other in one of the streams that are read at once: what is prefetched goes on in each.
const STRETCH: usize = 256;

/// Streams read at once, and sums that do not wait for each other.
const STREAMS: usize = 8;

struct Read<'a> {
    values: &'a [f32],
}

impl Kernel for Read<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut sums = [s.splat(0.0); STREAMS];
        let (blocks, rest) = self.values.as_chunks::<{ STREAMS * STRETCH }>();
        for block in blocks {
            for at in (0..STRETCH).step_by(S::LANES) {
                for (stream, sum) in sums.iter_mut().enumerate() {
                    *sum = s.add(*sum, s.load(&block[stream * STRETCH + at..][..S::LANES]));
                }
            }
        }
        for vector in rest.chunks_exact(S::LANES) {
            sums[0] = s.add(sums[0], s.load(vector));
        }
        for sum in sums {
            black_box(s.reduce_add(sum));
        }
    }
}
