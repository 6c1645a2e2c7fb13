//! Relative references belong to the table that they stand in, through every kind of plan.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::prelude::SessionContext;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use crate::fake::{png, session};

/// Two folders, each with a table `t.parquet` of the reference `i.png` and an image of that name.
fn folders() -> (TempDir, String, String) {
    let root = tempfile::tempdir().unwrap();
    let make = |name: &str, colour: [u8; 3]| {
        let folder = root.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("i.png"), png(colour)).unwrap();
        let images: ArrayRef = Arc::new(StringArray::from(vec!["i.png"]));
        let batch = RecordBatch::try_from_iter([("image", images)]).unwrap();
        let file = std::fs::File::create(folder.join("t.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        folder.join("t.parquet").display().to_string()
    };
    let (red, green) = (make("red", [255, 0, 0]), make("green", [0, 255, 0]));
    (root, red, green)
}

async fn answers(context: &SessionContext, query: &str) -> Vec<Option<bool>> {
    context.sql("SET picsift.model = 'fake'").await.unwrap();
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_any()
                .downcast_ref::<arrow::array::BooleanArray>()
                .unwrap()
                .iter()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_folder_is_found_again() {
    let (_root, red, green) = folders();
    let (context, _) = session();
    let queries = [
        format!("SELECT classify(image, 'red') FROM '{red}'"),
        format!(
            "SELECT classify(picture, 'red') FROM (SELECT image AS picture FROM '{red}' LIMIT 5) AS s"
        ),
        format!(
            "WITH c AS (SELECT DISTINCT image FROM '{red}') SELECT classify(image, 'red') FROM c"
        ),
        format!(
            "SELECT classify(a.image, 'red') FROM '{red}' a JOIN '{green}' b ON a.image = b.image"
        ),
        format!(
            "SELECT classify(b.image, 'green') FROM '{red}' a JOIN '{green}' b ON a.image = b.image"
        ),
        format!("SELECT classify(image, 'red') FROM '{red}' GROUP BY image"),
        format!("SELECT classify(load_image(image), 'red') FROM '{red}' ORDER BY image"),
        format!(
            "SELECT classify(image, 'red') FROM (SELECT image FROM '{red}' UNION ALL SELECT image FROM '{red}') LIMIT 1"
        ),
    ];
    for query in queries {
        assert_eq!(answers(&context, &query).await, [Some(true)], "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_computed_reference_is_relative_to_the_current_folder() {
    let (_root, red, green) = folders();
    let (context, _) = session();
    let query = format!("SELECT classify(concat('', image), 'red') FROM '{red}'");
    assert_eq!(answers(&context, &query).await, [None]);
    // Two folders under one column: neither is right for both, so neither is taken.
    let query = format!(
        "SELECT classify(image, 'red') FROM (SELECT image FROM '{red}' UNION ALL SELECT image FROM '{green}')"
    );
    assert_eq!(answers(&context, &query).await, [None, None]);
}
