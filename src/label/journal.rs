//! The journal of a job: what of it is done, so that it can be killed at any point and carried on.
//!
//! One small file for each record, numbered; a record is never changed. Writing a number that another has written fails, here
//! and in object stores, so of two that work on one output the slower finds out at its next record and stops. What a
//! record says is safe on the disk before it is written.

use picsift_udf::CascadeCounts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cascade::SampledRow;
use crate::dataset::cascade::CascadeEntry;
use crate::dataset::manifest::{Counts, Seconds};
use crate::dataset::own;
use crate::dataset::store::OutputStore;
use crate::error::AppError;
use crate::input::Position;
use crate::input::files::FileEntry;
use crate::output::writer::WrittenFile;

/// One record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The job; always the first.
    Begin(Begin),
    /// A run of the program took the job on.
    Run {
        /// What stands in the names of the files that it writes into an object store.
        token: String,
    },
    /// Both models of a cascade have been asked about the next rows of its sample.
    Sampled(Vec<SampledRow>),
    /// The thresholds of a cascade are known.
    Calibrated(Box<CascadeEntry>),
    /// A shard is written.
    Shard(Shard),
    /// All is written; what is left is to publish it.
    Finish(Finish),
    /// Several programs carry it on, by a plan; nothing follows.
    HandedOver,
}

/// What a job is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Begin {
    /// Made by chance; also in the manifest.
    pub id: String,
    /// What it does to the output.
    pub mode: Mode,
    /// All that decides what its answers are; see [`super::identity`].
    pub identity: Value,
    /// The input's files, by their numbers.
    pub files: Vec<FileEntry>,
}

/// What a job does to its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Makes it, or replaces it whole.
    New,
    /// Adds rows to it.
    Append,
    /// Asks again for the rows of it that failed.
    Retry,
}

/// A shard that is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Shard {
    /// The rows of the input before this are done.
    pub through: Position,
    /// Its files.
    pub files: Vec<WrittenFile>,
    /// Files of the output that they stand for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<String>,
    /// The file with its failures, in the work folder; `None` if nothing failed.
    pub failed: Option<String>,
    /// What became of its rows.
    pub counts: Counts,
    /// Its rows for which each category held.
    pub held: Vec<u64>,
    /// Where the time went.
    pub seconds: Seconds,
    /// What became of its rows between two models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<CascadeCounts>,
}

/// The end of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finish {
    /// Why there is less than the whole input in it, if there is.
    pub partial: Option<String>,
}

/// The records of one job.
#[derive(Debug)]
pub struct Journal {
    place: OutputStore,
    next: u32,
    begin: Begin,
    /// The shards so far, in their order.
    pub shards: Vec<Shard>,
    /// The tokens of all runs.
    pub tokens: Vec<String>,
    /// The rows of a cascade's sample so far, in the order of the draw.
    pub sampled: Vec<SampledRow>,
    /// The thresholds that came of it.
    pub calibrated: Option<CascadeEntry>,
    /// How it ended, if it did.
    pub finish: Option<Finish>,
    /// Whether several programs carry it on.
    pub handed_over: bool,
}

impl Shard {
    /// A name in it that picsift did not give.
    pub(super) fn strange_name(&self) -> Option<&str> {
        let written = self.files.iter().map(|file| &file.path);
        let parts = written.chain(&self.replaced).map(String::as_str);
        let failed = self.failed.as_deref();
        parts
            .filter(|path| !own::is_part(path))
            .chain(failed.filter(|name| !own::is_failures(name)))
            .next()
    }
}

impl Journal {
    /// Begins one at `place`.
    ///
    /// # Errors
    /// [`AppError::Taken`] when another was quicker, or the place cannot be written.
    pub async fn begin(place: OutputStore, begin: Begin) -> Result<Self, AppError> {
        let mut journal = Self {
            place,
            next: 0,
            begin: begin.clone(),
            shards: Vec::new(),
            tokens: Vec::new(),
            sampled: Vec::new(),
            calibrated: None,
            finish: None,
            handed_over: false,
        };
        journal.write(Record::Begin(begin)).await?;
        Ok(journal)
    }

