//! What inference runs on: the fetcher, the decode pool and the models.
//!
//! Owns their life and sharing (one [`Engine`] per process or session, used by every function and job). It knows
//! nothing of plans or columns.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use picsift_images::{
    DecodePool, Fetch, FetchOptions, FetchPolicy, Fetched, Fetcher, ImageError, Limits, Sandbox,
    Stores, Version, is_absolute, shown,
};
use picsift_vision::store::Store;
use picsift_vision::{
    DescribedModel, DeviceChoice, FetchProgress, LoadOptions, ModelInfo, Service, ServiceOptions,
    VisionError,
};
use url::Url;

use crate::pipeline::background;
use crate::pipeline::base::Folder;
use crate::pipeline::corrections::Corrections;
use crate::pipeline::image_column::ImageSource;
use crate::pipeline::memory_cache::MemoryAnswerCache;
use crate::pipeline::models::{ModelHandle, Start, blocking, lock};
use crate::pipeline::origin::ReferenceOrigin;
use crate::pipeline::persistent_cache::Before;

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
    /// ([`BatchAdvice::images_ahead`](picsift_vision::BatchAdvice::images_ahead)), or 64 where none is asked.
    pub images_in_flight: Option<usize>,
    /// Limits on one image.
    pub limits: Limits,
    /// Where images are decoded instead of in this process; `None` decodes them here.
    pub sandbox: Option<Sandbox>,
    /// What references may reach.
    pub policy: FetchPolicy,
    /// Where answers are kept beyond the engine's life; `None` keeps none.
    pub store: Option<Store>,
    /// What people said, which wins over what a model says.
    pub corrections: Option<Arc<Corrections>>,
    /// Where models run, whatever else is asked for: what another machine asked for is not this one's to have. `None` is as it is asked.
    pub device: Option<DeviceChoice>,
    /// Batching and queue of each model's service.
    pub service: ServiceOptions,
    /// Whose part of the models this is where several engines share them; all of one number have one part together. `None` takes no
    /// turns.
    pub share: Option<u64>,
    /// Whether threads and processes that decode, and the models that it loads, let all else go first that this machine does (on Linux).
    pub background: bool,
    /// Receives the progress of fetching a model.
    pub progress: Arc<dyn FetchProgress>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            decode_threads: std::thread::available_parallelism().map_or(2, |n| n.get()),
            fetch_concurrency: 32,
            images_in_flight: None,
            limits: Limits::default(),
            sandbox: None,
            policy: FetchPolicy::default(),
            store: None,
            corrections: None,
            device: None,
            service: ServiceOptions::default(),
            share: None,
            background: false,
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

/// Fetcher, decode pool and models, shared by all that asks about images.
pub struct Engine {
    options: EngineOptions,
    stores: Arc<Stores>,
    fetcher: Fetcher,
    pool: DecodePool,
    models: Arc<Models>,
    answers: MemoryAnswerCache,
}

/// The models of an engine, or of several.
type Models = Mutex<HashMap<(String, LoadOptions), Slot>>;

