//! A shared job that this program does not label itself: it says which units are to be done, and publishes what was recorded.
//!
//! Nothing that decides hangs on it. Units are done when they are recorded, by whomever; when this program ends, the same command goes on,
//! and so do programs that take units themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::exec_datafusion_err;

use super::join::Joined;
use super::publish::publish_units;
use super::records::JobWork;
use super::work::resumable;
use super::{Outcome, standing, work_of};
use crate::error::AppError;
use crate::label::cancel::Cancel;
use crate::label::prepare::PreparedJob;
use crate::label::progress::Progress;
use crate::label::sources::check_unchanged;

/// Units that are given away at once: so that a plan of them is small, and that those that failed are soon tried again.
const WAVE: usize = 1000;

/// How often a unit is given away that fails.
const TRIES: u32 = 3;

/// Units of which all fail that are taken for a sign that others would too, once others have tried.
const FEW: usize = 3;

/// Time between two looks how far it is, at least; it grows with what a look takes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Those who do the units of a job.
#[async_trait::async_trait]
pub trait Hands: Send + Sync {
    /// Has these units done. Ended well, each was tried; whether it is done its record says. Those that could not be done come back with why,
    /// as far as that is known. Dropped, it gives up what is not begun.
    ///
    /// # Errors
    /// When the job is hopeless, or nobody is there who does it.
    async fn units(&self, units: &[u32]) -> Result<Vec<(u32, String)>, AppError>;
}

/// Has what is left of a job done, and publishes it.
///
/// # Errors
/// [`AppError`]; what is recorded stays.
pub(super) async fn run(
    job: &PreparedJob,
    joined: Joined,
    hands: &dyn Hands,
    progress: Arc<dyn Fn(&Progress) + Send + Sync>,
    cancel: &Cancel,
) -> Result<Outcome, AppError> {
    let work = work_of(&job.output, &joined.plan);
    let units = joined.plan.units.len();
    let mut asked = cancel.finishing();
    let done = tokio::select! {
        done = waves(&work, units, hands) => done,
        looked = look(&work, &joined, &*progress) => looked,
        _ = asked.wait_for(|asked| *asked) => {
            let done = work.done().await.map_or(0, |done| done.len());
            Err(AppError::Cancelled { state: standing(done, units) })
        }
    };
    if let Err(error) = done {
        let done = work.done().await.map_or(0, |done| done.len());
        return Err(resumable(error, done, units));
    }
    check_unchanged(&job.inference.context, &job.tables.sources).await?;
    let most = job.options.max_error_ratio;
    let manifest = publish_units(&job.output, &joined.plan, most).await?;
    Ok(Outcome::Published(Box::new(manifest)))
}

/// Gives units away until all are recorded, or the job is no more.
async fn waves(work: &JobWork, units: usize, hands: &dyn Hands) -> Result<(), AppError> {
    let mut tries: HashMap<u32, u32> = HashMap::new();
    let mut reasons: HashMap<u32, String> = HashMap::new();
    // Waves one after another in which nothing was done, and what was to be.
    let (mut idle, mut in_vain) = (0, HashSet::<u32>::new());
    loop {
        if !work.is_open().await? {
            return Ok(());
        }
        let done = work.done().await?;
        let left = (0..units as u32).filter(|unit| !done.contains(unit));
        let tries_of = |unit: &u32| tries.get(unit).copied().unwrap_or_default();
        // What failed comes after what was never tried.
        let mut left: Vec<u32> = left.collect();
        left.sort_by_key(tries_of);
        let Some(first) = left.first() else {
            return Ok(());
        };
        let why = |unit: &u32| {
            let why = reasons.get(unit).map(String::as_str);
            why.unwrap_or("nobody could say why")
        };
        if in_vain.len() >= FEW && idle >= TRIES {
            let known = left.iter().filter(|unit| reasons.contains_key(unit));
            let unit = known.min().unwrap_or(first);
            return Err(AppError::Run(exec_datafusion_err!(
                "none of {} units could be done, unit {unit} {}",
                in_vain.len(),
                why(unit)
            )));
        }
        if tries_of(first) >= TRIES {
            return Err(AppError::Run(exec_datafusion_err!(
                "unit {first} could not be done in {TRIES} tries, at last {}",
                why(first)
            )));
        }
        let next = left.iter().filter(|unit| tries_of(unit) < TRIES);
        let next: Vec<u32> = match in_vain.len() < FEW {
            true => next.take(WAVE).copied().collect(),
            // Whether anybody can, one of them shows.
            false => next
                .filter(|unit| in_vain.contains(*unit))
                .take(1)
                .copied()
                .collect(),
        };
        tracing::info!(
            units = next.len(),
            done = done.len(),
            "units are given away"
        );
        reasons.extend(hands.units(&next).await?);
        let done = work.done().await?;
        match next.iter().any(|unit| done.contains(unit)) {
            true => {
                idle = 0;
                in_vain.clear();
            }
            false => {
                idle += 1;
                in_vain.extend(&next);
            }
        }
        for unit in next {
            *tries.entry(unit).or_default() += 1;
        }
    }
}