    /// The one at `place`; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read or a record is missing or damaged.
    pub async fn read(place: OutputStore) -> Result<Option<Self>, AppError> {
        let names = place.list().await?;
        let count = names.iter().filter(|name| name.ends_with(".json")).count() as u32;
        let damaged = |name: &str, why: &str| {
            AppError::Usage(format!(
                "the journal {place} cannot be used, {name} {why}; remove the folder to begin anew"
            ))
        };
        let mut journal: Option<Self> = None;
        for number in 0..count {
            let name = record_name(number);
            let bytes = place.read(&name).await?;
            let bytes = bytes.ok_or_else(|| damaged(&name, "is missing"))?;
            let record: Record = serde_json::from_slice(&bytes)
                .map_err(|error| damaged(&name, &format!("is damaged ({error})")))?;
            match (&mut journal, record) {
                (None, Record::Begin(begin)) => {
                    journal = Some(Self {
                        place: place.clone(),
                        next: 0,
                        begin,
                        shards: Vec::new(),
                        tokens: Vec::new(),
                        sampled: Vec::new(),
                        calibrated: None,
                        finish: None,
                        handed_over: false,
                    });
                }
                (Some(journal), Record::Run { token }) => {
                    if !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                        return Err(damaged(&name, "has a token that picsift did not make"));
                    }
                    journal.tokens.push(token);
                }
                (Some(journal), Record::Sampled(rows)) => journal.sampled.extend(rows),
                (Some(journal), Record::Calibrated(entry)) => journal.calibrated = Some(*entry),
                (Some(journal), Record::Shard(shard)) => {
                    if let Some(strange) = shard.strange_name() {
                        let strange = picsift_images::shown(strange);
                        let why = format!("names '{strange}', which is no file of picsift's");
                        return Err(damaged(&name, &why));
                    }
                    journal.shards.push(shard);
                }
                (Some(journal), Record::Finish(finish)) => journal.finish = Some(finish),
                (Some(journal), Record::HandedOver) => journal.handed_over = true,
                _ => return Err(damaged(&name, "is out of place")),
            }
        }
        if let Some(journal) = &mut journal {
            journal.next = count;
        }
        Ok(journal)
    }

    /// What the job is.
    pub fn job(&self) -> &Begin {
        &self.begin
    }

    /// Where the rows that are not done begin.
    pub fn through(&self) -> Option<Position> {
        self.shards.last().map(|shard| shard.through)
    }

    /// Rows that are written.
    pub fn rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.counts.rows).sum()
    }

    /// Takes the job on for a run whose files have `token` in their names.
    ///
    /// # Errors
    /// As [`Journal::shard`].
    pub async fn run(&mut self, token: &str) -> Result<(), AppError> {
        let token = token.to_string();
        self.write(Record::Run {
            token: token.clone(),
        })
        .await?;
        self.tokens.push(token);
        Ok(())
    }

    /// Remembers the next rows of a sample, which the caller keeps.
    ///
    /// # Errors
    /// As [`Journal::shard`].
    pub async fn sampled(&mut self, rows: &[SampledRow]) -> Result<(), AppError> {
        self.write(Record::Sampled(rows.to_vec())).await
    }

    /// Remembers the thresholds that come of the sample.
    ///
    /// # Errors
    /// As [`Journal::shard`].
    pub async fn calibrated(&mut self, entry: CascadeEntry) -> Result<(), AppError> {
        self.write(Record::Calibrated(Box::new(entry.clone())))
            .await?;
        self.calibrated = Some(entry);
        Ok(())
    }

    /// The thresholds that hold after the shards so far.
    pub fn cascade(&self) -> Option<CascadeEntry> {
        let shards = self
            .shards
            .iter()
            .filter_map(|shard| shard.cascade.as_ref());
        Some(self.calibrated.clone()?.after(shards))
    }

    /// Remembers a shard.
    ///
    /// # Errors
    /// [`AppError::Taken`] when another has written the next record, or the place cannot be written.
    pub async fn shard(&mut self, shard: Shard) -> Result<(), AppError> {
        self.write(Record::Shard(shard.clone())).await?;
        self.shards.push(shard);
        Ok(())
    }

    /// Remembers that all is written.
    ///
    /// # Errors
    /// As [`Journal::shard`].
    pub async fn finish(&mut self, finish: Finish) -> Result<(), AppError> {
        self.write(Record::Finish(finish.clone())).await?;
        self.finish = Some(finish);
        Ok(())
    }

    /// Leaves the job to several programs: whoever goes by this journal cannot write its next record.
    ///
    /// # Errors
    /// As [`Journal::shard`].
    pub async fn hand_over(&mut self) -> Result<(), AppError> {
        if !self.handed_over {
            self.write(Record::HandedOver).await?;
            self.handed_over = true;
        }
        Ok(())
    }

    /// Forgets the job; its first record goes last, so that what is left of it is still one.
    ///
    /// # Errors
    /// When a record cannot be removed.
    pub async fn remove(self) -> Result<(), AppError> {
        for number in (0..self.next).rev() {
            self.place.remove(&record_name(number)).await?;
        }
        Ok(())
    }

    async fn write(&mut self, record: Record) -> Result<(), AppError> {
        let text = serde_json::to_vec(&record).map_err(|error| {
            AppError::Run(datafusion::error::DataFusionError::External(Box::new(
                error,
            )))
        })?;
        if !self.place.create(&record_name(self.next), text).await? {
            return Err(AppError::Taken(format!(
                "another picsift has taken the job over (its journal is {}), so this one stops; what it has written and \
                 not remembered there does not count",
                self.place
            )));
        }
        self.next += 1;
        Ok(())
    }
}

