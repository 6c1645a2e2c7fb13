//! From image sources to the model's answers, row by row in order, with a bounded number under way.
//!
//! Owns the way of one image: fetch, decode, submit to the model's service, and what it cost. It is the seam
//! between plans and models: SQL functions and jobs call it alike and know nothing below it.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use picsift_images::{Geometry, ImageError, Prepared};
use picsift_vision::{Answer, InputGeometry, Question, RgbImage, Service};
use url::Url;

use crate::engine::Engine;
use crate::image_column::ImageSource;

/// Why one image has no answer: the stage that failed and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// `fetch`, `decode` or `model`.
    pub stage: &'static str,
    /// What went wrong.
    pub message: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.message)
    }
}

impl From<ImageError> for RowError {
    fn from(error: ImageError) -> Self {
        let stage = match error.stage() {
            picsift_images::Stage::Fetch => "fetch",
            picsift_images::Stage::Decode => "decode",
        };
        Self {
            stage,
            message: error.to_string(),
        }
    }
}

/// What became of one row: `None` for a NULL image, else the value or why there is none.
pub type Outcome<T> = Option<Result<T, RowError>>;

/// Distinct images that are counted exactly; past it the count is a lower bound, so that memory stays flat.
const DISTINCT_LIMIT: usize = 1_000_000;

/// Counts and times of a run, added to by all of its streams.
#[derive(Debug, Default)]
pub struct RunStats {
    rows: AtomicU64,
    images: AtomicU64,
    failures: AtomicU64,
    fetch_ns: AtomicU64,
    decode_ns: AtomicU64,
    distinct: Mutex<HashSet<u64>>,
    distinct_is_bound: AtomicBool,
}

impl RunStats {
    /// Rows seen, NULL images among them.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Rows with an image, failed ones among them.
    pub fn images(&self) -> u64 {
        self.images.load(Ordering::Relaxed)
    }

    /// Images without an answer.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Time spent waiting for fetches, summed over images.
    pub fn fetch(&self) -> Duration {
        Duration::from_nanos(self.fetch_ns.load(Ordering::Relaxed))
    }

    /// Time decode threads were busy, summed over images.
    pub fn decode(&self) -> Duration {
        Duration::from_nanos(self.decode_ns.load(Ordering::Relaxed))
    }

    /// Decoded images with different bytes, and whether that is exact (it is up to a million).
    pub fn distinct(&self) -> (u64, bool) {
        let seen = self.distinct.lock().unwrap_or_else(PoisonError::into_inner);
        (
            seen.len() as u64,
            !self.distinct_is_bound.load(Ordering::Relaxed),
        )
    }

    fn note_image(&self, sha256: &[u8; 32]) {
        // 64 bits suffice for a count: among a million images two share them once in 37 million runs.
        let hash = sha256[..8]
            .iter()
            .fold(0, |hash, &byte| (hash << 8) | u64::from(byte));
        let mut seen = self.distinct.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < DISTINCT_LIMIT {
            seen.insert(hash);
        } else if !seen.contains(&hash) {
            self.distinct_is_bound.store(true, Ordering::Relaxed);
        }
    }
}

/// Asks `questions` about each image; the outcomes stand in the images' order.
///
/// At most [`crate::EngineOptions::images_in_flight`] images are under way at once.
pub async fn answers(
    engine: &Engine,
    service: &Service,
    images: Vec<Option<ImageSource>>,
    base: Option<&Url>,
    questions: &Arc<[Question]>,
    stats: &RunStats,
) -> Vec<Outcome<Vec<Answer>>> {
    each(engine, images, |image| async move {
        stats.rows.fetch_add(1, Ordering::Relaxed);
        let image = image?;
        stats.images.fetch_add(1, Ordering::Relaxed);
        let outcome = answer(engine, service, image, base, questions, stats).await;
        if outcome.is_err() {
            stats.failures.fetch_add(1, Ordering::Relaxed);
        }
        Some(outcome)
    })
    .await
}

/// As [`answers`], for questions whose answers are scores.
pub async fn scores(
    engine: &Engine,
    service: &Service,
    images: Vec<Option<ImageSource>>,
    base: Option<&Url>,
    questions: &Arc<[Question]>,
    stats: &RunStats,
) -> Vec<Outcome<Vec<f32>>> {
    answers(engine, service, images, base, questions, stats)
        .await
        .into_iter()
        .map(|row| row.map(|outcome| outcome.and_then(as_scores)))
        .collect()
}

/// Runs `work` for each row, a bounded number at once, and keeps the rows' order.
pub(crate) async fn each<T, W, F>(
    engine: &Engine,
    images: Vec<Option<ImageSource>>,
    work: W,
) -> Vec<T>
where
    W: FnMut(Option<ImageSource>) -> F,
    F: Future<Output = T>,
{
    stream::iter(images)
        .map(work)
        .buffered(engine.options().images_in_flight.max(1))
        .collect()
        .await
}

async fn answer(
    engine: &Engine,
    service: &Service,
    image: ImageSource,
    base: Option<&Url>,
    questions: &Arc<[Question]>,
    stats: &RunStats,
) -> Result<Vec<Answer>, RowError> {
    let fetched = matches!(image, ImageSource::Reference(_));
    let started = Instant::now();
    let bytes = engine.bytes(image, base).await;
    if fetched {
        add(&stats.fetch_ns, started.elapsed());
    }
    let Prepared {
        pixels,
        sha256,
        decode_time,
    } = engine
        .pool()
        .prepare(bytes?, geometry(service.info().input))
        .await?;
    stats.note_image(&sha256);
    add(&stats.decode_ns, decode_time);
    let image = RgbImage {
        width: pixels.width,
        height: pixels.height,
        data: pixels.data,
    };
    service
        .submit(image, Arc::clone(questions))
        .await
        .map_err(|error| RowError {
            stage: "model",
            message: error.to_string(),
        })
}

fn as_scores(answers: Vec<Answer>) -> Result<Vec<f32>, RowError> {
    answers
        .into_iter()
        .map(|answer| match answer {
            Answer::Score(score) => Ok(score),
            Answer::Text(_) => Err(RowError {
                stage: "model",
                message: "the model gave words where a score was asked for".to_string(),
            }),
        })
        .collect()
}

fn geometry(input: InputGeometry) -> Geometry {
    match input {
        InputGeometry::CentreCrop { short_side, size } => Geometry::CentreCrop { short_side, size },
    }
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
}
