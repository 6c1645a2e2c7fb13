//! One generation of the store: an SQLite database in WAL mode, with its tables and how a connection to it is set up.
//!
//! Nothing is mapped into memory: a file that is cut while it is mapped ends the process. (The exception is SQLite's
//! own `-shm` file of 32 KiB, which it makes anew whenever no process has the database open.)

use std::fs;
use std::io::{ErrorKind, Read};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use super::error::Fault;
use super::secret::Secret;

/// The version of the tables and of the values in them.
const FORMAT: i64 = 2;

/// What SQLite's header says a file is for: "psft".
const APPLICATION: u32 = 0x7073_6674;

/// What SQLite puts behind the name of a database.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Steps of SQLite's machine between two looks at how many are allowed.
const STEPS: u64 = 10_000;

/// Steps that a lookup may take, a thousand times what one takes: pages that lead to each other in a circle would be read for ever.
pub(super) const LOOKUP: u64 = 100_000_000;

/// Steps that the writing of a batch may take.
pub(super) const BATCH: u64 = 1_000_000_000;

/// Steps for each byte of a file that is read as a whole.
const STEPS_PER_BYTE: u64 = 20;

/// How long another process may write before a statement gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Statements that one connection keeps prepared.
const STATEMENTS: usize = 16;

/// `sets` has which questions were asked together, so that a row of `answers` names them by a small number and is found by
/// one descent for all of them; `questions` is there for people.
const TABLES: &str = "
CREATE TABLE sets (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    questions BLOB NOT NULL
) STRICT;
CREATE TABLE questions (
    id BLOB PRIMARY KEY,
    model TEXT NOT NULL,
    revision TEXT NOT NULL,
    words TEXT NOT NULL,
    checksum BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE answers (
    image BLOB NOT NULL,
    asked INTEGER NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (image, asked)
) STRICT, WITHOUT ROWID;
CREATE TABLE origins (
    reference BLOB PRIMARY KEY,
    packed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE seal (
    checksum BLOB NOT NULL
) STRICT;
";

/// How a database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Rows are read, and damaged ones removed.
    Read,
    /// Rows are written.
    Write,
    /// The folder cannot be written, so the file does not change and no log can be kept.
    Frozen,
}

/// An open database, whose statements end: each may take so many steps as were allowed last.
pub(super) struct Database {
    connection: Connection,
    left: Arc<AtomicU64>,
}

impl Database {
    fn new(mut connection: Connection) -> Result<Self, Fault> {
        let left = Arc::new(AtomicU64::new(LOOKUP / STEPS));
        let counted = Arc::clone(&left);
        let all_taken = move || {
            let taken = counted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
            taken.is_err()
        };
        connection.progress_handler(STEPS as i32, Some(all_taken))?;
        Ok(Self { connection, left })
    }

    /// Allows so many steps from now on.
    pub(super) fn allow(&self, steps: u64) {
        self.left.store(steps / STEPS, Ordering::Relaxed);
    }
}

impl Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Steps that reading all of this file may take.
pub(super) fn whole(path: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let bytes: u64 = companions(path).map(|path| size(&path)).sum();
    LOOKUP.saturating_add((size(path) + bytes).saturating_mul(STEPS_PER_BYTE))
}

/// The files that SQLite keeps beside a database.
pub(super) fn companions(database: &Path) -> impl Iterator<Item = PathBuf> {
    COMPANIONS.into_iter().map(|end| {
        let mut name = database.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    })
}

/// Whether this is a database that picsift made, of whatever version: its header says so.
pub(super) fn is_ours(path: &Path) -> bool {
    let mut header = [0; 100];
    let plain = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let read =
        plain && fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut header).is_ok());
    // SQLite's file format: the application is at byte 68, big-endian.
    read && header.starts_with(b"SQLite format 3\0") && header[68..72] == APPLICATION.to_be_bytes()
}

/// Makes a database with empty tables; all of it is in this one file when this returns.
pub(super) fn create(path: &Path, secret: &Secret) -> Result<(), Fault> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW,
    )?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; \
         PRAGMA user_version = {FORMAT};"
    ))?;
    connection.execute("INSERT INTO seal VALUES (?1)", [seal(secret).as_slice()])?;
    connection.execute_batch("COMMIT;")?;
    connection.close().map_err(|(_, error)| error.into())
}

