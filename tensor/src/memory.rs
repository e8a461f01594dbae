//! The memory budget of a session, and its pool of buffers to reuse.

use crate::buffer::{Buffer, RawBuffer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Buffers below this many bytes go back to the system allocator, which is as fast for them.
const POOLED_FROM_BYTES: usize = 4096;

/// The pool gives a buffer to a request of at least this fraction (1 / `POOL_WASTE`) of its size.
const POOL_WASTE: usize = 8;

/// The account that tensor-sized allocations are charged to, and where freed buffers wait to be used again.
///
/// Cloning gives another handle to the same account.
#[derive(Clone)]
pub struct Memory(Arc<Account>);

struct Account {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
    /// Where freed buffers wait; none for tensors that belong to no session.
    pool: Option<Mutex<Pool>>,
}

/// Free buffers by capacity. Their bytes stay charged until they are evicted.
#[derive(Default)]
struct Pool {
    free: BTreeMap<usize, Vec<RawBuffer>>,
}

/// A request that the budget or the system refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryError {
    /// Bytes asked for.
    pub requested_bytes: usize,
    /// Bytes in use when they were asked for.
    pub used_bytes: usize,
    /// The account's limit.
    pub limit_bytes: usize,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.limit_bytes == usize::MAX {
            return write!(f, "memory limit: the system refused {} bytes", self.requested_bytes);
        }
        write!(
            f,
            "memory limit: {} bytes asked for with {} of {} in use",
            self.requested_bytes, self.used_bytes, self.limit_bytes
        )
    }
}

impl std::error::Error for MemoryError {}

impl Memory {
    /// An account of at most `limit_bytes` that keeps freed buffers to use again.
    pub fn with_limit(limit_bytes: usize) -> Memory {
        Memory::new(limit_bytes, Some(Mutex::default()))
    }

    /// An account that only the system limits, with a pool of its own.
    pub fn unlimited() -> Memory {
        Memory::with_limit(usize::MAX)
    }

    /// An account of at most `limit_bytes` that gives freed buffers back to the system at once: for tensors that are
    /// made once, as the weights of a model are.
    pub fn without_pool(limit_bytes: usize) -> Memory {
        Memory::new(limit_bytes, None)
    }

