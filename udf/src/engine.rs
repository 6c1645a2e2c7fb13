//! What inference runs on: the fetcher, the decode pool and one service per model.
//!
//! Owns their life and sharing (one [`Engine`] per process or session, used by every function and job). It knows
//! nothing of plans or columns.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use picsift_images::{
    DecodePool, Fetch, FetchOptions, FetchPolicy, Fetcher, ImageError, Limits, Stores, Version,
    is_absolute, shown,
};
use picsift_vision::store::Store;
use picsift_vision::{FetchProgress, LoadOptions, ModelInfo, Service, ServiceOptions, VisionError};
use tokio::runtime::{Handle, RuntimeFlavor};
use url::Url;

use crate::corrections::Corrections;
use crate::reuse::ByContent;

/// Images of one stream under way where no model is asked: enough to keep fetches and decoders busy.
const WITHOUT_MODEL: usize = 64;

/// How many fetches, decodes and images an engine has under way at most.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Threads that decode; default: the machine's cores.
    pub decode_threads: usize,
    /// Fetches under way at once.
    pub fetch_concurrency: usize,
    /// Images of one stream between fetch and answer, which bounds its memory; `None` is what the model keeps busy with
    /// ([`Service::images_ahead`]), or 64 where none is asked.
    pub images_in_flight: Option<usize>,
    /// Limits on one image.
    pub limits: Limits,
    /// What references may reach.
    pub policy: FetchPolicy,
    /// Where answers are kept beyond the engine's life; `None` keeps none.
    pub store: Option<Store>,
    /// What people said, which wins over what a model says.
    pub corrections: Option<Arc<Corrections>>,
    /// Batching and queue of each model's service.
    pub service: ServiceOptions,
    /// Who is told when a model is fetched first.
    pub progress: Arc<dyn FetchProgress>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            decode_threads: std::thread::available_parallelism().map_or(2, |n| n.get()),
            fetch_concurrency: 32,
            images_in_flight: None,
            limits: Limits::default(),
            policy: FetchPolicy::default(),
            store: None,
            corrections: None,
            service: ServiceOptions::default(),
            progress: Arc::new(()),
        }
    }
}

