//! `picsift gallery` of 10,000 photographs as a process: thumbnails a second, and what Chromium takes to the first page.
//!
//! `cargo bench --bench gallery` prints the figures; `PICSIFT_BENCH_ROWS` takes another number of rows. The pictures are distinct
//! JPEGs of 512 pixels that the table holds; labelling them first is not timed. The page is opened by `benches/browser/first_page.py`
//! with `PICSIFT_PYTHON` (else `python3`), which needs `tests/readers/requirements.txt` and chromium.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

fn main() {
    let rows = std::env::var("PICSIFT_BENCH_ROWS");
    let rows = rows.map_or(10_000, |rows| rows.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (input, labelled, gallery) = (path("input.parquet"), path("labelled"), path("gallery"));
    support::table(Path::new(&input), rows);
    run(&[
        "label",
        &input,
        "-o",
        &labelled,
        "--no-cache",
        "--categories",
        support::CATEGORIES,
    ]);
    let started = Instant::now();
    run(&["gallery", &labelled, "-o", &gallery]);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{rows} rows: {seconds:.1} s, {:.0} thumbnails/s",
        rows as f64 / seconds
    );
    let python = std::env::var("PICSIFT_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let opened = Command::new(python)
        .args([
            concat!(env!("CARGO_MANIFEST_DIR"), "/benches/browser/first_page.py"),
            &gallery,
        ])
        .output();
    match opened {
        Ok(opened) if opened.status.success() => {
            print!("first page: {}", String::from_utf8_lossy(&opened.stdout));
        }
        Ok(opened) => println!(
            "first page not opened: {}",
            String::from_utf8_lossy(&opened.stderr)
        ),
        Err(error) => println!("first page not opened: {error}"),
    }
}

fn run(args: &[&str]) {
    let done = Command::new(env!("CARGO_BIN_EXE_picsift"))
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(done.unwrap().success(), "{args:?}");
}
