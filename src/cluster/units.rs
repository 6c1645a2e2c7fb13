//! Labelling on a cluster: the job as bytes, and its units on an executor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use picsift_cluster::{Cluster, Units};
use picsift_udf::{Engine, EngineOptions};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::error::AppError;
use crate::label::order::Order;
use crate::label::shared::{Done, Hand, Hands, is_hopeless};
use crate::label::{Cancel, LabelOptions};

/// Jobs that a thread keeps ready.
const JOBS: usize = 4;

/// How long an executor waits after a unit that failed there.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest time that an executor waits after a unit that failed there, so that one that is broken leaves units to the others.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A cluster that does the units of one job.
pub struct Directed {
    cluster: Cluster,
    job: Bytes,
}

/// The hands of a cluster for the job of these options.
///
/// # Errors
/// When it cannot be written down.
pub fn hands(cluster: Cluster, options: &LabelOptions) -> Result<Directed, AppError> {
    let job = serde_json::to_vec(&Order::new(options)?).map_err(AppError::json)?;
    Ok(Directed {
        cluster,
        job: job.into(),
    })
}

#[async_trait::async_trait]
impl Hands for Directed {
    async fn units(&self, units: &[u32]) -> Result<Vec<(u32, String)>, AppError> {
        Ok(self.cluster.units(self.job.clone(), units).await?)
    }
}

/// What labels units on an executor: threads of its own, each of which does one unit at a time and keeps the jobs that it has done some of.
/// The work on a job never leaves its thread, so that nothing of it need be fit to be sent about.
pub(super) struct LabelUnits {
    waiting: mpsc::Sender<Wanted>,
    /// Units that failed one after another.
    in_a_row: AtomicU32,
}

/// A unit that is to be done.
struct Wanted {
    job: Vec<u8>,
    unit: u32,
    cancel: Cancel,
    tell: oneshot::Sender<Told>,
}

/// What came of it, as [`Units::unit`] has it.
type Told = Result<Option<String>, String>;

impl LabelUnits {
    /// So many threads, whose jobs have the models of an engine.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn new(
        threads: usize,
        models: &Arc<Engine>,
        options: &EngineOptions,
    ) -> Result<Self, AppError> {
        let (waiting, next) = mpsc::channel(threads);
        let next = Arc::new(Mutex::new(next));
        for number in 0..threads {
            let (models, options) = (Arc::clone(models), options.clone());
            let (next, runtime) = (Arc::clone(&next), Handle::current());
            let run = move || {
                let mut labelling = Labelling {
                    models,
                    options,
                    hands: Vec::new(),
                };
                runtime.block_on(labelling.run(&next));
            };
            let thread = std::thread::Builder::new().name(format!("units {number}"));
            // It ends when nobody can want anything any more.
            drop(thread.spawn(run).map_err(AppError::Runtime)?);
        }
        Ok(Self {
            waiting,
            in_a_row: AtomicU32::new(0),
        })
    }

    /// The pause after a unit.
    fn pause(&self, has_failed: bool) -> Duration {
        if !has_failed {
            self.in_a_row.store(0, Ordering::Relaxed);
            return Duration::ZERO;
        }
        let before = self.in_a_row.fetch_add(1, Ordering::Relaxed);
        (FIRST_PAUSE * (1 << before.min(10))).min(LONGEST_PAUSE)
    }
}

/// The jobs of one thread.
struct Labelling {
    models: Arc<Engine>,
    options: EngineOptions,
    /// Jobs of which units were done, that of the last one at the end.
    hands: Vec<(Vec<u8>, Hand)>,
}

impl Labelling {
    /// Does units as they come, until nobody can want any.
    async fn run(&mut self, next: &Mutex<mpsc::Receiver<Wanted>>) {
        loop {
            let wanted = next.lock().await.recv().await;
            let Some(wanted) = wanted else { return };
            let told = self.unit(&wanted).await.map_err(|error| error.to_string());
            // Where nobody waits any more, its record says what came of it.
            let _ = wanted.tell.send(told);
        }
    }

    /// Labels a unit; why that could not be done here, unless the job is hopeless.
    async fn unit(&mut self, wanted: &Wanted) -> Result<Option<String>, AppError> {
        let hand = match self.hand(&wanted.job).await {
            Ok(hand) => hand,
            Err(error) if is_hopeless(&error) => return Err(error),
            Err(error) => return Ok(Some(error.to_string())),
        };
        match hand.unit(wanted.unit, &wanted.cancel).await? {
            Done::Recorded => {
                self.hands.push((wanted.job.clone(), hand));
                if self.hands.len() > JOBS {
                    self.hands.remove(0);
                }
                Ok(None)
            }
            // It may have seen its tables or its store as they are not, and is made anew.
            Done::Failed(why) => Ok(Some(format!("on {}: {why}", hand.name()))),
        }
    }

    /// One that does the job's units.
    async fn hand(&mut self, job: &[u8]) -> Result<Hand, AppError> {
        if let Some(place) = self.hands.iter().position(|(other, _)| other == job) {
            return Ok(self.hands.remove(place).1);
        }
        let order: Order = serde_json::from_slice(job).map_err(AppError::json)?;
        Hand::new(order.options(&self.options)?, &self.models).await
    }
}

/// Ends a unit with whoever waits for it.
struct StopOnDrop(Cancel);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[async_trait::async_trait]
impl Units for LabelUnits {
    async fn unit(&self, job: &[u8], unit: u32) -> Told {
        let (stop, (tell, told)) = (StopOnDrop(Cancel::default()), oneshot::channel());
        let wanted = Wanted {
            job: job.to_vec(),
            unit,
            cancel: stop.0.clone(),
            tell,
        };
        let ended = |_| "the threads that label have ended".to_string();
        self.waiting
            .send(wanted)
            .await
            .map_err(|error| ended(drop(error)))?;
        let told = told.await.map_err(|error| ended(drop(error)))?;
        let pause = self.pause(!matches!(told, Ok(None)));
        if let Ok(Some(why)) = &told {
            tracing::warn!(unit, why, "a unit could not be done here");
            tokio::time::sleep(pause).await;
        }
        drop(stop);
        told
    }
}
