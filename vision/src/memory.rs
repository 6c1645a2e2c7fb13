//! Memory that is free in this process, given back to the system.
//!
//! Weights are read in their published form, made into what is computed with, and dropped; the allocator keeps such room, hundreds of
//! megabytes of it, for allocations that never come.

/// Gives free memory back, where the allocator can be told to: glibc's. Takes milliseconds, so it is for moments after something large
/// was dropped.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back() {
    // SAFETY: it takes no pointer and touches only memory that is free, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Nothing, where the allocator cannot be told.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}
