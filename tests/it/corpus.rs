//! The 2,000 bad images of `images/tests/corpus` through a whole job, as references and as bytes in the table.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use arrow::array::{Array, BinaryArray, BooleanArray, StringArray, StructArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

use crate::corpus_files::{Case, Expected, FILES, cases, write};
use crate::support::*;

/// Reading, decoding and answering all of them takes seconds; a file that hangs would take its time-out of 30.
const LONGEST: Duration = Duration::from_secs(240);

/// Bytes that a whole job may have in memory at once: two images of 100 million pixels are decoded together at most.
const MOST_MIB: u64 = 2_048;

struct Corpus {
    folder: TempDir,
    cases: Vec<Case>,
}

impl Corpus {
    /// The files, a table that refers to them, and one that holds them.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cases = cases(1, &root().join(REFERENCES).join("images")).unwrap();
        write(&folder.path().join("files"), &cases).unwrap();
        let names = || StringArray::from_iter_values(cases.iter().map(|case| case.file.as_str()));
        let paths = cases.iter().map(|case| format!("files/{}", case.file));
        let paths = StringArray::from_iter_values(paths);
        let bytes = BinaryArray::from_iter_values(cases.iter().map(|case| case.bytes.as_slice()));
        let table = |name: &str, image| {
            let columns = vec![("name", array(names())), ("image", image)];
            write_table(&folder.path().join(name), columns);
        };
        table("references.parquet", array(paths));
        table("bytes.parquet", array(bytes));
        Self { folder, cases }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Labels a table and gives the job's peak memory in MiB.
    fn label(&self, table: &str, output: &Path) -> u64 {
        let mut child = command(
            [
                "label",
                self.path(table).to_str().unwrap(),
                "--output",
                output.to_str().unwrap(),
                "--categories",
                "fish,tool",
                "--image-column",
                "drop",
            ],
            &self.path("cache"),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let begun = Instant::now();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let now = std::fs::read_to_string(&status).unwrap_or_default();
            let line = now.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or_default() >> 10);
            assert!(begun.elapsed() < LONGEST, "the job hangs");
            std::thread::sleep(Duration::from_millis(20));
        }
        let ended = child.wait_with_output().unwrap();
        stdout(&ended);
        assert!(!stderr(&ended).contains("panicked"), "{}", stderr(&ended));
        peak
    }
}

/// Rows of the list of failures.
fn failures(output: &Path) -> usize {
    let file = std::fs::File::open(output.join("_picsift_errors.pq")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches = reader.build().unwrap();
    batches.map(|batch| batch.unwrap().num_rows()).sum()
}

#[test]
fn every_bad_image_is_a_row_with_a_reason_and_none_stops_the_job() {
    let corpus = Corpus::new();
    for table in ["references.parquet", "bytes.parquet"] {
        let output = corpus.path(&table.replace(".parquet", "-out"));
        let peak = corpus.label(table, &output);
        println!("{table}: peak memory {peak} MiB");
        assert!(peak < MOST_MIB, "{peak} MiB");

        let rows = read_table(&output);
        assert_eq!(rows.num_rows(), FILES);
        let names = column::<StringArray>(&rows, "name");
        let errors = column::<StructArray>(&rows, "picsift_error");
        let kinds = errors.column_by_name("kind").unwrap();
        let kinds = kinds.as_any().downcast_ref::<StringArray>().unwrap();
        let fish = column::<BooleanArray>(&rows, "is_fish");
        for (row, case) in corpus.cases.iter().enumerate() {
            let failed = errors.is_valid(row);
            let said = format!("{} ({}): {}", case.file, case.what, kinds.value(row));
            assert_eq!(names.value(row), case.file);
            assert_eq!(failed, fish.is_null(row), "{said}");
            match case.expected {
                Expected::Fails => assert!(failed, "{said}"),
                // A picture that would need too much memory is refused though it is sound.
                Expected::Ok => assert!(!failed || kinds.value(row) == "too_many_pixels", "{said}"),
                Expected::Either => {}
            }
        }
        let failed = errors.len() - errors.null_count();
        let manifest = std::fs::read_to_string(output.join("_picsift.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["counts"]["failures"], failed);
        assert_eq!(manifest["counts"]["images"], FILES);
        assert_eq!(manifest["counts"]["panics"], 0);
        assert_eq!(failures(&output), failed);
    }
}

#[test]
fn a_job_of_bad_images_stops_where_a_person_wants_it_to() {
    let corpus = Corpus::new();
    let output = corpus.path("out");
    let stopped = picsift([
        "label",
        corpus.path("references.parquet").to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
        "--categories",
        "fish",
        "--max-error-ratio",
        "0.05",
    ]);
    let said = stderr(&stopped);
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("--max-error-ratio"), "{said}");
    assert!(!output.exists(), "no output of a job that went wrong");
}
