//! Rows of a UNION of several folders: each is read from its own, and nothing of that is seen.

use std::sync::Arc;

use datafusion_proto::bytes::{
    logical_plan_from_bytes_with_extension_codec, logical_plan_to_bytes_with_extension_codec,
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use picsift_udf::InferCodec;

use super::{Folders, UNKNOWN, booleans};

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
async fn folders_are_written_with_a_plan() {
    let folders = Folders::new().await;
    let (here, context) = (&folders.fake, folders.fake.context.task_ctx());
    let codec = InferCodec::new(Arc::clone(&here.engine));
    let green = folders.folder("green");
    for (query, expected) in [
        (
            "SELECT classify(image, 'red') FROM (SELECT id, image FROM red UNION ALL SELECT id + 1, image FROM green) ORDER BY id"
                .to_string(),
            Some(vec![Some(true), Some(false)]),
        ),
        (
            format!("SELECT classify(load_image(image, '{green}'), 'red') FROM red"),
            Some(vec![Some(false)]),
        ),
        (
            "SELECT classify(coalesce(a.image, b.image), 'red') FROM red a JOIN green b ON a.id = b.id".to_string(),
            None,
        ),
    ] {
        let frame = here.context.sql(&query).await.unwrap();
        let logical = frame.clone().into_optimized_plan().unwrap();
        let bytes = logical_plan_to_bytes_with_extension_codec(&logical, &codec).unwrap();
        let read = logical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec).unwrap();
        let logical = here.context.execute_logical_plan(read).await.unwrap();
        let logical = logical.collect().await;

        let physical = frame.create_physical_plan().await.unwrap();
        let bytes = physical_plan_to_bytes_with_extension_codec(physical, &codec).unwrap();
        let read = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec).unwrap();
        let physical = datafusion::physical_plan::collect(read, Arc::clone(&context)).await;
        for result in [logical, physical] {
            match (&expected, result) {
                (Some(expected), Ok(batches)) => assert_eq!(booleans(&batches), *expected, "{query}"),
                (None, Err(error)) => assert!(error.to_string().contains(UNKNOWN), "{error}"),
                (_, result) => panic!("{query}: {result:?}"),
            }
        }
    }
}
