//! Threads that one session owns, and how work is shared out among them.
//!
//! [`Threads`] is the calling thread plus `n - 1` workers of a rayon pool, which form a [`Crew`](crew): with one thread, or
//! one task, a call is an ordinary loop. Each thread claims the tasks of its own share one by one and then helps with the
//! others', so uneven tasks balance themselves; which thread runs a task never changes what the task computes.

mod crew;

use crew::Crew;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Below this much work, telling another thread of it costs more than it saves.
const WORTH_SHARING_NS: f64 = 20_000.0;

/// Tasks much shorter than this spend their time being claimed.
const SHORTEST_TASK_NS: f64 = 8_000.0;

/// Tasks offered to each thread, so that one that is late can be helped by the others.
const TASKS_PER_THREAD: usize = 4;

/// The calling thread and the workers that help it, and what may tell them to stop.
///
/// A kernel whose threads are stopped returns early and leaves the rest of its result as it was: whoever set the stop
/// must look at it again before using a result.
#[derive(Clone)]
pub struct Threads {
    crew: Option<Arc<Crew>>,
    stop: Option<Arc<Stop>>,
}

/// Tells whether work should stop; once it says so it always does.
type Stop = dyn Fn() -> bool + Send + Sync;

/// The operating system refused to start the worker threads.
#[derive(Debug)]
pub struct ThreadsError(rayon::ThreadPoolBuildError);

impl fmt::Display for ThreadsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("could not start the worker threads")
    }
}

impl std::error::Error for ThreadsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("count", &self.count()).finish()
    }
}

impl Threads {
    /// The calling thread alone.
    pub const fn single() -> Self {
        Self { crew: None, stop: None }
    }

