//! The pipeline of one image: fetch, decode, infer, and what that cost.
//!
//! It lies between plans and models: the operator and `picsift image` call it alike and know nothing below it. It infers nothing
//! twice that [`crate::memory_cache`] has, and holds no more memory than its [`Budget`] allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use picsift_images::{Fetch, Fetched, Geometry, ImageInfo, Prepared, shown, similarity_hash};
use picsift_vision::{Answer, InputGeometry, Question, RgbImage, VisionError};
use tokio::sync::Semaphore;

use crate::budget::{Budget, MemoryPermit};
use crate::engine::Engine;
use crate::image_column::ImageSource;
use crate::image_key::ImageKey;
use crate::losses::Losses;
use crate::memory_cache::{Answers, AskedId, ByReference, Content, by_reference};
use crate::models::ModelHandle;
use crate::origin::ReferenceOrigin;
use crate::outcome::RowError;
use crate::persistent_cache::PersistentAnswerCache;
use crate::quota::{Exhausted, InferenceQuota, QuotaPermit};
use crate::stats::RunStats;

/// The size that is assumed of a fetched image before any was fetched.
const TYPICAL_BYTES: usize = 256 << 10;

/// Fetches the images of one column and infers answers about them.
#[derive(Debug)]
pub struct ImagePipeline {
    engine: Arc<Engine>,
    model: Option<ModelHandle>,
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
    questions: Arc<[Question]>,
    id: AskedId,
    /// The answers of earlier runs, where they are kept.
    kept: Option<Arc<PersistentAnswerCache>>,
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
        QuestionSet {
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
            .process(image, ReferenceOrigin::Person, &requested)
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
        image: ImageSource,
        origin: ReferenceOrigin<'_>,
        requested: &RequestedOutputs,
    ) -> Result<ImageOutputs, End> {
        let reserved = self.quota.reserve(requested.answers.is_some()).await;
        let _slot = match &self.slots {
            // The semaphore is never closed.
            Some(slots) => slots.acquire().await.ok(),
            None => None,
        };
        let outputs = match (&image, &requested.answers) {
            (ImageSource::Reference(reference), Some(asked))
                if !requested.bytes && !requested.info =>
            {
                let reference = Arc::from(reference.as_str());
                self.by_reference(reference, (image, origin), asked, reserved)
                    .await?
            }
            _ => {
                self.fetch_and_infer((image, origin), requested, reserved)
                    .await?
            }
        };
        // Not before: one that may not be asked is no image of this run.
        self.stats.note_image();
        if let Some(error) = outputs.failed() {
            self.stats.note_failure(error);
        }
        Ok(outputs)
    }