/// Says how far it is, until it is dropped.
async fn look(
    work: &JobWork,
    joined: &Joined,
    tell: &(dyn Fn(&Progress) + Send + Sync),
) -> Result<(), AppError> {
    let (begun, mut before) = (Instant::now(), None);
    let plan = &joined.plan;
    loop {
        let look = Instant::now();
        // What cannot be listed now can be the next time; the units are what matters.
        if let Ok(done) = work.done().await {
            let units = done
                .iter()
                .filter_map(|unit| plan.units.get(*unit as usize));
            let rows: u64 = units.map(|unit| unit.rows).sum();
            let before = *before.get_or_insert(rows);
            tell(&Progress {
                rows: rows.saturating_sub(before),
                before,
                total: Some(plan.rows()),
                failures: 0,
                elapsed: begun.elapsed(),
            });
        }
        tokio::time::sleep(LOOK_EVERY.max(look.elapsed() * 10)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::dataset::publish::Output;
    use crate::label::journal::Shard;
    use crate::label::shared::plan::PLAN;
    use crate::label::shared::records::UnitRecord;
    use crate::label::shared::worker::Worker;

    /// Does a unit unless it fails at this try of it.
    struct Trying<F> {
        work: JobWork,
        fails: F,
        given: Mutex<Vec<Vec<u32>>>,
    }

    #[async_trait::async_trait]
    impl<F: Fn(u32, usize) -> bool + Send + Sync> Hands for Trying<F> {
        async fn units(&self, units: &[u32]) -> Result<Vec<(u32, String)>, AppError> {
            let before = {
                let mut given = self.given.lock().unwrap();
                given.push(units.to_vec());
                given.concat()
            };
            let mut failed = Vec::new();
            for unit in units {
                let tries = before.iter().filter(|other| *other == unit).count();
                match (self.fails)(*unit, tries) {
                    true => failed.push((*unit, "on a machine: no room".to_string())),
                    false => {
                        let record = UnitRecord::new(*unit, "0a", Worker::this(), Shard::default());
                        assert!(self.work.put(&record).await?);
                    }
                }
            }
            Ok(failed)
        }
    }

    /// What becomes of a job of so many units that fail so, and what was given away.
    async fn directed(
        units: usize,
        fails: impl Fn(u32, usize) -> bool + Send + Sync,
    ) -> (Result<(), String>, Vec<Vec<u32>>) {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::local(&folder.path().join("out")).unwrap();
        output.work.replace(PLAN, "{}").await.unwrap();
        let hands = Trying {
            work: JobWork::new(&output, "ab"),
            fails,
            given: Mutex::default(),
        };
        let done = waves(&hands.work, units, &hands).await;
        let done = done.map_err(|error| error.to_string());
        (done, hands.given.into_inner().unwrap())
    }

    #[tokio::test]
    async fn who_has_failed_at_all_is_no_sign_until_others_have_tried() {
        // As if the first to be asked could do nothing.
        let (done, given) = directed(5, |_, tries| tries == 1).await;
        assert_eq!(done, Ok(()));
        assert_eq!(given, [vec![0, 1, 2, 3, 4], vec![0], vec![1, 2, 3, 4]]);
    }

    #[tokio::test]
    async fn where_nobody_can_do_anything_few_are_tried_and_it_is_said() {
        let (done, given) = directed(5, |_, _| true).await;
        let said = done.unwrap_err();
        assert!(
            said.contains("none of 5 units could be done, unit 0 on a machine: no room"),
            "{said}"
        );
        assert_eq!(given, [vec![0, 1, 2, 3, 4], vec![0], vec![1]]);
    }

    #[tokio::test]
    async fn a_unit_that_nobody_can_do_ends_the_job_after_all_others() {
        let (done, given) = directed(5, |unit, tries| unit == 2 || (tries == 1 && unit == 4)).await;
        let said = done.unwrap_err();
        assert!(
            said.contains("unit 2 could not be done in 3 tries"),
            "{said}"
        );
        assert_eq!(given, [vec![0, 1, 2, 3, 4], vec![2, 4], vec![2]]);
    }
}
