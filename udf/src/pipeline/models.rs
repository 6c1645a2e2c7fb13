//! Models as plans and operators hold them: described while a query is planned, started when an image is asked about.
//!
//! Planning, EXPLAIN and reading a plan that was sent need a model's questions, which configuration and tokenizer give; a
//! [`ModelHandle`] reads the weights for the first image that nothing kept answers. Questions that were made are remembered, as
//! every shard of a job and every column of a labelling asks for the same.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use picsift_images::PIXELS_REVISION;
use picsift_vision::store::Store;
use picsift_vision::{
    BatchAdvice, Category, Comparison, DescribedModel, Embedding, Embeddings, FetchProgress,
    Generation, Head, HeadModel, LoadOptions, ModelDescription, ModelInfo, Prompt, PromptStyle,
    Question, Scale, Service, ServiceOptions, TextEmbeddings, VisionError,
};
use quick_cache::sync::Cache;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::pipeline::background;
use crate::pipeline::turns::{Turn, Turns};

/// Questions that a model's handle remembers, each a few hundred bytes.
const QUESTIONS: usize = 8192;

/// A model and how it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ModelSpec {
    pub(crate) name: String,
    pub(crate) load: LoadOptions,
}

/// A model of an engine. Clones share it.
#[derive(Clone)]
pub struct ModelHandle(Arc<Inner>);

struct Inner {
    description: ModelDescription,
    /// What starts the service; `None` where it was given.
    start: Option<Start>,
    service: OnceLock<Service>,
    /// Held by the one that loads, so that the model is loaded once.
    loading: Mutex<()>,
    /// The same for tasks: those that wait keep no thread.
    starting: tokio::sync::Mutex<()>,
    questions: Cache<Category, Question>,
    /// In which order the images of several sharers are asked.
    turns: Arc<Turns>,
}

/// A model that has been described, and how it is started.
pub(crate) struct Start {
    pub(crate) model: DescribedModel,
    /// Batching and queue of its service.
    pub(crate) service: ServiceOptions,
    /// Whether its threads let others go first.
    pub(crate) background: bool,
    pub(crate) progress: Arc<dyn FetchProgress>,
}

impl ModelHandle {
    /// A model that is loaded when first asked.
    pub(crate) fn new(start: Start) -> Self {
        let mut description = start.model.description().clone();
        description.batch = start.service.batch.unwrap_or(description.batch);
        Self::with(description, Some(start))
    }

    fn with(description: ModelDescription, start: Option<Start>) -> Self {
        Self(Arc::new(Inner {
            // What the model is at and what comes next; no more, or the order would be that in which they came.
            turns: Turns::new(description.batch.max_images.saturating_mul(2)),
            description,
            start,
            service: OnceLock::new(),
            loading: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            questions: Cache::new(QUESTIONS),
        }))
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.0.description.info
    }

    /// How large its batches may become.
    pub fn batch(&self) -> BatchAdvice {
        self.0.description.batch
    }

    /// How many images should be on their way to it at once.
    pub fn images_ahead(&self) -> usize {
        let started = self.running().map(Service::devices);
        let planned = self.0.start.as_ref().map(|start| start.model.devices());
        self.batch().images_ahead(started.or(planned).unwrap_or(1))
    }

    /// The question whose score says whether an image belongs to a category.
    ///
    /// # Errors
    /// When the model does not take it; such a category is not remembered.
    pub fn category(&self, category: &Category) -> Result<Question, VisionError> {
        if let Some(head) = &category.head {
            return self.taught(head);
        }
        if category.style != PromptStyle::default() && !self.info().can_talk {
            return Err(VisionError::NoPromptStyle {
                model: self.info().name.clone(),
                style: category.style.to_string(),
            });
        }
        let make = || self.0.description.questions.category(category);
        self.0.questions.get_or_insert_with(category, make)
    }

    /// The question that a head answers.
    ///
    /// # Errors
    /// [`VisionError::CannotEmbed`]; [`VisionError::ForeignHead`] for what was taught of another model's embeddings.
    fn taught(&self, head: &Head) -> Result<Question, VisionError> {
        let own = self.head_model().ok_or_else(|| VisionError::CannotEmbed {
            model: self.info().name.clone(),
        })?;
        match head.model().unlike(&own) {
            None => Ok(Question::Taught(head.clone())),
            Some(taught) => Err(VisionError::ForeignHead {
                model: own.name,
                category: head.category().to_owned(),
                taught,
            }),
        }
    }