    /// The account of tensors that belong to no session: no limit, nothing pooled.
    pub fn global() -> &'static Memory {
        static GLOBAL: OnceLock<Memory> = OnceLock::new();
        GLOBAL.get_or_init(|| Memory::new(usize::MAX, None))
    }

    fn new(limit_bytes: usize, pool: Option<Mutex<Pool>>) -> Memory {
        let (used_bytes, peak_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Memory(Arc::new(Account { limit_bytes, used_bytes, peak_bytes, pool }))
    }

    /// The most bytes this account may hold.
    pub fn limit_bytes(&self) -> usize {
        self.0.limit_bytes
    }

    /// Bytes charged now, the pool's free buffers included.
    pub fn used_bytes(&self) -> usize {
        self.0.used_bytes.load(Relaxed)
    }

    /// The most bytes ever charged at once.
    pub fn peak_bytes(&self) -> usize {
        self.0.peak_bytes.load(Relaxed)
    }

    /// Charges `bytes` that are held elsewhere (a string tensor, packed weights) until the token is dropped.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, MemoryError> {
        self.charge(bytes)?;
        Ok(Reservation { memory: self.clone(), bytes })
    }

    /// A buffer of `bytes` bytes whose contents are initialised but unspecified.
    pub fn alloc(&self, bytes: usize) -> Result<Buffer, MemoryError> {
        match self.take_pooled(bytes) {
            Some(raw) => Ok(Buffer::owned(raw, bytes, self.clone())),
            None => self.alloc_fresh(bytes),
        }
    }

    /// A buffer of `bytes` zero bytes.
    pub fn alloc_zeroed(&self, bytes: usize) -> Result<Buffer, MemoryError> {
        match self.take_pooled(bytes) {
            Some(mut raw) => {
                raw.bytes_mut()[..bytes].fill(0);
                Ok(Buffer::owned(raw, bytes, self.clone()))
            }
            None => self.alloc_fresh(bytes),
        }
    }

    /// Returns all free buffers to the system.
    pub fn trim(&self) {
        let Some(mut pool) = self.lock_pool() else {
            return;
        };
        let evicted = std::mem::take(&mut pool.free);
        drop(pool);
        let bytes: usize = evicted.iter().map(|(capacity, list)| capacity * list.len()).sum();
        self.0.used_bytes.fetch_sub(bytes, Relaxed);
    }

    fn alloc_fresh(&self, bytes: usize) -> Result<Buffer, MemoryError> {
        let capacity = RawBuffer::capacity_for(bytes).ok_or_else(|| self.refuse(bytes))?;
        self.charge(capacity)?;
        match RawBuffer::zeroed(capacity) {
            Some(raw) => Ok(Buffer::owned(raw, bytes, self.clone())),
            None => {
                self.0.used_bytes.fetch_sub(capacity, Relaxed);
                Err(self.refuse(bytes))
            }
        }
    }

    fn charge(&self, bytes: usize) -> Result<(), MemoryError> {
        if self.try_charge(bytes) {
            return Ok(());
        }
        self.trim();
        if self.try_charge(bytes) { Ok(()) } else { Err(self.refuse(bytes)) }
    }

    fn try_charge(&self, bytes: usize) -> bool {
        let account = &self.0;
        let charged = account.used_bytes.fetch_update(Relaxed, Relaxed, |used| {
            used.checked_add(bytes).filter(|&total| total <= account.limit_bytes)
        });
        if let Ok(before) = charged {
            account.peak_bytes.fetch_max(before + bytes, Relaxed);
        }
        charged.is_ok()
    }

    fn refuse(&self, bytes: usize) -> MemoryError {
        MemoryError { requested_bytes: bytes, used_bytes: self.used_bytes(), limit_bytes: self.0.limit_bytes }
    }

    /// Takes back a buffer's memory, to reuse or to free.
    pub(crate) fn give_back(&self, raw: RawBuffer) {
        let capacity = raw.capacity();
        match self.lock_pool() {
            Some(mut pool) if capacity >= POOLED_FROM_BYTES => pool.free.entry(capacity).or_default().push(raw),
            _ => {
                self.0.used_bytes.fetch_sub(capacity, Relaxed);
            }
        }
    }

    fn take_pooled(&self, bytes: usize) -> Option<RawBuffer> {
        if bytes < POOLED_FROM_BYTES { None } else { self.lock_pool()?.take(bytes) }
    }

    fn lock_pool(&self) -> Option<MutexGuard<'_, Pool>> {
        Some(self.0.pool.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pool {
    /// The smallest free buffer that holds `bytes` without wasting too much.
    fn take(&mut self, bytes: usize) -> Option<RawBuffer> {
        let (&capacity, list) = self.free.range_mut(bytes..=bytes.saturating_mul(POOL_WASTE)).next()?;
        let raw = list.pop();
        if list.is_empty() {
            self.free.remove(&capacity);
        }
        raw
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} of {} bytes)", self.used_bytes(), self.0.limit_bytes)
    }
}

/// Bytes charged to a [`Memory`] until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Memory,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.0.used_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_decides() {
        let memory = Memory::with_limit(10_000);
        let held = memory.alloc(8_000).unwrap();
        assert!(memory.alloc(8_000).is_err());
        drop(held);
        assert!(memory.alloc(8_000).is_ok(), "a freed buffer is used again");
        assert!(memory.alloc(9_900).is_ok(), "free buffers are evicted for a larger request");
    }

    #[test]
    fn absurd_requests_are_refused_not_aborted() {
        let error = Memory::unlimited().alloc(usize::MAX / 2).unwrap_err();
        assert!(error.to_string().contains("the system refused"));
    }

    #[test]
    fn reservations_are_returned() {
        let memory = Memory::with_limit(100);
        let held = memory.reserve(60).unwrap();
        assert!(memory.reserve(60).is_err());
        drop(held);
        assert_eq!((memory.used_bytes(), memory.peak_bytes()), (0, 60));
    }
}
