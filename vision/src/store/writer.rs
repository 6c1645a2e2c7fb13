//! The thread that writes: takes what is put from a bounded channel and commits it in batches.
//!
//! A batch holds the database's write lock for milliseconds, so that several processes can write by turns. What fails
//! is tried again as far as that helps; a disk that takes nothing more turns the store off and never its callers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rusqlite::{Transaction, TransactionBehavior};

use super::database::{self, Access, Database};
use super::error::{Fault, StoreError};
use super::folder::{Folder, Remedy};
use super::question::Asked;
use super::record::{Key, KnownReference, Set, pack_answers, pack_reference, question_checksum};
use super::secret::Secret;
use crate::model::Answer;

/// Messages that may wait for the writer before who puts waits too.
pub(super) const WAITING: usize = 1024;

/// Most entries of a batch.
const BATCH: u64 = 1000;

/// Bytes of a generation's share for each entry of a batch: an entry changes one page or two, and a batch's log stays well
/// below the share.
const SHARE_PER_ENTRY: u64 = 16 << 10;

/// The longest that an entry waits for company.
const DELAY: Duration = Duration::from_millis(500);

/// Faults in a row, each of which was remedied, before the store gives up.
const ATTEMPTS: usize = 5;

/// How long other processes may keep the database from being written.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pages of the log that are enough to bring it into the database; at most SQLite's own default.
const LOG_PAGES: u64 = 1000;

/// What the store asks of its writer.
pub(super) enum Message {
    Put(Entry),
    /// Commit what came before, then answer.
    Flush(SyncSender<()>),
    /// Forget what came before and remove everything.
    Clear(SyncSender<Result<(), StoreError>>),
}

/// What is to be kept.
pub(super) enum Entry {
    Answers {
        image: Key,
        asked: Asked,
        answers: Vec<Option<Answer>>,
        similarity: Option<u64>,
    },
    Reference {
        key: Key,
        known: KnownReference,
    },
}

impl Entry {
    fn key(&self) -> &Key {
        match self {
            Self::Answers { image: key, .. } | Self::Reference { key, .. } => key,
        }
    }
}

pub(super) struct Writer {
    folder: Arc<Folder>,
    batch: Vec<Entry>,
    current: Option<Current>,
}

/// The newest generation.
struct Current {
    number: u64,
    connection: Database,
    secret: Secret,
    /// The numbers of sets by their digests.
    sets: HashMap<Key, i64>,
}

impl Writer {
    pub(super) fn new(folder: Arc<Folder>) -> Self {
        Self {
            folder,
            batch: Vec::new(),
            current: None,
        }
    }

    /// Writes until every sender is gone, and what came until then.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        let full = (self.folder.share() / SHARE_PER_ENTRY).min(BATCH) as usize;
        let mut due = None;
        loop {
            let message = match due {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => {
                    messages.recv_timeout(Instant::saturating_duration_since(&due, Instant::now()))
                }
            };
            match message {
                Ok(Message::Put(entry)) => {
                    if self.folder.is_off() {
                        continue;
                    }
                    self.batch.push(entry);
                    if self.batch.len() < full {
                        due.get_or_insert_with(|| Instant::now() + DELAY);
                        continue;
                    }
                    self.commit();
                }
                Ok(Message::Flush(done)) => {
                    self.commit();
                    // Who asked may have gone away.
                    let _ = done.send(());
                }
                Ok(Message::Clear(done)) => {
                    self.batch.clear();
                    self.current = None;
                    let _ = done.send(self.folder.clear());
                }
                Err(RecvTimeoutError::Timeout) => self.commit(),
                Err(RecvTimeoutError::Disconnected) => return self.commit(),
            }
            due = None;
        }
    }

    /// Writes the batch, or turns the store off; the batch is empty after it.
    fn commit(&mut self) {
        // Neighbours in the tree one after the other.
        self.batch
            .sort_unstable_by(|one, other| one.key().cmp(other.key()));
        let started = Instant::now();
        let mut attempts = 0;
        while !self.batch.is_empty() && !self.folder.is_off() {
            let (number, fault) = match self.attempt() {
                Ok(()) => break,
                Err(Failure::Folder(error)) => {
                    self.folder.turn_off(&error.to_string());
                    break;
                }
                Err(Failure::Database(number, fault)) => (number, fault),
            };
            // What was prepared may have been rolled back, and the file may be gone.
            self.current = None;
            attempts += 1;
            match self.folder.remedy(number, fault) {
                Remedy::Again if attempts < ATTEMPTS => {}
                Remedy::Wait if started.elapsed() < PATIENCE => {}
                Remedy::Again => self
                    .folder
                    .turn_off("its files are damaged again and again"),
                Remedy::Wait => self.folder.turn_off(&format!(
                    "another process has written to {} for more than {} s",
                    self.folder.path.display(),
                    PATIENCE.as_secs()
                )),
                Remedy::GiveUp(reason) => self
                    .folder
                    .turn_off(&format!("{reason}, in {}", self.folder.path.display())),
            }
        }
        self.batch.clear();
    }

    fn attempt(&mut self) -> Result<(), Failure> {
        let number = self.newest()?;
        let failed = |fault: Fault| Failure::Database(number, fault);
        if self
            .current
            .as_ref()
            .is_none_or(|current| current.number != number)
        {
            self.current = None;
            self.current = Some(Current::open(&self.folder, number).map_err(failed)?);
            // Another process may have begun it: who looks up here must see what is written now.
            self.folder.changed();
        }
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        current.write(&self.batch).map_err(failed)?;
        // Begun a tenth early: other processes add to the old one until they look again.
        if current.bytes().map_err(failed)? >= self.folder.share() / 10 * 9 {
            current.finish();
            self.current = None;
            self.folder
                .begin_after(Some(number))
                .map_err(Failure::Folder)?;
        }
        Ok(())
    }

    /// The newest generation, begun if there is none.
    fn newest(&self) -> Result<u64, Failure> {
        for _ in 0..ATTEMPTS {
            let numbers = self.folder.generations().map_err(Failure::Folder)?;
            if let Some(newest) = numbers.last() {
                return Ok(*newest);
            }
            self.folder.begin_after(None).map_err(Failure::Folder)?;
        }
        Err(Failure::Folder(StoreError::Database {
            folder: self.folder.path.clone(),
            reason: "its files are removed again and again".to_owned(),
        }))
    }
}

