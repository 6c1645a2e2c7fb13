//! Models as plans and operators hold them: described while a query is planned, started when an image is asked about.
//!
//! Planning, EXPLAIN and reading a plan that was sent need a model's questions, which configuration and tokenizer give; a
//! [`ModelHandle`] reads the weights for the first image that nothing kept answers. Questions that were made are remembered, as
//! every shard of a job and every column of a labelling asks for the same.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use picsift_vision::{
    BatchAdvice, Category, DescribedModel, FetchProgress, Generation, ModelDescription, ModelInfo,
    Question, Service, ServiceOptions, VisionError,
};
use quick_cache::sync::Cache;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Questions that a model's handle remembers, each a few hundred bytes.
const QUESTIONS: usize = 8192;

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
}

struct Start {
    model: DescribedModel,
    service: ServiceOptions,
    progress: Arc<dyn FetchProgress>,
}

impl ModelHandle {
    /// A model that is loaded when first asked, into a service with these options.
    pub(crate) fn new(
        model: DescribedModel,
        service: ServiceOptions,
        progress: Arc<dyn FetchProgress>,
    ) -> Self {
        let mut description = model.description().clone();
        description.batch = service.batch.unwrap_or(description.batch);
        let start = Start {
            model,
            service,
            progress,
        };
        Self::with(description, Some(start))
    }

    fn with(description: ModelDescription, start: Option<Start>) -> Self {
        Self(Arc::new(Inner {
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

    /// The question whose score says whether an image belongs to a category.
    ///
    /// # Errors
    /// When the model does not take it; such a category is not remembered.
    pub fn category(&self, category: &Category) -> Result<Question, VisionError> {
        let make = || self.0.description.questions.category(category);
        self.0.questions.get_or_insert_with(category, make)
    }

    /// The question that is answered in the model's own words.
    ///
    /// # Errors
    /// When the model does not take it.
    pub fn open(&self, text: &str, generation: Generation) -> Result<Question, VisionError> {
        self.0.description.questions.open(text, generation)
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
        let loaded = start.model.load(&*start.progress)?;
        let service = Service::start(loaded, start.service)?;
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