/// What a database says of the key that its rows are written under.
fn seal(secret: &Secret) -> [u8; 8] {
    secret.checksum(b'd', &[b"database"])
}

/// Opens a database that is there. Whatever it says that it is, only our own tables are ever looked into.
pub(super) fn open(path: &Path, access: Access, secret: &Secret) -> Result<Database, Fault> {
    plain(path)?;
    let connection = match access {
        Access::Read | Access::Write => Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_NOFOLLOW,
        )?,
        Access::Frozen => Connection::open_with_flags(
            frozen(path),
            OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_NOFOLLOW
                | OpenFlags::SQLITE_OPEN_URI,
        )?,
    };
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.execute_batch(
        "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; \
         PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2000;",
    )?;
    let connection = Database::new(connection)?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    let (application, format): (i64, i64) = (pragma("application_id")?, pragma("user_version")?);
    if (application, format) != (i64::from(APPLICATION), FORMAT) {
        return Err(Fault::Damaged(format!(
            "it is of format {format}, this program writes format {FORMAT}"
        )));
    }
    if schema(&connection)? != *own_schema()? {
        return Err(Fault::Damaged(
            "it has other tables, views or triggers than this program makes".to_owned(),
        ));
    }
    let sealed: Vec<u8> =
        connection.query_row("SELECT checksum FROM seal", [], |row| row.get(0))?;
    if sealed != seal(secret) {
        return Err(Fault::Damaged(
            "it was written under another key than this store's".to_owned(),
        ));
    }
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if access != Access::Frozen && mode != "wal" {
        return Err(Fault::Damaged(format!("its journal mode is {mode}")));
    }
    Ok(connection)
}

/// SQLite would write through a link in the place of one of its own files.
fn plain(database: &Path) -> Result<(), Fault> {
    let wrong =
        |path: &Path, reason: &str| Err(Fault::CannotOpen(format!("{}: {reason}", path.display())));
    for path in std::iter::once(database.to_owned()).chain(companions(database)) {
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => return wrong(&path, "it is no plain file"),
            Err(error) if error.kind() == ErrorKind::NotFound && path != database => {}
            Err(error) => return wrong(&path, &error.to_string()),
        }
    }
    Ok(())
}

/// All that a database holds, by kind, name and the words that made it.
type Schema = Vec<(String, String, String, Option<String>)>;

fn schema(connection: &Connection) -> Result<Schema, Fault> {
    let mut statement = connection
        .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2, 3")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What a database holds that was made by [`create`].
fn own_schema() -> Result<&'static Schema, Fault> {
    static OWN: OnceLock<Schema> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own);
    }
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(TABLES)?;
    let made = schema(&connection)?;
    Ok(OWN.get_or_init(|| made))
}

/// The address of a file that nobody changes.
fn frozen(path: &Path) -> String {
    let mut address = "file:".to_owned();
    for character in path.to_string_lossy().chars() {
        match character {
            '%' => address.push_str("%25"),
            '?' => address.push_str("%3f"),
            '#' => address.push_str("%23"),
            other => address.push(other),
        }
    }
    address + "?immutable=1"
}

/// The first thing that SQLite finds wrong with a file: how its pages hang together, and the order of its rows.
pub(super) fn first_flaw(connection: &Connection) -> Result<Option<String>, Fault> {
    let found: Option<String> = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .optional()?;
    Ok(found.filter(|found| found != "ok"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_does_not_end_is_ended() {
        let database = Database::new(Connection::open_in_memory().unwrap()).unwrap();
        let count = |most: &str| -> rusqlite::Result<i64> {
            let sql = format!(
                "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r {most}) SELECT count(*) FROM r"
            );
            database.query_row(&sql, [], |row| row.get(0))
        };
        database.allow(100 * STEPS);
        let fault = Fault::from(count("").unwrap_err());
        assert!(matches!(fault, Fault::Damaged(_)), "{fault:?}");
        // What is allowed is for all that is done with it, until it is allowed anew.
        assert!(count("WHERE n < 100000").is_err());
        database.allow(LOOKUP);
        assert_eq!(count("WHERE n < 100000").unwrap(), 100_000);
    }
}