/// What kept a batch from being written.
enum Failure {
    Folder(StoreError),
    Database(u64, Fault),
}

impl Current {
    fn open(folder: &Folder, number: u64) -> Result<Self, Fault> {
        let secret = folder.secret();
        let connection = database::open(&folder.database(number), Access::Write, &secret)?;
        let pages = (folder.share() / SHARE_PER_ENTRY / 4).clamp(16, LOG_PAGES);
        connection.execute_batch(&format!("PRAGMA wal_autocheckpoint = {pages};"))?;
        Ok(Self {
            number,
            connection,
            secret,
            sets: HashMap::new(),
        })
    }

    fn write(&mut self, batch: &[Entry]) -> Result<(), Fault> {
        self.connection.allow(database::BATCH);
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        for entry in batch {
            match entry {
                Entry::Answers {
                    image,
                    asked,
                    answers,
                    similarity,
                } => put_answers(
                    &transaction,
                    &self.secret,
                    &mut self.sets,
                    image,
                    asked,
                    answers,
                    *similarity,
                )?,
                Entry::Reference { key, known } => {
                    transaction
                        .prepare_cached("INSERT OR REPLACE INTO origins VALUES (?1, ?2)")?
                        .execute((key.as_slice(), pack_reference(&self.secret, key, known)))?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// Bytes of the database once its log is in it.
    fn bytes(&self) -> Result<u64, Fault> {
        let pragma = |name: &str| {
            self.connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
        };
        let (pages, size) = (pragma("page_count")?, pragma("page_size")?);
        Ok(pages.saturating_mul(size).unsigned_abs())
    }

    /// Brings the log into the database and cuts it, unless others are still reading it.
    fn finish(&self) {
        // What is left is done by the process that closes the database last.
        let _ = self.connection.busy_timeout(Duration::ZERO);
        let _ = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

fn put_answers(
    transaction: &Transaction<'_>,
    secret: &Secret,
    sets: &mut HashMap<Key, i64>,
    image: &Key,
    asked: &Asked,
    answers: &[Option<Answer>],
    similarity: Option<u64>,
) -> Result<(), Fault> {
    let known: Vec<_> = asked.known(answers).collect();
    let set = Set::new(known.iter().map(|(id, ..)| *id).collect());
    let id = match sets.get(&set.digest) {
        Some(id) => *id,
        None => {
            let id = put_set(transaction, &set)?;
            let mut statement = transaction
                .prepare_cached("INSERT OR IGNORE INTO questions VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (id, position, _) in &known {
                let (id, words) = (id.as_bytes(), asked.words(*position));
                let (model, revision) = (asked.model(), asked.revision());
                let checksum = question_checksum(secret, id, model, revision, words);
                statement.execute((id.as_slice(), model, revision, words, checksum.as_slice()))?;
            }
            sets.insert(set.digest, id);
            id
        }
    };
    let answers: Vec<_> = known.iter().map(|(.., answer)| *answer).collect();
    let value = pack_answers(secret, image, &set, &answers, similarity);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO answers VALUES (?1, ?2, ?3)")?
        .execute((image.as_slice(), id, value))?;
    Ok(())
}

/// The number of a set, which may be there already from another process.
fn put_set(transaction: &Transaction<'_>, set: &Set) -> Result<i64, Fault> {
    let digest = set.digest.as_slice();
    transaction
        .prepare_cached("INSERT OR IGNORE INTO sets (digest, questions) VALUES (?1, ?2)")?
        .execute((digest, set.bytes()))?;
    Ok(transaction
        .prepare_cached("SELECT id FROM sets WHERE digest = ?1")?
        .query_row([digest], |row| row.get(0))?)
}
