//! `picsift sql`: statements in, results out.

use std::io::Write;
use std::process::{Command, Stdio};

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::*;

const FISH: &str = "SELECT file, classify(image, 'fish') AS is_fish FROM 'datasets/photos/references/' WHERE file LIKE 'fish2%' ORDER BY file LIMIT 3";

#[test]
fn each_format_has_the_same_rows() {
    let run = |format: &str| picsift(["sql", "-c", FISH, "--format", format]);
    let table = stdout(&run("table"));
    assert!(
        table.contains("| file ") && table.contains("| is_fish |") && table.contains("| true "),
        "{table}"
    );
    let csv = stdout(&run("csv"));
    let rows: Vec<_> = csv.lines().collect();
    assert_eq!((rows[0], rows.len()), ("file,is_fish", 4));
    let json = stdout(&run("json"));
    let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert!(rows[1].starts_with(first["file"].as_str().unwrap()));
    let parquet = run("parquet");
    assert!(parquet.status.success(), "{}", stderr(&parquet));
    let bytes = bytes::Bytes::from(parquet.stdout);
    let read = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        read.map(|batch| batch.unwrap().num_rows()).sum::<usize>(),
        3
    );
}

#[test]
fn images_are_shown_by_their_size() {
    let table = stdout(&picsift([
        "sql",
        "-c",
        "SELECT image FROM 'datasets/photos/embedded/photos.parquet' LIMIT 1",
    ]));
    assert!(table.contains("KiB>") && table.len() < 1000, "{table}");
}

#[test]
fn copy_writes_a_partitioned_folder() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let copy = format!(
        "COPY (SELECT file, classify_label(image, ['fish', 'bird']) AS label FROM 'datasets/photos/embedded/' WHERE truth[1] = 'animal') \
         TO '{}/' STORED AS PARQUET PARTITIONED BY (label)",
        out.display()
    );
    let printed = stdout(&picsift(["sql", "-c", &copy, "--format", "csv"]));
    assert!(printed.starts_with("count\n"), "{printed}");
    assert!(out.join("label=fish").is_dir() && out.join("label=bird").is_dir());
}

#[test]
fn statements_come_from_a_file_and_from_standard_input() {
    let folder = tempdir().unwrap();
    let script = "#!/usr/bin/env -S picsift sql -f\n-- a view over a path\nCREATE VIEW p AS SELECT * FROM 'datasets/photos/references/';\nSELECT count(*) AS n FROM p;\n";
    let path = folder.path().join("q.sql");
    std::fs::write(&path, script).unwrap();
    let from_file = stdout(&picsift([
        "sql",
        "-f",
        path.to_str().unwrap(),
        "--format",
        "csv",
    ]));
    assert_eq!(from_file, "n\n221\n");

    let mut child = Command::new(env!("CARGO_BIN_EXE_picsift"))
        .args(["sql", "--format", "csv"])
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert_eq!(stdout(&child.wait_with_output().unwrap()), from_file);
}

#[test]
fn settings_change_what_follows() {
    let script = "SET picsift.threshold = 0.999999; \
        SELECT count(*) AS n FROM 'datasets/photos/references/' WHERE collection = 'animals' AND classify(image, 'animal'); \
        SET picsift.threshold = 0; \
        SELECT count(*) AS n FROM 'datasets/photos/references/' WHERE collection = 'animals' AND classify(image, 'animal');";
    let printed = stdout(&picsift(["sql", "-c", script, "--format", "csv"]));
    let counts: Vec<_> = printed.lines().filter(|line| *line != "n").collect();
    assert_eq!(counts[1], "57");
    assert!(counts[0].parse::<i64>().unwrap() < 57, "{printed}");
}

#[test]
fn a_failed_image_is_null_or_stops_the_query() {
    let query = "SELECT classify(ref, 'dog') AS d, try_classify(ref, 'dog')['error'] AS e FROM (VALUES ('nowhere.jpg')) AS t(ref)";
    let printed = stdout(&picsift(["sql", "-c", query, "--format", "json"]));
    let row: Value = serde_json::from_str(printed.trim()).unwrap();
    assert_eq!(row["d"], Value::Null);
    assert!(row["e"].as_str().unwrap().starts_with("fetch: "), "{row}");

    let stopped = picsift([
        "sql",
        "-c",
        &format!("SET picsift.on_error = 'fail'; {query}"),
    ]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(stderr(&stopped).contains("fetch: "), "{}", stderr(&stopped));
    let never = "SET picsift.on_error = 'fail'; SELECT try_classify('nowhere.jpg', 'dog')['value'] IS NULL AS n";
    assert_eq!(
        stdout(&picsift(["sql", "-c", never, "--format", "csv"])),
        "n\ntrue\n"
    );
}

#[test]
fn functions_are_documented_in_sql() {
    let printed = stdout(&picsift([
        "sql",
        "-c",
        "SHOW FUNCTIONS LIKE 'classify%'",
        "--format",
        "json",
    ]));
    for name in [
        "classify",
        "classify_json",
        "classify_label",
        "classify_labels",
        "classify_score",
    ] {
        assert!(
            printed.contains(&format!("\"function_name\":\"{name}\"")),
            "{name} in {printed}"
        );
    }
    let first: Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    assert!(
        first["description"].as_str().unwrap().contains("image"),
        "{first}"
    );
}

#[test]
fn a_slip_at_the_end_of_a_script_shows_before_anything_runs() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("x.csv");
    let script = format!("COPY (SELECT 1) TO '{}'; SELEC 2;", out.display());
    let said = refused(&picsift(["sql", "-c", &script]));
    assert!(said.contains("SELEC"), "{said}");
    assert!(!out.exists());
}
