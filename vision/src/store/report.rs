//! What a person asks of the store: how much there is of what, and whether all of it is whole.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension};

use super::database::{self, Access, first_flaw};
use super::error::{Fault, StoreError};
use super::folder::{Folder, Remedy};
use super::question::OF_A_TEXT;
use super::reader::{Damaged, Sets, remove_rows, set};
use super::record::{Key, question_checksum, unpack_answers, unpack_reference};
use super::secret::Secret;

/// Damaged rows of one database that are removed one by one; with more it is begun anew.
const MOST_DAMAGED: usize = 10_000;

/// What is in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// Where it is.
    pub folder: PathBuf,
    /// What its files take, in bytes.
    pub bytes: u64,
    /// What they may take, in bytes.
    pub max_bytes: u64,
    /// Images with answers; one whose answers lie in several of the store's files counts in each.
    pub images: u64,
    /// Texts whose embeddings are known, counted as images are.
    pub texts: u64,
    /// Answers about images.
    pub answers: u64,
    /// References whose content is known, counted as images are.
    pub references: u64,
    /// What each model has answered, by name and revision.
    pub models: Vec<ModelAnswers>,
}

/// The answers of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAnswers {
    /// The model's name.
    pub model: String,
    /// Its revision.
    pub revision: String,
    /// Different questions that it was asked.
    pub questions: u64,
    /// Answers that it gave.
    pub answers: u64,
}

/// What [`super::Store::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Rows read.
    pub rows: u64,
    /// Rows that were not what had been written; they are removed.
    pub damaged_rows: u64,
    /// Files read.
    pub files: u64,
    /// Files that could not be read as what they are, with the reason; they are removed.
    pub damaged_files: Vec<(PathBuf, String)>,
}

impl VerifyReport {
    /// Whether nothing was damaged.
    pub fn is_whole(&self) -> bool {
        self.damaged_rows == 0 && self.damaged_files.is_empty()
    }
}

/// Counts what is in the store, reading all of it.
pub(super) fn info(folder: &Folder) -> Result<StoreInfo, StoreError> {
    let mut info = StoreInfo {
        folder: folder.path.clone(),
        bytes: folder.sizes()?.iter().map(|(_, size)| size).sum(),
        max_bytes: folder.max_bytes,
        images: 0,
        texts: 0,
        answers: 0,
        references: 0,
        models: Vec::new(),
    };
    let mut questions = BTreeMap::new();
    each_file(folder, |_, connection| {
        // Counted apart and added at the end: a file that turns out damaged counts for nothing.
        let count = Count::of(connection, &folder.secret())?;
        info.images += count.images;
        info.texts += count.texts;
        info.references += count.references;
        for (id, question) in count.questions {
            questions.entry(id).or_insert((question.0, 0)).1 += question.1;
        }
        Ok(())
    })?;
    let mut models: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for (model, answers) in questions.into_values() {
        info.answers += answers;
        let counted = models.entry(model).or_default();
        counted.0 += 1;
        counted.1 += answers;
    }
    info.models = models
        .into_iter()
        .map(|((model, revision), (questions, answers))| ModelAnswers {
            model,
            revision,
            questions,
            answers,
        })
        .collect();
    Ok(info)
}

/// What one file has.
struct Count {
    images: u64,
    texts: u64,
    references: u64,
    /// Model, revision and number of answers by question about images.
    questions: BTreeMap<[u8; 16], ((String, String), u64)>,
}

impl Count {
    fn of(connection: &Connection, secret: &Secret) -> Result<Self, Fault> {
        let number = |sql: &str| -> Result<u64, Fault> {
            let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            Ok(count.unsigned_abs())
        };
        let references = number("SELECT count(*) FROM origins")?;
        let mut sets = Sets::new();
        let mut questions = BTreeMap::new();
        let mut of_texts = Vec::new();
        let mut rows = connection.prepare("SELECT asked, count(*) FROM answers GROUP BY asked")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (set_id, count): (i64, i64) = (row.get(0)?, row.get(1)?);
            // Rows of a set that is not there are damaged, which a lookup or `verify` finds.
            let Some(set) = set(connection, &mut sets, set_id)? else {
                continue;
            };
            for id in &set.ids {
                let known = match questions.entry(*id.as_bytes()) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        entry.insert((question(connection, secret, id.as_bytes())?, 0))
                    }
                };
                known.1 += count.unsigned_abs();
                // They are asked by themselves.
                if known.0.is_of_text {
                    of_texts.push(set_id.to_string());
                }
            }
        }
        let of_texts = of_texts.join(", ");
        let distinct = |which: &str| {
            number(&format!(
                "SELECT count(DISTINCT image) FROM answers WHERE asked {which} ({of_texts})"
            ))
        };
        let of_images = questions
            .into_iter()
            .filter(|(_, (question, _))| !question.is_of_text);
        Ok(Self {
            images: distinct("NOT IN")?,
            texts: distinct("IN")?,
            references,
            questions: of_images
                .map(|(id, (question, count))| (id, (question.model, count)))
                .collect(),
        })
    }
}