    /// What heads of this model's embeddings are bound to; `None` for one that embeds nothing.
    pub fn head_model(&self) -> Option<HeadModel> {
        let info = self.info();
        let crops = info.crops.map(|crops| format!(" {crops}"));
        let input = serde_json::to_string(&info.input).unwrap_or_default();
        Some(HeadModel {
            name: info.name.clone(),
            revision: info.revision.clone(),
            preprocessing: format!("{input}{} {PIXELS_REVISION}", crops.unwrap_or_default()),
            width: self.embeddings()?.width,
        })
    }

    /// What answers questions from an image's embedding; see [`Comparison::takes`]. Blocks where texts are new.
    ///
    /// # Errors
    /// When texts cannot be embedded; [`VisionError::ForeignQuestion`].
    pub fn compare(
        &self,
        questions: &[Question],
        store: Option<&Store>,
    ) -> Result<Comparison, VisionError> {
        let prompts = Comparison::prompts(questions);
        let (texts, scale) = match prompts.is_empty() {
            true => (Vec::new(), None),
            false => (self.embed_prompts(&prompts, store)?, Some(self.scale()?)),
        };
        let width = self.embeddings().map_or(0, |embeddings| embeddings.width);
        Comparison::new(&self.info().name, scale, width, questions, &texts)
    }

    /// The question that is answered in the model's own words.
    ///
    /// # Errors
    /// When the model does not take it.
    pub fn open(&self, text: &str, generation: Generation) -> Result<Question, VisionError> {
        self.0.description.questions.open(text, generation)
    }

    /// What the model's embeddings are, if it makes any.
    pub fn embeddings(&self) -> Option<Embeddings> {
        self.0.description.questions.embeddings()
    }

    /// Whether a text can be embedded.
    ///
    /// # Errors
    /// [`VisionError::Prompt`] for one that says nothing; [`VisionError::CannotEmbedTexts`].
    pub(crate) fn says(&self, text: &str) -> Result<(), VisionError> {
        self.texts()?.prompt(text).map(drop)
    }

    /// The embeddings of texts, of unit length; `None` for none and for one that says nothing. May read the text tower, and
    /// blocks the calling thread meanwhile, though not the other tasks of a multi-threaded runtime.
    ///
    /// # Errors
    /// [`VisionError::CannotEmbedTexts`]; when the weights cannot be had or read.
    pub(crate) fn embed_texts(
        &self,
        texts: &[Option<&str>],
        store: Option<&Store>,
    ) -> Result<Vec<Option<Vec<f32>>>, VisionError> {
        let embeddings = self.texts()?;
        let prompt = |text: &Option<&str>| embeddings.prompt((*text)?).ok();
        let prompts: Vec<Option<Prompt>> = texts.iter().map(prompt).collect();
        let said: Vec<&Prompt> = prompts.iter().flatten().collect();
        let embedded = blocking(|| self.embed_prompts(&said, store))?;
        let mut embedded = embedded.into_iter();
        let vector = |prompt: &Option<Prompt>| {
            let one = prompt.as_ref().and_then(|_| embedded.next());
            one.map(|one| one.to_vec())
        };
        Ok(prompts.iter().map(vector).collect())
    }

    /// The embeddings of prompts, those that `store` has from there. They are rounded as they are kept, so that it makes no
    /// difference which these are. Blocks.
    ///
    /// # Errors
    /// As [`ModelHandle::embed_texts`].
    pub(crate) fn embed_prompts(
        &self,
        prompts: &[&Prompt],
        store: Option<&Store>,
    ) -> Result<Vec<Arc<[f32]>>, VisionError> {
        let embeddings = self.texts()?;
        let known = match store {
            Some(store) => store.texts(self.info(), prompts),
            None => vec![None; prompts.len()],
        };
        let open = prompts.iter().zip(&known);
        let open = open.filter(|(_, known)| known.is_none());
        let open: Vec<&Prompt> = open.map(|(prompt, _)| *prompt).collect();
        let mut new = Vec::with_capacity(open.len());
        if !open.is_empty() {
            for vector in embeddings.embed(&open, self.progress())? {
                let rounded = Embedding::new(vector.to_vec());
                new.push(rounded.ok_or_else(|| VisionError::NotFinite {
                    model: self.info().name.clone(),
                })?);
            }
            if let Some(store) = store {
                store.put_texts(self.info(), &open, &new);
            }
        }
        let mut new = new.into_iter();
        let all = known.into_iter().map(|known| known.or_else(|| new.next()));
        Ok(all.flatten().map(|one| one.to_unit().into()).collect())
    }

