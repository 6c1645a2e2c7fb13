//! `picsift gallery` of 10,000 photographs as a process: thumbnails a second, and the weight of what a browser reads first.
//!
//! `cargo bench --bench gallery` prints the figures; `PICSIFT_BENCH_ROWS` takes another number of rows. The pictures are distinct
//! JPEGs of 512 pixels that the table holds; labelling them first is not timed.

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
    let size = |name: &str| Path::new(&gallery).join(name).metadata().unwrap().len();
    let entries = Path::new(&gallery).read_dir().unwrap();
    let pages: u64 = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    let data = size("data/meta.js") + size("data/category-0.js") + size("data/rows-0.js");
    let thumbs: u64 = (0..40)
        .map(|row| size(&format!("thumbs/000/{row:06}.jpg")))
        .sum();
    println!("pages {pages} bytes, first data {data}, 40 thumbnails {thumbs}");
}

fn run(args: &[&str]) {
    let done = Command::new(env!("CARGO_BIN_EXE_picsift"))
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(done.unwrap().success(), "{args:?}");
}
