//! How far the work on an output is.
//!
//! Times of other machines are shown as they say them, by clocks that may differ from this one's; nothing is decided by them.

use std::collections::{BTreeMap, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::claims::{Claim, Claims, State};
use super::plan::JobPlan;
use super::records::{JobWork, UnitRecord};
use super::worker::Worker;
use super::{named, work_of};
use crate::dataset::Manifest;
use crate::error::AppError;
use crate::label::journal::Journal;

/// Claims that are read at once.
const READS: usize = 32;

/// Age of a sign of life from which its program does not count for what is to be expected.
const SILENT: u64 = 120;

/// The work on an output.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Status {
    /// It is published.
    Published {
        /// Rows in it.
        rows: u64,
        /// Images among them that failed.
        failures: u64,
        /// Its files.
        files: usize,
    },
    /// A job of one program has begun it.
    OneProgram {
        /// Rows that are done.
        rows: u64,
        /// Images among them that failed.
        failures: u64,
        /// Whether all rows are labelled, and it is only to be published.
        labelled: bool,
    },
    /// Several programs do it.
    Shared {
        /// Units of the job.
        units: usize,
        /// Units that are done.
        done: usize,
        /// Rows of all units.
        rows: u64,
        /// Rows of the units that are done.
        rows_done: u64,
        /// Images among them.
        images: u64,
        /// Images among them that failed.
        failures: u64,
        /// Units that somebody has begun and not done.
        at_work: Vec<UnitAtWork>,
        /// Units that could not be done by the program that tried last, and that nobody has taken over.
        failed: Vec<FailedUnit>,
        /// Images a second of the programs that have given a sign of life lately; `None` where there is none, or nothing is done yet.
        images_per_second: Option<f64>,
        /// Seconds until all is done at that pace.
        seconds_left: Option<f64>,
    },
}

/// A unit that somebody is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitAtWork {
    /// Its number.
    pub unit: u32,
    /// Who.
    pub worker: String,
    /// Seconds since the last sign of life, by the clocks of both machines.
    pub silent: u64,
}

/// A unit that could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedUnit {
    /// Its number.
    pub unit: u32,
    /// Where.
    pub worker: String,
    /// Why, in a sentence.
    pub why: String,
}

/// Looks how far the work on `output` is.
///
/// # Errors
/// [`AppError::Usage`] when there is neither an output nor work on one; when something cannot be read.
pub async fn status(output: &str) -> Result<Status, AppError> {
    let output = named(output)?;
    let manifest = match output.manifest().await? {
        Some(text) => Some(serde_json::from_slice::<Manifest>(&text).map_err(AppError::json)?),
        None => None,
    };
    if let Some(plan) = JobPlan::read(&output).await?
        && manifest
            .as_ref()
            .is_none_or(|there| there.job.id != plan.draft.job.id)
    {
        return of_units(&plan, &work_of(&output, &plan)).await;
    }
    if let Some(journal) = Journal::read(output.journal()).await? {
        return Ok(Status::OneProgram {
            rows: journal.rows(),
            failures: journal
                .shards
                .iter()
                .map(|shard| shard.counts.failures)
                .sum(),
            labelled: journal.finish.is_some(),
        });
    }
    match manifest {
        Some(there) => Ok(Status::Published {
            rows: there.counts.rows,
            failures: there.counts.failures,
            files: there.files.len(),
        }),
        None => Err(AppError::Usage(format!(
            "there is neither a labelled table nor work on one in '{}'",
            output.target
        ))),
    }
}

