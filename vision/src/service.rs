//! The service in front of a model: many callers, one bounded queue, one thread that owns the model.
//!
//! The thread sleeps until a job arrives, takes whatever else is queued by then up to the batch limit and runs
//! it: batches grow by themselves under load, and a lone job never waits for company. It knows no particular
//! model and does no arithmetic; which jobs run together is [`pack`]'s decision.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::error::VisionError;
use crate::model::{
    Answer, Job, Loaded, Model, ModelInfo, Preprocessor, Question, Questions, Views,
};
use crate::packing::{PackLimits, pack};

/// How large batches and the queue may become. Together they bound the images held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceOptions {
    /// Most images in one call of the model; at least 1.
    pub max_batch: usize,
    /// Most pixels in one call of the model; an image with more goes alone.
    pub max_pixels: usize,
    /// Most jobs waiting before [`Service::submit`] waits too; at least 1.
    pub queue: usize,
}

impl Default for ServiceOptions {
    /// Batches of 32 images or 4 megapixels (12 MB of samples), and two such batches waiting.
    fn default() -> Self {
        Self {
            max_batch: 32,
            max_pixels: 4 << 20,
            queue: 64,
        }
    }
}

/// What a service has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceStats {
    /// Images given to the model, failed ones included.
    pub images: u64,
    /// Calls of the model.
    pub batches: u64,
    /// Time spent in the model.
    pub busy: Duration,
}

/// A handle to a running model. Clones share it; the thread ends when the last one is dropped.
#[derive(Clone)]
pub struct Service {
    queue: mpsc::Sender<Request>,
    shared: Arc<Shared>,
}

struct Request {
    job: Job,
    reply: oneshot::Sender<Result<Vec<Answer>, VisionError>>,
}

struct Shared {
    info: ModelInfo,
    questions: Arc<dyn Questions>,
    preprocessor: Arc<dyn Preprocessor>,
    images: AtomicU64,
    batches: AtomicU64,
    busy_nanos: AtomicU64,
}

impl Service {
    /// Starts the thread that owns the model.
    ///
    /// # Errors
    /// [`VisionError::ServiceOption`] for an option of 0, [`VisionError::Thread`] when the system gives no thread.
    pub fn start(loaded: Loaded, options: ServiceOptions) -> Result<Self, VisionError> {
        let named = [
            ("max_batch", options.max_batch),
            ("max_pixels", options.max_pixels),
            ("queue", options.queue),
        ];
        if let Some((option, _)) = named.into_iter().find(|(_, value)| *value == 0) {
            return Err(VisionError::ServiceOption { option });
        }
        let Loaded {
            info,
            questions,
            preprocessor,
            model,
        } = loaded;
        let shared = Arc::new(Shared {
            info,
            questions,
            preprocessor,
            images: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            busy_nanos: AtomicU64::new(0),
        });
        let (queue, requests) = mpsc::channel(options.queue);
        let limits = PackLimits {
            items: options.max_batch,
            cost: options.max_pixels,
        };
        let worker = Worker {
            model,
            shared: Arc::clone(&shared),
        };
        thread::Builder::new()
            .name("picsift-model".to_owned())
            .spawn(move || worker.run(requests, limits))
            .map_err(|source| VisionError::Thread {
                model: shared.info.name.clone(),
                source: Arc::new(source),
            })?;
        Ok(Self { queue, shared })
    }

    /// What the model is.
    pub fn info(&self) -> &ModelInfo {
        &self.shared.info
    }

    /// The model's planning half.
    pub fn questions(&self) -> &dyn Questions {
        &*self.shared.questions
    }

    /// What makes views of an image, for [`Service::submit`]. It computes: call it where blocking is allowed.
    pub fn preprocessor(&self) -> Arc<dyn Preprocessor> {
        Arc::clone(&self.shared.preprocessor)
    }

    /// What the service has done so far.
    pub fn stats(&self) -> ServiceStats {
        ServiceStats {
            images: self.shared.images.load(Ordering::Relaxed),
            batches: self.shared.batches.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.shared.busy_nanos.load(Ordering::Relaxed)),
        }
    }

    /// Asks the questions about the image behind the views and gives the answers in the questions' order. Waits while the queue
    /// is full. Dropping the future withdraws the job unless the model already has it.
    ///
    /// # Errors
    /// What the model says about this image, or [`VisionError::Closed`] when its thread has ended.
    pub async fn submit(
        &self,
        views: Views,
        questions: Arc<[Question]>,
    ) -> Result<Vec<Answer>, VisionError> {
        let closed = || VisionError::Closed {
            model: self.shared.info.name.clone(),
        };
        let (reply, answer) = oneshot::channel();
        let job = Job { views, questions };
        self.queue
            .send(Request { job, reply })
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
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

struct Worker {
    model: Box<dyn Model>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self, mut requests: mpsc::Receiver<Request>, limits: PackLimits) {
        let mut pending = Vec::with_capacity(limits.items);
        while requests.blocking_recv_many(&mut pending, limits.items) > 0 {
            let costs: Vec<usize> = pending.iter().map(Request::pixels).collect();
            let mut waiting = pending.drain(..);
            for batch in pack(&costs, limits) {
                // A caller that has gone away meanwhile is not worth an encode.
                self.answer(
                    waiting
                        .by_ref()
                        .take(batch.len())
                        .filter(|request| !request.reply.is_closed()),
                );
            }
        }
    }

    fn answer(&mut self, batch: impl Iterator<Item = Request>) {
        let (jobs, replies): (Vec<Job>, Vec<_>) =
            batch.map(|request| (request.job, request.reply)).unzip();
        if jobs.is_empty() {
            return;
        }
        let started = Instant::now();
        // The model is used again after a panic: models keep nothing between calls that a half-done one spoils.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.model.answer(&jobs)));
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.shared.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        self.shared
            .images
            .fetch_add(jobs.len() as u64, Ordering::Relaxed);

        let model = || self.shared.info.name.clone();
        let failed = match outcome {
            Ok(results) if results.len() == jobs.len() => {
                for ((job, reply), result) in jobs.iter().zip(replies).zip(results) {
                    let checked = result.and_then(|answers| {
                        if answers.len() == job.questions.len() {
                            return Ok(answers);
                        }
                        Err(VisionError::AnswerCount {
                            model: model(),
                            what: "questions",
                            expected: job.questions.len(),
                            actual: answers.len(),
                        })
                    });
                    // The caller may have gone away while the model ran.
                    let _ = reply.send(checked);
                }
                return;
            }
            Ok(results) => VisionError::AnswerCount {
                model: model(),
                what: "jobs",
                expected: jobs.len(),
                actual: results.len(),
            },
            Err(panic) => VisionError::Panicked {
                model: model(),
                message: message(&*panic),
            },
        };
        for reply in replies {
            let _ = reply.send(Err(failed.clone()));
        }
    }
}

impl Request {
    fn pixels(&self) -> usize {
        self.job.views.data.len() / 3
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}
