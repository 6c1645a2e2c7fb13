//! Any bytes as what is known of a folder's pictures, in each of its forms: a sentence in one line, or a row for each picture.
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

/// Pictures of the folder, which nobody opens.
const PICTURES: [&str; 2] = ["a.png", "b.jpg"];

/// # Panics
/// Where it does not hold.
pub(crate) fn holds(input: &[u8]) {
    let (runtime, session) = &*SESSION;
    for name in ["metadata.csv", "metadata.jsonl", "metadata.parquet"] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).expect("a file can be written");
        };
        PICTURES.iter().for_each(|picture| write(picture, b"-"));
        write(name, input);
        let query = format!("SELECT * FROM '{}/'", folder.path().display());
        let read = runtime.block_on(async {
            let rows = session.sql(&query).await?.rows;
            let batches: Vec<_> = rows.try_collect().await.map_err(AppError::Run)?;
            Ok::<_, AppError>(batches)
        });
        match read {
            // A file without the column that names pictures is a table of its own.
            Ok(batches) => {
                let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
                let of_pictures = batches
                    .iter()
                    .all(|batch| batch.column_by_name("image").is_some());
                assert!(
                    !of_pictures || batches.is_empty() || rows == PICTURES.len(),
                    "{rows} rows"
                );
            }
            Err(error) => {
                let said = error.to_string();
                assert!(!said.trim().is_empty() && !said.contains('\n'), "{said:?}");
            }
        }
    }
}
