//! Text is a view while a query computes, and plain wherever rows leave: other programs know STRING.

use std::sync::Arc;

use arrow::array::{LargeStringArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use futures::TryStreamExt;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use picsift::sql::{Session, SessionOptions};
use tempfile::tempdir;

use crate::support::*;

/// Whether there are views of text in a type.
fn has_views(data_type: &DataType) -> bool {
    format!("{data_type:?}").contains("View")
}

fn stored(path: &std::path::Path) -> SchemaRef {
    let file = std::fs::File::open(path).unwrap();
    let metadata = ArrowReaderMetadata::load(&file, Default::default()).unwrap();
    Arc::clone(metadata.schema())
}

#[tokio::test]
async fn text_leaves_a_session_plain_in_lists_and_structs_too() {
    let folder = tempdir().unwrap();
    let table = folder.path().join("t.parquet");
    write_table(
        &table,
        vec![
            (
                "a",
                array(StringArray::from(vec![
                    "x",
                    "a longer text than a view holds",
                ])),
            ),
            ("b", array(LargeStringArray::from(vec![Some("y"), None]))),
        ],
    );
    let table = table.to_str().unwrap();
    let session = Session::new(SessionOptions::default()).await.unwrap();
    let query = async |text: String| -> Vec<RecordBatch> {
        let results = session.sql(&text).await.unwrap();
        results.rows.try_collect().await.unwrap()
    };
    let inside = query(format!(
        "SELECT arrow_typeof(a), arrow_typeof(b) FROM '{table}'"
    ))
    .await;
    for column in inside[0].columns() {
        let said = column.as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(said.value(0), "Utf8View");
    }

    let select = format!(
        "SELECT a, max(b) AS b, array_agg(a) AS l, named_struct('p', a, 'q', [b]) AS s, a || '!' AS t \
         FROM '{table}' GROUP BY a, b UNION ALL SELECT 'z', 'z', ['z'], named_struct('p', 'z', 'q', ['z']), 'z'"
    );
    let rows = query(select.clone()).await;
    let schema = rows[0].schema();
    for field in schema.fields() {
        assert!(!has_views(field.data_type()), "{field}");
    }
    assert!(rows.iter().all(|batch| batch.schema() == schema));
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);

    let copy = folder.path().join("copy.parquet");
    query(format!("COPY ({select}) TO '{}'", copy.display())).await;
    let made = folder.path().join("made");
    std::fs::create_dir(&made).unwrap();
    std::fs::copy(table, made.join("t.parquet")).unwrap();
    let place = made.display();
    query(format!(
        "CREATE EXTERNAL TABLE made STORED AS PARQUET LOCATION '{place}/'"
    ))
    .await;
    query(format!("INSERT INTO made SELECT a, b FROM '{table}'")).await;
    let mut files = parquet_files(&made);
    assert_eq!(files.len(), 2);
    files.push(copy);
    for file in files {
        for field in stored(&file).fields() {
            assert!(!has_views(field.data_type()), "{}: {field}", file.display());
        }
    }
    let made = query("SELECT a FROM made".to_string()).await;
    assert_eq!(made.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
}