    /// `count` threads in all, the calling one included; zero means one for every core that this process may use.
    pub fn new(count: usize) -> Result<Self, ThreadsError> {
        let count = match count {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        if count == 1 {
            return Ok(Self::single());
        }
        let crew = Crew::new(count - 1).map_err(ThreadsError)?;
        Ok(Self { crew: Some(Arc::new(crew)), stop: None })
    }

    /// The same threads, told to stop by `stop`.
    pub fn stopped_by(&self, stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { crew: self.crew.clone(), stop: Some(Arc::new(stop)) }
    }

    /// The calling thread alone, told to stop by the same.
    pub fn alone(&self) -> Self {
        Self { crew: None, stop: self.stop.clone() }
    }

    /// Whether work should stop. Kernels ask this about every millisecond.
    pub fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop())
    }

    /// How many threads there are, the calling one included.
    pub fn count(&self) -> usize {
        1 + self.crew.as_ref().map_or(0, |crew| crew.workers())
    }

    /// Calls `f(0)`, `f(1)`, …, `f(tasks - 1)` once each, in no particular order, and returns when all are done.
    ///
    /// A panic in `f` reaches the caller after every task that has begun is over.
    pub fn for_each(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        match self.crew.as_ref().filter(|_| tasks > 1) {
            Some(crew) => crew.for_each(tasks, f),
            None => (0..tasks).for_each(f),
        }
    }

    /// Calls `f` once with each item, in no particular order, and returns when all are done.
    pub fn for_each_item<I>(&self, items: I, f: impl Fn(I::Item) + Sync)
    where
        I: IntoIterator<IntoIter: ExactSizeIterator, Item: Send>,
    {
        self.share_out(items.into_iter(), &f);
    }

    /// [`Threads::for_each_item`], compiled once for each kind of iterator.
    fn share_out<T: Send>(&self, items: impl ExactSizeIterator<Item = T>, f: &(dyn Fn(T) + Sync)) {
        if self.crew.is_none() || items.len() == 1 {
            return items.for_each(f);
        }
        let items: Vec<Mutex<Option<T>>> = items.map(|item| Mutex::new(Some(item))).collect();
        self.for_each(items.len(), &|task| {
            let item = items[task].lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(item) = item {
                f(item);
            }
        });
    }

    /// Cuts `data` into pieces of `chunk` elements (the last may be shorter) and calls `f(index, piece)` for each.
    ///
    /// # Panics
    /// If `chunk` is zero.
    pub fn for_each_chunk_mut<T: Send>(&self, data: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        /// The start of a slice that several threads write to, each a part of its own.
        struct Start<T>(*mut T);
        // SAFETY: whoever holds it makes slices of elements that may be sent from it, no two of which share one.
        unsafe impl<T: Send> Sync for Start<T> {}
        impl<T> Start<T> {
            fn at(&self, index: usize) -> *mut T {
                self.0.wrapping_add(index)
            }
        }

        let (start, total) = (Start(data.as_mut_ptr()), data.len());
        self.for_each(total.div_ceil(chunk), &|index| {
            let begin = index * chunk;
            let length = chunk.min(total - begin);
            // SAFETY: `begin + length <= total`, so the piece lies in `data`, which is borrowed until every task is over; tasks have
            // different indices, so no two pieces share an element.
            f(index, unsafe { std::slice::from_raw_parts_mut(start.at(begin), length) });
        });
    }

    /// Into how many tasks `units` of work should be cut when each takes about `ns_per_unit` on one core: one when the
    /// whole is not worth sharing, never more than `units`, and at least one.
    pub fn split(&self, units: usize, ns_per_unit: f64) -> usize {
        let total_ns = units as f64 * ns_per_unit;
        if self.crew.is_none() || units <= 1 || total_ns < WORTH_SHARING_NS {
            return 1;
        }
        let by_length = (total_ns / SHORTEST_TASK_NS) as usize;
        by_length.min(self.count() * TASKS_PER_THREAD).clamp(1, units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn counts() -> [Threads; 3] {
        [Threads::single(), Threads::new(2).unwrap(), Threads::new(5).unwrap()]
    }

    #[test]
    fn every_task_runs_once() {
        for threads in counts() {
            for tasks in [0, 1, 2, 7, 1000] {
                let ran: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                threads.for_each(tasks, &|i| {
                    ran[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(ran.iter().all(|n| n.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn chunks_cover_the_data_and_know_their_index() {
        for threads in counts() {
            for len in [0, 1, 9, 10, 101] {
                let mut data = vec![usize::MAX; len];
                threads.for_each_chunk_mut(&mut data, 10, |index, piece| {
                    for (i, x) in piece.iter_mut().enumerate() {
                        *x = index * 10 + i;
                    }
                });
                assert!(data.iter().enumerate().all(|(i, &x)| i == x));
            }
        }
    }

    #[test]
    fn callers_at_the_same_time_do_not_wait_for_each_other() {
        let threads = Threads::new(3).unwrap();
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        threads.for_each(5, &|_| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 500 * 5);
    }

    #[test]
    fn workers_that_sleep_are_woken() {
        let threads = Threads::new(4).unwrap();
        for pause_us in [0, 10, 100, 1_000, 5_000] {
            for _ in 0..20 {
                let total = AtomicUsize::new(0);
                threads.for_each(16, &|_| {
                    total.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(total.into_inner(), 16);
                std::thread::park_timeout(std::time::Duration::from_micros(pause_us));
            }
        }
    }

    #[test]
    fn a_task_may_share_out_more_work() {
        let threads = Threads::new(3).unwrap();
        let total = AtomicUsize::new(0);
        threads.for_each(8, &|_| {
            threads.for_each(8, &|_| {
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner(), 64);
    }

    #[test]
    fn stops_are_heard_by_the_calling_thread_alone_too() {
        let threads = Threads::new(2).unwrap();
        assert!(!threads.is_stopped() && !threads.alone().is_stopped());
        let stopped = threads.stopped_by(|| true);
        assert!(stopped.is_stopped() && stopped.alone().is_stopped());
        assert_eq!((stopped.count(), stopped.alone().count()), (2, 1));
    }

    #[test]
    fn small_work_stays_on_one_core() {
        let threads = Threads::new(4).unwrap();
        assert_eq!(threads.split(1000, 1.0), 1);
        assert_eq!(threads.split(1, 1e9), 1);
        assert_eq!(threads.split(3, 1e6), 3);
        assert_eq!(threads.split(1000, 1e6), 16);
        assert_eq!(Threads::single().split(1000, 1e6), 1);
    }

    #[test]
    #[should_panic(expected = "task 3")]
    fn a_panic_reaches_the_caller() {
        let threads = Threads::new(3).unwrap();
        let all = |fails: bool| threads.for_each(64, &|i| assert!(!(fails && i == 40), "task {i}"));
        for _ in 0..50 {
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| all(true))).is_err());
            all(false);
        }
        Threads::new(2).unwrap().for_each(8, &|i| assert!(i != 3, "task {i}"));
    }
}
