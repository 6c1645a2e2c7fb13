//! A thread that owns a model: takes what waits, runs it in batches, sends each caller its answers.
//!
//! It sleeps until a job arrives, takes whatever else is queued by then up to the batch limit and runs it: batches
//! grow by themselves under load, and a lone job never waits for company. What a model does wrong ends here: a panic
//! and a wrong number of answers become errors of their jobs, and a batch that does not fit the device's memory
//! is tried again without the next one beside it, and then halved until it does. A device that is lost ends it: its jobs go back into the queue while there are other devices;
//! if it was the last one, what waits, and whatever comes later, has that one error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::ahead::Ahead;
use super::queue::Queue;
use super::{Request, Shared};
use crate::error::VisionError;
use crate::model::{Answer, Job, Model, Staged};
use crate::packing::{PackLimits, pack};

pub(super) struct Worker {
    model: Box<dyn Model>,
    shared: Arc<Shared>,
    queue: Queue,
    /// What is made ready of the queue, for a model that has something to make ready.
    ahead: Option<Arc<Ahead>>,
    /// What a batch may hold; the views become fewer when memory runs out and stay so, because what did not fit once
    /// would not fit the next time, after as long a computation.
    limits: PackLimits,
    /// Whether what was made ready of the next batch has been let go for the one that is tried again now.
    without_next: bool,
}

impl Worker {
    /// A worker with the batches that the service was told to make. `ahead` is where the model's [`Stager`](crate::model::Stager)
    /// lays what it takes off the queue.
    pub(super) fn new(
        model: Box<dyn Model>,
        shared: Arc<Shared>,
        queue: Queue,
        ahead: Option<Arc<Ahead>>,
    ) -> Self {
        Self {
            model,
            limits: shared.limits(),
            shared,
            queue,
            ahead,
            without_next: false,
        }
    }

    /// Answers until every handle is gone or the device is lost.
    pub(super) fn run(mut self) {
        loop {
            let mut pending = match &self.ahead {
                Some(ahead) => ahead.take(self.limits.items),
                None => self.queue.take(self.limits.items),
            };
            if pending.is_empty() {
                return;
            }
            while !pending.is_empty() {
                // A caller that has gone away meanwhile is not worth an encode.
                pending.retain(|request: &Request| !request.reply.is_closed());
                // Packed anew for each batch: the one before may have lowered the limits.
                let costs: Vec<usize> = pending.iter().map(Request::cost).collect();
                let Some(batch) = pack(&costs, self.limits).into_iter().next() else {
                    break;
                };
                let again = match self.answer(pending.drain(batch).collect()) {
                    Ok(again) => again,
                    Err(lost) => {
                        pending.splice(..0, lost.open);
                        if let Some(ahead) = &self.ahead {
                            pending.extend(ahead.close());
                        }
                        // The libraries of a device that is lost panic when they are told to let go.
                        std::mem::forget(self.model);
                        return self.queue.leave(pending);
                    }
                };
                pending.splice(..0, again);
            }
        }
    }

    /// Calls the model once. Gives back the jobs that did not fit the memory and are worth another try: beside what was made ready of the
    /// next batch, which is let go, or else in company, having lowered the limit so that they come in smaller batches. All others are answered.
    ///
    /// # Errors
    /// [`Lost`] when the device has broken, with the jobs that another one may answer.
    fn answer(&mut self, requests: Vec<Request>) -> Result<Vec<Request>, Lost> {
        let tried: usize = requests.iter().map(Request::cost).sum();
        let alone = requests.len() == 1;
        let mut jobs = Vec::with_capacity(requests.len());
        let mut staged = Vec::with_capacity(requests.len());
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            jobs.push(request.job);
            staged.push(request.staged);
            replies.push(request.reply);
        }
        let results = self.results(&jobs, &staged);
        let lost = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .find(|error| matches!(error, VisionError::DeviceLost { .. }));
        let last = lost.is_some_and(|lost| self.lose(lost));
        let (lost, others) = (lost.is_some(), lost.is_some() && !last);
        let full = results
            .iter()
            .any(|result| matches!(result, Err(VisionError::OutOfMemory { .. })));
        let made_room = full && !lost && self.let_go();
        let mut again = Vec::new();
        let requests = jobs.into_iter().zip(staged).zip(replies);
        for (((job, staged), reply), result) in requests.zip(results) {
            let open = match &result {
                Err(VisionError::OutOfMemory { .. }) => others || !alone || made_room,
                Err(VisionError::DeviceLost { .. }) => others,
                _ => false,
            };
            if open {
                again.push(Request { job, staged, reply });
            } else {
                add(&self.shared.counters.images, 1);
                if lost {
                    std::mem::forget(staged);
                }
                // The caller may have gone away while the model ran.
                let _ = reply.send(result);
            }
        }
        if lost {
            return Err(Lost { open: again });
        }
        let tried_without = std::mem::replace(&mut self.without_next, made_room);
        if made_room {
            add(&self.shared.counters.without_next, 1);
        } else if full {
            if !again.is_empty() {
                self.limits.cost = self.limits.cost.min(tried.div_ceil(2));
                add(&self.shared.counters.halved, 1);
            }
            // It was not the next batch's fault.
            if let Some(ahead) = &self.ahead {
                ahead.resume(self.limits);
            }
        } else if tried_without {
            tracing::warn!(
                model = %self.shared.description.info.name,
                "the device's memory holds a batch, but not the next one beside it; from now on batches are made ready one after the other"
            );
        }
        Ok(again)
    }

    /// Lets go of what was made ready of the next batch; whether there was anything.
    fn let_go(&self) -> bool {
        self.ahead.as_ref().is_some_and(|ahead| ahead.let_go())
    }

    /// Takes note that the device is lost; whether it was the last one. Before any reply: a caller that reads one and asks again
    /// must find the service closed.
    fn lose(&self, error: &VisionError) -> bool {
        let last = self.shared.alive.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            let _ = self.shared.lost.set(error.clone());
        } else {
            add(&self.shared.counters.lost, 1);
            tracing::warn!(%error, "the other devices go on");
        }
        last
    }

    /// One result per job, whatever the model does.
    fn results(
        &mut self,
        jobs: &[Job],
        staged: &[Option<Staged>],
    ) -> Vec<Result<Vec<Answer>, VisionError>> {
        let counters = &self.shared.counters;
        let started = Instant::now();
        // The model is used again after a panic: models keep nothing between calls that a half-done one spoils.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.model.answer_staged(jobs, staged)));
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

/// The jobs of a device that has broken, for another.
struct Lost {
    open: Vec<Request>,
}

impl Request {
    /// Its views; at least 1, so that two jobs always cost more than one.
    pub(super) fn cost(&self) -> usize {
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