async fn of_units(plan: &JobPlan, work: &JobWork) -> Result<Status, AppError> {
    let done = work.done().await?;
    let mut records = work.read(done.iter().copied()).await?;
    records.sort_by_key(|record| record.unit);
    let units = plan.units.len() as u32;
    let left: Vec<u32> = (0..units).filter(|unit| !done.contains(unit)).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let (mut at_work, mut failed, mut awake) = (Vec::new(), Vec::new(), Vec::new());
    for (unit, claim) in last_claims(work, &left).await? {
        let worker = claim.worker.shown();
        match claim.state {
            State::Dropped => {}
            State::Failed { why } => failed.push(FailedUnit { unit, worker, why }),
            State::Working => {
                let silent = now.saturating_sub(claim.seen);
                at_work.push(UnitAtWork {
                    unit,
                    worker,
                    silent,
                });
                if silent < SILENT {
                    awake.push(claim.worker);
                }
            }
        }
    }
    let of = |unit: &u32| plan.units.get(*unit as usize).map_or(0, |unit| unit.rows);
    let (rows, rows_done) = (plan.rows(), done.iter().map(of).sum::<u64>());
    let images = records
        .iter()
        .map(|record| record.shard.counts.images)
        .sum();
    let pace = pace(&records, &awake);
    // By the rows that units have, of which a predicate may leave some out.
    let left = (rows - rows_done) as f64 * (images as f64 / rows_done.max(1) as f64);
    Ok(Status::Shared {
        units: plan.units.len(),
        done: done.len(),
        rows,
        rows_done,
        images,
        failures: records
            .iter()
            .map(|record| record.shard.counts.failures)
            .sum(),
        at_work,
        failed,
        images_per_second: pace,
        seconds_left: pace.map(|pace| left / pace),
    })
}

/// The units of these that failed last, and where.
pub(super) async fn failed_units(
    work: &JobWork,
    units: &[u32],
) -> Result<Vec<FailedUnit>, AppError> {
    let claims = last_claims(work, units).await?.into_iter();
    let failed = claims.filter_map(|(unit, claim)| match claim.state {
        State::Failed { why } => Some(FailedUnit {
            unit,
            worker: claim.worker.shown(),
            why,
        }),
        _ => None,
    });
    Ok(failed.collect())
}

/// The last claim of each of these units that has one.
async fn last_claims(work: &JobWork, units: &[u32]) -> Result<BTreeMap<u32, Claim>, AppError> {
    let claims = Claims::new(work, Worker::this(), std::time::Duration::MAX);
    let last: HashMap<u32, u32> = claims.survey().await?;
    let known = units
        .iter()
        .filter_map(|unit| Some((*unit, *last.get(unit)?)));
    let claims = &claims;
    let reads = known.map(|(unit, number)| async move {
        let claim = claims.read(unit, number).await?;
        Ok::<_, AppError>(claim.map(|claim| (unit, claim)))
    });
    let read: Vec<Option<(u32, Claim)>> = futures::stream::iter(reads)
        .buffered(READS)
        .try_collect()
        .await?;
    Ok(read.into_iter().flatten().collect())
}

/// Images a second of the programs that are at work, each by what it has recorded; one that has nothing yet counts as the mean of all.
fn pace(records: &[UnitRecord], awake: &[Worker]) -> Option<f64> {
    let mut by_worker: HashMap<&str, (u64, f64)> = HashMap::new();
    let mut all = (0, 0.0);
    for UnitRecord { worker, shard, .. } in records {
        let one = by_worker.entry(&worker.token).or_default();
        for sum in [one, &mut all] {
            sum.0 += shard.counts.images;
            sum.1 += shard.seconds.wall;
        }
    }
    let speed = |(images, seconds): (u64, f64)| images as f64 / seconds.max(0.001);
    let own = |worker: &Worker| by_worker.get(worker.token.as_str()).copied();
    let pace: f64 = awake
        .iter()
        .map(|worker| speed(own(worker).unwrap_or(all)))
        .sum();
    (pace > 0.0).then_some(pace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::manifest::{Counts, Seconds};
    use crate::label::journal::Shard;

    #[test]
    fn the_pace_is_that_of_the_programs_at_work() {
        let [fast, slow, new] = [Worker::this(), Worker::this(), Worker::this()];
        let record = |worker: &Worker, images, wall| {
            let shard = Shard {
                counts: Counts {
                    images,
                    ..Counts::default()
                },
                seconds: Seconds {
                    wall,
                    ..Seconds::default()
                },
                ..Shard::default()
            };
            UnitRecord::new(0, "a", worker.clone(), shard)
        };
        let records = [record(&fast, 300, 1.0), record(&slow, 100, 1.0)];
        assert_eq!(pace(&records, &[]), None);
        assert_eq!(pace(&records, std::slice::from_ref(&slow)), Some(100.0));
        assert_eq!(pace(&records, &[fast, slow]), Some(400.0));
        assert_eq!(pace(&records, &[new]), Some(200.0));
        assert_eq!(pace(&[], &[Worker::this()]), None);
    }
}