/// What the store says of a question.
struct Known {
    /// The model's name and revision.
    model: (String, String),
    is_of_text: bool,
}

/// What is said of a question; a model that is "unknown" where the row that says so is not as it was written.
fn question(connection: &Connection, secret: &Secret, id: &[u8; 16]) -> Result<Known, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT model, revision, words, checksum FROM questions WHERE id = ?1")?;
    let found: Option<(String, String, String, Vec<u8>)> = statement
        .query_row([id.as_slice()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let whole = found.filter(|(model, revision, words, checksum)| {
        *checksum == question_checksum(secret, id, model, revision, words)
    });
    let unknown = || Known {
        model: ("unknown".to_owned(), "unknown".to_owned()),
        is_of_text: false,
    };
    Ok(
        whole.map_or_else(unknown, |(model, revision, words, _)| Known {
            model: (model, revision),
            is_of_text: words == OF_A_TEXT,
        }),
    )
}

/// Reads all of the store; removes what is damaged and says so.
pub(super) fn verify(folder: &Folder) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport::default();
    let damaged = each_file(folder, |number, connection| {
        report.files += 1;
        // Before rows are read: pages that point to each other in a circle would be read for ever.
        if let Some(flaw) = first_flaw(connection)? {
            return Err(Fault::Damaged(flaw));
        }
        let (rows, damaged) = read_rows(connection, &folder.secret())?;
        report.rows += rows;
        report.damaged_rows += damaged.len() as u64;
        if damaged.len() >= MOST_DAMAGED {
            return Err(Fault::Damaged(format!(
                "{MOST_DAMAGED} of its rows are not what was written"
            )));
        }
        folder.count_damaged(number, damaged.len() as u64);
        remove_rows(connection, &damaged)
    })?;
    report.files += damaged.iter().filter(|(_, _, opened)| !opened).count() as u64;
    report.damaged_files = damaged
        .into_iter()
        .map(|(path, reason, _)| (path, reason))
        .collect();
    Ok(report)
}

/// Reads all rows of a database; gives their number and the first damaged ones.
fn read_rows(connection: &Connection, secret: &Secret) -> Result<(u64, Vec<Damaged>), Fault> {
    let mut rows = 0;
    let mut damaged = Vec::new();
    let mut sets = Sets::new();
    let mut statement = connection.prepare("SELECT image, asked, packed FROM answers")?;
    let mut answers = statement.query([])?;
    while let Some(row) = answers.next()? {
        let (image, id, value): (Vec<u8>, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        rows += 1;
        let image = key(image)?;
        let whole = set(connection, &mut sets, id)?
            .is_some_and(|set| unpack_answers(secret, &image, &set, &value).is_some());
        if !whole && damaged.len() < MOST_DAMAGED {
            damaged.push(Damaged::Answers(image, id, value));
        }
    }
    let mut statement = connection.prepare("SELECT reference, packed FROM origins")?;
    let mut references = statement.query([])?;
    while let Some(row) = references.next()? {
        let (reference, value): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        rows += 1;
        let reference = key(reference)?;
        if unpack_reference(secret, &reference, &value).is_none() && damaged.len() < MOST_DAMAGED {
            damaged.push(Damaged::Reference(reference, value));
        }
    }
    Ok((rows, damaged))
}

fn key(bytes: Vec<u8>) -> Result<Key, Fault> {
    bytes
        .try_into()
        .map_err(|_| Fault::Damaged("a key has another length than keys have".to_owned()))
}

/// Does this with each generation, oldest first; gives the damaged ones, which are removed, with what was wrong and
/// whether they could be opened. One that another process removes meanwhile is passed over.
fn each_file(
    folder: &Folder,
    mut look: impl FnMut(u64, &Connection) -> Result<(), Fault>,
) -> Result<Vec<(PathBuf, String, bool)>, StoreError> {
    let access = if folder.writable() {
        Access::Read
    } else {
        Access::Frozen
    };
    let mut damaged = Vec::new();
    for number in folder.generations()? {
        let path = folder.database(number);
        let mut opened = false;
        let opening = database::open(&path, access, &folder.secret());
        let looked = opening.and_then(|connection| {
            opened = true;
            connection.allow(database::whole(&path));
            look(number, &connection)
        });
        let Err(fault) = looked else {
            continue;
        };
        let reason = match &fault {
            Fault::Damaged(reason) => Some(reason.clone()),
            Fault::CannotOpen(reason) | Fault::ReadOnly(reason) if path.exists() => {
                Some(reason.clone())
            }
            _ => None,
        };
        match (folder.remedy(number, fault), reason) {
            (Remedy::Again, Some(reason)) => damaged.push((path, reason, opened)),
            (Remedy::Again, None) => {}
            (Remedy::Wait, _) => {
                return Err(StoreError::Busy {
                    folder: folder.path.clone(),
                    seconds: database::PATIENCE.as_secs(),
                });
            }
            (Remedy::GiveUp(reason), _) => {
                return Err(StoreError::Database {
                    folder: folder.path.clone(),
                    reason,
                });
            }
        }
    }
    Ok(damaged)
}
