//! What may be a credential is in nothing that is printed or written, wherever it was planted; and a terminal is not told what to do.

use std::fs;
use std::path::Path;
use std::process::Output;

use arrow::array::StringArray;
use arrow::util::pretty::pretty_format_batches;
use tempfile::tempdir;

use crate::authority::{Server, http, ranged};
use crate::support::*;

/// Part of every secret here.
const PLANTED: &str = "pl4nted";

/// All that a command said, which must not have a secret in it.
fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!text.contains(PLANTED), "{text}");
    text
}

/// Asserts that no file below `folder` has a secret; tables are read too, as they are compressed.
fn assert_clean(folder: &Path) {
    for entry in walkdir::WalkDir::new(folder) {
        let entry = entry.unwrap();
        if !entry.file_type().is_file() {
            continue;
        }
        let bytes = fs::read(entry.path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let place = entry.path().display();
        assert!(!text.contains(PLANTED), "{place}: {text}");
        let end = entry.path().extension().unwrap_or_default();
        if end == "parquet" || end == "pq" {
            let file = fs::File::open(entry.path()).unwrap();
            let reader =
                parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file);
            let rows: Vec<_> = reader
                .unwrap()
                .build()
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let text = pretty_format_batches(&rows).unwrap().to_string();
            assert!(!text.contains(PLANTED), "{place}: {text}");
        }
    }
}

#[test]
fn what_may_be_a_credential_is_printed_and_written_nowhere() {
    let folder = tempdir().unwrap();
    let store = Server::start(|head| {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>no \u{1b}[31m</Message>\
             <AWSAccessKeyId>AKIApl4nted</AWSAccessKeyId><CanonicalRequest>{head}</CanonicalRequest></Error>"
        );
        http("400 Bad Request", "", body.as_bytes())
    });
    let echo = Server::start(|head| http("403 No", "", head.as_bytes()));
    let address = echo.address;
    let table = folder.path().join("t.parquet");
    let references = [
        format!("http://carol:pl4nted-a@{address}/x.jpg?token=pl4nted-b"),
        format!("http://pl4nted-c@{address}/x.jpg"),
        format!("http://{address}/moved.jpg?sig=pl4nted-d"),
        "s3://b/boom.jpg".to_string(),
        "https://pl4nted-e:pl4nted-f@[::1]:1/x".to_string(),
        "http://u:pl4nted-g@h:port/x".to_string(),
        "ftp://u:pl4nted-h@h/x".to_string(),
    ];
    let places = StringArray::from_iter_values(&references);
    write_table(&table, vec![("image", array(places))]);
    let bytes = fs::read(&table).unwrap();
    let site = Server::start(move |head| match head.contains(".parquet") {
        true => ranged(head, &bytes),
        false => http("404 No", "", head.as_bytes()),
    });
    let url = format!("http://bob:pl4nted-i@{}/t.parquet", site.address);
    let cache = tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = command(args, cache.path());
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", store.address))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKIApl4nted")
            .env("AWS_SECRET_ACCESS_KEY", "pl4nted-secret-key")
            .env("AWS_SESSION_TOKEN", "pl4nted-session-token")
            .env("HF_TOKEN", "hf_pl4ntedtoken")
            .env("PICSIFT_LOG", "debug,hyper_util=info,reqwest=info");
        let output = command.output().unwrap();
        said(&output)
    };
    let out = folder.path().join("out");
    let place = out.to_str().unwrap();
    let condition = "image <> 'http://dave:pl4nted-j@h/x?sig=pl4nted-k'";
    let label = [
        "label",
        &url,
        "-o",
        place,
        "--categories",
        "fish",
        "--image-column",
        "drop",
        "--where",
        condition,
        "--allow-host",
        "127.0.0.1",
        "--allow-bucket",
        "s3://b",
        "--progress",
        "json",
        "--summary",
        "json",
        "--on-error",
        "null",
    ];
    let first = run(&label);
    let told = errors(&read_table(&out));
    let told = told
        .iter()
        .flatten()
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    assert!(told.contains("SignatureDoesNotMatch"), "{told}");
    assert!(out.join("_picsift.json").exists(), "{first}");
    assert_clean(&out);
    // Again, and with another predicate: what is compared is said.
    run(&label);
    let other: Vec<&str> = label
        .iter()
        .map(|arg| match *arg {
            arg if arg == condition => "image <> 'http://dave:pl4nted-l@h/x'",
            arg => arg,
        })
        .collect();
    let changed = run(&other);
    assert!(changed.contains("predicate"), "{changed}");
    let mut failing = label.to_vec();
    failing.extend(["--overwrite", "--retry-failed"]);
    run(&failing);
    for query in [
        format!("EXPLAIN SELECT classify(image, 'fish') FROM '{url}'"),
        format!("EXPLAIN ANALYZE SELECT count(*) FROM '{url}'"),
        format!(
            "SELECT * FROM 'http://bob:pl4nted-m@{}/none/x?sig=pl4nted-n'",
            site.address
        ),
        format!(
            "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{url}'; SELECT nothing FROM t"
        ),
        "SELECT * FROM 's3://b/t.parquet'".to_string(),
        "COPY (SELECT 1) TO 's3://b/out.parquet'".to_string(),
        "SET picsift.base = 'http://u:pl4nted-o@h/x?sig=pl4nted-p'; SHOW picsift.base".to_string(),
    ] {
        run(&["sql", "-c", &query]);
    }
    let target = folder.path().join("page");
    run(&["gallery", &url, "-o", target.to_str().unwrap()]);
    run(&[
        "image",
        &references[0],
        &references[2],
        "--categories",
        "fish",
    ]);
    run(&[
        "label",
        "s3://b/t.parquet",
        "-o",
        "s3://b/out",
        "--categories",
        "fish",
    ]);
    let corrections = format!("http://u:pl4nted-q@{}/c.csv?sig=pl4nted-r", site.address);
    run(&["sql", "--corrections", &corrections, "-c", "SELECT 1"]);
    assert_clean(&folder.path().join("out"));
}