/// The place of one model, empty until it is described. Its own lock, so that describing one keeps only those waiting who ask
/// for the same.
type Slot = Arc<Mutex<Option<ModelHandle>>>;

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without a model yet.
    ///
    /// # Errors
    /// [`EngineError::Pool`] when the decode threads cannot be started.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        Self::with_models(options, Arc::default())
    }

    /// An engine of its own that shares this one's models: stores, processes that decode and what is known of images are not shared.
    /// Who is to have a fair part of the models beside others says so by [`EngineOptions::share`].
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn beside(&self, options: EngineOptions) -> Result<Self, EngineError> {
        Self::with_models(options, Arc::clone(&self.models))
    }

    fn with_models(options: EngineOptions, models: Arc<Models>) -> Result<Self, EngineError> {
        let fetch = FetchOptions {
            concurrency: options.fetch_concurrency,
            limits: options.limits.clone(),
            policy: options.policy.clone(),
            ..FetchOptions::default()
        };
        let stores = Arc::new(Stores::within(options.policy.clone(), &fetch.hub));
        let fetcher = Fetcher::new(Arc::clone(&stores), fetch);
        let (threads, limits) = (options.decode_threads, options.limits.clone());
        let pool = background::start(options.background, || match &options.sandbox {
            None => DecodePool::new(threads, limits),
            Some(sandbox) => {
                let sandboxed = DecodePool::sandboxed(threads, limits, sandbox.clone());
                sandboxed.map(|(pool, _)| pool)
            }
        });
        let pool = pool.map_err(EngineError::Pool)?;
        Ok(Self {
            options,
            stores,
            fetcher,
            pool,
            models,
            answers: MemoryAnswerCache::new(),
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

    /// Whose part of the models this engine has.
    pub(crate) fn share(&self) -> Option<u64> {
        self.options.share
    }

    /// What people said of images.
    pub(crate) fn corrections(&self) -> Option<&Arc<Corrections>> {
        self.options.corrections.as_ref()
    }

    /// What the models have said of images so far, as far as it is in memory.
    pub(crate) fn answers(&self) -> &MemoryAnswerCache {
        &self.answers
    }

    /// The pool that decodes.
    pub fn pool(&self) -> &DecodePool {
        &self.pool
    }

    /// How many images of one stream should be under way at once, on their way to this model if to any.
    pub fn in_flight(&self, model: Option<&ModelHandle>) -> usize {
        let wanted = model.map_or(WITHOUT_MODEL, ModelHandle::images_ahead);
        self.options.images_in_flight.unwrap_or(wanted).max(1)
    }

    /// The options it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// A model, described on first use and kept; it is loaded when an image is asked about.
    ///
    /// Describing may fetch files and blocks the calling thread meanwhile, though not the other tasks of a multi-threaded
    /// runtime. Callers that ask for the same model meanwhile wait and get the same.
    ///
    /// # Errors
    /// [`EngineError`] when the model cannot be had or not be loaded so; the next call tries again.
    pub fn model(&self, model: &str, options: &LoadOptions) -> Result<ModelHandle, EngineError> {
        let options = &LoadOptions {
            device: self.options.device.unwrap_or(options.device),
            ..*options
        };
        let slot = Arc::clone(
            lock(&self.models)
                .entry((model.to_string(), *options))
                .or_default(),
        );
        if let Ok(described) = slot.try_lock()
            && let Some(described) = &*described
        {
            return Ok(described.clone());
        }
        blocking(|| {
            let mut place = lock(&slot);
            if let Some(described) = &*place {
                return Ok(described.clone());
            }
            let described = picsift_vision::describe(model, options, &*self.options.progress)?;
            let described = self.handle(described);
            *place = Some(described.clone());
            Ok(described)
        })
    }

    /// The service of a model, started on first use and kept; see [`ModelHandle::service`].
    ///
    /// # Errors
    /// As [`Engine::model`] and [`ModelHandle::service`].
    pub fn service(&self, model: &str, options: &LoadOptions) -> Result<Service, EngineError> {
        Ok(self.model(model, options)?.service()?)
    }

    /// Gives a model's name to a service that the caller has started, for the default [`LoadOptions`].
    pub fn add_service(&self, model: &str, service: Service) {
        self.add_model(model, service.into());
    }

    /// Gives a name to a model that the caller has described, for the default [`LoadOptions`]; it is loaded when an image is
    /// asked about.
    pub fn add_described(&self, model: &str, described: DescribedModel) {
        self.add_model(model, self.handle(described));
    }

    fn handle(&self, model: DescribedModel) -> ModelHandle {
        ModelHandle::new(Start {
            model,
            service: self.options.service,
            background: self.options.background,
            progress: Arc::clone(&self.options.progress),
        })
    }

    fn add_model(&self, name: &str, model: ModelHandle) {
        let slot = Arc::new(Mutex::new(Some(model)));
        lock(&self.models).insert((name.to_string(), LoadOptions::default()), slot);
    }

    /// Whether there is a model of this name already.
    pub(crate) fn has(&self, model: &str) -> bool {
        let models = lock(&self.models);
        let mut named = models.iter().filter(|((name, _), _)| name == model);
        named.any(|(_, slot)| slot.try_lock().is_ok_and(|described| described.is_some()))
    }

    /// The services of the models that have been loaded, each with the options that it was asked for with, in no order. A model that
    /// is being loaded is not among them yet.
    pub fn services(&self) -> Vec<(LoadOptions, Service)> {
        let models = lock(&self.models);
        let running = models.iter().filter_map(|((_, options), slot)| {
            let described = slot.try_lock().ok()?;
            let service = described.as_ref()?.running()?;
            Some((*options, service.clone()))
        });
        running.collect()
    }

    /// What the models of [`Engine::services`] are.
    pub fn loaded(&self) -> Vec<(LoadOptions, ModelInfo)> {
        let services = self.services().into_iter();
        services
            .map(|(options, service)| (options, service.info().clone()))
            .collect()
    }

    /// The encoded bytes of an image.
    ///
    /// # Errors
    /// [`ImageError`] of the fetch stage; also for a relative reference of a table whose folder is not known.
    pub async fn load_bytes(
        &self,
        image: ImageSource,
        origin: ReferenceOrigin<'_>,
    ) -> Result<Bytes, ImageError> {
        Ok(self.load(image, origin).await?.bytes)
    }

    /// The same with the version that the image is of, where its place tells one.
    pub(crate) async fn load(
        &self,
        image: ImageSource,
        origin: ReferenceOrigin<'_>,
    ) -> Result<Fetched, ImageError> {
        let reference = match image {
            ImageSource::Reference(reference) => reference,
            ImageSource::Bytes(bytes) => {
                return Ok(Fetched {
                    bytes,
                    version: None,
                });
            }
        };
        match origin {
            ReferenceOrigin::Person => self.fetcher.fetch_typed(&reference).await,
            ReferenceOrigin::Table(None) if !is_absolute(&reference) => {
                Err(ImageError::BadReference {
                    reference: shown(&reference),
                    reason: "it is relative, and the folder of its table is not known; name it with --base"
                        .to_owned(),
                })
            }
            _ => self.fetcher.fetch(&reference, origin.folder()).await,
        }
    }

    /// Which of a query's references, each with its folder, are local files that are as they were `before`. Blocks.
    pub(crate) fn unchanged_files(
        &self,
        references: &[Option<(String, Folder)>],
        before: &[Option<Before>],
    ) -> Vec<bool> {
        let mut unchanged = vec![false; references.len()];
        let both = references.iter().zip(before).enumerate();
        let mut known: Vec<_> = both
            .filter_map(|(place, (reference, before))| {
                let (text, folder) = reference.as_ref()?;
                Some((
                    place,
                    text.as_str(),
                    folder.as_deref(),
                    &before.as_ref()?.version,
                ))
            })
            .collect();
        // Rows of one folder stand together, mostly; each folder is asked about once.
        known.sort_by_key(|(_, _, folder, _)| folder.map(Url::as_str));
        for same in known.chunk_by(|a, b| a.2 == b.2) {
            let files: Vec<_> = same
                .iter()
                .map(|(_, text, _, version)| (*text, *version))
                .collect();
            let found = self.fetcher.unchanged_files(&files, same[0].2);
            for ((place, ..), found) in same.iter().zip(found) {
                unchanged[*place] = found;
            }
        }
        unchanged
    }

    /// The image of a query's reference, or nothing where it is still the `known` version.
    ///
    /// # Errors
    /// As [`Engine::load_bytes`].
    pub(crate) async fn load_if_changed(
        &self,
        reference: &str,
        folder: Option<&Url>,
        known: &Version,
    ) -> Result<Fetch, ImageError> {
        let fetcher = &self.fetcher;
        fetcher
            .fetch_if_changed(reference, folder, Some(known))
            .await
    }
}
