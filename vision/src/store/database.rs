//! One generation of the store: an SQLite database in WAL mode, with its tables and how a connection to it is set up.
//!
//! Nothing is mapped into memory: a file that is cut while it is mapped ends the process. (The exception is SQLite's
//! own `-shm` file of 32 KiB, which it makes anew whenever no process has the database open.)

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, config::DbConfig};

use super::error::Fault;

/// The version of the tables and of the values in them.
const FORMAT: i64 = 1;

/// What SQLite's header says a file is for: "psft".
const APPLICATION: i64 = 0x7073_6674;

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
    words TEXT NOT NULL
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

/// Makes a database with empty tables; all of it is in this one file when this returns.
pub(super) fn create(path: &Path) -> Result<(), Fault> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; \
         PRAGMA user_version = {FORMAT}; COMMIT;"
    ))?;
    connection.close().map_err(|(_, error)| error.into())
}

/// Opens a database that is there.
pub(super) fn open(path: &Path, access: Access) -> Result<Connection, Fault> {
    let connection = match access {
        Access::Read | Access::Write => Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?,
        Access::Frozen => Connection::open_with_flags(
            frozen(path),
            OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_URI,
        )?,
    };
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.execute_batch(
        "PRAGMA mmap_size = 0; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; \
         PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2000;",
    )?;
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
    let (application, format): (i64, i64) = (pragma("application_id")?, pragma("user_version")?);
    if (application, format) != (APPLICATION, FORMAT) {
        return Err(Fault::Damaged(format!(
            "it is of format {format}, this program writes format {FORMAT}"
        )));
    }
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if access != Access::Frozen && mode != "wal" {
        return Err(Fault::Damaged(format!("its journal mode is {mode}")));
    }
    Ok(connection)
}

/// The address of a file that does not change.
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