/// Why an engine could not be made or a model not be had.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The decode pool could not start.
    #[error("the decode pool did not start: {0}")]
    Pool(#[source] ImageError),
    /// The model is unknown, cannot run on the device or be loaded, or its service did not start.
    #[error(transparent)]
    Model(#[from] VisionError),
}

/// Fetcher, decode pool and model services, shared by all that asks about images.
pub struct Engine {
    options: EngineOptions,
    stores: Arc<Stores>,
    fetcher: Fetcher,
    pool: DecodePool,
    services: Mutex<HashMap<(String, LoadOptions), Slot>>,
    answers: ByContent,
}

/// The place of one model's service, empty until it is loaded. Its own lock, so that one model's loading keeps only those
/// waiting who ask for the same.
type Slot = Arc<Mutex<Option<Service>>>;

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without a model yet; each is loaded when first asked for.
    ///
    /// # Errors
    /// [`EngineError::Pool`] when the decode threads cannot be started.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let stores = Arc::new(Stores::new());
        let fetcher = Fetcher::new(
            Arc::clone(&stores),
            FetchOptions {
                concurrency: options.fetch_concurrency,
                limits: options.limits.clone(),
                policy: options.policy.clone(),
                ..FetchOptions::default()
            },
        );
        let pool = DecodePool::new(options.decode_threads, options.limits.clone())
            .map_err(EngineError::Pool)?;
        Ok(Self {
            options,
            stores,
            fetcher,
            pool,
            services: Mutex::new(HashMap::new()),
            answers: ByContent::new(),
        })
    }

    /// The object stores, for tables to be read through as well.
    pub fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    /// What earlier runs have found out, if it is kept.
    pub fn store(&self) -> Option<&Store> {
        self.options.store.as_ref()
    }

    /// What people said of images.
    pub(crate) fn corrections(&self) -> Option<&Arc<Corrections>> {
        self.options.corrections.as_ref()
    }

    /// What the models have said of images so far, as far as it is in memory.
    pub(crate) fn answers(&self) -> &ByContent {
        &self.answers
    }

    /// The pool that decodes.
    pub fn pool(&self) -> &DecodePool {
        &self.pool
    }

    /// How many images of one stream should be under way at once, on their way to this model if to any.
    pub fn in_flight(&self, service: Option<&Service>) -> usize {
        let wanted = service.map_or(WITHOUT_MODEL, Service::images_ahead);
        self.options.images_in_flight.unwrap_or(wanted).max(1)
    }

    /// The options it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// The service of a model, started on first use and kept.
    ///
    /// Loading may take minutes and blocks the calling thread meanwhile, though not the other tasks of a multi-threaded
    /// runtime. Who asks for the same model while it is loaded waits and gets the same service.
    ///
    /// # Errors
    /// [`EngineError`] when the model cannot be had or not be loaded so; the next call tries again.
    pub fn service(&self, model: &str, options: &LoadOptions) -> Result<Service, EngineError> {
        let slot = Arc::clone(
            lock(&self.services)
                .entry((model.to_string(), *options))
                .or_default(),
        );
        if let Ok(service) = slot.try_lock()
            && let Some(service) = &*service
        {
            return Ok(service.clone());
        }
        blocking(|| {
            let mut place = lock(&slot);
            if let Some(service) = &*place {
                return Ok(service.clone());
            }
            let loaded = picsift_vision::load(model, options, &*self.options.progress)?;
            let service = Service::start(loaded, self.options.service)?;
            *place = Some(service.clone());
            Ok(service)
        })
    }

    /// Gives a model's name to a service that the caller has started, for the default [`LoadOptions`].
    pub fn add_service(&self, model: &str, service: Service) {
        let slot = Arc::new(Mutex::new(Some(service)));
        lock(&self.services).insert((model.to_string(), LoadOptions::default()), slot);
    }

    /// Whether a model of this name runs already.
    pub(crate) fn has(&self, model: &str) -> bool {
        let services = lock(&self.services);
        let mut named = services.iter().filter(|((name, _), _)| name == model);
        named.any(|(_, slot)| slot.try_lock().is_ok_and(|service| service.is_some()))
    }

    /// The models that have been loaded, each with the options that it was asked for with, in no order. A model that is
    /// being loaded is not among them yet.
    pub fn loaded(&self) -> Vec<(LoadOptions, ModelInfo)> {
        let services = lock(&self.services);
        let loaded = services.iter().filter_map(|((_, options), slot)| {
            let service = slot.try_lock().ok()?;
            Some((*options, service.as_ref()?.info().clone()))
        });
        loaded.collect()
    }

    /// What a reference of a table gives, relative to `base` (a folder's URL) where it is relative; nothing where it is still
    /// the `known` version.
    ///
    /// # Errors
    /// [`ImageError`] of the fetch stage.
    pub async fn fetch(
        &self,
        reference: &str,
        base: Option<&Url>,
        known: Option<&Version>,
    ) -> Result<Fetch, ImageError> {
        self.fetcher.fetch_if_changed(reference, base, known).await
    }

    /// The bytes of a reference of a table in the folder `base`; without one, only of a reference that says itself where the image is.
    ///
    /// # Errors
    /// As [`Engine::fetch`].
    pub async fn fetch_below(
        &self,
        reference: &str,
        base: Option<&Url>,
    ) -> Result<Bytes, ImageError> {
        if base.is_none() && !is_absolute(reference) {
            return Err(ImageError::BadReference {
                reference: shown(reference),
                reason:
                    "it is relative, and the folder of its table is not known; name it with --base"
                        .to_owned(),
            });
        }
        Ok(self.fetcher.fetch(reference, base).await?.bytes)
    }

    /// The bytes of an image that the person who runs the program named: what a table may not lead to, they may.
    ///
    /// # Errors
    /// As [`Engine::fetch`].
    pub async fn typed(&self, reference: &str) -> Result<Bytes, ImageError> {
        Ok(self.fetcher.fetch_typed(reference).await?.bytes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is never half changed: a map's entry or a service is there or not.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs work that blocks; the tasks of a multi-threaded runtime move to another thread first. A runtime of one thread has
/// none, and outside of a runtime there is nobody to disturb.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(work)
        }
        _ => work(),
    }
}
