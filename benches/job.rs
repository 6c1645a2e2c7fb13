//! The whole job, end to end: `picsift label` as a process over distinct photographs of 512 pixels, from Parquet to
//! Parquet, in images per second: with a category that one network of the default model answers, with one that the other does, and with ten.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const ROWS: usize = 600;

fn job(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("photographs.parquet");
    support::table(&input, ROWS);
    let mut group = criterion.benchmark_group("label 512-pixel JPEGs");
    group
        .throughput(Throughput::Elements(ROWS as u64))
        .sample_size(10)
        .measurement_time(Duration::from_secs(40));
    for (name, categories) in [
        ("building", "building"),
        ("person", "person"),
        ("building and person", "building,person"),
        ("10 categories", support::CATEGORIES),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let status = Command::new(env!("CARGO_BIN_EXE_picsift"))
                    .args([
                        "label",
                        input.to_str().unwrap(),
                        "--overwrite",
                        "--no-cache",
                        "--categories",
                        categories,
                        "--output",
                    ])
                    .arg(folder.path().join("out"))
                    .stdout(Stdio::null())
                    .status()
                    .unwrap();
                assert!(status.success());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, job);
criterion_main!(benches);
