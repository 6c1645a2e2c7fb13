//! Folders that a person names: `picsift.base` and the second argument of `load_image`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::{Folders, UNKNOWN};

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
