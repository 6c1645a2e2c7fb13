//! The service in front of a model: many callers, one bounded queue, and for each device on which the model is one thread that
//! owns it there.
//!
//! Owns what callers see: the queue with its back-pressure, and what is known of the model without asking its
//! threads. Their work is `worker`'s, what is done for the next batch beside it `ahead`'s, which jobs run together is [`pack`](crate::pack)'s, and the
//! arithmetic the model's.

mod ahead;
mod queue;
mod worker;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::description::{ModelDescription, joined};
use crate::error::VisionError;
use crate::model::{
    Answer, BatchAdvice, Job, Loaded, ModelInfo, Preprocessor, Question, Questions, Staged, Views,
};
use crate::packing::PackLimits;
use ahead::Ahead;
use queue::Queue;
use worker::Worker;

/// How large batches and the queue may become. Together they bound the images that the service holds: the queue, and for each
/// device the batch that runs and one that is made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceOptions {
    /// Most images and views in one call of the model; unset, what the model advises.
    pub batch: Option<BatchAdvice>,
    /// Most jobs waiting before [`Service::submit`] waits too, at least 1; unset, two batches for each device.
    pub queue: Option<usize>,
}

/// What a service has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceStats {
    /// Images that the model is done with, failed ones included.
    pub images: u64,
    /// Calls of the model.
    pub batches: u64,
    /// Calls that did not fit the device's memory, whose images were then tried again in smaller batches.
    pub halved: u64,
    /// Calls that did not fit the device's memory beside what was made ready for the next one, and were repeated without it.
    pub without_next: u64,
    /// Calls in which the model panicked; each is the error of its images.
    pub panics: u64,
    /// Devices that broke, whose work the others took over; the last one is not counted, but ends the service.
    pub lost: u64,
    /// Time spent in the model, summed over its devices.
    pub busy: Duration,
}

/// A handle to a running model. Clones share it; the threads end when the last one is dropped.
#[derive(Clone)]
pub struct Service {
    queue: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

/// One job on its way, and where its answers go.
struct Request {
    job: Job,
    /// What was made ready of it ahead of its batch.
    staged: Option<Staged>,
    reply: oneshot::Sender<Result<Vec<Answer>, VisionError>>,
}

/// What the handles and the threads know.
struct Shared {
    description: ModelDescription,
    preprocessor: Arc<dyn Preprocessor>,
    counters: Counters,
    devices: usize,
    /// Workers whose devices have not broken.
    alive: AtomicUsize,
    /// Why the last one ended while there was still work.
    lost: OnceLock<VisionError>,
}

#[derive(Default)]
struct Counters {
    images: AtomicU64,
    batches: AtomicU64,
    halved: AtomicU64,
    without_next: AtomicU64,
    panics: AtomicU64,
    lost: AtomicU64,
    busy_nanos: AtomicU64,
}

impl Service {
    /// Starts the thread that owns the model.
    ///
    /// # Errors
    /// [`VisionError::ServiceOption`] for an option of 0, [`VisionError::Thread`] when the system gives no thread.
    pub fn start(loaded: Loaded, options: ServiceOptions) -> Result<Self, VisionError> {
        Self::start_all(loaded, Vec::new(), options)
    }

