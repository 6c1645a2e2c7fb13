//! The thread that owns the model: takes what waits, runs it in batches, sends each caller its answers.
//!
//! It sleeps until a job arrives, takes whatever else is queued by then up to the batch limit and runs it: batches
//! grow by themselves under load, and a lone job never waits for company. What a model does wrong ends here: a panic
//! and a wrong number of answers become errors of their jobs, and a batch that does not fit the device's memory
//! is halved until it does. A device that is lost ends it: what waits, and whatever comes later, has that one error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use super::{Request, Shared};
use crate::error::VisionError;
use crate::model::{Answer, Job, Model};
use crate::packing::{PackLimits, pack};

pub(super) struct Worker {
    model: Box<dyn Model>,
    shared: Arc<Shared>,
    /// What a batch may hold; the views become fewer when memory runs out and stay so, because what did not fit once
    /// would not fit the next time, after as long a computation.
    limits: PackLimits,
}

impl Worker {
    pub(super) fn new(model: Box<dyn Model>, shared: Arc<Shared>) -> Self {
        let limits = PackLimits {
            items: shared.description.batch.max_images,
            cost: shared.description.batch.max_views,
        };
        Self {
            model,
            shared,
            limits,
        }
    }

    /// Answers until every handle is gone or the device is lost.
    pub(super) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut pending = Vec::new();
        while requests.blocking_recv_many(&mut pending, self.limits.items) > 0 {
            while !pending.is_empty() {
                // A caller that has gone away meanwhile is not worth an encode.
                pending.retain(|request: &Request| !request.reply.is_closed());
                // Packed anew for each batch: the one before may have lowered the limits.
                let costs: Vec<usize> = pending.iter().map(Request::cost).collect();
                let Some(batch) = pack(&costs, self.limits).into_iter().next() else {
                    break;
                };
                let again = self.answer(pending.drain(batch).collect());
                if self.shared.lost.get().is_some() {
                    // What waits is dropped with its replies, which says the same as a reply would. The model is not: the
                    // libraries of a device that is lost panic when they are told to let go.
                    std::mem::forget(self.model);
                    return;
                }
                pending.splice(..0, again);
            }
        }
    }

    /// Calls the model once. Gives back the jobs that did not fit the memory and had company, having lowered the limit so
    /// that they come in smaller batches; all others are answered.
    fn answer(&mut self, requests: Vec<Request>) -> Vec<Request> {
        let tried: usize = requests.iter().map(Request::cost).sum();
        let alone = requests.len() == 1;
        let (jobs, replies): (Vec<Job>, Vec<_>) = requests
            .into_iter()
            .map(|request| (request.job, request.reply))
            .unzip();
        let results = self.results(&jobs);
        let lost = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .find(|error| matches!(error, VisionError::DeviceLost { .. }));
        if let Some(lost) = lost {
            // Before any reply: a caller that reads one and asks again must find the service closed.
            let _ = self.shared.lost.set(lost.clone());
        }
        let mut again = Vec::new();
        for ((job, reply), result) in jobs.into_iter().zip(replies).zip(results) {
            if !alone && matches!(result, Err(VisionError::OutOfMemory { .. })) {
                again.push(Request { job, reply });
            } else {
                add(&self.shared.counters.images, 1);
                // The caller may have gone away while the model ran.
                let _ = reply.send(result);
            }
        }
        if !again.is_empty() {
            self.limits.cost = self.limits.cost.min(tried.div_ceil(2));
            add(&self.shared.counters.halved, 1);
        }
        again
    }

    /// One result per job, whatever the model does.
    fn results(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        let counters = &self.shared.counters;
        let started = Instant::now();
        // The model is used again after a panic: models keep nothing between calls that a half-done one spoils.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.model.answer(jobs)));
        let elapsed = started.elapsed();
        tracing::debug!(
            model = %self.shared.description.info.name,
            images = jobs.len(),
            questions = jobs.iter().map(|job| job.questions.len()).sum::<usize>(),
            seconds = elapsed.as_secs_f64(),
            "batch answered"
        );
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        add(&counters.busy_nanos, nanos);
        add(&counters.batches, 1);

        let model = || self.shared.description.info.name.clone();
        let failed = match outcome {
            Ok(results) if results.len() == jobs.len() => {
                let checked = jobs.iter().zip(results).map(|(job, result)| match result {
                    Ok(answers) if answers.len() != job.questions.len() => {
                        Err(VisionError::AnswerCount {
                            model: model(),
                            what: "questions",
                            expected: job.questions.len(),
                            actual: answers.len(),
                        })
                    }
                    result => result,
                });
                return checked.collect();
            }
            Ok(results) => VisionError::AnswerCount {
                model: model(),
                what: "jobs",
                expected: jobs.len(),
                actual: results.len(),
            },
            Err(panic) => {
                add(&counters.panics, 1);
                VisionError::Panicked {
                    model: model(),
                    message: message(&*panic),
                }
            }
        };
        jobs.iter().map(|_| Err(failed.clone())).collect()
    }
}

impl Request {
    /// Its views; at least 1, so that two jobs always cost more than one.
    fn cost(&self) -> usize {
        self.job.views.count().max(1)
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_owned())
}
