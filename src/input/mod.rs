//! The input of a job: its files as they were, and each row's place in them.
//!
//! A job that is to go on where it stopped must say which rows are done without any help from the table, which may have no
//! key. So every row carries its file's number and its place in the file through the plan ([`scan`]); the place of
//! the last row that was written is all that has to be remembered. [`files`] owns which files there are and whether they
//! are still the same; [`rows`] cuts the one long stream of rows into shards, and a row says
//! itself what of it could not be read. Nothing here knows labels or output.

pub mod columns;
pub mod files;
mod pages;
pub mod readable;
pub mod rows;
pub mod scan;
pub mod select;

use serde::{Deserialize, Serialize};

/// Column with the number of a row's file; UINT32, never NULL.
pub const FILE_COLUMN: &str = "__picsift_file";

/// Column with the rows before a row in its file; INT64, never NULL.
pub const ROW_COLUMN: &str = "__picsift_row";

/// Column with what of a row could not be read; UTF8, NULL for a row that is whole.
pub const UNREADABLE_COLUMN: &str = "__picsift_unreadable";

/// A place between two rows of the input: all files before `file` and the first `row` rows of it lie before it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    /// Number of the file, in the order of the job's files.
    pub file: u32,
    /// Rows of that file.
    pub row: u64,
}
