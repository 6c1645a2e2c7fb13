//! The way of one image: fetch, decode, submit to the model's service, and what that cost.
//!
//! It is the seam between plans and models: the operator and `picsift image` call it alike and know nothing below it. It asks
//! nothing twice that [`crate::reuse`] knows, and holds no more than its [`Budget`] allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use picsift_images::{Geometry, ImageInfo, Prepared};
use picsift_vision::{Answer, InputGeometry, Question, RgbImage, Service};
use url::Url;

use crate::allowance::{Allowance, Exhausted};
use crate::budget::{Budget, Held};
use crate::engine::Engine;
use crate::image_column::ImageSource;
use crate::outcome::RowError;
use crate::reuse::{Answers, AskedId, ByReference, Content, by_reference};
use crate::stats::RunStats;

/// Batches of the model for which images are made ready: one that it runs, and enough of the next that it never waits.
/// More would only hold memory, and for a model that sees large images much of it.
const BATCHES_AHEAD: usize = 4;

/// What a fetched image is taken to weigh before any was fetched.
const TYPICAL_BYTES: usize = 256 << 10;

/// What is to be found out about images of one column.
#[derive(Debug)]
pub struct Inquiry {
    engine: Arc<Engine>,
    service: Option<Service>,
    base: Option<Url>,
    stats: Arc<RunStats>,
    allowance: Arc<Allowance>,
    budget: Option<Arc<Budget>>,
    references: ByReference,
    /// Makes answers that are chosen freely differ from one run to the next, though not within one.
    run: usize,
    fetched_bytes: AtomicUsize,
}

/// Questions with what identifies them.
#[derive(Debug, Clone)]
pub struct Questioned {
    questions: Arc<[Question]>,
    id: AskedId,
}

/// What is wanted of one image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Its encoded bytes.
    pub(crate) bytes: bool,
    /// What its header says.
    pub(crate) info: bool,
    /// The model's answers.
    pub(crate) answers: Option<Questioned>,
}

/// What was found out about one image; `None` for what was not wanted.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) bytes: Option<Result<Bytes, RowError>>,
    pub(crate) info: Option<Result<ImageInfo, RowError>>,
    pub(crate) answers: Option<Result<Answers, RowError>>,
}

impl Seen {
    fn failed(&self) -> bool {
        fn is_error<T>(part: &Option<Result<T, RowError>>) -> bool {
            matches!(part, Some(Err(_)))
        }
        is_error(&self.bytes) || is_error(&self.info) || is_error(&self.answers)
    }
}

/// Why one image's way ended without an outcome of its own.
enum Broken {
    Row(RowError),
    All(Exhausted),
}

impl<E: Into<RowError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Row(error.into())
    }
}

impl Inquiry {
    /// Questions to `service` about images whose relative references belong to the folder `base`.
    pub fn new(
        engine: Arc<Engine>,
        service: Option<Service>,
        base: Option<Url>,
        stats: Arc<RunStats>,
    ) -> Self {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        Self {
            engine,
            service,
            base,
            stats,
            allowance: Arc::default(),
            budget: None,
            references: by_reference(),
            run: RUNS.fetch_add(1, Ordering::Relaxed),
            fetched_bytes: AtomicUsize::new(TYPICAL_BYTES),
        }
    }

    /// The same within an allowance and a budget.
    pub(crate) fn within(mut self, allowance: Arc<Allowance>, budget: Arc<Budget>) -> Self {
        self.allowance = allowance;
        self.budget = Some(budget);
        self
    }

    /// The questions in the form that [`Inquiry::answer`] takes.
    pub fn questions(&self, questions: Arc<[Question]>) -> Questioned {
        let sampled = questions.iter().any(|question| {
            matches!(question, Question::Open(_, generation) if generation.temperature.get() > 0.0)
        });
        let run = sampled.then_some(self.run);
        let model = self.service.as_ref().map(Service::info);
        Questioned {
            id: AskedId::new(&format!("{model:?} {run:?}"), &questions),
            questions,
        }
    }

    /// How many images should be under way at once.
    pub fn in_flight(&self) -> usize {
        let ahead = self.service.as_ref().map_or(usize::MAX, |service| {
            service.batch().max_images.saturating_mul(BATCHES_AHEAD)
        });
        self.engine.options().images_in_flight.min(ahead).max(1)
    }

    /// Asks about one image.
    ///
    /// # Errors
    /// Why this image has no answers.
    pub async fn answer(
        &self,
        image: ImageSource,
        questions: &Questioned,
    ) -> Result<Arc<[Answer]>, RowError> {
        self.stats.add_rows(1);
        let wanted = Wanted {
            answers: Some(questions.clone()),
            ..Wanted::default()
        };
        let refused = |message: String| RowError {
            stage: "model",
            message,
        };
        let seen = self
            .look(image, &wanted)
            .await
            .map_err(|end| refused(end.to_string()))?;
        seen.answers
            .unwrap_or_else(|| Err(refused("no answer was given".to_string())))
    }

