//! Counts and times of a run.
//!
//! Owns the counters and what each means; who shows them (EXPLAIN ANALYZE, a progress bar, a manifest) reads them here.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::pipeline::cascade::CascadeStats;
use crate::pipeline::outcome::RowError;
use crate::pipeline::similar::Similar;

/// Distinct images that are counted exactly; past it the count is a lower bound, so that memory stays flat.
const DISTINCT_LIMIT: usize = 1_000_000;

/// Is told of every image that a run fetches, as an audit wants to know.
pub trait FetchObserver: fmt::Debug + Send + Sync {
    /// A fetch has ended: where the image is, without credentials, and how many bytes came or the kind of the error.
    fn fetched(&self, place: &str, came: Result<usize, &'static str>);
}

/// Counts and times of a run, added to by all of its streams.
#[derive(Debug, Default)]
pub struct RunStats {
    observer: Option<Arc<dyn FetchObserver>>,
    rows: AtomicU64,
    images: AtomicU64,
    fetched: AtomicU64,
    bytes: AtomicU64,
    decoded: AtomicU64,
    asked: AtomicU64,
    reused: AtomicU64,
    failures: AtomicU64,
    fetch_ns: AtomicU64,
    decode_ns: AtomicU64,
    model_ns: AtomicU64,
    last_failure: Mutex<Option<String>>,
    distinct: Mutex<HashSet<u64>>,
    distinct_is_bound: AtomicBool,
    similar: Mutex<Similar>,
    cascade: CascadeStats,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])* pub fn $name(&self) -> u64 { self.$name.load(Ordering::Relaxed) })*
    };
}

impl RunStats {
    /// Counters of a run whose fetches this one is told of.
    pub fn observed(observer: Arc<dyn FetchObserver>) -> Self {
        Self {
            observer: Some(observer),
            ..Self::default()
        }
    }

    /// A fetch of the image at `place` has ended.
    pub(crate) fn note_fetch(
        &self,
        place: impl FnOnce() -> String,
        came: Result<usize, &'static str>,
    ) {
        if let Some(observer) = &self.observer {
            observer.fetched(&place(), came);
        }
    }

    counts! {
        /// Rows seen, NULL images among them.
        rows,
        /// Rows with an image that something was to be found out about, failed ones among them.
        images,
        /// Images fetched for a reference.
        fetched,
        /// Bytes of encoded images that were fetched or read from a column.
        bytes,
        /// Images decoded.
        decoded,
        /// Images that the model was asked about, each encoded once.
        asked,
        /// Images whose answers were known from an image with the same bytes or the same reference.
        reused,
        /// Rows whose image has no answer.
        failures,
    }

    /// Time spent waiting for fetches, summed over images.
    pub fn fetch(&self) -> Duration {
        time(&self.fetch_ns)
    }

    /// Time decode threads were busy, summed over images; making the model's views of an image counts as decoding.
    pub fn decode(&self) -> Duration {
        time(&self.decode_ns)
    }

    /// Time spent waiting for the model's answers, its queue included, summed over images.
    pub fn model(&self) -> Duration {
        time(&self.model_ns)
    }

    /// Images with different bytes that were judged, and whether that is exact (it is up to a million).
    pub fn distinct(&self) -> (u64, bool) {
        let seen = self.distinct.lock().unwrap_or_else(PoisonError::into_inner);
        (
            seen.len() as u64,
            !self.distinct_is_bound.load(Ordering::Relaxed),
        )
    }

    /// What cheap models have answered for dear ones.
    pub fn cascade(&self) -> &CascadeStats {
        &self.cascade
    }

    /// Why the last image that failed has no answer, with its stage.
    pub fn last_failure(&self) -> Option<String> {
        let last = self
            .last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    pub(crate) fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_image(&self) {
        self.images.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_failure(&self, error: &RowError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut last = self
            .last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(error.to_string());
    }

    /// So many rows with answers could not be written.
    pub fn note_unwritten(&self, rows: u64) {
        self.failures.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn note_reuse(&self) {
        self.reused.fetch_add(1, Ordering::Relaxed);
    }

    /// An image's bytes are there; `waited` is how long its fetch took, `None` for bytes of a column.
    pub(crate) fn note_bytes(&self, bytes: usize, waited: Option<Duration>) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(waited) = waited {
            self.fetched.fetch_add(1, Ordering::Relaxed);
            add(&self.fetch_ns, waited);
        }
    }

    pub(crate) fn note_decoded(&self, busy: Duration) {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        add(&self.decode_ns, busy);
    }

    pub(crate) fn note_asked(&self, waited: Duration) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        add(&self.model_ns, waited);
    }

    /// Images that look like another one before them though their bytes differ: their similarity hashes differ in 3 of 64 bits
    /// at most. A lower bound where there are very many images.
    pub fn near_duplicates(&self) -> u64 {
        let similar = self.similar.lock().unwrap_or_else(PoisonError::into_inner);
        similar.found()
    }

    /// An image was judged, or its answers were known; `similarity` is its hash, if that is known.
    pub(crate) fn note_judged(&self, sha256: &[u8; 32], similarity: Option<u64>) {
        if self.note_distinct(sha256)
            && let Some(similarity) = similarity
        {
            let mut similar = self.similar.lock().unwrap_or_else(PoisonError::into_inner);
            similar.add(similarity);
        }
    }

    /// Whether the image is a new one.
    fn note_distinct(&self, sha256: &[u8; 32]) -> bool {
        // 64 bits suffice for a count: among a million images two share them once in 37 million runs.
        let hash = sha256[..8]
            .iter()
            .fold(0, |hash, &byte| (hash << 8) | u64::from(byte));
        let mut seen = self.distinct.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < DISTINCT_LIMIT {
            return seen.insert(hash);
        }
        if !seen.contains(&hash) {
            self.distinct_is_bound.store(true, Ordering::Relaxed);
        }
        false
    }
}

fn time(counter: &AtomicU64) -> Duration {
    Duration::from_nanos(counter.load(Ordering::Relaxed))
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
}
