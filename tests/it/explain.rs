//! Plans as EXPLAIN shows them: what runs where must not change unnoticed.

use std::sync::Arc;

use arrow::array::StringArray;
use picsift::session::session;
use picsift_udf::{Engine, EngineOptions};

use crate::support::{REFERENCES, column, root};

/// The physical plan of a query over the reference table, without this machine's paths.
async fn plan(query: &str) -> String {
    let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
    let context = session(&engine, 1).unwrap();
    let table = format!("'{}/'", root().join(REFERENCES).display());
    let query = query.replace("photos", &table);
    let frame = context
        .sql(&format!("EXPLAIN FORMAT INDENT {query}"))
        .await
        .unwrap();
    let batches = frame.collect().await.unwrap();
    let plans = column::<StringArray>(&batches[0], "plan");
    let physical = plans.value(plans.len() - 1).trim_end().to_string();
    let here = root().display().to_string();
    let physical = physical
        .replace(&here, "")
        .replace(here.trim_start_matches('/'), "");
    // Files and their ranges are the table's, not the plan's.
    physical
        .lines()
        .map(|line| match line.find("DataSourceExec") {
            Some(at) => format!("{}DataSourceExec", &line[..at]),
            None => line.to_string(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

use arrow::array::Array;

#[tokio::test(flavor = "multi_thread")]
async fn plans_stay_as_they_are() {
    let queries = [
        (
            "projection",
            "SELECT file, classify(image, 'dog') FROM photos",
        ),
        (
            "filter",
            "SELECT file FROM photos WHERE width > 300 AND classify(image, 'dog')",
        ),
        (
            "limit",
            "SELECT classify_label(image, ['dog', 'cat']) FROM photos LIMIT 10",
        ),
        (
            "group",
            "SELECT classify_label(image, ['dog', 'cat']) AS label, count(*) FROM photos GROUP BY label",
        ),
        (
            "loaded",
            "SELECT classify(load_image(image), 'dog') FROM photos",
        ),
        (
            "order",
            "SELECT file FROM photos ORDER BY classify_score(image, 'dog') DESC LIMIT 3",
        ),
        ("null", "SELECT classify(image, NULL) FROM photos"),
        (
            "shared",
            "SELECT file, classify(image, 'dog') AS dog FROM photos \
             WHERE classify(image, 'dog') AND width > 300 ORDER BY classify_score(image, 'cat')",
        ),
        (
            "filtered_limit",
            "SELECT file FROM photos WHERE classify(image, 'dog') LIMIT 10",
        ),
        (
            "case",
            "SELECT file, CASE WHEN width > 300 THEN classify(image, 'dog') END AS dog FROM photos",
        ),
        (
            "or",
            "SELECT file FROM photos WHERE width > 300 OR classify(image, 'dog')",
        ),
        (
            "top",
            "SELECT file, classify(image, 'dog') FROM photos ORDER BY file LIMIT 3",
        ),
        (
            "join",
            "SELECT a.file FROM photos a JOIN photos b ON a.file = b.file AND classify(a.image, 'dog')",
        ),
        (
            "two_images",
            "SELECT a.file FROM photos a JOIN photos b ON a.file = b.file \
             WHERE classify(a.image, 'dog') AND classify(b.image, 'cat')",
        ),
        (
            "view",
            "WITH v AS (SELECT *, classify(image, 'dog') AS dog FROM photos) SELECT file FROM v WHERE dog AND width > 300",
        ),
    ];
    for (name, query) in queries {
        insta::assert_snapshot!(name, plan(query).await, query);
    }
}
