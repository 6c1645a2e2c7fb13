//! The pipeline of one image: fetch, decode, infer, and what that cost.
//!
//! It lies between plans and models: the operator and `picsift image` call it alike and know nothing below it. It infers nothing
//! twice that [`crate::pipeline::memory_cache`] has, and holds no more memory than its [`Budget`] allows.

pub(crate) mod background;
pub(crate) mod base;
pub(crate) mod budget;
pub(crate) mod carried;
pub(crate) mod cascade;
pub(crate) mod checked;
mod compared;
pub(crate) mod corrections;
pub(crate) mod engine;
pub(crate) mod image_column;
pub(crate) mod image_key;
mod infer;
pub(crate) mod known;
pub(crate) mod losses;
pub(crate) mod memory_cache;
pub(crate) mod models;
pub(crate) mod origin;
pub(crate) mod outcome;
pub(crate) mod persistent_cache;
pub(crate) mod quota;
pub(crate) mod similar;
pub(crate) mod stats;
pub(crate) mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use picsift_images::{ImageInfo, shown};
use picsift_vision::{Answer, Question, VisionError};
use tokio::sync::Semaphore;

use crate::pipeline::budget::Budget;
use crate::pipeline::carried::Carried;
use crate::pipeline::checked::Digest;
use crate::pipeline::compared::Compared;
use crate::pipeline::engine::Engine;
use crate::pipeline::image_column::ImageSource;
use crate::pipeline::image_key::ImageKey;
use crate::pipeline::known::Known;
use crate::pipeline::losses::Losses;
use crate::pipeline::memory_cache::{Answers, AskedId, ByReference, by_reference};
use crate::pipeline::models::ModelHandle;
use crate::pipeline::origin::ReferenceOrigin;
use crate::pipeline::outcome::RowError;
use crate::pipeline::persistent_cache::PersistentAnswerCache;
use crate::pipeline::quota::{Exhausted, InferenceQuota, QuotaPermit};
use crate::pipeline::stats::RunStats;

/// The size that is assumed of a fetched image before any was fetched.
const TYPICAL_BYTES: usize = 256 << 10;

/// Fetches the images of one column and infers answers about them.
#[derive(Debug)]
pub struct ImagePipeline {
    engine: Arc<Engine>,
    model: Option<ModelHandle>,
    /// Whether the model answers for another, whose pipeline counts the images.
    cheap: bool,
    stats: Arc<RunStats>,
    losses: Option<Arc<Losses>>,
    quota: Arc<InferenceQuota>,
    /// One permit for each image that may be under way.
    slots: Option<Arc<Semaphore>>,
    budget: Option<Arc<Budget>>,
    references: ByReference,
    /// Part of the cache key of sampled answers, which differ from one run to the next, though not within one.
    run: usize,
    fetched_bytes: AtomicUsize,
}

/// Questions with their identity in the caches.
#[derive(Debug, Clone)]
pub struct QuestionSet {
    /// What the model is asked.
    questions: Arc<[Question]>,
    id: AskedId,
    /// The answers of earlier runs, where they are kept.
    kept: Option<Arc<PersistentAnswerCache>>,
    /// What makes the answers of what the model gives, where some follow from the image's embedding.
    compared: Option<Arc<Compared>>,
}

/// What is requested of one image.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestedOutputs {
    /// Its encoded bytes.
    pub(crate) bytes: bool,
    /// What its header says.
    pub(crate) info: bool,
    /// The model's answers.
    pub(crate) answers: Option<QuestionSet>,
}

/// The outputs for one image; `None` for those that were not requested.
#[derive(Debug, Default)]
pub(crate) struct ImageOutputs {
    pub(crate) bytes: Option<Result<Bytes, RowError>>,
    pub(crate) info: Option<Result<ImageInfo, RowError>>,
    pub(crate) answers: Option<Result<Answers, RowError>>,
}

impl ImageOutputs {
    fn failed(&self) -> Option<&RowError> {
        fn error<T>(part: &Option<Result<T, RowError>>) -> Option<&RowError> {
            part.as_ref()?.as_ref().err()
        }
        let first = error(&self.bytes).or(error(&self.info));
        first.or(error(&self.answers))
    }
}

/// Why one image has no prediction: an error of its row, or the end of the run.
enum PipelineError {
    Row(RowError),
    All(End),
}

