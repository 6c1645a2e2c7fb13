//! How many rows go together: as many as DataFusion likes, unless they carry pictures.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use datafusion::prelude::SessionContext;
use parquet::arrow::ArrowWriter;
use picsift::batches::task_context;
use picsift::session::session;
use picsift_udf::{Engine, EngineOptions};

use crate::support::{REFERENCES, root};

/// DataFusion's own number.
const FULL: usize = 8192;

/// A table of `id` and `image`, of so many bytes each.
fn table(path: &std::path::Path, rows: i64, bytes: usize) {
    let images = (0..rows).map(|row| {
        // Nothing that Parquet could make smaller.
        let mut state = row as u64 + 1;
        let byte = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 33) as u8
        };
        std::iter::repeat_with(byte)
            .take(bytes)
            .collect::<Vec<u8>>()
    });
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("image", Arc::new(BinaryArray::from_iter_values(images))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Rows of a batch when the query runs.
async fn rows(context: &SessionContext, query: &str) -> usize {
    let plan = context
        .sql(query)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    task_context(&context.state(), &plan)
        .session_config()
        .batch_size()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_rows_that_carry_images_go_in_small_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (large, small) = (
        folder.path().join("large.parquet"),
        folder.path().join("small.parquet"),
    );
    table(&large, 200, 40_000);
    table(&small, 200, 300);
    let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
    let context = session(&engine, 2).unwrap();
    let (large, small) = (large.display(), small.display());
    let references = root().join(REFERENCES);
    let references = references.display();

    for query in [
        "SELECT 1".to_string(),
        format!("SELECT id FROM '{large}' WHERE id > 3"),
        format!("SELECT count(*) FROM '{large}' a JOIN '{small}' b ON a.id = b.id"),
        format!("SELECT file, classify(image, 'dog') FROM '{references}'"),
        format!("SELECT id, classify(image, 'dog') FROM '{small}'"),
    ] {
        assert_eq!(rows(&context, &query).await, FULL, "{query}");
    }
    for query in [
        format!("SELECT image FROM '{large}' WHERE id > 3"),
        format!("SELECT count(*) FROM '{large}' WHERE classify(image, 'dog')"),
        format!("SELECT a.id FROM '{small}' a JOIN '{large}' b ON a.id = b.id ORDER BY b.image"),
        format!("SELECT named_struct('image', image) FROM '{large}'"),
    ] {
        let rows = rows(&context, &query).await;
        // Eight megabytes.
        assert!((190..=220).contains(&rows), "{rows} rows for {query}");
    }
    let loaded = format!("SELECT load_image(image) FROM '{references}'");
    assert_eq!(rows(&context, &loaded).await, 64);

    context
        .sql("SET datafusion.execution.batch_size = 16")
        .await
        .unwrap();
    let query = format!("SELECT image FROM '{large}'");
    assert_eq!(rows(&context, &query).await, 16);
    assert_eq!(rows(&context, "SELECT 1").await, 16);
}
