//! Relative references belong to the table that they stand in, through every kind of plan; where nobody knows to which, they are an error.

mod named;
mod tables;
mod union;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use datafusion::prelude::SessionContext;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use crate::fake::{Fake, png};

/// Two folders, each with a table `t.parquet` of the reference `i.png` and an image of that name, and a session with the tables as
/// `red` and `green`.
struct Folders {
    root: TempDir,
    fake: Fake,
}

impl Folders {
    async fn new() -> Self {
        let folders = Self {
            root: tempfile::tempdir().unwrap(),
            fake: Fake::new(1),
        };
        folders.add("red", [255, 0, 0]).await;
        folders.add("green", [0, 255, 0]).await;
        folders
    }

    async fn add(&self, name: &str, colour: [u8; 3]) {
        let folder = self.root.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("i.png"), png(colour)).unwrap();
        let images: ArrayRef = Arc::new(StringArray::from(vec!["i.png"]));
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("id", ids), ("image", images)]).unwrap();
        let file = std::fs::File::create(folder.join("t.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let create = format!(
            "CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{}'",
            folder.join("t.parquet").display()
        );
        self.fake.context.sql(&create).await.unwrap();
    }

    fn folder(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    async fn try_run(&self, query: &str) -> Result<Vec<RecordBatch>, String> {
        run(&self.fake.context, query).await
    }

    async fn run(&self, query: &str) -> Vec<RecordBatch> {
        let result = self.try_run(query).await;
        result.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// The first column's answers; the query is also written as a plan and read again.
    async fn answers(&self, query: &str) -> Vec<Option<bool>> {
        let frame = self.fake.context.sql(query).await;
        let frame = frame.unwrap_or_else(|error| panic!("{query}: {error}"));
        // What is no table of the session cannot be read back, or not as it was.
        if !query.contains("RECURSIVE") && !query.contains("generate_series") {
            self.fake.survives_the_way(&frame, query);
        }
        booleans(&self.run(query).await)
    }

    async fn refusal(&self, query: &str) -> String {
        match self.try_run(query).await {
            Ok(batches) => panic!("{query} gave {batches:?}"),
            Err(error) => error,
        }
    }
}

/// Runs a statement as the command line does.
async fn run(context: &SessionContext, query: &str) -> Result<Vec<RecordBatch>, String> {
    let run = async {
        let plan = context.state().create_logical_plan(query).await?;
        picsift_udf::execute(context, plan).await?.collect().await
    };
    run.await.map_err(|error| error.to_string())
}

fn booleans(batches: &[RecordBatch]) -> Vec<Option<bool>> {
    let columns = batches.iter().map(|batch| {
        let column = batch.column(0).as_any();
        column.downcast_ref::<BooleanArray>().unwrap()
    });
    columns.flat_map(|column| column.iter()).collect()
}

const UNKNOWN: &str = "the folder that it belongs to is not known";

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_folder_is_found_again() {
    let folders = Folders::new().await;
    let path = folders.folder("red/t.parquet");
    folders
        .run("CREATE VIEW looking AS SELECT concat('', image) AS picture FROM red")
        .await;
    let queries = [
        "SELECT classify(image, 'red') FROM red",
        "SELECT classify(picture, 'red') FROM (SELECT image AS picture FROM red LIMIT 5) AS s",
        "WITH c AS (SELECT DISTINCT image FROM red) SELECT classify(image, 'red') FROM c",
        "SELECT classify(a.image, 'red') FROM red a JOIN green b ON a.image = b.image",
        "SELECT classify(b.image, 'green') FROM red a JOIN green b ON a.image = b.image",
        "SELECT classify(image, 'red') FROM red GROUP BY image",
        "SELECT classify(load_image(image), 'red') FROM red ORDER BY image",
        "SELECT classify(image, 'red') FROM (SELECT image FROM red UNION ALL SELECT image FROM red) LIMIT 1",
        // Made of a column and constants.
        "SELECT classify(trim(image), 'red') FROM red",
        "SELECT classify(coalesce(image, ''), 'red') FROM red",
        "SELECT classify(concat('', image), 'red') FROM red",
        "SELECT classify('' || image, 'red') FROM red",
        "SELECT classify(replace(image, 'png', 'png'), 'red') FROM red",
        "SELECT classify(CASE WHEN id = 1 THEN image ELSE 'none.png' END, 'red') FROM red",
        "SELECT classify(CASE WHEN g.id = 1 THEN r.image END, 'red') FROM red r JOIN green g ON r.id = g.id",
        "SELECT classify(arrow_cast(image, 'LargeUtf8'), 'red') FROM red",
        "SELECT classify(named_struct('bytes', CAST(NULL AS BYTEA), 'path', image), 'red') FROM red",
        "SELECT classify(named_struct('a', image)['a'], 'red') FROM red",
        "SELECT classify([image, 'none.png'][1], 'red') FROM red",
        "SELECT classify(i, 'red') FROM (SELECT unnest([image]) AS i FROM red)",
        "SELECT classify(picture, 'red') FROM looking",
        // Of several rows.
        "SELECT classify(min(image), 'red') FROM red",
        "SELECT classify(first_value(image ORDER BY id), 'red') FROM red",
        "SELECT classify(array_agg(image)[1], 'red') FROM red",
        "SELECT classify(first_value(image) OVER (ORDER BY id), 'red') FROM red",
        "SELECT classify(lag(image, 0) OVER (ORDER BY id), 'red') FROM red",
        "SELECT classify(m, 'red') FROM (SELECT id, max(image) AS m FROM red GROUP BY ROLLUP (id)) LIMIT 1",
        "SELECT classify(i, 'red') FROM (SELECT (SELECT max(image) FROM red) AS i FROM green)",
        "SELECT classify((SELECT max(image) FROM red), 'red') FROM green",
        "SELECT classify(image, 'red') FROM (SELECT DISTINCT ON (id) id, image FROM red ORDER BY id)",
        // Of rows around a subquery.
        "SELECT classify(image, 'red') FROM red a WHERE EXISTS (SELECT 1 FROM green b WHERE b.id = a.id AND classify(a.image, 'red'))",
        "SELECT id = 1 FROM green b WHERE id IN (SELECT a.id FROM red a WHERE a.id = b.id AND classify(b.image, 'green'))",
        "SELECT s.id = 1 FROM red a, LATERAL (SELECT b.id FROM green b WHERE b.id = a.id AND classify(a.image, 'red')) s",
        "SELECT classify(s.image, 'red') FROM green a, LATERAL (SELECT image FROM red b WHERE b.id = a.id) s",
        "SELECT classify(i, 'red') FROM (SELECT (SELECT max(b.image) FROM red b WHERE b.id = a.id) AS i FROM green a)",
        // Sets and rounds.
        "SELECT classify(image, 'red') FROM (SELECT image FROM red EXCEPT SELECT 'x' FROM green)",
        "SELECT classify(image, 'red') FROM (SELECT image FROM red INTERSECT SELECT image FROM green)",
        "SELECT classify(image, 'red') FROM (SELECT image FROM red UNION SELECT image FROM red)",
        "SELECT classify(image, 'red') FROM red a LEFT SEMI JOIN green b ON a.id = b.id",
        "SELECT classify(image, 'green') FROM red a RIGHT SEMI JOIN green b ON a.id = b.id",
        "WITH RECURSIVE r AS (SELECT image, 1 AS n FROM red UNION ALL SELECT image || '', n + 1 FROM r WHERE n < 2)
         SELECT classify(image, 'red') FROM r WHERE n = 2",
        "SELECT classify(replace(concat(image, value), '1', ''), 'red') FROM red CROSS JOIN generate_series(1, 1)",
    ];
    let by_path = format!("SELECT classify(image, 'red') FROM '{path}'");
    for query in queries.into_iter().chain([by_path.as_str()]) {
        assert_eq!(folders.answers(query).await, [Some(true)], "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_nobody_knows_is_an_error_and_no_other_picture() {
    let folders = Folders::new().await;
    let union = "(SELECT image, id FROM red UNION ALL SELECT image, id FROM green)";
    let memory = StringArray::from(vec!["i.png"]);
    let batch = RecordBatch::try_from_iter([("image", Arc::new(memory) as ArrayRef)]).unwrap();
    folders
        .fake
        .context
        .register_batch("memory", batch)
        .unwrap();
    let unknown = [
        "SELECT classify(coalesce(a.image, b.image), 'red') FROM red a JOIN green b ON a.id = b.id",
        "SELECT classify(concat(a.image, substr(b.image, 1, 0)), 'red') FROM red a JOIN green b ON a.id = b.id",
        "SELECT classify(image, 'red') FROM memory",
        "SELECT try_classify(image, 'red') FROM memory",
        "SELECT load_image(image) FROM memory",
        "SELECT image_info(image) FROM memory",
        "SELECT classify(image, 'red') FROM (SELECT image FROM red UNION SELECT image FROM green)",
        "WITH RECURSIVE r AS (SELECT image, 1 AS n FROM red UNION ALL SELECT g.image, n + 1 FROM r JOIN green g ON g.id = n WHERE n < 2)
         SELECT classify(image, 'red') FROM r",
    ];
    let unions = [
        format!("SELECT classify(max(image), 'red') FROM {union} u"),
        format!("SELECT classify(image, 'red') FROM {union} u GROUP BY image"),
        format!("SELECT classify(image, 'red') FROM (SELECT DISTINCT image FROM {union} u)"),
        format!("SELECT classify(lag(image, 0) OVER (ORDER BY id), 'red') FROM {union} u"),
        format!(
            "SELECT classify(i, 'red') FROM (SELECT (SELECT min(image) FROM {union} u) AS i FROM red)"
        ),
        format!(
            "SELECT id FROM {union} u WHERE EXISTS (SELECT 1 FROM red b WHERE b.id = u.id AND classify(u.image, 'red'))"
        ),
        format!(
            "SELECT classify(a.image || substr(b.image, 1, 0), 'red') FROM {union} a JOIN {union} b ON a.id = b.id"
        ),
    ];
    for query in unknown.into_iter().chain(unions.iter().map(String::as_str)) {
        let error = folders.refusal(query).await;
        assert!(error.contains(UNKNOWN), "{query}: {error}");
        assert!(error.contains("SET picsift.base = 'FOLDER'"), "{error}");
    }
    let error = folders.refusal(unknown[0]).await;
    let named = "'i.png' in coalesce(a.image, b.image)";
    assert!(error.contains(named), "{error}");

    // What says itself where it is goes through, also beside what asks nothing.
    let red = folders.folder("red/i.png");
    let query = format!(
        "SELECT classify(concat('{}', image), 'red') FROM memory",
        red.trim_end_matches("i.png")
    );
    assert_eq!(folders.answers(&query).await, [Some(true)]);
    let query = "SELECT false FROM memory WHERE image = 'none' AND classify(image, 'red')";
    assert!(folders.answers(query).await.is_empty());
}
