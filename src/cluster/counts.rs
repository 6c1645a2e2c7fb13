//! What the programs of a cluster have done, for whoever watches them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use picsift_cluster::Deal;
use picsift_udf::RunStats;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::metrics::{Measured, count, gauge};

/// Of an executor: units of jobs, and parts of queries.
#[derive(Debug, Default)]
pub(super) struct Doing {
    /// Of the queries.
    pub(super) queries: Arc<RunStats>,
    /// Tasks under way.
    pub(super) running: Arc<AtomicI64>,
    /// Whether the scheduler was silent when it was last asked.
    pub(super) is_alone: AtomicBool,
    of_units: Images,
    done: AtomicU64,
    failed: AtomicU64,
}

/// Images of units.
#[derive(Debug, Default)]
struct Images {
    images: AtomicU64,
    asked: AtomicU64,
    reused: AtomicU64,
    failures: AtomicU64,
    fetched: AtomicU64,
}

impl Images {
    fn all(&self) -> [&AtomicU64; 5] {
        [
            &self.images,
            &self.asked,
            &self.reused,
            &self.failures,
            &self.fetched,
        ]
    }
}

/// The same of a run.
pub(super) fn of_run(stats: &RunStats) -> [u64; 5] {
    [
        stats.images(),
        stats.asked(),
        stats.reused(),
        stats.failures(),
        stats.fetched(),
    ]
}

impl Doing {
    /// A unit has ended, of a run that had counted this before.
    pub(super) fn unit(&self, before: [u64; 5], stats: &RunStats, is_done: bool) {
        let new = of_run(stats).into_iter().zip(before);
        for (all, (now, before)) in self.of_units.all().into_iter().zip(new) {
            all.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        }
        self.ended(is_done);
    }

    /// A unit has ended.
    pub(super) fn ended(&self, is_done: bool) {
        let ended = match is_done {
            true => &self.done,
            false => &self.failed,
        };
        ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unit {
    outcome: String,
}

impl Measured for Doing {
    fn say(&self, registry: &mut Registry) {
        let of_queries = of_run(&self.queries);
        let names = [
            ("images", "Images that something was to be found out about"),
            ("images_asked", "Images that a model was asked about"),
            ("cache_hits", "Images whose answers were known"),
            ("image_failures", "Images without an answer"),
            ("images_fetched", "Images fetched for a reference"),
        ];
        let of_units = self.of_units.all().into_iter().zip(of_queries);
        for ((name, help), (of_units, of_queries)) in names.into_iter().zip(of_units) {
            let all = of_units.load(Ordering::Relaxed) + of_queries;
            count(registry, name, help, all);
        }
        let units = Family::<Unit, Counter>::default();
        for (outcome, number) in [("done", &self.done), ("failed", &self.failed)] {
            let outcome = outcome.to_string();
            let number = number.load(Ordering::Relaxed);
            units.get_or_create(&Unit { outcome }).inc_by(number);
        }
        registry.register("units", "Units of jobs that ended here, by how", units);
        let running = self.running.load(Ordering::Relaxed);
        gauge(
            registry,
            "running",
            "Units and parts of queries that are under way",
            running,
        );
        let answers = !self.is_alone.load(Ordering::Relaxed);
        gauge(
            registry,
            "scheduler_answers",
            "Whether the scheduler answers",
            answers.into(),
        );
    }
}

/// Of a scheduler.
pub(super) struct Scheduling(pub(super) Arc<Deal>);

impl Measured for Scheduling {
    fn say(&self, registry: &mut Registry) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let executors = number(self.0.executors());
        gauge(
            registry,
            "executors",
            "Executors that ask for work",
            executors,
        );
        let running = number(self.0.running());
        gauge(
            registry,
            "running",
            "Queries and waves of units that are under way",
            running,
        );
        let tasks = self.0.given();
        count(
            registry,
            "tasks",
            "Units and parts that were given to executors",
            tasks,
        );
    }
}
