//! How many tasks an executor takes at once, and how long it takes fewer after a unit that it could not do.
//!
//! An executor that is broken fails quickly, and would have every unit of a job before those that work have done their first. So after
//! each failure one of its slots stays empty for a while, longer with each in a row, and what it could not do is others' to take meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// How long a slot stays empty after a unit that could not be done.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The slots of an executor.
pub(crate) struct Slots {
    /// One permit each, of which tasks hold theirs.
    pub(crate) free: Arc<Semaphore>,
    /// Units that could not be done one after another.
    in_a_row: AtomicU32,
}

impl Slots {
    /// So many.
    pub(crate) fn new(tasks: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(tasks)),
            in_a_row: AtomicU32::new(0),
        }
    }

    /// A unit has ended; what has to wait for that waits on `threads`.
    pub(crate) fn ended(&self, has_failed: bool, threads: &Handle) {
        if !has_failed {
            self.in_a_row.store(0, Ordering::Relaxed);
            return;
        }
        let pause = pause(self.in_a_row.fetch_add(1, Ordering::Relaxed));
        let free = Arc::clone(&self.free);
        threads.spawn(async move {
            // It is never closed.
            let _held = free.acquire_owned().await;
            tokio::time::sleep(pause).await;
        });
    }
}

/// The pause after a failure that comes after so many others.
fn pause(before: u32) -> Duration {
    (FIRST_PAUSE * (1 << before.min(10))).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_empties_a_slot_for_a_while() {
        let slots = Slots::new(2);
        let ended = |has_failed| slots.ended(has_failed, &Handle::current());
        let wait_for = async |free| {
            while slots.free.available_permits() != free {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        ended(false);
        assert_eq!(slots.free.available_permits(), 2);
        ended(true);
        wait_for(1).await;
        ended(true);
        wait_for(0).await;
        wait_for(2).await;
        assert_eq!(slots.in_a_row.load(Ordering::Relaxed), 2);
        ended(false);
        assert_eq!(slots.in_a_row.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn each_failure_in_a_row_is_a_longer_pause() {
        assert_eq!(pause(0), FIRST_PAUSE);
        assert_eq!(pause(2), FIRST_PAUSE * 4);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