/// Why a run infers nothing more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The run has asked what it may.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The model answers nothing, or nothing more.
    #[error(transparent)]
    Lost(VisionError),
}

impl<E: Into<RowError>> From<E> for PipelineError {
    fn from(error: E) -> Self {
        Self::Row(error.into())
    }
}

impl ImagePipeline {
    /// A pipeline to `model`, without bounds.
    pub fn new(engine: Arc<Engine>, model: Option<ModelHandle>, stats: Arc<RunStats>) -> Self {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        Self {
            engine,
            model,
            cheap: false,
            stats,
            losses: None,
            quota: Arc::default(),
            slots: None,
            budget: None,
            references: by_reference(),
            run: RUNS.fetch_add(1, Ordering::Relaxed),
            fetched_bytes: AtomicUsize::new(TYPICAL_BYTES),
        }
    }

    /// The same within a quota, a number of images at once and a budget.
    pub(crate) fn within(
        mut self,
        quota: Arc<InferenceQuota>,
        slots: Arc<Semaphore>,
        budget: Arc<Budget>,
    ) -> Self {
        self.quota = quota;
        self.slots = Some(slots);
        self.budget = Some(budget);
        self
    }

    /// The same for a model that answers for another: its images are those of that one's pipeline, which counts them.
    pub(crate) fn cheap(mut self) -> Self {
        self.cheap = true;
        self
    }

    /// The same, which tells `losses` what became of its images.
    pub(crate) fn telling(mut self, losses: Option<Arc<Losses>>) -> Self {
        self.losses = losses;
        self
    }

    /// Tells what became of an image that the table calls `name`.
    pub(crate) fn tell(&self, outputs: &ImageOutputs, name: Option<&str>) {
        if let Some(losses) = &self.losses {
            losses.note_image();
            if let Some(error) = outputs.failed() {
                losses.note_lost(error, name.map(shown));
            }
        }
    }

    /// The questions in the form that [`ImagePipeline::answer`] takes.
    pub fn questions(&self, questions: Arc<[Question]>) -> QuestionSet {
        let sampled = questions.iter().any(|question| {
            matches!(question, Question::Open(_, generation) if generation.temperature.get() > 0.0)
        });
        let run = sampled.then_some(self.run);
        let model = self.model.as_ref().map(ModelHandle::info);
        let kept = self.engine.store().zip(model);
        let compared = self
            .model
            .as_ref()
            .and_then(|model| Compared::new(model, self.engine.store(), &questions));
        let compared = compared.map(Arc::new);
        let questions = match &compared {
            Some(compared) => Arc::clone(compared.asked()),
            None => questions,
        };
        QuestionSet {
            compared,
            id: AskedId::new(&format!("{model:?} {run:?}"), &questions),
            kept: kept.map(|(store, info)| {
                Arc::new(PersistentAnswerCache::new(store.clone(), info, &questions))
            }),
            questions,
        }
    }

    /// Whether the model has yet to be loaded for the first image that must be asked.
    pub(crate) fn is_cold(&self) -> bool {
        let model = self.model.as_ref();
        model.is_some_and(|model| model.running().is_none())
    }

    /// What corrections know an image by; `None` for one that is known by nothing.
    pub(crate) async fn key(
        &self,
        name: Option<&str>,
        image: Option<&ImageSource>,
    ) -> Option<ImageKey> {
        let key = ImageKey::in_pool(name, image, self.engine.pool());
        // A pool that has stopped is the error of every row already.
        key.await.ok().flatten()
    }

    /// How many images should be under way at once.
    pub fn in_flight(&self) -> usize {
        self.engine.in_flight(self.model.as_ref())
    }

    /// Asks about one image that a person named.
    ///
    /// # Errors
    /// Why no image gets an answer: the model cannot be loaded, or [`VisionError::DeviceLost`] or [`VisionError::Closed`].
    /// Within, why this one has none.
    pub async fn answer(
        &self,
        image: ImageSource,
        questions: &QuestionSet,
    ) -> Result<Result<Arc<[Answer]>, RowError>, VisionError> {
        self.stats.add_rows(1);
        let requested = RequestedOutputs {
            answers: Some(questions.clone()),
            ..RequestedOutputs::default()
        };
        let refused = |message: String| RowError::model("refused", message);
        match self
            .process(
                Named {
                    source: image,
                    origin: ReferenceOrigin::Person,
                    digest: None,
                    known: Some(Known::Nothing),
                    carried: None,
                },
                &requested,
            )
            .await
        {
            Ok(outputs) => Ok(outputs
                .answers
                .unwrap_or_else(|| Err(refused("no answer was given".to_string())))),
            Err(End::Exhausted(end)) => Ok(Err(refused(end.to_string()))),
            Err(End::Lost(error)) => Err(error),
        }
    }

