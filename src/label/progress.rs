//! How far a job is, told to whoever runs it while it runs.
//!
//! Reads the run's counters now and then; the work does not know that it is watched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use picsift_udf::RunStats;
use tokio::task::JoinHandle;

/// Time between two calls.
const EVERY: Duration = Duration::from_millis(100);

/// How far a job is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Rows that this run has finished; those of earlier runs of the job are in `before`.
    pub rows: u64,
    /// Rows that earlier runs of the job have finished.
    pub before: u64,
    /// Rows of the whole job, where that is known.
    pub total: Option<u64>,
    /// Images of this run that failed.
    pub failures: u64,
    /// Time since this run began to read.
    pub elapsed: Duration,
}

/// A task that reports until it is stopped.
pub(super) struct Watch {
    task: JoinHandle<()>,
    report: Arc<dyn Fn() + Send + Sync>,
}

impl Watch {
    /// Begins to call `tell`; `before` rows of `total` are done.
    pub(super) fn start(
        stats: Arc<RunStats>,
        before: u64,
        total: Option<u64>,
        tell: Arc<dyn Fn(&Progress) + Send + Sync>,
    ) -> Self {
        let started = Instant::now();
        let report = move || {
            tell(&Progress {
                rows: stats.rows(),
                before,
                total,
                failures: stats.failures(),
                elapsed: started.elapsed(),
            });
        };
        let report: Arc<dyn Fn() + Send + Sync> = Arc::new(report);
        let each = Arc::clone(&report);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                each();
            }
        });
        Self { task, report }
    }

    /// Tells how far it came, and nothing after that.
    pub(super) async fn stop(self) {
        self.task.abort();
        // Aborted is what was asked for; a panic of the report must not undo the work it reports on.
        if self.task.await.is_err_and(|error| error.is_cancelled()) {
            (self.report)();
        }
    }
}
