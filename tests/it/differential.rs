//! Random SQL with image calls gives what DuckDB gives over tables in which the answers are columns.
//!
//! `tests/differential.sh` runs as many queries, from whichever seed, as one likes.

use std::process::Command;

use crate::support::*;

/// Queries, and the seed that they follow from.
const QUERIES: &str = "500";
const SEED: &str = "1";

#[test]
fn random_queries_give_what_duckdb_gives_over_known_answers() {
    let python = match python("duckdb, pyarrow, PIL") {
        Ok(python) => python,
        Err(reason) if std::env::var_os("PICSIFT_REQUIRE_READERS").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let run = Command::new(python)
        .args([
            "tests/differential/run.py",
            env!("CARGO_BIN_EXE_picsift"),
            QUERIES,
            SEED,
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&run.stdout),
        stderr(&run)
    );
    println!("{}", String::from_utf8_lossy(&run.stdout));
}