    /// Produces the requested outputs of one image; to be begun in the order of rows, in which the quota is given out.
    ///
    /// What an image needs it takes in one order, here and below: its part of the quota, before anything that another image
    /// could wait for; then a slot; the place of its reference among those known; memory; the place of its content. Each is held
    /// until the image is done, so an image waits only for one that has come further.
    ///
    /// # Errors
    /// [`End`] when it would have to be asked and cannot be, nor any other.
    pub(crate) async fn process(
        &self,
        image: Named<'_>,
        requested: &RequestedOutputs,
    ) -> Result<ImageOutputs, End> {
        let reserved = self.quota.reserve(requested.answers.is_some()).await;
        let _slot = match &self.slots {
            // The semaphore is never closed.
            Some(slots) => slots.acquire().await.ok(),
            None => None,
        };
        let mut outputs = match (&image.source, &requested.answers) {
            (ImageSource::Reference(reference), Some(asked))
                if !requested.bytes && !requested.info =>
            {
                let reference = Arc::from(reference.as_str());
                self.by_reference(reference, image, asked, reserved).await?
            }
            _ => self.fetch_and_infer(image, requested, reserved).await?,
        };
        let compared = requested
            .answers
            .as_ref()
            .and_then(|asked| asked.compared.as_ref());
        if let (Some(compared), Some(Ok(embedding))) = (compared, &outputs.answers) {
            outputs.answers = Some(compared.answers(embedding).await?);
        }
        // Not before: one that may not be asked is no image of this run.
        self.note(&outputs);
        Ok(outputs)
    }

    /// Counts what became of an image.
    pub(crate) fn note(&self, outputs: &ImageOutputs) {
        if self.cheap {
            return;
        }
        self.stats.note_image();
        if let Some(error) = outputs.failed() {
            self.stats.note_failure(error);
        }
    }

    fn note_reuse(&self) {
        if !self.cheap {
            self.stats.note_reuse();
        }
    }

    /// The model has been shown an image, and answered so long after.
    fn note_asked(&self, waited: Duration) {
        match self.cheap {
            true => self.stats.cascade().note_encoded(),
            false => self.stats.note_asked(waited),
        }
    }

    pub(crate) fn stats(&self) -> &RunStats {
        &self.stats
    }

    async fn by_reference(
        &self,
        reference: Arc<str>,
        image: Named<'_>,
        asked: &QuestionSet,
        reserved: QuotaPermit<'_>,
    ) -> Result<ImageOutputs, End> {
        let folder = image.origin.shared_folder();
        let key = (reference, folder, image.digest.clone(), asked.id);
        let answers = match self.references.get_value_or_guard_async(&key).await {
            Ok(found) => {
                self.note_reuse();
                found
            }
            Err(place) => {
                let requested = RequestedOutputs {
                    answers: Some(asked.clone()),
                    ..RequestedOutputs::default()
                };
                let ImageOutputs {
                    answers: Some(found),
                    ..
                } = self.fetch_and_infer(image, &requested, reserved).await?
                else {
                    return Ok(ImageOutputs::default());
                };
                // The cache may have no room for it; then the next one finds out again.
                let _ = place.insert(found.clone());
                found
            }
        };
        Ok(ImageOutputs {
            answers: Some(answers),
            ..ImageOutputs::default()
        })
    }
}

/// An image with who wrote its reference, if it is one, and what it must be.
pub(crate) struct Named<'a> {
    pub(crate) source: ImageSource,
    pub(crate) origin: ReferenceOrigin<'a>,
    pub(crate) digest: Option<Digest>,
    /// What the answer store has of it, where somebody has looked.
    pub(crate) known: Option<Known>,
    /// Where a cheap model leaves it for the dear one, if there are two.
    pub(crate) carried: Option<&'a Carried>,
}
