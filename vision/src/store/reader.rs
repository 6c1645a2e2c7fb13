//! Looking up: connections to all generations, newest first, for one thread at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

use super::database::{self, Access, Database};
use super::error::Fault;
use super::folder::{Folder, Remedy};
use super::question::Asked;
use super::record::{Key, KnownReference, Set, unpack_answers, unpack_reference};
use super::secret::Secret;
use crate::model::Answer;

/// How old what is known of the folder may be: other processes begin and remove generations.
const FRESH: Duration = Duration::from_secs(1);

/// What the store knows of one image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// An answer for each question that one is known to, in the questions' order.
    pub answers: Vec<Option<Answer>>,
    /// The image's similarity hash, if it was put with any of these answers.
    pub similarity: Option<u64>,
}

impl Found {
    /// Whether every question has its answer.
    pub fn is_complete(&self) -> bool {
        self.answers.iter().all(Option::is_some)
    }
}

/// One thread's connections.
#[derive(Default)]
pub(super) struct Reader {
    /// When the folder was looked at, and its epoch then.
    looked: Option<(Instant, u64)>,
    /// Newest first.
    files: Vec<OpenFile>,
}

struct OpenFile {
    number: u64,
    connection: Database,
    sets: Sets,
}

/// The sets of a generation that were met so far; a few for each query that was ever run.
pub(super) type Sets = HashMap<i64, Arc<Set>>;

/// An image that not all is known of yet.
struct Open<'a> {
    key: Key,
    found: &'a mut Found,
    /// Kept questions without an answer.
    missing: usize,
}

impl Reader {
    /// What is known of each image, in the images' order.
    pub(super) fn answers(&mut self, folder: &Folder, images: &[Key], asked: &Asked) -> Vec<Found> {
        let mut founds = vec![
            Found {
                answers: vec![None; asked.len()],
                similarity: None,
            };
            images.len()
        ];
        let mut open: Vec<_> = images
            .iter()
            .zip(&mut founds)
            .map(|(key, found)| Open {
                key: *key,
                found,
                missing: asked.kept().len(),
            })
            .collect();
        let secret = folder.secret();
        self.each_file(folder, |file, damaged| {
            file.answers(&secret, &mut open, asked, damaged)?;
            open.retain(|image| image.missing > 0);
            Ok(open.is_empty())
        });
        founds
    }

    /// What is known of a reference.
    pub(super) fn reference(&mut self, folder: &Folder, key: &Key) -> Option<KnownReference> {
        let mut known = None;
        let secret = folder.secret();
        self.each_file(folder, |file, damaged| {
            let mut statement = file
                .connection
                .prepare_cached("SELECT packed FROM origins WHERE reference = ?1")?;
            let value: Option<Vec<u8>> = statement
                .query_row([key.as_slice()], |row| row.get(0))
                .optional()?;
            if let Some(value) = value {
                known = unpack_reference(&secret, key, &value);
                if known.is_none() {
                    damaged.push(Damaged::Reference(*key, value));
                }
            }
            Ok(known.is_some())
        });
        known
    }

    /// Does this with each generation, newest first, until it says that it has all. A generation that cannot be read is
    /// dealt with and passed over; rows found damaged are removed.
    fn each_file(
        &mut self,
        folder: &Folder,
        mut look: impl FnMut(&mut OpenFile, &mut Vec<Damaged>) -> Result<bool, Fault>,
    ) {
        self.look_around(folder);
        let mut at = 0;
        while let Some(file) = self.files.get_mut(at) {
            let mut damaged = Vec::new();
            file.connection.allow(database::LOOKUP);
            let looked = look(file, &mut damaged);
            let removed = remove_rows(&file.connection, &damaged);
            folder.count_damaged(file.number, damaged.len() as u64);
            match looked.and_then(|all| removed.map(|()| all)) {
                Ok(true) => return,
                Ok(false) => at += 1,
                Err(fault) => {
                    let number = file.number;
                    if give_up(folder, number, fault) {
                        self.files.remove(at);
                    } else {
                        at += 1;
                    }
                }
            }
        }
    }

    /// Opens what is new in the folder and closes what is gone.
    pub(super) fn look_around(&mut self, folder: &Folder) {
        let epoch = folder.epoch();
        if self
            .looked
            .is_some_and(|(at, seen)| seen == epoch && at.elapsed() < FRESH)
        {
            return;
        }
        self.looked = Some((Instant::now(), epoch));
        // A folder that cannot be listed now: what is open can still be read.
        let Ok(numbers) = folder.generations() else {
            return;
        };
        self.files.retain(|file| numbers.contains(&file.number));
        let access = if folder.writable() {
            Access::Read
        } else {
            Access::Frozen
        };
        for number in numbers {
            if self.files.iter().any(|file| file.number == number) {
                continue;
            }
            match database::open(&folder.database(number), access, &folder.secret()) {
                Ok(connection) => self.files.push(OpenFile {
                    number,
                    connection,
                    sets: Sets::new(),
                }),
                Err(fault) => {
                    give_up(folder, number, fault);
                }
            }
        }
        self.files
            .sort_by_key(|file| std::cmp::Reverse(file.number));
    }
}