fn record_name(number: u32) -> String {
    format!("{number:06}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin() -> Begin {
        Begin {
            id: "a".to_string(),
            mode: Mode::New,
            identity: Value::Null,
            files: Vec::new(),
        }
    }

    fn shard(row: u64) -> Shard {
        Shard {
            through: Position { file: 0, row },
            counts: Counts {
                rows: 5,
                ..Counts::default()
            },
            ..Shard::default()
        }
    }

    #[tokio::test]
    async fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = OutputStore::Local(folder.path().join("journal"));
        assert!(Journal::read(place.clone()).await.unwrap().is_none());
        let mut journal = Journal::begin(place.clone(), begin()).await.unwrap();
        journal.run("0a1f").await.unwrap();
        journal.shard(shard(5)).await.unwrap();
        journal.shard(shard(10)).await.unwrap();
        let again = Journal::read(place.clone()).await.unwrap().unwrap();
        assert_eq!(again.through(), Some(Position { file: 0, row: 10 }));
        assert_eq!(
            (again.rows(), again.tokens.as_slice()),
            (10, &["0a1f".to_string()][..])
        );
        assert!(again.finish.is_none());
        again.remove().await.unwrap();
        assert!(Journal::read(place).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_slower_of_two_finds_out() {
        let folder = tempfile::tempdir().unwrap();
        let place = OutputStore::Local(folder.path().join("journal"));
        let mut first = Journal::begin(place.clone(), begin()).await.unwrap();
        let taken = Journal::begin(place.clone(), begin()).await.unwrap_err();
        assert!(taken.to_string().contains("another picsift"), "{taken}");
        let mut second = Journal::read(place).await.unwrap().unwrap();
        second.shard(shard(5)).await.unwrap();
        assert!(first.shard(shard(7)).await.is_err());
        second.shard(shard(9)).await.unwrap();
        second.hand_over().await.unwrap();
        assert!(first.shard(shard(11)).await.is_err());
    }

    #[tokio::test]
    async fn a_damaged_record_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let place = OutputStore::Local(folder.path().to_path_buf());
        Journal::begin(place.clone(), begin()).await.unwrap();
        place.replace("000001.json", "{").await.unwrap();
        let said = Journal::read(place).await.unwrap_err().to_string();
        assert!(said.contains("000001.json is damaged"), "{said}");
    }
}
