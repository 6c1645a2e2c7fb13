//! Tables in memory, whose columns remember where their rows came from, and references that a person typed.

use super::{Folders, UNKNOWN, booleans};

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