/// Deals with a fault that a lookup met; whether the file is not to be looked at again.
fn give_up(folder: &Folder, number: u64, fault: Fault) -> bool {
    match folder.remedy(number, fault) {
        Remedy::Wait => false,
        Remedy::Again => true,
        Remedy::GiveUp(reason) => {
            folder.ignore(number, &reason);
            true
        }
    }
}

impl OpenFile {
    fn answers(
        &mut self,
        secret: &Secret,
        images: &mut [Open<'_>],
        asked: &Asked,
        damaged: &mut Vec<Damaged>,
    ) -> Result<(), Fault> {
        // One look at the log for all of them.
        let together = match images.len() {
            0 | 1 => None,
            _ => Some(self.connection.unchecked_transaction()?),
        };
        let mut statement = self
            .connection
            .prepare_cached("SELECT asked, packed FROM answers WHERE image = ?1")?;
        for image in images {
            let mut rows = statement.query([image.key.as_slice()])?;
            while let Some(row) = rows.next()? {
                let id: i64 = row.get(0)?;
                let value = row
                    .get_ref(1)?
                    .as_blob()
                    .map_err(|error| Fault::Damaged(error.to_string()))?;
                let read = match set(&self.connection, &mut self.sets, id)? {
                    Some(set) => image.take(secret, asked, &set, value),
                    None => None,
                };
                if read.is_none() {
                    damaged.push(Damaged::Answers(image.key, id, value.to_vec()));
                }
            }
        }
        drop(statement);
        if let Some(together) = together {
            together.commit()?;
        }
        Ok(())
    }
}

impl Open<'_> {
    /// Takes what a row has of what is missing; None for a damaged row.
    fn take(&mut self, secret: &Secret, asked: &Asked, set: &Set, value: &[u8]) -> Option<()> {
        let (similarity, answers) = unpack_answers(secret, &self.key, set, value)?;
        self.found.similarity = self.found.similarity.or(similarity);
        // Both lists ascend.
        let mut wanted = asked.kept().iter().peekable();
        for (id, packed) in set.ids.iter().zip(answers) {
            while wanted.next_if(|(other, _)| other < id).is_some() {}
            while let Some(&(_, position)) = wanted.next_if(|(other, _)| other == id) {
                if let Some(answer @ None) = self.found.answers.get_mut(position) {
                    *answer = Some(packed.into());
                    self.missing -= 1;
                }
            }
        }
        Some(())
    }
}

/// The set of this number, None when there is none.
pub(super) fn set(
    connection: &Connection,
    sets: &mut Sets,
    id: i64,
) -> Result<Option<Arc<Set>>, Fault> {
    if let Some(set) = sets.get(&id) {
        return Ok(Some(Arc::clone(set)));
    }
    let mut statement =
        connection.prepare_cached("SELECT questions, digest FROM sets WHERE id = ?1")?;
    let row: Option<(Vec<u8>, Vec<u8>)> = statement
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((questions, digest)) = row else {
        return Ok(None);
    };
    let set = Set::read(&questions, &digest)
        .ok_or_else(|| Fault::Damaged("a list of questions is not what was written".to_owned()))?;
    let set = Arc::new(set);
    sets.insert(id, Arc::clone(&set));
    Ok(Some(set))
}

/// A row whose checksum does not match, with the value that was read.
pub(super) enum Damaged {
    Answers(Key, i64, Vec<u8>),
    Reference(Key, Vec<u8>),
}

/// Removes damaged rows, unless a good value has come in their place.
pub(super) fn remove_rows(connection: &Connection, rows: &[Damaged]) -> Result<(), Fault> {
    if rows.is_empty() || connection.is_readonly("main")? {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    for row in rows {
        match row {
            Damaged::Answers(key, id, value) => connection
                .prepare_cached(
                    "DELETE FROM answers WHERE image = ?1 AND asked = ?2 AND packed = ?3",
                )?
                .execute((key.as_slice(), id, value))?,
            Damaged::Reference(key, value) => connection
                .prepare_cached("DELETE FROM origins WHERE reference = ?1 AND packed = ?2")?
                .execute((key.as_slice(), value))?,
        };
    }
    Ok(transaction.commit()?)
}
