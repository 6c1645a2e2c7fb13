//! Images that fail in a job: what is said of them, and how they are asked again.

use std::path::{Path, PathBuf};

use arrow::array::{Array, BooleanArray, Int64Array, StringArray, StructArray};

use crate::resume::{Work, images};
use crate::support::*;

/// A table of which every second image is not there yet.
fn half_missing(work: &Work, rows: usize) {
    let photo = photo_path();
    let names = (0..rows).map(|row| format!("{row}.jpg"));
    for name in names.clone().step_by(2) {
        std::fs::copy(&photo, work.path("input").join(name)).unwrap();
    }
    write_table(
        &work.path("input/t.parquet"),
        vec![
            ("id", array((0..rows as i64).collect::<Int64Array>())),
            ("image", array(StringArray::from_iter_values(names))),
        ],
    );
}

fn photo_path() -> PathBuf {
    images()
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "jpg"))
        .unwrap()
}

fn failures(folder: &Path) -> usize {
    let all = read_table(folder);
    let errors = column::<StructArray>(&all, "picsift_error");
    errors.len() - errors.null_count()
}

#[test]
fn failures_are_data_and_can_be_asked_again() {
    let work = Work::new();
    half_missing(&work, 20);
    let table = work.path("input/t.parquet");
    let label = |more: &[&str]| {
        let (input, output) = (table.to_str().unwrap(), work.path("out"));
        let mut all = vec!["label", input, "--output", output.to_str().unwrap()];
        all.extend(["--categories", "fish", "--partition-by", "label"]);
        all.extend(more);
        command(all, work.cache.path()).output().unwrap()
    };
    let said = stdout(&label(&[]));
    assert!(
        said.contains("10 failed") && said.contains("--retry-failed"),
        "{said}"
    );
    let list = work.path("out/_picsift_errors.pq");
    let query = format!(
        "SELECT row, reference, stage, kind, message, input_file FROM '{}' ORDER BY row LIMIT 2",
        list.display()
    );
    let said = stdout(&picsift(["sql", "--format", "csv", "-c", &query]));
    let first = said.lines().nth(1).unwrap();
    assert!(first.starts_with("1,1.jpg,fetch,not_found,"), "{said}");
    assert!(
        first.contains(",'1.jpg' does not exist,") && first.contains("t.parquet"),
        "{said}"
    );
    let all = read_table(&work.path("out"));
    let errors = column::<StructArray>(&all, "picsift_error");
    let row = (0..20).find(|&row| errors.is_valid(row)).unwrap();
    let part = |name: &str| {
        let column = errors.column_by_name(name).unwrap();
        column
            .as_any()
            .downcast_ref::<StringArray>()
            .unwrap()
            .value(row)
            .to_string()
    };
    assert_eq!(
        (part("stage"), part("kind")),
        ("fetch".into(), "not_found".into())
    );

    // Half of them are there now.
    for row in [1, 5, 9, 13, 17] {
        std::fs::copy(photo_path(), work.path("input").join(format!("{row}.jpg"))).unwrap();
    }
    let said = stdout(&label(&["--retry-failed"]));
    assert!(
        said.starts_with("20 rows, 20 images") && said.contains("5 failed"),
        "{said}"
    );
    assert_eq!(work.ids(), (0..20).collect::<Vec<_>>());
    assert_eq!(failures(&work.path("out")), 5);
    let answers = read_table(&work.path("out"));
    let is = column::<BooleanArray>(&answers, "is_fish");
    assert_eq!(is.null_count(), 5);
    for row in [3, 7, 11, 15, 19] {
        std::fs::copy(photo_path(), work.path("input").join(format!("{row}.jpg"))).unwrap();
    }
    stdout(&label(&["--retry-failed"]));
    assert_eq!(failures(&work.path("out")), 0);
    assert!(!list.exists());
    let said = stdout(&label(&["--retry-failed"]));
    assert!(said.contains("nothing to ask again"), "{said}");
    let counted: usize = parquet_files(&work.path("out"))
        .iter()
        .map(|path| rows_of(path))
        .sum();
    assert_eq!(counted, 20);
    assert_eq!(work.manifest()["counts"]["failures"], 0);
    assert_eq!(work.manifest()["counts"]["rows"], 20);
}

fn rows_of(path: &Path) -> usize {
    let file = std::fs::File::open(path).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.metadata().file_metadata().num_rows() as usize
}

#[test]
fn a_job_in_which_too_much_fails_stops_and_can_go_on() {
    let work = Work::new();
    half_missing(&work, 300);
    let table = work.path("input/t.parquet");
    let label = |more: &[&str]| {
        let (input, output) = (table.to_str().unwrap(), work.path("out"));
        let mut all = vec!["label", input, "--output", output.to_str().unwrap()];
        all.extend(["--categories", "fish"]);
        all.extend(more);
        command(all, work.cache.path()).output().unwrap()
    };
    let output = label(&["--max-error-ratio", "0.05"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("--max-error-ratio 0.05") && said.contains("does not exist"),
        "{said}"
    );
    assert!(said.contains("the same command goes on"), "{said}");
    assert!(!work.path("out").exists());
    let said = stdout(&label(&["--max-error-ratio", "0.6"]));
    assert!(said.contains("150 failed"), "{said}");
}

/// A value that makes no folder is the failure of its row, or the end of the job, as `--on-error` says.
#[test]
fn a_value_that_makes_no_folder_is_its_rows_failure() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fish.jpg"), photo("fish27_149.jpg")).unwrap();
    let table = folder.path().join("t.parquet");
    let long = "x".repeat(300);
    write_table(
        &table,
        vec![
            ("image", array(StringArray::from(vec!["fish.jpg"; 4]))),
            (
                "country",
                array(StringArray::from(vec!["a", long.as_str(), "../../x", ".."])),
            ),
        ],
    );
    let out = folder.path().join("out");
    let (table, place) = (table.to_str().unwrap(), out.to_str().unwrap());
    let label = [
        "label",
        table,
        "-o",
        place,
        "--categories",
        "fish",
        "--partition-by",
        "country",
    ];
    let said = stdout(&picsift(label));
    assert!(said.contains("1 failed"), "{said}");
    let query = format!(
        "SELECT picsift_error['stage'] AS stage, picsift_error['kind'] AS kind, is_fish, count(*) AS n FROM '{place}' GROUP BY 1, 2, 3 ORDER BY n"
    );
    let found = stdout(&picsift(["sql", "--format", "csv", "-c", &query]));
    assert_eq!(
        found,
        "stage,kind,is_fish,n\nwrite,partition,,1\n,,true,3\n"
    );
    let query = format!("SELECT row, kind FROM '{place}/_picsift_errors.pq'");
    let found = stdout(&picsift(["sql", "--format", "csv", "-c", &query]));
    assert_eq!(found, "row,kind\n1,partition\n");
    let other = folder.path().join("other");
    let mut strict = label.to_vec();
    strict[3] = other.to_str().unwrap();
    strict.extend(["--on-error", "fail"]);
    let said = refused(&picsift(&strict));
    assert!(said.contains("308 bytes") && !other.exists(), "{said}");
    assert!(!folder.path().join("x").exists());
}
