//! Memory that the pictures at work may take together: each has its bytes before it is decoded, and waits for them.
//!
//! Threads wait in the order in which they came, so that a large picture is not passed by small ones for ever. How many bytes a picture
//! takes is not known here.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that threads share.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: u64,
    /// The number that the next one to come gets, and the number whose turn it is.
    next: u64,
    turn: u64,
}

/// Bytes that are taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    memory: &'a Memory,
    bytes: u64,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Memory {
        Memory {
            limit,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits until `bytes` are free, and for whoever came before. More than all there are counts as all of them.
    pub(crate) fn take(&self, bytes: u64) -> Held<'_> {
        let bytes = bytes.min(self.limit);
        // The numbers are whole at every point where a panic could leave the lock.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.next;
        state.next += 1;
        while state.turn != number || state.taken + bytes > self.limit {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.turn += 1;
        state.taken += bytes;
        drop(state);
        self.changed.notify_all();
        Held {
            memory: self,
            bytes,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self
            .memory
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.taken -= self.bytes;
        drop(state);
        self.memory.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_everybody_gets_their_turn() {
        let memory = Memory::new(100);
        let (taken, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (memory, taken, most) = (&memory, &taken, &most);
                scope.spawn(move || {
                    for round in 0..500 {
                        // Among them some that need all, and more than all.
                        let bytes = [3, 40, 100, 1000][(thread + round) as usize % 4];
                        let held = memory.take(bytes);
                        let now = taken.fetch_add(held.bytes, Ordering::SeqCst) + held.bytes;
                        most.fetch_max(now, Ordering::SeqCst);
                        taken.fetch_sub(held.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 100);
        assert_eq!(memory.state.lock().unwrap().taken, 0);
    }
}
