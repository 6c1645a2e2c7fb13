//! Any bytes as a folder that `datasets.save_to_disk` made: a sentence in one line, or rows that take no more memory than the file can
//! fill.
//!
//! Called by the fuzz target with what it finds, and by the tests with what was found.

use std::sync::LazyLock;

use futures::TryStreamExt;
use picsift::error::AppError;
use picsift::sql::{Session, SessionOptions};
use tokio::runtime::Runtime;

static SESSION: LazyLock<(Runtime, Session)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime starts");
    let session = runtime.block_on(Session::new(SessionOptions::default()));
    (runtime, session.expect("a session starts"))
});

/// Bytes that a batch may take beyond those of the file: builders begin with some room in every column.
const ROOM: usize = 1 << 20;

/// How many times a file's bytes may be in memory: views and offsets are wider than what they stand for.
const RATIO: usize = 64;

/// # Panics
/// Where it does not hold.
pub(crate) fn holds(input: &[u8]) {
    let (runtime, session) = &*SESSION;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("data-00000-of-00001.arrow");
    std::fs::write(file, input).expect("a file can be written");
    let query = format!("SELECT * FROM '{}/'", folder.path().display());
    let read = runtime.block_on(async {
        let mut rows = session.sql(&query).await?.rows;
        while let Some(batch) = rows.try_next().await.map_err(AppError::Run)? {
            let taken = batch.get_array_memory_size();
            assert!(taken <= ROOM + RATIO * input.len(), "{taken} bytes");
        }
        Ok::<_, AppError>(())
    });
    if let Err(error) = read {
        let said = error.to_string();
        assert!(!said.trim().is_empty() && !said.contains('\n'), "{said:?}");
    }
}
