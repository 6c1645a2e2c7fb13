//! Bytes of images that one stream may hold between fetch and answer.
//!
//! Callers over budget wait until others are done, and one gets through when nothing else is held: over the bound a stream is
//! slower, never stuck. Every byte is reserved in DataFusion's memory pool too, so that other operators' needs count; a pool without
//! room counts as a budget without room.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use tokio::sync::Notify;

/// A bound on bytes; shared by everything that one stream has under way.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    held: Mutex<MemoryReservation>,
    released: Notify,
}

/// Bytes held; given back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryPermit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(name: String, limit: usize, pool: &Arc<dyn MemoryPool>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            held: Mutex::new(MemoryConsumer::new(name).register(pool)),
            released: Notify::new(),
        })
    }

    /// Waits until there is room for these bytes, or nothing is held.
    pub(crate) async fn hold(self: &Arc<Self>, bytes: usize) -> MemoryPermit {
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            // From here on no release is missed.
            released.as_mut().enable();
            if let Some(held) = self.try_hold(bytes) {
                return held;
            }
            released.await;
        }
    }

    /// Holds these bytes if there is room, or nothing is held.
    pub(crate) fn try_hold(self: &Arc<Self>, bytes: usize) -> Option<MemoryPermit> {
        let held = self.lock();
        if held.size() == 0 {
            // Nothing will be released: going on is the only way.
            held.grow(bytes);
        } else if held.size().saturating_add(bytes) > self.limit || held.try_grow(bytes).is_err() {
            return None;
        }
        Some(MemoryPermit {
            budget: Arc::clone(self),
            bytes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, MemoryReservation> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryPermit {
    /// Makes it this many bytes: what was guessed is known now, and is there whether or not there is room.
    pub(crate) fn resize(&mut self, bytes: usize) {
        let held = self.budget.lock();
        if bytes > self.bytes {
            held.grow(bytes - self.bytes);
        } else {
            held.shrink(self.bytes - bytes);
        }
        drop(held);
        if bytes < self.bytes {
            self.budget.released.notify_waiters();
        }
        self.bytes = bytes;
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        self.resize(0);
        // Also where nothing was held: a waiter may be the only one left.
        self.budget.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::execution::memory_pool::{GreedyMemoryPool, UnboundedMemoryPool};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn budget(limit: usize, pool: usize) -> Arc<Budget> {
        let pool: Arc<dyn MemoryPool> = match pool {
            0 => Arc::new(UnboundedMemoryPool::default()),
            size => Arc::new(GreedyMemoryPool::new(size)),
        };
        Budget::new("test".to_string(), limit, &pool)
    }

    #[tokio::test]
    async fn who_would_exceed_it_waits_for_room() {
        for budget in [budget(10, 0), budget(1000, 10)] {
            let first = budget.hold(6).await;
            let mut second = budget.hold(4).await;
            assert!(timeout(SOON, budget.hold(5)).await.is_err());
            let waiting = tokio::spawn({
                let budget = Arc::clone(&budget);
                async move { budget.hold(5).await }
            });
            tokio::time::sleep(SOON).await;
            second.resize(3);
            assert!(!waiting.is_finished());
            drop(first);
            drop(waiting.await.unwrap());
        }
    }

    #[tokio::test]
    async fn more_than_all_of_it_goes_alone() {
        let budget = budget(10, 5);
        let large = budget.hold(50).await;
        assert!(timeout(SOON, budget.hold(1)).await.is_err());
        drop(large);
        assert!(timeout(SOON, budget.hold(1)).await.is_ok());
    }
}
