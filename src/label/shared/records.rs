//! What is done of a job that several programs share: a record for each unit, put if there is none.
//!
//! A record is the one moment at which a unit becomes done. Two programs that label the same unit write files of different names and try
//! to put the same record; one of them does, and what the other wrote does not count. Clocks, leases and locks play no part in it. All of it
//! stands in a folder of the job's own, so that a program that wakes up after the job was given up puts nothing into another's.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::plan::PLAN;
use super::worker::Worker;
use crate::dataset::finished::Finished;
use crate::dataset::publish::Output;
use crate::dataset::store::OutputStore;
use crate::error::AppError;
use crate::label::journal::Shard;

/// Small files that are read at once.
const READS: usize = 32;

/// A unit that is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct UnitRecord {
    /// Its number.
    pub(super) unit: u32,
    /// The try whose files count; they wait in the folder of that name.
    pub(super) attempt: String,
    /// The program that did it.
    pub(super) worker: Worker,
    /// What was written and what became of the rows.
    pub(super) shard: Shard,
    /// Whether it was done before the job was shared: then its files wait where those of a job of one program do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inherited: bool,
}

/// The work on a shared job.
#[derive(Debug, Clone)]
pub(super) struct JobWork {
    /// The work on the output, where the plan is.
    plan: OutputStore,
    /// What the job has for itself.
    own: OutputStore,
    /// Where the files of a job of one program wait, and the lists of its failures.
    alone: (Finished, OutputStore),
}

impl JobWork {
    /// Of the job with this id.
    pub(super) fn new(output: &Output, id: &str) -> Self {
        Self {
            plan: output.work.clone(),
            own: output.work.below(id),
            alone: (output.finished(true), output.failed_shards()),
        }
    }

    /// Whether the job is still there: neither published nor given up.
    ///
    /// # Errors
    /// When the place cannot be asked.
    pub(super) async fn is_open(&self) -> Result<bool, AppError> {
        self.plan.exists(PLAN).await
    }

    /// Where programs say what they are at.
    pub(super) fn claims(&self) -> OutputStore {
        self.own.below("claims")
    }

    /// Where the files of a try wait, and the list of its failures.
    pub(super) fn attempt(&self, attempt: &str) -> OutputStore {
        self.own.below("attempts").below(attempt)
    }

    /// Forgets what a try has written.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub(super) async fn forget(&self, attempt: &str) -> Result<(), AppError> {
        let place = self.attempt(attempt);
        for name in place.list().await? {
            place.remove(&name).await?;
        }
        Ok(())
    }

    /// Says that a unit is done; whether it is this try that did it.
    ///
    /// # Errors
    /// When the place cannot be written or read.
    pub(super) async fn put(&self, record: &UnitRecord) -> Result<bool, AppError> {
        let (place, name) = (self.records(), record_name(record.unit));
        let text = serde_json::to_vec(record).map_err(AppError::json)?;
        let failed = match place.create(&name, text).await {
            Ok(true) => return Ok(true),
            Ok(false) => None,
            Err(error) => Some(error),
        };
        // Of a request whose answer was lost the record may be there, and where the store's client made it again, it found its own.
        let there = place.read(&name).await?;
        let there = there.and_then(|text| serde_json::from_slice::<UnitRecord>(&text).ok());
        match (there, failed) {
            (None, Some(error)) => Err(error),
            (there, _) => Ok(there.is_some_and(|there| there.attempt == record.attempt)),
        }
    }

    /// The numbers of the units that are done.
    ///
    /// # Errors
    /// When the place cannot be listed.
    pub(super) async fn done(&self) -> Result<HashSet<u32>, AppError> {
        let names = self.records().list().await?;
        Ok(names.iter().filter_map(|name| unit_of(name)).collect())
    }

    /// Whether a unit is done.
    ///
    /// # Errors
    /// When the place cannot be asked.
    pub(super) async fn is_done(&self, unit: u32) -> Result<bool, AppError> {
        self.records().exists(&record_name(unit)).await
    }

    /// The records of these units, in that order.
    ///
    /// # Errors
    /// When one cannot be read, is damaged or names what picsift did not write.
    pub(super) async fn read(
        &self,
        units: impl IntoIterator<Item = u32>,
    ) -> Result<Vec<UnitRecord>, AppError> {
        let place = &self.records();
        let reads = units.into_iter().map(|unit| async move {
            let name = record_name(unit);
            let damaged = |why: String| {
                AppError::Usage(format!(
                    "the record {place}/{name} {why}; remove it, and the unit will be labelled again"
                ))
            };
            let text = place.read(&name).await?;
            let text = text.ok_or_else(|| damaged("is missing".to_string()))?;
            let record: UnitRecord = serde_json::from_slice(&text)
                .map_err(|error| damaged(format!("is damaged ({error})")))?;
            let strange = record.shard.strange_name();
            if let Some(strange) = strange {
                let strange = picsift_images::shown(strange);
                return Err(damaged(format!(
                    "names '{strange}', which is no file of picsift's"
                )));
            }
            let known = !record.attempt.is_empty()
                && record.attempt.bytes().all(|byte| byte.is_ascii_hexdigit());
            match known && record.unit == unit {
                true => Ok(record),
                false => Err(damaged("is of another unit or try".to_string())),
            }
        });
        futures::stream::iter(reads)
            .buffered(READS)
            .try_collect()
            .await
    }

    fn records(&self) -> OutputStore {
        self.own.below("units")
    }
}

