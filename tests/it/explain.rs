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
    ];
    for (name, query) in queries {
        insta::assert_snapshot!(name, plan(query).await, query);
    }
}
