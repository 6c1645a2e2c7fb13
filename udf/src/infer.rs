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
use picsift_vision::{Answer, InputGeometry, Question, RgbImage, Service, VisionError};
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

impl From<VisionError> for RowError {
    fn from(error: VisionError) -> Self {
        Self {
            stage: "model",
            message: error.to_string(),
        }
    }
}

/// What became of one row: `None` for a NULL image, else the value or why there is none.
pub type Outcome<T> = Option<Result<T, RowError>>;

/// Distinct images that are counted exactly; past it the count is a lower bound, so that memory stays flat.
const DISTINCT_LIMIT: usize = 1_000_000;

/// Batches of the model for which images are made ready: one that it runs, and enough of the next that it never waits.
/// More would only hold memory, and for a model that sees large images much of it.
const BATCHES_AHEAD: usize = 4;

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

    /// Time decode threads were busy, summed over images; making the model's views of an image counts as decoding.
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

/// Questions put to one model about many images.
#[derive(Debug, Clone)]
pub struct Inquiry {
    /// What fetches and decodes.
    pub engine: Arc<Engine>,
    /// The model's service, of that engine or any.
    pub service: Service,
    /// Folder that relative references belong to.
    pub base: Option<Url>,
    /// What is asked of each image.
    pub questions: Arc<[Question]>,
    /// Where counts and times are added.
    pub stats: Arc<RunStats>,
}

impl Inquiry {
    /// Asks about each image; the outcomes stand in the images' order.
    ///
    /// At most [`crate::EngineOptions::images_in_flight`] images are under way at once, and no more than keep the model's
    /// batches full.
    pub async fn answers(&self, images: Vec<Option<ImageSource>>) -> Vec<Outcome<Vec<Answer>>> {
        ordered(images, self.in_flight(), |image| self.answer(image)).await
    }

    /// As [`Inquiry::answers`], for questions whose answers are scores.
    pub async fn scores(&self, images: Vec<Option<ImageSource>>) -> Vec<Outcome<Vec<f32>>> {
        self.answers(images)
            .await
            .into_iter()
            .map(|row| row.map(|outcome| outcome.and_then(as_scores)))
            .collect()
    }

    /// How many images should be under way at once.
    pub fn in_flight(&self) -> usize {
        let ahead = self
            .service
            .batch()
            .max_images
            .saturating_mul(BATCHES_AHEAD);
        self.engine.options().images_in_flight.min(ahead).max(1)
    }

    /// Asks about one image; `None` for a NULL.
    pub async fn answer(&self, image: Option<ImageSource>) -> Outcome<Vec<Answer>> {
        let stats = &self.stats;
        stats.rows.fetch_add(1, Ordering::Relaxed);
        let image = image?;
        stats.images.fetch_add(1, Ordering::Relaxed);
        let outcome = self.outcome(image).await;
        if outcome.is_err() {
            stats.failures.fetch_add(1, Ordering::Relaxed);
        }
        Some(outcome)
    }

    async fn outcome(&self, image: ImageSource) -> Result<Vec<Answer>, RowError> {
        let fetched = matches!(image, ImageSource::Reference(_));
        let started = Instant::now();
        let bytes = self.engine.bytes(image, self.base.as_ref()).await;
        if fetched {
            add(&self.stats.fetch_ns, started.elapsed());
        }
        let preprocessor = self.service.preprocessor();
        let geometry = geometry(self.service.info().input);
        let Prepared {
            value: views,
            sha256,
            decode_time,
        } = self
            .engine
            .pool()
            .prepare_with(bytes?, geometry, move |pixels| {
                preprocessor.views(RgbImage {
                    width: pixels.width,
                    height: pixels.height,
                    data: pixels.data,
                })
            })
            .await?;
        self.stats.note_image(&sha256);
        add(&self.stats.decode_ns, decode_time);
        Ok(self
            .service
            .submit(views?, Arc::clone(&self.questions))
            .await?)
    }
}

/// Runs `work` for each image, as many at once as the engine allows, and keeps the images' order.
pub(crate) async fn each<T, W, F>(
    engine: &Engine,
    images: Vec<Option<ImageSource>>,
    work: W,
) -> Vec<T>
where
    W: FnMut(Option<ImageSource>) -> F,
    F: Future<Output = T>,
{
    ordered(images, engine.options().images_in_flight.max(1), work).await
}

async fn ordered<T, W, F>(images: Vec<Option<ImageSource>>, at_once: usize, work: W) -> Vec<T>
where
    W: FnMut(Option<ImageSource>) -> F,
    F: Future<Output = T>,
{
    stream::iter(images)
        .map(work)
        .buffered(at_once)
        .collect()
        .await
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
        InputGeometry::Full => Geometry::Full,
    }
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
}