    /// Finds out what is wanted of one image.
    ///
    /// # Errors
    /// [`Exhausted`] when it would have to be asked and may not.
    pub(crate) async fn look(
        &self,
        image: ImageSource,
        wanted: &Wanted,
    ) -> Result<Seen, Exhausted> {
        self.stats.note_image();
        let seen = match (&image, &wanted.answers) {
            (ImageSource::Reference(reference), Some(asked)) if !wanted.bytes && !wanted.info => {
                let reference = Arc::from(reference.as_str());
                self.by_reference(reference, image, asked).await?
            }
            _ => self.find_out(image, wanted).await?,
        };
        if seen.failed() {
            self.stats.note_failure();
        }
        Ok(seen)
    }

    async fn by_reference(
        &self,
        reference: Arc<str>,
        image: ImageSource,
        asked: &Questioned,
    ) -> Result<Seen, Exhausted> {
        let key = (reference, asked.id);
        let answers = match self.references.get_value_or_guard_async(&key).await {
            Ok(found) => {
                self.stats.note_reuse();
                found
            }
            Err(place) => {
                let wanted = Wanted {
                    answers: Some(asked.clone()),
                    ..Wanted::default()
                };
                let Seen {
                    answers: Some(found),
                    ..
                } = self.find_out(image, &wanted).await?
                else {
                    return Ok(Seen::default());
                };
                // The cache may have no room for it; then the next one finds out again.
                let _ = place.insert(found.clone());
                found
            }
        };
        Ok(Seen {
            answers: Some(answers),
            ..Seen::default()
        })
    }

    async fn find_out(&self, image: ImageSource, wanted: &Wanted) -> Result<Seen, Exhausted> {
        let (bytes, mut held) = match self.bytes(image).await {
            Ok(fetched) => fetched,
            Err(error) => {
                return Ok(Seen {
                    bytes: wanted.bytes.then(|| Err(error.clone())),
                    info: wanted.info.then(|| Err(error.clone())),
                    answers: wanted.answers.is_some().then_some(Err(error)),
                });
            }
        };
        let mut seen = Seen {
            bytes: wanted.bytes.then(|| Ok(bytes.clone())),
            ..Seen::default()
        };
        if wanted.info {
            let info = self.engine.pool().info(bytes.clone()).await;
            seen.info = Some(info.map_err(RowError::from));
        }
        if let Some(asked) = &wanted.answers {
            seen.answers = Some(match self.answers(bytes, asked, held.as_mut()).await {
                Ok(answers) => Ok(answers),
                Err(Broken::Row(error)) => Err(error),
                Err(Broken::All(end)) => return Err(end),
            });
        }
        Ok(seen)
    }

    /// The encoded image, and what of the budget it holds.
    async fn bytes(&self, image: ImageSource) -> Result<(Bytes, Option<Held>), RowError> {
        let is_reference = matches!(image, ImageSource::Reference(_));
        // Bytes of a column are counted with their batch.
        let guess = if is_reference {
            self.fetched_bytes.load(Ordering::Relaxed)
        } else {
            0
        };
        let mut held = match &self.budget {
            Some(budget) if guess > 0 => Some(budget.hold(guess).await),
            _ => None,
        };
        let started = Instant::now();
        let bytes = self.engine.bytes(image, self.base.as_ref()).await?;
        self.stats
            .note_bytes(bytes.len(), is_reference.then(|| started.elapsed()));
        if is_reference {
            // A mean that follows what comes, a sixteenth of the way each time.
            let mean = guess - guess / 16 + bytes.len() / 16;
            self.fetched_bytes.store(mean.max(1), Ordering::Relaxed);
        }
        if let Some(held) = &mut held {
            held.resize(bytes.len());
        }
        Ok((bytes, held))
    }

    async fn answers(
        &self,
        bytes: Bytes,
        asked: &Questioned,
        held: Option<&mut Held>,
    ) -> Result<Answers, Broken> {
        let Some(service) = &self.service else {
            return Err(Broken::Row(RowError {
                stage: "model",
                message: "there is no model to ask".to_string(),
            }));
        };
        let content: Content = self.engine.pool().hash(bytes.clone()).await?;
        let place = match self.engine.answers().find(content, asked.id).await {
            Ok(answers) => {
                self.stats.note_reuse();
                self.stats.note_distinct(&content);
                return Ok(answers);
            }
            Err(place) => place,
        };
        self.allowance.take().map_err(Broken::All)?;
        let preprocessor = service.preprocessor();
        let Prepared {
            value: views,
            decode_time,
        } = self
            .engine
            .pool()
            .prepare_with(bytes, geometry(service.info().input), move |pixels| {
                preprocessor.views(RgbImage {
                    width: pixels.width,
                    height: pixels.height,
                    data: pixels.data,
                })
            })
            .await?;
        self.stats.note_decoded(decode_time);
        self.stats.note_distinct(&content);
        let views = views?;
        if let Some(held) = held {
            // The encoded image is gone by now.
            held.resize(views.data.len());
        }
        let started = Instant::now();
        let answers = service
            .submit(views, Arc::clone(&asked.questions))
            .await
            .map(Answers::from);
        self.stats.note_asked(started.elapsed());
        let answers = answers?;
        // The cache may have no room for it; then the next one asks again.
        let _ = place.insert(Arc::clone(&answers));
        Ok(answers)
    }
}

fn geometry(input: InputGeometry) -> Geometry {
    match input {
        InputGeometry::CentreCrop { short_side, size } => Geometry::CentreCrop { short_side, size },
        InputGeometry::Full => Geometry::Full,
    }
}
