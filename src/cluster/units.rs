//! Labelling on a cluster: the job as bytes, and its units on an executor.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use picsift_cluster::{Cluster, Tried, Units};
use picsift_udf::{Engine, EngineOptions};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::counts::{Doing, of_run};
use crate::error::AppError;
use crate::label::order::Order;
use crate::label::shared::{Done, Hand, Hands, is_hopeless};
use crate::label::{Cancel, LabelOptions};

/// Jobs that a thread keeps ready.
const JOBS: usize = 4;

/// Groups of units that are given away at once, each by itself.
const GROUPS: usize = 16;

/// A cluster that does the units of one job.
pub struct Directed {
    cluster: Cluster,
    job: Bytes,
    failures: Mutex<Failures>,
}

/// Which executors could not do what of a job, so that others are asked.
#[derive(Default)]
struct Failures {
    /// The executors that could not do a unit.
    of_unit: HashMap<u32, BTreeSet<String>>,
    /// Those that could do none of what they were given last.
    unable: BTreeSet<String>,
}

impl Failures {
    /// Units with the executors that they are to be kept from. What was never tried is for all: who is broken is so for a while.
    fn groups(&self, units: &[u32]) -> BTreeMap<Vec<String>, Vec<u32>> {
        let mut groups: BTreeMap<_, Vec<u32>> = BTreeMap::new();
        for unit in units {
            let not_on = self.of_unit.get(unit).map(|failed| failed | &self.unable);
            let not_on = not_on.into_iter().flatten().collect();
            groups.entry(not_on).or_default().push(*unit);
        }
        groups
    }

    /// Remembers what came of units.
    fn note(&mut self, tried: &Tried) {
        for failed in &tried.failed {
            let executors = self.of_unit.entry(failed.unit).or_default();
            executors.insert(failed.executor.clone());
            self.unable.insert(failed.executor.clone());
        }
        self.unable
            .retain(|executor| !tried.able.contains(executor));
    }
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
        failures: Mutex::default(),
    })
}

#[async_trait::async_trait]
impl Hands for Directed {
    async fn units(&self, units: &[u32]) -> Result<Vec<(u32, String)>, AppError> {
        let groups = self.failures.lock().await.groups(units);
        let given: Vec<_> = groups
            .into_iter()
            .map(|(not_on, units)| {
                let (cluster, job) = (self.cluster.clone(), self.job.clone());
                async move { cluster.units(job, &units, &not_on).await }
            })
            .collect();
        let given = futures::stream::iter(given).buffer_unordered(GROUPS);
        let tried: Vec<Tried> = given.try_collect().await?;
        let mut failures = self.failures.lock().await;
        for tried in &tried {
            failures.note(tried);
        }
        let failed = tried.into_iter().flat_map(|tried| tried.failed);
        Ok(failed.map(|failed| (failed.unit, failed.why)).collect())
    }
}

/// What labels units on an executor: threads of its own, each of which does one unit at a time and keeps the jobs that it has done some of.
/// The work on a job never leaves its thread, so that nothing of it need be fit to be sent about.
pub(super) struct LabelUnits {
    waiting: mpsc::Sender<Wanted>,
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
    /// So many threads, whose jobs have the models of an engine and are counted in `doing`.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub(super) fn new(
        threads: usize,
        models: &Arc<Engine>,
        options: &EngineOptions,
        doing: &Arc<Doing>,
    ) -> Result<Self, AppError> {
        let (waiting, next) = mpsc::channel(threads);
        let next = Arc::new(Mutex::new(next));
        for number in 0..threads {
            let (models, options) = (Arc::clone(models), options.clone());
            let (next, runtime) = (Arc::clone(&next), Handle::current());
            let doing = Arc::clone(doing);
            let run = move || {
                let mut labelling = Labelling {
                    models,
                    options,
                    doing,
                    hands: Vec::new(),
                };
                runtime.block_on(labelling.run(&next));
            };
            let thread = std::thread::Builder::new().name(format!("units {number}"));
            // It ends when nobody can want anything any more.
            drop(thread.spawn(run).map_err(AppError::Runtime)?);
        }
        Ok(Self { waiting })
    }
}

/// The jobs of one thread.
struct Labelling {
    models: Arc<Engine>,
    options: EngineOptions,
    doing: Arc<Doing>,
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
            Err(error) => {
                self.doing.ended(false);
                return Ok(Some(error.to_string()));
            }
        };
        let before = of_run(hand.stats());
        let done = hand.unit(wanted.unit, &wanted.cancel).await;
        let is_done = matches!(done, Ok(Done::Recorded));
        self.doing.unit(before, hand.stats(), is_done);
        match done? {
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
        let ended = || "the threads that label have ended".to_string();
        self.waiting.send(wanted).await.map_err(|_| ended())?;
        let told = told.await.map_err(|_| ended())?;
        if let Ok(Some(why)) = &told {
            tracing::warn!(unit, why, "a unit could not be done here");
        }
        drop(stop);
        told
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use picsift_cluster::FailedUnit;

    use super::*;

    fn tried(failed: &[(u32, &str)], able: &[&str]) -> Tried {
        let failed = failed.iter().map(|(unit, executor)| FailedUnit {
            unit: *unit,
            why: String::new(),
            executor: (*executor).to_string(),
        });
        let able = able.iter().map(|executor| (*executor).to_string());
        Tried {
            failed: failed.collect(),
            able: able.collect::<HashSet<_>>(),
        }
    }

    #[test]
    fn a_unit_is_kept_from_who_could_not_do_it_and_from_who_can_do_nothing() {
        let mut failures = Failures::default();
        failures.note(&tried(
            &[(1, "broken"), (2, "broken"), (3, "whole")],
            &["whole"],
        ));
        let kept = |failures: &Failures, unit: u32| {
            let groups = failures.groups(&[unit]);
            groups.into_keys().next().unwrap()
        };
        assert!(kept(&failures, 0).is_empty(), "it was never tried");
        assert_eq!(kept(&failures, 1), ["broken"]);
        assert_eq!(kept(&failures, 3), ["broken", "whole"]);
        let groups = failures.groups(&[0, 1, 2, 3]);
        let units: Vec<_> = groups.into_values().collect();
        assert_eq!(units, [vec![0], vec![1, 2], vec![3]]);
        failures.note(&tried(&[(1, "whole")], &["broken"]));
        assert_eq!(kept(&failures, 1), ["broken", "whole"]);
        assert_eq!(kept(&failures, 2), ["broken", "whole"]);
        failures.note(&tried(&[], &["whole"]));
        assert_eq!(kept(&failures, 2), ["broken"]);
    }
}
