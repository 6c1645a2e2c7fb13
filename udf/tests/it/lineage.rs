//! Relative references belong to the table that they stand in, through every kind of plan; where nobody knows to which, they are an error.

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

#[tokio::test(flavor = "multi_thread")]
async fn each_branch_of_a_union_keeps_its_folder() {
    let folders = Folders::new().await;
    folders.add("blue", [0, 0, 255]).await;
    folders
        .run("SET datafusion.execution.target_partitions = 1")
        .await;
    let absolute = folders.folder("blue/i.png");
    let one = "(SELECT id, image FROM red UNION ALL SELECT id + 1, image FROM green)";
    let yes_no = vec![Some(true), Some(false)];
    let cases = [
        (format!("SELECT classify(image, 'red') FROM {one} u ORDER BY id"), yes_no.clone()),
        (format!("SELECT classify(trim(u.image), 'red') FROM {one} u ORDER BY u.id"), yes_no.clone()),
        (
            format!("SELECT classify(image, 'red') FROM {one} u WHERE classify(image, 'green') OR classify(image, 'red') ORDER BY id"),
            yes_no.clone(),
        ),
        (
            format!("SELECT id = 1 FROM {one} u WHERE classify(image, 'red')"),
            vec![Some(true)],
        ),
        (
            format!("SELECT classify(image, 'red') AS yes FROM {one} u ORDER BY classify(image, 'red') DESC"),
            yes_no.clone(),
        ),
        (
            format!("SELECT classify(image, 'red') AS yes, count(*) FROM {one} u GROUP BY classify(image, 'red') ORDER BY yes DESC"),
            yes_no.clone(),
        ),
        (
            format!("SELECT count(*) FILTER (WHERE classify(image, 'red')) = 1 FROM {one} u"),
            vec![Some(true)],
        ),
        // Through the nodes between them.
        (
            format!("WITH c AS (SELECT id, concat(image, '') AS i FROM {one} u WHERE id > 0 ORDER BY id LIMIT 9) SELECT classify(s.i, 'red') FROM c AS s ORDER BY s.id"),
            yes_no.clone(),
        ),
        (
            format!("SELECT classify(u.image, 'red') FROM {one} u LEFT JOIN red r ON r.id = u.id ORDER BY u.id"),
            yes_no.clone(),
        ),
        (
            format!("SELECT classify(u.image, 'red') FROM red r RIGHT JOIN {one} u ON r.id = u.id ORDER BY u.id"),
            yes_no.clone(),
        ),
        (
            format!("SELECT classify(u.image, 'red') FROM red r LEFT JOIN {one} u ON r.id + 1 = u.id"),
            vec![Some(false)],
        ),
        (
            format!("SELECT classify(u.image, 'red') FROM red r LEFT JOIN {one} u ON r.id + 7 = u.id"),
            vec![None],
        ),
        (
            format!("SELECT a.id = 1 FROM {one} a JOIN {one} b ON a.id = b.id WHERE classify(a.image, 'red') AND classify(b.image, 'red')"),
            vec![Some(true)],
        ),
        (
            format!("SELECT classify(image, 'red') FROM (SELECT id, image, row_number() OVER (ORDER BY id) AS n FROM {one} u) ORDER BY n"),
            yes_no.clone(),
        ),
        (
            format!("SELECT classify(i, 'red') FROM (SELECT id, unnest([image]) AS i FROM {one} u) ORDER BY id"),
            yes_no.clone(),
        ),
        (
            format!("SELECT id = 1 FROM red WHERE id IN (SELECT u.id FROM {one} u WHERE classify(u.image, 'red'))"),
            vec![Some(true)],
        ),
        (
            format!("SELECT classify(image, 'red') FROM (SELECT id, image FROM {one} u EXCEPT ALL SELECT id + 9, image FROM red) ORDER BY id"),
            yes_no.clone(),
        ),
        // More branches, and a branch of branches.
        (
            format!("SELECT classify(image, 'blue') FROM (SELECT * FROM {one} u UNION ALL SELECT id + 2, image FROM blue) ORDER BY id"),
            vec![Some(false), Some(false), Some(true)],
        ),
        (
            format!("SELECT classify(image, 'green') FROM (SELECT id, image FROM blue UNION ALL SELECT * FROM {one} u) WHERE classify(image, 'green') ORDER BY id"),
            vec![Some(true)],
        ),
        (
            "SELECT classify(image, 'red') FROM (SELECT id AS n, image FROM red UNION ALL BY NAME SELECT image, id + 1 AS n FROM green) ORDER BY n".to_string(),
            yes_no.clone(),
        ),
        (
            format!("SELECT classify(image, 'red') FROM (SELECT id, image FROM red UNION ALL VALUES (2, '{absolute}'), (3, NULL)) ORDER BY id"),
            vec![Some(true), Some(false), None],
        ),
        // A branch without images has no folder to differ.
        (
            "SELECT classify(image, 'red') FROM (SELECT image, id FROM red UNION ALL BY NAME SELECT id + 1 AS id FROM green) ORDER BY id".to_string(),
            vec![Some(true), None],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(folders.answers(&query).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_image_of_a_union_is_asked_once() {
    let folders = Folders::new().await;
    let query = "SELECT classify(image, 'red'), classify(image, 'green') FROM (SELECT image FROM red UNION ALL SELECT image FROM green)
                 WHERE classify(image, 'red') OR classify_score(image, 'green') > 0.5";
    let plan = folders.run(&format!("EXPLAIN {query}")).await;
    let plan = arrow::util::pretty::pretty_format_batches(&plan).unwrap();
    assert!(!plan.to_string().contains("file:"), "{plan}");
    folders.run(query).await;
    assert_eq!(folders.fake.encoded(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_the_branches_is_not_seen() {
    let folders = Folders::new().await;
    let union = "(SELECT id, image FROM red UNION ALL SELECT id, image FROM green)";
    for query in [
        format!("SELECT * FROM {union} u WHERE classify(image, 'red')"),
        format!("SELECT * FROM {union} u ORDER BY classify(image, 'red')"),
        format!("SELECT * FROM (SELECT * FROM {union} u WHERE classify(image, 'red')) s"),
        format!("SELECT DISTINCT * FROM {union} u WHERE classify(image, 'red')"),
        format!("SELECT u.* FROM {union} u JOIN red ON red.id = u.id AND classify(u.image, 'red')"),
    ] {
        let frame = folders.fake.context.sql(&query).await.unwrap();
        let batches = frame.collect().await.unwrap();
        let schema = batches[0].schema();
        let names: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["id", "image"], "{query}");
        assert!(schema.metadata().is_empty(), "{query}");
        assert!(
            schema
                .fields()
                .iter()
                .all(|field| field.metadata().is_empty())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_names_the_folder_that_is_not_known() {
    let folders = Folders::new().await;
    let green = folders.folder("green");
    let memory = StringArray::from(vec!["i.png"]);
    let batch = RecordBatch::try_from_iter([("image", Arc::new(memory) as ArrayRef)]).unwrap();
    folders
        .fake
        .context
        .register_batch("memory", batch)
        .unwrap();
    let query = "SELECT classify(image, 'green') FROM memory";

    folders.run(&format!("SET picsift.base = '{green}'")).await;
    assert_eq!(folders.answers(query).await, [Some(true)]);
    // Known folders stay.
    let known = "SELECT classify(image, 'red') FROM red";
    assert_eq!(folders.answers(known).await, [Some(true)]);
    let union = "SELECT classify(image, 'red') FROM (SELECT image FROM red UNION ALL SELECT image FROM memory)";
    assert_eq!(folders.answers(union).await, [Some(true), Some(false)]);
    folders.run("SET picsift.base = 'none'").await;
    assert!(folders.refusal(query).await.contains(UNKNOWN));
    let error = folders.refusal(union).await;
    assert!(error.contains("'i.png' in image"), "{error}");

    for query in [
        format!("SELECT classify(load_image(image, '{green}'), 'green') FROM memory"),
        format!("SELECT classify(load_image(image, '{green}/'), 'green') FROM red"),
        format!("SELECT classify(load_image('i.png', concat('{green}', '')), 'green')"),
        format!(
            "SELECT classify(i, 'green') FROM (SELECT load_image(image, '{green}') AS i FROM memory)"
        ),
        // The innermost reads the file.
        format!(
            "SELECT classify(load_image(load_image(image, '{green}'), '/'), 'green') FROM memory"
        ),
        format!(
            "SELECT classify(load_image(image, '{green}'), 'green') FROM (SELECT image FROM red UNION ALL SELECT image FROM memory) LIMIT 1"
        ),
    ] {
        assert_eq!(folders.answers(&query).await, [Some(true)], "{query}");
    }
    let query = "SELECT classify(load_image(image, NULL), 'green') FROM memory";
    assert_eq!(folders.answers(query).await, [None]);
    // One reference under two folders is two images.
    let red = folders.folder("red");
    let query = format!(
        "SELECT classify(load_image(image, '{red}'), 'red') AND classify(load_image(image, '{green}'), 'green') FROM memory"
    );
    assert_eq!(folders.answers(&query).await, [Some(true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_checked_while_the_query_is_planned() {
    let folders = Folders::new().await;
    let cases = [
        (
            "load_image(image, image)",
            "argument 2 is the column red.image; it must be a constant",
        ),
        (
            "load_image(image, concat('x', image))",
            "it must be a constant",
        ),
        (
            "load_image(image, 7)",
            "argument 2 is Int64; expected a folder as text",
        ),
        (
            "load_image(image, 'no/such/folder')",
            "the folder 'no/such/folder' does not exist",
        ),
        ("load_image(image, 'ftp://h/x')", "unsupported scheme 'ftp'"),
        ("load_image(image, '')", "it is empty"),
        (
            "load_image(image, 'a', 'b')",
            "load_image takes 1 or 2 arguments",
        ),
        ("image_info(image, 'a')", "image_info takes 1 argument"),
    ];
    for (call, expected) in cases {
        let error = folders.refusal(&format!("SELECT {call} FROM red")).await;
        assert!(error.contains(expected), "{call}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_memory_keeps_the_folder_of_its_rows() {
    let folders = Folders::new().await;
    let answer = "SELECT classify(image, 'red') FROM m";
    folders
        .run("CREATE TABLE m AS SELECT id, concat('', image) AS image FROM red")
        .await;
    assert_eq!(booleans(&folders.run(answer).await), [Some(true)]);
    let schema = folders.run("SELECT * FROM m").await[0].schema();
    assert!(schema.metadata().is_empty());

    // Rows of the same folder, of no reference, of another folder.
    folders.run("INSERT INTO m SELECT id, image FROM red").await;
    folders.run("INSERT INTO m VALUES (3, NULL)").await;
    assert_eq!(
        booleans(&folders.run(answer).await),
        [Some(true), Some(true), None]
    );
    folders
        .run("INSERT INTO m SELECT id, image FROM green")
        .await;
    assert!(folders.refusal(answer).await.contains(UNKNOWN));
    folders
        .run("CREATE OR REPLACE TABLE m AS SELECT image FROM red")
        .await;
    assert_eq!(booleans(&folders.run(answer).await), [Some(true)]);
    folders.run("INSERT INTO m VALUES ('i.png')").await;
    assert!(folders.refusal(answer).await.contains(UNKNOWN));
    folders
        .run("CREATE OR REPLACE TABLE m AS SELECT image FROM red")
        .await;
    folders.run("UPDATE m SET image = 'i.png'").await;
    assert!(folders.refusal(answer).await.contains(UNKNOWN));

    // A table that is there is left as it is.
    folders
        .run("CREATE TABLE IF NOT EXISTS m AS SELECT image FROM green")
        .await;
    assert!(folders.refusal(answer).await.contains(UNKNOWN));
    // Filled later.
    folders
        .run("CREATE TABLE later (id BIGINT, image VARCHAR)")
        .await;
    folders
        .run("INSERT INTO later (image) SELECT image FROM red")
        .await;
    let query = "SELECT classify(image, 'red') FROM later";
    assert_eq!(booleans(&folders.run(query).await), [Some(true)]);
    let query = "SELECT classify(image, 'red') FROM (SELECT image FROM later UNION ALL SELECT image FROM green)";
    assert_eq!(
        booleans(&folders.run(query).await),
        [Some(true), Some(false)]
    );
    folders.run("DELETE FROM later WHERE image = 'none'").await;
    // Of several folders at once.
    folders
        .run("CREATE TABLE both AS SELECT image FROM red UNION ALL SELECT image FROM green")
        .await;
    let error = folders
        .refusal("SELECT classify(image, 'red') FROM both")
        .await;
    assert!(error.contains(UNKNOWN), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_references_are_relative_to_the_current_folder() {
    let folders = Folders::new().await;
    // Nothing of that name is there, which is a failure of the image and not of the query.
    for query in [
        "SELECT classify('none/i.png', 'red')",
        "SELECT classify(column1, 'red') FROM (VALUES ('none/i.png'))",
        "SELECT classify(concat('none/', value, '.png'), 'red') FROM generate_series(1, 1)",
    ] {
        assert_eq!(booleans(&folders.run(query).await), [None], "{query}");
    }
    folders
        .run("CREATE TABLE typed AS VALUES ('none/i.png')")
        .await;
    let query = "SELECT try_classify(column1, 'red')['error'] FROM typed";
    let said = folders.run(query).await;
    let said = arrow::util::pretty::pretty_format_batches(&said)
        .unwrap()
        .to_string();
    let here = std::env::current_dir().unwrap().join("none/i.png");
    assert!(said.contains(&here.display().to_string()), "{said}");
}