    /// How the cosine of an image and a text becomes a score. Blocks.
    ///
    /// # Errors
    /// As [`ModelHandle::embed_texts`].
    pub(crate) fn scale(&self) -> Result<Scale, VisionError> {
        self.texts()?.scale(self.progress())
    }

    fn texts(&self) -> Result<Arc<dyn TextEmbeddings>, VisionError> {
        let texts = self.embeddings().and_then(|embeddings| embeddings.texts);
        texts.ok_or_else(|| VisionError::CannotEmbedTexts {
            model: self.info().name.clone(),
        })
    }

    fn progress(&self) -> &dyn FetchProgress {
        match &self.0.start {
            Some(start) => &*start.progress,
            None => &(),
        }
    }

    /// The right to ask about one image, which those who share the model get in turn, however many images each has.
    pub(crate) async fn turn(&self, share: u64) -> Turn {
        self.0.turns.take(share).await
    }

    /// The model's service, if it has been started.
    pub fn running(&self) -> Option<&Service> {
        self.0.service.get()
    }

    /// The model's service, started by the first call.
    ///
    /// Loading may take minutes and blocks the calling thread meanwhile, though not the other tasks of a multi-threaded
    /// runtime. Callers that ask while it is loaded wait and get the same service.
    ///
    /// # Errors
    /// When the weights cannot be had or not be loaded; the next call tries again.
    pub fn service(&self) -> Result<Service, VisionError> {
        let service = match self.running() {
            Some(service) => service,
            None => blocking(|| self.load())?,
        };
        Ok(service.clone())
    }

    /// The same for a task, which waits without a thread of its own.
    ///
    /// # Errors
    /// As [`ModelHandle::service`].
    pub(crate) async fn started(&self) -> Result<&Service, VisionError> {
        if let Some(service) = self.running() {
            return Ok(service);
        }
        let _one = self.0.starting.lock().await;
        if self.running().is_none() {
            let model = self.clone();
            let loaded = tokio::task::spawn_blocking(move || model.load().map(drop)).await;
            loaded.unwrap_or_else(|panic| {
                Err(VisionError::Panicked {
                    model: self.info().name.clone(),
                    message: panic.to_string(),
                })
            })?;
        }
        self.running().ok_or_else(|| self.closed())
    }

    fn load(&self) -> Result<&Service, VisionError> {
        let _one = lock(&self.0.loading);
        if let Some(service) = self.running() {
            return Ok(service);
        }
        let start = self.0.start.as_ref().ok_or_else(|| self.closed())?;
        let began = Instant::now();
        let service = background::start(start.background, || {
            let mut loaded = start.model.load_all(&*start.progress)?.into_iter();
            let first = loaded.next().ok_or_else(|| self.closed())?;
            Service::start_all(first, loaded.collect(), start.service)
        })?;
        let info = service.info();
        tracing::info!(
            model = %info.name,
            revision = %info.revision,
            device = %info.device,
            dtype = info.dtype,
            seconds = began.elapsed().as_secs_f64(),
            "model loaded"
        );
        Ok(self.0.service.get_or_init(|| service))
    }

    fn closed(&self) -> VisionError {
        VisionError::Closed {
            model: self.info().name.clone(),
        }
    }
}

/// A model that runs already.
impl From<Service> for ModelHandle {
    fn from(service: Service) -> Self {
        let handle = Self::with(service.description().clone(), None);
        handle.0.service.get_or_init(|| service);
        handle
    }
}

impl fmt::Debug for ModelHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelHandle")
            .field("info", self.info())
            .field("running", &self.running().is_some())
            .finish_non_exhaustive()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is never half changed: a map's entry or a model is there or not.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs work that blocks; the tasks of a multi-threaded runtime move to another thread first. A runtime of one thread has
/// none, and outside of a runtime there are none.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}
