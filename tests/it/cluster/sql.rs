//! Queries on a cluster.

use std::time::Duration;

use super::Machines;
use crate::support::*;
use crate::units::Cluster;

/// Rows as CSV, sorted where the query does not say in which order they come.
fn rows(said: &str, is_ordered: bool) -> Vec<String> {
    let mut lines: Vec<String> = said.lines().map(str::to_string).collect();
    if !is_ordered {
        lines[1..].sort();
    }
    lines
}

fn run(query: &str, more: &[&str]) -> std::process::Output {
    let args = ["sql", "--format", "csv", "--no-cache"];
    picsift([&args[..], more, &["-c", query]].concat())
}

const LABELLED: &str = "CASE WHEN classify(image, 'dog') THEN 1 ELSE 0 END";

#[test]
fn queries_give_the_rows_that_one_program_gives() {
    let machines = Machines::new();
    let executors = [machines.executor(&[]), machines.executor(&[])];
    let far = ["--cluster", machines.address.as_str()];
    let queries = [
        format!("SELECT file, classify(image, 'dog') FROM '{REFERENCES}'"),
        format!("SELECT file FROM '{REFERENCES}' WHERE classify(image, 'fish')"),
        format!(
            "SELECT collection, count(*) AS n, sum({LABELLED}) AS dogs FROM '{REFERENCES}' GROUP BY collection ORDER BY collection NULLS FIRST"
        ),
        format!(
            "SELECT file, round(classify_score(image, 'dog'), 3) AS score FROM '{REFERENCES}' ORDER BY classify_score(image, 'dog') DESC, file LIMIT 5"
        ),
        format!(
            "SELECT a.file FROM '{REFERENCES}' a JOIN '{REFERENCES}' b ON a.file = b.file AND classify(a.image, 'fish') ORDER BY a.file"
        ),
        format!(
            "SELECT file FROM '{REFERENCES}' WHERE file IN (SELECT file FROM '{REFERENCES}' WHERE classify(image, 'dog')) ORDER BY file"
        ),
        format!(
            "SELECT file, row_number() OVER (ORDER BY file) AS n FROM '{REFERENCES}' WHERE classify(image, 'dog') ORDER BY file"
        ),
        format!(
            "SELECT classify_label(image, ['dog', 'fish']) AS label, count(*) FROM '{REFERENCES}' GROUP BY label ORDER BY label NULLS FIRST"
        ),
        format!(
            "SELECT file, image_info(image)['width'] FROM '{REFERENCES}' UNION ALL SELECT file, 0 FROM '{REFERENCES}'"
        ),
        format!("SELECT count(*) FROM '{EMBEDDED}/*.parquet' WHERE classify(image, 'dog')"),
        format!("SELECT max(x) FROM (SELECT (SELECT count(*) FROM '{REFERENCES}') AS x)"),
        "SELECT 1 + 1".to_string(),
        "SHOW picsift.model".to_string(),
    ];
    for query in queries {
        let is_ordered = query.contains("ORDER BY") && !query.contains("OVER");
        let here = run(&query, &[]);
        let there = run(&query, &far);
        assert_eq!(
            rows(&stdout(&there), is_ordered),
            rows(&stdout(&here), is_ordered),
            "{query}"
        );
    }
    for executor in executors {
        let said = executor.said();
        assert!(said.matches("model loaded").count() <= 1, "{said}");
    }
    let said = machines.scheduler.said();
    assert!(!said.contains("model loaded"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_image_is_its_row_s_error_and_settings_arrive() {
    let cluster = Cluster::new(40, Duration::ZERO).await;
    let machines = Machines::new();
    let _executor = machines.executor(&[]);
    let server = cluster.server.to_string();
    let far = [
        "--cluster",
        machines.address.as_str(),
        "--allow-host",
        &server,
    ];
    let table = cluster.path("input").join("*.parquet");
    let table = table.to_str().unwrap();
    let query = format!("SELECT id FROM '{table}' WHERE classify(url, 'fish') IS NULL ORDER BY id");
    let there = run(&query, &far);
    let ids: Vec<String> = stdout(&there).lines().skip(1).map(str::to_string).collect();
    assert_eq!(ids, ["9", "19", "29", "39"], "{}", stderr(&there));
    let strict = format!("SET picsift.on_error = 'fail'; {query}");
    let failed = run(&strict, &far);
    let said = stderr(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("9.jpg"), "it says which: {said}");
    assert_eq!(said.trim().lines().count(), 1, "in one sentence: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_asks_no_more_than_here() {
    let cluster = Cluster::new(600, Duration::ZERO).await;
    let machines = Machines::new();
    let _executor = machines.executor(&[]);
    let server = cluster.server.to_string();
    let far = [
        "--cluster",
        machines.address.as_str(),
        "--allow-host",
        &server,
    ];
    let table = cluster.path("input");
    let query = format!(
        "SELECT id, classify(url, 'fish') FROM '{}' LIMIT 5",
        table.display()
    );
    cluster.asked();
    let there = run(&query, &far);
    assert_eq!(stdout(&there).lines().count(), 6, "{}", stderr(&there));
    let asked = cluster.asked();
    assert!(asked < 100, "{asked} images for five rows");
}

#[test]
fn what_would_be_wrong_there_is_refused_by_name() {
    let machines = Machines::new();
    let far = ["--cluster", machines.address.as_str()];
    let folder = tempfile::tempdir().unwrap();
    let refuse = |query: &str, more: &[&str]| {
        let said = refused(&run(query, &[&far[..], more].concat()));
        assert!(!said.contains("no executor"), "{said}");
        said
    };
    let classified = format!("SELECT classify(image, 'dog') FROM '{REFERENCES}'");
    let said = refuse(&format!("SET picsift.max_images = 3; {classified}"), &[]);
    assert!(said.contains("picsift.max_images"), "{said}");
    let said = refuse(&format!("SET picsift.max_seconds = 3; {classified}"), &[]);
    assert!(said.contains("picsift.max_seconds"), "{said}");
    let to = folder.path().join("x.parquet");
    let said = refuse(&format!("COPY ({classified}) TO '{}'", to.display()), &[]);
    assert!(said.contains("COPY"), "{said}");
    let said = refuse(&format!("EXPLAIN ANALYZE {classified}"), &[]);
    assert!(said.contains("EXPLAIN ANALYZE"), "{said}");
    let corrections = folder.path().join("corrections.csv");
    std::fs::write(&corrections, "key,category,is\nimages/x.jpg,dog,true\n").unwrap();
    let said = refuse(
        &classified,
        &["--corrections", corrections.to_str().unwrap()],
    );
    assert!(said.contains("corrections"), "{said}");
    let pictures = format!("SELECT classify(image, 'dog') FROM '{REFERENCES}/images'");
    let said = refuse(&pictures, &[]);
    assert!(said.contains("folder of pictures"), "{said}");
}
