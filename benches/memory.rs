//! Peak memory of `picsift label` at 1,000 and 50,000 rows of embedded photographs, and the time of a cold start.
//!
//! `cargo bench --bench memory` prints the figures; the peak is the kernel's own high-water mark (Linux only).

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let cold = folder.path().join("cold.parquet");
    support::table(&cold, 100);
    let started = Instant::now();
    run(&cold, &folder.path().join("cold"), &["--limit", "1"]);
    println!(
        "start to published output for one row: {:.0} ms",
        started.elapsed().as_secs_f64() * 1000.0
    );
    for rows in [1_000, 50_000] {
        let input = folder.path().join(format!("{rows}.parquet"));
        support::table(&input, rows);
        let bytes = std::fs::metadata(&input).unwrap().len();
        let started = Instant::now();
        let peak = run(&input, &folder.path().join(rows.to_string()), &[]);
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{rows:6} rows, {:4} MB of Parquet: peak {:4} MB, {:.0} images/s",
            bytes >> 20,
            peak >> 10,
            rows as f64 / seconds
        );
    }
}

/// Labels the table and gives the process's peak resident size in KiB.
fn run(input: &Path, output: &Path, extra: &[&str]) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_picsift"))
        .args([
            "label",
            "--no-cache",
            input.to_str().unwrap(),
            "--categories",
            support::CATEGORIES,
            "--output",
        ])
        .arg(output)
        .args(extra)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    loop {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kib) = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()) {
            peak = kib;
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
