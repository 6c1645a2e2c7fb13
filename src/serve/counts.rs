//! What the server has done, for whoever watches it.
//!
//! Counts are kept here as numbers and given Prometheus' form when they are asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use picsift_udf::RunStats;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::budget::{Budget, Spent};
use super::refusal::Refusal;
use crate::metrics::{self, Measured};

/// Counts of everything that was done.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    images: AtomicU64,
    asked: AtomicU64,
    reused: AtomicU64,
    failures: AtomicU64,
    fetched: AtomicU64,
    bytes: AtomicU64,
    rows: AtomicU64,
    fetch_nanos: AtomicU64,
    decode_nanos: AtomicU64,
    model_nanos: AtomicU64,
    running: AtomicI64,
    /// How requests ended, by way in and outcome.
    ended: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

/// What has been counted of a run so far, so that only what is new is added.
#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    images: u64,
    asked: u64,
    reused: u64,
    failures: u64,
    fetched: u64,
    bytes: u64,
    fetch: Duration,
    decode: Duration,
    model: Duration,
}

impl Counted {
    fn of(stats: &RunStats) -> Self {
        Self {
            images: stats.images(),
            asked: stats.asked(),
            reused: stats.reused(),
            failures: stats.failures(),
            fetched: stats.fetched(),
            bytes: stats.bytes(),
            fetch: stats.fetch(),
            decode: stats.decode(),
            model: stats.model(),
        }
    }
}

/// A request that is under way; dropped, it is not any more.
#[derive(Debug)]
pub(super) struct Run {
    metrics: Arc<Metrics>,
    stats: Arc<RunStats>,
    budget: Arc<Budget>,
    counted: Counted,
    /// When it was last counted.
    since: Instant,
    way: &'static str,
    outcome: &'static str,
}

impl Run {
    /// A request that came this way begins, counts in `stats` and is paid from `budget`.
    pub(super) fn begin(
        metrics: &Arc<Metrics>,
        way: &'static str,
        stats: Arc<RunStats>,
        budget: &Arc<Budget>,
    ) -> Self {
        metrics.running.fetch_add(1, Ordering::Relaxed);
        Self {
            metrics: Arc::clone(metrics),
            stats,
            budget: Arc::clone(budget),
            counted: Counted::default(),
            since: Instant::now(),
            way,
            outcome: "cancelled",
        }
    }

    /// What it counts in.
    pub(super) fn stats(&self) -> &Arc<RunStats> {
        &self.stats
    }

    /// Adds what is new.
    pub(super) fn add(&mut self) {
        let (now, before, all) = (Counted::of(&self.stats), self.counted, &self.metrics);
        let nanos = |now: Duration, before: Duration| {
            u64::try_from(now.saturating_sub(before).as_nanos()).unwrap_or(u64::MAX)
        };
        for (total, new) in [
            (&all.images, now.images - before.images),
            (&all.asked, now.asked - before.asked),
            (&all.reused, now.reused - before.reused),
            (&all.failures, now.failures - before.failures),
            (&all.fetched, now.fetched - before.fetched),
            (&all.bytes, now.bytes - before.bytes),
            (&all.fetch_nanos, nanos(now.fetch, before.fetch)),
            (&all.decode_nanos, nanos(now.decode, before.decode)),
            (&all.model_nanos, nanos(now.model, before.model)),
        ] {
            total.fetch_add(new, Ordering::Relaxed);
        }
        let time = self.since.elapsed();
        self.since += time;
        self.budget.spend(Spent {
            images: now.asked - before.asked,
            bytes: now.bytes - before.bytes,
            time,
            rows: 0,
        });
        self.counted = now;
    }

    /// Whether there was enough for what was counted.
    ///
    /// # Errors
    /// As [`Budget::go_on`].
    pub(super) fn go_on(&self) -> Result<(), Refusal> {
        self.budget.go_on()
    }

    /// So many rows were given.
    pub(super) fn add_rows(&self, rows: u64) {
        self.metrics.rows.fetch_add(rows, Ordering::Relaxed);
        self.budget.spend(Spent {
            rows,
            ..Spent::default()
        });
    }

    /// How it ended, where nobody broke it off.
    pub(super) fn ended(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.add();
        self.metrics.note(self.way, self.outcome);
        self.metrics.running.fetch_sub(1, Ordering::Release);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    way: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: String,
}

impl Metrics {
    /// A request that came this way ended so.
    pub(super) fn note(&self, way: &'static str, outcome: &'static str) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *ended.entry((way, outcome)).or_default() += 1;
    }
}

impl Measured for Metrics {
    fn say(&self, registry: &mut Registry) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let seconds = |nanos: &AtomicU64| read(nanos) as f64 / 1e9;
        let mut count = |name: &str, help: &str, value: &AtomicU64| {
            metrics::count(registry, name, help, read(value));
        };
        count(
            "images",
            "Images that something was to be found out about",
            &self.images,
        );
        count(
            "images_asked",
            "Images that a model was asked about",
            &self.asked,
        );
        count(
            "cache_hits",
            "Images whose answers were known",
            &self.reused,
        );
        count("image_failures", "Images without an answer", &self.failures);
        count(
            "images_fetched",
            "Images fetched for a reference",
            &self.fetched,
        );
        count("rows", "Rows given to clients", &self.rows);
        let bytes = Counter::<u64>::default();
        bytes.inc_by(read(&self.bytes));
        registry.register_with_unit(
            "images",
            "Encoded images that were read",
            Unit::Bytes,
            bytes,
        );
        let stages = Family::<Stage, Counter<f64, AtomicU64>>::default();
        for (stage, nanos) in [
            ("fetch", &self.fetch_nanos),
            ("decode", &self.decode_nanos),
            ("model", &self.model_nanos),
        ] {
            let stage = stage.to_string();
            stages
                .get_or_create(&Stage { stage })
                .inc_by(seconds(nanos));
        }
        registry.register_with_unit(
            "stage",
            "Time in a stage, summed over images",
            Unit::Seconds,
            stages,
        );
        // Before the outcomes, so that who is not under way any more is among these.
        let running = self.running.load(Ordering::Acquire);
        let requests = Family::<Request, Counter>::default();
        let ended = self
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for ((way, outcome), number) in ended {
            let (way, outcome) = (way.to_string(), outcome.to_string());
            requests
                .get_or_create(&Request { way, outcome })
                .inc_by(number);
        }
        registry.register("requests", "Requests that ended, by how", requests);
        metrics::gauge(registry, "running", "Requests that are under way", running);
    }
}
