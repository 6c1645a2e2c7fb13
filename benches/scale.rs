//! A job of a thousand million rows, by its metadata: how long its plan takes, how long its publication, and how long its output to open.
//!
//! `cargo bench --bench scale` makes 100,000 input files of 10,000 rows each (links to one file, so that they take no room), plans the job, puts a record for
//! each of its units as if programs had labelled them, two files each, and publishes that. It fails where the plan takes a minute or 1 GB, or
//! opening the manifest 2 s. `PICSIFT_BENCH_FILES` sets another number of files. Nothing is labelled. Linux only, for the memory.

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

/// Rows of each file.
const ROWS: usize = 10_000;

/// Names that one file may have: ext4 allows 65,000.
const LINKS: usize = 60_000;

/// The try whose files are published, as if one program had done all.
const ATTEMPT: &str = "0a1b2c3d";

fn main() {
    let files = std::env::var("PICSIFT_BENCH_FILES").map_or(100_000, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    table(&folder.path().join("t.parquet"), ROWS);
    links(&folder.path().join("t.parquet"), files, |number| {
        input.join(format!("{number:06}.parquet"))
    });
    // A part that no job of this size has: it plans, and has nothing to do.
    let label = [
        "label",
        input.to_str().unwrap(),
        "-o",
        output.to_str().unwrap(),
        "--categories",
        "fish",
        "--shard",
        "4000000000/4000000000",
    ];
    let (planned, peak) = run(&label);
    let work = folder.path().join(".out.picsift");
    let plan: Value = serde_json::from_slice(&fs::read(work.join("plan.json")).unwrap()).unwrap();
    let units = plan["units"].as_array().unwrap();
    println!(
        "plan of {files} files, {} rows in {} units: {:.1} s, peak {} MB",
        files * ROWS,
        units.len(),
        planned.as_secs_f64(),
        peak >> 10
    );
    assert!(planned < Duration::from_secs(60) && peak < 1 << 20);
    let (again, peak) = run(&label);
    println!(
        "another that joins it: {:.1} s, peak {} MB",
        again.as_secs_f64(),
        peak >> 10
    );

    record(&work, &plan);
    let out = output.to_str().unwrap();
    let (status, peak) = run(&["status", out]);
    println!(
        "status of {} recorded units: {:.1} s, peak {} MB",
        units.len(),
        status.as_secs_f64(),
        peak >> 10
    );
    let (published, peak) = run(&["publish", out]);
    println!(
        "publication of {} files: {:.1} s, peak {} MB",
        units.len() * 2,
        published.as_secs_f64(),
        peak >> 10
    );
    let (opened, peak) = run(&["status", out]);
    println!(
        "opening its manifest: {:.2} s, peak {} MB",
        opened.as_secs_f64(),
        peak >> 10
    );
    assert!(opened < Duration::from_secs(2));
    let query = format!("SELECT id FROM '{out}' LIMIT 1");
    let (queried, peak) = run(&["sql", "-c", &query]);
    println!(
        "a query over it, which reads each footer: {:.1} s, peak {} MB",
        queried.as_secs_f64(),
        peak >> 10
    );
}

/// Records every unit of a plan, with two files.
fn record(work: &Path, plan: &Value) {
    let own = work.join(plan["draft"]["job"]["id"].as_str().unwrap());
    let attempt = own.join("attempts").join(ATTEMPT);
    let units = plan["units"].as_array().unwrap();
    let part = work.join("part.parquet");
    table(&part, 1);
    let name = |number: usize| {
        let second = if number % 2 == 1 { "-1" } else { "" };
        format!("part-{:05}-{ATTEMPT}{second}.parquet", number / 2)
    };
    links(&part, units.len() * 2, |number| attempt.join(name(number)));
    fs::remove_file(part).unwrap();
    fs::create_dir(own.join("units")).unwrap();
    for (number, unit) in units.iter().enumerate() {
        let rows = unit[4].as_u64().unwrap();
        let file = |path| json!({"path": path, "rows": rows / 2, "bytes": 1000, "failures": 0});
        let counts = json!({"rows": rows, "images": rows, "failures": 0, "asked": rows, "panics": 0, "distinct_images": rows,
            "near_duplicates": 0, "distinct_is_exact": true});
        let shard = json!({"through": {"file": unit[2], "row": unit[3]}, "files": [file(name(number * 2)), file(name(number * 2 + 1))],
            "failed": null, "counts": counts, "held": [rows / 10],
            "seconds": {"wall": 50.0, "fetch": 100.0, "decode": 40.0, "model": 45.0}});
        let worker = json!({"token": "ab", "host": "node", "process": 1, "machine": ""});
        let record = json!({"unit": number, "attempt": ATTEMPT, "worker": worker, "shard": shard});
        let path = own.join("units").join(format!("{number:06}.json"));
        fs::write(path, record.to_string()).unwrap();
    }
}

fn table(path: &Path, rows: usize) {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![7; rows]));
    let images = StringArray::from(vec!["http://example.com/a.jpg"; rows]);
    let batch = RecordBatch::try_from_iter([("id", ids), ("image", Arc::new(images) as _)]);
    let batch = batch.unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Gives a file many names.
fn links(file: &Path, count: usize, name: impl Fn(usize) -> PathBuf) {
    fs::create_dir_all(name(0).parent().unwrap()).unwrap();
    let mut first = file.to_path_buf();
    for number in 0..count {
        let path = name(number);
        match number % LINKS {
            0 => {
                fs::copy(file, &path).unwrap();
                first = path;
            }
            _ => fs::hard_link(&first, path).unwrap(),
        }
    }
}

/// Runs the program; its time, and its peak resident size in KiB.
fn run(arguments: &[&str]) -> (Duration, u64) {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_picsift"))
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
        let line = status.unwrap_or_default();
        let line = line.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kib) = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()) {
            peak = kib;
        }
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{arguments:?}");
            return (begun.elapsed(), peak);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