    async fn by_reference(
        &self,
        reference: Arc<str>,
        image: Named<'_>,
        asked: &QuestionSet,
        reserved: QuotaPermit<'_>,
    ) -> Result<ImageOutputs, End> {
        let key = (reference, image.1.shared_folder(), asked.id);
        let answers = match self.references.get_value_or_guard_async(&key).await {
            Ok(found) => {
                self.stats.note_reuse();
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

    async fn fetch_and_infer(
        &self,
        (image, origin): Named<'_>,
        requested: &RequestedOutputs,
        reserved: QuotaPermit<'_>,
    ) -> Result<ImageOutputs, End> {
        let failed = |error: RowError| ImageOutputs {
            bytes: requested.bytes.then(|| Err(error.clone())),
            info: requested.info.then(|| Err(error.clone())),
            answers: requested.answers.is_some().then_some(Err(error)),
        };
        let address = address(&image, origin, requested);
        let opened = self.open((image, origin), requested, address.as_deref());
        let (image, mut held) = match opened.await {
            Ok(Opened::Image(fetched, held)) => (fetched, held),
            Ok(Opened::Known(answers)) => {
                return Ok(ImageOutputs {
                    answers: Some(Ok(answers)),
                    ..ImageOutputs::default()
                });
            }
            Err(error) => return Ok(failed(error)),
        };
        let bytes = image.bytes;
        let mut outputs = ImageOutputs {
            bytes: requested.bytes.then(|| Ok(bytes.clone())),
            ..ImageOutputs::default()
        };
        if requested.info {
            let info = self.engine.pool().info(bytes.clone()).await;
            outputs.info = Some(info.map_err(RowError::from));
        }
        let Some(asked) = &requested.answers else {
            return Ok(outputs);
        };
        let predicted = match self.answers(bytes, asked, held.as_mut(), reserved).await {
            Ok(predicted) => predicted,
            Err(PipelineError::Row(error)) => {
                outputs.answers = Some(Err(error));
                return Ok(outputs);
            }
            Err(PipelineError::All(end)) => return Err(end),
        };
        if let (Some(kept), Some(address), Some(version)) = (&asked.kept, address, &image.version) {
            kept.keep_reference(address, version, predicted.content, predicted.similarity)
                .await;
        }
        outputs.answers = Some(Ok(predicted.answers));
        Ok(outputs)
    }

    /// The encoded image with what of the budget it holds, or the answers of one that is known not to have changed.
    async fn open(
        &self,
        (image, origin): Named<'_>,
        requested: &RequestedOutputs,
        address: Option<&str>,
    ) -> Result<Opened, RowError> {
        let ImageSource::Reference(reference) = &image else {
            let fetched = self.engine.load(image, origin).await?;
            // They are counted with their batch.
            self.stats.note_bytes(fetched.bytes.len(), None);
            return Ok(Opened::Image(fetched, None));
        };
        let asked = requested
            .answers
            .as_ref()
            .filter(|_| !requested.bytes && !requested.info);
        let before = match (asked.and_then(|asked| asked.kept.as_ref()), address) {
            (Some(kept), Some(address)) => kept.before(address.to_string()).await,
            _ => None,
        };
        // Of an image that is known nothing will be read, most likely.
        let guess = match &before {
            Some(_) => 0,
            None => self.fetched_bytes.load(Ordering::Relaxed),
        };
        let mut held = match &self.budget {
            Some(budget) => Some(budget.hold(guess.max(1)).await),
            None => None,
        };
        let started = Instant::now();
        let fetched = match before {
            None => self.engine.load(image, origin).await?,
            Some(before) => {
                let folder = origin.folder();
                let fetch = (self.engine).load_if_changed(reference, folder, &before.version);
                match fetch.await? {
                    Fetch::Changed(fetched) => fetched,
                    Fetch::Unchanged => {
                        self.stats.note_reuse();
                        self.stats.note_judged(&before.content, before.similarity);
                        return Ok(Opened::Known(before.answers));
                    }
                }
            }
        };
        let size = fetched.bytes.len();
        self.stats.note_bytes(size, Some(started.elapsed()));
        // A mean that follows what comes, a sixteenth of the way each time.
        let mean = self.fetched_bytes.load(Ordering::Relaxed);
        let mean = mean - mean / 16 + size / 16;
        self.fetched_bytes.store(mean.max(1), Ordering::Relaxed);
        if let Some(held) = &mut held {
            held.resize(size);
        }
        Ok(Opened::Image(fetched, held))
    }

    async fn answers(
        &self,
        bytes: Bytes,
        asked: &QuestionSet,
        held: Option<&mut MemoryPermit>,
        reserved: QuotaPermit<'_>,
    ) -> Result<Prediction, PipelineError> {
        let Some(model) = &self.model else {
            return Err(PipelineError::Row(RowError::model(
                "refused",
                "there is no model to ask",
            )));
        };
        let content: Content = self.engine.pool().hash(bytes.clone()).await?;
        let predicted = |answers: Answers, similarity| Prediction {
            answers,
            content,
            similarity,
        };
        let place = match self.engine.answers().find(content, asked.id).await {
            Ok(answers) => {
                self.stats.note_reuse();
                self.stats.note_judged(&content, None);
                return Ok(predicted(answers, None));
            }
            Err(place) => place,
        };
        let found = match &asked.kept {
            Some(kept) => Some(kept.find(content).await),
            None => None,
        };
        if let Some(found) = &found
            && let Some(answers) = found.all()
        {
            self.stats.note_reuse();
            self.stats.note_judged(&content, found.similarity);
            let _ = place.insert(Arc::clone(&answers));
            return Ok(predicted(answers, found.similarity));
        }
        let open = asked.kept.as_ref().zip(found.as_ref());
        let open = open.map(|(kept, found)| kept.open(found));
        // Before the reservation is taken: how long a model takes to load is not of the time that a run may ask.
        let started = model.started().await;
        let service = started.map_err(|error| PipelineError::All(End::Lost(error)))?;
        reserved
            .take()
            .map_err(|end| PipelineError::All(end.into()))?;
        let preprocessor = service.preprocessor();
        let Prepared {
            value: (views, similarity),
            decode_time,
        } = self
            .engine
            .pool()
            .prepare_with(bytes, geometry(service.info().input), move |pixels| {
                let similarity = similarity_hash(&pixels);
                let views = preprocessor.views(RgbImage {
                    width: pixels.width,
                    height: pixels.height,
                    data: pixels.data,
                });
                (views, similarity)
            })
            .await?;
        self.stats.note_decoded(decode_time);
        self.stats.note_judged(&content, Some(similarity));
        let views = views?;
        if let Some(held) = held {
            // The encoded image is gone by now.
            held.resize(views.data.len());
        }
        let questions = match &open {
            Some(open) => Arc::clone(&open.questions),
            None => Arc::clone(&asked.questions),
        };
        let started = Instant::now();
        let answers = service.submit(views, questions).await;
        self.stats.note_asked(started.elapsed());
        let new = answers.map_err(|error| match error.ends_all() {
            true => PipelineError::All(End::Lost(error)),
            false => PipelineError::Row(error.into()),
        })?;
        let answers = match (&asked.kept, open, found) {
            (Some(kept), Some(open), Some(found)) => {
                kept.keep(content, open, new.clone(), similarity).await;
                let all = found.with(new.into_iter());
                all.ok_or_else(|| RowError::model("refused", "the model left a question open"))?
            }
            _ => Answers::from(new),
        };
        // The cache may have no room for it; then the next one asks again.
        let _ = place.insert(Arc::clone(&answers));
        Ok(predicted(answers, Some(similarity)))
    }
}

/// An image with who wrote its reference, if it is one.
type Named<'a> = (ImageSource, ReferenceOrigin<'a>);

/// What identifies a reference of a table whose answers are kept.
fn address(
    image: &ImageSource,
    origin: ReferenceOrigin<'_>,
    requested: &RequestedOutputs,
) -> Option<String> {
    requested.answers.as_ref()?.kept.as_ref()?;
    match (image, origin) {
        (ImageSource::Bytes(_), _) | (_, ReferenceOrigin::Person) => None,
        (ImageSource::Reference(reference), origin) => {
            let address = picsift_images::resolve(reference, origin.folder());
            address.ok().map(String::from)
        }
    }
}

/// What came of opening an image.
enum Opened {
    Image(Fetched, Option<MemoryPermit>),
    Known(Answers),
}

/// The answers about an image, and what is known of it now.
struct Prediction {
    answers: Answers,
    content: Content,
    similarity: Option<u64>,
}

fn geometry(input: InputGeometry) -> Geometry {
    match input {
        InputGeometry::CentreCrop { short_side, size } => Geometry::CentreCrop { short_side, size },
        InputGeometry::Full => Geometry::Full,
    }
}
