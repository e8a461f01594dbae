//! What bounds a piece of work: the multipliers, or the cache or memory that it reads.

use super::{Cache, Machine, Rate, rates};

/// The rate of reading what lies in one cache, or in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Reads {
    /// `L1`, `L2` …, `memory`.
    pub from: String,
    /// What it holds for all threads together; `None` for memory.
    pub capacity_bytes: Option<usize>,
    /// In GB/s.
    pub gb_s: Rate,
}

/// What a kernel has to do.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work {
    /// Multiplications and additions, a multiply-accumulate being two.
    pub operations: f64,
    /// Whether they are products of codes of 8 bits or fewer.
    pub is_int8: bool,
    /// Bytes read and written that the work before may have left in a cache.
    pub fresh_bytes: f64,
    /// Bytes read that were last touched long ago, such as weights, and …
    pub stale_bytes: f64,
    /// … the bytes touched from one time to the next.
    pub stale_among_bytes: f64,
}

/// The least time that a [`Work`] can take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound<'a> {
    /// With all threads.
    pub seconds: f64,
    /// What it waits for: `f32`, `int8`, or where [`Reads`] are from.
    pub by: &'a str,
}

impl Machine {
    /// The least time that `work` can take with all threads: that of its operations or that of its bytes, whichever is
    /// longer. Writes count as reads do.
    pub fn bound(&self, work: &Work) -> Bound<'_> {
        let (rate, unit) = if work.is_int8 { (self.int8_gops, "int8") } else { (self.f32_gflops, "f32") };
        let computes = Bound { seconds: work.operations / (rate.all * 1e9), by: unit };
        let fresh = self.moves(work.fresh_bytes, work.fresh_bytes);
        let stale = self.moves(work.stale_bytes, work.stale_among_bytes);
        let by = if stale.seconds > fresh.seconds { stale.by } else { fresh.by };
        let moves = Bound { seconds: fresh.seconds + stale.seconds, by };
        if moves.seconds > computes.seconds { moves } else { computes }
    }

    /// The least time to read bytes that lie among so many.
    fn moves(&self, bytes: f64, among_bytes: f64) -> Bound<'_> {
        let holds = |reads: &&Reads| reads.capacity_bytes.is_none_or(|capacity| among_bytes <= capacity as f64);
        match self.reads.iter().find(holds) {
            Some(reads) => Bound { seconds: bytes / (reads.gb_s.all * 1e9), by: &reads.from },
            None => Bound { seconds: 0.0, by: "memory" },
        }
    }
}

pub(super) fn reads(threads: usize, caches: &[Cache]) -> Vec<Reads> {
    let mut found: Vec<Reads> = Vec::new();
    let measure = |bytes_of: &dyn Fn(usize) -> usize| {
        let buffer = buffer(bytes_of(1).max(bytes_of(threads)), threads);
        Rate::measure(threads, |threads| read_parts(&buffer[..bytes_of(threads) / 4], threads))
    };
    for cache in caches {
        // Half of what it holds, for something else is there too.
        let capacity = |threads: usize| cache.bytes * threads.div_ceil(cache.shared_by);
        let gb_s = measure(&|threads| capacity(threads) / 2);
        found.push(Reads { from: format!("L{}", cache.level), capacity_bytes: Some(capacity(threads)), gb_s });
    }
    let bytes = memory_bytes(caches);
    found.push(Reads { from: "memory".to_owned(), capacity_bytes: None, gb_s: measure(&|_| bytes) });
    found
}

pub(super) fn read_memory(caches: &[Cache], threads: usize) -> f64 {
    read_parts(&buffer(memory_bytes(caches), threads), threads)
}

/// Much more than any cache holds, within reason.
fn memory_bytes(caches: &[Cache]) -> usize {
    let largest = caches.iter().map(|cache| cache.bytes).max().unwrap_or(0);
    largest.saturating_mul(4).clamp(64 << 20, 256 << 20)
}

fn read_parts(values: &[f32], threads: usize) -> f64 {
    let parts: Vec<&[f32]> = values.chunks(values.len().div_ceil(threads).max(1)).collect();
    rates::read_gb_s(&parts)
}

/// Memory that is there: pages nobody has written to are all the same one. Threads share the writing.
fn buffer(bytes: usize, threads: usize) -> Vec<f32> {
    let mut values = vec![0.0; bytes / 4];
    let part = values.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        values.chunks_mut(part).for_each(|part| {
            scope.spawn(|| part.fill(1.0));
        });
    });
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    fn machine() -> Machine {
        let rate = |all: f64| Rate { one: all / 2.0, all };
        let reads = |from: &str, capacity_bytes, all| Reads { from: from.to_owned(), capacity_bytes, gb_s: rate(all) };
        Machine {
            isa: Isa::Scalar,
            int8_unit: "portable",
            threads: 2,
            f32_gflops: rate(100.0),
            int8_gops: rate(400.0),
            caches: Vec::new(),
            reads: vec![reads("L2", Some(1_000_000), 100.0), reads("memory", None, 10.0)],
        }
    }

    #[test]
    fn the_slower_of_multipliers_and_memory_bounds() {
        let machine = machine();
        let products = Work { operations: 1e9, fresh_bytes: 1e5, ..Work::default() };
        assert_eq!(machine.bound(&products), Bound { seconds: 0.01, by: "f32" });
        assert_eq!(machine.bound(&Work { is_int8: true, ..products }), Bound { seconds: 0.0025, by: "int8" });
        let copies = Work { fresh_bytes: 1e6, ..Work::default() };
        assert_eq!(machine.bound(&copies), Bound { seconds: 1e-5, by: "L2" });
        assert_eq!(machine.bound(&Work { fresh_bytes: 1e7, ..Work::default() }), Bound { seconds: 1e-3, by: "memory" });
    }

    #[test]
    fn weights_come_from_where_all_weights_fit() {
        let machine = machine();
        let work = Work { fresh_bytes: 1e5, stale_bytes: 1e6, stale_among_bytes: 1e8, ..Work::default() };
        assert_eq!(machine.bound(&work), Bound { seconds: 1e-6 + 1e-4, by: "memory" });
        let work = Work { stale_among_bytes: 1e6, ..work };
        assert_eq!(machine.bound(&work), Bound { seconds: 1e-6 + 1e-5, by: "L2" });
    }
}
