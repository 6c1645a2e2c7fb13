//! What can go wrong with the store: errors for callers, and faults that the store deals with itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ffi;

/// Why there is no store, or why something asked of it in words (`info`, `verify`, `clear`) was not done. Lookups and puts
/// never fail.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nothing says where the store is.
    #[error(
        "there is no folder for the store of answers: set PICSIFT_CACHE to one, as there is no home folder"
    )]
    NoHome,
    /// Something could not be done with a file or folder.
    #[error("cannot {doing} {path} for the store of answers: {source}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: Arc<io::Error>,
    },
    /// The store would have no room.
    #[error("a store of {max_bytes} bytes is too small; it takes at least {least} bytes")]
    TooSmall {
        /// The size asked for.
        max_bytes: u64,
        /// The smallest size.
        least: u64,
    },
    /// A database of the store could not be used, for another reason than damage.
    #[error("the store of answers in {folder} cannot be used: {reason}")]
    Database {
        /// The store's folder.
        folder: PathBuf,
        /// SQLite's reason.
        reason: String,
    },
    /// The folder cannot be trusted with answers, or is used for something else.
    #[error("the folder {folder} cannot hold the store of answers: {reason}")]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it, and what helps.
        reason: String,
    },
    /// Another process keeps the store for itself.
    #[error("another process has kept the store of answers in {folder} locked for {seconds} s")]
    Busy {
        /// The store's folder.
        folder: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The system gives no thread to write with.
    #[error("the thread that writes the store of answers cannot be started: {source}")]
    Thread {
        /// The system's reason.
        source: Arc<io::Error>,
    },
}

impl StoreError {
    /// Makes the error of doing something with this path.
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path,
            source: Arc::new(source),
        }
    }
}

/// What an error in the midst of a database means for the store.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file's content is not what was written, for this reason.
    Damaged(String),
    /// The file cannot be opened: it is gone, is no plain file, or the folder cannot be written.
    CannotOpen(String),
    /// The file may not be written: the disk says so, or a damaged header.
    ReadOnly(String),
    /// The disk does not take or give any more.
    Disk(String),
    /// Another process held the file for too long.
    Busy,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;

        let text = error.to_string();
        let rusqlite::Error::SqliteFailure(failure, _) = error else {
            // A value of another type than the schema's, or no row where there must be one.
            return Self::Damaged(text);
        };
        match failure.code {
            Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed => {
                Self::Busy
            }
            Code::CannotOpen => Self::CannotOpen(text),
            Code::ReadOnly => Self::ReadOnly(text),
            Code::DiskFull => Self::Disk("the disk is full".to_owned()),
            // A read that ends too early is a file that was cut.
            Code::SystemIoFailure
                if ![
                    ffi::SQLITE_IOERR_SHORT_READ,
                    ffi::SQLITE_IOERR_CORRUPTFS,
                    ffi::SQLITE_IOERR_DATA,
                ]
                .contains(&failure.extended_code) =>
            {
                Self::Disk(format!("the disk fails ({text})"))
            }
            Code::PermissionDenied | Code::OutOfMemory | Code::NoLargeFileSupport => {
                Self::Disk(text)
            }
            // The statements are fixed: whatever else SQLite finds wrong with them is wrong with the file.
            _ => Self::Damaged(text),
        }
    }
}