#[test]
fn a_terminal_is_told_nothing_by_a_table() {
    let folder = tempdir().unwrap();
    let table = folder.path().join("t.parquet");
    let evil = "\u{1b}]0;pwn\u{7}\u{1b}[2J\u{202e}\u{9b}x";
    write_table(
        &table,
        vec![
            (evil, array(StringArray::from(vec![evil]))),
            ("image", array(StringArray::from(vec![evil]))),
            ("truth", array(StringArray::from(vec![evil]))),
        ],
    );
    let table = table.to_str().unwrap();
    let obeyed = |text: &str| text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']);
    let whole = |output: &Output| {
        let text = [&output.stdout[..], &output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    let list = format!("SELECT *, [image] AS list, {{'a': image}} AS struct FROM '{table}'");
    for args in [
        vec!["sql", "-c", &list],
        vec!["label", table, "-o", out, "--categories", evil],
        vec![
            "label",
            table,
            "-o",
            out,
            "--categories",
            "fish",
            "--overwrite",
        ],
        vec![
            "label",
            table,
            "-o",
            out,
            "--categories",
            evil,
            "--summary",
            "json",
            "--overwrite",
        ],
        vec!["eval", out, "--truth", "truth"],
        vec!["eval", out, "--truth", "truth", "--format", "json"],
        vec!["image", evil, "--categories", evil],
        vec!["sql", "-c", "SELECT \"\u{1b}[31m\" FROM 'x.parquet'"],
    ] {
        let text = whole(&picsift(&args));
        assert!(!obeyed(&text), "{args:?}: {text:?}");
    }
    let corrections = folder.path().join("corr.jsonl");
    let line = serde_json::json!({"key": "x", "category": evil, "is": true});
    fs::write(&corrections, format!("{line}\n")).unwrap();
    let corrections = corrections.to_str().unwrap();
    let again = folder.path().join("again");
    let text = whole(&picsift([
        "label",
        table,
        "-o",
        again.to_str().unwrap(),
        "--categories",
        "fish",
        "--corrections",
        corrections,
    ]));
    assert!(!obeyed(&text) && text.contains("pwn"), "{text:?}");
}

#[test]
fn a_spreadsheet_computes_nothing_of_a_table_where_that_is_asked_for() {
    let query = "SELECT '=HYPERLINK(\"http://h\")' AS a, -1 AS b, ['@x'] AS c, '+1' AS \"=d\"";
    let safe = stdout(&picsift([
        "sql",
        "--format",
        "csv",
        "--csv-safe",
        "-c",
        query,
    ]));
    assert_eq!(
        safe,
        "a,b,c,'=d\n\"'=HYPERLINK(\"\"http://h\"\")\",-1,[@x],'+1\n"
    );
    let plain = stdout(&picsift(["sql", "--format", "csv", "-c", query]));
    assert!(plain.starts_with("a,b,c,=d\n\"=HYPERLINK"), "{plain}");
}
