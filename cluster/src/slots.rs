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

    #[tokio::test(start_paused = true)]
    async fn each_failure_in_a_row_empties_a_slot_for_longer() {
        let slots = Slots::new(2);
        let free = || slots.free.available_permits();
        let ended = |has_failed| slots.ended(has_failed, &Handle::current());
        let after = |pause| tokio::time::sleep(pause);
        ended(true);
        ended(true);
        after(FIRST_PAUSE / 2).await;
        assert_eq!(free(), 0);
        after(FIRST_PAUSE).await;
        assert_eq!(free(), 1);
        after(FIRST_PAUSE).await;
        assert_eq!(free(), 2);
        ended(false);
        ended(true);
        after(FIRST_PAUSE / 2).await;
        assert_eq!(free(), 1);
        after(FIRST_PAUSE).await;
        assert_eq!(free(), 2, "what was done in between counts");
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
