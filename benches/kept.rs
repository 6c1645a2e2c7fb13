//! What keeping answers and a journal costs, and what it saves: `picsift label` as a process over references to distinct
//! photographs on the local disk.
//!
//! `cargo bench --bench kept` prints two ratios: a job that keeps nothing against one that does, in turns; and a first run
//! over many rows against a second one, in which every answer is known. `PICSIFT_BENCH_ROWS` sets the rows of the second
//! (100,000, which takes a quarter of an hour and 4 GB).

#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "it makes its own tables")]
mod support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

/// Rows of the job that is run in turns.
const ROWS: usize = 4_000;

/// Turns.
const TURNS: usize = 3;

fn main() {
    let many = std::env::var("PICSIFT_BENCH_ROWS").map_or(100_000, |rows| rows.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    support::files(folder.path(), many.max(ROWS), None);
    let small = table(folder.path(), ROWS);
    let (mut plain, mut kept) = (Duration::ZERO, Duration::ZERO);
    for turn in 0..TURNS {
        let cache = folder.path().join(format!("cache-{turn}"));
        plain += run(&small, &["--no-cache", "--shard-rows", "1000000000"], None);
        kept += run(&small, &[], Some(&cache));
    }
    println!(
        "{ROWS} rows, {TURNS} turns: keeping nothing {:.1} s, answers and journal kept {:.1} s: {:+.1} %",
        plain.as_secs_f64(),
        kept.as_secs_f64(),
        100.0 * (kept.as_secs_f64() / plain.as_secs_f64() - 1.0)
    );
    let large = table(folder.path(), many);
    let cache = folder.path().join("cache");
    let first = run(&large, &[], Some(&cache)).as_secs_f64();
    let second = run(&large, &[], Some(&cache)).as_secs_f64();
    println!(
        "{many} rows: first run {first:.1} s, all answers known {second:.1} s ({:.0} rows/s): {:.1} times as fast",
        many as f64 / second,
        first / second
    );
}

fn table(folder: &Path, rows: usize) -> PathBuf {
    let path = folder.join(format!("{rows}.parquet"));
    let names = StringArray::from_iter_values((0..rows).map(|row| format!("{row}.jpg")));
    let batch = RecordBatch::try_from_iter([("image", Arc::new(names) as ArrayRef)]).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

/// Labels the table into a new folder.
fn run(table: &Path, more: &[&str], cache: Option<&Path>) -> Duration {
    let output = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_picsift"));
    command
        .args([
            "label",
            table.to_str().unwrap(),
            "--categories",
            "fish,tool",
            "--output",
        ])
        .arg(output.path().join("out"))
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Some(cache) = cache {
        command.arg("--cache-dir").arg(cache);
    }
    let started = Instant::now();
    assert!(command.status().unwrap().success());
    started.elapsed()
}