    /// The same for a model that is on several devices: `first` and `others` are one model, loaded once for each. What is asked
    /// goes to the device that is free first. One that breaks gives its jobs back to the rest; the last one's end is the
    /// service's.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub fn start_all(
        first: Loaded,
        others: Vec<Loaded>,
        options: ServiceOptions,
    ) -> Result<Self, VisionError> {
        let devices = 1 + others.len();
        let batch = options.batch.unwrap_or(first.batch);
        let waiting = batch.max_images.saturating_mul(BatchAdvice::WAITING);
        let queue = options.queue.unwrap_or(waiting.saturating_mul(devices));
        let named = [
            ("max_images", batch.max_images),
            ("max_views", batch.max_views),
            ("queue", queue),
        ];
        if let Some((option, _)) = named.into_iter().find(|(_, value)| *value == 0) {
            return Err(VisionError::ServiceOption { option });
        }
        let mut info = first.info;
        for other in &others {
            info.device = joined(&info.device, &other.info.device);
        }
        let shared = Arc::new(Shared {
            description: ModelDescription {
                info,
                questions: first.questions,
                batch,
            },
            preprocessor: first.preprocessor,
            counters: Counters::default(),
            devices,
            alive: AtomicUsize::new(devices),
            lost: OnceLock::new(),
        });
        let (sender, queue) = Queue::new(queue, &shared);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
            thread.map(drop).map_err(|source| VisionError::Thread {
                model: shared.description.info.name.clone(),
                source: Arc::new(source),
            })
        };
        let models = std::iter::once(first.model).chain(others.into_iter().map(|one| one.model));
        for model in models {
            let ahead = match model.stager() {
                None => None,
                Some(stager) => {
                    let ahead = Arc::new(Ahead::new(shared.limits()));
                    let (queue, lies) = (queue.clone(), Arc::clone(&ahead));
                    let work = move || ahead::stage_all(&*stager, queue, &lies);
                    spawn("picsift-stage", Box::new(work))?;
                    Some(ahead)
                }
            };
            let worker = Worker::new(model, Arc::clone(&shared), queue.clone(), ahead);
            spawn("picsift-model", Box::new(move || worker.run()))?;
        }
        Ok(Self {
            queue: sender,
            shared,
        })
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.shared.description.info
    }

    /// What is known of the model without its weights, with the batches of this service.
    pub fn description(&self) -> &ModelDescription {
        &self.shared.description
    }

    /// The model's planning half.
    pub fn questions(&self) -> &dyn Questions {
        &*self.shared.description.questions
    }

    /// What makes views of an image, for [`Service::submit`]. It computes: call it where blocking is allowed.
    pub fn preprocessor(&self) -> Arc<dyn Preprocessor> {
        Arc::clone(&self.shared.preprocessor)
    }

    /// How many devices it was started on.
    pub fn devices(&self) -> usize {
        self.shared.devices
    }

    /// How large the model's batches may become, on each device.
    pub fn batch(&self) -> BatchAdvice {
        self.shared.description.batch
    }

    /// Whether it answers nothing more: the device broke, or the thread has ended otherwise.
    pub fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    /// Jobs that wait for the model.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// What the service has done so far.
    pub fn stats(&self) -> ServiceStats {
        let counters = &self.shared.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServiceStats {
            images: count(&counters.images),
            batches: count(&counters.batches),
            halved: count(&counters.halved),
            without_next: count(&counters.without_next),
            panics: count(&counters.panics),
            lost: count(&counters.lost),
            busy: Duration::from_nanos(count(&counters.busy_nanos)),
        }
    }

    /// Asks the questions about the image behind the views and gives the answers in the questions' order. Waits
    /// while the queue is full. Dropping the future withdraws the job unless the model already has it.
    ///
    /// # Errors
    /// What the model says about this image. [`VisionError::DeviceLost`] from the moment on at which the last device broke, or
    /// [`VisionError::Closed`] when the threads have ended otherwise: after either no job of this service succeeds.
    pub async fn submit(
        &self,
        views: Views,
        questions: Arc<[Question]>,
    ) -> Result<Vec<Answer>, VisionError> {
        let closed = || {
            let lost = self.shared.lost.get().cloned();
            lost.unwrap_or_else(|| VisionError::Closed {
                model: self.shared.description.info.name.clone(),
            })
        };
        let (reply, answer) = oneshot::channel();
        let job = Job { views, questions };
        self.queue
            .send(Request {
                job,
                staged: None,
                reply,
            })
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

impl Shared {
    /// What a batch may hold.
    fn limits(&self) -> PackLimits {
        PackLimits {
            items: self.description.batch.max_images,
            cost: self.description.batch.max_views,
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("info", self.info())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
