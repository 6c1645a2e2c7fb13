//! What a person learns of a run's cost before it, and what a bound on it leaves.

use std::fs;

use tempfile::tempdir;

use crate::support::*;

#[test]
fn an_estimate_says_how_many_images_a_query_asks() {
    let query = format!(
        "SELECT file FROM '{}/' WHERE width > 0 AND classify(image, 'fish')",
        root().join(REFERENCES).display()
    );
    let said = stdout(&picsift(["sql", "--estimate", "-c", &query]));
    for part in [
        "classify('fish')",
        "rows ",
        "images  about ",
        "images/s",
        "sample  32 rows, 32 images",
    ] {
        assert!(said.contains(part), "no '{part}' in {said}");
    }
    assert!(
        !said.contains(".jpg"),
        "the query itself does not run: {said}"
    );
    let said = stdout(&picsift(["sql", "--estimate", "-c", "SELECT 1"]));
    assert_eq!(said.trim(), "no image is asked about");
}

#[test]
fn explain_analyze_counts_what_was_done() {
    let query = format!(
        "EXPLAIN ANALYZE SELECT file, classify(image, 'fish') FROM '{}/' LIMIT 5",
        root().join(REFERENCES).display()
    );
    let said = stdout(&picsift(["sql", "-c", &query, "--format", "csv"]));
    for part in [
        "output_rows=5",
        "images=5",
        "fetched=5",
        "bytes=",
        "decoded=5",
        "encoded=5",
        "reused=0",
        "failures=0",
        "fetch_time=",
        "decode_time=",
        "model_time=",
    ] {
        assert!(said.contains(part), "no '{part}' in {said}");
    }
}

#[test]
fn a_bound_on_images_stops_a_query_and_says_so() {
    let query = format!(
        "SET picsift.max_images = 3; SELECT file, classify(image, 'fish') FROM '{}/'",
        root().join(REFERENCES).display()
    );
    let run = picsift(["sql", "-c", &query]);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(
        said.contains("3 images") && said.contains("max_images"),
        "{said}"
    );
}

#[test]
fn a_bounded_job_publishes_a_part_that_says_it_is_one() {
    let folder = tempdir().unwrap();
    for (flags, rows) in [
        (["--max-images", "7"], Some(7)),
        (["--max-seconds", "0"], None),
    ] {
        let target = folder.path().join(flags[0]);
        let mut args = vec!["label", EMBEDDED, "-o", target.to_str().unwrap()];
        args.extend(["--categories", "fish"].iter().chain(&flags));
        let said = stdout(&picsift(args));
        assert!(said.contains("this is a part of the table"), "{said}");
        let manifest = fs::read_to_string(target.join("_picsift.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert!(
            manifest["partial"]
                .as_str()
                .unwrap()
                .contains(&flags[0][2..].replace('-', "_"))
        );
        if let Some(rows) = rows {
            assert_eq!(read_table(&target).num_rows(), rows);
            assert_eq!(manifest["counts"]["rows"], rows);
        }
    }
    let target = folder.path().join("whole");
    let args = [
        "label",
        EMBEDDED,
        "-o",
        target.to_str().unwrap(),
        "--categories",
        "fish",
    ];
    stdout(&picsift(args.into_iter().chain(["--max-images", "100000"])));
    let manifest = fs::read_to_string(target.join("_picsift.json")).unwrap();
    assert!(!manifest.contains("partial"), "{manifest}");
}