impl UnitRecord {
    /// Of a unit that a program did by this try.
    pub(super) fn new(unit: u32, attempt: &str, worker: Worker, shard: Shard) -> Self {
        Self {
            unit,
            attempt: attempt.to_string(),
            worker,
            shard,
            inherited: false,
        }
    }

    /// Of a shard that one program did before the job with this id was shared.
    pub(super) fn inherited(unit: u32, id: &str, shard: Shard) -> Self {
        Self {
            unit,
            // Always the same, so that it can be put again.
            attempt: format!("{unit:x}"),
            worker: Worker::alone(id),
            shard,
            inherited: true,
        }
    }

    /// Whether it was done before the job was shared.
    pub(super) fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// Where its files wait.
    pub(super) fn finished(&self, work: &JobWork) -> Finished {
        match self.inherited {
            true => work.alone.0.clone(),
            false => Finished::of_attempt(work.attempt(&self.attempt)),
        }
    }

    /// Where the list of its failures waits.
    pub(super) fn failures(&self, work: &JobWork) -> OutputStore {
        match self.inherited {
            true => work.alone.1.clone(),
            false => work.attempt(&self.attempt),
        }
    }
}

fn record_name(unit: u32) -> String {
    format!("{unit:06}.json")
}

/// The unit of a record, by its name; `None` for what is still being written.
fn unit_of(name: &str) -> Option<u32> {
    name.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(attempt: &str) -> UnitRecord {
        UnitRecord::new(3, attempt, Worker::this(), Shard::default())
    }

    #[tokio::test]
    async fn of_two_that_did_a_unit_one_has_done_it() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::local(&folder.path().join("out")).unwrap();
        let work = JobWork::new(&output, "ab");
        assert!(!work.is_open().await.unwrap());
        assert!(work.done().await.unwrap().is_empty());
        assert!(work.put(&record("0a")).await.unwrap());
        assert!(!work.put(&record("0b")).await.unwrap());
        assert!(
            work.put(&record("0a")).await.unwrap(),
            "a request that is made again finds that it succeeded"
        );
        assert_eq!(work.done().await.unwrap(), HashSet::from([3]));
        assert_eq!(work.read([3]).await.unwrap()[0].attempt, "0a");
        let missing = work.read([4]).await.unwrap_err().to_string();
        assert!(missing.contains("000004.json is missing"), "{missing}");
    }

    #[tokio::test]
    async fn a_record_that_leads_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::local(&folder.path().join("out")).unwrap();
        let work = JobWork::new(&output, "ab");
        work.put(&record("../..")).await.unwrap();
        let said = work.read([3]).await.unwrap_err().to_string();
        assert!(said.contains("of another unit or try"), "{said}");
    }
}
