//! `picsift eval` over ten million rows and ten categories as a process: time, peak memory, and the same figures, without
//! intervals, by scikit-learn.
//!
//! `cargo bench --bench eval` prints them; `PICSIFT_BENCH_ROWS` takes another number of rows, `PICSIFT_PYTHON` names a Python that has
//! `tests/readers/requirements.txt`. The peaks are the kernel's own high-water marks (Linux only).

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const CATEGORIES: usize = 10;
const BATCH: usize = 1 << 20;

fn main() {
    let rows = std::env::var("PICSIFT_BENCH_ROWS");
    let rows = rows.map_or(10_000_000, |rows| rows.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    write(&path, rows);
    let path = path.to_str().unwrap();
    let (ours, peak) = timed(Command::new(env!("CARGO_BIN_EXE_picsift")).args([
        "eval", path, "--truth", "truth_{}", "--key", "file", "--format", "json",
    ]));
    println!("picsift eval, {rows} rows, {CATEGORIES} categories: {ours:.1} s, peak {peak} MB");
    let python = std::env::var("PICSIFT_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let probe = Command::new(&python)
        .args(["-c", "import sklearn, pyarrow"])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("{python} has no scikit-learn: nothing to compare with");
        return;
    }
    let (theirs, peak) = timed(
        Command::new(python)
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/benches/peer/eval_sklearn.py"
            ))
            .args([path, &CATEGORIES.to_string()]),
    );
    println!("scikit-learn, figures without intervals: {theirs:.1} s, peak {peak} MB");
    println!("picsift takes 1/{:.1} of its time", theirs / ours);
}

/// Seconds and the peak resident size in MB.
fn timed(command: &mut Command) -> (f64, u64) {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return (started.elapsed().as_secs_f64(), peak >> 10);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Scores that tell true rows from false ones, more or less; one row in fifty to one in five is true.
fn write(path: &Path, rows: usize) {
    let mut random = StdRng::seed_from_u64(1);
    let mut writer: Option<ArrowWriter<File>> = None;
    for start in (0..rows).step_by(BATCH) {
        let count = BATCH.min(rows - start);
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for category in 0..CATEGORIES {
            let share = 0.02 * (category + 1) as f64;
            let truth: Vec<bool> = (0..count).map(|_| random.random_bool(share)).collect();
            let scores = truth.iter().map(|truth| {
                let middle: f32 = random.random();
                if *truth {
                    middle.sqrt()
                } else {
                    middle.powi(3)
                }
            });
            let scores: Vec<f32> = scores.collect();
            let answers: BooleanArray = scores.iter().map(|s| Some(*s >= 0.5)).collect();
            columns.push((format!("is_c{category}"), Arc::new(answers)));
            columns.push((
                format!("score_c{category}"),
                Arc::new(Float32Array::from(scores)),
            ));
            columns.push((
                format!("truth_c{category}"),
                Arc::new(BooleanArray::from(truth)),
            ));
        }
        let names = (start..start + count).map(|row| Some(format!("photos/{row}.jpg")));
        columns.push(("file".to_string(), Arc::new(names.collect::<StringArray>())));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let writer = writer.get_or_insert_with(|| {
            ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap()
        });
        writer.write(&batch).unwrap();
    }
    writer.unwrap().close().unwrap();
}
