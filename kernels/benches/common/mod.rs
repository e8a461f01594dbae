//! What the benchmarks share: groups that say what the limit of their figures is, and values to compute with.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use planish_kernels::machine;
use std::sync::OnceLock;
use std::time::Duration;

/// What bounds the figures of a group.
#[allow(dead_code, reason = "each benchmark has groups of its own")]
#[derive(Clone, Copy)]
pub enum Limit {
    /// Multiplications and additions of `f32`, which criterion counts as elements.
    F32,
    /// The same of 8-bit codes.
    Int8,
    /// Bytes read from memory. What lies in caches may be faster.
    Memory,
}

impl Limit {
    /// The limit of one core, measured once.
    fn measured(self) -> String {
        static MEASURED: [OnceLock<f64>; 3] = [const { OnceLock::new() }; 3];
        let rate = |measure: fn() -> f64| *MEASURED[self as usize].get_or_init(measure);
        match self {
            Limit::F32 => format!("{:.1} GFLOP/s in f32", rate(machine::f32_gflops)),
            Limit::Int8 => format!("{:.1} GOP/s in int8", rate(machine::int8_gops)),
            Limit::Memory => format!("{:.1} GB/s read from memory", rate(machine::read_gb_s)),
        }
    }
}

/// A group of benchmarks of one core, whose limit is printed above it.
pub fn group<'a>(criterion: &'a mut Criterion, name: &str, limit: Limit) -> BenchmarkGroup<'a, WallTime> {
    println!("{name}: the limit of one core is {}", limit.measured());
    criterion.benchmark_group(name)
}

/// Short measurements: there are many.
pub fn criterion() -> Criterion {
    let criterion = Criterion::default().sample_size(20);
    criterion.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(600))
}

/// Numbers between -2 and 2.
pub fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 2003) as f32 / 500.0 - 2.0).collect()
}
