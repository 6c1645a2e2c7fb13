//! Parquet files of strangers, read within bounds that follow from the bytes that they have.
//!
//! A few hundred bytes can say two hundred million values, or nest a schema so deeply that its readers overflow the stack. [`footer`]
//! looks at a file's footer before a reader decodes it, [`pages`] at the pages of a row group before their values become arrays: what a
//! batch takes in memory may be [`BATCH_BYTES`], and beyond that [`RATIO`] times the bytes that the file has for it. Both count only; what
//! is right in a file otherwise is its reader's to say.

pub(super) mod footer;
mod levels;
mod pages;
mod reader;
mod rule;
mod thrift;
mod whole;

pub use footer::{check_bytes, check_file};
pub use rule::BoundedParquet;
pub use whole::check_pages;

/// Bytes that the rows of one batch may take without a file having bytes for them.
const BATCH_BYTES: u64 = 512 << 20;

/// How many times the bytes of a file its rows may take in memory, beyond that.
const RATIO: u64 = 16;
