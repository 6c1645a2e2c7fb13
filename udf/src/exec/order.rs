//! In which order a row's images are asked.
//!
//! Each stage's cost and the share of rows that its answers let through are measured while the query runs; the next stage is
//! the one with the least cost for each row that it drops: cost / (1 - selectivity), the order that is best for independent
//! predicates (Hellerstein and Stonebraker, Predicate Migration, 1993).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What one stage has cost and dropped so far; shared by a query's streams.
#[derive(Debug, Default)]
pub(crate) struct StageStats {
    asked: AtomicU64,
    nanos: AtomicU64,
    tested: AtomicU64,
    passed: AtomicU64,
}

impl StageStats {
    /// So many images took so long, one after the other or not.
    pub(crate) fn note_cost(&self, images: usize, time: Duration) {
        self.asked.fetch_add(images as u64, Ordering::Relaxed);
        self.nanos
            .fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Of so many rows the predicates that this stage decided let so many through.
    pub(crate) fn note_passed(&self, tested: usize, passed: usize) {
        self.tested.fetch_add(tested as u64, Ordering::Relaxed);
        self.passed.fetch_add(passed as u64, Ordering::Relaxed);
    }

    /// Nanoseconds for each row dropped; what was never measured costs nothing, so that it soon is, and what drops nothing
    /// costs without end.
    pub(crate) fn rank(&self) -> f64 {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let (asked, tested) = (count(&self.asked), count(&self.tested));
        if asked == 0.0 {
            return 0.0;
        }
        let cost = count(&self.nanos) / asked;
        let dropped = if tested == 0.0 {
            0.0
        } else {
            1.0 - count(&self.passed) / tested
        };
        cost / dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(nanos: u64, passed: usize) -> StageStats {
        let measured = StageStats::default();
        measured.note_cost(10, Duration::from_nanos(nanos));
        measured.note_passed(10, passed);
        measured
    }

    #[test]
    fn cheap_and_selective_comes_first() {
        assert!(measured(100, 5).rank() < measured(200, 5).rank());
        assert!(measured(100, 1).rank() < measured(100, 9).rank());
        assert!(measured(1000, 1).rank() < measured(200, 9).rank());
    }

    #[test]
    fn what_is_unknown_is_tried_and_what_drops_nothing_waits() {
        assert_eq!(StageStats::default().rank(), 0.0);
        assert!(measured(1, 10).rank().is_infinite());
    }
}
