//! The process's allocator, with a lid that can be put on for a while.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Runs `work` so that the process aborts if it has more than `limit_bytes` allocated at any time. Nothing else may
/// allocate meanwhile.
pub fn within<T>(limit_bytes: usize, work: impl FnOnce() -> T) -> T {
    let lid = ALLOCATOR.allocated().saturating_add(limit_bytes);
    ALLOCATOR.set_limit(lid).expect("the lid is above what is allocated");
    let result = work();
    ALLOCATOR.set_limit(usize::MAX).expect("nothing is above the largest number");
    result
}
