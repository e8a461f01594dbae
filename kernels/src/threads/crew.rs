//! Workers that wait for tasks.
//!
//! Operators follow each other within microseconds, and waking a sleeping thread takes longer than many of them run. So a
//! worker that has nothing to do gives its core to whoever wants it, again and again, for a short while before it
//! sleeps. Between runs everybody sleeps.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How long a worker looks for work before it sleeps.
const PATIENCE: Duration = Duration::from_micros(100);

/// Looks between two glances at the clock.
const LOOKS: usize = 64;

/// Workers of a rayon pool that help whoever calls.
pub(super) struct Crew {
    shared: Arc<Shared>,
    workers: usize,
    /// Held by the caller whom the workers help.
    leader: Mutex<()>,
}

/// What callers and workers share.
struct Shared {
    /// The job to help with; null when there is none.
    job: AtomicPtr<Job>,
    /// Workers that may be looking at `job`'s target.
    active: AtomicUsize,
    /// Counts jobs, so that a worker knows one that it has helped with already.
    generation: AtomicUsize,
    sleepers: Mutex<usize>,
    wake: Condvar,
    is_over: AtomicBool,
}

/// Tasks of one call.
struct Job {
    /// The caller's function, alive until the caller has seen that no worker is active.
    run: *const (dyn Fn(usize) + Sync),
    shares: [Share; MOST_SHARES],
    num_shares: usize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Shares that the tasks of a call are cut into at most, one for each who works.
const MOST_SHARES: usize = 16;

/// Neighbouring tasks, which begin with those of one worker. It finds near what it wrote in the same share of the call
/// before; whoever is done with its own helps with the others'.
#[derive(Default)]
#[repr(align(64))]
struct Share {
    next: AtomicUsize,
    end: usize,
}

impl Crew {
    /// A crew of `workers` threads beside whoever calls.
    pub(super) fn new(workers: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .thread_name(|i| format!("planish-{}", i + 1))
            .build()?;
        let shared = Arc::new(Shared {
            job: AtomicPtr::new(null_mut()),
            active: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            sleepers: Mutex::new(0),
            wake: Condvar::new(),
            is_over: AtomicBool::new(false),
        });
        let helper = shared.clone();
        pool.spawn_broadcast(move |worker| helper.help(worker.index() + 1));
        Ok(Self { shared, workers, leader: Mutex::new(()) })
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// Calls `f` once for each of `0..tasks`, with the workers' help unless they help somebody else already.
    pub(super) fn for_each(&self, tasks: usize, f: &(dyn Fn(usize) + Sync)) {
        let _leader = match self.leader.try_lock() {
            Ok(leader) => leader,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..tasks).for_each(f),
        };
        // SAFETY: only the lifetime changes, and `Call` keeps this function from returning or unwinding, which would end the
        // real one, while a worker is active.
        let run =
            unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(f) };
        let mut job = Job::new(run, tasks, self.workers + 1);
        let call = Call::new(&self.shared, &mut job);
        // SAFETY: `job` outlives `call`.
        unsafe { &*call.job }.work(0, f);
        drop(call);
        let panic = job.panic.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.is_over.store(true, SeqCst);
        let sleepers = self.shared.lock_sleepers();
        self.shared.wake.notify_all();
        drop(sleepers);
    }
}

/// A job that workers can see; taken from them when it is dropped.
struct Call<'a> {
    shared: &'a Shared,
    job: *mut Job,
}

impl<'a> Call<'a> {
    fn new(shared: &'a Shared, job: &'a mut Job) -> Self {
        let call = Self { shared, job };
        shared.job.store(job, SeqCst);
        shared.generation.fetch_add(1, SeqCst);
        if *shared.lock_sleepers() > 0 {
            shared.wake.notify_all();
        }
        call
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.shared.job.store(null_mut(), SeqCst);
        // A worker counts itself before it looks: whoever is not counted now will find no job.
        while self.shared.active.load(SeqCst) > 0 {
            give_way();
        }
    }
}

impl Job {
    /// `tasks` tasks in shares for so many who work.
    fn new(run: *const (dyn Fn(usize) + Sync), tasks: usize, count: usize) -> Self {
        let num_shares = count.min(MOST_SHARES);
        let begin = |share: usize| share.min(num_shares) * tasks / num_shares;
        let share = |i: usize| Share { next: AtomicUsize::new(begin(i)), end: begin(i + 1) };
        Self { run, shares: std::array::from_fn(share), num_shares, panic: Mutex::new(None) }
    }

    /// Runs tasks until none is left, those of share `own` first.
    fn work(&self, own: usize, f: &(dyn Fn(usize) + Sync)) {
        for i in 0..self.num_shares {
            let share = &self.shares[(own + i) % self.num_shares];
            // Looking first keeps a counter of a share that is done where it is.
            while share.next.load(Relaxed) < share.end {
                let task = share.next.fetch_add(1, Relaxed);
                if task < share.end {
                    f(task);
                }
            }
        }
    }

    /// Lets nobody begin another task.
    fn give_up(&self) {
        self.shares.iter().for_each(|share| share.next.store(share.end, Relaxed));
    }
}

impl Shared {
    /// The life of worker `own`, who counts from one: share 0 is the caller's.
    fn help(&self, own: usize) {
        let mut last_seen = 0;
        while !self.is_over.load(SeqCst) {
            let generation = self.generation.load(SeqCst);
            if generation == last_seen && !self.wait(last_seen) {
                continue;
            }
            last_seen = self.generation.load(SeqCst);
            self.active.fetch_add(1, SeqCst);
            let job = self.job.load(SeqCst);
            if !job.is_null() {
                // SAFETY: the job was there when this worker was counted as active already, and the caller waits until no worker is
                // before it lets go of the job and its function.
                let (job, run) = unsafe { (&*job, &*(*job).run) };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.work(own, run))) {
                    // The caller carries the panic on.
                    job.give_up();
                    *job.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
                }
            }
            self.active.fetch_sub(1, SeqCst);
        }
    }

    /// Waits until there is another job than the last; may return before.
    fn wait(&self, last_seen: usize) -> bool {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            for _ in 0..LOOKS {
                if self.generation.load(SeqCst) != last_seen {
                    return true;
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
        }
        let mut sleepers = self.lock_sleepers();
        *sleepers += 1;
        // A caller counts its job before it asks for sleepers, under this same lock.
        while self.generation.load(SeqCst) == last_seen && !self.is_over.load(SeqCst) {
            sleepers = self.wake.wait(sleepers).unwrap_or_else(PoisonError::into_inner);
        }
        *sleepers -= 1;
        true
    }

    fn lock_sleepers(&self) -> MutexGuard<'_, usize> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets somebody else have the core for a moment.
fn give_way() {
    for _ in 0..LOOKS {
        std::hint::spin_loop();
    }
    std::thread::yield_now();
}
