//! What this machine can do at most, measured: multiply-adds, products of bytes, bytes read.
//!
//! Nothing a kernel does can be faster than these, so a kernel's figure means something beside them. Rates are those of the
//! instruction set in force, and the best of many short rounds: what the machine can do, not what it does while something
//! else runs.

mod caches;
mod limits;
mod rates;

pub use caches::{Cache, caches};
pub use limits::{Bound, Reads, Work};

use crate::Isa;
use crate::int8::Level;

/// A measured rate, in 10⁹ operations or bytes per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Of one core.
    pub one: f64,
    /// Of as many threads as were asked for, all at once.
    pub all: f64,
}

/// The limits of this machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The instruction set that was measured.
    pub isa: Isa,
    /// What multiplies bytes in it.
    pub int8_unit: &'static str,
    /// The threads that were measured together.
    pub threads: usize,
    /// Multiplications and additions of `f32`, fused where the instruction set fuses them, that touch no memory.
    pub f32_gflops: Rate,
    /// Multiplications and additions of 8-bit codes, in full tiles that lie in the nearest cache.
    pub int8_gops: Rate,
    /// The caches for data, nearest first; empty where the system does not tell.
    pub caches: Vec<Cache>,
    /// Bytes read from each cache, nearest first, and from memory.
    pub reads: Vec<Reads>,
}

impl Machine {
    /// Measures one core, and `threads` threads at once, in about a second.
    pub fn measure(threads: usize) -> Machine {
        let threads = threads.max(1);
        let level = Level::current();
        let caches = caches();
        Machine {
            isa: level.isa,
            int8_unit: level.unit.name(),
            threads,
            f32_gflops: Rate::measure(threads, rates::f32_gflops),
            int8_gops: Rate::measure(threads, rates::int8_gops),
            reads: limits::reads(threads, &caches),
            caches,
        }
    }
}

impl Rate {
    fn measure(threads: usize, rate: impl Fn(usize) -> f64) -> Rate {
        let one = rate(1);
        Rate { one, all: if threads == 1 { one } else { rate(threads) } }
    }
}

/// The rate of `f32` multiply-adds of one core, in GFLOP/s.
pub fn f32_gflops() -> f64 {
    rates::f32_gflops(1)
}

/// The rate at which one core reads memory that no cache holds, in GB/s.
pub fn read_gb_s() -> f64 {
    limits::read_memory(&caches(), 1)
}

/// The rate of products of 8-bit codes of one core, in GOP/s.
pub fn int8_gops() -> f64 {
    rates::int8_gops(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_limits() {
        let machine = Machine::measure(2);
        let rates = [machine.f32_gflops, machine.int8_gops].into_iter().chain(machine.reads.iter().map(|r| r.gb_s));
        for rate in rates {
            assert!(rate.one > 0.0 && rate.all > 0.0 && rate.one.is_finite() && rate.all.is_finite(), "{machine:?}");
        }
        assert_eq!(machine.reads.last().map(|r| r.from.as_str()), Some("memory"));
    }
}
